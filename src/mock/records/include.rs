//! Which relationships of an agent a response includes. That depends on the generation of the client: 1.x clients name
//! what they want, older ones get everything.

use crate::{
    error::ApiError,
    mock::validation::client_generation::is_current_client,
    request::{headers::AllowedHeaders, input::Query},
};

/// The relationships that a response includes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one word of the `include` parameter")]
pub(in crate::mock) struct Include {
    pub(in crate::mock) blocks: bool,
    pub(in crate::mock) identities: bool,
    pub(in crate::mock) managed_group: bool,
    /// Included only if it is named.
    pub(in crate::mock) pending_approval: bool,
    pub(in crate::mock) secrets: bool,
    pub(in crate::mock) sources: bool,
    pub(in crate::mock) tags: bool,
    pub(in crate::mock) tools: bool,
}

const WORDS: &[&str] = &[
    "agent.blocks",
    "agent.identities",
    "agent.managed_group",
    "agent.pending_approval",
    "agent.secrets",
    "agent.sources",
    "agent.tags",
    "agent.tools",
];

impl Include {
    /// What responses to changes include: everything except pending approvals.
    pub(in crate::mock) const EVERYTHING: Self = Self {
        blocks: true,
        identities: true,
        managed_group: true,
        pending_approval: false,
        secrets: true,
        sources: true,
        tags: true,
        tools: true,
    };

    /// What the response to a read includes.
    pub(in crate::mock) fn of(headers: &AllowedHeaders, query: &Query) -> Result<Self, ApiError> {
        let words: Vec<&str> = query.all("include").collect();
        for word in &words {
            if !WORDS.contains(word) {
                let expected = WORDS.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" or ");
                let problem = format!("Input should be {expected}");
                return Err(ApiError::validation("literal_error", &["query", "include"], &problem, &(*word).into()));
            }
        }
        let has = |word| words.contains(&word);
        let named = Self {
            blocks: has("agent.blocks"),
            identities: has("agent.identities"),
            managed_group: has("agent.managed_group"),
            pending_approval: has("agent.pending_approval"),
            secrets: has("agent.secrets"),
            sources: has("agent.sources"),
            tags: has("agent.tags"),
            tools: has("agent.tools"),
        };
        if is_current_client(headers) {
            return Ok(named);
        }
        let legacy: Vec<&str> = query.all("include_relationships").collect();
        if legacy.is_empty() {
            return Ok(Self::EVERYTHING.or(named));
        }
        // Clients send an empty list as one empty value.
        let has = |names: &[&str]| legacy.iter().any(|name| names.contains(name));
        let narrowed = Self {
            blocks: has(&["memory", "blocks", "core_memory"]),
            identities: has(&["identities", "identity_ids"]),
            managed_group: has(&["managed_group", "multi_agent_group"]),
            pending_approval: false,
            secrets: has(&["secrets", "tool_exec_environment_variables"]),
            sources: has(&["sources", "folders"]),
            tags: has(&["tags"]),
            tools: has(&["tools"]),
        };
        Ok(narrowed.or(named))
    }

    fn or(self, other: Self) -> Self {
        Self {
            blocks: self.blocks || other.blocks,
            identities: self.identities || other.identities,
            managed_group: self.managed_group || other.managed_group,
            pending_approval: self.pending_approval || other.pending_approval,
            secrets: self.secrets || other.secrets,
            sources: self.sources || other.sources,
            tags: self.tags || other.tags,
            tools: self.tools || other.tools,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::*;

    const NOTHING: Include = Include {
        blocks: false,
        identities: false,
        managed_group: false,
        pending_approval: false,
        secrets: false,
        sources: false,
        tags: false,
        tools: false,
    };

    fn headers(name: &'static str, value: &'static str) -> AllowedHeaders {
        AllowedHeaders::of(HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]))
    }

    #[test]
    fn what_is_included() {
        let current = AllowedHeaders::default();
        let legacy = headers("user-agent", "curl/8.0");
        let include = |headers: &AllowedHeaders, query| Include::of(headers, &Query::parse(Some(query)));
        assert_eq!(include(&current, "").unwrap(), NOTHING);
        assert_eq!(include(&legacy, "").unwrap(), Include::EVERYTHING);
        let tags = Include { tags: true, ..NOTHING };
        let both = Include { identities: true, ..tags };
        assert_eq!(include(&current, "include=agent.tags&include=agent.identities").unwrap(), both);
        assert_eq!(include(&legacy, "include_relationships=tags").unwrap(), tags);
        assert_eq!(include(&legacy, "include_relationships=").unwrap(), NOTHING);
        assert!(include(&current, "include=agent.everything").is_err());
        assert!(include(&legacy, "include=tags").is_err());
    }
}

//! Who belongs to whom: the agents and blocks of identities and groups.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::documents::{Stored, View, changed_meanwhile, holder};
use crate::{
    error::ApiError,
    mock::{
        records::{Group, Identity, Record, claims, links, without_repeats},
        validation::query,
    },
    request::input::Query,
    store::{Locked, Locks, Tx},
};

/// Identities as clients see them.
pub(in crate::mock) async fn show_identities(
    view: View<'_>,
    identities: &[Stored<Identity>],
) -> Result<Vec<Value>, ApiError> {
    let ids: Vec<&str> = identities.iter().map(|identity| identity.record.id.as_str()).collect();
    let agents = Related::of(view.store().links_to(links::AGENT_IDENTITY, &ids).await?);
    let blocks = Related::of(view.store().links_to(links::BLOCK_IDENTITY, &ids).await?);
    let wire = |identity: &Stored<Identity>| {
        let id = &identity.record.id;
        identity.record.wire(agents.to(id), blocks.to(id))
    };
    Ok(identities.iter().map(wire).collect())
}

/// Groups as clients see them.
pub(in crate::mock) async fn show_groups(view: View<'_>, groups: &[Stored<Group>]) -> Result<Vec<Value>, ApiError> {
    let ids: Vec<&str> = groups.iter().map(|group| group.record.id.as_str()).collect();
    let agents = Related::of(view.store().links_from(links::GROUP_AGENT, &ids).await?);
    let blocks = Related::of(view.store().links_from(links::GROUP_BLOCK, &ids).await?);
    let wire = |group: &Stored<Group>| {
        let id = &group.record.id;
        group.record.wire(agents.to(id), blocks.to(id))
    };
    Ok(groups.iter().map(wire).collect())
}

/// The ids that links lead to, by where they start.
struct Related(HashMap<String, Vec<String>>);

impl Related {
    fn of(pairs: Vec<(String, String)>) -> Self {
        let mut related: HashMap<String, Vec<String>> = HashMap::new();
        for (id, other) in pairs {
            related.entry(id).or_default().push(other);
        }
        Self(related)
    }

    fn to(&self, id: &str) -> &[String] {
        self.0.get(id).map_or(&[], Vec::as_slice)
    }
}

/// The ids of the agents or blocks that belong to the identities a query names, by id or by key; none: it names none.
pub(in crate::mock) async fn of_identities(
    view: View<'_>,
    project: &str,
    query: &Query,
    link: &str,
) -> Result<Option<HashSet<String>>, ApiError> {
    let named = query::id(query, "identity_id", Identity::KIND)?;
    let keys: Vec<&str> = query.all("identifier_keys").collect();
    let mut belonging = None;
    if let Some(id) = named {
        belonging = Some(linked_to(view, link, &[id]).await?);
    }
    if !keys.is_empty() {
        let mut holders = Vec::new();
        for key in keys {
            holders.extend(holder(view.store(), claims::IDENTIFIER_KEY, project, key).await?);
        }
        let holders: Vec<&str> = holders.iter().map(String::as_str).collect();
        let by_key = linked_to(view, link, &holders).await?;
        belonging = Some(match belonging {
            Some(by_id) => &by_id & &by_key,
            None => by_key,
        });
    }
    Ok(belonging)
}

async fn linked_to(view: View<'_>, link: &str, targets: &[&str]) -> Result<HashSet<String>, ApiError> {
    Ok(view.store().links_to(link, targets).await?.into_iter().map(|(_, source)| source).collect())
}

/// Replaces the links of a kind that start from `source`.
pub(in crate::mock) async fn link_only(
    tx: &mut Tx,
    link: &str,
    source: &str,
    targets: &[String],
) -> Result<(), ApiError> {
    tx.unlink_kind(link, source).await?;
    for target in without_repeats(targets.to_vec()) {
        tx.link(link, source, &target).await?;
    }
    Ok(())
}

/// Replaces the links of a kind that lead to `target` from `present` by those from `sources`.
pub(in crate::mock) async fn link_only_from(
    tx: &mut Tx,
    link: &str,
    target: &str,
    present: &[String],
    sources: &[String],
) -> Result<(), ApiError> {
    tx.unlink_from(link, present, target).await?;
    for source in without_repeats(sources.to_vec()) {
        tx.link(link, &source, target).await?;
    }
    Ok(())
}

/// Locks a record, and before it what links of a kind lead to it from; both, and whatever else. Returns the ids of those.
pub(in crate::mock) async fn lock_with_sources<Source: Record, Target: Record>(
    tx: &mut Tx,
    link: &str,
    target: &str,
    more: Locks,
) -> Result<(Vec<String>, Locked), ApiError> {
    let sources = tx.linked_from(link, target).await?;
    let locked = tx.lock(&more.and(Source::KIND, &sources).and(Target::KIND, [target])).await?;
    if tx.linked_from(link, target).await? != sources {
        return Err(changed_meanwhile(target));
    }
    Ok((sources, locked))
}

/// Takes agents and blocks that go out of all groups; the groups that the agents manage go too. To be called before the
/// agents' links are removed, by who has locked all of them.
pub(in crate::mock) async fn leave_groups(tx: &mut Tx, agents: &[String], blocks: &[String]) -> Result<(), ApiError> {
    let mut managed = Vec::new();
    for agent in agents {
        let groups = tx.linked_documents(links::MANAGED_GROUP, agent, Group::KIND).await?;
        managed.extend(groups.into_iter().map(|group| group.id));
    }
    let joined = tx.linked_from_any(links::GROUP_AGENT, agents).await?;
    let sharing = tx.linked_from_any(links::GROUP_BLOCK, blocks).await?;
    tx.lock(&Locks::of(Group::KIND, managed.iter().chain(&joined).chain(&sharing))).await?;
    for agent in agents {
        tx.unlink_from(links::GROUP_AGENT, &joined, agent).await?;
    }
    for block in blocks {
        tx.unlink_from(links::GROUP_BLOCK, &sharing, block).await?;
    }
    for group in &managed {
        tx.delete_document(Group::KIND, group).await?;
        tx.unlink_all(group).await?;
    }
    Ok(())
}

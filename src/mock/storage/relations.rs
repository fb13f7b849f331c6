//! The relations of identities and groups to agents and blocks.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::{
    claims::{changed_meanwhile, holder},
    stored::Stored,
    view::View,
};
use crate::{
    access::is_letta_id,
    error::ApiError,
    mock::{
        records::{Group, Identity, Record, claims, links},
        text::without_repeats,
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

/// The ids on the other ends of links, by id.
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

/// The ids of the agents or blocks of the identities that a query names by id or key; `None` if it names no identity.
/// An identity that does not exist has none.
pub(in crate::mock) async fn of_identities(
    view: View<'_>,
    project: &str,
    query: &Query,
    link: &str,
) -> Result<Option<HashSet<String>>, ApiError> {
    let named = query.first("identity_id");
    let keys: Vec<&str> = query.all("identifier_keys").collect();
    let mut belonging = None;
    if let Some(id) = named {
        let known: Vec<&str> = [id].into_iter().filter(|id| is_letta_id(id, Identity::KIND)).collect();
        belonging = Some(linked_to(view, link, &known).await?);
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

/// Replaces the links of a kind from `source`.
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

/// Replaces the links of a kind from `present` to `target` by links from `sources`.
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

/// Locks a record, the sources of the links of a kind to it, and `more`. Returns the ids of the sources.
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

/// Removes agents and blocks that are being deleted from all groups, and deletes the groups that the agents manage.
/// Must be called before the agents' links are removed; the caller has locked all of them.
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

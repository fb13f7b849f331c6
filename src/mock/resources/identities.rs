//! Identities, and the agents and blocks that belong to them.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{HandlerResult, Routes};
use crate::{
    access::{Call, Operation},
    error::ApiError,
    mock::{
        agents::memory,
        pagination::{
            cursor::{Defaults, Page},
            list::Listing,
        },
        records::{
            Agent, Block, IDENTITY_TYPES, Identity, IdentityChange, Property, Record, claims, include::Include, links,
        },
        state::State,
        storage::{
            documents::{
                Stored, View, changed_meanwhile, claim, holder_within, insert, lock_holder, not_found, release, update,
            },
            project_scope::ProjectScope,
            relations::{link_only_from, show_identities},
        },
        validation::body::{Fields, Location, Read},
    },
    reply::Reply,
    request::input::Query,
    store::{DocumentFilter, Locked, Locks, Tx, transaction},
};

pub(super) fn mount(routes: Routes) -> Routes {
    routes
        .on(Operation::ListIdentities, list)
        .on(Operation::CreateIdentity, create)
        .on(Operation::UpsertIdentity, upsert)
        .on(Operation::CountIdentities, count)
        .on(Operation::RetrieveIdentity, retrieve)
        .on(Operation::ModifyIdentity, modify)
        .on(Operation::DeleteIdentity, delete)
        .on(Operation::UpsertPropertiesForIdentity, set_properties)
        .on(Operation::ListAgentsForIdentity, agents)
        .on(Operation::ListBlocksForIdentity, blocks)
        .on(Operation::AttachIdentityToAgent, |state, call| change_agent(state, call, true))
        .on(Operation::DetachIdentityFromAgent, |state, call| change_agent(state, call, false))
        .on(Operation::AttachIdentityToBlock, |state, call| change_block(state, call, true))
        .on(Operation::DetachIdentityFromBlock, |state, call| change_block(state, call, false))
}

const LIST: Defaults = Defaults { limit: 50, newest_first: true, order_by: &["created_at"] };

async fn list(state: Arc<State>, call: Call) -> HandlerResult {
    let page = Page::read(&call.query, LIST)?;
    let filter = IdentityFilter::read(&call.query)?;
    let view = state.view(&call.permit);
    let project = call.query.first("project_id").unwrap_or(call.permit.project().as_str());
    let identities = Listing::of(DocumentFilter::of_project(Identity::KIND, project));
    let identities = identities.page(view, &page, |identity| filter.accepts(identity)).await?;
    Ok(Reply::ok(show_identities(view, &identities).await?.into()))
}

/// What a request wants identities to be.
struct IdentityFilter<'a> {
    name: Option<String>,
    identifier_key: Option<&'a str>,
    identity_type: Option<&'a str>,
}

impl<'a> IdentityFilter<'a> {
    fn read(query: &'a Query) -> Result<Self, ApiError> {
        Ok(Self {
            name: query.first("name").map(str::to_lowercase),
            identifier_key: query.first("identifier_key"),
            identity_type: query.one_of("identity_type", IDENTITY_TYPES)?,
        })
    }

    fn accepts(&self, identity: &Identity) -> bool {
        self.name.as_ref().is_none_or(|name| identity.name.to_lowercase().contains(name))
            && self.identifier_key.is_none_or(|key| identity.identifier_key == key)
            && self.identity_type.is_none_or(|wanted| identity.identity_type == wanted)
    }
}

async fn count(state: Arc<State>, call: Call) -> HandlerResult {
    let identities = DocumentFilter::of_project(Identity::KIND, call.permit.project().as_str());
    let count = Listing::<Identity>::of(identities).count(state.view(&call.permit), |_| true).await?;
    Ok(Reply::ok(count.into()))
}

async fn create(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let fields = Fields::of_body(&body)?;
    let change = IdentityChange::read_new(&fields)?;
    let scope = ProjectScope::of(&call.permit, &fields)?;
    let view = state.view(&call.permit);
    let identity = transaction!(state.store, tx => {
        make(view, tx, &change, &scope).await?.ok_or_else(|| key_taken(&change))
    })?;
    show(view, identity).await
}

/// Changes the identity that has the key, properties and all, or else makes it.
async fn upsert(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let fields = Fields::of_body(&body)?;
    let change = IdentityChange::read_new(&fields)?;
    let scope = ProjectScope::of(&call.permit, &fields)?;
    let view = state.view(&call.permit);
    let identity = transaction!(state.store, tx => {
        let key = change.identifier_key.clone().unwrap_or_default();
        match holder_within(tx, claims::IDENTIFIER_KEY, scope.project.as_str(), &key).await? {
            Some(id) => {
                let has_key = |present: &Identity| present.identifier_key == key;
                let mut identity = lock_holder(view, tx, &id, has_key).await?;
                if let Some(properties) = &change.properties {
                    identity.record.set_properties(properties);
                }
                apply(view, tx, &mut identity, &change).await?;
                Ok(identity)
            }
            None => make(view, tx, &change, &scope).await?.ok_or_else(|| changed_meanwhile(&key)),
        }
    })?;
    show(view, identity).await
}

/// Makes an identity; none: another has its key.
async fn make(
    view: View<'_>,
    tx: &mut Tx,
    change: &IdentityChange,
    scope: &ProjectScope,
) -> Result<Option<Stored<Identity>>, ApiError> {
    let identity = Identity::create(change, scope.shown.clone());
    let project = scope.project.as_str();
    let identity = Stored { seq: 0, project: project.to_owned(), record: identity };
    let related = Related::lock(tx, None, change).await?;
    let Identity { id, identifier_key, .. } = &identity.record;
    if claim(tx, claims::IDENTIFIER_KEY, project, identifier_key, id).await?.is_some() {
        return Ok(None);
    }
    insert(tx, project, None, &identity.record).await?;
    related.link(view, tx, &identity, change).await?;
    Ok(Some(identity))
}

async fn retrieve(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    show(view, view.get::<Identity>(call.param("identity_id")).await?).await
}

async fn modify(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let change = IdentityChange::read(&Fields::of_body(&body)?)?;
    let view = state.view(&call.permit);
    let identity_id = call.param("identity_id");
    let identity = transaction!(state.store, tx => {
        let mut identity = view.get_for_update::<Identity>(tx, identity_id).await?;
        apply(view, tx, &mut identity, &change).await?;
        Ok(identity)
    })?;
    show(view, identity).await
}

/// Applies a change, and stores what came of it.
async fn apply(
    view: View<'_>,
    tx: &mut Tx,
    identity: &mut Stored<Identity>,
    change: &IdentityChange,
) -> Result<(), ApiError> {
    let related = Related::lock(tx, Some(&identity.record.id), change).await?;
    let former_key = identity.record.identifier_key.clone();
    identity.record.change(change);
    let key = &identity.record.identifier_key;
    if *key != former_key {
        if claim(tx, claims::IDENTIFIER_KEY, &identity.project, key, &identity.record.id).await?.is_some() {
            return Err(key_taken(change));
        }
        release(tx, claims::IDENTIFIER_KEY, &identity.project, &former_key).await?;
    }
    update(tx, &identity.record).await?;
    related.link(view, tx, identity, change).await
}

/// The agents and blocks that a change of an identity names, and those that belong to it so far.
struct Related {
    agents: Vec<String>,
    blocks: Vec<String>,
    locked: Locked,
}

impl Related {
    /// Locks them. Whoever changes an identity that is there, `present`, has locked it.
    async fn lock(tx: &mut Tx, present: Option<&str>, change: &IdentityChange) -> Result<Self, ApiError> {
        let (mut agents, mut blocks) = (Vec::new(), Vec::new());
        if let Some(id) = present {
            if change.agent_ids.is_some() {
                agents = tx.linked_from(links::AGENT_IDENTITY, id).await?;
            }
            if change.block_ids.is_some() {
                blocks = tx.linked_from(links::BLOCK_IDENTITY, id).await?;
            }
        }
        let named = |ids: &Option<Vec<String>>| ids.clone().unwrap_or_default();
        let locks = Locks::of(Agent::KIND, agents.iter().chain(&named(&change.agent_ids)))
            .and(Block::KIND, blocks.iter().chain(&named(&change.block_ids)));
        let locked = tx.lock(&locks).await?;
        Ok(Self { agents, blocks, locked })
    }

    /// Links an identity to those that a change names, and to no others.
    async fn link(
        &self,
        view: View<'_>,
        tx: &mut Tx,
        identity: &Stored<Identity>,
        change: &IdentityChange,
    ) -> Result<(), ApiError> {
        let (project, id) = (&identity.project, &identity.record.id);
        if let Some(agents) = &change.agent_ids {
            view.all_locked::<Agent>(&self.locked, project, agents)?;
            link_only_from(tx, links::AGENT_IDENTITY, id, &self.agents, agents).await?;
        }
        if let Some(blocks) = &change.block_ids {
            view.all_locked::<Block>(&self.locked, project, blocks)?;
            link_only_from(tx, links::BLOCK_IDENTITY, id, &self.blocks, blocks).await?;
        }
        Ok(())
    }
}

fn key_taken(change: &IdentityChange) -> ApiError {
    let key: String = change.identifier_key.iter().flat_map(|key| key.chars()).take(100).collect();
    ApiError::conflict(format!("CONFLICT: An identity with identifier_key '{key}' already exists"))
}

/// Agents and blocks survive.
async fn delete(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    let identity_id = call.param("identity_id");
    transaction!(state.store, tx => {
        let identity = view.get_for_update::<Identity>(tx, identity_id).await?.record;
        let agents = tx.linked_from(links::AGENT_IDENTITY, &identity.id).await?;
        let blocks = tx.linked_from(links::BLOCK_IDENTITY, &identity.id).await?;
        tx.lock(&Locks::of(Agent::KIND, &agents).and(Block::KIND, &blocks)).await?;
        tx.delete_document(Identity::KIND, &identity.id).await?;
        tx.unlink_from(links::AGENT_IDENTITY, &agents, &identity.id).await?;
        tx.unlink_from(links::BLOCK_IDENTITY, &blocks, &identity.id).await?;
        Ok(())
    })?;
    Ok(Reply::ok(Value::Null))
}

/// Replaces all properties; the body is a list.
async fn set_properties(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let properties = Vec::<Property>::read(&body, &Location::body())?;
    let view = state.view(&call.permit);
    let identity_id = call.param("identity_id");
    transaction!(state.store, tx => {
        let mut identity = view.get_for_update::<Identity>(tx, identity_id).await?.record;
        identity.set_properties(&properties);
        update(tx, &identity).await?;
        Ok(())
    })?;
    Ok(Reply::ok(Value::Null))
}

async fn agents(state: Arc<State>, call: Call) -> HandlerResult {
    let page = Page::read(&call.query, LIST)?;
    let include = Include::of(&call.headers, &call.query)?;
    let view = state.view(&call.permit);
    let identity = view.get::<Identity>(call.param("identity_id")).await?.record;
    let agents = DocumentFilter::linked_to(Agent::KIND, links::AGENT_IDENTITY, &identity.id);
    let agents = Listing::of(agents).page(view, &page, |_| true).await?;
    Ok(Reply::written(memory::show(view, &agents, include).await?))
}

async fn blocks(state: Arc<State>, call: Call) -> HandlerResult {
    let page = Page::read(&call.query, LIST)?;
    let view = state.view(&call.permit);
    let identity = view.get::<Identity>(call.param("identity_id")).await?.record;
    let blocks = DocumentFilter::linked_to(Block::KIND, links::BLOCK_IDENTITY, &identity.id);
    let blocks: Vec<Stored<Block>> = Listing::of(blocks).page(view, &page, |_| true).await?;
    Ok(Reply::ok(blocks.iter().map(|block| json!(block.record)).collect()))
}

async fn change_agent(state: Arc<State>, call: Call, attach: bool) -> HandlerResult {
    let view = state.view(&call.permit);
    let agent_id = call.param("agent_id");
    let identity_id = call.param("identity_id");
    transaction!(state.store, tx => {
        let locked = tx.lock(&Locks::of(Identity::KIND, [identity_id]).and(Agent::KIND, [agent_id])).await?;
        let mut agent = view.locked::<Agent>(&locked, agent_id)?;
        let identity = view.locked::<Identity>(&locked, identity_id)?;
        set_link(tx, links::AGENT_IDENTITY, &agent, &identity, attach).await?;
        agent.record.touch();
        update(tx, &agent.record).await?;
        Ok(())
    })?;
    Ok(Reply::ok(Value::Null))
}

async fn change_block(state: Arc<State>, call: Call, attach: bool) -> HandlerResult {
    let view = state.view(&call.permit);
    let block_id = call.param("block_id");
    let identity_id = call.param("identity_id");
    let block = transaction!(state.store, tx => {
        let locked = tx.lock(&Locks::of(Identity::KIND, [identity_id]).and(Block::KIND, [block_id])).await?;
        let block = view.locked::<Block>(&locked, block_id)?;
        let identity = view.locked::<Identity>(&locked, identity_id)?;
        set_link(tx, links::BLOCK_IDENTITY, &block, &identity, attach).await?;
        Ok(block)
    })?;
    Ok(Reply::ok(json!(block.record)))
}

async fn set_link<T: Record>(
    tx: &mut Tx,
    link: &str,
    carrier: &Stored<T>,
    identity: &Stored<Identity>,
    attach: bool,
) -> Result<(), ApiError> {
    let id = &identity.record.id;
    if identity.project != carrier.project {
        return Err(not_found::<Identity>(id));
    }
    if attach {
        tx.link(link, carrier.record.id(), id).await?;
    } else {
        tx.unlink(link, carrier.record.id(), id).await?;
    }
    Ok(())
}

async fn show(view: View<'_>, identity: Stored<Identity>) -> HandlerResult {
    let shown = show_identities(view, &[identity]).await?;
    Ok(Reply::ok(shown.into_iter().next().unwrap_or_default()))
}

//! Identities, and the agents and blocks that belong to them.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Answer, Routes};
use crate::{
    access::Operation,
    call::{Call, Query, Reply},
    error::ApiError,
    mock::{
        client::Include,
        documents::{Stored, View, claim, insert, lock_holder, not_found, release, update},
        fields::{Fields, Location, Read},
        home::Home,
        listing::Listing,
        memory,
        page::{Defaults, Page},
        records::{Agent, Block, IDENTITY_TYPES, Identity, IdentityChange, Property, Record, claims, links},
        relations::{check_present, link_only_from, show_identities},
        state::State,
    },
    store::{DocumentFilter, Tx},
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

async fn list(state: Arc<State>, call: Call) -> Answer {
    let page = Page::read(&call.query, LIST)?;
    let filter = Filter::read(&call.query)?;
    let view = state.view(&call.permit);
    let project = call.query.first("project_id").unwrap_or(call.permit.project().as_str());
    let identities = Listing::of(DocumentFilter::of_project(Identity::KIND, project));
    let identities = identities.page(view, &page, |identity| filter.accepts(identity)).await?;
    Ok(Reply::ok(show_identities(view, &identities).await?.into()))
}

/// What a request wants identities to be.
struct Filter<'a> {
    name: Option<String>,
    identifier_key: Option<&'a str>,
    identity_type: Option<&'a str>,
}

impl<'a> Filter<'a> {
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

async fn count(state: Arc<State>, call: Call) -> Answer {
    let identities = DocumentFilter::of_project(Identity::KIND, call.permit.project().as_str());
    let count = Listing::<Identity>::of(identities).count(state.view(&call.permit), |_| true).await?;
    Ok(Reply::ok(count.into()))
}

async fn create(state: Arc<State>, mut call: Call) -> Answer {
    let body = call.json().await?;
    let fields = Fields::of_body(&body)?;
    let change = IdentityChange::read_new(&fields)?;
    let home = Home::of(&call.headers, &call.permit, &fields)?;
    let view = state.view(&call.permit);
    let mut tx = state.store.begin().await?;
    let identity = match make(view, &mut tx, &change, &home).await? {
        Made::New(identity) => identity,
        Made::Present(_) => return Err(key_taken(&change)),
    };
    tx.commit().await?;
    show(view, identity).await
}

/// Changes the identity that has the key, properties and all, or else makes it.
async fn upsert(state: Arc<State>, mut call: Call) -> Answer {
    let body = call.json().await?;
    let fields = Fields::of_body(&body)?;
    let change = IdentityChange::read_new(&fields)?;
    let home = Home::of(&call.headers, &call.permit, &fields)?;
    let view = state.view(&call.permit);
    let mut tx = state.store.begin().await?;
    let identity = match make(view, &mut tx, &change, &home).await? {
        Made::New(identity) => identity,
        Made::Present(id) => {
            let has_key = |present: &Identity| Some(&present.identifier_key) == change.identifier_key.as_ref();
            let mut identity = lock_holder(view, &mut tx, &id, has_key).await?;
            if let Some(properties) = &change.properties {
                identity.record.set_properties(properties);
            }
            apply(view, &mut tx, &mut identity, &change).await?;
            identity
        }
    };
    tx.commit().await?;
    show(view, identity).await
}

/// What became of an identity that was to be made.
enum Made {
    New(Stored<Identity>),
    /// Another has its key.
    Present(String),
}

async fn make(view: View<'_>, tx: &mut Tx, change: &IdentityChange, home: &Home) -> Result<Made, ApiError> {
    let identity = Identity::create(change, home.shown.clone());
    let project = home.project.as_str();
    if let Some(id) = claim(tx, claims::IDENTIFIER_KEY, project, &identity.identifier_key, &identity.id).await? {
        return Ok(Made::Present(id));
    }
    insert(tx, project, None, &identity).await?;
    let identity = Stored { seq: 0, project: project.to_owned(), record: identity };
    relate(view, tx, &identity, change).await?;
    Ok(Made::New(identity))
}

async fn retrieve(state: Arc<State>, call: Call) -> Answer {
    let view = state.view(&call.permit);
    show(view, view.get::<Identity>(call.param("identity_id")).await?).await
}

async fn modify(state: Arc<State>, mut call: Call) -> Answer {
    let body = call.json().await?;
    let change = IdentityChange::read(&Fields::of_body(&body)?)?;
    let view = state.view(&call.permit);
    let mut tx = state.store.begin().await?;
    let mut identity = view.get_for_update::<Identity>(&mut tx, call.param("identity_id")).await?;
    apply(view, &mut tx, &mut identity, &change).await?;
    tx.commit().await?;
    show(view, identity).await
}

/// Applies a change, and stores what came of it.
async fn apply(
    view: View<'_>,
    tx: &mut Tx,
    identity: &mut Stored<Identity>,
    change: &IdentityChange,
) -> Result<(), ApiError> {
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
    relate(view, tx, identity, change).await
}

/// Links an identity to the agents and blocks that a change names.
async fn relate(
    view: View<'_>,
    tx: &mut Tx,
    identity: &Stored<Identity>,
    change: &IdentityChange,
) -> Result<(), ApiError> {
    let (project, id) = (&identity.project, &identity.record.id);
    if let Some(agents) = &change.agent_ids {
        check_present::<Agent>(view, tx, project, agents).await?;
        link_only_from(tx, links::AGENT_IDENTITY, id, agents).await?;
    }
    if let Some(blocks) = &change.block_ids {
        check_present::<Block>(view, tx, project, blocks).await?;
        link_only_from(tx, links::BLOCK_IDENTITY, id, blocks).await?;
    }
    Ok(())
}

fn key_taken(change: &IdentityChange) -> ApiError {
    let key: String = change.identifier_key.iter().flat_map(|key| key.chars()).take(100).collect();
    ApiError::conflict(format!("CONFLICT: An identity with identifier_key '{key}' already exists"))
}

/// Agents and blocks survive.
async fn delete(state: Arc<State>, call: Call) -> Answer {
    let view = state.view(&call.permit);
    let mut tx = state.store.begin().await?;
    let identity = view.get_for_update::<Identity>(&mut tx, call.param("identity_id")).await?.record;
    tx.delete_document(Identity::KIND, &identity.id).await?;
    tx.unlink_target(links::AGENT_IDENTITY, &identity.id).await?;
    tx.unlink_target(links::BLOCK_IDENTITY, &identity.id).await?;
    tx.commit().await?;
    Ok(Reply::ok(Value::Null))
}

/// Replaces all properties; the body is a list.
async fn set_properties(state: Arc<State>, mut call: Call) -> Answer {
    let body = call.json().await?;
    let properties = Vec::<Property>::read(&body, &Location::body())?;
    let view = state.view(&call.permit);
    let mut tx = state.store.begin().await?;
    let mut identity = view.get_for_update::<Identity>(&mut tx, call.param("identity_id")).await?.record;
    identity.set_properties(&properties);
    update(&mut tx, &identity).await?;
    tx.commit().await?;
    Ok(Reply::ok(Value::Null))
}

async fn agents(state: Arc<State>, call: Call) -> Answer {
    let page = Page::read(&call.query, LIST)?;
    let include = Include::of(&call.headers, &call.query)?;
    let view = state.view(&call.permit);
    let identity = view.get::<Identity>(call.param("identity_id")).await?.record;
    let agents = DocumentFilter::linked_to(Agent::KIND, links::AGENT_IDENTITY, &identity.id);
    let agents = Listing::of(agents).page(view, &page, |_| true).await?;
    Ok(Reply::written(memory::show(view, &agents, include).await?))
}

async fn blocks(state: Arc<State>, call: Call) -> Answer {
    let page = Page::read(&call.query, LIST)?;
    let view = state.view(&call.permit);
    let identity = view.get::<Identity>(call.param("identity_id")).await?.record;
    let blocks = DocumentFilter::linked_to(Block::KIND, links::BLOCK_IDENTITY, &identity.id);
    let blocks: Vec<Stored<Block>> = Listing::of(blocks).page(view, &page, |_| true).await?;
    Ok(Reply::ok(blocks.iter().map(|block| json!(block.record)).collect()))
}

async fn change_agent(state: Arc<State>, call: Call, attach: bool) -> Answer {
    let view = state.view(&call.permit);
    let mut tx = state.store.begin().await?;
    let mut agent = view.get_for_update::<Agent>(&mut tx, call.param("agent_id")).await?;
    set_link(view, &mut tx, links::AGENT_IDENTITY, &agent, call.param("identity_id"), attach).await?;
    agent.record.touch();
    update(&mut tx, &agent.record).await?;
    tx.commit().await?;
    Ok(Reply::ok(Value::Null))
}

async fn change_block(state: Arc<State>, call: Call, attach: bool) -> Answer {
    let view = state.view(&call.permit);
    let mut tx = state.store.begin().await?;
    let block = view.get_for_update::<Block>(&mut tx, call.param("block_id")).await?;
    set_link(view, &mut tx, links::BLOCK_IDENTITY, &block, call.param("identity_id"), attach).await?;
    tx.commit().await?;
    Ok(Reply::ok(json!(block.record)))
}

async fn set_link<T: Record>(
    view: View<'_>,
    tx: &mut Tx,
    link: &str,
    carrier: &Stored<T>,
    identity_id: &str,
    attach: bool,
) -> Result<(), ApiError> {
    let identity = view.get_within::<Identity>(tx, identity_id).await?;
    if identity.project != carrier.project {
        return Err(not_found::<Identity>(identity_id));
    }
    if attach {
        tx.link(link, carrier.record.id(), identity_id).await?;
    } else {
        tx.unlink(link, carrier.record.id(), identity_id).await?;
    }
    Ok(())
}

async fn show(view: View<'_>, identity: Stored<Identity>) -> Answer {
    let shown = show_identities(view, &[identity]).await?;
    Ok(Reply::ok(shown.into_iter().next().unwrap_or_default()))
}

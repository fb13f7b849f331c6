//! Groups of agents: who belongs to them. Nothing is sent to a group any more, so it has no messages.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    HandlerResult, Routes,
    messages::{agent, list},
};
use crate::{
    access::{Call, Operation},
    error::ApiError,
    mock::{
        pagination::{
            cursor::{Defaults, Page},
            list::Listing,
        },
        records::{Agent, Block, Group, GroupChange, MANAGER_TYPES, Record, links},
        state::State,
        storage::{
            documents::{Stored, View, insert, not_found, update},
            project_scope::ProjectScope,
            relations::{link_only, link_only_from, lock_with_sources, show_groups},
        },
        validation::body::Fields,
    },
    reply::Reply,
    store::{DocumentFilter, Locked, Locks, Tx, transaction},
};

pub(super) fn mount(routes: Routes) -> Routes {
    routes
        .on(Operation::ListGroups, list)
        .on(Operation::CreateGroup, create)
        .on(Operation::CountGroups, count)
        .on(Operation::RetrieveGroup, retrieve)
        .on(Operation::ModifyGroup, modify)
        .on(Operation::DeleteGroup, delete)
        .on(Operation::ListGroupsForAgent, of_agent)
        .on(Operation::AttachBlockToGroup, |state, call| set_block(state, call, true))
        .on(Operation::DetachBlockFromGroup, |state, call| set_block(state, call, false))
        .on(Operation::ListGroupMessages, list_messages)
        .on(Operation::ModifyGroupMessage, agent::modify)
        .on(Operation::ResetGroupMessages, reset_messages)
}

const LIST: Defaults = Defaults { limit: 50, newest_first: false, order_by: &["created_at"] };
const OF_AGENT: Defaults = Defaults { limit: 100, newest_first: true, order_by: &["created_at"] };
const MESSAGES: Defaults = Defaults { limit: 10, newest_first: true, order_by: &["created_at"] };

async fn list(state: Arc<State>, call: Call) -> HandlerResult {
    let page = Page::read(&call.query, LIST)?;
    let project = call.query.first("project_id").unwrap_or(call.permit.project().as_str());
    let manager_type = call.query.one_of("manager_type", MANAGER_TYPES)?;
    show_page(state.view(&call.permit), DocumentFilter::of_project(Group::KIND, project), &page, manager_type).await
}

async fn of_agent(state: Arc<State>, call: Call) -> HandlerResult {
    let page = Page::read(&call.query, OF_AGENT)?;
    let view = state.view(&call.permit);
    let agent = view.get::<Agent>(call.param("agent_id")).await?.record;
    let groups = DocumentFilter::linked_to(Group::KIND, links::GROUP_AGENT, &agent.id);
    show_page(view, groups, &page, call.query.first("manager_type")).await
}

async fn show_page(
    view: View<'_>,
    groups: DocumentFilter<'_>,
    page: &Page<'_>,
    manager_type: Option<&str>,
) -> HandlerResult {
    let accepts =
        |group: &Group| group.hidden != Some(true) && manager_type.is_none_or(|wanted| group.manager_type == wanted);
    let groups = Listing::of(groups).page(view, page, accepts).await?;
    Ok(Reply::ok(show_groups(view, &groups).await?.into()))
}

async fn count(state: Arc<State>, call: Call) -> HandlerResult {
    let groups = DocumentFilter::of_project(Group::KIND, call.permit.project().as_str());
    let accepts = |group: &Group| group.hidden != Some(true);
    Ok(Reply::ok(Listing::of(groups).count(state.view(&call.permit), accepts).await?.into()))
}

async fn create(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let fields = Fields::of_body(&body)?;
    let change = GroupChange::read_new(&fields)?;
    let scope = ProjectScope::of(&call.permit, &fields)?;
    let view = state.view(&call.permit);
    let record = Group::create(&change, scope.shown);
    let group = Stored { seq: 0, project: scope.project.to_string(), record };
    transaction!(state.store, tx => {
        let locked = tx.lock(&related(&change)).await?;
        insert(tx, &group.project, None, &group.record).await?;
        relate(view, tx, &group, &change, &locked, &[]).await
    })?;
    show(view, group).await
}

async fn retrieve(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    show(view, view.get::<Group>(call.param("group_id")).await?).await
}

async fn modify(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let change = GroupChange::read(&Fields::of_body(&body)?)?;
    let view = state.view(&call.permit);
    let id = call.param("group_id");
    let group = transaction!(state.store, tx => {
        let (managers, locked) =
            lock_with_sources::<Agent, Group>(tx, links::MANAGED_GROUP, id, related(&change)).await?;
        let mut group = view.locked::<Group>(&locked, id)?;
        group.record.change(&change)?;
        update(tx, &group.record).await?;
        relate(view, tx, &group, &change, &locked, &managers).await?;
        Ok(group)
    })?;
    show(view, group).await
}

/// The agents and blocks that a change names.
fn related(change: &GroupChange) -> Locks {
    let agents = change.agent_ids.iter().flatten().map(String::as_str).chain(change.manager_agent_id());
    Locks::of(Agent::KIND, agents).and(Block::KIND, change.block_ids.iter().flatten())
}

/// Links a group, whose managers so far are `managers`, to the agents and blocks that a change names.
async fn relate(
    view: View<'_>,
    tx: &mut Tx,
    group: &Stored<Group>,
    change: &GroupChange,
    locked: &Locked,
    managers: &[String],
) -> Result<(), ApiError> {
    let (project, id) = (&group.project, &group.record.id);
    if let Some(agents) = &change.agent_ids {
        view.all_locked::<Agent>(locked, project, agents)?;
        link_only(tx, links::GROUP_AGENT, id, agents).await?;
    }
    if let Some(blocks) = &change.block_ids {
        view.all_locked::<Block>(locked, project, blocks)?;
        link_only(tx, links::GROUP_BLOCK, id, blocks).await?;
    }
    if let Some(manager) = change.manager_agent_id() {
        let manager = [manager.to_owned()];
        view.all_locked::<Agent>(locked, project, &manager)?;
        link_only_from(tx, links::MANAGED_GROUP, id, managers, &manager).await?;
    }
    Ok(())
}

/// Agents and blocks survive.
async fn delete(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    let group_id = call.param("group_id");
    let group = transaction!(state.store, tx => {
        let (managers, locked) =
            lock_with_sources::<Agent, Group>(tx, links::MANAGED_GROUP, group_id, Locks::default()).await?;
        let group = view.locked::<Group>(&locked, group_id)?.record;
        tx.delete_document(Group::KIND, &group.id).await?;
        tx.unlink_all(&group.id).await?;
        tx.unlink_from(links::MANAGED_GROUP, &managers, &group.id).await?;
        Ok(group)
    })?;
    Ok(Reply::ok(json!({"message": format!("Group id={} successfully deleted", group.id)})))
}

async fn set_block(state: Arc<State>, call: Call, attach: bool) -> HandlerResult {
    let view = state.view(&call.permit);
    let block_id = call.param("block_id");
    let group_id = call.param("group_id");
    transaction!(state.store, tx => {
        let locked = tx.lock(&Locks::of(Block::KIND, [block_id]).and(Group::KIND, [group_id])).await?;
        let group = view.locked::<Group>(&locked, group_id)?;
        let block = view.locked::<Block>(&locked, block_id)?;
        if block.project != group.project {
            return Err(not_found::<Block>(&block.record.id));
        }
        if attach {
            tx.link(links::GROUP_BLOCK, &group.record.id, &block.record.id).await?;
        } else {
            tx.unlink(links::GROUP_BLOCK, &group.record.id, &block.record.id).await?;
        }
        Ok(())
    })?;
    Ok(Reply::ok(Value::Null))
}

async fn list_messages(state: Arc<State>, call: Call) -> HandlerResult {
    Page::read(&call.query, MESSAGES)?;
    call.query.boolean("use_assistant_message")?;
    list::message_types(&call.query)?;
    state.view(&call.permit).get::<Group>(call.param("group_id")).await?;
    Ok(Reply::ok(json!([])))
}

async fn reset_messages(state: Arc<State>, call: Call) -> HandlerResult {
    state.view(&call.permit).get::<Group>(call.param("group_id")).await?;
    Ok(Reply::ok(Value::Null))
}

async fn show(view: View<'_>, group: Stored<Group>) -> HandlerResult {
    let shown = show_groups(view, &[group]).await?;
    Ok(Reply::ok(shown.into_iter().next().unwrap_or_default()))
}

//! The folders of an agent, under both names of folders.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    access::{Call, Operation},
    mock::{
        agents::memory,
        files::attachments,
        pagination::{
            cursor::{Defaults, Page},
            list::Listing,
        },
        records::{
            Agent, Folder, Record,
            include::{Include, is_current_client},
            links,
        },
        resources::{HandlerResult, Routes, folders::id_in_path},
        state::State,
        storage::documents::{Stored, View, not_found, update},
    },
    reply::Reply,
    request::headers::AllowedHeaders,
    store::{DocumentFilter, Locks, transaction},
};

pub(in crate::mock) fn mount(routes: Routes) -> Routes {
    routes
        .on(Operation::ListFoldersForAgent, |state, call| list(state, call, Folder::wire))
        .on(Operation::AttachFolderToAgent, |state, call| attach(state, call, ResponseForm::ByGeneration))
        .on(Operation::DetachFolderFromAgent, |state, call| detach(state, call, ResponseForm::ByGeneration))
        .on(Operation::ListAgentSources, |state, call| list(state, call, Folder::wire_as_source))
        .on(Operation::AttachSourceToAgent, |state, call| attach(state, call, ResponseForm::Always))
        .on(Operation::DetachSourceFromAgent, |state, call| detach(state, call, ResponseForm::Always))
}

const LIST: Defaults = Defaults { limit: 100, newest_first: true, order_by: &["created_at"] };

/// Whether the answer to a change is the agent.
#[derive(Clone, Copy, Eq, PartialEq)]
enum ResponseForm {
    Always,
    /// Clients of the current generation get `null`.
    ByGeneration,
}

impl ResponseForm {
    fn is_silent(self, headers: &AllowedHeaders) -> bool {
        self == Self::ByGeneration && is_current_client(headers)
    }
}

async fn list(state: Arc<State>, call: Call, wire: fn(&Folder) -> Value) -> HandlerResult {
    let page = Page::read(&call.query, LIST)?;
    let view = state.view(&call.permit);
    let agent = view.get::<Agent>(call.param("agent_id")).await?.record;
    let folders = DocumentFilter::linked_from(Folder::KIND, links::AGENT_FOLDER, &agent.id);
    let folders = Listing::<Folder>::of(folders).page(view, &page, |_| true).await?;
    Ok(Reply::ok(folders.iter().map(|folder| wire(&folder.record)).collect()))
}

async fn attach(state: Arc<State>, call: Call, told: ResponseForm) -> HandlerResult {
    let view = state.view(&call.permit);
    let most = view.get::<Agent>(call.param("agent_id")).await?.record.max_files_open;
    let newest = attachments::newest_files(view, id_in_path(&call), most).await?;
    let agent_id = call.param("agent_id");
    let folder_id = id_in_path(&call);
    let agent = transaction!(state.store, tx => {
        let locks = Locks::of(Folder::KIND, [folder_id]).and(Agent::KIND, [agent_id]);
        let locked = tx.lock(&locks).await?;
        let mut agent = view.locked::<Agent>(&locked, agent_id)?;
        let folder = view.locked::<Folder>(&locked, folder_id)?;
        if folder.project != agent.project {
            return Err(not_found::<Folder>(&folder.record.id));
        }
        attachments::attach(tx, &agent.record, &agent.project, &folder.record, &newest).await?;
        agent.record.touch();
        update(tx, &agent.record).await?;
        Ok(agent)
    })?;
    show(view, agent, told.is_silent(&call.headers)).await
}

/// Detaching what is not attached changes nothing.
async fn detach(state: Arc<State>, call: Call, told: ResponseForm) -> HandlerResult {
    let view = state.view(&call.permit);
    let agent_id = call.param("agent_id");
    let folder_id = id_in_path(&call);
    let agent = transaction!(state.store, tx => {
        let mut agent = view.get_for_update::<Agent>(tx, agent_id).await?;
        let folder = view.get_within::<Folder>(tx, folder_id).await?;
        attachments::detach(tx, &agent.record.id, &agent.project, &folder.record.id).await?;
        agent.record.touch();
        update(tx, &agent.record).await?;
        Ok(agent)
    })?;
    show(view, agent, told.is_silent(&call.headers)).await
}

async fn show(view: View<'_>, agent: Stored<Agent>, silent: bool) -> HandlerResult {
    if silent {
        return Ok(Reply::ok(Value::Null));
    }
    memory::show_one(view, &agent.record, Include::EVERYTHING).await.map(Reply::written)
}

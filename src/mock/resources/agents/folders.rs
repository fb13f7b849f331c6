//! The folders of an agent, also under their older name, sources.

use std::sync::Arc;

use serde_json::Value;

use super::changed;
use crate::{
    access::{Call, Operation},
    mock::{
        files::attachments,
        pagination::{
            cursor::{Defaults, Page},
            list::Listing,
        },
        records::{Agent, Folder, Record, links},
        resources::{
            attach::locked_in,
            folders::id_in_path,
            routes::{HandlerResult, Routes},
        },
        state::State,
        storage::View,
    },
    reply::Reply,
    request::headers::AllowedHeaders,
    store::{DocumentFilter, Locks, transaction},
};

pub(super) fn mount(routes: Routes) -> Routes {
    routes
        .on(Operation::ListFoldersForAgent, |state, call| list(state, call, Folder::wire))
        .on(Operation::AttachFolderToAgent, |state, call| attach(state, call, ResponseForm::ByGeneration))
        .on(Operation::DetachFolderFromAgent, |state, call| detach(state, call, ResponseForm::ByGeneration))
        .on(Operation::ListAgentSources, |state, call| list(state, call, Folder::wire_as_source))
        .on(Operation::AttachSourceToAgent, |state, call| attach(state, call, ResponseForm::Always))
        .on(Operation::DetachSourceFromAgent, |state, call| detach(state, call, ResponseForm::Always))
}

const LIST: Defaults = Defaults { limit: 100, newest_first: true, order_by: &["created_at"] };

/// Which clients get the agent in the response to a change.
#[derive(Clone, Copy)]
enum ResponseForm {
    /// All of them.
    Always,
    /// Those of older generations. Clients of the current one get `null`.
    ByGeneration,
}

impl ResponseForm {
    async fn show(self, headers: &AllowedHeaders, view: View<'_>, agent: &Agent) -> HandlerResult {
        match self {
            Self::Always => changed::show(view, agent).await,
            Self::ByGeneration => changed::show_unless_current(headers, view, agent).await,
        }
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

async fn attach(state: Arc<State>, call: Call, form: ResponseForm) -> HandlerResult {
    let view = state.view(&call.permit);
    let max_files_open = view.get::<Agent>(call.param("agent_id")).await?.record.max_files_open;
    let newest = attachments::newest_files(view, id_in_path(&call), max_files_open).await?;
    let agent_id = call.param("agent_id");
    let folder_id = id_in_path(&call);
    let agent = transaction!(state.store, tx => {
        let locks = Locks::of(Folder::KIND, [folder_id]).and(Agent::KIND, [agent_id]);
        let locked = tx.lock(&locks).await?;
        let agent = view.locked::<Agent>(&locked, agent_id)?;
        let folder = locked_in::<Folder>(view, &locked, &agent.project, folder_id)?;
        attachments::attach(tx, &agent.record, &agent.project, &folder.record, &newest).await?;
        changed::store(tx, agent).await
    })?;
    form.show(&call.headers, view, &agent.record).await
}

/// Detaching a folder that is not attached changes nothing.
async fn detach(state: Arc<State>, call: Call, form: ResponseForm) -> HandlerResult {
    let view = state.view(&call.permit);
    let agent_id = call.param("agent_id");
    let folder_id = id_in_path(&call);
    let agent = transaction!(state.store, tx => {
        let agent = view.get_for_update::<Agent>(tx, agent_id).await?;
        let folder = view.get_within::<Folder>(tx, folder_id).await?;
        attachments::detach(tx, &agent.record.id, &agent.project, &folder.record.id).await?;
        changed::store(tx, agent).await
    })?;
    form.show(&call.headers, view, &agent.record).await
}

//! Jobs: the processing of files.

use std::sync::Arc;

use super::{
    by_id,
    lists::in_project,
    routes::{HandlerResult, Routes},
};
use crate::{
    access::{Call, Operation},
    mock::{
        pagination::cursor::{Defaults, Page},
        records::Job,
        state::State,
    },
    reply::Reply,
};

pub(super) fn mount(routes: Routes) -> Routes {
    routes
        .on(Operation::ListJobs, list)
        .on(Operation::ListActiveJobs, list_active)
        .on(Operation::RetrieveJob, retrieve)
        .on(Operation::CancelJob, cancel)
        .on(Operation::DeleteJob, delete)
}

const LIST: Defaults = Defaults { limit: 100, newest_first: true, order_by: &["created_at"] };
const ACTIVE: Defaults = Defaults { limit: 50, newest_first: false, order_by: &["created_at"] };

async fn list(state: Arc<State>, call: Call) -> HandlerResult {
    let active = call.query.boolean("active")?.unwrap_or(false);
    page(state, call, LIST, active).await
}

async fn list_active(state: Arc<State>, call: Call) -> HandlerResult {
    page(state, call, ACTIVE, true).await
}

async fn page(state: Arc<State>, call: Call, defaults: Defaults, active: bool) -> HandlerResult {
    let page = Page::read_ascending(&call.query, defaults)?;
    let folder = call.query.first("source_id");
    let accepts =
        |job: &Job| (!active || job.is_active()) && folder.is_none_or(|wanted| job.folder_id() == Some(wanted));
    let jobs = in_project(&call).page(state.view(&call.permit), &page, accepts).await?;
    Ok(Reply::ok(jobs.iter().map(|job| job.record.wire()).collect()))
}

async fn retrieve(state: Arc<State>, call: Call) -> HandlerResult {
    let job = state.view(&call.permit).get::<Job>(call.param("job_id")).await?;
    Ok(Reply::ok(job.record.wire()))
}

/// Changes nothing about a job that has ended.
async fn cancel(state: Arc<State>, call: Call) -> HandlerResult {
    let job = by_id::change(state.view(&call.permit), call.param("job_id"), |job: &mut Job| {
        job.cancel();
        Ok(())
    })
    .await?;
    Ok(Reply::ok(job.wire()))
}

async fn delete(state: Arc<State>, call: Call) -> HandlerResult {
    let job = by_id::delete::<Job>(state.view(&call.permit), call.param("job_id")).await?;
    Ok(Reply::ok(job.wire()))
}

//! Jobs.

use std::sync::Arc;

use super::{HandlerResult, Routes};
use crate::{
    access::{Call, Operation},
    mock::{
        pagination::{
            cursor::{Defaults, Page},
            list::Listing,
        },
        records::{Job, Record},
        state::State,
        storage::documents::update,
    },
    reply::Reply,
    store::{DocumentFilter, transaction},
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
    let documents = DocumentFilter::of_project(Job::KIND, call.permit.project().as_str());
    let jobs = Listing::of(documents).page(state.view(&call.permit), &page, accepts).await?;
    Ok(Reply::ok(jobs.iter().map(|job| job.record.wire()).collect()))
}

async fn retrieve(state: Arc<State>, call: Call) -> HandlerResult {
    let job = state.view(&call.permit).get::<Job>(call.param("job_id")).await?;
    Ok(Reply::ok(job.record.wire()))
}

/// A job that has ended stays as it is.
async fn cancel(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    let job_id = call.param("job_id");
    let job = transaction!(state.store, tx => {
        let mut job = view.get_for_update::<Job>(tx, job_id).await?.record;
        job.cancel();
        update(tx, &job).await?;
        Ok(job)
    })?;
    Ok(Reply::ok(job.wire()))
}

async fn delete(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    let job_id = call.param("job_id");
    let job = transaction!(state.store, tx => {
        let job = view.get_for_update::<Job>(tx, job_id).await?.record;
        tx.delete_document(Job::KIND, &job.id).await?;
        Ok(job)
    })?;
    Ok(Reply::ok(job.wire()))
}

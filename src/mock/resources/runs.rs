//! Runs.

use std::sync::Arc;

use super::{Answer, Routes};
use crate::{
    access::Operation,
    call::{Call, Reply},
    mock::{records::Run, state::State},
};

pub(super) fn mount(routes: Routes) -> Routes {
    routes.on(Operation::RetrieveRun, retrieve)
}

async fn retrieve(state: Arc<State>, call: Call) -> Answer {
    let run = state.view(&call.permit).get::<Run>(call.param("run_id")).await?;
    Ok(Reply::ok(run.record.wire()))
}

//! What the hosted service says of an account. The mock has one, and it is always the same.

use std::sync::Arc;

use serde_json::json;

use super::{HandlerResult, Routes};
use crate::{
    access::{Call, Operation, Permit},
    mock::{
        records::{ACTOR, ORGANIZATION},
        state::State,
        validation::body::Fields,
    },
    reply::Reply,
};

const ONE_ACCOUNT: &str = "There is one account, without bills; only the project follows the request.";
const UNHEARD: &str = "Nobody reads what is sent.";
/// More credits than any test uses up.
const CREDITS: i64 = 1_000_000;
const TIER: &str = "free";

pub(super) fn mount(routes: Routes) -> Routes {
    routes
        .fixed_shape(Operation::GetUser, user, ONE_ACCOUNT)
        .fixed_shape(Operation::GetStatus, status, ONE_ACCOUNT)
        .fixed_shape(Operation::RetrieveCurrentBalances, balance, ONE_ACCOUNT)
        .fixed_shape(Operation::SendFeedback, feedback, UNHEARD)
        .fixed_shape(Operation::SendTelemetry, telemetry, UNHEARD)
}

async fn user(_: Arc<State>, call: Call) -> HandlerResult {
    let project = project(&call.permit);
    Ok(Reply::ok(json!({
        "id": ACTOR,
        "email": "developer@example.com",
        "name": "Developer",
        "organization_name": "Default",
        "organization_id": ORGANIZATION,
        "current_project_name": project,
        "current_project_id": project,
        "billing_tier": TIER,
        "remaining_credits": CREDITS,
    })))
}

async fn status(_: Arc<State>, call: Call) -> HandlerResult {
    Ok(Reply::ok(json!({"current_project_id": project(&call.permit)})))
}

async fn balance(_: Arc<State>, _: Call) -> HandlerResult {
    Ok(Reply::ok(json!({
        "total_balance": CREDITS,
        "monthly_credit_balance": CREDITS,
        "purchased_credit_balance": 0,
        "billing_tier": TIER,
    })))
}

async fn feedback(_: Arc<State>, mut call: Call) -> HandlerResult {
    const LONGEST: usize = 10_000;
    let body = call.json().await?;
    let fields = Fields::of_body(&body)?;
    let message: &str = fields.required("message")?;
    if message.is_empty() || message.chars().count() > LONGEST {
        let rule = format!("it has 1 to {LONGEST} characters");
        return Err(fields.at("message").breaks_rule(&rule, &message.into()));
    }
    fields.one_of("feature", &["letta-code", "sdk"])?;
    Ok(Reply::ok(json!({"success": true})))
}

async fn telemetry(_: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let fields = Fields::of_body(&body)?;
    fields.required::<&str>("service")?;
    fields.one_of("service", &["letta-code"])?;
    for event in fields.required::<Vec<Fields<'_>>>("events")? {
        event.required::<&str>("type")?;
        event.one_of("type", &["session_start", "session_end", "tool_usage", "error", "user_input"])?;
        event.required::<&str>("timestamp")?;
        event.required::<Fields<'_>>("data")?;
    }
    Ok(Reply::ok(json!({"success": true})))
}

fn project(permit: &Permit) -> &str {
    permit.project().as_str()
}

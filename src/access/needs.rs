//! What the table needs of a client token before the request itself is looked at.

use super::{
    Operation, Params,
    denial::Denial,
    grant::{AgentSource, ClientGrant, Grant},
    ids,
    permit::Bearer,
    step::listed,
};
use crate::{credentials::ClientToken, error::ApiError};

/// The conditions under which a client token may call an operation.
///
/// # Errors
/// 403 when no client token may.
pub(super) fn client_grant(operation: Operation) -> Result<&'static ClientGrant, Denial> {
    match operation.grant() {
        Grant::Client(grant) => Ok(grant),
        Grant::KeyOnly => Err(Denial::ApiKeyRequired),
        Grant::Never | Grant::Public => Err(Denial::OperationNotAvailable(operation)),
    }
}

/// The condition under which a caller may call an operation, as far as it does not depend on the request. `caller` is who
/// was identified, or why nobody was.
///
/// # Errors
/// Why it may not.
pub(crate) fn check_operation(caller: Result<&Bearer, &ApiError>, operation: Operation) -> Result<String, ApiError> {
    if matches!(operation.grant(), Grant::Public) {
        return Ok("open to everyone".into());
    }
    let token = match caller.map_err(ApiError::without_cause)? {
        Bearer::ApiKey(_) => return Ok("open to API keys".into()),
        Bearer::ClientToken(token) => token,
    };
    let grant = client_grant(operation)?;
    check_granted_somewhere(token, grant)?;
    let covered = token.policy().iter().filter(|(_, held)| held.contains(grant.access));
    let covered = listed(covered.map(|(agent, _)| agent.as_str()));
    Ok(format!("on {covered}: {}", operation.row().note))
}

/// Checks that any entry of a policy grants the access.
///
/// # Errors
/// 403.
pub(super) fn check_granted_somewhere(token: &ClientToken, grant: &ClientGrant) -> Result<(), Denial> {
    let is_granted = token.policy().iter().any(|(_, held)| held.contains(grant.access));
    if is_granted { Ok(()) } else { Err(Denial::AccessNowhereGranted { needed: grant.access }) }
}

/// The agent that the path names by itself, if any.
pub(super) fn agent_in_path<'p>(grant: &ClientGrant, params: &'p Params) -> Option<&'p str> {
    match grant.agent {
        AgentSource::Path => params.find("agent_id"),
        AgentSource::Conversation => params.find("conversation_id").filter(|id| ids::is_letta_id(id, "agent")),
        AgentSource::Run | AgentSource::Step | AgentSource::Query | AgentSource::Body | AgentSource::Policy => None,
    }
}

//! Why a frame is refused, and what its developer does about it.

use crate::{
    app_server::Command,
    error::{ApiError, Code},
    model::AgentId,
};

/// What to do about a text that speaks as the harness does.
pub(super) const TAGS: &str =
    "the tags <system-reminder> and <task-notification> are the server's own, so write them another way";

/// A field that does not follow its rule.
pub(super) fn invalid(at: &str, what: &str) -> ApiError {
    ApiError::new(Code::InvalidRequest, format!("The field {at} {what}."))
}

/// A field that a client token may not set.
pub(super) fn not_granted(at: &str, hint: &str) -> ApiError {
    ApiError::new(Code::FieldNotGranted, format!("A client token may not set {at}; {hint}."))
}

/// The same for what does not exist and for what the policy does not cover.
pub(super) fn not_found() -> ApiError {
    ApiError::new(Code::NotFound, "There is no such agent or conversation among those that the token's policy covers.")
}

pub(super) fn unknown_command() -> ApiError {
    ApiError::new(Code::NotFound, "There is no command of this type.")
}

pub(super) fn not_available(command: Command) -> ApiError {
    let row = command.row();
    let sentence = format!("{} is not available to client tokens ({}); send it from your server.", row.name, row.note);
    ApiError::new(Code::OperationNotAvailable, sentence)
}

pub(super) fn not_started() -> ApiError {
    ApiError::new(Code::InvalidRequest, "Start this runtime with runtime_start on this connection first.")
}

pub(super) fn repeated_request_id() -> ApiError {
    invalid("request_id", "repeats that of a request without a response yet; use another one")
}

pub(super) fn too_many_runtimes(most: usize) -> ApiError {
    let sentence = format!("A connection may start at most {most} runtimes; open another connection.");
    ApiError::new(Code::RateLimited, sentence)
}

pub(super) fn reflects(agent: &AgentId) -> ApiError {
    let sentence = format!(
        "{agent} cannot be used with client tokens, because its server is set to reflect on what pages write, with tools; \
         its operator must switch reflection off."
    );
    ApiError::new(Code::AgentNotInPolicy, sentence)
}

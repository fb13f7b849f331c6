//! Responses, which can be continued: each that is stored has a conversation of its own, and continuing it forks that.

use std::sync::Arc;

use super::{
    chat::Chat,
    chat_backend::ChatBackend,
    input, response_id,
    response_writer::{Events, Response},
};
use crate::{
    access::{Call, Charge},
    credentials::Keyring,
    entropy,
    error::{ApiError, Code},
    reply::Reply,
};

pub(super) async fn create(
    keyring: &Keyring,
    mut call: Call,
    backend: Arc<dyn ChatBackend>,
    charge: &mut Charge<'_>,
) -> Result<Reply, ApiError> {
    let body = call.json().await?;
    let text = input::user_text(&body, "input")?;
    let is_stream = input::switch(&body["stream"], &["body", "stream"])?;
    let is_stored = input::switch(&body["store"], &["body", "store"])?;
    let previous = input::text(&body, "previous_response_id")?;
    let chat = Chat::of(&call, backend)?;
    let conversation = match previous {
        None => chat.create().await?,
        Some(previous) => {
            let origin = response_id::verify(keyring, chat.subject(), previous).ok_or_else(response_not_found)?;
            chat.fork(&origin).await.map_err(|error| match error.code() {
                Code::NotFound => response_not_found(),
                _ => error,
            })?
        }
    };
    let id = if is_stored {
        response_id::sign(keyring, chat.subject(), &conversation)
    } else {
        format!("resp_{}", entropy::uuid())
    };
    let mut turn = chat.start(chat.temporary(conversation), text, is_stream).await?;
    if is_stored {
        turn.keep_conversation();
    }
    let response = Response::new(id, chat.agent().as_str(), previous, is_stored);
    if is_stream {
        return Ok(Reply::Events(Events::of(response, turn)));
    }
    Ok(Reply::ok(response.whole(&turn.gather(charge).await?)))
}

fn response_not_found() -> ApiError {
    let sentence = "There is no response of this id to continue: only one with store=true can be, by the same application \
                    and with the same agent.";
    ApiError::new(Code::ResponseNotFound, sentence)
}

//! The `OpenAI` API for client tokens, served by Gatelet itself: the agents of the policy are its models.
//!
//! What a page sends is never passed on. Of a request only the agent, the last user text and a few options are used; the turn
//! is started through [`ChatBackend`], with the messages operations of Letta's API or whatever else an agent is reached by,
//! and its text is written in `OpenAI`'s form. API keys do not come here: they get what the backend itself responds.

mod chat;
mod chat_backend;
mod chat_keys;
mod completions;
mod error;
mod input;
mod letta_v1;
mod models;
mod response_id;
mod response_writer;
mod responses;
mod turn_reader;

use std::sync::Arc;

use self::chat_keys::ChatKeys;
pub(crate) use self::{
    chat_backend::ChatBackend,
    error::error_object,
    letta_v1::{LettaApi, LettaV1},
};
use crate::{
    access::{Call, Charge, Operation},
    credentials::Keyring,
    error::ApiError,
    reply::Reply,
};

/// The `OpenAI` API of one application. Cheap to clone.
#[derive(Clone)]
pub(crate) struct OpenAi {
    chat_keys: ChatKeys,
    keyring: Arc<Keyring>,
}

impl OpenAi {
    /// Without any chats yet. Ids of responses are signed for the installation of `keyring`.
    #[must_use]
    pub(crate) fn new(keyring: Arc<Keyring>) -> Self {
        Self { chat_keys: ChatKeys::default(), keyring }
    }

    /// Responds to a client token's call. A text that is read whole is added to `charge`.
    ///
    /// # Errors
    /// 404 when a response cannot be continued; 422 when a field is malformed; 429 when the text exceeds the caller's budget;
    /// those of the backend; without a stream, those of the turn.
    pub(crate) async fn respond(
        &self,
        call: Call,
        backend: Arc<dyn ChatBackend>,
        charge: &mut Charge<'_>,
    ) -> Result<Reply, ApiError> {
        match call.operation {
            Operation::ListModels => Ok(models::list(&call)),
            Operation::CreateChatCompletion => completions::create(&self.chat_keys, call, backend, charge).await,
            Operation::CreateResponse => responses::create(&self.keyring, call, backend, charge).await,
            other => Err(ApiError::internal(format!("{other} is no operation of the OpenAI API"))),
        }
    }
}

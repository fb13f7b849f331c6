//! The conversations of chats that clients name by a key of their own, in the memory of this process.

use std::{fmt, sync::Arc};

use quick_cache::sync::Cache;

use crate::{credentials::sha256, error::ApiError};

/// How many chats are remembered. A chat that was forgotten goes on in a new conversation.
const CAPACITY: usize = 10_000;

/// A chat: one subject's key for one agent, hashed so that all take the same memory.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct ChatKey([u8; 32]);

impl ChatKey {
    /// The chat that these parts name together.
    #[must_use]
    pub(super) fn of<'a>(parts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut text = Vec::new();
        for part in parts {
            text.extend_from_slice(&(part.len() as u64).to_be_bytes());
            text.extend_from_slice(part.as_bytes());
        }
        Self(sha256(&text))
    }
}

/// The conversation of each chat. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub(super) struct ChatKeys(Arc<Cache<ChatKey, Arc<str>>>);

impl ChatKeys {
    /// The conversation of a chat; for a new chat, what `create` returns. Concurrent requests of one chat wait for one
    /// conversation.
    ///
    /// # Errors
    /// Those of `create`.
    pub(super) async fn conversation(
        &self,
        chat: ChatKey,
        create: impl Future<Output = Result<String, ApiError>>,
    ) -> Result<Arc<str>, ApiError> {
        match self.0.get_value_or_guard_async(&chat).await {
            Ok(conversation) => Ok(conversation),
            Err(guard) => {
                let conversation: Arc<str> = create.await?.into();
                // It fails if the chat was forgotten meanwhile; then the next request creates another conversation.
                let _ = guard.insert(Arc::clone(&conversation));
                Ok(conversation)
            }
        }
    }

    /// Forgets a conversation that cannot go on.
    pub(super) fn forget(&self, chat: ChatKey, conversation: &str) {
        self.0.remove_if(&chat, |known| **known == *conversation);
    }
}

impl Default for ChatKeys {
    fn default() -> Self {
        Self(Arc::new(Cache::new(CAPACITY)))
    }
}

impl fmt::Debug for ChatKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatKeys").field("len", &self.0.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_eq!(ChatKey::of(["a", "b"]), ChatKey::of(["a", "b"]));
        assert_ne!(ChatKey::of(["a", "b"]), ChatKey::of(["ab", ""]));
        assert_ne!(ChatKey::of(["a", "b"]), ChatKey::of(["b", "a"]));
    }

    #[tokio::test]
    async fn a_chat_keeps_its_conversation_until_it_is_forgotten() {
        let (keys, chat) = (ChatKeys::default(), ChatKey::of(["a"]));
        let create = async |id: &str| keys.conversation(chat, std::future::ready(Ok(id.to_owned()))).await.unwrap();
        assert_eq!(&*create("conv-1").await, "conv-1");
        assert_eq!(&*create("conv-2").await, "conv-1");
        keys.forget(chat, "conv-0");
        assert_eq!(&*create("conv-2").await, "conv-1");
        keys.forget(chat, "conv-1");
        assert_eq!(&*create("conv-2").await, "conv-2");
    }

    #[tokio::test]
    async fn of_many_chats_the_most_recent_are_kept() {
        let keys = ChatKeys::default();
        for number in 0..2 * CAPACITY {
            let chat = ChatKey::of([number.to_string().as_str()]);
            keys.conversation(chat, std::future::ready(Ok("conv".into()))).await.unwrap();
        }
        assert!(keys.0.len() <= CAPACITY);
    }
}

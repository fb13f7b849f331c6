//! Replies: what agents say in a test, and when.
//!
//! Each world of a namespace has its own. What a snapshot keeps of them is a [`SavedReplies`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{ApiError, Code};

/// The replies of a world. Cheap to clone; all clones are the same replies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Replies(Arc<Mutex<SavedReplies>>);

/// Replies, how often each was used, and the state that they have reached.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SavedReplies {
    replies: Vec<Value>,
}

impl Replies {
    /// The replies that were saved.
    pub(crate) fn restore(saved: &SavedReplies) -> Self {
        Self(Arc::new(Mutex::new(saved.clone())))
    }

    /// The replies as they are now.
    pub(crate) fn save(&self) -> SavedReplies {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, SavedReplies> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SavedReplies {
    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.replies.len()
    }

    /// Reads replies as a namespace is created with them: `replies`, which are at `pointer` in the body, and `unmatched`.
    ///
    /// # Errors
    /// 422 `script_invalid` with the place.
    pub(crate) fn read(replies: Vec<Value>, unmatched: Option<&str>, pointer: &str) -> Result<Self, ApiError> {
        if !replies.is_empty() || unmatched.is_some() {
            return Err(ApiError::new(Code::ScriptInvalid, "Replies cannot be given yet.").at(pointer));
        }
        Ok(Self { replies })
    }
}

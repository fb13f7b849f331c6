//! What a snapshot keeps of replies.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::Value;

use super::{Limits, definition::Reply, listing::Unmatched, parse::read_reply};

/// Replies, how often each was used, and the state that they have reached. Cheap to clone.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SavedReplies {
    /// Those that were added at run time.
    pub(super) run_time: Vec<SavedReply>,
    /// Those of a script; `None` for the script of the server.
    pub(super) script: Option<Vec<SavedReply>>,
    /// What agents say if no reply fits; `None` for what the script says.
    pub(super) unmatched: Option<Unmatched>,
    /// The state of the namespace; `None` for the first one.
    pub(super) state: Option<String>,
    /// The number of the next reply without an id.
    pub(super) next_id: u64,
}

/// A reply, and how often it was used.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct SavedReply {
    #[serde(rename = "definition", serialize_with = "write", deserialize_with = "read")]
    pub(super) reply: Arc<Reply>,
    pub(super) batch: u64,
    pub(super) hits: u64,
}

fn write<S: Serializer>(reply: &Arc<Reply>, serializer: S) -> Result<S::Ok, S::Error> {
    reply.definition.serialize(serializer)
}

fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Reply>, D::Error> {
    // A script on disk has larger limits.
    let reply = read_reply(Value::deserialize(deserializer)?, "", Limits::FILE);
    reply.map(Arc::new).map_err(|mistake| D::Error::custom(mistake.problem))
}

impl SavedReplies {
    /// How many were added at run time.
    pub(crate) fn count(&self) -> usize {
        self.run_time.len()
    }
}

//! Which members of JSON are secrets, and what replaces them.

use serde_json::Value;

/// What stands where a secret was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Blank {
    Null,
    List,
    /// A text where Letta knows no null.
    Empty,
}

impl Blank {
    pub(super) const MOST_BYTES: usize = 4;

    pub(super) fn text(self) -> &'static [u8] {
        match self {
            Self::Null => b"null",
            Self::List => b"[]",
            Self::Empty => b"\"\"",
        }
    }
}

/// What kind of value a member has, as its first byte tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Text,
    List,
    Other,
}

impl Kind {
    pub(super) fn of_text(first: Option<&u8>) -> Self {
        match first {
            Some(b'"') => Self::Text,
            Some(b'[') => Self::List,
            _ => Self::Other,
        }
    }

    pub(super) fn of_value(value: &Value) -> Self {
        match value {
            Value::String(_) => Self::Text,
            Value::Array(_) => Self::List,
            _ => Self::Other,
        }
    }
}

/// Makes of the names of secrets the function that knows them, and a number that is another for other names.
macro_rules! secrets {
    ($member:ident, $kind:ident: $($name:pat if $condition:expr => $blank:ident,)+) => {
        /// What stands for a member of this name and kind, if it is a secret: the names under which Letta nests them, at
        /// any depth. A field of the user's own that happens to have such a name is blanked too: better one field too many
        /// than one too few.
        pub(super) fn blank_of($member: &[u8], $kind: Kind) -> Option<Blank> {
            match $member {
                $($name if $condition => Some(Blank::$blank),)+
                _ => None,
            }
        }

        /// The names of secrets, as they stand below.
        pub(super) const SECRETS: &str = stringify!($($name if $condition => $blank,)+);

        /// What they are, as a number: what was marked by other names is not marked.
        pub(crate) const NAMES_OF_SECRETS: u32 = checksum(SECRETS);
    };
}

secrets! {
    name, kind:
    b"secrets" | b"tool_exec_environment_variables" if true => List,
    b"source_code" | b"model_endpoint" | b"embedding_endpoint" | b"azure_endpoint" | b"error_data" | b"api_key"
        | b"api_key_enc" | b"access_key" | b"access_key_enc" | b"auth_token" | b"auth_header" | b"custom_headers"
        | b"server_url" | b"value_enc" | b"base_url" if true => Null,
    // The handle of an embedding model is a string; a passage's vector is not.
    b"embedding" if kind == Kind::List => Null,
    // Where the end of a run is told, and what became of that.
    b"callback_url" if kind == Kind::Text => Empty,
    _ if name.starts_with(b"callback_") => Null,
    // Groups and identities have other agents as members. A person's own key and properties are nobody else's affair.
    b"managed_group" | b"multi_agent_group" if true => Null,
    b"identities" | b"identity_ids" | b"group_ids" if kind == Kind::List => List,
    // The runs of other agents that a turn has set off; its own run is told by every message.
    b"run_ids" if kind == Kind::List => List,
    // Who else speaks in a group. A parameter of a tool may have such a name: its schema is an object.
    b"sender_id" if kind == Kind::Text => Empty,
    b"group_id" | b"identity_id" if kind == Kind::Text => Null,
    // `agent_id` itself is the agent that was asked about. Whatever else names an agent, also under a name that Letta has
    // yet to invent, names another.
    _ if name.ends_with(b"_agent_id") && kind == Kind::Text => Null,
    _ if name.ends_with(b"agent_ids") && kind == Kind::List => List,
}

/// FNV-1a.
const fn checksum(text: &str) -> u32 {
    let (bytes, mut sum, mut at) = (text.as_bytes(), 0x811c_9dc5_u32, 0);
    while at < bytes.len() {
        sum = (sum ^ bytes[at] as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    sum
}

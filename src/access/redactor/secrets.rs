//! Which members of JSON are secrets, and what replaces them.

use serde_json::Value;

/// What replaces a secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Blank {
    Null,
    List,
    /// An empty text, where Letta allows no null.
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

/// The kind of a member's value, as far as its first byte tells.
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

/// Turns the names of secrets into the function that recognizes them and, for tests, a text of the names.
macro_rules! secrets {
    ($member:ident, $kind:ident: $($name:pat if $condition:expr => $blank:ident,)+) => {
        /// What replaces a member of this name and kind, if it is a secret: the names are those under which Letta nests
        /// secrets, at any depth. A user's own field that happens to have such a name is blanked too: better one field too
        /// many than one too few.
        pub(super) fn blank_of($member: &[u8], $kind: Kind) -> Option<Blank> {
            match $member {
                $($name if $condition => Some(Blank::$blank),)+
                _ => None,
            }
        }

        /// The patterns below, as text.
        #[cfg(test)]
        pub(super) const SECRETS: &str = stringify!($($name if $condition => $blank,)+);
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
    // Where the end of a run is reported, and the outcome of that.
    b"callback_url" if kind == Kind::Text => Empty,
    _ if name.starts_with(b"callback_") => Null,
    // Groups and identities have other agents as members, and identities show a person's key and properties.
    b"managed_group" | b"multi_agent_group" if true => Null,
    b"identities" | b"identity_ids" | b"group_ids" if kind == Kind::List => List,
    // The runs that a turn has started of other agents; its own run is in every message.
    b"run_ids" if kind == Kind::List => List,
    // Other members of a group. A tool's parameter may have such a name, but its schema is an object.
    b"sender_id" if kind == Kind::Text => Empty,
    b"group_id" | b"identity_id" if kind == Kind::Text => Null,
    // `agent_id` itself is the agent that the request is about. Any other name that ends in it, also one that Letta adds
    // later, names another agent.
    _ if name.ends_with(b"_agent_id") && kind == Kind::Text => Null,
    _ if name.ends_with(b"agent_ids") && kind == Kind::List => List,
}

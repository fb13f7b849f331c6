//! The vocabulary of the operation table: what an operation requires of a client token, and which fields it accepts.
//!
//! A field list names every field that Letta knows for an operation. Each is either passed on or, if it carries a value,
//! refused with 403; a field that is not in the list is unknown to Letta and dropped. So nothing else reaches a handler or
//! an upstream.
//!
//! A list also says which query parameters may be repeated, and how large a value may be. Of a repeated scalar parameter
//! some servers read the first value and others the last, so it is refused. Values without a limit could make a stored
//! object too large to be read.

use crate::model::{Access, AccessSet};

/// Who may call an operation.
#[derive(Clone, Copy, Debug)]
pub enum Grant {
    /// Anyone, without a bearer.
    Public,
    /// API keys; the refusal of a client token says that a key is needed.
    KeyOnly,
    /// API keys; no policy can open it to a client token.
    Never,
    /// API keys, and client tokens under these conditions.
    Client(ClientGrant),
}

/// The conditions under which a client token may call an operation.
#[derive(Clone, Copy, Debug)]
pub struct ClientGrant {
    /// The access words that the policy must grant on the agent, all of them.
    pub access: AccessSet,
    /// Where the request names the agent.
    pub agent: AgentSource,
    /// The query parameters Letta knows.
    pub query: FieldList,
    /// The body fields Letta knows; if there are none, a body is neither read nor passed on.
    pub body: FieldList,
    /// A second object that must be proven.
    pub second: Option<Second>,
    /// What is removed from the response.
    pub(crate) redaction: Redaction,
    /// Whether it takes one of the token's streams (`limits.streams_per_token`) while it is in progress: its response is a
    /// stream of events, or it occupies the model for a turn.
    pub streams: bool,
}

/// Where a request names the agent it is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AgentSource {
    /// The path, as `{agent_id}`.
    Path,
    /// The owner of the run in the path.
    Run,
    /// The owner of the step in the path.
    Step,
    /// The conversation in the path: its owner, the agent id that stands in its place, or `default` with `agent_id`.
    Conversation,
    /// The query parameters `agent_id` and `agent_ids`, or the owner of `conversation_id`: at least one, all covered.
    Query,
    /// The body field with the rule [`Rule::SameAgent`].
    Body,
    /// Nowhere: the response is about every agent of the policy.
    Policy,
}

/// A second object in the path that must be proven to belong to the agent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Second {
    /// `{memory_id}`: a passage of the agent's archive, which no agent outside the policy shares. Letta itself does not
    /// check this.
    Passage,
    /// `{file_id}`: a file of a folder attached to the agent.
    File,
    /// `{scheduled_message_id}`: a message scheduled for the agent.
    ScheduledMessage,
    /// `{block_label}`: a block that no agent outside the policy shares.
    UnsharedBlock,
    /// The agent's archive, which no agent outside the policy shares.
    UnsharedArchive,
}

/// What is removed from a response to a client token, and how.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Redaction {
    /// Nothing: the response is for an API key. No row that is open to client tokens has this.
    None,
    /// Secrets, environment variables, tool sources, provider keys, endpoints and callbacks, embeddings, and what names
    /// other agents or people, at any depth. They are overwritten chunk by chunk while the response passes, because a list
    /// of messages may be long and a stream may not end. The default.
    InPassing,
    /// The same in a response into which Letta puts secrets: it is read whole, and passes only if it is JSON.
    Secrets,
    /// As [`Redaction::Secrets`]; if the policy lacks the words for reading what was changed, only the id and the fields
    /// that were sent with a value remain, and a list becomes empty.
    SecretsAndUnsent,
}

/// One field that Letta knows, and what a client token may put in it.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The field's name on the wire.
    pub name: &'static str,
    /// How it is checked.
    pub rule: Rule,
    /// Whether a query may repeat it, because Letta reads it as a list.
    pub is_list: bool,
    /// The largest value in a body, in bytes of JSON. A query is limited only as a whole.
    pub most_bytes: usize,
}

/// Field lists that together name every field that Letta knows in one place.
pub type FieldList = &'static [&'static [Field]];

/// How a field that a client token sends is checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rule {
    /// Passes unchanged.
    Pass,
    /// Refused when it carries a value (neither null nor empty).
    Refuse,
    /// Dropped: it has no effect here, and clients send it by default.
    Ignore,
    /// A number, lowered to this maximum.
    AtMost(i64),
    /// A list of messages: only what an end user may send.
    Messages,
    /// Message content: text and inline images.
    Content,
    /// Refused unless the deployment opens client tools.
    ClientTools,
    /// Ids of runs that must belong to the agent.
    OwnRuns,
    /// A conversation that must belong to the agent; or `default`, if the request names an agent as well.
    OwnConversation,
    /// An agent id: the one the request is about.
    SameAgent,
    /// Agent relationships to include: secrets are left out, a pending approval needs `read_messages` too.
    Include,
    /// A relative path that stays inside its root.
    InnerPath,
    /// A page cursor: the id of something in the list.
    Cursor(Listed),
    /// The messages of a chat completion of the OpenAI API: becomes the text of the last user message.
    ChatMessages,
    /// The input of a response of the OpenAI API, a text or messages: becomes the text of the last user message.
    ResponseInput,
}

/// The kind of things in a list, which its cursors name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Listed {
    /// Blocks of an agent.
    Block,
    /// Conversations.
    Conversation,
    /// An agent's attachments to files.
    File,
    /// Folders of an agent, under their present name or as sources.
    Folder,
    /// Messages, of whichever list.
    Message,
    /// Passages of an agent's archive.
    Passage,
    /// Runs.
    Run,
    /// Messages scheduled for an agent.
    ScheduledMessage,
    /// Steps.
    Step,
    /// Tools of an agent.
    Tool,
}

impl Listed {
    /// The name in a refusal.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Block => "Block",
            Self::Conversation => "Conversation",
            Self::File => "File",
            Self::Folder => "Folder",
            Self::Message => "Message",
            Self::Passage => "Passage",
            Self::Run => "Run",
            Self::ScheduledMessage => "Scheduled message",
            Self::Step => "Step",
            Self::Tool => "Tool",
        }
    }
}

/// The limit, in bytes, of a value without one of its own: a name, a number, a switch, a few words.
const SHORT: usize = 1024;

/// A field with this rule that a query may not repeat. The list adds its name.
pub(super) const fn one(rule: Rule) -> Field {
    Field { name: "", rule, is_list: false, most_bytes: SHORT }
}

/// A field with this rule that a query may repeat.
pub(super) const fn list(rule: Rule) -> Field {
    Field { is_list: true, ..one(rule) }
}

impl Field {
    /// The same with another limit.
    pub(super) const fn at_most(self, most_bytes: usize) -> Self {
        Self { most_bytes, ..self }
    }
}

impl Grant {
    /// A grant on the agent in the path.
    pub(super) const fn agent(words: &[Access]) -> ClientGrant {
        Self::from(AgentSource::Path, words)
    }

    /// A grant on the agent that `source` leads to.
    pub(super) const fn from(agent: AgentSource, words: &[Access]) -> ClientGrant {
        ClientGrant {
            access: AccessSet::of(words),
            agent,
            query: &[],
            body: &[],
            second: None,
            redaction: Redaction::InPassing,
            streams: false,
        }
    }
}

impl ClientGrant {
    pub(super) const fn query(self, query: FieldList) -> Self {
        Self { query, ..self }
    }

    pub(super) const fn body(self, body: FieldList) -> Self {
        Self { body, ..self }
    }

    pub(super) const fn second(self, second: Second) -> Self {
        Self { second: Some(second), ..self }
    }

    pub(super) const fn redact(self, redaction: Redaction) -> Self {
        Self { redaction, ..self }
    }

    pub(super) const fn streams(self) -> Self {
        Self { streams: true, ..self }
    }

    pub(super) const fn on(self) -> Grant {
        Grant::Client(self)
    }

    /// The words for reading what this changes: an agent with its memory and files, or messages.
    #[must_use]
    pub(crate) fn words_to_read(&self) -> AccessSet {
        let written = |word: Access| self.access.contains(AccessSet::of(&[word]));
        let of_agent = if written(Access::WriteAgent) { &[Access::ReadAgent][..] } else { &[] };
        let of_messages = if written(Access::WriteMessages) { &[Access::ReadMessages][..] } else { &[] };
        AccessSet::of(of_agent).union(AccessSet::of(of_messages))
    }

    /// The body field that may name the agent.
    #[must_use]
    pub(super) fn agent_in_body(&self) -> Option<&'static str> {
        self.body.iter().copied().flatten().find(|field| field.rule == Rule::SameAgent).map(|field| field.name)
    }
}

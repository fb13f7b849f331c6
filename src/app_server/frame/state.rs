//! What the gate remembers about one socket of a page.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use super::{
    lookup::{Answer, Lookup, Reflection, ServerInfo},
    text::MessageIds,
};
use crate::{
    app_server::Command,
    credentials::ClientToken,
    model::{Access, AccessSet, AgentId},
};

/// The most responses that a socket expects; the oldest is then forgotten, and would not be passed on.
const MOST_EXPECTED: usize = 256;
/// The most conversations whose owner a socket remembers.
const MOST_OWNERS: usize = 1024;
/// The most ids of sent messages that a socket remembers.
const MOST_SENT: usize = 256;
/// The most queued messages of one runtime that a socket remembers as its own.
const MOST_QUEUED: usize = 256;

/// The limits of one socket that its frames are checked against.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// The most runtimes that may be open.
    pub runtimes: usize,
    /// Whether agents are reached whatever their reflection settings.
    pub allow_reflection: bool,
}

/// One socket of a page: whose it is, which runtimes it has open, and which responses it expects. Everything in it is
/// bounded.
#[derive(Debug)]
pub struct SocketState {
    pub(super) token: Arc<ClientToken>,
    pub(super) limits: Limits,
    pub(super) message_ids: MessageIds,
    pub(super) runtimes: Vec<Runtime>,
    pub(super) info: Option<ServerInfo>,
    /// The number of the server's last event, for events of the gate's own.
    pub(super) last_event: u64,
    expected: VecDeque<Expected>,
    owners: HashMap<String, AgentId>,
    owners_by_age: VecDeque<String>,
    /// A conversation of which a lookup just said that nobody owns it. Another may know better in a second.
    unowned: Option<String>,
    without_reflection: Vec<AgentId>,
    /// An agent of which a lookup just said that it reflects.
    reflecting: Option<AgentId>,
    sent: VecDeque<String>,
}

/// A runtime that this socket has started.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "they change independently of each other")]
pub(super) struct Runtime {
    pub(super) agent: AgentId,
    /// `None` while the conversation is being created.
    pub(super) conversation: Option<String>,
    /// Whether the server said that it has started.
    pub(super) is_open: bool,
    /// The responses that it waits for to be open.
    pub(super) starts: usize,
    /// Whether a turn that this socket began, or saw begin, has not finished.
    pub(super) has_turn: bool,
    /// Whether the server's loop works.
    pub(super) loop_works: bool,
    /// Whether messages wait that are not parked.
    pub(super) has_queue: bool,
    /// The queued messages that this token sent.
    pub(super) own_items: Vec<String>,
}

/// A response that the server owes.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) command: Command,
    pub(super) request_id: String,
    /// The agent that the request was about.
    pub(super) agent: Option<AgentId>,
    /// The conversation that the request was about.
    pub(super) conversation: Option<String>,
    /// Whether it begins a turn.
    pub(super) begins_turn: bool,
}

impl SocketState {
    /// A socket that was just accepted.
    #[must_use]
    pub fn new(token: Arc<ClientToken>, limits: Limits) -> Self {
        Self {
            message_ids: MessageIds::of(token.id),
            token,
            limits,
            runtimes: Vec::new(),
            info: None,
            last_event: 0,
            expected: VecDeque::new(),
            owners: HashMap::new(),
            owners_by_age: VecDeque::new(),
            unowned: None,
            without_reflection: Vec::new(),
            reflecting: None,
            sent: VecDeque::new(),
        }
    }

    /// A socket of a token that is only thought of, with this policy.
    ///
    /// # Panics
    /// Never: its origin is a constant.
    #[cfg(any(test, feature = "fuzzing"))]
    #[must_use]
    pub fn of_policy(policy: &crate::model::Policy, limits: Limits) -> Self {
        #[expect(clippy::expect_used, reason = "a constant, and only tests call this")]
        let hostname = "https://page.example".parse().expect("an origin");
        let token = ClientToken::unsigned(policy, &hostname, crate::model::Project::default(), 0..i64::MAX);
        Self::new(Arc::new(token), limits)
    }

    /// The token that opened the socket.
    #[must_use]
    pub fn token(&self) -> &ClientToken {
        &self.token
    }

    /// Whether the policy has any word with which this protocol can be used. If not, the socket is closed with 4403.
    /// Who may only send cannot open a runtime, because an open runtime shows every message.
    #[must_use]
    pub fn is_of_use(&self) -> bool {
        [Access::ReadMessages, Access::ReadAgent, Access::WriteAgent]
            .into_iter()
            .any(|word| self.grants_somewhere(AccessSet::of(&[word])))
    }

    /// Whether an entry of the policy grants all of these words.
    pub(super) fn grants_somewhere(&self, words: AccessSet) -> bool {
        self.token.policy().iter().any(|(_, held)| held.contains(words))
    }

    /// Notes what a lookup found.
    pub fn learn(&mut self, lookup: &Lookup, answer: Answer) {
        match (lookup, answer) {
            (Lookup::Owner { conversation }, Answer::Owner(Some(agent))) => self.own(conversation.clone(), agent),
            (Lookup::Owner { conversation }, Answer::Owner(None)) => self.unowned = Some(conversation.clone()),
            // Only agents of the policy are looked up, each until the answer is off, so this is bounded.
            (Lookup::Reflection { agent }, Answer::Reflection(Reflection::Off)) => {
                self.without_reflection.push(agent.clone());
            }
            (Lookup::Reflection { agent }, Answer::Reflection(Reflection::On)) => self.reflecting = Some(agent.clone()),
            (Lookup::Info, Answer::Info(info)) => self.info = Some(info),
            // The caller mixed up two lookups; the frame will ask again.
            _ => {}
        }
    }

    /// The owner of a conversation: `Ok(None)` if nobody owns it, and what to look up if that is not known.
    pub(super) fn owner(&mut self, conversation: &str) -> Result<Option<AgentId>, Lookup> {
        if let Some(owner) = self.owners.get(conversation) {
            return Ok(Some(owner.clone()));
        }
        match self.unowned.take_if(|unowned| unowned == conversation) {
            Some(_) => Ok(None),
            None => Err(Lookup::Owner { conversation: conversation.to_owned() }),
        }
    }

    /// Notes whose a conversation is. An owner never changes.
    pub(super) fn own(&mut self, conversation: String, agent: AgentId) {
        if self.owners.insert(conversation.clone(), agent).is_none() {
            self.owners_by_age.push_back(conversation);
        }
        if self.owners_by_age.len() > MOST_OWNERS
            && let Some(oldest) = self.owners_by_age.pop_front()
        {
            self.owners.remove(&oldest);
        }
    }

    /// Whether an agent may be used by its reflection settings, and what to look up if they are not known.
    pub(super) fn may_be_used(&mut self, agent: &AgentId) -> Result<bool, Lookup> {
        if self.limits.allow_reflection || self.without_reflection.contains(agent) {
            return Ok(true);
        }
        match self.reflecting.take_if(|reflecting| reflecting == agent) {
            Some(_) => Ok(false),
            None => Err(Lookup::Reflection { agent: agent.clone() }),
        }
    }

    /// The runtime of this pair, if this socket has started it.
    pub(super) fn runtime(&mut self, agent: &str, conversation: &str) -> Option<&mut Runtime> {
        self.runtimes.iter_mut().find(|runtime| runtime.is(agent, conversation))
    }

    /// Notes a response that the server owes.
    pub(super) fn expect(&mut self, expected: Expected) {
        if self.expected.len() >= MOST_EXPECTED {
            self.expected.pop_front();
        }
        self.expected.push_back(expected);
    }

    /// Whether the server already owes a response with this type and id.
    pub(super) fn expects(&self, command: Command, request_id: &str) -> bool {
        self.expected.iter().any(|expected| expected.is(command, request_id))
    }

    /// The request that a response is to; it is owed no longer, unless more of it follows.
    pub(super) fn arrived(&mut self, command: Command, request_id: &str, is_last: bool) -> Option<Expected> {
        let index = self.expected.iter().position(|expected| expected.is(command, request_id))?;
        if is_last { self.expected.remove(index) } else { self.expected.get(index).map(Expected::copy) }
    }

    /// Notes the id of a message that is sent; whether it is a new one. The server accepts a message whose id it knows, and
    /// does not run it.
    pub(super) fn send(&mut self, id: String) -> bool {
        let is_new = !self.sent.contains(&id);
        if is_new {
            if self.sent.len() >= MOST_SENT {
                self.sent.pop_front();
            }
            self.sent.push_back(id);
        }
        is_new
    }

    /// Whether a turn is in progress or queued in one of the open runtimes: the upstream socket must stay until it ends,
    /// or the conversation is stuck.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.runtimes.iter().any(|runtime| runtime.has_turn || runtime.loop_works || runtime.has_queue)
    }
}

impl Runtime {
    pub(super) fn starting(agent: AgentId, conversation: Option<String>) -> Self {
        Self {
            agent,
            conversation,
            is_open: false,
            starts: 1,
            has_turn: false,
            loop_works: false,
            has_queue: false,
            own_items: Vec::new(),
        }
    }

    pub(super) fn is(&self, agent: &str, conversation: &str) -> bool {
        self.agent.as_str() == agent && self.conversation.as_deref() == Some(conversation)
    }

    /// Whether it is a conversation of this agent that is being created.
    pub(super) fn creates_for(&self, agent: &str) -> bool {
        self.conversation.is_none() && self.agent.as_str() == agent
    }

    /// Notes the queue: whether anything in it waits, and which items this token sent.
    pub(super) fn queue(&mut self, has_queue: bool, own_items: impl Iterator<Item = String>) {
        self.has_queue = has_queue;
        self.own_items = own_items.take(MOST_QUEUED).collect();
    }
}

impl Expected {
    fn is(&self, command: Command, request_id: &str) -> bool {
        self.command == command && self.request_id == request_id
    }

    fn copy(&self) -> Self {
        Self {
            command: self.command,
            request_id: self.request_id.clone(),
            agent: self.agent.clone(),
            conversation: self.conversation.clone(),
            begins_turn: self.begins_turn,
        }
    }
}

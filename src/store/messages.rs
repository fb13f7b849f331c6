//! Messages: the one kind of object that is too numerous to store as documents.

use sqlx::QueryBuilder;

use super::{
    ROWS_AT_ONCE, Result, Store, Tx,
    bounded::{HasSize, ROW, Rows},
    reading, within,
};

/// A stored message.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct StoredMessage {
    /// Its position in the order of creation, which within one agent is the order of the conversation.
    pub seq: i64,
    /// Its id.
    pub id: String,
    /// The project of its agent.
    pub project: String,
    /// Its agent.
    pub agent_id: String,
    /// `default`, or the conversation it was said in.
    pub conversation_id: String,
    /// The run that stored it.
    pub run_id: Option<String>,
    /// Its JSON.
    pub body: String,
}

/// A message to be stored.
#[derive(Clone, Copy, Debug)]
pub struct NewMessage<'a> {
    /// Its id.
    pub id: &'a str,
    /// The project of its agent.
    pub project: &'a str,
    /// Its agent.
    pub agent_id: &'a str,
    /// `default`, or the conversation it is said in.
    pub conversation_id: &'a str,
    /// The run that stores it.
    pub run_id: Option<&'a str>,
    /// Its JSON.
    pub body: &'a str,
}

/// Which messages to read, and in which order. The default is all of them, oldest first.
#[derive(Clone, Copy, Debug)]
pub struct MessageFilter<'a> {
    of: Of<'a>,
    after: i64,
    before: i64,
    newest_first: bool,
    limit: i64,
}

#[derive(Clone, Copy, Debug)]
enum Of<'a> {
    Agent(&'a str),
    Conversation(&'a str, &'a str),
    Run(&'a str),
    Project(&'a str),
    ProjectConversation(&'a str, &'a str),
}

impl<'a> MessageFilter<'a> {
    /// An agent's messages, whatever the conversation.
    #[must_use]
    pub fn of_agent(agent_id: &'a str) -> Self {
        Self::new(Of::Agent(agent_id))
    }

    /// An agent's messages of one conversation.
    #[must_use]
    pub fn of_conversation(agent_id: &'a str, conversation_id: &'a str) -> Self {
        Self::new(Of::Conversation(agent_id, conversation_id))
    }

    /// A run's messages.
    #[must_use]
    pub fn of_run(run_id: &'a str) -> Self {
        Self::new(Of::Run(run_id))
    }

    /// The messages of all agents of a project.
    #[must_use]
    pub fn of_project(project: &'a str) -> Self {
        Self::new(Of::Project(project))
    }

    /// Only those of a conversation, if one is named.
    #[must_use]
    pub fn in_conversation(self, conversation_id: Option<&'a str>) -> Self {
        let of = match (self.of, conversation_id) {
            (Of::Agent(agent), Some(conversation)) => Of::Conversation(agent, conversation),
            (Of::Project(project), Some(conversation)) => Of::ProjectConversation(project, conversation),
            (of, _) => of,
        };
        Self { of, ..self }
    }

    fn new(of: Of<'a>) -> Self {
        Self { of, after: 0, before: i64::MAX, newest_first: false, limit: i64::MAX }
    }

    /// Only messages after the one at this position.
    #[must_use]
    pub fn after(self, seq: i64) -> Self {
        Self { after: seq, ..self }
    }

    /// Only messages before the one at this position.
    #[must_use]
    pub fn before(self, seq: i64) -> Self {
        Self { before: seq, ..self }
    }

    /// Whether the newest come first.
    #[must_use]
    pub fn newest_first(self, newest_first: bool) -> Self {
        Self { newest_first, ..self }
    }

    /// At most this many.
    #[must_use]
    pub fn limit(self, limit: i64) -> Self {
        Self { limit, ..self }
    }
}

macro_rules! select {
    ($condition:literal) => {
        concat!("SELECT seq, id, project, agent_id, conversation_id, run_id, body FROM messages WHERE ", $condition)
    };
}

const BY_ID: &str = select!("id = $1");

impl MessageFilter<'_> {
    /// The statement, and its first two parameters.
    fn statement(&self) -> (&'static str, &str, &str) {
        const OF_AGENT: &str = select!("agent_id = $1 AND $2 = '' AND seq > $3 AND seq < $4 ORDER BY seq LIMIT $5");
        const OF_AGENT_NEWEST: &str =
            select!("agent_id = $1 AND $2 = '' AND seq > $3 AND seq < $4 ORDER BY seq DESC LIMIT $5");
        const OF_CONVERSATION: &str =
            select!("agent_id = $1 AND conversation_id = $2 AND seq > $3 AND seq < $4 ORDER BY seq LIMIT $5");
        const OF_CONVERSATION_NEWEST: &str =
            select!("agent_id = $1 AND conversation_id = $2 AND seq > $3 AND seq < $4 ORDER BY seq DESC LIMIT $5");
        const OF_RUN: &str = select!("run_id = $1 AND $2 = '' AND seq > $3 AND seq < $4 ORDER BY seq LIMIT $5");
        const OF_RUN_NEWEST: &str =
            select!("run_id = $1 AND $2 = '' AND seq > $3 AND seq < $4 ORDER BY seq DESC LIMIT $5");
        const OF_PROJECT: &str = select!("project = $1 AND $2 = '' AND seq > $3 AND seq < $4 ORDER BY seq LIMIT $5");
        const OF_PROJECT_NEWEST: &str =
            select!("project = $1 AND $2 = '' AND seq > $3 AND seq < $4 ORDER BY seq DESC LIMIT $5");
        const OF_BOTH: &str =
            select!("project = $1 AND conversation_id = $2 AND seq > $3 AND seq < $4 ORDER BY seq LIMIT $5");
        const OF_BOTH_NEWEST: &str =
            select!("project = $1 AND conversation_id = $2 AND seq > $3 AND seq < $4 ORDER BY seq DESC LIMIT $5");
        match (self.of, self.newest_first) {
            (Of::Agent(agent), false) => (OF_AGENT, agent, ""),
            (Of::Agent(agent), true) => (OF_AGENT_NEWEST, agent, ""),
            (Of::Conversation(agent, conversation), false) => (OF_CONVERSATION, agent, conversation),
            (Of::Conversation(agent, conversation), true) => (OF_CONVERSATION_NEWEST, agent, conversation),
            (Of::Run(run), false) => (OF_RUN, run, ""),
            (Of::Run(run), true) => (OF_RUN_NEWEST, run, ""),
            (Of::Project(project), false) => (OF_PROJECT, project, ""),
            (Of::Project(project), true) => (OF_PROJECT_NEWEST, project, ""),
            (Of::ProjectConversation(project, conversation), false) => (OF_BOTH, project, conversation),
            (Of::ProjectConversation(project, conversation), true) => (OF_BOTH_NEWEST, project, conversation),
        }
    }
}

/// The select statement, for a pool or a transaction of either engine.
macro_rules! filtered {
    ($filter:ident) => {{
        let (sql, owner, conversation) = $filter.statement();
        sqlx::query_as(sql).bind(owner).bind(conversation).bind($filter.after).bind($filter.before).bind($filter.limit)
    }};
}

impl HasSize for StoredMessage {
    fn size(&self) -> usize {
        ROW + self.body.len()
    }
}

impl Store {
    /// The message with this id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn message(&self, id: &str) -> Result<Option<StoredMessage>> {
        Ok(reading!(self, pool => sqlx::query_as(BY_ID).bind(id).fetch_optional(pool).await)?)
    }

    /// The messages that match a filter.
    ///
    /// # Errors
    /// When together they are larger than [`Store::most_read`]; when the database fails.
    pub async fn messages(&self, filter: &MessageFilter<'_>) -> Result<Vec<StoredMessage>> {
        let mut rows = Rows::new(self.most_read);
        reading!(self, pool => rows.read(filtered!(filter).fetch(pool)).await)?;
        Ok(rows.found)
    }

    /// The first of the messages that match a filter, up to [`Store::most_read`] bytes.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn messages_chunk(&self, filter: &MessageFilter<'_>) -> Result<Vec<StoredMessage>> {
        let mut rows = Rows::new(self.most_read);
        reading!(self, pool => rows.read_some(filtered!(filter).fetch(pool)).await)?;
        Ok(rows.found)
    }

    /// The messages that have one of these ids, in the order of creation.
    ///
    /// # Errors
    /// When together they are larger than [`Store::most_read`]; when the database fails.
    pub async fn messages_by_ids(&self, ids: &[&str]) -> Result<Vec<StoredMessage>> {
        let mut rows = Rows::new(self.most_read);
        for ids in ids.chunks(ROWS_AT_ONCE) {
            reading!(self, pool => {
                let mut query = QueryBuilder::new(select!("id IN ("));
                let mut list = query.separated(", ");
                for id in ids {
                    list.push_bind(*id);
                }
                rows.read(query.push(") ORDER BY seq").build_query_as().fetch(pool)).await
            })?;
        }
        Ok(rows.found)
    }
}

impl Tx {
    /// Stores messages, in this order, as the newest of their agents, with as few statements as possible. The caller
    /// holds the lock on the agent's document, so that the order of creation is the order of commits.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn insert_messages(&mut self, messages: &[NewMessage<'_>]) -> Result<()> {
        const INSERT: &str = "INSERT INTO messages (id, project, agent_id, conversation_id, run_id, body) ";
        for rows in messages.chunks(ROWS_AT_ONCE) {
            within!(self, connection => QueryBuilder::new(INSERT)
                .push_values(rows, |mut row, new| {
                    row.push_bind(new.id).push_bind(new.project).push_bind(new.agent_id)
                        .push_bind(new.conversation_id).push_bind(new.run_id).push_bind(new.body);
                })
                .build().execute(connection).await.map(|_| ()))?;
        }
        Ok(())
    }

    /// The message with this id, as this transaction sees it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn message(&mut self, id: &str) -> Result<Option<StoredMessage>> {
        Ok(within!(self, connection => sqlx::query_as(BY_ID).bind(id).fetch_optional(connection).await)?)
    }

    /// The first of the messages that match a filter, up to `most` bytes, as this transaction sees them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn messages_chunk(&mut self, filter: &MessageFilter<'_>, most: usize) -> Result<Vec<StoredMessage>> {
        let mut rows = Rows::new(most);
        within!(self, connection => rows.read_some(filtered!(filter).fetch(connection)).await)?;
        Ok(rows.found)
    }

    /// Replaces a message's body.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn update_message(&mut self, id: &str, body: &str) -> Result<()> {
        const UPDATE: &str = "UPDATE messages SET body = $2 WHERE id = $1";
        within!(self, connection => sqlx::query(UPDATE).bind(id).bind(body).execute(connection).await.map(|_| ()))?;
        Ok(())
    }

    /// Deletes the messages of a conversation, except the one with the given id. An empty id excepts none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete_conversation(&mut self, agent_id: &str, conversation_id: &str, kept: &str) -> Result<()> {
        const DELETE: &str = "DELETE FROM messages WHERE agent_id = $1 AND conversation_id = $2 AND id <> $3";
        within!(self, connection => sqlx::query(DELETE).bind(agent_id).bind(conversation_id).bind(kept)
            .execute(connection).await.map(|_| ()))?;
        Ok(())
    }

    /// Deletes an agent's messages, except the one with the given id. An empty id excepts none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete_messages_but(&mut self, agent_id: &str, kept: &str) -> Result<()> {
        const DELETE: &str = "DELETE FROM messages WHERE agent_id = $1 AND id <> $2";
        within!(self, connection => sqlx::query(DELETE).bind(agent_id).bind(kept)
            .execute(connection).await.map(|_| ()))?;
        Ok(())
    }
}

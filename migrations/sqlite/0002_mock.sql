-- The mock's state. Bodies are JSON text: PostgreSQL's jsonb refuses U+0000, which Letta's clients may send.

-- Objects of every kind but messages. A kind of resource needs no migration of its own.
CREATE TABLE documents (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    kind    TEXT NOT NULL,
    id      TEXT NOT NULL,
    project TEXT NOT NULL,
    -- The document that this one belongs to and goes away with; null: none.
    parent  TEXT,
    body    TEXT NOT NULL,
    UNIQUE (id, kind)
);
CREATE INDEX documents_by_project ON documents (kind, project, seq);
-- The parent comes first: a document takes all its descendants along, of whatever kind.
CREATE INDEX documents_by_parent ON documents (parent, kind, seq);

-- Many-to-many relations, such as the blocks attached to an agent.
CREATE TABLE links (
    seq    INTEGER PRIMARY KEY AUTOINCREMENT,
    kind   TEXT NOT NULL,
    source TEXT NOT NULL,
    target TEXT NOT NULL,
    -- The source comes first: a document takes all its links along, of whatever kind.
    UNIQUE (source, kind, target)
);
CREATE INDEX links_by_target ON links (kind, target, seq);

-- Stored messages; one may expand to several messages on the wire. Which of them the model still sees is written in the
-- agent's document.
CREATE TABLE messages (
    seq             INTEGER PRIMARY KEY AUTOINCREMENT,
    id              TEXT NOT NULL UNIQUE,
    project         TEXT NOT NULL,
    agent_id        TEXT NOT NULL,
    -- `default`, or a conversation's id.
    conversation_id TEXT NOT NULL,
    run_id          TEXT,
    body            TEXT NOT NULL
);
CREATE INDEX messages_by_agent ON messages (agent_id, seq);
CREATE INDEX messages_by_conversation ON messages (agent_id, conversation_id, seq);
CREATE INDEX messages_by_run ON messages (run_id, seq);

-- Times are milliseconds since the Unix epoch.

-- One row: the issuer that stands in every client token, made with the first signing key and equal on all replicas.
CREATE TABLE installation (
    singleton  INTEGER PRIMARY KEY CHECK (singleton = 1),
    issuer     TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

-- Ed25519 key pairs. The private half is sealed under the master key, which is not in this database.
CREATE TABLE signing_keys (
    kid                TEXT PRIMARY KEY,
    public_key         BLOB NOT NULL CHECK (length(public_key) = 32),
    sealed_private_key BLOB NOT NULL,
    created_at         BIGINT NOT NULL,
    retired_at         BIGINT
);

-- API keys. Plain SHA-256 suffices: the secrets are random, 256 bits, so there is nothing to guess.
CREATE TABLE api_keys (
    id            TEXT PRIMARY KEY,
    name          TEXT NOT NULL,
    project       TEXT,
    secret_sha256 BLOB NOT NULL UNIQUE CHECK (length(secret_sha256) = 32),
    created_at    BIGINT NOT NULL,
    expires_at    BIGINT,
    last_used_at  BIGINT,
    revoked_at    BIGINT
);

-- Client tokens as claims: with these and the signing key the same token can be signed again, without it none can.
CREATE TABLE client_tokens (
    id         TEXT PRIMARY KEY,
    kid        TEXT NOT NULL,
    key_id     TEXT NOT NULL,
    project    TEXT NOT NULL,
    origin     TEXT NOT NULL,
    hostname   TEXT NOT NULL,
    policy     TEXT NOT NULL,
    issued_at  BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT
);
CREATE INDEX client_tokens_by_project ON client_tokens (project, issued_at, id);
CREATE INDEX client_tokens_by_expiry ON client_tokens (expires_at);
CREATE INDEX client_tokens_by_kid ON client_tokens (kid, expires_at);

-- The agents that a token's policy names, for the list's filter.
CREATE TABLE client_token_agents (
    token_id TEXT NOT NULL REFERENCES client_tokens (id) ON DELETE CASCADE,
    agent_id TEXT NOT NULL,
    PRIMARY KEY (token_id, agent_id)
);
CREATE INDEX client_token_agents_by_agent ON client_token_agents (agent_id);

-- The feed that keeps every process current: revoked tokens, revoked keys, new signing keys. Writers take the next
-- number from change_head inside their transaction; its row lock makes commits follow the numbers, so a reader that
-- has seen N has seen everything up to N.
CREATE TABLE change_head (
    singleton INTEGER PRIMARY KEY CHECK (singleton = 1),
    seq       BIGINT NOT NULL
);
INSERT INTO change_head (singleton, seq) VALUES (1, 0);

CREATE TABLE changes (
    seq        BIGINT PRIMARY KEY,
    kind       TEXT NOT NULL CHECK (kind IN ('token_revoked', 'key_revoked', 'signing_keys_changed')),
    subject    TEXT NOT NULL,
    -- After this the change no longer matters; null: it always will.
    expires_at BIGINT
);
CREATE INDEX changes_by_expiry ON changes (expires_at);

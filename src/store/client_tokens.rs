//! Client tokens, stored as their claims.

use std::fmt;

use uuid::Uuid;

use super::{ChangeKind, Result, Revocation, Store, StoreError, reading, transaction, within, writing};
use crate::{
    clock::Millis,
    model::{AgentId, Policy, Project},
};

/// A stored client token: its claims, and the hostname as the request wrote it.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientTokenRow {
    /// The token's id, its `jti`.
    pub id: Uuid,
    /// The signing key.
    pub kid: String,
    /// The API key that minted it.
    pub key_id: String,
    /// The project it belongs to.
    pub project: Project,
    /// The origin it is bound to, serialized.
    pub origin: String,
    /// The hostname as the request wrote it.
    pub hostname: String,
    /// What it may do.
    pub policy: Policy,
    /// When it was issued.
    pub issued_at: Millis,
    /// When it expires.
    pub expires_at: Millis,
}

/// Which tokens a list shows.
#[derive(Clone, Debug)]
pub struct TokenFilter<'a> {
    /// Only tokens of this project; `None` for those of all projects.
    pub project: Option<&'a Project>,
    /// Tokens whose policy names this agent.
    pub agent: Option<&'a AgentId>,
    /// How many to skip.
    pub offset: i64,
    /// The largest number to return.
    pub limit: i64,
    /// Only tokens that expire after this time.
    pub now: Millis,
}

type Columns = (String, String, String, String, String, String, String, Millis, Millis);

impl TryFrom<Columns> for ClientTokenRow {
    type Error = StoreError;

    fn try_from(columns: Columns) -> Result<Self> {
        let (id, kid, key_id, project, origin, hostname, policy, issued_at, expires_at) = columns;
        let inconsistent = |column: &str, why: &dyn fmt::Display| {
            StoreError::Inconsistent(format!("client_tokens.{column} of {id}: {why}"))
        };
        Ok(Self {
            id: id.parse().map_err(|error| inconsistent("id", &error))?,
            project: project.parse().map_err(|error| inconsistent("project", &error))?,
            policy: serde_json::from_str(&policy).map_err(|error| inconsistent("policy", &error))?,
            kid,
            key_id,
            origin,
            hostname,
            issued_at,
            expires_at,
        })
    }
}

impl Store {
    /// Stores a token. This must happen before the token is handed out.
    ///
    /// # Errors
    /// When the database fails; the token does not exist in that case.
    pub async fn insert_client_token(&self, token: &ClientTokenRow) -> Result<()> {
        const INSERT: &str = "INSERT INTO client_tokens \
            (id, kid, key_id, project, origin, hostname, policy, issued_at, expires_at) \
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        const INSERT_AGENT: &str = "INSERT INTO client_token_agents (token_id, agent_id) VALUES ($1, $2)";
        let id = token.id.to_string();
        let policy = serde_json::to_string(&token.policy).map_err(|e| StoreError::Inconsistent(e.to_string()))?;
        transaction!(@store self, tx => {
            within!(tx, connection => sqlx::query(INSERT)
                .bind(&id).bind(&token.kid).bind(&token.key_id).bind(token.project.as_str())
                .bind(&token.origin).bind(&token.hostname).bind(&policy).bind(token.issued_at).bind(token.expires_at)
                .execute(connection).await.map(|_| ()))?;
            for entry in token.policy.entries() {
                within!(tx, connection => sqlx::query(INSERT_AGENT).bind(&id).bind(entry.id.as_str())
                    .execute(connection).await.map(|_| ()))?;
            }
            Ok(())
        })
    }

    /// The live tokens that match the filter, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn client_tokens(&self, filter: &TokenFilter<'_>) -> Result<Vec<ClientTokenRow>> {
        const LIVE: &str = "SELECT id, kid, key_id, project, origin, hostname, policy, issued_at, expires_at \
            FROM client_tokens \
            WHERE revoked_at IS NULL AND expires_at > $1 AND ($2 IS NULL OR project = $2) \
              AND ($3 IS NULL OR id IN (SELECT token_id FROM client_token_agents WHERE agent_id = $3)) \
              AND NOT EXISTS (SELECT 1 FROM api_keys WHERE api_keys.id = key_id AND api_keys.revoked_at IS NOT NULL) \
            ORDER BY issued_at DESC, id DESC LIMIT $4 OFFSET $5";
        let rows: Vec<Columns> = reading!(self, pool => sqlx::query_as(LIVE)
            .bind(filter.now).bind(filter.project.map(Project::as_str)).bind(filter.agent.map(AgentId::as_str))
            .bind(filter.limit).bind(filter.offset)
            .fetch_all(pool).await)?;
        rows.into_iter().map(TryInto::try_into).collect()
    }

    /// The token with this id, even if it is expired or revoked.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn client_token(&self, id: Uuid) -> Result<Option<ClientTokenRow>> {
        const BY_ID: &str = "SELECT id, kid, key_id, project, origin, hostname, policy, issued_at, expires_at \
            FROM client_tokens WHERE id = $1";
        let row: Option<Columns> =
            reading!(self, pool => sqlx::query_as(BY_ID).bind(id.to_string()).fetch_optional(pool).await)?;
        row.map(TryInto::try_into).transpose()
    }

    /// Revokes a token. This works even if its row is gone, so every token that verifies can be revoked.
    ///
    /// # Errors
    /// When the database fails; the token is not revoked in that case.
    pub async fn revoke_client_token(&self, id: Uuid, expires_at: Millis, now: Millis) -> Result<Revocation<()>> {
        const REVOKED_AT: &str = "SELECT revoked_at FROM client_tokens WHERE id = $1";
        const REVOKE: &str = "UPDATE client_tokens SET revoked_at = $2 WHERE id = $1";
        let id = id.to_string();
        transaction!(@store self, tx => {
            let seq = tx.lock_changes().await?;
            let row: Option<Option<Millis>> = within!(tx, connection =>
                sqlx::query_scalar(REVOKED_AT).bind(&id).fetch_optional(connection).await)?;
            if let Some(Some(at)) = row {
                // The change is still there: both are purged by the token's expiry.
                return Ok(Revocation::Already(at));
            }
            within!(tx, connection => sqlx::query(REVOKE).bind(&id).bind(now).execute(connection).await.map(|_| ()))?;
            tx.append_change(seq, ChangeKind::TokenRevoked, &id, Some(expires_at)).await?;
            Ok(Revocation::Done(()))
        })
    }

    /// Deletes at most `batch` tokens, and as many changes, that expired before `horizon`. Returns how many were
    /// deleted.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn purge_expired(&self, horizon: Millis, batch: i64) -> Result<u64> {
        const PURGE_TOKENS: &str = "DELETE FROM client_tokens WHERE id IN \
            (SELECT id FROM client_tokens WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";
        const PURGE_CHANGES: &str = "DELETE FROM changes WHERE seq IN \
            (SELECT seq FROM changes WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";
        let mut purged = 0;
        for statement in [PURGE_TOKENS, PURGE_CHANGES] {
            purged += writing!(self, pool => sqlx::query(statement).bind(horizon).bind(batch)
                .execute(pool).await.map(|done| done.rows_affected()))?;
        }
        Ok(purged)
    }
}

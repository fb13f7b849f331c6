//! `/v1/client-side-access-tokens`: create, list and delete, in the shapes of Letta's hosted service.

use http::StatusCode;
use serde_json::{Value, json};

use super::issuer::{Issuer, Minter, TokenRequest, invalid};
use crate::{
    access::{Call, Caller, Feed, Operation, Permit},
    clock::{self, Clock},
    credentials::{ClientToken, InvalidToken, Keyring, client_token, keyring::KeyringError},
    error::{ApiError, Code},
    model::AgentId,
    reply::Reply,
    request::{
        input::{self, Payload, Query},
        json,
    },
    store::{ClientTokenRow, Store, TokenFilter},
};

/// The handlers of the three operations, with what they use.
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// The database.
    pub store: Store,
    /// The signing keys.
    pub keyring: std::sync::Arc<Keyring>,
    /// The revocation feed.
    pub feed: Feed,
    /// Issues tokens.
    pub issuer: Issuer,
    /// The clock.
    pub clock: Clock,
}

impl Endpoints {
    /// Responds to one of the three operations.
    ///
    /// # Errors
    /// 400 when something is malformed; 503 when the database fails.
    pub async fn respond(&self, call: Call) -> Result<Reply, ApiError> {
        match call.operation {
            Operation::CreateClientSideAccessToken => self.create(&call.permit, call.payload).await,
            Operation::ListClientSideAccessTokens => self.list(&call.permit, &call.query).await,
            Operation::DeleteClientSideAccessToken => {
                self.delete(&call.permit, call.params.find("token").unwrap_or_default(), call.payload).await
            }
            operation => Err(ApiError::internal(format!("{operation} is not token management"))),
        }
    }

    async fn create(&self, permit: &Permit, payload: Payload) -> Result<Reply, ApiError> {
        let Caller::ApiKey { key, project, .. } = permit.caller() else {
            return Err(ApiError::internal("a client token reached token management"));
        };
        let bytes = match payload {
            Payload::Unread(body) => input::read(body).await?,
            Payload::Checked(_) => bytes::Bytes::new(),
        };
        let body: Value = json::from_slice(&bytes)
            .map_err(|error| ApiError::new(Code::InvalidRequest, format!("The body must be JSON: {error}.")))?;
        let request = TokenRequest::parse(&body)?;
        let minter = Minter { key_id: &key.id, project, key_expires_at: key.expires_at };
        let (row, token) = self.issuer.issue(request, &minter).await?;
        Ok(Reply::Json(StatusCode::CREATED, token_object(&row, &token)))
    }

    async fn list(&self, permit: &Permit, query: &Query) -> Result<Reply, ApiError> {
        let agent: Option<AgentId> = match query.first("agentId").filter(|id| !id.is_empty()) {
            Some(id) => Some(id.parse().map_err(|rule| invalid("agentId", rule))?),
            None => None,
        };
        let limit = number(query, "limit", 10, 1000)?;
        let filter = TokenFilter {
            project: Some(permit.project()),
            agent: agent.as_ref(),
            offset: number(query, "offset", 0, i64::from(u32::MAX))?,
            // One more than the page has, to know whether there is another page.
            limit: limit + 1,
            now: self.clock.now_millis(),
        };
        let mut rows = self.store.client_tokens(&filter).await?;
        let page_length = usize::try_from(limit).unwrap_or(usize::MAX);
        let has_next_page = rows.len() > page_length;
        rows.truncate(page_length);
        let tokens: Vec<Value> = rows
            .iter()
            .map(|row| self.issuer.token(row).map(|token| token_object(row, &token)))
            .collect::<Result<_, _>>()?;
        Ok(Reply::ok(json!({"tokens": tokens, "hasNextPage": has_next_page})))
    }

    /// Revokes a token; the body is ignored. After a 204 this installation does not accept the token: it was revoked now
    /// or before, or another installation issued it. A key that is limited to a project cannot revoke another project's
    /// tokens, and gets a 204 for them as well.
    async fn delete(&self, permit: &Permit, token: &str, payload: Payload) -> Result<Reply, ApiError> {
        if let Payload::Unread(body) = payload {
            input::read(body).await?;
        }
        if !client_token::is_well_formed(token) {
            return Err(invalid("The token in the path", "must be 'ck-let-' and three base64url parts"));
        }
        match self.recognize(token).await? {
            // Also an expired token: the clock may be ahead and corrected later.
            Ok(token) if permit.reaches(token.project.as_str()) => self.feed.revoke(&token).await?,
            Ok(_) | Err(InvalidToken::UnknownKey) => {}
            Err(InvalidToken::Forged | InvalidToken::Malformed) => {
                return Err(invalid(
                    "The token in the path",
                    "is damaged, so it is not known which one is meant; send it whole",
                ));
            }
        }
        Ok(Reply::Empty(StatusCode::NO_CONTENT))
    }

    /// Reads a token. If its signing key is unknown, another process may have just created it.
    async fn recognize(&self, token: &str) -> Result<Result<ClientToken, InvalidToken>, ApiError> {
        match self.keyring.recognize(token) {
            Err(InvalidToken::UnknownKey) => {
                self.keyring.reload(&self.store).await.map_err(|error| match error {
                    KeyringError::Store(error) => error.into(),
                    error => ApiError::internal(error.to_string()),
                })?;
                Ok(self.keyring.recognize(token))
            }
            read => Ok(read),
        }
    }
}

fn token_object(row: &ClientTokenRow, token: &str) -> Value {
    json!({
        "policy": {"version": "1", "data": row.policy},
        "token": token,
        "hostname": row.hostname,
        "expiresAt": clock::format_millis(row.expires_at),
    })
}

/// Letta's specification says "number", so clients may send `10`, `10.0` or `1e1`.
fn number(query: &Query, name: &str, default: i64, most: i64) -> Result<i64, ApiError> {
    let Some(text) = query.first(name) else { return Ok(default) };
    #[expect(clippy::cast_precision_loss, reason = "the limits are small")]
    let fits = |number: &f64| number.fract() == 0.0 && (0.0..=most as f64).contains(number);
    #[expect(clippy::cast_possible_truncation, reason = "the range was checked")]
    match text.parse::<f64>().ok().filter(fits) {
        Some(number) => Ok(number as i64),
        None => Err(invalid(name, &format!("must be a whole number from 0 to {most}"))),
    }
}

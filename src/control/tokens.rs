//! Ending a client token early, as time and revocation would.

use std::sync::Arc;

use axum::{Json, Router, extract::Path, routing::post};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{ControlState, caller::Ns, clock::world_of, error::ControlResult};
use crate::{
    credentials::{ClientToken, client_token},
    error::{ApiError, Code},
    http::App,
};

pub(super) fn routes() -> Router<Arc<ControlState>> {
    Router::new()
        .route("/ns/{ns}/tokens/{token}/expire", post(expire))
        .route("/ns/{ns}/tokens/{token}/revoke", post(revoke))
}

/// Lets a token expire now, although its time has not come.
async fn expire(Ns(namespace): Ns, Path((_, token)): Path<(String, String)>) -> ControlResult<Json<Value>> {
    let app = namespace.app();
    let token = find(&app, &token).await?;
    world_of(&app)?.expire_token(&token.id.to_string());
    Ok(Json(json!({"id": token.id, "expired": true})))
}

/// Revokes a token, as `DELETE /v1/client-side-access-tokens/{token}` does.
async fn revoke(Ns(namespace): Ns, Path((_, token)): Path<(String, String)>) -> ControlResult<Json<Value>> {
    let app = namespace.app();
    let token = find(&app, &token).await?;
    app.feed.revoke(&token).await.map_err(ApiError::from)?;
    Ok(Json(json!({"id": token.id, "revoked": true})))
}

/// A token of the namespace, by its text or its id (`jti`).
async fn find(app: &App, token: &str) -> Result<ClientToken, ApiError> {
    let unknown = || {
        let sentence = "This namespace has issued no such client token; give its text or its id (jti).";
        ApiError::new(Code::NotFound, sentence)
    };
    let keyring = &app.tokens.keyring;
    if token.starts_with(client_token::PREFIX) {
        return keyring.recognize(token).map_err(|_| unknown());
    }
    let id: Uuid = token.parse().map_err(|_| unknown())?;
    let row = app.store.client_token(id).await?.ok_or_else(unknown)?;
    keyring.recognize(&keyring.sign(&row)?).map_err(|_| unknown())
}

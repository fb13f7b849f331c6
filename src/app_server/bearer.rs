//! The gate's own credential at an App Server.

use std::{fmt, time::Duration};

use http::HeaderValue;
use jsonwebtoken::{EncodingKey, Header};
use serde::Serialize;

use crate::clock;

/// How long a signed bearer is valid. The App Server checks it at the handshake only, with a tolerance of 30 s.
const LIFETIME: Duration = Duration::from_mins(1);

/// The shortest secret that the App Server accepts, in bytes.
const MIN_SECRET: usize = 32;

/// A credential.
pub(super) enum Bearer {
    /// None: the server asks for none.
    None,
    /// A capability token.
    Fixed(HeaderValue),
    /// The secret of `--ws-auth signed-bearer-token`, with which a JWT (HS256) is signed for each connection.
    Signing(EncodingKey),
}

/// The claims of a signed bearer.
#[derive(Serialize)]
struct Claims {
    iat: i64,
    exp: i64,
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer(..)")
    }
}

impl Bearer {
    /// A capability token, without the line end of a file.
    ///
    /// # Errors
    /// When it is no text that a header can carry.
    pub(super) fn fixed(token: &str) -> Result<Self, &'static str> {
        header(token.trim()).map(Self::Fixed)
    }

    /// A secret, without the line end of a file.
    ///
    /// # Errors
    /// When it is too short.
    pub(super) fn signing(secret: &str) -> Result<Self, &'static str> {
        let secret = secret.trim().as_bytes();
        if secret.len() < MIN_SECRET {
            return Err("must contain 32 bytes or more");
        }
        Ok(Self::Signing(EncodingKey::from_secret(secret)))
    }

    /// The value of `Authorization` for a connection that is opened now.
    ///
    /// # Errors
    /// When signing fails.
    pub(super) fn authorization(&self) -> Result<Option<HeaderValue>, &'static str> {
        match self {
            Self::None => Ok(None),
            Self::Fixed(value) => Ok(Some(value.clone())),
            Self::Signing(key) => {
                let now = clock::real_now();
                let claims = Claims { iat: now.timestamp(), exp: (now + LIFETIME).timestamp() };
                let token = jsonwebtoken::encode(&Header::default(), &claims, key).map_err(|_| "cannot be signed")?;
                header(&token).map(Some)
            }
        }
    }
}

fn header(token: &str) -> Result<HeaderValue, &'static str> {
    const RULE: &str = "must be visible ASCII text";
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(RULE);
    }
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| RULE)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Algorithm, DecodingKey, Validation};

    use super::*;

    #[test]
    fn a_signed_bearer_is_a_jwt_that_expires_soon() {
        let secret = "0123456789abcdef0123456789abcdef";
        let bearer = Bearer::signing(&format!("{secret}\n")).unwrap();
        let value = bearer.authorization().unwrap().unwrap();
        assert!(value.is_sensitive() && !format!("{bearer:?}").contains("0123"));
        let token = value.to_str().unwrap().strip_prefix("Bearer ").unwrap();
        let validation = Validation::new(Algorithm::HS256);
        let key = DecodingKey::from_secret(secret.as_bytes());
        let claims: serde_json::Value = jsonwebtoken::decode(token, &key, &validation).unwrap().claims;
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 60);
        assert!(Bearer::signing("too short").is_err());
    }

    #[test]
    fn a_capability_token_is_sent_without_its_line_end() {
        let value = |token| Bearer::fixed(token).map(|bearer| bearer.authorization().unwrap().unwrap());
        assert_eq!(value("secret\n").unwrap(), "Bearer secret");
        assert!(value("two words").is_err() && value("\n").is_err());
    }
}

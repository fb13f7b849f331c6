//! The bodies of calls to the control API: JSON or TOML, without fields that nobody knows.

use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http::{HeaderMap, header};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::ControlError;
use crate::{
    error::{ApiError, Code},
    request::{
        closed::{self, Mistake},
        toml::{self, TomlError},
    },
};

/// The largest body of most calls, in bytes.
pub(crate) const BODY_BYTES: usize = 8 * 1024 * 1024;
/// The largest body of a call that brings a seed, in bytes.
pub(crate) const SEED_BYTES: usize = 32 * 1024 * 1024;

/// The formats of bodies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Format {
    Json,
    Toml,
}

/// A body read into `T`. A call without a body reads as an empty object and needs no content type.
pub(crate) struct Input<T>(pub(crate) T);

/// A body as it was sent, and its format.
pub(crate) struct Document(pub(crate) Raw);

/// A body that may bring a seed, and its format.
pub(crate) struct Raw {
    pub(crate) bytes: Bytes,
    pub(crate) format: Format,
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Input<T> {
    type Rejection = ControlError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ControlError> {
        let Raw { bytes, format } = read(request, BODY_BYTES, state).await?;
        Ok(Self(parse(&bytes, format)?))
    }
}

impl<S: Send + Sync> FromRequest<S> for Raw {
    type Rejection = ControlError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ControlError> {
        read(request, SEED_BYTES, state).await
    }
}

impl<S: Send + Sync> FromRequest<S> for Document {
    type Rejection = ControlError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ControlError> {
        Ok(Self(read(request, BODY_BYTES, state).await?))
    }
}

async fn read<S: Send + Sync>(request: Request, limit: usize, _state: &S) -> Result<Raw, ControlError> {
    let (head, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, limit).await.map_err(|_| {
        ApiError::new(Code::BodyTooLarge, format!("A body of this call may have at most {limit} bytes."))
    })?;
    let format = format(&head.headers, bytes.is_empty())?;
    Ok(Raw { bytes, format })
}

/// Reads a body into `T`.
///
/// # Errors
/// 422 with the place of the mistake.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8], format: Format) -> Result<T, ApiError> {
    let value = match format {
        _ if bytes.iter().all(u8::is_ascii_whitespace) => Value::Object(serde_json::Map::default()),
        Format::Json => serde_json::from_slice(bytes).map_err(|error| {
            ApiError::new(Code::ControlInvalid, format!("The body is not JSON: {error}."))
                .at(format!("line {}", error.line()))
        })?,
        Format::Toml => {
            let text = std::str::from_utf8(bytes)
                .map_err(|_| ApiError::new(Code::ControlInvalid, "The body is not UTF-8, as TOML must be."))?;
            toml::parse(text).map_err(|TomlError { line, problem }| {
                ApiError::new(Code::ControlInvalid, format!("The body is not TOML: line {line}: {problem}."))
                    .at(format!("line {line}"))
            })?
        }
    };
    // Serde reads an array as the fields of an object, in order.
    if !value.is_object() {
        return Err(ApiError::new(Code::ControlInvalid, "The body must be an object, in braces.").at(""));
    }
    read_value(value)
}

/// Reads a value into `T`, and says where a mistake is.
///
/// # Errors
/// 422 with a JSON pointer.
fn read_value<T: DeserializeOwned>(value: Value) -> Result<T, ApiError> {
    closed::read(value).map_err(|Mistake { at, problem }| {
        let place = if at.is_empty() { "/" } else { &at };
        ApiError::new(Code::ControlInvalid, format!("{place}: {problem}.")).at(at)
    })
}

fn format(headers: &HeaderMap, is_empty: bool) -> Result<Format, ApiError> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return if is_empty { Ok(Format::Json) } else { Err(unsupported("none")) };
    };
    let text = value.to_str().unwrap_or_default();
    match text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "application/json" => Ok(Format::Json),
        "application/toml" => Ok(Format::Toml),
        // A page of another origin can send the others without asking first (fetch, section 2.2.2).
        _ => Err(unsupported(text)),
    }
}

fn unsupported(sent: &str) -> ApiError {
    let sentence =
        format!("Bodies of the control API are application/json or application/toml; this one says {sent:?}.");
    ApiError::new(Code::UnsupportedMediaType, sentence)
}

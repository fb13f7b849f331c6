//! A request's query and body, read within limits.

use std::{iter, mem, pin::pin};

use bytes::{Bytes, BytesMut};
use http::header;
use http_body::Body as _;
use http_body_util::BodyExt;
use memchr::memchr;
use serde_json::{Value, json};

use super::{
    body::{Body, BodyError, Fault},
    headers::AllowedHeaders,
    waits,
};
use crate::error::{ApiError, Code};

/// A request body.
#[derive(Debug)]
pub enum Payload {
    /// As it arrives, not yet read.
    Unread(Body),
    /// A client token's body, parsed and checked against the operation's field list; null without a body.
    Checked(Value),
}

/// Decoded query parameters, in the order they were sent.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// One parameter.
    #[must_use]
    pub(crate) fn one(name: &str, value: &str) -> Self {
        Self(vec![(name.to_owned(), value.to_owned())])
    }

    /// Decodes a query string (URL standard, application/x-www-form-urlencoded).
    #[must_use]
    pub fn parse(query: Option<&str>) -> Self {
        let query = query.unwrap_or_default();
        // Most queries are not encoded.
        if !query.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
            let pairs = pieces(query, b'&').filter(|pair| !pair.is_empty()).map(|pair| {
                let equals = memchr(b'=', pair.as_bytes());
                equals.map_or((pair, ""), |equals| (&pair[..equals], &pair[equals + 1..]))
            });
            return Self(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect());
        }
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// The first value of a parameter.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(present, _)| present == name).map(|(_, value)| value.as_str())
    }

    /// Every value of a repeated parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(present, _)| present == name).map(|(_, value)| value.as_str())
    }

    /// Refuses a parameter that is not a list and is sent more than once.
    ///
    /// # Errors
    /// 400.
    pub(crate) fn check_once(&self, name: &str) -> Result<(), ApiError> {
        let is_repeated = self.0.iter().filter(|(present, _)| present == name).nth(1).is_some();
        if is_repeated { Err(repeated(name)) } else { Ok(()) }
    }

    /// All parameters.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Keeps only the pairs that `keep` accepts.
    pub(crate) fn retain(&mut self, keep: impl FnMut(&(String, String)) -> bool) {
        self.0.retain(keep);
    }

    /// A boolean parameter in any of the spellings that Letta accepts.
    ///
    /// # Errors
    /// 422 when it is something else.
    pub(crate) fn boolean(&self, name: &'static str) -> Result<Option<bool>, ApiError> {
        self.first(name).map(|text| flag(text, &["query", name])).transpose()
    }

    /// An integer parameter.
    ///
    /// # Errors
    /// 422 when it is not an integer.
    pub(crate) fn integer(&self, name: &'static str) -> Result<Option<i64>, ApiError> {
        let Some(text) = self.first(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| {
            ApiError::validation(
                "int_parsing",
                &["query", name],
                "Input should be a valid integer, unable to parse string as an integer",
                &json!(text),
            )
        })
    }

    /// A parameter that is one of a few words.
    ///
    /// # Errors
    /// 422 when it is another word.
    pub(crate) fn one_of(&self, name: &'static str, words: &[&'static str]) -> Result<Option<&'static str>, ApiError> {
        let Some(text) = self.first(name) else { return Ok(None) };
        match words.iter().find(|word| **word == text) {
            Some(word) => Ok(Some(word)),
            None => {
                let expected = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" or ");
                Err(ApiError::validation(
                    "literal_error",
                    &["query", name],
                    &format!("Input should be {expected}"),
                    &json!(text),
                ))
            }
        }
    }
}

/// The pieces between separators, as [`str::split`] yields them, in a fifth of its time: every request is split.
pub(crate) fn pieces(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    debug_assert!(separator.is_ascii(), "a text is only split between characters");
    let mut rest = Some(text);
    iter::from_fn(move || {
        let text = rest.take()?;
        let Some(end) = memchr(separator, text.as_bytes()) else { return Some(text) };
        rest = Some(&text[end + 1..]);
        Some(&text[..end])
    })
}

/// A boolean in any of the spellings that Letta accepts. `location` is its place, for the refusal.
///
/// # Errors
/// 422 when it is something else.
pub fn flag(text: &str, location: &[&str]) -> Result<bool, ApiError> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" | "t" | "y" => Ok(true),
        "false" | "0" | "no" | "off" | "f" | "n" => Ok(false),
        _ => Err(ApiError::validation(
            "bool_parsing",
            location,
            "Input should be a valid boolean, unable to interpret input",
            &json!(text),
        )),
    }
}

/// The refusal of a parameter that is not a list and is sent more than once.
pub(crate) fn repeated(name: &str) -> ApiError {
    let sentence = format!("The query gives {name} more than once, and it takes one value; send it once.");
    ApiError::new(Code::InvalidRequest, sentence)
}

/// Reads a whole body into memory.
///
/// # Errors
/// 413 when it is larger than its limit, 408 when it arrives too slowly, 400 when it breaks off.
pub async fn read(body: Body) -> Result<Bytes, ApiError> {
    waits::wait(pin!(gather(body)))
        .await
        .map_err(|error| Fault::behind(&*error).map_or_else(|| ApiError::internal(error.to_string()), Into::into))
}

/// A single chunk is not copied; several are copied as they arrive, because storing each by itself takes thirty times as
/// much memory as a chunk of one byte.
async fn gather(mut body: Body) -> Result<Bytes, BodyError> {
    let length = body.size_hint().exact().and_then(|length| usize::try_from(length).ok());
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if first.is_empty() && all.is_empty() {
            first = data;
            continue;
        }
        if all.is_empty() {
            all.reserve(length.unwrap_or(first.len() + data.len()));
            all.extend_from_slice(&mem::take(&mut first));
        }
        all.extend_from_slice(&data);
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

/// Refuses a body that is declared to be something other than JSON.
///
/// # Errors
/// 415.
pub(crate) fn check_media_type(headers: &AllowedHeaders) -> Result<(), ApiError> {
    let mut values = headers.get_all(header::CONTENT_TYPE);
    let Some(value) = values.next() else { return Ok(()) };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"));
    if is_json && values.next().is_none() {
        Ok(())
    } else {
        Err(ApiError::new(Code::UnsupportedMediaType, "Send the body with one Content-Type: application/json."))
    }
}

/// Letta's refusal of a body that is not JSON.
#[must_use]
pub(crate) fn bad_json(error: &serde_json::Error) -> ApiError {
    ApiError::validation("json_invalid", &["body"], &format!("JSON decode error: {error}"), &json!({}))
        .saying(format!("The body is not valid JSON: {error}."))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_query_is_decoded_as_the_url_standard_says(query in "[a-c=&%+2é;]{0,12}|[a-cé=&;]{0,12}") {
            let expected: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
            prop_assert_eq!(Query::parse(Some(&query)).0, expected);
        }
    }
}

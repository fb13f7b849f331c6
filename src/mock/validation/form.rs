//! Forms with files (RFC 7578), read whole: what they carry is kept in the database anyway.

use bytes::Bytes;
use futures_util::{future, stream};
use http::header;
use serde_json::Value;

use crate::{
    access::Call,
    error::{ApiError, Code},
    request::input::flag,
};

/// A form.
#[derive(Debug, Default)]
pub(in crate::mock) struct Form {
    texts: Vec<(String, String)>,
    files: Vec<(String, Upload)>,
}

/// A file in a form.
#[derive(Clone, Debug)]
pub(in crate::mock) struct Upload {
    /// What the client calls it; never a path.
    pub(in crate::mock) name: Option<String>,
    /// What the client says it is.
    pub(in crate::mock) media_type: Option<String>,
    pub(in crate::mock) bytes: Bytes,
}

impl Form {
    /// The form in a request's body; empty when the body is none.
    pub(in crate::mock) async fn read(call: &mut Call) -> Result<Self, ApiError> {
        let media_type = call.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let Ok(boundary) = multer::parse_boundary(media_type.unwrap_or_default()) else { return Ok(Self::default()) };
        let bytes = call.bytes().await?;
        let mut parts = multer::Multipart::new(stream::once(future::ready(Ok::<_, multer::Error>(bytes))), boundary);
        let mut form = Self::default();
        while let Some(part) = parts.next_field().await.map_err(|error| malformed(&error))? {
            let Some(field) = part.name().map(str::to_owned) else { continue };
            if part.file_name().is_some() {
                let name = part.file_name().map(bare_name).filter(|name| !name.is_empty());
                let media_type = part.content_type().map(|media_type| media_type.essence_str().to_owned());
                let bytes = part.bytes().await.map_err(|error| malformed(&error))?;
                form.files.push((field, Upload { name, media_type, bytes }));
            } else {
                form.texts.push((field, part.text().await.map_err(|error| malformed(&error))?));
            }
        }
        Ok(form)
    }

    /// A text that is not empty.
    pub(in crate::mock) fn text(&self, name: &str) -> Option<&str> {
        let found = self.texts.iter().find(|(present, _)| present == name);
        found.map(|(_, text)| text.as_str()).filter(|text| !text.is_empty())
    }

    /// A text that says yes or no.
    pub(in crate::mock) fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        self.text(name).map(|text| flag(text, &["body", name])).transpose()
    }

    /// A file that must be there.
    pub(in crate::mock) fn file(&self, name: &str) -> Result<&Upload, ApiError> {
        let found = self.files.iter().find(|(present, _)| present == name);
        let missing = || ApiError::validation("missing", &["body", name], "Field required", &Value::Null);
        found.map(|(_, upload)| upload).ok_or_else(missing)
    }
}

fn malformed(error: &multer::Error) -> ApiError {
    ApiError::letta(Code::InvalidRequest, format!("There was an error parsing the body: {error}"))
}

/// The last part of what may be a path on the client's machine, of whatever system that is.
fn bare_name(name: &str) -> String {
    name.rsplit(['/', '\\']).next().unwrap_or_default().to_owned()
}

//! Request ids, which connect a response with its log lines.

use std::fmt;

use http::HeaderValue;

use crate::entropy;

/// `req-` and 128 random bits in hexadecimal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestId([u8; LENGTH]);

const PREFIX: &[u8; 4] = b"req-";
const LENGTH: usize = PREFIX.len() + 32;

impl RequestId {
    pub(crate) fn new() -> Self {
        let mut text = [b'0'; LENGTH];
        text[..PREFIX.len()].copy_from_slice(PREFIX);
        // The lengths match, so this cannot fail.
        let _ = hex::encode_to_slice(entropy::unguessable_number().to_be_bytes(), &mut text[PREFIX.len()..]);
        Self(text)
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    pub(crate) fn header(&self) -> Option<HeaderValue> {
        HeaderValue::from_bytes(&self.0).ok()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

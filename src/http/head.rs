//! Limits on the size of a request's head.
//!
//! The HTTP library refuses a head that is too large with a bare status that a page cannot read. So the library's limits
//! are larger than those of the settings, and heads between the two are refused here, with a JSON error.

use http::request::Parts;

use crate::{
    config::Limits,
    error::{ApiError, Code},
};

/// The limits on a request's head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadLimits {
    /// The longest target: path and query, in bytes.
    pub(crate) target_bytes: usize,
    /// The largest number of header fields.
    pub(crate) count: usize,
    /// Their largest size together, in bytes of HTTP/1.1.
    pub(crate) bytes: usize,
}

impl HeadLimits {
    /// The limits of the settings.
    #[must_use]
    pub(crate) fn of(limits: &Limits) -> Self {
        Self { target_bytes: limits.target_bytes, count: limits.header_count, bytes: limits.header_bytes }
    }

    /// The HTTP library's limit, in bytes.
    #[must_use]
    pub(crate) fn library_bytes(self) -> usize {
        self.target_bytes.saturating_add(self.bytes).saturating_mul(2)
    }

    /// The HTTP library's limit on the number of header fields; `None` if its default of 100 is enough, which is faster.
    #[must_use]
    pub(crate) fn library_count(self) -> Option<usize> {
        (self.count >= 100).then(|| self.count.saturating_mul(2))
    }

    /// Refuses a head that is too large.
    ///
    /// # Errors
    /// 414 or 431.
    pub(super) fn check(self, head: &Parts) -> Result<(), ApiError> {
        let target = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
        if target > self.target_bytes {
            let sentence = format!("Send a path and query of at most {} bytes together.", self.target_bytes);
            return Err(ApiError::new(Code::TargetTooLong, sentence));
        }
        if head.headers.len() > self.count {
            let sentence = format!("Send at most {} header fields.", self.count);
            return Err(ApiError::new(Code::HeadersTooLarge, sentence));
        }
        // A colon, a space and a line end.
        let bytes: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        if bytes > self.bytes {
            let sentence = format!("Send header fields of at most {} bytes together.", self.bytes);
            return Err(ApiError::new(Code::HeadersTooLarge, sentence));
        }
        Ok(())
    }
}

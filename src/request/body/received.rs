//! A request's body as it arrives, with limits on its size and time.

use std::{
    error::Error,
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Version, header, request::Parts};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::runtime::Handle;

use super::{Body, BodyError, Pace, Paced, TooSlow};
use crate::error::{ApiError, Code};

/// How long the rest of a body is drained after the request is handled.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// A request's body as it arrives.
///
/// An HTTP/1.1 connection that is closed while the client still sends is reset, and the client may never see the response.
/// So the rest of a body that was not read is read for a while and discarded.
#[derive(Debug)]
pub struct Received {
    /// `None` once it has ended.
    body: Option<Paced<Incoming>>,
    limit: usize,
    left: usize,
    is_drained: bool,
    /// What else sees the bytes.
    tap: Option<Box<dyn Tap>>,
}

/// Sees the bytes of a request's body as they are read, also those that are discarded.
pub(crate) trait Tap: fmt::Debug + Send {
    /// Some bytes were read.
    fn read(&mut self, bytes: &Bytes);

    /// All were read.
    fn end(&mut self);
}

/// What is wrong with a request's body.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It is larger than this many bytes.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// It paused for too long or arrived too slowly.
    #[error("the body did not arrive in time")]
    TooSlow,
    /// It broke off.
    #[error("the body broke off")]
    BrokenOff(#[source] BodyError),
}

impl Body {
    /// The body of a request, with a limit on how slowly the client may send it.
    #[must_use]
    pub(crate) fn received(body: Incoming, head: &Parts, pace: Pace) -> Self {
        if body.is_end_stream() {
            return Self::Empty;
        }
        // An HTTP/2 stream ends without its connection, and a client that sends `Expect` waits before it sends.
        let is_drained = head.version < Version::HTTP_2 && !head.headers.contains_key(header::EXPECT);
        let body = Some(Paced::new(body, pace));
        Self::Received(Received { body, limit: usize::MAX, left: usize::MAX, is_drained, tap: None })
    }

    /// The same body, whose bytes `tap` sees as well. Nothing sees those of a body that is in memory.
    #[must_use]
    pub(crate) fn with_tap(mut self, tap: Box<dyn Tap>) -> Self {
        if let Self::Received(received) = &mut self {
            received.tap = Some(tap);
        }
        self
    }

    /// The same body, limited to `limit` more bytes.
    ///
    /// # Errors
    /// When it declares more in advance.
    pub(crate) fn at_most(mut self, limit: usize) -> Result<Self, Fault> {
        if usize::try_from(self.size_hint().lower()).map_or(true, |length| length > limit) {
            return Err(Fault::TooLarge(limit));
        }
        if let Self::Received(received) = &mut self {
            received.limit = limit;
            received.left = limit;
        }
        Ok(self)
    }
}

impl Fault {
    /// The fault of a request's body that caused another error, if any.
    #[must_use]
    pub fn behind<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(fault) = error.downcast_ref() {
                return Some(fault);
            }
            cause = error.source();
        }
        None
    }
}

impl From<&Fault> for ApiError {
    fn from(fault: &Fault) -> Self {
        let close = (header::CONNECTION, HeaderValue::from_static("close"));
        match fault {
            Fault::TooLarge(limit) => {
                Self::new(Code::BodyTooLarge, format!("Send a body of at most {limit} bytes.")).header(close.0, close.1)
            }
            Fault::TooSlow => {
                let sentence = "The body arrived too slowly; send it faster and without long pauses.";
                Self::new(Code::RequestTimeout, sentence).header(close.0, close.1)
            }
            Fault::BrokenOff(cause) => {
                Self::new(Code::InvalidRequest, "The body broke off; send it whole.").because(cause.to_string())
            }
        }
    }
}

impl From<Fault> for ApiError {
    fn from(fault: Fault) -> Self {
        Self::from(&fault)
    }
}

impl Received {
    fn check(&mut self, frame: Result<Frame<Bytes>, BodyError>) -> Result<Frame<Bytes>, Fault> {
        match frame {
            Ok(frame) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                if let (Some(tap), Some(bytes)) = (&mut self.tap, frame.data_ref()) {
                    tap.read(bytes);
                    if self.body.as_ref().is_none_or(http_body::Body::is_end_stream) {
                        tap.end();
                    }
                }
                self.left = self.left.checked_sub(length).ok_or(Fault::TooLarge(self.limit))?;
                Ok(frame)
            }
            Err(error) => {
                self.is_drained = false;
                Err(if error.is::<TooSlow>() { Fault::TooSlow } else { Fault::BrokenOff(error) })
            }
        }
    }
}

impl http_body::Body for Received {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let Poll::Ready(frame) = Pin::new(body).poll_frame(context) else { return Poll::Pending };
        match frame {
            Some(frame) => Poll::Ready(Some(self.check(frame).map_err(Into::into))),
            None => {
                self.body = None;
                if let Some(mut tap) = self.tap.take() {
                    tap.end();
                }
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), http_body::Body::size_hint)
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        if self.is_drained
            && let Some(mut body) = self.body.take().filter(|body| !body.is_end_stream())
            && let Ok(runtime) = Handle::try_current()
        {
            let mut tap = self.tap.take();
            runtime.spawn(tokio::time::timeout(DRAIN_TIMEOUT, async move {
                while let Some(frame) = body.frame().await {
                    let Ok(frame) = frame else { return };
                    if let (Some(tap), Some(bytes)) = (&mut tap, frame.data_ref()) {
                        tap.read(bytes);
                    }
                }
                if let Some(tap) = &mut tap {
                    tap.end();
                }
            }));
        }
    }
}

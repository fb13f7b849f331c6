//! The rules for faults.

use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::{
    condition::Occasion,
    definition::{Coalesce, Definition, Effect, How, Partial, Pings, Sizes, Token},
};
use crate::{
    error::Code,
    request::closed::{self, Mistake},
};

/// The longest body of a fault, in bytes of JSON.
const MOST_BODY: usize = 1024 * 1024;
/// The most pings of a storm.
const MOST_PINGS: usize = 10_000;
/// The most numbers of `nth`.
const MOST_NUMBERS: usize = 1_000;
/// The largest piece of a sliced body, and the largest part of a frame, in bytes.
const MOST_PIECE: usize = 1024 * 1024;

/// The headers that a fault may not set: those of the connection, and those by which a page may read the response.
const KEPT_HEADERS: [&str; 8] =
    ["connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "x-request-id"];

/// Reads one fault.
///
/// # Errors
/// What is wrong, and where.
pub(super) fn read_definition(object: Map<String, Value>) -> Result<Definition, Mistake> {
    let definition: Definition = closed::read(object.into())?;
    definition.check().map(|()| definition)
}

fn mistake(at: &str, problem: impl Into<String>) -> Mistake {
    Mistake { at: at.to_owned(), problem: problem.into() }
}

/// Whether a text can be the id of a fault.
fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

impl Definition {
    /// Checks what the form alone does not say.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub(super) fn check(&self) -> Result<(), Mistake> {
        if self.id.as_ref().is_some_and(|id| !is_id(id)) {
            return Err(mistake("/id", "must be of letters, digits, '.', '_' and '-', and at most 64 of them"));
        }
        self.occasion.check()?;
        self.effect.check()
    }
}

impl Occasion {
    fn check(&self) -> Result<(), Mistake> {
        let Self { nth, first, every, probability, retry: _ } = self;
        let given = [nth.is_some(), first.is_some(), every.is_some(), probability.is_some()];
        if given.into_iter().filter(|is_given| *is_given).count() > 1 {
            return Err(mistake("/when", "has at most one of nth, first, every and probability"));
        }
        if nth.as_ref().is_some_and(|nth| nth.is_empty() || nth.contains(&0) || nth.len() > MOST_NUMBERS) {
            return Err(mistake("/when/nth", "must be numbers from 1 on, such as [1, 3]"));
        }
        if *first == Some(0) {
            return Err(mistake("/when/first", "must be at least 1"));
        }
        if *every == Some(0) {
            return Err(mistake("/when/every", "must be at least 1"));
        }
        if probability.is_some_and(|probability| !(probability > 0.0 && probability <= 1.0)) {
            return Err(mistake("/when/probability", "must be more than 0 and at most 1"));
        }
        Ok(())
    }
}

impl Effect {
    fn check(&self) -> Result<(), Mistake> {
        if *self == Self::default() {
            return Err(mistake("/do", "must have at least one part, such as \"status\" or \"cut\""));
        }
        self.check_response()?;
        self.check_headers()?;
        self.check_sizes()?;
        self.check_ends()?;
        self.check_token()
    }

    fn check_response(&self) -> Result<(), Mistake> {
        if self.status.is_some_and(|status| !(200..=599).contains(&status)) {
            return Err(mistake("/do/status", "must be a status from 200 to 599"));
        }
        if let Some(word) = &self.code {
            if code_of(word).is_none() {
                return Err(mistake("/do/code", format!("'{word}' is no code; docs/errors.md lists them")));
            }
            if self.body.is_some() {
                return Err(mistake("/do/body", "give either code or body"));
            }
        }
        if self.body.as_ref().is_some_and(|body| body.to_string().len() > MOST_BODY) {
            return Err(mistake("/do/body", format!("is at most {MOST_BODY} bytes")));
        }
        match self.stream_part() {
            Some(part) if self.is_response() => {
                let given = ["status", "code", "body"].into_iter().zip([self.status.is_some(), self.code.is_some()]);
                let given = given.into_iter().find(|(_, is_given)| *is_given).map_or("body", |(name, _)| name);
                Err(mistake(
                    &format!("/do/{given}"),
                    format!("is a response of its own, and {part} changes the handler's stream; give two faults"),
                ))
            }
            _ => Ok(()),
        }
    }

    fn check_headers(&self) -> Result<(), Mistake> {
        for (name, value) in &self.headers {
            let at = format!("/do/headers/{}", name.replace('~', "~0").replace('/', "~1"));
            let Ok(parsed) = HeaderName::try_from(name.as_str()) else {
                return Err(mistake(&at, "is not the name of a header"));
            };
            let parsed = parsed.as_str();
            if KEPT_HEADERS.contains(&parsed)
                || parsed.starts_with("access-control-")
                || parsed.starts_with("x-gatelet-")
            {
                return Err(mistake(&at, "belongs to the connection, or lets a page read the response, and stays"));
            }
            if HeaderValue::try_from(value.as_str()).is_err() {
                return Err(mistake(&at, "is not the value of a header"));
            }
        }
        Ok(())
    }

    fn check_sizes(&self) -> Result<(), Mistake> {
        if let Some(slice) = &self.slice {
            let Sizes(least, most) = slice.bytes;
            if least == 0 || least > most || most > MOST_PIECE {
                return Err(mistake("/do/slice/bytes", format!("must be from 1 to {MOST_PIECE}, the smaller first")));
            }
            if self.coalesce.is_some() {
                return Err(mistake("/do/coalesce", "give either slice or coalesce"));
            }
        }
        if self.coalesce == Some(Coalesce::Frames(0)) {
            return Err(mistake("/do/coalesce", "must be true, or at least 1"));
        }
        if let Some(Pings::Storm(storm)) = &self.pings
            && !(1..=MOST_PINGS).contains(&storm.count)
        {
            return Err(mistake("/do/pings/count", format!("must be from 1 to {MOST_PINGS}")));
        }
        if let Some(half) = &self.half
            && !matches!(half.bytes, Partial::InCharacter | Partial::Bytes(0..=MOST_PIECE))
        {
            return Err(mistake("/do/half/bytes", format!("must be at most {MOST_PIECE}")));
        }
        if let Some(error_event) = &self.error_event
            && !(400..=599).contains(&error_event.status)
        {
            return Err(mistake("/do/error_event/status", "must be the status of an error, from 400 to 599"));
        }
        if self.length.is_some() && self.chunk.is_some() {
            return Err(mistake("/do/chunk", "give either length or chunk: a response has one or the other"));
        }
        Ok(())
    }

    fn check_ends(&self) -> Result<(), Mistake> {
        let ends =
            [("cut", self.cut.is_some()), ("half", self.half.is_some()), ("error_event", self.error_event.is_some())];
        let mut ends = ends.into_iter().filter(|(_, is_given)| *is_given);
        if let (Some((first, _)), Some((second, _))) = (ends.next(), ends.next()) {
            return Err(mistake(&format!("/do/{second}"), format!("a response ends once; {first} ends it as well")));
        }
        if self.silence() == Some(How::Clean) {
            return Err(mistake("/do/cut/at", "must be given: without a response there is nothing to end properly"));
        }
        if self.silence().is_some() {
            let alone = Self { cut: self.cut.clone(), delay: self.delay, ..Self::default() };
            if *self != alone {
                return Err(mistake(
                    "/do/cut/at",
                    "must be given beside other parts: without it, nothing is sent at all",
                ));
            }
        }
        Ok(())
    }

    fn check_token(&self) -> Result<(), Mistake> {
        let Some(token) = &self.token else { return Ok(()) };
        let refusal = !matches!(token, Token::RevokeAt(_));
        if refusal && (self.is_response() || self.stream_part().is_some()) {
            return Err(mistake("/do/token", "makes a refusal, beside which there is no other response and no stream"));
        }
        Ok(())
    }
}

/// The code with this word.
pub(super) fn code_of(word: &str) -> Option<Code> {
    Code::ALL.iter().copied().find(|code| code.word() == word)
}

//! One line for each request. It names the operation's template, never the path that was asked for: paths carry tokens.

use std::{fmt::Write, time::Duration};

use chrono::{DateTime, Utc};
use http::{Method, StatusCode};
use tracing::{Level, event_enabled, info};

use super::{log_sink::LogSink, request_id::RequestId};
use crate::{access::RequestContext, clock, error::Code};

/// How access lines are written. Cheap to clone.
#[derive(Clone, Debug)]
pub enum AccessLog {
    /// As all other lines are.
    General,
    /// As JSON, by hand: the general formatter takes as long for a line as the whole guard for a request.
    Json(LogSink),
}

/// What is said about a request.
pub(crate) struct Line<'a> {
    pub(crate) request_id: &'a RequestId,
    pub(crate) method: &'a Method,
    pub(crate) context: RequestContext,
    pub(crate) status: StatusCode,
    pub(crate) code: Option<Code>,
    pub(crate) duration: Duration,
}

impl AccessLog {
    pub(crate) fn write(&self, line: &Line<'_>) {
        match self {
            Self::General => line.general(),
            Self::Json(sink) if event_enabled!(Level::INFO) => sink.append(line.json(clock::now()).as_bytes()),
            Self::Json(_) => {}
        }
    }
}

impl Line<'_> {
    fn general(&self) {
        let mut operation = String::new();
        self.operation(&mut operation);
        info!(
            request.id = %self.request_id,
            operation,
            status = self.status.as_u16(),
            code = self.code.map(Code::word),
            token = self.context.fingerprint.map(|fingerprint| fingerprint.to_string()),
            duration_us = self.duration_us(),
            "{operation} -> {}", self.status.as_u16()
        );
    }

    /// Nothing in it needs an escape: every part is a constant of ours, a number or hexadecimal.
    fn json(&self, now: DateTime<Utc>) -> String {
        let mut line = String::with_capacity(400);
        line.push_str("{\"timestamp\":\"");
        clock::push_micros(&mut line, now);
        line.push_str("\",\"level\":\"INFO\",\"message\":\"");
        self.operation(&mut line);
        // Writing to a String cannot fail.
        let _ = write!(line, " -> {}\",\"request.id\":\"{}\",\"operation\":\"", self.status.as_u16(), self.request_id);
        self.operation(&mut line);
        let _ = write!(line, "\",\"status\":{}", self.status.as_u16());
        if let Some(code) = self.code {
            let _ = write!(line, ",\"code\":\"{}\"", code.word());
        }
        if let Some(fingerprint) = self.context.fingerprint {
            let _ = write!(line, ",\"token\":\"{fingerprint}\"");
        }
        let _ = writeln!(line, ",\"duration_us\":{},\"target\":\"{}\"}}", self.duration_us(), module_path!());
        line
    }

    fn operation(&self, text: &mut String) {
        match self.context.operation {
            Some(operation) => {
                let row = operation.row();
                text.push_str(row.method.as_str());
                text.push(' ');
                text.push_str(row.template);
            }
            None => {
                text.push_str(known_method(self.method));
                text.push_str(" (no operation)");
            }
        }
    }

    fn duration_us(&self) -> u64 {
        u64::try_from(self.duration.as_micros()).unwrap_or(u64::MAX)
    }
}

/// Methods are free text on the wire; only the usual ones are repeated.
fn known_method(method: &Method) -> &str {
    match method.as_str() {
        name @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => name,
        _ => "OTHER",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{access::Operation, credentials::Fingerprint};

    #[test]
    fn a_line_is_json() {
        let request_id = RequestId::new();
        let mut line = Line {
            request_id: &request_id,
            method: &Method::GET,
            context: RequestContext {
                operation: Some(Operation::RetrieveAgent),
                fingerprint: Some(Fingerprint::of("x")),
                ..RequestContext::default()
            },
            status: StatusCode::OK,
            code: None,
            duration: Duration::from_micros(12),
        };
        let read = |line: &Line<'_>| -> Value { serde_json::from_str(&line.json(clock::now())).unwrap() };
        let value = read(&line);
        assert_eq!(value["message"], "GET /v1/agents/{agent_id} -> 200");
        assert_eq!(value["request.id"], request_id.to_string());
        assert_eq!((&value["status"], &value["duration_us"]), (&json!(200), &json!(12)));
        assert_eq!(value["token"], Fingerprint::of("x").to_string());
        line.context = RequestContext::default();
        line.code = Some(Code::NotFound);
        let odd = Method::from_bytes(b"A-B").unwrap();
        line.method = &odd;
        let value = read(&line);
        assert_eq!((&value["operation"], &value["code"]), (&json!("OTHER (no operation)"), &json!("not_found")));
    }
}

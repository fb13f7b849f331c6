//! The access log: one line for each request. It names the operation's template and never the path, because paths can
//! contain tokens.

use std::{fmt::Write, time::Duration};

use chrono::{DateTime, Utc};
use http::{Method, StatusCode};
use tracing::{Level, event_enabled, info};

use super::{log_sink::LogSink, request_id::RequestId};
use crate::{access::RequestContext, clock, error::Code};

/// How lines of the access log are written. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) enum AccessLog {
    /// Through `tracing`, as all other log lines.
    Tracing,
    /// As JSON that is formatted here: the formatter of `tracing` takes as long for a line as the guard for a request.
    Json(LogSink),
}

/// A line of the access log.
pub(crate) struct Line<'a> {
    pub(crate) request_id: &'a RequestId,
    pub(crate) method: &'a Method,
    pub(crate) context: &'a RequestContext,
    pub(crate) status: StatusCode,
    pub(crate) code: Option<Code>,
    pub(crate) duration: Duration,
}

impl AccessLog {
    pub(crate) fn write(&self, line: &Line<'_>) {
        match self {
            Self::Tracing => line.trace(),
            Self::Json(sink) if event_enabled!(Level::INFO) => sink.append(line.json(clock::real_now()).as_bytes()),
            Self::Json(_) => {}
        }
    }
}

impl Line<'_> {
    fn trace(&self) {
        let mut operation = String::new();
        self.push_operation(&mut operation);
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

    /// The line as JSON. Nothing needs to be escaped: every part is a constant, a number or hexadecimal.
    fn json(&self, now: DateTime<Utc>) -> String {
        let mut line = String::with_capacity(400);
        line.push_str("{\"timestamp\":\"");
        clock::push_micros(&mut line, now);
        line.push_str("\",\"level\":\"INFO\",\"message\":\"");
        self.push_operation(&mut line);
        // Writing to a String cannot fail.
        let _ = write!(line, " -> {}\",\"request.id\":\"{}\",\"operation\":\"", self.status.as_u16(), self.request_id);
        self.push_operation(&mut line);
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

    fn push_operation(&self, text: &mut String) {
        match self.context.operation {
            Some(operation) => {
                let row = operation.row();
                text.push_str(row.method.as_str());
                text.push(' ');
                text.push_str(row.template);
            }
            None => {
                text.push_str(known_method(self.method));
                text.push(' ');
                text.push_str(self.context.route.unwrap_or("(no operation)"));
            }
        }
    }

    fn duration_us(&self) -> u64 {
        u64::try_from(self.duration.as_micros()).unwrap_or(u64::MAX)
    }
}

/// The method, or `OTHER` if it is not a common one: clients may send any text.
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
        let context = RequestContext {
            operation: Some(Operation::RetrieveAgent),
            fingerprint: Some(Fingerprint::of("x")),
            ..RequestContext::default()
        };
        let nothing_known = RequestContext::default();
        let mut line = Line {
            request_id: &request_id,
            method: &Method::GET,
            context: &context,
            status: StatusCode::OK,
            code: None,
            duration: Duration::from_micros(12),
        };
        let read = |line: &Line<'_>| -> Value { serde_json::from_str(&line.json(clock::real_now())).unwrap() };
        let value = read(&line);
        assert_eq!(value["message"], "GET /v1/agents/{agent_id} -> 200");
        assert_eq!(value["request.id"], request_id.to_string());
        assert_eq!((&value["status"], &value["duration_us"]), (&json!(200), &json!(12)));
        assert_eq!(value["token"], Fingerprint::of("x").to_string());
        line.context = &nothing_known;
        line.code = Some(Code::NotFound);
        let other = Method::from_bytes(b"A-B").unwrap();
        line.method = &other;
        let value = read(&line);
        assert_eq!((&value["operation"], &value["code"]), (&json!("OTHER (no operation)"), &json!("not_found")));
    }
}

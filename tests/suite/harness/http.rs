//! A client that shows what came back.

use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::{Value, json};

use super::ORIGIN;
use crate::conformance;

/// Someone who talks to a server: a bearer and perhaps an origin.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
    headers: Vec<(String, String)>,
    /// Whether the mock answers: then every answer must be one that Letta's specification promises.
    mocked: bool,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Client {
    pub(crate) fn new(url: &str, mocked: bool) -> Self {
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { http, url: url.to_owned(), headers: Vec::new(), mocked }
    }

    /// The same client with one more header.
    pub(crate) fn with(&self, name: &str, value: &str) -> Self {
        let mut other = self.clone();
        other.headers.push((name.to_owned(), value.to_owned()));
        other
    }

    /// The same client at another server.
    pub(crate) fn at(&self, url: &str) -> Self {
        Self { url: url.to_owned(), ..self.clone() }
    }

    /// The same client over other connections.
    pub(crate) fn over(&self, http: reqwest::Client) -> Self {
        Self { http, ..self.clone() }
    }

    /// The same client with a bearer.
    pub(crate) fn bearer(&self, bearer: &str) -> Self {
        self.with("authorization", &format!("Bearer {bearer}"))
    }

    /// The page of a user: a client token, and the origin it is bound to.
    pub(crate) fn page(&self, token: &str) -> Self {
        self.bearer(token).with("origin", ORIGIN)
    }

    fn holds_token(&self) -> bool {
        self.headers.iter().any(|(_, value)| value.starts_with("Bearer ck-let-"))
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        self.headers.iter().fold(request, |request, (name, value)| request.header(name, value))
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let mut request = self.request(method.clone(), path);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = Answer::read(request.send().await.unwrap()).await;
        // A page that may write an agent, but not read it, is answered with what it has written.
        let written = self.holds_token() && method == Method::PATCH;
        // Client tokens get the OpenAI API, which is not Letta's.
        let openai = ["/v1/models", "/v1/chat/completions"].iter().any(|of_it| path.starts_with(of_it));
        if self.mocked && !written && !(openai && self.holds_token()) {
            conformance::hold(&method, path, &answer);
        }
        answer
    }

    /// Sends a form that [`form`] made.
    pub(crate) async fn send_form(&self, path: &str, body: Vec<u8>) -> Answer {
        let request = self.request(Method::POST, path).header("content-type", "multipart/form-data; boundary=b0");
        Answer::read(request.body(body).send().await.unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, Some(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PATCH, path, Some(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PUT, path, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None).await
    }

    /// Creates an agent and returns its id.
    pub(crate) async fn create_agent(&self, body: &Value) -> String {
        let mut body = body.clone();
        if body.get("model").is_none() {
            body["model"] = json!("openai/gpt-4o-mini");
        }
        self.post("/v1/agents/", &body).await.expect(200)["id"].as_str().unwrap().to_owned()
    }

    /// Creates a client token for one agent and returns it.
    pub(crate) async fn create_token(&self, agent: &str, access: &[&str]) -> String {
        self.create_token_with(&token_request(agent, access)).await
    }

    /// Creates a client token from a whole request and returns it.
    pub(crate) async fn create_token_with(&self, body: &Value) -> String {
        let token = self.post("/v1/client-side-access-tokens", body).await.expect(201);
        token["token"].as_str().unwrap().to_owned()
    }
}

/// A part of a form: its name, the name and type of a file if it is one, and its content.
pub(crate) type FormPart<'a> = (&'a str, Option<(&'a str, &'a str)>, &'a [u8]);

/// A multipart form.
pub(crate) fn form(parts: &[FormPart<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, file, content) in parts {
        body.extend_from_slice(format!("--b0\r\nContent-Disposition: form-data; name=\"{name}\"").as_bytes());
        if let Some((file, media_type)) = file {
            body.extend_from_slice(format!("; filename=\"{file}\"\r\nContent-Type: {media_type}").as_bytes());
        }
        body.extend_from_slice(b"\r\n\r\n");
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--b0--\r\n");
    body
}

/// A request for a client token bound to [`ORIGIN`].
pub(crate) fn token_request(agent: &str, access: &[&str]) -> Value {
    json!({"policy": [{"type": "agent", "id": agent, "access": access}], "hostname": ORIGIN})
}

impl Answer {
    pub(crate) async fn read(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        Self { status, headers, text: response.text().await.unwrap_or_default() }
    }

    /// The JSON body of an answer with this status.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The body: JSON, or the frames of an event stream.
    pub(crate) fn value(&self) -> Option<Value> {
        if self.header("content-type").is_none_or(|kind| !kind.starts_with("text/event-stream")) {
            return serde_json::from_str(&self.text).ok();
        }
        let frames = self.text.split("\n\n").filter(|frame| !frame.is_empty()).map(|frame| {
            let member = |line: &str| {
                let (field, value) = line.split_once(": ").unwrap_or((line, ""));
                let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
                (field.to_owned(), value)
            };
            frame.lines().map(member).collect::<Value>()
        });
        Some(frames.collect())
    }

    /// Checks that this is a refusal with this status and code; returns its sentence.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) -> String {
        let body = self.expect(status);
        assert_eq!(body["code"], code, "{body}");
        assert_eq!(body["request_id"], self.header("x-request-id").unwrap(), "{body}");
        assert!(!body["detail"].is_null(), "{body}");
        body["message"].as_str().unwrap().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Status and code in one word, for tables.
    pub(crate) fn outcome(&self) -> String {
        let body: Value = serde_json::from_str(&self.text).unwrap_or_default();
        match body.get("code").and_then(Value::as_str) {
            Some(code) => format!("{} {code}", self.status.as_u16()),
            None => self.status.as_u16().to_string(),
        }
    }
}

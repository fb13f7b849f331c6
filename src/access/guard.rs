//! The guard: one order of checks for every request, in both modes.
//!
//! canonical path 400 -> bearer 401 -> quota 429 -> known path 404 and method 405 -> ids 422 -> policy 403 -> origin 403 ->
//! large bodies 429 -> body -> streams 429 -> existence 404. A handler gets the result of this function and nothing else
//! of the request.

use std::{borrow::Cow, mem};

use http::{HeaderValue, Method, header, request::Parts};
use http_body::Body as _;
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::{
    Operation, Ownership, Params,
    admitted::{Admission, Admitted, Call},
    authenticator::{Authenticator, Bearer},
    denial::Denial,
    grant::{ClientGrant, Grant},
    ids, json, origin,
    permit::{Caller, Permit},
    policy_check::PolicyCheck,
    project::RequestProject,
    quota::{ConcurrencyPermit, Quotas},
    redactor::Redactor,
    request_context::RequestContext,
    target::{self, Match},
};
use crate::{
    clock,
    config::{ClientTokenAllowance, OriginMissing},
    credentials::ClientToken,
    error::{ApiError, Code},
    request::{
        body::{Body, Fault},
        headers::AllowedHeaders,
        input::{self, Payload, Query},
    },
};

/// Decides which requests are handled.
#[derive(Clone, Debug)]
pub struct Guard {
    /// Identifies callers.
    pub authenticator: Authenticator,
    /// What to do with a client token's request that names no origin.
    pub(crate) origin_missing: OriginMissing,
    /// What the deployment opens to client tokens beyond the table.
    pub(crate) allow: Vec<ClientTokenAllowance>,
    /// Whether browsers may send API keys.
    pub(crate) api_keys_from_browsers: bool,
    /// The largest body, in bytes.
    pub(crate) body_bytes: usize,
    /// The largest body of an operation that uploads a file, in bytes.
    pub(crate) upload_bytes: usize,
    /// The limits on client tokens.
    pub(crate) quotas: Quotas,
}

impl Guard {
    /// Decides about one request. Its headers move from `head` into the call.
    ///
    /// # Errors
    /// The refusal.
    pub(crate) async fn admit(
        &self,
        head: &mut Parts,
        body: Body,
        ownership: &impl Ownership,
        context: &mut RequestContext,
    ) -> Result<Admission, ApiError> {
        let found = target::find(&head.method, &Self::check_path(head)?);
        if let Match::Operation(operation, _) = found {
            context.operation = Some(operation);
            if matches!(operation.grant(), Grant::Public) {
                return Ok(Admission::Public);
            }
        }
        let bearer = self.authenticator.identify(&head.headers, context).await?;
        if let Bearer::ClientToken(token) = &bearer {
            context.allowance = self.quotas.count(token);
            context.allowance.map_or(Ok(()), |allowance| allowance.check())?;
        }
        let (operation, params) = match found {
            Match::Operation(operation, params) => (operation, params),
            Match::MethodNotAllowed(methods) => return Err(method_not_allowed(&methods)),
            Match::NotFound => {
                return Err(ApiError::letta(Code::NotFound, "Not Found")
                    .saying("There is no such path in the Letta API under /v1; check the base URL and the path."));
            }
        };
        ids::check(operation, &params)?;
        let mut query = Query::parse(head.uri.query());
        let token = match bearer {
            Bearer::ClientToken(token) => token,
            Bearer::ApiKey(key) => {
                let RequestProject { project, named_by } = RequestProject::of(&key, &head.headers)?;
                let permit = Permit::new(Caller::ApiKey { key, project, named_by });
                return Ok(Admission::Call(self.admit_key(operation, params, query, head, permit, body)?));
            }
        };
        let grant = match operation.grant() {
            Grant::Client(grant) => grant,
            Grant::KeyOnly => return Err(Denial::ApiKeyRequired.into()),
            Grant::Never | Grant::Public => return Err(Denial::OperationNotAvailable(operation).into()),
        };
        let mut policy = PolicyCheck::new(&token, grant, &params, &self.allow)?;
        policy.check_query(&mut query)?;
        let hostname = token.hostname.as_deref();
        origin::check(&token.origin, hostname, &head.method, &head.headers, self.origin_missing)?;
        let headers = AllowedHeaders::of(mem::take(&mut head.headers));
        let (body, body_permit) = self.read_body(&token, grant, &headers, body).await?;
        let body = body.map(|body| policy.check_body(body)).transpose()?.map_or(Value::Null, Value::Object);
        let stream_permit = if grant.streams { self.quotas.open_stream(&token)? } else { None };
        let agents = policy.prove(ownership).await?;
        // Reading a body may take longer than the token lives.
        if !grant.body.is_empty() {
            self.authenticator.check_live(&token)?;
        }
        let redactor = Redactor::of(grant, &body, &token, &agents);
        let permit = Permit::new(Caller::ClientToken(token));
        let call = Call { operation, params, query, headers, permit, payload: Payload::Checked(body), agents };
        Ok(Admission::Call(Admitted { call, redactor, stream_permit, body_permit }))
    }

    fn admit_key(
        &self,
        operation: Operation,
        params: Params,
        query: Query,
        head: &mut Parts,
        permit: Permit,
        body: Body,
    ) -> Result<Admitted, ApiError> {
        if head.headers.contains_key(header::ORIGIN) && !self.api_keys_from_browsers {
            return Err(Denial::ApiKeyInBrowser.into());
        }
        let limit = if operation.row().uploads { self.upload_bytes } else { self.body_bytes };
        let payload = Payload::Unread(body.at_most(limit)?);
        let headers = AllowedHeaders::of(mem::take(&mut head.headers));
        let call = Call { operation, params, query, headers, permit, payload, agents: Vec::new() };
        Ok(Admitted { call, redactor: Redactor::NOTHING, stream_permit: None, body_permit: None })
    }

    /// The segments of a canonical path.
    ///
    /// # Errors
    /// 400 when it is not canonical.
    pub(crate) fn check_path(head: &Parts) -> Result<Vec<Cow<'_, str>>, ApiError> {
        target::segments(&head.uri, head.version).map_err(|target::NotCanonical(what)| {
            ApiError::new(Code::PathNotCanonical, format!("The path is not in the form the SDKs send: {what}."))
        })
    }

    /// Reads a client token's body, with the permit for it if it is large. The body of an operation without body fields is
    /// not read.
    async fn read_body(
        &self,
        token: &ClientToken,
        grant: &ClientGrant,
        headers: &AllowedHeaders,
        body: Body,
    ) -> Result<(Option<Map<String, Value>>, Option<ConcurrencyPermit>), ApiError> {
        if grant.body.is_empty() {
            return Ok((None, None));
        }
        let body = body.at_most(self.body_bytes)?;
        let permit = self.quotas.hold_body(token, &body.size_hint())?;
        // A token that expires while its body is read gets nothing.
        let Ok(bytes) = timeout(token.time_left(clock::now_millis()), input::read(body)).await else {
            self.authenticator.check_live(token)?;
            return Err(Fault::TooSlow.into());
        };
        let bytes = bytes?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok((None, permit));
        }
        input::check_media_type(headers)?;
        match json::parse(&bytes)? {
            Value::Object(object) => Ok((Some(object), permit)),
            Value::Null => Ok((None, permit)),
            other => {
                let problem = "Input should be a valid dictionary or object to extract fields from";
                Err(ApiError::validation("model_attributes_type", &["body"], problem, &other))
            }
        }
    }
}

fn method_not_allowed(methods: &[Method]) -> ApiError {
    let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
    let names = names.join(", ");
    let error =
        ApiError::letta(Code::MethodNotAllowed, "Method Not Allowed").saying(format!("This path takes {names} only."));
    match HeaderValue::from_str(&names) {
        Ok(value) => error.header(header::ALLOW, value),
        Err(_) => error,
    }
}

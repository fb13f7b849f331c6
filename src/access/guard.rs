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
    authenticator::{self, Authenticator},
    denial::Denial,
    describe,
    grant::{ClientGrant, Grant},
    ids, json,
    needs::client_grant,
    operations::ServedBy,
    origin,
    permit::{Bearer, Caller, Permit},
    policy_check::PolicyCheck,
    project::RequestProject,
    quota::{ConcurrencyPermit, Quotas},
    redactor::Redactor,
    request_context::{Impaired, RequestContext},
    step::{listed, shown},
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

// What is asked in the steps that several checks share.
const OPERATION: &str = "operation";
const POLICY: &str = "policy";
const ORIGIN: &str = "origin";
const BODY: &str = "body";

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
    pub(crate) fn admit(
        &self,
        head: &mut Parts,
        body: Body,
        ownership: &impl Ownership,
        context: &mut RequestContext,
    ) -> impl Future<Output = Result<Admission, ApiError>> {
        self.decide(None, head, body, ownership, context)
    }

    /// Decides about a request that nobody sends: as [`Self::admit`] does, but nothing is counted or held. The caller is
    /// `bearer` instead of what `head` says, if it is given.
    ///
    /// # Errors
    /// The refusal.
    pub(crate) async fn explain(
        &self,
        bearer: Option<Bearer>,
        head: &mut Parts,
        body: Body,
        ownership: &impl Ownership,
        context: &mut RequestContext,
    ) -> Result<(), ApiError> {
        let guard = Self { quotas: self.quotas.uncounted(), ..self.clone() };
        guard.decide(bearer, head, body, ownership, context).await.map(drop)
    }

    /// Identifies the caller of a request that nobody sends: `bearer`, or who `head` says.
    ///
    /// # Errors
    /// 401 when the bearer is missing or not valid; 503 when that cannot be determined.
    pub(crate) async fn identify_only(
        &self,
        bearer: Option<Bearer>,
        head: &Parts,
        context: &mut RequestContext,
    ) -> Result<Bearer, ApiError> {
        match bearer {
            Some(Bearer::ClientToken(token)) => {
                self.authenticator.keep_live(authenticator::BEARER, &token, context)?;
                Ok(Bearer::ClientToken(token))
            }
            Some(key) => Ok(key),
            None => self.authenticator.recognize(&head.headers, context).await,
        }
    }

    /// What the path and the method lead to.
    fn find(head: &Parts, context: &mut RequestContext) -> Result<Match, ApiError> {
        let path = || format!("sent {}", shown(head.uri.path()));
        let segments = context.check("path", Self::check_path(head), path)?;
        let found = target::find(&head.method, &segments);
        if let Match::Operation(operation, _) = found {
            context.operation = Some(operation);
            context.speaks_openai = operation.row().served_by == ServedBy::OpenAi;
            if matches!(operation.grant(), Grant::Public) {
                context.step(OPERATION, || format!("{}: {operation}, open to everyone", operation.row().name));
            }
        }
        Ok(found)
    }

    /// Decides about a request. Only of one that is explained the caller may be `bearer`.
    async fn decide(
        &self,
        bearer: Option<Bearer>,
        head: &mut Parts,
        body: Body,
        ownership: &impl Ownership,
        context: &mut RequestContext,
    ) -> Result<Admission, ApiError> {
        if self.quotas.counts() && !ownership.looks_up() {
            return Err(ApiError::internal("without look-ups a request can only be explained"));
        }
        let found = Self::find(head, context)?;
        if is_public(&found) {
            return Ok(Admission::Public);
        }
        let bearer = if self.quotas.counts() {
            self.authenticator.identify(&head.headers, context).await?
        } else {
            self.identify_only(bearer, head, context).await?
        };
        if let Bearer::ClientToken(token) = &bearer {
            let allowance = context.impaired.allowance.or_else(|| self.quotas.count(token));
            context.allowance = allowance;
            let is_within = allowance.map_or(Ok(()), |allowance| allowance.check());
            context.check("quota", is_within, || self.quotas.describe_requests(allowance))?;
        }
        let (operation, params) = match found {
            Match::Operation(operation, params) => (operation, params),
            Match::MethodNotAllowed(methods) => {
                let sent = || format!("sent {}, the path takes {}", head.method, names(&methods));
                return Err(context.refuse(OPERATION, sent, method_not_allowed(&methods)));
            }
            Match::NotFound => {
                let error = ApiError::letta(Code::NotFound, "Not Found")
                    .saying("There is no such path in the Letta API under /v1; check the base URL and the path.");
                let sent = || format!("sent {}, a path of the Letta API is needed", shown(head.uri.path()));
                return Err(context.refuse(OPERATION, sent, error));
            }
        };
        context.step(OPERATION, || format!("{}: {operation}", operation.row().name));
        context.check("ids", ids::check(operation, &params), || ids::describe(&params))?;
        let mut query = Query::parse(head.uri.query());
        let token = match bearer {
            Bearer::ClientToken(token) => token,
            Bearer::ApiKey(key) => {
                context.speaks_openai = false;
                let project = RequestProject::of(&key, &head.headers);
                let project = context.check("project", project, || RequestProject::describe(&key, &head.headers))?;
                let RequestProject { project, named_by } = project;
                let permit = Permit::new(Caller::ApiKey { key, project, named_by });
                return Ok(Admission::Call(self.admit_key(operation, params, query, head, permit, body, context)?));
            }
        };
        let grant = client_grant(operation)
            .map_err(|denial| context.refuse(POLICY, || "sent a client token, an API key is needed".into(), denial))?;
        let policy = PolicyCheck::new(&token, grant, &params, &self.allow, context.keeps_steps());
        let mut policy = context.check(POLICY, policy, || describe::policy(&token, grant, &params))?;
        let sent = context.keeps_steps().then(|| listed(query.pairs().map(|(name, _)| name)));
        let checked = policy.check_query(&mut query);
        context.dropped_fields.append(&mut policy.dropped);
        context.check("query", checked, || policy.describe_query(&sent.unwrap_or_default()))?;
        let hostname = token.hostname.as_deref();
        let from_origin = origin::check(&token.origin, hostname, &head.method, &head.headers, self.origin_missing);
        context.check(ORIGIN, from_origin, || {
            origin::describe(&token.origin, hostname, &head.method, &head.headers, self.origin_missing)
        })?;
        let headers = AllowedHeaders::of(mem::take(&mut head.headers));
        let sent = context.keeps_steps().then(|| self.describe_body(grant, &headers, &body));
        let (body, body_permit) = match self.read_body(&token, context.impaired, grant, &headers, body).await {
            Ok(read) => read,
            Err(refusal) => return Err(context.refuse(BODY, || sent.unwrap_or_default(), refusal)),
        };
        let fields = context.keeps_steps().then(|| listed(body.iter().flat_map(Map::keys)));
        let checked = body.map(|body| policy.check_body(body)).transpose();
        context.dropped_fields.append(&mut policy.dropped);
        let checked = context.check(BODY, checked, || {
            let fields = describe::fields(grant.body, &fields.unwrap_or_default());
            format!("{}; {fields}", sent.unwrap_or_default())
        });
        let body = checked?.map_or(Value::Null, Value::Object);
        let stream_permit = if grant.streams {
            let permit = self.quotas.open_stream(&token);
            context.check("streams", permit, || self.quotas.describe_streams(&token))?
        } else {
            None
        };
        let agents = policy.prove(ownership, context).await?;
        // Reading a body may take longer than the token lives.
        if !grant.body.is_empty() {
            self.authenticator.keep_live("still valid", &token, context)?;
        }
        let redactor = Redactor::of(grant, &body, &token, &agents);
        let permit = Permit::new(Caller::ClientToken(token));
        let call =
            Call { operation, params, query, headers, permit, payload: Payload::Checked(body), agents, attempt: None };
        Ok(Admission::Call(Admitted { call, redactor, stream_permit, body_permit }))
    }

    #[expect(clippy::too_many_arguments, reason = "all that is known about the request becomes the call")]
    fn admit_key(
        &self,
        operation: Operation,
        params: Params,
        query: Query,
        head: &mut Parts,
        permit: Permit,
        body: Body,
        context: &mut RequestContext,
    ) -> Result<Admitted, ApiError> {
        let is_from_browser = head.headers.contains_key(header::ORIGIN) && !self.api_keys_from_browsers;
        let may_come = if is_from_browser { Err(Denial::ApiKeyInBrowser) } else { Ok(()) };
        context.check(ORIGIN, may_come, || {
            let accepted = if self.api_keys_from_browsers { "with or without one" } else { "without one" };
            format!("sent {}, API keys are accepted {accepted}", origin::sent(&head.headers))
        })?;
        let limit = if operation.row().uploads { self.upload_bytes } else { self.body_bytes };
        let size = context.keeps_steps().then(|| describe::size(&body));
        let body = context.check(BODY, body.at_most(limit), || {
            format!("sent {}, at most {limit} bytes are accepted", size.unwrap_or_default())
        })?;
        let payload = Payload::Unread(body);
        let headers = AllowedHeaders::of(mem::take(&mut head.headers));
        let call = Call { operation, params, query, headers, permit, payload, agents: Vec::new(), attempt: None };
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

    fn describe_body(&self, grant: &ClientGrant, headers: &AllowedHeaders, body: &Body) -> String {
        if grant.body.is_empty() {
            return "not read, the operation takes none".into();
        }
        let media_type =
            headers.get(header::CONTENT_TYPE).map_or("no media type", |value| value.to_str().unwrap_or("?"));
        let (size, limit) = (describe::size(body), self.body_bytes);
        format!("sent {size} of {}, at most {limit} bytes of application/json are accepted", shown(media_type))
    }

    /// Reads a client token's body, with the permit for it if it is large. The body of an operation without body fields is
    /// not read.
    async fn read_body(
        &self,
        token: &ClientToken,
        impaired: Impaired,
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
            self.authenticator.check_live(token, impaired)?;
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

fn is_public(found: &Match) -> bool {
    matches!(found, Match::Operation(operation, _) if matches!(operation.grant(), Grant::Public))
}

fn names(methods: &[Method]) -> String {
    methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ")
}

fn method_not_allowed(methods: &[Method]) -> ApiError {
    let names = names(methods);
    let error =
        ApiError::letta(Code::MethodNotAllowed, "Method Not Allowed").saying(format!("This path takes {names} only."));
    match HeaderValue::from_str(&names) {
        Ok(value) => error.header(header::ALLOW, value),
        Err(_) => error,
    }
}

//! Identifies the caller by the `Authorization` header or, in its absence, by `X-BARE-PASSWORD`.
//!
//! Client tokens are verified without the database: signature and claims once, expiry and revocation on every use. API
//! keys are looked up by their hash and cached while the revocation feed is fresh. Failures are never cached.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use quick_cache::sync::Cache;

pub use super::permit::Bearer;
use super::{
    denial::Denial,
    feed::Feed,
    request_context::{Impaired, RequestContext},
    step,
};
use crate::{
    clock::{Clock, Millis, format_millis},
    credentials::{ClientToken, Fingerprint, InvalidToken, Keyring, VerifiedKey, api_key, client_token, sha256},
    error::{ApiError, Code},
    request::headers::BARE_PASSWORD,
    store::{Store, StoreError},
    world,
};

/// How many API keys are cached.
const KEY_CACHE: usize = 1_000;

/// Turns a request's headers into a [`Bearer`], or a refusal. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Authenticator(Arc<AuthenticatorState>);

#[derive(Debug)]
struct AuthenticatorState {
    store: Store,
    keyring: Arc<Keyring>,
    feed: Feed,
    clock: Clock,
    /// Verified tokens by their whole text: two tokens that differ anywhere are two entries.
    tokens: Cache<Box<str>, Arc<ClientToken>>,
    keys: Cache<[u8; 32], Arc<VerifiedKey>>,
    test_keys: TestKeys,
    key_uses: Mutex<HashMap<Box<str>, Millis>>,
    /// Knows the API keys of the instance; `None` outside of namespaces.
    instance: Option<Instance>,
}

/// The instance that a namespace belongs to.
#[derive(Debug)]
struct Instance {
    authenticator: Authenticator,
    keys: InstanceKeys,
}

/// Which API keys of the instance a namespace accepts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum InstanceKeys {
    /// All: the namespace is the instance's default.
    All,
    /// Those that are not limited to a project.
    Unlimited,
}

/// What happens to test keys, the API keys of a mock's namespaces.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TestKeys {
    /// They are refused by their form, as everywhere but on a mock with namespaces.
    Refused,
    /// They are looked up as other keys are.
    Accepted,
}

impl Authenticator {
    /// An authenticator that caches at most `capacity` client tokens.
    #[must_use]
    pub fn new(
        store: Store,
        keyring: Arc<Keyring>,
        feed: Feed,
        clock: Clock,
        capacity: usize,
        test_keys: TestKeys,
    ) -> Self {
        Self::build(store, keyring, feed, clock, capacity, test_keys, None)
    }

    /// An authenticator for a namespace. API keys that the namespace does not know are looked up in the instance. A client
    /// token must be stored, so that of the tokens that its signing key ever signed, only those live that a restored
    /// snapshot contains.
    #[must_use]
    pub(crate) fn within(
        (authenticator, keys): (Self, InstanceKeys),
        store: Store,
        keyring: Arc<Keyring>,
        feed: Feed,
        clock: Clock,
        capacity: usize,
    ) -> Self {
        let instance = Some(Instance { authenticator, keys });
        Self::build(store, keyring, feed, clock, capacity, TestKeys::Accepted, instance)
    }

    fn build(
        store: Store,
        keyring: Arc<Keyring>,
        feed: Feed,
        clock: Clock,
        capacity: usize,
        test_keys: TestKeys,
        instance: Option<Instance>,
    ) -> Self {
        Self(Arc::new(AuthenticatorState {
            store,
            keyring,
            feed,
            clock,
            tokens: Cache::new(capacity.max(1)),
            keys: Cache::new(KEY_CACHE),
            test_keys,
            key_uses: Mutex::default(),
            instance,
        }))
    }

    /// Identifies the caller. The bearer's fingerprint is noted in `context`, also when it is refused.
    ///
    /// # Errors
    /// 401 when the bearer is missing or not valid; 503 when that cannot be determined.
    pub async fn identify(&self, headers: &HeaderMap, context: &mut RequestContext) -> Result<Bearer, ApiError> {
        let bearer = self.recognize(headers, context).await?;
        if let Bearer::ApiKey(key) = &bearer {
            self.note_use(key);
        }
        Ok(bearer)
    }

    /// Identifies the caller of a request that nobody sends: as [`Self::identify`] does, but that is no use of a key.
    ///
    /// # Errors
    /// As for [`Self::identify`].
    pub(super) async fn recognize(
        &self,
        headers: &HeaderMap,
        context: &mut RequestContext,
    ) -> Result<Bearer, ApiError> {
        let bearer = bearer(headers).map_err(|denial| context.refuse(BEARER, || needed(sent_in(headers)), denial))?;
        if bearer.starts_with(client_token::PREFIX) {
            let token = self.client_token(bearer, context).await?;
            return Ok(Bearer::ClientToken(token));
        }
        let hash = sha256(bearer.as_bytes());
        context.fingerprint = Some(Fingerprint::of_hash(&hash));
        if !api_key::is_well_formed(bearer) {
            let denial = Denial::BearerInvalid { mistyped_key: false };
            return Err(context.refuse(BEARER, || needed("a bearer of neither form"), denial));
        }
        if self.0.test_keys == TestKeys::Refused && api_key::is_test(bearer) {
            return Err(context.refuse(BEARER, || needed("a test key"), Denial::TestKey));
        }
        let key = self.api_key(&hash).await;
        let key = key.map_err(|error| context.refuse(BEARER, || "an API key, to be looked up".into(), error))?;
        let Some(key) = key else {
            let denial = if api_key::is_test(bearer) {
                Denial::TestKeyUnknown
            } else {
                Denial::BearerInvalid { mistyped_key: api_key::looks_mistyped(bearer) }
            };
            return Err(context.refuse(BEARER, || needed("an API key that is unknown, revoked or expired"), denial));
        };
        context.step(BEARER, || format!("API key {}, valid", key.id));
        let bearer = Bearer::ApiKey(key);
        if context.keeps_steps() {
            context.caller = Some(bearer.clone());
        }
        Ok(bearer)
    }

    async fn client_token(&self, text: &str, context: &mut RequestContext) -> Result<Arc<ClientToken>, ApiError> {
        let token = self.genuine_token(text, context).await?;
        self.keep_live(BEARER, &token, context)?;
        Ok(token)
    }

    /// A client token that this server issued, also when it has expired or was revoked.
    ///
    /// # Errors
    /// 401 when it is not genuine; 503 when that cannot be determined.
    pub(super) async fn genuine_token(
        &self,
        text: &str,
        context: &mut RequestContext,
    ) -> Result<Arc<ClientToken>, ApiError> {
        let remembered = self.0.tokens.get(text);
        context.remembered = Some(remembered.is_some());
        let token = match remembered {
            Some(token) => token,
            None => {
                let verified = match self.0.keyring.verify(text) {
                    // Another replica may have signed it with a key that this one has not read yet.
                    Err(InvalidToken::UnknownKey) => {
                        self.0.feed.catch_up().await;
                        self.0.keyring.verify(text)
                    }
                    verified => verified,
                };
                let token = match verified {
                    Ok(token) => token,
                    Err(problem) => {
                        context.fingerprint = Some(Fingerprint::of(text));
                        let may_be_new = problem == InvalidToken::UnknownKey && !self.0.feed.is_fresh();
                        let invalid = || Denial::BearerInvalid { mistyped_key: false }.into();
                        let refusal: ApiError = if may_be_new { stale() } else { invalid() };
                        return Err(context.refuse(
                            BEARER,
                            || needed(&format!("not a client token of this server: {problem}")),
                            refusal,
                        ));
                    }
                };
                if self.0.instance.is_some() && !self.is_stored(&token, text).await? {
                    context.fingerprint = Some(token.fingerprint);
                    let said = || {
                        needed(&format!("client token {}, verified, and not of this state of the namespace", token.id))
                    };
                    return Err(context.refuse(BEARER, said, Denial::TokenRevoked));
                }
                let token = Arc::new(token);
                self.0.tokens.insert(text.into(), Arc::clone(&token));
                token
            }
        };
        context.fingerprint = Some(token.fingerprint);
        if context.keeps_steps() {
            context.caller = Some(Bearer::ClientToken(Arc::clone(&token)));
        }
        Ok(token)
    }

    /// Whether a verified token is the one that is stored under its id.
    async fn is_stored(&self, token: &ClientToken, text: &str) -> Result<bool, StoreError> {
        match self.0.store.client_token(token.id).await? {
            Some(row) => Ok(self.0.keyring.sign(&row)? == text),
            None => Ok(false),
        }
    }

    /// Checks a verified token as [`Self::check_live`] does, and keeps the step.
    ///
    /// # Errors
    /// As for [`Self::check_live`].
    pub(super) fn keep_live(
        &self,
        asked: &'static str,
        token: &ClientToken,
        context: &mut RequestContext,
    ) -> Result<(), ApiError> {
        let live = self.check_live(token, context.impaired);
        let refused = live.as_ref().err().map(ApiError::code);
        context.check(asked, live, || {
            let now = self.0.clock.now_millis();
            let left = step::duration(token.time_left(now));
            match refused {
                None => format!("client token, verified, {left} left"),
                // The control API lets a token expire before its time.
                Some(Code::TokenExpired) if !token.has_expired(now) => {
                    format!("client token {}, verified, made to expire {left} before its time", token.id)
                }
                Some(Code::TokenExpired) => {
                    let (expired, now) = (format_millis(token.expires_at), format_millis(now));
                    format!("client token {}, verified, expired at {expired}, and it is {now}", token.id)
                }
                Some(Code::TokenRevoked) => {
                    format!(
                        "client token {}, verified, {left} left, revoked by itself or with key {}",
                        token.id, token.key_id
                    )
                }
                Some(_) => format!("client token, verified, {left} left; whether it was revoked is not known"),
            }
        })
    }

    /// Checks that a verified token has neither expired nor been revoked.
    ///
    /// # Errors
    /// 401 when it has; 503 when that cannot be determined.
    pub(crate) fn check_live(&self, token: &ClientToken, impaired: Impaired) -> Result<(), ApiError> {
        if token.has_expired(self.0.clock.now_millis()) || world::has_token_expired(token.id) {
            Err(Denial::TokenExpired.into())
        } else if self.0.feed.is_revoked(token) {
            Err(Denial::TokenRevoked.into())
        } else if impaired.is_feed_stale || !self.0.feed.is_fresh() {
            Err(stale())
        } else {
            Ok(())
        }
    }

    /// The API key with this SHA-256, if it is valid.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn api_key(&self, hash: &[u8; 32]) -> Result<Option<Arc<VerifiedKey>>, StoreError> {
        if let Some(instance) = &self.0.instance
            && self.0.keys.get(hash).is_none()
        {
            // Requests with a key of the instance do not search the namespace's store each time.
            if instance.authenticator.0.keys.get(hash).is_some() {
                return instance.api_key(hash).await;
            }
            return match self.own_api_key(hash).await? {
                Some(key) => Ok(Some(key)),
                None => instance.api_key(hash).await,
            };
        }
        self.own_api_key(hash).await
    }

    async fn own_api_key(&self, hash: &[u8; 32]) -> Result<Option<Arc<VerifiedKey>>, StoreError> {
        let remembered = if self.0.feed.is_fresh() { self.0.keys.get(hash) } else { None };
        let key = match remembered {
            Some(key) => key,
            None => {
                let Some(row) = self.0.store.api_key_by_secret(hash).await? else { return Ok(None) };
                if row.revoked_at.is_some() {
                    return Ok(None);
                }
                let project = row.project.map(|project| project.parse()).transpose().map_err(|problem| {
                    StoreError::Inconsistent(format!("api_keys.project of {}: {problem}", row.id))
                })?;
                let key = Arc::new(VerifiedKey { id: row.id.into(), project, expires_at: row.expires_at });
                self.0.keys.insert(*hash, Arc::clone(&key));
                key
            }
        };
        let now = self.0.clock.now_millis();
        if self.0.feed.is_key_revoked(&key.id) || key.expires_at.is_some_and(|expires_at| now >= expires_at) {
            return Ok(None);
        }
        Ok(Some(key))
    }

    /// Notes that an API key is used now. In a namespace only the instance stores that.
    fn note_use(&self, key: &VerifiedKey) {
        if let Some(instance) = &self.0.instance {
            return instance.authenticator.note_use(key);
        }
        let now = self.0.clock.now_millis();
        self.0.key_uses.lock().unwrap_or_else(PoisonError::into_inner).insert(key.id.clone(), now);
    }

    /// Stores when keys were last used. No request waits for it.
    ///
    /// # Errors
    /// When the database fails; the uses are kept for the next attempt.
    pub(crate) async fn record_key_uses(&self) -> Result<(), StoreError> {
        let uses: Vec<(String, Millis)> = {
            let mut uses = self.0.key_uses.lock().unwrap_or_else(PoisonError::into_inner);
            uses.drain().map(|(id, at)| (id.into(), at)).collect()
        };
        if uses.is_empty() {
            return Ok(());
        }
        let recorded = self.0.store.record_api_key_uses(&uses).await;
        if recorded.is_err() {
            let mut present = self.0.key_uses.lock().unwrap_or_else(PoisonError::into_inner);
            for (id, at) in uses {
                let newest = present.entry(id.into()).or_insert(at);
                *newest = at.max(*newest);
            }
        }
        recorded
    }
}

impl Instance {
    async fn api_key(&self, hash: &[u8; 32]) -> Result<Option<Arc<VerifiedKey>>, StoreError> {
        let key = self.authenticator.own_api_key(hash).await?;
        Ok(key.filter(|key| self.keys == InstanceKeys::All || key.project.is_none()))
    }
}

/// What is asked of a bearer.
pub(super) const BEARER: &str = "bearer";

fn needed(sent: &str) -> String {
    format!("{sent}; an API key or a live client token of this server is needed")
}

/// How a request without a readable bearer carries one.
fn sent_in(headers: &HeaderMap) -> &'static str {
    let count = |name| headers.get_all(name).iter().count();
    match (count(&header::AUTHORIZATION), count(&BARE_PASSWORD)) {
        (0, 0) => "no Authorization header",
        (0, 1) => "an X-BARE-PASSWORD header that is not 'password ' and an API key",
        (0, _) => "several X-BARE-PASSWORD headers",
        (1, _) => "an Authorization header that is not 'Bearer ' and a token",
        _ => "several Authorization headers",
    }
}

fn stale() -> ApiError {
    let sentence = "Revocations have not been read for too long, so client tokens are refused; try again shortly.";
    ApiError::new(Code::RevocationsStale, sentence).header(header::RETRY_AFTER, HeaderValue::from_static("1"))
}

/// The credentials of the one `Authorization: Bearer` header (RFC 6750, section 2.1). Without it, those of the one
/// `X-BARE-PASSWORD: password ...` header, Letta's other way to send a server's password, which is read as an API key.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<&str, Denial> {
    let Some(text) = sole(headers, &header::AUTHORIZATION)? else { return bare_password(headers) };
    let (scheme, credentials) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Denial::BearerMissing);
    }
    Ok(credentials.trim_matches(' '))
}

fn bare_password(headers: &HeaderMap) -> Result<&str, Denial> {
    let text = sole(headers, &BARE_PASSWORD)?.ok_or(Denial::BearerMissing)?;
    let password = text.strip_prefix("password ").ok_or(Denial::BearerMissing)?;
    // Client tokens are accepted in `Authorization` only.
    if password.starts_with(client_token::PREFIX) { Err(Denial::BearerMissing) } else { Ok(password) }
}

/// The value of a header that carries credentials. A header that is sent twice is refused.
fn sole<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Denial> {
    let invalid = Denial::BearerInvalid { mistyped_key: false };
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        // Text that is not ASCII is refused later: neither kind of bearer has any.
        (Some(value), None) => str::from_utf8(value.as_bytes()).map(Some).map_err(|_| invalid),
        (Some(_), Some(_)) => Err(invalid),
    }
}

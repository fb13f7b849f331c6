//! Client tokens: `ck-let-` and a compact JWS (RFC 7515), signed with EdDSA (RFC 8037) and verified by the practices of
//! RFC 8725.

use std::{ops::Range, sync::atomic::AtomicU64, time::Duration};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Fingerprint, SigningKey};
use crate::{
    clock::Millis,
    model::{AccessSet, AgentId, Hostname, Policy, Project},
    store::ClientTokenRow,
};

/// The prefix of every client token.
pub const PREFIX: &str = "ck-let-";

/// The longest token that is issued or accepted, in bytes: it travels in a header and in a path.
pub const MAX_LENGTH: usize = 4096;

/// The claims of a token. Every claim except `hst` is required, and no other is allowed. Times are `NumericDate` with
/// milliseconds (RFC 7519, section 2).
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// The installation that issued it.
    iss: String,
    /// Its id, a UUID version 7.
    jti: Uuid,
    /// When it was issued.
    iat: f64,
    /// When it expires.
    exp: f64,
    /// The project it belongs to.
    prj: Project,
    /// The API key that minted it.
    key: String,
    /// The origin it is bound to.
    org: String,
    /// The hostname as the request wrote it, if that differs from `org`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hst: Option<String>,
    /// Its policy: agents, with access words as bits.
    pol: Vec<(AgentId, AccessSet)>,
}

impl Claims {
    /// The claims of a stored token.
    #[must_use]
    pub fn of(row: &ClientTokenRow, issuer: &str) -> Self {
        Self {
            iss: issuer.to_owned(),
            jti: row.id,
            iat: to_numeric_date(row.issued_at),
            exp: to_numeric_date(row.expires_at),
            prj: row.project.clone(),
            key: row.key_id.clone(),
            org: row.origin.clone(),
            hst: (row.hostname != row.origin).then(|| row.hostname.clone()),
            pol: row.policy.to_claims(),
        }
    }
}

/// A client token with a valid signature and valid claims. It may be expired or revoked.
#[derive(Debug)]
pub struct ClientToken {
    /// Its id.
    pub id: Uuid,
    /// The API key that minted it.
    pub key_id: Box<str>,
    /// The project it belongs to.
    pub project: Project,
    /// The origin it is bound to, serialized.
    pub origin: Box<str>,
    /// The hostname as the request wrote it, if that is another text for the same origin. Browsers never send it as
    /// `Origin`, but scripts may.
    pub hostname: Option<Box<str>>,
    /// When it was issued.
    pub issued_at: Millis,
    /// When it expires. It is refused from that instant on.
    pub expires_at: Millis,
    /// Its fingerprint, for logs.
    pub fingerprint: Fingerprint,
    /// The number of revocations at the last check that it is not one of them. Maintained by the feed of revocations.
    pub(crate) cleared_at: AtomicU64,
    policy: Vec<(AgentId, AccessSet)>,
}

impl ClientToken {
    /// A token that is only thought of, to explain what it would be granted: it has no text, so no request can carry it.
    #[must_use]
    pub(crate) fn unsigned(policy: &Policy, hostname: &Hostname, project: Project, lives: Range<Millis>) -> Self {
        let (origin, as_sent) = (hostname.origin(), hostname.as_sent());
        Self {
            id: Uuid::nil(),
            key_id: "".into(),
            project,
            origin: origin.into(),
            hostname: (as_sent != origin).then(|| as_sent.into()),
            issued_at: lives.start,
            expires_at: lives.end,
            fingerprint: Fingerprint::of(""),
            cleared_at: AtomicU64::new(u64::MAX),
            policy: policy.to_claims(),
        }
    }

    /// The access that the policy grants on an agent; `None` if it does not name the agent.
    #[must_use]
    pub fn grants(&self, agent: &str) -> Option<AccessSet> {
        self.policy.iter().find(|(id, _)| id.as_str() == agent).map(|(_, access)| *access)
    }

    /// The entries of the policy.
    #[must_use]
    pub fn policy(&self) -> &[(AgentId, AccessSet)] {
        &self.policy
    }

    /// Whom the token speaks for, as far as it says: a token that renews it has the same subject. Users of one application who
    /// share an agent are one subject.
    #[must_use]
    pub(crate) fn subject(&self) -> [&str; 3] {
        [self.project.as_str(), &self.key_id, &self.origin]
    }

    /// Whether it has expired. There is no leeway: one minute would be a fifth of the default lifetime.
    #[must_use]
    pub fn has_expired(&self, now: Millis) -> bool {
        now >= self.expires_at
    }

    /// How long it is still valid.
    #[must_use]
    pub fn time_left(&self, now: Millis) -> Duration {
        Duration::from_millis(u64::try_from(self.expires_at.saturating_sub(now)).unwrap_or(0))
    }
}

/// Why a text is not a valid token.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidToken {
    /// It is not `ck-let-` and three parts of base64url.
    #[error("it is not 'ck-let-' and three base64url parts")]
    Malformed,
    /// Its header is not one that a known key writes. The key may be new.
    #[error("no signing key of this installation made it")]
    UnknownKey,
    /// The signature is wrong, or the claims are not valid.
    #[error("its signature or its claims are not valid")]
    Forged,
}

/// The first part of a text that may be a client token: it is different for each signing key.
#[must_use]
pub(crate) fn header_segment(token: &str) -> Option<&str> {
    token.strip_prefix(PREFIX).and_then(|jws| jws.split('.').next())
}

/// Whether a text has the form of a client token.
#[must_use]
pub fn is_well_formed(text: &str) -> bool {
    text.strip_prefix(PREFIX).is_some_and(|jws| {
        let mut parts = 0;
        let all = jws.split('.').all(|part| {
            parts += 1;
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        });
        all && parts == 3 && text.len() <= MAX_LENGTH
    })
}

/// Signs claims. Ed25519 is deterministic: the same claims and key give the same token.
///
/// # Errors
/// When the key is not an Ed25519 key, which the self-test at the start rules out.
pub(super) fn sign(claims: &Claims, key: &SigningKey) -> Result<String, jsonwebtoken::errors::Error> {
    Ok(format!("{PREFIX}{}", jsonwebtoken::encode(key.header(), claims, key.private())?))
}

/// Verifies a token's header, signature and claims with a key. The caller checks expiry and revocation, on every use.
///
/// The JWT library would parse the key again for every token, which takes half as long as verifying the signature. The
/// header is compared with the one that the key writes, so the bearer cannot choose algorithm, type or key id (RFC
/// 8725, section 3.1). [`Claims`] itself requires its claims.
pub(super) fn verify(token: &str, key: &SigningKey, issuer: &str) -> Result<ClientToken, InvalidToken> {
    let jws = token.strip_prefix(PREFIX).ok_or(InvalidToken::Malformed)?;
    let (message, signature) = jws.rsplit_once('.').ok_or(InvalidToken::Malformed)?;
    let (header, payload) = message.split_once('.').ok_or(InvalidToken::Malformed)?;
    if header != key.header_segment() {
        return Err(InvalidToken::UnknownKey);
    }
    // The form is checked first, because that costs a hundredth of verifying the signature. The claims are read last.
    let decode = |segment| BASE64_URL_SAFE_NO_PAD.decode(segment).map_err(|_| InvalidToken::Forged);
    let (payload, signature) = (decode(payload)?, decode(signature)?);
    if !key.is_signature(message.as_bytes(), &signature) {
        return Err(InvalidToken::Forged);
    }
    let claims: Claims = serde_json::from_slice(&payload).map_err(|_| InvalidToken::Forged)?;
    if claims.iss != issuer {
        return Err(InvalidToken::Forged);
    }
    Ok(ClientToken {
        id: claims.jti,
        key_id: claims.key.into(),
        project: claims.prj,
        origin: claims.org.into(),
        hostname: claims.hst.map(Into::into),
        issued_at: from_numeric_date(claims.iat).ok_or(InvalidToken::Forged)?,
        expires_at: from_numeric_date(claims.exp).ok_or(InvalidToken::Forged)?,
        fingerprint: Fingerprint::of(token),
        cleared_at: AtomicU64::new(u64::MAX),
        policy: claims.pol,
    })
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of any plausible year are exact in 53 bits")]
fn to_numeric_date(millis: Millis) -> f64 {
    millis as f64 / 1000.0
}

fn from_numeric_date(seconds: f64) -> Option<Millis> {
    let millis = (seconds * 1000.0).round();
    #[expect(clippy::cast_possible_truncation, reason = "the range was checked")]
    (millis.is_finite() && millis.abs() < 9e15).then_some(millis as Millis)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{
        clock,
        credentials::MasterKey,
        entropy,
        model::{Access, PolicyEntry},
    };

    const ISSUER: &str = "installation-1";

    fn row(kid: &str) -> ClientTokenRow {
        let mut policy = Policy::default();
        policy.add(PolicyEntry {
            id: "agent-1".parse().unwrap(),
            access: vec![Access::ReadMessages, Access::WriteAgent],
        });
        ClientTokenRow {
            id: entropy::token_id(clock::now_millis()),
            kid: kid.into(),
            key_id: "key-1".into(),
            project: Project::default(),
            origin: "https://app.example".into(),
            hostname: "https://app.example".into(),
            policy,
            issued_at: clock::now_millis(),
            expires_at: clock::now_millis() + 300_123,
        }
    }

    fn key() -> SigningKey {
        let master_key = MasterKey::generate();
        SigningKey::unseal(&SigningKey::generate(&master_key, clock::now_millis()), &master_key).unwrap()
    }

    #[test]
    fn a_token_carries_its_claims_and_is_the_same_when_signed_again() {
        let key = key();
        let row = row(key.kid());
        let token = sign(&Claims::of(&row, ISSUER), &key).unwrap();
        assert_eq!(token, sign(&Claims::of(&row, ISSUER), &key).unwrap());
        assert!(is_well_formed(&token));
        let read = verify(&token, &key, ISSUER).unwrap();
        assert_eq!((read.id, read.issued_at, read.expires_at), (row.id, row.issued_at, row.expires_at));
        assert_eq!((&*read.origin, &*read.key_id), ("https://app.example", "key-1"));
        assert_eq!(read.grants("agent-1"), Some(AccessSet::of(&[Access::ReadMessages, Access::WriteAgent])));
        assert_eq!(read.grants("agent-2"), None);
        assert!(!read.has_expired(row.expires_at - 1) && read.has_expired(row.expires_at));
    }

    #[test]
    fn a_hostname_travels_only_where_it_is_not_the_origin() {
        let key = key();
        let mut row = row(key.kid());
        let short = sign(&Claims::of(&row, ISSUER), &key).unwrap();
        assert_eq!(verify(&short, &key, ISSUER).unwrap().hostname, None);
        row.hostname = "HTTPS://App.Example:443".into();
        let long = sign(&Claims::of(&row, ISSUER), &key).unwrap();
        let read = verify(&long, &key, ISSUER).unwrap();
        assert_eq!((&*read.origin, read.hostname.as_deref()), ("https://app.example", Some(&*row.hostname)));
    }

    #[test]
    fn another_key_or_issuer_is_refused() {
        let (ours, theirs) = (key(), key());
        let token = sign(&Claims::of(&row(theirs.kid()), ISSUER), &theirs).unwrap();
        assert_eq!(verify(&token, &ours, ISSUER).unwrap_err(), InvalidToken::UnknownKey);
        let relabelled = token.replacen(theirs.header_segment(), ours.header_segment(), 1);
        assert_eq!(verify(&relabelled, &ours, ISSUER).unwrap_err(), InvalidToken::Forged);
        assert_eq!(verify(&token, &theirs, "installation-2").unwrap_err(), InvalidToken::Forged);
    }

    #[test]
    fn no_single_bit_of_a_token_can_change() {
        let key = key();
        let token = sign(&Claims::of(&row(key.kid()), ISSUER), &key).unwrap();
        let known = |altered: &str| verify(altered, &key, ISSUER).is_ok();
        assert!(known(&token));
        for index in PREFIX.len()..token.len() {
            for bit in 0..7 {
                let mut bytes = token.clone().into_bytes();
                bytes[index] ^= 1 << bit;
                let altered = String::from_utf8(bytes).unwrap();
                assert!(!known(&altered), "bit {bit} of byte {index}");
            }
        }
    }

    /// The attacks of RFC 8725. Each token is signed by a known key, so only strict verification refuses it.
    #[test]
    fn claims_must_be_exactly_ours() {
        let key = key();
        let good = serde_json::to_value(Claims::of(&row(key.kid()), ISSUER)).unwrap();
        let signed = |claims: &serde_json::Value| {
            format!("{PREFIX}{}", jsonwebtoken::encode(key.header(), claims, key.private()).unwrap())
        };
        assert!(verify(&signed(&good), &key, ISSUER).is_ok());
        for claim in good.as_object().unwrap().keys() {
            let mut without = good.clone();
            without.as_object_mut().unwrap().remove(claim);
            assert!(verify(&signed(&without), &key, ISSUER).is_err(), "without {claim}");
            let mut null = good.clone();
            null[claim] = json!(null);
            assert!(verify(&signed(&null), &key, ISSUER).is_err(), "{claim} null");
        }
        for (claim, value) in [
            ("exp", json!("1795451509")),
            ("exp", json!(1e300)),
            ("iat", json!(true)),
            ("pol", json!([["agent-1", 0]])),
            ("pol", json!([["agent-1", 16]])),
            ("pol", json!([["agent/1", 1]])),
            ("jti", json!("1")),
            ("prj", json!("a/b")),
            ("more", json!(1)),
        ] {
            let mut altered = good.clone();
            altered[claim] = value.clone();
            assert!(verify(&signed(&altered), &key, ISSUER).is_err(), "{claim} = {value}");
        }
    }

    #[test]
    fn other_headers_are_refused() {
        let key = key();
        let token = sign(&Claims::of(&row(key.kid()), ISSUER), &key).unwrap();
        let mut parts = token[PREFIX.len()..].splitn(3, '.');
        let (_, payload, signature) = (parts.next(), parts.next().unwrap(), parts.next().unwrap());
        for header in [
            json!({"typ": "ck+jwt", "alg": "none", "kid": key.kid()}),
            json!({"typ": "ck+jwt", "alg": "HS256", "kid": key.kid()}),
            json!({"typ": "JWT", "alg": "EdDSA", "kid": key.kid()}),
            json!({"alg": "EdDSA"}),
        ] {
            let segment = BASE64_URL_SAFE_NO_PAD.encode(header.to_string());
            assert!(verify(&format!("{PREFIX}{segment}.{payload}.{signature}"), &key, ISSUER).is_err(), "{header}");
            assert!(verify(&format!("{PREFIX}{segment}.{payload}."), &key, ISSUER).is_err(), "{header}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "(ck-let-)?[A-Za-z0-9._=-]{0,80}|\\PC{0,40}") {
            let _ = is_well_formed(&text);
            prop_assert!(verify(&text, &key(), ISSUER).is_err());
        }

        #[test]
        fn instants_survive_the_numeric_date(millis in 0i64..4_102_444_800_000) {
            let text = serde_json::to_string(&to_numeric_date(millis)).unwrap();
            prop_assert_eq!(from_numeric_date(serde_json::from_str(&text).unwrap()), Some(millis));
        }
    }
}

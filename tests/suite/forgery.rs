//! Texts that are almost a token: whatever is altered in one, it is refused.

use std::{sync::Arc, time::Duration};

use base64::{
    Engine as _,
    alphabet::URL_SAFE,
    engine::{GeneralPurpose, GeneralPurposeConfig},
};
use chrono::{TimeDelta, Utc};
use gatelet::{
    access::{Authenticator, Feed, RequestContext, TestKeys},
    api::{
        Issuer,
        issuer::{Minter, TokenRequest},
    },
    clock::Clock,
    credentials::{Keyring, MasterKey},
    error::Code,
    store::{IfMissing, Store, StoreOptions},
};
use http::{HeaderMap, header::AUTHORIZATION};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{Engine, Gatelet};

const TOKENS: usize = 200;

/// What a server knows callers by, in this process.
struct Installation {
    keyring: Arc<Keyring>,
    authenticator: Authenticator,
    issuer: Issuer,
}

impl Installation {
    async fn new() -> Self {
        let options = StoreOptions {
            url: None,
            max_connections: 1,
            statement_timeout: Duration::from_secs(5),
            if_missing: IfMissing::Create,
            most_read: usize::MAX,
        };
        let clock = Clock::system();
        let store = Store::open(&options).await.unwrap();
        store.migrate().await.unwrap();
        let keyring = Arc::new(Keyring::load(&store, MasterKey::generate(), clock.clone()).await.unwrap());
        let feed = Feed::load(store.clone(), Arc::clone(&keyring), Duration::MAX, clock.clone()).await.unwrap();
        let lifetime = Duration::from_hours(24 * 30);
        // None is remembered for long, as a text that was never seen would not be.
        let authenticator =
            Authenticator::new(store.clone(), Arc::clone(&keyring), feed, clock.clone(), 1, TestKeys::Refused);
        Self { authenticator, issuer: Issuer::new(store, Arc::clone(&keyring), clock, lifetime), keyring }
    }

    /// One of many tokens, each of another shape.
    async fn token(&self, number: usize) -> String {
        let body = shape(number);
        let project = ["default-project", "red", "a-project-with-a-long-name-0123456789"][number % 3].parse().unwrap();
        let minter = Minter { key_id: "key-1", project: &project, key_expires_at: None };
        self.issuer.issue(TokenRequest::parse(&body).unwrap(), &minter).await.unwrap().1
    }
}

/// The body of a request: policies of one entry to as many as a token holds, all accesses, origins and lifetimes.
fn shape(number: usize) -> Value {
    const WORDS: [&str; 4] = ["read_messages", "write_messages", "read_agent", "write_agent"];
    let entries = match number % 20 {
        0 => 40,
        1..=3 => 2 + number % 7,
        _ => 1,
    };
    let policy: Vec<Value> = (0..entries)
        .map(|entry| {
            let bits = 1 + (number + entry) % 15;
            let access: Vec<&str> = (0..4).filter(|bit| (bits >> bit) & 1 == 1).map(|bit| WORDS[bit]).collect();
            let is_short = (number + number / 20).is_multiple_of(2);
            let id = if is_short { format!("agent-{entry}") } else { format!("agent-{}", uuid::Uuid::new_v4()) };
            json!({"type": "agent", "id": id, "access": access})
        })
        .collect();
    let hostname = [
        "https://app.example",
        "http://localhost:3000",
        "https://xn--bcher-kva.example",
        "http://[::1]:8080",
        "https://a-rather-long-name-of-a-host.with-many-labels.app.example:8443",
    ][number % 5];
    let lifetime = [TimeDelta::minutes(10), TimeDelta::hours(7), TimeDelta::days(29)][number / 5 % 3];
    json!({"policy": policy, "hostname": hostname, "expires_at": (Utc::now() + lifetime).to_rfc3339()})
}

/// Tries a token with each of its bits flipped; how many there were.
fn flip(keyring: &Keyring, token: &str) -> usize {
    let mut bytes = token.to_owned().into_bytes();
    let mut flips = 0;
    for index in 0..bytes.len() {
        for bit in 0..8 {
            bytes[index] ^= 1 << bit;
            // What is not ASCII is no bearer of any kind.
            if let Ok(altered) = str::from_utf8(&bytes) {
                assert!(keyring.verify(altered).is_err(), "bit {bit} of byte {index} of {token}");
            }
            bytes[index] ^= 1 << bit;
            flips += 1;
        }
    }
    flips
}

#[tokio::test(flavor = "multi_thread")]
async fn no_bit_of_any_token_can_be_another() {
    let installation = Installation::new().await;
    let mut tokens = Vec::new();
    for number in 0..TOKENS {
        tokens.push(installation.token(number).await);
    }
    let lengths: Vec<usize> = tokens.iter().map(String::len).collect();
    assert!(*lengths.iter().min().unwrap() < 600 && *lengths.iter().max().unwrap() > 2_500, "{lengths:?}");
    let mut tried = JoinSet::new();
    for token in tokens {
        let keyring = Arc::clone(&installation.keyring);
        tried.spawn_blocking(move || {
            assert!(keyring.verify(&token).is_ok());
            flip(&keyring, &token)
        });
    }
    let flips: usize = tried.join_all().await.into_iter().sum();
    assert!(flips > 900_000, "{flips}");
}

/// A decoder that does not look at the bits that stand for nothing.
fn decode_leniently(segment: &str) -> Vec<u8> {
    let config = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&URL_SAFE, config).decode(segment).unwrap()
}

/// Texts that a lenient decoder reads as the same bytes, in each of the three parts of a token.
fn spellings(token: &str) -> Vec<String> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let parts: Vec<&str> = token.strip_prefix("ck-let-").unwrap().split('.').collect();
    let mut spellings = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let with = |other: String| {
            let mut parts: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
            parts[index] = other;
            format!("ck-let-{}", parts.join("."))
        };
        let bytes = decode_leniently(part);
        let others = ALPHABET.chars().map(|last| format!("{}{last}", &part[..part.len() - 1]));
        spellings.extend(others.filter(|other| other != part && decode_leniently(other) == bytes).map(&with));
        let padding = "=".repeat((4 - part.len() % 4) % 4);
        if !padding.is_empty() {
            spellings.push(with(format!("{part}{padding}")));
        }
    }
    spellings
}

#[tokio::test(flavor = "multi_thread")]
async fn no_other_spelling_of_the_same_bytes_is_a_token() {
    let installation = Installation::new().await;
    let mut tried = 0;
    for number in 0..20 {
        for spelling in spellings(&installation.token(number).await) {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, format!("Bearer {spelling}").parse().unwrap())]);
            let refused = installation.authenticator.identify(&headers, &mut RequestContext::default()).await;
            assert_eq!(refused.expect_err("another spelling was accepted").code(), Code::BearerInvalid, "{spelling}");
            tried += 1;
        }
    }
    // A signature alone has fifteen: its last character stands for two bits.
    assert!(tried >= 20 * 16, "{tried}");
}

#[tokio::test]
async fn altered_tokens_are_refused_over_http() {
    let server = Gatelet::on(Engine::Sqlite).await;
    let body = json!({
        "policy": [{"type": "agent", "id": "agent-1", "access": ["read_agent"]}], "hostname": "https://app.example",
    });
    let token = server.owner().create_token_with(&body).await;
    let good = server.stranger().page(&token);
    good.get("/v1/agents/").await.refused(403, "operation_not_available");
    let mut altered = spellings(&token);
    for index in (0..token.len()).step_by(token.len() / 24) {
        for bit in [0, 5] {
            let mut bytes = token.clone().into_bytes();
            bytes[index] ^= 1 << bit;
            altered
                .extend(String::from_utf8(bytes).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic())));
        }
    }
    assert!(altered.len() > 40, "{}", altered.len());
    for text in altered {
        server.stranger().page(&text).get("/v1/agents/").await.refused(401, "bearer_invalid");
    }
    good.get("/v1/agents/").await.refused(403, "operation_not_available");
}

//! The body of a request for a client token, and the token that follows from it.

use std::collections::BTreeSet;

use gatelet::{
    api::issuer::TokenRequest,
    clock,
    credentials::client_token::MAX_LENGTH,
    error::Code,
    model::{Access, AccessSet, Hostname, Policy},
    store::ClientTokenRow,
};
use serde_json::{Value, json};

use crate::installation::{self, INSTALLATION};

pub(crate) fn is_accepted(bytes: &[u8]) -> bool {
    let Ok(body) = serde_json::from_slice::<Value>(bytes) else { return false };
    let issued = TokenRequest::parse(&body).and_then(|request| INSTALLATION.issue(request));
    let (row, token) = match issued {
        Ok(issued) => issued,
        Err(error) => {
            assert_eq!(error.code(), Code::InvalidRequest, "{error}");
            let fields = ["The body ", "policy ", "policy[", "hostname ", "expires_at "];
            assert!(fields.iter().any(|field| error.message().starts_with(field)), "{error}");
            return false;
        }
    };
    grants_what_was_asked_for(&row, &body);
    reads_again(&row);
    let read = INSTALLATION.keyring().verify(&token).expect("an issued token is valid");
    assert!(token.len() <= MAX_LENGTH);
    assert_eq!((&*read.origin, &*read.key_id, read.expires_at), (&*row.origin, installation::KEY_ID, row.expires_at));
    assert!(read.policy().iter().eq(&row.policy.to_claims()));
    assert!(read.expires_at > read.issued_at && read.expires_at <= read.issued_at + installation::MAX_LIFETIME);
    true
}

/// Every entry of the request is in the policy and nothing else, each agent once, each word once.
fn grants_what_was_asked_for(row: &ClientTokenRow, body: &Value) {
    let pairs = |entries: &[Value]| -> BTreeSet<(String, String)> {
        let word = |id: &Value, word: &Value| (text(id), text(word));
        entries.iter().flat_map(|e| array(&e["access"]).iter().map(move |w| word(&e["id"], w))).collect()
    };
    let policy = serde_json::to_value(&row.policy).expect("a policy can be written");
    let written = array(&policy);
    assert_eq!(pairs(written), pairs(array(&body["policy"])));
    assert!((1..=Policy::MAX_ENTRIES).contains(&written.len()));
    assert_eq!(written.iter().map(|entry| text(&entry["id"])).collect::<BTreeSet<_>>().len(), written.len());
    for (entry, parsed) in written.iter().zip(row.policy.entries()) {
        let words = array(&entry["access"]);
        assert_eq!(words.iter().map(text).collect::<BTreeSet<_>>().len(), words.len());
        assert!(!words.is_empty() && words.iter().all(|word| Access::parse(&text(word)).is_some()));
        assert_eq!(parsed.granted(), AccessSet::of(&parsed.access));
    }
    assert_eq!(row.hostname, text(&body["hostname"]));
}

/// What is stored and echoed is a request for the same.
fn reads_again(row: &ClientTokenRow) {
    let hostname: Hostname = row.hostname.parse().expect("a stored host name is valid");
    assert_eq!(hostname.origin(), row.origin);
    let expires_at = clock::format_millis(row.expires_at);
    let body = json!({"policy": row.policy, "hostname": row.hostname, "expires_at": expires_at});
    let again = TokenRequest::parse(&body).expect("a stored token could be asked for");
    let same = TokenRequest::new(row.policy.clone(), hostname, Some(row.expires_at));
    assert_eq!(format!("{again:?}"), format!("{same:?}"));
}

fn array(value: &Value) -> &[Value] {
    value.as_array().expect("an array was accepted")
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string was accepted").to_owned()
}

//! The ids of responses that can be continued: each names its conversation, and is signed for the token's subject and the
//! agent, so that nobody can continue what another was given.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use crate::credentials::Keyring;

const PREFIX: &str = "resp_";
const PURPOSE: &str = "ids of responses of the OpenAI API";

/// The bytes of the code in an id.
const CODE: usize = 16;

/// The id of the response that ended in this conversation.
pub(super) fn sign<'a>(keyring: &Keyring, subject: impl Iterator<Item = &'a str>, conversation: &'a str) -> String {
    let mut id = code(keyring, subject, conversation).to_vec();
    id.extend_from_slice(conversation.as_bytes());
    format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(id))
}

/// The conversation of a response, if this subject was given its id.
pub(super) fn verify<'a>(keyring: &Keyring, subject: impl Iterator<Item = &'a str>, id: &str) -> Option<String> {
    let id = BASE64_URL_SAFE_NO_PAD.decode(id.strip_prefix(PREFIX)?).ok()?;
    let (sent, conversation) = id.split_at_checked(CODE)?;
    let conversation = str::from_utf8(conversation).ok()?;
    verify_slices_are_equal(sent, &code(keyring, subject, conversation)).ok()?;
    Some(conversation.to_owned())
}

fn code<'a>(keyring: &Keyring, subject: impl Iterator<Item = &'a str>, conversation: &str) -> [u8; CODE] {
    let mut parts: Vec<&str> = subject.collect();
    parts.push(conversation);
    let mut code = [0; CODE];
    code.copy_from_slice(&keyring.authenticate(PURPOSE, &parts)[..CODE]);
    code
}

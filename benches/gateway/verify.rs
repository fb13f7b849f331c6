//! What one Ed25519 verification costs, with a key that is parsed once: the curve and the hash of a token's text.

use std::{path::PathBuf, time::Instant};

use aws_lc_rs::signature::{ED25519, ParsedPublicKey};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use clap::Args;
use serde_json::{Value, json};

use crate::Failure;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The public key, in hexadecimal
    #[arg(long)]
    public_key: String,
    /// A file of lines `AGENT TOKEN`
    #[arg(long)]
    tokens: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Value, Failure> {
    let key = ParsedPublicKey::new(&ED25519, &hex::decode(&arguments.public_key)?)?;
    let tokens = std::fs::read_to_string(&arguments.tokens)?;
    let mut signed = Vec::new();
    for token in tokens.lines().filter_map(|line| line.split_once("ck-let-")) {
        let (text, signature) = token.1.rsplit_once('.').ok_or("a token without a signature")?;
        signed.push((text, BASE64_URL_SAFE_NO_PAD.decode(signature)?));
    }
    let started = Instant::now();
    for (text, signature) in &signed {
        key.verify_sig(text.as_bytes(), signature).map_err(|_| "a token whose signature does not fit")?;
    }
    let count = u32::try_from(signed.len())?;
    if count == 0 {
        return Err("there are no tokens".into());
    }
    Ok(json!({"verifications": count, "us": started.elapsed().as_secs_f64() * 1e6 / f64::from(count)}))
}

//! The settings of the control API.

use serde::{Deserialize, Deserializer, Serialize, de::Error};

use super::word::written_word;

/// The most namespaces that a server may be told to have.
const MOST_NAMESPACES: usize = 1_024;

/// The control API, with which tests set up and examine a mock.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ControlSettings {
    /// Whether there is one.
    pub enabled: ControlEnabled,
    /// Host names that `Host` may have, in lower case. Loopback names and IP addresses are always accepted.
    #[serde(deserialize_with = "host_names")]
    pub hosts: Vec<String>,
    /// Refuse requests with an API key of the server that do not name a namespace, instead of using `default`.
    #[serde(deserialize_with = "figment::util::bool_from_str_or_int")]
    pub require_namespace: bool,
    /// How many namespaces may exist at a time, `default` included.
    #[serde(deserialize_with = "namespaces")]
    pub namespaces: usize,
}

/// Whether there is a control API.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub enum ControlEnabled {
    /// On a mock that listens on a loopback address and does not store in PostgreSQL.
    #[serde(rename = "auto")]
    Auto,
    /// Yes, or the server does not start.
    #[serde(rename = "true")]
    Yes,
    /// No.
    #[serde(rename = "false")]
    No,
}

impl<'de> Deserialize<'de> for ControlEnabled {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match written_word(deserializer).as_str() {
            "auto" => Ok(Self::Auto),
            "true" | "yes" | "on" | "1" => Ok(Self::Yes),
            "false" | "no" | "off" | "0" => Ok(Self::No),
            _ => Err(D::Error::custom("write it as auto, true or false")),
        }
    }
}

impl Default for ControlSettings {
    fn default() -> Self {
        Self { enabled: ControlEnabled::Auto, hosts: Vec::new(), require_namespace: false, namespaces: 256 }
    }
}

fn host_names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    let is_part_of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    for name in &names {
        if name.is_empty() || !name.bytes().all(is_part_of_a_name) {
            let sentence =
                format!("'{name}' is not a host name; write it without scheme and port, such as gatelet.internal");
            return Err(D::Error::custom(sentence));
        }
    }
    Ok(names.into_iter().map(|name| name.to_ascii_lowercase()).collect())
}

fn namespaces<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    let is_in_range = |count: &usize| (1..=MOST_NAMESPACES).contains(count);
    let problem = || D::Error::custom(format!("write it as a whole number from 1 to {MOST_NAMESPACES}"));
    usize::deserialize(deserializer).ok().filter(is_in_range).ok_or_else(problem)
}

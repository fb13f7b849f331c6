//! The models that the mock lists, and its assumptions about all others.

use std::fmt;

use serde_json::{Value, json};

use crate::error::{ApiError, Code};

/// Which models of a known provider an agent, archive or folder may use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Models {
    /// All models.
    Open,
    /// Listed models.
    Closed,
}

/// A language model.
#[derive(Clone, Copy, Debug)]
pub(in crate::mock) struct KnownModel {
    provider: &'static str,
    name: &'static str,
    context_window: i64,
    max_tokens: i64,
}

/// An embedding model: provider, name, dimensions.
type KnownEmbedding = (&'static str, &'static str, i64);

const MODELS: &[KnownModel] = &[
    known("anthropic", "claude-haiku-4-5", 200_000, 16_384),
    known("anthropic", "claude-sonnet-4-5", 200_000, 16_384),
    known("google_ai", "gemini-2.0-flash", 1_048_576, 8_192),
    known("google_ai", "gemini-2.5-flash", 1_048_576, 65_536),
    known("google_ai", "gemini-2.5-pro", 1_048_576, 65_536),
    known("letta", "letta-free", 30_000, 4_096),
    known("openai", "gpt-4.1", 1_047_576, 16_384),
    known("openai", "gpt-4.1-mini", 1_047_576, 16_384),
    known("openai", "gpt-4o", 128_000, 16_384),
    known("openai", "gpt-4o-mini", 128_000, 16_384),
    known("openai", "gpt-5", 272_000, 16_384),
    known("openai", "gpt-5-mini", 272_000, 16_384),
    known("openai", "o3", 200_000, 16_384),
    known("openai", "o4-mini", 200_000, 16_384),
];
const EMBEDDINGS: &[KnownEmbedding] = &[
    ("letta", "letta-free", 1536),
    ("openai", "text-embedding-3-large", 3072),
    ("openai", "text-embedding-3-small", 1536),
    ("openai", "text-embedding-ada-002", 1536),
];

/// The assumed context window of a model that is not listed.
const UNKNOWN_WINDOW: i64 = 128_000;
const UNKNOWN_MAX_TOKENS: i64 = 16_384;
const UNKNOWN_DIMENSIONS: i64 = 1536;

/// The providers Letta knows.
pub(in crate::mock) const PROVIDER_TYPES: &[&str] = &[
    "anthropic",
    "azure",
    "baseten",
    "bedrock",
    "cerebras",
    "chatgpt_oauth",
    "deepseek",
    "fireworks",
    "google_ai",
    "google_vertex",
    "groq",
    "hugging-face",
    "letta",
    "lmstudio_openai",
    "minimax",
    "mistral",
    "ollama",
    "openai",
    "together",
    "vllm",
    "sglang",
    "openrouter",
    "xai",
    "zai",
    "zai_coding",
];

/// Providers without a name in either form of an agent's configuration. They speak OpenAI's API and are configured as
/// `openai`.
const WITHOUT_ENDPOINT_TYPE: &[&str] = &["cerebras", "letta", "lmstudio_openai", "sglang"];
const WITHOUT_SETTINGS: &[&str] = &[
    "cerebras",
    "fireworks",
    "hugging-face",
    "letta",
    "lmstudio_openai",
    "minimax",
    "mistral",
    "ollama",
    "vllm",
    "zai_coding",
];

const fn known(provider: &'static str, name: &'static str, context_window: i64, max_tokens: i64) -> KnownModel {
    KnownModel { provider, name, context_window, max_tokens }
}

/// A parsed model handle: `provider/name`, where the name may contain slashes.
#[derive(Clone, Copy, Debug)]
pub(in crate::mock) struct Handle<'a> {
    pub(in crate::mock) provider: &'a str,
    pub(in crate::mock) name: &'a str,
}

impl<'a> Handle<'a> {
    /// Parses a handle.
    pub(in crate::mock) fn parse(handle: &'a str) -> Result<Self, ApiError> {
        match handle.split_once('/') {
            Some((provider, name)) if !provider.is_empty() && !name.is_empty() => Ok(Self { provider, name }),
            _ => Err(ApiError::letta(
                Code::InvalidRequest,
                format!("INVALID_ARGUMENT: A model handle has the form provider/name, not '{}'", shortened(handle)),
            )),
        }
    }

    /// The whole handle.
    pub(in crate::mock) fn text(&self) -> String {
        self.to_string()
    }

    /// The provider type of the handle's provider.
    pub(in crate::mock) fn provider_type(&self) -> &'static str {
        match self.provider {
            "letta" => "openai",
            provider => PROVIDER_TYPES.iter().find(|known| **known == provider).copied().unwrap_or("openai"),
        }
    }

    /// The name of the provider's API in the deprecated form of a configuration.
    pub(in crate::mock) fn endpoint_type(&self) -> &'static str {
        Some(self.provider_type()).filter(|kind| !WITHOUT_ENDPOINT_TYPE.contains(kind)).unwrap_or("openai")
    }

    /// The type of the settings for the provider's models.
    pub(in crate::mock) fn settings_type(&self) -> &'static str {
        Some(self.provider_type()).filter(|kind| !WITHOUT_SETTINGS.contains(kind)).unwrap_or("openai")
    }

    /// The provider's URL, for show: the mock never calls it.
    pub(in crate::mock) fn endpoint(&self) -> Option<&'static str> {
        match self.provider {
            "openai" => Some("https://api.openai.com/v1"),
            "anthropic" => Some("https://api.anthropic.com/v1"),
            "letta" => Some("https://inference.letta.com/v1/"),
            _ => None,
        }
    }

    fn known(&self) -> Option<&'static KnownModel> {
        MODELS.iter().find(|model| model.provider == self.provider && model.name == self.name)
    }

    /// The most tokens of a request and its response together.
    pub(in crate::mock) fn context_window(&self) -> i64 {
        self.known().map_or(UNKNOWN_WINDOW, |model| model.context_window)
    }

    /// The most tokens of a response.
    pub(in crate::mock) fn max_tokens(&self) -> i64 {
        self.known().map_or(UNKNOWN_MAX_TOKENS, |model| model.max_tokens)
    }

    /// The dimensions of an embedding.
    pub(in crate::mock) fn dimensions(&self) -> i64 {
        let found = EMBEDDINGS.iter().find(|(provider, name, _)| *provider == self.provider && *name == self.name);
        found.map_or(UNKNOWN_DIMENSIONS, |(_, _, dimensions)| *dimensions)
    }
}

impl fmt::Display for Handle<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.provider, self.name)
    }
}

fn shortened(text: &str) -> String {
    const SHOWN: usize = 80;
    text.chars().take(SHOWN).collect()
}

/// The listed language models.
pub(in crate::mock) fn models() -> impl Iterator<Item = Value> {
    MODELS.iter().map(|model| model.wire(model.provider, "base"))
}

/// The language models of a provider that a user has configured.
pub(in crate::mock) fn models_of(provider_type: &str, provider_name: &str) -> impl Iterator<Item = Value> {
    let of_type = MODELS.iter().filter(move |model| model.provider == provider_type);
    of_type.map(move |model| model.wire(provider_name, "byok"))
}

impl KnownModel {
    fn wire(&self, provider_name: &str, category: &str) -> Value {
        let known = Handle { provider: self.provider, name: self.name };
        let handle = Handle { provider: provider_name, name: self.name };
        json!({
            "handle": handle.text(),
            "name": self.name,
            "display_name": self.name,
            "provider_type": known.provider_type(),
            "provider_name": provider_name,
            "model_type": "llm",
            "model": self.name,
            "model_endpoint_type": known.endpoint_type(),
            "model_endpoint": known.endpoint(),
            "provider_category": category,
            "model_wrapper": null,
            "context_window": self.context_window,
            "put_inner_thoughts_in_kwargs": false,
            "temperature": 1.0,
            "max_tokens": self.max_tokens,
            "enable_reasoner": true,
            "reasoning_effort": null,
            "max_reasoning_tokens": 0,
            "effort": null,
            "frequency_penalty": null,
            "compatibility_type": null,
            "verbosity": null,
            "tier": null,
            "parallel_tool_calls": false,
            "response_format": null,
            "strict": false,
            "return_logprobs": false,
            "top_logprobs": null,
            "return_token_ids": false,
            "tool_call_parser": null,
            "max_context_window": self.context_window,
        })
    }
}

/// The listed embedding models.
pub(in crate::mock) fn embeddings() -> impl Iterator<Item = Value> {
    EMBEDDINGS.iter().map(|embedding| embedding_wire(*embedding, embedding.0))
}

/// The embedding models of a provider that a user has configured.
pub(in crate::mock) fn embeddings_of(provider_type: &str, provider_name: &str) -> impl Iterator<Item = Value> {
    let of_type = EMBEDDINGS.iter().filter(move |(provider, _, _)| *provider == provider_type);
    of_type.map(move |embedding| embedding_wire(*embedding, provider_name))
}

fn embedding_wire((provider, name, dimensions): KnownEmbedding, provider_name: &str) -> Value {
    let known = Handle { provider, name };
    json!({
        "handle": Handle { provider: provider_name, name }.text(),
        "name": name,
        "display_name": name,
        "provider_type": known.provider_type(),
        "provider_name": provider_name,
        "model_type": "embedding",
        "embedding_endpoint_type": known.endpoint_type(),
        "embedding_endpoint": known.endpoint(),
        "embedding_model": name,
        "embedding_dim": dimensions,
        "embedding_chunk_size": 300,
        "batch_size": 32,
        "azure_endpoint": null,
        "azure_version": null,
        "azure_deployment": null,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_names_a_provider_and_a_model() {
        for (text, expected) in [
            ("openai/gpt-4o-mini", Some(("openai", "gpt-4o-mini"))),
            ("together/meta/llama", Some(("together", "meta/llama"))),
            ("gpt-4o-mini", None),
            ("/x", None),
            ("x/", None),
            ("", None),
        ] {
            assert_eq!(Handle::parse(text).ok().map(|handle| (handle.provider, handle.name)), expected, "{text}");
        }
    }

    #[test]
    fn every_listed_handle_is_accepted() {
        for model in models().chain(embeddings()) {
            assert!(Handle::parse(model["handle"].as_str().unwrap()).is_ok());
        }
    }
}

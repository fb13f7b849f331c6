//! What messages and tools say: texts, images, thoughts.

use serde::{Deserialize, Serialize};

use crate::mock::text::tokens;

/// What a message or a tool says: plain text where that is all, else its parts.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(untagged)]
pub(in crate::mock) enum Content {
    Text(String),
    Parts(Vec<Part>),
}

/// A part of what a message says.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(in crate::mock) enum Part {
    Text {
        text: String,
        signature: Option<String>,
    },
    Image {
        source: ImageSource,
    },
    Reasoning {
        is_native: bool,
        reasoning: String,
        signature: Option<String>,
    },
    /// Reasoning that the provider of the model has encrypted.
    RedactedReasoning {
        data: String,
    },
    /// Reasoning that the provider of the model keeps to itself.
    OmittedReasoning {
        signature: Option<String>,
    },
}

/// Where an image comes from. It is kept as it was given: the mock fetches nothing.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(in crate::mock) enum ImageSource {
    Url { url: String },
    Base64 { media_type: String, data: String, detail: Option<String> },
    Letta { file_id: String, media_type: Option<String>, data: Option<String>, detail: Option<String> },
}

/// What an image costs, whatever its size.
const TOKENS_PER_IMAGE: i64 = 765;

impl Content {
    /// As one text; images are noted.
    pub(in crate::mock) fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Parts(parts) => Part::text_of(parts),
        }
    }
}

impl Part {
    /// A text without more.
    pub(in crate::mock) fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into(), signature: None }
    }

    /// How many tokens a model would count.
    pub(in crate::mock) fn tokens(&self) -> i64 {
        match self {
            Self::Text { text, .. } | Self::Reasoning { reasoning: text, .. } => tokens::estimate(text),
            Self::RedactedReasoning { data } => tokens::estimate(data),
            Self::OmittedReasoning { .. } => 0,
            Self::Image { .. } => TOKENS_PER_IMAGE,
        }
    }

    pub(super) fn length(&self) -> usize {
        match self {
            Self::Text { text, .. }
            | Self::Reasoning { reasoning: text, .. }
            | Self::RedactedReasoning { data: text } => text.len(),
            Self::Image { .. } | Self::OmittedReasoning { .. } => 0,
        }
    }

    /// The beginning of its text, unless that is empty.
    pub(super) fn cut(&self, bytes: usize) -> Option<Self> {
        let beginning = |text: &String| text.get(..bytes).filter(|text| !text.is_empty()).map(str::to_owned);
        match self {
            Self::Text { text, signature } => Some(Self::Text { text: beginning(text)?, signature: signature.clone() }),
            Self::Reasoning { is_native, reasoning, signature } => Some(Self::Reasoning {
                is_native: *is_native,
                reasoning: beginning(reasoning)?,
                signature: signature.clone(),
            }),
            Self::Image { .. } | Self::RedactedReasoning { .. } | Self::OmittedReasoning { .. } => None,
        }
    }

    /// What parts say, as one text; images are noted.
    pub(in crate::mock) fn text_of(parts: &[Self]) -> String {
        parts.iter().filter_map(Self::says).collect::<Vec<_>>().join("\n")
    }

    fn says(&self) -> Option<&str> {
        match self {
            Self::Text { text, .. } => Some(text),
            Self::Image { .. } => Some("[image]"),
            Self::Reasoning { .. } | Self::RedactedReasoning { .. } | Self::OmittedReasoning { .. } => None,
        }
    }
}

//! Which models reason before they respond, as in Letta 0.16.8.

use super::catalogue::{Handle, PROVIDER_TYPES};

/// The default for whether agents reason before they respond; scripts and messages override it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reasoning {
    /// Agents whose models reason.
    Auto,
    /// All agents.
    Always,
    /// No agent.
    Never,
}

impl Reasoning {
    /// Whether an agent reasons. `of_model` returns whether its model does.
    pub(in crate::mock) fn applies(self, of_model: impl FnOnce() -> bool) -> bool {
        match self {
            Self::Auto => of_model(),
            Self::Always => true,
            Self::Never => false,
        }
    }
}

/// How reasoning is switched off.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::mock) enum Switch {
    /// It cannot be switched off.
    Fixed,
    /// By the effort `none`, and in effect also by `minimal`.
    Effort,
    /// By the configuration: `enable_reasoner`, `thinking`, `thinking_config`.
    Toggle,
}

/// A family of models that reason.
#[derive(Debug)]
pub(in crate::mock) struct Family {
    /// The types of providers that offer them.
    providers: &'static [&'static str],
    /// Prefixes of their names, after a vendor or region; empty for all models of these providers.
    names: &'static [&'static str],
    pub(in crate::mock) switch: Switch,
    /// The default budget of reasoning tokens; 0 for no limit.
    pub(in crate::mock) budget: i64,
}

const BUDGET: i64 = 1024;
const OPENAI: &[&str] = &["o1", "o3", "o4", "gpt-5"];
const GLM: &[&str] = &["glm-4.5", "glm-4.6", "glm-4.7", "glm-5"];

const FAMILIES: &[Family] = &[
    Family { providers: &["openai", "azure", "chatgpt_oauth"], names: OPENAI, switch: Switch::Effort, budget: 0 },
    // These have no budget for reasoning.
    Family {
        providers: &["anthropic", "bedrock"],
        names: &["claude-opus-4-6", "claude-sonnet-4-6"],
        switch: Switch::Toggle,
        budget: 0,
    },
    Family {
        providers: &["anthropic", "bedrock"],
        names: &["claude-3-7-sonnet", "claude-sonnet-4", "claude-opus-4", "claude-haiku-4-5"],
        switch: Switch::Toggle,
        budget: BUDGET,
    },
    Family {
        providers: &["google_ai", "google_vertex"],
        names: &["gemini-2.5-pro", "gemini-3"],
        switch: Switch::Fixed,
        budget: BUDGET,
    },
    Family {
        providers: &["google_ai", "google_vertex"],
        names: &["gemini-2.5-flash"],
        switch: Switch::Toggle,
        budget: BUDGET,
    },
    Family { providers: &["zai", "zai_coding", "fireworks"], names: GLM, switch: Switch::Toggle, budget: 0 },
    Family { providers: &["deepseek"], names: &["deepseek-reasoner"], switch: Switch::Fixed, budget: 0 },
    Family { providers: &["minimax"], names: &[], switch: Switch::Fixed, budget: 0 },
    Family { providers: &["baseten"], names: &[], switch: Switch::Toggle, budget: 0 },
    Family { providers: &["openrouter"], names: OPENAI, switch: Switch::Toggle, budget: 0 },
    Family { providers: &["openrouter"], names: GLM, switch: Switch::Toggle, budget: 0 },
    Family {
        providers: &["openrouter"],
        names: &[
            "claude-3-7-sonnet",
            "claude-sonnet-4",
            "claude-opus-4",
            "claude-haiku-4",
            "gemini",
            "deepseek-r1",
            "deepseek-reasoner",
            "kimi",
        ],
        switch: Switch::Toggle,
        budget: 0,
    },
];

/// The family of a model that reasons. The type of a provider with a custom name is unknown, so then only the model's
/// name decides.
pub(in crate::mock) fn family(handle: Handle<'_>) -> Option<&'static Family> {
    let is_known = PROVIDER_TYPES.contains(&handle.provider);
    let name = handle.name.to_ascii_lowercase();
    FAMILIES.iter().find(|family| {
        let is_named = family.names.iter().any(|begin| begins(&name, begin));
        if is_known {
            family.providers.contains(&handle.provider) && (is_named || family.names.is_empty())
        } else {
            is_named
        }
    })
}

/// Whether a name begins with `begin`, possibly after a vendor or region.
fn begins(name: &str, begin: &str) -> bool {
    name.match_indices(begin).any(|(at, _)| at == 0 || matches!(name.as_bytes()[at - 1], b'/' | b'.'))
}

/// The default effort of a model with adjustable effort.
pub(in crate::mock) fn default_effort(handle: Handle<'_>) -> &'static str {
    if can_be_none(handle) {
        "none"
    } else if handle.name.starts_with("gpt-5") && !handle.name.to_ascii_lowercase().contains("codex") {
        "minimal"
    } else {
        "medium"
    }
}

/// Whether a model shows reasoning at an effort. With `minimal`, Letta requests a summary as with every other effort, but
/// OpenAI returns none.
pub(in crate::mock) fn shows_reasoning(effort: &str) -> bool {
    !matches!(effort, "none" | "minimal")
}

/// Whether such a model accepts the effort `none`.
pub(in crate::mock) fn can_be_none(handle: Handle<'_>) -> bool {
    ["gpt-5.1", "gpt-5.2", "gpt-5.3", "gpt-5.4"].iter().any(|begin| handle.name.starts_with(begin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_reasons_as_its_provider_and_name_say() {
        for (handle, switch) in [
            ("openai/gpt-4o-mini", None),
            ("openai/gpt-4.1", None),
            ("openai/o3", Some(Switch::Effort)),
            ("openai/o4-mini", Some(Switch::Effort)),
            ("azure/gpt-5-mini", Some(Switch::Effort)),
            ("mine/gpt-5", Some(Switch::Effort)),
            ("mine/llama", None),
            ("letta/letta-free", None),
            ("anthropic/claude-3-5-haiku", None),
            ("anthropic/claude-sonnet-4-5", Some(Switch::Toggle)),
            ("bedrock/us.anthropic.claude-sonnet-4-20250514-v1:0", Some(Switch::Toggle)),
            ("google_ai/gemini-1.5-pro", None),
            ("google_ai/gemini-2.5-pro", Some(Switch::Fixed)),
            ("google_vertex/gemini-2.5-flash", Some(Switch::Toggle)),
            ("deepseek/deepseek-chat", None),
            ("deepseek/deepseek-reasoner", Some(Switch::Fixed)),
            ("minimax/MiniMax-M2", Some(Switch::Fixed)),
            ("openrouter/openai/o3-mini", Some(Switch::Toggle)),
            ("openrouter/openai/gpt-4o", None),
            ("openrouter/moonshotai/kimi-k2-thinking", Some(Switch::Toggle)),
            ("groq/o3", None),
        ] {
            let found = family(Handle::parse(handle).unwrap()).map(|family| family.switch);
            assert_eq!(found, switch, "{handle}");
        }
    }
}

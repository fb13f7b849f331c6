//! The configuration of an agent's models, in the current form (`model_settings`) and in the deprecated one
//! (`llm_config`), which are kept in agreement.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    error::{ApiError, Code},
    mock::{
        models::{
            catalogue::{Handle, PROVIDER_TYPES},
            reasoning::{self, Switch, family},
        },
        validation::body::{Expect, Fields},
    },
};

/// The model that responds for an agent.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(in crate::mock) struct ModelConfig {
    #[serde(rename = "llm_config")]
    pub(in crate::mock) llm: Map<String, Value>,
    #[serde(rename = "model")]
    pub(in crate::mock) handle: String,
    #[serde(rename = "model_settings")]
    pub(in crate::mock) settings: Map<String, Value>,
}

/// The embedding model of an agent, archive or folder.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::mock) struct EmbeddingConfig {
    pub(in crate::mock) handle: String,
    pub(in crate::mock) config: Map<String, Value>,
}

const REASONING_EFFORTS: &[&str] = &["none", "minimal", "low", "medium", "high", "xhigh"];
const EFFORTS: &[&str] = &["low", "medium", "high", "max"];

const SETTINGS: &[(&str, Expect)] = &[
    ("max_output_tokens", Expect::Integer),
    ("parallel_tool_calls", Expect::Flag),
    ("provider_type", Expect::Word(PROVIDER_TYPES)),
    ("temperature", Expect::Number),
    ("reasoning", Expect::Object),
    ("thinking", Expect::Object),
    ("thinking_config", Expect::Object),
    ("response_format", Expect::Object),
    ("response_schema", Expect::Object),
    ("strict", Expect::Flag),
    ("verbosity", Expect::Text),
    ("effort", Expect::Word(EFFORTS)),
];

const LLM: &[(&str, Expect)] = &[
    ("model", Expect::Text),
    ("display_name", Expect::Text),
    ("model_endpoint_type", Expect::Text),
    ("model_endpoint", Expect::Text),
    ("provider_name", Expect::Text),
    ("provider_category", Expect::Word(&["base", "byok"])),
    ("model_wrapper", Expect::Text),
    ("context_window", Expect::Integer),
    ("put_inner_thoughts_in_kwargs", Expect::Flag),
    ("handle", Expect::Text),
    ("temperature", Expect::Number),
    ("max_tokens", Expect::Integer),
    ("enable_reasoner", Expect::Flag),
    ("reasoning_effort", Expect::Word(REASONING_EFFORTS)),
    ("max_reasoning_tokens", Expect::Integer),
    ("effort", Expect::Word(EFFORTS)),
    ("frequency_penalty", Expect::Number),
    ("compatibility_type", Expect::Word(&["gguf", "mlx"])),
    ("verbosity", Expect::Word(&["low", "medium", "high"])),
    ("tier", Expect::Text),
    ("parallel_tool_calls", Expect::Flag),
    ("response_format", Expect::Object),
    ("strict", Expect::Flag),
    ("return_logprobs", Expect::Flag),
    ("top_logprobs", Expect::Integer),
    ("return_token_ids", Expect::Flag),
    ("tool_call_parser", Expect::Text),
];

const EMBEDDING: &[(&str, Expect)] = &[
    ("embedding_endpoint_type", Expect::Text),
    ("embedding_endpoint", Expect::Text),
    ("embedding_model", Expect::Text),
    ("embedding_dim", Expect::Integer),
    ("embedding_chunk_size", Expect::Integer),
    ("handle", Expect::Text),
    ("batch_size", Expect::Integer),
    ("azure_endpoint", Expect::Text),
    ("azure_version", Expect::Text),
    ("azure_deployment", Expect::Text),
];

/// Builds a `serde_json::Map` from a JSON object literal.
macro_rules! object {
    ($($json:tt)+) => {
        match ::serde_json::json!({$($json)+}) {
            ::serde_json::Value::Object(map) => map,
            _ => ::serde_json::Map::new(),
        }
    };
}
pub(in crate::mock) use object;

impl ModelConfig {
    /// Reads the configuration from a request; one of `model` and `llm_config` is required. `thinks_in_writing`:
    /// whether the agent is of an older type, which writes its reasoning as text if the model does not reason.
    pub(in crate::mock) fn create(fields: &Fields<'_>, thinks_in_writing: bool) -> Result<Self, ApiError> {
        let mut config = match (fields.optional::<&str>("model")?, fields.optional::<Fields<'_>>("llm_config")?) {
            (Some(handle), _) => Self::of(Handle::parse(handle)?),
            (None, Some(llm)) => Self::of_llm_config(&llm)?,
            (None, None) => {
                return Err(ApiError::letta(
                    Code::InvalidRequest,
                    "INVALID_ARGUMENT: Must specify either model or llm_config",
                ));
            }
        };
        config.change(fields, thinks_in_writing)?;
        config.settle_reasoning(thinks_in_writing);
        config.copy_reasoning_to_settings();
        Ok(config)
    }

    /// Checks the types of all fields about models.
    pub(in crate::mock) fn check(fields: &Fields<'_>) -> Result<(), ApiError> {
        fields.check(&[("model", Expect::Text)])?;
        if let Some(llm) = fields.optional::<Fields<'_>>("llm_config")? {
            llm.check(LLM)?;
        }
        Self::default().change_settings(fields)
    }

    /// Applies the fields of a request about models. Absent fields stay as they are.
    pub(in crate::mock) fn change(&mut self, fields: &Fields<'_>, thinks_in_writing: bool) -> Result<(), ApiError> {
        Self::check(fields)?;
        let before = self.handle.clone();
        if let Some(llm) = fields.optional::<Fields<'_>>("llm_config")? {
            self.merge_llm(&llm);
        }
        if let Some(handle) = fields.optional::<&str>("model")? {
            self.switch_to(Handle::parse(handle)?, thinks_in_writing);
        }
        self.change_settings(fields)?;
        let switches = ["enable_reasoner", "reasoning"].iter().any(|name| fields.value(name).is_some());
        if switches || self.handle != before {
            self.settle_reasoning(thinks_in_writing);
        }
        self.copy_reasoning_to_settings();
        Ok(())
    }

    fn change_settings(&mut self, fields: &Fields<'_>) -> Result<(), ApiError> {
        if let Some(settings) = fields.optional::<Fields<'_>>("model_settings")? {
            check_settings(&settings)?;
            self.merge_settings(&settings);
        }
        if let Some(window) = fields.optional::<i64>("context_window_limit")? {
            self.llm.insert("context_window".into(), window.into());
        }
        if let Some(most) = fields.optional::<i64>("max_tokens")? {
            self.set_max_tokens(most);
        }
        if let Some(most) = fields.optional::<i64>("max_reasoning_tokens")? {
            self.llm.insert("max_reasoning_tokens".into(), most.into());
        }
        // With the deprecated form, which has the same field, Letta ignores `enable_reasoner`; its agent files have
        // both.
        let switches = ["enable_reasoner", "reasoning"].iter().skip(fields.value("llm_config").iter().count());
        for name in switches.copied() {
            if let Some(reasons) = fields.optional::<bool>(name)? {
                self.llm.insert("enable_reasoner".into(), reasons.into());
                self.llm.insert("put_inner_thoughts_in_kwargs".into(), false.into());
                if !reasons && Handle::parse(&self.handle).is_ok_and(reasoning::can_be_none) {
                    self.llm.insert("reasoning_effort".into(), "none".into());
                }
            }
        }
        if let Some(parallel) = fields.optional::<bool>("parallel_tool_calls")? {
            self.llm.insert("parallel_tool_calls".into(), parallel.into());
            self.settings.insert("parallel_tool_calls".into(), parallel.into());
        }
        Ok(())
    }

    /// The most tokens of a request and its response together.
    pub(in crate::mock) fn context_window(&self) -> i64 {
        self.llm.get("context_window").and_then(Value::as_i64).unwrap_or(i64::MAX)
    }

    /// The default configuration of a model.
    pub(super) fn of(handle: Handle<'_>) -> Self {
        let max_tokens = handle.max_tokens();
        let llm = object! {
            "model": handle.name,
            "display_name": null,
            "model_endpoint_type": handle.endpoint_type(),
            "model_endpoint": handle.endpoint(),
            "provider_name": handle.provider,
            "provider_category": "base",
            "model_wrapper": null,
            "context_window": handle.context_window(),
            "put_inner_thoughts_in_kwargs": false,
            "handle": handle.text(),
            "temperature": 1.0,
            "max_tokens": max_tokens,
            "enable_reasoner": true,
            "reasoning_effort": effort(handle),
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
        };
        Self { handle: handle.text(), settings: settings(handle.settings_type(), max_tokens), llm }
    }

    fn of_llm_config(llm: &Fields<'_>) -> Result<Self, ApiError> {
        llm.check(LLM)?;
        let model: &str = llm.required("model")?;
        let endpoint_type: &str = llm.required("model_endpoint_type")?;
        llm.required::<i64>("context_window")?;
        let handle = match llm.optional::<&str>("handle")? {
            Some(handle) => handle.to_owned(),
            None => format!("{endpoint_type}/{model}"),
        };
        Ok(Self::of(Handle::parse(&handle)?))
    }

    /// Switches to another model and keeps everything else; the window shrinks to that of the new model.
    fn switch_to(&mut self, handle: Handle<'_>, thinks_in_writing: bool) {
        if handle.text() == self.handle {
            return;
        }
        let window = self.context_window().min(handle.context_window());
        for (name, value) in [
            ("model", Value::from(handle.name)),
            ("model_endpoint_type", handle.endpoint_type().into()),
            ("model_endpoint", handle.endpoint().into()),
            ("provider_name", handle.provider.into()),
            ("handle", handle.text().into()),
            ("context_window", window.into()),
            ("reasoning_effort", effort(handle).into()),
            ("max_reasoning_tokens", 0.into()),
        ] {
            self.llm.insert(name.into(), value);
        }
        if !thinks_in_writing {
            self.llm.insert("enable_reasoner".into(), true.into());
        }
        self.settings = self.settings_for(handle);
        self.handle = handle.text();
    }

    /// The settings for another model; if its provider is of another type, only the settings that all types share are
    /// kept.
    fn settings_for(&self, handle: Handle<'_>) -> Map<String, Value> {
        const OF_ALL: &[&str] =
            &["max_output_tokens", "parallel_tool_calls", "temperature", "response_format", "strict"];
        let kind = handle.settings_type();
        if self.settings.get("provider_type").is_some_and(|present| present == kind) {
            return self.settings.clone();
        }
        let mut settings = settings(kind, handle.max_tokens());
        for name in OF_ALL {
            if let (Some(setting), Some(value)) = (settings.get_mut(*name), self.settings.get(*name)) {
                *setting = value.clone();
            }
        }
        settings
    }

    fn merge_llm(&mut self, llm: &Fields<'_>) {
        for (name, _) in LLM {
            if let Some(value) = llm.value(name) {
                self.llm.insert((*name).to_owned(), value.clone());
            }
        }
        if let Some(handle) = llm.value("handle").and_then(Value::as_str) {
            handle.clone_into(&mut self.handle);
        }
        for (there, here) in [("max_tokens", "max_output_tokens"), ("temperature", "temperature")] {
            if let Some(value) = llm.value(there) {
                self.settings.insert(here.to_owned(), value.clone());
            }
        }
    }

    fn merge_settings(&mut self, settings: &Fields<'_>) {
        merge(&mut self.settings, settings);
        for (there, here) in [("max_output_tokens", "max_tokens"), ("temperature", "temperature"), ("strict", "strict")]
        {
            if let Some(value) = settings.value(there) {
                self.llm.insert(here.to_owned(), value.clone());
            }
        }
        // Letta fills in what settings leave out before it takes them over.
        let parallel = settings.value("parallel_tool_calls").cloned().unwrap_or(Value::Bool(true));
        self.settings.insert("parallel_tool_calls".into(), parallel.clone());
        self.llm.insert("parallel_tool_calls".into(), parallel);
        self.note_settings(Some(settings.map()));
    }

    fn set_max_tokens(&mut self, most: i64) {
        self.llm.insert("max_tokens".into(), most.into());
        self.settings.insert("max_output_tokens".into(), most.into());
    }
}

/// Reasoning, in both forms.
impl ModelConfig {
    /// The default configuration of the model with this handle.
    pub(super) fn named(handle: &str) -> Option<Self> {
        Handle::parse(handle).ok().map(Self::of)
    }

    /// Whether the model reasons before it responds.
    pub(super) fn reasons(&self, thinks_in_writing: bool) -> bool {
        if thinks_in_writing && self.flag("put_inner_thoughts_in_kwargs") {
            return true;
        }
        let family = Handle::parse(&self.handle).ok().and_then(family);
        family.is_some_and(|family| match family.switch {
            Switch::Fixed => true,
            Switch::Effort => {
                let effort = self.llm.get("reasoning_effort").and_then(Value::as_str);
                effort.is_none_or(reasoning::shows_reasoning)
            }
            Switch::Toggle => self.flag("enable_reasoner"),
        })
    }

    /// Applies what settings say about reasoning.
    pub(super) fn note_settings(&mut self, settings: Option<&Map<String, Value>>) {
        let Some(settings) = settings else { return };
        let setting = |object: &str, name: &str| settings.get(object).and_then(|object| object.get(name)).cloned();
        let is_enabled = |kind: Value| Value::from(kind == "enabled");
        for (name, value) in [
            ("enable_reasoner", setting("thinking", "type").map(is_enabled)),
            ("enable_reasoner", setting("thinking_config", "include_thoughts").filter(Value::is_boolean)),
            ("max_reasoning_tokens", setting("thinking", "budget_tokens").filter(Value::is_i64)),
            ("max_reasoning_tokens", setting("thinking_config", "thinking_budget").filter(Value::is_i64)),
            ("reasoning_effort", setting("reasoning", "reasoning_effort").filter(Value::is_string)),
        ] {
            if let Some(value) = value {
                self.llm.insert(name.to_owned(), value);
            }
        }
    }

    /// Reconciles the requested reasoning with what the model supports.
    fn settle_reasoning(&mut self, thinks_in_writing: bool) {
        let requested = self.flag("enable_reasoner") || thinks_in_writing && self.flag("put_inner_thoughts_in_kwargs");
        let family = Handle::parse(&self.handle).ok().and_then(family);
        let enabled = match family.map(|family| family.switch) {
            None => requested && thinks_in_writing,
            Some(Switch::Toggle) => requested,
            Some(Switch::Fixed | Switch::Effort) => true,
        };
        self.llm.insert("enable_reasoner".into(), enabled.into());
        self.llm.insert("put_inner_thoughts_in_kwargs".into(), (enabled && family.is_none()).into());
        let budget = self.llm.get("max_reasoning_tokens").and_then(Value::as_i64).unwrap_or_default();
        match family {
            Some(family) if enabled && budget == 0 => {
                self.llm.insert("max_reasoning_tokens".into(), family.budget.into());
            }
            None if !thinks_in_writing => {
                self.llm.insert("max_reasoning_tokens".into(), 0.into());
            }
            _ => {}
        }
    }

    /// Copies the reasoning of the deprecated form to the settings.
    fn copy_reasoning_to_settings(&mut self) {
        let enabled = self.flag("enable_reasoner");
        let kind = if enabled { "enabled" } else { "disabled" };
        let effort = self.llm.get("reasoning_effort").filter(|effort| effort.is_string()).cloned();
        for (object, name, value) in [
            ("thinking", "type", Some(kind.into())),
            ("thinking_config", "include_thoughts", Some(enabled.into())),
            ("reasoning", "reasoning_effort", effort),
        ] {
            if let (Some(Value::Object(object)), Some(value)) = (self.settings.get_mut(object), value) {
                object.insert(name.to_owned(), value);
            }
        }
    }

    fn flag(&self, name: &str) -> bool {
        self.llm.get(name).and_then(Value::as_bool).unwrap_or(false)
    }
}

/// The default reasoning effort of a model.
fn effort(handle: Handle<'_>) -> Option<&'static str> {
    let reasons =
        handle.endpoint_type() == "openai" && family(handle).is_some_and(|family| family.switch == Switch::Effort);
    reasons.then(|| reasoning::default_effort(handle))
}

/// Settings without a model: they name their provider type, and absent fields get the defaults of most of its models.
pub(super) fn whole_settings(given: &Fields<'_>) -> Result<Map<String, Value>, ApiError> {
    const MAX_TOKENS: i64 = 4096;
    check_settings(given)?;
    let Some(provider_type) = given.one_of("provider_type", PROVIDER_TYPES)? else {
        return Err(given.at("provider_type").missing(&Value::Object(given.map().clone())));
    };
    let mut whole = settings(provider_type, MAX_TOKENS);
    merge(&mut whole, given);
    Ok(whole)
}

fn check_settings(settings: &Fields<'_>) -> Result<(), ApiError> {
    settings.check(SETTINGS)?;
    if let Some(reasoning) = settings.optional::<Fields<'_>>("reasoning")? {
        reasoning.one_of("reasoning_effort", REASONING_EFFORTS)?;
    }
    if let Some(thinking) = settings.optional::<Fields<'_>>("thinking")? {
        thinking.one_of("type", &["enabled", "disabled"])?;
    }
    if let Some(format) = settings.optional::<Fields<'_>>("response_format")?
        && format.one_of("type", &["text", "json_schema", "json_object"])?.is_none()
    {
        return Err(format.at("type").missing(&Value::Object(format.map().clone())));
    }
    Ok(())
}

fn merge(settings: &mut Map<String, Value>, given: &Fields<'_>) {
    for (name, value) in given.map() {
        if !value.is_null() && SETTINGS.iter().any(|(known, _)| known == name) {
            settings.insert(name.clone(), value.clone());
        }
    }
}

/// The default settings for models of a provider type.
fn settings(provider_type: &str, max_tokens: i64) -> Map<String, Value> {
    let mut settings = object! {
        "max_output_tokens": max_tokens,
        "parallel_tool_calls": true,
        "provider_type": provider_type,
        "temperature": 1.0,
    };
    let own = match provider_type {
        "openai" => object! {"reasoning": {"reasoning_effort": "minimal"}, "response_format": null, "strict": false},
        "anthropic" => object! {
            "thinking": {"type": "enabled", "budget_tokens": 1024}, "response_format": null, "verbosity": null, "effort": null, "strict": false,
        },
        "sglang" => object! {
            "reasoning": {"reasoning_effort": "minimal"}, "response_format": null, "strict": false, "tool_call_parser": null,
        },
        "google_ai" | "google_vertex" => object! {
            "thinking_config": {"include_thoughts": true, "thinking_budget": 1024}, "response_schema": null,
        },
        "zai" => object! {"response_format": null, "thinking": {"type": "enabled", "clear_thinking": false}},
        "chatgpt_oauth" => object! {"reasoning": {"reasoning_effort": "medium"}},
        "baseten" => Map::new(),
        _ => object! {"response_format": null},
    };
    settings.extend(own);
    settings
}

impl EmbeddingConfig {
    /// Checks the types of all fields about embedding.
    pub(in crate::mock) fn check(fields: &Fields<'_>) -> Result<(), ApiError> {
        fields.check(&[("embedding", Expect::Text), ("embedding_chunk_size", Expect::Integer)])?;
        match fields.optional::<Fields<'_>>("embedding_config")? {
            Some(config) => config.check(EMBEDDING),
            None => Ok(()),
        }
    }

    /// Applies the fields of a request about embedding. Absent fields stay as they are.
    pub(in crate::mock) fn change(current: &mut Option<Self>, fields: &Fields<'_>) -> Result<(), ApiError> {
        Self::check(fields)?;
        if let Some(config) = fields.optional::<Fields<'_>>("embedding_config")? {
            *current = Some(Self::of_config(&config)?);
        }
        if let Some(handle) = fields.optional::<&str>("embedding")? {
            *current = Some(Self::of(Handle::parse(handle)?));
        }
        // As in Letta, 0 stands for the usual size.
        let chunk_size = fields.optional::<i64>("embedding_chunk_size")?.filter(|size| *size != 0);
        if let (Some(current), Some(chunk_size)) = (current, chunk_size) {
            current.config.insert("embedding_chunk_size".into(), chunk_size.into());
        }
        Ok(())
    }

    /// The dimensions of its vectors.
    pub(in crate::mock) fn dimensions(&self) -> usize {
        self.config.get("embedding_dim").and_then(Value::as_u64).and_then(|dim| dim.try_into().ok()).unwrap_or(1)
    }

    /// The default configuration of the model with this handle, changed by the fields of a request.
    pub(in crate::mock) fn named(handle: &str, fields: &Fields<'_>) -> Result<Self, ApiError> {
        let named = Self::of(Handle::parse(handle)?);
        let mut embedding = Some(named.clone());
        Self::change(&mut embedding, fields)?;
        Ok(embedding.unwrap_or(named))
    }

    fn of(handle: Handle<'_>) -> Self {
        let config = object! {
            "embedding_endpoint_type": handle.endpoint_type(),
            "embedding_endpoint": handle.endpoint(),
            "embedding_model": handle.name,
            "embedding_dim": handle.dimensions(),
            "embedding_chunk_size": 300,
            "handle": handle.text(),
            "batch_size": 32,
            "azure_endpoint": null,
            "azure_version": null,
            "azure_deployment": null,
        };
        Self { handle: handle.text(), config }
    }

    fn of_config(config: &Fields<'_>) -> Result<Self, ApiError> {
        let endpoint_type: &str = config.required("embedding_endpoint_type")?;
        let model: &str = config.required("embedding_model")?;
        config.required::<i64>("embedding_dim")?;
        let handle = match config.optional::<&str>("handle")? {
            Some(handle) => handle.to_owned(),
            None => format!("{endpoint_type}/{model}"),
        };
        let mut made = Self::of(Handle::parse(&handle)?);
        for (name, _) in EMBEDDING {
            if let Some(value) = config.value(name) {
                made.config.insert((*name).to_owned(), value.clone());
            }
        }
        made.config.insert("handle".into(), handle.into());
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn create(body: &Value) -> Result<ModelConfig, ApiError> {
        ModelConfig::create(&Fields::of_body(body).unwrap(), false)
    }

    #[test]
    fn both_forms_agree() {
        let config =
            create(&json!({"model": "openai/gpt-4o-mini", "max_tokens": 99, "model_settings": {"temperature": 0.5}}))
                .unwrap();
        assert_eq!(config.llm["max_tokens"], config.settings["max_output_tokens"]);
        assert_eq!(config.llm["temperature"], json!(0.5));
        assert_eq!(config.settings["temperature"], json!(0.5));
        assert_eq!(config.context_window(), 128_000);
        assert_eq!(config.llm.len(), LLM.len());
    }

    #[test]
    fn another_model_keeps_unrelated_settings() {
        let mut config = create(&json!({"model": "openai/gpt-4.1", "max_tokens": 99})).unwrap();
        config.change(&Fields::of_body(&json!({"model": "openai/gpt-4o"})).unwrap(), false).unwrap();
        assert_eq!(config.handle, "openai/gpt-4o");
        assert_eq!(config.llm["handle"], json!("openai/gpt-4o"));
        assert_eq!(config.llm["max_tokens"], json!(99));
        assert_eq!(config.context_window(), 128_000);
    }

    #[test]
    fn a_model_of_another_provider_has_the_settings_of_its_kind() {
        let mut config = create(&json!({
            "model": "openai/gpt-4o",
            "model_settings": {"temperature": 0.5, "max_output_tokens": 99, "reasoning": {"reasoning_effort": "low"}},
        }))
        .unwrap();
        config.change(&Fields::of_body(&json!({"model": "anthropic/claude-sonnet-4-5"})).unwrap(), false).unwrap();
        let new = create(&json!({"model": "anthropic/claude-sonnet-4-5"})).unwrap();
        assert!(config.settings.keys().eq(new.settings.keys()), "{:?}", config.settings);
        assert_eq!(
            (&config.settings["provider_type"], &config.settings["temperature"], &config.settings["max_output_tokens"]),
            (&json!("anthropic"), &json!(0.5), &json!(99))
        );
        for (handle, endpoint, settings) in [
            ("ollama/llama", "ollama", "openai"),
            ("sglang/qwen", "openai", "sglang"),
            ("lmstudio_openai/qwen", "openai", "openai"),
            ("mine/gpt", "openai", "openai"),
        ] {
            let config = create(&json!({"model": handle})).unwrap();
            assert_eq!(
                (&config.llm["model_endpoint_type"], &config.settings["provider_type"]),
                (&json!(endpoint), &json!(settings)),
                "{handle}"
            );
        }
    }

    #[test]
    fn the_deprecated_form_alone_is_enough() {
        let llm = json!({"model": "gpt-4o", "model_endpoint_type": "openai", "context_window": 8000});
        let config = create(&json!({"llm_config": llm})).unwrap();
        assert_eq!((config.handle.as_str(), config.context_window()), ("openai/gpt-4o", 8000));
    }

    #[test]
    fn what_is_missing_or_wrong_is_refused() {
        for body in [
            json!({}),
            json!({"model": 5}),
            json!({"model": "gpt-4o"}),
            json!({"model": "a/b", "llm_config": []}),
            json!({"model": "a/b", "llm_config": {"context_window": "x"}}),
            json!({"llm_config": {"model": "gpt-4o"}}),
            json!({"model": "a/b", "model_settings": {"temperature": "hot"}}),
            json!({"model": "a/b", "model_settings": {"provider_type": "none"}}),
            json!({"model": "a/b", "context_window_limit": "0"}),
            json!({"model": "a/b", "parallel_tool_calls": 1}),
        ] {
            assert!(create(&body).is_err(), "{body}");
        }
    }
}

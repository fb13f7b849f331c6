//! Tools: what is stored, what a request can set, and what clients see.

use std::fmt::Display;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{ACTOR, Record, object};
use crate::{
    credentials::sha256,
    entropy,
    error::{ApiError, Code},
    mock::{
        python::{self, CallResult, Signature},
        validation::body::{Fields, Location},
    },
};

/// The types of tools.
pub(in crate::mock) const TOOL_TYPES: &[&str] = &[
    "custom",
    "letta_core",
    "letta_memory_core",
    "letta_multi_agent_core",
    "letta_sleeptime_core",
    "letta_voice_sleeptime_core",
    "letta_builtin",
    "letta_files_core",
    "external_langchain",
    "external_composio",
    "external_mcp",
];

/// A tool as it is stored.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[expect(clippy::struct_field_names, reason = "Letta calls it tool_type")]
pub(in crate::mock) struct Tool {
    pub(in crate::mock) id: String,
    pub(in crate::mock) tool_type: String,
    pub(in crate::mock) description: Option<String>,
    pub(in crate::mock) source_type: String,
    pub(in crate::mock) name: String,
    pub(in crate::mock) tags: Vec<String>,
    pub(in crate::mock) source_code: Option<String>,
    pub(in crate::mock) json_schema: Map<String, Value>,
    pub(in crate::mock) args_json_schema: Option<Map<String, Value>>,
    pub(in crate::mock) return_char_limit: i64,
    pub(in crate::mock) pip_requirements: Option<Value>,
    pub(in crate::mock) npm_requirements: Option<Value>,
    pub(in crate::mock) default_requires_approval: Option<bool>,
    pub(in crate::mock) enable_parallel_execution: bool,
    pub(in crate::mock) metadata: Map<String, Value>,
    pub(in crate::mock) project_id: Option<String>,
    /// The result of every call, if the configuration defines one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::mock) scripted: Option<Value>,
}

/// The default for the most characters of a return.
pub(in crate::mock) const RETURN_CHAR_LIMIT: i64 = 50_000;
const MOST_RETURNED: i64 = 1_000_000;

const FIELDS: &[&str] = &[
    "description",
    "tags",
    "source_code",
    "source_type",
    "json_schema",
    "args_json_schema",
    "return_char_limit",
    "pip_requirements",
    "npm_requirements",
    "default_requires_approval",
    "enable_parallel_execution",
];

/// The fields of a request.
#[derive(Clone, Debug)]
pub(in crate::mock) struct ToolChange {
    description: Option<String>,
    tags: Option<Vec<String>>,
    source_code: Option<String>,
    source_type: Option<String>,
    /// The schema: given, or derived from the source; `None` if the request has neither.
    schema: Option<Map<String, Value>>,
    args_json_schema: Option<Map<String, Value>>,
    return_char_limit: Option<i64>,
    pip_requirements: Option<Value>,
    npm_requirements: Option<Value>,
    default_requires_approval: Option<bool>,
    enable_parallel_execution: Option<bool>,
    metadata: Option<Map<String, Value>>,
}

impl Record for Tool {
    const KIND: &'static str = "tool";
    const NAME: &'static str = "Tool";

    fn id(&self) -> &str {
        &self.id
    }
}

impl ToolChange {
    /// Reads a request to create a tool. Its name and schema are derived from the source unless a schema is given,
    /// which then counts whatever the source defines.
    pub(in crate::mock) fn read_new(fields: &Fields<'_>) -> Result<Self, ApiError> {
        fields.only(FIELDS)?;
        fields.required::<&str>("source_code")?;
        Self::read(fields)
    }

    /// What a change of a tool that is there says. Its schema stays what it is, also if the source is of another,
    /// unless the arguments are given.
    pub(in crate::mock) fn read_change(fields: &Fields<'_>) -> Result<Self, ApiError> {
        Self::read_given(fields)
    }

    /// Adds the schema that follows from the arguments, and from the source that the tool has then.
    ///
    /// # Errors
    /// 400 when none follows.
    pub(in crate::mock) fn complete_schema(&mut self, tool: &Tool) -> Result<(), ApiError> {
        if self.schema.is_some() || tool.tool_type != "custom" {
            return Ok(());
        }
        let Some(given) = self.args_json_schema.as_ref().filter(|given| !given.is_empty()) else { return Ok(()) };
        let source = self.source_code.as_ref().or(tool.source_code.as_ref());
        let source = source.ok_or_else(|| underivable("args_json_schema needs the tool's source_code as well"))?;
        self.schema = Some(schema_of_arguments(source, given)?);
        Ok(())
    }

    /// Reads the fields of a tool, wherever they are in a body.
    pub(in crate::mock) fn read(fields: &Fields<'_>) -> Result<Self, ApiError> {
        let mut change = Self::read_given(fields)?;
        if change.schema.is_none() {
            change.schema = change.derive(&fields.at("json_schema"))?;
        }
        Ok(change)
    }

    fn read_given(fields: &Fields<'_>) -> Result<Self, ApiError> {
        let map = |name| fields.optional::<&Map<String, Value>>(name).map(Option::<&_>::cloned);
        let change = Self {
            description: fields.optional("description")?,
            tags: fields.optional("tags")?,
            source_code: fields.optional("source_code")?,
            source_type: fields.optional("source_type")?,
            // Letta treats an empty schema as absent.
            schema: map("json_schema")?.filter(|schema| !schema.is_empty()),
            args_json_schema: map("args_json_schema")?,
            return_char_limit: fields.between("return_char_limit", 1, MOST_RETURNED)?,
            pip_requirements: requirements(fields, "pip_requirements")?,
            npm_requirements: requirements(fields, "npm_requirements")?,
            default_requires_approval: fields.optional("default_requires_approval")?,
            enable_parallel_execution: fields.optional("enable_parallel_execution")?,
            metadata: map("metadata_")?,
        };
        if let Some(schema) = &change.schema {
            check_schema(schema, &fields.at("json_schema"))?;
        }
        Ok(change)
    }

    fn gives_arguments(&self) -> bool {
        self.args_json_schema.as_ref().is_some_and(|given| !given.is_empty())
    }

    /// Derives the schema from the source.
    fn derive(&self, location: &Location) -> Result<Option<Map<String, Value>>, ApiError> {
        let Some(source) = &self.source_code else { return Ok(None) };
        if self.source_type.as_deref() == Some("typescript") {
            let rule = "TypeScript tools need an explicit json_schema";
            return Err(location.breaks_rule(rule, &Value::Null));
        }
        if let Some(given) = self.args_json_schema.as_ref().filter(|_| self.gives_arguments()) {
            return schema_of_arguments(source, given).map(Some);
        }
        let Signature { name, description, parameters } = python::signature(source).map_err(underivable)?;
        Ok(Some(object! {"name": name, "description": description, "parameters": parameters}))
    }

    /// Refuses a source that does not define a function with the tool's name.
    ///
    /// # Errors
    /// 400.
    pub(in crate::mock) fn check_source(&self, tool: &Tool) -> Result<(), ApiError> {
        let Some(source) = &self.source_code else { return Ok(()) };
        let word = if tool.source_type == "typescript" { "function" } else { "def" };
        if source.contains(&format!("{word} {}", tool.name)) {
            return Ok(());
        }
        let name = shortened(&tool.name);
        let problem = format!(
            "INVALID_ARGUMENT: the tool is named '{name}', but the source defines no function of this name; rename the \
             tool with json_schema"
        );
        Err(ApiError::letta(Code::InvalidRequest, problem))
    }

    /// The new name of the tool; `None` if it keeps its name.
    pub(in crate::mock) fn name(&self) -> Option<&str> {
        self.schema.as_ref().and_then(|schema| schema.get("name")).and_then(Value::as_str)
    }
}

/// The schema of a tool whose arguments are given: the source says only its name and what it does.
fn schema_of_arguments(source: &str, arguments: &Map<String, Value>) -> Result<Map<String, Value>, ApiError> {
    let (name, docstring) = python::name_and_docstring(source).map_err(underivable)?;
    let parameters = python::arguments(arguments).map_err(underivable)?;
    let description = docstring.filter(|docstring| !docstring.is_empty());
    let description = description.unwrap_or_else(|| format!("The {name} tool"));
    Ok(object! {"name": name, "description": description, "parameters": parameters})
}

/// The 400 for a source from which no schema can be derived.
pub(in crate::mock) fn underivable(why: impl Display) -> ApiError {
    let problem = format!("INVALID_ARGUMENT: Failed to derive json schema from source code: {why}");
    ApiError::letta(Code::InvalidRequest, problem)
}

fn check_schema(schema: &Map<String, Value>, location: &Location) -> Result<(), ApiError> {
    let name = schema.get("name").ok_or_else(|| location.at("name").missing(&Value::Object(schema.clone())))?;
    match name.as_str() {
        Some("") => Err(location.at("name").breaks_rule("a name must not be empty", name)),
        Some(_) => Ok(()),
        None => Err(location.at("name").refuse("string_type", "Input should be a valid string", name)),
    }
}

fn requirements(fields: &Fields<'_>, name: &str) -> Result<Option<Value>, ApiError> {
    let Some(packages) = fields.optional::<Vec<Fields<'_>>>(name)? else { return Ok(None) };
    let read = |package: &Fields<'_>| {
        let named: &str = package.required("name")?;
        let version: Option<&str> = package.optional("version")?;
        Ok(json!({"name": named, "version": version}))
    };
    packages.iter().map(read).collect::<Result<Value, ApiError>>().map(Some)
}

fn shortened(text: &str) -> String {
    text.chars().take(100).collect()
}

impl Tool {
    /// Creates a tool.
    pub(in crate::mock) fn create(change: ToolChange, project_id: Option<String>) -> Self {
        let mut tool = Self {
            id: entropy::letta_id(Self::KIND),
            tool_type: "custom".to_owned(),
            description: None,
            // Letta's default, whatever the source is.
            source_type: "json".to_owned(),
            name: String::new(),
            tags: Vec::new(),
            source_code: None,
            json_schema: Map::new(),
            args_json_schema: Some(Map::new()),
            return_char_limit: RETURN_CHAR_LIMIT,
            pip_requirements: None,
            npm_requirements: None,
            default_requires_approval: None,
            enable_parallel_execution: false,
            metadata: Map::new(),
            project_id,
            scripted: None,
        };
        tool.change(change);
        tool
    }

    /// Creates a tool of an MCP server, without description and schema.
    pub(in crate::mock) fn external(name: &str, server_name: &str, server_id: &str) -> Self {
        Self {
            id: entropy::letta_id(Self::KIND),
            tool_type: "external_mcp".to_owned(),
            description: None,
            source_type: "python".to_owned(),
            name: name.to_owned(),
            tags: vec![format!("mcp:{server_name}")],
            source_code: None,
            json_schema: Map::new(),
            args_json_schema: None,
            return_char_limit: RETURN_CHAR_LIMIT,
            pip_requirements: None,
            npm_requirements: None,
            default_requires_approval: None,
            enable_parallel_execution: false,
            metadata: object! {"mcp": {"server_name": server_name, "server_id": server_id}},
            project_id: None,
            scripted: None,
        }
    }

    /// Sets its description, its schema and the result of every call.
    pub(in crate::mock) fn describe(
        &mut self,
        description: String,
        schema: Map<String, Value>,
        scripted: Option<Value>,
    ) {
        self.description = Some(description);
        self.json_schema = schema;
        self.scripted = scripted;
    }

    /// Applies a change. Absent fields stay as they are.
    pub(in crate::mock) fn change(&mut self, change: ToolChange) {
        if let Some(name) = change.name() {
            name.clone_into(&mut self.name);
        }
        let described = change.schema.as_ref().and_then(|schema| schema.get("description")).and_then(Value::as_str);
        let described = change.description.or_else(|| described.map(str::to_owned));
        self.description = described.or_else(|| self.description.take());
        if let Some(tags) = change.tags {
            self.tags = tags;
        }
        if let Some(source) = change.source_code {
            let hash = hex::encode(sha256(source.as_bytes()));
            self.metadata.insert("tool_hash".into(), hash.get(..12).unwrap_or_default().into());
            self.source_code = Some(source);
        }
        self.source_type = change.source_type.unwrap_or_else(|| std::mem::take(&mut self.source_type));
        self.json_schema = change.schema.unwrap_or_else(|| std::mem::take(&mut self.json_schema));
        self.args_json_schema = change.args_json_schema.or_else(|| self.args_json_schema.take());
        self.return_char_limit = change.return_char_limit.unwrap_or(self.return_char_limit);
        self.pip_requirements = change.pip_requirements.or_else(|| self.pip_requirements.take());
        self.npm_requirements = change.npm_requirements.or_else(|| self.npm_requirements.take());
        self.default_requires_approval = change.default_requires_approval.or(self.default_requires_approval);
        self.enable_parallel_execution = change.enable_parallel_execution.unwrap_or(self.enable_parallel_execution);
        self.metadata = change.metadata.unwrap_or_else(|| std::mem::take(&mut self.metadata));
    }

    /// Applies a repeated creation, which does not clear tags.
    pub(in crate::mock) fn replace(&mut self, change: ToolChange) {
        self.change(ToolChange { tags: change.tags.filter(|tags| !tags.is_empty()), ..change });
    }

    /// The result of a call: derived from the source if possible, otherwise a text that repeats the call. Nothing is
    /// executed.
    pub(in crate::mock) fn call(&self, arguments: &Map<String, Value>, environment: &Map<String, Value>) -> CallResult {
        if let Some(result) = &self.scripted {
            return CallResult::of(result.clone());
        }
        let source = self.source_code.as_ref().filter(|_| self.source_type != "typescript");
        let outcome = source.and_then(|source| python::run(source, &self.name, arguments, environment));
        outcome.unwrap_or_else(|| echo(&self.name, arguments))
    }

    /// The tool as clients see it. The order of the keys is Letta's.
    pub(in crate::mock) fn wire(&self) -> Value {
        json!({
            "id": self.id,
            "tool_type": self.tool_type,
            "description": self.description,
            "source_type": self.source_type,
            "name": self.name,
            "tags": self.tags,
            "source_code": self.source_code,
            "json_schema": self.json_schema,
            "args_json_schema": self.args_json_schema,
            "return_char_limit": self.return_char_limit,
            "pip_requirements": self.pip_requirements,
            "npm_requirements": self.npm_requirements,
            "default_requires_approval": self.default_requires_approval,
            "enable_parallel_execution": self.enable_parallel_execution,
            "created_by_id": ACTOR,
            "last_updated_by_id": ACTOR,
            "metadata_": self.metadata,
            "project_id": self.project_id,
        })
    }
}

/// The result of a call that cannot be derived from the source.
pub(in crate::mock) fn echo(name: &str, arguments: &Map<String, Value>) -> CallResult {
    CallResult::of(format!("{name} was called with {}", json!(arguments)).into())
}

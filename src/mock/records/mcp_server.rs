//! MCP servers, as they are configured. The mock connects to none.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Record;
use crate::{
    entropy,
    error::ApiError,
    mock::validation::body::{Expect, Fields, TextMap},
};

/// An MCP server.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::mock) struct McpServer {
    pub(in crate::mock) id: String,
    pub(in crate::mock) server_name: String,
    /// `stdio`, `sse` or `streamable_http`.
    pub(in crate::mock) server_type: String,
    /// The connection settings; their fields depend on the type.
    pub(in crate::mock) config: Map<String, Value>,
}

const TYPES: &[&str] = &["stdio", "sse", "streamable_http"];
const STDIO: &[&str] = &["command", "args", "env"];
const REMOTE: &[&str] = &["server_url", "auth_header", "auth_token", "custom_headers"];

impl Record for McpServer {
    const KIND: &'static str = "mcp_server";
    const NAME: &'static str = "MCP server";

    fn id(&self) -> &str {
        &self.id
    }
}

impl McpServer {
    /// Creates a server from the fields of a request.
    pub(in crate::mock) fn create(fields: &Fields<'_>) -> Result<Self, ApiError> {
        fields.only(&["server_name", "config"])?;
        let server_name = fields.required("server_name")?;
        let config: Fields<'_> = fields.required("config")?;
        config.only(&[&["mcp_server_type"], names_of(server_type(&config, "mcp_server_type")?)].concat())?;
        Self::from_config(server_name, &config, "mcp_server_type")
    }

    /// The same from the older, flat form.
    pub(in crate::mock) fn create_flat(fields: &Fields<'_>) -> Result<Self, ApiError> {
        Self::from_config(fields.required("server_name")?, fields, "type")
    }

    fn from_config(server_name: String, config: &Fields<'_>, type_field: &str) -> Result<Self, ApiError> {
        let server_type = server_type(config, type_field)?;
        if server_type == "stdio" {
            config.required::<&str>("command")?;
            config.required::<Vec<&str>>("args")?;
        } else {
            config.required::<&str>("server_url")?;
        }
        let blank = names_of(server_type).iter().map(|name| ((*name).to_owned(), Value::Null)).collect();
        let mut server =
            Self { id: entropy::letta_id(Self::KIND), server_name, server_type: server_type.to_owned(), config: blank };
        server.apply(config)?;
        Ok(server)
    }

    /// Checks the types of the fields of a change.
    pub(in crate::mock) fn check(fields: &Fields<'_>) -> Result<(), ApiError> {
        fields.only(&["server_name", "config"])?;
        fields.optional::<&str>("server_name")?;
        let config: Fields<'_> = fields.required("config")?;
        config.only(&[&["mcp_server_type"], STDIO, REMOTE].concat())?;
        check_config(&config)
    }

    /// Applies a change. Absent fields stay as they are, and so does the type.
    pub(in crate::mock) fn change(&mut self, fields: &Fields<'_>) -> Result<(), ApiError> {
        self.server_name = fields.optional("server_name")?.unwrap_or_else(|| self.server_name.clone());
        match fields.optional::<Fields<'_>>("config")? {
            Some(config) => self.apply(&config),
            None => Ok(()),
        }
    }

    /// Applies connection settings.
    pub(in crate::mock) fn apply(&mut self, config: &Fields<'_>) -> Result<(), ApiError> {
        check_config(config)?;
        for name in names_of(&self.server_type) {
            if let Some(value) = config.value(name) {
                self.config.insert((*name).to_owned(), value.clone());
            }
        }
        Ok(())
    }

    /// The server as clients see it. The order of the keys is Letta's.
    pub(in crate::mock) fn wire(&self) -> Value {
        let mut wire = Map::from_iter([("mcp_server_type".to_owned(), self.server_type.as_str().into())]);
        wire.extend(self.config.clone());
        wire.insert("id".into(), self.id.as_str().into());
        wire.insert("server_name".into(), self.server_name.as_str().into());
        Value::Object(wire)
    }

    /// The server in the older, flat form.
    pub(in crate::mock) fn wire_flat(&self) -> Value {
        let mut wire = Map::from_iter([
            ("server_name".to_owned(), Value::from(self.server_name.as_str())),
            ("type".to_owned(), self.server_type.as_str().into()),
        ]);
        wire.extend(self.config.clone());
        Value::Object(wire)
    }
}

fn server_type(config: &Fields<'_>, field: &str) -> Result<&'static str, ApiError> {
    let guessed = if config.value("command").is_some() { "stdio" } else { "streamable_http" };
    Ok(config.one_of(field, TYPES)?.unwrap_or(guessed))
}

fn names_of(server_type: &str) -> &'static [&'static str] {
    if server_type == "stdio" { STDIO } else { REMOTE }
}

fn check_config(config: &Fields<'_>) -> Result<(), ApiError> {
    config.check(&["command", "server_url", "auth_header", "auth_token"].map(|name| (name, Expect::Text)))?;
    config.check(&[("args", Expect::Texts)])?;
    config.optional::<TextMap>("env")?;
    config.optional::<TextMap>("custom_headers").map(drop)
}

//! Identities: the owners of agents and blocks, each with a key of the client's own.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{ORGANIZATION, Record};
use crate::{
    entropy,
    error::ApiError,
    mock::validation::body::{Fields, Location, Read},
};

/// An identity as it is stored. Agents and blocks are linked to it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[expect(clippy::struct_field_names, reason = "Letta calls it identity_type")]
pub(in crate::mock) struct Identity {
    pub(in crate::mock) id: String,
    pub(in crate::mock) identifier_key: String,
    pub(in crate::mock) name: String,
    pub(in crate::mock) identity_type: String,
    /// The project that the request named; `None` if it named none.
    pub(in crate::mock) project_id: Option<String>,
    pub(in crate::mock) properties: Vec<Property>,
}

/// A property of an identity.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::mock) struct Property {
    pub(in crate::mock) key: String,
    pub(in crate::mock) value: Value,
    #[serde(rename = "type")]
    pub(in crate::mock) kind: String,
}

/// The fields of a request.
#[derive(Clone, Debug)]
pub(in crate::mock) struct IdentityChange {
    pub(in crate::mock) identifier_key: Option<String>,
    name: Option<String>,
    identity_type: Option<&'static str>,
    pub(in crate::mock) agent_ids: Option<Vec<String>>,
    pub(in crate::mock) block_ids: Option<Vec<String>>,
    pub(in crate::mock) properties: Option<Vec<Property>>,
}

/// The types of identities.
pub(in crate::mock) const TYPES: &[&str] = &["org", "user", "other"];
const PROPERTY_TYPES: &[&str] = &["string", "number", "boolean", "json"];
const FIELDS: &[&str] = &["identifier_key", "name", "identity_type", "agent_ids", "block_ids", "properties"];

impl Record for Identity {
    const KIND: &'static str = "identity";
    const NAME: &'static str = "Identity";

    fn id(&self) -> &str {
        &self.id
    }
}

impl IdentityChange {
    /// Reads a change.
    pub(in crate::mock) fn read(fields: &Fields<'_>) -> Result<Self, ApiError> {
        fields.only(FIELDS)?;
        Self::read_known(fields)
    }

    /// Reads a request to create an identity: some fields are required, and a project may be named.
    pub(in crate::mock) fn read_new(fields: &Fields<'_>) -> Result<Self, ApiError> {
        let known: Vec<&str> = FIELDS.iter().copied().chain(["project_id"]).collect();
        fields.only(&known)?;
        for name in ["identifier_key", "name", "identity_type"] {
            if fields.value(name).is_none() {
                return Err(fields.at(name).missing(&Value::Object(fields.map().clone())));
            }
        }
        Self::read_known(fields)
    }

    fn read_known(fields: &Fields<'_>) -> Result<Self, ApiError> {
        Ok(Self {
            identifier_key: fields.optional("identifier_key")?,
            name: fields.optional("name")?,
            identity_type: fields.one_of("identity_type", TYPES)?,
            agent_ids: fields.ids("agent_ids", "agent")?,
            block_ids: fields.ids("block_ids", "block")?,
            properties: fields.optional("properties")?,
        })
    }
}

impl Identity {
    /// Creates an identity.
    pub(in crate::mock) fn create(change: &IdentityChange, project_id: Option<String>) -> Self {
        let mut identity = Self {
            id: entropy::letta_id(Self::KIND),
            identifier_key: String::new(),
            name: String::new(),
            identity_type: String::new(),
            project_id,
            properties: Vec::new(),
        };
        identity.change(change);
        identity
    }

    /// Applies a change. Absent fields stay as they are; properties are merged by key.
    pub(in crate::mock) fn change(&mut self, change: &IdentityChange) {
        if let Some(key) = &change.identifier_key {
            self.identifier_key.clone_from(key);
        }
        if let Some(name) = &change.name {
            self.name.clone_from(name);
        }
        if let Some(identity_type) = change.identity_type {
            identity_type.clone_into(&mut self.identity_type);
        }
        self.merge(change.properties.iter().flatten());
    }

    /// Replaces all properties; of several with the same key, the last is kept.
    pub(in crate::mock) fn set_properties(&mut self, properties: &[Property]) {
        self.properties.clear();
        self.merge(properties);
    }

    fn merge<'p>(&mut self, properties: impl IntoIterator<Item = &'p Property>) {
        for property in properties {
            match self.properties.iter_mut().find(|present| present.key == property.key) {
                Some(present) => present.clone_from(property),
                None => self.properties.push(property.clone()),
            }
        }
    }

    /// The identity as clients see it. The order of the keys is Letta's.
    pub(in crate::mock) fn wire(&self, agent_ids: &[String], block_ids: &[String]) -> Value {
        json!({
            "id": self.id,
            "identifier_key": self.identifier_key,
            "name": self.name,
            "identity_type": self.identity_type,
            "project_id": self.project_id,
            "agent_ids": agent_ids,
            "block_ids": block_ids,
            "organization_id": ORGANIZATION,
            "properties": self.properties,
        })
    }
}

impl<'a> Read<'a> for Property {
    fn read(value: &'a Value, location: &Location) -> Result<Self, ApiError> {
        let fields = Fields::read(value, location)?;
        let value: &Value = fields.value("value").ok_or_else(|| fields.at("value").missing(value))?;
        if value.is_array() {
            let problem = "Input should be a text, a number, a boolean or an object";
            return Err(fields.at("value").refuse("string_type", problem, value));
        }
        fields.required::<&str>("type")?;
        let kind = fields.one_of("type", PROPERTY_TYPES)?;
        Ok(Self { key: fields.required("key")?, value: value.clone(), kind: kind.unwrap_or_default().to_owned() })
    }
}

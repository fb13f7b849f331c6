//! Model providers that users configure themselves.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Record, timestamp::Timestamp};
use crate::{
    entropy,
    error::ApiError,
    mock::{
        models::catalogue::PROVIDER_TYPES,
        validation::body::{Expect, Fields, one_of},
    },
};

/// A provider. Its keys are not stored: the mock calls no provider.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[expect(clippy::struct_field_names, reason = "Letta calls it provider_type")]
pub(in crate::mock) struct Provider {
    pub(in crate::mock) id: String,
    pub(in crate::mock) name: String,
    pub(in crate::mock) provider_type: String,
    pub(in crate::mock) base_url: Option<String>,
    pub(in crate::mock) region: Option<String>,
    pub(in crate::mock) api_version: Option<String>,
    pub(in crate::mock) updated_at: Timestamp,
    pub(in crate::mock) last_synced: Timestamp,
}

/// The credentials of a provider. A key is required and checked, but not stored.
const ACCESS: &[&str] = &["api_key", "access_key", "region", "base_url", "api_version"];

impl Record for Provider {
    const KIND: &'static str = "provider";
    const NAME: &'static str = "Provider";

    fn id(&self) -> &str {
        &self.id
    }
}

impl Provider {
    /// Creates a provider from the fields of a request.
    pub(in crate::mock) fn create(fields: &Fields<'_>) -> Result<Self, ApiError> {
        fields.only(&[&["name", "provider_type"], ACCESS].concat())?;
        let now = Timestamp::now();
        let mut provider = Self {
            id: entropy::letta_id(Self::KIND),
            name: fields.required("name")?,
            provider_type: required_type(fields)?.to_owned(),
            base_url: None,
            region: None,
            api_version: None,
            updated_at: now,
            last_synced: now,
        };
        provider.apply(fields)?;
        Ok(provider)
    }

    /// Checks the types of the fields of a change.
    pub(in crate::mock) fn check_change(fields: &Fields<'_>) -> Result<(), ApiError> {
        fields.only(ACCESS)?;
        check_access(fields)
    }

    /// Checks the fields of a provider that does not exist yet.
    pub(in crate::mock) fn check_candidate(fields: &Fields<'_>) -> Result<&'static str, ApiError> {
        let provider_type = required_type(fields)?;
        check_access(fields)?;
        Ok(provider_type)
    }

    /// Applies a change. Absent fields stay as they are.
    pub(in crate::mock) fn change(&mut self, fields: &Fields<'_>) -> Result<(), ApiError> {
        Self::check_change(fields)?;
        self.apply(fields)?;
        self.updated_at = Timestamp::now();
        Ok(())
    }

    fn apply(&mut self, fields: &Fields<'_>) -> Result<(), ApiError> {
        check_access(fields)?;
        self.base_url = fields.optional("base_url")?.or(self.base_url.take());
        self.region = fields.optional("region")?.or(self.region.take());
        self.api_version = fields.optional("api_version")?.or(self.api_version.take());
        Ok(())
    }

    /// The provider as clients see it. The order of the keys is Letta's.
    pub(in crate::mock) fn wire(&self) -> Value {
        json!({
            "id": self.id,
            "name": self.name,
            "provider_type": self.provider_type,
            "provider_category": "byok",
            "api_key": null,
            "base_url": self.base_url,
            "access_key": null,
            "region": self.region,
            "api_version": self.api_version,
            "updated_at": self.updated_at,
            "last_synced": self.last_synced,
            "api_key_enc": null,
            "access_key_enc": null,
        })
    }
}

fn required_type(fields: &Fields<'_>) -> Result<&'static str, ApiError> {
    let value = fields.value("provider_type");
    let value = value.ok_or_else(|| fields.at("provider_type").missing(&Value::Object(fields.map().clone())))?;
    one_of(value, &fields.at("provider_type"), PROVIDER_TYPES)
}

fn check_access(fields: &Fields<'_>) -> Result<(), ApiError> {
    fields.required::<&str>("api_key")?;
    let optional = ["access_key", "region", "base_url", "api_version"];
    fields.check(&optional.map(|name| (name, Expect::Text)))
}

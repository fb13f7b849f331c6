//! Memory blocks. They are stored as clients see them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Record;
use crate::{
    entropy,
    error::{ApiError, Code},
    mock::validation::body::{Expect, Fields},
    world,
};

/// A memory block. The order of the fields is Letta's.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::mock) struct Block {
    pub(in crate::mock) value: String,
    pub(in crate::mock) limit: i64,
    pub(in crate::mock) project_id: Option<String>,
    pub(in crate::mock) template_name: Option<String>,
    pub(in crate::mock) is_template: bool,
    pub(in crate::mock) template_id: Option<String>,
    pub(in crate::mock) base_template_id: Option<String>,
    pub(in crate::mock) deployment_id: Option<String>,
    pub(in crate::mock) entity_id: Option<String>,
    pub(in crate::mock) preserve_on_migration: bool,
    pub(in crate::mock) label: String,
    pub(in crate::mock) read_only: bool,
    pub(in crate::mock) description: Option<String>,
    pub(in crate::mock) metadata: Map<String, Value>,
    pub(in crate::mock) hidden: Option<bool>,
    pub(in crate::mock) id: String,
    pub(in crate::mock) created_by_id: Option<String>,
    pub(in crate::mock) last_updated_by_id: Option<String>,
    pub(in crate::mock) tags: Vec<String>,
}

/// The default for the most characters of a block. Not enforced, as in Letta 0.16.
const DEFAULT_LIMIT: i64 = 100_000;
/// The most bytes that variables may add to the blocks of one request.
pub(in crate::mock) const MOST_FILLED_IN: usize = 1024 * 1024;
/// The rule for labels.
const LABEL_RULE: &str = "a label must not be empty";

impl Record for Block {
    const KIND: &'static str = "block";
    const NAME: &'static str = "Block";

    fn id(&self) -> &str {
        &self.id
    }
}

impl Block {
    /// Creates a block from the fields of a request. Only `label` is required.
    pub(in crate::mock) fn create(fields: &Fields<'_>) -> Result<Self, ApiError> {
        let label: String = fields.required("label")?;
        let mut block = Self {
            id: entropy::letta_id(Self::KIND),
            description: default_description(&label).map(str::to_owned),
            label,
            ..Self::blank()
        };
        block.change(fields)?;
        Ok(block)
    }

    fn blank() -> Self {
        Self {
            value: String::new(),
            limit: DEFAULT_LIMIT,
            project_id: None,
            template_name: None,
            is_template: false,
            template_id: None,
            base_template_id: None,
            deployment_id: None,
            entity_id: None,
            preserve_on_migration: false,
            label: String::new(),
            read_only: false,
            description: None,
            metadata: Map::new(),
            hidden: None,
            id: String::new(),
            created_by_id: None,
            last_updated_by_id: None,
            tags: Vec::new(),
        }
    }

    /// Replaces `{{name}}` by the values of an agent's variables. The bytes of the values are subtracted from `left`.
    ///
    /// # Errors
    /// 400 if they are more than `left`.
    pub(in crate::mock) fn fill_in(
        &mut self,
        variables: &Map<String, Value>,
        left: &mut usize,
    ) -> Result<(), ApiError> {
        for (name, value) in variables {
            let value = value.as_str().unwrap_or_default();
            let place = format!("{{{{{name}}}}}");
            let places = self.value.matches(&place).count();
            if places == 0 {
                continue;
            }
            *left = places.checked_mul(value.len()).and_then(|more| left.checked_sub(more)).ok_or_else(|| {
                let problem = format!(
                    "INVALID_ARGUMENT: memory_variables add more than {MOST_FILLED_IN} bytes to the memory blocks"
                );
                ApiError::letta(Code::InvalidRequest, problem)
            })?;
            self.value = self.value.replace(&place, value);
        }
        Ok(())
    }

    /// Checks the types of the fields of a change.
    pub(in crate::mock) fn check(fields: &Fields<'_>) -> Result<(), ApiError> {
        world::dry_run(|| Self::blank().change(fields))
    }

    /// Applies the fields of a change. Absent fields stay as they are.
    pub(in crate::mock) fn change(&mut self, fields: &Fields<'_>) -> Result<(), ApiError> {
        // Blocks stay in the project in which they were created.
        fields.check(&[("project_id", Expect::Text)])?;
        if let Some(label) = fields.optional::<String>("label")? {
            if label.is_empty() {
                return Err(fields.at("label").breaks_rule(LABEL_RULE, &label.into()));
            }
            self.label = label;
        }
        replace(&mut self.value, fields.optional("value")?);
        replace(&mut self.limit, fields.at_least("limit", 0)?);
        replace(&mut self.is_template, fields.optional("is_template")?);
        replace(&mut self.preserve_on_migration, fields.optional("preserve_on_migration")?);
        replace(&mut self.read_only, fields.optional("read_only")?);
        replace(&mut self.metadata, fields.optional::<&Map<String, Value>>("metadata")?.cloned());
        replace(&mut self.tags, fields.optional("tags")?);
        for (field, name) in [
            (&mut self.template_name, "template_name"),
            (&mut self.template_id, "template_id"),
            (&mut self.base_template_id, "base_template_id"),
            (&mut self.deployment_id, "deployment_id"),
            (&mut self.entity_id, "entity_id"),
            (&mut self.description, "description"),
        ] {
            if let Some(text) = fields.optional(name)? {
                *field = Some(text);
            }
        }
        self.hidden = fields.optional("hidden")?.or(self.hidden);
        Ok(())
    }
}

fn replace<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// The default descriptions of the two labels that every tutorial uses.
fn default_description(label: &str) -> Option<&'static str> {
    match label {
        "human" => Some("What the agent knows about the person it talks to, so that it can adapt to them."),
        "persona" => {
            Some("Who the agent is and how it behaves, so that it stays consistent from one response to the next.")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_block_has_its_defaults_and_a_change_leaves_the_rest() {
        let body = json!({"label": "human", "value": "Sam"});
        let mut block = Block::create(&Fields::of_body(&body).unwrap()).unwrap();
        assert_eq!(block.limit, DEFAULT_LIMIT);
        assert!(block.description.as_deref().is_some_and(|text| text.contains("person")));
        block.change(&Fields::of_body(&json!({"value": "Kim", "label": null})).unwrap()).unwrap();
        assert_eq!((block.value.as_str(), block.label.as_str()), ("Kim", "human"));
    }

    #[test]
    fn wrong_types_are_named() {
        for (name, value) in [
            ("value", json!(1)),
            ("limit", json!("x")),
            ("label", json!([])),
            ("read_only", json!(1)),
            ("metadata", json!([])),
            ("tags", json!("a")),
            ("hidden", json!("no")),
            ("description", json!({})),
            ("project_id", json!(3)),
            ("preserve_on_migration", json!("x")),
        ] {
            let mut body = json!({"label": "l", "value": "v"});
            body[name] = value;
            let error = Block::create(&Fields::of_body(&body).unwrap()).unwrap_err();
            assert!(error.message().starts_with(&format!("body.{name}: ")), "{}", error.message());
        }
    }
}

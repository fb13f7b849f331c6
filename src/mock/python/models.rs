//! Types that have a schema, and classes with members: from a Python source or from a JSON schema.

use serde_json::{Map, Value, json};

/// The overhead of a schema.
pub(super) const SCHEMA: usize = 400;

/// A type that has a schema.
#[derive(Clone, Debug)]
pub(super) enum Type {
    /// A type of JSON itself.
    Plain(&'static str),
    /// `list[...]`, or `list` alone.
    List(Option<Box<Type>>),
    /// `Literal[...]`. Letta joins all of its values to one text.
    Choice(String),
    Optional(Box<Type>),
    /// The class with this number.
    Model(usize),
}

impl Type {
    pub(super) fn list_of(item: Self) -> Self {
        Self::List(Some(Box::new(item)))
    }

    pub(super) fn or_none(self) -> Self {
        if let Self::Optional(_) = self { self } else { Self::Optional(Box::new(self)) }
    }
}

/// Why a type has no schema.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Unfit {
    /// Letta does not support it, or a member of its class.
    Unsupported,
    TooLarge,
}

pub(super) struct Member {
    pub(super) name: String,
    /// `None` for a type that Letta does not support.
    pub(super) kind: Option<Type>,
    pub(super) description: Option<String>,
    pub(super) has_default: bool,
}

/// Classes; each refers only to earlier ones.
#[derive(Default)]
pub(super) struct Models(pub(super) Vec<Vec<Member>>);

impl Models {
    /// The schema of a type. Its size in bytes is subtracted from `left`.
    pub(super) fn schema(&self, of: &Type, left: &mut usize) -> Result<Map<String, Value>, Unfit> {
        charge(left, SCHEMA)?;
        let schema = match of {
            Type::Plain(kind) => json!({"type": kind}),
            Type::List(None) => json!({"type": "array", "items": {"type": "string"}}),
            Type::List(Some(item)) => json!({"type": "array", "items": self.schema(item, left)?}),
            Type::Choice(values) => {
                charge(left, values.len())?;
                json!({"type": "string", "enum": [values]})
            }
            Type::Optional(inner) => return self.schema(inner, left),
            Type::Model(number) => self.model(*number, left)?,
        };
        Ok(object(schema))
    }

    fn model(&self, number: usize, left: &mut usize) -> Result<Value, Unfit> {
        let mut properties = Map::new();
        let mut required: Vec<&str> = Vec::new();
        for Member { name, kind, description, has_default } in self.0.get(number).into_iter().flatten() {
            let (Some(kind), Some(description)) = (kind, description) else { return Err(Unfit::Unsupported) };
            charge(left, SCHEMA + name.len() + description.len())?;
            let mut schema = self.member(kind, left)?;
            schema.insert("description".into(), description.as_str().into());
            properties.insert(name.clone(), Value::Object(schema));
            if !has_default {
                required.push(name);
            }
        }
        Ok(json!({"type": "object", "properties": properties, "required": required}))
    }

    /// For a member, Letta keeps less than for an argument.
    fn member(&self, of: &Type, left: &mut usize) -> Result<Map<String, Value>, Unfit> {
        let kind = match of {
            Type::Plain(kind) => kind,
            Type::Choice(_) => "string",
            Type::Model(_) => return self.schema(of, left),
            Type::List(Some(item)) if matches!(**item, Type::Model(_)) => return self.schema(of, left),
            Type::List(_) => return Err(Unfit::Unsupported),
            Type::Optional(inner) => match **inner {
                Type::Plain(kind) => kind,
                Type::Choice(_) => "string",
                Type::List(_) => "array",
                Type::Model(_) | Type::Optional(_) => return Err(Unfit::Unsupported),
            },
        };
        Ok(object(json!({"type": kind})))
    }
}

fn charge(left: &mut usize, bytes: usize) -> Result<(), Unfit> {
    *left = left.checked_sub(bytes).ok_or(Unfit::TooLarge)?;
    Ok(())
}

fn object(schema: Value) -> Map<String, Value> {
    if let Value::Object(schema) = schema { schema } else { Map::new() }
}

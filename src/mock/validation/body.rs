//! Reads request bodies field by field; errors name the field.
//!
//! `null` and absent mean the same, as Letta's clients assume. Types are strict: a string is not a number. Unknown
//! fields are ignored, because other versions of the clients send more.

use serde_json::{Map, Value};

use crate::{access::is_letta_id, error::ApiError};

/// The location of a value in a request.
#[derive(Clone, Debug)]
pub(in crate::mock) struct Location(Vec<String>);

/// A JSON object that is read field by field.
#[derive(Clone, Debug)]
pub(in crate::mock) struct Fields<'a> {
    map: &'a Map<String, Value>,
    location: Location,
}

/// A type that a field can be read as.
pub(in crate::mock) trait Read<'a>: Sized {
    /// Reads a value that is not null.
    fn read(value: &'a Value, location: &Location) -> Result<Self, ApiError>;
}

impl Location {
    /// The body itself.
    pub(in crate::mock) fn body() -> Self {
        Self(vec!["body".into()])
    }

    /// The query.
    pub(in crate::mock) fn query() -> Self {
        Self(vec!["query".into()])
    }

    /// The location of `part` within this one.
    pub(in crate::mock) fn at(&self, part: &str) -> Self {
        let mut parts = self.0.clone();
        parts.push(part.to_owned());
        Self(parts)
    }

    /// The location of an item of the list here.
    pub(in crate::mock) fn item(&self, index: usize) -> Self {
        self.at(&index.to_string())
    }

    /// The 422 for the value here. `kind` is the name of the problem in Letta's validation.
    pub(in crate::mock) fn refuse(&self, kind: &str, problem: &str, input: &Value) -> ApiError {
        let parts: Vec<&str> = self.0.iter().map(String::as_str).collect();
        ApiError::validation(kind, &parts, problem, input)
    }

    /// The 422 for a required field that is absent.
    pub(in crate::mock) fn missing(&self, around: &Value) -> ApiError {
        self.refuse("missing", "Field required", around)
    }

    /// The 422 for a value that breaks a rule of its own.
    pub(in crate::mock) fn breaks_rule(&self, rule: &str, input: &Value) -> ApiError {
        self.refuse("value_error", &format!("Value error, {rule}"), input)
    }
}

impl<'a> Fields<'a> {
    /// The fields of a body that must be an object.
    pub(in crate::mock) fn of_body(body: &'a Value) -> Result<Self, ApiError> {
        match body {
            Value::Null => Err(Location::body().missing(&Value::Null)),
            _ => Self::read(body, &Location::body()),
        }
    }

    /// The fields of a body that may be left out.
    pub(in crate::mock) fn of_optional_body(body: &'a Value) -> Result<Option<Self>, ApiError> {
        if body.is_null() { Ok(None) } else { Self::of_body(body).map(Some) }
    }

    /// The object itself.
    pub(in crate::mock) fn map(&self) -> &'a Map<String, Value> {
        self.map
    }

    /// The location of the object.
    pub(in crate::mock) fn location(&self) -> &Location {
        &self.location
    }

    /// The location of a field.
    pub(in crate::mock) fn at(&self, name: &str) -> Location {
        self.location.at(name)
    }

    /// A field's value, unless it is absent or null.
    pub(in crate::mock) fn value(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// An optional field.
    pub(in crate::mock) fn optional<T: Read<'a>>(&self, name: &str) -> Result<Option<T>, ApiError> {
        self.value(name).map(|value| T::read(value, &self.at(name))).transpose()
    }

    /// A required field.
    pub(in crate::mock) fn required<T: Read<'a>>(&self, name: &str) -> Result<T, ApiError> {
        self.optional(name)?.ok_or_else(|| self.at(name).missing(&Value::Object(self.map.clone())))
    }

    /// A field with one of `words`.
    pub(in crate::mock) fn one_of<'w>(&self, name: &str, words: &[&'w str]) -> Result<Option<&'w str>, ApiError> {
        self.value(name).map(|value| one_of(value, &self.at(name), words)).transpose()
    }

    /// An integer of at least `least`.
    pub(in crate::mock) fn at_least(&self, name: &str, least: i64) -> Result<Option<i64>, ApiError> {
        match self.optional::<i64>(name)? {
            Some(number) if number < least => Err(self.at(name).refuse(
                "greater_than_equal",
                &format!("Input should be greater than or equal to {least}"),
                &number.into(),
            )),
            number => Ok(number),
        }
    }

    /// An integer from `least` to `most`.
    pub(in crate::mock) fn between(&self, name: &str, least: i64, most: i64) -> Result<Option<i64>, ApiError> {
        match self.at_least(name, least)? {
            Some(number) if number > most => Err(self.at(name).refuse(
                "less_than_equal",
                &format!("Input should be less than or equal to {most}"),
                &number.into(),
            )),
            number => Ok(number),
        }
    }

    /// Refuses all fields but these: some of Letta's bodies are strict.
    pub(in crate::mock) fn only(&self, names: &[&str]) -> Result<(), ApiError> {
        match self.map.iter().find(|(name, _)| !names.contains(&name.as_str())) {
            None => Ok(()),
            Some((name, value)) => {
                Err(self.at(name).refuse("extra_forbidden", "Extra inputs are not permitted", value))
            }
        }
    }

    /// A list of ids of the form `<prefix>-<uuid4>`.
    pub(in crate::mock) fn ids(&self, name: &str, prefix: &str) -> Result<Option<Vec<String>>, ApiError> {
        let Some(ids) = self.optional::<Vec<String>>(name)? else { return Ok(None) };
        for (index, id) in ids.iter().enumerate() {
            check_id(id, prefix, &self.at(name).item(index))?;
        }
        Ok(Some(ids))
    }

    /// An id of the form `<prefix>-<uuid4>`.
    pub(in crate::mock) fn id(&self, name: &str, prefix: &str) -> Result<Option<String>, ApiError> {
        let id: Option<String> = self.optional(name)?;
        id.as_ref().map_or(Ok(()), |id| check_id(id, prefix, &self.at(name)))?;
        Ok(id)
    }

    /// Checks the types of fields that are stored as they are.
    pub(in crate::mock) fn check(&self, expected: &[(&str, Expect)]) -> Result<(), ApiError> {
        expected.iter().try_for_each(|(name, expect)| match expect {
            Expect::Text => self.optional::<&str>(name).map(drop),
            Expect::Texts => self.optional::<Vec<&str>>(name).map(drop),
            Expect::Flag => self.optional::<bool>(name).map(drop),
            Expect::Integer => self.optional::<i64>(name).map(drop),
            Expect::Number => self.optional::<f64>(name).map(drop),
            Expect::Object => self.optional::<Fields<'_>>(name).map(drop),
            Expect::Word(words) => self.one_of(name, words).map(drop),
        })
    }
}

fn check_id(id: &str, prefix: &str, location: &Location) -> Result<(), ApiError> {
    if is_letta_id(id, prefix) {
        return Ok(());
    }
    let problem = format!("String should match pattern '{prefix}-{{uuid4}}'");
    Err(location.refuse("string_pattern_mismatch", &problem, &id.into()))
}

/// The type of a field that is stored as it is.
#[derive(Clone, Copy, Debug)]
pub(in crate::mock) enum Expect {
    Text,
    Texts,
    Flag,
    Integer,
    Number,
    Object,
    Word(&'static [&'static str]),
}

/// Reads one of `words`.
pub(in crate::mock) fn one_of<'w>(value: &Value, location: &Location, words: &[&'w str]) -> Result<&'w str, ApiError> {
    let found = value.as_str().and_then(|text| words.iter().copied().find(|word| *word == text));
    found.ok_or_else(|| {
        let expected = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" or ");
        location.refuse("literal_error", &format!("Input should be {expected}"), value)
    })
}

impl<'a> Read<'a> for &'a str {
    fn read(value: &'a Value, location: &Location) -> Result<Self, ApiError> {
        value.as_str().ok_or_else(|| location.refuse("string_type", "Input should be a valid string", value))
    }
}

impl<'a> Read<'a> for String {
    fn read(value: &'a Value, location: &Location) -> Result<Self, ApiError> {
        <&str>::read(value, location).map(str::to_owned)
    }
}

impl<'a> Read<'a> for bool {
    fn read(value: &'a Value, location: &Location) -> Result<Self, ApiError> {
        value.as_bool().ok_or_else(|| location.refuse("bool_type", "Input should be a valid boolean", value))
    }
}

impl<'a> Read<'a> for i64 {
    /// Integers, including integral floats, which some clients send.
    fn read(value: &'a Value, location: &Location) -> Result<Self, ApiError> {
        /// 2^53: below it, every integral float is exact.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        let whole = value.as_f64().filter(|number| number.fract() == 0.0 && number.abs() <= EXACT);
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and within the exact range")]
        let number = value.as_i64().or_else(|| whole.map(|number| number as Self));
        number.ok_or_else(|| match value {
            Value::Number(_) => location.refuse("int_from_float", "Input should be a valid integer", value),
            _ => location.refuse("int_type", "Input should be a valid integer", value),
        })
    }
}

impl<'a> Read<'a> for f64 {
    fn read(value: &'a Value, location: &Location) -> Result<Self, ApiError> {
        value.as_f64().ok_or_else(|| location.refuse("float_type", "Input should be a valid number", value))
    }
}

impl<'a> Read<'a> for &'a Map<String, Value> {
    fn read(value: &'a Value, location: &Location) -> Result<Self, ApiError> {
        value.as_object().ok_or_else(|| location.refuse("dict_type", "Input should be a valid dictionary", value))
    }
}

impl<'a> Read<'a> for Fields<'a> {
    fn read(value: &'a Value, location: &Location) -> Result<Self, ApiError> {
        Ok(Self { map: <&Map<String, Value>>::read(value, location)?, location: location.clone() })
    }
}

impl<'a, T: Read<'a>> Read<'a> for Vec<T> {
    fn read(value: &'a Value, location: &Location) -> Result<Self, ApiError> {
        let Some(items) = value.as_array() else {
            return Err(location.refuse("list_type", "Input should be a valid list", value));
        };
        items.iter().enumerate().map(|(index, item)| T::read(item, &location.item(index))).collect()
    }
}

/// A map of strings, in the order of the request.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(in crate::mock) struct TextMap(pub(in crate::mock) Vec<(String, String)>);

impl<'a> Read<'a> for TextMap {
    fn read(value: &'a Value, location: &Location) -> Result<Self, ApiError> {
        <&Map<String, Value>>::read(value, location)?
            .iter()
            .map(|(name, value)| Ok((name.clone(), String::read(value, &location.at(name))?)))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message<T>(result: Result<T, ApiError>) -> String {
        result.err().map(|error| error.message().to_owned()).unwrap_or_default()
    }

    #[test]
    fn a_wrong_type_is_refused_by_naming_the_field() {
        let body = json!({"text": 1, "flag": "true", "number": "1", "list": {}, "texts": ["a", 2], "map": {"k": 1}});
        let fields = Fields::of_body(&body).unwrap();
        assert_eq!(message(fields.optional::<String>("text")), "body.text: Input should be a valid string");
        assert_eq!(message(fields.optional::<bool>("flag")), "body.flag: Input should be a valid boolean");
        assert_eq!(message(fields.optional::<i64>("number")), "body.number: Input should be a valid integer");
        assert_eq!(message(fields.optional::<Vec<String>>("list")), "body.list: Input should be a valid list");
        assert_eq!(message(fields.optional::<Vec<String>>("texts")), "body.texts.1: Input should be a valid string");
        assert_eq!(message(fields.optional::<TextMap>("map")), "body.map.k: Input should be a valid string");
        assert_eq!(message(fields.required::<String>("none")), "body.none: Field required");
        assert_eq!(message(fields.one_of("text", &["a", "b"])), "body.text: Input should be 'a' or 'b'");
    }

    #[test]
    fn null_means_absent() {
        let body = json!({"a": null});
        let fields = Fields::of_body(&body).unwrap();
        assert_eq!(fields.optional::<String>("a").unwrap(), None);
        assert!(fields.required::<String>("a").is_err());
    }

    #[test]
    fn integers_are_whole_and_fit() {
        for (value, expected) in [
            (json!(5), Some(5)),
            (json!(5.0), Some(5)),
            (json!(5.5), None),
            (json!(1e300), None),
            (json!(u64::MAX), None),
            (json!(true), None),
        ] {
            assert_eq!(i64::read(&value, &Location::body()).ok(), expected, "{value}");
        }
    }

    #[test]
    fn a_body_is_an_object() {
        for body in [json!(null), json!([]), json!("x"), json!(1)] {
            assert!(Fields::of_body(&body).is_err(), "{body}");
        }
        assert!(Fields::of_optional_body(&json!(null)).unwrap().is_none());
    }
}

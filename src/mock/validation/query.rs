//! Query parameters with a form of their own, and the 422 for those that have another.

use crate::{access::is_letta_id, error::ApiError, request::input::Query};

/// A parameter that is an id of the form `<prefix>-<uuid4>`.
pub(in crate::mock) fn id<'q>(query: &'q Query, name: &'static str, prefix: &str) -> Result<Option<&'q str>, ApiError> {
    let Some(text) = query.first(name) else { return Ok(None) };
    if is_letta_id(text, prefix) {
        return Ok(Some(text));
    }
    let problem = format!("String should match pattern '{prefix}-{{uuid4}}'");
    Err(ApiError::validation("string_pattern_mismatch", &["query", name], &problem, &text.into()))
}

/// A parameter of 1 to `most` characters.
pub(in crate::mock) fn text<'q>(
    query: &'q Query,
    name: &'static str,
    most: usize,
) -> Result<Option<&'q str>, ApiError> {
    let Some(text) = query.first(name) else { return Ok(None) };
    let problem = match text.chars().count() {
        0 => ("string_too_short", "String should have at least 1 character".to_owned()),
        length if length > most => ("string_too_long", format!("String should have at most {most} characters")),
        _ => return Ok(Some(text)),
    };
    Err(ApiError::validation(problem.0, &["query", name], &problem.1, &text.into()))
}

/// A parameter of 1 to `most` letters, digits, `_`, `-` and, as the third sign, `third`.
pub(in crate::mock) fn word<'q>(
    query: &'q Query,
    name: &'static str,
    most: usize,
    third: char,
) -> Result<Option<&'q str>, ApiError> {
    let Some(text) = text(query, name, most)? else { return Ok(None) };
    if text.chars().all(|sign| sign.is_ascii_alphanumeric() || "_-".contains(sign) || sign == third) {
        return Ok(Some(text));
    }
    let problem = format!("String should match pattern '^[a-zA-Z0-9{third}_-]+$'");
    Err(ApiError::validation("string_pattern_mismatch", &["query", name], &problem, &text.into()))
}

/// Every integer of a repeated parameter.
pub(in crate::mock) fn integers(query: &Query, name: &'static str) -> Result<Vec<i64>, ApiError> {
    let read = |text: &str| {
        text.parse().map_err(|_| {
            let problem = "Input should be a valid integer, unable to parse string as an integer";
            ApiError::validation("int_parsing", &["query", name], problem, &text.into())
        })
    };
    query.all(name).map(read).collect()
}

/// Every item of a parameter that is repeated, or holds several with commas between them.
pub(in crate::mock) fn items<'q>(query: &'q Query, name: &'q str) -> Vec<&'q str> {
    query.all(name).flat_map(|text| text.split(',')).map(str::trim).filter(|item| !item.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_have_their_form() {
        let query = |text: &str| Query::parse(Some(text));
        for (text, expected) in [
            ("q=a/b_c-1", Ok(Some("a/b_c-1".to_owned()))),
            ("", Ok(None)),
            ("q=", Err("query.q: String should have at least 1 character".to_owned())),
            ("q=123456789", Err("query.q: String should have at most 8 characters".to_owned())),
            ("q=a b", Err("query.q: String should match pattern '^[a-zA-Z0-9/_-]+$'".to_owned())),
        ] {
            let query = query(text);
            let read = word(&query, "q", 8, '/').map(|word| word.map(str::to_owned));
            assert_eq!(read.map_err(|error| error.message().to_owned()), expected, "{text}");
        }
        assert_eq!(items(&query("q=a,b&q=+c,,"), "q"), ["a", "b", "c"]);
        assert_eq!(integers(&query("q=1&q=-2"), "q").unwrap(), [1, -2]);
        assert!(integers(&query("q=1&q=x"), "q").is_err());
        assert!(id(&query("q=block-1"), "q", "block").is_err());
    }
}

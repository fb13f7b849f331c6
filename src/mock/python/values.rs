//! Values: formatting, arithmetic and size limits.

use serde_json::{Number, Value};

use super::{children, literals::is_constant, parse};
use crate::error::python_repr;

/// The most bytes of all values of a call, so that no source can grow them without bound.
pub(super) const MOST: usize = 1_000_000;
/// The overhead of a value.
const VALUE: usize = 100;
/// The greatest nesting of values.
const MOST_NESTED: usize = 16;

/// Beyond 2^53, integers cannot be converted to floats exactly.
const EXACT: u64 = 1 << 53;

/// A value as Python's `str` formats it.
pub(super) fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| python_repr(value), str::to_owned)
}

pub(super) fn calculate(operator: &str, left: &Value, right: &Value) -> Option<Value> {
    if let (Some(left), Some(right)) = (left.as_str(), right.as_str()) {
        return (operator == "+").then(|| Value::String(format!("{left}{right}")));
    }
    if let (Some(text), Some(times), "*") = (left.as_str(), right.as_u64(), operator) {
        let times = usize::try_from(times).ok()?;
        return text.len().checked_mul(times).filter(|length| *length <= MOST).map(|_| text.repeat(times).into());
    }
    let is_whole = |value: &Value| value.is_i64() || value.is_u64();
    if is_whole(left) && is_whole(right) && operator != "/" {
        let (left, right) = (left.as_i64()?, right.as_i64()?);
        return match operator {
            "+" => left.checked_add(right),
            "-" => left.checked_sub(right),
            "*" => left.checked_mul(right),
            // Python rounds down.
            "//" => left.checked_rem(right).and_then(|rest| {
                left.checked_div(right).map(|whole| whole - i64::from(rest != 0 && (rest < 0) != (right < 0)))
            }),
            "%" => left
                .checked_rem(right)
                .map(|rest| if rest != 0 && (rest < 0) != (right < 0) { rest + right } else { rest }),
            _ => None,
        }
        .map(Value::from);
    }
    let is_exact = |value: &Value| value.is_f64() || value.as_i64().is_some_and(|whole| whole.unsigned_abs() <= EXACT);
    if !is_exact(left) || !is_exact(right) {
        return None;
    }
    let (left, right) = (left.as_f64()?, right.as_f64()?);
    let result = match operator {
        "+" => left + right,
        "-" => left - right,
        "*" => left * right,
        "/" => left / right,
        _ => return None,
    };
    Number::from_f64(result).map(Value::Number)
}

/// The size of a value; `None` if it is nested too deeply.
pub(super) fn weigh(value: &Value, depth: usize) -> Option<usize> {
    if depth > MOST_NESTED {
        return None;
    }
    match value {
        Value::String(text) => Some(text.len() + VALUE),
        Value::Array(items) => items.iter().try_fold(VALUE, |sum, item| Some(sum + weigh(item, depth + 1)?)),
        Value::Object(map) => {
            map.iter().try_fold(VALUE, |sum, (key, value)| Some(sum + VALUE + key.len() + weigh(value, depth + 1)?))
        }
        _ => Some(VALUE),
    }
}

/// Whether the annotation converts an argument to another value before the call.
pub(super) fn is_coerced(annotation: &str, value: &Value) -> bool {
    let kind = annotation.split('[').next().unwrap_or_default();
    match (kind, value) {
        ("str", Value::String(text)) => is_literal(text),
        ("int", Value::Number(number)) => number.is_f64(),
        ("float", Value::Number(number)) => !number.is_f64(),
        ("bool", Value::Bool(_)) | ("list" | "List", Value::Array(_)) | ("dict" | "Dict", Value::Object(_)) => false,
        _ => ["str", "int", "float", "bool", "bytes", "list", "List", "dict", "Dict", "tuple", "Tuple", "set", "Set"]
            .contains(&kind),
    }
}

/// Whether a text is a literal of JSON or Python whose value is formatted differently.
fn is_literal(said: &str) -> bool {
    if let Ok(value) = serde_json::from_str::<Value>(said) {
        return shown(&value) != said;
    }
    let is_quick = |first: char| first.is_ascii_digit() || "\"'([{-+.NTFIbBrRuU".contains(first);
    if !said.trim_start().starts_with(is_quick) {
        return false;
    }
    if matches!(said.trim(), "NaN" | "Infinity" | "-Infinity") {
        return true;
    }
    let Some(tree) = parse(said) else { return true };
    let statements = children(tree.root_node());
    let [statement] = statements.as_slice() else { return false };
    !tree.root_node().has_error() && children(*statement).iter().all(|value| is_constant(*value, said, 0))
}

//! Reading what a call brings: faults, or a preset.

use serde_json::Value;

use super::{definition::Definition, presets, rules::read_definition};
use crate::{
    error::{ApiError, Code},
    request::closed::Mistake,
};

/// Reads the body of a call: one fault, `{"faults": [...]}`, or `{"preset": ...}`.
///
/// # Errors
/// 422 `fault_invalid` with the place.
pub(crate) fn read(body: Value) -> Result<Vec<Definition>, ApiError> {
    match body {
        Value::Object(mut object) if object.contains_key("faults") => {
            let faults = object.remove("faults");
            if let Some((name, _)) = object.iter().next() {
                return Err(invalid(&format!("/{name}"), "is not known beside faults"));
            }
            match faults {
                Some(Value::Array(faults)) => read_list(faults, "/faults"),
                _ => Err(invalid("/faults", "must be a list of faults")),
            }
        }
        one => read_one(one, ""),
    }
}

/// Reads a list of faults that is at `pointer`.
///
/// # Errors
/// As for [`read`].
pub(super) fn read_list(faults: Vec<Value>, pointer: &str) -> Result<Vec<Definition>, ApiError> {
    let read = |(index, fault)| read_one(fault, &format!("{pointer}/{index}"));
    faults.into_iter().enumerate().map(read).collect::<Result<Vec<_>, _>>().map(|all| all.concat())
}

fn read_one(fault: Value, pointer: &str) -> Result<Vec<Definition>, ApiError> {
    let at = |Mistake { at, problem }: Mistake| invalid(&format!("{pointer}{at}"), &problem);
    match fault {
        Value::Object(preset) if preset.contains_key("preset") => presets::read(preset).map_err(at),
        Value::Object(object) => read_definition(object).map(|definition| vec![definition]).map_err(at),
        _ => Err(invalid(pointer, "must be a fault, an object in braces")),
    }
}

/// The 422 for a mistake.
pub(super) fn invalid(pointer: &str, problem: &str) -> ApiError {
    let place = if pointer.is_empty() { "/" } else { pointer };
    ApiError::new(Code::FaultInvalid, format!("{place}: {problem}.")).at(pointer)
}

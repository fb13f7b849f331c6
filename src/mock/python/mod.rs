//! Python sources of tools, understood as far as a mock needs to: which function a source defines, how it is called, and
//! what it comes to if that can be read off it. Nothing of it is ever executed.

mod docstring;
#[cfg(feature = "fuzzing")]
pub mod probe;
mod run;
mod types;

use serde_json::{Map, Value, json};
use thiserror::Error;
use tree_sitter::{Node, Parser, Tree};

pub(in crate::mock) use self::run::{Outcome, run};
use super::budget::aside;

/// How deep expressions may be nested that are looked into.
const DEPTH: usize = 32;

/// The function that a source defines.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::mock) struct Signature {
    pub(in crate::mock) name: String,
    /// What its docstring says that it does; empty without one.
    pub(in crate::mock) description: String,
    /// The JSON schema of its arguments.
    pub(in crate::mock) parameters: Map<String, Value>,
}

/// What an argument takes in it beside its texts.
const PROPERTY: usize = 400;
/// How large the schema of the arguments may become, in bytes.
const MOST_SCHEMA: usize = 1_000_000;

/// Why a source has no signature.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub(in crate::mock) enum NoSignature {
    #[error("it defines no function")]
    NoFunction,
    #[error("the schema of its arguments would be larger than {MOST_SCHEMA} bytes")]
    TooLarge,
}

/// The signature of the last function at the top level.
///
/// # Errors
/// When there is none, or none of a size that could be used.
pub(in crate::mock) fn signature(source: &str) -> Result<Signature, NoSignature> {
    aside(source.len(), || read_signature(source))
}

fn read_signature(source: &str) -> Result<Signature, NoSignature> {
    let tree = parse(source).ok_or(NoSignature::NoFunction)?;
    let function = last_function(&tree, source, None).ok_or(NoSignature::NoFunction)?;
    let docstring = docstring::Docstring::of(&docstring_of(function, source).unwrap_or_default());
    let (mut properties, mut required) = (Map::new(), Vec::new());
    let mut left = MOST_SCHEMA;
    for parameter in parameters(function, source) {
        // These two are the server's to fill.
        if ["self", "agent_state"].contains(&parameter.name) {
            continue;
        }
        let annotation = types::Annotation::read(parameter.annotation.unwrap_or("str"), &mut left);
        if !parameter.has_default && !annotation.is_optional {
            required.push(parameter.name);
        }
        let mut schema = annotation.schema;
        let description = docstring.argument(parameter.name);
        left = left.saturating_sub(PROPERTY + parameter.name.len() + description.len());
        if left == 0 {
            return Err(NoSignature::TooLarge);
        }
        schema.insert("description".into(), description.into());
        properties.insert(parameter.name.to_owned(), Value::Object(schema));
    }
    let schema = json!({"type": "object", "properties": properties, "required": required});
    let Value::Object(schema) = schema else { return Err(NoSignature::NoFunction) };
    let name = function.child_by_field_name("name").ok_or(NoSignature::NoFunction)?;
    Ok(Signature { name: text(name, source).to_owned(), description: docstring.description, parameters: schema })
}

fn parse(source: &str) -> Option<Tree> {
    let mut parser = Parser::new();
    parser.set_language(&tree_sitter_python::LANGUAGE.into()).ok()?;
    parser.parse(source, None)
}

/// The last function at the top level, or the last of this name.
fn last_function<'t>(tree: &'t Tree, source: &str, name: Option<&str>) -> Option<Node<'t>> {
    let root = tree.root_node();
    let mut cursor = root.walk();
    let functions = root.named_children(&mut cursor).filter_map(|node| match node.kind() {
        "function_definition" => Some(node),
        "decorated_definition" => node.child_by_field_name("definition"),
        _ => None,
    });
    let named = |function: &Node<'_>| {
        let present = function.child_by_field_name("name").map(|node| text(node, source));
        function.kind() == "function_definition" && name.is_none_or(|name| present == Some(name))
    };
    functions.filter(named).last()
}

fn text<'s>(node: Node<'_>, source: &'s str) -> &'s str {
    source.get(node.byte_range()).unwrap_or_default()
}

struct Parameter<'t, 's> {
    name: &'s str,
    annotation: Option<&'s str>,
    default: Option<Node<'t>>,
    has_default: bool,
}

/// The parameters of a function that can be given by name.
fn parameters<'t, 's>(function: Node<'t>, source: &'s str) -> Vec<Parameter<'t, 's>> {
    let Some(list) = function.child_by_field_name("parameters") else { return Vec::new() };
    let mut cursor = list.walk();
    let read = |node: Node<'t>| {
        let name = match node.kind() {
            "identifier" => node,
            "typed_parameter" => node.named_child(0)?,
            "default_parameter" | "typed_default_parameter" => node.child_by_field_name("name")?,
            _ => return None,
        };
        let default = node.child_by_field_name("value");
        let annotation = node.child_by_field_name("type").map(|annotation| text(annotation, source));
        let is_plain = name.kind() == "identifier";
        is_plain.then(|| Parameter { name: text(name, source), annotation, default, has_default: default.is_some() })
    };
    list.named_children(&mut cursor).filter_map(read).collect()
}

/// The statements of a function, without its docstring.
fn statements<'t>(function: Node<'t>, source: &str) -> Vec<Node<'t>> {
    let Some(body) = function.child_by_field_name("body") else { return Vec::new() };
    let mut cursor = body.walk();
    let skipped = usize::from(docstring_of(function, source).is_some());
    body.named_children(&mut cursor).filter(|node| node.kind() != "comment").skip(skipped).collect()
}

fn docstring_of(function: Node<'_>, source: &str) -> Option<String> {
    let body = function.child_by_field_name("body")?;
    let mut cursor = body.walk();
    let first = body.named_children(&mut cursor).find(|node| node.kind() != "comment")?;
    let string =
        first.named_child(0).filter(|node| first.kind() == "expression_statement" && node.kind() == "string")?;
    literal(string, source)
}

/// What a string literal says; none: it is bytes, or says something only when it runs.
fn literal(string: Node<'_>, source: &str) -> Option<String> {
    let mut cursor = string.walk();
    let mut value = String::new();
    let mut is_raw = false;
    for part in string.named_children(&mut cursor) {
        let part_text = text(part, source);
        match part.kind() {
            "string_start" if part_text.contains(['b', 'B', 'f', 'F']) => return None,
            "string_start" => is_raw = part_text.contains(['r', 'R']),
            "string_content" if is_raw => value.push_str(part_text),
            "string_content" => value.push_str(&unescape(part_text)),
            "string_end" => {}
            _ => return None,
        }
    }
    Some(value)
}

/// Replaces the escape sequences of a string literal; one that means nothing stays, as in Python.
fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut signs = text.chars();
    while let Some(sign) = signs.next() {
        if sign != '\\' {
            plain.push(sign);
            continue;
        }
        let escape = signs.next();
        let digits = match escape {
            Some('x') => 2,
            Some('u') => 4,
            Some('U') => 8,
            _ => 0,
        };
        let code = signs.as_str().get(..digits).filter(|_| digits > 0);
        let code = code.and_then(|code| u32::from_str_radix(code, 16).ok()).and_then(char::from_u32);
        match (escape, code) {
            (_, Some(code)) => {
                plain.push(code);
                signs = signs.as_str().get(digits..).unwrap_or_default().chars();
            }
            (Some('\n'), _) => {}
            (Some('n'), _) => plain.push('\n'),
            (Some('t'), _) => plain.push('\t'),
            (Some('r'), _) => plain.push('\r'),
            (Some('0'), _) => plain.push('\0'),
            (Some(quoted @ ('\\' | '\'' | '"')), _) => plain.push(quoted),
            (Some(other), _) => plain.extend(['\\', other]),
            (None, _) => plain.push('\\'),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const DICE: &str = r#"
import random

def helper(x):
    return x

@decorated
async def roll_dice(num_sides: int, label: "str" = "a", *args, agent_state: "AgentState", **more) -> str:
    # A comment.
    """
    Rolls a die.

    Any number of sides\x21

    Args:
        num_sides (int): sides of
            the die
        label: what to call it

    Returns:
        str: the roll
    """
    return "7"

class NotOne:
    def method(self):
        pass

x = """
def neither():
    pass
"""
"#;

    #[test]
    fn a_signature_is_that_of_the_last_function_at_the_top() {
        let found = signature(DICE).unwrap();
        assert_eq!(found.name, "roll_dice");
        assert_eq!(found.description, "Rolls a die.\n\nAny number of sides!");
        assert_eq!(
            Value::Object(found.parameters),
            json!({
                "type": "object",
                "properties": {
                    "num_sides": {"type": "integer", "description": "sides of\nthe die"},
                    "label": {"type": "string", "description": "what to call it"},
                },
                "required": ["num_sides"],
            })
        );
    }

    #[test]
    fn sources_without_a_function_have_no_signature() {
        for source in ["", "x = 1", "class A:\n    def f(self): pass", "'''\ndef f(): pass\n'''", "def", "\u{0}"] {
            assert_eq!(signature(source), Err(NoSignature::NoFunction), "{source}");
        }
        assert_eq!(signature("def f(): pass").unwrap().description, "");
    }

    #[test]
    fn no_schema_grows_without_bound() {
        let many = (0..10_000).map(|number| format!("a{number}")).collect::<Vec<_>>().join(", ");
        let union = "a|".repeat(10_000);
        for parameters in [many.as_str(), &format!("a: {union}b"), &format!("a: Tuple[{}]", "a,".repeat(10_000))] {
            let source = format!("def f({parameters}):\n    pass");
            assert_eq!(signature(&source), Err(NoSignature::TooLarge), "{}", source.len());
        }
    }

    #[test]
    fn escapes_are_read_as_in_python() {
        for (text, expected) in [
            (r"a\n\t\\\'", "a\n\t\\'"),
            (r"\x41\u00e4\U0001F600", "Aä😀"),
            (r"\x4", r"\x4"),
            (r"\d\é", r"\d\é"),
            (r"\xé1", r"\xé1"),
            ("a\\\nb", "ab"),
            ("\\", "\\"),
        ] {
            assert_eq!(unescape(text), expected, "{text}");
        }
    }
}

//! A reader for the Python sources of tools, as far as a mock needs it: which function a source defines, its signature,
//! and the result of simple calls. Nothing is ever executed.

mod arguments;
mod call_result;
mod docstring;
mod literals;
mod models;
mod names;
mod outline;
#[cfg(feature = "fuzzing")]
pub mod probe;
mod run;
mod signature;
mod types;
mod values;

use std::borrow::Cow;

use tree_sitter::{Node, Parser, Tree};

pub(in crate::mock) use self::{
    arguments::arguments,
    call_result::CallResult,
    run::run,
    signature::{Signature, name_and_docstring, signature},
};

/// The greatest depth of expressions that are read.
const DEPTH: usize = 32;

/// Converts all line ends to line feeds, as Python does.
fn lines_ended_once(source: &str) -> Cow<'_, str> {
    if source.contains('\r') { source.replace("\r\n", "\n").replace('\r', "\n").into() } else { source.into() }
}

fn parse(source: &str) -> Option<Tree> {
    let mut parser = Parser::new();
    parser.set_language(&tree_sitter_python::LANGUAGE.into()).ok()?;
    parser.parse(source, None)
}

fn text<'s>(node: Node<'_>, source: &'s str) -> &'s str {
    source.get(node.byte_range()).unwrap_or_default()
}

fn children(node: Node<'_>) -> Vec<Node<'_>> {
    let mut cursor = node.walk();
    node.named_children(&mut cursor).filter(|child| child.kind() != "comment").collect()
}

struct Parameter<'t, 's> {
    name: &'s str,
    annotation: Option<Node<'t>>,
    default: Option<Node<'t>>,
    /// Whether it can be passed both by position and by name. Letta ignores all others.
    is_regular: bool,
}

/// The parameters of a function, without `*args` and `**kwargs`.
fn parameters<'t, 's>(function: Node<'t>, source: &'s str) -> Vec<Parameter<'t, 's>> {
    let mut parameters: Vec<Parameter<'t, 's>> = Vec::new();
    let mut is_regular = true;
    for node in function.child_by_field_name("parameters").map(children).unwrap_or_default() {
        let name = match node.kind() {
            "identifier" => Some(node),
            "typed_parameter" => node.named_child(0),
            "default_parameter" | "typed_default_parameter" => node.child_by_field_name("name"),
            "positional_separator" => {
                for parameter in &mut parameters {
                    parameter.is_regular = false;
                }
                None
            }
            _ => {
                is_regular &= !matches!(node.kind(), "keyword_separator" | "list_splat_pattern");
                None
            }
        };
        let Some(name) = name else { continue };
        if name.kind() != "identifier" {
            is_regular &= name.kind() != "list_splat_pattern";
            continue;
        }
        let (annotation, default) = (node.child_by_field_name("type"), node.child_by_field_name("value"));
        parameters.push(Parameter { name: text(name, source), annotation, default, is_regular });
    }
    parameters
}

/// The docstring of a function.
fn docstring_of(function: Node<'_>) -> Option<Node<'_>> {
    let first = children(function.child_by_field_name("body")?).into_iter().next()?;
    let is_expression = first.kind() == "expression_statement" && first.named_child_count() == 1;
    let value = first.named_child(0).filter(|_| is_expression)?;
    matches!(value.kind(), "string" | "concatenated_string").then_some(value)
}

//! The signature of a tool: what Letta derives from its source, and what it refuses.

use serde_json::{Map, Value, json};
use thiserror::Error;
use tree_sitter::{Node, Tree};

use super::{
    docstring::{self, Docstring},
    docstring_of, lines_ended_once,
    literals::{is_constant, joined_literal},
    models::{SCHEMA, Unfit},
    outline::Outline,
    parameters, parse, text,
    types::{Annotation, Scope},
};
use crate::mock::budget::offload;

/// The function that a source defines.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::mock) struct Signature {
    pub(in crate::mock) name: String,
    /// The description in its docstring.
    pub(in crate::mock) description: String,
    /// The JSON schema of its arguments.
    pub(in crate::mock) parameters: Map<String, Value>,
}

/// The most bytes of a schema of arguments.
pub(super) const MOST_SCHEMA: usize = 1_000_000;

/// Why a source has no signature.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub(in crate::mock) enum NoSignature {
    #[error("it is not valid Python")]
    Invalid,
    #[error("it defines no function (an `async def` does not count)")]
    NoFunction,
    #[error("the function {0} has no docstring")]
    NoDocstring(String),
    #[error("its docstring has an invalid escape, or one (\\N{{...}}) that the mock does not support")]
    Docstring,
    #[error("the argument {0} has no type annotation")]
    NoAnnotation(String),
    #[error("the docstring does not describe the argument {0}; add it under `Args:`")]
    NoDescription(String),
    #[error(
        "no schema can be derived from the type of the argument {0}; supported are str, int, float, bool, list, dict, \
         List[...], Optional[...], Literal[...], and classes of the source that derive from pydantic's BaseModel, each \
         member being a Field(..., description=\"...\") of such a type"
    )]
    Type(String),
    #[error("the argument {0} has no constant default, but an argument before it has one")]
    Default(String),
    #[error("the schema of its arguments would be larger than {MOST_SCHEMA} bytes")]
    TooLarge,
}

/// The signature of the function that Letta uses as the tool: the last of the most deeply nested ones.
///
/// # Errors
/// If there is none, if Letta would refuse it, or if its schema is too large.
pub(in crate::mock) fn signature(source: &str) -> Result<Signature, NoSignature> {
    offload(source.len(), || read(&lines_ended_once(source)))
}

/// The name of that function, and its docstring if it has one.
///
/// # Errors
/// If there is no such function.
pub(in crate::mock) fn name_and_docstring(source: &str) -> Result<(String, Option<String>), NoSignature> {
    offload(source.len(), || {
        let source = lines_ended_once(source);
        let tree = parse(&source).ok_or(NoSignature::Invalid)?;
        let (function, name) = defined(&tree, &Outline::of(&tree, &source), &source)?;
        let docstring = docstring_of(function).filter(|node| is_constant(*node, &source, 0));
        let docstring =
            docstring.map(|node| joined_literal(node, &source).ok_or(NoSignature::Docstring)).transpose()?;
        Ok((name, docstring.map(|docstring| docstring::clean(&docstring))))
    })
}

fn defined<'t>(tree: &Tree, outline: &Outline<'t>, source: &str) -> Result<(Node<'t>, String), NoSignature> {
    if tree.root_node().has_error() {
        return Err(NoSignature::Invalid);
    }
    let function = outline.function.ok_or(NoSignature::NoFunction)?;
    let name = function.child_by_field_name("name").ok_or(NoSignature::NoFunction)?;
    Ok((function, text(name, source).to_owned()))
}

fn read(source: &str) -> Result<Signature, NoSignature> {
    let tree = parse(source).ok_or(NoSignature::Invalid)?;
    let outline = Outline::of(&tree, source);
    let (function, name) = defined(&tree, &outline, source)?;
    let docstring = docstring_of(function).filter(|node| is_constant(*node, source, 0));
    let docstring = docstring.map(|node| joined_literal(node, source).ok_or(NoSignature::Docstring)).transpose()?;
    let docstring = docstring.filter(|text| !text.is_empty()).ok_or_else(|| NoSignature::NoDocstring(quoted(&name)))?;
    let docstring = Docstring::of(&docstring);
    let scope = Scope::of(&outline, source);
    let (mut properties, mut required) = (Map::new(), Vec::new());
    let (mut left, mut follows_default) = (MOST_SCHEMA, false);
    for parameter in parameters(function, source).into_iter().filter(|parameter| parameter.is_regular) {
        let shown = || quoted(parameter.name);
        let has_default = parameter.default.is_some_and(|default| is_constant(default, source, 0));
        if follows_default && !has_default {
            return Err(NoSignature::Default(shown()));
        }
        follows_default |= has_default;
        // The server provides these two.
        if ["self", "agent_state"].contains(&parameter.name) {
            continue;
        }
        let annotation = parameter.annotation.ok_or_else(|| NoSignature::NoAnnotation(shown()))?;
        let description = docstring.argument(parameter.name);
        if description.is_empty() {
            return Err(NoSignature::NoDescription(shown()));
        }
        let taken = SCHEMA + parameter.name.len() + description.len();
        left = left.checked_sub(taken).ok_or(NoSignature::TooLarge)?;
        let annotation = scope.argument(annotation, &mut left).map_err(|unfit| match unfit {
            Unfit::Unsupported => NoSignature::Type(shown()),
            Unfit::TooLarge => NoSignature::TooLarge,
        })?;
        let Annotation { mut schema, is_optional } = annotation;
        if !has_default && !is_optional {
            required.push(parameter.name);
        }
        schema.insert("description".into(), description.into());
        properties.insert(parameter.name.to_owned(), Value::Object(schema));
    }
    let schema = json!({"type": "object", "properties": properties, "required": required});
    let Value::Object(schema) = schema else { return Err(NoSignature::TooLarge) };
    Ok(Signature { name, description: docstring.description, parameters: schema })
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.chars().take(100).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: &str = r#"
import random
from pydantic import BaseModel, Field

class Part(BaseModel):
    name: str = Field(..., description="What it " "is called.")
    count: int | None = Field(None, description='How many.')

class Job(BaseModel):
    """A job."""
    title: str = Field(description="Its title.")
    first: Part = Field(..., description="The first part.")
    parts: List[Part] = Field(..., description="All parts.")
    tags: Optional[List[str]] = Field(default=None, description="Its tags.")

def helper(x):
    return x

@decorated
def plan(
    self, job: Job, jobs: List[Job], label: Literal["a", 'b'], depth: Optional[int],
    more: Optional[list[dict]] = None, *args, only: "anything" = 1, agent_state: "AgentState", **rest
) -> str:
    # A comment.
    """
    Plans a job.

    Any number of times\x21

    Args:
        job (Job): the
            job
        jobs: the jobs
        label (str, optional): what to call it
        depth: how deep
        more: more of it

    Note:
        label: nothing

    Returns:
        str: the plan
    """
    return "7"

async def not_one(a: int):
    """A coroutine."""

x = """
def neither():
    pass
"""
"#;

    #[test]
    fn a_signature_has_the_types_and_descriptions_of_all_arguments() {
        let found = signature(PLAN).unwrap();
        assert_eq!(found.name, "plan");
        assert_eq!(found.description, "Plans a job.\n\nAny number of times!");
        let part = json!({
            "type": "object",
            "properties": {
                "name": {"type": "string", "description": "What it is called."},
                "count": {"type": "integer", "description": "How many."},
            },
            "required": ["name"],
        });
        let mut first = part.clone();
        first["description"] = json!("The first part.");
        let job = json!({
            "type": "object",
            "properties": {
                "title": {"type": "string", "description": "Its title."},
                "first": first,
                "parts": {"type": "array", "items": part, "description": "All parts."},
                "tags": {"type": "array", "description": "Its tags."},
            },
            "required": ["title", "first", "parts", "tags"],
        });
        let mut described = job.clone();
        described["description"] = json!("the\njob");
        assert_eq!(
            Value::Object(found.parameters),
            json!({
                "type": "object",
                "properties": {
                    "job": described,
                    "jobs": {"type": "array", "items": job, "description": "the jobs"},
                    "label": {"type": "string", "enum": ["('a', 'b')"], "description": "what to call it"},
                    "depth": {"type": "integer", "description": "how deep"},
                    "more": {"type": "array", "items": {"type": "object"}, "description": "more of it"},
                },
                "required": ["job", "jobs", "label"],
            })
        );
    }

    /// The schema of one argument of a type, in a source that begins with `before`.
    fn of_type(before: &str, annotation: &str) -> Result<Value, NoSignature> {
        let source = format!("{before}\ndef f(x: {annotation}):\n    '''F.\n\n    Args:\n        x: it\n    '''\n");
        signature(&source).map(|found| found.parameters["properties"]["x"].clone())
    }

    #[test]
    fn annotations_become_schemas_or_are_refused() {
        let list = |items: Value| json!({"type": "array", "items": items, "description": "it"});
        for (annotation, schema) in [
            ("str", Some(json!({"type": "string", "description": "it"}))),
            ("dict", Some(json!({"type": "object", "description": "it"}))),
            ("Optional[Optional[bool]]", Some(json!({"type": "boolean", "description": "it"}))),
            ("list", Some(list(json!({"type": "string"})))),
            ("List[List[float]]", Some(list(json!({"type": "array", "items": {"type": "number"}})))),
            ("Literal['a']", Some(json!({"type": "string", "enum": ["'a'"], "description": "it"}))),
            ("Literal[1, None]", Some(json!({"type": "string", "enum": ["(1, None)"], "description": "it"}))),
            ("List", None),
            ("Dict[str, int]", None),
            ("str | None", None),
            ("'str'", None),
            ("Any", None),
            ("Union[int, str]", None),
            ("Tuple[int, int]", None),
            ("typing.List[str]", None),
            ("None", None),
            ("Unknown", None),
        ] {
            let expected = schema.ok_or(NoSignature::Type("'x'".to_owned()));
            assert_eq!(of_type("", annotation), expected, "{annotation}");
        }
    }

    #[test]
    fn members_of_classes_need_a_type_and_a_description() {
        for (member, is_good) in [
            ("a: int = Field(1, description='d')", true),
            ("a: Optional['str'] = Field(..., description='d')", true),
            ("a: int", false),
            ("a: int = Field(...)", false),
            ("a: List[str] = Field(..., description='d')", false),
            ("a: A = Field(..., description='d')", false),
            ("a: B = Field(..., description='d')", false),
            ("a: Any = Field(..., description='d')", false),
        ] {
            let import = "from pydantic import BaseModel, Field\n";
            let classes = format!("class A(BaseModel):\n    {member}\nclass B(BaseModel): pass\n");
            assert_eq!(of_type(&format!("{import}{classes}"), "Optional[A]").is_ok(), is_good, "{member}");
            assert_eq!(of_type(&classes, "A"), Err(NoSignature::Type("'x'".to_owned())), "{member}");
        }
    }

    #[test]
    fn what_letta_refuses_has_no_signature() {
        let documented = "'''F.\n\n    Args:\n        x: it\n        y: it\n    '''";
        for (source, why) in [
            ("", NoSignature::NoFunction),
            ("x = 1", NoSignature::NoFunction),
            ("async def f():\n    '''F.'''", NoSignature::NoFunction),
            ("'''\ndef f(): pass\n'''", NoSignature::NoFunction),
            ("def", NoSignature::Invalid),
            ("def f(x: int:\n    '''F.'''", NoSignature::Invalid),
            ("def f(): pass", NoSignature::NoDocstring("'f'".to_owned())),
            ("def f():\n    ''", NoSignature::NoDocstring("'f'".to_owned())),
            ("def f():\n    f'F.'", NoSignature::NoDocstring("'f'".to_owned())),
            ("class A:\n    def g(self): pass\ndef f():\n    '''F.'''", NoSignature::NoDocstring("'g'".to_owned())),
            ("def f():\n    '\\N{BULLET}'", NoSignature::Docstring),
            (&format!("def f(x):\n    {documented}"), NoSignature::NoAnnotation("'x'".to_owned())),
            (&format!("def f(z: int):\n    {documented}"), NoSignature::NoDescription("'z'".to_owned())),
            (&format!("def f(x: int = 1, y: int = z):\n    {documented}"), NoSignature::Default("'y'".to_owned())),
        ] {
            assert_eq!(signature(source), Err(why), "{source}");
        }
        // A default that is not a constant is ignored, and so are arguments that cannot be passed by position.
        let computed = signature(&format!("def f(x: int = z, *, y):\r\n    {documented}")).unwrap();
        assert_eq!(computed.parameters["required"], json!(["x"]));
    }

    #[test]
    fn the_function_that_is_nested_deepest_is_the_tool() {
        let function = |name: &str, indent: &str| format!("{indent}def {name}():\n{indent}    '''{name}.'''\n");
        let [top, inner, other] = [function("a", ""), function("b", "    "), function("c", "    ")];
        for source in [
            format!("{top}{}", function("b", "")),
            format!("{top}{inner}{}", function("c", "")),
            format!("if x:\n    pass\nelif y:\n{other}else:\n    if z:\n{}", function("b", "        ")),
            format!("try:\n{other}except E:\n{inner}finally:\n{other}"),
        ] {
            assert_eq!(signature(&source).map(|found| found.name).as_deref(), Ok("b"), "{source}");
        }
    }

    #[test]
    fn no_schema_grows_without_bound() {
        let many = (0..10_000).map(|number| format!("a{number}: int")).collect::<Vec<_>>().join(", ");
        let arguments = many.replace(", ", "\n        ");
        let source = format!("def f({many}):\n    '''F.\n\n    Args:\n        {arguments}\n    '''");
        assert_eq!(signature(&source), Err(NoSignature::TooLarge));
        // Each class doubles the one before it.
        let mut classes = "from pydantic import BaseModel, Field\nclass C0(BaseModel): pass\n".to_owned();
        for number in 0..60 {
            let member = |name: &str| format!("    {name}: C{number} = Field(..., description='d')\n");
            classes.extend([format!("class C{}(BaseModel):\n", number + 1), member("a"), member("b")]);
        }
        assert_eq!(of_type(&classes, "C60"), Err(NoSignature::TooLarge));
        let deep = format!("{}int{}", "List[".repeat(20_000), "]".repeat(20_000));
        assert_eq!(of_type("", &deep), Err(NoSignature::Type("'x'".to_owned())));
    }
}

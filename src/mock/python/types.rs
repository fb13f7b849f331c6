//! Type annotations as JSON schemas, as in Letta: it supports few types and refuses all others.

use std::collections::HashMap;

use serde_json::{Map, Value};
use tree_sitter::Node;

use super::{
    DEPTH, children,
    literals::{is_constant, joined_literal, literal},
    models::{Member, Models, Type, Unfit},
    outline::Outline,
    text,
};
use crate::error::python_repr;

/// A parsed annotation.
#[derive(Clone, Debug)]
pub(super) struct Annotation {
    pub(super) schema: Map<String, Value>,
    /// Whether it accepts `None`.
    pub(super) is_optional: bool,
}

/// The names that annotations can use.
pub(super) struct Scope<'s> {
    source: &'s str,
    /// The classes that derive from `BaseModel`, in the order in which they can refer to each other.
    models: Models,
    numbers: HashMap<&'s str, usize>,
}

impl<'s> Scope<'s> {
    pub(super) fn of(outline: &Outline<'_>, source: &'s str) -> Self {
        let mut scope = Self { source, models: Models::default(), numbers: HashMap::new() };
        if !outline.has_base_model {
            return scope;
        }
        let is_model = |class: &&Node<'_>| {
            let bases = class.child_by_field_name("superclasses").map(children).unwrap_or_default();
            bases.iter().any(|base| base.kind() == "identifier" && text(*base, source) == "BaseModel")
        };
        let classes: Vec<Node<'_>> = outline.classes.iter().filter(is_model).copied().collect();
        for (number, class) in classes.iter().enumerate() {
            if let Some(name) = class.child_by_field_name("name") {
                scope.numbers.insert(text(name, source), number);
            }
        }
        for (number, class) in classes.into_iter().enumerate() {
            let members = scope.members(class, number, outline.has_field);
            scope.models.0.push(members);
        }
        scope
    }

    /// The members of a class. Only `Field(...)` with a constant as its first positional argument sets a default.
    fn members(&self, class: Node<'_>, number: usize, has_field: bool) -> Vec<Member> {
        let (mut members, mut places) = (Vec::<Member>::new(), HashMap::new());
        for statement in class.child_by_field_name("body").map(children).unwrap_or_default() {
            let Some(assignment) = statement.named_child(0).filter(|first| first.kind() == "assignment") else {
                continue;
            };
            let name = assignment.child_by_field_name("left").filter(|name| name.kind() == "identifier");
            let (Some(name), Some(annotation)) = (name, assignment.child_by_field_name("type")) else { continue };
            let name = text(name, self.source);
            // If Letta fails to build a class, it leaves it empty.
            let generic = text(annotation, self.source).split_once('[').map_or("", |(generic, _)| generic);
            if name.starts_with('_') || generic == "dict" || generic.contains('.') {
                return Vec::new();
            }
            let call = assignment.child_by_field_name("right").filter(|value| value.kind() == "call" && has_field);
            let (description, has_default) = call.map(|call| self.field(call)).unwrap_or_default();
            let kind = self.read(annotation, Some(number), 0);
            let member = Member { name: name.to_owned(), kind, description, has_default };
            let place = *places.entry(name).or_insert(members.len());
            match members.get_mut(place) {
                Some(present) => *present = member,
                None => members.push(member),
            }
        }
        members
    }

    /// The description that `Field(...)` gives, and whether it gives a default.
    fn field(&self, call: Node<'_>) -> (Option<String>, bool) {
        let function = call.child_by_field_name("function").map(|function| text(function, self.source));
        let arguments = call.child_by_field_name("arguments").filter(|_| function == Some("Field"));
        let arguments = arguments.map(children).unwrap_or_default();
        let is_keyword = |argument: &&Node<'_>| argument.kind() == "keyword_argument";
        let is_description = |argument: &&Node<'_>| {
            argument.child_by_field_name("name").is_some_and(|name| text(name, self.source) == "description")
        };
        let description = arguments.iter().filter(is_keyword).rfind(is_description);
        let description =
            description.and_then(|argument| joined_literal(argument.child_by_field_name("value")?, self.source));
        let first = arguments.iter().find(|argument| !is_keyword(argument));
        let has_default = first.is_some_and(|first| first.kind() != "ellipsis" && is_constant(*first, self.source, 0));
        (description, has_default)
    }

    /// Reads the annotation of an argument.
    ///
    /// The size of its schema in bytes is subtracted from `left`.
    pub(super) fn argument(&self, node: Node<'_>, left: &mut usize) -> Result<Annotation, Unfit> {
        let node = unwrapped(node);
        // Letta reads `list` as a list of strings, and fails at `List`.
        if text(node, self.source) == "List" && !self.numbers.contains_key("List") {
            return Err(Unfit::Unsupported);
        }
        let read = self.read(node, None, 0).ok_or(Unfit::Unsupported)?;
        Ok(Annotation { schema: self.models.schema(&read, left)?, is_optional: matches!(read, Type::Optional(_)) })
    }

    /// `within`: the number of the class whose member it is.
    fn read(&self, node: Node<'_>, within: Option<usize>, depth: usize) -> Option<Type> {
        if depth > DEPTH {
            return None;
        }
        let node = unwrapped(node);
        let (name, arguments) = match node.kind() {
            "identifier" => (text(node, self.source), None),
            "generic_type" => {
                let parts = children(node);
                let [name, arguments] = parts.as_slice() else { return None };
                (text(*name, self.source), Some(children(*arguments)))
            }
            "subscript" => {
                let name = node.child_by_field_name("value").filter(|name| name.kind() == "identifier")?;
                let mut cursor = node.walk();
                (text(name, self.source), Some(node.children_by_field_name("subscript", &mut cursor).collect()))
            }
            _ => return self.evaluated(node, within),
        };
        if let Some(number) = self.numbers.get(name) {
            // A member can refer only to earlier classes.
            let is_known = within.is_none_or(|within| *number < within) && arguments.is_none();
            return is_known.then_some(Type::Model(*number));
        }
        match (name, arguments.as_deref()) {
            ("str", None) => Some(Type::Plain("string")),
            ("int", None) => Some(Type::Plain("integer")),
            ("float", None) => Some(Type::Plain("number")),
            ("bool", None) => Some(Type::Plain("boolean")),
            ("bytes", None) if within.is_some() => Some(Type::Plain("string")),
            ("dict" | "Dict", None) => Some(Type::Plain("object")),
            ("list" | "List", None) => Some(Type::List(None)),
            ("list" | "List", Some([item])) => self.read(*item, within, depth + 1).map(Type::list_of),
            ("Optional", Some([inner])) => self.read(*inner, within, depth + 1).map(Type::or_none),
            ("Literal", Some(values)) => self.choice(values),
            _ => None,
        }
    }

    /// Types that only members of classes support, because Python evaluates them: quoted types, and unions with `None`.
    fn evaluated(&self, node: Node<'_>, within: Option<usize>) -> Option<Type> {
        within?;
        let builtin = |name: &str| match name {
            "str" | "bytes" => Some(Type::Plain("string")),
            "int" => Some(Type::Plain("integer")),
            "float" => Some(Type::Plain("number")),
            "bool" => Some(Type::Plain("boolean")),
            "dict" => Some(Type::Plain("object")),
            "list" => Some(Type::List(None)),
            _ => None,
        };
        match node.kind() {
            "none" => Some(Type::Plain("null")),
            "string" => builtin(literal(node, self.source)?.as_str()),
            "union_type" | "binary_operator" => {
                let (left, right) = text(node, self.source).split_once('|')?;
                let (("None", inner) | (inner, "None")) = (left.trim(), right.trim()) else { return None };
                let is_list = inner.strip_prefix("list[").and_then(|inner| inner.strip_suffix(']'));
                let inner =
                    is_list.map_or_else(|| builtin(inner), |item| builtin(item.trim()).map(|_| Type::List(None)))?;
                Some(inner.or_none())
            }
            _ => None,
        }
    }

    fn choice(&self, values: &[Node<'_>]) -> Option<Type> {
        let written = |node: &Node<'_>| {
            let node = unwrapped(*node);
            match node.kind() {
                "string" | "concatenated_string" => Some(python_repr(&joined_literal(node, self.source)?.into())),
                "integer" | "true" | "false" | "none" => Some(text(node, self.source).to_owned()),
                _ => None,
            }
        };
        match values {
            [only] if unwrapped(*only).kind() == "identifier" => {
                let name = text(unwrapped(*only), self.source);
                let is_type = ["str", "int", "float", "bool", "list", "dict", "List", "Dict", "Optional", "Literal"];
                (!is_type.contains(&name) && !self.numbers.contains_key(name)).then(|| Type::Choice(name.to_owned()))
            }
            [only] => written(only).map(Type::Choice),
            _ => {
                let values: Vec<String> = values.iter().map(written).collect::<Option<_>>()?;
                Some(Type::Choice(format!("({})", values.join(", "))))
            }
        }
    }
}

fn unwrapped(node: Node<'_>) -> Node<'_> {
    if node.kind() == "type" { node.named_child(0).unwrap_or(node) } else { node }
}

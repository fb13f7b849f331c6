//! The result of calling a Python function, as far as it follows from the source alone: straight-line code of
//! assignments, prints, returns and raises, with strings, numbers, names and a few operators. Anything else yields
//! `None`.

use std::collections::HashMap;

use serde_json::{Map, Number, Value};
use tree_sitter::Node;

use super::{
    DEPTH,
    call_result::CallResult,
    children, docstring_of, lines_ended_once,
    literals::{literal, unescape},
    names::Names,
    parameters, parse, text,
    values::{MOST, calculate, is_coerced, shown, weigh},
};
use crate::error::python_repr;

/// Python's exceptions whose text is their argument.
const EXCEPTIONS: &[&str] = &[
    "ArithmeticError",
    "AssertionError",
    "AttributeError",
    "BufferError",
    "ConnectionError",
    "EOFError",
    "Exception",
    "FileNotFoundError",
    "FloatingPointError",
    "ImportError",
    "IndexError",
    "KeyError",
    "LookupError",
    "MemoryError",
    "ModuleNotFoundError",
    "NameError",
    "NotImplementedError",
    "OSError",
    "OverflowError",
    "PermissionError",
    "RecursionError",
    "ReferenceError",
    "RuntimeError",
    "SystemError",
    "TimeoutError",
    "TypeError",
    "ValueError",
    "ZeroDivisionError",
];
/// The result of calling a function of a source; `None` if the code would have to be executed to know it.
pub(in crate::mock) fn run(
    source: &str,
    name: &str,
    arguments: &Map<String, Value>,
    environment: &Map<String, Value>,
) -> Option<CallResult> {
    let source = &*lines_ended_once(source);
    let tree = parse(source)?;
    if tree.root_node().has_error() {
        return None;
    }
    let function = function(tree.root_node(), source, name)?;
    let outer = Names::of(tree.root_node(), source)?;
    let body = function.child_by_field_name("body")?;
    let mut reader = Reader {
        source,
        environment,
        outer: outer.with(Names::of(body, source)?),
        names: HashMap::new(),
        weight: 0,
        outcome: CallResult::of(Value::Null),
    };
    let parameters = parameters(function, source);
    let missing: Vec<&str> = parameters
        .iter()
        .filter(|parameter| parameter.default.is_none() && !arguments.contains_key(parameter.name))
        .map(|parameter| parameter.name)
        .collect();
    match missing.as_slice() {
        [] => {}
        [only] if parameters.iter().all(|parameter| parameter.is_regular) => {
            let problem = format!("TypeError: {name}() missing 1 required positional argument: '{only}'");
            return Some(reader.raised(problem));
        }
        _ => return None,
    }
    for parameter in parameters {
        let value = match (arguments.get(parameter.name), parameter.default) {
            (Some(value), _) => {
                if parameter.annotation.is_some_and(|annotation| is_coerced(text(annotation, source), value)) {
                    return None;
                }
                reader.weight += weigh(value, 0)?;
                if reader.weight > MOST {
                    return None;
                }
                value.clone()
            }
            (None, default) => reader.value(default?, 0)?,
        };
        reader.names.insert(parameter.name, value);
    }
    let skipped = usize::from(docstring_of(function).is_some());
    for statement in children(body).into_iter().skip(skipped) {
        match reader.follow(statement) {
            Some(Flow::GoesOn) => {}
            Some(Flow::Ends) => break,
            // An expression in the statement raised.
            None if reader.outcome.returned.is_err() => break,
            None => return None,
        }
    }
    Some(reader.outcome)
}

/// The last function of a name at the top level, unless it is decorated.
fn function<'t>(root: Node<'t>, source: &str, name: &str) -> Option<Node<'t>> {
    let is_named = |node: &Node<'_>| node.child_by_field_name("name").is_some_and(|node| text(node, source) == name);
    let definition = |node: Node<'t>| match node.kind() {
        "function_definition" => Some((node, false)),
        "decorated_definition" => node.child_by_field_name("definition").map(|definition| (definition, true)),
        _ => None,
    };
    let (function, is_decorated) =
        children(root).into_iter().filter_map(definition).rfind(|(node, _)| is_named(node))?;
    (function.kind() == "function_definition" && !is_decorated).then_some(function)
}

enum Flow {
    GoesOn,
    Ends,
}

struct Reader<'s> {
    source: &'s str,
    environment: &'s Map<String, Value>,
    /// The names that the source defines and imports.
    outer: Names<'s>,
    names: HashMap<&'s str, Value>,
    weight: usize,
    outcome: CallResult,
}

impl<'s> Reader<'s> {
    fn text(&self, node: Node<'_>) -> &'s str {
        text(node, self.source)
    }

    fn raised(mut self, problem: String) -> CallResult {
        self.raise(problem);
        self.outcome
    }

    fn raise(&mut self, problem: String) {
        self.outcome.stderr.push(format!("Traceback (most recent call last):\n{problem}\n"));
        self.outcome.returned = Err(problem);
    }

    fn follow(&mut self, statement: Node<'_>) -> Option<Flow> {
        match statement.kind() {
            "pass_statement" | "import_statement" | "import_from_statement" | "comment" => {}
            "return_statement" => {
                if let Some(value) = statement.named_child(0) {
                    self.outcome.returned = Ok(self.value(value, 0)?);
                }
                return Some(Flow::Ends);
            }
            "raise_statement" => {
                let raised = statement.named_child(0).filter(|_| statement.named_child_count() == 1)?;
                let problem = self.exception(raised)?;
                self.raise(problem);
                return Some(Flow::Ends);
            }
            "expression_statement" => {
                let expression = statement.named_child(0).filter(|_| statement.named_child_count() == 1)?;
                match expression.kind() {
                    "assignment" => self.assign(expression)?,
                    "call" => self.print(expression)?,
                    "string" => {}
                    _ => return None,
                }
            }
            _ => return None,
        }
        Some(Flow::GoesOn)
    }

    fn assign(&mut self, assignment: Node<'_>) -> Option<()> {
        let name = assignment.child_by_field_name("left").filter(|left| left.kind() == "identifier")?;
        let value = self.value(assignment.child_by_field_name("right")?, 0)?;
        self.names.insert(self.text(name), value);
        Some(())
    }

    /// `print(...)`, possibly to standard error.
    fn print(&mut self, call: Node<'_>) -> Option<()> {
        if self.text(call.child_by_field_name("function")?) != "print" || !self.is_builtin("print") {
            return None;
        }
        let (mut words, mut to_stderr) = (Vec::new(), false);
        for argument in children(call.child_by_field_name("arguments")?) {
            if argument.kind() != "keyword_argument" {
                words.push(shown(&self.value(argument, 0)?));
            } else if self.text(argument).replace(' ', "") == "file=sys.stderr" && self.is_imported("sys") {
                to_stderr = true;
            } else {
                return None;
            }
        }
        let lines = if to_stderr { &mut self.outcome.stderr } else { &mut self.outcome.stdout };
        let line = words.join(" ");
        // Printed values may be longer than their weight, because of escapes.
        self.weight += line.len();
        lines.push(line);
        Some(()).filter(|()| self.weight <= MOST)
    }

    /// Whether a name refers to Python's builtin.
    fn is_builtin(&self, name: &str) -> bool {
        !self.names.contains_key(name) && !self.outer.defines(name)
    }

    /// Whether a module, or `module.name`, is imported under its own name.
    fn is_imported(&self, path: &str) -> bool {
        let name = path.rsplit('.').next().unwrap_or(path);
        !self.names.contains_key(name) && self.outer.imports(path)
    }

    /// `ValueError("text")`, as Python prints it.
    fn exception(&mut self, raised: Node<'_>) -> Option<String> {
        let (class, arguments) = match raised.kind() {
            "identifier" => (raised, Vec::new()),
            "call" => (raised.child_by_field_name("function")?, children(raised.child_by_field_name("arguments")?)),
            _ => return None,
        };
        let class = self.text(class);
        if !EXCEPTIONS.contains(&class) || !self.is_builtin(class) {
            return None;
        }
        let message = match arguments.as_slice() {
            [] => String::new(),
            [only] if class == "KeyError" => python_repr(&self.value(*only, 0)?),
            [only] => shown(&self.value(*only, 0)?),
            _ => return None,
        };
        Some(format!("{class}: {message}"))
    }

    /// The value of an expression, within bounds.
    fn value(&mut self, node: Node<'_>, depth: usize) -> Option<Value> {
        if depth > DEPTH {
            return None;
        }
        let value = self.value_of(node, depth)?;
        self.weight += weigh(&value, 0)?;
        Some(value).filter(|_| self.weight <= MOST)
    }

    fn value_of(&mut self, node: Node<'_>, depth: usize) -> Option<Value> {
        let below = depth + 1;
        match node.kind() {
            "none" => Some(Value::Null),
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            "integer" => {
                let digits = Some(self.text(node)).filter(|digits| *digits == "0" || !digits.starts_with('0'))?;
                digits.replace('_', "").parse::<i64>().ok().map(Value::from)
            }
            "float" => self.text(node).replace('_', "").parse().ok().and_then(Number::from_f64).map(Value::Number),
            "string" => self.string(node, below).map(Value::String),
            "concatenated_string" => {
                let parts: Option<String> = children(node).into_iter().map(|part| self.string(part, below)).collect();
                parts.map(Value::String)
            }
            "identifier" => self.names.get(self.text(node)).cloned(),
            "parenthesized_expression" => self.value(node.named_child(0)?, below),
            // Tuples are not supported: JSON has none, and Python prints them differently from lists.
            "list" => children(node).into_iter().map(|item| self.value(item, below)).collect(),
            "dictionary" => {
                let mut map = Map::new();
                for pair in children(node) {
                    let key = self.value(pair.child_by_field_name("key")?, below)?;
                    map.insert(key.as_str()?.to_owned(), self.value(pair.child_by_field_name("value")?, below)?);
                }
                Some(Value::Object(map))
            }
            "unary_operator" => {
                let operand = node.child_by_field_name("argument")?;
                if self.text(node.child_by_field_name("operator")?) != "-" {
                    return None;
                }
                // The least integer has no positive counterpart.
                if operand.kind() == "integer" {
                    let digits = self.text(operand).replace('_', "");
                    return format!("-{digits}").parse::<i64>().ok().map(Value::from);
                }
                let Value::Number(number) = self.value(operand, below)? else { return None };
                match number.as_i64() {
                    Some(whole) => whole.checked_neg().map(Value::from),
                    None => Some(Value::Number(Number::from_f64(-number.as_f64().filter(|_| number.is_f64())?)?)),
                }
            }
            "binary_operator" => {
                let left = self.value(node.child_by_field_name("left")?, below)?;
                let right = self.value(node.child_by_field_name("right")?, below)?;
                let operator = self.text(node.child_by_field_name("operator")?);
                if matches!(operator, "/" | "//" | "%") && left.is_number() && right.as_f64() == Some(0.0) {
                    let is_whole = !left.is_f64() && !right.is_f64();
                    let problem = match operator {
                        "/" if is_whole => "division by zero",
                        "/" => "float division by zero",
                        "//" if is_whole => "integer division or modulo by zero",
                        "//" => "float floor division by zero",
                        _ if is_whole => "integer modulo by zero",
                        _ => return None,
                    };
                    self.raise(format!("ZeroDivisionError: {problem}"));
                    return None;
                }
                calculate(operator, &left, &right)
            }
            "call" => self.call(node, below),
            // A member of an argument whose type is a model.
            "attribute" => {
                let of = self.value(node.child_by_field_name("object")?, below)?;
                of.as_object()?.get(self.text(node.child_by_field_name("attribute")?)).cloned()
            }
            "subscript" => {
                let is_environment =
                    self.text(node.child_by_field_name("value")?) == "os.environ" && self.is_imported("os");
                let key = self.value(node.child_by_field_name("subscript").filter(|_| is_environment)?, below)?;
                self.environment.get(key.as_str()?).cloned()
            }
            _ => None,
        }
    }

    /// `str`, `len`, environment variables, and random numbers, which are always the middle one.
    fn call(&mut self, call: Node<'_>, depth: usize) -> Option<Value> {
        let function = self.text(call.child_by_field_name("function")?);
        let is_known = match function.split_once('.') {
            Some((module, _)) => self.is_imported(module),
            None if function == "str" || function == "len" => self.is_builtin(function),
            None => self.is_imported(&format!("random.{function}")),
        };
        let arguments = children(call.child_by_field_name("arguments").filter(|_| is_known)?);
        let arguments: Vec<Value> =
            arguments.into_iter().map(|argument| self.value(argument, depth)).collect::<Option<_>>()?;
        match (function, arguments.as_slice()) {
            ("str", [value]) => Some(Value::String(shown(value))),
            ("len", [value]) => match value {
                Value::String(text) => Some(text.chars().count().into()),
                Value::Array(items) => Some(items.len().into()),
                Value::Object(map) => Some(map.len().into()),
                _ => None,
            },
            ("random.randint" | "randint", [least, most]) => {
                let (least, most) = (least.as_i64()?, most.as_i64()?);
                let width = most.checked_sub(least).filter(|width| *width >= 0)?;
                Some((least + width / 2).into())
            }
            ("random.choice" | "choice", [Value::Array(items)]) => items.get(items.len() / 2).cloned(),
            ("os.getenv" | "os.environ.get", [key]) => {
                Some(self.environment.get(key.as_str()?).cloned().unwrap_or_default())
            }
            ("os.getenv" | "os.environ.get", [key, default]) => {
                Some(self.environment.get(key.as_str()?).unwrap_or(default).clone())
            }
            _ => None,
        }
    }

    /// A string literal or an f-string.
    fn string(&mut self, string: Node<'_>, depth: usize) -> Option<String> {
        if let Some(literal) = literal(string, self.source) {
            return Some(literal);
        }
        let mut value = String::new();
        for part in children(string) {
            match part.kind() {
                "string_start" if self.text(part).contains(['b', 'B', 'r', 'R', 't', 'T']) => return None,
                "string_start" | "string_end" => {}
                "string_content" => value.push_str(&unescape(&self.text(part).replace("{{", "{").replace("}}", "}"))?),
                // Only braces and an expression: format specifiers are not supported.
                "interpolation" if part.child_count() == 3 => {
                    value.push_str(&shown(&self.value(part.child_by_field_name("expression")?, depth)?));
                }
                _ => return None,
            }
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn call(body: &str, arguments: &Value) -> Option<CallResult> {
        let lines: String = body.lines().flat_map(|line| ["    ", line, "\n"]).collect();
        let source = format!(
            "import os, sys, random\nfrom random import choice\n\ndef f(a=None, b: int = 2):\n    \"\"\"Doc.\"\"\"\n{lines}"
        );
        let environment = json!({"SECRET": "s"});
        run(&source, "f", arguments.as_object().unwrap(), environment.as_object().unwrap())
    }

    #[test]
    fn what_can_be_read_off_a_source_is_what_it_comes_to() {
        for (body, expected) in [
            ("return '7'", Some(json!("7"))),
            ("return a", Some(json!("x"))),
            ("return b", Some(json!(2))),
            ("return", Some(json!(null))),
            ("pass", Some(json!(null))),
            ("return f\"{a} is {b + 1}{{}}\\n\"", Some(json!("x is 3{}\n"))),
            ("return 'a' 'b' + str(-1.5)", Some(json!("ab-1.5"))),
            ("return {'k': [1, True, None, [a]]}", Some(json!({"k": [1, true, null, ["x"]]}))),
            ("c = b * 3 # three\nreturn c - 1", Some(json!(5))),
            ("return os.getenv('SECRET') + os.environ['SECRET'] + os.environ.get('NONE', 'd')", Some(json!("ssd"))),
            ("return os.getenv('NONE')", Some(json!(null))),
            ("return [str([1, 'a']), str(True)]", Some(json!(["[1, 'a']", "True"]))),
            (
                "return [7 / 2, 7 // 2, -7 // 2, 7 // -2, -7 % 3, 7 % -3, 6 / 3]",
                Some(json!([3.5, 3, -4, -4, 2, -2, 2.0])),
            ),
            ("return 'ab' * b", Some(json!("abab"))),
            ("d = {'k': {'l': [1, 2]}}\nreturn f'{d.k.l} {len(d.k.l)} {len(a)}'", Some(json!("[1, 2] 2 1"))),
            ("return 'ab' * 1000000", None),
            ("import random\nreturn [random.randint(1, 20), choice(['r', 's'])]", Some(json!([10, "s"]))),
            ("return '\\033[1m\\0\\x41\\101'", Some(json!("\u{1b}[1m\0AA"))),
            (
                "return f'{1e-7} {1e22} {1e16} {0.0001} {-0.0} {1_0.5e2} {100.0}'",
                Some(json!("1e-07 1e+22 1e+16 0.0001 -0.0 1050.0 100.0")),
            ),
            ("return str(['\\x1b\\xa0', \"'\"])", Some(json!("['\\x1b\\xa0', \"'\"]"))),
            ("return f'{a=}'", None),
            ("return f'{a!r}'", None),
            ("return (a, b)", None),
            ("return (a,)", None),
            ("return a, b", None),
            ("return str((a,))", None),
            ("return '\\N{BULLET}'", None),
            ("return '\\ud83d'", None),
            ("return 0x10", None),
            ("return 18446744073709551615 + 1", None),
            ("return 9007199254740993 / 1", None),
            ("return randint(1, 2)", None),
            ("return json.dumps(a)", None),
            ("str = 5\nreturn str(1)", None),
            ("from elsewhere import len\nreturn len(a)", None),
            ("import mine as os\nreturn os.getenv('SECRET')", None),
            ("raise Custom('x')", None),
            ("raise OSError(1, 'x')", None),
            ("return 9223372036854775807 + 1", None),
            ("return -9223372036854775808", Some(json!(i64::MIN))),
            ("return -9223372036854775809", None),
            ("return str(['\\x00', '\\x7f', '\\x85'])", Some(json!("['\\x00', '\\x7f', '\\x85']"))),
            ("return unknown", None),
            ("return a.upper()", None),
            ("return f'{a:>3}'", None),
            ("for x in a:\n    pass\nreturn 1", None),
            ("if a:\n    return 1\nreturn 2", None),
            ("open('/etc/passwd')", None),
            ("return (", None),
        ] {
            let outcome = call(body, &json!({"a": "x"}));
            assert_eq!(outcome.map(|outcome| outcome.returned), expected.map(Ok), "{body}");
        }
    }

    #[test]
    fn prints_and_exceptions_are_kept_apart() {
        let outcome = call("print('one', b)\nprint(a, file=sys.stderr)\nraise ValueError(f'no {a}')", &json!({"a": 1}));
        let outcome = outcome.unwrap();
        assert_eq!(outcome.returned, Err("ValueError: no 1".to_owned()));
        assert_eq!(outcome.stdout, ["one 2"]);
        assert_eq!(outcome.stderr, ["1", "Traceback (most recent call last):\nValueError: no 1\n"]);
        let divided = call("print('before')\nc = 5 / 0\nprint('after')", &json!({})).unwrap();
        assert_eq!(divided.returned, Err("ZeroDivisionError: division by zero".to_owned()));
        assert_eq!(divided.stdout, ["before"]);
        for (body, problem) in [
            ("raise KeyError('k')", "KeyError: 'k'"),
            ("raise RuntimeError", "RuntimeError: "),
            ("raise ValueError([1, 'a'])", "ValueError: [1, 'a']"),
            ("return 1 // 0", "ZeroDivisionError: integer division or modulo by zero"),
            ("return 1 % 0", "ZeroDivisionError: integer modulo by zero"),
            ("return 1.0 / 0", "ZeroDivisionError: float division by zero"),
        ] {
            assert_eq!(call(body, &json!({})).unwrap().returned, Err(problem.to_owned()), "{body}");
        }
        let missing = run("def g(x): return x", "g", &Map::new(), &Map::new()).unwrap();
        assert_eq!(missing.returned, Err("TypeError: g() missing 1 required positional argument: 'x'".to_owned()));
        for source in
            ["@twice\ndef g(x): return x", "def g(x, y): return x", "def g(x, /): return x\n", "def h(): pass"]
        {
            assert_eq!(run(source, "g", &Map::new(), &Map::new()), None, "{source}");
        }
        for (annotation, value, is_kept) in [
            ("int", json!(1), true),
            ("int", json!("1"), false),
            ("int", json!(1.5), false),
            ("float", json!(1), false),
            ("str", json!("42"), true),
            ("str", json!("a b"), true),
            ("str", json!("Not (this)"), true),
            ("str", json!("true"), false),
            ("str", json!("[1,2]"), false),
            ("str", json!("'a'"), false),
            ("str", json!(" {'a': 1}"), false),
            ("str", json!(1), false),
            ("List[int]", json!([1]), true),
            ("List[int]", json!("[1]"), false),
            ("Optional[int]", json!("1"), true),
            ("str | None", json!("true"), true),
            ("Job", json!({"a": 1}), true),
        ] {
            let arguments = Map::from_iter([("x".to_owned(), value.clone())]);
            let outcome = run(&format!("def g(x: {annotation}): return x"), "g", &arguments, &Map::new());
            assert_eq!(outcome.map(|outcome| outcome.returned), is_kept.then_some(Ok(value)), "{annotation}");
        }
    }

    #[test]
    fn no_source_grows_without_bound() {
        let doubling = "x = 'aaaaaaaa'\n".to_owned() + &"x = x + x\n".repeat(60) + "return x";
        assert_eq!(call(&doubling, &json!({})), None);
        let nesting = "x = []\n".to_owned() + &"x = [x]\n".repeat(60) + "return x";
        assert_eq!(call(&nesting, &json!({})), None);
        let deep = format!("return {}1{}", "(".repeat(50_000), ")".repeat(50_000));
        assert_eq!(call(&deep, &json!({})), None);
    }
}

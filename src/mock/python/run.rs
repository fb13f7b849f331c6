//! What a call of a Python function comes to, if that can be read off its source: straight lines of assignments, prints,
//! returns and raises, with texts, numbers, names and little else. What is not understood has no outcome.

use std::collections::HashMap;

use serde_json::{Map, Number, Value, json};
use tree_sitter::Node;

use super::{DEPTH, last_function, literal, parameters, parse, statements, text, unescape};
use crate::error::python_repr;

/// What a call came to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::mock) struct Outcome {
    /// What was returned, or else the exception: its class and text.
    pub(in crate::mock) returned: Result<Value, String>,
    pub(in crate::mock) stdout: Vec<String>,
    pub(in crate::mock) stderr: Vec<String>,
}

impl Outcome {
    /// A call that returned and printed nothing.
    pub(in crate::mock) fn of(returned: Value) -> Self {
        Self { returned: Ok(returned), stdout: Vec::new(), stderr: Vec::new() }
    }

    /// As the answer to a request that calls a tool.
    pub(in crate::mock) fn wire(&self) -> Value {
        json!({
            "status": self.status(),
            "func_return": self.returned.as_ref().ok(),
            "agent_state": null,
            "stdout": self.stdout,
            "stderr": self.stderr,
            "sandbox_config_fingerprint": null,
        })
    }

    /// What a model is told: the returned value as a text, or else the exception.
    ///
    /// # Errors
    /// The exception.
    pub(in crate::mock) fn text(&self) -> Result<String, String> {
        self.returned.clone().map(|value| match value {
            Value::String(text) => text,
            Value::Object(_) => value.to_string(),
            _ => python_repr(&value),
        })
    }

    /// Letta's word for how it went.
    pub(in crate::mock) fn status(&self) -> &'static str {
        if self.returned.is_ok() { "success" } else { "error" }
    }
}

/// All that values may come to, in bytes, so that no source can grow them without bound.
const MOST: usize = 1_000_000;
/// What a value takes beside its text.
const VALUE: usize = 100;
/// How deep values may be nested.
const MOST_NESTED: usize = 16;

/// Reads off a source what a call of its last function, or of the one that is named, comes to; none: that is not to be
/// seen without running it.
pub(in crate::mock) fn run(
    source: &str,
    name: Option<&str>,
    arguments: &Map<String, Value>,
    environment: &Map<String, Value>,
) -> Option<Outcome> {
    let tree = parse(source)?;
    let function = last_function(&tree, source, name)?;
    if tree.root_node().has_error() {
        return None;
    }
    let mut reader =
        Reader { source, environment, names: HashMap::new(), weight: 0, outcome: Outcome::of(Value::Null) };
    for parameter in parameters(function, source) {
        let value = match (arguments.get(parameter.name), parameter.default) {
            (Some(value), _) => {
                reader.weight += weigh(value, 0)?;
                if reader.weight > MOST {
                    return None;
                }
                value.clone()
            }
            (None, Some(default)) => reader.value(default, 0)?,
            (None, None) => {
                let problem = format!("TypeError: {} is missing the argument '{}'", name?, parameter.name);
                return Some(reader.raised(problem));
            }
        };
        reader.names.insert(parameter.name, value);
    }
    for statement in statements(function, source) {
        match reader.follow(statement) {
            Some(Flow::GoesOn) => {}
            Some(Flow::Ends) => break,
            // An expression in it raised.
            None if reader.outcome.returned.is_err() => break,
            None => return None,
        }
    }
    Some(reader.outcome)
}

enum Flow {
    GoesOn,
    Ends,
}

struct Reader<'s> {
    source: &'s str,
    environment: &'s Map<String, Value>,
    names: HashMap<&'s str, Value>,
    weight: usize,
    outcome: Outcome,
}

impl<'s> Reader<'s> {
    fn text(&self, node: Node<'_>) -> &'s str {
        text(node, self.source)
    }

    fn raised(mut self, problem: String) -> Outcome {
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

    /// `print(...)`, to standard error if it says so.
    fn print(&mut self, call: Node<'_>) -> Option<()> {
        if self.text(call.child_by_field_name("function")?) != "print" {
            return None;
        }
        let (mut words, mut to_stderr) = (Vec::new(), false);
        for argument in children(call.child_by_field_name("arguments")?) {
            if argument.kind() != "keyword_argument" {
                words.push(shown(&self.value(argument, 0)?));
            } else if self.text(argument).replace(' ', "") == "file=sys.stderr" {
                to_stderr = true;
            } else {
                return None;
            }
        }
        let lines = if to_stderr { &mut self.outcome.stderr } else { &mut self.outcome.stdout };
        let line = words.join(" ");
        // Escaped, values are longer than they weigh.
        self.weight += line.len();
        lines.push(line);
        Some(()).filter(|()| self.weight <= MOST)
    }

    /// `ValueError("text")`, as Python prints it.
    fn exception(&mut self, raised: Node<'_>) -> Option<String> {
        if raised.kind() != "call" {
            return Some(self.text(raised).to_owned()).filter(|_| raised.kind() == "identifier");
        }
        let class = raised.child_by_field_name("function").filter(|class| class.kind() == "identifier")?;
        let class = self.text(class);
        match children(raised.child_by_field_name("arguments")?).as_slice() {
            [] => Some(class.to_owned()),
            [only] => Some(format!("{class}: {}", shown(&self.value(*only, 0)?))),
            _ => None,
        }
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
            "integer" => self.text(node).replace('_', "").parse::<i64>().ok().map(Value::from),
            "float" => self.text(node).parse().ok().and_then(Number::from_f64).map(Value::Number),
            "string" => self.string(node, below).map(Value::String),
            "concatenated_string" => {
                let parts: Option<String> = children(node).into_iter().map(|part| self.string(part, below)).collect();
                parts.map(Value::String)
            }
            "identifier" => self.names.get(self.text(node)).cloned(),
            "parenthesized_expression" => self.value(node.named_child(0)?, below),
            "list" | "tuple" => children(node).into_iter().map(|item| self.value(item, below)).collect(),
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
                let sign = self.text(node.child_by_field_name("operator")?);
                // The least integer has no positive counterpart.
                if operand.kind() == "integer" {
                    let digits = self.text(operand).replace('_', "");
                    return format!("-{digits}").parse::<i64>().ok().map(Value::from).filter(|_| sign == "-");
                }
                let operand = self.value(operand, below)?;
                calculate("-", &Value::from(0), &operand).filter(|_| sign == "-")
            }
            "binary_operator" => {
                let left = self.value(node.child_by_field_name("left")?, below)?;
                let right = self.value(node.child_by_field_name("right")?, below)?;
                let operator = self.text(node.child_by_field_name("operator")?);
                if matches!(operator, "/" | "//" | "%") && left.is_number() && right.as_f64() == Some(0.0) {
                    self.raise("ZeroDivisionError: division by zero".to_owned());
                    return None;
                }
                calculate(operator, &left, &right)
            }
            "call" => self.call(node, below),
            // A member of what a model of the arguments describes.
            "attribute" => {
                let of = self.value(node.child_by_field_name("object")?, below)?;
                of.as_object()?.get(self.text(node.child_by_field_name("attribute")?)).cloned()
            }
            "subscript" => {
                let is_environment = self.text(node.child_by_field_name("value")?) == "os.environ";
                let key = self.value(node.child_by_field_name("subscript").filter(|_| is_environment)?, below)?;
                self.environment.get(key.as_str()?).cloned()
            }
            _ => None,
        }
    }

    /// `str(x)`, chance, which decides for the middle, and what is asked of the environment.
    fn call(&mut self, call: Node<'_>, depth: usize) -> Option<Value> {
        let function = self.text(call.child_by_field_name("function")?);
        let arguments = children(call.child_by_field_name("arguments")?);
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

    /// A literal, or a text with values in it.
    fn string(&mut self, string: Node<'_>, depth: usize) -> Option<String> {
        if let Some(literal) = literal(string, self.source) {
            return Some(literal);
        }
        let mut value = String::new();
        for part in children(string) {
            match part.kind() {
                "string_start" if self.text(part).contains(['b', 'B', 'r', 'R']) => return None,
                "string_start" | "string_end" => {}
                "string_content" => value.push_str(&unescape(&self.text(part).replace("{{", "{").replace("}}", "}"))),
                "interpolation" if part.named_child_count() == 1 => {
                    value.push_str(&shown(&self.value(part.child_by_field_name("expression")?, depth)?));
                }
                _ => return None,
            }
        }
        Some(value)
    }
}

fn children(node: Node<'_>) -> Vec<Node<'_>> {
    let mut cursor = node.walk();
    node.named_children(&mut cursor).filter(|child| child.kind() != "comment").collect()
}

/// A value as `str` makes a text of it.
fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| python_repr(value), str::to_owned)
}

fn calculate(operator: &str, left: &Value, right: &Value) -> Option<Value> {
    if let (Some(left), Some(right)) = (left.as_str(), right.as_str()) {
        return (operator == "+").then(|| Value::String(format!("{left}{right}")));
    }
    if let (Some(text), Some(times), "*") = (left.as_str(), right.as_u64(), operator) {
        let times = usize::try_from(times).ok()?;
        return text.len().checked_mul(times).filter(|length| *length <= MOST).map(|_| text.repeat(times).into());
    }
    if let (Some(left), Some(right)) = (left.as_i64(), right.as_i64())
        && operator != "/"
    {
        return match operator {
            "+" => left.checked_add(right),
            "-" => left.checked_sub(right),
            "*" => left.checked_mul(right),
            // Python rounds down, towards the sign of the divisor.
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

/// What a value adds to the bound; none: it is nested too deeply.
fn weigh(value: &Value, depth: usize) -> Option<usize> {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn call(body: &str, arguments: &Value) -> Option<Outcome> {
        let lines: String = body.lines().flat_map(|line| ["    ", line, "\n"]).collect();
        let source = format!("import os, sys\n\ndef f(a=None, b: int = 2):\n    \"\"\"Doc.\"\"\"\n{lines}");
        let environment = json!({"SECRET": "s"});
        run(&source, None, arguments.as_object().unwrap(), environment.as_object().unwrap())
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
            ("return {'k': [1, True, None, (a,)]}", Some(json!({"k": [1, true, null, ["x"]]}))),
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
            ("import random\nreturn [random.randint(1, 20), random.choice(['r', 's'])]", Some(json!([10, "s"]))),
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
    fn what_is_printed_and_raised_is_told_apart() {
        let outcome = call("print('one', b)\nprint(a, file=sys.stderr)\nraise ValueError(f'no {a}')", &json!({"a": 1}));
        let outcome = outcome.unwrap();
        assert_eq!(outcome.returned, Err("ValueError: no 1".to_owned()));
        assert_eq!(outcome.stdout, ["one 2"]);
        assert_eq!(outcome.stderr, ["1", "Traceback (most recent call last):\nValueError: no 1\n"]);
        let divided = call("print('before')\nc = 5 / 0\nprint('after')", &json!({})).unwrap();
        assert_eq!(divided.returned, Err("ZeroDivisionError: division by zero".to_owned()));
        assert_eq!(divided.stdout, ["before"]);
        let missing = run("def g(x): return x", Some("g"), &Map::new(), &Map::new()).unwrap();
        assert!(missing.returned.is_err(), "{missing:?}");
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

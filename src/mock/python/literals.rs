//! String literals and constant expressions.

use tree_sitter::Node;

use super::{DEPTH, children, text};

/// The value of a string literal; `None` for bytes, for f-strings, and for escapes that are not supported.
pub(super) fn literal(string: Node<'_>, source: &str) -> Option<String> {
    let mut cursor = string.walk();
    let mut value = String::new();
    let mut is_raw = false;
    for part in string.named_children(&mut cursor) {
        let part_text = text(part, source);
        match part.kind() {
            "string_start" if part_text.contains(['b', 'B', 'f', 'F', 't', 'T']) => return None,
            "string_start" => is_raw = part_text.contains(['r', 'R']),
            "string_content" if is_raw => value.push_str(part_text),
            "string_content" => value.push_str(&unescape(part_text)?),
            "string_end" => {}
            _ => return None,
        }
    }
    Some(value)
}

/// The value of one string literal, or of several adjacent ones.
pub(super) fn joined_literal(node: Node<'_>, source: &str) -> Option<String> {
    match node.kind() {
        "string" => literal(node, source),
        "concatenated_string" => children(node).into_iter().map(|part| literal(part, source)).collect(),
        "parenthesized_expression" => joined_literal(node.named_child(0)?, source),
        _ => None,
    }
}

/// Replaces the escape sequences of a string literal; unknown ones stay, as in Python. `None` if one is invalid or
/// names a character (`\N{...}`).
pub(super) fn unescape(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut signs = text.chars();
    while let Some(sign) = signs.next() {
        if sign != '\\' {
            plain.push(sign);
            continue;
        }
        let rest = signs.as_str();
        let escape = signs.next()?;
        // The offset of the digits, their number and their base.
        let (start, length, base) = match escape {
            'x' => (1, 2, 16),
            'u' => (1, 4, 16),
            'U' => (1, 8, 16),
            '0'..='7' => (0, rest.bytes().take(3).take_while(|byte| matches!(byte, b'0'..=b'7')).count(), 8),
            _ => (0, 0, 0),
        };
        if length > 0 {
            let digits = rest.get(start..start + length).filter(|digits| !digits.starts_with('+'))?;
            // A lone surrogate is not valid UTF-8.
            plain.push(u32::from_str_radix(digits, base).ok().and_then(char::from_u32)?);
            signs = rest.get(start + length..)?.chars();
            continue;
        }
        match escape {
            '\n' => {}
            'n' => plain.push('\n'),
            't' => plain.push('\t'),
            'r' => plain.push('\r'),
            'a' => plain.push('\u{7}'),
            'b' => plain.push('\u{8}'),
            'f' => plain.push('\u{c}'),
            'v' => plain.push('\u{b}'),
            'N' => return None,
            quoted @ ('\\' | '\'' | '"') => plain.push(quoted),
            other => plain.extend(['\\', other]),
        }
    }
    Some(plain)
}

/// Whether an expression is a constant: a literal, or a collection of constants.
pub(super) fn is_constant(node: Node<'_>, source: &str, depth: usize) -> bool {
    let all =
        |nodes: Vec<Node<'_>>| depth < DEPTH && nodes.into_iter().all(|node| is_constant(node, source, depth + 1));
    match node.kind() {
        "none" | "true" | "false" | "integer" | "float" | "ellipsis" => true,
        "string" => !children(node).iter().any(|part| {
            part.kind() == "interpolation"
                || part.kind() == "string_start" && text(*part, source).contains(['f', 'F', 't', 'T'])
        }),
        "concatenated_string" | "parenthesized_expression" | "list" | "tuple" | "set" | "dictionary" | "pair" => {
            all(children(node))
        }
        "unary_operator" => {
            let is_number = |node: &Node<'_>| matches!(node.kind(), "integer" | "float");
            node.child_by_field_name("argument").is_some_and(|argument| is_number(&argument))
                && node.child_by_field_name("operator").is_some_and(|sign| matches!(text(sign, source), "-" | "+"))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_read_as_in_python() {
        for (text, expected) in [
            (r"a\n\t\\\'", Some("a\n\t\\'")),
            (r"\x41\u00e4\U0001F600", Some("Aä😀")),
            (r"\033[1m\0\18\1234\777", Some("\u{1b}[1m\0\u{1}8S4\u{1ff}")),
            (r"\a\b\f\v", Some("\u{7}\u{8}\u{c}\u{b}")),
            (r"\d\é\8", Some(r"\d\é\8")),
            ("a\\\nb", Some("ab")),
            (r"\x4", None),
            (r"\xé1", None),
            (r"\u+123", None),
            (r"\ud83d", None),
            (r"\N{BULLET}", None),
            ("\\", None),
        ] {
            assert_eq!(unescape(text).as_deref(), expected, "{text}");
        }
    }
}

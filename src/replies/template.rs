//! Texts with places that are filled in when an agent says them.

use regex::Regex;
use serde_json::{Map, Value};

/// A text with places to fill in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Template(Vec<Part>);

/// A part of a template.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Part {
    /// A text as it is.
    Text(Box<str>),
    /// A place to fill in.
    Variable(Variable),
}

/// What fills in a place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Variable {
    /// A group of the reply's regular expression, by its number.
    Group(usize),
    /// What the last tool returned.
    Returned,
    /// The name of the agent.
    AgentName,
    /// The id of the agent.
    AgentId,
    /// The value of a memory block, by its label.
    Block(Box<str>),
    /// The number of the user's turn in the conversation, from 0.
    Turn,
    /// The time by the namespace's clock.
    Now,
    /// The id of what the seed calls so.
    Ref(Box<str>),
}

/// A JSON value of which every text is a template.
#[derive(Clone, Debug)]
pub(crate) enum TemplateValue {
    Text(Template),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
    /// A value without texts.
    Other(Value),
}

impl Template {
    /// Reads a template: `$1`, `$name` and `${name}` are groups of `user`, as the regex crate expands them; `$returned`,
    /// `${agent.name}`, `${agent.id}`, `${block.LABEL}`, `${turn}`, `${now}` and `${ref.NAME}` are filled in by the mock,
    /// unless `user` has a group of this name. `$$` is a dollar sign.
    ///
    /// # Errors
    /// If a place names something that does not exist.
    pub(super) fn parse(text: &str, user: Option<&Regex>) -> Result<Self, String> {
        let mut template = Self::default();
        for (index, piece) in text.split("$returned").enumerate() {
            if index > 0 {
                template.0.push(Part::Variable(Variable::Returned));
            }
            template.read(piece, user)?;
        }
        Ok(template)
    }

    fn read(&mut self, mut text: &str, user: Option<&Regex>) -> Result<(), String> {
        while let Some(dollar) = text.find('$') {
            self.push_text(&text[..dollar]);
            let rest = &text[dollar + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                self.push_text("$");
                text = after;
            } else if let Some((name, after)) = rest.strip_prefix('{').and_then(|braced| braced.split_once('}')) {
                match group(name, user) {
                    Some(group) => self.0.push(Part::Variable(Variable::Group(group))),
                    None => self.0.extend(Variable::named(name)?.map(Part::Variable)),
                }
                text = after;
            } else {
                let end = rest.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
                if end == 0 {
                    self.push_text("$");
                } else {
                    self.0.extend(group(&rest[..end], user).map(|group| Part::Variable(Variable::Group(group))));
                }
                text = &rest[end..];
            }
        }
        self.push_text(text);
        Ok(())
    }

    fn push_text(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        match self.0.last_mut() {
            Some(Part::Text(last)) => *last = format!("{last}{text}").into(),
            _ => self.0.push(Part::Text(text.into())),
        }
    }

    /// Its parts, in order.
    pub(crate) fn parts(&self) -> &[Part] {
        &self.0
    }

    pub(super) fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.0.iter().filter_map(|part| match part {
            Part::Variable(variable) => Some(variable),
            Part::Text(_) => None,
        })
    }
}

/// The number of a group; `None` if the expression has no such group, which is filled in with nothing.
fn group(name: &str, user: Option<&Regex>) -> Option<usize> {
    let user = user?;
    match name.parse::<usize>() {
        Ok(number) => (number < user.captures_len()).then_some(number),
        Err(_) => user.capture_names().position(|group| group == Some(name)),
    }
}

impl Variable {
    /// The variable of a name in braces; `None` if nothing has this name, which is filled in with nothing.
    fn named(name: &str) -> Result<Option<Self>, String> {
        let (kind, rest) = name.split_once('.').unwrap_or((name, ""));
        Ok(Some(match (kind, rest) {
            ("turn", "") => Self::Turn,
            ("now", "") => Self::Now,
            ("agent", "name") => Self::AgentName,
            ("agent", "id") => Self::AgentId,
            ("agent", _) if name != kind => {
                return Err(format!("${{{name}}} does not exist; there are ${{agent.name}} and ${{agent.id}}"));
            }
            ("block", label) if !label.is_empty() => Self::Block(label.into()),
            ("ref", reference) if !reference.is_empty() => Self::Ref(reference.into()),
            ("block" | "ref", _) if name != kind => return Err(format!("${{{name}}} lacks a name after the dot")),
            _ => return Ok(None),
        }))
    }
}

impl TemplateValue {
    /// Reads the templates in the members of an object.
    ///
    /// # Errors
    /// As [`Template::parse`].
    pub(super) fn members(object: &Map<String, Value>, user: Option<&Regex>) -> Result<Vec<(String, Self)>, String> {
        object.iter().map(|(name, value)| Ok((name.clone(), Self::parse(value, user)?))).collect()
    }

    fn parse(value: &Value, user: Option<&Regex>) -> Result<Self, String> {
        Ok(match value {
            Value::String(text) => Self::Text(Template::parse(text, user)?),
            Value::Array(items) => {
                Self::List(items.iter().map(|item| Self::parse(item, user)).collect::<Result<_, _>>()?)
            }
            Value::Object(object) => Self::Object(Self::members(object, user)?),
            other => Self::Other(other.clone()),
        })
    }

    pub(super) fn visit(&self, visit: &mut dyn FnMut(&Template)) {
        match self {
            Self::Text(template) => visit(template),
            Self::List(items) => {
                for item in items {
                    item.visit(visit);
                }
            }
            Self::Object(members) => {
                for (_, value) in members {
                    value.visit(visit);
                }
            }
            Self::Other(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str, user: &str) -> Result<String, String> {
        let user = Regex::new(user).unwrap();
        let template = Template::parse(text, Some(&user))?;
        let shown = template.parts().iter().map(|part| match part {
            Part::Text(text) => text.to_string(),
            Part::Variable(variable) => format!("<{variable:?}>"),
        });
        Ok(shown.collect())
    }

    #[test]
    fn places_are_groups_or_what_the_mock_knows() {
        let user = r"(?<city>\w+) (?<turn>\d)";
        for (text, expected) in [
            ("In $city: ${city}!", "In <Group(1)>: <Group(1)>!"),
            ("$1$2$0$3", "<Group(1)><Group(2)><Group(0)>"),
            ("$cityx ${nobody} $now", "  "),
            ("$returned_x $$returned", "<Returned>_x $<Returned>"),
            ("$$5 $ ${open $", "$5 $ ${open $"),
            ("${agent.name} ${agent.id}", "<AgentName> <AgentId>"),
            ("${block.human}${ref.helper}${now}", r#"<Block("human")><Ref("helper")><Now>"#),
            ("${turn}", "<Group(2)>"),
            ("${agent}${block}", ""),
        ] {
            assert_eq!(parts(text, user).unwrap(), expected, "{text}");
        }
        assert_eq!(parts("${turn}", "a").unwrap(), "<Turn>");
        for text in ["${agent.nmae}", "${block.}", "${ref.}"] {
            assert!(parts(text, user).is_err(), "{text}");
        }
    }

    #[test]
    fn groups_are_those_that_the_regex_crate_expands() {
        let user = Regex::new(r"(?<a>x)(y)?(z)").unwrap();
        let captures = user.captures("xz").unwrap();
        for text in ["$a|$1|$2|$3|${a}b|$ab|$$1|$|${a|$4|$-|a$", "$$$a", "${}x", "$é"] {
            let mut expected = String::new();
            captures.expand(text, &mut expected);
            let filled: String = Template::parse(text, Some(&user))
                .unwrap()
                .parts()
                .iter()
                .map(|part| match part {
                    Part::Text(text) => text,
                    Part::Variable(Variable::Group(group)) => captures.get(*group).map_or("", |found| found.as_str()),
                    Part::Variable(other) => unreachable!("{other:?}"),
                })
                .collect();
            assert_eq!(filled, expected, "{text}");
        }
    }
}

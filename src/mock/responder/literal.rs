//! The default responder: a willing model that takes everything literally. It quotes what it is told, calls the tool that
//! a text names, uses its memory when it is asked to in plain words, and says what tools returned.

use serde_json::{Map, Value};

use super::{
    CallRequest, ModelRequest, ModelResponse, agent_messages, arguments, asked_part, asked_text,
    directives::Directives, words,
};
use crate::mock::{
    budget::{Budget, Overspent, written_length},
    records::{Message, Part, Role, turn_error::TurnError},
};

/// The next step of a turn.
pub(super) fn respond(situation: &ModelRequest<'_>) -> Result<ModelResponse, Overspent> {
    let text = asked_text(situation.said);
    let mut asked = Directives::of(&text);
    let calls = if asked.calls.is_empty() { understand(situation)? } else { std::mem::take(&mut asked.calls) };
    let made = situation.said.iter().map(|message| message.tool_calls.len()).sum();
    let next: Vec<CallRequest> = calls.into_iter().skip(made).collect();
    let mut answer = ModelResponse { pace: asked.pace, ..ModelResponse::default() };
    if next.is_empty()
        && let Some(status) = asked.failure
    {
        answer.failure = Some(TurnError::of_provider(status));
        return Ok(answer);
    }
    if situation.reasons || asked.thought.is_some() {
        let first = made == 0 && situation.said.iter().all(|message| message.tool_returns.is_empty());
        let reasoning = match &asked.thought {
            Some(thought) if first => thought.clone(),
            _ => thought(&text, &next, situation.said),
        };
        answer.parts.push(Part::Reasoning { is_native: true, reasoning, signature: None });
    }
    if next.is_empty() {
        let text = reply(&asked, situation.said, situation.budget)?;
        answer.parts.push(Part::text(match situation.form {
            Some(form) => formed(text, &asked.rest, form, situation.budget)?,
            None => text,
        }));
    }
    answer.calls = next;
    Ok(answer)
}

/// The calls that a message asks for without directives.
fn understand(situation: &ModelRequest<'_>) -> Result<Vec<CallRequest>, Overspent> {
    let part = Directives::of(asked_part(situation.said)).rest;
    let text = super::understood(&part);
    let named = arguments::named_calls(text, situation.tool_set.tools(), situation.budget)?;
    if !named.is_empty() {
        return Ok(named);
    }
    let message = agent_messages::call_in_words(text, situation.tool_set);
    let call = message.or_else(|| words::memory_call(text, situation.tool_set, situation.blocks));
    Ok(call.into_iter().collect())
}

fn reply(asked: &Directives, said: &[Message], budget: &Budget) -> Result<String, Overspent> {
    if asked.refuses {
        return Ok("I will not do that.".to_owned());
    }
    if let Some(length) = asked.length {
        return long(&asked.rest, length, budget);
    }
    let last = said.iter().rposition(Message::is_of_user).map_or(0, |place| place + 1);
    let tools = said[last..].iter().filter(|message| message.role == Role::Tool);
    let mut returned = Vec::new();
    for tool in tools.flat_map(|message| &message.tool_returns) {
        let text = tool.tool_return.text();
        budget.charge(written_length(&text))?;
        returned.push(text);
    }
    Ok(match returned.as_slice() {
        [] => {
            budget.charge(written_length(&asked.rest))?;
            format!("Echo: {}", asked.rest)
        }
        [one] => format!("The tool returned: {one}"),
        many => format!("The tools returned: {}", many.join("; ")),
    })
}

/// An answer in JSON: of the schema that `response_format` gives, filled in from what was asked, else the text in a member.
fn formed(answer: String, asked: &str, form: &Map<String, Value>, budget: &Budget) -> Result<String, Overspent> {
    let schema = form.get("json_schema").and_then(|named| named.get("schema").unwrap_or(named).as_object());
    let object = match schema {
        Some(schema) => super::filled_in(asked, schema, budget)?,
        None => Map::from_iter([("response".to_owned(), answer.into())]),
    };
    Ok(Value::Object(object).to_string())
}

/// The words of a text, again and again.
fn long(text: &str, length: usize, budget: &Budget) -> Result<String, Overspent> {
    let own: Vec<&str> = text.split_whitespace().filter(|word| !word.contains("[[") && !word.contains("]]")).collect();
    let words = if own.is_empty() { &["and", "so", "on"][..] } else { own.as_slice() };
    let round: usize = words.iter().map(|word| written_length(word) + 1).sum();
    let (rounds, rest) = (length / words.len(), length % words.len());
    let rest: usize = words[..rest].iter().map(|word| written_length(word) + 1).sum();
    let bytes = round.saturating_mul(rounds).saturating_add(rest);
    budget.charge(bytes)?;
    let mut long = String::with_capacity(bytes);
    for (index, word) in words.iter().cycle().take(length).enumerate() {
        if index > 0 {
            long.push(' ');
        }
        long.push_str(word);
    }
    Ok(long)
}

/// What the default responder thinks before a step.
fn thought(text: &str, next: &[CallRequest], said: &[Message]) -> String {
    const QUOTED: usize = 60;
    if let Some(call) = next.first() {
        return format!("I am asked to use {}, so I call it with what I was told.", call.name);
    }
    if said.iter().any(|message| message.role == Role::Tool) {
        return "I have what the tool returned, and will say so.".to_owned();
    }
    let characters = text.chars().count();
    let quote: String = text.chars().take(QUOTED).collect();
    let rest = if characters > QUOTED { "..." } else { "" };
    let plural = if characters == 1 { "" } else { "s" };
    format!(
        "The message is {characters} character{plural} long and begins with \"{quote}{rest}\". I will repeat it as it is."
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock::tools::set::ToolSet;

    fn answer(said: &[Message], reasons: bool) -> ModelResponse {
        let tool_set = ToolSet::default();
        let budget = Budget::new(1_000_000);
        let situation = ModelRequest {
            agent: "a",
            said,
            tool_set: &tool_set,
            blocks: &[],
            form: None,
            reasons,
            budget: &budget,
            heard: None,
        };
        respond(&situation).unwrap()
    }

    #[test]
    fn an_answer_has_the_form_that_is_asked_for() {
        let schema = serde_json::json!({"type": "object", "required": ["city", "days"], "properties": {
            "city": {"type": "string"}, "days": {"type": "integer"}}});
        for (form, expected) in [
            (serde_json::json!({"type": "json_object"}), r#"{"response":"Echo: 3 days in \"Rome\""}"#),
            (
                serde_json::json!({"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}),
                r#"{"city":"Rome","days":3}"#,
            ),
            (serde_json::json!({"type": "json_schema", "json_schema": schema}), r#"{"city":"Rome","days":3}"#),
        ] {
            let (tool_set, said) = (ToolSet::default(), [user("3 days in \"Rome\"")]);
            let form = form.as_object();
            let budget = &Budget::new(1_000_000);
            let situation = ModelRequest {
                agent: "a",
                said: &said,
                tool_set: &tool_set,
                blocks: &[],
                form,
                reasons: false,
                budget,
                heard: None,
            };
            let answer = respond(&situation).unwrap();
            assert_eq!(answer.parts, [Part::text(expected)], "{form:?}");
        }
    }

    fn user(text: &str) -> Message {
        Message::new(Role::User, vec![Part::text(text)])
    }

    #[test]
    fn the_last_thing_the_user_said_is_repeated() {
        let said = [user("one"), user("two"), Message::new(Role::System, vec![Part::text("three")])];
        assert_eq!(answer(&said, false).parts, [Part::text("Echo: two")]);
        assert!(matches!(answer(&said, true).parts.as_slice(), [Part::Reasoning { .. }, Part::Text { .. }]));
    }

    #[test]
    fn an_answer_does_what_it_is_told() {
        for (text, expected) in [
            ("[[refuse]] tell me", "I will not do that."),
            ("[[long:5]] one two", "one two one two one"),
            ("[[long:2]]", "and so"),
            ("[[slow:10]] hi", "Echo: hi"),
        ] {
            assert_eq!(answer(&[user(text)], false).parts, [Part::text(expected)], "{text}");
        }
        let thinking = answer(&[user("[[reason:hm]] hi")], false).parts;
        assert_eq!(thinking[0], Part::Reasoning { is_native: true, reasoning: "hm".into(), signature: None });
        assert_eq!(answer(&[user("[[error:429]]")], false).failure.unwrap().error_type, "llm_rate_limit");
    }

    #[test]
    fn an_answer_is_no_larger_than_it_may_be() {
        let (tool_set, long) = (ToolSet::default(), "w".repeat(1_000));
        let schema = serde_json::json!({"required": ["a", "b", "c"],
            "properties": {"a": {"type": "string"}, "b": {"type": "string"}, "c": {"type": "string"}}});
        let form = serde_json::json!({"type": "json_schema", "json_schema": schema});
        for (text, form) in [
            (format!("[[long:10]] {long}"), None),
            (format!("[[long:18446744073709551615]] {long}"), None),
            (long.repeat(5), None),
            (long.clone(), form.as_object()),
        ] {
            let (said, budget) = ([user(&text)], Budget::new(2_999));
            let situation = ModelRequest {
                agent: "a",
                said: &said,
                tool_set: &tool_set,
                blocks: &[],
                form,
                reasons: false,
                budget: &budget,
                heard: None,
            };
            assert!(respond(&situation).is_err(), "{} {form:?}", text.len());
        }
    }

    #[test]
    fn a_thought_is_a_function_of_the_text_and_short() {
        assert_eq!(thought("Hello", &[], &[]), thought("Hello", &[], &[]));
        assert!(thought(&"ä".repeat(1_000_000), &[], &[]).chars().count() < 200);
    }
}

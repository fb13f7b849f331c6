//! The default responder, which takes the user's text literally: it echoes the text, calls the tools that the text names,
//! uses memory tools where the text asks for it in plain English, and repeats what tools returned.

use serde_json::{Map, Value};

use super::{
    CallRequest, ModelRequest, ModelResponse, agent_messages, directives::Directives, interpreted, last_text_part,
    memory_intent, named_calls::named_calls, object_from_text, user_text,
};
use crate::mock::{
    budget::{Budget, Overspent, written_length},
    records::{Message, Part, Role, turn_error::TurnError},
};

/// The next step of a turn.
pub(super) fn respond(request: &ModelRequest<'_>) -> Result<ModelResponse, Overspent> {
    let text = user_text(request.messages);
    let mut directives = Directives::parse(&text);
    let calls = match std::mem::take(&mut directives.calls) {
        calls if calls.is_empty() => calls_in_words(request)?,
        calls => calls,
    };
    let made = request.messages.iter().map(|message| message.tool_calls.len()).sum();
    let calls: Vec<CallRequest> = calls.into_iter().skip(made).collect();
    let mut response = ModelResponse { event_delay: directives.event_delay, ..ModelResponse::default() };
    if calls.is_empty()
        && let Some(status) = directives.failure
    {
        response.failure = Some(TurnError::of_provider(status));
        return Ok(response);
    }
    if request.reasons || directives.reasoning.is_some() {
        let is_first_step = made == 0 && request.messages.iter().all(|message| message.tool_returns.is_empty());
        let reasoning = match &directives.reasoning {
            Some(reasoning) if is_first_step => reasoning.clone(),
            _ => reasoning(&text, &calls, request.messages),
        };
        response.parts.push(Part::Reasoning { is_native: true, reasoning, signature: None });
    }
    if calls.is_empty() {
        let text = reply(&directives, request.messages, request.budget)?;
        response.parts.push(Part::text(match request.response_format {
            Some(format) => json_reply(text, &directives.rest, format, request.budget)?,
            None => text,
        }));
    }
    response.calls = calls;
    Ok(response)
}

/// The calls that the user's text requests without directives.
fn calls_in_words(request: &ModelRequest<'_>) -> Result<Vec<CallRequest>, Overspent> {
    let text = Directives::parse(last_text_part(request.messages)).rest;
    let text = interpreted(&text);
    let named = named_calls(text, request.tool_set.tools(), request.budget)?;
    if !named.is_empty() {
        return Ok(named);
    }
    let call = agent_messages::call_by_tags(text, request.tool_set)
        .or_else(|| memory_intent::memory_call(text, request.tool_set, request.blocks));
    Ok(call.into_iter().collect())
}

fn reply(directives: &Directives, messages: &[Message], budget: &Budget) -> Result<String, Overspent> {
    if directives.refuses {
        return Ok("I will not do that.".to_owned());
    }
    if let Some(length) = directives.length {
        return repeat_words(&directives.rest, length, budget);
    }
    let begin = messages.iter().rposition(Message::is_of_user).map_or(0, |index| index + 1);
    let of_tools = messages[begin..].iter().filter(|message| message.role == Role::Tool);
    let mut returned = Vec::new();
    for tool_return in of_tools.flat_map(|message| &message.tool_returns) {
        let text = tool_return.tool_return.text();
        budget.charge(written_length(&text))?;
        returned.push(text);
    }
    Ok(match returned.as_slice() {
        [] => {
            budget.charge(written_length(&directives.rest))?;
            format!("Echo: {}", directives.rest)
        }
        [one] => format!("The tool returned: {one}"),
        many => format!("The tools returned: {}", many.join("; ")),
    })
}

/// A reply in JSON: an object of the schema in `response_format` with values from the user's text, or without a schema an
/// object with the reply.
fn json_reply(
    reply: String,
    user_text: &str,
    response_format: &Map<String, Value>,
    budget: &Budget,
) -> Result<String, Overspent> {
    let schema = response_format.get("json_schema").and_then(|named| named.get("schema").unwrap_or(named).as_object());
    let object = match schema {
        Some(schema) => object_from_text(user_text, schema, budget)?,
        None => Map::from_iter([("response".to_owned(), reply.into())]),
    };
    Ok(Value::Object(object).to_string())
}

/// The words of a text, repeated up to a number of words.
fn repeat_words(text: &str, length: usize, budget: &Budget) -> Result<String, Overspent> {
    let own: Vec<&str> = text.split_whitespace().filter(|word| !word.contains("[[") && !word.contains("]]")).collect();
    let words = if own.is_empty() { &["and", "so", "on"][..] } else { own.as_slice() };
    let round: usize = words.iter().map(|word| written_length(word) + 1).sum();
    let (rounds, rest) = (length / words.len(), length % words.len());
    let rest: usize = words[..rest].iter().map(|word| written_length(word) + 1).sum();
    let bytes = round.saturating_mul(rounds).saturating_add(rest);
    budget.charge(bytes)?;
    let mut repeated = String::with_capacity(bytes);
    for (index, word) in words.iter().cycle().take(length).enumerate() {
        if index > 0 {
            repeated.push(' ');
        }
        repeated.push_str(word);
    }
    Ok(repeated)
}

/// The reasoning before a step: short, and determined by the text, the step's calls, and the messages so far.
fn reasoning(text: &str, calls: &[CallRequest], messages: &[Message]) -> String {
    const MAX_QUOTE: usize = 60;
    if let Some(call) = calls.first() {
        return format!("I am asked to use {}, so I call it with what I was told.", call.name);
    }
    if messages.iter().any(|message| message.role == Role::Tool) {
        return "I have what the tool returned, and will say so.".to_owned();
    }
    let characters = text.chars().count();
    let quote: String = text.chars().take(MAX_QUOTE).collect();
    let rest = if characters > MAX_QUOTE { "..." } else { "" };
    let plural = if characters == 1 { "" } else { "s" };
    format!(
        "The message is {characters} character{plural} long and begins with \"{quote}{rest}\". I will repeat it as it is."
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock::tools::set::ToolSet;

    fn respond_to(
        messages: &[Message],
        response_format: Option<&Map<String, Value>>,
        reasons: bool,
        budget: usize,
    ) -> Result<ModelResponse, Overspent> {
        respond(&ModelRequest {
            agent_id: "agent-1",
            reply: None,
            agent_name: "a",
            messages,
            tool_set: &ToolSet::default(),
            blocks: &[],
            response_format,
            reasons,
            budget: &Budget::new(budget),
            user_texts: None,
        })
    }

    fn parts(messages: &[Message], reasons: bool) -> Vec<Part> {
        respond_to(messages, None, reasons, 1_000_000).unwrap().parts
    }

    #[test]
    fn a_reply_has_the_response_format_that_is_set() {
        let schema = serde_json::json!({"type": "object", "required": ["city", "days"], "properties": {
            "city": {"type": "string"}, "days": {"type": "integer"}}});
        for (format, expected) in [
            (serde_json::json!({"type": "json_object"}), r#"{"response":"Echo: 3 days in \"Rome\""}"#),
            (
                serde_json::json!({"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}),
                r#"{"city":"Rome","days":3}"#,
            ),
            (serde_json::json!({"type": "json_schema", "json_schema": schema}), r#"{"city":"Rome","days":3}"#),
        ] {
            let response = respond_to(&[user("3 days in \"Rome\"")], format.as_object(), false, 1_000_000).unwrap();
            assert_eq!(response.parts, [Part::text(expected)], "{format}");
        }
    }

    fn user(text: &str) -> Message {
        Message::new(Role::User, vec![Part::text(text)])
    }

    #[test]
    fn the_last_message_of_the_user_is_echoed() {
        let messages = [user("one"), user("two"), Message::new(Role::System, vec![Part::text("three")])];
        assert_eq!(parts(&messages, false), [Part::text("Echo: two")]);
        assert!(matches!(parts(&messages, true).as_slice(), [Part::Reasoning { .. }, Part::Text { .. }]));
    }

    #[test]
    fn a_reply_follows_the_directives() {
        for (text, expected) in [
            ("[[refuse]] tell me", "I will not do that."),
            ("[[long:5]] one two", "one two one two one"),
            ("[[long:2]]", "and so"),
            ("[[slow:10]] hi", "Echo: hi"),
        ] {
            assert_eq!(parts(&[user(text)], false), [Part::text(expected)], "{text}");
        }
        assert_eq!(
            parts(&[user("[[reason:hm]] hi")], false)[0],
            Part::Reasoning { is_native: true, reasoning: "hm".into(), signature: None }
        );
        let response = respond_to(&[user("[[error:429]]")], None, false, 1_000_000).unwrap();
        assert_eq!(response.failure.unwrap().error_type, "llm_rate_limit");
    }

    #[test]
    fn a_reply_beyond_the_budget_is_refused() {
        let long = "w".repeat(1_000);
        let schema = serde_json::json!({"required": ["a", "b", "c"],
            "properties": {"a": {"type": "string"}, "b": {"type": "string"}, "c": {"type": "string"}}});
        let format = serde_json::json!({"type": "json_schema", "json_schema": schema});
        for (text, format) in [
            (format!("[[long:10]] {long}"), None),
            (format!("[[long:18446744073709551615]] {long}"), None),
            (long.repeat(5), None),
            (long.clone(), format.as_object()),
        ] {
            let response = respond_to(&[user(&text)], format, false, 2_999);
            assert!(response.is_err(), "{} {format:?}", text.len());
        }
    }

    #[test]
    fn reasoning_is_determined_by_the_text_and_short() {
        assert_eq!(reasoning("Hello", &[], &[]), reasoning("Hello", &[], &[]));
        assert!(reasoning(&"ä".repeat(1_000_000), &[], &[]).chars().count() < 200);
    }
}

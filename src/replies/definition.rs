//! What a reply is: what it is matched against, and the steps that follow.

use std::time::Duration;

use regex::Regex;
use serde_json::Value;

use super::{
    criteria::Criterion,
    template::{Template, TemplateValue, Variable},
};

/// A reply, as it was defined.
#[derive(Debug)]
pub(crate) struct Reply {
    /// Its id; empty until it is added, if its definition has none.
    pub(super) id: String,
    /// What must fit, what is cheap to compare first.
    pub(super) criteria: Vec<Criterion>,
    /// What it says and does, in order.
    pub(super) steps: Vec<Step>,
    /// The state that the namespace is in once it is chosen.
    pub(super) next_state: Option<Box<str>>,
    /// For how many turns it may be chosen.
    pub(super) times: Option<u64>,
    /// Smaller ones come first.
    pub(super) priority: i64,
    /// Texts that whatever fits contains.
    pub(super) required: Vec<Box<[u8]>>,
    /// What templates and criteria refer to.
    pub(super) needs: Needs,
    /// The JSON of the definition.
    pub(super) definition: Value,
}

/// What the mock has to look up for a reply.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Needs {
    /// The number of the user's turn, to match it.
    pub(super) turn_to_match: bool,
    /// The number of the user's turn, to say it.
    pub(super) turn_to_say: bool,
    /// The values of memory blocks.
    pub(super) blocks: bool,
}

/// A step of a reply.
#[derive(Debug)]
pub(crate) enum Step {
    /// The agent thinks.
    Reasoning(Template),
    /// The agent speaks, with a pause before each event of it.
    Assistant {
        /// What it says.
        text: Template,
        /// The pause.
        pace: Option<Duration>,
    },
    /// The agent calls a tool, which ends the model step.
    Call {
        /// The name of the tool.
        name: String,
        /// Its arguments.
        arguments: Vec<(String, TemplateValue)>,
        /// Whether a person must approve it.
        requires_approval: bool,
        /// What it returns, and whether it succeeds; `None` runs the tool.
        returns: Option<(Template, bool)>,
    },
    /// The agent changes its memory.
    Memory(MemoryChange),
    /// A pause before the model step.
    Delay(Duration),
    /// The model's provider fails with this HTTP status, which ends the turn.
    Error(u16),
    /// The turn ends for this reason.
    Stop(&'static str),
    /// What the model step reports as its usage.
    Usage(UsageOverride),
}

/// A change of an agent's memory.
#[derive(Debug)]
pub(crate) enum MemoryChange {
    /// Adds a text to a block.
    Append {
        /// The label of the block.
        block: Template,
        /// The text.
        text: Template,
    },
    /// Replaces a text in a block; an empty one removes it.
    Replace {
        /// The label of the block.
        block: Template,
        /// The text that the block has.
        old: Template,
        /// The text in its place.
        new: Template,
    },
    /// Sets the whole value of a block.
    Set {
        /// The label of the block.
        block: Template,
        /// The value.
        value: Template,
    },
    /// Adds a passage to the archive.
    Archive {
        /// Its text.
        text: Template,
        /// Its tags.
        tags: Vec<Template>,
    },
}

/// The numbers of tokens that replace those that the mock counts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::struct_field_names, reason = "the names are Letta's")]
pub(crate) struct UsageOverride {
    /// The tokens of the request.
    pub(crate) prompt_tokens: Option<i64>,
    /// The tokens of the response.
    pub(crate) completion_tokens: Option<i64>,
    /// The tokens of both; their sum unless it is given.
    pub(crate) total_tokens: Option<i64>,
    /// The tokens of the reasoning.
    pub(crate) reasoning_tokens: Option<i64>,
}

/// The reasons for which a reply may end a turn. A turn that waits for approval has a step `approval` instead.
pub(crate) const STOP_REASONS: &[&str] = &[
    "end_turn",
    "error",
    "llm_api_error",
    "invalid_llm_response",
    "invalid_tool_call",
    "max_steps",
    "max_tokens_exceeded",
    "no_tool_call",
    "tool_rule",
    "cancelled",
    "insufficient_credits",
    "context_window_overflow_in_system_prompt",
];

impl Reply {
    /// Its id.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Gives it its id.
    pub(super) fn set_id(&mut self, id: &str) {
        id.clone_into(&mut self.id);
        if let Value::Object(definition) = &mut self.definition {
            definition.insert("id".to_owned(), id.into());
        }
    }

    /// Its steps.
    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Where the model step that begins with a step ends: after its call or failure, or at the end.
    pub(crate) fn end_of_model_step(&self, position: usize) -> usize {
        let left = self.steps.get(position..).unwrap_or_default();
        let ends = |step: &Step| matches!(step, Step::Call { .. } | Step::Error(_));
        left.iter().position(ends).map_or(self.steps.len(), |end| position + end + 1)
    }

    /// Whether its templates refer to memory blocks.
    pub(crate) fn needs_blocks(&self) -> bool {
        self.needs.blocks
    }

    /// The regular expression for the user's text.
    pub(super) fn user(&self) -> Option<&Regex> {
        self.criteria.iter().find_map(|criterion| match criterion {
            Criterion::User(user) => Some(user),
            _ => None,
        })
    }

    /// Whether it names the agents that it is for.
    pub(super) fn names_agent(&self) -> bool {
        let names = |criterion: &Criterion| {
            matches!(
                criterion,
                Criterion::Agent(_) | Criterion::AgentId(_) | Criterion::AgentTag(_) | Criterion::Ref(_)
            )
        };
        self.criteria.iter().any(names)
    }

    /// Whether it fits only after a tool or a decision of a person, so that it may take over from another reply.
    pub(super) fn is_late(&self) -> bool {
        let is_late = |criterion: &Criterion| {
            matches!(criterion, Criterion::AfterTool(_) | Criterion::ToolResult(_) | Criterion::Approval(_))
        };
        self.criteria.iter().any(is_late)
    }

    /// Whether it depends on the state of the namespace.
    pub(super) fn state(&self) -> Option<&str> {
        self.criteria.iter().find_map(|criterion| match criterion {
            Criterion::State(state) => Some(&**state),
            _ => None,
        })
    }
}

impl Needs {
    /// What steps and criteria refer to.
    pub(super) fn of(criteria: &[Criterion], steps: &[Step]) -> Self {
        let turn_to_match = criteria.iter().any(|criterion| matches!(criterion, Criterion::Turn(_)));
        let mut needs = Self { turn_to_match, ..Self::default() };
        for step in steps {
            step.visit(&mut |template| {
                for variable in template.variables() {
                    needs.blocks |= matches!(variable, Variable::Block(_));
                    needs.turn_to_say |= matches!(variable, Variable::Turn);
                }
            });
        }
        needs
    }
}

impl Step {
    fn visit(&self, visit: &mut dyn FnMut(&Template)) {
        match self {
            Self::Reasoning(text) | Self::Assistant { text, .. } => visit(text),
            Self::Call { arguments, returns, .. } => {
                for (_, value) in arguments {
                    value.visit(visit);
                }
                if let Some((text, _)) = returns {
                    visit(text);
                }
            }
            Self::Memory(change) => match change {
                MemoryChange::Append { block, text } => [block, text].into_iter().for_each(visit),
                MemoryChange::Replace { block, old, new } => [block, old, new].into_iter().for_each(visit),
                MemoryChange::Set { block, value } => [block, value].into_iter().for_each(visit),
                MemoryChange::Archive { text, tags } => std::iter::once(text).chain(tags).for_each(visit),
            },
            Self::Delay(_) | Self::Error(_) | Self::Stop(_) | Self::Usage(_) => {}
        }
    }
}

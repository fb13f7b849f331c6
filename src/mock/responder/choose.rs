//! Chooses the reply for a model step, and notes the choice in the journal.

use serde_json::{Value, json};

use super::Responder;
use crate::{
    access::Attempt,
    mock::{budget::offload, records::turn_error::TurnError},
    replies::{Chosen, Continues, Facts, NearMisses, TurnReplies, Unmatched},
};

impl Responder {
    /// Whether nothing is to be chosen: there are no replies, and agents need none.
    pub(in crate::mock) fn has_nothing_to_choose(&self, attempt: Option<&dyn Attempt>) -> bool {
        if !self.replies.is_empty() || self.replies.unmatched() == Unmatched::Refuse {
            return false;
        }
        note_missed(attempt, 0, "echo", None);
        true
    }

    /// Chooses the reply for the `step`th model step of a turn; `None` if none fits.
    ///
    /// # Errors
    /// If none fits and agents say only what replies say.
    pub(in crate::mock) fn choose(
        &self,
        turn: &TurnReplies,
        step: usize,
        facts: &Facts<'_>,
        continues: Continues<'_>,
        attempt: Option<&dyn Attempt>,
    ) -> Result<Option<Chosen>, TurnError> {
        offload(facts.text.len() + facts.after.map_or(0, |after| after.result.len()), || {
            if let Some(chosen) = self.replies.choose(turn, step, facts, continues) {
                note_chosen(attempt, step, &chosen);
                return Ok(Some(chosen));
            }
            // Nobody reads what a sleeptime agent says.
            let refuses = self.replies.unmatched() == Unmatched::Refuse && !facts.is_sleeptime;
            let near_misses = (refuses || attempt.is_some()).then(|| self.replies.near_misses(facts, refuses));
            let source = if refuses { "refused" } else { "echo" };
            note_missed(attempt, step, source, near_misses.as_ref());
            match near_misses.filter(|_| refuses) {
                Some(near_misses) => Err(TurnError::of_reply(near_misses.text(facts))),
                None => Ok(None),
            }
        })
    }
}

fn note_chosen(attempt: Option<&dyn Attempt>, step: usize, chosen: &Chosen) {
    let source = if chosen.is_of_script() { "script" } else { "reply" };
    note(attempt, || {
        json!({
            "source": source,
            "id": chosen.reply().id(),
            "step": chosen.position,
            "steps": step + 1,
            "near_misses": [],
        })
    });
}

fn note_missed(attempt: Option<&dyn Attempt>, step: usize, source: &str, near_misses: Option<&NearMisses>) {
    let nearest = near_misses.map(|near_misses| &*near_misses.nearest).unwrap_or_default();
    note(attempt, || json!({"source": source, "id": null, "step": 0, "steps": step + 1, "near_misses": nearest}));
}

fn note(attempt: Option<&dyn Attempt>, reply: impl FnOnce() -> Value) {
    if let Some(attempt) = attempt {
        attempt.note_reply(reply());
    }
}

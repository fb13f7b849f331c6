//! Which of the replies and faults that a test has prepared were used.

use std::collections::BTreeSet;

use crate::{
    faults::Faults,
    http::{App, Backend},
    verdicts::Prepared,
};

/// The ids of what was used in earlier worlds: a restored snapshot sets the counters back.
#[derive(Debug, Default)]
pub(super) struct Used {
    replies: BTreeSet<String>,
    faults: BTreeSet<String>,
}

impl Used {
    /// Notes what was used in a world that ends.
    pub(super) fn note(&mut self, app: &App) {
        for (id, _, is_used) in replies(app) {
            if is_used {
                self.replies.insert(id);
            }
        }
        for (id, is_used) in faults(app) {
            if is_used {
                self.faults.insert(id);
            }
        }
    }

    /// What is prepared in a world, and whether it was used.
    pub(super) fn with(&self, app: &App) -> Prepared {
        let mut prepared = Prepared::default();
        for (id, is_of_script, is_used) in replies(app) {
            let is_used = is_used || self.replies.contains(&id);
            let all = if is_of_script { &mut prepared.script } else { &mut prepared.replies };
            all.insert(id, is_used);
        }
        for (id, is_used) in faults(app) {
            let is_used = is_used || self.faults.contains(&id);
            prepared.faults.insert(id, is_used);
        }
        prepared
    }
}

/// Each reply: its id, whether it is of the script, and whether it was used.
fn replies(app: &App) -> Vec<(String, bool, bool)> {
    let Backend::Mock(mock) = &app.backend else { return Vec::new() };
    mock.replies().uses()
}

/// Each fault: its id, and whether it was used.
fn faults(app: &App) -> Vec<(String, bool)> {
    app.faults.as_ref().map(Faults::uses).unwrap_or_default()
}

//! What a fault did to a request, for the journal.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;

use crate::journal::FaultNote;

/// Notes what a fault does, as it happens. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Report(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    note: FaultNote,
    id: Box<str>,
    fired: u64,
    noted: Mutex<Noted>,
}

#[derive(Debug, Default)]
struct Noted {
    did: Vec<String>,
    not_possible: Vec<String>,
}

impl Report {
    /// The report on the `fired`th firing of a fault.
    pub(super) fn new(note: FaultNote, id: &str, fired: u64) -> Self {
        Self(Arc::new(Parts { note, id: id.into(), fired, noted: Mutex::default() }))
    }

    /// Notes that the fault has fired.
    pub(crate) fn fired(&self) {
        self.note(|_| ());
    }

    /// Notes what was done, once.
    pub(crate) fn did(&self, what: impl Into<String>) {
        let what = what.into();
        self.note(|noted| {
            if !noted.did.contains(&what) {
                noted.did.push(what);
            }
        });
    }

    /// Notes what could not be done, and why, once.
    pub(crate) fn not_possible(&self, what: impl Into<String>) {
        let what = what.into();
        self.note(|noted| {
            if !noted.not_possible.contains(&what) {
                noted.not_possible.push(what);
            }
        });
    }

    fn note(&self, change: impl FnOnce(&mut Noted)) {
        let Parts { note, id, fired, noted } = &*self.0;
        let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut noted);
        let Noted { did, not_possible } = &*noted;
        note.set(json!({"id": id, "fired": fired, "did": did, "not_possible": not_possible}));
    }
}

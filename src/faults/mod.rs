//! Faults: what goes wrong in a test, on purpose.
//!
//! Each world of a namespace has its own. What a snapshot keeps of them is a [`SavedFaults`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{ApiError, Code};

/// The faults of a world. Cheap to clone; all clones are the same faults.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults(Arc<Mutex<SavedFaults>>);

/// Faults, and how often each has fired.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SavedFaults {
    faults: Vec<Value>,
}

impl Faults {
    /// The faults that were saved.
    pub(crate) fn restore(saved: &SavedFaults) -> Self {
        Self(Arc::new(Mutex::new(saved.clone())))
    }

    /// The faults as they are now.
    pub(crate) fn save(&self) -> SavedFaults {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, SavedFaults> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SavedFaults {
    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.faults.len()
    }

    /// Reads faults as a namespace is created with them, which are at `pointer` in the body.
    ///
    /// # Errors
    /// 422 `fault_invalid` with the place.
    pub(crate) fn read(faults: Vec<Value>, pointer: &str) -> Result<Self, ApiError> {
        if !faults.is_empty() {
            return Err(ApiError::new(Code::FaultInvalid, "Faults cannot be given yet.").at(pointer));
        }
        Ok(Self { faults })
    }
}

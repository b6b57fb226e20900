//! Steps that wait until another attempt has computed what they need.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use ratchet_core::ids::StepKey;

/// No wait is as long.
const FAR: SignedDuration = SignedDuration::from_hours(1);

/// When steps that wait are looked at again. Whoever finds one waiting meanwhile need not say so again, and several handlers do. It may be lost: the wake-up finds them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waits(Arc<Mutex<HashMap<StepKey, Timestamp>>>);

impl Waits {
    /// Notes that a step is looked at again at a time. `false` where that was noted already and has not come.
    pub(crate) fn begin(&self, key: &StepKey, due: Timestamp, now: Timestamp) -> bool {
        let mut waits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that jumped back has them looked at too often rather than too late.
        waits.retain(|_, noted| *noted > now && noted.duration_since(now) < FAR);
        let is_new = !waits.contains_key(key);
        if is_new {
            waits.insert(key.clone(), due);
        }
        is_new
    }
}

//! Claims on their way to their launch.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ratchet_core::ids::StepKey;

/// The attempts that handlers of this engine claim and have not launched yet. Whoever looks after the run meanwhile finds no task of theirs, and must not take
/// them for lost. A claim whose handler died is not among them. Several handlers may be after the same attempt: how many is counted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Claims(Arc<Mutex<HashMap<(StepKey, u32), usize>>>);

/// A claim, as long as its handler lives and has not launched it.
pub(crate) struct HeldClaim {
    claims: Claims,
    attempt: (StepKey, u32),
}

impl Claims {
    /// Notes that a handler is about to claim an attempt.
    pub(crate) fn hold(&self, key: StepKey, attempt: u32) -> HeldClaim {
        let attempt = (key, attempt);
        *self.lock().entry(attempt.clone()).or_default() += 1;
        HeldClaim { claims: self.clone(), attempt }
    }

    /// Whether a handler is on its way to launch an attempt.
    pub(crate) fn are_held(&self, key: &StepKey, attempt: u32) -> bool {
        self.lock().contains_key(&(key.clone(), attempt))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(StepKey, u32), usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for HeldClaim {
    fn drop(&mut self) {
        let mut held = self.claims.lock();
        match held.get_mut(&self.attempt) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                held.remove(&self.attempt);
            }
        }
    }
}

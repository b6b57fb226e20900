use std::sync::Mutex;

use jiff::{SignedDuration, Timestamp};
use ratchet_engine::ports::Clock;
use sha2::{Digest as _, Sha256};

use super::lock;

/// A clock that stands still until it is moved, with entropy from a seed.
#[derive(Debug)]
pub struct ManualClock {
    now: Mutex<Timestamp>,
    seed: u64,
    drawn: Mutex<u64>,
}

impl ManualClock {
    /// A clock at a time. The same seed gives the same entropy.
    pub fn new(now: Timestamp, seed: u64) -> Self {
        Self { now: Mutex::new(now), seed, drawn: Mutex::new(0) }
    }

    /// Moves the clock, also backwards; it stops at the first and last time that can be told.
    pub fn advance(&self, by: SignedDuration) {
        let mut now = lock(&self.now);
        *now = now.saturating_add(by).unwrap_or(*now);
    }

    /// Sets the clock.
    pub fn set(&self, to: Timestamp) {
        *lock(&self.now) = to;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *lock(&self.now)
    }

    fn entropy(&self) -> [u8; 16] {
        let mut drawn = lock(&self.drawn);
        *drawn += 1;
        let digest = Sha256::new().chain_update(self.seed.to_le_bytes()).chain_update(drawn.to_le_bytes()).finalize();
        std::array::from_fn(|n| digest[n])
    }
}

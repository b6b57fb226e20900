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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::{builders::time, contract};

    #[test]
    fn keeps_the_contract() {
        let seeds = AtomicU64::new(0);
        contract::clock(|| ManualClock::new(time(0), seeds.fetch_add(1, Ordering::Relaxed)));
    }

    #[test]
    fn a_seed_gives_the_same_entropy_and_time_stands_still() {
        let clocks = [ManualClock::new(time(0), 7), ManualClock::new(time(0), 7)];
        let drawn = clocks.each_ref().map(|clock| [clock.entropy(), clock.entropy()]);
        assert_eq!(drawn[0], drawn[1]);
        clocks[0].advance(SignedDuration::from_secs(-5));
        assert_eq!([clocks[0].now(), clocks[1].now()], [time(-5), time(0)]);
    }
}

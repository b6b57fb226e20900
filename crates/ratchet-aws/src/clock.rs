//! Time and randomness of the machine that a function runs on.

use jiff::Timestamp;
use ratchet_engine::ports::Clock;
use uuid::Uuid;

/// The system's clock and randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn entropy(&self) -> [u8; 16] {
        // Two, because a version and a variant take six bits of each.
        let (one, other) = (Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes());
        std::array::from_fn(|at| one[at] ^ other[(at + 5) % 16])
    }
}

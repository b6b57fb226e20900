//! The machine's own time and randomness.

use jiff::Timestamp;
use ratchet_engine::ports::Clock;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// The clock of this machine, and the randomness of its kernel.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn entropy(&self) -> [u8; 16] {
        // A random identifier holds 122 bits of the kernel's randomness and some that are fixed; the hash of two has 128 and no pattern.
        let digest = Sha256::new().chain_update(Uuid::new_v4()).chain_update(Uuid::new_v4()).finalize();
        std::array::from_fn(|n| digest[n])
    }
}

#[cfg(test)]
mod tests {
    use ratchet_testkit::contract;

    use super::*;

    #[test]
    fn keeps_the_contract() {
        contract::clock(|| SystemClock);
    }
}

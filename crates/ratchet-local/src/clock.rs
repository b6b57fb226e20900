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

/// When this machine was started; `None` where the system does not say.
pub fn machine_started() -> Option<Timestamp> {
    started(&std::fs::read_to_string("/proc/stat").ok()?)
}

fn started(statistics: &str) -> Option<Timestamp> {
    let seconds = statistics.lines().find_map(|line| line.strip_prefix("btime "))?;
    Timestamp::from_second(seconds.trim().parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use ratchet_testkit::contract;

    use super::*;

    #[test]
    fn the_machine_was_started_before_now() {
        assert!(machine_started().is_some_and(|started| started <= Timestamp::now()));
        assert_eq!(started("cpu 1 2\nbtime 1700000000\nprocesses 3\n"), Timestamp::from_second(1_700_000_000).ok());
        assert_eq!(started("cpu 1 2\n"), None);
    }

    #[test]
    fn keeps_the_contract() {
        contract::clock(|| SystemClock);
    }
}

use jiff::Timestamp;
use ratchet_engine::ports::Clock;

use crate::simulation::world::{Shared, lock};

/// The time of the world, off by its skew.
pub(crate) struct SimulatedClock(pub(crate) Shared);

impl Clock for SimulatedClock {
    fn now(&self) -> Timestamp {
        lock(&self.0).clock()
    }

    fn entropy(&self) -> [u8; 16] {
        lock(&self.0).entropy()
    }
}

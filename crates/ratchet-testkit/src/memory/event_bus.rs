use std::{
    collections::{BTreeMap, VecDeque},
    sync::Mutex,
};

use async_trait::async_trait;
use jiff::Timestamp;
use ratchet_engine::ports::{BusError, Envelope, EventBus};

use super::lock;

/// Events in a queue that a test takes them from, in the order that they came.
#[derive(Debug, Default)]
pub struct MemoryEventBus(Mutex<Queues>);

#[derive(Debug, Default)]
struct Queues {
    ready: VecDeque<Envelope>,
    /// By the time that they are for, then by the order that they came in.
    timed: BTreeMap<(Timestamp, u64), Envelope>,
    published: u64,
}

impl MemoryEventBus {
    /// The next event that may be delivered at this time.
    pub fn take(&self, now: Timestamp) -> Option<Envelope> {
        let mut queues = lock(&self.0);
        while let Some(entry) = queues.timed.first_entry().filter(|entry| entry.key().0 <= now) {
            let envelope = entry.remove();
            queues.ready.push_back(envelope);
        }
        queues.ready.pop_front()
    }

    /// The time of the earliest event that is for later.
    pub fn next_due(&self) -> Option<Timestamp> {
        lock(&self.0).timed.first_key_value().map(|((at, _), _)| *at)
    }

    /// How many events wait, those for later included.
    pub fn len(&self) -> usize {
        let queues = lock(&self.0);
        queues.ready.len() + queues.timed.len()
    }

    /// Whether no event waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Loses every event that waits, as a crash does.
    pub fn lose_all(&self) {
        let mut queues = lock(&self.0);
        queues.ready.clear();
        queues.timed.clear();
    }
}

#[async_trait]
impl EventBus for MemoryEventBus {
    async fn publish(&self, envelope: Envelope) -> Result<(), BusError> {
        lock(&self.0).ready.push_back(envelope);
        Ok(())
    }

    async fn publish_at(&self, envelope: Envelope, at: Timestamp) -> Result<(), BusError> {
        let mut queues = lock(&self.0);
        queues.published += 1;
        let order = queues.published;
        queues.timed.insert((at, order), envelope);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ratchet_engine::ports::Clock;

    use super::*;
    use crate::{builders::time, contract, memory::ManualClock};

    struct Consumer {
        bus: Arc<MemoryEventBus>,
        clock: ManualClock,
    }

    #[async_trait]
    impl contract::Consumer for Consumer {
        fn bus(&self) -> Arc<dyn EventBus> {
            self.bus.clone()
        }

        fn now(&self) -> Timestamp {
            self.clock.now()
        }

        async fn next(&self) -> Envelope {
            self.bus.take(self.clock.now()).unwrap_or_else(|| {
                self.clock.set(self.bus.next_due().unwrap());
                self.bus.take(self.clock.now()).unwrap()
            })
        }
    }

    #[tokio::test]
    async fn keeps_the_contract() {
        contract::event_bus(async || Consumer { bus: Arc::default(), clock: ManualClock::new(time(0), 0) }).await;
    }
}

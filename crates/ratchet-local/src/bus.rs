//! Events between the handlers, in one process.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use ratchet_core::ids::ExecutionId;
use ratchet_engine::ports::{BusError, Clock, Envelope, EventBus};
use tokio::sync::Notify;

/// How long a wait for a timed event goes on before the clock is read again: clocks jump.
const CLOCK_CHECK: Duration = Duration::from_secs(5);

/// An event bus in memory: a queue for each run that this process drives. An event of a run that nobody here drives goes nowhere, which the
/// run's wake-up makes up for in the process that does drive it.
#[derive(Clone)]
pub struct LocalBus {
    clock: Arc<dyn Clock>,
    queues: Arc<Mutex<HashMap<ExecutionId, Arc<Queue>>>>,
}

impl LocalBus {
    /// A bus without queues.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, queues: Arc::default() }
    }

    /// Begins to keep the events of a run. They are given to whoever asks first; the queue goes when every subscription to it is dropped.
    pub fn subscribe(&self, execution: &ExecutionId) -> Subscription {
        let mut queues = lock(&self.queues);
        let queue = queues.entry(execution.clone()).or_default().clone();
        Subscription { bus: self.clone(), execution: execution.clone(), queue }
    }

    /// The queue of the run at the root: whoever drives that drives all that its steps start.
    fn queue(&self, execution: &ExecutionId) -> Option<Arc<Queue>> {
        lock(&self.queues).get(&execution.root()).cloned()
    }
}

#[async_trait]
impl EventBus for LocalBus {
    async fn publish(&self, envelope: Envelope) -> Result<(), BusError> {
        if let Some(queue) = self.queue(&envelope.execution) {
            lock(&queue.events).ready.push_back(envelope);
            queue.changed.notify_one();
        }
        Ok(())
    }

    async fn publish_at(&self, envelope: Envelope, at: Timestamp) -> Result<(), BusError> {
        if let Some(queue) = self.queue(&envelope.execution) {
            lock(&queue.events).delay(envelope, at);
            queue.changed.notify_one();
        }
        Ok(())
    }
}

/// The consumer's side of a run's events.
pub struct Subscription {
    bus: LocalBus,
    execution: ExecutionId,
    queue: Arc<Queue>,
}

impl Subscription {
    /// Waits for the next event. May be dropped at any await: no event is lost.
    pub async fn next(&self) -> Envelope {
        loop {
            // Taken before the queue is read, so that what is published meanwhile is not missed.
            let changed = self.queue.changed.notified();
            let wait = match lock(&self.queue.events).take(self.bus.clock.now()) {
                Taken::Event(envelope) => {
                    // Another waiter may have been woken for what is still there.
                    self.queue.changed.notify_one();
                    return *envelope;
                }
                Taken::Later(wait) => wait,
            };
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// The next event, where one is due.
    pub fn try_next(&self) -> Option<Envelope> {
        match lock(&self.queue.events).take(self.bus.clock.now()) {
            Taken::Event(envelope) => Some(*envelope),
            Taken::Later(_) => None,
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut queues = lock(&self.bus.queues);
        // One reference in the map and one here: this is the last subscription.
        if Arc::strong_count(&self.queue) <= 2 {
            queues.remove(&self.execution);
        }
    }
}

#[derive(Default)]
struct Queue {
    events: Mutex<Events>,
    changed: Notify,
}

#[derive(Default)]
struct Events {
    ready: VecDeque<Envelope>,
    /// By time, then by order of publishing.
    delayed: BinaryHeap<Reverse<(Timestamp, u64)>>,
    delayed_envelopes: HashMap<u64, Envelope>,
    published: u64,
}

enum Taken {
    Event(Box<Envelope>),
    Later(Duration),
}

impl Events {
    fn delay(&mut self, envelope: Envelope, at: Timestamp) {
        self.published += 1;
        self.delayed.push(Reverse((at, self.published)));
        self.delayed_envelopes.insert(self.published, envelope);
    }

    fn take(&mut self, now: Timestamp) -> Taken {
        while let Some(Reverse((at, number))) = self.delayed.peek().copied() {
            if at > now {
                break;
            }
            self.delayed.pop();
            self.ready.extend(self.delayed_envelopes.remove(&number));
        }
        if let Some(envelope) = self.ready.pop_front() {
            return Taken::Event(Box::new(envelope));
        }
        let wait = self.delayed.peek().map_or(CLOCK_CHECK, |Reverse((at, _))| {
            // One millisecond on top: a timer that fires a hair early would only go round again.
            let until = Duration::try_from(at.duration_since(now)).unwrap_or_default() + Duration::from_millis(1);
            until.min(CLOCK_CHECK)
        });
        Taken::Later(wait)
    }
}

/// A lock that does not mind a panic elsewhere: what it guards is whole between statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use ratchet_core::execution::TraceParent;
    use ratchet_engine::ports::Event;

    use super::*;

    /// Seconds that a test sets.
    #[derive(Default)]
    struct HandClock(AtomicI64);

    impl Clock for HandClock {
        fn now(&self) -> Timestamp {
            Timestamp::from_second(self.0.load(Ordering::SeqCst)).unwrap()
        }

        fn entropy(&self) -> [u8; 16] {
            [0; 16]
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// An envelope told apart by its trace.
    fn envelope(execution: &str, name: &str) -> Envelope {
        Envelope {
            execution: ExecutionId::new(execution),
            trace: TraceParent(name.to_owned()),
            event: Event::WakeUpDue,
        }
    }

    fn names(subscription: &Subscription) -> Vec<String> {
        std::iter::from_fn(|| subscription.try_next()).map(|envelope| envelope.trace.0).collect()
    }

    #[tokio::test]
    async fn each_run_has_its_own_events_and_a_run_nobody_drives_has_none() {
        let bus = LocalBus::new(Arc::new(HandClock::default()));
        bus.publish(envelope("a", "before anybody drives it")).await.unwrap();
        let (a, b) = (bus.subscribe(&ExecutionId::new("a")), bus.subscribe(&ExecutionId::new("b")));
        for (execution, name) in [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4")] {
            bus.publish(envelope(execution, name)).await.unwrap();
        }
        assert_eq!((names(&a), names(&b)), (vec!["1".into(), "3".into()], vec!["2".into()]));
        drop(a);
        bus.publish(envelope("a", "after")).await.unwrap();
        assert_eq!(names(&bus.subscribe(&ExecutionId::new("a"))), Vec::<String>::new());
        assert_eq!(lock(&bus.queues).len(), 1, "queues go with their subscriptions");
    }

    #[tokio::test]
    async fn a_timed_event_is_never_early_and_follows_its_time() {
        let clock = Arc::new(HandClock::default());
        let bus = LocalBus::new(clock.clone());
        let events = bus.subscribe(&ExecutionId::new("a"));
        bus.publish_at(envelope("a", "late"), at(20)).await.unwrap();
        bus.publish_at(envelope("a", "early"), at(10)).await.unwrap();
        bus.publish(envelope("a", "now")).await.unwrap();
        assert_eq!(names(&events), ["now"]);
        clock.0.store(9, Ordering::SeqCst);
        assert_eq!(names(&events), Vec::<String>::new());
        clock.0.store(25, Ordering::SeqCst);
        assert_eq!(names(&events), ["early", "late"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiter_wakes_when_an_event_comes_and_when_the_clock_jumps() {
        let clock = Arc::new(HandClock::default());
        let bus = LocalBus::new(clock.clone());
        let events = bus.subscribe(&ExecutionId::new("a"));
        bus.publish_at(envelope("a", "timed"), at(1_000_000)).await.unwrap();
        let waiter = tokio::spawn(async move { (events.next().await.trace.0, events.next().await.trace.0) });
        tokio::task::yield_now().await;
        bus.publish(envelope("a", "now")).await.unwrap();
        tokio::task::yield_now().await;
        clock.0.store(1_000_000, Ordering::SeqCst);
        assert_eq!(waiter.await.unwrap(), ("now".into(), "timed".into()));
    }
}

//! The executor: handlers as futures in a set, of which the schedule picks one to poll. There is no runtime, no thread and no time.
//!
//! Every port call is a point where a future waits, so dropping a future that waits is a crash at an await.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use ratchet_engine::ports::Envelope;

/// A future on its way.
pub(crate) struct Running {
    /// What it does, for the trace.
    pub(crate) label: String,
    /// The process that it lives in.
    pub(crate) process: usize,
    /// The event that it handles, which may come again where it does not get to its end.
    pub(crate) handles: Option<Delivery>,
    awake: Arc<Awake>,
    future: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// An event on its way to a handler.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) envelope: Envelope,
    /// How often it was delivered already.
    pub(crate) tries: u32,
}

struct Awake(AtomicBool);

impl Wake for Awake {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The futures that are on their way.
#[derive(Default)]
pub(crate) struct Executor {
    futures: BTreeMap<u64, Running>,
    spawned: u64,
}

impl Executor {
    pub(crate) fn spawn(
        &mut self,
        label: String,
        process: usize,
        handles: Option<Delivery>,
        future: impl Future<Output = ()> + Send + 'static,
    ) {
        self.spawned += 1;
        let awake = Arc::new(Awake(AtomicBool::new(true)));
        self.futures.insert(self.spawned, Running { label, process, handles, awake, future: Box::pin(future) });
    }

    /// Whether nothing is on its way.
    pub(crate) fn is_empty(&self) -> bool {
        self.futures.is_empty()
    }

    /// The futures that can go on.
    pub(crate) fn runnable(&self) -> Vec<u64> {
        let awake = self.futures.iter().filter(|(_, running)| running.awake.0.load(Ordering::Relaxed));
        awake.map(|(id, _)| *id).collect()
    }

    /// What is on its way, for people.
    pub(crate) fn labels(&self) -> Vec<String> {
        self.futures.values().map(|running| running.label.clone()).collect()
    }

    pub(crate) fn label(&self, id: u64) -> &str {
        self.futures.get(&id).map_or("", |running| &running.label)
    }

    /// Lets a future go on to its next wait or to its end.
    pub(crate) fn poll(&mut self, id: u64) {
        let Some(running) = self.futures.get_mut(&id) else { return };
        running.awake.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&running.awake));
        if running.future.as_mut().poll(&mut Context::from_waker(&waker)) == Poll::Ready(()) {
            self.futures.remove(&id);
        }
    }

    /// Drops a future where it waits.
    pub(crate) fn crash(&mut self, id: u64) -> Option<Running> {
        self.futures.remove(&id)
    }

    /// Drops every future of a process.
    pub(crate) fn crash_process(&mut self, process: usize) -> Vec<Running> {
        let ids: Vec<u64> =
            self.futures.iter().filter(|(_, running)| running.process == process).map(|(id, _)| *id).collect();
        ids.into_iter().filter_map(|id| self.futures.remove(&id)).collect()
    }
}

//! The world of one run of the simulation: its time, its chance, what is on its way in it, and what was seen.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use jiff::{SignedDuration, Timestamp};
use ratchet_core::{
    execution::ExecutionRow,
    ids::{ExecutionId, StepKey},
};

use super::{executor::Delivery, faults::Faults, laws::Laws, random::Random, tasks::Tasks, trace::Trace};
use crate::builders::time;

/// A second, in the simulation's milliseconds.
pub(crate) const SECOND: i64 = 1000;
/// A minute.
pub(crate) const MINUTE: i64 = 60 * SECOND;
/// An hour.
pub(crate) const HOUR: i64 = 60 * MINUTE;

/// The world, as everything in it shares it. Nothing holds the lock while it waits.
pub(crate) type Shared = Arc<Mutex<World>>;

/// What happens at a time.
pub(crate) enum Timer {
    /// A port call goes on.
    Wake(Waker),
    /// An event comes to a handler.
    Deliver(Box<Delivery>),
    /// The process of an attempt ends.
    TaskEnds(StepKey, u32),
    /// A person does something.
    Person(Act),
    /// The process of a run is killed.
    Killed(usize),
    /// It is back.
    Back(usize),
    /// The faults stop.
    Calm,
}

/// What a person, or a program on behalf of one, does to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// Asks for the run, until it is there.
    Start(usize),
    Cancel(usize),
    Resume {
        run: usize,
        from_some: bool,
    },
    /// Looks whether the run waits for a person, and lets it go on.
    Look(usize),
}

/// The world.
pub(crate) struct World {
    pub(crate) random: Random,
    /// Milliseconds since the beginning.
    pub(crate) now: i64,
    /// How far the engine's clock is off.
    pub(crate) skew: i64,
    pub(crate) faults: Faults,
    pub(crate) timers: BTreeMap<(i64, u64), Timer>,
    pub(crate) tasks: Tasks,
    pub(crate) laws: Laws,
    pub(crate) trace: Trace,
    /// Each execution as it was before its last change.
    pub(crate) earlier: BTreeMap<ExecutionId, ExecutionRow>,
    sequence: u64,
    drawn: u64,
}

impl World {
    pub(crate) fn new(random: Random, faults: Faults, tasks: Tasks, laws: Laws, trace: Trace) -> Self {
        let timers = BTreeMap::new();
        let earlier = BTreeMap::new();
        Self { random, now: 0, skew: 0, faults, timers, tasks, laws, trace, earlier, sequence: 0, drawn: 0 }
    }

    /// Has something happen so many milliseconds from now.
    pub(crate) fn after(&mut self, milliseconds: i64, timer: Timer) {
        self.sequence += 1;
        self.timers.insert((self.now + milliseconds.max(0), self.sequence), timer);
    }

    /// What was to happen by now, earliest first.
    pub(crate) fn take_due(&mut self) -> Option<Timer> {
        let entry = self.timers.first_entry().filter(|entry| entry.key().0 <= self.now)?;
        Some(entry.remove())
    }

    /// When the next thing happens.
    pub(crate) fn next_timer(&self) -> Option<i64> {
        self.timers.first_key_value().map(|((at, _), _)| *at)
    }

    /// The time as the engine's clock tells it.
    pub(crate) fn clock(&self) -> Timestamp {
        timestamp(self.now + self.skew)
    }

    /// Bytes that never come twice.
    pub(crate) fn entropy(&mut self) -> [u8; 16] {
        self.drawn += 1;
        let (high, low) = (self.random.next(), self.drawn);
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&high.to_le_bytes());
        bytes[8..].copy_from_slice(&low.to_le_bytes());
        bytes
    }

    /// Writes a line of the trace.
    pub(crate) fn say(&mut self, line: impl FnOnce() -> String) {
        self.trace.say(self.now, line);
    }
}

/// The time of the engine's clock at a moment of the simulation.
pub(crate) fn timestamp(milliseconds: i64) -> Timestamp {
    time(0).saturating_add(SignedDuration::from_millis(milliseconds)).unwrap_or(Timestamp::MAX)
}

/// The moment of the simulation at which the engine's clock shows a time, were it right.
pub(crate) fn moment(at: Timestamp) -> i64 {
    i64::try_from(at.duration_since(time(0)).as_millis()).unwrap_or(i64::MAX)
}

pub(crate) fn lock(world: &Shared) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A wait in a port call: another future may come between, the future may be dropped here, and at times it takes long.
pub(crate) fn pause(world: &Shared) -> Pause {
    Pause { world: world.clone(), until: None }
}

/// See [`pause`].
pub(crate) struct Pause {
    world: Shared,
    until: Option<i64>,
}

impl Future for Pause {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let mut world = lock(&this.world);
        match this.until {
            None => {
                let stall = world.faults.stall;
                let wait = if world.random.chance(stall) { world.random.between(SECOND, 20 * MINUTE) } else { 0 };
                this.until = Some(world.now + wait);
                if wait == 0 {
                    context.waker().wake_by_ref();
                } else {
                    world.after(wait, Timer::Wake(context.waker().clone()));
                }
                Poll::Pending
            }
            Some(until) if until <= world.now => Poll::Ready(()),
            Some(_) => Poll::Pending,
        }
    }
}

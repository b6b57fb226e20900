//! The loop that drives a run: events to handlers, times to events, and an eye on what other processes write.

use std::{collections::VecDeque, pin::pin, time::Duration};

use jiff::Timestamp;
use ratchet_core::{
    execution::ExecutionRow,
    ids::{ExecutionId, StepKey},
    status::ExecutionStatus,
};
use ratchet_engine::{
    Engine, EngineError,
    ports::{Envelope, Event, EventBus, StateStore, Stop},
};
use tokio::{
    sync::watch::Receiver,
    task::{JoinError, JoinSet},
    time::{Instant as Moment, sleep, timeout},
};

use super::{DriveError, LocalEngine, watch::Known, word::BEAT};
use crate::{bus::Subscription, error::LocalError, place::LocalPlace};

/// How often the row itself is read: whoever writes without leaving word is noticed too.
const LOOK: Duration = Duration::from_secs(1);

/// How many events are handled at once. Those that wait for a slot are not among them.
const HANDLERS_MAX: usize = 64;

/// How many steps wait for a slot at once: a few more than there may be slots that come free in one moment.
const WAITING_FOR_SLOT_MAX: usize = 32;

/// How many runs that steps started are woken at once.
const NESTED_DUE_MAX: usize = 64;

/// How often an event is handled again that failed for now, and how long after.
const RETRIES_MAX: u32 = 8;
const RETRY_DELAY: Duration = Duration::from_millis(20);

/// How long attempts that were killed may take to be gone before the run is given back.
const KILL_PATIENCE: Duration = Duration::from_secs(30);

/// A handler's end.
struct Handled {
    /// The attempt whose report it handled.
    report: Option<(StepKey, u32)>,
    /// Whether it waited for a slot.
    for_slot: bool,
    /// Whether it was the wake-up.
    woke: bool,
    /// What came of it.
    result: Result<(), EngineError>,
}

impl LocalEngine {
    /// Whether driving the run would do anything.
    pub(super) fn has_something_left(&self, row: &ExecutionRow) -> Result<bool, DriveError> {
        Ok(match row.status {
            ExecutionStatus::Running | ExecutionStatus::Paused => row.is_watched(),
            ExecutionStatus::Completed => LocalPlace::of(row)?.is_applied() && self.application(row)?.is_none(),
            ExecutionStatus::Failed | ExecutionStatus::Cancelled => false,
        })
    }

    pub(super) async fn drive_held(&self, id: &ExecutionId, taken_over: bool) -> Result<ExecutionRow, DriveError> {
        let known = self.watch.subscribe(id);
        let row = self.row(id).await?;
        if row.is_watched() {
            let events = self.holds().get_mut(id).and_then(|hold| hold.events.take());
            let events = events.unwrap_or_else(|| self.bus.subscribe(id));
            if taken_over {
                self.tell(&row, Event::WakeUpDue).await?;
            }
            let driver = Driver {
                local: self,
                id,
                events,
                known,
                row,
                told_of: None,
                handlers: JoinSet::new(),
                startable: VecDeque::new(),
                waiting_for_slot: 0,
                looked_at_rest: false,
            };
            let driven = driver.run().await;
            // Whatever happened: nothing of the run is left when it is given back.
            self.launcher.stop_all(id, Stop::AtOnce);
            if timeout(KILL_PATIENCE, self.launcher.idle(id)).await.is_err() {
                tracing::warn!(execution = %id, "attempts do not end");
            }
            driven?;
        }
        let row = self.row(id).await?;
        if row.status == ExecutionStatus::Completed {
            self.apply(&row, false).await?;
        }
        Ok(row)
    }

    pub(super) async fn row(&self, id: &ExecutionId) -> Result<ExecutionRow, DriveError> {
        Ok(self.store.execution(id).await?.ok_or_else(|| EngineError::NotFound(id.clone()))?)
    }

    async fn tell(&self, row: &ExecutionRow, event: Event) -> Result<(), DriveError> {
        let envelope = Envelope { execution: row.id.clone(), trace: row.trace.clone(), event };
        Ok(self.bus.publish(envelope).await.map_err(EngineError::from)?)
    }
}

/// One run that is driven.
struct Driver<'a> {
    local: &'a LocalEngine,
    id: &'a ExecutionId,
    events: Subscription,
    known: Receiver<Known>,
    /// Its newest row that is known here.
    row: ExecutionRow,
    /// The wake-up that was told of last: while that is handled it is not told again.
    told_of: Option<Timestamp>,
    /// Given up where the driver is: a handler may die at any await.
    handlers: JoinSet<Handled>,
    /// Steps that can start, and how many of them a handler holds that waits for a slot.
    startable: VecDeque<Envelope>,
    waiting_for_slot: usize,
    /// Whether the run was woken since anything last happened in it.
    looked_at_rest: bool,
}

impl Driver<'_> {
    async fn run(mut self) -> Result<(), DriveError> {
        let mut word = self.local.word.listen();
        let mut heard = self.local.word.left_to(self.id);
        let mut next_look = pin!(sleep(self.until_look()));
        loop {
            while self.has_room()
                && let Some(envelope) = self.events.try_next()
            {
                self.take(envelope);
            }
            if self.is_over() {
                return Ok(());
            }
            if self.rests() && !std::mem::replace(&mut self.looked_at_rest, true) {
                // Whether only a person's word lets it go on is found by the wake-up, which else would come in minutes.
                self.local.tell(&self.row, Event::WakeUpDue).await?;
            }
            tokio::select! {
                Some(handled) = self.handlers.join_next() => self.settle(handled)?,
                envelope = self.events.next(), if self.has_room() => self.take(envelope),
                changed = self.known.changed() => {
                    let known = self.known.borrow_and_update().clone();
                    if changed.is_err() || known.abandoned {
                        return Ok(());
                    }
                    if let Some(row) = known.row.filter(|row| row.revision > self.row.revision) {
                        self.row = row;
                        let due = Moment::now() + self.until_look();
                        if due < next_look.deadline() {
                            next_look.as_mut().reset(due);
                        }
                    }
                }
                _ = word.changed() => {
                    let now = self.local.word.left_to(self.id);
                    if std::mem::replace(&mut heard, now) != now {
                        self.look(true).await?;
                    }
                }
                () = &mut next_look => {
                    self.look(false).await?;
                    next_look.as_mut().reset(Moment::now() + self.until_look());
                }
            }
        }
    }

    /// Whether the run is ended or paused, and nothing of it is on its way here.
    fn is_over(&self) -> bool {
        self.row.status != ExecutionStatus::Running
            && self.handlers.is_empty()
            && self.startable.is_empty()
            && self.local.launcher.unsettled(self.id) == 0
    }

    /// Whether the run goes on, and nothing of it runs or is on its way here: it waits for a time, or for a person.
    fn rests(&self) -> bool {
        self.row.status == ExecutionStatus::Running
            && self.handlers.is_empty()
            && self.startable.is_empty()
            && self.local.launcher.unsettled(self.id) == 0
    }

    fn has_room(&self) -> bool {
        self.handlers.len() - self.waiting_for_slot < HANDLERS_MAX
    }

    fn take(&mut self, envelope: Envelope) {
        if matches!(envelope.event, Event::StepReady { .. }) {
            self.startable.push_back(envelope);
            self.fill_slots();
        } else {
            self.spawn(envelope, false);
        }
    }

    fn fill_slots(&mut self) {
        while self.waiting_for_slot < WAITING_FOR_SLOT_MAX
            && let Some(envelope) = self.startable.pop_front()
        {
            self.waiting_for_slot += 1;
            self.spawn(envelope, true);
        }
    }

    fn spawn(&mut self, envelope: Envelope, for_slot: bool) {
        let report = match &envelope.event {
            Event::StepFinished(report) => Some((report.key.clone(), report.attempt)),
            _ => None,
        };
        let woke = matches!(envelope.event, Event::WakeUpDue);
        let engine = self.local.engine.clone();
        self.handlers.spawn(async move { Handled { report, for_slot, woke, result: handle(&engine, envelope).await } });
    }

    fn settle(&mut self, handled: Result<Handled, JoinError>) -> Result<(), DriveError> {
        let Handled { report, for_slot, woke, result } =
            handled.map_err(|error| LocalError::Handler(error.to_string()))?;
        if for_slot {
            self.waiting_for_slot -= 1;
            self.fill_slots();
        }
        self.looked_at_rest &= woke;
        result?;
        if let Some((key, attempt)) = report {
            self.local.launcher.acknowledge(&key, attempt);
        }
        Ok(())
    }

    /// How long until the row is read again: at the run's wake-up, where that comes sooner.
    fn until_look(&self) -> Duration {
        let now = self.local.engine.ports().clock.now();
        let wake = self.row.wake_at.map(|at| Duration::try_from(at.duration_since(now)).unwrap_or_default());
        wake.unwrap_or(LOOK).clamp(BEAT, LOOK)
    }

    /// Whether the run's own wake-up is due, as far as is known here.
    fn is_due(&self) -> bool {
        self.row.wake_at.is_some_and(|at| at <= self.local.engine.ports().clock.now())
    }

    /// Reads the row, and sees to what another process changed in it and to its wake-up.
    async fn look(&mut self, is_told: bool) -> Result<(), DriveError> {
        let row = self.local.row(self.id).await?;
        if row.revision < self.row.revision {
            return Ok(());
        }
        let is_changed = (row.epoch, row.status) != (self.row.epoch, self.row.status);
        self.row = row;
        if self.row.status != ExecutionStatus::Running {
            return Ok(());
        }
        let now = self.local.engine.ports().clock.now();
        for id in self.local.store.due_within(self.id, now, NESTED_DUE_MAX)? {
            if let Some(row) = self.local.store.execution(&id).await? {
                self.local.tell(&row, Event::WakeUpDue).await?;
            }
        }
        if self.row.waits_for_turn() && self.local.turn_has_come(&self.row).await? {
            self.local.tell(&self.row, Event::ExecutionChanged).await?;
        } else if is_changed || is_told {
            // Word may have been left for a run that a step started.
            self.looked_at_rest = false;
            self.local.tell(&self.row, Event::WakeUpDue).await?;
        } else if self.is_due() && (self.handlers.is_empty() || self.told_of != self.row.wake_at) {
            self.told_of = self.row.wake_at;
            self.local.tell(&self.row, Event::WakeUpDue).await?;
        }
        Ok(())
    }
}

/// Handles an event, again and again where it fails for now.
async fn handle(engine: &Engine, envelope: Envelope) -> Result<(), EngineError> {
    for retry in 0.. {
        match engine.handle(envelope.clone()).await {
            Err(EngineError::Rejected(rejection)) => {
                tracing::debug!(%rejection, "rejected");
                return Ok(());
            }
            Err(error) if error.is_retryable() && retry < RETRIES_MAX => {
                tracing::warn!(%error, event = envelope.event.name(), "an event is handled again");
                sleep(RETRY_DELAY * 2_u32.pow(retry)).await;
            }
            other => return other,
        }
    }
    Ok(())
}

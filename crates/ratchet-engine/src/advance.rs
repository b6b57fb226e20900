//! How a run is moved: a queue of tasks, each of which stages conditional writes, then one commit of what was staged, then the acts that
//! the committed changes ask for.
//!
//! A handler goes on inline with whatever needs no task before it returns: a step's result, the skips and assertions behind it and the claim of
//! the next step are one ordered sequence of writes. A write may rest on one before it (a claim on the result that made it possible): where that one
//! conflicts, what rests on it is dropped with it.

mod act;
mod cached;
mod calls;
mod fan_out;
mod give_up;
mod nested;
mod queue;
mod settle;

use std::collections::{HashMap, HashSet};

use ratchet_core::{
    decide::decide_step,
    event::StepEvent,
    execution::ExecutionRow,
    history::{Actor, Record},
    ids::{Digest, StepId, StepKey, StepPath},
    join::{JoinKey, JoinKind, NeedOutcome, Place},
    rejection::Rejection,
    status::StepStatus,
    step::{AttemptRow, FailureClass, StepFailure, StepRow, StepState, Waiting},
    transition::{ExecutionTransition, StepTransition},
    workflow::{Action, Step},
};

use crate::{
    artifacts,
    claims::HeldClaim,
    engine::{Engine, EngineError},
    handlers::plan::plan,
    nested::RunOrder,
    order::{AttemptReport, Order},
    ports::{Committed, Current, Envelope, Expectation, Slot, Write, WriteOutcome},
    run::Run,
    scope::Overlay,
    step_cache, turns,
};
pub(crate) use calls::{limit_reason, settle_ended};
pub(crate) use nested::{NestedRuns, paused_in_words, tell};
use queue::{Queue, Queued};

/// How often writes may conflict before a handler gives up and lets its event come again.
const CONFLICTS_MAX: u32 = 200;

/// How many writes are staged before they are committed: what follows from them is found among few.
const STAGED_MAX: usize = 32;

/// Something to do for a run.
#[derive(Debug, Clone)]
pub(crate) enum Task {
    /// All needs of a step are there.
    Dispatch(Dispatch),
    /// A step settled: those that need it, or the fan-out that it is a child of, are told.
    Tell(Box<StepRow>),
    /// Something arrived at a join.
    Arrive { step: StepId, kind: JoinKind, place: Place, outcome: NeedOutcome },
    /// The first child of each lane starts.
    StartChildren(StepId),
    /// A child settled: its lane moves on.
    PassLane(StepPath),
    /// An attempt ended.
    Report(Box<AttemptReport>),
    /// The run that an attempt is may have ended, or may not be there.
    Nested(StepKey),
    /// The run that an attempt is cannot be started.
    NotStarted { key: StepKey, failure: Box<StepFailure> },
    /// A row whose run goes on under the claim of a newer epoch is settled.
    Dispose(StepKey),
    /// A row of an older epoch is settled where its run has ended.
    DisposeEnded(StepKey),
    /// An attempt's task is gone.
    Lost { key: StepKey, attempt: u32 },
    /// The time of a step's next attempt has come.
    Retry { key: StepKey, attempt: u32 },
    /// The time that a step waited for has come, or it is too late for an answer.
    TimeCome(StepKey),
    /// Rows that no longer count, or siblings of a child that failed for all, are to be stopped.
    Cancel(Vec<StepKey>),
    /// A claim came too late to be launched.
    Withdraw { key: StepKey, attempt: u32 },
    /// An attempt was claimed, and there is no budget left to launch it.
    Refuse { key: StepKey, attempt: u32 },
    /// Rows that no longer count are to be stopped, and a person is to decide about them.
    Suspend(Vec<StepKey>),
    /// All children of a fan-out settled, or one failed for all.
    ChildrenDone(StepId),
    /// The children of a fan-out that ended before they did are to be stopped.
    StopChildren(StepKey),
    /// The work is over.
    WorkOver,
    /// Everything is settled.
    End(NeedOutcome),
}

/// A step that can start.
#[derive(Debug, Clone)]
pub(crate) struct Dispatch {
    pub(crate) path: StepPath,
    pub(crate) needs: NeedOutcome,
    pub(crate) predecessor: Option<u32>,
    /// The row of an older epoch of which something may be taken over: the children of a fan-out, a run, or an agent's session.
    pub(crate) adopts: Option<Box<StepRow>>,
}

impl Dispatch {
    pub(crate) fn step(step: StepId, needs: NeedOutcome) -> Self {
        Self { path: StepPath::step(step), needs, predecessor: None, adopts: None }
    }
}

/// What to do once a write is committed.
enum Act {
    Launch(Slot, Box<Order>),
    /// Starts the run that an attempt is.
    StartRun(Box<RunOrder>),
    /// Goes on with what only makes sense once the write is there.
    Then(Task),
    WakeAt {
        row: Box<StepRow>,
        due: jiff::Timestamp,
    },
    Pause {
        step: StepId,
        reason: String,
    },
    /// Looks at a step again that waits for what another attempt computes.
    LookAgain {
        envelope: Box<Envelope>,
        look_at: jiff::Timestamp,
        until: jiff::Timestamp,
    },
    /// Keeps what a settled step gave for other runs.
    Keep(Box<StepRow>),
    /// Tells what an assertion says of the results that it rests on.
    Judge {
        assertion: StepKey,
        holds: bool,
    },
    Conclude,
    Publish(Box<Envelope>),
    StepChanged(Box<StepRow>, Box<Record<StepTransition>>),
    ExecutionChanged(Box<ExecutionRow>, Box<Record<ExecutionTransition>>),
}

struct Staged {
    id: u64,
    after: Option<u64>,
    write: Write,
    /// What to do again where the write did not come to its turn.
    origin: Option<Task>,
    acts: Vec<Act>,
}

/// Moves a run.
pub(crate) struct Advance<'a> {
    engine: &'a Engine,
    pub(crate) run: Run,
    slot: Option<Slot>,
    /// Room for children that take over lanes, by the child whose lane it is: nothing else that this handler starts takes it away.
    lane_slots: HashMap<StepPath, Slot>,
    /// The highest child of a fan-out that was started, or is to take over a lane.
    last_children: HashMap<StepId, u32>,
    queue: Queue,
    staged: Vec<Staged>,
    overlay: Overlay,
    next_id: u64,
    conflicts: u32,
    /// What became of the run.
    pub(crate) progress: Progress,
    /// How many steps that could start were left to handlers of their own.
    pub(crate) put_off: u32,
    /// Whether a row is to be given up whose run has not ended yet.
    pub(crate) awaits_runs: bool,
    /// Runs that are to end and are paused until a person decides, each with the step that it is.
    pub(crate) stuck: Vec<(StepPath, ExecutionRow)>,
    /// The step for which the budget has no call left, and what is said of it.
    over_budget: Option<(StepId, String)>,
    /// Whether something was found that only a look at the whole run can finish.
    needs_plan: bool,
}

/// What became of a run in one handler.
#[derive(Default)]
pub(crate) struct Progress {
    /// Whether a row of a step or of the execution was written.
    pub(crate) changed: bool,
    /// Whether something was started, or is to come, that goes on with the run.
    pub(crate) goes_on: bool,
    /// Whether a step began to wait for a person's word.
    pub(crate) has_asked: bool,
}

/// What a claim launches.
pub(crate) enum Launch {
    Task(Slot, Box<Order>),
    Run(Box<RunOrder>),
}

/// A change of a step's row that is to be staged.
pub(crate) struct Change {
    pub(crate) path: StepPath,
    pub(crate) on: Subject,
    pub(crate) event: StepEvent,
    pub(crate) actor: Actor,
    pub(crate) cause: String,
    pub(crate) launch: Option<Launch>,
    /// What to do again where another change comes between.
    pub(crate) origin: Task,
}

/// What a change is made to.
pub(crate) enum Subject {
    /// The step's row.
    Row(Box<StepRow>),
    /// A step that has none yet.
    New {
        /// What its needs said.
        needs: NeedOutcome,
        /// The files that it begins with.
        base: Option<Digest>,
    },
}

impl<'a> Advance<'a> {
    pub(crate) fn new(engine: &'a Engine, run: Run) -> Self {
        Self {
            engine,
            run,
            slot: None,
            lane_slots: HashMap::new(),
            last_children: HashMap::new(),
            queue: Queue::default(),
            staged: Vec::new(),
            overlay: Overlay::new(),
            next_id: 0,
            conflicts: 0,
            progress: Progress::default(),
            put_off: 0,
            awaits_runs: false,
            stuck: Vec::new(),
            over_budget: None,
            needs_plan: false,
        }
    }

    /// With a slot in hand for the first step that needs a task.
    pub(crate) fn with_slot(mut self, slot: Slot) -> Self {
        self.slot = Some(slot);
        self
    }

    /// Adds a task that rests on no staged write.
    pub(crate) fn push(&mut self, task: Task) {
        self.queue.push(task, None);
    }

    /// Whether nothing is left to do.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.staged.is_empty()
    }

    /// Works until nothing is left to do at once.
    pub(crate) async fn work(&mut self) -> Result<(), EngineError> {
        loop {
            while let Some(Queued { task, after }) = self.queue.next(self.commits_now()) {
                self.perform(task, after).await?;
            }
            if !self.staged.is_empty() {
                Box::pin(self.commit()).await?;
            } else if let Some((step, reason)) = self.over_budget.take() {
                self.pause(step, reason).await?;
            } else if self.queue.is_empty() {
                return Ok(());
            }
        }
    }

    /// Works, and then has the whole run looked at, where something asks for that or nothing goes on but what may wait for a person's word.
    pub(crate) async fn finish(mut self) -> Result<(), EngineError> {
        self.work().await?;
        if self.needs_plan || self.progress.has_asked || self.may_only_ask().await? {
            Box::pin(plan(self.engine, &self.run.row.id)).await?;
        }
        Ok(())
    }

    /// Whether what was changed may have left the run with nothing but questions to people: it is to be paused then, and not when its wake-up finds that.
    async fn may_only_ask(&self) -> Result<bool, EngineError> {
        if !self.progress.changed || self.progress.goes_on || !self.run.may_ask() {
            return Ok(false);
        }
        // Who asked while others went on has said so before it looked at them again: one of the two sees the other.
        let row = self.engine.ports.store.execution(&self.run.row.id).await?;
        Ok(row.is_some_and(|row| row.asks))
    }

    /// Whether nothing more is begun before what was staged is committed: what a step may read of an artifact is there before the step is looked at.
    fn commits_now(&self) -> bool {
        self.staged.len() >= STAGED_MAX || self.staged.iter().any(|entry| matches!(entry.write, Write::Artifact(_)))
    }

    async fn perform(&mut self, task: Task, after: Option<u64>) -> Result<(), EngineError> {
        // In boxes, so that what is large or seldom needed does not make every handler as large as itself.
        match task {
            Task::Dispatch(dispatch) => Box::pin(self.dispatch(dispatch, after)).await,
            Task::Tell(row) => self.tell(*row, after).await,
            Task::Arrive { step, kind, place, outcome } => {
                self.arrive(step, kind, place, outcome, after);
                Ok(())
            }
            Task::StartChildren(step) => Box::pin(self.start_children(&step, after)).await,
            Task::PassLane(path) => Box::pin(self.pass_lane(path, after)).await,
            Task::Report(report) => self.report(*report, after).await,
            Task::Nested(key) => Box::pin(self.nested(key, after)).await,
            Task::NotStarted { key, failure } => Box::pin(self.not_started(key, *failure, after)).await,
            Task::Dispose(key) => Box::pin(self.dispose(key, after)).await,
            Task::DisposeEnded(key) => Box::pin(self.dispose_ended(key, after)).await,
            Task::Lost { key, attempt } => Box::pin(self.lost(key, attempt, after)).await,
            Task::Retry { key, attempt } => Box::pin(self.retry(key, attempt, after)).await,
            Task::TimeCome(key) => Box::pin(self.time_come(key, after)).await,
            Task::Cancel(keys) => Box::pin(self.cancel(keys, after)).await,
            Task::Withdraw { key, attempt } => Box::pin(self.withdraw(key, attempt, after)).await,
            Task::Refuse { key, attempt } => Box::pin(self.refuse(key, attempt, after)).await,
            Task::Suspend(keys) => Box::pin(self.suspend(keys, after)).await,
            Task::ChildrenDone(step) => Box::pin(self.children_done(&step, after)).await,
            Task::StopChildren(key) => Box::pin(self.stop_children(&key)).await,
            Task::WorkOver => {
                self.work_over(after);
                Ok(())
            }
            Task::End(needs) => Box::pin(self.end(needs, after)).await,
        }
    }

    /// Decides a change of a step's row and stages it with all that follows from it.
    pub(crate) fn change(&mut self, change: Change, after: Option<u64>) -> Result<(), Rejection> {
        use ratchet_core::command::Command;
        let Change { path, on, event, actor, cause, launch, origin } = change;
        let (row, needs, base) = match on {
            Subject::Row(row) => (Some(*row), NeedOutcome::FINE, None),
            Subject::New { needs, base } => (None, needs, base),
        };
        let now = self.engine.ports.clock.now();
        let policy = self.run.step_policy(&path);
        let decision = decide_step(&path, row.as_ref(), &event, &policy, now)?;
        let key = row.as_ref().map_or_else(|| self.run.key(path.clone()), |row| row.key.clone());
        let chain = row.as_ref().map_or(ratchet_core::history::Chain::EMPTY, |row| row.chain.clone());
        let record = chain.next(&key.to_string(), now, actor, cause, decision.transition);
        let old = row.clone();
        let expect = row.as_ref().map_or(Expectation::Absent, |row| Expectation::Revision(row.revision()));
        let mut after = after;
        if let Some(old) = &row
            && matches!(record.transition, StepTransition::Reclaimed { .. } | StepTransition::LostAndReclaimed { .. })
        {
            let attempt = AttemptRow { key: key.clone(), attempt: old.attempt, records: old.records.clone() };
            after = Some(self.stage(Write::Attempt(Box::new(attempt)), after, None, Vec::new()));
        }
        let was_fanned_out = row.as_ref().is_some_and(|row| row.children().is_some());
        let new = match row {
            Some(mut row) => {
                row.apply(record.clone());
                row
            }
            None => StepRow::first(key, record.clone(), needs, base),
        };
        let transition = record.transition.clone();
        let mut acts = vec![Act::StepChanged(Box::new(new.clone()), Box::new(record))];
        self.follow_cached(old.as_ref(), &new, &mut acts);
        if was_fanned_out
            && new.left_children_behind()
            && new.status().is_settled()
            && new.status() != StepStatus::Cancelled
        {
            // Once that is committed no child is launched any more, so none is missed.
            acts.push(Act::Then(Task::StopChildren(new.key.clone())));
        }
        let mut follow = Vec::new();
        let mut launches = false;
        for command in decision.commands {
            match command {
                Command::LaunchStep => {
                    launches = true;
                }
                // Done before: a row that says it was cancelled is not looked at again, so nobody would find that its task still runs.
                Command::StopStep => {}
                Command::StartChildren => follow.push(Task::StartChildren(path.step.clone())),
                Command::TellDependents => follow.push(Task::Tell(Box::new(new.clone()))),
                Command::PassLane => follow.push(Task::PassLane(path.clone())),
                Command::WakeAt(due) => acts.push(Act::WakeAt { row: Box::new(new.clone()), due }),
                Command::Conclude => acts.push(Act::Conclude),
                Command::PauseExecution => {
                    let step = path.step.clone();
                    let reason = match &new.state {
                        StepState::Waiting(Waiting::Limit(failure)) => limit_reason(&step, failure),
                        _ => format!("an attempt of {step} was lost, and what it did to the outside world is unknown"),
                    };
                    acts.push(Act::Pause { step, reason });
                }
            }
        }
        if let Some(last) = self.last_children.get_mut(&path.step) {
            *last = new.successor.max(path.child).map_or(*last, |child| child.max(*last));
        }
        if new.key.epoch == self.run.row.epoch {
            self.overlay.insert(path, new.clone());
        }
        let was_launched = !matches!(origin, Task::Withdraw { .. });
        let made = artifacts::of_step(&self.run, &new);
        let id = self.stage(Write::Step { row: Box::new(new), expect }, after, Some(origin), acts);
        for artifact in made {
            self.stage(Write::Artifact(Box::new(artifact)), Some(id), None, Vec::new());
        }
        if let Some(old) = &old {
            self.stage_settled(old, &transition, was_launched, id);
        }
        match launch.filter(|_| launches) {
            Some(Launch::Task(slot, order)) => self.stage_launch(slot, order, id),
            Some(Launch::Run(order)) => self.add_acts(id, vec![Act::StartRun(order)]),
            None => {}
        }
        for task in follow {
            self.queue.push(task, Some(id));
        }
        Ok(())
    }

    /// What is done with the results of steps once a change is committed: they are kept, and assertions say which are right.
    fn follow_cached(&self, old: Option<&StepRow>, new: &StepRow, acts: &mut Vec<Act>) {
        let ends = new.status().is_settled() && !old.is_some_and(|old| old.status().is_settled());
        let ran = |row: &StepRow| matches!(row.state, StepState::Running { .. });
        if new.cache.is_some() && (ends || old.is_some_and(ran) && !ran(new)) {
            acts.push(Act::Keep(Box::new(new.clone())));
        }
        let is_assertion = |step: &Step| matches!(step.action, Action::Assert(_));
        if ends
            && self.run.workflow.step(&new.key.path.step).is_some_and(is_assertion)
            && new.items.is_none()
            && matches!(new.status(), StepStatus::Completed | StepStatus::Failed)
            && step_cache::may_rest_on_agents(&self.run, &new.key.path.step)
        {
            let is_false = match (&new.state, &new.result) {
                (StepState::Failed { failure, .. }, _) => failure.class == FailureClass::Assertion,
                (_, result) => result.as_ref().is_some_and(|result| result.warning.is_some()),
            };
            let is_broken = new.status() == StepStatus::Failed && !is_false;
            if !is_broken {
                acts.push(Act::Judge { assertion: new.key.clone(), holds: !is_false });
            }
        }
    }

    fn stage(&mut self, write: Write, after: Option<u64>, origin: Option<Task>, acts: Vec<Act>) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.staged.push(Staged { id, after, write, origin, acts });
        id
    }

    /// Adds acts to a staged write.
    fn add_acts(&mut self, id: u64, acts: Vec<Act>) {
        if let Some(entry) = self.staged.iter_mut().find(|entry| entry.id == id) {
            entry.acts.extend(acts);
        }
    }

    /// Has arrive at their joins what has not. The buckets are read first: most of it has, and a write costs more than a read.
    pub(crate) async fn push_missing_arrivals(
        &mut self,
        arrivals: Vec<(StepId, u32, NeedOutcome)>,
    ) -> Result<(), EngineError> {
        let mut read: Option<(JoinKey, u32)> = None;
        for (step, ordinal, outcome) in arrivals {
            let place = self.run.node(&step)?.join().place(ordinal);
            let key = self.bucket(step.clone(), JoinKind::Needs, place.level, place.bucket);
            let arrived = match &read {
                Some((bucket, arrived)) if *bucket == key => *arrived,
                _ => self.engine.ports.store.join(&key).await?.map_or(0, |row| row.arrived()),
            };
            if arrived & (1 << place.bit) == 0 {
                self.push(Task::Arrive { step, kind: JoinKind::Needs, place, outcome });
            }
            read = Some((key, arrived));
        }
        Ok(())
    }

    /// The key of a bucket of this epoch.
    pub(crate) fn bucket(&self, step: StepId, kind: JoinKind, level: u8, bucket: u32) -> JoinKey {
        let (execution, epoch) = (self.run.row.id.clone(), self.run.row.epoch);
        JoinKey { execution, epoch, step, kind, level, bucket }
    }

    fn arrive(&mut self, step: StepId, kind: JoinKind, place: Place, outcome: NeedOutcome, after: Option<u64>) {
        let key = self.bucket(step.clone(), kind, place.level, place.bucket);
        let origin = Task::Arrive { step, kind, place, outcome };
        self.stage(Write::Unite { key, place: place.bit, outcome }, after, Some(origin), Vec::new());
    }

    /// Commits what was staged, acts on what was applied, and puts back what did not come to its turn.
    async fn commit(&mut self) -> Result<(), EngineError> {
        let staged = std::mem::take(&mut self.staged);
        let _claims = self.hold_claims(&staged);
        let epoch = self.run.row.epoch;
        self.overlay.clear();
        let writes = staged.iter().map(|entry| entry.write.clone()).collect();
        let Committed { applied, conflict } = self.engine.ports.store.commit(writes).await?;
        let mut dropped = HashSet::new();
        let mut acts = Vec::new();
        let mut again = Vec::new();
        let mut outcomes = applied.into_iter();
        for (position, entry) in staged.into_iter().enumerate() {
            match (outcomes.next(), &conflict) {
                (Some(outcome), _) => {
                    acts.extend(entry.acts);
                    self.progress.changed |= matches!(entry.write, Write::Step { .. } | Write::Execution { .. });
                    self.progress.has_asked |= asks_people(&entry.write);
                    match (outcome, &entry.write) {
                        (WriteOutcome::United(bucket), _) => self.united(&bucket).await?,
                        (WriteOutcome::Budget { row, changed: true }, Write::SettleCall { usage: Some(usage), .. }) => {
                            self.accounted(&row, usage);
                        }
                        (WriteOutcome::Group(row), _) => Box::pin(turns::tell_next(self.engine, &row)).await?,
                        (WriteOutcome::Written | WriteOutcome::Budget { .. } | WriteOutcome::Artifact(_), _) => {}
                    }
                }
                (None, Some(conflict)) if conflict.position == position => {
                    dropped.insert(entry.id);
                    self.conflicted(entry, &conflict.current)?;
                }
                (None, _) if entry.after.is_some_and(|after| dropped.contains(&after)) => {
                    dropped.insert(entry.id);
                }
                (None, _) => {
                    // It is staged again with all that rests on it: none of that may come without it.
                    dropped.extend(entry.origin.is_some().then_some(entry.id));
                    again.extend(entry.origin);
                }
            }
        }
        if conflict.is_some() {
            // What was not written started nothing.
            self.last_children.clear();
        }
        self.queue.committed(&dropped);
        for task in again {
            self.queue.push(task, None);
        }
        if conflict.is_some()
            && let Some(row) = self.engine.ports.store.execution(&self.run.row.id).await?
        {
            // What was staged of the execution's own row may not have come to its turn.
            self.run.row = row;
        }
        self.act(acts).await?;
        if self.run.row.epoch != epoch {
            // All that is left to do was derived from an epoch that is over, and would be done in the next one.
            self.queue.clear();
            self.last_children.clear();
        }
        Ok(())
    }

    /// Notes what is about to be claimed, until it is launched.
    fn hold_claims(&self, staged: &[Staged]) -> Vec<HeldClaim> {
        let acts = staged.iter().flat_map(|entry| &entry.acts);
        let orders = acts.filter_map(|act| if let Act::Launch(_, order) = act { Some(order) } else { None });
        orders.map(|order| self.engine.claims.hold(order.key.clone(), order.attempt)).collect()
    }

    /// A write found another row than it expected: somebody else was first.
    fn conflicted(&mut self, entry: Staged, current: &Current) -> Result<(), EngineError> {
        self.conflicts += 1;
        if self.conflicts > CONFLICTS_MAX {
            return Err(EngineError::Contention { execution: self.run.row.id.clone() });
        }
        match (current, entry.write, entry.origin) {
            // A lane whose next child was started by another lane looks for another child.
            (
                Current::Step(row),
                Write::Step { .. },
                Some(Task::Dispatch(Dispatch { predecessor: Some(from), path, .. })),
            ) if row.predecessor != Some(from) => {
                self.push(Task::PassLane(StepPath::child(path.step, from)));
            }
            // Another handler was first: what follows is its business, and the wake-up's where it died.
            (_, Write::Step { .. }, Some(Task::Dispatch(_))) => {}
            (_, _, origin) => origin.into_iter().for_each(|task| self.queue.push(task, None)),
        }
        Ok(())
    }
}

/// Whether with a write a step begins to wait for a person's word.
fn asks_people(write: &Write) -> bool {
    matches!(write, Write::Step { row, .. } if matches!(row.state, StepState::Waiting(Waiting::Approval(_))))
}

//! The laws: what must hold of every write as it is applied and of every task as it starts, whatever went wrong before.

use std::{collections::BTreeMap, fmt, sync::Arc};

use ratchet_core::{
    execution::ExecutionRow,
    fan_out,
    history::{Actor, Record},
    ids::{Digest, Epoch, ExecutionId, StepId, StepKey, StepPath},
    join::JoinKind,
    output::Output,
    status::{ExecutionStatus, StepStatus},
    step::{AttemptRow, StepRow, StepState, Waiting},
    transition::{ExecutionTransition, StepTransition},
    workflow::Workflow,
};
use ratchet_engine::{
    order::{AttemptOutcome, Order},
    ports::Write,
};

use super::{
    cached::Computed,
    killed::Killed,
    limits::Accounts,
    model::{Action, List, Model, artifact_variable, kept_content},
    standing::Known,
    tasks::{AttemptName, TaskStage, Tasks},
    trace::name,
    world::World,
};

/// The most records that a row of a step may hold of its attempt.
const RECORDS_MAX: usize = 3;

/// A law that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// The law, in a few words.
    pub law: &'static str,
    /// What broke it.
    pub what: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.law, self.what)
    }
}

/// The row that a write replaced.
pub(crate) enum Before {
    Execution(Option<Box<ExecutionRow>>),
    Step(Option<Box<StepRow>>),
    Attempts(Vec<AttemptRow>),
    Nothing,
}

/// What a person knows of an attempt that may have had its effect and will not report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Undecided {
    /// It is shown to wait.
    Shown,
    /// It ran when the run was let go on.
    Unseen,
}

/// What was seen, and the first law that it broke.
#[derive(Default)]
pub(crate) struct Laws {
    pub(crate) runs: BTreeMap<ExecutionId, Known>,
    pub(crate) breach: Option<Breach>,
    /// What people made of the definitions of runs.
    pub(super) editions: BTreeMap<Digest, (Model, Arc<Workflow>)>,
    /// Whether a claim could stand when it was written: the execution took claims of its epoch, and a child's fan-out was open.
    claims: BTreeMap<AttemptName, bool>,
    /// Of steps that wait for a person where an attempt of theirs was lost: those with an attempt that nobody has decided about.
    undecided: BTreeMap<(ExecutionId, StepPath), Undecided>,
    /// The epochs in which a run ended.
    ended: BTreeMap<ExecutionId, Vec<Epoch>>,
    /// Conditional writes of steps, attempts and joins.
    pub(crate) writes: u64,
    /// How many children of fan-outs may run at once by the word of the caller.
    max_parallel: u32,
    /// What was seen of budgets.
    pub(super) accounts: Accounts,
    /// What was seen of kept results.
    pub(super) computed: Computed,
    /// What was seen of runs whose process is killed.
    pub(crate) killed: Killed,
    /// Whether nothing goes wrong but that processes are killed.
    pub(super) is_calm: bool,
}

impl Laws {
    pub(crate) fn new(max_parallel: u32, is_calm: bool) -> Self {
        Self { max_parallel, is_calm, ..Self::default() }
    }

    /// Notes a breach. The first one counts: what follows may follow from it.
    pub(crate) fn broken(&mut self, law: &'static str, what: String) {
        if self.breach.is_none() {
            self.breach = Some(Breach { law, what });
        }
    }

    /// Whether a run has ended in an epoch.
    pub(super) fn has_ended_in(&self, id: &ExecutionId, epoch: Epoch) -> bool {
        self.ended.get(id).is_some_and(|epochs| epochs.contains(&epoch))
    }

    pub(super) fn hold(&mut self, holds: bool, law: &'static str, what: impl FnOnce() -> String) {
        if !holds {
            self.broken(law, what());
        }
    }

    /// Holds that a run which asks a person is paused, where nothing is on its way that could go on with it: nobody waits for its wake-up.
    pub(crate) fn only_people_go_on(&mut self) {
        let asks = |known: &&Known| {
            let Some(run) = known.row.as_ref().filter(|row| row.status == ExecutionStatus::Running) else {
                return false;
            };
            let in_epoch = known.rows.values().filter(|row| row.key.epoch == run.epoch);
            in_epoch.into_iter().any(|row| matches!(row.state, StepState::Waiting(Waiting::Approval(_))))
        };
        let found = self.runs.values().find(asks).and_then(|known| known.row.as_ref()).map(|row| row.id.to_string());
        if let Some(run) = found {
            self.broken("a run that only asks is paused at once", run);
        }
    }

    pub(crate) fn launched_twice(&mut self, named: &AttemptName) {
        self.broken("one launch an attempt", format!("{}#{} was launched twice", name(&named.0), named.1));
    }

    /// Holds a write that was applied against the laws.
    pub(crate) fn written(&mut self, write: &Write, before: &Before, tasks: &Tasks) {
        match (write, before) {
            (Write::Execution { row, .. }, Before::Execution(old)) => {
                self.execution_written(old.as_deref(), row, tasks);
            }
            (Write::Step { row, .. }, Before::Step(old)) => {
                self.writes += 1;
                self.step_written(old.as_deref(), row, tasks);
            }
            (Write::Attempt(row), Before::Attempts(old)) => {
                self.writes += 1;
                let longer =
                    old.iter().find(|old| old.attempt == row.attempt && old.records.len() >= row.records.len());
                let agrees = longer
                    .is_none_or(|old| old.records.starts_with(&row.records) || old.records.len() > row.records.len());
                self.hold(agrees, "an old attempt never changes", || format!("{}#{}", name(&row.key), row.attempt));
            }
            (Write::Unite { key, place, .. }, _) => {
                self.writes += 1;
                let ordinal = key.bucket * 32 + place;
                let arrived =
                    key.level > 0 || self.has_arrived(key.kind, &key.execution, key.epoch, &key.step, ordinal);
                self.hold(arrived, "only what is settled arrives at a join", || {
                    format!("{}/{}/{} place {ordinal}", key.execution, key.epoch, key.step)
                });
            }
            (Write::EnterCall { .. }, _) => self.budget_written(write),
            _ => {}
        }
    }

    fn execution_written(&mut self, old: Option<&ExecutionRow>, new: &ExecutionRow, tasks: &Tasks) {
        let who = || format!("{} r{}", new.id, new.revision);
        if old.is_none() {
            self.nested_began(new);
        }
        let wakes = match new.status {
            ExecutionStatus::Running => new.wake_at.is_some(),
            // It may wait for an answer.
            ExecutionStatus::Paused => true,
            ExecutionStatus::Completed | ExecutionStatus::Failed | ExecutionStatus::Cancelled => new.wake_at.is_none(),
        };
        self.hold(wakes, "a run that runs has a time to be looked at, and none that has ended", who);
        if let Some(old) = old {
            self.hold(new.revision == old.revision + 1, "revisions count up", who);
            let mut expected = old.clone();
            expected.revision += 1;
            let is_change = new.chain.length > old.chain.length;
            if is_change && let Some(record) = new.records.last() {
                self.hold(old.chain.accepts(new.id.as_str(), record), "the chain of records holds", who);
                expected.apply(record.clone());
                self.transition(new, &record.transition, tasks);
            } else {
                expected.wake_at = new.wake_at;
                expected.idle_wakes = new.idle_wakes;
                expected.asks = new.asks;
            }
            self.hold(&expected == new, "a row is what its records say", who);
        }
        if old.is_some_and(|old| old.definition != new.definition) {
            self.edited(new);
        }
        if let Some(known) = self.runs.get_mut(&new.id) {
            known.row = Some(new.clone());
        }
        if new.records.last().is_some_and(|record| matches!(record.transition, ExecutionTransition::Ended { .. }))
            && old.is_some_and(|old| old.chain.length < new.chain.length)
        {
            self.ended(new, tasks);
        }
    }

    fn transition(&mut self, new: &ExecutionRow, transition: &ExecutionTransition, tasks: &Tasks) {
        match transition {
            ExecutionTransition::Ended { .. } => {
                let ended = self.ended.entry(new.id.clone()).or_default();
                let is_first = !ended.contains(&new.epoch);
                ended.push(new.epoch);
                self.hold(is_first, "an execution ends once an epoch", || format!("{} in epoch {}", new.id, new.epoch));
            }
            ExecutionTransition::Resumed { .. } => self.went_on(&new.id, tasks),
            // What is stopped on purpose is not lost.
            ExecutionTransition::EndingBegan { .. } => self.undecided.retain(|(execution, _), _| *execution != new.id),
            ExecutionTransition::Created { .. }
            | ExecutionTransition::TurnCame { .. }
            | ExecutionTransition::FinallyBegan { .. }
            | ExecutionTransition::Paused { .. }
            | ExecutionTransition::Adopted { .. }
            | ExecutionTransition::WentOn => {}
        }
    }

    /// A person let a run go on, and so decided about what was shown to wait. What was on its way then may have had its effect, and nobody was shown that it was
    /// lost.
    fn went_on(&mut self, execution: &ExecutionId, tasks: &Tasks) {
        let Some(known) = self.runs.get(execution) else { return };
        let asks_first = |row: &&StepRow| {
            let step = known.model.position(row.key.path.step.as_str());
            step.is_some_and(|step| known.model.steps[step].pauses_when_lost)
        };
        // What a fan-out stops that failed is stopped on purpose, too.
        let is_stopped = |row: &StepRow| {
            let parent = StepKey { path: StepPath::step(row.key.path.step.clone()), ..row.key.clone() };
            row.key.path.child.is_some() && known.rows.get(&parent).is_some_and(|parent| parent.status().is_settled())
        };
        let on_its_way = |row: &&StepRow| {
            matches!(row.state, StepState::Running { .. })
                && tasks.by_name.contains_key(&(row.key.clone(), row.attempt))
                && !is_stopped(row)
        };
        let unseen = known.rows.values().filter(on_its_way).filter(asks_first);
        self.undecided.retain(|(of, _), undecided| of != execution || *undecided != Undecided::Shown);
        self.undecided.extend(unseen.map(|row| ((execution.clone(), row.key.path.clone()), Undecided::Unseen)));
    }

    fn ended(&mut self, new: &ExecutionRow, tasks: &Tasks) {
        let left = tasks.live().find(|(key, _)| key.execution == new.id);
        let left = left.map(|(key, attempt)| format!("{}#{attempt}", name(key)));
        self.hold(left.is_none(), "nothing runs on when its run ends", || format!("{} ended beside {left:?}", new.id));
        let is_of_this = |row: &&ExecutionRow| row.parent.as_ref().is_some_and(|parent| parent.key.execution == new.id);
        let below = self.runs.values().filter_map(|known| known.row.as_ref()).filter(is_of_this);
        // One whose claim came too late ends by itself: nothing of it was ever claimed.
        let has_begun = |row: &&ExecutionRow| self.runs.get(&row.id).is_some_and(|known| !known.rows.is_empty());
        let open = below.filter(|row| !row.status.is_ended()).find(has_begun).map(|row| row.id.clone());
        self.hold(open.is_none(), "a run ends after those that its steps are", || {
            format!("{} before {open:?}", new.id)
        });
        let Some(known) = self.runs.get(&new.id).filter(|_| !never_began(new)) else { return };
        let standings = known.standings(new.epoch.0);
        let open = standings.iter().position(|standing| !standing.is_over());
        let open = open.map(|step| known.model.steps[step].id.clone());
        self.hold(open.is_none(), "a run ends when every step is settled", || {
            format!("{} ended before {open:?}", new.id)
        });
    }

    /// A run was made that a step of another one is: under the claim of its step, and once an attempt.
    fn nested_began(&mut self, new: &ExecutionRow) {
        let Some(parent) = &new.parent else { return };
        let above = self.runs.get(&parent.key.execution);
        let row = above.and_then(|above| above.rows.get(&parent.key));
        let is_claimed = row.is_some_and(|row| row.execution.as_ref() == Some(&new.id) || row.attempt > parent.attempt);
        let step = parent.key.path.step.as_str();
        let model = above.and_then(|above| match &above.model.steps[above.model.position(step)?].action {
            Action::Group(group, _) => Some((**group).clone()),
            _ => None,
        });
        let workflow = above.and_then(|above| {
            Some(above.workflow.step(&parent.key.path.step)?.action.sub_workflow()?.workflow.clone())
        });
        self.hold(is_claimed, "a run begins once under the claim of its step", || {
            format!("{} for {}#{}", new.id, name(&parent.key), parent.attempt)
        });
        if let (Some(mut model), Some(workflow)) = (model, workflow) {
            let given =
                new.inputs.get("n").and_then(|given| if let Output::Json(n) = given { n.as_i64() } else { None });
            model.input = given.unwrap_or_default();
            self.runs.insert(new.id.clone(), Known::new(model, workflow));
        }
    }

    /// A step whose attempt is a run settles after the run, with what that gave; one whose run goes on for a later epoch is let go.
    fn nested_settled(&mut self, old: &StepRow, new: &StepRow) {
        let Some(id) = &old.execution else { return };
        let is_settled = new.status().is_settled() || matches!(new.state, StepState::Waiting(_));
        if !matches!(old.state, StepState::Running { .. }) || !is_settled {
            return;
        }
        let Some(known) = self.runs.get(id) else { return };
        let Some(nested) = &known.row else { return };
        // It was made after whoever gave the step up had looked for it: it finds that nobody waits for it before it begins anything.
        let never_began = new.status() == StepStatus::Cancelled && known.rows.is_empty();
        let is_ours = nested.parent.as_ref().is_some_and(|parent| parent.key == old.key);
        let newer = |row: &StepRow| row.execution.as_ref() == Some(id) && row.key.epoch > old.key.epoch;
        let goes_on = self.runs.get(&old.key.execution).is_some_and(|known| known.rows.values().any(newer));
        let (status, outputs) = (nested.status, nested.outputs.clone());
        let what = || format!("{} is {} while {id} is {status}", name(&new.key), new.status());
        let is_over = status.is_ended() || never_began;
        self.hold(is_over || !is_ours || goes_on, "a step settles after the run that it is", what);
        if new.status() == StepStatus::Completed {
            let given = new.result.as_ref().map(|result| &result.outputs);
            let same = status == ExecutionStatus::Completed && given == Some(&outputs);
            self.hold(same, "what a run gives is what its step gives", what);
        }
    }

    fn step_written(&mut self, old: Option<&StepRow>, new: &StepRow, tasks: &Tasks) {
        let Some(record) = new.records.last() else {
            return self.broken("a row is what its records say", format!("{} has no record", name(&new.key)));
        };
        let who = || format!("{} r{} {:?}", name(&new.key), new.revision(), record.transition);
        let chain = old.map_or(ratchet_core::history::Chain::EMPTY, |old| old.chain.clone());
        self.hold(chain.accepts(&new.key.to_string(), record), "the chain of records holds", who);
        let expected = match old {
            None => StepRow::first(new.key.clone(), record.clone(), new.needs, new.base.clone()),
            Some(old) => {
                let mut row = old.clone();
                row.apply(record.clone());
                row
            }
        };
        self.hold(&expected == new, "a row is what its records say", who);
        self.key_written(old, new);
        if let Some(old) = old.filter(|old| old.status().is_settled()) {
            let passes_lane = matches!(record.transition, StepTransition::LanePassed { .. });
            self.hold(passes_lane, "one recorded result a step and epoch", || {
                format!("{} was {}: {}", who(), old.status(), record.cause)
            });
        }
        let of_attempt = |record: &&Record<_>| !matches!(record.transition, StepTransition::LanePassed { .. });
        self.hold(new.records.iter().filter(of_attempt).count() <= RECORDS_MAX, "a row does not grow", who);
        match &record.transition {
            StepTransition::Claimed { .. }
            | StepTransition::Reclaimed { .. }
            | StepTransition::LostAndReclaimed { .. } => {
                let stands = self.takes_claims(&new.key);
                self.claims.insert((new.key.clone(), new.attempt), stands);
            }
            StepTransition::LostAndSuspended { .. } => {
                self.undecided.insert((new.key.execution.clone(), new.key.path.clone()), Undecided::Shown);
            }
            // Each time that a lane is passed on anew is a child that another lane started, so a row grows by races that were lost alone.
            StepTransition::LanePassed { .. } => {
                let named = old.and_then(|old| old.successor);
                let is_taken = named.is_none_or(|named| {
                    let path = StepPath::child(new.key.path.step.clone(), named);
                    let rows = self.runs.get(&new.key.execution).map(|known| &known.rows);
                    let row = rows.and_then(|rows| rows.get(&StepKey { path, ..new.key.clone() }));
                    row.is_some_and(|row| row.predecessor != new.key.path.child)
                });
                self.hold(is_taken, "a lane is passed on once", who);
            }
            _ => {}
        }
        if let Some(StepState::Waiting(Waiting::Lost { found_in })) = old.map(|old| &old.state) {
            let known = self.runs.get(&new.key.execution).and_then(|known| known.row.as_ref());
            let went_on = known.is_some_and(|row| row.epoch > *found_in);
            let is_stopped = self.parent(&new.key).is_some_and(|parent| parent.status().is_settled());
            self.hold(went_on || is_stopped, "what waits for a person waits for a person", who);
        }
        if let Some(old) = old {
            self.nested_settled(old, new);
            self.call_ended(old, &record.transition);
            self.attempt_ended(old, new, tasks);
        } else if new.key.path.child.is_some() {
            self.child_began(new);
        } else {
            self.step_began(new);
        }
        if let Some(known) = self.runs.get_mut(&new.key.execution) {
            known.keep(new);
        }
    }

    /// Whether a claim may stand that is written now. A run that is paused for an answer goes on in the same epoch.
    fn takes_claims(&self, key: &StepKey) -> bool {
        let Some(known) = self.runs.get(&key.execution) else { return false };
        let current = known.row.as_ref().is_some_and(|row| row.epoch == key.epoch && row.is_watched());
        let open = key.path.child.is_none() || self.parent(key).is_some_and(|parent| !parent.status().is_settled());
        current && open
    }

    fn parent(&self, key: &StepKey) -> Option<&StepRow> {
        let path = StepPath::step(key.path.step.clone());
        self.runs.get(&key.execution)?.rows.get(&StepKey { path, ..key.clone() })
    }

    /// A step got its first row in its epoch: its needs are settled, and it starts or does not as they say.
    fn step_began(&mut self, new: &StepRow) {
        let Some(known) = self.runs.get(&new.key.execution) else { return };
        let epoch = new.key.epoch.0;
        let Some(step) = known.model.position(new.key.path.step.as_str()) else { return };
        let standings = known.standings(epoch);
        let counts = standings[step].epoch.filter(|older| *older < epoch);
        let before = known.before(step);
        let list = known.model.steps[step].list;
        let missing: Vec<&str> = before
            .iter()
            .filter(|other| !standings[**other].is_over())
            .map(|other| known.model.steps[*other].id.as_str())
            .collect();
        let what = format!("{} became {} before {missing:?}", name(&new.key), new.status());
        let is_missing = !missing.is_empty();
        let failed_above = before.iter().any(|other| standings[*other].is_broken());
        let continued_above = before.iter().any(|other| standings[*other].is_continued());
        let told =
            format!("{}: told {:?}, and failed={failed_above} continued={continued_above}", name(&new.key), new.needs);
        let needs = known.model.needs(step);
        let is_blocked = needs.iter().any(|need| standings[*need].is_broken())
            && list != List::Finally
            && !known.model.steps[step].handles_failure();
        let starts_too_late = list == List::Work && !known.endings(epoch).is_empty();
        let blocks = matches!(new.status(), StepStatus::Blocked);
        let cancels = matches!(new.status(), StepStatus::Cancelled);
        let skips = matches!(new.status(), StepStatus::Skipped);
        self.hold(counts.is_none(), "what still counts does not run again", || {
            format!("{} has a result in epoch {counts:?}", name(&new.key))
        });
        self.hold(!is_missing, "every need before its step", || what);
        self.hold(!starts_too_late, "nothing of the work starts once a run ends early", || name(&new.key));
        let told_right = new.needs.failed_above == failed_above && new.needs.continued_above == continued_above;
        self.hold(told_right || cancels, "a step learns what happened above it", || told);
        self.hold(
            blocks == is_blocked || cancels || (skips && list == List::OnFailure),
            "what is broken above blocks, and nothing else",
            || format!("{} is {}, and blocked={is_blocked}", name(&new.key), new.status()),
        );
    }

    fn child_began(&mut self, new: &StepRow) {
        let parent = self.parent(&new.key);
        let child = new.key.path.child.unwrap_or_default();
        let fits = parent.is_some_and(|parent| match parent.state {
            StepState::FannedOut { count, .. } => child < count,
            _ => parent.status().is_settled() && parent.items.is_some(),
        });
        self.hold(fits, "a child belongs to a fan-out", || name(&new.key));
    }

    /// A row changed that was there: the change is about the attempt that it is at.
    fn attempt_ended(&mut self, old: &StepRow, new: &StepRow, tasks: &Tasks) {
        let Some(record) = new.records.last() else { return };
        let named = (old.key.clone(), old.attempt);
        let task = tasks.by_name.get(&named);
        let what = || format!("{}#{}: {:?} ({})", name(&old.key), old.attempt, record.transition, record.cause);
        if record.actor == Actor::Runner {
            let reported = task.map(|task| (&task.report.outcome, task.state));
            let is_its_own = match (&record.transition, reported) {
                (
                    StepTransition::Succeeded { result, .. },
                    Some((AttemptOutcome::Succeeded(own), TaskStage::Reported)),
                ) => result.usage == own.usage,
                (
                    StepTransition::Failed { usage, .. }
                    | StepTransition::RetryScheduled { usage, .. }
                    | StepTransition::Succeeded { result: ratchet_core::step::StepResult { usage, .. }, .. },
                    Some((AttemptOutcome::Failed { usage: own, .. }, TaskStage::Reported)),
                ) => usage == own || matches!(record.transition, StepTransition::Succeeded { .. }),
                (StepTransition::Failed { .. } | StepTransition::RetryScheduled { .. }, None) => {
                    tasks.fenced.contains(&named)
                }
                (StepTransition::Cancelled, Some((_, TaskStage::Lost))) => tasks.fenced.contains(&named),
                _ => false,
            };
            let running = matches!(old.state, StepState::Running { .. });
            self.hold(is_its_own && running, "only the attempt that a step is at reports for it", what);
        }
        let is_loss = matches!(
            record.transition,
            StepTransition::LostAndReclaimed { .. } | StepTransition::LostAndSuspended { .. }
        ) || (record.cause.starts_with("TaskLost")
            && matches!(record.transition, StepTransition::Failed { .. }));
        if is_loss {
            let is_gone = tasks.fenced.contains(&named) && task.is_none_or(|task| task.state != TaskStage::Running);
            self.hold(is_gone, "only what is gone is lost", what);
        }
    }

    fn has_arrived(&self, kind: JoinKind, execution: &ExecutionId, epoch: Epoch, step: &StepId, ordinal: u32) -> bool {
        let Some(known) = self.runs.get(execution) else { return false };
        let key = |path| StepKey { execution: execution.clone(), epoch, path };
        match kind {
            JoinKind::Children => {
                let path = StepPath::child(step.clone(), ordinal);
                known.rows.get(&key(path)).is_some_and(|row| row.status().is_settled())
            }
            JoinKind::Needs => {
                let graph = &known.workflow.graph;
                let need =
                    graph.node_of(step).and_then(|node| node.needs.get(ordinal as usize)).map(|need| graph.node(*need));
                let Some(need) = need else { return false };
                match known.model.position(need.id.as_str()) {
                    Some(position) => known.standings(epoch.0)[position].is_over(),
                    None => known
                        .rows
                        .get(&key(StepPath::step(need.id.clone())))
                        .is_some_and(|row| row.status().is_settled()),
                }
            }
        }
    }

    /// What a step reads of the artifacts of its run is what the steps that it needs made last.
    fn artifacts_are_read(&mut self, order: &Order) {
        let Some(known) = self.runs.get(&order.key.execution) else { return };
        let mut wrong = None;
        for step in &known.model.steps {
            let Some(found) = order.environment.get(&artifact_variable(&step.id)) else { continue };
            let of_step =
                known.rows.values().filter(|row| row.key.path == StepPath::step(StepId::new(step.id.as_str())));
            let newest = of_step.max_by_key(|row| row.key.epoch).filter(|row| row.status() == StepStatus::Completed);
            let made = newest.and_then(|row| match row.result.as_ref()?.outputs.get("v") {
                Some(Output::Json(value)) => Some(kept_content(&step.id, value.as_i64()?)),
                _ => None,
            });
            if *found != made.clone().unwrap_or_default() {
                wrong = Some(format!("{}: {} is {found:?}, and {made:?} was made", name(&order.key), step.id));
            }
        }
        self.hold(wrong.is_none(), "an artifact is read as it was made", || wrong.unwrap_or_default());
    }

    /// Holds a task that is about to start against the laws. `row` is its step's, as it is now.
    pub(crate) fn check_launch(world: &mut World, order: &Order, row: Option<&StepRow>) {
        let named = (order.key.clone(), order.attempt);
        let what = format!("{}#{}", name(&order.key), order.attempt);
        let path = &order.key.path;
        let same_step = |(key, _): &&AttemptName| key.execution == order.key.execution && key.path == *path;
        let rival = world.tasks.live().find(same_step).map(|(key, attempt)| format!("{}#{attempt}", name(key)));
        let live = world.tasks.live().count();
        let siblings = world
            .tasks
            .live()
            .filter(|(key, _)| {
                key.execution == order.key.execution && key.path.step == path.step && key.epoch == order.key.epoch
            })
            .count();
        let slots = world.tasks.slots_max;
        let laws = &mut world.laws;
        laws.artifacts_are_read(order);
        laws.call_begins(order);
        laws.turn_is_taken(&order.key, &world.tasks);
        let hash = order.token.hash();
        let stands = row.is_some_and(|row| {
            row.attempt == order.attempt
                && matches!(&row.state, StepState::Running { token_hash } if *token_hash == hash)
        });
        let state = row.map(|row| format!("{}#{}", row.status(), row.attempt));
        laws.hold(stands, "a launch only while its claim stands", || format!("{what}, and its row is {state:?}"));
        let could_stand = laws.claims.get(&named).copied().unwrap_or(false);
        laws.hold(could_stand, "a claim that came too late launches nothing", || what.clone());
        let undecided = laws.undecided.get(&(order.key.execution.clone(), path.clone())).copied();
        laws.hold(undecided.is_none(), "nothing that a person is to decide about happens again unasked", || {
            format!("{what} ({undecided:?})")
        });
        laws.hold(rival.is_none(), "one live task a step", || format!("{what} beside {rival:?}"));
        laws.hold(live < slots, "no more tasks than slots", || format!("{what} is one more than {slots}"));
        if path.child.is_some() {
            let step = laws.runs.get(&order.key.execution).and_then(|known| {
                let step = known.model.position(path.step.as_str())?;
                known.model.steps[step].each.as_ref().map(|each| each.max_parallel)
            });
            let lanes = fan_out::lanes(step.flatten(), laws.max_parallel, u32::MAX) as usize;
            laws.hold(siblings < lanes, "no more children at once than the author said", || {
                format!("{what}: {siblings} of {lanes} run")
            });
        }
    }
}

/// Whether a run ended that waited for its turn, so that nothing of it ran in its last epoch.
pub(crate) fn never_began(row: &ExecutionRow) -> bool {
    row.turn.as_ref().is_some_and(|turn| !turn.has_come)
}

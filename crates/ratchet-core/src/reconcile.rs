//! What is left undone: derived from the whole state of a run, whatever was lost on the way.
//!
//! The planner asks this when an execution is created, resumed or cancelled, and whenever its wake-up is due. Everything in a [`Plan`] is
//! idempotent: doing it although it was done already changes nothing.

use jiff::{SignedDuration, Timestamp};

use crate::{
    execution::{ExecutionRow, Resume},
    graph::{Graph, Node, NodeIndex},
    ids::{StepId, StepKey, StepPath},
    join::NeedOutcome,
    resume::{children_survive, counting},
    step::{StepRow, StepState, Waiting},
    transition::Ending,
    workflow::Place,
};

/// The first backoff of the wake-up, in seconds.
pub const WAKE_SECONDS_MIN: i64 = 120;
/// The longest backoff of the wake-up, in seconds.
pub const WAKE_SECONDS_MAX: i64 = 3600;

/// What is left undone.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// Rows of older epochs that are to be fenced: their steps are not settled, and no result of theirs counts any more.
    pub fence: Vec<StepKey>,
    /// Of those, the ones that still have all that they rest on: where their attempts are runs of their own, those go on in this epoch.
    pub surviving: Vec<StepKey>,
    /// Arrivals that may be missing at a join: the waiting step, the ordinal among its needs, and what the need says.
    pub unite: Vec<(StepId, u32, NeedOutcome)>,
    /// Steps whose needs are all there and that have no row.
    pub ready: Vec<ReadyStep>,
    /// Attempts that should be running: is their task alive?
    pub running: Vec<(StepKey, u32)>,
    /// Attempts that are runs of their own: have they ended?
    pub nested: Vec<StepRow>,
    /// Steps whose next attempt is due.
    pub retry_due: Vec<(StepKey, u32)>,
    /// Steps that waited for a time which has come.
    pub timers_due: Vec<StepKey>,
    /// Steps that wait for a person's word.
    pub asking: Vec<StepId>,
    /// Whether a step waits for a time that has not come.
    pub waits_for_time: bool,
    /// Fan-outs whose children may need a push.
    pub fan_outs: Vec<StepKey>,
    /// Fan-outs that ended before all of their children: those that still run are to be stopped.
    pub ended_fan_outs: Vec<StepKey>,
    /// Steps of this epoch that wait for a person, while the execution does not know.
    pub waiting_for_person: Vec<StepId>,
    /// The run is to end early.
    pub ending: Option<Ending>,
    /// All is settled but the execution's own row: what `$end` was told.
    pub end: Option<NeedOutcome>,
    /// The work is over, and the execution's row does not say so yet.
    pub work_over: bool,
    /// When to look again.
    pub wake_at: Option<Timestamp>,
}

/// A step that can start.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadyStep {
    /// Which.
    pub step: StepId,
    /// What its needs say.
    pub needs: NeedOutcome,
    /// The row of an older epoch whose children, or whose run, may be taken over.
    pub old: Option<StepKey>,
}

impl Plan {
    /// Whether anything goes on, or is to, without a person's answer. What the children of fan-outs do is not in it.
    pub fn goes_on(&self) -> bool {
        !(self.fence.is_empty()
            && self.ready.is_empty()
            && self.running.is_empty()
            && self.retry_due.is_empty()
            && self.timers_due.is_empty()
            && self.waiting_for_person.is_empty())
            || self.waits_for_time
            || self.ending.is_some()
            || self.end.is_some()
            || self.work_over
    }
}

/// Derives what is left undone. `newest` has for each node of the graph its row of the newest epoch, where it has one.
pub fn reconcile(
    graph: &Graph,
    execution: &ExecutionRow,
    newest: &[Option<&StepRow>],
    resumes: &[Resume],
    now: Timestamp,
) -> Plan {
    let mut plan = Plan::default();
    if !execution.is_watched() {
        return plan;
    }
    let is_fenced = |row: &&StepRow| row.key.epoch < execution.epoch && !row.status().is_settled();
    plan.fence = newest.iter().flatten().copied().filter(is_fenced).map(|row| row.key.clone()).collect();
    let left_behind = newest.iter().flatten().filter(|row| row.left_children_behind());
    plan.ended_fan_outs = left_behind.map(|row| row.key.clone()).collect();
    let counts = counting(graph, newest, resumes, execution.epoch);
    if execution.endings.is_empty() {
        let survives = |row: &&StepRow| {
            let index = graph.index_of(&row.key.path.step);
            index.is_some_and(|index| children_survive(graph, index, row, &counts, resumes))
        };
        let fenced = newest.iter().flatten().copied().filter(is_fenced);
        plan.surviving = fenced.filter(survives).map(|row| row.key.clone()).collect();
    }
    let outcomes = outcomes(graph, execution, &counts);
    for node in graph.nodes() {
        let index = graph.index_of(&node.id).unwrap_or_else(|| unreachable!("a node is in its own graph"));
        match counts[index.position()] {
            Some(row) => plan_started(&mut plan, execution, row, now),
            None if may_start(execution, node) => {
                plan_pending(&mut plan, graph, index, &outcomes, newest, &counts, resumes);
            }
            None => {}
        }
    }
    let concludes = |row: &&StepRow| row.concludes() && row.items.is_none();
    let concluded = !execution.in_finally && counts.iter().flatten().any(concludes);
    plan.ending = overdue(execution, now).or(concluded.then_some(Ending::Succeeded));
    plan.wake_at = Some(next_wake(execution, &counts, now));
    plan
}

/// What each node tells those that need it, or `None` where it is not settled. A run that ends early tells it for all that it will not do: a failure,
/// unless nothing of it was left to do.
fn outcomes(graph: &Graph, execution: &ExecutionRow, counts: &[Option<&StepRow>]) -> Vec<Option<NeedOutcome>> {
    const GIVEN_UP: NeedOutcome = NeedOutcome { satisfied: false, failed_above: true, continued_above: false };
    let gives_up_fine = execution.endings.contains(&Ending::Succeeded);
    graph
        .nodes()
        .iter()
        .zip(counts)
        .map(|(node, row)| {
            let told = row.and_then(StepRow::outcome);
            let given_up = if gives_up_fine && node.place == Place::Work { NeedOutcome::FINE } else { GIVEN_UP };
            told.or((!may_start(execution, node)).then_some(given_up))
        })
        .collect()
}

/// Whether a node without a row may get one: a run that ends early starts nothing of its work, and nothing at all when `finally` took too long.
fn may_start(execution: &ExecutionRow, node: &Node) -> bool {
    let gives_up_all = execution.endings.contains(&Ending::FinallyTimedOut);
    let gives_up_work = !execution.endings.is_empty();
    let is_end = node.id.as_str() == StepId::END;
    match node.place {
        Place::Work => !gives_up_work,
        Place::OnFailure => !gives_up_all,
        Place::Finally => is_end || !gives_up_all,
    }
}

fn plan_started(plan: &mut Plan, execution: &ExecutionRow, row: &StepRow, now: Timestamp) {
    let key = || row.key.clone();
    match &row.state {
        StepState::Running { .. } if row.execution.is_some() => plan.nested.push(row.clone()),
        StepState::Running { .. } => plan.running.push((key(), row.attempt)),
        StepState::FannedOut { .. } => plan.fan_outs.push(key()),
        StepState::Waiting(Waiting::Retry { due }) if *due <= now => plan.retry_due.push((key(), row.attempt)),
        StepState::Waiting(Waiting::Time { .. } | Waiting::Approval(_)) if row.due().is_some_and(|due| due <= now) => {
            plan.timers_due.push(key());
        }
        StepState::Waiting(Waiting::Retry { .. } | Waiting::Time { .. }) => plan.waits_for_time = true,
        StepState::Waiting(Waiting::Approval(_)) => plan.asking.push(row.key.path.step.clone()),
        StepState::Waiting(Waiting::Lost { .. } | Waiting::Limit(_)) => {
            plan.waiting_for_person.push(row.key.path.step.clone());
        }
        StepState::Completed
        | StepState::Failed { .. }
        | StepState::Skipped(_)
        | StepState::Blocked
        | StepState::Cancelled => match row.key.path.step.as_str() {
            StepId::END => plan.end = Some(row.needs),
            StepId::FINALLY => plan.work_over = !execution.in_finally,
            _ => {}
        },
    }
}

fn plan_pending(
    plan: &mut Plan,
    graph: &Graph,
    index: NodeIndex,
    outcomes: &[Option<NeedOutcome>],
    newest: &[Option<&StepRow>],
    counts: &[Option<&StepRow>],
    resumes: &[Resume],
) {
    let node = graph.node(index);
    let told: Vec<Option<NeedOutcome>> = node.needs.iter().map(|need| outcomes[need.position()]).collect();
    if let Some(all) = told.iter().copied().collect::<Option<Vec<_>>>() {
        let needs = all.into_iter().fold(NeedOutcome::FINE, NeedOutcome::and);
        let old = newest[index.position()]
            .filter(|row| row.items.is_some() || row.execution.is_some() || row.suspended().is_some());
        let old = old.filter(|row| children_survive(graph, index, row, counts, resumes));
        plan.ready.push(ReadyStep { step: node.id.clone(), needs, old: old.map(|row| row.key.clone()) });
    } else if node.needs.len() > 1 {
        let arrived = (0_u32..).zip(told).filter_map(|(ordinal, outcome)| Some((ordinal, outcome?)));
        plan.unite.extend(arrived.map(|(ordinal, outcome)| (node.id.clone(), ordinal, outcome)));
    }
}

fn overdue(execution: &ExecutionRow, now: Timestamp) -> Option<Ending> {
    let passed = execution.deadline.is_some_and(|deadline| deadline <= now);
    let ending = if execution.in_finally { Ending::FinallyTimedOut } else { Ending::TimedOut };
    (passed && !execution.endings.contains(&ending)).then_some(ending)
}

/// When a run is looked at again in which nothing is due and so many wake-ups in a row changed nothing.
pub fn backoff(idle_wakes: u32, now: Timestamp) -> Timestamp {
    let seconds = WAKE_SECONDS_MIN.checked_shl(idle_wakes.min(10)).unwrap_or(WAKE_SECONDS_MAX).min(WAKE_SECONDS_MAX);
    now.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}

/// The earliest thing that is due, else a backoff that grows while the wake-up changes nothing.
fn next_wake(execution: &ExecutionRow, counts: &[Option<&StepRow>], now: Timestamp) -> Timestamp {
    let backoff = backoff(execution.idle_wakes, now);
    // What is due already was found undone, and is looked at again like all that was.
    let timers = counts.iter().flatten().filter_map(|row| row.due()).filter(|due| *due > now);
    let deadline = execution.deadline.filter(|deadline| *deadline > now);
    timers.chain(deadline).chain([backoff]).min().unwrap_or(backoff).max(now)
}

/// The path of a step that is no child.
pub fn path_of(step: &StepId) -> StepPath {
    StepPath::step(step.clone())
}

//! What the runs came to, held against the oracle.

mod artifacts;

use ratchet_core::{
    budget::{AgentCall, BudgetRow, Spent},
    decide::StepPolicy,
    execution::ExecutionRow,
    ids::{Epoch, StepKey, StepPath},
    output::{Output, Outputs},
    replay::{ReplayFinding, replay_execution, replay_step},
    status::{ExecutionStatus, StepStatus},
    step::{FailureClass, StepRow, StepState},
    transition::{Ending, StepTransition},
};
use ratchet_engine::ports::StateStore as _;
use serde_json::Value as Json;

use super::{
    Mode,
    driver::Driver,
    files::files_agree,
    laws::{Breach, Laws, never_began},
    model::{Action, List},
    oracle::{Circumstances, Outcome, Result as Expected, Value, interpret},
    script::Script,
    standing::{Known, Standing},
    tasks::Tasks,
    trace::name,
    world::lock,
};

/// Judges every run, once nothing more happens.
pub(crate) fn judge(driver: &Driver) {
    let mut world = lock(&driver.world);
    let runs: Vec<_> = world.laws.runs.keys().cloned().collect();
    for id in runs {
        let known = &world.laws.runs[&id];
        let judged = run(driver, known, &world.laws, &world.tasks).err();
        if let Some(breach) = judged {
            world.laws.broken(breach.law, breach.what);
            return;
        }
    }
    if driver.mode == Mode::Calm {
        few_writes(&mut world.laws);
    }
}

/// Holds the writes of runs in which nothing went wrong, and which no deadline ended, against what they need at most.
fn few_writes(laws: &mut Laws) {
    // Each answer has the run planned, and two that plan at once may both have the same arrive.
    let was_asked = |known: &Known| known.model.steps.iter().any(|step| matches!(step.action, Action::Approval(_)));
    let went_through =
        |known: &Known| known.row.as_ref().is_some_and(|row| row.epoch == Epoch::FIRST) && !was_asked(known);
    if !laws.runs.values().all(went_through) {
        return;
    }
    let most = laws.runs.values().map(writes_max).sum::<u64>();
    if laws.writes > most {
        laws.broken("a step costs so many writes", format!("{} writes, and {most} are enough", laws.writes));
    }
}

/// How many writes a run needs in which nothing goes wrong: two for an attempt, one for a step that needs none, one to keep the records of an attempt that
/// another follows (two where its timer and a wake-up come at once), one for each arrival at a join, and one for a lane that had to wait for room.
fn writes_max(known: &Known) -> u64 {
    let rows = known.rows.values().map(|row| {
        let attempts = u64::from(row.attempt.max(1));
        let is_settled_at_once = row.chain.length == 1;
        let lane = u64::from(row.key.path.child.is_some());
        if is_settled_at_once { 1 } else { 2 * attempts + 2 * (attempts - 1) + lane }
    });
    let joins = known.workflow.graph.nodes().iter().map(|node| node.needs.len()).filter(|needs| *needs > 1);
    let children = known.rows.values().filter_map(|row| {
        row.records.iter().find_map(|record| match record.transition {
            StepTransition::FannedOut { count, .. } => Some(count as usize),
            _ => None,
        })
    });
    rows.sum::<u64>() + joins.chain(children).map(arrivals).sum::<u64>()
}

/// The writes of a join of so many: each arrival, and each bucket that arrives at the one above.
fn arrivals(count: usize) -> u64 {
    let (mut writes, mut width) = (0, count);
    loop {
        writes += width as u64;
        if width <= 32 {
            return writes;
        }
        width = width.div_ceil(32);
    }
}

pub(super) fn breach(law: &'static str, what: impl Into<String>) -> Result<(), Breach> {
    Err(Breach { law, what: what.into() })
}

fn run(driver: &Driver, known: &Known, laws: &Laws, tasks: &Tasks) -> Result<(), Breach> {
    let Some(row) = &known.row else { return breach("every run ends", "the run was never made") };
    if !row.status.is_ended() {
        return breach("every run ends", format!("{} is {}, and nothing more happens", row.id, row.status));
    }
    let epoch = row.epoch.0;
    let standings = known.standings(epoch);
    nothing_open(known, tasks, epoch)?;
    replays(driver, known, row)?;
    files_agree(driver, &laws.runs, known, row, &standings)?;
    accounts_agree(driver, row, laws, tasks)?;
    left_its_group(driver, row)?;
    artifacts::registered(driver, known, row)?;
    if never_began(row) {
        return match known.rows.values().find(|step| step.key.epoch == row.epoch) {
            Some(step) => breach("nothing of a run starts before its turn", name(&step.key)),
            None => Ok(()),
        };
    }
    let script = &driver.script;
    let expected = expected(known, script, &standings, epoch, laws);
    if row.endings.is_empty() {
        if let Some(step) = expected.steps.iter().position(|step| step.concludes) {
            let id = &known.model.steps[step].id;
            return breach(SAME, format!("{} should have ended as a success with {id}", row.id));
        }
        for (position, standing) in standings.iter().enumerate() {
            let row = standing.epoch.and_then(|at| known.row_of(position, at));
            same_step(driver, known, position, row, &expected.steps[position])?;
        }
        return same_run(driver, known, &expected);
    }
    ended_early(driver, known, &standings, &expected)
}

/// What the oracle says, told what the schedule decided.
fn expected(known: &Known, script: &Script, standings: &[Standing], epoch: u32, laws: &Laws) -> Outcome {
    let epoch_of = |step: usize| standings[step].epoch.unwrap_or(epoch);
    let row = |step: usize, child: Option<u32>| {
        let row = known.row_of(step, standings[step].epoch?)?;
        let Some(child) = child else { return Some(row) };
        let path = StepPath::child(row.key.path.step.clone(), child);
        known.rows.get(&StepKey { path, ..row.key.clone() })
    };
    let lost_for_good = |step: usize, child: Option<u32>| row(step, child).is_some_and(was_lost_for_good);
    let answered_too_late = |step: usize, child: Option<u32>| row(step, child).is_some_and(was_answered_too_late);
    let (lost_for_good, answered_too_late) = (&lost_for_good, &answered_too_late);
    let stood_in = |step: usize, child: Option<u32>| {
        let row = row(step, child);
        row.and_then(StepRow::hit).is_some()
    };
    let run_completed = |step: usize, child: Option<u32>| {
        // A child whose result was taken over has it from an older epoch.
        let id = row(step, child).and_then(|row| {
            let same = |other: &&StepRow| other.key.path == row.key.path && other.key.epoch <= row.key.epoch;
            known.rows.values().filter(same).filter_map(|row| row.execution.as_ref()).next_back()
        });
        let nested = id.and_then(|id| laws.runs.get(id)).and_then(|known| known.row.as_ref());
        nested.is_some_and(|nested| nested.status == ExecutionStatus::Completed)
    };
    let run_completed = &run_completed;
    let circumstances = Circumstances {
        script,
        epoch_of: &epoch_of,
        lost_for_good,
        answered_too_late,
        stood_in: &stood_in,
        run_completed,
    };
    interpret(&known.model, &circumstances)
}

/// A row that failed because its time for an answer was over. That it was, deciding its records again shows.
fn was_answered_too_late(row: &StepRow) -> bool {
    matches!(&row.state, StepState::Failed { failure, .. } if failure.class == FailureClass::Timeout)
        && row.records.iter().any(|record| matches!(record.transition, StepTransition::Asked { .. }))
}

/// A row that failed because its task was lost again and again. That each loss was one, the laws saw as it was written.
fn was_lost_for_good(row: &StepRow) -> bool {
    let by_loss = row.records.iter().any(|record| {
        record.cause.starts_with("TaskLost") && matches!(record.transition, StepTransition::Failed { .. })
    });
    let is_launch = matches!(&row.state, StepState::Failed { failure, .. } if failure.class == FailureClass::Launch);
    by_loss && is_launch && row.losses == ratchet_core::decide::LOSSES_MAX
}

/// The history decided again, and the rows that it makes.
fn replays(driver: &Driver, known: &Known, row: &ExecutionRow) -> Result<(), Breach> {
    let finding =
        |finding: ReplayFinding| Breach { law: "a record decided again is the same", what: finding.to_string() };
    let policy = row.policy(&known.workflow);
    replay_execution(row, &|_| policy, u64::MAX).map_err(finding)?;
    for row in known.rows.values() {
        let attempts = now(driver.store.attempts(&row.key)).unwrap_or_default();
        // A handler that lost the race for the next attempt may have kept the current one as an earlier one.
        let earlier = attempts.into_iter().filter(|earlier| earlier.attempt < row.attempt);
        let records: Vec<_> = earlier.flat_map(|attempt| attempt.records).chain(row.records.iter().cloned()).collect();
        let policy = known.workflow.step(&row.key.path.step).map_or(StepPolicy::INTERNAL, StepPolicy::of);
        let policy = if row.key.path.child.is_some() { policy.for_child() } else { policy };
        let made = replay_step(&row.key, row.needs, row.base.as_ref(), &records, &policy).map_err(finding)?;
        if made.is_none_or(|made| made.state != row.state || made.chain != row.chain) {
            return breach("a record decided again is the same", format!("{} is another row", name(&row.key)));
        }
    }
    Ok(())
}

/// Every row of the last epoch is settled. What was claimed for a child after its fan-out had ended, and was never launched, is nobody's any more.
fn nothing_open(known: &Known, tasks: &Tasks, epoch: u32) -> Result<(), Breach> {
    let too_late = |row: &StepRow| {
        let parent = StepKey { path: StepPath::step(row.key.path.step.clone()), ..row.key.clone() };
        let has_ended = known.rows.get(&parent).is_some_and(|parent| parent.status().is_settled());
        row.key.path.child.is_some() && has_ended && !tasks.by_name.contains_key(&(row.key.clone(), row.attempt))
    };
    let unsettled = |row: &&StepRow| row.key.epoch == Epoch(epoch) && !row.status().is_settled();
    match known.rows.values().filter(unsettled).find(|row| !too_late(row)) {
        Some(row) => {
            breach("nothing is left open", format!("{} is {} though its run has ended", name(&row.key), row.status()))
        }
        None => Ok(()),
    }
}

/// What was spent is what the rows say that the agents used, and nothing is in flight but what came too late for its epoch, or for its run, and was never launched.
fn accounts_agree(driver: &Driver, row: &ExecutionRow, laws: &Laws, tasks: &Tasks) -> Result<(), Breach> {
    let budget = now(driver.store.budget(&row.id)).flatten().unwrap_or_else(|| BudgetRow::empty(row.id.clone()));
    let (recorded, never_launched) = laws.recorded(&row.id, &budget.in_flight);
    let counted = budget.spent.agent_calls;
    let agrees = Spent { agent_calls: counted, ..recorded } == budget.spent
        && (recorded.agent_calls.saturating_sub(never_launched)..=recorded.agent_calls).contains(&counted);
    let too_late = |call: &AgentCall| {
        (call.key.epoch < row.epoch || laws.entered_late(&row.id, call))
            && !tasks.by_name.contains_key(&(call.key.clone(), call.attempt))
    };
    if agrees && budget.in_flight.iter().all(too_late) {
        return Ok(());
    }
    breach("what was spent is what the agents used", format!("{budget:?}, and the rows say {recorded:?}"))
}

/// A run that has ended is in no group, or somebody will find it there.
fn left_its_group(driver: &Driver, row: &ExecutionRow) -> Result<(), Breach> {
    let Some(turn) = &row.turn else { return Ok(()) };
    let group = now(driver.store.group(&turn.group)).flatten();
    match group.filter(|group| !group.queue.is_empty()) {
        Some(group) => breach("every run that waits has its turn", format!("{group:?} when all has ended")),
        None => Ok(()),
    }
}

/// The answer of a store that never waits.
pub(super) fn now<T, E>(answer: impl Future<Output = Result<T, E>>) -> Option<T> {
    let mut answer = std::pin::pin!(answer);
    match answer.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(answer) => answer.ok(),
        std::task::Poll::Pending => None,
    }
}

const SAME: &str = "a run ends as the oracle says";

fn same_step(
    driver: &Driver,
    known: &Known,
    position: usize,
    row: Option<&StepRow>,
    expected: &Expected,
) -> Result<(), Breach> {
    let step = &known.model.steps[position];
    let Some(row) = row else {
        return breach(SAME, format!("{} has no row, and should be {}", step.id, expected.status.word()));
    };
    if row.status().as_str() != expected.status.word() {
        let why = match &row.state {
            StepState::Failed { failure, .. } => format!(" ({failure})"),
            _ => String::new(),
        };
        return breach(
            SAME,
            format!("{} is {}{why}, and should be {}", name(&row.key), row.status(), expected.status.word()),
        );
    }
    if row.items.is_none() && row.concludes() != expected.concludes {
        return breach(SAME, format!("{}: concludes is {}", name(&row.key), row.concludes()));
    }
    let continued = matches!(row.state, StepState::Failed { continued: true, .. });
    if continued != expected.continued {
        return breach(SAME, format!("{}: continued is {continued}", name(&row.key)));
    }
    let none = Outputs::new();
    let outputs = row.result.as_ref().map_or(&none, |result| &result.outputs);
    if matches!(step.action, Action::Shell) && row.status() == StepStatus::Completed {
        for (output, expected) in [("v", &expected.v), ("list", &expected.list)] {
            same_output(driver, &format!("{}.{output}", name(&row.key)), outputs.get(output), expected)?;
        }
    }
    if let Some(text) = &expected.text
        && outputs.get("text") != Some(&Output::Json(Json::String(text.clone())))
    {
        return breach(SAME, format!("{} says {:?}, and should say {text:?}", name(&row.key), outputs.get("text")));
    }
    same_children(known, row, expected)
}

fn same_children(known: &Known, parent: &StepRow, expected: &Expected) -> Result<(), Breach> {
    for (child, status) in (0_u32..).zip(&expected.children) {
        let path = StepPath::child(parent.key.path.step.clone(), child);
        let row = known.rows.get(&StepKey { path, ..parent.key.clone() });
        let found = row.map(StepRow::status);
        let fits = match found {
            Some(found) => {
                found.as_str() == status.word()
                    || (expected.children_vary && (found == StepStatus::Cancelled || !found.is_settled()))
            }
            None => expected.children_vary,
        };
        if !fits {
            let found = found.map_or("not there", StepStatus::as_str);
            return breach(SAME, format!("{}[{child}] is {found}, and should be {}", name(&parent.key), status.word()));
        }
    }
    Ok(())
}

fn same_output(driver: &Driver, what: &str, found: Option<&Output>, expected: &Value) -> Result<(), Breach> {
    let found = found.map_or(Json::Null, |output| json(driver, output));
    let (found, expected) = (found.to_string(), expected.text());
    if found == expected { Ok(()) } else { breach(SAME, format!("{what} is {found}, and should be {expected}")) }
}

fn json(driver: &Driver, output: &Output) -> Json {
    match output {
        Output::Json(value) => value.clone(),
        Output::Each(values) => {
            values.iter().map(|value| value.as_ref().map_or(Json::Null, |value| json(driver, value))).collect()
        }
        Output::Stored(blob) => {
            let bytes = driver.read_blob(&blob.digest);
            serde_json::from_slice::<Output>(&bytes).map_or(Json::Null, |output| json(driver, &output))
        }
        Output::File(file) => Json::String(file.path.clone()),
    }
}

fn same_run(driver: &Driver, known: &Known, expected: &Outcome) -> Result<(), Breach> {
    let Some(row) = &known.row else { return Ok(()) };
    if row.status.as_str() != expected.status.word() {
        let why = row.failure.as_ref().map_or_else(String::new, |failure| format!(" ({failure})"));
        return breach(SAME, format!("{} is {}{why}, and should be {}", row.id, row.status, expected.status.word()));
    }
    if row.continued != expected.continued {
        return breach(SAME, format!("{}: continued is {}", row.id, row.continued));
    }
    for (output, expected) in &expected.outputs {
        same_output(driver, &format!("output {output}"), row.outputs.get(output), expected)?;
    }
    Ok(())
}

/// A run that ended early: what it did of its work is as the oracle says, the rest is not done, and it is cancelled or failed.
fn ended_early(driver: &Driver, known: &Known, standings: &[Standing], expected: &Outcome) -> Result<(), Breach> {
    let Some(row) = &known.row else { return Ok(()) };
    let is_afterwards = |position: usize| known.model.steps[position].list != List::Work;
    let broke_afterwards = (0..standings.len()).any(|step| is_afterwards(step) && standings[step].is_broken());
    let status = if row.endings.contains(&Ending::Cancelled) {
        ExecutionStatus::Cancelled
    } else if row.endings == [Ending::Succeeded] && !broke_afterwards {
        ExecutionStatus::Completed
    } else {
        ExecutionStatus::Failed
    };
    if row.endings.contains(&Ending::Succeeded) {
        let concludes = |row: &StepRow| row.concludes() && row.items.is_none() && row.key.path.child.is_none();
        if !known.rows.values().any(concludes) {
            return breach(SAME, format!("{} ended as a success, and no assertion says so", row.id));
        }
    }
    if row.status != status {
        return breach(SAME, format!("{} is {}, and should be {status}", row.id, row.status));
    }
    for (position, standing) in standings.iter().enumerate() {
        let step = &known.model.steps[position];
        let found = standing.epoch.and_then(|at| known.row_of(position, at));
        if step.list == List::Work
            && let Some(found) = found.filter(|row| matches!(row.status(), StepStatus::Completed | StepStatus::Skipped))
        {
            same_step(driver, known, position, Some(found), &expected.steps[position])?;
        }
        let finally_runs = !row.endings.contains(&Ending::FinallyTimedOut);
        if step.list == List::Finally && finally_runs && found.is_none() {
            return breach(SAME, format!("{} of finally did not run", step.id));
        }
        if step.list == List::OnFailure
            && status == ExecutionStatus::Cancelled
            && found.is_some_and(|row| !matches!(row.status(), StepStatus::Skipped | StepStatus::Cancelled))
        {
            return breach(SAME, format!("{} of on_failure ran in a run that was cancelled", step.id));
        }
    }
    Ok(())
}

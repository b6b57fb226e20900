//! The state machines as a page: drawn by asking [`decide_step`] and [`decide_execution`] about every state and every event.

use std::{collections::BTreeMap, collections::BTreeSet, fmt::Write as _, num::NonZeroU32, time::Duration};

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    decide::{ExecutionPolicy, LOSSES_MAX, StepPolicy, decide_execution, decide_step},
    event::{ExecutionEvent, Outcome, StepEvent, Verdict},
    execution::{DefinitionRef, ExecutionRow, Parent, RunOptions, TraceParent},
    group::Turn,
    history::{Actor, Chain},
    ids::{Digest, Epoch, ExecutionId, StepId, StepKey, StepPath, TokenHash},
    join::NeedOutcome,
    output::{BlobRef, Outputs},
    retry::RetryPolicy,
    status::{ExecutionStatus, StepStatus},
    step::{Answer, FailureClass, Question, StepFailure, StepResult, StepRow, StepState, Usage, Waiting},
    transition::{Ending, ExecutionTransition, SkipReason, StepTransition},
    workflow::{OnFailure, OnLost},
};

/// Edges of a diagram: from, to, and the events that lead there.
type Edges = BTreeMap<(String, String), BTreeSet<String>>;

/// The page `docs/state-machine.md`.
pub fn state_machines() -> String {
    let mut page = String::from(
        "# State machines\n\nDrawn from the decision tables in `crates/ratchet-core/src/decide.rs` by asking them about every state and every event. \
         Do not edit: `make docs` writes this page.\n\nWhat is not drawn is a rejection: the event changes nothing, is logged and acknowledged.\n",
    );
    section(&mut page, "A step", "pending", &step_edges());
    section(&mut page, "An execution", "running", &execution_edges());
    page
}

fn section(page: &mut String, title: &str, start: &str, edges: &Edges) {
    // Writing to a string cannot fail.
    let _ = write!(page, "\n## {title}\n\n```mermaid\nstateDiagram-v2\n    [*] --> {start}\n");
    for ((from, to), events) in edges {
        let events: Vec<&str> = events.iter().map(String::as_str).collect();
        let _ = writeln!(page, "    {from} --> {to}: {}", events.join(", "));
    }
    page.push_str("```\n");
}

fn step_edges() -> Edges {
    let mut edges = Edges::new();
    for row in rows() {
        for policy in policies() {
            for (label, event) in step_events() {
                let from = row.as_ref().map_or(StepStatus::Pending, StepRow::status);
                let path = StepPath::step(StepId::new("s"));
                let Ok(decision) = decide_step(&path, row.as_ref(), &event, &policy, Timestamp::UNIX_EPOCH) else {
                    continue;
                };
                let after = applied(row.clone(), decision.transition);
                let edge = (from.as_str().to_owned(), after.status().as_str().to_owned());
                edges.entry(edge).or_default().insert(label.to_owned());
            }
        }
    }
    edges
}

fn applied(row: Option<StepRow>, transition: StepTransition) -> StepRow {
    let chain = row.as_ref().map_or(Chain::EMPTY, |row| row.chain.clone());
    let record = chain.next("s", Timestamp::UNIX_EPOCH, Actor::Engine, String::new(), transition);
    match row {
        Some(mut row) => {
            row.apply(record);
            row
        }
        None => StepRow::first(key(), record, NeedOutcome::FINE, None),
    }
}

fn key() -> StepKey {
    StepKey { execution: ExecutionId::new("e"), epoch: Epoch::FIRST, path: StepPath::step(StepId::new("s")) }
}

fn token() -> TokenHash {
    TokenHash::new("token")
}

fn failure() -> StepFailure {
    StepFailure::new(FailureClass::Exit(1), "it failed")
}

fn question() -> Question {
    Question { message: "?".to_owned(), approvers: vec![], due: Some(Timestamp::UNIX_EPOCH) }
}

fn answer(approved: bool) -> Answer {
    Answer { approved, comment: None, by: "p".to_owned() }
}

fn blob() -> BlobRef {
    BlobRef { digest: Digest::new("d"), size: 1 }
}

/// A row in every state, and none.
fn rows() -> Vec<Option<StepRow>> {
    let claimed =
        applied(None, StepTransition::Claimed { token_hash: token(), predecessor: None, execution: None, cache: None });
    let states = [
        StepState::Running { token_hash: token() },
        StepState::FannedOut { count: 2, lanes: 1 },
        StepState::Waiting(Waiting::Retry { due: Timestamp::UNIX_EPOCH }),
        StepState::Waiting(Waiting::Lost { found_in: Epoch::FIRST }),
        StepState::Waiting(Waiting::Limit(Box::new(failure()))),
        StepState::Waiting(Waiting::Time { due: Timestamp::UNIX_EPOCH }),
        StepState::Waiting(Waiting::Approval(question())),
        StepState::Completed,
        StepState::Failed { failure: failure(), continued: false },
        StepState::Skipped(SkipReason::WhenFalse),
        StepState::Blocked,
        StepState::Cancelled,
    ];
    let mut rows = vec![None];
    for state in states {
        rows.push(Some(StepRow { state: state.clone(), ..claimed.clone() }));
        rows.push(Some(StepRow { state, losses: LOSSES_MAX, ..claimed.clone() }));
    }
    rows
}

fn policies() -> Vec<StepPolicy> {
    let twice = RetryPolicy { attempts: NonZeroU32::MAX, ..RetryPolicy::ONCE };
    let mut policies = Vec::new();
    for retry in [RetryPolicy::ONCE, twice] {
        for on_lost in [OnLost::Rerun, OnLost::Pause] {
            policies.push(StepPolicy { retry: retry.clone(), on_lost, on_failure: OnFailure::Fail });
        }
    }
    policies
}

fn step_events() -> Vec<(&'static str, StepEvent)> {
    let succeeded = Outcome::Succeeded(StepResult::default());
    let failed = Outcome::Failed { failure: failure(), usage: Usage::default() };
    let at_limit = StepFailure { session: Some(Digest::new("s")), ..failure() };
    let finished = |outcome| StepEvent::Finished { token_hash: token(), outcome, chance: 0, successor: None };
    let ready = StepEvent::Ready;
    vec![
        (
            "StepReady (run)",
            ready(Verdict::Run { token_hash: token(), predecessor: None, execution: None, cache: None }),
        ),
        ("StepReady (fan out)", ready(Verdict::FanOut { count: 2, lanes: 1, items: blob(), adopts: None })),
        (
            "StepReady (done at once)",
            ready(Verdict::Settle { outcome: succeeded.clone(), predecessor: None, successor: None }),
        ),
        (
            "StepReady (failed at once)",
            ready(Verdict::Settle { outcome: failed.clone(), predecessor: None, successor: None }),
        ),
        (
            "StepReady (skip)",
            ready(Verdict::Skip { reason: SkipReason::WhenFalse, predecessor: None, successor: None }),
        ),
        ("StepReady (blocked)", ready(Verdict::Block)),
        ("StepFinished (succeeded)", finished(succeeded.clone())),
        ("StepFinished (failed)", finished(failed.clone())),
        ("StepFinished (at a limit)", finished(Outcome::Failed { failure: at_limit, usage: Usage::default() })),
        ("StepFinished (stopped)", finished(Outcome::Stopped)),
        ("TaskLost", StepEvent::Lost { attempt: 1, token_hash: token(), found_in: Epoch::FIRST }),
        ("RetryDue", StepEvent::RetryDue { attempt: 1, token_hash: token(), execution: None }),
        ("StepReady (wait)", ready(Verdict::Wait { due: Timestamp::UNIX_EPOCH, predecessor: None })),
        ("StepReady (ask)", ready(Verdict::Ask { question: question(), predecessor: None })),
        ("TimeCome", StepEvent::TimeCome { successor: None }),
        ("Answered (yes)", StepEvent::Answered(answer(true))),
        ("Answered (no)", StepEvent::Answered(answer(false))),
        ("GivenUp", StepEvent::GivenUp { failure: failure() }),
        ("ChildrenDone (succeeded)", StepEvent::ChildrenDone(succeeded)),
        ("ChildrenDone (failed)", StepEvent::ChildrenDone(failed)),
        ("LaneTaken", StepEvent::LaneTaken { successor: Some(1) }),
        ("StepCancelled", StepEvent::Cancelled),
    ]
}

fn execution_edges() -> Edges {
    let policy = ExecutionPolicy { timeout: None, finally_timeout: Duration::from_mins(1) };
    let mut edges = Edges::new();
    for status in ExecutionStatus::ALL {
        let turn = Some(Turn { group: "g".to_owned(), has_come: status != ExecutionStatus::Running });
        let standings =
            [(false, vec![], None), (true, vec![], None), (true, vec![Ending::Cancelled], None), (false, vec![], turn)];
        for (in_finally, endings, turn) in standings {
            let row = ExecutionRow { turn, ..execution(status, in_finally, endings) };
            for (label, event) in execution_events() {
                let Ok(transition) = decide_execution(&row, &event, &policy, Timestamp::UNIX_EPOCH) else { continue };
                let mut after = row.clone();
                after.apply(Chain::EMPTY.next("e", Timestamp::UNIX_EPOCH, Actor::Engine, String::new(), transition));
                let edge = (standing(&row), standing(&after));
                edges.entry(edge).or_default().insert(label.to_owned());
            }
        }
    }
    edges
}

/// The word for where a run stands in the drawing: one that waits for its turn runs by its status.
fn standing(row: &ExecutionRow) -> String {
    if row.waits_for_turn() { "queued".to_owned() } else { row.status.as_str().to_owned() }
}

fn execution_events() -> Vec<(&'static str, ExecutionEvent)> {
    let settled =
        |failed| ExecutionEvent::AllSettled { failed, continued: false, outputs: Ok(Outputs::new()), tree: None };
    let end = |ending| ExecutionEvent::EndRequested { ending };
    vec![
        ("CancelRequested", end(Ending::Cancelled)),
        ("DeadlinePassed", end(Ending::TimedOut)),
        ("NothingLeftToDo", end(Ending::Succeeded)),
        ("FinallyDeadlinePassed", end(Ending::FinallyTimedOut)),
        ("WorkOver", ExecutionEvent::WorkOver),
        ("TurnCame", ExecutionEvent::TurnCame),
        ("TurnRefused", ExecutionEvent::TurnRefused { failure: failure() }),
        ("PauseRequested", ExecutionEvent::PauseRequested { reason: String::new(), step: None, wake_at: None }),
        ("PauseOver", ExecutionEvent::PauseOver),
        ("Adopted", ExecutionEvent::Adopted { parent: parent(2) }),
        (
            "ResumeRequested",
            ExecutionEvent::ResumeRequested { reset_from: vec![], edit: None, files: None, added_usd: None },
        ),
        (
            "ResumeRequested (from a step)",
            ExecutionEvent::ResumeRequested {
                reset_from: vec![StepId::new("s")],
                edit: None,
                files: None,
                added_usd: None,
            },
        ),
        ("AllSettled", settled(false)),
        ("AllSettled (a step failed)", settled(true)),
    ]
}

fn parent(epoch: u32) -> Parent {
    Parent {
        key: StepKey { epoch: Epoch(epoch), ..key() },
        attempt: 1,
        way: String::new(),
        timeout_ms: None,
        budget: None,
    }
}

fn execution(status: ExecutionStatus, in_finally: bool, endings: Vec<Ending>) -> ExecutionRow {
    let definition = DefinitionRef {
        name: "w".to_owned(),
        version: "1".to_owned(),
        digest: Digest::new("d"),
        origin: "w.yaml".to_owned(),
    };
    let mut row = ExecutionRow {
        id: ExecutionId::new("e"),
        parent: Some(parent(1)),
        definition,
        epoch: Epoch::FIRST,
        status,
        endings,
        in_finally,
        turn: None,
        tree: None,
        left: None,
        pause_reason: None,
        inputs: Outputs::new(),
        environment: BTreeMap::new(),
        trigger: Value::Null,
        stored_trigger: None,
        options: RunOptions::default(),
        trace: TraceParent(String::new()),
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
        ended_at: None,
        deadline: None,
        wake_at: Some(Timestamp::UNIX_EPOCH),
        idle_wakes: 0,
        asks: false,
        outputs: Outputs::new(),
        continued: false,
        failure: None,
        revision: 1,
        chain: Chain::EMPTY,
        records: Vec::new(),
    };
    let created = ExecutionTransition::Created {
        definition: Digest::new("d"),
        deadline: None,
        group: None,
        parent: None,
        tree: None,
    };
    row.records.push(Chain::EMPTY.next("e", Timestamp::UNIX_EPOCH, Actor::Engine, String::new(), created));
    row
}

#[cfg(test)]
mod tests {
    /// Set to write the page instead of comparing it.
    const UPDATE: &str = "RATCHET_UPDATE_DOCS";

    #[test]
    fn the_page_is_what_the_tables_say() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/state-machine.md");
        let drawn = super::state_machines();
        if std::env::var_os(UPDATE).is_some() {
            std::fs::write(path, &drawn).expect("docs can be written");
        }
        let page = std::fs::read_to_string(path).unwrap_or_default();
        assert!(page == drawn, "docs/state-machine.md is not what the tables say: run `make docs`");
    }
}

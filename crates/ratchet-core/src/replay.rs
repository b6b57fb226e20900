//! Replay: the state as it was, decided again from the history and compared with what was recorded.
//!
//! A record holds what changed. The event that changed it follows from the change and from where the row stood, so each record can be decided again:
//! a decision that comes out otherwise, or a hash that does not follow from the record before, is a finding.

use thiserror::Error;

use crate::{
    decide::{ExecutionPolicy, StepPolicy, decide_execution, decide_step},
    event::{ExecutionEvent, Outcome, StepEvent, Verdict},
    execution::{DefinitionRef, ExecutionRow},
    history::{Chain, Record},
    ids::{Digest, Epoch, StepKey, TokenHash},
    join::NeedOutcome,
    output::Outputs,
    rejection::Rejection,
    status::ExecutionStatus,
    step::{StepRow, StepState, Waiting},
    transition::{Ending, ExecutionTransition, StepTransition},
};

/// Why a history cannot be what happened.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ReplayFinding {
    /// A record does not follow from the one before it: it was altered, left out or put in.
    #[error("record {number} of {row} does not follow from the one before it")]
    BrokenChain {
        /// The row.
        row: String,
        /// The record.
        number: u64,
    },
    /// The event of a record does not apply where the row stood.
    #[error("record {number} of {row} cannot have happened: {rejection}")]
    Impossible {
        /// The row.
        row: String,
        /// The record.
        number: u64,
        /// Why not.
        rejection: Rejection,
    },
    /// The same event decides otherwise.
    #[error("record {number} of {row} says {recorded}, and deciding again says {decided}")]
    DecidedOtherwise {
        /// The row.
        row: String,
        /// The record.
        number: u64,
        /// What the history says.
        recorded: String,
        /// What the tables say.
        decided: String,
    },
    /// The row is not what its records make.
    #[error("{row} is not what its records make of it")]
    OtherState {
        /// The row.
        row: String,
    },
}

/// Replays the records of a step, those of earlier attempts first, and returns the row that they make.
pub fn replay_step(
    key: &StepKey,
    needs: NeedOutcome,
    base: Option<&Digest>,
    records: &[Record<StepTransition>],
    policy: &StepPolicy,
) -> Result<Option<StepRow>, ReplayFinding> {
    let name = key.to_string();
    let mut row: Option<StepRow> = None;
    for record in records {
        let chain = row.as_ref().map_or(Chain::EMPTY, |row| row.chain.clone());
        let finding = || (name.clone(), record.number);
        if !chain.accepts(&name, record) {
            let (row, number) = finding();
            return Err(ReplayFinding::BrokenChain { row, number });
        }
        let decided = step_events(row.as_ref(), record)
            .into_iter()
            .map(|event| decide_step(&key.path, row.as_ref(), &event, policy, record.at).map(|made| made.transition));
        compare(&record.transition, decided, finding, may_stand_for)?;
        row = Some(match row.take() {
            Some(mut row) => {
                row.apply(record.clone());
                row
            }
            None => StepRow::first(key.clone(), record.clone(), needs, base.cloned()),
        });
    }
    Ok(row)
}

/// Replays the records of an execution up to a number over its row, and returns the row that they make. `policy` is that of each definition that it followed.
pub fn replay_execution(
    row: &ExecutionRow,
    policy: &dyn Fn(&DefinitionRef) -> ExecutionPolicy,
    last: u64,
) -> Result<ExecutionRow, ReplayFinding> {
    let name = row.id.as_str();
    let edits = row.records.iter().filter_map(|record| match &record.transition {
        ExecutionTransition::Resumed { edit, .. } => edit.as_deref(),
        _ => None,
    });
    let (definition, inputs) = edits.fold((None, None), |(definition, inputs), edit| {
        (definition.or(Some(&edit.from)), inputs.or(edit.inputs.as_ref().map(|(before, _)| before)))
    });
    let mut made = ExecutionRow {
        definition: definition.unwrap_or(&row.definition).clone(),
        inputs: inputs.unwrap_or(&row.inputs).clone(),
        parent: None,
        epoch: Epoch::FIRST,
        status: ExecutionStatus::Running,
        endings: Vec::new(),
        in_finally: false,
        turn: None,
        tree: None,
        left: None,
        pause_reason: None,
        updated_at: row.created_at,
        ended_at: None,
        deadline: None,
        wake_at: None,
        outputs: Outputs::new(),
        continued: false,
        failure: None,
        chain: Chain::EMPTY,
        records: Vec::new(),
        ..row.clone()
    };
    for record in row.records.iter().take_while(|record| record.number <= last) {
        let finding = || (name.to_owned(), record.number);
        if !made.chain.accepts(name, record) {
            let (row, number) = finding();
            return Err(ReplayFinding::BrokenChain { row, number });
        }
        if let Some(event) = execution_event(&made, record) {
            let edited = match &event {
                ExecutionEvent::ResumeRequested { edit: Some(edit), .. } => &edit.to,
                _ => &made.definition,
            };
            let decided = decide_execution(&made, &event, &policy(edited), record.at);
            compare(&record.transition, [decided].into_iter(), finding, |_, _| false)?;
        }
        made.apply(record.clone());
    }
    Ok(made)
}

/// At least one of the events that can have made a record must decide it.
fn compare<T: PartialEq + std::fmt::Debug>(
    recorded: &T,
    decided: impl Iterator<Item = Result<T, Rejection>>,
    finding: impl Fn() -> (String, u64),
    may_stand_for: impl Fn(&T, &T) -> bool,
) -> Result<(), ReplayFinding> {
    let (row, number) = finding();
    let mut last = None;
    for decided in decided {
        match decided {
            Ok(decided) if decided == *recorded || may_stand_for(recorded, &decided) => return Ok(()),
            Ok(decided) => {
                let (recorded, decided) = (format!("{recorded:?}"), format!("{decided:?}"));
                last = Some(ReplayFinding::DecidedOtherwise { row: row.clone(), number, recorded, decided });
            }
            Err(rejection) => {
                last.get_or_insert(ReplayFinding::Impossible { row: row.clone(), number, rejection });
            }
        }
    }
    last.map_or(Ok(()), Err)
}

/// The randomness of a jitter is not recorded: a retry may have been due at any time between the two that the extremes give.
fn may_stand_for(recorded: &StepTransition, decided: &StepTransition) -> bool {
    match (recorded, decided) {
        (
            StepTransition::RetryScheduled { failure, due, usage },
            StepTransition::RetryScheduled { failure: other_failure, due: latest, usage: other_usage },
        ) => failure == other_failure && usage == other_usage && due <= latest,
        _ => false,
    }
}

/// The events that can have made a record, given where the row stood.
fn step_events(before: Option<&StepRow>, record: &Record<StepTransition>) -> Vec<StepEvent> {
    let state = before.map(|row| &row.state);
    let attempt = before.map_or(0, |row| row.attempt);
    let token = || match state {
        Some(StepState::Running { token_hash }) => token_hash.clone(),
        _ => TokenHash::new(String::new()),
    };
    let lost = |token_hash, found_in| StepEvent::Lost { attempt, token_hash, found_in };
    let finished = |outcome, successor| StepEvent::Finished { token_hash: token(), outcome, chance: 0, successor };
    let settled = |outcome: Outcome, predecessor: Option<u32>, successor: Option<u32>| match state {
        None => vec![StepEvent::Ready(Verdict::Settle { outcome, predecessor, successor })],
        Some(StepState::FannedOut { .. }) => vec![StepEvent::ChildrenDone(outcome)],
        Some(StepState::Waiting(Waiting::Time { .. } | Waiting::Approval(_))) => {
            vec![StepEvent::TimeCome { successor }]
        }
        Some(_) => vec![finished(outcome, successor)],
    };
    match &record.transition {
        StepTransition::Claimed { token_hash, predecessor, execution, cache } => {
            let (token_hash, execution, cache) = (token_hash.clone(), execution.clone(), cache.clone());
            vec![StepEvent::Ready(Verdict::Run { token_hash, predecessor: *predecessor, execution, cache })]
        }
        StepTransition::FannedOut { count, lanes, items, adopts } => {
            let (items, adopts) = (items.clone(), *adopts);
            vec![StepEvent::Ready(Verdict::FanOut { count: *count, lanes: *lanes, items, adopts })]
        }
        StepTransition::Succeeded { result, predecessor, successor } => {
            settled(Outcome::Succeeded(result.clone()), *predecessor, *successor)
        }
        StepTransition::Failed { failure, usage, predecessor, successor, .. } => {
            let outcome = Outcome::Failed { failure: failure.clone(), usage: *usage };
            let mut events = settled(outcome, *predecessor, *successor);
            events.push(StepEvent::GivenUp { failure: failure.clone() });
            events.push(lost(TokenHash::new(String::new()), Epoch::FIRST));
            events
        }
        StepTransition::RetryScheduled { failure, usage, .. } | StepTransition::Suspended { failure, usage } => {
            vec![finished(Outcome::Failed { failure: failure.clone(), usage: *usage }, None)]
        }
        StepTransition::Reclaimed { token_hash, execution } => {
            vec![StepEvent::RetryDue { attempt, token_hash: token_hash.clone(), execution: execution.clone() }]
        }
        StepTransition::LostAndReclaimed { token_hash } => {
            vec![lost(token_hash.clone(), Epoch::FIRST)]
        }
        StepTransition::LostAndSuspended { found_in } => vec![lost(TokenHash::new(String::new()), *found_in)],
        StepTransition::Skipped { reason, predecessor, successor } => {
            let (reason, predecessor, successor) = (reason.clone(), *predecessor, *successor);
            vec![StepEvent::Ready(Verdict::Skip { reason, predecessor, successor })]
        }
        StepTransition::WaitBegan { due, predecessor } => {
            vec![StepEvent::Ready(Verdict::Wait { due: *due, predecessor: *predecessor })]
        }
        StepTransition::Asked { question, predecessor } => {
            vec![StepEvent::Ready(Verdict::Ask { question: question.clone(), predecessor: *predecessor })]
        }
        StepTransition::Answered { answer, .. } => vec![StepEvent::Answered(answer.clone())],
        StepTransition::Blocked => vec![StepEvent::Ready(Verdict::Block)],
        StepTransition::Cancelled => vec![StepEvent::Cancelled, finished(Outcome::Stopped, None)],
        StepTransition::LanePassed { successor } => vec![StepEvent::LaneTaken { successor: *successor }],
    }
}

/// The event that made a record of an execution; `None` for its creation, which no event of a row makes.
fn execution_event(before: &ExecutionRow, record: &Record<ExecutionTransition>) -> Option<ExecutionEvent> {
    let is_success = |ending: &Ending| *ending == Ending::Succeeded;
    Some(match &record.transition {
        ExecutionTransition::Created { .. } => return None,
        ExecutionTransition::EndingBegan { ending, .. } => ExecutionEvent::EndRequested { ending: ending.clone() },
        ExecutionTransition::FinallyBegan { .. } => ExecutionEvent::WorkOver,
        ExecutionTransition::Paused { reason, step, wake_at } => {
            ExecutionEvent::PauseRequested { reason: reason.clone(), step: step.clone(), wake_at: *wake_at }
        }
        ExecutionTransition::TurnCame { .. } => ExecutionEvent::TurnCame,
        ExecutionTransition::WentOn => ExecutionEvent::PauseOver,
        ExecutionTransition::Adopted { parent } | ExecutionTransition::Resumed { parent: Some(parent), .. } => {
            ExecutionEvent::Adopted { parent: parent.clone() }
        }
        ExecutionTransition::Resumed { reset_from, edit, files, added_usd, .. } => ExecutionEvent::ResumeRequested {
            reset_from: reset_from.clone(),
            edit: edit.clone(),
            files: files.clone(),
            added_usd: *added_usd,
        },
        ExecutionTransition::Ended { status: ExecutionStatus::Cancelled, .. } if before.waits_for_turn() => {
            ExecutionEvent::EndRequested { ending: Ending::Cancelled }
        }
        ExecutionTransition::Ended { failure: Some(failure), .. } if before.waits_for_turn() => {
            ExecutionEvent::TurnRefused { failure: failure.clone() }
        }
        ExecutionTransition::Ended { status, outputs, continued, failure, tree } => ExecutionEvent::AllSettled {
            failed: *status == ExecutionStatus::Failed && failure.is_none() && before.endings.iter().all(is_success),
            continued: *continued,
            outputs: failure.clone().map_or_else(|| Ok(outputs.clone()), Err),
            tree: tree.clone(),
        },
    })
}

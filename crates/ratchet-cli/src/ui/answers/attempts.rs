use jiff::Timestamp;
use ratchet_core::{
    history::Record,
    step::{AttemptRow, StepFailure, StepRow, Usage},
    transition::StepTransition,
};
use ratchet_engine::view::StepRows;
use serde::Serialize;

/// A time in a step's life, as a bar of a timeline shows it.
#[derive(Debug, Serialize)]
pub(super) struct Span {
    epoch: u32,
    attempt: u32,
    kind: Kind,
    from: Timestamp,
    /// None while it goes on.
    to: Option<Timestamp>,
    /// How it ended, in a word.
    outcome: Option<&'static str>,
    #[serde(flatten)]
    usage: Option<Usage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<StepFailure>,
}

/// What a step did meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// An attempt was under way.
    Attempt,
    /// Its children were.
    Children,
    /// A kept result stood in for it.
    Cached,
    /// It waited for a time or for a person.
    Wait,
    /// The engine did it at once.
    Inline,
}

/// Every attempt and every wait of a step, oldest first.
pub(super) fn spans(rows: &StepRows) -> Vec<Span> {
    of(&rows.row, &rows.attempts)
}

/// As [`spans`], from the row and its earlier attempts, of which the current one may be one.
pub(super) fn of(row: &StepRow, earlier: &[AttemptRow]) -> Vec<Span> {
    let earlier = earlier.iter().filter(|earlier| earlier.attempt < row.attempt);
    let groups = earlier.map(|earlier| (earlier.attempt, &earlier.records[..]));
    let mut spans: Vec<Span> = Vec::new();
    for (attempt, records) in groups.chain([(row.attempt, &row.records[..])]) {
        for record in records {
            let is_open = spans.last().is_some_and(|last| last.to.is_none());
            if let Some(kind) = began(&record.transition, is_open) {
                // What was not ended by itself was lost when the next began.
                if let Some(last) = spans.last_mut().filter(|last| last.to.is_none()) {
                    (last.to, last.outcome) = (Some(record.at), Some("lost"));
                }
                let epoch = row.key.epoch.0;
                let from = record.at;
                spans.push(Span { epoch, attempt, kind, from, to: None, outcome: None, usage: None, failure: None });
            }
            if let Some((outcome, failure)) = ended(record)
                && let Some(last) = spans.last_mut()
            {
                last.to = Some(record.at);
                last.outcome = Some(outcome);
                last.usage = record.transition.usage().filter(|_| last.kind == Kind::Attempt);
                last.failure = failure.cloned();
            }
        }
    }
    spans
}

/// What began with a change. `is_open` says whether something goes on that it may be the end of.
fn began(transition: &StepTransition, is_open: bool) -> Option<Kind> {
    match transition {
        StepTransition::Claimed { .. } | StepTransition::Reclaimed { .. } | StepTransition::LostAndReclaimed { .. } => {
            Some(Kind::Attempt)
        }
        StepTransition::FannedOut { .. } => Some(Kind::Children),
        StepTransition::WaitBegan { .. } | StepTransition::Asked { .. } => Some(Kind::Wait),
        StepTransition::Succeeded { result, .. } if result.cache.is_some() => Some(Kind::Cached),
        StepTransition::Succeeded { .. } | StepTransition::Failed { .. } if !is_open => Some(Kind::Inline),
        _ => None,
    }
}

fn ended(record: &Record<StepTransition>) -> Option<(&'static str, Option<&StepFailure>)> {
    match &record.transition {
        StepTransition::Succeeded { .. } => Some(("completed", None)),
        StepTransition::Answered { answer, .. } => Some((if answer.approved { "completed" } else { "failed" }, None)),
        StepTransition::Failed { failure, .. } | StepTransition::RetryScheduled { failure, .. } => {
            Some(("failed", Some(failure)))
        }
        StepTransition::Suspended { failure, .. } => Some(("waiting", Some(failure))),
        StepTransition::LostAndSuspended { .. } => Some(("lost", None)),
        StepTransition::Cancelled => Some(("cancelled", None)),
        _ => None,
    }
}

//! Steps that wait: for a time, or for a person's word. They have neither a process nor a slot, only a row and the run's wake-up.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use ratchet_core::{
    event::{Outcome, Verdict},
    step::{FailureClass, Question, StepFailure, StepResult, Usage},
    workflow::{Approval, Wait},
};
use ratchet_definition::{
    duration::duration_or_seconds,
    evaluate::{EvaluationError, Evaluator},
};

use crate::prepare::{Prepared, Ready, failed};

/// The code of a time that a template made and that is none.
const NO_TIME: &str = "RT-0180";
/// The code of a question that is too long for its row.
const TOO_LONG: &str = "RT-0183";
/// Bytes of a question: it stands in its step's row.
const QUESTION_BYTES_MAX: usize = 8 * 1024;

/// Until when a step waits. A time that has passed is no wait.
pub(crate) fn wait(wait: &Wait, evaluator: &Evaluator, now: Timestamp, ready: &Ready<'_>) -> Prepared {
    let (Wait::For(template) | Wait::Until(template)) = wait;
    let text = match evaluator.text(template) {
        Ok(text) => text,
        Err(error) => return ready.settle(failed(&error)),
    };
    let due = match wait {
        Wait::For(_) => duration_or_seconds(&text).map(|span| later(now, span)),
        Wait::Until(_) => text.trim().parse().ok(),
    };
    match due {
        Some(due) if due <= now => ready.settle(Outcome::Succeeded(StepResult::default())),
        Some(due) => Prepared::Settled(Box::new(Verdict::Wait { due, predecessor: ready.predecessor })),
        None => {
            let (what, hint) = match wait {
                Wait::For(_) => {
                    ("a duration", "a duration reads like `90s`, `15m` or `1h30m`, and a number is seconds")
                }
                Wait::Until(_) => {
                    ("a moment", "a moment reads like `2026-03-01T09:00:00Z`: its offset from UTC is in it")
                }
            };
            ready.settle(failure(NO_TIME, format!("`{text}` is not {what}"), hint))
        }
    }
}

/// What a person is asked.
pub(crate) fn ask(
    approval: &Approval,
    timeout: Option<Duration>,
    evaluator: &Evaluator,
    now: Timestamp,
    ready: &Ready<'_>,
) -> Prepared {
    let (message, approvers) = match question(approval, evaluator) {
        Ok(question) => question,
        Err(error) => return ready.settle(failed(&error)),
    };
    if message.len() + approvers.iter().map(String::len).sum::<usize>() > QUESTION_BYTES_MAX {
        let hint = "write it to a file of the workspace, and name the file in the question";
        return ready.settle(failure(TOO_LONG, format!("the question has {} bytes", message.len()), hint));
    }
    let due = timeout.map(|timeout| later(now, timeout));
    let question = Question { message, approvers, due };
    Prepared::Settled(Box::new(Verdict::Ask { question, predecessor: ready.predecessor }))
}

fn question(approval: &Approval, evaluator: &Evaluator) -> Result<(String, Vec<String>), EvaluationError> {
    let message = evaluator.text(&approval.message)?;
    let approvers = approval.approvers.iter().map(|approver| evaluator.text(approver)).collect::<Result<_, _>>()?;
    Ok((message, approvers))
}

fn failure(code: &str, message: String, hint: &str) -> Outcome {
    let failure = StepFailure::new(FailureClass::Definition, message).with_code(code).with_hint(hint);
    Outcome::Failed { failure, usage: Usage::default() }
}

/// A time after another; the end of time where there is none.
fn later(now: Timestamp, span: Duration) -> Timestamp {
    SignedDuration::try_from(span).ok().and_then(|span| now.checked_add(span).ok()).unwrap_or(Timestamp::MAX)
}

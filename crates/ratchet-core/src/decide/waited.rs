//! What a step waited for has come: a time, a person's word, or the end of the time for it.

use super::{StepDecision, StepPolicy, step_finished};
use crate::{
    command::Command,
    event::Outcome,
    ids::StepPath,
    rejection::Rejection,
    step::{Answer, FailureClass, Question, StepFailure, StepResult, Usage},
    transition::StepTransition,
    workflow::OnFailure,
};

/// The stable code of a step that nobody answered in time.
const NOT_ANSWERED: &str = "RT-0182";

pub(super) fn time_came(path: &StepPath, successor: Option<u32>, policy: &StepPolicy) -> StepDecision {
    settle(path, &Outcome::Succeeded(StepResult::default()), successor, policy)
}

pub(super) fn nobody_answered(path: &StepPath, successor: Option<u32>, policy: &StepPolicy) -> StepDecision {
    let failure = StepFailure::new(FailureClass::Timeout, "nobody answered in time")
        .with_code(NOT_ANSWERED)
        .with_hint("`ratchet resume` asks again");
    settle(path, &Outcome::Failed { failure, usage: Usage::default() }, successor, policy)
}

/// Only those who were asked may answer. Nobody is asked again after a no.
pub(super) fn answered(
    path: &StepPath,
    question: &Question,
    answer: &Answer,
    policy: &StepPolicy,
) -> Result<StepDecision, Rejection> {
    if !question.approvers.is_empty() && !question.approvers.contains(&answer.by) {
        return Err(Rejection::NotAsked {
            step: path.clone(),
            by: answer.by.clone(),
            approvers: question.approvers.clone(),
        });
    }
    let continued = !answer.approved && policy.on_failure == OnFailure::Continue;
    let transition = StepTransition::Answered { answer: answer.clone(), continued };
    Ok(StepDecision::new(transition, [Command::TellDependents]))
}

fn settle(path: &StepPath, outcome: &Outcome, successor: Option<u32>, policy: &StepPolicy) -> StepDecision {
    let transition = step_finished::settled(outcome, None, successor, policy);
    let commands = step_finished::after_settling(path, &transition, successor);
    StepDecision::new(transition, commands)
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use crate::{
        decide::{StepPolicy, decide_step},
        event::{StepEvent, Verdict},
        history::{Actor, Chain},
        ids::{Epoch, ExecutionId, StepId, StepKey, StepPath},
        join::NeedOutcome,
        rejection::Rejection,
        status::StepStatus,
        step::{Answer, Question, StepRow},
        workflow::OnFailure,
    };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
    }

    /// What becomes of a step that waits since second 0, by an event at a second.
    fn after(verdict: Verdict, event: &StepEvent, second: i64, policy: &StepPolicy) -> Result<StepRow, Rejection> {
        let path = StepPath::step(StepId::new("s"));
        let key = StepKey { execution: ExecutionId::new("e"), epoch: Epoch::FIRST, path: path.clone() };
        let began = decide_step(&path, None, &StepEvent::Ready(verdict), policy, at(0))?;
        let record = Chain::EMPTY.next("e/1/s", at(0), Actor::Engine, String::new(), began.transition);
        let mut row = StepRow::first(key, record, NeedOutcome::FINE, None);
        assert_eq!(row.status(), StepStatus::Waiting);
        let decided = decide_step(&path, Some(&row), event, policy, at(second))?;
        row.apply(row.chain.next("e/1/s", at(second), Actor::Engine, String::new(), decided.transition));
        Ok(row)
    }

    fn question(approvers: &[&str]) -> Verdict {
        let approvers = approvers.iter().map(ToString::to_string).collect();
        Verdict::Ask { question: Question { message: "?".to_owned(), approvers, due: Some(at(10)) }, predecessor: None }
    }

    fn says(approved: bool) -> StepEvent {
        StepEvent::Answered(Answer { approved, comment: Some("so".to_owned()), by: "ada".to_owned() })
    }

    const TIME: StepEvent = StepEvent::TimeCome { successor: None };

    #[test]
    fn a_wait_ends_at_its_time_and_not_before() {
        let wait = || Verdict::Wait { due: at(10), predecessor: None };
        let policy = StepPolicy::INTERNAL;
        assert!(matches!(after(wait(), &TIME, 9, &policy), Err(Rejection::NotApplicable { .. })));
        assert_eq!(after(wait(), &TIME, 10, &policy).map(|row| row.status()), Ok(StepStatus::Completed));
        assert!(after(wait(), &says(true), 5, &policy).is_err(), "nobody was asked");
        assert_eq!(after(wait(), &StepEvent::Cancelled, 5, &policy).map(|row| row.status()), Ok(StepStatus::Cancelled));
    }

    #[test]
    fn an_answer_settles_and_stays_readable_and_its_time_is_limited() {
        let policy = StepPolicy::INTERNAL;
        let yes = after(question(&[]), &says(true), 5, &policy).expect("a yes");
        assert_eq!((yes.status(), yes.result.map(|result| result.outputs.len())), (StepStatus::Completed, Some(3)));
        let no = after(question(&[]), &says(false), 5, &policy).expect("a no");
        assert_eq!((no.status(), no.result.map(|result| result.outputs.len())), (StepStatus::Failed, Some(3)));
        let goes_on = StepPolicy { on_failure: OnFailure::Continue, ..policy.clone() };
        let no = after(question(&[]), &says(false), 5, &goes_on).expect("a no");
        assert_eq!(no.outcome().map(|told| (told.satisfied, told.continued_above)), Some((true, true)));
        assert!(after(question(&[]), &TIME, 9, &policy).is_err());
        assert_eq!(after(question(&[]), &TIME, 10, &policy).map(|row| row.status()), Ok(StepStatus::Failed));
    }

    #[test]
    fn only_those_who_were_asked_may_answer() {
        let policy = StepPolicy::INTERNAL;
        assert!(after(question(&["bob", "ada"]), &says(true), 5, &policy).is_ok());
        assert!(matches!(after(question(&["bob"]), &says(true), 5, &policy), Err(Rejection::NotAsked { .. })));
    }
}

//! The work of an agent, and a command that judges it: what fails goes back to the agent, in the same session, as often as the step allows.

use std::time::{Duration, Instant};

use ratchet_core::step::{FailureClass, StepFailure};
use ratchet_engine::{
    order::VerifyOrder,
    ports::{AgentError, AgentFault, AgentReply, AgentRequest, SessionPoint},
};
use serde_json::json;

use crate::{
    agent::transcript::Transcript,
    asking::{MESSAGE_CHARACTERS_MAX, failure},
    codes,
    command::Invocation,
    kept_session,
    profile::Worker,
    runner::{Attempt, Runner, Undone},
};

/// What came of an agent's work: what all of it took with its last words, and whether it was done; `None` where it was told to stop.
pub(crate) struct Worked {
    pub(crate) reply: AgentReply,
    pub(crate) end: Result<(), Option<StepFailure>>,
    /// The rounds of it.
    pub(crate) rounds: u32,
}

impl Worked {
    fn failed(reply: AgentReply, failure: StepFailure, rounds: u32) -> Self {
        Self { reply, end: Err(Some(failure)), rounds }
    }
}

/// What a check says of an agent's work.
enum Judged {
    Well,
    /// It failed, and this is what it printed: the agent may know what to do.
    Badly(StepFailure),
    /// It could not be made, or there is no time for it: the agent cannot help that. `None` where it was told to stop.
    Not(Option<StepFailure>),
}

impl Runner {
    /// Has the agent work until it is done and its work is judged well.
    pub(crate) async fn work(
        &self,
        attempt: &Attempt<'_>,
        verify: Option<&VerifyOrder>,
        mut request: AgentRequest,
    ) -> Worked {
        let asked = request.clone();
        let began = Instant::now();
        let mut spent = AgentReply::default();
        let mut unsolved = None;
        loop {
            match self.agent.perform(request.clone(), attempt.stop.clone()).await {
                Ok(reply) => spent = reply.after(spent),
                Err(mut error) => {
                    let is_unrecorded = error.fault == AgentFault::Recording;
                    *error.spent = error.spent.clone().after(spent);
                    let reply = *error.spent.clone();
                    let end = match unsolved {
                        _ if error.fault == AgentFault::Stopped => None,
                        // Whoever recorded fewer rounds is told what was wrong with the last of them.
                        Some(unsolved) if is_unrecorded => {
                            Some(never(unsolved, request.round - asked.round).with_hint(error.message))
                        }
                        _ => Some(failure(error)),
                    };
                    return Worked { reply, end: Err(end), rounds: request.round };
                }
            }
            let Some(verify) = verify else { return Worked { reply: spent, end: Ok(()), rounds: request.round } };
            let bad = match self.check(attempt, verify, &request, left(asked.timeout, began)).await {
                Judged::Well => return Worked { reply: spent, end: Ok(()), rounds: request.round },
                Judged::Not(end) => return Worked { reply: spent, end: Err(end), rounds: request.round },
                Judged::Badly(bad) => bad,
            };
            if request.round - asked.round >= verify.max_fix_rounds {
                let rounds = request.round;
                return Worked::failed(spent, never(bad, rounds - asked.round + 1), rounds);
            }
            request = match again(&asked, verify, request.round + 1, &bad, &spent, left(asked.timeout, began)) {
                Ok(request) => request,
                Err(error) => return Worked::failed(spent, failure(error), request.round),
            };
            unsolved = Some(bad);
        }
    }

    /// Runs the command that judges what the agent left.
    async fn check(
        &self,
        attempt: &Attempt<'_>,
        verify: &VerifyOrder,
        request: &AgentRequest,
        timeout: Option<Duration>,
    ) -> Judged {
        let invocation = Invocation {
            argv: &verify.argv,
            values: &verify.values,
            allow_exit_codes: &[],
            profile: verify.profile,
            worker: Worker::Check,
            timeout,
            stdin: None,
            beside: None,
        };
        let judged = match self.command(attempt, invocation).await {
            Ok(_) => Judged::Well,
            Err(Undone::Stopped) => Judged::Not(None),
            Err(Undone::Failed(failure, _)) if matches!(failure.class, FailureClass::Exit(_)) => {
                Judged::Badly(*failure)
            }
            Err(Undone::Failed(failure, _)) => Judged::Not(Some(*failure)),
        };
        let told = match &judged {
            Judged::Well | Judged::Not(None) => None,
            Judged::Badly(failure) | Judged::Not(Some(failure)) => Some(failure),
        };
        let event = json!({
            "type": "ratchet", "subtype": "verify", "command": verify.display,
            "failed": told.map(|failure| &failure.message), "output": told.and_then(|failure| failure.detail.as_ref()),
        });
        // A transcript that cannot be written takes nothing from the work.
        let _ = Transcript::open(request).and_then(|mut transcript| transcript.event(&event, None));
        judged
    }
}

/// How much is left of the time of an attempt.
fn left(timeout: Option<Duration>, began: Instant) -> Option<Duration> {
    timeout.map(|timeout| timeout.saturating_sub(began.elapsed()))
}

/// What the agent is asked after a check that failed, with what is left of its limits.
fn again(
    asked: &AgentRequest,
    verify: &VerifyOrder,
    round: u32,
    bad: &StepFailure,
    spent: &AgentReply,
    timeout: Option<Duration>,
) -> Result<AgentRequest, AgentError> {
    let limit = |what: &str, hint: &str| AgentError {
        fault: AgentFault::Limit,
        message: format!("the agent reached its limit of {what} with work to do: {}", bad.message),
        hint: Some(hint.to_owned()),
        spent: Box::new(AgentReply::default()),
    };
    let max_turns = asked.max_turns.map(|turns| turns.saturating_sub(spent.turns));
    if max_turns == Some(0) {
        return Err(limit("turns", "raise `max_turns`"));
    }
    let max_cost_usd = asked.max_cost_usd.map(|cost| cost - spent.cost_usd);
    if max_cost_usd.is_some_and(|cost| cost <= 0.0) {
        return Err(limit("money", "raise `max_cost_usd`"));
    }
    // What was said until then lies in the attempt's own folder by now.
    let resume = SessionPoint { history: None, ..kept_session::point(asked.resume.as_ref(), spent) };
    let output = bad.detail.as_deref().unwrap_or("It printed nothing.");
    let prompt = format!(
        "What you left was checked by this command:\n\n    {}\n\nIt did not succeed: {}. The end of what it printed:\n\n{output}\n\n\
         Find the cause and change the files so that the same command succeeds. Then answer what you were asked at first.",
        verify.display.trim_end().replace('\n', "\n    "),
        bad.message,
    );
    Ok(AgentRequest { prompt, round, resume: Some(resume), max_turns, max_cost_usd, timeout, ..asked.clone() })
}

/// The failure of a step whose check never succeeded.
fn never(bad: StepFailure, rounds: u32) -> StepFailure {
    let times = if rounds == 1 { "once".to_owned() } else { format!("{rounds} times") };
    let message = format!("`verify` never succeeded, and the agent worked {times}: {}", bad.message);
    let failure = StepFailure::new(FailureClass::AgentError, message).with_code(codes::AGENT_UNVERIFIED);
    let Some(detail) = bad.detail else { return failure };
    let from = detail.char_indices().rev().nth(MESSAGE_CHARACTERS_MAX).map_or(0, |(at, _)| at);
    failure
        .with_detail(&detail[from..])
        .with_hint("its transcript shows what it tried each time; `max_fix_rounds` gives it more")
}

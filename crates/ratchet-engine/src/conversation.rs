//! The conversations of agents that go on in later steps.

use std::collections::BTreeSet;

use ratchet_core::{
    ids::{Digest, StepId},
    status::StepStatus,
    step::{FailureClass, StepFailure, StepRow},
    workflow::{Action, Step},
};

use crate::{
    engine::{Engine, EngineError},
    order::{Order, Work},
    run::Run,
    scope::{self, Overlay},
};

/// The stable code of a step that has no session to go on with.
const NOT_THERE: &str = "RT-0344";

/// What becomes of the session of a step.
pub(crate) struct Conversation {
    /// Where it goes on from, where it does not begin one.
    continues: Option<Result<Digest, StepFailure>>,
    /// Whether another step goes on with it.
    is_kept: bool,
}

/// What becomes of the session of a step that is ready.
pub(crate) async fn of(
    engine: &Engine,
    run: &Run,
    overlay: &Overlay,
    step: &Step,
) -> Result<Conversation, EngineError> {
    let Action::ClaudeCode(agent) = &step.action else {
        return Ok(Conversation { continues: None, is_kept: false });
    };
    let goes_on =
        |other: &Step| matches!(&other.action, Action::ClaudeCode(other) if other.session.as_ref() == Some(&step.id));
    let is_kept = run.workflow.steps.iter().any(goes_on);
    let Some(earlier) = &agent.session else { return Ok(Conversation { continues: None, is_kept }) };
    let mut rows = scope::newest(engine, run, overlay, BTreeSet::from([earlier.clone()])).await?;
    let row = rows.remove(earlier).flatten();
    Ok(Conversation { continues: Some(session_of(earlier, row.as_deref())), is_kept })
}

fn session_of(earlier: &StepId, row: Option<&StepRow>) -> Result<Digest, StepFailure> {
    if let Some(session) = row.and_then(|row| row.result.as_ref()?.session.as_ref()) {
        return Ok(session.digest.clone());
    }
    let status = row.map_or(StepStatus::Pending, StepRow::status);
    let (reason, hint) = if status == StepStatus::Completed {
        let hint = format!("`ratchet resume --from {earlier}` has it asked again, and its session is kept then");
        ("it was done before any step went on with its session".to_owned(), hint)
    } else {
        let hint = format!("give this step a `when` that asks for it: `{earlier}.status == 'completed'`");
        (format!("it is {status}"), hint)
    };
    let message = format!("there is no session of {earlier} to go on with: {reason}");
    Err(StepFailure::new(FailureClass::Definition, message).with_code(NOT_THERE).with_hint(hint))
}

impl Conversation {
    /// Puts it into the order for the agent.
    pub(crate) fn put(&self, order: &mut Order) -> Result<(), StepFailure> {
        let Work::Agent(asked) = &mut order.work else { return Ok(()) };
        asked.keeps_session = self.is_kept;
        asked.continues = self.continues.clone().transpose()?;
        Ok(())
    }
}

//! What an agent is asked, with its values filled in.

use std::num::NonZeroU32;

use ratchet_core::workflow::{ClaudeCode, SecurityProfile, Verify};
use ratchet_definition::evaluate::{EvaluationError, Evaluator, RenderedCommand};

use crate::order::{AgentOrder, VerifyOrder};

/// The order for an agent.
pub(crate) fn order(agent: &ClaudeCode, evaluator: &Evaluator) -> Result<AgentOrder, EvaluationError> {
    let text = |template: &Option<_>| template.as_ref().map(|template| evaluator.text(template)).transpose();
    let check = |verify| check(verify, agent.security_profile, evaluator);
    Ok(AgentOrder {
        prompt: evaluator.text(&agent.prompt)?,
        profile: agent.security_profile,
        model: text(&agent.model)?,
        max_turns: agent.max_turns.map(NonZeroU32::get),
        max_cost_usd: agent.max_cost_usd,
        allowed_tools: agent.allowed_tools.clone(),
        output_schema: agent.output_schema.clone(),
        append_system_prompt: text(&agent.append_system_prompt)?,
        stall_timeout: agent.stall_timeout,
        verify: agent.verify.as_ref().map(check).transpose()?,
        on_limit: agent.on_limit,
        session: None,
        continues: None,
        keeps_session: false,
    })
}

/// What judges its work.
fn check(verify: &Verify, profile: SecurityProfile, evaluator: &Evaluator) -> Result<VerifyOrder, EvaluationError> {
    let RenderedCommand { argv, values, display } = evaluator.command(&verify.command)?;
    Ok(VerifyOrder { argv, values, display, profile: Some(profile), max_fix_rounds: verify.max_fix_rounds })
}

//! How a session ended. By its result and nothing else: the exit code and the result's `subtype` say success of sessions that failed.

use std::collections::BTreeMap;

use ratchet_engine::ports::{AgentError, AgentFault, AgentReply, AgentRequest, ModelShare, SessionPoint};
use serde_json::Value;

use super::session::{Heard, tokens_of};
use crate::process::Reason;

/// The reply, or why there is none.
pub(super) fn judge(
    heard: &Heard,
    reason: Reason,
    code: i32,
    request: &AgentRequest,
    last_words: &str,
) -> Result<AgentReply, AgentError> {
    let spent = spent(heard, request.resume.as_ref());
    let fail = |fault: AgentFault, message: String, hint: Option<&str>| AgentError {
        fault,
        message,
        hint: hint.map(str::to_owned),
        spent: Box::new(spent.clone()),
    };
    if reason == Reason::Stopped {
        return Err(fail(AgentFault::Stopped, "the agent was told to stop".to_owned(), None));
    }
    let Some(result) = &heard.result else {
        if reason == Reason::Stalled {
            let seconds = request.stall_timeout.unwrap_or_default().as_secs_f64();
            let message = format!("the agent said nothing for {seconds} s and was ended");
            let hint =
                "its transcript shows the last thing that it did: a command that it runs is silent until it is done";
            return Err(fail(AgentFault::Stalled, message, Some(hint)));
        }
        if reason == Reason::TimedOut {
            let seconds = request.timeout.unwrap_or_default().as_secs_f64();
            return Err(fail(AgentFault::Timeout, format!("the agent was not done after {seconds} s"), None));
        }
        let words = if last_words.is_empty() { "it said nothing" } else { last_words };
        // Before its first event it has only looked at its arguments and its machine.
        let fault = if heard.session_id.is_none() { AgentFault::Unavailable } else { AgentFault::Broken };
        let hint = "its transcript and output.log hold all that it said";
        return Err(fail(fault, format!("the agent ended with code {code} and no result: {words}"), Some(hint)));
    };
    if result["is_error"] == Value::Bool(false) {
        if request.output_schema.is_some() && result["structured_output"].is_null() {
            let message = "the agent ended without the data that `output_schema` asks for";
            return Err(fail(AgentFault::Schema, message.to_owned(), Some("its last words are in the transcript")));
        }
        return Ok(spent);
    }
    let words = complaint(result);
    let status = result["api_error_status"].as_u64();
    // Older versions say a limit by the subtype alone. That it is an error is known by now.
    let reason_of_end = match result["subtype"].as_str() {
        Some("error_max_turns") => Some("max_turns"),
        Some("error_max_budget_usd") => Some("budget_exhausted"),
        Some("error_max_structured_output_retries") => Some("structured_output_retry_exhausted"),
        _ => result["terminal_reason"].as_str(),
    };
    Err(match (status, reason_of_end) {
        (Some(401 | 403), _) => {
            fail(AgentFault::Unauthorised, format!("the API refuses the key: {words}"), Some("check ANTHROPIC_API_KEY"))
        }
        (Some(429 | 529), _) => fail(
            AgentFault::RateLimited,
            format!("the API is busy: {words}"),
            Some("`retry` with `on: [rate_limited]` and a delay tries again later"),
        ),
        (Some(status), _) => fail(AgentFault::Api, format!("the API failed with status {status}: {words}"), None),
        (None, _) if words.contains("Not logged in") || words.contains("/login") => fail(
            AgentFault::Unauthorised,
            format!("the agent has no key: {words}"),
            Some("set ANTHROPIC_API_KEY, or the variables of Bedrock, in the environment of ratchet"),
        ),
        (None, Some("api_error")) => fail(
            AgentFault::Api,
            format!("the API cannot be reached: {words}"),
            Some("check the network and ANTHROPIC_BASE_URL"),
        ),
        (None, Some("max_turns")) => {
            fail(AgentFault::Limit, format!("the agent reached its limit of turns: {words}"), Some("raise `max_turns`"))
        }
        (None, Some("budget_exhausted")) => {
            fail(AgentFault::Limit, format!("the agent spent its money: {words}"), Some("raise `max_cost_usd`"))
        }
        (None, Some("structured_output_retry_exhausted")) => fail(
            AgentFault::Schema,
            format!("the agent gave no data that fits `output_schema`: {words}"),
            Some("make the schema simpler, or say in the prompt what it asks for"),
        ),
        (None, _) if reason == Reason::TimedOut => {
            fail(AgentFault::Timeout, format!("the agent was ended at its timeout: {words}"), None)
        }
        (None, _) => fail(AgentFault::Broken, format!("the agent failed: {words}"), None),
    })
}

/// What the session gave and took from where it was gone on, by its result where there is one: that counts its cost and its models from the session's beginning, and its
/// turns from there.
fn spent(heard: &Heard, point: Option<&SessionPoint>) -> AgentReply {
    let session_id = heard.session_id.clone().unwrap_or_default();
    let Some(result) = &heard.result else {
        return AgentReply { tokens: heard.tokens, turns: heard.turns, session_id, ..AgentReply::default() };
    };
    let mut models = models(result);
    for (name, before) in point.iter().flat_map(|point| &point.models) {
        if let Some(share) = models.get_mut(name) {
            share.cost_usd = since(share.cost_usd, before.cost_usd);
            share.tokens = share.tokens.saturating_sub(before.tokens);
        }
    }
    models.retain(|_, share| *share != ModelShare::default());
    let tokens = models.values().map(|share| share.tokens).sum::<u64>();
    AgentReply {
        response: result["result"].as_str().unwrap_or_default().to_owned(),
        json: Some(&result["structured_output"]).filter(|value| !value.is_null()).cloned(),
        cost_usd: since(
            result["total_cost_usd"].as_f64().unwrap_or_default(),
            point.map_or(0.0, |point| point.cost_usd),
        ),
        // Where the models are not listed, what is told is of the main one, from where the session was gone on.
        tokens: if tokens > 0 { tokens } else { tokens_of(&result["usage"]) },
        turns: result["num_turns"].as_u64().and_then(|turns| u32::try_from(turns).ok()).unwrap_or(heard.turns),
        models,
        session_id,
        history: None,
        permission_denials: result["permission_denials"].as_array().cloned().unwrap_or_default(),
    }
}

/// What each model took that worked.
fn models(result: &Value) -> BTreeMap<String, ModelShare> {
    let names = ["inputTokens", "outputTokens", "cacheCreationInputTokens", "cacheReadInputTokens"];
    let share = |usage: &Value| ModelShare {
        cost_usd: usage["costUSD"].as_f64().unwrap_or_default(),
        tokens: names.iter().filter_map(|name| usage[*name].as_u64()).sum(),
    };
    let models = result["modelUsage"].as_object().into_iter().flatten();
    models.map(|(name, usage)| (name.clone(), share(usage))).collect()
}

/// A cost since an earlier one of the same count. Whoever counts anew has less than before.
fn since(cost_usd: f64, before: f64) -> f64 {
    if cost_usd < before { cost_usd } else { cost_usd - before }
}

/// What the session says about its failure, in one line or few.
fn complaint(result: &Value) -> String {
    let errors = result["errors"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let said = errors.chain(result["result"].as_str()).collect::<Vec<_>>().join("; ");
    let reason = result["terminal_reason"].as_str().unwrap_or("it does not say why");
    if said.is_empty() { reason.to_owned() } else { said.chars().take(2000).collect() }
}

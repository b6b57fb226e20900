//! An agent as an attempt.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use ratchet_core::{
    output::{Output, Outputs},
    step::{FailureClass, StepFailure, Usage},
};
use ratchet_engine::{
    masks::Masks,
    order::AgentOrder,
    ports::{AgentError, AgentFault, AgentReply, AgentRequest, AttemptPlace, Progress},
};
use serde_json::{Value, json};

use crate::{
    capture::{Said, Withheld},
    checking::Worked,
    codes, kept_session,
    runner::{Attempt, Done, Runner, Undone, milliseconds, outside, place_refused},
    snapshot::Snapshot,
};

impl Runner {
    /// Asks the agent, and notes what it changed.
    pub(crate) async fn ask(&self, attempt: &Attempt<'_>, asked: &AgentOrder) -> Result<Done, Undone> {
        let directory = &attempt.place.directory;
        fs::create_dir_all(directory).map_err(|error| place_refused(directory, &error))?;
        // An engine that was killed may have left files of this attempt here.
        tidy(attempt.place);
        if let Some(profile) = asked.verify.as_ref().and_then(|verify| verify.profile) {
            // Before the agent is paid for work that nothing could judge.
            self.can_keep(profile)?;
        }
        let (mut request, secrets) = self.request(attempt, asked).await.inspect_err(|_| tidy(attempt.place))?;
        let restored = match (&asked.session, &asked.continues) {
            (Some(kept), _) => kept_session::restore(&*self.blobs, kept, &mut request).await,
            (None, Some(earlier)) => kept_session::go_on(&*self.blobs, earlier, &mut request).await,
            (None, None) => Ok(()),
        };
        restored.map_err(|reason| not_restored(&reason))?;
        let before_session = request.resume.clone();
        let workspace = attempt.place.files.root().to_owned();
        let before = snapshot(&workspace).await;
        let began = Instant::now();
        let start_ms = milliseconds(began.duration_since(attempt.began));
        let Worked { reply, end, rounds } = self.work(attempt, asked.verify.as_ref(), request).await;
        let usage = Usage {
            start_ms,
            process_ms: milliseconds(began.elapsed()),
            capture_ms: 0,
            cost_usd: Some(reply.cost_usd),
            tokens: Some(reply.tokens),
            turns: Some(reply.turns),
        };
        // What a step with secrets left in its home is not kept, whatever came of it.
        if end.is_ok() || !secrets.is_empty() {
            tidy(attempt.place);
        }
        match end {
            Ok(()) => {}
            Err(None) => return Err(Undone::Stopped),
            Err(Some(failure)) => {
                let (before, spent) = (before_session.as_ref(), (&reply, rounds));
                let failure = kept_session::keep(&*self.blobs, asked.on_limit, before, spent, failure).await;
                return Err(Undone::Failed(Box::new(secrets.failure(&failure)), usage));
            }
        }
        let session = if asked.keeps_session {
            let kept = kept_session::keep_done(&*self.blobs, before_session.as_ref(), (&reply, rounds)).await;
            Some(kept.map_err(|failure| Undone::Failed(Box::new(failure), usage))?)
        } else {
            None
        };
        let changed = changed(before, &workspace).await;
        let (always, said) = outputs(reply, changed, &secrets);
        Ok(Done { said, always, exit_code: None, usage, warning: None, masks: secrets, session })
    }

    /// What the agent is asked, and the secrets that it was given.
    async fn request(&self, attempt: &Attempt<'_>, asked: &AgentOrder) -> Result<(AgentRequest, Masks), Undone> {
        let (order, place) = (attempt.order, attempt.place);
        let mut environment = self.environment.of_attempt(order, place, &home(place), &temporary(place)).await;
        let secrets = self.add_secrets(order, &temporary(place), &mut environment).await?;
        let AgentOrder {
            prompt,
            profile,
            model,
            max_turns,
            max_cost_usd,
            allowed_tools,
            output_schema,
            append_system_prompt,
            stall_timeout,
            verify: _,
            on_limit: _,
            session: _,
            continues: _,
            keeps_session: _,
        } = asked.clone();
        let request = AgentRequest {
            step: order.way.clone(),
            attempt: order.attempt,
            round: 1,
            resume: None,
            prompt,
            profile,
            model,
            max_turns,
            max_cost_usd,
            allowed_tools,
            output_schema,
            append_system_prompt,
            timeout: order.timeout,
            stall_timeout,
            files: place.files.clone(),
            readable: order.inputs.iter().filter_map(|path| outside(path)).collect(),
            directory: place.directory.clone(),
            transcript: place.directory.join("transcript.jsonl"),
            environment,
            trace: order.trace.clone(),
            masks: order.masks.and(&secrets),
            progress: {
                let (observer, key) = (Arc::clone(&self.observer), order.key.clone());
                Progress::to(move |line| observer.line_written(&key, line))
            },
        };
        Ok((request, secrets))
    }
}

fn not_restored(reason: &str) -> Undone {
    let message = format!("the session that the agent was to go on with cannot be read: {reason}");
    let hint = "`ratchet resume --from` the step begins it anew";
    let failure = StepFailure::new(FailureClass::Launch, message).with_code(codes::SESSION_LOST).with_hint(hint);
    Undone::Failed(Box::new(failure), Usage::default())
}

fn home(place: &AttemptPlace) -> PathBuf {
    place.directory.join("home")
}

fn temporary(place: &AttemptPlace) -> PathBuf {
    place.directory.join("tmp")
}

/// Removes what nobody looks for after a success, and nobody may after a step with secrets.
fn tidy(place: &AttemptPlace) {
    for folder in [home(place), temporary(place)] {
        // Where there is none the agent made none.
        let _ = fs::remove_dir_all(folder);
    }
}

/// The workspace as it is; empty where it cannot be read, so that every file counts as changed rather than none.
async fn snapshot(workspace: &Path) -> Snapshot {
    let root = workspace.to_owned();
    let walked = tokio::task::spawn_blocking(move || Snapshot::before(&root)).await;
    walked.ok().and_then(Result::ok).unwrap_or_default()
}

/// The files that changed since then.
async fn changed(before: Snapshot, workspace: &Path) -> Vec<String> {
    let root = workspace.to_owned();
    let compared =
        tokio::task::spawn_blocking(move || before.changes_in(&root).unwrap_or_else(|_| before.all_gone())).await;
    compared.unwrap_or_default().into_keys().collect()
}

/// The outputs that an agent always gives, and what its declared ones can read.
fn outputs(reply: AgentReply, changed: Vec<String>, secrets: &Masks) -> (Outputs, Said) {
    let mut said = Said::default();
    let parsed = reply.json.map_or_else(|| serde_json::from_str::<Value>(&reply.response), Ok);
    let json = parsed.unwrap_or_else(|error| {
        said.withheld.insert("json", Withheld::NoJson(error.to_string()));
        Value::Null
    });
    let values = [
        ("response", Value::from(reply.response)),
        ("json", json),
        ("cost_usd", json!(reply.cost_usd)),
        ("tokens", reply.tokens.into()),
        ("turns", reply.turns.into()),
        ("models", json!(reply.models)),
        ("session_id", reply.session_id.into()),
        ("files_changed", changed.into()),
        ("permission_denials", reply.permission_denials.into()),
    ];
    let always: Outputs =
        values.into_iter().map(|(name, value)| (name.to_owned(), Output::Json(secrets.value(value)))).collect();
    said.locals.clone_from(&always);
    if said.withheld.contains_key("json") {
        said.locals.remove("json");
    }
    (always, said)
}

/// The longest message of a failure that is kept, in characters.
pub(crate) const MESSAGE_CHARACTERS_MAX: usize = 4_000;

/// What an agent's failure is for the step.
pub(crate) fn failure(error: AgentError) -> StepFailure {
    let (class, code) = match error.fault {
        AgentFault::Unavailable => (FailureClass::Launch, codes::AGENT_UNAVAILABLE),
        AgentFault::Unauthorised => (FailureClass::AgentError, codes::AGENT_UNAUTHORISED),
        AgentFault::RateLimited => (FailureClass::RateLimited, codes::AGENT_RATE_LIMITED),
        AgentFault::Api => (FailureClass::AgentError, codes::AGENT_API),
        AgentFault::Limit => (FailureClass::AgentError, codes::AGENT_LIMIT),
        AgentFault::Schema => (FailureClass::AgentError, codes::AGENT_SCHEMA),
        AgentFault::Timeout => (FailureClass::Timeout, codes::TIMEOUT),
        AgentFault::Stalled => (FailureClass::Timeout, codes::AGENT_STALLED),
        AgentFault::Profile => (FailureClass::Launch, codes::PROFILE),
        AgentFault::Sessionless => (FailureClass::Launch, codes::SESSION_LOST),
        AgentFault::Recording => (FailureClass::AgentError, codes::SESSION_MISSING),
        AgentFault::Unrecorded => (FailureClass::AgentError, codes::NOT_RECORDED),
        AgentFault::Stopped | AgentFault::Broken => (FailureClass::AgentError, codes::AGENT_BROKEN),
    };
    let message: String = error.message.chars().take(MESSAGE_CHARACTERS_MAX).collect();
    let failure = StepFailure::new(class, message).with_code(code);
    let failure = match error.hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    };
    let said = error.spent.response;
    if said.is_empty() || failure.message.contains(&said) {
        failure
    } else {
        failure.with_detail(said.chars().take(MESSAGE_CHARACTERS_MAX).collect::<String>())
    }
}

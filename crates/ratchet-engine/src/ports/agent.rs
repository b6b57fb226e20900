use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use ratchet_core::{execution::TraceParent, workflow::SecurityProfile};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use super::{AttemptFiles, StopSignal};
use crate::masks::Masks;

/// An agent that works on the files of a workspace.
///
/// Contract: nothing that it says or does is trusted. It sees the workspace and what the request names, within the profile, and reaches nothing else. When
/// `perform` returns, no process of it is left. It writes each event of the session as one line of JSON to `transcript` while it works.
#[async_trait]
pub trait Agent: Send + Sync {
    /// Which agent it is, for the cache key: `claude-code`, or a recording's digest.
    fn identity(&self) -> String;

    /// Works until done, stopped or failed.
    async fn perform(&self, request: AgentRequest, stop: StopSignal) -> Result<AgentReply, AgentError>;
}

/// What an agent is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentRequest {
    /// The way to the step that asks, `fix[2].write` in a group: what a recording finds its session by.
    pub step: String,
    /// Which attempt of the step asks, from 1: a recording may hold a session for each.
    pub attempt: u32,
    /// Which time the attempt asks, from 1: a recording holds a session for each.
    pub round: u32,
    /// The session that it goes on with; a new one where there is none.
    pub resume: Option<SessionPoint>,
    /// What is asked.
    pub prompt: String,
    /// What its process may do.
    pub profile: SecurityProfile,
    /// The model, or the agent's own default.
    pub model: Option<String>,
    /// The most turns.
    pub max_turns: Option<u32>,
    /// The most money, in US dollars.
    pub max_cost_usd: Option<f64>,
    /// The tools it may use; `None` for all of the profile's.
    pub allowed_tools: Option<Vec<String>>,
    /// What its reply must look like.
    pub output_schema: Option<Value>,
    /// Added to the system prompt.
    pub append_system_prompt: Option<String>,
    /// How long it may take.
    pub timeout: Option<Duration>,
    /// How long it may say nothing.
    pub stall_timeout: Option<Duration>,
    /// The files that it works on.
    pub files: AttemptFiles,
    /// Files outside the workspace that it may read.
    pub readable: Vec<PathBuf>,
    /// A folder of the attempt's own, for its home and temporary files.
    pub directory: PathBuf,
    /// Where the session's events are written, a line of JSON each.
    pub transcript: PathBuf,
    /// The environment of its process, but for the variables that are the agent's own.
    pub environment: BTreeMap<String, String>,
    /// The trace that its own spans belong to.
    pub trace: TraceParent,
    /// What must not stand in the transcript, nor in anything else that is kept of the session.
    pub masks: Masks,
    /// Who is told what it does while it works.
    pub progress: Progress,
}

/// Where a session is gone on from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SessionPoint {
    /// Its name.
    pub session_id: String,
    /// What it had cost until then, in US dollars: an agent may count from a session's beginning, and a reply counts from here.
    pub cost_usd: f64,
    /// And what each model had taken of that.
    pub models: BTreeMap<String, ModelShare>,
    /// A file with what was said until then, as the agent itself keeps it, where the session is of another attempt.
    #[serde(skip)]
    pub history: Option<PathBuf>,
}

/// Whoever is told what an agent does, in a line each, while it works.
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<Listener>>);

type Listener = dyn Fn(&str) + Send + Sync;

impl Progress {
    /// Tells this one, which returns at once.
    pub fn to(listener: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(listener)))
    }

    /// Tells a line.
    pub fn tell(&self, line: &str) {
        if let Some(listener) = &self.0 {
            listener(line);
        }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Progress(…)" } else { "Progress" })
    }
}

/// Who listens is no part of what is asked.
impl PartialEq for Progress {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

/// What an agent gave.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AgentReply {
    /// Its last words.
    pub response: String,
    /// Its reply as data, where a schema was given.
    pub json: Option<Value>,
    /// US dollars.
    pub cost_usd: f64,
    /// Tokens read and written.
    pub tokens: u64,
    /// Turns taken.
    pub turns: u32,
    /// What each model took of that, by its name; empty where the agent does not say.
    pub models: BTreeMap<String, ModelShare>,
    /// The session that a later step can continue.
    pub session_id: String,
    /// What it tried and was not allowed to do.
    pub permission_denials: Vec<Value>,
    /// The file in which it keeps the session itself; none where it keeps none.
    #[serde(skip)]
    pub history: Option<PathBuf>,
}

impl AgentReply {
    /// This reply with what an earlier one of the same session took besides.
    pub fn after(self, earlier: Self) -> Self {
        let mut models = earlier.models;
        for (name, share) in self.models {
            let sum = models.entry(name).or_default();
            sum.cost_usd += share.cost_usd;
            sum.tokens += share.tokens;
        }
        Self {
            cost_usd: earlier.cost_usd + self.cost_usd,
            tokens: earlier.tokens + self.tokens,
            turns: earlier.turns + self.turns,
            models,
            permission_denials: [earlier.permission_denials, self.permission_denials].concat(),
            ..self
        }
    }
}

/// What one model took of a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelShare {
    /// US dollars.
    #[serde(default)]
    pub cost_usd: f64,
    /// Tokens read and written.
    #[serde(default)]
    pub tokens: u64,
}

/// Why an agent failed, and what it cost all the same.
#[derive(Debug, Error)]
#[error("{message}")]
pub struct AgentError {
    /// What kind of failure it was.
    pub fault: AgentFault,
    /// What happened.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// What was spent until then.
    pub spent: Box<AgentReply>,
}

/// The kinds of an agent's failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentFault {
    /// Its program is missing or could not be started, or it refused its arguments.
    Unavailable,
    /// There is no key, or the API refuses it.
    Unauthorised,
    /// The API is busy.
    RateLimited,
    /// The API failed, or could not be reached.
    Api,
    /// A limit was reached: turns or money.
    Limit,
    /// The reply is not what the schema asks for.
    Schema,
    /// It took too long.
    Timeout,
    /// It said nothing for too long.
    Stalled,
    /// It was told to stop.
    Stopped,
    /// The profile cannot be enforced on this machine.
    Profile,
    /// There is no session of the name that it was to go on with.
    Sessionless,
    /// A recording has no session for the step, or one that does not fit.
    Recording,
    /// It did its work, and its session could not be recorded.
    Unrecorded,
    /// It ended in a way that is none of these.
    Broken,
}

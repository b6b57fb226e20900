//! Who plays the agent of an execution.

use std::{
    env,
    path::{Path, PathBuf},
    sync::Arc,
};

use ratchet_engine::ports::Agent;
use ratchet_runner::agent::{ClaudeCode, RecordedAgent, Recorder};
use serde_json::Value;

use super::absolute;
use crate::command_error::CommandError;

/// Variables whose values must not reach a recording.
const SECRET_VARIABLES: [&str; 6] = [
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_BEARER_TOKEN_BEDROCK",
];

/// Who plays the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AgentChoice {
    /// Claude Code, as it is installed.
    Claude,
    /// A recording.
    Recorded(PathBuf),
}

impl AgentChoice {
    /// Reads `claude` or `recorded:DIR`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "claude" => Ok(Self::Claude),
            Some(("recorded", folder)) if !folder.is_empty() => Ok(Self::Recorded(PathBuf::from(folder))),
            _ => Err(format!("'{text}' is no agent: write `claude`, or `recorded:DIR` with the folder of a recording")),
        }
    }

    /// As it stands in the run's options: a folder is absolute there.
    pub(crate) fn stored(&self) -> Result<String, CommandError> {
        match self {
            Self::Claude => Ok("claude".to_owned()),
            Self::Recorded(folder) => Ok(format!("recorded:{}", absolute(folder)?.display())),
        }
    }
}

/// Which agent the options of a run name, as the keys of results name it. Nothing is recorded.
pub(crate) fn identity(place: &Value) -> Result<String, CommandError> {
    let mut place = place.clone();
    place["record"] = Value::Null;
    Ok(of_place(&place)?.identity())
}

/// The agent that a run's options name.
pub(super) fn of_place(place: &Value) -> Result<Arc<dyn Agent>, CommandError> {
    let agent: Arc<dyn Agent> = match place["agent"].as_str().and_then(|text| text.strip_prefix("recorded:")) {
        Some(folder) => Arc::new(RecordedAgent::open(Path::new(folder))?),
        None => Arc::new(ClaudeCode::of_this_process()),
    };
    match place["record"].as_str() {
        None => Ok(agent),
        Some(folder) => {
            let secrets =
                SECRET_VARIABLES.iter().filter_map(|name| env::var(name).ok()).filter(|value| !value.is_empty());
            Ok(Arc::new(Recorder::open(agent, Path::new(folder), secrets.collect())?))
        }
    }
}

//! What a recording looks like on disk: `recording.json`, and beside it the files and transcripts that it names.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use ratchet_core::{history::sha256_hex, ids::Digest};
use ratchet_engine::ports::{AgentReply, AttemptFiles, ModelShare};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::{codes, paths};

/// The sessions of an agent, as they can be played again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recording {
    /// The version of this format: [`Recording::FORMAT`].
    pub format: u32,
    /// Which agent was recorded, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// What it did, a session for each time that it was asked.
    pub sessions: Vec<Session>,
}

/// What an agent did when a step asked it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// The step, one child of a step that fans out (`generate[3]`), or the way to a step of a group (`fix[2].write`).
    pub step: String,
    /// Which attempt of the step, from 1. A later attempt without a session of its own gets the last one before it.
    #[serde(default = "first")]
    pub call: u32,
    /// Which time the attempt asked, from 1: after each check that failed it asks again.
    #[serde(default = "first", skip_serializing_if = "is_first")]
    pub round: u32,
    /// The SHA-256 of the prompt. Another prompt at replay is a warning in the transcript.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_digest: Option<Digest>,
    /// What it ended with. A session has this or a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<RecordedReply>,
    /// What it failed of. A session has this or a reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<RecordedFailure>,
    /// What it changed in the workspace, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edits: Vec<Edit>,
    /// The file of its events, beside `recording.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transcript: Option<String>,
}

/// A reply. Only the words are required.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedReply {
    /// The last words.
    pub response: String,
    /// The reply as data, where the step has an `output_schema`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<Value>,
    /// US dollars.
    #[serde(default)]
    pub cost_usd: f64,
    /// Tokens read and written.
    #[serde(default)]
    pub tokens: u64,
    /// Turns taken.
    #[serde(default)]
    pub turns: u32,
    /// What each model took of that, by its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub models: BTreeMap<String, ModelShare>,
    /// The session's own name.
    #[serde(default)]
    pub session_id: String,
    /// What it tried and was not allowed to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub permission_denials: Vec<Value>,
}

/// A failure, so that a step's retries can be played as well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedFailure {
    /// What kind it was.
    pub fault: RecordedFault,
    /// What happened.
    pub message: String,
    /// What it cost all the same.
    #[serde(default)]
    pub cost_usd: f64,
    /// Tokens read and written until then.
    #[serde(default)]
    pub tokens: u64,
    /// Turns taken until then.
    #[serde(default)]
    pub turns: u32,
}

/// The kinds of failure that a session can end with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordedFault {
    /// No key, or the API refused it.
    Unauthorised,
    /// The API was busy.
    RateLimited,
    /// The API failed, or could not be reached.
    Api,
    /// A limit was reached: turns or money.
    Limit,
    /// The reply was not what the schema asks for.
    Schema,
    /// It took too long.
    Timeout,
    /// It said nothing for too long.
    Stalled,
    /// It ended in a way that is none of these.
    Broken,
}

/// A change of one file of the workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
pub enum Edit {
    /// The file has this content and mode afterwards.
    Write {
        /// Relative to the workspace.
        path: String,
        /// Permissions in octal; `644` where it does not say.
        #[serde(default = "plain_mode")]
        mode: String,
        /// The content: a file beside `recording.json`.
        file: String,
    },
    /// The file is gone afterwards.
    Delete {
        /// Relative to the workspace.
        path: String,
    },
}

fn first() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_first(number: &u32) -> bool {
    *number == 1
}

fn plain_mode() -> String {
    "644".to_owned()
}

impl Edit {
    /// The file that it changes, relative to the workspace.
    pub fn path(&self) -> &str {
        match self {
            Self::Write { path, .. } | Self::Delete { path } => path,
        }
    }

    /// The permissions that its file gets, where it writes one and they are permissions.
    pub fn permissions(&self) -> Option<u32> {
        match self {
            Self::Write { mode, .. } => u32::from_str_radix(mode, 8).ok().filter(|mode| *mode <= 0o777),
            Self::Delete { .. } => None,
        }
    }
}

/// Whether an agent's edits must keep away from this path: what git, the agent or a tool server would run or obey.
pub(crate) fn is_protected(path: &Path) -> bool {
    path.components().any(|part| [".git", ".claude", ".mcp.json"].iter().any(|name| part.as_os_str() == *name))
}

impl From<RecordedReply> for AgentReply {
    fn from(reply: RecordedReply) -> Self {
        let RecordedReply { response, json, cost_usd, tokens, turns, models, session_id, permission_denials } = reply;
        Self { response, json, cost_usd, tokens, turns, models, session_id, permission_denials, history: None }
    }
}

impl From<AgentReply> for RecordedReply {
    fn from(reply: AgentReply) -> Self {
        let AgentReply { response, json, cost_usd, tokens, turns, models, session_id, permission_denials, history: _ } =
            reply;
        Self { response, json, cost_usd, tokens, turns, models, session_id, permission_denials }
    }
}

/// Why a recording cannot be used or written.
#[derive(Debug, Error)]
pub enum RecordingError {
    /// A file of it cannot be read.
    #[error("the recording's {path} cannot be read: {source}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of it cannot be written.
    #[error("the recording's {path} cannot be written: {source}")]
    Unwritable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `recording.json` is not one.
    #[error("{path} is not a recording: {source}")]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What is wrong, with its line.
        source: serde_json::Error,
    },
    /// It is of another version of the format.
    #[error("{path} is of format {found}, and this version of ratchet plays format {known}")]
    Format {
        /// Which.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// What is known.
        known: u32,
    },
    /// What it says cannot be played.
    #[error("{path}: the session of {step}, call {call}: {reason}")]
    Session {
        /// Which.
        path: PathBuf,
        /// The session's step.
        step: String,
        /// The session's call.
        call: u32,
        /// What is wrong.
        reason: String,
    },
}

impl RecordingError {
    /// The stable code of its page.
    pub fn code(&self) -> &'static str {
        codes::RECORDING_INVALID
    }
}

impl Recording {
    /// The version of the format that is written and played.
    pub const FORMAT: u32 = 1;
    /// The name of the file that says what a recording holds.
    pub const FILE: &str = "recording.json";

    /// Reads a recording and checks that all of it can be played.
    pub fn read(folder: &Path) -> Result<Self, RecordingError> {
        let path = folder.join(Self::FILE);
        let text = fs::read(&path).map_err(|source| RecordingError::Unreadable { path: path.clone(), source })?;
        let recording: Self =
            serde_json::from_slice(&text).map_err(|source| RecordingError::Malformed { path: path.clone(), source })?;
        if recording.format != Self::FORMAT {
            return Err(RecordingError::Format { path, found: recording.format, known: Self::FORMAT });
        }
        let mut calls = BTreeSet::new();
        for session in &recording.sessions {
            let error = |reason: String| RecordingError::Session {
                path: path.clone(),
                step: session.step.clone(),
                call: session.call,
                reason,
            };
            if session.call == 0 || session.round == 0 {
                return Err(error("calls and rounds are counted from 1".to_owned()));
            }
            if !calls.insert((&session.step, session.call, session.round)) {
                return Err(error("there is a second session of the same step, call and round".to_owned()));
            }
            session.check(folder).map_err(error)?;
        }
        Ok(recording)
    }

    /// The session for a round of an attempt of a step: of that attempt, or of the last one before it that has any.
    pub fn session(&self, step: &str, attempt: u32, round: u32) -> Option<&Session> {
        let of_step = || self.sessions.iter().filter(|session| session.step == step && session.call <= attempt);
        let call = of_step().map(|session| session.call).max()?;
        of_step().find(|session| session.call == call && session.round == round)
    }

    /// Every file that it names, beside `recording.json`.
    pub(crate) fn files(&self) -> impl Iterator<Item = &str> {
        self.sessions.iter().flat_map(Session::files)
    }

    /// The SHA-256 over `recording.json` and all files that it names: another digest is another agent.
    pub fn digest(&self, folder: &Path) -> Result<Digest, RecordingError> {
        let mut parts = String::new();
        for file in [Self::FILE].into_iter().chain(self.files()) {
            let path = folder.join(file);
            let content = fs::read(&path).map_err(|source| RecordingError::Unreadable { path, source })?;
            parts.extend([sha256_hex(&content).as_str(), " ", file, "\n"]);
        }
        Ok(Digest::new(sha256_hex(parts.as_bytes())))
    }
}

impl Session {
    fn check(&self, folder: &Path) -> Result<(), String> {
        if self.reply.is_some() == self.failure.is_some() {
            return Err("it has either a `reply` or a `failure`".to_owned());
        }
        for edit in &self.edits {
            let path = paths::relative(edit.path()).map_err(|error| error.to_string())?;
            if path.as_os_str().is_empty() {
                return Err(format!("the edit of `{}` names no file", edit.path()));
            }
            if is_protected(&path) {
                return Err(format!("the edit of `{}`: no agent may write there", edit.path()));
            }
            if matches!(edit, Edit::Write { .. }) && edit.permissions().is_none() {
                return Err(format!("the edit of `{}`: its mode is not one like 644 or 755", edit.path()));
            }
        }
        for file in self.files() {
            let content = paths::existing(&AttemptFiles::in_folder(folder), file)
                .map_err(|error| format!("beside the recording: {error}"))?;
            if !folder.join(content).is_file() {
                return Err(format!("`{file}` beside the recording is not a file"));
            }
        }
        Ok(())
    }

    fn files(&self) -> impl Iterator<Item = &str> {
        let contents = self.edits.iter().filter_map(|edit| match edit {
            Edit::Write { file, .. } => Some(file.as_str()),
            Edit::Delete { .. } => None,
        });
        contents.chain(self.transcript.as_deref())
    }
}

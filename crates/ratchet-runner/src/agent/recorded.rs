//! An agent that plays recorded sessions: no key, no network, no cost.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use ratchet_core::{history::sha256_hex, ids::Digest, workflow::SecurityProfile};
use ratchet_engine::ports::{Agent, AgentError, AgentFault, AgentReply, AgentRequest, StopSignal};
use serde_json::{Value, json};

use super::{
    Edit, RecordedFailure, Recording, RecordingError, Session,
    places::Places,
    recording::{RecordedFault, is_protected},
    transcript::Transcript,
};
use crate::paths;

/// Replays the sessions of a recording.
#[derive(Debug, Clone)]
pub struct RecordedAgent {
    tape: Arc<Tape>,
}

#[derive(Debug)]
struct Tape {
    folder: PathBuf,
    recording: Recording,
    digest: Digest,
}

impl RecordedAgent {
    /// Opens a recording and checks all of it.
    pub fn open(folder: &Path) -> Result<Self, RecordingError> {
        let recording = Recording::read(folder)?;
        let digest = recording.digest(folder)?;
        Ok(Self { tape: Arc::new(Tape { folder: folder.to_owned(), recording, digest }) })
    }
}

#[async_trait]
impl Agent for RecordedAgent {
    fn identity(&self) -> String {
        format!("recorded:{}", self.tape.digest)
    }

    async fn perform(&self, request: AgentRequest, stop: StopSignal) -> Result<AgentReply, AgentError> {
        if stop.borrow().is_some() {
            return Err(failure(AgentFault::Stopped, "the agent was told to stop before it began".to_owned()));
        }
        let tape = Arc::clone(&self.tape);
        tokio::task::spawn_blocking(move || tape.play(&request))
            .await
            .unwrap_or_else(|panic| Err(failure(AgentFault::Broken, format!("the replay broke: {panic}"))))
    }
}

impl Tape {
    fn play(&self, request: &AgentRequest) -> Result<AgentReply, AgentError> {
        let session = self
            .recording
            .session(&request.step, request.attempt, request.round)
            .ok_or_else(|| self.missing(request))?;
        let places = Places::of(request);
        let refused = |error: io::Error| {
            let message = format!("the recorded session of {} cannot be played: {error}", request.step);
            failure(AgentFault::Recording, message)
        };
        if request.profile == SecurityProfile::PlanOnly && !session.edits.is_empty() {
            let message = format!("the recorded session of {} edits files, and its profile is plan_only", request.step);
            return Err(failure(AgentFault::Profile, message));
        }
        self.write_transcript(session, request, &places).map_err(refused)?;
        for edit in &session.edits {
            self.apply(edit, request, &places).map_err(|error| {
                let message = format!("the recorded edit of `{}` cannot be made: {error}", edit.path());
                failure(AgentFault::Recording, message)
            })?;
        }
        if let Some(recorded) = &session.failure {
            return Err(recorded_failure(recorded));
        }
        let mut reply = AgentReply::from(session.reply.clone().unwrap_or_default());
        reply.response = places.restore(&reply.response);
        reply.json = reply.json.map(|value| places.restore_value(value));
        if request.output_schema.is_some() && reply.json.is_none() {
            let message =
                format!("the step {} has an output_schema, and its recorded reply has no `json`", request.step);
            return Err(AgentError { spent: Box::new(reply), ..failure(AgentFault::Schema, message) });
        }
        Ok(reply)
    }

    fn missing(&self, request: &AgentRequest) -> AgentError {
        let mut has: Vec<String> = self.recording.sessions.iter().map(name).collect();
        has.sort();
        let has = if has.is_empty() { "no session at all".to_owned() } else { has.join(", ") };
        let folder = self.folder.display();
        AgentError {
            hint: Some(format!(
                "the recording has: {has}. Record the step with `ratchet run --record {folder}`, or write its session as docs/recordings.md says"
            )),
            ..failure(
                AgentFault::Recording,
                format!(
                    "the recording {folder} has no session for {}attempt {} of the step {}",
                    if request.round == 1 { String::new() } else { format!("round {} of ", request.round) },
                    request.attempt,
                    request.step
                ),
            )
        }
    }

    fn write_transcript(&self, session: &Session, request: &AgentRequest, places: &Places) -> io::Result<()> {
        let mut transcript = Transcript::open(request)?;
        let begin = json!({"type": "ratchet", "subtype": "replay", "step": session.step, "call": session.call});
        transcript.event(&begin, None)?;
        let prompt = sha256_hex(request.prompt.as_bytes());
        // What a check printed, which the prompt of a later round holds, is never twice the same.
        if request.round == 1 && session.prompt_digest.as_ref().is_some_and(|recorded| recorded.as_str() != prompt) {
            let message = "the prompt is not the one that was recorded: the replay may not fit it";
            let warning = json!({
                "type": "ratchet", "subtype": "warning", "message": message,
                "recorded_prompt_digest": session.prompt_digest, "prompt_digest": prompt,
            });
            transcript.event(&warning, None)?;
        }
        let Some(file) = &session.transcript else { return Ok(()) };
        let recorded = fs::read(self.folder.join(file))?;
        for line in String::from_utf8_lossy(&recorded).lines().filter(|line| !line.trim().is_empty()) {
            match serde_json::from_str::<Value>(line) {
                Ok(event) => transcript.event(&places.restore_value(event), None)?,
                Err(_) => transcript.event(&json!({"type": "ratchet", "subtype": "text", "text": line}), None)?,
            }
        }
        Ok(())
    }

    fn apply(&self, edit: &Edit, request: &AgentRequest, places: &Places) -> io::Result<()> {
        let other = |error: paths::PathError| io::Error::other(error.to_string());
        let inside = match edit {
            Edit::Write { path, .. } => paths::target(&request.files, path, true).map_err(other)?,
            Edit::Delete { path } => match paths::target(&request.files, path, false) {
                Err(paths::PathError::Missing(_)) => return Ok(()),
                found => found.map_err(other)?,
            },
        };
        // The real place counts: a link inside the workspace may lead to a protected folder.
        if is_protected(&inside) {
            return Err(io::Error::other("no agent may write there"));
        }
        let target = request.files.root().join(inside);
        match edit {
            Edit::Delete { .. } => match fs::remove_file(&target) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                done => done,
            },
            Edit::Write { file, .. } => {
                let content = places.restore_bytes(fs::read(self.folder.join(file))?);
                let folder = target.parent().unwrap_or(request.files.root());
                let mut written = tempfile::Builder::new().prefix(".ratchet-").tempfile_in(folder)?;
                written.write_all(&content)?;
                let mode = edit.permissions().unwrap_or(0o644);
                written.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
                written.persist(&target)?;
                Ok(())
            }
        }
    }
}

/// A session as a person finds it in the recording.
fn name(session: &Session) -> String {
    match session {
        Session { step, call, round: 1, .. } => format!("{step} (call {call})"),
        Session { step, call, round, .. } => format!("{step} (call {call}, round {round})"),
    }
}

fn failure(fault: AgentFault, message: String) -> AgentError {
    AgentError { fault, message, hint: None, spent: Box::default() }
}

fn recorded_failure(recorded: &RecordedFailure) -> AgentError {
    let fault = match recorded.fault {
        RecordedFault::Unauthorised => AgentFault::Unauthorised,
        RecordedFault::RateLimited => AgentFault::RateLimited,
        RecordedFault::Api => AgentFault::Api,
        RecordedFault::Limit => AgentFault::Limit,
        RecordedFault::Schema => AgentFault::Schema,
        RecordedFault::Timeout => AgentFault::Timeout,
        RecordedFault::Stalled => AgentFault::Stalled,
        RecordedFault::Broken => AgentFault::Broken,
    };
    let RecordedFailure { cost_usd, tokens, turns, .. } = *recorded;
    let spent = AgentReply { cost_usd, tokens, turns, ..AgentReply::default() };
    AgentError { spent: Box::new(spent), ..failure(fault, recorded.message.clone()) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::agent::testing::{request, stop};

    const SESSIONS: &str = r#"[
        {"step": "write", "prompt_digest": "0000", "reply": {"response": "done in <ratchet:workspace>", "cost_usd": 0.5, "tokens": 7, "turns": 2},
         "edits": [{"action": "write", "path": "tests/new.py", "mode": "755", "file": "files/new.py"}, {"action": "delete", "path": "old.py"},
                   {"action": "delete", "path": "not/there"}],
         "transcript": "write.jsonl"},
        {"step": "again[3]", "failure": {"fault": "rate_limited", "message": "busy", "cost_usd": 0.1}},
        {"step": "again[3]", "call": 2, "reply": {"response": "second"}},
        {"step": "rounds", "reply": {"response": "first"}},
        {"step": "rounds", "round": 2, "reply": {"response": "second"}},
        {"step": "leak", "reply": {"response": ""}, "edits": [{"action": "write", "path": "up/x", "file": "files/new.py"}]},
        {"step": "hook", "reply": {"response": ""}, "edits": [{"action": "write", "path": "meta/hooks/post-commit", "file": "files/new.py"}]},
        {"step": "through", "reply": {"response": ""}, "edits": [{"action": "write", "path": "link", "file": "files/new.py"}]}
    ]"#;

    fn recording(sessions: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("files")).unwrap();
        fs::write(folder.path().join("files/new.py"), "root = '<ratchet:workspace>'\n").unwrap();
        fs::write(folder.path().join("write.jsonl"), "{\"type\":\"assistant\",\"cwd\":\"<ratchet:workspace>\"}\n")
            .unwrap();
        fs::write(folder.path().join("recording.json"), format!(r#"{{"format": 1, "sessions": {sessions}}}"#)).unwrap();
        folder
    }

    async fn play(step: &str, attempt: u32) -> (tempfile::TempDir, Result<AgentReply, AgentError>, String) {
        let tape = recording(SESSIONS);
        let agent = RecordedAgent::open(tape.path()).unwrap();
        let place = tempfile::tempdir().unwrap();
        let mut request = request(place.path(), step);
        request.attempt = attempt;
        let root = request.files.path().to_owned();
        fs::write(root.join("old.py"), "old").unwrap();
        fs::create_dir_all(root.join(".git/hooks")).unwrap();
        symlink("..", root.join("up")).unwrap();
        symlink(".git", root.join("meta")).unwrap();
        fs::write(place.path().join("victim"), "as it was").unwrap();
        symlink("../victim", root.join("link")).unwrap();
        let reply = agent.perform(request.clone(), stop()).await;
        assert_eq!(fs::read_to_string(place.path().join("victim")).unwrap(), "as it was");
        (place, reply, fs::read_to_string(&request.transcript).unwrap_or_default())
    }

    #[tokio::test]
    async fn a_session_is_played_with_its_edits_and_its_transcript() {
        let (place, reply, transcript) = play("write", 1).await;
        let reply = reply.unwrap();
        let root = place.path().join("workspace");
        assert_eq!(reply.response, format!("done in {}", root.display()));
        assert_eq!((reply.cost_usd, reply.tokens, reply.turns), (0.5, 7, 2));
        assert_eq!(fs::read_to_string(root.join("tests/new.py")).unwrap(), format!("root = '{}'\n", root.display()));
        assert_eq!(fs::metadata(root.join("tests/new.py")).unwrap().permissions().mode() & 0o777, 0o755);
        assert!(!root.join("old.py").exists());
        let events: Vec<Value> = transcript.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let subtypes: Vec<_> = events.iter().map(|event| event["subtype"].as_str().unwrap_or("-")).collect();
        assert_eq!(subtypes, ["replay", "warning", "-"]);
        assert_eq!(events[2]["cwd"], root.display().to_string());
    }

    #[tokio::test]
    async fn each_attempt_gets_its_own_session_or_the_last_before_it() {
        let outcome = |result: Result<AgentReply, AgentError>| match result {
            Ok(reply) => reply.response,
            Err(error) => format!("{:?}: {} ({})", error.fault, error.message, error.spent.cost_usd),
        };
        assert_eq!(outcome(play("again[3]", 1).await.1), "RateLimited: busy (0.1)");
        assert_eq!(outcome(play("again[3]", 2).await.1), "second");
        assert_eq!(outcome(play("again[3]", 5).await.1), "second");
    }

    #[tokio::test]
    async fn each_round_gets_its_own_session_or_none() {
        let tape = recording(SESSIONS);
        let agent = RecordedAgent::open(tape.path()).unwrap();
        let place = tempfile::tempdir().unwrap();
        for (round, expected) in [(1, Ok("first")), (2, Ok("second")), (3, Err("no session for round 3 of attempt 4"))]
        {
            let request = AgentRequest { round, attempt: 4, ..request(place.path(), "rounds") };
            match (agent.perform(request, stop()).await, expected) {
                (Ok(reply), Ok(words)) => assert_eq!(reply.response, words),
                (Err(error), Err(part)) => {
                    assert!(error.message.contains(part), "{error}");
                    assert!(error.hint.unwrap().contains("rounds (call 1, round 2)"));
                }
                (other, _) => panic!("{round}: {other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_missing_session_names_the_step_and_what_there_is() {
        let error = play("again", 1).await.1.unwrap_err();
        assert_eq!(error.fault, AgentFault::Recording);
        assert!(error.message.contains("no session for attempt 1 of the step again"), "{}", error.message);
        let hint = error.hint.unwrap();
        assert!(hint.contains("again[3] (call 1), again[3] (call 2), hook (call 1)"), "{hint}");
    }

    #[tokio::test]
    async fn no_edit_leads_out_or_to_what_others_would_run() {
        for (step, expected) in [("leak", "leads out of the workspace"), ("hook", "no agent may write there")] {
            let error = play(step, 1).await.1.unwrap_err();
            assert_eq!(error.fault, AgentFault::Recording, "{step}");
            assert!(error.message.contains(expected), "{step}: {}", error.message);
        }
        // A link itself is replaced; what it led to stays as it was, which `play` checks.
        let (place, reply, _) = play("through", 1).await;
        reply.unwrap();
        assert!(fs::symlink_metadata(place.path().join("workspace/link")).unwrap().is_file());
    }

    #[tokio::test]
    async fn what_the_request_forbids_is_not_played() {
        let tape = recording(SESSIONS);
        let agent = RecordedAgent::open(tape.path()).unwrap();
        let place = tempfile::tempdir().unwrap();
        let plan = AgentRequest { profile: SecurityProfile::PlanOnly, ..request(place.path(), "write") };
        assert_eq!(agent.perform(plan, stop()).await.unwrap_err().fault, AgentFault::Profile);
        let schema = AgentRequest { output_schema: Some(json!({})), ..request(place.path(), "write") };
        assert_eq!(agent.perform(schema, stop()).await.unwrap_err().fault, AgentFault::Schema);
    }

    #[test]
    fn a_recording_is_checked_when_it_is_opened() {
        let session = |rest: &str| format!(r#"[{{"step": "a", "reply": {{"response": ""}}{rest}}}]"#);
        for (sessions, expected) in [
            (session(r#", "edits": [{"action": "write", "path": "../x", "file": "files/new.py"}]"#), "leads out"),
            (
                session(r#", "edits": [{"action": "write", "path": ".git/hooks/x", "file": "files/new.py"}]"#),
                "no agent may write there",
            ),
            (
                session(r#", "edits": [{"action": "write", "path": "x", "file": "files/other.py"}]"#),
                "there is no `files/other.py`",
            ),
            (
                session(r#", "edits": [{"action": "write", "path": "x", "file": "../../etc/passwd"}]"#),
                "beside the recording",
            ),
            (
                session(r#", "edits": [{"action": "write", "path": "x", "mode": "4755", "file": "files/new.py"}]"#),
                "its mode",
            ),
            (session(r#", "call": 0"#), "counted from 1"),
            (session(r#", "promptdigest": """#), "unknown field `promptdigest`"),
            (session(r#", "failure": {"fault": "api", "message": ""}"#), "either a `reply` or a `failure`"),
            (
                r#"[{"step": "a", "reply": {"response": ""}}, {"step": "a", "reply": {"response": ""}}]"#.into(),
                "second session",
            ),
            ("[]}".into(), "is not a recording"),
        ] {
            let error = RecordedAgent::open(recording(&sessions).path()).unwrap_err().to_string();
            assert!(error.contains(expected), "{sessions}: {error}");
        }
        let newer = recording("[]");
        fs::write(newer.path().join("recording.json"), r#"{"format": 2, "sessions": []}"#).unwrap();
        assert!(RecordedAgent::open(newer.path()).unwrap_err().to_string().contains("format 2"));
        let empty = tempfile::tempdir().unwrap();
        assert!(RecordedAgent::open(empty.path()).unwrap_err().to_string().contains("cannot be read"));
    }

    #[test]
    fn another_content_is_another_agent() {
        let tape = recording(SESSIONS);
        let before = RecordedAgent::open(tape.path()).unwrap().identity();
        assert_eq!(before, RecordedAgent::open(tape.path()).unwrap().identity());
        fs::write(tape.path().join("files/new.py"), "other").unwrap();
        assert_ne!(before, RecordedAgent::open(tape.path()).unwrap().identity());
    }

    #[tokio::test]
    async fn it_keeps_the_contract_of_an_agent() {
        let tape = recording(SESSIONS);
        ratchet_testkit::contract::agent(async |place: &Path| {
            let agent: Arc<dyn Agent> = Arc::new(RecordedAgent::open(tape.path()).unwrap());
            (agent, request(place, "write"))
        })
        .await;
        // A recorder is the agent that it records.
        ratchet_testkit::contract::agent(async |place: &Path| {
            let played = Arc::new(RecordedAgent::open(tape.path()).unwrap());
            let agent: Arc<dyn Agent> =
                Arc::new(crate::agent::Recorder::open(played, &place.join("recording"), Vec::new()).unwrap());
            (agent, request(place, "write"))
        })
        .await;
    }

    #[test]
    fn every_recording_that_ships_with_a_workflow_can_be_played() {
        let workflows = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../workflows");
        for workflow in fs::read_dir(workflows).unwrap().flatten() {
            let folder = workflow.path().join("recording");
            if folder.exists() {
                RecordedAgent::open(&folder).unwrap();
            }
        }
    }
}

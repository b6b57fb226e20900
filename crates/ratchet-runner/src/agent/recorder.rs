//! Records what an agent does, so that it can be played again.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use ratchet_core::{history::sha256_hex, ids::Digest};
use ratchet_engine::ports::{Agent, AgentError, AgentFault, AgentReply, AgentRequest, StopSignal};
use serde_json::{Value, json};

use super::{
    Edit, RecordedFailure, RecordedFault, RecordedReply, Recording, RecordingError, Session,
    places::{Places, map_strings},
    recording::is_protected,
    secrets::Secrets,
};
use crate::snapshot::{Change, Snapshot};

/// Asks another agent and writes down what came of it.
///
/// Each session is there whole or not at all: its files are written first, and `recording.json`, which names them, is replaced last.
pub struct Recorder {
    agent: Arc<dyn Agent>,
    tape: Arc<Tape>,
}

struct Tape {
    folder: PathBuf,
    secrets: Secrets,
    /// What the recording holds. Locked while a session is written: sessions of parallel steps come one after the other.
    recording: Mutex<Recording>,
}

impl Recorder {
    /// A recorder that writes to a folder: a new one, an empty one, or that of a recording, which is gone on with. The values of `secrets` are left out
    /// wherever they stand.
    pub fn open(agent: Arc<dyn Agent>, folder: &Path, secrets: Vec<String>) -> Result<Self, RecordingError> {
        let unwritable = |source| RecordingError::Unwritable { path: folder.to_owned(), source };
        fs::create_dir_all(folder).map_err(unwritable)?;
        let recording = if fs::read_dir(folder).map_err(unwritable)?.next().is_none() {
            Recording { format: Recording::FORMAT, agent: Some(agent.identity()), sessions: Vec::new() }
        } else {
            Recording::read(folder)?
        };
        let tape = Tape { folder: folder.to_owned(), secrets: Secrets::new(secrets), recording: Mutex::new(recording) };
        Ok(Self { agent, tape: Arc::new(tape) })
    }
}

#[async_trait]
impl Agent for Recorder {
    fn identity(&self) -> String {
        self.agent.identity()
    }

    async fn perform(&self, request: AgentRequest, stop: StopSignal) -> Result<AgentReply, AgentError> {
        let root = request.files.root().to_owned();
        let begin = fs::metadata(&request.transcript).map_or(0, |found| found.len());
        let before = walk(root.clone()).await;
        let outcome = self.agent.perform(request.clone(), stop).await;
        if matches!(&outcome, Err(error) if recorded_fault(error.fault).is_none()) {
            // What says nothing of the agent's work (no program, a refused profile, a stop) is no session.
            return outcome;
        }
        let tape = Arc::clone(&self.tape);
        let ending = match &outcome {
            Ok(reply) => Ok(reply.clone()),
            Err(error) => Err((error.fault, error.message.clone(), *error.spent.clone())),
        };
        let written = tokio::task::spawn_blocking(move || {
            let changes = before?
                .changes_in(&root)
                .map_err(|source| RecordingError::Unreadable { path: root.clone(), source })?;
            tape.write(&request, begin, &changes, ending)
        });
        let trouble = match written.await {
            Ok(Ok(())) => return outcome,
            Ok(Err(error)) => error.to_string(),
            Err(panic) => panic.to_string(),
        };
        // Whoever asked for a recording must not believe to have one.
        let spent = outcome.map_or_else(|error| error.spent, Box::new);
        Err(AgentError {
            fault: AgentFault::Unrecorded,
            message: format!("the session cannot be recorded in {}: {trouble}", self.tape.folder.display()),
            hint: Some(
                "the agent did its work: run again without `--record`, or make room for the recording".to_owned(),
            ),
            spent,
        })
    }
}

async fn walk(root: PathBuf) -> Result<Snapshot, RecordingError> {
    let path = root.clone();
    let walked = tokio::task::spawn_blocking(move || Snapshot::before(&root)).await;
    walked.map_err(io::Error::other).flatten().map_err(|source| RecordingError::Unreadable { path, source })
}

type Outcome = Result<AgentReply, (AgentFault, String, AgentReply)>;

impl Tape {
    fn write(
        &self,
        request: &AgentRequest,
        begin: u64,
        changes: &std::collections::BTreeMap<String, Change>,
        outcome: Outcome,
    ) -> Result<(), RecordingError> {
        let mut recording = self.recording.lock().unwrap_or_else(PoisonError::into_inner);
        let places = Places::of(request);
        let secrets = self.secrets.with_environment(&request.environment).with_values(request.masks.values());
        let clean = |text: &str| places.leave_out(&secrets.leave_out(text));
        // A new name each time: what is written here is never read before `recording.json` names it, and never overwrites what it names.
        let name = format!("{}-{}", request.step, request.attempt);
        let name = (0..10_000)
            .map(|number| if number == 0 { name.clone() } else { format!("{name}-{number}") })
            .find(|name| {
                !self.folder.join("files").join(name).exists()
                    && !self.folder.join(format!("transcripts/{name}.jsonl")).exists()
            })
            .unwrap_or(name);
        let mut edits = Vec::new();
        for (path, change) in changes {
            if is_protected(Path::new(path)) {
                continue;
            }
            edits.push(match change {
                Change::Deleted => Edit::Delete { path: path.clone() },
                Change::Written => {
                    let source = request.files.root().join(path);
                    let unreadable = |error| RecordingError::Unreadable { path: source.clone(), source: error };
                    let content = fs::read(&source).map_err(unreadable)?;
                    let mode = fs::metadata(&source).map_err(unreadable)?.permissions().mode() & 0o777;
                    let content = match String::from_utf8(content) {
                        Ok(text) => clean(&text).into_bytes(),
                        Err(other) => other.into_bytes(),
                    };
                    let file = format!("files/{name}/{path}");
                    self.put(&file, &content)?;
                    Edit::Write { path: path.clone(), mode: format!("{mode:o}"), file }
                }
            });
        }
        let transcript = format!("transcripts/{name}.jsonl");
        self.put(&transcript, &events(request, begin, &clean)?)?;
        let clean_value = |value: Value| map_strings(value, &clean);
        let (reply, failure) = match outcome {
            Ok(reply) => {
                let reply = AgentReply {
                    response: clean(&reply.response),
                    json: reply.json.map(clean_value),
                    permission_denials: reply.permission_denials.into_iter().map(clean_value).collect(),
                    ..reply
                };
                (Some(RecordedReply::from(reply)), None)
            }
            Err((fault, message, spent)) => {
                let AgentReply { cost_usd, tokens, turns, .. } = spent;
                let fault = recorded_fault(fault).unwrap_or(RecordedFault::Broken);
                (None, Some(RecordedFailure { fault, message: clean(&message), cost_usd, tokens, turns }))
            }
        };
        let session = Session {
            step: request.step.clone(),
            call: request.attempt,
            round: request.round,
            prompt_digest: Some(Digest::new(sha256_hex(request.prompt.as_bytes()))),
            reply,
            failure,
            edits,
            transcript: Some(transcript),
        };
        let mut next = recording.clone();
        // The first round of an attempt begins it anew.
        next.sessions
            .retain(|known| (&known.step, known.call) != (&session.step, session.call) || known.round < session.round);
        next.sessions.push(session);
        next.sessions.sort_by(|a, b| (&a.step, a.call, a.round).cmp(&(&b.step, b.call, b.round)));
        let text = serde_json::to_vec_pretty(&next)
            .map_err(|source| RecordingError::Malformed { path: self.folder.join(Recording::FILE), source })?;
        self.put(Recording::FILE, &text)?;
        let replaced = std::mem::replace(&mut *recording, next);
        for file in replaced.files().filter(|file| !recording.files().any(|kept| kept == *file)) {
            self.remove(file);
        }
        Ok(())
    }

    /// Removes a file that the recording no longer names, and the folders that it leaves empty. What cannot be removed is no part of the recording.
    fn remove(&self, file: &str) {
        let path = self.folder.join(file);
        let _ = fs::remove_file(&path);
        let within = |folder: &&Path| folder.starts_with(&self.folder) && *folder != self.folder;
        for folder in path.ancestors().skip(1).take_while(within) {
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
    }

    /// Writes a file of the recording, whole or not at all.
    fn put(&self, file: &str, content: &[u8]) -> Result<(), RecordingError> {
        let path = self.folder.join(file);
        let write = || -> io::Result<()> {
            let folder = path.parent().unwrap_or(&self.folder);
            fs::create_dir_all(folder)?;
            let mut written = tempfile::Builder::new()
                .prefix(".ratchet-")
                .permissions(fs::Permissions::from_mode(0o644))
                .tempfile_in(folder)?;
            io::Write::write_all(&mut written, content)?;
            written.persist(&path)?;
            Ok(())
        };
        write().map_err(|source| RecordingError::Unwritable { path: path.clone(), source })
    }
}

/// The events of this attempt, from where its transcript stood before.
fn events(request: &AgentRequest, begin: u64, clean: &dyn Fn(&str) -> String) -> Result<Vec<u8>, RecordingError> {
    let content = match fs::read(&request.transcript) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(source) => return Err(RecordingError::Unreadable { path: request.transcript.clone(), source }),
    };
    let begin = usize::try_from(begin).unwrap_or(usize::MAX).min(content.len());
    let mut events = String::new();
    for line in String::from_utf8_lossy(&content[begin..]).lines().filter(|line| !line.trim().is_empty()) {
        let event = serde_json::from_str::<Value>(line)
            .unwrap_or_else(|_| json!({"type": "ratchet", "subtype": "text", "text": line}));
        events.push_str(&map_strings(event, clean).to_string());
        events.push('\n');
    }
    Ok(events.into_bytes())
}

/// The word of a recording for a failure, where it is one of the agent's work.
fn recorded_fault(fault: AgentFault) -> Option<RecordedFault> {
    Some(match fault {
        AgentFault::Unauthorised => RecordedFault::Unauthorised,
        AgentFault::RateLimited => RecordedFault::RateLimited,
        AgentFault::Api => RecordedFault::Api,
        AgentFault::Limit => RecordedFault::Limit,
        AgentFault::Schema => RecordedFault::Schema,
        AgentFault::Timeout => RecordedFault::Timeout,
        AgentFault::Stalled => RecordedFault::Stalled,
        AgentFault::Broken => RecordedFault::Broken,
        AgentFault::Unavailable
        | AgentFault::Stopped
        | AgentFault::Profile
        | AgentFault::Sessionless
        | AgentFault::Recording
        | AgentFault::Unrecorded => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ratchet_engine::ports::ModelShare;

    use super::*;
    use crate::agent::{
        RecordedAgent,
        testing::{request, stop},
    };

    /// An agent that does something in its workspace and says what it was told to.
    struct Scripted(Result<&'static str, AgentFault>);

    #[async_trait]
    impl Agent for Scripted {
        fn identity(&self) -> String {
            "scripted".to_owned()
        }

        async fn perform(&self, request: AgentRequest, _stop: StopSignal) -> Result<AgentReply, AgentError> {
            let root = request.files.root();
            let here = root.display().to_string();
            fs::create_dir_all(root.join("src")).unwrap();
            fs::write(root.join("src/new.py"), format!("root = '{here}'\nkey = 'hunter22'\n")).unwrap();
            fs::write(root.join("run.sh"), "#!/bin/sh\n").unwrap();
            fs::set_permissions(root.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
            fs::write(root.join("blob"), [0xFF, 0x00]).unwrap();
            fs::create_dir_all(root.join(".git")).unwrap();
            fs::write(root.join(".git/index"), "not recorded").unwrap();
            let _ = fs::remove_file(root.join("old.py"));
            let event = json!({"type": "assistant", "cwd": here, "tool": request.directory.join("home").display().to_string(), "key": "\"hunter22\""});
            fs::write(&request.transcript, format!("{event}\nno json sk-ant-api03-abcdefghijklmnop\n")).unwrap();
            let models = BTreeMap::from([("m".to_owned(), ModelShare { cost_usd: 0.25, tokens: 10 })]);
            let spent = AgentReply { cost_usd: 0.25, tokens: 10, turns: 3, models, ..AgentReply::default() };
            match self.0 {
                Ok(words) => Ok(AgentReply {
                    response: format!("{words} in {here}, hunter22"),
                    json: Some(json!({"at": here})),
                    ..spent
                }),
                Err(fault) => {
                    Err(AgentError { fault, message: "it went wrong".to_owned(), hint: None, spent: Box::new(spent) })
                }
            }
        }
    }

    async fn record(tape: &Path, words: Result<&'static str, AgentFault>, attempt: u32) -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        let mut request = request(place.path(), "write[0]");
        fs::write(request.files.root().join("old.py"), "old").unwrap();
        fs::write(request.files.root().join("same.py"), "same").unwrap();
        request.attempt = attempt;
        request.environment.insert("MY_TOKEN".to_owned(), "hunter22".to_owned());
        let recorder = Recorder::open(Arc::new(Scripted(words)), tape, Vec::new()).unwrap();
        assert_eq!(recorder.perform(request, stop()).await.is_ok(), words.is_ok());
        place
    }

    fn all_text(folder: &Path) -> String {
        let mut text = String::new();
        for entry in fs::read_dir(folder).unwrap().flatten() {
            if entry.path().is_dir() {
                text.push_str(&all_text(&entry.path()));
            } else {
                text.push_str(&String::from_utf8_lossy(&fs::read(entry.path()).unwrap()));
            }
        }
        text
    }

    #[tokio::test]
    async fn each_round_is_a_session_and_the_first_begins_anew() {
        let tape = tempfile::tempdir().unwrap();
        let mut rounds = Vec::new();
        for round in [1, 2, 3, 1, 2] {
            let place = tempfile::tempdir().unwrap();
            let request = AgentRequest { round, ..request(place.path(), "write") };
            let recorder = Recorder::open(Arc::new(Scripted(Ok("done"))), tape.path(), Vec::new()).unwrap();
            recorder.perform(request, stop()).await.unwrap();
            let recording = Recording::read(tape.path()).unwrap();
            rounds.push(recording.sessions.iter().map(|session| session.round).collect::<Vec<_>>());
        }
        assert_eq!(rounds, [vec![1], vec![1, 2], vec![1, 2, 3], vec![1], vec![1, 2]]);
    }

    #[tokio::test]
    async fn what_was_recorded_plays_again_elsewhere() {
        let tape = tempfile::tempdir().unwrap();
        let made = record(tape.path(), Ok("done"), 1).await;
        let text = all_text(tape.path());
        for forbidden in ["hunter22", "sk-ant-api03", &made.path().display().to_string()] {
            assert!(!text.contains(forbidden), "{forbidden} is in the recording: {text}");
        }
        let place = tempfile::tempdir().unwrap();
        let request = request(place.path(), "write[0]");
        fs::write(request.files.root().join("old.py"), "old").unwrap();
        let reply = RecordedAgent::open(tape.path()).unwrap().perform(request.clone(), stop()).await.unwrap();
        let root = request.files.root();
        assert_eq!(reply.response, format!("done in {}, <ratchet:secret>", root.display()));
        assert_eq!(reply.json, Some(json!({"at": root.display().to_string()})));
        assert_eq!((reply.cost_usd, reply.tokens, reply.turns), (0.25, 10, 3));
        assert_eq!(reply.models["m"], ModelShare { cost_usd: 0.25, tokens: 10 });
        let new = fs::read_to_string(root.join("src/new.py")).unwrap();
        assert_eq!(new, format!("root = '{}'\nkey = '<ratchet:secret>'\n", root.display()));
        assert_eq!(fs::metadata(root.join("run.sh")).unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(fs::read(root.join("blob")).unwrap(), [0xFF, 0x00]);
        assert!(!root.join("old.py").exists() && !root.join(".git").exists() && !root.join("same.py").exists());
        let transcript = fs::read_to_string(&request.transcript).unwrap();
        assert!(transcript.contains(&root.display().to_string()) && !transcript.contains("warning"), "{transcript}");
    }

    #[tokio::test]
    async fn each_attempt_is_a_session_and_a_second_recording_replaces_it() {
        let tape = tempfile::tempdir().unwrap();
        record(tape.path(), Err(AgentFault::RateLimited), 1).await;
        record(tape.path(), Ok("second"), 2).await;
        record(tape.path(), Err(AgentFault::Stopped), 3).await;
        record(tape.path(), Ok("second again"), 2).await;
        let recording = Recording::read(tape.path()).unwrap();
        let sessions: Vec<_> =
            recording.sessions.iter().map(|s| (s.call, s.reply.is_some(), s.failure.is_some())).collect();
        assert_eq!(sessions, [(1, false, true), (2, true, false)]);
        let second = recording.session("write[0]", 2, 1).unwrap();
        assert!(second.reply.as_ref().unwrap().response.starts_with("second again"));
        assert_eq!(fs::read_dir(tape.path().join("files")).unwrap().count(), 2);
        assert_eq!(recording.sessions[0].failure.as_ref().unwrap().fault, RecordedFault::RateLimited);
    }

    #[tokio::test]
    async fn a_folder_of_something_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("notes.txt"), "mine").unwrap();
        let opened = Recorder::open(Arc::new(Scripted(Ok(""))), folder.path(), Vec::new());
        assert!(matches!(opened.err(), Some(RecordingError::Unreadable { .. })));
    }

    #[tokio::test]
    async fn a_session_that_cannot_be_recorded_is_a_failure_that_says_what_was_spent() {
        let tape = tempfile::tempdir().unwrap();
        let recorder = Recorder::open(Arc::new(Scripted(Ok("done"))), tape.path(), Vec::new()).unwrap();
        fs::write(tape.path().join("files"), "in the way").unwrap();
        let place = tempfile::tempdir().unwrap();
        let error = recorder.perform(request(place.path(), "write"), stop()).await.unwrap_err();
        assert_eq!((error.fault, error.spent.cost_usd), (AgentFault::Unrecorded, 0.25));
        assert!(!tape.path().join("recording.json").exists());
    }
}

//! What a person does on the page: the server starts the command that does it, as that person would at a terminal, and tells what came of it.

use std::{
    collections::BTreeMap,
    env,
    fs::File,
    io,
    os::unix::{fs::FileExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use ratchet_core::execution::ExecutionRow;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{command_error::CommandError, words::harmless};

/// A command that refuses does so within this time. One that goes on is told of as such.
const REFUSAL: Duration = Duration::from_millis(1_500);
/// How often it is looked whether a command has ended.
const LOOK: Duration = Duration::from_millis(20);
/// The end of what a command said, in bytes.
const SAID_MAX: usize = 8 << 10;
/// Actions that are remembered. One that is still under way is not forgotten.
const REMEMBERED_MAX: usize = 200;

/// What is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// The step that is answered.
    step: Option<String>,
    /// The steps that run again.
    #[serde(default)]
    from: Vec<String>,
    /// What the person has to say.
    comment: Option<String>,
}

/// The commands that were started.
#[derive(Debug)]
pub(super) struct Actions {
    state_directory: PathBuf,
    started: Mutex<BTreeMap<u64, Action>>,
}

/// A command that was started.
#[derive(Debug)]
struct Action {
    /// As a person types it.
    command: String,
    child: Child,
    /// What it said. A file and not a pipe: whoever reads a pipe takes the writer with him when he ends.
    said: File,
    exit_code: Option<i32>,
}

impl Actions {
    /// Over a state directory.
    pub(super) fn new(state_directory: &Path) -> Self {
        Self { state_directory: state_directory.to_owned(), started: Mutex::default() }
    }

    /// Starts a command about an execution, gives it a moment to refuse, and tells how it stands. `None` where there is no such action.
    pub(super) async fn start(
        &self,
        verb: &str,
        execution: &ExecutionRow,
        asked: &Asked,
    ) -> Result<Option<Value>, CommandError> {
        let Some(words) = words(verb, execution, asked) else { return Ok(None) };
        let number = self.spawn(&words).map_err(CommandError::Runtime)?;
        let begin = Instant::now();
        loop {
            let told = self.told(number).map_err(CommandError::Runtime)?;
            if begin.elapsed() > REFUSAL || told.as_ref().is_none_or(|told| told["running"] == false) {
                return Ok(told);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// How a command stands; `None` where it is not known.
    pub(super) fn told(&self, number: u64) -> io::Result<Option<Value>> {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(action) = started.get_mut(&number) else { return Ok(None) };
        action.look()?;
        Ok(Some(json!({
            "action": number,
            "command": action.command,
            "running": action.exit_code.is_none(),
            "exit_code": action.exit_code,
            "said": action.said()?,
        })))
    }

    fn spawn(&self, words: &[String]) -> io::Result<u64> {
        let said = tempfile::tempfile()?;
        let mut command = Command::new(env::current_exe()?);
        command
            .arg("--state-dir")
            .arg(&self.state_directory)
            .args(words)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(said.try_clone()?)
            .stderr(said.try_clone()?);
        begins_session(&mut command);
        let child = command.spawn()?;
        let shown: Vec<String> = words.iter().filter(|word| *word != "--").map(|word| quoted(word)).collect();
        let action = Action { command: format!("ratchet {}", shown.join(" ")), child, said, exit_code: None };
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        if started.len() >= REMEMBERED_MAX {
            started.retain(|_, action| action.look().is_ok() && action.exit_code.is_none());
        }
        let number = started.last_key_value().map_or(1, |(last, _)| last + 1);
        started.insert(number, action);
        Ok(number)
    }
}

impl Action {
    fn look(&mut self) -> io::Result<()> {
        if self.exit_code.is_none() {
            self.exit_code = self.child.try_wait()?.map(|status| status.code().unwrap_or(-1));
        }
        Ok(())
    }

    /// The end of what it said. The place where the command writes next is left as it is.
    fn said(&self) -> io::Result<String> {
        let mut said = vec![0; SAID_MAX];
        let from = self.said.metadata()?.len().saturating_sub(SAID_MAX as u64);
        let count = self.said.read_at(&mut said, from)?;
        Ok(harmless(&String::from_utf8_lossy(&said[..count])))
    }
}

/// The command for an action. What the page sent stands where it cannot be taken for an option.
fn words(verb: &str, execution: &ExecutionRow, asked: &Asked) -> Option<Vec<String>> {
    let id = execution.id.to_string();
    let mut words = vec![verb.to_owned()];
    match verb {
        "cancel" => words.extend(["--".to_owned(), id]),
        "resume" => {
            words.extend(asked.from.iter().map(|step| format!("--from={step}")));
            words.extend(["--".to_owned(), id]);
        }
        "approve" | "reject" => {
            let comment = asked.comment.as_deref().map(str::trim).filter(|comment| !comment.is_empty());
            words.extend(comment.map(|comment| format!("--comment={comment}")));
            words.extend(["--".to_owned(), id]);
            words.extend(asked.step.clone());
        }
        _ => return None,
    }
    Some(words)
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "-_.=/:@".contains(character);
    if word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

/// The command begins a session of its own: neither the end of the page's server nor that of its terminal ends what it drives.
#[expect(unsafe_code, reason = "the standard library knows process groups only")]
fn begins_session(command: &mut Command) {
    // SAFETY: setsid is one system call, which may be made between fork and exec, and nothing else is done there.
    unsafe {
        command.pre_exec(|| {
            rustix::process::setsid()?;
            Ok(())
        });
    }
}

#[cfg(test)]
mod tests {
    use ratchet_testkit::builders::execution_row;

    use super::*;

    #[test]
    fn commands_are_made_of_what_a_page_asks_for() {
        let execution = execution_row("run-1");
        let asked: Asked = serde_json::from_value(json!({
            "step": "--state-dir=/etc", "from": ["a", "--edit=/etc/passwd"], "comment": " it's fine ",
        }))
        .unwrap();
        let shown = |verb: &str| words(verb, &execution, &asked).map(|words| words.join(" "));
        assert_eq!(shown("cancel").as_deref(), Some("cancel -- run-1"));
        assert_eq!(shown("resume").as_deref(), Some("resume --from=a --from=--edit=/etc/passwd -- run-1"));
        assert_eq!(shown("approve").as_deref(), Some("approve --comment=it's fine -- run-1 --state-dir=/etc"));
        assert_eq!(shown("shell"), None);
        assert_eq!(quoted("--comment=it's fine"), r"'--comment=it'\''s fine'");
    }
}

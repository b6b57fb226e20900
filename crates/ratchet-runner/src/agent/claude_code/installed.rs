use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use ratchet_engine::ports::{AgentError, AgentFault, AttemptFiles};
use tokio::sync::watch;

use super::failure;
use crate::{
    family::Mark,
    find,
    output_log::Stream,
    process::{self, Limits, Listener, Program},
};

/// The first version that is known to have every option that is used.
const KNOWN: [u32; 3] = [2, 1, 330];
/// How long the command may take to say its version. A cold start of a large program takes seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The command as it is on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// Where it lies.
    pub path: PathBuf,
    /// What it says of its version.
    pub version: String,
    /// Whether it has `--restricted`, which confines its file tools by itself.
    pub has_restricted: bool,
    /// Whether it can be told that nobody answers its questions.
    pub has_permission_prompts: bool,
}

impl Installed {
    /// Finds it and asks what it is.
    pub(super) async fn find(named: Option<&Path>, search: &str) -> Result<Self, AgentError> {
        let path = match named {
            Some(path) => path.to_owned(),
            None => find::find("claude", search, Path::new("/"), &AttemptFiles::in_folder("/")).map_err(|_| AgentError {
                hint: Some(
                    "install Claude Code, or name its command in RATCHET_CLAUDE; `--agent recorded:DIR` plays a recording without it".to_owned(),
                ),
                ..failure(AgentFault::Unavailable, "the command `claude` is not on the PATH".to_owned())
            })?,
        };
        let version = ask(&path, "--version").await?;
        let version = version.trim().to_owned();
        let numbers = version_numbers(&version).ok_or_else(|| {
            failure(
                AgentFault::Unavailable,
                format!("{} is not Claude Code: its version is {version:?}", path.display()),
            )
        })?;
        if numbers >= KNOWN {
            return Ok(Self { path, version, has_restricted: true, has_permission_prompts: true });
        }
        let help = ask(&path, "--help").await?;
        let has = |option: &str| help.split(|c: char| !(c.is_alphanumeric() || c == '-')).any(|word| word == option);
        let (has_restricted, has_permission_prompts) = (has("--restricted"), has("--permission-prompts"));
        Ok(Self { path, version, has_restricted, has_permission_prompts })
    }
}

fn version_numbers(text: &str) -> Option<[u32; 3]> {
    let mut numbers = text.split([' ', '-', '+']).next()?.split('.').map(str::parse);
    let version = [numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?];
    text.contains("Claude Code").then_some(version)
}

/// What the command prints when it is asked about itself. It sees no key.
async fn ask(path: &Path, option: &str) -> Result<String, AgentError> {
    let cannot = |reason: String| AgentError {
        hint: Some("RATCHET_CLAUDE names the command where it is not the one on the PATH".to_owned()),
        ..failure(AgentFault::Unavailable, format!("{} {option}: {reason}", path.display()))
    };
    let home = tempfile::tempdir().map_err(|error| cannot(error.to_string()))?;
    let text = |path: &Path| path.display().to_string();
    let environment: BTreeMap<String, String> = [
        ("HOME", text(home.path())),
        ("TMPDIR", text(home.path())),
        ("CLAUDE_CONFIG_DIR", text(home.path())),
        ("PATH", "/usr/local/bin:/usr/bin:/bin".to_owned()),
        ("DISABLE_AUTOUPDATER", "1".to_owned()),
        ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    let program = Program {
        file: path.to_owned(),
        arguments: vec![option.into()],
        mark: Mark::of(&environment),
        environment,
        files: AttemptFiles::in_folder(home.path()),
        directory: PathBuf::new(),
        stdin: None,
        enclosure: None,
    };
    let mut answer = Answer::default();
    let limits = Limits { timeout: Some(ANSWER_TIMEOUT), stall: None, grace: Duration::from_secs(1) };
    // Nobody stops it: it is short, and other attempts wait for the same answer.
    let (_stop, never) = watch::channel(None);
    let ended = process::run(program, limits, never, &mut answer).await.map_err(|error| cannot(error.to_string()))?;
    if ended.status.success() {
        Ok(String::from_utf8_lossy(&answer.0).into_owned())
    } else {
        Err(cannot(format!("it ended with code {}: {}", ended.code(), String::from_utf8_lossy(&answer.0).trim())))
    }
}

/// The first part of what is printed.
#[derive(Default)]
struct Answer(Vec<u8>);

impl Listener for Answer {
    fn hear(&mut self, _stream: Stream, bytes: &[u8]) {
        let room = (256_usize << 10).saturating_sub(self.0.len()).min(bytes.len());
        self.0.extend_from_slice(&bytes[..room]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        for (text, expected) in [
            ("2.1.330 (Claude Code)", Some([2, 1, 330])),
            ("3.0.0-beta.1 (Claude Code)", Some([3, 0, 0])),
            ("2.1 (Claude Code)", None),
            ("2.1.330", None),
            ("", None),
        ] {
            assert_eq!(version_numbers(text), expected, "{text}");
        }
    }
}

//! The real Claude Code command, headless. It is found on the machine, never shipped.
//!
//! Nothing of the workspace configures it: neither its settings, hooks and tool servers, nor its variables. `CLAUDE.md`, which is advice and no
//! configuration, is given back as part of the system prompt.

mod arguments;
mod door;
mod history;
mod installed;
mod judge;
#[cfg(test)]
mod real;
#[cfg(test)]
mod scripted;
mod session;
mod variables;

use std::{
    collections::BTreeMap,
    env, fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use ratchet_engine::ports::{Agent, AgentError, AgentFault, AgentReply, AgentRequest, AttemptFiles, StopSignal};
use tokio::sync::OnceCell;

pub use self::installed::Installed;
use self::{
    door::{Door, FOLDER_INSIDE},
    session::Session,
    variables::Variables,
};
use super::transcript::mask_files;
use crate::{
    family::Mark,
    hooks,
    output_log::{Bounds, OutputLog},
    paths,
    process::{self, Limits, Program},
    profile::{self, Confinement, Enclosure, Lack, Needs, Runs, Worker},
};

/// The longest `CLAUDE.md` that is given back, in bytes.
const ADVICE_BYTES_MAX: u64 = 256 << 10;

/// Claude Code as it is installed on this machine.
pub struct ClaudeCode {
    /// The file that the person named.
    named: Option<PathBuf>,
    search: String,
    variables: Variables,
    confinement: Result<Confinement, String>,
    grace: Duration,
    installed: OnceCell<Installed>,
}

impl ClaudeCode {
    /// Found and configured by these variables: `RATCHET_CLAUDE` or `PATH`, and those that the command documents for its API.
    pub fn new(given: &BTreeMap<String, String>) -> Self {
        Self {
            named: given.get("RATCHET_CLAUDE").filter(|path| !path.is_empty()).map(PathBuf::from),
            search: given.get("PATH").cloned().unwrap_or_default(),
            variables: Variables::of(given),
            confinement: Confinement::of(given),
            // It ends what it started itself when it is asked to, which takes it a moment.
            grace: Duration::from_secs(5),
            installed: OnceCell::new(),
        }
    }

    /// Found and configured by the variables of this process.
    pub fn of_this_process() -> Self {
        Self::new(
            &env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
        )
    }

    /// The command on this machine: asked once.
    pub async fn installed(&self) -> Result<&Installed, AgentError> {
        self.installed.get_or_try_init(|| Installed::find(self.named.as_deref(), &self.search)).await
    }

    async fn work(&self, request: &AgentRequest, stop: StopSignal) -> Result<AgentReply, AgentError> {
        if stop.borrow().is_some() {
            return Err(failure(AgentFault::Stopped, "the agent was told to stop before it began".to_owned()));
        }
        let confinement = self.confine(request)?;
        let tools = arguments::tools(request)?;
        let installed = self.installed().await?;
        if request.resume.as_ref().is_some_and(|point| history::is_missing(request, point)) {
            let message = "nothing was kept of the session that the agent is to go on with".to_owned();
            let hint = Some(
                "`ratchet resume --from` the step that it is of, with an agent that keeps its sessions".to_owned(),
            );
            return Err(AgentError { hint, ..failure(AgentFault::Sessionless, message) });
        }
        let prepared = Prepared::of(request).map_err(|error| {
            failure(
                AgentFault::Unavailable,
                format!("the attempt's folder {} cannot be used: {error}", request.directory.display()),
            )
        })?;
        let mut session = Session::open(request)
            .map_err(|error| failure(AgentFault::Unavailable, format!("the transcript cannot be written: {error}")))?;
        let (mut environment, dropped) = self.variables.environment(request);
        if !dropped.is_empty() {
            session.warn(&format!(
                "the step's variables {} are left out: who configures the agent is the person who runs ratchet",
                dropped.join(", ")
            ));
        }
        let walls = if confinement.is_on {
            let walls = self.walls(request, &prepared, &installed.path, &mut environment, &mut session);
            let walls = walls.map_err(|error| not_confined(request, &error))?;
            (Some(walls.0), walls.1)
        } else {
            (None, None)
        };
        // Open as long as the command runs.
        let (enclosure, _door) = walls;
        let program = Program {
            file: installed.path.clone(),
            arguments: arguments::of(request, installed, &tools, &prepared),
            mark: Mark::of(&environment),
            environment,
            files: request.files.clone(),
            directory: PathBuf::new(),
            stdin: Some(prepared.prompt),
            enclosure,
        };
        let limits = Limits { timeout: request.timeout, stall: request.stall_timeout, grace: self.grace };
        let log = OutputLog::new(request.directory.join("output.log"), Instant::now(), Bounds::default(), |_| {});
        let log = log.masking(&request.masks);
        let mut listener = session.listening(log);
        let ended = process::run(program, limits, stop, &mut listener).await;
        mask(request).await;
        let ended = ended.map_err(|error| match error.downcast::<Lack>() {
            Ok(lack) => not_confined(request, &lack),
            Err(error) => not_started(installed, &error),
        })?;
        let (heard, last_words) = listener.end();
        let mut judged = judge::judge(&heard, ended.reason, ended.code(), request, &last_words);
        let reply = judged.as_mut().unwrap_or_else(|error| &mut *error.spent);
        reply.history = history::find(request, &reply.session_id);
        judged
    }

    /// Whether the kernel keeps the command to its profile. What nothing would keep is refused.
    fn confine(&self, request: &AgentRequest) -> Result<Confinement, AgentError> {
        let refused = |message: String, hint: &str| AgentError {
            hint: Some(hint.to_owned()),
            ..failure(AgentFault::Profile, message)
        };
        let confinement = self.confinement.clone().map_err(|message| refused(message, "unset it"))?;
        if let Some(message) = confinement.refusal(request.profile) {
            return Err(refused(message, "ask whoever set RATCHET_PROFILE_MAX, or give the step a narrower profile"));
        }
        let runs = profile::rules(request.profile, Worker::Agent).runs;
        if !confinement.is_on && runs != Runs::Nothing {
            let message = format!(
                "nothing would keep an agent of the profile {} to it: RATCHET_CONFINEMENT is off",
                request.profile.word()
            );
            return Err(refused(message, "unset RATCHET_CONFINEMENT, or use `security_profile: restricted`"));
        }
        Ok(confinement)
    }

    /// The walls around the command, and the door in them.
    fn walls(
        &self,
        request: &AgentRequest,
        prepared: &Prepared,
        program: &Path,
        environment: &mut BTreeMap<String, String>,
        session: &mut Session,
    ) -> io::Result<(Enclosure, Option<Door>)> {
        let mut rules = profile::rules(request.profile, Worker::Agent);
        let door = self.variables.api().map(|api| Door::open(&request.directory, api)).transpose()?;
        if door.is_some() {
            if environment.contains_key("CLAUDE_CODE_ENABLE_TELEMETRY") {
                session.warn("the agent's own telemetry is off: no collector is reached from within its walls");
            }
            Variables::behind_door(environment);
        } else {
            session.warn("the agent has its key and the network: its API is reached in a way that only itself can");
            rules.network = profile::Network::Open;
        }
        if rules.runs == Runs::Anything {
            // The command runs everything as root only where it is told that there are walls.
            environment.insert("IS_SANDBOX".to_owned(), "1".to_owned());
        }
        let folder = |name: &str| request.directory.join(name);
        let mut readable = prepared.readable.clone();
        readable.extend(prepared.system_prompt.clone());
        readable.extend(hooks::named(environment));
        let workspace = request.files.path();
        let needs = Needs {
            workspace,
            workspace_here: request.files.root(),
            directory: workspace,
            home: &folder("home"),
            temporary: &folder("tmp"),
            writable: &[folder("claude")],
            readable: &readable,
            program,
            search: environment.get("PATH").map_or("", String::as_str),
            door: door.as_ref().map(|door| (door.folder(), Path::new(FOLDER_INSIDE))),
            grace: self.grace,
        };
        Ok((Enclosure::new(rules, &needs)?, door))
    }
}

fn not_confined(request: &AgentRequest, error: &dyn std::fmt::Display) -> AgentError {
    let message = format!("this machine cannot keep the agent to its profile {}: {error}", request.profile.word());
    AgentError { hint: Some(profile::HINT.to_owned()), ..failure(AgentFault::Profile, message) }
}

fn not_started(installed: &Installed, error: &io::Error) -> AgentError {
    AgentError {
        hint: Some("RATCHET_CLAUDE names the command where it is not the one on the PATH".to_owned()),
        ..failure(AgentFault::Unavailable, format!("{} cannot be started: {error}", installed.path.display()))
    }
}

#[async_trait]
impl Agent for ClaudeCode {
    fn identity(&self) -> String {
        "claude-code".to_owned()
    }

    async fn perform(&self, request: AgentRequest, stop: StopSignal) -> Result<AgentReply, AgentError> {
        self.work(&request, stop).await
    }
}

/// What lies ready in the attempt's folder when the command starts.
struct Prepared {
    prompt: fs::File,
    system_prompt: Option<PathBuf>,
    /// Folders outside the workspace that it may read.
    readable: Vec<PathBuf>,
}

impl Prepared {
    fn of(request: &AgentRequest) -> io::Result<Self> {
        for folder in ["home", "claude", "tmp"] {
            fs::create_dir_all(request.directory.join(folder))?;
        }
        if let Some((point, path)) = request.resume.as_ref().and_then(|point| Some((point, point.history.as_ref()?))) {
            history::put(request, &point.session_id, path)?;
        }
        let (readable, copies) = readable(request)?;
        let prompt = request.directory.join("prompt.txt");
        fs::write(&prompt, &request.prompt)?;
        let mut system = Vec::new();
        system.extend(advice(&request.files));
        system.extend(request.append_system_prompt.clone());
        system.extend(copies);
        let system_prompt = if system.is_empty() {
            None
        } else {
            let path = request.directory.join("system-prompt.md");
            fs::write(&path, system.join("\n\n"))?;
            Some(path)
        };
        Ok(Self { prompt: fs::File::open(prompt)?, system_prompt, readable })
    }
}

/// Masks what it needed in full while it worked: its prompts, and what it kept of the session for itself.
async fn mask(request: &AgentRequest) {
    if request.masks.is_empty() {
        return;
    }
    let (folder, masks) = (request.directory.clone(), request.masks.clone());
    let masked = tokio::task::spawn_blocking(move || {
        ["prompt.txt", "system-prompt.md", "claude"].iter().try_for_each(|name| mask_files(&folder.join(name), &masks))
    });
    if let Err(error) = masked.await.map_err(io::Error::other).flatten() {
        tracing::warn!(%error, step = request.step, "what the agent kept of its session is not masked");
    }
}

/// What the project tells agents in its `CLAUDE.md`, where there is one in the workspace and it is no book.
fn advice(files: &AttemptFiles) -> Option<String> {
    let path = files.root().join(paths::existing(files, "CLAUDE.md").ok()?);
    let found = path.metadata().ok()?;
    if !found.is_file() || found.len() > ADVICE_BYTES_MAX {
        return None;
    }
    fs::read_to_string(path).ok()
}

/// The folders that make the request's files readable, and what the agent is told of those that had to be copied.
///
/// A file that is alone in its folder is readable where it lies. The neighbours of any other are none of the agent's business: it gets a copy.
fn readable(request: &AgentRequest) -> io::Result<(Vec<PathBuf>, Option<String>)> {
    let workspace = request.files.path().canonicalize()?;
    let mut folders = Vec::new();
    let mut told = Vec::new();
    for (number, path) in request.readable.iter().enumerate() {
        let real = path.canonicalize()?;
        if real.starts_with(&workspace) {
            continue;
        }
        let parent = real.parent().unwrap_or(&real).to_owned();
        if real.is_dir() {
            folders.push(real);
        } else if fs::read_dir(&parent)?.take(2).count() == 1 {
            folders.push(parent);
        } else {
            let folder = request.directory.join("inputs").join(number.to_string());
            fs::create_dir_all(&folder)?;
            let copy = folder.join(path.file_name().unwrap_or_default());
            fs::copy(&real, &copy)?;
            told.push(format!("- {} is readable as {}", path.display(), copy.display()));
            folders.push(folder.canonicalize()?);
        }
    }
    let told = (!told.is_empty()).then(|| format!("Files from outside the working directory:\n{}", told.join("\n")));
    Ok((folders, told))
}

fn failure(fault: AgentFault, message: String) -> AgentError {
    AgentError { fault, message, hint: None, spent: Box::default() }
}

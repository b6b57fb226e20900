use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use clap::Args;
use ratchet_engine::ports::ExecutionFilter;
use ratchet_local::housekeeping::{DiskUse, disk_use};
use ratchet_runner::profile::{Confinement, Machine};
use serde::Serialize;

use super::list::newest;

use crate::{
    arguments::CommonArguments,
    command_error::CommandError,
    console::Console,
    exit_code::ExitCode,
    state::State,
    state_directory,
    words::{bytes, counted},
};

/// Say what is installed, what is missing, and how well this machine can isolate steps
#[derive(Debug, Args)]
#[command(after_help = "\
Exits with 1 where something is missing that every workflow needs.

Examples:
  ratchet doctor
  ratchet doctor --json")]
pub(crate) struct DoctorArguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Findings {
    version: &'static str,
    /// Whether all is there that every workflow needs.
    ready: bool,
    programs: Vec<ProgramFinding>,
    isolation: Vec<IsolationFinding>,
    state: StateFinding,
}

/// A program that steps or the engine use.
#[derive(Debug, Serialize)]
struct ProgramFinding {
    name: &'static str,
    /// What goes without it: nothing that every workflow needs, unless it is required.
    used_for: &'static str,
    required: bool,
    path: Option<PathBuf>,
    version: Option<String>,
}

/// A means to keep a step to its profile.
#[derive(Debug, Serialize)]
struct IsolationFinding {
    name: &'static str,
    available: bool,
    detail: String,
}

/// The state directory.
#[derive(Debug, Serialize)]
struct StateFinding {
    directory: PathBuf,
    exists: bool,
    writable: bool,
    executions: usize,
    /// Bytes of all of it, and of each part.
    bytes: u64,
    disk: DiskUse,
    /// Why it cannot be used, where it cannot.
    problem: Option<String>,
}

pub(super) async fn run(
    arguments: &DoctorArguments,
    common: &CommonArguments,
    console: Console,
) -> Result<ExitCode, CommandError> {
    let programs = programs();
    let state = state(state_directory::locate(common.state_dir.as_deref())?, common).await;
    let ready = state.writable
        && state.problem.is_none()
        && programs.iter().all(|program| program.path.is_some() || !program.required);
    let findings = Findings { version: env!("CARGO_PKG_VERSION"), ready, programs, isolation: isolation(), state };
    if arguments.json {
        console.json(&findings)?;
    } else {
        console.text(&report(&findings, console))?;
    }
    Ok(if ready { ExitCode::Completed } else { ExitCode::Failed })
}

fn programs() -> Vec<ProgramFinding> {
    let program = |name, used_for, required| {
        let path = find_program(Path::new(name));
        let version = path.as_deref().and_then(version_of);
        ProgramFinding { name, used_for, required, path, version }
    };
    let named = env::var_os("RATCHET_CLAUDE").map(PathBuf::from);
    let claude = named.as_deref().map_or_else(|| find_program(Path::new("claude")), find_program);
    vec![
        program("bash", "shell steps", true),
        program("git", "repositories", false),
        ProgramFinding {
            name: "claude",
            used_for: "agent steps, unless a recording plays the agent",
            required: false,
            version: claude.as_deref().and_then(version_of),
            path: claude,
        },
        program("python3", "workflows that run Python", false),
        program("gh", "workflows that open pull requests", false),
    ]
}

/// Where a program is: as it was named, or on the PATH.
fn find_program(name: &Path) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok();
    if name.components().count() > 1 {
        return Some(name.to_owned()).filter(is_program);
    }
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(name)).find(is_program)
}

/// The first line that `--version` prints.
fn version_of(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().next().map(str::trim).filter(|line| output.status.success() && !line.is_empty()).map(str::to_owned)
}

fn isolation() -> Vec<IsolationFinding> {
    vec![profiles(), namespaces(), overlay(), landlock(), bubblewrap()]
}

/// Whether steps can be kept to their profiles: by making walls, and running a program within.
fn profiles() -> IsolationFinding {
    let machine = Machine::this();
    let (available, detail) = match (&machine.lacks, Confinement::of_this_process()) {
        (_, Err(reason)) => (false, reason),
        (_, Ok(Confinement { is_on: false, .. })) => (false, "switched off: RATCHET_CONFINEMENT is off".to_owned()),
        (Some(lack), Ok(_)) => (false, format!("steps with a profile do not start: this machine does not give {lack}")),
        (None, Ok(_)) => (true, "the kernel keeps steps to their profiles".to_owned()),
    };
    IsolationFinding { name: "profiles", available, detail }
}

fn namespaces() -> IsolationFinding {
    let most = fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap_or_default();
    let forbidden = most.trim() == "0";
    let tried = tried("unshare", &["--user", "--map-root-user", "--mount", "true"]);
    let (available, detail) = match (forbidden, tried) {
        (true, _) => (false, "switched off: /proc/sys/user/max_user_namespaces is 0"),
        (false, Some(true)) => (true, "a user may make user and mount namespaces"),
        (false, Some(false)) => (false, "the kernel or a policy refuses them to this user"),
        (false, None) => (false, "cannot be tried: the program unshare is missing"),
    };
    IsolationFinding { name: "namespaces", available, detail: detail.to_owned() }
}

fn overlay() -> IsolationFinding {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let available = known.lines().any(|line| line.split_whitespace().last() == Some("overlay"));
    let detail = if available {
        "the kernel knows overlay file systems"
    } else {
        "the kernel has no overlay file systems loaded"
    };
    IsolationFinding { name: "overlayfs", available, detail: detail.to_owned() }
}

fn landlock() -> IsolationFinding {
    let modules = fs::read_to_string("/sys/kernel/security/lsm");
    let (available, detail) = match &modules {
        Ok(modules) if modules.split(',').any(|module| module.trim() == "landlock") => (true, "the kernel enforces it"),
        Ok(_) => (false, "not among the kernel's security modules"),
        Err(_) => (false, "cannot be seen: /sys/kernel/security/lsm is not readable"),
    };
    IsolationFinding { name: "landlock", available, detail: detail.to_owned() }
}

fn bubblewrap() -> IsolationFinding {
    let (available, detail) = match tried("bwrap", &["--ro-bind", "/", "/", "true"]) {
        Some(true) => (true, "bwrap runs programs in a view of their own"),
        Some(false) => (false, "bwrap is installed, and the kernel or a policy refuses it"),
        None => (false, "the program bwrap is missing"),
    };
    IsolationFinding { name: "bubblewrap", available, detail: detail.to_owned() }
}

/// Whether a program does something; none where there is no such program.
fn tried(program: &str, arguments: &[&str]) -> Option<bool> {
    let path = find_program(Path::new(program))?;
    let status =
        Command::new(path).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    Some(status.is_ok_and(|status| status.success()))
}

async fn state(directory: PathBuf, common: &CommonArguments) -> StateFinding {
    let exists = directory.is_dir();
    // What is not there yet is made in the nearest folder that is.
    let nearest = directory.ancestors().find(|folder| folder.is_dir());
    let writable = nearest.is_some_and(|folder| rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok());
    let (measured, problem) = match measured(common).await {
        Ok(measured) => (measured, None),
        Err(error) => (None, Some(error.to_string())),
    };
    let (executions, disk) = measured.unwrap_or_default();
    let bytes = disk.database + disk.contents + disk.executions;
    StateFinding { directory, exists, writable, executions, bytes, disk, problem }
}

/// How many executions there are and what they take, where there is a state.
async fn measured(common: &CommonArguments) -> Result<Option<(usize, DiskUse)>, CommandError> {
    let Some(state) = State::open_existing(common)? else { return Ok(None) };
    let executions =
        newest(&*state.store, &ExecutionFilter { roots_only: true, ..ExecutionFilter::default() }, usize::MAX)
            .await?
            .len();
    Ok(Some((executions, disk_use(&state.here()?.directory, &state.here()?.store).await?)))
}

fn report(findings: &Findings, console: Console) -> String {
    let paint = console.out;
    let sign = |good: bool, needed: bool| match (good, needed) {
        (true, _) => paint.good("✓"),
        (false, true) => paint.bad("✗"),
        (false, false) => paint.warn("-"),
    };
    let mut lines = vec![format!("ratchet {}", findings.version), String::new(), paint.bold("Programs")];
    for program in &findings.programs {
        let found = match (&program.path, &program.version) {
            (Some(path), Some(version)) => format!("{version}  {}", paint.dim(&path.display().to_string())),
            (Some(path), None) => path.display().to_string(),
            (None, _) => format!("missing: needed for {}", program.used_for),
        };
        lines.push(format!("  {} {:<10} {found}", sign(program.path.is_some(), program.required), program.name));
    }
    lines.extend([String::new(), paint.bold("Isolation")]);
    for means in &findings.isolation {
        lines.push(format!("  {} {:<10} {}", sign(means.available, false), means.name, means.detail));
    }
    let state = &findings.state;
    let what = match (state.exists, state.writable, &state.problem) {
        (_, true, Some(problem)) => problem.clone(),
        (true, true, None) => format!("{}, {}", counted(state.executions, "execution"), bytes(state.bytes)),
        (false, true, None) => "not there yet: the first run makes it".to_owned(),
        (_, false, _) => "not writable: name another with --state-dir".to_owned(),
    };
    let usable = state.writable && state.problem.is_none();
    lines.extend([
        String::new(),
        paint.bold("State"),
        format!("  {} {}  {}", sign(usable, true), state.directory.display(), paint.dim(&what)),
        String::new(),
    ]);
    let verdict = if findings.ready { "Ready to run workflows." } else { "Not ready: what is marked ✗ is needed." };
    lines.push(verdict.to_owned());
    lines.join("\n") + "\n"
}

//! A terminal in the files of a step.

use std::{env, path::PathBuf, process::Command};

use clap::Args;
use ratchet_core::{execution::ExecutionRow, ids::Digest, step::StepRow};
use ratchet_local::{engine::LocalEngine, place::LocalPlace};
use ratchet_runner::BaseEnvironment;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    arguments::CommonArguments, command_error::CommandError, console::Console, definition, execution_name,
    exit_code::ExitCode, nested, state::State,
};

use super::diff::{find, left};

/// Open a terminal in a step's files and environment
#[derive(Debug, Args)]
#[command(after_help = "\
The terminal is your own shell ($SHELL), in a view of the files as the step found them, with the variables
that its process saw. Secrets are not among them. What is changed there reaches nobody and is gone when it
ends: copy what you want to keep. The execution may go on meanwhile.

Examples:
  ratchet shell last tests                     the files that the step `tests` found
  ratchet shell k3f9 generate_tests --after    those that it left, also where it failed
  ratchet shell k3f9 lint[3] -c 'git status'   a command instead of a terminal")]
pub(crate) struct ShellArguments {
    /// The execution
    execution: String,
    /// The step; `STEP[N]` for a child of a `foreach`, `STEP.INNER` for a step of the execution that a step is
    step: String,
    /// The files as the step left them
    #[arg(long)]
    after: bool,
    /// Run this and end with its exit code
    #[arg(short, long, value_name = "COMMAND")]
    command: Option<String>,
}

/// What of the person's own variables a terminal needs.
const OF_THE_TERMINAL: [&str; 4] = ["TERM", "COLORTERM", "NO_COLOR", "EDITOR"];

/// The shell of a person who names none.
const USUAL_SHELL: &str = "/bin/sh";

pub(super) async fn run(
    arguments: &ShellArguments,
    common: &CommonArguments,
    console: Console,
) -> Result<ExitCode, CommandError> {
    let state = State::open_for(common, &arguments.execution)?;
    let root = execution_name::find(&*state.store, &arguments.execution).await?;
    let (row, name) = nested::descend(&state, &root, &arguments.step).await?;
    let (step, tree) = files_of(&state, &row, name, arguments.after).await?;
    let place = state.here()?.directory.root().to_owned();
    drop(state);
    let local = LocalEngine::to_look_at(&place)?;
    let visit = local.visit(&row, &step, &tree).await?;
    let refused = |source| CommandError::File { path: PathBuf::from(&arguments.step), source };
    let (home, temporary) = (visit.folder("home").map_err(refused)?, visit.folder("tmp").map_err(refused)?);
    let Some(files) = visit.files() else { return Ok(ExitCode::Completed) };
    let seen = visit.seen();
    let base = BaseEnvironment::of_this_process();
    let mut variables = base.of_files(files.path(), &home, &temporary).await;
    variables.extend(seen.environment.clone());
    variables.insert("RATCHET_EXECUTION_ID".to_owned(), row.id.to_string());
    variables.insert("RATCHET_STEP".to_owned(), step.key.path.to_string());
    let shell = env::var_os("SHELL").filter(|shell| !shell.is_empty()).unwrap_or_else(|| USUAL_SHELL.into());
    let mut command = Command::new(&shell);
    command.env_clear();
    command.envs(OF_THE_TERMINAL.iter().filter_map(|name| Some((name, env::var_os(name)?)))).envs(&variables);
    command.env("SHELL", &shell);
    if let Some(text) = &arguments.command {
        command.arg("-c").arg(text);
    } else {
        let when = if arguments.after { "left" } else { "found" };
        console.say(&format!(
            "the files as {name} {when} them, at {}: what is changed here is gone at the end",
            files.path().display()
        ));
        let missing: Vec<&str> = seen.missing.iter().map(String::as_str).collect();
        if !missing.is_empty() {
            console.say(&format!("{}: not set here: {}", console.err.bold("note"), missing.join(", ")));
        }
    }
    let folder = PathBuf::from(&seen.working_directory);
    files.place(&mut command, &folder).map_err(refused)?;
    // What interrupts the shell, or a command in it, is no interrupt of this one: it still has to put things away.
    let _interrupts = signal(SignalKind::interrupt()).map_err(refused)?;
    let started = PathBuf::from(&shell);
    let ended = tokio::task::spawn_blocking(move || command.status()).await;
    let status = ended.map_err(|error| refused(std::io::Error::other(error)))?;
    let status = status.map_err(|source| CommandError::File { path: started, source })?;
    Ok(match (&arguments.command, status.code()) {
        (None, _) => ExitCode::Completed,
        (Some(_), Some(code)) => ExitCode::of_program(code),
        (Some(_), None) => ExitCode::Failed,
    })
}

/// The step, and the files that it found or left.
async fn files_of(
    state: &State,
    row: &ExecutionRow,
    name: &str,
    after: bool,
) -> Result<(StepRow, Digest), CommandError> {
    let refused = |why: &str, hint: String| CommandError::NoFiles {
        what: format!("{name} of {}", row.id),
        why: why.to_owned(),
        hint,
    };
    if LocalPlace::of(row)?.in_place {
        return Err(refused(
            "the run works in the directory itself (--in-place), and nothing is kept of its files",
            "open a terminal in the directory".to_owned(),
        ));
    }
    let status = format!("`ratchet status {}` shows which steps have begun, and which ended", row.id.root());
    let path = nested::path(name);
    definition::step(&state.workflow(row).await?, path.step.as_str())?;
    let Some(found) = find(state, row, &path).await? else { return Err(refused("it has not begun", status)) };
    if after && !found.status().is_settled() {
        return Err(refused("it has not ended", "leave out --after for what it found".to_owned()));
    }
    let tree = if after { left(&found) } else { found.base.clone() };
    match tree {
        Some(tree) => Ok((found, tree)),
        None => Err(refused(&format!("it is {}, and saw no files", found.status()), status)),
    }
}

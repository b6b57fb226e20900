use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    time::Duration,
};

use clap::Args;
use ratchet_core::{
    execution::ExecutionRow,
    status::{ExecutionStatus, StepStatus},
    workflow::Action,
};
use ratchet_local::place::LocalPlace;
use ratchet_runner::agent::Said;
use serde_json::{Value, json};

use crate::{
    arguments::CommonArguments,
    attempt_logs::{AttemptFolder, LogLine, Tail, attempts},
    command_error::CommandError,
    console::Console,
    definition, execution_name,
    exit_code::ExitCode,
    nested,
    state::State,
    words::{counted, harmless, one_line},
};

/// How often a log that is followed is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Show what steps wrote
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Of each step the newest attempt is shown, unless --attempt says which.

Examples:
  ratchet logs                          every step of the newest execution
  ratchet logs last tests               one step
  ratchet logs k3f9 generate[3] --attempt 1
  ratchet logs -f                       until the execution ends
  ratchet logs last write --transcript  what an agent said and did")]
pub(crate) struct LogsArguments {
    /// The execution
    #[arg(default_value = "last")]
    execution: String,
    /// One step, or one child of a fan-out (`generate[3]`)
    step: Option<String>,
    /// Go on showing what is written until the execution ends
    #[arg(short, long)]
    follow: bool,
    /// Show what agents said and did instead of what processes wrote
    #[arg(long)]
    transcript: bool,
    /// Show this attempt instead of the newest
    #[arg(long, value_name = "N")]
    attempt: Option<u32>,
    /// Print a JSON object a line
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(
    arguments: &LogsArguments,
    common: &CommonArguments,
    console: Console,
) -> Result<ExitCode, CommandError> {
    let state = State::any_for(common, &arguments.execution).await?;
    let row = execution_name::find(&*state.store, &arguments.execution).await?;
    let (row, step) = match &arguments.step {
        Some(name) => {
            let (row, step) = nested::descend(&state, &row, name).await?;
            (row, Some(step.to_owned()))
        }
        None => (row, None),
    };
    let arguments = &LogsArguments { step, ..arguments.clone() };
    let Ok(here) = state.here() else {
        // The steps of a deployment are those that the engine does itself: no process writes anything.
        let printer = Printer { arguments, console, files: String::new(), tails: HashMap::new(), shown: None };
        tell_what_is_not_there(&state, &row, &printer).await?;
        return Ok(ExitCode::Completed);
    };
    let root = here.directory.execution(&row.id).join("attempts");
    let files = LocalPlace::of(&row)?.workspace;
    let mut printer =
        Printer { arguments, console, files: format!("{}/", files.display()), tails: HashMap::new(), shown: None };
    loop {
        // Whether it goes on is asked before the files are read, so that what a step wrote last is not missed.
        let following = if arguments.follow { following(&state, &row).await? } else { Following::Over };
        let found = attempts(&root).map_err(|source| CommandError::File { path: root.clone(), source })?;
        for folder in wanted(found, arguments) {
            printer.print(&folder)?;
        }
        match following {
            Following::On => {}
            Following::Over => break,
            Following::Stopped(why) => {
                console.say(&why);
                break;
            }
        }
        tokio::time::sleep(LOOK).await;
    }
    if !arguments.follow {
        tell_what_is_not_there(&state, &row, &printer).await?;
    }
    Ok(ExitCode::Completed)
}

/// Says what a person may have expected to see and did not; an error where it could not have been there.
async fn tell_what_is_not_there(state: &State, row: &ExecutionRow, printer: &Printer<'_>) -> Result<(), CommandError> {
    let Printer { arguments, console, shown, .. } = printer;
    let Some(name) = &arguments.step else {
        if shown.is_none() {
            console.say(if arguments.transcript { "no agent has said anything" } else { "nothing was written" });
        }
        return Ok(());
    };
    let workflow = state.workflow(row).await?;
    let step = definition::step(&workflow, name.split('[').next().unwrap_or(name))?;
    let view = state.outcome(row, &workflow).await?.view;
    let attempts = view.step(&step.id).map_or(0, |step| step.attempts);
    let has_run = attempts > 0 || view.step(&step.id).is_some_and(|step| step.children.is_some());
    let asks = matches!(step.action, Action::ClaudeCode(_));
    let why = match (shown, arguments.attempt) {
        (Some(attempt), None) if *attempt < attempts && step.foreach.is_none() => {
            console.say(&format!("attempt {attempts} of {name} wrote nothing; this is attempt {attempt}"));
            return Ok(());
        }
        (Some(_), _) => return Ok(()),
        (None, _) if !step.action.needs_task() => format!("a step of type {} runs no process", step.action.type_name()),
        (None, _) if arguments.transcript && !asks => "it asks no agent".to_owned(),
        (None, _) if !has_run => {
            let status = view.step(&step.id).map_or(StepStatus::Pending, |step| step.status);
            format!("it did not run, and is {status}")
        }
        (None, Some(asked)) if asked > attempts && step.foreach.is_none() => {
            format!("it has had {}", counted(attempts as usize, "attempt"))
        }
        (None, _) => {
            let more =
                if asks && !arguments.transcript { "; --transcript shows what its agent said and did" } else { "" };
            console.say(&format!("{name} wrote nothing{more}"));
            return Ok(());
        }
    };
    Err(CommandError::NoLog { what: format!("{name} in {}", row.id), why })
}

/// Whether more may be written.
enum Following {
    /// The execution goes on.
    On,
    /// It has ended.
    Over,
    /// It has not ended and does not go on by itself: why.
    Stopped(String),
}

async fn following(state: &State, row: &ExecutionRow) -> Result<Following, CommandError> {
    let Some(row) = state.store.execution(&row.id).await? else { return Ok(Following::Over) };
    let stopped = |why: &str| Following::Stopped(format!("{why}; `ratchet resume {}` goes on with it", row.id));
    Ok(match row.status {
        ExecutionStatus::Running if state.is_left_behind(&row).await? => {
            stopped("no process drives the execution any more")
        }
        ExecutionStatus::Running => Following::On,
        ExecutionStatus::Paused => stopped("the execution is paused"),
        ExecutionStatus::Completed | ExecutionStatus::Failed | ExecutionStatus::Cancelled => Following::Over,
    })
}

/// Of each step the attempt that is asked for, in the order in which they began.
fn wanted(found: Vec<AttemptFolder>, arguments: &LogsArguments) -> Vec<AttemptFolder> {
    let fits = |folder: &AttemptFolder| {
        arguments.step.as_ref().is_none_or(|step| folder.is_of(step))
            && arguments.attempt.is_none_or(|attempt| attempt == folder.attempt)
    };
    let mut newest: BTreeMap<String, (usize, AttemptFolder)> = BTreeMap::new();
    for (position, folder) in found.into_iter().enumerate().filter(|(_, folder)| fits(folder)) {
        let newer = |(_, known): &(usize, AttemptFolder)| (known.epoch, known.attempt) < (folder.epoch, folder.attempt);
        if newest.get(&folder.step).is_none_or(newer) {
            newest.insert(folder.step.clone(), (position, folder));
        }
    }
    let mut newest: Vec<(usize, AttemptFolder)> = newest.into_values().collect();
    newest.sort_by_key(|(position, _)| *position);
    newest.into_iter().map(|(_, folder)| folder).collect()
}

struct Printer<'a> {
    arguments: &'a LogsArguments,
    console: Console,
    /// What paths of the run's own files begin with: they are shown without it.
    files: String,
    tails: HashMap<PathBuf, Tail>,
    /// The attempt of which something was printed last.
    shown: Option<u32>,
}

impl Printer<'_> {
    fn print(&mut self, folder: &AttemptFolder) -> Result<(), CommandError> {
        let path = if self.arguments.transcript { folder.transcript() } else { folder.output() };
        if !path.exists() {
            return Ok(());
        }
        let tail = self.tails.entry(path.clone()).or_insert_with(|| Tail::new(path.clone()));
        let mut text = String::new();
        let whole = self.arguments.step.as_ref().is_some_and(|step| *step == folder.step);
        let prefix = if whole { String::new() } else { self.console.out.dim(&format!("{} | ", folder.step)) };
        tail.read(|line| {
            let shown = match (self.arguments.json, self.arguments.transcript) {
                (true, _) => as_json(folder, line),
                (false, true) => said(line).map(|said| said.replace(&self.files, "")),
                (false, false) => written(line),
            };
            for line in shown.iter().flat_map(|shown| shown.lines()) {
                text.push_str(if self.arguments.json { "" } else { &prefix });
                text.push_str(line);
                text.push('\n');
            }
        })
        .map_err(|source| CommandError::File { path, source })?;
        if !text.is_empty() {
            self.shown = Some(folder.attempt);
        }
        self.console.text(&text)
    }
}

fn as_json(folder: &AttemptFolder, line: &str) -> Option<String> {
    let entry: Value = serde_json::from_str(line).ok()?;
    Some(json!({ "step": folder.step, "epoch": folder.epoch, "attempt": folder.attempt, "entry": entry }).to_string())
}

fn written(line: &str) -> Option<String> {
    let line: LogLine = serde_json::from_str(line).ok()?;
    // An empty line is a line too.
    Some(if line.text.trim().is_empty() { "\n".to_owned() } else { harmless(&line.text) })
}

/// What an event of a session says to a person; none where it says nothing.
fn said(line: &str) -> Option<String> {
    let event: Value = serde_json::from_str(line).ok()?;
    let words: Vec<String> = Said::of(&event).iter().map(shown).collect();
    (!words.is_empty()).then(|| words.join("\n"))
}

fn shown(said: &Said) -> String {
    match said {
        Said::Words(words) => harmless(words),
        Said::Used { .. } | Said::Failed(_) | Said::Ended { .. } => one_line(&said.to_string()),
    }
}

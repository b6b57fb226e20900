#[cfg(feature = "aws")]
mod deployed;

use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use ratchet_core::{
    cached::CacheMode,
    execution::{RunOptions, Selection},
    ids::ExecutionId,
    output::{Output, Outputs},
    workflow::{InputDeclaration, ValueType, Workflow},
    workspace::Source,
};
use ratchet_definition::trigger::{self, NotStarted, Start as Started};
use serde_json::{Value, json};

use crate::{
    arguments::CommonArguments,
    command_error::CommandError,
    console::Console,
    definition::{self, Definition},
    driving::{self, AgentChoice, Shown, Start},
    exit_code::ExitCode,
    inputs::InputArguments,
};

/// Run a workflow to its end
#[derive(Debug, Args)]
#[command(after_help = "\
A run works in a view of the directory as it is now; what it changed is applied at its end, all or none. It can be stopped at any \
moment: `ratchet resume` goes on from the last finished step.

Examples:
  ratchet run workflow.yaml
  ratchet run workflow.yaml -i target_file=src/main.py -i target_coverage=90
  ratchet run workflow.yaml --agent recorded:recording --workspace ~/project
  ratchet run workflow.yaml --event push.json
  ratchet run workflow.yaml --until tests --json | jq .outputs
  ratchet run deploy@2.1                              what `ratchet publish` kept")]
pub(crate) struct RunArguments {
    #[command(flatten)]
    wanted: Wanted,
    /// Be the one run with this key: a second call with it gives the first run's result
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    #[command(flatten)]
    shown: Shown,
}

/// What is to run, and how.
#[derive(Debug, Args)]
pub(super) struct Wanted {
    /// The file, a folder with a workflow.yaml in it, or NAME or NAME@VERSION of a published workflow
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    inputs: InputArguments,
    /// Work on this directory instead of the current one
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// Work in the directory itself: no view, nothing to go back to
    #[arg(long)]
    in_place: bool,
    /// Who plays the agent: `claude`, or `recorded:DIR`, which needs no key and no network
    #[arg(long, value_name = "AGENT", value_parser = AgentChoice::parse)]
    agent: Option<AgentChoice>,
    /// Keep the agent's sessions in this folder, to be played with --agent recorded:DIR
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,
    /// Run at most so many processes at once; else as many as the machine has cores
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    max_parallel: Option<u32>,
    /// Use no result of an earlier run, and keep none
    #[arg(long)]
    no_cache: bool,
    /// Use no result of an earlier run, and keep the new ones
    #[arg(long, conflicts_with = "no_cache")]
    refresh: bool,
    /// Run this step and what it needs
    #[arg(long, value_name = "STEP")]
    until: Option<String>,
    /// Run this step alone
    #[arg(long, value_name = "STEP", conflicts_with = "until")]
    only: Option<String>,
    /// Start the run that this event would start: a JSON file
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    event: Option<PathBuf>,
}

pub(super) async fn run(
    arguments: &RunArguments,
    common: &CommonArguments,
    console: Console,
) -> Result<ExitCode, CommandError> {
    #[cfg(feature = "aws")]
    if let Some(stack) = common.stack() {
        return deployed::run(arguments, stack, common, console).await;
    }
    let key = arguments.idempotency_key.as_deref();
    let start = arguments.wanted.start(key, common, console)?;
    driving::start(common, start, arguments.shown, console).await
}

impl Wanted {
    /// The directory that the run is started for.
    fn directory(&self) -> &Path {
        self.workspace.as_deref().unwrap_or(Path::new("."))
    }

    /// A run on a checkout works on no directory of the caller's.
    fn refuse_directory(&self, workflow: &Workflow) -> Result<(), CommandError> {
        let named = [("--in-place", self.in_place), ("--workspace", self.workspace.is_some())];
        match (&workflow.workspace.source, named.into_iter().find(|(_, is_named)| *is_named)) {
            (Source::Git(_), Some((argument, _))) => Err(CommandError::Argument {
                argument,
                reason: format!("{} works on a checkout of its own, and not in a directory", workflow.name),
                hint: "leave it out; without `source: git` under `workspace`, a run works on a directory",
            }),
            _ => Ok(()),
        }
    }

    /// The execution that is asked for. What a person should know before it is said.
    pub(super) fn start(
        &self,
        key: Option<&str>,
        common: &CommonArguments,
        console: Console,
    ) -> Result<Start, CommandError> {
        let definition = definition::load(&self.file, common, console)?;
        let workflow = &definition.workflow;
        let (trigger, mapped) = match &self.event {
            Some(path) => {
                let Started { trigger, inputs } = event(workflow, path)?;
                (trigger, inputs)
            }
            None => (json!({ "type": "manual" }), std::collections::BTreeMap::new()),
        };
        self.refuse_directory(workflow)?;
        let inputs = self.inputs.resolve(workflow, mapped)?;
        let environment = self.inputs.environment()?;
        let options = RunOptions {
            selection: selection(self, workflow)?,
            max_parallel: self.max_parallel.unwrap_or_else(driving::cores),
            cache: match (self.no_cache, self.refresh) {
                (true, _) => CacheMode::Off,
                (false, true) => CacheMode::Refresh,
                (false, false) => CacheMode::Use,
            },
            agent: None,
            place: place(self, &definition)?,
        };
        let execution = match key {
            Some(key) => ExecutionId::of_key(&workflow.name, key),
            None => driving::fresh_name(),
        };
        let missing = match workflow.workspace.source {
            Source::Snapshot => missing_files(workflow, &inputs, self.directory()),
            Source::Git(_) => Vec::new(),
        };
        for note in notes(&definition, self.in_place, &environment).into_iter().chain(missing) {
            console.say(&format!("{}: {note}", console.err.bold("note")));
        }
        Ok(Start {
            execution,
            definition: definition.reference(),
            workflow: definition.workflow,
            text: definition.text,
            inputs,
            environment,
            trigger,
            options,
        })
    }
}

/// What the event in a file starts.
fn event(workflow: &Workflow, path: &Path) -> Result<Started, CommandError> {
    let text = std::fs::read_to_string(path).map_err(|source| CommandError::File { path: path.to_owned(), source })?;
    let event: Value = serde_json::from_str(&text).map_err(|error| CommandError::Argument {
        argument: "--event",
        reason: format!("{}: {error}", path.display()),
        hint: "the file holds one event as JSON, as it comes from where it happened",
    })?;
    trigger::start(workflow, &event, Timestamp::now())
        .map_err(|NotStarted { reason }| CommandError::NotStarted { path: path.to_owned(), reason })
}

fn selection(arguments: &Wanted, workflow: &Workflow) -> Result<Selection, CommandError> {
    let known = |name: &String| definition::step(workflow, name).map(|step| step.id.clone());
    Ok(match (&arguments.until, &arguments.only) {
        (Some(step), _) => Selection::Until(known(step)?),
        (None, Some(step)) => Selection::Only(known(step)?),
        (None, None) => Selection::All,
    })
}

/// What the local engine and the agent need to find the run's files again, also after a restart.
fn place(arguments: &Wanted, definition: &Definition) -> Result<Value, CommandError> {
    let record = arguments.record.as_deref().map(std::path::absolute).transpose();
    Ok(json!({
        "workspace": driving::absolute(arguments.directory())?,
        "in_place": arguments.in_place,
        "definitions": definition.folder,
        "agent": arguments.agent.as_ref().map(AgentChoice::stored).transpose()?,
        "record": record.map_err(|source| CommandError::File { path: arguments.record.clone().unwrap_or_default(), source })?,
    }))
}

/// What a person should know before the run.
fn notes(
    definition: &Definition,
    in_place: bool,
    environment: &std::collections::BTreeMap<String, String>,
) -> Vec<String> {
    let mut notes = Vec::new();
    if !definition.warnings.is_empty() {
        let count = crate::words::counted(definition.warnings.len(), "warning");
        notes.push(format!("{count}: `ratchet validate {}` shows them", definition.path.display()));
    }
    if in_place && definition.workflow.steps.iter().any(|step| step.cache.enabled) {
        notes.push("--in-place: what steps change is not known, so that no result is kept or used again".to_owned());
    }
    for name in variables_read(&definition.text) {
        let set = environment.contains_key(&name) || definition.workflow.environment.contains_key(&name);
        if !set && std::env::var_os(&name).is_some() {
            notes.push(format!(
                "env.{name} is empty in this run, though your environment has it: pass it with --env {name}=…"
            ));
        }
    }
    notes
}

/// Files that inputs name and that are not there. A step may make one, so this stops nobody.
fn missing_files(workflow: &Workflow, inputs: &Outputs, workspace: &Path) -> Vec<String> {
    let is_file = |input: &&InputDeclaration| input.value_type == ValueType::File && !input.sensitive;
    let named = workflow.inputs.iter().filter(is_file).filter_map(|input| match inputs.get(&input.name) {
        Some(Output::Json(Value::String(path))) => Some((&input.name, path)),
        _ => None,
    });
    named
        .filter(|(_, path)| !workspace.join(path).exists())
        .map(|(name, path)| format!("the input `{name}` names {path}, which is not there"))
        .collect()
}

/// The names that follow `env.` anywhere in a file's text, each once.
fn variables_read(text: &str) -> Vec<String> {
    let is_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let mut names: Vec<String> = text
        .match_indices("env.")
        .filter(|(at, _)| !text[..*at].ends_with(|before| is_name(before) || before == '.'))
        .map(|(at, found)| text[at + found.len()..].chars().take_while(|character| is_name(*character)).collect())
        .filter(|name: &String| !name.is_empty())
        .collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_found_where_templates_name_them() {
        let text = "when: \"{{ env.CREATE_PR == 'true' and env.A }}\" # process.env.NO my_env.NO env. env.A";
        assert_eq!(variables_read(text), ["A", "CREATE_PR"]);
    }
}

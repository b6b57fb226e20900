mod edited;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use ratchet_core::{
    execution::ExecutionRow,
    ids::{Digest, StepId},
    status::ExecutionStatus,
    workflow::Workflow,
};
use ratchet_engine::ResumeRequest;
use ratchet_local::{
    blob_store::LocalBlobStore,
    clock::machine_started,
    engine::DriveError,
    place::LocalPlace,
    workspace::{Application, Files, Since, TreePath},
};

use crate::{
    arguments::CommonArguments,
    command_error::CommandError,
    console::Console,
    definition,
    driving::{self, Going, Shown},
    execution_name,
    exit_code::ExitCode,
    nested,
    state::State,
};

/// Go on with an execution from its last finished step
#[derive(Debug, Args)]
#[command(after_help = "\
What ended well is kept; what failed, was cancelled or was lost runs again, with all that depends on it.

With --edit the execution goes on under an edited file. A step's result is kept where the step says the same, needs the same steps, which are kept as well, and \
would begin with the same files; what is otherwise runs again, with all that depends on it. That is shown before anything runs, and asked for on a terminal.

Steps begin with the files as they were. Where somebody changed the directory since, --files says whether that is to be brought in.

Examples:
  ratchet resume                       the newest execution
  ratchet resume --files now           with what was changed in the directory since
  ratchet resume k3f9 --from tests     also `tests` runs again, and what depends on it
  ratchet resume --add-budget 2        with two dollars more for its agents
  ratchet resume --edit workflow.yaml  under the edited file")]
pub(crate) struct ResumeArguments {
    /// The execution
    #[arg(default_value = "last")]
    execution: String,
    /// Run this step again too, with all that depends on it; may be repeated
    #[arg(long, value_name = "STEP")]
    from: Vec<String>,
    /// Go on under this edited file, which follows the same workflow
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    edit: Option<PathBuf>,
    /// Do not ask whether what an edit makes run again shall run
    #[arg(short, long, requires = "edit")]
    yes: bool,
    /// Whether steps begin with the files as they were `then`, or also with what changed in the directory until `now`
    #[arg(long, value_name = "WHEN")]
    files: Option<WhichFiles>,
    /// Add so much to the money of the run's `budget`
    #[arg(long, value_name = "USD", value_parser = dollars)]
    add_budget: Option<f64>,
    #[command(flatten)]
    shown: Shown,
}

/// With which files an execution goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum WhichFiles {
    /// As they were.
    Then,
    /// With what changed in the directory.
    Now,
}

/// The most paths that are named in a message.
const NAMED_MAX: usize = 5;

pub(super) async fn run(
    arguments: &ResumeArguments,
    common: &CommonArguments,
    console: Console,
) -> Result<ExitCode, CommandError> {
    let state = State::any_for(common, &arguments.execution).await?;
    let row = execution_name::find(&*state.store, &arguments.execution).await?;
    nested::refuse(&row, "resumed by itself", "resume")?;
    if arguments.edit.is_some() || arguments.files.is_some() {
        // What an edit makes run again, and what changed since, is found in the run's own files.
        state.here()?;
    }
    let edit = match &arguments.edit {
        Some(path) => edited::read(&state, &row, path, common, console).await?,
        None => None,
    };
    let followed = match &edit {
        Some((_, workflow)) => workflow,
        None => &state.workflow(&row).await?,
    };
    if arguments.add_budget.is_some() && followed.budget.and_then(|budget| budget.max_cost_usd).is_none() {
        return Err(CommandError::ArgumentValue {
            message: format!("--add-budget: {} has no `budget` with a `max_cost_usd`", followed.name),
            hint: "leave it out: the limits of a step's agent begin anew with the resume".to_owned(),
        });
    }
    let from = steps(&row, followed, &arguments.from)?;
    let edit = edit.map(|(edit, _)| Box::new(edit));
    let mut going = going(&state, &row, from, edit.is_some()).await?;
    match (&mut going, arguments.add_budget) {
        (Going::Anew(request), added_usd) => request.added_usd = added_usd,
        (_, None) => {}
        (_, Some(_)) => {
            return Err(CommandError::ArgumentValue {
                message: format!("--add-budget: {} does not wait for money", row.id),
                hint: format!("`ratchet status {}` says where it stands", row.id),
            });
        }
    }
    if let (Going::Anew(request), Some(edit)) = (&mut going, edit) {
        if !edited::is_wanted(&state, &row, &edit, &request.from, arguments.yes, console).await? {
            console.say("nothing was changed");
            return Ok(ExitCode::Completed);
        }
        request.edit = Some(edit);
    }
    let is_here = common.stack().is_none();
    if is_here && let Going::Anew(request) = &mut going {
        request.files = changed(&state, &row, arguments)?;
    }
    drop(state);
    if is_here
        && row.status == ExecutionStatus::Running
        && machine_started().is_some_and(|started| started > row.updated_at)
    {
        console.say(&format!(
            "note: the machine was started again since. Results are kept, but what steps wrote to files in their last half minute may\n      be \
             missing: look at them, or `ratchet rerun {}` does everything again",
            row.id
        ));
    }
    driving::go_on(common, &row, going, arguments.shown, console).await
}

/// An amount that can be added.
fn dollars(text: &str) -> Result<f64, String> {
    let amount = text.trim_start_matches('$').parse::<f64>().ok().filter(|amount| amount.is_finite() && *amount > 0.0);
    amount.ok_or_else(|| "an amount in US dollars above nothing, such as `2` or `0.50`".to_owned())
}

/// What changed in the directory, where that is to be brought in.
fn changed(state: &State, row: &ExecutionRow, arguments: &ResumeArguments) -> Result<Option<Digest>, CommandError> {
    if row.tree.is_none() || arguments.files == Some(WhichFiles::Then) {
        return Ok(None);
    }
    let directory = &state.here()?.directory;
    let files = Files::new(directory.clone(), LocalBlobStore::new(directory.blobs()));
    let Some(since) = Since::of(&files, row).map_err(DriveError::from)? else { return Ok(None) };
    let directory = LocalPlace::of(row).map_err(DriveError::from)?.workspace;
    // That the edited file changed is why it is named.
    let edited = arguments.edit.as_ref().and_then(|edit| edit.canonicalize().ok());
    let home = directory.canonicalize().unwrap_or_else(|_| directory.clone());
    let is_edited = |path: &TreePath| edited.as_deref() == Some(home.join(path.as_path()).as_path());
    let paths: Vec<&TreePath> = since.paths().filter(|path| !is_edited(path)).collect();
    if paths.is_empty() {
        return Ok(None);
    }
    if arguments.files == Some(WhichFiles::Now) {
        return Ok(Some(since.keep(&files, &row.id).map_err(DriveError::from)?));
    }
    let mut named: Vec<String> = paths.iter().take(NAMED_MAX).map(ToString::to_string).collect();
    if paths.len() > NAMED_MAX {
        named.push(format!("and {} more", paths.len() - NAMED_MAX));
    }
    Err(CommandError::FilesChanged { execution: row.id.clone(), directory, paths: named.join(", ") })
}

fn steps(row: &ExecutionRow, workflow: &Workflow, names: &[String]) -> Result<Vec<StepId>, CommandError> {
    let step = |name: &String| {
        let (outer, inner) = part(name);
        let step = definition::step(workflow, outer)?;
        if inner.is_empty() {
            return Ok(step.id.clone());
        }
        Err(CommandError::ArgumentValue {
            message: format!("--from: an execution goes on from one of its own steps, and {name} is a part of {outer}"),
            hint: format!(
                "`ratchet resume {} --from {outer}` runs all of {outer} again; without --from, what was done of it is kept",
                row.id
            ),
        })
    };
    names.iter().map(step).collect()
}

/// The step of the execution itself that a name begins with, and what follows: `.migrate` of `deploy.migrate`, `[2]` of `deploy[2]`.
fn part(name: &str) -> (&str, &str) {
    name.split_at(name.find(['.', '[']).unwrap_or(name.len()))
}

/// How an execution goes on, as it stands.
async fn going(state: &State, row: &ExecutionRow, from: Vec<StepId>, edits: bool) -> Result<Going, CommandError> {
    let refused = |hint: String| CommandError::NotApplicable {
        execution: row.id.clone(),
        status: row.status.to_string(),
        action: "resumed",
        hint,
    };
    let anew = |from| {
        Ok(Going::Anew(ResumeRequest { from, edit: None, files: None, added_usd: None, actor: driving::person() }))
    };
    match row.status {
        ExecutionStatus::Running if from.is_empty() && !edits => Ok(Going::On),
        ExecutionStatus::Running => {
            Err(refused(format!("it goes on already; `ratchet cancel {}` ends it, then it can be resumed so", row.id)))
        }
        // It waits for an answer, and asks for it again.
        ExecutionStatus::Paused if row.is_watched() && from.is_empty() && !edits => Ok(Going::On),
        ExecutionStatus::Paused | ExecutionStatus::Failed | ExecutionStatus::Cancelled => anew(from),
        ExecutionStatus::Completed if !from.is_empty() || edits => anew(from),
        // Its process died between the end and the last file, or there was no room.
        ExecutionStatus::Completed => match state.outcome(row, &state.workflow(row).await?).await?.application {
            None => Ok(Going::On),
            Some(Application::NotApplied { .. }) => {
                let apply = format!("its changes were not applied: `ratchet apply {}` tries that again", row.id);
                Err(refused(apply))
            }
            Some(_) => Err(refused(format!(
                "`ratchet resume {0} --from STEP` runs a part of it again{1}",
                row.id,
                if state.here().is_ok() { format!(", `ratchet rerun {}` all", row.id) } else { String::new() }
            ))),
        },
    }
}

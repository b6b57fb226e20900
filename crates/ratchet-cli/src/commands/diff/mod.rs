//! What a run or a step changed.

mod change;

use std::fmt::Write as _;

use clap::Args;
use ratchet_core::{
    execution::ExecutionRow,
    ids::{Digest, StepKey, StepPath},
    status::ExecutionStatus,
    step::{StepRow, StepState},
};
use ratchet_local::{
    blob_store::LocalBlobStore,
    place::LocalPlace,
    workspace::{Difference, Files},
};
use serde_json::{Value, json};

use self::change::Shown;
use crate::{
    arguments::CommonArguments, command_error::CommandError, console::Console, definition, execution_name,
    exit_code::ExitCode, nested, paint::Paint, state::State, words::counted,
};

/// Show what a run changed, or one step of it
#[derive(Debug, Args)]
#[command(after_help = "\
Text is shown as a unified diff, everything else in a line. A step's files are compared with those
that it found, also where it failed. What git ignores, what tools leave behind and git's own files
are only counted, unless --all is given.

Examples:
  ratchet diff last                       what the newest execution changed
  ratchet diff k3f9 generate_tests        what one step changed
  ratchet diff k3f9 lint[3] --stat        a child of a `foreach`, in lines added and removed")]
pub(crate) struct DiffArguments {
    /// The execution
    execution: String,
    /// The step; `STEP[N]` for a child of a `foreach`, `STEP.INNER` for a step of the execution that a step is
    step: Option<String>,
    /// Only count the lines that were added and removed
    #[arg(long)]
    stat: bool,
    /// Show also what is not applied to the directory, and git's own files
    #[arg(long)]
    all: bool,
    /// Print JSON
    #[arg(long, conflicts_with = "stat")]
    json: bool,
}

pub(super) async fn run(
    arguments: &DiffArguments,
    common: &CommonArguments,
    console: Console,
) -> Result<ExitCode, CommandError> {
    let state = State::open_for(common, &arguments.execution)?;
    let root = execution_name::find(&*state.store, &arguments.execution).await?;
    let (row, step) = match &arguments.step {
        Some(step) => nested::descend(&state, &root, step).await.map(|(row, step)| (row, Some(step)))?,
        None => (root, None),
    };
    if arguments.json {
        console.json(&answer(&state, &row, step).await?)?;
        return Ok(ExitCode::Completed);
    }
    let (what, from, to) = trees(&state, &row, step).await?;
    let changes = changes(&state, &row, &from, &to)?;
    let (shown, hidden): (Vec<Shown>, Vec<Shown>) =
        changes.into_iter().partition(|change| arguments.all || change.is_usual());
    if arguments.stat {
        console.text(&stat(&shown, console.out))?;
    } else {
        for change in &shown {
            console.text(&change.text(console.out))?;
        }
    }
    if shown.is_empty() {
        console.say(&format!("{what} changed nothing{}", if hidden.is_empty() { "" } else { " that is applied" }));
    }
    if !hidden.is_empty() {
        let paths = counted(hidden.len(), "more path");
        console.say(&format!("{paths} changed that git ignores, tools leave behind or git keeps: --all shows them"));
    }
    Ok(ExitCode::Completed)
}

/// What `--json` prints.
pub(crate) async fn answer(state: &State, row: &ExecutionRow, step: Option<&str>) -> Result<Value, CommandError> {
    let (_, from, to) = trees(state, row, step).await?;
    let changes = changes(state, row, &from, &to)?;
    Ok(json!({
        "execution_id": row.id, "step": step, "from": from, "to": to,
        "changes": changes.iter().map(Shown::json).collect::<Vec<_>>(),
    }))
}

fn changes(state: &State, row: &ExecutionRow, from: &Digest, to: &Digest) -> Result<Vec<Shown>, CommandError> {
    let files = Files::new(state.here()?.directory.clone(), LocalBlobStore::new(state.here()?.directory.blobs()));
    let difference = Difference::between(&files, &row.id, from, to)?;
    change::told(difference.layer()).map(|(path, change)| Shown::of(&difference, path, change)).collect()
}

/// What is compared: its name, and the trees before and after.
async fn trees(
    state: &State,
    row: &ExecutionRow,
    step: Option<&str>,
) -> Result<(String, Digest, Digest), CommandError> {
    let what = step.map_or_else(|| row.id.to_string(), |step| format!("{step} of {}", row.id));
    let refused = |why: &str, hint: String| CommandError::NoFiles { what: what.clone(), why: why.to_owned(), hint };
    let Some(source) = row.tree.clone().filter(|_| LocalPlace::of(row).is_ok_and(|place| !place.in_place)) else {
        return Err(refused(
            "the run works in the directory itself (--in-place), and nothing is kept of its files",
            "the directory's own tools show what changed there, like `git diff`".to_owned(),
        ));
    };
    let status = format!("`ratchet status {}` shows which steps ended", row.id.root());
    let Some(step) = step else {
        return match (row.status, row.left.clone()) {
            (_, Some(left)) => Ok((what, source, left)),
            (ExecutionStatus::Completed, None) => Ok((what, source.clone(), source)),
            (ExecutionStatus::Running | ExecutionStatus::Paused, None) => {
                Err(refused("it has not ended", format!("name a step that has; {status}")))
            }
            (ExecutionStatus::Failed | ExecutionStatus::Cancelled, None) => {
                Err(refused("it ended before it was known what it leaves", format!("name a step; {status}")))
            }
        };
    };
    let path = nested::path(step);
    definition::step(&state.workflow(row).await?, path.step.as_str())?;
    let Some(found) = find(state, row, &path).await? else {
        return Err(refused("it has not begun", status));
    };
    match (found.base.clone(), left(&found)) {
        (Some(base), Some(left)) if found.status().is_settled() => Ok((what, base, left)),
        _ if !found.status().is_settled() => Err(refused("it has not ended", status)),
        _ => Err(refused(&format!("it is {}, and saw no files", found.status()), status)),
    }
}

/// The files as a settled step left them, also one that failed and was passed over.
pub(super) fn left(row: &StepRow) -> Option<Digest> {
    let failed = match &row.state {
        StepState::Failed { failure, .. } => failure.tree.as_ref(),
        _ => None,
    };
    failed.or_else(|| row.tree()).cloned()
}

/// The newest row of a step, or of a child, which may have been taken over from an earlier epoch.
pub(crate) async fn find(state: &State, run: &ExecutionRow, path: &StepPath) -> Result<Option<StepRow>, CommandError> {
    let newest = state.store.newest_steps(&run.id, run.epoch, std::slice::from_ref(&path.step)).await?;
    let mut above = newest.into_iter().next().flatten();
    if path.child.is_none() {
        return Ok(above);
    }
    while let Some(row) = above {
        if let Some(child) = state.store.step(&StepKey { path: path.clone(), ..row.key.clone() }).await? {
            return Ok(Some(child));
        }
        above = match row.adopts {
            Some(epoch) => state.store.step(&StepKey { epoch, ..row.key }).await?,
            None => None,
        };
    }
    Ok(None)
}

/// The changes in a line each, and their sum.
fn stat(changes: &[Shown], paint: Paint) -> String {
    let width = changes.iter().map(|change| change.path().chars().count()).max().unwrap_or(0);
    let mut text: String = changes.iter().map(|change| change.stat(width, paint)).collect();
    if !changes.is_empty() {
        let (added, removed) = changes.iter().map(Shown::lines).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let paths = counted(changes.len(), "path");
        let _ = writeln!(text, "{paths}, {} added, {removed} removed", counted(added, "line"));
    }
    text
}

//! An execution that goes on under an edited file.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    path::Path,
    sync::Arc,
};

use ratchet_core::{
    execution::ExecutionRow,
    ids::StepId,
    output::Outputs,
    workflow::{InputDeclaration, Workflow},
};
use ratchet_definition::inputs::{GivenInput, resolve_declared};
use ratchet_engine::{Difference, EditRequest, Fate, Why, values::load_large};
use ratchet_local::rehearsal::looking;

use crate::{
    arguments::CommonArguments,
    command_error::CommandError,
    console::Console,
    definition::{self, Definition},
    inputs::told,
    state::State,
};

/// Reads the edited file. `None` where it says what the execution follows already.
pub(super) async fn read(
    state: &State,
    row: &ExecutionRow,
    path: &Path,
    common: &CommonArguments,
    console: Console,
) -> Result<Option<(EditRequest, Arc<Workflow>)>, CommandError> {
    let definition = definition::load(path, common, console)?;
    let reference = definition.reference();
    if reference.digest == row.definition.digest {
        console.say(&format!("{} is what {} follows already", path.display(), row.id));
        return Ok(None);
    }
    let before = state.workflow(row).await?;
    let Definition { workflow, text, .. } = definition;
    let inputs = load_large(&*state.blobs, &row.inputs).await?;
    // Another workflow declares other inputs: that it is another one is the mistake.
    let inputs = if workflow.name == before.name { inputs_of(&before, &workflow, inputs)? } else { inputs };
    Ok(Some((EditRequest { definition: reference, source: text, inputs }, workflow)))
}

/// The values of the inputs: as they were, where they are declared as they were; else as they are now declared.
fn inputs_of(before: &Workflow, after: &Workflow, mut values: Outputs) -> Result<Outputs, CommandError> {
    let is_as_it_was = |declared: &InputDeclaration| {
        let plain = |declared: &InputDeclaration| InputDeclaration { description: None, ..declared.clone() };
        before.inputs.iter().any(|old| plain(old) == plain(declared))
    };
    let (same, other): (Vec<InputDeclaration>, Vec<_>) = after.inputs.iter().cloned().partition(is_as_it_was);
    let given = |declared: &InputDeclaration| Some((declared.name.clone(), values.remove(&declared.name)?));
    let given: BTreeMap<_, _> =
        other.iter().filter_map(given).map(|(name, value)| (name, GivenInput::Output(value))).collect();
    let mut resolved = resolve_declared(&other, &after.name, given)
        .map_err(|mistakes| CommandError::Inputs(mistakes.iter().map(told).collect()))?;
    resolved
        .extend(same.into_iter().filter_map(|declared| Some((declared.name.clone(), values.remove(&declared.name)?))));
    Ok(resolved)
}

/// Shows what the edit makes run again, and asks whether it shall, where there is somebody to ask.
pub(super) async fn is_wanted(
    state: &State,
    row: &ExecutionRow,
    edit: &EditRequest,
    from: &[StepId],
    yes: bool,
    console: Console,
) -> Result<bool, CommandError> {
    let engine = looking(&state.here()?.directory, Arc::clone(&state.here()?.store));
    let difference = engine.difference(&row.id, edit, from).await?;
    console.say(&format!("{} goes on under {}:", row.id, edit.definition.origin));
    console.say(text(&difference).trim_end());
    if yes || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(true);
    }
    let mut err = io::stderr();
    let asked = write!(err, "go on? [y/N] ").and_then(|()| err.flush());
    asked.map_err(CommandError::Output)?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(CommandError::Output)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

fn text(difference: &Difference) -> String {
    let names = difference.steps.iter().map(|(id, _)| id).chain(&difference.gone);
    let width = names.map(|id| id.as_str().chars().count()).max().unwrap_or_default();
    let mut text = String::new();
    for (id, fate) in &difference.steps {
        let fate = match fate {
            Fate::Reused => "kept".to_owned(),
            Fate::Again(why) => format!("runs again: {}", reason(why)),
            Fate::Runs => "runs: it was not done".to_owned(),
            Fate::New => "new".to_owned(),
        };
        let _ = writeln!(text, "  {:width$}  {fate}", id.as_str());
    }
    for id in &difference.gone {
        let _ = writeln!(text, "  {:width$}  gone", id.as_str());
    }
    text
}

fn reason(why: &Why) -> String {
    match why {
        Why::Changed(parts) if parts.is_empty() => "it was not there before".to_owned(),
        Why::Changed(parts) => format!("{} changed", parts.join(", ")),
        Why::Needs => "it comes after other steps".to_owned(),
        Why::After(step) => format!("after {step}"),
        Why::Asked => "as asked".to_owned(),
    }
}

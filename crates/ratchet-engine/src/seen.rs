//! What the process of a step was given to see: for a person who wants to see the same.

use std::collections::{BTreeMap, BTreeSet};

use ratchet_core::{
    execution::ExecutionRow,
    ids::{Digest, StepKey, StepPath},
    join::NeedOutcome,
    output::Output,
    step::StepRow,
    workflow::SecretPart,
};
use ratchet_definition::evaluate::{Evaluator, Scope};

use crate::{
    engine::{Engine, EngineError},
    run::Run,
    scope::{self, Overlay},
    values::load,
};

/// What the process of a step sees besides its files. No secret is among it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// The variables that the workflow and the step declare.
    pub environment: BTreeMap<String, String>,
    /// The variables that are left out, for what they hold: a secret, or something that cannot be told any more.
    pub missing: BTreeSet<String>,
    /// Where the process starts, relative to the root of the files; empty for the root.
    pub working_directory: String,
}

/// What a step of a run saw, whose files were `tree`.
pub(crate) async fn seen_by(
    engine: &Engine,
    row: &ExecutionRow,
    step: &StepRow,
    tree: Option<&Digest>,
) -> Result<Seen, EngineError> {
    let run = Run { row: row.clone(), workflow: engine.workflow(row).await? };
    let path = &step.key.path;
    let Some(declared) = run.workflow.step(&path.step) else { return Ok(Seen::default()) };
    let item = match path.child {
        Some(child) => item(engine, step, child).await?,
        None => None,
    };
    let mut scope = scope::build(engine, &run, &Overlay::new(), declared.steps_read(), NeedOutcome::FINE, item).await?;
    let files = engine.ports.workspaces.files(&run.row, tree).await?;
    let mut seen = Seen::default();
    let caller = std::mem::take(&mut scope.env);
    let evaluator = Evaluator::new(Scope { env: caller.clone(), ..scope.clone() }, files.clone());
    for (name, template) in run.workflow.environment.iter() {
        match (caller.get(name), evaluator.text(template)) {
            (Some(given), _) => drop(seen.environment.insert(name.clone(), given.clone())),
            (None, Ok(value)) => drop(seen.environment.insert(name.clone(), value)),
            (None, Err(_)) => drop(seen.missing.insert(name.clone())),
        }
    }
    scope.env = seen.environment.clone();
    scope.env.extend(caller);
    let evaluator = Evaluator::new(scope, files);
    for (name, template) in declared.environment.iter() {
        match evaluator.text(template) {
            Ok(value) => drop(seen.environment.insert(name.clone(), value)),
            Err(_) => drop(seen.missing.insert(name.clone())),
        }
    }
    for (name, parts) in &declared.secrets {
        if parts.iter().any(|part| matches!(part, SecretPart::Secret(_))) {
            seen.missing.insert(name.clone());
        }
    }
    seen.missing.extend(declared.secret_files.keys().cloned());
    seen.environment.retain(|name, _| !seen.missing.contains(name));
    if let Some(folder) = &declared.working_directory {
        seen.working_directory = evaluator.text(folder).unwrap_or_default();
    }
    Ok(seen)
}

/// The item of a fan-out that a child is about.
async fn item(engine: &Engine, child: &StepRow, number: u32) -> Result<Option<(Output, u32)>, EngineError> {
    let key = StepKey { path: StepPath::step(child.key.path.step.clone()), ..child.key.clone() };
    let blobs = engine.ports.blobs.as_ref();
    match engine.ports.store.step(&key).await?.and_then(|parent| parent.items) {
        Some(items) => {
            let item = engine.items.item(blobs, &items, number).await?;
            Ok(Some((load(blobs, &item).await?, number)))
        }
        None => Ok(None),
    }
}

//! Artifacts of a run: what it makes is registered, what it reads is found and noted.

mod collect;

use std::collections::HashMap;

use ratchet_core::{
    artifact::{
        Artifact, ArtifactName, ArtifactRead, ArtifactRef, ArtifactVersion, Maker, Origin, ReferenceError, Which,
        media_type,
    },
    execution::ExecutionRow,
    ids::{ExecutionId, StepPath},
    output::{FileValue, Output, Outputs},
    status::{ExecutionStatus, StepStatus},
    step::StepRow,
    workflow::{ValueType, Workflow},
};
use ratchet_definition::evaluate::{ArtifactError, Artifacts};
use serde_json::Value;

pub use self::collect::{Collected, collect};
use crate::{
    engine::{Engine, EngineError},
    ports::{ArtifactStore, Current, StoreError, Write},
    run::Run,
};

/// How often a version may be dropped between its finding and its noting before that is given up.
const DROPS_MAX: u32 = 20;

/// What a settled row makes. A fan-out's own row makes nothing: its children's do.
pub(crate) fn of_step(run: &Run, row: &StepRow) -> Vec<Artifact> {
    let path = &row.key.path;
    let step = run.workflow.step(&path.step).filter(|step| step.foreach.is_some() == path.child.is_some());
    let (Some(step), Some(result), StepStatus::Completed) = (step, &row.result, row.status()) else {
        return Vec::new();
    };
    let kept = step.outputs.iter().filter(|output| output.artifact);
    kept.filter_map(|output| {
        let Some(Output::File(file)) = result.outputs.get(&output.name) else { return None };
        let name = path.child.map_or_else(|| output.name.clone(), |child| format!("{}[{child}]", output.name));
        let cache_key = row.cache.as_ref().map(|cache| cache.key.to_string());
        let maker = Maker { epoch: row.key.epoch, step: Some(path.clone()), cache_key, ..maker(&run.row) };
        Some(artifact(&run.workflow, name, file, maker, row.settled_at.unwrap_or(run.row.updated_at)))
    })
    .collect()
}

/// What the row of a run that has just ended makes.
pub(crate) fn of_run(workflow: &Workflow, row: &ExecutionRow) -> Vec<Artifact> {
    if row.status != ExecutionStatus::Completed {
        return Vec::new();
    }
    let kept = workflow.outputs.iter().filter(|output| output.value_type == ValueType::Artifact);
    kept.filter_map(|output| {
        let Some(Output::File(file)) = row.outputs.get(&output.name) else { return None };
        Some(artifact(workflow, output.name.clone(), file, maker(row), row.ended_at.unwrap_or(row.updated_at)))
    })
    .collect()
}

fn maker(row: &ExecutionRow) -> Maker {
    let (execution, definition) = (row.id.clone(), row.definition.digest.clone());
    Maker { execution, epoch: row.epoch, step: None, definition, cache_key: None }
}

fn artifact(workflow: &Workflow, name: String, file: &FileValue, maker: Maker, made_at: jiff::Timestamp) -> Artifact {
    Artifact {
        name: ArtifactName { workflow: workflow.name.clone(), name },
        file: file.clone(),
        media_type: media_type(&file.path).to_owned(),
        origin: Origin::Run(maker),
        retention: workflow.artifacts.retention,
        readers: workflow.artifacts.readers.clone(),
        made_at,
    }
}

/// What the steps of a run made and is registered.
pub(crate) struct Registered(HashMap<(ArtifactName, String), ArtifactVersion>);

impl Registered {
    /// Reads it; `None` where no step of the run makes any.
    pub(crate) async fn load(engine: &Engine, run: &Run) -> Result<Option<Self>, EngineError> {
        if !run.workflow.steps.iter().flat_map(|step| &step.outputs).any(|output| output.artifact) {
            return Ok(None);
        }
        let made = engine.ports.store.artifacts_made_by(&run.row.id).await?;
        // By number: the newest of an origin stays.
        let made = made
            .into_iter()
            .map(|version| ((version.artifact.name.clone(), version.artifact.origin.source()), version));
        Ok(Some(Self(made.collect())))
    }

    /// Registers what settled rows made and is not registered: whoever settled them may have died in between.
    pub(crate) async fn complete(
        &self,
        engine: &Engine,
        run: &Run,
        rows: impl IntoIterator<Item = &StepRow>,
    ) -> Result<(), EngineError> {
        let is_missing = |artifact: &Artifact| {
            let newest = self.0.get(&(artifact.name.clone(), artifact.origin.source()));
            !newest.is_some_and(|newest| artifact.is(newest))
        };
        let missing = rows.into_iter().flat_map(|row| of_step(run, row)).filter(is_missing);
        let writes: Vec<Write> = missing.map(|artifact| Write::Artifact(Box::new(artifact))).collect();
        if !writes.is_empty() {
            engine.ports.store.commit(writes).await?;
        }
        Ok(())
    }
}

/// Finds what expressions asked for since this was called last, and notes that the run relies on it. Whether there was anything: then they are to be evaluated
/// again.
pub(crate) async fn find_wanted(
    engine: &Engine,
    run: &Run,
    step: Option<&StepPath>,
    artifacts: &Artifacts,
) -> Result<bool, EngineError> {
    let wanted = artifacts.take_wanted();
    for text in &wanted {
        let found = find(engine, &run.row.id, &run.workflow.name, step, text).await?;
        artifacts.tell(text, found.map(|version| version.artifact.file));
    }
    Ok(!wanted.is_empty())
}

/// Puts files in the place of the versions that the inputs of type `artifact` name.
pub(crate) async fn read_inputs(
    engine: &Engine,
    execution: &ExecutionId,
    workflow: &Workflow,
    inputs: &mut Outputs,
) -> Result<(), EngineError> {
    for declared in workflow.inputs.iter().filter(|input| input.value_type == ValueType::Artifact) {
        let Some(Output::Json(Value::String(text))) = inputs.get(&declared.name) else { continue };
        let found = find(engine, execution, &workflow.name, None, text).await?;
        let version = found.map_err(|error| EngineError::Artifact { input: declared.name.clone(), error })?;
        inputs.insert(declared.name.clone(), Output::File(version.artifact.file));
    }
    Ok(())
}

/// The version that a text names, where a run of the workflow may read it.
pub async fn look_up(
    store: &dyn ArtifactStore,
    workflow: &str,
    text: &str,
) -> Result<Result<ArtifactVersion, ArtifactError>, StoreError> {
    let reference = match text.parse::<ArtifactRef>() {
        Ok(reference) => reference,
        Err(error) => return Ok(Err(no_reference(&error))),
    };
    Ok(named(store, &reference).await?.and_then(|version| {
        if version.may_be_read_by(workflow) { Ok(version) } else { Err(refused(&reference, workflow)) }
    }))
}

/// The version that a reference means.
pub async fn named(
    store: &dyn ArtifactStore,
    reference: &ArtifactRef,
) -> Result<Result<ArtifactVersion, ArtifactError>, StoreError> {
    match store.artifact(&reference.artifact, &reference.which).await? {
        Some(version) => Ok(Ok(version)),
        None => Ok(Err(missing(reference, store.last_artifact(&reference.artifact).await?))),
    }
}

/// The version that a text names, once it is noted that the run relies on it: from then on it stays.
async fn find(
    engine: &Engine,
    execution: &ExecutionId,
    workflow: &str,
    step: Option<&StepPath>,
    text: &str,
) -> Result<Result<ArtifactVersion, ArtifactError>, EngineError> {
    let store = &engine.ports.store;
    for _ in 0..DROPS_MAX {
        let version = match look_up(store.as_ref(), workflow, text).await? {
            Ok(version) => version,
            Err(error) => return Ok(Err(error)),
        };
        let (artifact, number) = (version.artifact.name.clone(), version.number);
        let read = ArtifactRead { execution: execution.clone(), step: step.cloned(), artifact, number };
        let noted = store.commit(vec![Write::ReadArtifact(read)]).await?;
        match noted.conflict.map(|conflict| conflict.current) {
            None => return Ok(Ok(version)),
            // It was dropped just now.
            Some(Current::Absent) => {}
            Some(_) => break,
        }
    }
    Err(EngineError::Contention { execution: execution.clone() })
}

fn no_reference(error: &ReferenceError) -> ArtifactError {
    let help = "write `workflow/name@` and behind it a number, `latest`, the name of a run, or a tag".to_owned();
    ArtifactError { code: "RT-0197", message: error.to_string(), help: Some(help) }
}

fn missing(reference: &ArtifactRef, last: Option<u64>) -> ArtifactError {
    let ArtifactRef { artifact, which } = reference;
    let (message, help) = match (last, which) {
        (None, _) => (
            format!("there is no artifact {artifact}"),
            "`ratchet artifacts list` shows those that are there; a step keeps one with `artifact: true`".to_owned(),
        ),
        (Some(last), Which::Number(number)) if (1..=last).contains(number) => (
            format!("version {number} of the artifact {artifact} was removed, as nothing kept it"),
            format!("take `{artifact}@latest`, and tag a version that is to stay"),
        ),
        (Some(last), Which::Number(_)) => {
            (format!("{reference} is not there yet"), format!("the newest version is {last}"))
        }
        (Some(_), Which::Latest) => (
            format!("every version of the artifact {artifact} was removed, as nothing kept them"),
            "run the workflow that makes it again".to_owned(),
        ),
        (Some(_), Which::Named(name)) => (
            format!("no run {name} made a version of the artifact {artifact}, and none has this tag"),
            format!("`ratchet artifacts list {artifact}` shows its versions and tags"),
        ),
    };
    ArtifactError { code: "RT-0197", message, help: Some(help) }
}

fn refused(reference: &ArtifactRef, workflow: &str) -> ArtifactError {
    let owner = &reference.artifact.workflow;
    let message = format!("the workflow {workflow} may not read {reference}");
    let help = format!("add {workflow} to `artifacts: {{readers: […]}}` in the workflow {owner}, and run that again");
    ArtifactError { code: "RT-0198", message, help: Some(help) }
}

//! Steps that are runs of their own: what such a run is given, and what came of it.

use std::collections::BTreeMap;

use ratchet_core::{
    event::Outcome,
    execution::ExecutionRow,
    ids::{Digest, ExecutionId, StepKey},
    output::{Output, Outputs},
    status::ExecutionStatus,
    step::{FailureClass, StepFailure, StepResult, StepState, Usage},
    transition::Ending,
    workflow::{Exec, InputDeclaration, Step, StepInputs},
};
use ratchet_definition::{
    evaluate::{EvaluationError, Evaluator},
    files::{FileAccess, FileError},
    inputs::{self, GivenInput},
};
use serde_json::Value;

use crate::{
    engine::{Engine, EngineError, Ports},
    order::ProgramOrder,
    ports::BlobError,
    run::Run,
    view::{ExecutionRows, Overhead, RowsError, StepRows},
};

/// The code of a step whose run was cancelled.
const CANCELLED: &str = "RT-0184";
/// The code of a step whose run took too long.
const TIMED_OUT: &str = "RT-0185";

/// A run to start for an attempt of a step, or to take over.
#[derive(Debug, Clone)]
pub(crate) struct RunOrder {
    /// Which step.
    pub(crate) key: StepKey,
    /// Which attempt of it.
    pub(crate) attempt: u32,
    /// The run.
    pub(crate) execution: ExecutionId,
    /// What it is given.
    pub(crate) inputs: Outputs,
    /// The files that it begins with.
    pub(crate) tree: Option<Digest>,
}

/// The values that a step hands over by name, checked against what is declared to take them.
pub(crate) fn given(
    step: &Step,
    declared: &[InputDeclaration],
    evaluator: &Evaluator,
) -> Result<Outputs, EvaluationError> {
    let mut given = BTreeMap::new();
    if let StepInputs::Named(values) = &step.inputs {
        for (name, template) in values {
            given.insert(name.clone(), GivenInput::Output(evaluator.value(template)?));
        }
    }
    inputs::resolve_declared(declared, step.action.type_name(), given).map_err(|mistakes| {
        let told: Vec<String> = mistakes.iter().map(|mistake| mistake.message.clone()).collect();
        let first = mistakes.into_iter().next();
        EvaluationError {
            code: first.as_ref().map_or("RT-0142", |mistake| mistake.code),
            message: told.join("; "),
            help: first.and_then(|mistake| mistake.help),
            text: "inputs".to_owned(),
        }
    })
}

/// What a program of a step reads, and what it must write.
pub(crate) fn program(
    step: &Step,
    exec: &Exec,
    evaluator: &Evaluator,
    files: &dyn FileAccess,
) -> Result<ProgramOrder, EvaluationError> {
    let mut object = serde_json::Map::new();
    for (name, output) in given(step, &exec.inputs, evaluator)? {
        object.insert(name, as_json(output, files)?);
    }
    let outputs = exec.outputs.iter().map(|output| (output.name.clone(), output.value_type)).collect();
    let digest = exec.command.first().filter(|name| name.starts_with("./")).and_then(|name| files.program(name));
    Ok(ProgramOrder { argv: exec.command.clone(), digest, stdin: Value::Object(object).to_string(), outputs })
}

/// A value as a program reads it: a file as its path.
fn as_json(output: Output, files: &dyn FileAccess) -> Result<Value, EvaluationError> {
    Ok(match output {
        Output::Json(value) => value,
        Output::File(file) => {
            let unreadable = |error: FileError| EvaluationError {
                code: "RT-0123",
                message: error.to_string(),
                help: None,
                text: "inputs".to_owned(),
            };
            Value::String(files.path_of_captured(&file).map_err(unreadable)?)
        }
        Output::Each(entries) => entries
            .into_iter()
            .map(|entry| entry.map_or(Ok(Value::Null), |entry| as_json(entry, files)))
            .collect::<Result<Vec<Value>, EvaluationError>>()?
            .into(),
        // Large values were put back in their place before anything was evaluated.
        Output::Stored(_) => Value::Null,
    })
}

/// What a run that has ended means for the step that it was started for.
pub(crate) async fn outcome(engine: &Engine, row: &ExecutionRow) -> Result<Outcome, EngineError> {
    let run = Run::load(engine, &row.id).await?;
    let Ports { store, blobs, .. } = engine.ports();
    let rows = ExecutionRows::load(store.as_ref(), blobs.as_ref(), &run.workflow, &row.id).await.map_err(unreadable)?;
    let rows = rows.ok_or_else(|| EngineError::NotFound(row.id.clone()))?;
    let steps = || run.workflow.steps.iter().filter_map(|step| rows.step(&step.id));
    let spent = steps().map(StepRows::spent).fold(Usage::default(), Usage::and);
    let Overhead { process_ms, start_ms, .. } = Overhead::of(&run.workflow, &rows, row.ended_at.unwrap_or_default());
    let usage = Usage { process_ms, start_ms, ..spent };
    let failed = |passed_over: bool| {
        steps().find_map(|rows| match &rows.row.state {
            StepState::Failed { failure, continued } if *continued == passed_over => {
                Some((&rows.row.key.path.step, failure.clone()))
            }
            _ => None,
        })
    };
    let failure = match row.status {
        ExecutionStatus::Completed => {
            let warning = failed(true).map(|(step, failure)| format!("{step} failed and was passed over: {failure}"));
            return Ok(Outcome::Succeeded(StepResult {
                outputs: row.outputs.clone(),
                usage,
                warning,
                tree: row.left.clone(),
                ..StepResult::default()
            }));
        }
        ExecutionStatus::Cancelled => {
            StepFailure::new(FailureClass::Rejected, format!("the run {} was cancelled", row.id)).with_code(CANCELLED)
        }
        ExecutionStatus::Failed | ExecutionStatus::Running | ExecutionStatus::Paused => {
            match (failed(false), &row.failure) {
                _ if row.endings.contains(&Ending::TimedOut) => {
                    StepFailure::new(FailureClass::Timeout, format!("the run {} was not done in time", row.id))
                        .with_code(TIMED_OUT)
                }
                (Some((step, failure)), _) => StepFailure { message: format!("{step} failed: {failure}"), ..failure },
                (None, Some(failure)) => failure.clone(),
                (None, None) => StepFailure::new(FailureClass::Launch, format!("the run {} failed", row.id)),
            }
        }
    };
    Ok(Outcome::Failed { failure: StepFailure { tree: row.left.clone(), ..failure }, usage })
}

fn unreadable(error: RowsError) -> EngineError {
    match error {
        RowsError::Store(error) => error.into(),
        RowsError::Blob(error) => error.into(),
        RowsError::Value { digest, .. } => EngineError::Blob(BlobError::Damaged(Digest::new(digest))),
    }
}

//! Steps that need no task: the engine does them where it decides.

use std::{collections::BTreeSet, sync::Arc};

use ratchet_core::{
    event::Outcome,
    ids::{Digest, StepId},
    output::{Output, Outputs},
    step::{FailureClass, StepFailure, StepResult, Usage},
    workflow::{Action, Assert, Condition, OutputSource, Step, TextSource, TextTemplate},
};
use ratchet_definition::{
    coerce::coerce,
    evaluate::{EvaluationError, Evaluator, Scope},
    files::FileAccess,
    parse,
};
use serde_json::Value;

use crate::{
    engine::{Engine, EngineError},
    ports::WorkspaceError,
    prepare::{failed, failure_of},
    run::Run,
    scope::{self, Overlay},
    values::store_large,
};

/// The code of a condition that is false.
const ASSERTION_FAILED: &str = "RT-0192";
/// The code of a file that a template step could not write.
const NOT_WRITTEN: &str = "RT-0193";
/// The code of a template file that cannot be filled in.
const BAD_TEMPLATE: &str = "RT-0194";
/// More mistakes of a template file than this are not told at once.
const MISTAKES_TOLD: usize = 5;

/// A step that the engine does itself, with what it sees.
pub(crate) struct Inline<'a> {
    pub(crate) step: &'a Step,
    pub(crate) scope: &'a Scope,
    pub(crate) overlay: &'a Overlay,
    pub(crate) evaluator: &'a Evaluator,
    /// What its expressions read.
    pub(crate) files: &'a Arc<dyn FileAccess>,
    /// The tree that these files are; `None` where the run works in the directory itself.
    pub(crate) base: Option<&'a Digest>,
}

impl Inline<'_> {
    /// Does what the step says.
    pub(crate) async fn perform(&self, engine: &Engine, run: &Run) -> Result<Outcome, EngineError> {
        let outcome = match &self.step.action {
            Action::Assert(assert) => check(assert, self.evaluator),
            Action::Template(text) => self.fill_in(engine, run, text).await?,
            Action::Shell(_)
            | Action::ClaudeCode(_)
            | Action::Exec(_)
            | Action::Webhook(_)
            | Action::Wait(_)
            | Action::Approval(_)
            | Action::Workflow(_) => {
                unreachable!("these need a task, or a time: their handler says so")
            }
        };
        let Outcome::Succeeded(mut result) = outcome else { return Ok(outcome) };
        let written = match &result.tree {
            Some(tree) => engine.ports.workspaces.files(&run.row, Some(tree)).await?,
            None => self.files.clone(),
        };
        match declared(engine, run, self.step, self.scope, &written, &result.outputs).await? {
            Ok(outputs) => result.outputs.extend(outputs),
            Err(failure) => return Ok(Outcome::Failed { failure, usage: Usage::default() }),
        }
        result.outputs = store_large(engine.ports.blobs.as_ref(), result.outputs).await?;
        Ok(Outcome::Succeeded(result))
    }

    async fn fill_in(&self, engine: &Engine, run: &Run, text: &TextTemplate) -> Result<Outcome, EngineError> {
        let path = match text.output.as_ref().map(|path| self.evaluator.text(path)).transpose() {
            Ok(path) => path,
            Err(error) => return Ok(failed(&error)),
        };
        let content = match &text.text {
            TextSource::Inline(template) => self.evaluator.text(template).map_err(|error| failure_of(&error)),
            TextSource::File(file) => match self.evaluator.text(file) {
                Ok(file) => self.text_of_file(engine, run, &file).await?,
                Err(error) => Err(failure_of(&error)),
            },
        };
        let content = match content {
            Ok(content) => content,
            Err(failure) => return Ok(Outcome::Failed { failure, usage: Usage::default() }),
        };
        let (mut outputs, mut tree) = (Outputs::new(), None);
        if let Some(path) = path {
            match engine.ports.workspaces.write(&run.row, self.base, &path, content.as_bytes()).await {
                Ok(written) => {
                    tree = written.tree;
                    outputs.insert("file".to_owned(), Output::File(written.file))
                }
                Err(error @ WorkspaceError::Outside(_)) => {
                    let failure = StepFailure::new(FailureClass::Output, error.to_string()).with_code(NOT_WRITTEN);
                    return Ok(Outcome::Failed { failure, usage: Usage::default() });
                }
                Err(error) => return Err(error.into()),
            };
        }
        outputs.insert("text".to_owned(), Output::Json(Value::String(content)));
        Ok(Outcome::Succeeded(StepResult { outputs, tree, ..StepResult::default() }))
    }

    /// The text of a file of the workspace, filled in. Which steps it reads is known only now.
    async fn text_of_file(
        &self,
        engine: &Engine,
        run: &Run,
        path: &str,
    ) -> Result<Result<String, StepFailure>, EngineError> {
        let wrong = |reason: String| {
            StepFailure::new(FailureClass::Definition, format!("the template {path} {reason}")).with_code(BAD_TEMPLATE)
        };
        let text = match self
            .files
            .read(path)
            .map_err(|error| error.to_string())
            .and_then(|bytes| String::from_utf8(bytes).map_err(|_| "it is no UTF-8 text".to_owned()))
        {
            Ok(text) => text,
            Err(reason) => return Ok(Err(wrong(format!("cannot be read: {reason}")))),
        };
        let template = match parse::template(&text) {
            Ok(parsed) => parsed.value,
            Err(mistakes) => {
                let told = mistakes.iter().take(MISTAKES_TOLD).map(|mistake| {
                    let before = text.get(..mistake.span.start).unwrap_or_default();
                    format!("line {}: {}", before.matches('\n').count() + 1, mistake.message)
                });
                return Ok(Err(wrong(format!("is wrong: {}", told.collect::<Vec<_>>().join("; ")))));
            }
        };
        let graph = run.graph();
        let before = graph.index_of(&self.step.id).map(|index| graph.ancestors(&[index])).unwrap_or_default();
        let reads: BTreeSet<StepId> =
            template.uses.steps.iter().filter(|id| run.workflow.step(id).is_some()).cloned().collect();
        let is_before =
            |id: &StepId| *id != self.step.id && graph.index_of(id).is_some_and(|index| before.contains(&index));
        if let Some(late) = reads.iter().find(|id| !is_before(id)) {
            return Ok(Err(wrong(format!("reads `{late}`, which may not be done by then"))));
        }
        let mut scope = self.scope.clone();
        let missing = reads.into_iter().filter(|id| !scope.steps.contains_key(id)).collect();
        scope.steps.extend(scope::views(engine, run, self.overlay, missing).await?);
        Ok(Evaluator::new(scope, self.files.clone()).text(&template).map_err(|error| failure_of(&error)))
    }
}

fn check(assert: &Assert, evaluator: &Evaluator) -> Outcome {
    let mut false_ones = Vec::new();
    for condition in &assert.conditions {
        match evaluator.condition(&condition.expression) {
            Ok(judgement) if judgement.holds => {}
            Ok(judgement) => false_ones.push((condition, judgement.read)),
            Err(error) => return failed(&error),
        }
    }
    let Some((first, _)) = false_ones.first() else { return Outcome::Succeeded(StepResult::default()) };
    let message = match message(evaluator, first, assert) {
        Ok(message) => message,
        Err(error) => return failed(&error),
    };
    let detail: Vec<String> = false_ones
        .iter()
        .map(|(condition, read)| {
            let values: Vec<String> = read.iter().map(|(name, value)| format!("  {name} = {value}")).collect();
            format!("false: {}\n{}", condition.expression.source.trim(), values.join("\n"))
        })
        .collect();
    let failure =
        StepFailure::new(FailureClass::Assertion, message).with_code(ASSERTION_FAILED).with_detail(detail.join("\n"));
    Outcome::Failed { failure, usage: Usage::default() }
}

fn message(evaluator: &Evaluator, condition: &Condition, assert: &Assert) -> Result<String, EvaluationError> {
    match condition.message.as_ref().or(assert.message.as_ref()) {
        Some(message) => evaluator.text(message),
        None => Ok(format!("the condition is false: {}", condition.expression.source.trim())),
    }
}

/// The outputs that the step declares beside what its type gives.
async fn declared(
    engine: &Engine,
    run: &Run,
    step: &Step,
    scope: &Scope,
    files: &Arc<dyn FileAccess>,
    given: &Outputs,
) -> Result<Result<Outputs, StepFailure>, EngineError> {
    let mut outputs = Outputs::new();
    for output in &step.outputs {
        let value = match &output.source {
            OutputSource::From { expression, value_type } => {
                let mut scope = scope.clone();
                scope.locals.extend(given.clone());
                scope.locals.extend(outputs.clone());
                scope.outputs = Some(outputs.clone());
                let evaluated = Evaluator::new(scope, files.clone()).expression(expression);
                match evaluated.map_err(|error| failure_of(&error)).and_then(|value| {
                    coerce(*value_type, value).map_err(|error| {
                        StepFailure::new(FailureClass::Output, error.to_string()).with_code(error.code)
                    })
                }) {
                    Ok(value) => value,
                    Err(failure) => return Ok(Err(failure)),
                }
            }
            OutputSource::File(path) => {
                let read = Evaluator::new(scope.clone(), files.clone())
                    .text(path)
                    .map_err(|error| failure_of(&error))
                    .and_then(|path| {
                        let content = files.read(&path).map_err(|error| {
                            StepFailure::new(FailureClass::Output, format!("the output {}: {error}", output.name))
                        })?;
                        Ok((path, content))
                    });
                match read {
                    Ok((path, content)) => {
                        let content = engine.ports.blobs.put(&content).await?;
                        let path = path.trim_start_matches("./").to_owned();
                        Output::File(ratchet_core::output::FileValue { path, content })
                    }
                    Err(failure) => return Ok(Err(failure)),
                }
            }
        };
        outputs.insert(output.name.clone(), value);
    }
    tracing::trace!(execution = %run.row.id, step = %step.id, outputs = outputs.len(), "declared outputs");
    Ok(Ok(outputs))
}

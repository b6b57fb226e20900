//! Templates and expressions meet values.

mod artifacts;
mod compiled;
mod engine;
mod error;
mod names;
mod record;
mod request;
mod script;
pub(crate) mod value;

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use ratchet_core::{
    ids::{ExecutionId, StepId},
    join::NeedOutcome,
    output::{Output, Outputs},
    status::StepStatus,
    workflow::{Data, Expression, Shell, Template, Url},
};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

pub use self::{
    artifacts::{ArtifactError, Artifacts},
    error::EvaluationError,
};
use self::{
    compiled::{CompiledExpression, CompiledTemplate, Segment},
    names::Names,
};
pub(crate) use self::{error::Reason, names::names_of};
use crate::files::FileAccess;

/// What an expression can see.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Scope {
    /// The workflow's inputs, each of its type, defaults included.
    pub inputs: BTreeMap<String, Output>,
    /// The workflow's `environment` and what the caller passed. A variable that is not here is the empty string.
    pub env: BTreeMap<String, String>,
    /// The steps that may be read.
    pub steps: BTreeMap<StepId, StepView>,
    /// In a child of a fan-out: its item.
    pub item: Option<Output>,
    /// In a child of a fan-out: the position of its item, from 0.
    pub index: Option<u32>,
    /// The run.
    pub execution: ExecutionView,
    /// The event that started the run; null where nothing did.
    pub trigger: Json,
    /// What became of the steps above: what `success()` and `failure()` say.
    pub needs: NeedOutcome,
    /// More names: `stdout`, `stderr`, `exit_code`, `response`, `json`, the step's own earlier outputs by name.
    pub locals: BTreeMap<String, Output>,
    /// The step's own earlier outputs, under `outputs`; `None` where nothing has that name.
    pub outputs: Option<BTreeMap<String, Output>>,
    /// The run's own time, which `now()` gives.
    pub now: Timestamp,
    /// The artifacts that `artifact(…)` gives.
    pub artifacts: Artifacts,
}

impl Scope {
    /// Nothing but the run itself.
    pub fn of_run(execution: ExecutionView) -> Self {
        Self {
            inputs: BTreeMap::new(),
            env: BTreeMap::new(),
            steps: BTreeMap::new(),
            item: None,
            index: None,
            now: execution.started_at,
            execution,
            trigger: Json::Null,
            needs: NeedOutcome::FINE,
            locals: BTreeMap::new(),
            artifacts: Artifacts::default(),
            outputs: None,
        }
    }
}

/// What an expression can see of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepView {
    /// Where it stands.
    pub status: StepStatus,
    /// What it gave. Read only where it completed: every output of any other step is null.
    pub outputs: Outputs,
    /// How its process ended.
    pub exit_code: Option<i32>,
    /// How long it took, in milliseconds. Expressions see seconds.
    pub duration_ms: Option<u64>,
    /// How many attempts it took.
    pub attempts: u32,
    /// Whether its result was reused.
    pub cached: bool,
}

/// What an expression can see of the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutionView {
    /// Which run.
    pub id: ExecutionId,
    /// The workflow's name.
    pub workflow: String,
    /// The workflow's version.
    pub version: String,
    /// When it was asked for.
    pub started_at: Timestamp,
}

/// What came of a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// Whether it is true.
    pub holds: bool,
    /// Each value that was read, in the order of reading: what it is called in the condition, and the value as JSON, shortened.
    pub read: Vec<(String, String)>,
}

/// A command with its values filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedCommand {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Variables that the process must be started with: the values that the script reads.
    pub values: BTreeMap<String, String>,
    /// The command as a person would have typed it. Never run.
    pub display: String,
}

/// Evaluates in one scope. Only what an expression reads is converted or loaded.
#[derive(Debug)]
pub struct Evaluator {
    names: Arc<Names>,
}

impl Evaluator {
    /// Evaluates in this scope, with these files.
    pub fn new(scope: impl Into<Arc<Scope>>, files: Arc<dyn FileAccess>) -> Self {
        Self { names: Arc::new(Names::new(scope.into(), files)) }
    }

    /// The value of an expression.
    pub fn expression(&self, expression: &Expression) -> Result<Output, EvaluationError> {
        let compiled =
            compiled::expression(&expression.code).map_err(|error| self.error(&error, &expression.source))?;
        let value = self.value_of(&compiled, &expression.source)?;
        value::to_output(&value).map_err(|error| self.error(&error, &expression.source))
    }

    /// Whether a condition holds, and what it read.
    pub fn condition(&self, expression: &Expression) -> Result<Judgement, EvaluationError> {
        let compiled =
            compiled::expression(&expression.code).map_err(|error| self.error(&error, &expression.source))?;
        self.names.begin_record();
        let value = self.value_of(&compiled, &expression.source);
        let read = self.names.end_record();
        Ok(Judgement { holds: value?.is_true(), read })
    }

    /// What a template gives: one `{{ … }}` and nothing else keeps its type, anything else is a string.
    pub fn value(&self, template: &Template) -> Result<Output, EvaluationError> {
        match &*self.compiled(template)? {
            CompiledTemplate::Value(compiled) => {
                let value = self.value_of(compiled, &template.source)?;
                value::to_output(&value).map_err(|error| self.error(&error, &template.source))
            }
            other => self.render(other, &template.source).map(|text| Output::Json(Json::String(text))),
        }
    }

    /// What a template gives, as text.
    pub fn text(&self, template: &Template) -> Result<String, EvaluationError> {
        self.render(&*self.compiled(template)?, &template.source)
    }

    /// A command with its values filled in. No value becomes code.
    pub fn command(&self, shell: &Shell) -> Result<RenderedCommand, EvaluationError> {
        script::render(self, shell)
    }

    /// The address of a request. No value changes its host, or where its parts begin and end.
    pub fn url(&self, url: &Url) -> Result<String, EvaluationError> {
        request::url(self, url)
    }

    /// A text that is a part of a header: a value does not begin another one.
    pub fn header(&self, template: &Template) -> Result<String, EvaluationError> {
        request::header(self, template)
    }

    /// Data with its values filled in.
    pub fn data(&self, data: &Data) -> Result<Json, EvaluationError> {
        request::data(self, data)
    }

    fn compiled(&self, template: &Template) -> Result<Arc<CompiledTemplate>, EvaluationError> {
        compiled::template(&template.source).map_err(|error| self.error(&error, &template.source))
    }

    fn value_of(&self, compiled: &CompiledExpression, source: &str) -> Result<minijinja::Value, EvaluationError> {
        compiled.evaluate(&self.names).map_err(|error| self.error(&error, source))
    }

    fn render(&self, compiled: &CompiledTemplate, source: &str) -> Result<String, EvaluationError> {
        match compiled {
            CompiledTemplate::Value(expression) => {
                let value = self.value_of(expression, source)?;
                value::text_of(&value).map_err(|error| self.error(&error, source))
            }
            CompiledTemplate::Segments(segments) => {
                let mut text = String::new();
                for segment in segments {
                    match segment {
                        Segment::Text(raw) => text.push_str(raw),
                        Segment::Value(expression) => {
                            let value = self.value_of(expression, source)?;
                            text.push_str(&value::text_of(&value).map_err(|error| self.error(&error, source))?);
                        }
                    }
                }
                Ok(text)
            }
            CompiledTemplate::Statements(statements) => {
                engine::render(statements, &self.names).map_err(|error| self.error(&error, source))
            }
        }
    }

    fn error(&self, error: &minijinja::Error, source: &str) -> EvaluationError {
        error::explain(error, source, &self.names)
    }
}

#[cfg(test)]
pub(crate) mod tests;

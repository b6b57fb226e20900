//! What people and programs see of an execution: the one JSON object of `ratchet status --json`, built from the rows of its state.

mod overhead;
mod rows;

use std::collections::BTreeMap;

use jiff::Timestamp;
use ratchet_core::{
    artifact::{ArtifactVersion, media_type},
    budget::{Budget, BudgetRow, Spent},
    group::Turn,
    ids::{Digest, ExecutionId, StepId},
    output::{FileValue, Output, Outputs},
    status::{ExecutionStatus, StepStatus},
    step::{FailureClass, StepFailure, StepState, Waiting},
    transition::SkipReason,
    workflow::{Step, ValueType, Workflow},
};
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Value, json};

use crate::masks::{MASK, Masks};

pub use self::{
    overhead::Overhead,
    rows::{Before, ChildBrief, ExecutionRows, RowsError, StepRows},
};

/// An execution as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExecutionView {
    /// Which definition it follows: the SHA-256 of its text.
    pub workflow_id: Digest,
    /// The workflow's name.
    pub workflow_name: String,
    /// The workflow's version.
    pub workflow_version: String,
    /// Which run.
    pub execution_id: ExecutionId,
    /// Where it stands.
    pub status: ExecutionStatus,
    /// Why it waits for a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause_reason: Option<String>,
    /// Why it failed although its steps did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<FailureView>,
    /// The steps that failed, in the order of the file.
    pub failed_steps: Vec<StepId>,
    /// The first running step in the order of the file.
    pub current_step: Option<StepId>,
    /// Every step, in the order of the file.
    #[serde(serialize_with = "in_order")]
    pub steps: Vec<(StepId, StepView)>,
    /// The values of the inputs; sensitive ones are masked.
    pub inputs: BTreeMap<String, Value>,
    /// What it gave.
    pub outputs: BTreeMap<String, Value>,
    /// Files that are kept as versioned artifacts.
    pub artifacts: Vec<ArtifactView>,
    /// The generation: 1, and one more for each cancel and resume.
    pub epoch: u32,
    /// What its agents cost, in US dollars.
    pub cost_usd: f64,
    /// Tokens that its agents read and wrote.
    pub tokens: u64,
    /// What its agents may spend, and what of it they did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<BudgetView>,
    /// What it waits for before anything of it runs: its turn in a concurrency group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<TurnView>,
    /// What the engine added to the work.
    pub overhead: Overhead,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When something in it changed last.
    pub updated_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// A budget as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BudgetView {
    /// By the attempts that have ended, in every epoch and in every run that is paid from it.
    pub spent: SpentView,
    /// What may be spent.
    pub limit: Budget,
    /// Agent calls that are under way, and not in what was spent.
    pub calls_in_flight: usize,
}

/// What was spent, as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SpentView {
    /// US dollars.
    pub cost_usd: f64,
    /// Tokens read and written.
    pub tokens: u64,
    /// Attempts that were launched.
    pub agent_calls: u64,
}

/// A turn that is waited for, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TurnView {
    /// The concurrency group.
    pub group: String,
    /// Whose turn it is, the first few.
    pub running: Vec<OtherRun>,
    /// How many wait as well, and came earlier.
    pub queued_before: usize,
}

/// Another execution, in brief.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OtherRun {
    /// Which.
    pub execution_id: ExecutionId,
    /// Where it stands.
    pub status: ExecutionStatus,
}

/// What a result of another run saved, as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SavedView {
    /// Milliseconds that making it took.
    pub process_ms: u64,
    /// US dollars that an agent cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
    /// The run that made it.
    pub from: ExecutionId,
    /// Whether it is an agent's that no assertion has confirmed yet.
    pub unproven: bool,
}

/// A step as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepView {
    /// The word for what it does.
    #[serde(rename = "type")]
    pub step_type: String,
    /// The run that it is, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution: Option<ExecutionId>,
    /// Where it stands.
    pub status: StepStatus,
    /// When its first attempt was claimed.
    pub started_at: Option<Timestamp>,
    /// When it settled.
    pub completed_at: Option<Timestamp>,
    /// What it gave.
    pub outputs: BTreeMap<String, Value>,
    /// What its result is found by in the cache.
    pub cache_key: Option<Digest>,
    /// Whether its result came from the cache.
    pub cached: bool,
    /// What that saved, where it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saved: Option<SavedView>,
    /// How many attempts were made.
    pub attempts: u32,
    /// Of its process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Why it was skipped, or what it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// Until when it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// What a person is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question: Option<QuestionView>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<FailureView>,
    /// Whether the run went on all the same, where it failed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub continued: bool,
    /// What it had to say although it succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// Its children, counted, where it fans out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub children: Option<ChildrenView>,
    /// Milliseconds that its processes ran, in all attempts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process_ms: Option<u64>,
    /// What its agents cost, in US dollars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
    /// Tokens that its agents read and wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Turns that its agents took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turns: Option<u32>,
}

/// Why a step failed, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailureView {
    /// What kind of failure it was.
    pub class: &'static str,
    /// The code of its page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What happened.
    pub message: String,
    /// The last lines of output, or the values that were read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// What a step asks a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QuestionView {
    /// The question.
    pub message: String,
    /// Who may answer; empty for anybody.
    pub approvers: Vec<String>,
}

/// The children of a fan-out, counted by where they stand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ChildrenView {
    /// How many there are.
    pub count: u32,
    /// How many stand where; words without a child are left out.
    #[serde(flatten)]
    pub by_status: BTreeMap<StepStatus, u32>,
    /// How many of those that completed have their result from an earlier run; left out where none has.
    #[serde(skip_serializing_if = "is_none_of")]
    pub cached: u32,
    /// The items whose children failed, the first 20.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed_items: Vec<u32>,
    /// The items whose children wait for a person's word, the first 20.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub asking_items: Vec<u32>,
}

/// A file that is kept as a versioned artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ArtifactView {
    /// The name that its versions are kept under; with the item's position behind it for a child of a fan-out.
    pub name: String,
    /// Which version it is, by its number; none while it is not registered.
    pub version: Option<u64>,
    /// The step that made it; none for an output of the workflow.
    pub step: Option<StepId>,
    /// Where it lies in the workspace.
    pub path: String,
    /// The SHA-256 of its content.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// What kind of content it is.
    pub media_type: &'static str,
}

impl ExecutionView {
    /// Builds the view from rows whose large values were put back in their place ([`ExecutionRows::load`] does that). Sensitive inputs are masked wherever
    /// they would show.
    pub fn new(workflow: &Workflow, rows: &ExecutionRows) -> Self {
        let row = &rows.execution;
        let steps: Vec<(StepId, StepView)> = workflow
            .steps
            .iter()
            .map(|step| (step.id.clone(), step_view(step.action.type_name(), rows.step(&step.id))))
            .collect();
        let of_status = |status: StepStatus| steps.iter().filter(move |(_, step)| step.status == status);
        let updated_at = rows.last_change();
        Self {
            workflow_id: row.definition.digest.clone(),
            workflow_name: row.definition.name.clone(),
            workflow_version: row.definition.version.clone(),
            execution_id: row.id.clone(),
            status: row.status,
            pause_reason: row.pause_reason.clone(),
            error: row.failure.as_ref().map(failure_view),
            failed_steps: of_status(StepStatus::Failed).map(|(id, _)| id.clone()).collect(),
            current_step: of_status(StepStatus::Running).next().map(|(id, _)| id.clone()),
            inputs: inputs_view(workflow, &row.inputs),
            outputs: outputs_view(&row.outputs),
            artifacts: artifacts(workflow, rows),
            epoch: row.epoch.0,
            cost_usd: steps.iter().filter_map(|(_, step)| step.cost_usd).fold(0.0, |sum, cost| sum + cost),
            tokens: steps.iter().filter_map(|(_, step)| step.tokens).sum(),
            budget: rows.budget.as_ref().map(budget_view),
            waits_for: row.turn.as_ref().zip(rows.before.as_ref()).map(turn_view),
            overhead: Overhead::of(workflow, rows, row.ended_at.unwrap_or(updated_at)),
            created_at: row.created_at,
            updated_at,
            ended_at: row.ended_at,
            steps,
        }
        .masked(&Masks::of(workflow, &row.inputs))
    }

    fn masked(mut self, masks: &Masks) -> Self {
        if masks.is_empty() {
            return self;
        }
        for values in [&mut self.inputs, &mut self.outputs] {
            mask_values(masks, values);
        }
        self.error = self.error.map(|error| error.masked(masks));
        if let Some(turn) = &mut self.waits_for {
            turn.group = masks.text(&turn.group).into_owned();
        }
        for (_, step) in &mut self.steps {
            step.mask(masks);
        }
        self
    }

    /// The view of one step.
    pub fn step(&self, id: &StepId) -> Option<&StepView> {
        self.steps.iter().find(|(other, _)| other == id).map(|(_, step)| step)
    }
}

impl StepView {
    /// A step, or a child of one, whose large values were put back in their place; nothing but what it does where it has no row.
    pub fn of(step: &Step, rows: Option<&StepRows>, masks: &Masks) -> Self {
        let mut view = step_view(step.action.type_name(), rows);
        view.mask(masks);
        view
    }

    fn mask(&mut self, masks: &Masks) {
        mask_values(masks, &mut self.outputs);
        self.error = self.error.take().map(|error| error.masked(masks));
        mask_text(masks, &mut self.warning);
        if let Some(question) = &mut self.question {
            question.message = masks.text(&question.message).into_owned();
        }
    }
}

impl FailureView {
    fn masked(self, masks: &Masks) -> Self {
        let masked = |text: String| masks.text(&text).into_owned();
        let (detail, hint) = (self.detail.map(masked), self.hint.map(masked));
        Self { message: masked(self.message), detail, hint, ..self }
    }
}

fn budget_view((row, limit): &(BudgetRow, Budget)) -> BudgetView {
    let Spent { tokens, agent_calls, .. } = row.spent;
    let spent = SpentView { cost_usd: row.spent.cost_usd(), tokens, agent_calls };
    BudgetView { spent, limit: *limit, calls_in_flight: row.in_flight.len() }
}

fn turn_view((turn, before): (&Turn, &Before)) -> TurnView {
    let other = |(id, status): &(ExecutionId, ExecutionStatus)| OtherRun { execution_id: id.clone(), status: *status };
    TurnView {
        group: turn.group.clone(),
        running: before.running.iter().map(other).collect(),
        queued_before: before.queued,
    }
}

fn mask_values(masks: &Masks, values: &mut BTreeMap<String, Value>) {
    for value in values.values_mut() {
        *value = masks.value(value.take());
    }
}

fn mask_text(masks: &Masks, text: &mut Option<String>) {
    if let Some(text) = text {
        *text = masks.text(text).into_owned();
    }
}

/// A value as JSON: a file is its path, digest and size.
pub fn output_view(output: &Output) -> Value {
    match output {
        Output::Json(value) => value.clone(),
        Output::File(file) => json!({
            "path": file.path,
            "digest": file.content.digest,
            "size": file.content.size,
        }),
        Output::Each(entries) => entries.iter().map(|entry| entry.as_ref().map_or(Value::Null, output_view)).collect(),
        Output::Stored(blob) => json!({ "stored": blob.digest, "size": blob.size }),
    }
}

/// The word for a failure's class.
pub fn class_word(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Exit(_) => "exit",
        FailureClass::Status(_) => "status",
        FailureClass::Timeout => "timeout",
        FailureClass::RateLimited => "rate_limited",
        FailureClass::AgentError => "agent_error",
        FailureClass::Assertion => "assertion",
        FailureClass::Output => "output",
        FailureClass::Launch => "launch",
        FailureClass::Definition => "definition",
        FailureClass::Rejected => "rejected",
        FailureClass::Conflict => "conflict",
    }
}

/// Why a step did not have to run, in words.
pub fn skip_words(reason: &SkipReason) -> &'static str {
    match reason {
        SkipReason::WhenFalse => "its condition is false",
        SkipReason::NotSelected => "not selected",
        SkipReason::NothingFailed => "nothing failed",
        SkipReason::RunCancelled => "the run was cancelled",
    }
}

fn outputs_view(outputs: &Outputs) -> BTreeMap<String, Value> {
    outputs.iter().map(|(name, output)| (name.clone(), output_view(output))).collect()
}

fn inputs_view(workflow: &Workflow, inputs: &Outputs) -> BTreeMap<String, Value> {
    let sensitive = |name: &str| workflow.inputs.iter().any(|input| input.name == name && input.sensitive);
    inputs
        .iter()
        .map(|(name, value)| (name.clone(), if sensitive(name) { json!(MASK) } else { output_view(value) }))
        .collect()
}

fn step_view(step_type: &str, rows: Option<&StepRows>) -> StepView {
    let step_type = step_type.to_owned();
    let Some(rows) = rows else {
        return StepView {
            step_type,
            execution: None,
            status: StepStatus::Pending,
            started_at: None,
            completed_at: None,
            outputs: BTreeMap::new(),
            cache_key: None,
            cached: false,
            saved: None,
            attempts: 0,
            exit_code: None,
            reason: None,
            due: None,
            question: None,
            error: None,
            continued: false,
            warning: None,
            children: None,
            process_ms: None,
            cost_usd: None,
            tokens: None,
            turns: None,
        };
    };
    let row = &rows.row;
    let result = row.result.as_ref();
    let spent = rows.spent();
    let (reason, error) = match &row.state {
        StepState::Skipped(reason) => (Some(skip_words(reason)), None),
        StepState::Waiting(Waiting::Retry { .. }) => (Some("its next attempt"), None),
        StepState::Waiting(Waiting::Lost { .. }) => {
            (Some("a person: an attempt was lost and its effect is unknown"), None)
        }
        StepState::Waiting(Waiting::Limit(failure)) => {
            (Some("a person: its agent reached a limit"), Some(failure_view(failure)))
        }
        StepState::Waiting(Waiting::Time { .. }) => (Some("a time"), None),
        StepState::Waiting(Waiting::Approval(_)) => (Some("an approval"), None),
        StepState::Failed { failure, .. } => (None, Some(failure_view(failure))),
        StepState::Running { .. }
        | StepState::FannedOut { .. }
        | StepState::Completed
        | StepState::Blocked
        | StepState::Cancelled => (None, None),
    };
    StepView {
        step_type,
        execution: row.execution.clone(),
        status: row.status(),
        started_at: (row.attempt > 0).then_some(row.started_at),
        completed_at: row.settled_at,
        outputs: result.map(|result| outputs_view(&result.outputs)).unwrap_or_default(),
        cache_key: row.cache.as_ref().map(|cache| cache.key.clone()),
        cached: row.hit().is_some(),
        saved: row.hit().map(|hit| SavedView {
            process_ms: hit.saved.process_ms,
            cost_usd: hit.saved.cost_usd,
            from: hit.from.execution.clone(),
            unproven: hit.unproven,
        }),
        attempts: row.attempt,
        exit_code: result.and_then(|result| result.exit_code),
        reason,
        due: row.due(),
        question: match &row.state {
            StepState::Waiting(Waiting::Approval(question)) => {
                Some(QuestionView { message: question.message.clone(), approvers: question.approvers.clone() })
            }
            _ => None,
        },
        error,
        continued: matches!(row.state, StepState::Failed { continued: true, .. }),
        warning: result.and_then(|result| result.warning.clone()),
        children: rows.children.as_ref().map(|children| children_view(rows.children_expected, children)),
        process_ms: (row.attempt > 0).then_some(spent.process_ms),
        cost_usd: spent.cost_usd,
        tokens: spent.tokens,
        turns: spent.turns,
    }
}

fn failure_view(failure: &StepFailure) -> FailureView {
    FailureView {
        class: class_word(failure.class),
        code: failure.code.clone(),
        message: failure.message.clone(),
        detail: failure.detail.clone(),
        hint: failure.hint.clone(),
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_none_of(count: &u32) -> bool {
    *count == 0
}

fn children_view(expected: u32, children: &[ChildBrief]) -> ChildrenView {
    let mut by_status = BTreeMap::new();
    for child in children {
        *by_status.entry(child.status).or_insert(0) += 1;
    }
    let seen = u32::try_from(children.len()).unwrap_or(u32::MAX);
    if expected > seen {
        *by_status.entry(StepStatus::Pending).or_insert(0) += expected - seen;
    }
    let items = |of: fn(&ChildBrief) -> bool| children.iter().filter(move |child| of(child)).map(|child| child.index);
    ChildrenView {
        count: expected.max(seen),
        by_status,
        cached: u32::try_from(children.iter().filter(|child| child.cached).count()).unwrap_or(u32::MAX),
        failed_items: items(|child| child.status == StepStatus::Failed).take(20).collect(),
        asking_items: items(|child| child.asks).take(20).collect(),
    }
}

fn artifacts(workflow: &Workflow, rows: &ExecutionRows) -> Vec<ArtifactView> {
    let mut found = Vec::new();
    for step in &workflow.steps {
        let given = rows.step(&step.id).and_then(|rows| rows.row.result.as_ref());
        for output in step.outputs.iter().filter(|output| output.artifact) {
            match given.and_then(|result| result.outputs.get(&output.name)) {
                Some(Output::File(file)) => found.push(artifact(rows, output.name.clone(), Some(&step.id), file)),
                Some(Output::Each(entries)) => {
                    for (item, entry) in entries.iter().enumerate() {
                        if let Some(Output::File(file)) = entry {
                            found.push(artifact(rows, format!("{}[{item}]", output.name), Some(&step.id), file));
                        }
                    }
                }
                Some(Output::Json(_) | Output::Stored(_)) | None => {}
            }
        }
    }
    for output in workflow.outputs.iter().filter(|output| output.value_type == ValueType::Artifact) {
        if let Some(Output::File(file)) = rows.execution.outputs.get(&output.name) {
            found.push(artifact(rows, output.name.clone(), None, file));
        }
    }
    found
}

fn artifact(rows: &ExecutionRows, name: String, step: Option<&StepId>, file: &FileValue) -> ArtifactView {
    let is_it = |version: &&ArtifactVersion| {
        let maker = version.artifact.origin.maker();
        let is_its = step.is_none() || maker.and_then(|maker| maker.step.as_ref()).map(|path| &path.step) == step;
        version.artifact.name.name == name && version.artifact.file.content == file.content && is_its
    };
    ArtifactView {
        version: rows.artifacts.iter().rev().find(is_it).map(|version| version.number),
        name,
        step: step.cloned(),
        path: file.path.clone(),
        digest: file.content.digest.clone(),
        size: file.content.size,
        media_type: media_type(&file.path),
    }
}

fn in_order<S: Serializer>(steps: &[(StepId, StepView)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(steps.len()))?;
    for (id, step) in steps {
        map.serialize_entry(id, step)?;
    }
    map.end()
}

#[cfg(test)]
mod tests;

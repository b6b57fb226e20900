//! The rows that a view is built from, read page by page and kept small.

use std::collections::HashMap;

use jiff::Timestamp;
use ratchet_core::{
    artifact::ArtifactVersion,
    budget::{Budget, BudgetRow},
    execution::{ExecutionRow, Resume},
    group::Standing,
    ids::{Epoch, ExecutionId, StepId, StepKey, StepPath},
    output::{BlobRef, Output, Outputs},
    resume::counting,
    status::{ExecutionStatus, StepStatus},
    step::{AttemptRow, StepRow, StepState, Usage, Waiting},
    transition::StepTransition,
    workflow::{Action, Workflow},
};
use thiserror::Error;

use crate::ports::{BlobError, BlobStore, StateStore, StoreError};

/// How many rows are read at once.
const PAGE: usize = 500;

/// How many of those before an execution are looked up.
const BEFORE_MAX: usize = 20;

/// Everything that is known of an execution, the children of fan-outs in brief.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecutionRows {
    /// The execution's own row.
    pub execution: ExecutionRow,
    /// Of each step, the row that counts. A step without one is pending.
    steps: HashMap<StepId, StepRows>,
    /// The budget that its agents are paid from, where there is one, and what was spent of it.
    pub budget: Option<(BudgetRow, Budget)>,
    /// Who is before it, where it waits for its turn.
    pub before: Option<Before>,
    /// The versions of artifacts that it made.
    pub artifacts: Vec<ArtifactVersion>,
}

/// Who is before an execution in its concurrency group.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Before {
    /// Those whose turn it is, the first few, and where they stand.
    pub running: Vec<(ExecutionId, ExecutionStatus)>,
    /// How many wait as well, and came earlier.
    pub queued: usize,
}

/// What is known of one step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepRows {
    /// The row that counts.
    pub row: StepRow,
    /// Its earlier attempts in the same epoch.
    pub attempts: Vec<AttemptRow>,
    /// How many children it has; 0 where it does not fan out.
    pub children_expected: u32,
    /// Its children that have a row, in the order of the items, where it fans out.
    pub children: Option<Vec<ChildBrief>>,
}

/// What a view needs of a child.
#[derive(Debug, Clone, PartialEq)]
pub struct ChildBrief {
    /// The position of its item.
    pub index: u32,
    /// Where it stands.
    pub status: StepStatus,
    /// Whether it waits for a person's word.
    pub asks: bool,
    /// Whether its result is an earlier run's.
    pub cached: bool,
    /// The child whose lane it took over.
    pub predecessor: Option<u32>,
    /// When it settled.
    pub settled_at: Option<Timestamp>,
    /// The run that it is, where it is one.
    pub execution: Option<ExecutionId>,
    /// What all of its attempts took.
    pub spent: Usage,
}

/// Why the rows could not be read.
#[derive(Debug, Error)]
pub enum RowsError {
    /// The state store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A large value could not be read.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// A large value is not what was written.
    #[error("the stored value {digest} cannot be read: {reason}")]
    Value {
        /// Which.
        digest: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl ExecutionRows {
    /// Reads an execution's rows; `None` where there is no such execution. Large values are put back in their place.
    pub async fn load(
        store: &dyn StateStore,
        blobs: &dyn BlobStore,
        workflow: &Workflow,
        id: &ExecutionId,
    ) -> Result<Option<Self>, RowsError> {
        let Some(mut execution) = store.execution(id).await? else { return Ok(None) };
        let resumes = execution.resumes();
        let mut newest: HashMap<StepId, StepRow> = HashMap::new();
        let mut after: Option<StepKey> = None;
        loop {
            let page = store.steps(id, after.as_ref(), PAGE).await?;
            after = page.rows.last().map(|row| row.key.clone());
            for row in page.rows {
                let step = &row.key.path.step;
                if newest.get(step).is_none_or(|known| known.key.epoch < row.key.epoch) {
                    newest.insert(step.clone(), row);
                }
            }
            if !page.more {
                break;
            }
        }
        drop_void(&mut newest, workflow, &resumes, execution.epoch);
        let mut steps = HashMap::with_capacity(newest.len());
        for (step, mut row) in newest {
            if let Some(result) = &mut row.result {
                restore_outputs(&mut result.outputs, blobs).await?;
            }
            let attempts = earlier_attempts(store, &row).await?;
            let children_expected = fan_out_count(&row, &attempts);
            let children = if children_expected == 0 {
                None
            } else {
                let mut children = load_children(store, &row).await?;
                let is_run = workflow.step(&step).is_some_and(|step| matches!(step.action, Action::Workflow(_)));
                if let Some(adopts) = row.adopts.filter(|_| is_run) {
                    find_adopted(store, &row, adopts, &mut children).await?;
                }
                Some(children)
            };
            steps.insert(step, StepRows { row, attempts, children_expected, children });
        }
        restore_outputs(&mut execution.inputs, blobs).await?;
        restore_outputs(&mut execution.outputs, blobs).await?;
        let budget = match execution.budget(workflow) {
            Some((owner, budget)) => {
                let row = store.budget(&owner).await?;
                Some((row.unwrap_or_else(|| BudgetRow::empty(owner)), budget))
            }
            None => None,
        };
        let before = load_before(store, &execution).await?;
        let artifacts = store.artifacts_made_by(id).await?;
        Ok(Some(Self { execution, steps, budget, before, artifacts }))
    }

    /// Of the rows of every epoch, which are at hand already. Large values are put back in their place.
    pub async fn assemble(
        blobs: &dyn BlobStore,
        workflow: &Workflow,
        mut execution: ExecutionRow,
        rows: Vec<StepRows>,
    ) -> Result<Self, RowsError> {
        let mut steps: HashMap<StepId, StepRows> = HashMap::new();
        for rows in rows {
            let step = rows.row.key.path.step.clone();
            if steps.get(&step).is_none_or(|known| known.row.key.epoch < rows.row.key.epoch) {
                steps.insert(step, rows);
            }
        }
        let mut newest = steps.iter().map(|(id, rows)| (id.clone(), rows.row.clone())).collect();
        drop_void(&mut newest, workflow, &execution.resumes(), execution.epoch);
        steps.retain(|id, _| newest.contains_key(id));
        for rows in steps.values_mut() {
            if let Some(result) = &mut rows.row.result {
                restore_outputs(&mut result.outputs, blobs).await?;
            }
        }
        restore_outputs(&mut execution.inputs, blobs).await?;
        restore_outputs(&mut execution.outputs, blobs).await?;
        Ok(Self { execution, steps, budget: None, before: None, artifacts: Vec::new() })
    }

    /// Of rows that are at hand already.
    pub fn of(execution: ExecutionRow, steps: Vec<StepRows>) -> Self {
        let steps = steps.into_iter().map(|rows| (rows.row.key.path.step.clone(), rows)).collect();
        Self { execution, steps, budget: None, before: None, artifacts: Vec::new() }
    }

    /// What is known of a step, if it has a row that counts.
    pub fn step(&self, id: &StepId) -> Option<&StepRows> {
        self.steps.get(id)
    }

    /// The runs that its steps are, in the order of the file, each with the step.
    pub fn nested(&self, workflow: &Workflow) -> Vec<(StepPath, ExecutionId)> {
        let mut nested = Vec::new();
        for step in &workflow.steps {
            let Some(rows) = self.step(&step.id) else { continue };
            let own = rows.row.execution.iter().map(|id| (StepPath::step(step.id.clone()), id.clone()));
            nested.extend(own);
            for child in rows.children.iter().flatten() {
                let path = StepPath::child(step.id.clone(), child.index);
                nested.extend(child.execution.iter().map(|id| (path.clone(), id.clone())));
            }
        }
        nested
    }

    /// When anything in the execution changed last.
    pub fn last_change(&self) -> Timestamp {
        let steps = self.steps.values().filter_map(|rows| rows.row.records.last().map(|record| record.at));
        let children = self.steps.values().flat_map(|rows| rows.children.iter().flatten());
        steps.chain(children.filter_map(|child| child.settled_at)).fold(self.execution.updated_at, Timestamp::max)
    }

    /// When the work that is shown began: with the creation, or with the last resume.
    pub fn began_at(&self) -> Timestamp {
        use ratchet_core::transition::ExecutionTransition::Resumed;
        let resumes = self.execution.records.iter().filter(|record| matches!(record.transition, Resumed { .. }));
        resumes.map(|record| record.at).next_back().unwrap_or(self.execution.created_at)
    }
}

impl StepRows {
    /// Of a step's row, its earlier attempts, and its children with theirs.
    pub fn new(row: StepRow, attempts: Vec<AttemptRow>, children: &[(StepRow, Vec<AttemptRow>)]) -> Self {
        let children_expected = fan_out_count(&row, &attempts);
        let briefs = || children.iter().map(|(child, attempts)| brief(child, attempts)).collect();
        let children = (children_expected > 0).then(briefs);
        Self { row, attempts, children_expected, children }
    }

    /// What all attempts of the step, or of its children, took.
    pub fn spent(&self) -> Usage {
        let own = spent(&self.row, &self.attempts);
        self.children.iter().flatten().fold(own, |sum, child| sum.and(child.spent))
    }
}

/// Leaves out the rows that a resume made void: their steps run again. What a cancel left as it was is shown as it was.
fn drop_void(newest: &mut HashMap<StepId, StepRow>, workflow: &Workflow, resumes: &[Resume], epoch: Epoch) {
    let graph = &workflow.graph;
    let by_node: Vec<Option<&StepRow>> = graph.nodes().iter().map(|node| newest.get(&node.id)).collect();
    let void: Vec<StepId> = counting(graph, &by_node, resumes, epoch)
        .iter()
        .zip(by_node)
        .filter(|(counts, _)| counts.is_none())
        .filter_map(|(_, row)| row)
        // What a person is still to decide about is shown.
        .filter(|row| row.status().is_settled())
        .filter(|row| resumes.iter().any(|resume| resume.epoch > row.key.epoch))
        .map(|row| row.key.path.step.clone())
        .collect();
    for step in void {
        newest.remove(&step);
    }
}

async fn earlier_attempts(store: &dyn StateStore, row: &StepRow) -> Result<Vec<AttemptRow>, StoreError> {
    if row.attempt > 1 { store.attempts(&row.key).await } else { Ok(Vec::new()) }
}

fn fan_out_count(row: &StepRow, attempts: &[AttemptRow]) -> u32 {
    if let StepState::FannedOut { count, .. } = &row.state {
        return *count;
    }
    let records = row.records.iter().chain(attempts.iter().flat_map(|attempt| &attempt.records));
    records
        .filter_map(|record| match record.transition {
            StepTransition::FannedOut { count, .. } => Some(count),
            _ => None,
        })
        .next_back()
        .unwrap_or(0)
}

async fn load_children(store: &dyn StateStore, row: &StepRow) -> Result<Vec<ChildBrief>, StoreError> {
    let (execution, epoch, step) = (&row.key.execution, row.key.epoch, &row.key.path.step);
    let mut briefs = Vec::new();
    let mut from = 0;
    loop {
        let page = store.children(execution, epoch, step, from, PAGE).await?;
        let full = page.len() == PAGE;
        for child in page {
            let attempts = earlier_attempts(store, &child).await?;
            let brief = brief(&child, &attempts);
            from = brief.index + 1;
            briefs.push(brief);
        }
        if !full {
            return Ok(briefs);
        }
    }
}

/// Fills in the runs that children were in an older epoch whose results were taken over.
async fn find_adopted(
    store: &dyn StateStore,
    row: &StepRow,
    adopts: Epoch,
    children: &mut [ChildBrief],
) -> Result<(), StoreError> {
    let mut older = Some(adopts);
    while let Some(epoch) = older {
        let at = |path: StepPath| StepKey { epoch, path, ..row.key.clone() };
        let missing = |child: &&mut ChildBrief| child.execution.is_none() && child.status == StepStatus::Completed;
        for child in children.iter_mut().filter(missing) {
            let path = StepPath::child(row.key.path.step.clone(), child.index);
            child.execution = store.step(&at(path)).await?.and_then(|old| old.execution);
        }
        older = store.step(&at(row.key.path.clone())).await?.and_then(|parent| parent.adopts);
    }
    Ok(())
}

fn brief(child: &StepRow, attempts: &[AttemptRow]) -> ChildBrief {
    ChildBrief {
        index: child.key.path.child.unwrap_or(0),
        status: child.status(),
        asks: matches!(child.state, StepState::Waiting(Waiting::Approval(_))),
        cached: child.hit().is_some(),
        predecessor: child.predecessor,
        settled_at: child.settled_at,
        execution: child.execution.clone(),
        spent: spent(child, attempts),
    }
}

/// What the attempts of a row took: a failed one says it in the record of its failure.
fn spent(row: &StepRow, attempts: &[AttemptRow]) -> Usage {
    let records = attempts.iter().flat_map(|attempt| &attempt.records).chain(&row.records);
    let failed = records.filter_map(|record| match &record.transition {
        StepTransition::RetryScheduled { usage, .. } => Some(*usage),
        _ => None,
    });
    failed.fold(row.result.as_ref().map(|result| result.usage).unwrap_or_default(), Usage::and)
}

async fn restore_outputs(outputs: &mut Outputs, blobs: &dyn BlobStore) -> Result<(), RowsError> {
    for output in outputs.values_mut() {
        if let Output::Stored(blob) = output {
            *output = restored(blob, blobs).await?;
        } else if let Output::Each(entries) = output {
            for entry in entries.iter_mut().flatten() {
                if let Output::Stored(blob) = entry {
                    *entry = restored(blob, blobs).await?;
                }
            }
        }
    }
    Ok(())
}

async fn restored(blob: &BlobRef, blobs: &dyn BlobStore) -> Result<Output, RowsError> {
    let bytes = blobs.get(&blob.digest).await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| RowsError::Value { digest: blob.digest.to_string(), reason: error.to_string() })
}

/// Who is before an execution that waits for its turn.
async fn load_before(store: &dyn StateStore, execution: &ExecutionRow) -> Result<Option<Before>, StoreError> {
    let Some(turn) = execution.turn.as_ref().filter(|_| execution.waits_for_turn()) else { return Ok(None) };
    let Some(group) = store.group(&turn.group).await? else { return Ok(Some(Before::default())) };
    // One that is not in it has not asked yet.
    let Standing::Waits { ahead: queued } = group.standing(&execution.id) else { return Ok(Some(Before::default())) };
    let mut running = Vec::new();
    for member in group.holders.iter().filter(|member| member.execution != execution.id).take(BEFORE_MAX) {
        running.extend(store.execution(&member.execution).await?.map(|row| (row.id, row.status)));
    }
    Ok(Some(Before { running, queued }))
}

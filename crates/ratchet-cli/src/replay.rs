//! An execution decided again from its history: the state as it was after any of its records.

use std::collections::HashMap;

use ratchet_core::{
    decide::{ExecutionPolicy, StepPolicy},
    execution::{DefinitionRef, ExecutionRow},
    history::Record,
    ids::{Digest, Epoch, StepKey},
    replay::{ReplayFinding, replay_execution, replay_step},
    step::{AttemptRow, StepRow},
    transition::StepTransition,
    workflow::Workflow,
};
use ratchet_engine::{
    masks::Masks,
    ports::{StateStore, StoreError},
    view::{ExecutionRows, ExecutionView, StepRows},
};

use crate::{
    command_error::CommandError,
    history::{Entry, History},
    state::State,
};

/// How many rows are read at once.
const PAGE: usize = 500;

/// A replay.
pub(crate) struct Replay {
    /// Every record, in order.
    pub(crate) entries: Vec<Entry>,
    /// What does not follow; empty where all records were decided as they stand.
    pub(crate) findings: Vec<String>,
    /// The state after the last record that was asked for.
    pub(crate) view: ExecutionView,
}

impl Replay {
    /// Decides every record again, and builds the state after the first `count` of them (all where none is given).
    pub(crate) async fn of(
        state: &State,
        workflow: &Workflow,
        execution: &ExecutionRow,
        masks: &Masks,
        count: Option<usize>,
    ) -> Result<Self, CommandError> {
        let (store, blobs) = (&*state.store, &*state.blobs);
        let History { entries, breaks } = History::load(store, Some(workflow), execution, masks).await?;
        let shown = count.unwrap_or(entries.len());
        let mut last: HashMap<&str, u64> = HashMap::new();
        for entry in entries.iter().take(shown) {
            last.insert(&entry.row, entry.number);
        }
        let mut before = Vec::new();
        for (epoch, definition) in execution.definitions() {
            let followed = if definition == execution.definition {
                workflow.clone()
            } else {
                state.workflow(&ExecutionRow { definition: definition.clone(), ..execution.clone() }).await?
            };
            before.push((epoch, definition.digest, followed));
        }
        let mut replayer = Replayer { store, workflow, definitions: &before, execution, last, findings: breaks };
        let rows = replayer.steps().await?;
        let made = replayer.execution();
        let findings = replayer.findings;
        let then = before.iter().find(|(_, digest, _)| *digest == made.definition.digest);
        let workflow = then.map_or(workflow, |(_, _, workflow)| workflow);
        let rows = ExecutionRows::assemble(blobs, workflow, made, rows).await?;
        Ok(Self { findings, view: ExecutionView::new(workflow, &rows), entries })
    }
}

struct Replayer<'a> {
    store: &'a dyn StateStore,
    workflow: &'a Workflow,
    /// Each definition that the execution followed, from which epoch on, and what it says.
    definitions: &'a [(Epoch, Digest, Workflow)],
    execution: &'a ExecutionRow,
    /// Of each row that is shown, its last record that is.
    last: HashMap<&'a str, u64>,
    findings: Vec<String>,
}

impl Replayer<'_> {
    fn execution(&mut self) -> ExecutionRow {
        let (row, definitions, workflow) = (self.execution, self.definitions, self.workflow);
        let policy = |of: &DefinitionRef| {
            let followed = definitions.iter().find(|(_, digest, _)| *digest == of.digest);
            let workflow = followed.map_or(workflow, |(_, _, workflow)| workflow);
            ExecutionPolicy { timeout: workflow.timeout, finally_timeout: workflow.finally_timeout }
        };
        match replay_execution(row, &policy, u64::MAX) {
            // When to look at the run next is no part of its history.
            Ok(made) if (ExecutionRow { wake_at: row.wake_at, ..made.clone() }) != *row => {
                self.findings.push(ReplayFinding::OtherState { row: "execution".to_owned() }.to_string());
            }
            Ok(_) => {}
            Err(finding) => self.findings.push(finding.to_string()),
        }
        let last = self.last.get("execution").copied().unwrap_or(1);
        replay_execution(row, &policy, last).unwrap_or_else(|_| row.clone())
    }

    async fn steps(&mut self) -> Result<Vec<StepRows>, StoreError> {
        let mut rows = Vec::new();
        let mut after: Option<StepKey> = None;
        loop {
            let page = self.store.steps(&self.execution.id, after.as_ref(), PAGE).await?;
            after = page.rows.last().map(|row| row.key.clone());
            for row in &page.rows {
                let children = if row.items.is_some() { self.children(row).await? } else { Vec::new() };
                if let Some((row, attempts)) = self.row(row).await? {
                    rows.push(StepRows::new(row, attempts, &children));
                }
            }
            if !page.more {
                return Ok(rows);
            }
        }
    }

    async fn children(&mut self, parent: &StepRow) -> Result<Vec<(StepRow, Vec<AttemptRow>)>, StoreError> {
        let (id, epoch, step) = (&parent.key.execution, parent.key.epoch, &parent.key.path.step);
        let mut children = Vec::new();
        let mut from = 0;
        loop {
            let page = self.store.children(id, epoch, step, from, PAGE).await?;
            for child in &page {
                from = child.key.path.child.unwrap_or(0) + 1;
                children.extend(self.row(child).await?);
            }
            if page.len() < PAGE {
                return Ok(children);
            }
        }
    }

    /// Decides the records of a row again, and gives the row as it was, where it was there then.
    async fn row(&mut self, row: &StepRow) -> Result<Option<(StepRow, Vec<AttemptRow>)>, StoreError> {
        let followed = self.definitions.iter().rev().find(|(epoch, ..)| *epoch <= row.key.epoch);
        let workflow = followed.map_or(self.workflow, |(_, _, workflow)| workflow);
        let policy = workflow.step(&row.key.path.step).map_or(StepPolicy::INTERNAL, StepPolicy::of);
        let policy = if row.key.path.child.is_some() { policy.for_child() } else { policy };
        let mut attempts = Vec::new();
        if row.chain.length > row.records.len() as u64 {
            attempts = self.store.attempts(&row.key).await?;
        }
        let records: Vec<Record<StepTransition>> =
            attempts.iter().flat_map(|attempt| &attempt.records).chain(&row.records).cloned().collect();
        match replay_step(&row.key, row.needs, row.base.as_ref(), &records, &policy) {
            Ok(Some(made)) if made == *row => {}
            Ok(_) => self.findings.push(ReplayFinding::OtherState { row: row.key.to_string() }.to_string()),
            Err(finding) => self.findings.push(finding.to_string()),
        }
        let name = format!("{}/{}", row.key.epoch, row.key.path);
        let last = self.last.get(name.as_str()).copied().unwrap_or(0);
        let shown: Vec<_> = records.into_iter().filter(|record| record.number <= last).collect();
        let Ok(Some(then)) = replay_step(&row.key, row.needs, row.base.as_ref(), &shown, &policy) else {
            return Ok(None);
        };
        attempts.retain(|attempt| attempt.attempt < then.attempt);
        Ok(Some((then, attempts)))
    }
}

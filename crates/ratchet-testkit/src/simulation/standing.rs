//! Where each step of a run stands in an epoch, found from its rows and from the description of resumes alone: which results of older epochs still count,
//! which are settled, and which broke.

use std::{collections::BTreeMap, sync::Arc};

use ratchet_core::{
    execution::ExecutionRow,
    ids::StepKey,
    status::StepStatus,
    step::{StepRow, StepState},
    transition::{Ending, ExecutionTransition},
    workflow::Workflow,
};

use super::model::{List, Model};

/// What is known of one run, from the writes that were applied.
pub(crate) struct Known {
    pub(crate) model: Model,
    pub(crate) workflow: Arc<Workflow>,
    pub(crate) row: Option<ExecutionRow>,
    /// Every step's and child's row.
    pub(crate) rows: BTreeMap<StepKey, StepRow>,
    /// What was edited in the definition when an epoch began.
    pub(super) edits: Vec<(u32, Vec<usize>)>,
    /// For each step of the model its rows' epochs.
    epochs: Vec<Vec<u32>>,
    ancestors: Vec<Vec<usize>>,
}

/// Where a step stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    /// The epoch of the row that counts, where one does.
    pub(crate) epoch: Option<u32>,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It waits or runs.
    Open,
    /// It ended well or was skipped.
    Fine,
    /// It failed, and the run goes on all the same.
    Continued,
    /// It failed, was blocked or was cancelled.
    Broken,
    /// It has no row that counts and gets none, because the run ends early.
    GivenUp,
    /// The same, because nothing of it is left to do.
    NotNeeded,
}

impl Standing {
    /// Nothing more happens to it.
    pub(crate) fn is_over(self) -> bool {
        self.stage != Stage::Open
    }

    /// It blocks what needs it.
    pub(crate) fn is_broken(self) -> bool {
        matches!(self.stage, Stage::Broken | Stage::GivenUp)
    }

    /// It failed, and the run goes on all the same.
    pub(crate) fn is_continued(self) -> bool {
        self.stage == Stage::Continued
    }
}

fn stage(row: &StepRow) -> Stage {
    match &row.state {
        StepState::Running { .. } | StepState::FannedOut { .. } | StepState::Waiting(_) => Stage::Open,
        StepState::Completed | StepState::Skipped(_) => Stage::Fine,
        StepState::Failed { continued: true, .. } => Stage::Continued,
        StepState::Failed { continued: false, .. } | StepState::Blocked | StepState::Cancelled => Stage::Broken,
    }
}

impl Known {
    pub(crate) fn new(model: Model, workflow: Arc<Workflow>) -> Self {
        let epochs = vec![Vec::new(); model.steps.len()];
        let ancestors = (0..model.steps.len()).map(|step| model.ancestors(step)).collect();
        Self { model, workflow, row: None, rows: BTreeMap::new(), edits: Vec::new(), epochs, ancestors }
    }

    /// Keeps a step's row as it was written.
    pub(crate) fn keep(&mut self, row: &StepRow) {
        if row.key.path.child.is_none()
            && let Some(step) = self.model.position(row.key.path.step.as_str())
            && !self.epochs[step].contains(&row.key.epoch.0)
        {
            self.epochs[step].push(row.key.epoch.0);
            self.epochs[step].sort_unstable();
        }
        self.rows.insert(row.key.clone(), row.clone());
    }

    /// The row of a step in an epoch.
    pub(crate) fn row_of(&self, step: usize, epoch: u32) -> Option<&StepRow> {
        use ratchet_core::ids::{Epoch, StepId, StepPath};
        let execution = self.row.as_ref()?.id.clone();
        let path = StepPath::step(StepId::new(&self.model.steps[step].id));
        self.rows.get(&StepKey { execution, epoch: Epoch(epoch), path })
    }

    /// Why the run ends early in an epoch.
    pub(crate) fn endings(&self, epoch: u32) -> Vec<Ending> {
        let mut at = 1;
        let mut endings = Vec::new();
        for record in self.row.iter().flat_map(|row| &row.records) {
            match &record.transition {
                ExecutionTransition::EndingBegan { ending, .. } => {
                    at += 1;
                    if at <= epoch {
                        endings.push(ending.clone());
                    }
                }
                ExecutionTransition::Resumed { .. } => {
                    at += 1;
                    if at <= epoch {
                        endings.clear();
                    }
                }
                _ => {}
            }
        }
        endings
    }

    /// The steps that a resume reset, directly, by the epoch that it began.
    fn resets(&self) -> Vec<(u32, Vec<usize>)> {
        let mut at = 1;
        let mut resets = Vec::new();
        for record in self.row.iter().flat_map(|row| &row.records) {
            match &record.transition {
                // What no longer counts under an edited file follows from what was edited, whatever the record says of it.
                ExecutionTransition::EndingBegan { .. } | ExecutionTransition::Resumed { edit: Some(_), .. } => {
                    at += 1;
                }
                ExecutionTransition::Resumed { reset_from, .. } => {
                    at += 1;
                    resets.push((at, reset_from.iter().filter_map(|id| self.model.position(id.as_str())).collect()));
                }
                _ => {}
            }
        }
        resets.extend(self.edits.iter().cloned());
        resets
    }

    /// Whether a step comes after another, which may be itself.
    fn follows(&self, step: usize, other: usize) -> bool {
        step == other || self.ancestors[step].binary_search(&other).is_ok()
    }

    /// Where each step stands in an epoch.
    pub(crate) fn standings(&self, epoch: u32) -> Vec<Standing> {
        let endings = self.endings(epoch);
        let resets = self.resets();
        let mut standings: Vec<Standing> = Vec::with_capacity(self.model.steps.len());
        for (position, step) in self.model.steps.iter().enumerate() {
            let newest = self.epochs[position].iter().rev().find(|at| **at <= epoch);
            let row = newest.and_then(|at| self.row_of(position, *at)).filter(|row| {
                let at = row.key.epoch.0;
                let was_reset = resets.iter().any(|(by, from)| {
                    *by > at && *by <= epoch && from.iter().any(|reset| self.follows(position, *reset))
                });
                let ended_well = matches!(row.status(), StepStatus::Completed | StepStatus::Skipped);
                // What ran anew since may have given something else.
                let is_older = |need: &usize| standings[*need].epoch.is_some_and(|of_need| of_need <= at);
                let needs_count = || self.model.needs(position).iter().all(is_older);
                at == epoch || (step.list == List::Work && ended_well && !was_reset && needs_count())
            });
            let gives_up = match step.list {
                List::Work => !endings.is_empty(),
                List::OnFailure | List::Finally => endings.contains(&Ending::FinallyTimedOut),
            };
            standings.push(match row {
                None if gives_up && step.list == List::Work && endings.contains(&Ending::Succeeded) => {
                    Standing { epoch: None, stage: Stage::NotNeeded }
                }
                None => Standing { epoch: None, stage: if gives_up { Stage::GivenUp } else { Stage::Open } },
                Some(row) => Standing { epoch: Some(row.key.epoch.0), stage: stage(row) },
            });
        }
        standings
    }

    /// All that comes before a step: its ancestors, and the lists above its own.
    pub(crate) fn before(&self, step: usize) -> Vec<usize> {
        let mut before: Vec<usize> = (0..step).filter(|other| self.model.is_in_later_list(step, *other)).collect();
        before.extend(&self.ancestors[step]);
        before
    }
}

//! An execution's row: what is known of one run as a whole. Nothing in it grows with the number of its steps.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    budget::Budget,
    cached::CacheMode,
    decide::ExecutionPolicy,
    group::Turn,
    history::{Chain, Record, sha256_hex},
    ids::{Digest, Epoch, ExecutionId, StepId, StepKey},
    output::{BlobRef, Outputs},
    reconcile::backoff,
    status::ExecutionStatus,
    step::StepFailure,
    transition::{Ending, ExecutionTransition},
    workflow::Workflow,
};

/// W3C trace context, as it travels in every event and in the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TraceParent(pub String);

impl TraceParent {
    /// The context of one attempt's span in the same trace. The span's identifier follows from the attempt, so that whoever records the
    /// span and whoever works under it agree without a word.
    #[must_use]
    pub fn of_attempt(&self, key: &StepKey, attempt: u32) -> Self {
        let trace = self.0.split('-').nth(1).unwrap_or_default();
        let span = sha256_hex(format!("{key}#{attempt}").as_bytes());
        Self(format!("00-{trace}-{}-01", &span[..16]))
    }
}

/// The step that a run was started for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parent {
    /// Which step.
    pub key: StepKey,
    /// Which attempt of it.
    pub attempt: u32,
    /// The way to the step from the outermost run, as people name it: `release.build[2]`. Empty in rows of before there was one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub way: String,
    /// How long the attempt may take, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// What its agents are paid from, where there is a budget around it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<PaidFrom>,
}

/// The budget of another run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PaidFrom {
    /// Whose it is.
    pub owner: ExecutionId,
    /// What it is.
    pub budget: Budget,
}

/// Which definition a run follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefinitionRef {
    /// The workflow's name.
    pub name: String,
    /// The workflow's version.
    pub version: String,
    /// The SHA-256 of the definition's text, which is in the blob store.
    pub digest: Digest,
    /// Where the text came from, for people.
    pub origin: String,
}

/// A run goes on under another definition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Edit {
    /// What it followed.
    pub from: DefinitionRef,
    /// What it follows from now on.
    pub to: DefinitionRef,
    /// The values of its inputs before and from now on, where they are not the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<(Outputs, Outputs)>,
    /// The steps that the person had run again by their names: the others that are reset are because of the edit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<StepId>,
}

/// Which steps of the file a run is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// All of them.
    #[default]
    All,
    /// This one and what it needs.
    Until(StepId),
    /// This one alone.
    Only(StepId),
}

/// What the caller chose for a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunOptions {
    /// Which steps run.
    #[serde(default)]
    pub selection: Selection,
    /// How many children of a fan-out may run at once where its step does not say.
    pub max_parallel: u32,
    /// How it uses results of other runs.
    #[serde(default, skip_serializing_if = "CacheMode::is_default")]
    pub cache: CacheMode,
    /// Which agent its steps ask, as the keys of their results name it: one that is recorded gives other results than one that is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// What the adapters of this place need to find the run again (the workspace, the agent), as they wrote it.
    #[serde(default)]
    pub place: Value,
}

/// The row of an execution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecutionRow {
    /// Which run.
    pub id: ExecutionId,
    /// The step that it was started for, where it was. A parent that was resumed takes over what it had started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// What it follows.
    pub definition: DefinitionRef,
    /// The current generation. Rows of older ones are fenced.
    pub epoch: Epoch,
    /// Where it stands.
    pub status: ExecutionStatus,
    /// Why it ends before its work is done, oldest first: what ended the work, then what ended `finally`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endings: Vec<Ending>,
    /// Whether the work is over and `finally` runs, or ran.
    #[serde(default)]
    pub in_finally: bool,
    /// Its turn in its concurrency group, where it is in one. It lasts until the run ends, also while it is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<Turn>,
    /// The files that it begins with: a tree in the blob store. `None` where it works in the directory itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<Digest>,
    /// The files as it left them, once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Digest>,
    /// Why it is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause_reason: Option<String>,
    /// The values of the workflow's inputs, defaults included, each of its type.
    pub inputs: Outputs,
    /// Variables that the caller passed.
    pub environment: BTreeMap<String, String>,
    /// The event that started it; null where it lies elsewhere.
    pub trigger: Value,
    /// Where it lies, where it is large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored_trigger: Option<BlobRef>,
    /// What the caller chose.
    pub options: RunOptions,
    /// The trace that all of the run's spans belong to.
    pub trace: TraceParent,
    /// When it was asked for: also what `now()` gives.
    pub created_at: Timestamp,
    /// When the row changed last.
    pub updated_at: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// When the run's `timeout` passes, or while `finally` runs, that of `finally`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// When the planner looks at the run again; `None` once it has ended, or is paused until a person resumes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wake_at: Option<Timestamp>,
    /// How often in a row the wake-up found nothing to do: its backoff grows with it.
    #[serde(default)]
    pub idle_wakes: u32,
    /// Whether a step waited for a person's word when the run was last looked at, while others went on: whoever ends the last of those looks again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asks: bool,
    /// What it gave.
    #[serde(default)]
    pub outputs: Outputs,
    /// Whether it completed with a step that failed and was told to let the run go on.
    #[serde(default)]
    pub continued: bool,
    /// Why the run failed although its steps did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<StepFailure>,
    /// How often the row was written: what a conditional write compares.
    pub revision: u64,
    /// The chain of its records.
    pub chain: Chain,
    /// Its records, oldest first: they grow with what people do to the run, not with its steps.
    pub records: Vec<Record<ExecutionTransition>>,
}

impl ExecutionRow {
    /// Whether a step of this epoch may be claimed now.
    pub fn accepts_claims(&self, epoch: Epoch) -> bool {
        self.epoch == epoch && self.status == ExecutionStatus::Running && !self.waits_for_turn()
    }

    /// Whether it goes on once its turn in its group has come: nothing of it runs before.
    pub fn waits_for_turn(&self) -> bool {
        self.status == ExecutionStatus::Running && self.turn.as_ref().is_some_and(|turn| !turn.has_come)
    }

    /// Whose budget the run's agents are paid from, and what it is. What a step's run spends is paid from the budget around it, where there is one.
    pub fn budget(&self, workflow: &Workflow) -> Option<(ExecutionId, Budget)> {
        let around = self.parent.as_ref().and_then(|parent| parent.budget.as_ref());
        let own = || workflow.budget.map(|budget| (self.id.clone(), budget.with_more(self.added_usd())));
        around.map(|paid| (paid.owner.clone(), paid.budget)).or_else(own)
    }

    /// What people added to the money of its budget, in US dollars: each resume adds what it says, once.
    fn added_usd(&self) -> f64 {
        let added = self.records.iter().filter_map(|record| match &record.transition {
            ExecutionTransition::Resumed { added_usd, .. } => *added_usd,
            _ => None,
        });
        added.sum()
    }

    /// How long the run and its `finally` may take: what the workflow says, within what the step says that it was started for.
    pub fn policy(&self, workflow: &Workflow) -> ExecutionPolicy {
        let given = self.parent.as_ref().and_then(|parent| parent.timeout_ms).map(Duration::from_millis);
        let timeout = workflow.timeout.into_iter().chain(given).min();
        ExecutionPolicy { timeout, finally_timeout: workflow.finally_timeout }
    }

    /// Whether the planner looks after the run: it runs, or is paused for something that comes without a resume.
    pub fn is_watched(&self) -> bool {
        match self.status {
            ExecutionStatus::Running => true,
            ExecutionStatus::Paused => self.wake_at.is_some(),
            ExecutionStatus::Completed | ExecutionStatus::Failed | ExecutionStatus::Cancelled => false,
        }
    }

    /// The resumes of the run, in the order of their epochs: they follow from its records.
    pub fn resumes(&self) -> Vec<Resume> {
        let mut epoch = Epoch::FIRST;
        let mut resumes = Vec::new();
        for record in &self.records {
            match &record.transition {
                ExecutionTransition::EndingBegan { .. } => epoch = epoch.next(),
                ExecutionTransition::Resumed { reset_from, edit, files, .. } => {
                    epoch = epoch.next();
                    let asked = edit.as_ref().map_or(reset_from, |edit| &edit.asked).clone();
                    resumes.push(Resume { epoch, reset_from: reset_from.clone(), asked, files: files.clone() });
                }
                ExecutionTransition::Created { .. }
                | ExecutionTransition::TurnCame { .. }
                | ExecutionTransition::FinallyBegan { .. }
                | ExecutionTransition::Paused { .. }
                | ExecutionTransition::WentOn
                | ExecutionTransition::Adopted { .. }
                | ExecutionTransition::Ended { .. } => {}
            }
        }
        resumes
    }

    /// The latest epoch from which on changes of the directory are brought in, with these: the directory as that epoch found it.
    pub fn directory_later(&self) -> Option<(Epoch, Digest)> {
        self.resumes().into_iter().rev().find_map(|resume| Some((resume.epoch, resume.files?)))
    }

    /// Each definition that the run followed, with the epoch from which on it did, oldest first.
    pub fn definitions(&self) -> Vec<(Epoch, DefinitionRef)> {
        let mut epoch = Epoch::FIRST;
        let mut definitions: Vec<(Epoch, DefinitionRef)> = Vec::new();
        for record in &self.records {
            if let ExecutionTransition::EndingBegan { .. } | ExecutionTransition::Resumed { .. } = record.transition {
                epoch = epoch.next();
            }
            if let ExecutionTransition::Resumed { edit: Some(edit), .. } = &record.transition {
                if definitions.is_empty() {
                    definitions.push((Epoch::FIRST, edit.from.clone()));
                }
                definitions.push((epoch, edit.to.clone()));
            }
        }
        if definitions.is_empty() {
            definitions.push((Epoch::FIRST, self.definition.clone()));
        }
        definitions
    }

    /// Changes the row as a record says.
    pub fn apply(&mut self, record: Record<ExecutionTransition>) {
        match &record.transition {
            ExecutionTransition::Created { deadline, group, parent, tree, .. } => {
                self.parent.clone_from(parent);
                self.tree.clone_from(tree);
                self.status = ExecutionStatus::Running;
                self.deadline = *deadline;
                self.turn = group.clone().map(|group| Turn { group, has_come: false });
            }
            ExecutionTransition::TurnCame { deadline } => {
                self.deadline = *deadline;
                self.wake_at = Some(backoff(0, record.at));
                self.set_turn(true);
            }
            ExecutionTransition::EndingBegan { ending, deadline } => {
                self.epoch = self.epoch.next();
                self.status = ExecutionStatus::Running;
                self.endings.push(ending.clone());
                self.in_finally = true;
                self.pause_reason = None;
                self.deadline = Some(*deadline);
                self.wake_at = Some(record.at);
            }
            ExecutionTransition::FinallyBegan { deadline } => {
                self.in_finally = true;
                self.deadline = Some(*deadline);
                // Nobody plans the run anew for this, and its wake-up may be further away.
                self.wake_at = Some(self.wake_at.map_or(*deadline, |at| at.min(*deadline)));
            }
            ExecutionTransition::Paused { reason, wake_at, .. } => {
                self.status = ExecutionStatus::Paused;
                self.pause_reason = Some(reason.clone());
                self.wake_at = *wake_at;
            }
            ExecutionTransition::WentOn => {
                self.status = ExecutionStatus::Running;
                self.pause_reason = None;
                self.wake_at = Some(backoff(0, record.at));
            }
            ExecutionTransition::Adopted { parent } => self.parent = Some(parent.clone()),
            ExecutionTransition::Resumed { deadline, parent, edit, .. } => {
                if let Some(edit) = edit {
                    self.definition.clone_from(&edit.to);
                    if let Some((_, inputs)) = &edit.inputs {
                        self.inputs.clone_from(inputs);
                    }
                }
                // One that ended let others have theirs.
                self.set_turn(!self.status.is_ended());
                if let Some(parent) = parent {
                    self.parent = Some(parent.clone());
                }
                self.epoch = self.epoch.next();
                self.status = ExecutionStatus::Running;
                self.endings.clear();
                self.in_finally = false;
                self.options.selection = Selection::All;
                self.pause_reason = None;
                self.deadline = *deadline;
                self.wake_at = Some(record.at);
                self.ended_at = None;
                self.outputs.clear();
                self.left = None;
                self.failure = None;
                self.continued = false;
            }
            ExecutionTransition::Ended { status, outputs, continued, failure, tree } => {
                self.status = *status;
                self.outputs.clone_from(outputs);
                self.continued = *continued;
                self.failure.clone_from(failure);
                self.left.clone_from(tree);
                self.ended_at = Some(record.at);
                self.wake_at = None;
            }
        }
        self.updated_at = record.at;
        self.chain = Chain { length: record.number, head: record.hash.clone() };
        self.records.push(record);
    }

    fn set_turn(&mut self, has_come: bool) {
        if let Some(turn) = &mut self.turn {
            turn.has_come = has_come;
        }
    }
}

/// One resume of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// The epoch that it began.
    pub epoch: Epoch,
    /// Steps that run again with all that depend on them.
    pub reset_from: Vec<StepId>,
    /// Those of them that a person named.
    pub asked: Vec<StepId>,
    /// What changed in the directory until then, where that is brought in.
    pub files: Option<Digest>,
}

use std::{collections::HashMap, time::Duration};

use ratchet_core::{
    execution::ExecutionRow,
    status::StepStatus,
    step::{StepRow, Usage},
    workflow::Step,
};
use ratchet_engine::ports::{ExecutionFilter, StateStore, StepCache, UseFilter};
use serde_json::{Value, json};

use super::forecast::Forecast;
use crate::{
    command_error::CommandError,
    words::{counted, dollars, elapsed},
};

/// How many runs of a step say what it takes.
const RUNS_SEEN: usize = 10;

/// How many children of a past fan-out say what one takes.
const CHILDREN_SEEN: usize = 100;

/// What a step is expected to take, by what it took before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Expected {
    /// Milliseconds of its process.
    pub(super) process_ms: u64,
    /// US dollars.
    pub(super) cost_usd: f64,
    /// How many runs say so.
    pub(super) runs: usize,
}

impl Expected {
    fn of(taken: &[Usage]) -> Option<Self> {
        let (process_ms, cost_usd) = taken.iter().fold((0, 0.0), |(process_ms, cost_usd), usage| {
            (process_ms + usage.process_ms, cost_usd + usage.cost_usd.unwrap_or_default())
        });
        let count = u32::try_from(taken.len()).ok().filter(|count| *count > 0)?;
        Some(Self {
            process_ms: process_ms / u64::from(count),
            cost_usd: cost_usd / f64::from(count),
            runs: taken.len(),
        })
    }

    pub(super) fn in_words(self) -> String {
        let money = if self.cost_usd > 0.0 { format!(" and {}", dollars(self.cost_usd)) } else { String::new() };
        format!("{}{money}", elapsed(Duration::from_millis(self.process_ms)))
    }

    pub(super) fn json(self) -> Value {
        json!({"process_ms": self.process_ms, "cost_usd": self.cost_usd, "runs": self.runs})
    }
}

/// What steps took in the runs before.
pub(super) struct Records<'a> {
    store: Option<&'a dyn StateStore>,
    step_cache: &'a dyn StepCache,
    /// The newest runs of each workflow that was asked about.
    runs: HashMap<String, Vec<ExecutionRow>>,
}

impl<'a> Records<'a> {
    pub(super) fn new(store: Option<&'a dyn StateStore>, step_cache: &'a dyn StepCache) -> Self {
        Self { store, step_cache, runs: HashMap::new() }
    }

    /// What one run of a step takes, or of one of its children; with `whole`, all children of a fan-out together. `None` where nothing is known.
    pub(super) async fn of_step(
        &mut self,
        workflow: &str,
        step: &Step,
        whole: bool,
    ) -> Result<Option<Expected>, CommandError> {
        if !whole {
            let filter = UseFilter {
                workflow: Some(workflow.to_owned()),
                step: Some(step.id.clone()),
                hit: Some(false),
                ..UseFilter::default()
            };
            let noted = self.step_cache.uses(&filter, RUNS_SEEN).await?;
            if let Some(expected) = Expected::of(&noted.iter().map(|used| used.usage).collect::<Vec<_>>()) {
                return Ok(Some(expected));
            }
        }
        let Some(store) = self.store else { return Ok(None) };
        let mut taken = Vec::new();
        for run in self.runs_of(store, workflow).await? {
            let rows = store.newest_steps(&run.id, run.epoch, std::slice::from_ref(&step.id)).await?;
            let Some(row) = rows.into_iter().flatten().next() else { continue };
            if row.items.is_none() {
                taken.extend(ran(&row));
                continue;
            }
            let children = store.children(&run.id, row.key.epoch, &step.id, 0, CHILDREN_SEEN).await?;
            let children = children.iter().filter_map(ran);
            if whole {
                taken.extend(children.reduce(Usage::and));
            } else {
                taken.extend(children);
            }
        }
        Ok(Expected::of(&taken))
    }

    async fn runs_of(&mut self, store: &dyn StateStore, workflow: &str) -> Result<&[ExecutionRow], CommandError> {
        if !self.runs.contains_key(workflow) {
            let filter = ExecutionFilter { workflow: Some(workflow.to_owned()), ..ExecutionFilter::default() };
            let newest = store.executions(&filter, None, RUNS_SEEN).await?;
            self.runs.insert(workflow.to_owned(), newest.rows);
        }
        Ok(self.runs.get(workflow).map(Vec::as_slice).unwrap_or_default())
    }
}

/// What a step took that ran to a good end.
fn ran(row: &StepRow) -> Option<Usage> {
    let result = row.result.as_ref().filter(|_| row.status() == StepStatus::Completed && row.hit().is_none())?;
    Some(result.usage)
}

/// What several steps are expected to take.
#[derive(Debug, Default)]
pub(super) struct Sum {
    /// How many steps these are.
    pub(super) steps: usize,
    /// What those take of which something is known.
    process_ms: u64,
    cost_usd: f64,
    /// The others.
    pub(super) no_record: Vec<String>,
}

impl Sum {
    pub(super) fn of<'a>(steps: impl Iterator<Item = &'a Forecast>) -> Self {
        let mut sum = Self::default();
        for step in steps.filter(|step| step.has_process) {
            sum.steps += 1;
            match step.expected {
                Some(expected) => {
                    sum.process_ms += expected.process_ms;
                    sum.cost_usd += expected.cost_usd;
                }
                None => sum.no_record.push(step.path.clone()),
            }
        }
        sum
    }

    pub(super) fn in_words(&self) -> String {
        if self.steps == self.no_record.len() {
            return if self.steps == 0 { "nothing".to_owned() } else { "not known: there is no record".to_owned() };
        }
        let time = elapsed(Duration::from_millis(self.process_ms));
        let without = match self.no_record.len() {
            0 => String::new(),
            count => format!(", without {}", counted(count, "step")),
        };
        let money = if self.cost_usd > 0.0 { format!(" and {}", dollars(self.cost_usd)) } else { String::new() };
        format!("{time} of processes{money}{without}")
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "steps": self.steps,
            "process_ms": self.process_ms,
            "cost_usd": self.cost_usd,
            "no_record": self.no_record,
        })
    }
}

//! Facts, summed by workflow and by step.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt,
};

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use ratchet_core::{
    execution::DefinitionRef,
    ids::{Digest, Epoch, ExecutionId, StepId, StepKey, StepPath},
    status::{ExecutionStatus, StepStatus},
    step::Usage,
};

use super::{
    facts::{AttemptFact, RunFact, StepFact},
    shape::Shape,
    tally::{Spending, Tally},
};

/// What is counted: a workflow, or a step of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// The workflow of the outermost run.
    pub workflow: String,
    /// The step: `build.compile` is a step of the run that `build` is. `None` for the workflow as a whole.
    pub step: Option<String>,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.step {
            None => f.write_str(&self.workflow),
            Some(step) => write!(f, "{}/{step}", self.workflow),
        }
    }
}

/// Takes facts in this order: executions, steps, children, earlier attempts.
#[derive(Debug, Default)]
pub struct Ledger {
    runs: HashMap<ExecutionId, Run>,
    tallies: BTreeMap<Name, Tally>,
    days: BTreeMap<(Date, String), Spent>,
    models: BTreeMap<(String, String), Spent>,
    /// Rows with more than one attempt: the number of the current one.
    tried_again: HashMap<StepKey, u32>,
    /// Rows that ended well in one attempt, which counts where their children did as well.
    maybe_first: Vec<StepKey>,
    /// Fan-outs of which a child was tried again.
    troubled: HashSet<StepKey>,
    /// Agents' results.
    results: Vec<(ExecutionId, StepId, Name)>,
    /// Steps that ended well, with nothing to warn of.
    held: HashSet<(ExecutionId, StepId)>,
}

/// What was spent, and saved.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spent {
    /// Spent.
    pub spent: Spending,
    /// Saved by kept results.
    pub saved: Spending,
}

impl Spent {
    /// Whether an agent cost something, or would have.
    pub fn is_agents(&self) -> bool {
        self.spent.calls + self.saved.calls > 0
    }

    /// With all of another in it.
    pub fn join(&mut self, other: &Self) {
        self.spent.join(&other.spent);
        self.saved.join(&other.saved);
    }
}

#[derive(Debug)]
struct Run {
    fact: RunFact,
    /// What stands before the names of its steps.
    way: String,
    had_trouble: bool,
}

impl Ledger {
    /// What agents of whom it is not known are called.
    pub const UNKNOWN_MODEL: &'static str = "unknown";

    /// Takes an execution.
    pub fn add_run(&mut self, fact: RunFact) {
        let way = fact.parent.as_ref().map(|parent| without_items(&parent.way) + ".").unwrap_or_default();
        self.runs.insert(fact.id.clone(), Run { fact, way, had_trouble: false });
    }

    /// Takes a step, or a child of one. Of an execution that it was not given, it takes nothing.
    pub fn add_step(&mut self, fact: StepFact) {
        let Some(name) = self.name(&fact.key).filter(|_| !fact.is_taken_over) else { return };
        let again = fact.attempts.saturating_sub(1);
        if again > 0 {
            self.trouble(&fact.key);
            self.tried_again.insert(fact.key.clone(), fact.attempts);
        }
        let hit = fact.cache.as_ref().and_then(|cache| cache.hit()).map(|hit| hit.saved);
        let usage = fact.usage();
        let tally = self.tallies.entry(name.clone()).or_default();
        tally.retries += u64::from(again);
        if fact.cache.is_some() {
            tally.hits += u64::from(hit.is_some());
            tally.misses += u64::from(hit.is_none());
        }
        let is_agents = hit.map_or(usage.cost_usd, |saved| saved.cost_usd).is_some() && !fact.is_run;
        if is_agents && fact.status == StepStatus::Completed {
            self.results.push((fact.key.execution.clone(), fact.key.path.step.clone(), name.clone()));
        }
        if let (Some(saved), Some(at)) = (hit, fact.settled_at) {
            self.save(&name, at, &saved);
        }
        if !fact.is_run {
            for (at, usage) in &fact.spent {
                self.spend(&name, *at, usage, &fact.models);
            }
        }
        if fact.key.path.child.is_none() {
            self.count_step(&name, fact, hit.is_some());
        }
    }

    /// Takes an earlier attempt.
    pub fn add_attempt(&mut self, fact: &AttemptFact) {
        // The current one may be among them, where a handler lost the race for the next.
        let Some(current) = self.tried_again.get(&fact.key) else { return };
        let Some(name) = self.name(&fact.key).filter(|_| fact.attempt < *current) else { return };
        for (at, usage) in &fact.spent {
            self.spend(&name, *at, usage, &BTreeMap::new());
        }
    }

    /// The definitions that must be known before [`done`](Self::done): of the runs in which agents gave results, and of those around them.
    pub fn definitions(&self) -> BTreeMap<Digest, DefinitionRef> {
        let mut wanted = BTreeMap::new();
        let mut runs: BTreeSet<&ExecutionId> = self.results.iter().map(|(run, ..)| run).collect();
        while let Some(run) = runs.pop_first().and_then(|id| self.runs.get(id)) {
            let definition = &run.fact.definition;
            wanted.entry(definition.digest.clone()).or_insert_with(|| definition.clone());
            runs.extend(run.fact.parent.as_ref().map(|parent| &parent.key.execution));
        }
        wanted
    }

    /// Of each workflow, the definition that its newest run follows.
    pub fn newest_definitions(&self) -> BTreeMap<String, DefinitionRef> {
        let mut newest: BTreeMap<String, &RunFact> = BTreeMap::new();
        for run in self.runs.values().map(|run| &run.fact).filter(|run| !run.id.is_nested()) {
            let known = newest.entry(run.definition.name.clone()).or_insert(run);
            if (known.created_at, &known.id) < (run.created_at, &run.id) {
                *known = run;
            }
        }
        newest.into_iter().map(|(name, run)| (name, run.definition.clone())).collect()
    }

    /// The sums, in the order of their names: each workflow before its steps. A definition that is not known confirms nothing.
    pub fn done(mut self, shapes: &HashMap<Digest, Shape>) -> Sums {
        for (run, step, name) in std::mem::take(&mut self.results) {
            let validated = self.is_validated(&run, &step, shapes);
            let tally = self.tallies.entry(name).or_default();
            tally.results += 1;
            tally.validated += u64::from(validated);
        }
        for key in std::mem::take(&mut self.maybe_first) {
            let name = self.name(&key).filter(|_| !self.troubled.contains(&key));
            if let Some(tally) = name.and_then(|name| self.tallies.get_mut(&name)) {
                tally.first_time += 1;
            }
        }
        let mut workflows: BTreeMap<Name, Tally> = BTreeMap::new();
        for (name, step) in &self.tallies {
            let workflow = workflows.entry(Name { step: None, ..name.clone() }).or_default();
            let Tally { retries, spent, hits, misses, saved, results, validated, .. } = step.clone();
            workflow.join(&Tally { retries, spent, hits, misses, saved, results, validated, ..Tally::default() });
        }
        for run in self.runs.values().filter(|run| !run.fact.id.is_nested()) {
            let name = Name { workflow: run.fact.definition.name.clone(), step: None };
            count_run(workflows.entry(name).or_default(), run);
        }
        self.tallies.extend(workflows);
        Sums { tallies: self.tallies, days: self.days, models: self.models }
    }

    fn count_step(&mut self, name: &Name, fact: StepFact, is_hit: bool) {
        let tally = self.tallies.entry(name.clone()).or_default();
        let is_begun = fact.attempts > 0;
        tally.runs += u64::from(is_begun);
        match fact.status {
            StepStatus::Completed => {
                tally.succeeded += 1;
                if fact.holds {
                    self.held.insert((fact.key.execution.clone(), fact.key.path.step.clone()));
                }
                if let Some(settled) = fact.settled_at.filter(|_| !is_hit) {
                    tally.took_ms.push(milliseconds(fact.started_at, settled));
                }
                if fact.attempts <= 1 {
                    self.maybe_first.push(fact.key);
                }
            }
            StepStatus::Failed => {
                tally.failed += 1;
                self.trouble(&fact.key);
            }
            StepStatus::Cancelled => tally.cancelled += u64::from(is_begun),
            StepStatus::Pending
            | StepStatus::Running
            | StepStatus::Waiting
            | StepStatus::Skipped
            | StepStatus::Blocked => {}
        }
    }

    fn trouble(&mut self, key: &StepKey) {
        if let Some(run) = self.runs.get_mut(&key.execution.root()) {
            run.had_trouble = true;
        }
        let path = StepPath::step(key.path.step.clone());
        self.troubled.insert(StepKey { path, ..key.clone() });
    }

    fn spend(&mut self, name: &Name, at: Timestamp, usage: &Usage, models: &BTreeMap<String, Usage>) {
        self.tallies.entry(name.clone()).or_default().spent.add(usage);
        if usage.cost_usd.is_none() {
            return;
        }
        self.days.entry((day(at), name.workflow.clone())).or_default().spent.add(usage);
        let unknown = BTreeMap::from([(Self::UNKNOWN_MODEL.to_owned(), *usage)]);
        for (model, usage) in if models.is_empty() { &unknown } else { models } {
            self.models.entry((model.clone(), name.workflow.clone())).or_default().spent.add(usage);
        }
    }

    fn save(&mut self, name: &Name, at: Timestamp, saved: &Usage) {
        self.tallies.entry(name.clone()).or_default().saved.add(saved);
        if saved.cost_usd.is_some() {
            self.days.entry((day(at), name.workflow.clone())).or_default().saved.add(saved);
        }
    }

    /// Whether an assertion holds that comes after a step in its run, or after the step that the run is.
    fn is_validated(&self, run: &ExecutionId, step: &StepId, shapes: &HashMap<Digest, Shape>) -> bool {
        let Some(run) = self.runs.get(run) else { return false };
        let holds = |assertion: &StepId| self.held.contains(&(run.fact.id.clone(), assertion.clone()));
        let here = shapes.get(&run.fact.definition.digest).into_iter().flat_map(|shape| shape.assertions_after(step));
        here.into_iter().any(holds)
            || run
                .fact
                .parent
                .as_ref()
                .is_some_and(|parent| self.is_validated(&parent.key.execution, &parent.key.path.step, shapes))
    }

    /// What a row is counted under; none of a step of the engine's own.
    fn name(&self, key: &StepKey) -> Option<Name> {
        let run = self.runs.get(&key.execution).filter(|_| !key.path.step.is_internal())?;
        let outermost = if run.fact.id.is_nested() { self.runs.get(&key.execution.root())? } else { run };
        let workflow = outermost.fact.definition.name.clone();
        Some(Name { workflow, step: Some(format!("{}{}", run.way, key.path.step)) })
    }
}

/// What a ledger sums up to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sums {
    /// Of each workflow, and of each step.
    pub tallies: BTreeMap<Name, Tally>,
    /// What agents cost by day, in UTC, and workflow.
    pub days: BTreeMap<(Date, String), Spent>,
    /// What agents cost by model and workflow.
    pub models: BTreeMap<(String, String), Spent>,
}

fn count_run(tally: &mut Tally, run: &Run) {
    let RunFact { epoch, status, continued, created_at, ended_at, .. } = &run.fact;
    tally.runs += 1;
    match status {
        ExecutionStatus::Completed if *continued => tally.failed += 1,
        ExecutionStatus::Completed => {
            tally.succeeded += 1;
            tally.first_time += u64::from(*epoch == Epoch::FIRST && !run.had_trouble);
            tally.took_ms.extend(ended_at.map(|ended| milliseconds(*created_at, ended)));
        }
        ExecutionStatus::Failed => tally.failed += 1,
        ExecutionStatus::Cancelled => tally.cancelled += 1,
        ExecutionStatus::Running | ExecutionStatus::Paused => {}
    }
}

/// A way without the positions of items: `release.build[2]` is `release.build`.
fn without_items(way: &str) -> String {
    let mut depth = 0;
    let mut kept = String::with_capacity(way.len());
    for character in way.chars() {
        match character {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ if depth == 0 => kept.push(character),
            _ => {}
        }
    }
    kept
}

fn milliseconds(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.duration_since(from).as_millis()).unwrap_or(0)
}

fn day(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

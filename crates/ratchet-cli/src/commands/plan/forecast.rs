use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use ratchet_core::{
    cached::{CacheMode, Found, Hit, Miss},
    execution::ExecutionRow,
    graph::{Graph, NodeIndex},
    ids::{Digest, StepId, StepKey, StepPath},
    status::StepStatus,
    step::{StepRow, StepState, Waiting},
    transition::SkipReason,
    workflow::{Place, Step, Workflow},
};
use ratchet_engine::masks::Masks;
use ratchet_local::{place::LocalPlace, rehearsal::Rehearsal};
use serde_json::{Value, json};

use super::expected::{Expected, Records};
use crate::{
    command_error::CommandError,
    commands::why::{Before, no_key},
    paint::Paint,
    words::{counted, dollars, elapsed, one_line},
};

/// Children of a fan-out that are read at once.
const PAGE: usize = 500;

/// What becomes of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A kept result stands in for it.
    Hit,
    /// It runs, as no kept result can stand in for it.
    Miss,
    /// It runs, as its results are not kept.
    Runs,
    /// That depends on what steps before it give.
    Unknown,
    /// The engine does it at once; or it is an execution of its own of which nothing runs.
    Done,
    /// It is an execution of its own, or one for each item: what that does stands below it.
    Begins,
    /// It fails without having run.
    Fails,
    /// It does not have to run.
    Skipped,
    /// What it needs fails.
    Blocked,
    /// It waits for a time or for a person.
    Waits,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Runs => "runs",
            Self::Unknown => "unknown",
            Self::Done => "done",
            Self::Begins => "begins",
            Self::Fails => "fails",
            Self::Skipped => "skipped",
            Self::Blocked => "blocked",
            Self::Waits => "waits",
        }
    }

    pub(super) fn painted(self, paint: Paint) -> String {
        let word = format!("{:7}", self.word());
        match self {
            Self::Hit | Self::Done => paint.good(&word),
            Self::Miss | Self::Runs | Self::Begins => paint.busy(&word),
            Self::Fails => paint.bad(&word),
            Self::Unknown | Self::Waits => paint.warn(&word),
            Self::Skipped | Self::Blocked => paint.dim(&word),
        }
    }

    pub(super) fn counted(self, count: usize) -> String {
        match self {
            Self::Hit => counted(count, "hit"),
            Self::Miss if count == 1 => "1 miss".to_owned(),
            Self::Miss => format!("{count} misses"),
            Self::Runs => format!("{count} without a key"),
            _ => format!("{count} {}", self.word()),
        }
    }

    pub(super) fn may_run(self) -> bool {
        matches!(self, Self::Miss | Self::Runs | Self::Unknown)
    }
}

/// What is known of a step before the run.
pub(super) struct Forecast {
    /// As it is called from the run: `tests`, `lint[3]`, `deploy.migrate`.
    pub(super) path: String,
    pub(super) kind: Kind,
    /// Whether it needs a process, or may.
    pub(super) has_process: bool,
    key: Option<Digest>,
    found: Option<Found>,
    before: Option<Before>,
    /// The step of another execution that computes its result now.
    computed_by: Option<StepKey>,
    /// The steps that must give something first.
    after: Vec<StepId>,
    note: String,
    pub(super) expected: Option<Expected>,
}

impl Forecast {
    /// Why that is so, on one line.
    pub(super) fn reason(&self) -> String {
        let told = match &self.found {
            Some(Found::Hit(hit)) => saved(hit),
            Some(Found::Miss(miss)) => match &self.computed_by {
                Some(other) => format!("{} of {} computes it now", other.path, other.execution),
                None => self.missed(miss),
            },
            None => self.note.clone(),
        };
        let after = match &self.after[..] {
            [] => String::new(),
            after => format!("after {}", after.iter().map(StepId::as_str).collect::<Vec<_>>().join(", ")),
        };
        [after, told].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
    }

    fn missed(&self, miss: &Miss) -> String {
        match miss {
            Miss::Absent => self.changed(),
            Miss::Expired => "the result under its key has had its time".to_owned(),
            Miss::Damaged { reason } => format!("the result under its key is damaged: {reason}"),
            Miss::Differs { path } => {
                format!("{path} is neither as the kept result found it nor as it left it, and is not overwritten")
            }
            Miss::Refreshed => "a new result is asked for".to_owned(),
            Miss::WaitedLong { holder } => format!("{holder} computes the same"),
            Miss::Unavailable { reason } => reason.clone(),
        }
    }

    /// Why no result is under its key.
    fn changed(&self) -> String {
        let Some(Before { step, changed, .. }) = &self.before else {
            return "no run before had a key for it".to_owned();
        };
        match changed {
            None => format!("its key is not that of {}; what that was made of is not kept any more", step.execution),
            Some(changed) if changed.is_empty() => {
                format!("its key is that of {}, whose result is not kept any more", step.execution)
            }
            Some(changed) => format!("changed since {}: {}", step.execution, changed.join(", ")),
        }
    }

    /// What it is expected to take.
    pub(super) fn takes(&self) -> String {
        match self.expected {
            _ if !self.has_process => String::new(),
            Some(expected) => format!("about {}", expected.in_words()),
            None => "no record of what it takes".to_owned(),
        }
    }

    pub(super) fn json(&self, masks: &Masks) -> Value {
        let hit = self.found.as_ref().and_then(|found| match found {
            Found::Hit(hit) => Some(hit),
            Found::Miss(_) => None,
        });
        json!({
            "step": self.path,
            "forecast": self.kind.word(),
            "reason": masks.text(&self.reason()),
            "cache_key": self.key,
            "from": hit.map(|hit| &hit.from.execution),
            "saved_ms": hit.map(|hit| hit.saved.process_ms),
            "saved_usd": hit.and_then(|hit| hit.saved.cost_usd),
            "unproven": hit.map(|hit| hit.unproven),
            "previous": self.before.as_ref().map(|before| &before.step.execution),
            "changed": self.before.as_ref().and_then(|before| before.changed.as_ref()),
            "computed_by": self.computed_by.as_ref().map(|other| json!({"execution": other.execution, "step": other.path.to_string()})),
            "after": self.after,
            "expected": self.expected.filter(|_| self.kind.may_run()).map(Expected::json),
        })
    }
}

fn saved(hit: &Hit) -> String {
    let time = elapsed(Duration::from_millis(hit.saved.process_ms));
    let money = hit.saved.cost_usd.map(|cost| format!(" and {}", dollars(cost))).unwrap_or_default();
    let unproven = if hit.unproven { "; no assertion has confirmed it yet" } else { "" };
    format!("the result of {} saves {time}{money}{unproven}", hit.from.execution)
}

/// What becomes of each step of a run that was played, in the order of the file; those of executions that steps are stand behind their step.
pub(super) async fn forecasts(
    rehearsal: &Rehearsal,
    records: &mut Records<'_>,
    run: &ExecutionRow,
    workflow: &Workflow,
) -> Result<Vec<Forecast>, CommandError> {
    let mut told = Vec::new();
    Box::pin(add(&mut told, rehearsal, records, (run, workflow), "")).await?;
    Ok(told)
}

async fn add(
    told: &mut Vec<Forecast>,
    rehearsal: &Rehearsal,
    records: &mut Records<'_>,
    (run, workflow): (&ExecutionRow, &Workflow),
    prefix: &str,
) -> Result<(), CommandError> {
    let ids: Vec<StepId> = workflow.steps.iter().map(|step| step.id.clone()).collect();
    let rows = rehearsal.store.newest_steps(&run.id, run.epoch, &ids).await?;
    let rows: HashMap<StepId, StepRow> =
        rows.into_iter().flatten().map(|row| (row.key.path.step.clone(), row)).collect();
    for step in &workflow.steps {
        let path = StepPath::step(step.id.clone());
        let Some(row) = rows.get(&step.id) else {
            told.push(pending(records, (run, workflow), step, &rows, prefix).await?);
            continue;
        };
        if row.items.is_none() {
            add_begun(told, rehearsal, records, (run, workflow), (step, &path, row), prefix).await?;
            continue;
        }
        let mut from = 0;
        loop {
            let children = rehearsal.store.children(&run.id, row.key.epoch, &step.id, from, PAGE).await?;
            for child in &children {
                add_begun(told, rehearsal, records, (run, workflow), (step, &child.key.path, child), prefix).await?;
            }
            match children.last().and_then(|child| child.key.path.child) {
                Some(last) if children.len() == PAGE => from = last + 1,
                _ => break,
            }
        }
        if row.status() == StepStatus::Failed {
            told.push(settled(row, format!("{prefix}{path}")));
        }
    }
    Ok(())
}

/// A step, or a child, to which the run came.
async fn add_begun(
    told: &mut Vec<Forecast>,
    rehearsal: &Rehearsal,
    records: &mut Records<'_>,
    (run, workflow): (&ExecutionRow, &Workflow),
    (step, path, row): (&Step, &StepPath, &StepRow),
    prefix: &str,
) -> Result<(), CommandError> {
    let mut forecast = settled(row, format!("{prefix}{path}"));
    if let Some(cache) = row.cache.as_deref() {
        let kept = (&*rehearsal.step_cache, &*rehearsal.blobs);
        (forecast.key, forecast.found) = (Some(cache.key.clone()), Some(cache.found.clone()));
        if cache.hit().is_none() {
            if run.options.cache == CacheMode::Use {
                forecast.computed_by = rehearsal.computed_by(&workflow.name, step, &cache.key)?;
            }
            forecast.before = Before::find(kept, run, path, Some(row), &cache.key).await?;
        }
    }
    let nested = match &row.execution {
        Some(id) => rehearsal.store.execution(id).await?,
        None => None,
    };
    if let StepState::Running { .. } = row.state {
        (forecast.kind, forecast.has_process) = match (&nested, &forecast.found) {
            (Some(_), _) => (Kind::Begins, false),
            (None, Some(_)) => (Kind::Miss, true),
            (None, None) => (Kind::Runs, true),
        };
        if forecast.kind == Kind::Runs {
            not_kept(run, step, Some(row))?.clone_into(&mut forecast.note);
        }
        if forecast.has_process {
            forecast.expected = records.of_step(&workflow.name, step, false).await?;
        }
    }
    let inner = format!("{}.", forecast.path);
    told.push(forecast);
    if let (Some(nested), Some(sub)) = (nested, step.action.sub_workflow()) {
        Box::pin(add(told, rehearsal, records, (&nested, &sub.workflow), &inner)).await?;
    }
    Ok(())
}

/// What a row says by itself.
fn settled(row: &StepRow, path: String) -> Forecast {
    let (kind, note) = match &row.state {
        StepState::Completed if row.hit().is_some() => (Kind::Hit, String::new()),
        StepState::Completed => (Kind::Done, warning(row)),
        StepState::Running { .. } | StepState::FannedOut { .. } => (Kind::Begins, String::new()),
        StepState::Waiting(Waiting::Approval(question)) => {
            (Kind::Waits, format!("asks: {}", one_line(&question.message)))
        }
        StepState::Waiting(_) => (Kind::Waits, "for a time".to_owned()),
        StepState::Failed { failure, .. } => (Kind::Fails, one_line(&failure.message)),
        StepState::Skipped(reason) => (Kind::Skipped, skipped(reason).to_owned()),
        StepState::Blocked => (Kind::Blocked, "what it needs fails".to_owned()),
        StepState::Cancelled => (Kind::Skipped, "the run ends before it".to_owned()),
    };
    Forecast {
        path,
        kind,
        has_process: false,
        key: None,
        found: None,
        before: None,
        computed_by: None,
        after: Vec::new(),
        note,
        expected: None,
    }
}

fn warning(row: &StepRow) -> String {
    let warning = row.result.as_ref().and_then(|result| result.warning.as_deref());
    warning.map(one_line).unwrap_or_default()
}

fn skipped(reason: &SkipReason) -> &'static str {
    match reason {
        SkipReason::WhenFalse => "its `when` is false",
        SkipReason::NotSelected => "it is not asked for",
        SkipReason::NothingFailed => "nothing fails",
        SkipReason::RunCancelled => "the run is cancelled",
    }
}

/// A step to which the run did not come: it waits for one that would run.
async fn pending(
    records: &mut Records<'_>,
    (run, workflow): (&ExecutionRow, &Workflow),
    step: &Step,
    rows: &HashMap<StepId, StepRow>,
    prefix: &str,
) -> Result<Forecast, CommandError> {
    let is_looked_up = step.cache.enabled && run.options.cache == CacheMode::Use && !LocalPlace::of(run)?.in_place;
    let has_process = step.action.needs_task() || step.action.sub_workflow().is_some();
    let is_certain = step.action.needs_task()
        && !is_looked_up
        && step.when.is_none()
        && step.foreach.is_none()
        && step.place != Place::OnFailure;
    let note = if is_certain && step.cache.enabled && run.options.cache == CacheMode::Refresh {
        "a new result is asked for"
    } else if is_certain {
        not_kept(run, step, None)?
    } else if has_process && step.when.is_some() {
        "where its `when` holds"
    } else {
        ""
    };
    Ok(Forecast {
        path: format!("{prefix}{}", step.id),
        kind: if is_certain { Kind::Runs } else { Kind::Unknown },
        has_process,
        key: None,
        found: None,
        before: None,
        computed_by: None,
        after: awaited(&workflow.graph, &step.id, rows),
        note: note.to_owned(),
        expected: if has_process { records.of_step(&workflow.name, step, step.foreach.is_some()).await? } else { None },
    })
}

/// Why the result of a step that runs is not kept.
fn not_kept(run: &ExecutionRow, step: &Step, row: Option<&StepRow>) -> Result<&'static str, CommandError> {
    if step.cache.enabled { no_key(run, step, row) } else { Ok("its results are not kept") }
}

/// The steps that must end before this one is looked at: those that it needs, through steps that are not looked at either.
fn awaited(graph: &Graph, step: &StepId, rows: &HashMap<StepId, StepRow>) -> Vec<StepId> {
    let mut found = BTreeSet::new();
    let mut open: Vec<NodeIndex> = graph.index_of(step).into_iter().collect();
    let mut seen: BTreeSet<NodeIndex> = open.iter().copied().collect();
    while let Some(index) = open.pop() {
        for need in &graph.node(index).needs {
            match rows.get(&graph.node(*need).id) {
                Some(row) if row.status().is_settled() => {}
                Some(_) => drop(found.insert(*need)),
                None => open.extend(seen.insert(*need).then_some(*need)),
            }
        }
    }
    found.into_iter().map(|index| graph.node(index).id.clone()).collect()
}

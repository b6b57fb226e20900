//! What becomes of results: they are kept once they are recorded, and withdrawn or confirmed by assertions.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use ratchet_core::{
    cached::{CacheScope, Found, Miss},
    ids::{Digest, StepId, StepKey, StepPath},
    output::{BlobRef, Output, Outputs},
    status::StepStatus,
    step::StepRow,
    workflow::{Action, Step},
};

use crate::{
    engine::{Engine, EngineError},
    ports::{BlobError, BlobStore, CacheError, Entry, EntryName, Looked, Used},
    run::Run,
};

/// Contents up to this size are compared with their digest before they stand in for a step's; larger ones are when they are read.
const COMPARED_BYTES_MAX: u64 = 32 << 20;

/// Children of a fan-out that are read at once.
const PAGE: usize = 320;

/// What a kept result is found by.
pub fn name_of(workflow: &str, step: &Step, key: Digest) -> EntryName {
    let scope = match step.cache.scope {
        CacheScope::Workflow => workflow.to_owned(),
        CacheScope::Shared => String::new(),
    };
    EntryName { scope, key }
}

/// When a result of a step has had its time that was made at another.
pub(crate) fn expiry(step: &Step, made_at: Timestamp) -> Option<Timestamp> {
    let ttl = SignedDuration::try_from(step.cache.ttl?).ok()?;
    made_at.checked_add(ttl).ok()
}

/// What came of restoring a kept result.
pub(crate) enum Restored {
    /// All of it is there; with the files.
    Whole(Option<Digest>),
    /// A file stood in the way.
    Differs(String),
    /// Something of it is not what was kept.
    Damaged(String),
}

/// Compares the contents that outputs name with their digests. A reason where one is not there, or not what it was.
pub async fn check_outputs(blobs: &dyn BlobStore, outputs: &Outputs) -> Result<Result<(), String>, EngineError> {
    let mut open: Vec<Output> = outputs.values().cloned().collect();
    while let Some(output) = open.pop() {
        let (blob, is_output) = match output {
            Output::Json(_) => continue,
            Output::Each(entries) => {
                open.extend(entries.into_iter().flatten());
                continue;
            }
            Output::File(file) => (file.content, false),
            Output::Stored(blob) => (blob, true),
        };
        if !is_output && blob.size > COMPARED_BYTES_MAX {
            if !blobs.contains(&blob.digest).await? {
                return Ok(Err(BlobError::NotFound(blob.digest).to_string()));
            }
            continue;
        }
        let bytes = match blobs.get(&blob.digest).await {
            Ok(bytes) => bytes,
            Err(error @ (BlobError::NotFound(_) | BlobError::Damaged(_))) => return Ok(Err(error.to_string())),
            Err(error) => return Err(error.into()),
        };
        if is_output {
            match serde_json::from_slice(&bytes) {
                Ok(output) => open.push(output),
                Err(error) => return Ok(Err(format!("the output {} cannot be read: {error}", blob.digest))),
            }
        }
    }
    Ok(Ok(()))
}

/// Keeps what a settled step gave, or notes what stood in for it. Trouble costs a later hit, and nothing else.
pub(crate) async fn keep(engine: &Engine, run: &Run, row: &StepRow) {
    match try_to_keep(engine, run, row).await {
        Ok(()) => {}
        Err(Trouble::Cache(error)) => tracing::warn!(step = %row.key, %error, "a result is not kept"),
        Err(Trouble::Engine(error)) => tracing::warn!(step = %row.key, %error, "a result is not kept"),
    }
}

enum Trouble {
    Cache(CacheError),
    Engine(EngineError),
}

impl From<CacheError> for Trouble {
    fn from(error: CacheError) -> Self {
        Self::Cache(error)
    }
}

impl<T: Into<EngineError>> From<T> for Trouble {
    fn from(error: T) -> Self {
        Self::Engine(error.into())
    }
}

async fn try_to_keep(engine: &Engine, run: &Run, row: &StepRow) -> Result<(), Trouble> {
    let (Some(cache), Some(step)) = (row.cache.as_deref(), run.workflow.step(&row.key.path.step)) else {
        return Ok(());
    };
    let (store, name) = (&engine.ports.step_cache, name_of(&run.workflow.name, step, cache.key.clone()));
    let (Some(result), Some(at), StepStatus::Completed) = (&row.result, row.settled_at, row.status()) else {
        return Ok(store.release(&name, &row.key, row.attempt).await?);
    };
    let workflow = run.workflow.name.clone();
    let used =
        |hit, usage| Used { step: row.key.clone(), workflow: workflow.clone(), name: name.clone(), at, hit, usage };
    let missed = match &cache.found {
        Found::Hit(hit) => return Ok(store.note(used(true, hit.saved)).await?),
        Found::Miss(missed) => missed,
    };
    let left = row.tree().filter(|tree| row.base.as_ref() != Some(tree));
    let changed = match left {
        Some(left) => engine.ports.workspaces.size(&run.row, left).await?,
        None => 0,
    };
    let entry = Entry {
        name: name.clone(),
        workflow: workflow.clone(),
        version: step.cache.version.clone(),
        made_by: row.key.clone(),
        outputs: result.outputs.clone(),
        exit_code: result.exit_code,
        warning: result.warning.clone(),
        tree: left.cloned(),
        usage: result.usage,
        session: result.session.clone(),
        bytes: changed + size_of(&result.outputs) + result.session.as_ref().map_or(0, |session| session.size),
        created_at: at,
        expires_at: expiry(step, at),
        unproven: matches!(step.action, Action::ClaudeCode(_)),
    };
    store.publish(entry, used(false, result.usage), *missed == Miss::Refreshed).await?;
    Ok(())
}

fn size_of(outputs: &Outputs) -> u64 {
    fn contents(output: &Output) -> Vec<&BlobRef> {
        match output {
            Output::Json(_) => Vec::new(),
            Output::File(file) => vec![&file.content],
            Output::Stored(blob) => vec![blob],
            Output::Each(entries) => entries.iter().flatten().flat_map(contents).collect(),
        }
    }
    outputs.values().flat_map(contents).map(|blob| blob.size).sum()
}

/// What an assertion says of the agents' results that it rests on: where it is false they are withdrawn for other runs, where it holds they are confirmed.
pub(crate) async fn judge(engine: &Engine, run: &Run, assertion: &StepKey, holds: bool) {
    if let Err(error) = try_to_judge(engine, run, assertion, holds).await {
        let error = match error {
            Trouble::Cache(error) => error.to_string(),
            Trouble::Engine(error) => error.to_string(),
        };
        tracing::warn!(step = %assertion, error, "what an assertion says of kept results is lost");
    }
}

async fn try_to_judge(engine: &Engine, run: &Run, assertion: &StepKey, holds: bool) -> Result<(), Trouble> {
    // With the runs that steps above are, and with what stands above the step that this run is.
    let mut open = vec![(run.clone(), agents_above(run, &assertion.path.step))];
    let mut inner = run.clone();
    while let Some(parent) = judged_above(&inner).cloned() {
        inner = Run::load(engine, &parent.execution).await?;
        open.push((inner.clone(), agents_above(&inner, &parent.path.step)));
    }
    while let Some((run, steps)) = open.pop() {
        for row in rows_of(engine, &run, steps).await? {
            if let Some(id) = &row.execution {
                let nested = Run::load(engine, id).await?;
                let steps = nested.workflow.steps.iter().filter(|step| asks_agents(step));
                let steps = steps.map(|step| step.id.clone()).collect();
                open.push((nested, steps));
            } else if row.status() == StepStatus::Completed {
                judge_one(engine, &run, &row, assertion, holds).await?;
            }
        }
    }
    Ok(())
}

async fn judge_one(
    engine: &Engine,
    run: &Run,
    row: &StepRow,
    assertion: &StepKey,
    holds: bool,
) -> Result<(), CacheError> {
    let (Some(used), Some(step)) = (row.cache.as_deref(), run.workflow.step(&row.key.path.step)) else { return Ok(()) };
    let cache = &engine.ports.step_cache;
    let name = name_of(&run.workflow.name, step, used.key.clone());
    let made_by = used.hit().map_or(&row.key, |hit| &hit.from);
    let now = engine.ports.clock.now();
    if !holds {
        if cache.withdraw(&name, made_by, now).await? {
            tracing::info!(step = %row.key, %assertion, "the agent's result is withdrawn for other runs");
        }
    } else if let Looked::Entry(entry) = cache.get(&name, now).await?
        && entry.unproven
        && entry.made_by == *made_by
    {
        cache.confirm(&name, made_by).await?;
    }
    Ok(())
}

/// The step that a run is, where an assertion in the run says something of what stands above that step. What stands above a fan-out serves its other children as well, and one of
/// them does not refute it.
fn judged_above(run: &Run) -> Option<&StepKey> {
    run.row.parent.as_ref().map(|parent| &parent.key).filter(|step| step.path.child.is_none())
}

/// Whether an assertion may rest on what agents gave that is kept.
pub(crate) fn may_rest_on_agents(run: &Run, assertion: &StepId) -> bool {
    judged_above(run).is_some() || !agents_above(run, assertion).is_empty()
}

/// The steps before another that ask agents, or are runs that do, where the results are kept.
fn agents_above(run: &Run, step: &StepId) -> Vec<StepId> {
    let graph = run.graph();
    let Some(index) = graph.index_of(step) else { return Vec::new() };
    let above: BTreeSet<StepId> =
        graph.ancestors(&[index]).into_iter().map(|index| graph.node(index).id.clone()).collect();
    above.into_iter().filter(|id| id != step && run.workflow.step(id).is_some_and(asks_agents)).collect()
}

fn asks_agents(step: &Step) -> bool {
    match &step.action {
        Action::ClaudeCode(_) => step.cache.enabled,
        Action::Workflow(sub) => sub.workflow.steps.iter().any(asks_agents),
        _ => false,
    }
}

/// The rows of some steps that count, with those of their children.
async fn rows_of(engine: &Engine, run: &Run, steps: Vec<StepId>) -> Result<Vec<StepRow>, EngineError> {
    let store = &engine.ports.store;
    let newest = store.newest_steps(&run.row.id, run.row.epoch, &steps).await?;
    let mut rows = Vec::new();
    for row in newest.into_iter().flatten() {
        if row.items.is_none() {
            rows.push(row);
            continue;
        }
        let StepPath { step, .. } = &row.key.path;
        let mut from = 0;
        loop {
            let children = store.children(&run.row.id, row.key.epoch, step, from, PAGE).await?;
            let last = children.last().and_then(|child| child.key.path.child);
            let is_full = children.len() == PAGE;
            rows.extend(children);
            match last {
                Some(last) if is_full => from = last + 1,
                _ => break,
            }
        }
    }
    Ok(rows)
}

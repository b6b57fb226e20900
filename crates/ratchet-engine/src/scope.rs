//! What the expressions of a step see.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ratchet_core::{
    ids::{StepId, StepPath},
    join::NeedOutcome,
    output::Output,
    status::StepStatus,
    step::StepRow,
    workflow::{OutputSource, Step, Uses},
};
use ratchet_definition::{
    evaluate::{Artifacts, EvaluationError, Evaluator, ExecutionView, Scope, StepView},
    files::FileAccess,
};

use crate::{
    engine::{Engine, EngineError},
    run::Run,
    values::{load_large, load_trigger},
};

/// Rows that were staged and are not in the store yet, by path.
pub(crate) type Overlay = std::collections::HashMap<StepPath, StepRow>;

/// The scope of one step, or of the run's own outputs.
pub(crate) async fn build(
    engine: &Engine,
    run: &Run,
    overlay: &Overlay,
    steps: BTreeSet<StepId>,
    needs: NeedOutcome,
    item: Option<(Output, u32)>,
) -> Result<Scope, EngineError> {
    let blobs = engine.ports.blobs.as_ref();
    let views = views(engine, run, overlay, steps).await?;
    let (item, index) = item.map_or((None, None), |(item, index)| (Some(item), Some(index)));
    Ok(Scope {
        inputs: load_large(blobs, &run.row.inputs).await?,
        env: run.row.environment.clone(),
        steps: views,
        item,
        index,
        execution: ExecutionView {
            id: run.row.id.clone(),
            workflow: run.workflow.name.clone(),
            version: run.workflow.version.clone(),
            started_at: run.row.created_at,
        },
        trigger: load_trigger(blobs, &run.row).await?,
        needs,
        outputs: None,
        locals: BTreeMap::new(),
        now: run.row.created_at,
        artifacts: Artifacts::default(),
    })
}

/// What can be seen of these steps.
pub(crate) async fn views(
    engine: &Engine,
    run: &Run,
    overlay: &Overlay,
    steps: BTreeSet<StepId>,
) -> Result<BTreeMap<StepId, StepView>, EngineError> {
    let mut views = BTreeMap::new();
    for (id, row) in newest(engine, run, overlay, steps).await? {
        let view = match row {
            Some(row) => view(engine, &row).await?,
            None => pending(),
        };
        views.insert(id, view);
    }
    Ok(views)
}

/// The rows of steps that count, staged ones included. Those are at hand: only the others are read.
pub(crate) async fn newest<'o>(
    engine: &Engine,
    run: &Run,
    overlay: &'o Overlay,
    steps: BTreeSet<StepId>,
) -> Result<BTreeMap<StepId, Option<Cow<'o, StepRow>>>, EngineError> {
    let mut rows = BTreeMap::new();
    let mut unstaged = Vec::new();
    for id in steps {
        match overlay.get(&StepPath::step(id.clone())) {
            Some(row) => drop(rows.insert(id, Some(Cow::Borrowed(row)))),
            None => unstaged.push(id),
        }
    }
    if !unstaged.is_empty() {
        let stored = engine.ports.store.newest_steps(&run.row.id, run.row.epoch, &unstaged).await?;
        rows.extend(unstaged.into_iter().zip(stored.into_iter().map(|row| row.map(Cow::Owned))));
    }
    Ok(rows)
}

/// What the expressions of a step's outputs see besides what its process gives: no more than they read, because it travels with the order.
pub(crate) fn of_outputs(step: &Step, scope: &Scope) -> Scope {
    let mut uses = Uses::default();
    for output in &step.outputs {
        if let OutputSource::From { expression, .. } = &output.source {
            uses.extend(&expression.uses);
        }
    }
    let read = |id: &StepId, view: &StepView| {
        let mut view = view.clone();
        view.outputs.retain(|name, _| uses.outputs.get(id).is_some_and(|names| names.contains(name)));
        view
    };
    let mut seen = Scope::of_run(scope.execution.clone());
    seen.inputs.extend(scope.inputs.iter().filter(|(name, _)| uses.inputs.contains(name)).map(owned));
    seen.env.extend(scope.env.iter().filter(|(name, _)| uses.env.contains(name)).map(owned));
    seen.steps = uses.steps.iter().filter_map(|id| Some((id.clone(), read(id, scope.steps.get(id)?)))).collect();
    if uses.item {
        (seen.item, seen.index) = (scope.item.clone(), scope.index);
    }
    if !uses.trigger.is_empty() {
        seen.trigger = scope.trigger.clone();
        if let Some(fields) = seen.trigger.as_object_mut() {
            fields.retain(|name, _| uses.trigger.contains(name));
        }
    }
    Scope { needs: scope.needs, now: scope.now, artifacts: scope.artifacts.clone(), ..seen }
}

fn owned<T: Clone>((name, value): (&String, &T)) -> (String, T) {
    (name.clone(), value.clone())
}

/// Adds the workflow's own variables; what the caller passed stands over them.
pub(crate) fn add_environment(
    scope: &mut Scope,
    run: &Run,
    files: &Arc<dyn FileAccess>,
) -> Result<(), EvaluationError> {
    if run.workflow.environment.is_empty() {
        return Ok(());
    }
    let evaluator = Evaluator::new(scope.clone(), files.clone());
    let mut values = BTreeMap::new();
    for (name, template) in run.workflow.environment.iter() {
        values.insert(name.clone(), evaluator.text(template)?);
    }
    values.append(&mut scope.env);
    scope.env = values;
    Ok(())
}

async fn view(engine: &Engine, row: &StepRow) -> Result<StepView, EngineError> {
    let result = row.result.as_ref();
    let outputs = match result {
        Some(result) => load_large(engine.ports.blobs.as_ref(), &result.outputs).await?,
        None => BTreeMap::new(),
    };
    let duration = row.settled_at.map(|end| end.duration_since(row.started_at).as_millis());
    Ok(StepView {
        status: row.status(),
        outputs,
        exit_code: result.and_then(|result| result.exit_code),
        duration_ms: duration.map(|millis| u64::try_from(millis).unwrap_or(0)),
        attempts: row.attempt,
        cached: row.hit().is_some(),
    })
}

fn pending() -> StepView {
    StepView {
        status: StepStatus::Pending,
        outputs: BTreeMap::new(),
        exit_code: None,
        duration_ms: None,
        attempts: 0,
        cached: false,
    }
}

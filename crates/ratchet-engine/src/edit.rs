//! A run goes on under an edited definition: what still holds of it, and what runs again.

use std::{collections::BTreeSet, sync::Arc};

use ratchet_core::{
    edit::changes,
    execution::{DefinitionRef, Resume},
    graph::{Graph, Node, NodeIndex},
    ids::StepId,
    join::NeedOutcome,
    output::Outputs,
    resume::counting,
    step::StepRow,
    workflow::{Place, Workflow},
};
use ratchet_definition::sources::compile_stored;

use crate::{
    engine::{Engine, EngineError},
    run::Run,
    scope::Overlay,
    trees,
    values::load_large,
};

/// An edited definition.
#[derive(Debug, Clone)]
pub struct EditRequest {
    /// Which it is. The digest is that of `source`.
    pub definition: DefinitionRef,
    /// Its text.
    pub source: String,
    /// The values of its inputs, defaults included, each of its type.
    pub inputs: Outputs,
}

/// What becomes of the steps of a run whose definition is edited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Each step of the edited definition, in the order of the file.
    pub steps: Vec<(StepId, Fate)>,
    /// The steps that are not in it any more.
    pub gone: Vec<StepId>,
    /// The steps from which on no result counts any more.
    pub(crate) reset_from: Vec<StepId>,
}

/// What becomes of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Its result still holds.
    Reused,
    /// It was done, and runs again.
    Again(Why),
    /// It was not done.
    Runs,
    /// It was not there.
    New,
}

/// Why a step runs again that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// This of it is otherwise.
    Changed(Vec<&'static str>),
    /// It needs other steps, and so may find other files.
    Needs,
    /// This step, which it needs, gives something anew.
    After(StepId),
    /// It is asked for, or it always does.
    Asked,
}

/// The edited definition of a run, made valid.
pub(crate) fn edited(run: &Run, request: &EditRequest) -> Result<Arc<Workflow>, EngineError> {
    let refused = |reason: String| EngineError::Edit { execution: run.row.id.clone(), reason };
    let workflow = compile_stored(&request.definition.origin, &request.source).map_err(refused)?;
    if workflow.name != run.workflow.name {
        let reason = format!("it follows {}, and the edited file is {}", run.workflow.name, workflow.name);
        return Err(refused(reason));
    }
    if workflow.concurrency != run.workflow.concurrency {
        return Err(refused("its concurrency group was chosen when it was asked for, and cannot change".to_owned()));
    }
    if let Some(name) = workflow.secret_environment.iter().find(|name| run.row.environment.contains_key(*name)) {
        return Err(EngineError::SecretVariable { workflow: workflow.name.clone(), name: name.clone() });
    }
    Ok(Arc::new(workflow))
}

/// What becomes of each step of a run under an edited definition.
pub(crate) async fn difference(
    engine: &Engine,
    run: &Run,
    workflow: &Arc<Workflow>,
    inputs: &Outputs,
    from: &[StepId],
) -> Result<Difference, EngineError> {
    let edited = Run { row: run.row.clone(), workflow: workflow.clone() };
    let next = run.row.epoch.next();
    let (was, is) = (run.newest(engine).await?, edited.newest(engine).await?);
    let mut resumes = run.row.resumes();
    let was: Vec<Option<&StepRow>> = was.iter().map(Option::as_ref).collect();
    let counted = counting(run.graph(), &was, &resumes, next);
    let counted_of = |id: &StepId| run.graph().index_of(id).and_then(|index| counted[index.position()]);
    let otherwise = changed_inputs(&load_large(engine.ports.blobs.as_ref(), &run.row.inputs).await?, inputs);
    let mut why: Vec<Option<Why>> = vec![None; edited.graph().nodes().len()];
    let mut reset_from: Vec<StepId> = from.to_vec();
    for index in edited.graph().in_order() {
        let node = edited.graph().node(index);
        let Some(step) = edited.step(node).filter(|step| step.place == Place::Work) else { continue };
        let changed =
            run.workflow.step(&step.id).map(|old| changes((&run.workflow, old), (workflow, step), &otherwise));
        let after = node.needs.iter().find(|need| why[need.position()].is_some());
        let reason = match (changed, after) {
            // A step of this name may have been there earlier.
            (None, _) => Some(Why::Changed(Vec::new())),
            (Some(changed), _) if !changed.is_empty() => Some(Why::Changed(changed)),
            (Some(_), Some(need)) => Some(Why::After(edited.graph().node(*need).id.clone())),
            (Some(_), None) if same_needs(run.graph(), edited.graph(), &step.id) => None,
            (Some(_), None) => {
                let same = match counted_of(&step.id) {
                    Some(row) => begins_with_the_same(engine, &edited, node, row, &counted_of).await?,
                    None => false,
                };
                (!same).then_some(Why::Needs)
            }
        };
        if reason.is_some() && after.is_none() && !reset_from.contains(&step.id) {
            reset_from.push(step.id.clone());
        }
        why[index.position()] = reason;
    }
    resumes.push(Resume { epoch: next, reset_from: reset_from.clone(), asked: from.to_vec(), files: None });
    let is: Vec<Option<&StepRow>> = is.iter().map(Option::as_ref).collect();
    let holds = counting(edited.graph(), &is, &resumes, next);
    let is_asked = |index: NodeIndex| {
        let asked: Vec<NodeIndex> = from.iter().filter_map(|id| edited.graph().index_of(id)).collect();
        edited.graph().descendants(&asked).contains(&index)
    };
    let steps = workflow.steps.iter().filter_map(|step| {
        let index = edited.graph().index_of(&step.id)?;
        let fate = match (holds[index.position()], run.workflow.step(&step.id)) {
            (Some(_), _) => Fate::Reused,
            (None, None) => Fate::New,
            (None, Some(_)) if counted_of(&step.id).is_none() => Fate::Runs,
            (None, Some(_)) => {
                let reason = why[index.position()].clone().filter(|_| !from.contains(&step.id));
                let after = edited.graph().node(index).needs.iter().find(|need| holds[need.position()].is_none());
                let after = after.filter(|_| is_asked(index) && !from.contains(&step.id));
                let after = after.map(|need| Why::After(edited.graph().node(*need).id.clone()));
                Fate::Again(reason.or(after).unwrap_or(Why::Asked))
            }
        };
        Some((step.id.clone(), fate))
    });
    let steps = steps.collect();
    let gone = run.workflow.steps.iter().filter(|step| workflow.step(&step.id).is_none());
    Ok(Difference { steps, gone: gone.map(|step| step.id.clone()).collect(), reset_from })
}

fn changed_inputs(before: &Outputs, after: &Outputs) -> BTreeSet<String> {
    let names = before.keys().chain(after.keys());
    names.filter(|name| before.get(*name) != after.get(*name)).cloned().collect()
}

fn same_needs(before: &Graph, after: &Graph, step: &StepId) -> bool {
    let needs = |graph: &Graph| -> Option<BTreeSet<StepId>> {
        let node = graph.node_of(step)?;
        Some(node.needs.iter().map(|need| graph.node(*need).id.clone()).collect())
    };
    needs(before) == needs(after)
}

/// Whether a step that needs other steps than before, all of which still hold, finds the files and hears what it did then. Where a run works in the directory itself, nobody knows what was
/// there.
async fn begins_with_the_same<'a>(
    engine: &Engine,
    edited: &Run,
    node: &Node,
    row: &StepRow,
    counted: &impl Fn(&StepId) -> Option<&'a StepRow>,
) -> Result<bool, EngineError> {
    let mut told = NeedOutcome::FINE;
    for need in &node.needs {
        match counted(&edited.graph().node(*need).id).and_then(StepRow::outcome) {
            Some(outcome) => told = told.and(outcome),
            None => return Ok(false),
        }
    }
    if row.base.is_none() || told != row.needs {
        return Ok(false);
    }
    let base = trees::base(engine, edited, &Overlay::new(), node).await?;
    Ok(base.conflict.is_none() && base.tree == row.base)
}

//! Which files a step begins with: what the steps that it needs left, brought together.

use std::collections::{BTreeMap, BTreeSet};

use ratchet_core::{
    graph::{Node, NodeIndex},
    ids::{Digest, Epoch, StepKey, StepPath},
    resume::counting,
    step::{FailureClass, StepFailure, StepRow},
};

use crate::{
    engine::{Engine, EngineError},
    ports::{Branch, Laid, WorkspaceError},
    run::Run,
    scope::{self, Overlay},
};

/// The code of steps that changed one path to different content.
pub(crate) const CONFLICT: &str = "RT-0195";

/// The files that a step begins with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Base {
    /// The tree; `None` where the run works in the directory itself.
    pub(crate) tree: Option<Digest>,
    /// Why there is no such tree. Then the one above is that of the first of the steps, for whoever runs all the same.
    pub(crate) conflict: Option<StepFailure>,
}

impl Base {
    /// Files about which there is no doubt.
    pub(crate) fn of(tree: Option<Digest>) -> Self {
        Self { tree, conflict: None }
    }
}

/// The files that a step, or one of the engine's own, begins with. Where a run ends early, a step that it needs may never have begun: then what that one needs counts.
pub(crate) async fn base(engine: &Engine, run: &Run, overlay: &Overlay, node: &Node) -> Result<Base, EngineError> {
    let Some(source) = &run.row.tree else { return Ok(Base::default()) };
    let mut branches: BTreeMap<NodeIndex, Branch> = BTreeMap::new();
    let mut open: BTreeSet<NodeIndex> = node.needs.iter().copied().collect();
    let mut seen = open.clone();
    let (mut newest, counting) = (None, counting_before(engine, run).await?);
    let counts =
        |row: &StepRow| counting.as_ref().is_none_or(|(from, keys)| row.key.epoch >= *from || keys.contains(&row.key));
    while !open.is_empty() {
        let steps = open.iter().map(|index| run.graph().node(*index).id.clone()).collect();
        let rows = scope::newest(engine, run, overlay, steps).await?;
        for index in std::mem::take(&mut open) {
            let node = run.graph().node(index);
            let row = rows.get(&node.id).and_then(Option::as_deref).filter(|row| counts(row));
            match row.and_then(StepRow::tree).cloned() {
                Some(tree) => {
                    newest = newest.max(row.map(|row| row.key.epoch));
                    drop(branches.insert(index, Branch { step: StepPath::step(node.id.clone()), tree }));
                }
                None => open.extend(node.needs.iter().copied().filter(|need| seen.insert(*need))),
            }
        }
    }
    let merged = merge(engine, run, branches.into_values().collect()).await?;
    with_later(engine, run, merged.unwrap_or_else(|| Base::of(Some(source.clone()))), newest).await
}

/// Of a run that ends early after a resume: the epoch of that, and what counts of older ones. What does not may be the newest there is of a step that never began again.
async fn counting_before(engine: &Engine, run: &Run) -> Result<Option<(Epoch, BTreeSet<StepKey>)>, EngineError> {
    let resumes = run.row.resumes();
    let Some(last) = resumes.last().filter(|_| !run.row.endings.is_empty()) else { return Ok(None) };
    let newest = run.newest(engine).await?;
    let rows: Vec<Option<&StepRow>> = newest.iter().map(Option::as_ref).collect();
    let counting = counting(run.graph(), &rows, &resumes, run.row.epoch);
    Ok(Some((last.epoch, counting.into_iter().flatten().map(|row| row.key.clone()).collect())))
}

/// The files with what changed in the directory until a resume that brings it in. What a step left that ran since has it already: `newest` is the epoch of the newest one.
async fn with_later(engine: &Engine, run: &Run, mut base: Base, newest: Option<Epoch>) -> Result<Base, EngineError> {
    for resume in run.row.resumes() {
        let (Some(tree), Some(files)) = (&base.tree, &resume.files) else { continue };
        if newest.is_some_and(|newest| newest >= resume.epoch) {
            continue;
        }
        match engine.ports.workspaces.lay(&run.row, tree, files, &[]).await? {
            Laid::Tree(tree) => base.tree = Some(tree),
            Laid::Differs(path) => {
                let message =
                    format!("{path} was changed in the directory, and by a step before this one to other content");
                let failure = StepFailure::new(FailureClass::Conflict, message).with_code(CONFLICT).with_hint(
                    "resume from the step that changes it (`--from`), or with the files as they were (`--files then`)",
                );
                base.conflict = base.conflict.or(Some(failure));
            }
        }
    }
    Ok(base)
}

/// What some steps left, brought together; `None` where there is none of them.
pub(crate) async fn merge(engine: &Engine, run: &Run, mut branches: Vec<Branch>) -> Result<Option<Base>, EngineError> {
    let mut seen = BTreeSet::new();
    branches.retain(|branch| seen.insert(branch.tree.clone()));
    let Some(first) = branches.first().map(|branch| branch.tree.clone()) else { return Ok(None) };
    if branches.len() == 1 {
        return Ok(Some(Base::of(Some(first))));
    }
    match engine.ports.workspaces.merge(&run.row, &branches).await {
        Ok(tree) => Ok(Some(Base::of(Some(tree)))),
        Err(error @ WorkspaceError::Conflict { .. }) => {
            let failure = StepFailure::new(FailureClass::Conflict, error.to_string())
                .with_code(CONFLICT)
                .with_hint("have one of them run after the other (`needs`), or have them write to different paths");
            Ok(Some(Base { tree: Some(first), conflict: Some(failure) }))
        }
        Err(error) => Err(error.into()),
    }
}

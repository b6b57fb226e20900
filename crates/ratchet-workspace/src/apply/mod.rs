//! The changes of a run on their way into the user's directory: all of them or none.

mod git;
mod journal;
mod plan;
mod seen;
mod stage;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, fs::File, io, path::Path};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use self::journal::{Done, Journal, Phase};
pub use self::{
    git::{GitChange, GitState, Head, MovedRef, Repository},
    plan::Conflict,
};
use crate::{contents::Contents, error::WorkspaceError, layer::Layer, manifest::Manifest, path::TreePath};

/// How the folder of an application is named in the user's directory, while it is on its way. It is no part of any tree.
pub const STAGE_PREFIX: &str = ".ratchet-apply-";

/// What is to be applied, and to what.
pub struct Application<'a> {
    /// The user's directory, by a path without links.
    pub target: &'a Path,
    /// A file of the engine's where the application is written down before anything is touched.
    pub journal: &'a Path,
    /// The run: a name that can stand in a file's name and in a ref's.
    pub name: &'a str,
    /// What the directory was when the run began.
    pub start: &'a Manifest,
    /// All that the run changed, marked.
    pub layer: &'a Layer,
    /// What the run did to the directory's repository, where it has one.
    pub git: Option<&'a GitChange>,
    /// Where the contents are.
    pub contents: &'a dyn Contents,
}

/// What came of applying the changes of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Applied {
    /// There was nothing to apply.
    Nothing,
    /// The directory is as the run left its view.
    Whole {
        /// The paths that changed.
        paths: Vec<TreePath>,
        /// What became of the refs that the run moved.
        refs: Vec<MovedRef>,
    },
    /// The directory is as it was: the user changed these paths meanwhile.
    None {
        /// Each with what happened to it.
        conflicts: Vec<Conflict>,
    },
}

/// Applies what a run changed. An application of the same journal that died before is finished or taken back first, and its outcome is told.
pub fn apply(application: &Application<'_>) -> Result<Applied, WorkspaceError> {
    if let Some(finished) = recover(application.journal)? {
        return Ok(finished);
    }
    let _lock = lock(application.target)?;
    match begin(application)? {
        Begun::Ready(journal) => finish(*journal, application.journal),
        Begun::Ended(applied) => Ok(applied),
    }
}

/// Finishes an application that a crash cut short, or takes it back. `None` where there is none, or where it had not begun to touch anything.
pub fn recover(journal: &Path) -> Result<Option<Applied>, WorkspaceError> {
    let Some(begun) = Journal::load(journal)? else { return Ok(None) };
    let _lock = lock(&begun.target)?;
    if begun.phase == Phase::Staging {
        git::release(&begun.target, &begun.name)?;
        begun.clear(journal)?;
        return Ok(None);
    }
    finish(begun, journal).map(Some)
}

enum Begun {
    /// The stage is filled and the journal written.
    Ready(Box<Journal>),
    /// There is nothing to do, or nothing that may be done.
    Ended(Applied),
}

/// Finds what is to be done and makes it ready, without touching anything of the user's but to add objects to his repository.
fn begin(application: &Application<'_>) -> Result<Begun, WorkspaceError> {
    let Application { target, journal: file, name, start, layer, contents, .. } = *application;
    let repository = Repository::find(target)?;
    let plan = plan::plan((target, start, layer), contents, repository.is_some())?;
    if !plan.conflicts.is_empty() {
        return Ok(Begun::Ended(Applied::None { conflicts: plan.conflicts }));
    }
    let git = application.git.zip(repository.as_ref()).filter(|(change, _)| change.before != change.after);
    if plan.changes.is_empty() && git.is_none() {
        return Ok(Begun::Ended(Applied::Nothing));
    }
    let stage = target.join(format!("{STAGE_PREFIX}{name}"));
    let mut journal = Journal {
        name: name.to_owned(),
        target: target.to_owned(),
        stage,
        phase: Phase::Staging,
        operations: Vec::new(),
        keeps_stage: false,
        git: None,
    };
    journal.save(file)?;
    let ready = make_ready(&mut journal, plan, git, contents);
    if !matches!(ready, Ok(None)) {
        journal.abandon(file)?;
    }
    if let Some(conflict) = ready? {
        return Ok(Begun::Ended(Applied::None { conflicts: vec![conflict] }));
    }
    if journal.operations.is_empty() && journal.git.as_ref().is_none_or(git::GitPlan::is_empty) {
        journal.abandon(file)?;
        return Ok(Begun::Ended(Applied::Nothing));
    }
    journal.phase = Phase::Applying;
    journal.save(file)?;
    Ok(Begun::Ready(Box::new(journal)))
}

fn make_ready(
    journal: &mut Journal,
    plan: plan::Plan,
    git: Option<(&GitChange, &Repository)>,
    contents: &dyn Contents,
) -> Result<Option<Conflict>, WorkspaceError> {
    stage::make(&journal.stage)?;
    if let Some((change, repository)) = git {
        repository.add_objects(plan.objects, contents)?;
        match repository.prepare(change, &journal.name)? {
            Ok(plan) => journal.git = Some(plan),
            Err(conflict) => return Ok(Some(conflict)),
        }
    }
    journal.operations = stage::fill(&journal.stage, &journal.target, plan.changes, contents)?;
    Ok(None)
}

fn finish(mut journal: Journal, file: &Path) -> Result<Applied, WorkspaceError> {
    let applied = match journal.perform(file) {
        Ok(Done::All) => {
            let refs = journal.git.as_ref().map_or_else(|| Ok(Vec::new()), git::GitPlan::perform)?;
            let paths: BTreeSet<_> = journal.operations.iter().map(|operation| operation.path().clone()).collect();
            Applied::Whole { paths: paths.into_iter().collect(), refs }
        }
        Ok(Done::None(conflicts)) if !conflicts.is_empty() => Applied::None { conflicts },
        Ok(Done::None(_)) => {
            // Taken back after an error that the process before had no time to tell: it is tried again.
            journal.abandon(file)?;
            return Err(WorkspaceError::writing(&journal.target, io::ErrorKind::Interrupted.into()));
        }
        Err(error) => {
            if matches!(&journal.phase, Phase::Undoing(_)) {
                journal.abandon(file)?;
            }
            return Err(error);
        }
    };
    if matches!(applied, Applied::None { .. }) {
        journal.abandon(file)?;
    } else {
        journal.clear(file)?;
    }
    Ok(applied)
}

/// Keeps other runs of this machine from keeping or applying half an application. Where the file system has no locks there is none.
fn lock(target: &Path) -> Result<File, WorkspaceError> {
    let folder = File::open(target).map_err(|error| WorkspaceError::reading(target, error))?;
    let _ = flock(&folder, FlockOperation::LockExclusive);
    Ok(folder)
}

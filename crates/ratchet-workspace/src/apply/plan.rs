//! What of a run's changes is done to the user's directory, and what stands in the way.

use std::{fmt, fs, path::Path};

use serde::{Deserialize, Serialize};

use super::{
    git::{GitPart, git_part, is_new_object},
    seen::{Kind, Seen},
};
use crate::{
    contents::Contents,
    error::WorkspaceError,
    git_index,
    layer::{Change, Layer},
    manifest::{Entry, Manifest},
    path::TreePath,
};

/// A path that the user changed meanwhile, so that nothing is applied.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Conflict {
    /// Which.
    pub path: TreePath,
    /// What happened to it: a fragment that reads after the path.
    pub reason: String,
}

impl Conflict {
    pub(super) fn new(path: &TreePath, reason: &str) -> Self {
        Self { path: path.clone(), reason: reason.to_owned() }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path, self.reason)
    }
}

/// A change that is done: what was seen there, and what will be.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub(super) path: TreePath,
    pub(super) observed: Option<Seen>,
    pub(super) after: Option<Entry>,
}

/// What is done, or why nothing is.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) changes: Vec<Planned>,
    /// New objects of git. They are added whatever else comes of it.
    pub(super) objects: Vec<(TreePath, Entry)>,
    pub(super) conflicts: Vec<Conflict>,
}

/// Compares the directory with what it was, wherever the run changed something. `has_git` says whether it has a repository of its own.
pub(super) fn plan(
    (target, start, layer): (&Path, &Manifest, &Layer),
    contents: &dyn Contents,
    has_git: bool,
) -> Result<Plan, WorkspaceError> {
    let mut plan = Plan::default();
    let sides = Sides { target, start, layer, contents };
    for (path, change) in layer {
        match git_part(path).filter(|_| has_git) {
            None | Some(GitPart::Module) if change.mark.is_applied() => {}
            Some(GitPart::Objects) => {
                let new = change.after.as_ref().filter(|_| is_new_object(path, change));
                plan.objects.extend(new.map(|entry| (path.clone(), entry.clone())));
                continue;
            }
            _ => continue,
        }
        match sides.compare(path, change)? {
            Compared::Free(observed) => {
                plan.changes.push(Planned { path: path.clone(), observed, after: change.after.clone() });
            }
            Compared::Done => {}
            Compared::Taken(reason) => plan.conflicts.push(Conflict::new(path, reason)),
        }
    }
    Ok(plan)
}

enum Compared {
    /// It is as it was, and this lies there.
    Free(Option<Seen>),
    /// It is already what the run made of it.
    Done,
    /// It was changed: a fragment that reads after the path.
    Taken(&'static str),
}

struct Sides<'a> {
    target: &'a Path,
    start: &'a Manifest,
    layer: &'a Layer,
    contents: &'a dyn Contents,
}

impl Sides<'_> {
    fn compare(&self, path: &TreePath, change: &Change) -> Result<Compared, WorkspaceError> {
        match self.way_to(path)? {
            Way::Open => {}
            Way::ToBeMade if change.before.is_none() => return Ok(Compared::Free(None)),
            // What is to go is gone with its folder.
            Way::ToBeMade | Way::Closed(_) if change.after.is_none() => return Ok(Compared::Done),
            Way::ToBeMade => return Ok(Compared::Taken("was removed")),
            Way::Closed(reason) => return Ok(Compared::Taken(reason)),
        }
        let absolute = self.target.join(path.as_path());
        let now = Seen::at(&absolute).map_err(|error| WorkspaceError::reading(&absolute, error))?;
        let is = |now: &Seen, entry: &Option<Entry>| match entry {
            Some(entry) => now.is_entry(&absolute, entry),
            None => Ok(false),
        };
        let is_folder = |entry: &Option<Entry>| entry.as_ref().is_some_and(Entry::is_folder);
        let has_other_mode = |now: &Seen, entry: &Option<Entry>| {
            now.is_folder() && matches!(entry, Some(Entry::Folder { mode }) if *mode != now.mode)
        };
        Ok(match now {
            None if change.before.is_none() => Compared::Free(None),
            None if change.after.is_none() => Compared::Done,
            None => Compared::Taken("was removed"),
            Some(Seen { kind: Kind::Folder, mode, .. }) if change.after == Some(Entry::Folder { mode }) => {
                Compared::Done
            }
            // Its permissions are all that the run changed of it.
            Some(now) if has_other_mode(&now, &change.before) && is_folder(&change.after) => {
                Compared::Taken("was changed")
            }
            Some(now) if is(&now, &change.before)? => Compared::Free(Some(now)),
            Some(now) if !now.is_folder() && is(&now, &change.after)? => Compared::Done,
            Some(now) if now.kind == Kind::File && is_index_of_module(path) => {
                self.compare_index(&absolute, now, change)?
            }
            Some(Seen { kind: Kind::Other, .. }) => Compared::Taken("is something that is no file"),
            Some(_) if change.before.is_none() => Compared::Taken("was created"),
            Some(_) => Compared::Taken("was changed"),
        })
    }

    /// The index of a submodule says the same with other stamps in it: whoever only looks at the submodule writes them anew.
    fn compare_index(&self, absolute: &Path, now: Seen, change: &Change) -> Result<Compared, WorkspaceError> {
        let found = fs::read(absolute).map_err(|error| WorkspaceError::reading(absolute, error))?;
        let says = |entry: &Option<Entry>| -> Result<bool, WorkspaceError> {
            let Some((digest, _)) = entry.as_ref().and_then(Entry::content) else { return Ok(false) };
            let known = self.contents.read(digest).map_err(|error| WorkspaceError::reading(absolute, error))?;
            Ok(git_index::is_same(&found, &known))
        };
        Ok(if says(&change.after)? {
            Compared::Done
        } else if says(&change.before)? {
            Compared::Free(Some(now))
        } else {
            Compared::Taken("was changed")
        })
    }

    /// Nothing is written through a link, nor into a folder that the user took away; and nothing is looked for through a link that makes room for a folder.
    fn way_to(&self, path: &TreePath) -> Result<Way, WorkspaceError> {
        let mut way = Way::Open;
        for ancestor in path.ancestors() {
            let becomes_folder =
                self.layer.get(&ancestor).is_some_and(|change| change.after.as_ref().is_some_and(Entry::is_folder));
            let was_folder = self.start.get(&ancestor).is_some_and(Entry::is_folder);
            let absolute = self.target.join(ancestor.as_path());
            match Seen::at(&absolute).map_err(|error| WorkspaceError::reading(&absolute, error))? {
                Some(seen) if seen.is_folder() => {}
                Some(_) if becomes_folder => way = Way::ToBeMade,
                Some(_) => return Ok(Way::Closed("lies in a folder that was replaced")),
                None if becomes_folder && !was_folder => way = Way::ToBeMade,
                None => return Ok(Way::Closed("lies in a folder that was removed")),
            }
        }
        Ok(way)
    }
}

/// Whether a path in git's own folder is the index of a submodule.
fn is_index_of_module(path: &TreePath) -> bool {
    git_part(path) == Some(GitPart::Module) && path.as_bytes().ends_with(b"/index")
}

/// What lies above a path.
enum Way {
    /// Folders.
    Open,
    /// Something, or nothing, that gives way to a folder: nothing lies below it yet.
    ToBeMade,
    /// What lets nothing be put there: a fragment that reads after the path.
    Closed(&'static str),
}

//! What of a run's changes is applied to the user's directory, and what stands in the way.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use ratchet_workspace::git_index;
use serde::{Deserialize, Serialize};

use super::{
    changes::Change,
    exempt::{Exemptions, GitPart, git_part},
    manifest::{Entry, Manifest, Side},
    tree::{self, Item, Kind, TreePath},
};
use crate::error::LocalError;

/// A path that the user changed in the meantime, so that nothing is applied.
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

/// A change that is applied: what lies there in the user's directory now, and what will.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Planned {
    /// Which path.
    pub path: TreePath,
    /// What was seen there when it was compared with the start.
    pub observed: Option<Item>,
    /// What will be there.
    pub after: Option<Item>,
}

/// What is applied, or why nothing is.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// By path.
    pub changes: Vec<Planned>,
    /// Where not empty, nothing is applied.
    pub conflicts: Vec<Conflict>,
}

/// The two sides of an application.
pub(super) struct Sides<'a> {
    /// The user's directory.
    pub source: &'a Path,
    /// The run's copy of it.
    pub copy: &'a Path,
    /// What both were at the start.
    pub manifest: &'a Manifest,
    /// The index of git as it was at the start.
    pub index_at_start: PathBuf,
}

/// Compares the user's directory with what it was, wherever the run changed something.
pub(super) fn plan(sides: &Sides<'_>, changes: Vec<Change>, exempt: &Exemptions) -> Result<Plan, LocalError> {
    let failed = |error| LocalError::apply(sides.source, error);
    let mut plan = Plan::default();
    let mut touches_git = false;
    let mut wanted: BTreeMap<TreePath, Change> = BTreeMap::new();
    for change in changes {
        let is_wanted = match git_part(&change.path) {
            None => !exempt.contains(&change.path, change.is_folder()),
            Some(GitPart::Configuration | GitPart::Passing) => false,
            Some(GitPart::Objects) => is_new_object(&change),
            Some(GitPart::Index) => !sides.index_is_same(sides.copy).map_err(failed)?,
            Some(GitPart::Notes | GitPart::State) => true,
        };
        touches_git |= is_wanted && matches!(git_part(&change.path), Some(GitPart::Index | GitPart::State));
        if is_wanted {
            wanted.insert(change.path.clone(), change);
        }
    }
    if touches_git {
        plan.conflicts.extend(sides.foreign_git_changes()?);
    }
    for change in wanted.values() {
        match sides.compare(change, &wanted).map_err(failed)? {
            Compared::Free(observed) => {
                plan.changes.push(Planned { path: change.path.clone(), observed, after: change.after.clone() });
            }
            Compared::Done => {}
            // What git notes for itself follows its state, and is nothing without it.
            Compared::Taken(_) if git_part(&change.path) == Some(GitPart::Notes) => {}
            Compared::Taken(reason) => plan.conflicts.push(Conflict::new(&change.path, reason)),
        }
    }
    plan.conflicts.sort();
    plan.conflicts.dedup();
    Ok(plan)
}

/// Objects are only ever added: a loose one, a pack, or the folder for one.
fn is_new_object(change: &Change) -> bool {
    let inside: Vec<_> = change.path.as_path().iter().skip(2).collect();
    let in_place = inside.first().is_some_and(|part| *part == "pack" || part.len() == 2);
    let name = tree::name(change.path.as_path()).to_string_lossy();
    change.before.is_none() && change.after.is_some() && in_place && !name.starts_with("tmp_")
}

enum Compared {
    /// It is as it was, and this lies there.
    Free(Option<Item>),
    /// It is already what the run made of it.
    Done,
    /// It was changed: a fragment that reads after the path.
    Taken(&'static str),
}

impl Sides<'_> {
    fn compare(&self, change: &Change, wanted: &BTreeMap<TreePath, Change>) -> io::Result<Compared> {
        if let Some(reason) = self.ancestors_in_the_way(&change.path, wanted)? {
            return Ok(Compared::Taken(reason));
        }
        let path = self.source.join(change.path.as_path());
        let now = Item::read(&path)?;
        Ok(match (&change.before, now) {
            (None, None) if path.symlink_metadata().is_ok() => Compared::Taken("is something that is no file"),
            (None, None) => Compared::Free(None),
            (Some(_), None) if change.after.is_none() => Compared::Done,
            (Some(_), None) => Compared::Taken("was removed"),
            (Some(entry), Some(now)) if self.is_as_it_was(change, entry, &path, &now)? => Compared::Free(Some(now)),
            (_, Some(now)) if self.is_as_it_will_be(change, &path, &now)? => Compared::Done,
            (None, Some(_)) => Compared::Taken("was created"),
            (Some(_), Some(_)) => Compared::Taken("was changed"),
        })
    }

    fn is_as_it_was(&self, change: &Change, entry: &Entry, path: &Path, now: &Item) -> io::Result<bool> {
        if now.is_folder() && entry.source.is_folder() {
            return Ok(true);
        }
        if git_part(&change.path) == Some(GitPart::Index) {
            return self.index_is_same(self.source);
        }
        entry.is_unchanged(Side::Source, path, now)
    }

    fn is_as_it_will_be(&self, change: &Change, path: &Path, now: &Item) -> io::Result<bool> {
        let Some(after) = &change.after else { return Ok(false) };
        if after.kind != now.kind || (after.mode != now.mode && !now.is_folder()) {
            return Ok(false);
        }
        Ok(after.kind != Kind::File || tree::is_same_content(path, &self.copy.join(change.path.as_path()))?)
    }

    /// Nothing is written through a link, nor into a folder that the user took away.
    fn ancestors_in_the_way(
        &self,
        path: &TreePath,
        wanted: &BTreeMap<TreePath, Change>,
    ) -> io::Result<Option<&'static str>> {
        for ancestor in path.ancestors() {
            let becomes_folder =
                wanted.get(&ancestor).is_some_and(|change| change.after.as_ref().is_some_and(Item::is_folder));
            let was_folder = self.manifest.entries.get(&ancestor).is_some_and(|entry| entry.source.is_folder());
            match Item::read(&self.source.join(ancestor.as_path()))? {
                Some(item) if item.is_folder() || becomes_folder => {}
                Some(_) => return Ok(Some("lies in a folder that was replaced")),
                None if becomes_folder && !was_folder => {}
                None => return Ok(Some("lies in a folder that was removed")),
            }
        }
        Ok(None)
    }

    /// Whether the index under a root says what it said at the start.
    fn index_is_same(&self, root: &Path) -> io::Result<bool> {
        let read = |path: &Path| match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        };
        Ok(match (read(&self.index_at_start)?, read(&root.join(".git/index"))?) {
            (Some(then), Some(now)) => git_index::is_same(&then, &now),
            (then, now) => then == now,
        })
    }

    /// What the user did to the repository meanwhile: commits, checkouts, branches, what is staged.
    fn foreign_git_changes(&self) -> Result<Vec<Conflict>, LocalError> {
        let failed = |path: &Path, error| LocalError::apply(path, error);
        let git = self.source.join(".git");
        let objects = git.join("objects");
        let mut now = match Item::read(&git).map_err(|error| failed(&git, error))? {
            Some(item) if item.is_folder() => {
                tree::walk(&git, &|path| *path == *objects).map_err(|(path, error)| failed(&path, error))?
            }
            _ => BTreeMap::new(),
        };
        let mut conflicts = Vec::new();
        let mut note = |path: &TreePath, reason| conflicts.push(Conflict::new(path, reason));
        for (path, entry) in &self.manifest.entries {
            let Ok(inside) = path.as_path().strip_prefix(".git") else { continue };
            let item = now.remove(&TreePath::new(inside));
            let absolute = self.source.join(path.as_path());
            let same = match (git_part(path), item) {
                (Some(GitPart::State), Some(item)) => {
                    item.is_folder()
                        || entry
                            .is_unchanged(Side::Source, &absolute, &item)
                            .map_err(|error| failed(&absolute, error))?
                }
                (Some(GitPart::State), None) => entry.source.is_folder(),
                (Some(GitPart::Index), _) => {
                    self.index_is_same(self.source).map_err(|error| failed(&absolute, error))?
                }
                _ => true,
            };
            if !same {
                note(path, "was changed");
            }
        }
        for (inside, item) in now {
            let path = TreePath::new(Path::new(".git").join(inside.as_path()));
            if !item.is_folder() && git_part(&path) == Some(GitPart::State) {
                note(&path, "was created");
            }
        }
        Ok(conflicts)
    }
}

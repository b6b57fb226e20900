//! The repository of the user's directory: what a run did in its own reaches it through git, never file by file.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs::{self, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::{Deserialize, Serialize};

use super::plan::Conflict;
use crate::{
    contents::{self, Contents},
    error::WorkspaceError,
    layer::Change,
    manifest::Entry,
    path::TreePath,
    view::View,
};

/// Where a repository's `HEAD` and refs point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitState {
    /// What is checked out.
    pub head: Head,
    /// Each ref that is not symbolic, with its object.
    pub refs: BTreeMap<String, String>,
}

/// What is checked out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Head {
    /// A branch, by its full name. It may have no commit yet.
    Branch(String),
    /// A commit, on no branch.
    Commit(String),
}

impl GitState {
    fn commit(&self) -> Option<&String> {
        match &self.head {
            Head::Branch(name) => self.refs.get(name),
            Head::Commit(commit) => Some(commit),
        }
    }
}

/// What a run did to its repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitChange {
    /// When it began.
    pub before: GitState,
    /// When it ended.
    pub after: GitState,
}

/// What became of a ref that a run moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedRef {
    /// Its full name.
    pub name: String,
    /// The name under which the run's object is kept instead, where the user had moved the ref too.
    pub kept_as: Option<String>,
}

/// A repository, by its own folder.
#[derive(Debug, Clone)]
pub struct Repository {
    git_dir: PathBuf,
    /// The folder that linked worktrees share.
    common: PathBuf,
    work_tree: PathBuf,
}

impl Repository {
    /// The repository whose work tree begins in a folder, if one does. A linked worktree is one.
    pub fn find(root: &Path) -> Result<Option<Self>, WorkspaceError> {
        let own = root.join(".git");
        let failed = |error| WorkspaceError::reading(&own, error);
        let git_dir = match fs::metadata(&own) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
            Ok(metadata) if metadata.is_dir() => own.clone(),
            Ok(_) => {
                let text = fs::read(&own).map_err(failed)?;
                let Some(place) = text.strip_prefix(b"gitdir: ") else { return Ok(None) };
                root.join(OsStr::from_bytes(place.trim_ascii_end()))
            }
        };
        if !git_dir.join("HEAD").exists() {
            return Ok(None);
        }
        let common = match fs::read(git_dir.join("commondir")) {
            Ok(text) => git_dir.join(OsStr::from_bytes(text.trim_ascii_end())),
            Err(_) => git_dir.clone(),
        };
        Ok(Some(Self { git_dir, common, work_tree: root.to_owned() }))
    }

    /// Where objects are added.
    pub(crate) fn objects(&self) -> PathBuf {
        self.common.join("objects")
    }

    /// Whether the folder is a linked worktree: its own folder lies elsewhere.
    pub(crate) fn is_linked(&self) -> bool {
        self.git_dir != self.work_tree.join(".git")
    }

    /// Folders of other repositories whose objects are this one's too.
    pub(crate) fn alternates(&self) -> Vec<PathBuf> {
        let mut folders = vec![self.objects()];
        let mut at = 0;
        while let Some(folder) = folders.get(at).filter(|_| at < ALTERNATES_MAX) {
            let text = fs::read(folder.join("info/alternates")).unwrap_or_default();
            let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty() && line[0] != b'#');
            let more: Vec<_> = lines.map(|line| folder.join(OsStr::from_bytes(line))).collect();
            for folder in more {
                if !folders.contains(&folder) {
                    folders.push(folder);
                }
            }
            at += 1;
        }
        folders.split_off(1)
    }

    /// Writes what a repository of its own needs beside objects, hooks and submodules, so that nothing in it leads to this one.
    pub(crate) fn write_own(&self, folder: &Path) -> Result<(), WorkspaceError> {
        let failed = |error| WorkspaceError::writing(folder, error);
        let state = self.state()?;
        let head = match &state.head {
            Head::Branch(name) => format!("ref: {name}\n"),
            Head::Commit(commit) => format!("{commit}\n"),
        };
        let refs: Vec<_> = state.refs.iter().map(|(name, object)| format!("{object} {name}\n")).collect();
        for name in ["objects", "refs", "info", "hooks"] {
            fs::create_dir_all(folder.join(name)).map_err(failed)?;
        }
        fs::write(folder.join("HEAD"), head).map_err(failed)?;
        fs::write(folder.join("packed-refs"), refs.concat()).map_err(failed)?;
        let shared = ["config", "info/exclude", "shallow"].map(|name| (self.common.join(name), name));
        for (from, name) in shared.into_iter().chain([(self.git_dir.join("index"), "index")]) {
            match fs::copy(&from, folder.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(WorkspaceError::reading(&from, error));
                }
                _ => {}
            }
        }
        let config = folder.join("config");
        let config = config.to_string_lossy();
        self.git(&["config", "--file", &config, "core.bare", "false"], b"", &[])?.good()?;
        for key in ["core.worktree", "extensions.worktreeConfig"] {
            // It is no error that there is none.
            self.git(&["config", "--file", &config, "--unset-all", key], b"", &[])?;
        }
        Ok(())
    }

    /// The folders of it that are taken as they are, with their names.
    pub(crate) fn shared_folders(&self) -> [(&'static str, PathBuf); 3] {
        ["objects", "hooks", "modules"].map(|name| (name, self.common.join(name)))
    }

    /// Where everything points now.
    pub fn state(&self) -> Result<GitState, WorkspaceError> {
        self.state_from(&|_| Ok(()))
    }

    /// Where everything points in a view, which has a repository of its own. Git runs in the view: nowhere else do paths mean the same to it.
    pub(crate) fn state_in(view: &View) -> Result<Option<GitState>, WorkspaceError> {
        if !view.root().join(".git/HEAD").exists() {
            return Ok(None);
        }
        let git_dir = view.path().join(".git");
        let repository = Self { common: git_dir.clone(), git_dir, work_tree: view.path().to_owned() };
        repository.state_from(&|command| view.place(command, None)).map(Some)
    }

    fn state_from(&self, place: Place<'_>) -> Result<GitState, WorkspaceError> {
        let branch = self.git_at(place, &["symbolic-ref", "-q", "HEAD"], b"", &[])?;
        let head = if branch.is_good {
            Head::Branch(branch.line())
        } else {
            Head::Commit(self.git_at(place, &["rev-parse", "--verify", "HEAD"], b"", &[])?.good()?.line())
        };
        let listed =
            self.git_at(place, &["for-each-ref", "--format=%(objectname) %(symref) %(refname)"], b"", &[])?.good()?;
        let refs = String::from_utf8_lossy(&listed.stdout)
            .lines()
            .filter_map(|line| {
                // Between the two spaces stands what a symbolic ref points to, and it is not moved by itself.
                let (object, name) = line.split_once("  ")?;
                Some((name.to_owned(), object.to_owned()))
            })
            .collect();
        Ok(GitState { head, refs })
    }

    fn git(&self, arguments: &[&str], input: &[u8], environment: &[(&str, &OsStr)]) -> Result<Said, WorkspaceError> {
        self.git_at(&|_| Ok(()), arguments, input, environment)
    }

    /// Runs git in the repository, deaf to everything but the repository's own configuration, and without its hooks.
    fn git_at(
        &self,
        place: Place<'_>,
        arguments: &[&str],
        input: &[u8],
        environment: &[(&str, &OsStr)],
    ) -> Result<Said, WorkspaceError> {
        let failed =
            |error: io::Error| WorkspaceError::Git { command: arguments[0].to_owned(), message: error.to_string() };
        let mut command = Command::new("git");
        command
            .args(["-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "gc.auto=0"])
            .args(arguments)
            .current_dir(&self.work_tree)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("GIT_DIR", &self.git_dir)
            .env("GIT_WORK_TREE", &self.work_tree)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_COMMITTER_NAME", "ratchet")
            .env("GIT_COMMITTER_EMAIL", "ratchet@localhost")
            .env("LC_ALL", "C")
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        place(&mut command).map_err(failed)?;
        let mut process = command.spawn().map_err(failed)?;
        if let Some(mut stdin) = process.stdin.take() {
            // Where git ended before it read everything, its own words matter.
            let _ = stdin.write_all(input);
        }
        let output = process.wait_with_output().map_err(failed)?;
        Ok(Said {
            command: arguments[0].to_owned(),
            is_good: output.status.success(),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }

    /// Adds objects that are not there yet, packs before their indexes.
    pub(super) fn add_objects(
        &self,
        mut objects: Vec<(TreePath, Entry)>,
        contents: &dyn Contents,
    ) -> Result<(), WorkspaceError> {
        objects.sort_by_key(|(path, _)| path.as_bytes().ends_with(b".idx"));
        let folder = self.objects();
        for (path, entry) in objects {
            let Ok(inside) = path.as_path().strip_prefix(".git/objects") else { continue };
            let to = folder.join(inside);
            let failed = |error| WorkspaceError::writing(&to, error);
            if to.exists() {
                continue;
            }
            fs::create_dir_all(to.parent().unwrap_or(&folder)).map_err(failed)?;
            // Git removes what has such a name and is old.
            let passing = folder.join(format!("tmp_obj_ratchet{}", std::process::id()));
            let _ = fs::remove_file(&passing);
            contents::give(contents, &entry, &passing)?;
            fs::set_permissions(&passing, Permissions::from_mode(0o444)).map_err(failed)?;
            fs::File::open(&passing).and_then(|file| file.sync_all()).map_err(failed)?;
            fs::rename(&passing, &to).map_err(failed)?;
        }
        Ok(())
    }

    /// Finds what is to be done to refs, `HEAD` and the index, and makes the index ready. The objects are there.
    pub(super) fn prepare(&self, change: &GitChange, name: &str) -> Result<Result<GitPlan, Conflict>, WorkspaceError> {
        let GitChange { before, after } = change;
        let now = self.state()?;
        let names: BTreeSet<&String> = before.refs.keys().chain(after.refs.keys()).collect();
        let mut updates = Vec::new();
        for full in names {
            let (from, to) = (before.refs.get(full), after.refs.get(full));
            let is_own = full.starts_with("refs/ratchet/");
            // What is checked out is not taken away under the user.
            let is_cut = to.is_none() && matches!(&now.head, Head::Branch(head) if head == full);
            if from != to && now.refs.get(full) != to && !is_own && !is_cut {
                let kept_as = format!("refs/ratchet/{name}/{}", full.strip_prefix("refs/").unwrap_or(full));
                updates.push(RefUpdate { name: full.clone(), from: from.cloned(), to: to.cloned(), kept_as });
            }
        }
        self.check_objects(&updates)?;
        let head = (before.head != after.head && now.head == before.head)
            .then(|| HeadMove { from: before.head.clone(), to: after.head.clone() });
        let mut then = now.clone();
        for update in updates.iter().filter(|update| now.refs.get(&update.name) == update.from.as_ref()) {
            match &update.to {
                Some(to) => drop(then.refs.insert(update.name.clone(), to.clone())),
                None => drop(then.refs.remove(&update.name)),
            }
        }
        if let Some(head) = &head {
            then.head = head.to.clone();
        }
        let plan = GitPlan { root: self.work_tree.clone(), name: name.to_owned(), updates, head, moves_index: false };
        match (now.commit(), then.commit()) {
            (old, Some(new)) if old != Some(new) => self.prepare_index(plan, old, new),
            _ => Ok(Ok(plan)),
        }
    }

    /// Every object that a ref will point to is whole: what it leads to is there.
    fn check_objects(&self, updates: &[RefUpdate]) -> Result<(), WorkspaceError> {
        let wanted: String = updates.iter().filter_map(|update| Some(format!("{}\n", update.to.as_ref()?))).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let input = format!("{wanted}--not\n--all\n");
        self.git(&["rev-list", "--objects", "--quiet", "--stdin"], input.as_bytes(), &[])?.good().map(drop)
    }

    /// Makes an index beside the user's in which the entries that equal the old commit are those of the new one. No other git command may write the index from here on.
    fn prepare_index(
        &self,
        mut plan: GitPlan,
        old: Option<&String>,
        new: &str,
    ) -> Result<Result<GitPlan, Conflict>, WorkspaceError> {
        let index = Index::of(self, &plan.name);
        let conflict = |reason: &str| match TreePath::new(".git/index") {
            Ok(path) => Ok(Err(Conflict::new(&path, reason))),
            Err(error) => Err(WorkspaceError::reading(&index.lock, io::Error::other(error))),
        };
        if !index.lock(&plan.name)? {
            return conflict("is locked by another git command");
        }
        plan.moves_index = true;
        let outcome = self.merge_index(&index, old, new);
        match outcome {
            Ok(true) => Ok(Ok(plan)),
            Ok(false) => {
                index.release(&plan.name)?;
                conflict("has staged changes where the run's commits change something")
            }
            Err(error) => {
                index.release(&plan.name)?;
                Err(error)
            }
        }
    }

    fn merge_index(&self, index: &Index, old: Option<&String>, new: &str) -> Result<bool, WorkspaceError> {
        let failed = |error| WorkspaceError::writing(&index.prepared, error);
        let _ = fs::remove_file(&index.prepared);
        let environment = [("GIT_INDEX_FILE", index.prepared.as_os_str())];
        let old = match old {
            Some(old) => old.clone(),
            None => self.git(&["hash-object", "-t", "tree", "--stdin"], b"", &[])?.good()?.line(),
        };
        match fs::copy(&index.file, &index.prepared) {
            Ok(_) => {}
            // Nothing is staged, not even what is committed: as after a clone without a checkout.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.git(&["read-tree", &old], b"", &environment)?.good()?;
            }
            Err(error) => return Err(failed(error)),
        }
        Ok(self.git(&["read-tree", "-i", "-m", &old, new], b"", &environment)?.is_good)
    }
}

/// Repositories that borrow from each other make a chain no longer than this.
const ALTERNATES_MAX: usize = 16;

/// Says where a command starts.
type Place<'a> = &'a dyn Fn(&mut Command) -> io::Result<()>;

/// What git said.
struct Said {
    command: String,
    is_good: bool,
    stdout: Vec<u8>,
    stderr: String,
}

impl Said {
    fn good(self) -> Result<Self, WorkspaceError> {
        if self.is_good { Ok(self) } else { Err(WorkspaceError::Git { command: self.command, message: self.stderr }) }
    }

    fn line(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end().to_owned()
    }
}

/// The user's index, its lock, and the one that will take its place.
struct Index {
    file: PathBuf,
    lock: PathBuf,
    prepared: PathBuf,
}

impl Index {
    fn of(repository: &Repository, name: &str) -> Self {
        let file = |name: &str| repository.git_dir.join(name);
        Self { file: file("index"), lock: file("index.lock"), prepared: file(&format!("index.ratchet-{name}")) }
    }

    /// Takes git's own lock. It says whose it is, so that nobody else's is ever removed.
    fn lock(&self, name: &str) -> Result<bool, WorkspaceError> {
        let failed = |error| WorkspaceError::writing(&self.lock, error);
        match OpenOptions::new().write(true).create_new(true).open(&self.lock) {
            Ok(mut file) => file.write_all(mark(name).as_bytes()).map(|()| true).map_err(failed),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(self.is_ours(name)),
            Err(error) => Err(failed(error)),
        }
    }

    fn is_ours(&self, name: &str) -> bool {
        fs::read(&self.lock).is_ok_and(|content| content == mark(name).as_bytes())
    }

    fn release(&self, name: &str) -> Result<(), WorkspaceError> {
        let failed = |error| WorkspaceError::writing(&self.lock, error);
        let _ = fs::remove_file(&self.prepared);
        if self.is_ours(name) { fs::remove_file(&self.lock).map_err(failed) } else { Ok(()) }
    }
}

fn mark(name: &str) -> String {
    format!("ratchet applies {name}\n")
}

/// What is done to a repository. Doing it again changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct GitPlan {
    /// The work tree.
    root: PathBuf,
    name: String,
    updates: Vec<RefUpdate>,
    head: Option<HeadMove>,
    /// Whether an index is ready, and the user's is locked.
    moves_index: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct RefUpdate {
    name: String,
    from: Option<String>,
    to: Option<String>,
    kept_as: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct HeadMove {
    from: Head,
    to: Head,
}

impl GitPlan {
    /// Whether there is nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        self.updates.is_empty() && self.head.is_none()
    }

    /// Moves what is as it was, and keeps the rest under other names.
    pub(super) fn perform(&self) -> Result<Vec<MovedRef>, WorkspaceError> {
        let Some(repository) = Repository::find(&self.root)? else { return Ok(Vec::new()) };
        let mut moved = Vec::new();
        for update in &self.updates {
            moved.extend(update.perform(&repository)?);
        }
        let is_kept = |head: &Head| {
            moved
                .iter()
                .any(|moved| moved.kept_as.is_some() && matches!(head, Head::Branch(name) if *name == moved.name))
        };
        let now = repository.state()?;
        if let Some(HeadMove { from, to }) = &self.head
            && now.head == *from
            && !is_kept(to)
        {
            let message = format!("ratchet: {}", self.name);
            match to {
                Head::Branch(branch) => {
                    repository.git(&["symbolic-ref", "-m", &message, "HEAD", branch], b"", &[])?.good()?
                }
                Head::Commit(commit) => {
                    repository.git(&["update-ref", "--no-deref", "-m", &message, "HEAD", commit], b"", &[])?.good()?
                }
            };
        }
        if self.moves_index {
            let index = Index::of(&repository, &self.name);
            if index.prepared.exists() && !is_kept(&repository.state()?.head) {
                fs::rename(&index.prepared, &index.file)
                    .map_err(|error| WorkspaceError::writing(&index.file, error))?;
            }
            index.release(&self.name)?;
        }
        Ok(moved)
    }

    /// Lets the user's index go, where nothing comes of the application.
    pub(super) fn abandon(&self) -> Result<(), WorkspaceError> {
        match Repository::find(&self.root)? {
            Some(repository) if self.moves_index => Index::of(&repository, &self.name).release(&self.name),
            _ => Ok(()),
        }
    }
}

/// Lets the index of a directory go that an application which died before its plan was written may have locked.
pub(super) fn release(root: &Path, name: &str) -> Result<(), WorkspaceError> {
    match Repository::find(root)? {
        Some(repository) => Index::of(&repository, name).release(name),
        None => Ok(()),
    }
}

impl RefUpdate {
    fn perform(&self, repository: &Repository) -> Result<Option<MovedRef>, WorkspaceError> {
        let moved = Ok(Some(MovedRef { name: self.name.clone(), kept_as: None }));
        let find = |name: &str| -> Result<Option<String>, WorkspaceError> {
            let said = repository.git(&["rev-parse", "-q", "--verify", name], b"", &[])?;
            Ok(said.is_good.then(|| said.line()))
        };
        let now = find(&self.name)?;
        if now == self.to {
            return moved;
        }
        // An empty value: the ref must not be there.
        let from = self.from.clone().unwrap_or_default();
        if now == self.from {
            let said = match &self.to {
                Some(to) => repository.git(&["update-ref", "-m", "ratchet", &self.name, to, &from], b"", &[])?,
                None => repository.git(&["update-ref", "-d", &self.name, &from], b"", &[])?,
            };
            if said.is_good {
                return moved;
            }
        }
        let Some(to) = &self.to else { return Ok(None) };
        repository.git(&["update-ref", &self.kept_as, to], b"", &[])?.good()?;
        Ok(Some(MovedRef { name: self.name.clone(), kept_as: Some(self.kept_as.clone()) }))
    }
}

/// Which part of a repository's own folder a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GitPart {
    /// The objects: added, never changed or removed.
    Objects,
    /// A submodule's repository, less what git runs: files like any other.
    Module,
    /// Everything else: refs, the index and `HEAD` move through git, and configuration, hooks and notes stay the user's.
    Kept,
}

/// Which part of git's folder a path is; `None` for a path of the work tree.
pub(super) fn git_part(path: &TreePath) -> Option<GitPart> {
    if !path.is_git() {
        return None;
    }
    let parts: Vec<&OsStr> = path.as_path().iter().skip(1).collect();
    let runs = |part: &&OsStr| ["hooks", "config", "config.worktree", "attributes"].iter().any(|name| *part == *name);
    Some(match parts.first().and_then(|part| part.to_str()) {
        Some("objects") => GitPart::Objects,
        Some("modules") if !parts.iter().any(runs) && !path.as_bytes().ends_with(b".lock") => GitPart::Module,
        _ => GitPart::Kept,
    })
}

/// Objects are only ever added: a loose one, or a pack.
pub(super) fn is_new_object(path: &TreePath, change: &Change) -> bool {
    let inside: Vec<&OsStr> = path.as_path().iter().skip(2).collect();
    let is_file = change.before.is_none() && matches!(change.after, Some(Entry::File { .. }));
    let is_hex = |text: &OsStr| text.as_bytes().iter().all(u8::is_ascii_hexdigit);
    let has_place = match inside.as_slice() {
        [folder, name] if *folder == "pack" => {
            let name = name.as_bytes();
            name.starts_with(b"pack-") && [&b".pack"[..], b".idx", b".rev"].iter().any(|end| name.ends_with(end))
        }
        [folder, name] => folder.len() == 2 && is_hex(folder) && is_hex(name),
        _ => false,
    };
    is_file && has_place
}

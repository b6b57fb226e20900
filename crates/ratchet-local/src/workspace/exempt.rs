//! What is never applied: what git ignores and what tools leave behind, unless a step declared it.

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap},
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    rc::Rc,
};

use ignore::{
    Match,
    gitignore::{Gitignore, GitignoreBuilder},
};

use ratchet_workspace::git_index;

use super::tree::{self, TreePath};

/// Says of each path of a run's files whether a change of it stays in the copy.
pub(super) struct Exemptions {
    declared: BTreeSet<TreePath>,
    git: Option<GitIgnored>,
}

impl Exemptions {
    /// The exemptions of a run that works on `source` in `copy` and whose steps declared some file outputs.
    pub(super) fn new(source: &Path, copy: &Path, declared: BTreeSet<TreePath>) -> Self {
        Self { declared, git: GitIgnored::find(source, copy) }
    }

    /// Whether a change of the path is not applied.
    pub(super) fn contains(&self, path: &TreePath, is_folder: bool) -> bool {
        if self.declared.contains(path)
            || self.declared.iter().any(|declared| declared.as_path().starts_with(path.as_path()))
        {
            return false;
        }
        path.as_path().iter().any(is_leaving) || self.git.as_ref().is_some_and(|git| git.ignores(path, is_folder))
    }
}

/// Whether a test or its coverage left this behind.
fn is_leaving(name: &std::ffi::OsStr) -> bool {
    name == ".coverage"
        || name == "__pycache__"
        || name == ".pytest_cache"
        || name.as_bytes().starts_with(b".coverage.")
}

/// The rules of a repository's `.gitignore` files.
struct GitIgnored {
    /// The root of the repository, which may lie above the directory that the run works on.
    repository: PathBuf,
    /// The directory's place in it.
    prefix: PathBuf,
    /// Where the directory's own files are read: what a run adds to `.gitignore` counts for it.
    copy: PathBuf,
    everywhere: Vec<Gitignore>,
    folders: RefCell<HashMap<PathBuf, Rc<Gitignore>>>,
    tracked: BTreeSet<Vec<u8>>,
}

impl GitIgnored {
    fn find(source: &Path, copy: &Path) -> Option<Self> {
        let repository = source.ancestors().find(|folder| folder.join(".git").symlink_metadata().is_ok())?;
        let prefix = source.strip_prefix(repository).ok()?.to_owned();
        let mut exclude = GitignoreBuilder::new(repository);
        exclude.add(repository.join(".git/info/exclude"));
        let everywhere = vec![
            exclude.build().unwrap_or_else(|_| Gitignore::empty()),
            GitignoreBuilder::new(repository).build_global().0,
        ];
        let index = fs::read(repository.join(".git/index")).unwrap_or_default();
        let tracked = git_index::parse(&index).unwrap_or_default().into_keys().map(|(path, _)| path).collect();
        Some(Self {
            repository: repository.to_owned(),
            prefix,
            copy: copy.to_owned(),
            everywhere,
            folders: RefCell::default(),
            tracked,
        })
    }

    fn ignores(&self, path: &TreePath, is_folder: bool) -> bool {
        let path = self.prefix.join(path.as_path());
        if self.is_tracked(&path, is_folder) {
            return false;
        }
        // A path in an ignored folder is ignored whatever the rules say of the path itself.
        let mut above: Vec<&Path> = path.ancestors().filter(|part| !part.as_os_str().is_empty()).collect();
        above.reverse();
        above.iter().any(|part| self.is_matched(part, is_folder || *part != path))
    }

    fn is_tracked(&self, path: &Path, is_folder: bool) -> bool {
        let mut bytes = path.as_os_str().as_bytes().to_vec();
        if !is_folder {
            return self.tracked.contains(&bytes);
        }
        bytes.push(b'/');
        self.tracked.range(bytes.clone()..).next().is_some_and(|tracked| tracked.starts_with(&bytes))
    }

    /// What the rules of the nearest folder that has an opinion say.
    fn is_matched(&self, path: &Path, is_folder: bool) -> bool {
        let folders = path.ancestors().skip(1).map(|folder| self.rules_of(folder));
        for rules in folders {
            match rules.matched(self.repository.join(path), is_folder) {
                Match::None => {}
                Match::Ignore(_) => return true,
                Match::Whitelist(_) => return false,
            }
        }
        self.everywhere.iter().any(|rules| rules.matched(self.repository.join(path), is_folder).is_ignore())
    }

    fn rules_of(&self, folder: &Path) -> Rc<Gitignore> {
        if let Some(rules) = self.folders.borrow().get(folder) {
            return rules.clone();
        }
        let absolute = self.repository.join(folder);
        let file = match folder.strip_prefix(&self.prefix) {
            Ok(inside) => self.copy.join(inside).join(".gitignore"),
            Err(_) => absolute.join(".gitignore"),
        };
        let mut rules = GitignoreBuilder::new(&absolute);
        if file.symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
            // A line that is no pattern is left out, as git does.
            rules.add(&file);
        }
        let rules = Rc::new(rules.build().unwrap_or_else(|_| Gitignore::empty()));
        self.folders.borrow_mut().insert(folder.to_owned(), rules.clone());
        rules
    }
}

/// Which part of a repository's own folder a path is, for a path that begins with `.git`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GitPart {
    /// Configuration and hooks: they stay the user's, since git runs what they say.
    Configuration,
    /// The objects: added, never changed or removed.
    Objects,
    /// The index.
    Index,
    /// Notes that git makes for itself: applied where the user's did not change, else left alone.
    Notes,
    /// Locks and leavings of a git command that runs or died.
    Passing,
    /// Refs, `HEAD` and all that belongs to them.
    State,
}

/// Which part of git's folder a path is; `None` for a path of the work tree.
pub(super) fn git_part(path: &TreePath) -> Option<GitPart> {
    let mut parts = path.as_path().iter();
    if parts.next()? != ".git" {
        return None;
    }
    let rest: Vec<_> = parts.collect();
    let last = tree::name(path.as_path());
    let first = rest.first().copied().unwrap_or_default();
    if last.as_bytes().ends_with(b".lock") || last == "gc.pid" || last == "gc.log" || last == "FETCH_HEAD" {
        return Some(GitPart::Passing);
    }
    if first == "objects" {
        return Some(GitPart::Objects);
    }
    if first == "refs" && rest.get(1).is_some_and(|part| *part == "remotes") || first == "logs" {
        return Some(GitPart::Notes);
    }
    if first == "refs" {
        return Some(GitPart::State);
    }
    if rest.iter().any(|part| *part == "hooks") || last == "config" || last == "config.worktree" || last == "attributes"
    {
        return Some(GitPart::Configuration);
    }
    Some(match last.to_str() {
        Some("index") if rest.len() == 1 => GitPart::Index,
        Some("ORIG_HEAD" | "COMMIT_EDITMSG" | "AUTO_MERGE" | "description") => GitPart::Notes,
        _ => GitPart::State,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::new(text)
    }

    #[test]
    fn what_git_ignores_and_tools_leave_is_exempt_unless_declared_or_tracked() {
        let folder = tempfile::tempdir().unwrap();
        let (source, copy) = (folder.path().join("repository/package"), folder.path().join("copy"));
        fs::create_dir_all(source.join("../.git/info")).unwrap();
        fs::create_dir_all(copy.join("deep/kept")).unwrap();
        fs::write(source.join("../.gitignore"), "*.log\n/package/build/\n").unwrap();
        fs::write(source.join("../.git/info/exclude"), "mine\n").unwrap();
        fs::write(copy.join(".gitignore"), "out/\n").unwrap();
        fs::write(copy.join("deep/.gitignore"), "!kept.log\n").unwrap();
        let exempt = Exemptions::new(&source, &copy, [path("out/report.xml"), path(".coverage")].into());
        let applied =
            ["a.py", "deep/kept.log", "out/report.xml", "out", ".coverage", ".coveragerc", "build.py", "deep/build/x"];
        let kept_back = [
            "a.log",
            "deep/b.log",
            "build/x/y",
            "out/other",
            "mine",
            "deep/__pycache__/a.pyc",
            ".pytest_cache/v",
            ".coverage.host.1",
        ];
        for (texts, expected) in [(&applied[..], false), (&kept_back[..], true)] {
            for text in texts {
                assert_eq!(exempt.contains(&path(text), *text == "out"), expected, "{text}");
            }
        }
    }

    #[test]
    fn a_directory_without_git_ignores_nothing() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(".gitignore"), "*.log\n").unwrap();
        let exempt = Exemptions::new(folder.path(), folder.path(), BTreeSet::new());
        assert!(!exempt.contains(&path("a.log"), false));
        assert!(exempt.contains(&path("__pycache__"), true));
    }

    #[test]
    fn the_parts_of_a_git_folder() {
        for (text, part) in [
            ("source/a", None),
            (".git/config", Some(GitPart::Configuration)),
            (".git/hooks/pre-commit", Some(GitPart::Configuration)),
            (".git/modules/a/config", Some(GitPart::Configuration)),
            (".git/refs/heads/config", Some(GitPart::State)),
            (".git/refs/heads/hooks/a", Some(GitPart::State)),
            (".git/refs/remotes/origin/main", Some(GitPart::Notes)),
            (".git/HEAD", Some(GitPart::State)),
            (".git/packed-refs", Some(GitPart::State)),
            (".git/index", Some(GitPart::Index)),
            (".git/index.lock", Some(GitPart::Passing)),
            (".git/objects/ab/cd", Some(GitPart::Objects)),
            (".git/logs/HEAD", Some(GitPart::Notes)),
            (".github/config", None),
        ] {
            assert_eq!(git_part(&path(text)), part, "{text}");
        }
    }
}

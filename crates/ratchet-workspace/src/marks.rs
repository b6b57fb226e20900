//! Which paths nobody minds being replaced, and which never reach the user: what git ignores, what tools leave behind, what steps declare.

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap},
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    rc::Rc,
};

use ignore::{
    Match,
    gitignore::{Gitignore, GitignoreBuilder},
};

use crate::{
    git_index,
    layer::{Change, Layer, Mark},
    manifest::Entry,
    path::TreePath,
};

/// Says of each path what kind of file it is.
pub struct Marks {
    declared: BTreeSet<TreePath>,
    git: Option<Ignored>,
}

impl Marks {
    /// The marks of a run's files. `source` is the directory's own path, which says what repository it is in; `root` is where the run's files
    /// are read now, so that what a run adds to `.gitignore` counts for it; `declared` are the file outputs of its steps.
    pub fn new(source: &Path, root: &Path, declared: BTreeSet<TreePath>) -> Self {
        Self { declared, git: Ignored::find(source, root) }
    }

    /// Marks what a layer changed.
    pub fn mark(&self, layer: &mut Layer) {
        layer.mark(|path, change| self.of(path, is_about_folder(change)));
    }

    /// What kind of file a path is.
    pub fn of(&self, path: &TreePath, is_folder: bool) -> Mark {
        if path.holds_any(&self.declared) {
            Mark::Declared
        } else if path.as_path().iter().any(is_leaving) {
            Mark::Leaving
        } else if !path.is_git() && self.git.as_ref().is_some_and(|git| git.ignores(path, is_folder)) {
            Mark::Ignored
        } else {
            Mark::Plain
        }
    }
}

fn is_about_folder(change: &Change) -> bool {
    change.after.as_ref().or(change.before.as_ref()).is_some_and(Entry::is_folder)
}

/// Whether a test or its coverage left this behind.
pub(crate) fn is_leaving(name: &OsStr) -> bool {
    name == ".coverage"
        || name == "__pycache__"
        || name == ".pytest_cache"
        || name.as_bytes().starts_with(b".coverage.")
}

/// The rules of a repository's `.gitignore` files.
struct Ignored {
    /// The root of the repository, which may lie above the directory that the run works on.
    repository: PathBuf,
    /// The directory's place in it.
    prefix: PathBuf,
    /// Where the directory's own files are read.
    root: PathBuf,
    everywhere: Vec<Gitignore>,
    folders: RefCell<HashMap<PathBuf, Rc<Gitignore>>>,
    tracked: BTreeSet<Vec<u8>>,
}

impl Ignored {
    fn find(source: &Path, root: &Path) -> Option<Self> {
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
        let (repository, root) = (repository.to_owned(), root.to_owned());
        Some(Self { repository, prefix, root, everywhere, folders: RefCell::default(), tracked })
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
            Ok(inside) => self.root.join(inside).join(".gitignore"),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::new(text).unwrap()
    }

    #[test]
    fn every_path_has_the_mark_of_its_kind() {
        let folder = tempfile::tempdir().unwrap();
        let (source, root) = (folder.path().join("repository/package"), folder.path().join("view"));
        fs::create_dir_all(source.join("../.git/info")).unwrap();
        fs::create_dir_all(root.join("deep/kept")).unwrap();
        fs::write(source.join("../.gitignore"), "*.log\n/package/build/\n").unwrap();
        fs::write(source.join("../.git/info/exclude"), "mine\n").unwrap();
        fs::write(root.join(".gitignore"), "out/\n").unwrap();
        fs::write(root.join("deep/.gitignore"), "!kept.log\n").unwrap();
        let marks = Marks::new(&source, &root, [path("out/report.xml"), path(".coverage")].into());
        for (mark, paths) in [
            (Mark::Plain, &["a.py", "deep/kept.log", ".coveragerc", "build.py", "deep/build/x", ".git/a.log"][..]),
            (Mark::Declared, &["out/report.xml", "out", ".coverage"]),
            (Mark::Ignored, &["a.log", "deep/b.log", "build/x/y", "out/other", "mine"]),
            (Mark::Leaving, &["deep/__pycache__/a.pyc", ".pytest_cache/v", ".coverage.host.1"]),
        ] {
            for text in paths {
                assert_eq!(marks.of(&path(text), *text == "out"), mark, "{text}");
            }
        }
    }

    #[test]
    fn a_directory_without_git_ignores_nothing() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(".gitignore"), "*.log\n").unwrap();
        let marks = Marks::new(folder.path(), folder.path(), BTreeSet::new());
        assert_eq!(marks.of(&path("a.log"), false), Mark::Plain);
        assert_eq!(marks.of(&path("__pycache__"), true), Mark::Leaving);
    }
}

//! Paths that stay in a workspace, also through symbolic links.

use std::{
    io,
    path::{Component, Path, PathBuf},
};

use ratchet_engine::ports::AttemptFiles;
use ratchet_workspace::resolve;
use thiserror::Error;

/// Why a path cannot be used.
#[derive(Debug, Error)]
pub(crate) enum PathError {
    /// It names nothing, or what no file can be called.
    #[error("`{0}` names no file")]
    Empty(String),
    /// It leads out of the workspace.
    #[error("`{0}` leads out of the workspace")]
    Outside(String),
    /// There is nothing of this name.
    #[error("there is no `{0}`")]
    Missing(String),
    /// The system refused.
    #[error("`{path}` cannot be used: {source}")]
    Io {
        /// Which.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

/// The path without `.` and `..`, relative to the workspace. It is text alone: links are not followed.
pub(crate) fn relative(path: &str) -> Result<PathBuf, PathError> {
    if path.contains('\0') {
        return Err(PathError::Empty(path.replace('\0', "\\0")));
    }
    let mut clean = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::CurDir => {}
            Component::Normal(name) => clean.push(name),
            Component::ParentDir if clean.pop() => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(PathError::Outside(path.to_owned()));
            }
        }
    }
    Ok(clean)
}

/// Where an existing file or folder of the workspace really lies, relative to its root. An absolute path is one of the workspace where it lies in it.
pub(crate) fn existing(files: &AttemptFiles, path: &str) -> Result<PathBuf, PathError> {
    if path.is_empty() || path.contains('\0') {
        return Err(PathError::Empty(path.replace('\0', "\\0")));
    }
    let error = |source: io::Error| match source.kind() {
        io::ErrorKind::NotADirectory => PathError::Missing(path.to_owned()),
        _ => explained(path, source),
    };
    let outside = || PathError::Outside(path.to_owned());
    if files.root() == files.path() {
        // The system itself knows best.
        let root = files.root().canonicalize().map_err(error)?;
        let found = root.join(path).canonicalize().map_err(error)?;
        return found.strip_prefix(&root).map(Path::to_owned).map_err(|_| outside());
    }
    resolve(files.path(), files.root(), Path::new(path), false).map_err(error)?.ok_or_else(outside)
}

/// Where a file of the workspace is to be written or deleted, relative to its root: its folders are made where `create` says so, and none of them leads out. The
/// last name itself is not followed, so that whoever writes replaces a link and does not write through it.
pub(crate) fn target(files: &AttemptFiles, path: &str, create: bool) -> Result<PathBuf, PathError> {
    let clean = relative(path)?;
    let name = clean.file_name().ok_or_else(|| PathError::Empty(path.to_owned()))?;
    let error = |source| explained(path, source);
    let folder = clean.parent().unwrap_or(Path::new(""));
    let folder = if files.root() == files.path() {
        let root = files.root().canonicalize().map_err(error)?;
        resolve(&root, &root, folder, create)
    } else {
        resolve(files.path(), files.root(), folder, create)
    };
    let folder = folder.map_err(error)?.ok_or_else(|| PathError::Outside(path.to_owned()))?;
    if !files.root().join(&folder).is_dir() {
        return Err(error(io::ErrorKind::NotADirectory.into()));
    }
    Ok(folder.join(name))
}

fn explained(path: &str, source: io::Error) -> PathError {
    match source.kind() {
        io::ErrorKind::NotFound => PathError::Missing(path.to_owned()),
        _ => PathError::Io { path: path.to_owned(), source },
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, process::Command, sync::Arc};

    use ratchet_engine::ports::FileView;

    use super::*;

    fn workspace() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs::create_dir_all(root.join("src")).unwrap();
        fs::write(root.join("src/a.py"), "a").unwrap();
        fs::write(folder.path().join("outside"), "secret").unwrap();
        symlink("../outside", root.join("leak")).unwrap();
        symlink("..", root.join("up")).unwrap();
        symlink("src", root.join("inside")).unwrap();
        symlink(root.join("src/a.py"), root.join("own")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        folder
    }

    /// The same files as everybody sees them, and as if only a view showed them at their path.
    fn both(root: &Path) -> [AttemptFiles; 2] {
        struct Elsewhere(PathBuf);
        impl FileView for Elsewhere {
            fn root(&self) -> &Path {
                &self.0
            }

            fn place(&self, _: &mut Command, _: &Path) -> io::Result<()> {
                Err(io::ErrorKind::Unsupported.into())
            }
        }
        let elsewhere = root.with_file_name("elsewhere");
        if !elsewhere.exists() {
            fs::rename(root, &elsewhere).unwrap();
            symlink(&elsewhere, root).unwrap();
        }
        let view = AttemptFiles::in_view(root, Arc::new(Elsewhere(elsewhere)));
        [AttemptFiles::in_folder(root), view]
    }

    fn verdict(result: Result<PathBuf, PathError>) -> String {
        match result {
            Ok(path) => path.display().to_string(),
            Err(PathError::Empty(_)) => "empty".into(),
            Err(PathError::Outside(_)) => "outside".into(),
            Err(PathError::Missing(_)) => "missing".into(),
            Err(PathError::Io { source, .. }) => source.kind().to_string(),
        }
    }

    #[test]
    fn what_exists_is_found_only_inside() {
        let folder = workspace();
        let root = folder.path().join("root");
        let absolute = root.join("src/a.py").display().to_string();
        for (path, expected) in [
            ("src/a.py", "src/a.py"),
            ("./src/../src/a.py", "src/a.py"),
            ("inside/a.py", "src/a.py"),
            ("own", "src/a.py"),
            ("loop", "filesystem loop or indirection limit (e.g. symlink loop)"),
            (absolute.as_str(), "src/a.py"),
            ("src", "src"),
            ("leak", "outside"),
            ("up/outside", "outside"),
            ("../outside", "outside"),
            ("/etc/passwd", "outside"),
            ("nothing", "missing"),
            ("src/a.py/b", "missing"),
            ("", "empty"),
            ("a\0b", "empty"),
        ] {
            for files in both(&root) {
                assert_eq!(verdict(existing(&files, path)), expected, "{path:?} in {files:?}");
            }
        }
    }

    #[test]
    fn what_is_written_stays_inside() {
        let folder = workspace();
        let root = folder.path().join("root");
        for (path, expected) in [
            ("new/deep/file", "new/deep/file"),
            ("inside/b.py", "src/b.py"),
            ("leak", "leak"),
            ("up/outside", "outside"),
            ("../outside", "outside"),
            ("/etc/passwd", "outside"),
            (".", "empty"),
            ("src/a.py/b", "not a directory"),
        ] {
            for files in both(&root) {
                assert_eq!(verdict(target(&files, path, true)), expected, "{path:?} in {files:?}");
            }
        }
    }
}

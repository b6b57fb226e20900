//! Paths that stay in a workspace, also through symbolic links.

use std::{
    io,
    path::{Component, Path, PathBuf},
};

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

/// Where an existing file or folder of the workspace really lies. An absolute path is one of the workspace where it lies in it.
pub(crate) fn existing(root: &Path, path: &str) -> Result<PathBuf, PathError> {
    let error = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => PathError::Missing(path.to_owned()),
        _ => PathError::Io { path: path.to_owned(), source },
    };
    if path.is_empty() || path.contains('\0') {
        return Err(PathError::Empty(path.replace('\0', "\\0")));
    }
    let root = root.canonicalize().map_err(error)?;
    let target = root.join(path).canonicalize().map_err(error)?;
    if target.starts_with(&root) { Ok(target) } else { Err(PathError::Outside(path.to_owned())) }
}

/// Where a file of the workspace is to be written or deleted: its folders are made where `create` says so, and none of them leads out. The last
/// name itself is not followed, so that whoever writes replaces a link and does not write through it.
pub(crate) fn target(root: &Path, path: &str, create: bool) -> Result<PathBuf, PathError> {
    let error = |source| PathError::Io { path: path.to_owned(), source };
    let clean = relative(path)?;
    let name = clean.file_name().ok_or_else(|| PathError::Empty(path.to_owned()))?;
    let root = root.canonicalize().map_err(error)?;
    let mut folder = root.clone();
    for component in clean.parent().into_iter().flat_map(Path::components) {
        folder.push(component);
        if create && !folder.try_exists().map_err(error)? {
            std::fs::create_dir(&folder).map_err(error)?;
        }
        folder = folder.canonicalize().map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => PathError::Missing(path.to_owned()),
            _ => error(source),
        })?;
        if !folder.starts_with(&root) {
            return Err(PathError::Outside(path.to_owned()));
        }
    }
    Ok(folder.join(name))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

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
        folder
    }

    fn verdict(result: Result<PathBuf, PathError>, root: &Path) -> String {
        match result {
            Ok(path) => path.strip_prefix(root.canonicalize().unwrap()).unwrap().display().to_string(),
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
            assert_eq!(verdict(existing(&root, path), &root), expected, "{path:?}");
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
            let found = target(&root, path, true).and_then(|path| {
                let parent = path.parent().unwrap();
                let check = fs::read_dir(parent).map(|_| ());
                check.map_err(|source| PathError::Io { path: String::new(), source }).map(|()| path)
            });
            assert_eq!(verdict(found, &root), expected, "{path:?}");
        }
    }
}

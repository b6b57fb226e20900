use std::{
    fmt, io,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

/// The files that an attempt works on, where they are: in a folder that everybody sees, or in a view that processes have to be started in.
#[derive(Clone)]
pub struct AttemptFiles {
    path: PathBuf,
    view: Option<Arc<dyn FileView>>,
}

/// Files that only those processes see at their path that are started so.
pub trait FileView: Send + Sync {
    /// Where this process finds them. It is joined and opened, and never made canonical: its links are those of the files' own path.
    fn root(&self) -> &Path;

    /// Makes a command start in a folder of the files, relative to their root. The command's own working directory must not be set.
    fn place(&self, command: &mut Command, folder: &Path) -> io::Result<()>;
}

impl AttemptFiles {
    /// Files in a folder that everybody sees.
    pub fn in_folder(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), view: None }
    }

    /// Files that processes see at a path once they are started in a view.
    pub fn in_view(path: impl Into<PathBuf>, view: Arc<dyn FileView>) -> Self {
        Self { path: path.into(), view: Some(view) }
    }

    /// Where the processes of the attempt find them.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where this process finds them.
    pub fn root(&self) -> &Path {
        self.view.as_ref().map_or(&self.path, |view| view.root())
    }

    /// Where this process finds what the processes of the attempt find at a path.
    pub fn here(&self, path: &Path) -> PathBuf {
        match path.strip_prefix(&self.path) {
            Ok(inside) if inside.as_os_str().is_empty() => self.root().to_owned(),
            Ok(inside) => self.root().join(inside),
            Err(_) => path.to_owned(),
        }
    }

    /// Makes a command start in a folder of the files, relative to their root.
    pub fn place(&self, command: &mut Command, folder: &Path) -> io::Result<()> {
        if let Some(view) = &self.view {
            return view.place(command, folder);
        }
        command.current_dir(self.path.join(folder));
        Ok(())
    }
}

impl fmt::Debug for AttemptFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.view.is_some() { "in_view" } else { "in_folder" };
        f.debug_tuple(how).field(&self.path).finish()
    }
}

impl PartialEq for AttemptFiles {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path && self.root() == other.root()
    }
}

impl Eq for AttemptFiles {}

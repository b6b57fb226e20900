//! The file that a program's name stands for.

use std::path::{Path, PathBuf};

use ratchet_engine::ports::AttemptFiles;

/// Why no program of a name can be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotFound {
    /// There is none.
    Missing,
    /// There is a file, and it may not be run.
    NotExecutable(PathBuf),
}

/// The file that a program's name stands for, by the search path that the program itself will have.
pub(crate) fn find(name: &str, search: &str, directory: &Path, files: &AttemptFiles) -> Result<PathBuf, NotFound> {
    use std::os::unix::fs::PermissionsExt;
    let mut refused = None;
    let candidates: Vec<PathBuf> = if name.contains('/') {
        vec![directory.join(name)]
    } else if name.is_empty() {
        Vec::new()
    } else {
        std::env::split_paths(search).map(|folder| directory.join(folder).join(name)).collect()
    };
    for candidate in candidates {
        match files.here(&candidate).metadata() {
            Ok(found) if found.is_file() && found.permissions().mode() & 0o111 != 0 => return Ok(candidate),
            Ok(_) => refused = refused.or(Some(candidate)),
            Err(_) => {}
        }
    }
    Err(refused.map_or(NotFound::Missing, NotFound::NotExecutable))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_as_a_shell_finds_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for (path, mode) in
            [("a/tool", 0o755), ("b/tool", 0o755), ("a/data", 0o644), ("b/data", 0o755), ("a/only", 0o644)]
        {
            std::fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            std::fs::write(root.join(path), "").unwrap();
            std::fs::set_permissions(root.join(path), std::fs::Permissions::from_mode(mode)).unwrap();
        }
        let search = format!("{}:b", root.join("a").display());
        for (name, expected) in [
            ("tool", Ok("a/tool")),
            ("data", Ok("b/data")),
            ("./b/tool", Ok("./b/tool")),
            ("only", Err(NotFound::NotExecutable(root.join("a/only")))),
            ("none", Err(NotFound::Missing)),
            ("a", Err(NotFound::Missing)),
            ("", Err(NotFound::Missing)),
        ] {
            assert_eq!(
                find(name, &search, root, &AttemptFiles::in_folder(root)),
                expected.map(|path| root.join(path)),
                "{name}"
            );
        }
    }
}

//! Where the programs of a machine lie, and what of them is no business of a step's.

use std::{
    collections::BTreeSet,
    env, fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// Where systems keep programs, libraries and what configures them.
const SYSTEM: [&str; 11] =
    ["/bin", "/etc", "/gnu", "/lib", "/lib32", "/lib64", "/libx32", "/nix", "/opt", "/sbin", "/usr"];

/// What belongs to a program that is found in a folder `bin`.
const BESIDE_PROGRAMS: [&str; 13] = [
    "bin",
    "etc",
    "include",
    "lib",
    "lib32",
    "lib64",
    "libexec",
    "plugins",
    "pyenv.d",
    "pyvenv.cfg",
    "sbin",
    "version",
    "versions",
];

/// The system's folders that are there.
pub(super) fn system() -> impl Iterator<Item = &'static Path> {
    SYSTEM.into_iter().map(Path::new).filter(|path| path.symlink_metadata().is_ok())
}

/// Whether a path is one of the system's.
pub(super) fn is_of_system(path: &Path) -> bool {
    SYSTEM.iter().any(|system| path.starts_with(system))
}

/// What a search path names outside the system's folders, with what belongs to the programs there.
pub(super) fn programs(search: &str) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let named: Vec<PathBuf> =
        env::split_paths(search).filter(|folder| folder.is_absolute() && folder.is_dir()).collect();
    let behind: Vec<PathBuf> = named.iter().filter_map(|folder| python_behind(folder)).collect();
    for folder in named.into_iter().chain(behind) {
        let Ok(real) = folder.canonicalize() else { continue };
        for folder in BTreeSet::from([folder, real]) {
            if is_of_system(&folder) {
                continue;
            }
            let is_bin = folder.file_name().is_some_and(|name| name == "bin" || name == "shims");
            if let Some(prefix) = folder.parent().filter(|prefix| is_bin && *prefix != Path::new("/")) {
                let beside = BESIDE_PROGRAMS.iter().map(|name| prefix.join(name));
                found.extend(beside.filter(|path| path.exists()));
            }
            found.insert(folder);
        }
    }
    found
}

/// Where the Python of a virtual environment really lies.
fn python_behind(folder: &Path) -> Option<PathBuf> {
    let settings = fs::read_to_string(folder.parent()?.join("pyvenv.cfg")).ok()?;
    let (_, home) = settings.lines().filter_map(|line| line.split_once('=')).find(|(name, _)| name.trim() == "home")?;
    let home = PathBuf::from(home.trim());
    let is_python = home.is_absolute() && home.ends_with("bin") && home.join("python3").is_file();
    is_python.then_some(home)
}

/// What of the system's configuration not everybody may read. Only somebody who may read everything has to be kept from it by a wall.
pub(super) fn hidden() -> &'static [PathBuf] {
    static HIDDEN: OnceLock<Vec<PathBuf>> = OnceLock::new();
    HIDDEN.get_or_init(|| {
        let mut hidden = Vec::new();
        hide_in(Path::new("/etc"), &mut hidden);
        hidden
    })
}

fn hide_in(folder: &Path, hidden: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let Ok(found) = path.symlink_metadata() else { continue };
        let mode = found.permissions().mode();
        if found.is_dir() {
            if mode & 0o005 == 0o005 {
                hide_in(&path, hidden);
            } else {
                hidden.push(path);
            }
        } else if found.is_file() && mode & 0o004 == 0 && found.size() > 0 {
            hidden.push(path);
        }
    }
}

/// A file that name resolution reads and that lies outside the system's folders.
pub(super) fn resolver() -> Option<PathBuf> {
    let real = Path::new("/etc/resolv.conf").canonicalize().ok()?;
    (!is_of_system(&real)).then_some(real)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_programs_is_found_and_homes_are_not() {
        let place = tempfile::tempdir().unwrap();
        let home = place.path().canonicalize().unwrap();
        for folder in ["tools/bin", "tools/lib", "tools/secrets", ".local/bin", ".local/share", "plain"] {
            fs::create_dir_all(home.join(folder)).unwrap();
        }
        let at = |path: &str| home.join(path);
        let search = format!(
            "/usr/bin:{}:{}:{}:relative:/nowhere",
            at("tools/bin").display(),
            at(".local/bin").display(),
            at("plain").display()
        );
        let expected = [at("tools/bin"), at("tools/lib"), at(".local/bin"), at("plain")];
        assert_eq!(programs(&search), BTreeSet::from(expected));
    }
}

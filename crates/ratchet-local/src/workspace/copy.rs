//! The plain copy of a directory that a run works in.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, DirBuilder, File, FileTimes, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Component, Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::fs::OFlags;

use super::{
    manifest::{Entry, Manifest},
    tree::{self, Item, Kind, Stamp, TreePath, digest_of_file},
};
use crate::error::LocalError;

/// A file that changed this shortly before it was read could change again under the same stamp.
const STAMP_DOUBT: Duration = Duration::from_secs(2);

/// Files up to so many bytes are digested when they are copied, so that an edit which is taken back is no edit.
const DIGEST_AT_ONCE: u64 = 256 * 1024;

/// How often a file that changes while it is copied is copied again.
const COPY_ATTEMPTS: usize = 5;

/// Copies a directory with all that is in it and says what was there. `target` must not exist; `names` are
/// the absolute paths that the directory is known by. Sockets, pipes and devices are left out.
pub(super) fn copy(
    source: &Path,
    names: &[&Path],
    target: &Path,
    skip: &dyn Fn(&Path) -> bool,
) -> Result<Manifest, LocalError> {
    check(source)?;
    let items = tree::walk(source, skip).map_err(|(path, error)| LocalError::copy(&path, error))?;
    if let Some(path) = find_bound(source, names, &items).map_err(|error| LocalError::copy(source, error))? {
        return Err(LocalError::Bound { path });
    }
    make_folder(target).map_err(|error| LocalError::copy(target, error))?;
    let mut manifest = Manifest::default();
    for (path, item) in items {
        let (from, to) = (source.join(path.as_path()), target.join(path.as_path()));
        let entry = match &item.kind {
            Kind::Folder => {
                make_folder(&to).map_err(|error| LocalError::copy(&from, error))?;
                Some(Entry { copy: item.clone(), source: item, digest: None, doubtful: false })
            }
            Kind::Link(points_to) => {
                let points_to = link_in_copy(source, &path, points_to.as_path())?;
                std::os::unix::fs::symlink(&points_to, &to).map_err(|error| LocalError::copy(&from, error))?;
                let copy = Item { kind: Kind::Link(TreePath::new(points_to)), ..item.clone() };
                Some(Entry { source: item, copy, digest: None, doubtful: false })
            }
            Kind::File => copy_file(&from, &to).map_err(|error| LocalError::copy(&from, error))?,
        };
        manifest.entries.extend(entry.map(|entry| (path, entry)));
    }
    close_folders(target, &mut manifest.entries).map_err(|error| LocalError::copy(target, error))?;
    Ok(manifest)
}

/// Copies the content and mode of one file to a path where nothing is, by reference where the file system can.
pub(super) fn copy_content(from: &Path, to: &Path) -> io::Result<(Stamp, u32)> {
    let mut reader = OpenOptions::new().read(true).custom_flags(flags(OFlags::NOFOLLOW)).open(from)?;
    let metadata = reader.metadata()?;
    let mode = metadata.permissions().mode() & 0o7777;
    let mut writer = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    // The standard library copies inside the kernel, which shares the blocks where the file system can.
    io::copy(&mut reader, &mut writer)?;
    writer.set_permissions(Permissions::from_mode(mode))?;
    writer.set_times(FileTimes::new().set_modified(metadata.modified()?))?;
    Ok((Stamp::of(&metadata), mode))
}

fn copy_file(from: &Path, to: &Path) -> io::Result<Option<Entry>> {
    for _ in 0..COPY_ATTEMPTS {
        let (before, mode) = match copy_content(from, to) {
            Ok(copied) => copied,
            // It was removed after the folder was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound && Item::read(from)?.is_none() => return Ok(None),
            Err(error) => return Err(error),
        };
        if let Some(source) = Item::read(from)?
            && (source.stamp, source.mode, &source.kind) == (before, mode, &Kind::File)
        {
            let stamp = Stamp::of(&fs::symlink_metadata(to)?);
            let doubtful = is_doubtful(source.stamp);
            let digest = (doubtful || stamp.size <= DIGEST_AT_ONCE).then(|| digest_of_file(to)).transpose()?;
            return Ok(Some(Entry { source, copy: Item { kind: Kind::File, mode, stamp }, digest, doubtful }));
        }
        fs::remove_file(to)?;
    }
    Err(io::Error::other("the file changes faster than it can be copied"))
}

fn is_doubtful(stamp: Stamp) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let settled = i128::try_from(now.saturating_sub(STAMP_DOUBT.as_nanos())).unwrap_or(i128::MAX);
    stamp.changed >= settled
}

/// Open for its owner until everything is in it.
fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

/// Gives folders their modes and times, once nothing more is put into them.
fn close_folders(target: &Path, entries: &mut BTreeMap<TreePath, Entry>) -> io::Result<()> {
    for (path, entry) in entries.iter_mut().rev().filter(|(_, entry)| entry.source.is_folder()) {
        let to = target.join(path.as_path());
        let modified = u64::try_from(entry.source.stamp.modified).unwrap_or_default();
        File::open(&to)?.set_times(FileTimes::new().set_modified(UNIX_EPOCH + Duration::from_nanos(modified)))?;
        fs::set_permissions(&to, Permissions::from_mode(entry.source.mode))?;
    }
    Ok(())
}

/// Where a link of the copy points: out of the directory it must name the same place as before, and into it by its absolute path it would lead
/// steps back into the user's own files.
fn link_in_copy(source: &Path, path: &TreePath, points_to: &Path) -> Result<PathBuf, LocalError> {
    let link = source.join(path.as_path());
    if points_to.is_absolute() {
        let leads_back = lexically_normal(points_to).starts_with(source);
        return if leads_back { Err(LocalError::Bound { path: link }) } else { Ok(points_to.to_owned()) };
    }
    let absolute = lexically_normal(&link.parent().unwrap_or(source).join(points_to));
    Ok(if absolute.starts_with(source) { points_to.to_owned() } else { absolute })
}

/// A path without `.` and `..`, as its text says.
pub(crate) fn lexically_normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            other => normal.push(other),
        }
    }
    normal
}

/// Refuses a directory that only works where it lies.
fn check(source: &Path) -> Result<(), LocalError> {
    let unusable = |reason: String| LocalError::NoWorkspace { path: source.to_owned(), reason };
    match fs::metadata(source) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return Err(unusable("it is not a directory".to_owned())),
        Err(error) => return Err(unusable(error.to_string())),
    }
    let git = source.join(".git");
    if git.symlink_metadata().is_ok_and(|metadata| !metadata.is_dir())
        || git.join("objects/info/alternates").symlink_metadata().is_ok()
    {
        return Err(LocalError::LinkedWorktree { path: git });
    }
    Ok(())
}

/// Whether a file of this name says where a virtual environment or an editable install lies.
fn may_name_its_place(path: &Path) -> bool {
    let name = tree::name(path);
    name == "pyvenv.cfg"
        || name == "direct_url.json"
        || (name == "activate" && path.parent().map(tree::name) == Some(OsStr::new("bin")))
        || path.extension().is_some_and(|extension| extension == "pth" || extension == "egg-link")
}

/// Finds a file that holds the directory's own absolute path where that makes programs read the user's files instead of the copy's.
fn find_bound(source: &Path, names: &[&Path], items: &BTreeMap<TreePath, Item>) -> io::Result<Option<PathBuf>> {
    use std::os::unix::ffi::OsStrExt;
    let files = items.iter().filter(|(_, item)| item.kind == Kind::File);
    for (path, item) in files.filter(|(path, _)| may_name_its_place(path.as_path())) {
        if item.stamp.size > 1024 * 1024 {
            continue;
        }
        let absolute = source.join(path.as_path());
        let text = fs::read(&absolute)?;
        let ends =
            |rest: &[u8]| !rest.first().is_some_and(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte));
        let names_it = |own: &[u8]| {
            text.windows(own.len()).enumerate().any(|(at, window)| window == own && ends(&text[at + own.len()..]))
        };
        if names.iter().any(|name| names_it(name.as_os_str().as_bytes())) {
            return Ok(Some(absolute));
        }
    }
    Ok(None)
}

fn flags(flags: OFlags) -> i32 {
    // Open flags fit: they come from C's int.
    i32::try_from(flags.bits()).unwrap_or_default()
}

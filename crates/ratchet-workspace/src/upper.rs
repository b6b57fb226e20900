//! What a step changed, read from the folder that the kernel keeps its changes in. What it left alone is not looked at.

use std::{path::Path, time::SystemTime};

use crate::{
    error::WorkspaceError,
    layer::{Change, Layer, Mark},
    lower::{is_opaque, remove_below},
    manifest::{Entry, Manifest},
    path::TreePath,
    scan::{Glance, Item, Skip, list, look_up, read_files},
    stamp::StatCache,
};

/// Reads the changes over a tree, once `glance` has seen what there is, and what is known of the files with them from now on. A file that was only touched is none.
pub(crate) fn read(
    upper: &Path,
    base: &Manifest,
    skip: Skip<'_>,
    known: &StatCache,
    glance: Glance<'_>,
) -> Result<(Layer, StatCache), WorkspaceError> {
    let begun = SystemTime::now();
    let mut found = list(upper, skip)?;
    look_up(&mut found, known);
    glance(&found)?;
    read_files(upper, &mut found)?;
    let cache = found.iter().filter_map(|(path, item)| match item {
        Item::File { stamp, digest: Some(digest), .. } if !stamp.is_doubtful_at(begun) => {
            Some((path.clone(), *stamp, *digest))
        }
        _ => None,
    });
    let cache = StatCache::new(cache.collect());
    let is_there = |path: &TreePath| found.binary_search_by(|(other, _)| other.cmp(path)).is_ok();
    let mut layer = Layer::default();
    for (path, item) in &found {
        let after = match item {
            Item::Folder { mode } => Some(Entry::Folder { mode: *mode }),
            Item::File { mode, stamp, digest: Some(digest) } => {
                Some(Entry::File { mode: *mode, size: stamp.size, digest: *digest })
            }
            Item::Link(target) => Some(Entry::Link { target: target.clone() }),
            // What a socket or a pipe hides is gone as well, and it is nothing that could be kept.
            Item::Whiteout | Item::File { digest: None, .. } | Item::Other => None,
        };
        let is_merged = after.as_ref().is_some_and(Entry::is_folder)
            && base.get(path).is_none_or(Entry::is_folder)
            && !is_opaque(&upper.join(path.as_path())).map_err(|error| WorkspaceError::reading(upper, error))?;
        if !is_merged {
            remove_below(&mut layer, base, path, is_there);
        }
        layer.insert(path.clone(), Change { before: base.get(path).cloned(), after, mark: Mark::Plain });
    }
    Ok((layer, cache))
}

//! A directory that a run on another machine begins with, or goes on with: its contents on their way there and back.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use crate::{
    contents::{Contents, give},
    digest::ContentDigest,
    error::WorkspaceError,
    layer::Layer,
    lower::{self, Holes},
    manifest::Manifest,
    path::TreePath,
    scan::in_parallel_each,
    tree::Trees,
};

/// Puts a directory where its trees are: each content that is not there yet, and then what says where they lie. `locate` says where a file's content is now; what is not any
/// more what the manifest says is an error, and leaves no tree. The tree.
pub fn upload(
    trees: &Trees,
    manifest: &Manifest,
    locate: &(dyn Fn(&TreePath) -> Option<PathBuf> + Sync),
) -> Result<ContentDigest, WorkspaceError> {
    let mut files: BTreeMap<ContentDigest, &TreePath> = BTreeMap::new();
    for (path, entry) in manifest {
        if let Some((digest, _)) = entry.content() {
            files.entry(digest).or_insert(path);
        }
    }
    let files: Vec<_> = files.into_iter().collect();
    let contents = &**trees.contents();
    in_parallel_each(&files, |(digest, path)| {
        // What is there counts as put now, so that nobody removes it meanwhile.
        if contents.has(*digest) {
            return Ok(());
        }
        let changing = |path: PathBuf| WorkspaceError::Changing { path };
        let place = locate(path).ok_or_else(|| changing(path.as_path().to_owned()))?;
        let (kept, _) = contents.keep(&place).map_err(|error| WorkspaceError::reading(&place, error))?;
        if kept == *digest { Ok(()) } else { Err(changing(place)) }
    })?;
    trees.begin(manifest)
}

/// Writes the files of a tree to a folder where nothing is.
pub fn hydrate(trees: &Trees, tree: ContentDigest, folder: &Path) -> Result<Manifest, WorkspaceError> {
    let manifest = trees.manifest(tree)?;
    let whole = Layer::between(&Manifest::default(), &manifest);
    let contents: &dyn Contents = &**trees.contents();
    lower::write(folder, Holes::Untold, &whole, &manifest, &mut |_, entry, to| give(contents, entry, to))?;
    Ok(manifest)
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::Arc};

    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;
    use crate::{
        scan::scan,
        stamp::StatCache,
        testing::{self, Memory},
    };

    fn scanned(root: &Path) -> Manifest {
        scan(root, &|_| false, &StatCache::default()).unwrap().manifest
    }

    fn upload_all(trees: &Trees, root: &Path) -> Result<ContentDigest, WorkspaceError> {
        upload(trees, &scanned(root), &|path| Some(root.join(path.as_path())))
    }

    proptest! {
        #![proptest_config(testing::cases(64))]

        #[test]
        fn a_directory_goes_there_and_back(tree in testing::trees()) {
            let folder = TempDir::new().unwrap();
            let (from, to) = (folder.path().join("from"), folder.path().join("to"));
            fs::create_dir(&from).unwrap();
            testing::write_tree(&from, &tree);
            let contents: Arc<Memory> = Arc::default();
            let there = upload_all(&Trees::new(contents.clone()), &from).unwrap();
            // Elsewhere, nothing is known but the tree.
            let elsewhere = Trees::new(contents);
            prop_assert_eq!(hydrate(&elsewhere, there, &to).unwrap(), scanned(&from));
            prop_assert_eq!(scanned(&to), scanned(&from));
            prop_assert_eq!(upload_all(&elsewhere, &to).unwrap(), there, "the same files are the same tree");
        }
    }

    #[test]
    fn what_changes_on_its_way_is_no_tree() {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("file"), "as it was").unwrap();
        let manifest = scanned(folder.path());
        let trees = Trees::new(Arc::<Memory>::default());
        for now in [Some("as it is"), None] {
            match now {
                Some(text) => fs::write(folder.path().join("file"), text).unwrap(),
                None => fs::remove_file(folder.path().join("file")).unwrap(),
            }
            let uploaded = upload(&trees, &manifest, &|path| Some(folder.path().join(path.as_path())));
            let is_told = matches!(uploaded, Err(WorkspaceError::Changing { .. } | WorkspaceError::Unreadable { .. }));
            assert!(is_told, "{uploaded:?}");
        }
    }
}

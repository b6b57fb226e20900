//! The digest of a folder: over each path below it, in order, with its kind, whether it can be executed, and its content.

use ratchet_core::{history::hex, ids::Digest};
use ratchet_workspace::{Entry, TreePath};
use sha2::{Digest as _, Sha256};

/// Makes it.
pub(crate) struct FolderDigest;

impl FolderDigest {
    /// The digest of these paths, relative to the folder, in order. Lengths stand before texts, so that no two folders come to the same lines.
    pub(crate) fn of<'a>(below: impl Iterator<Item = (TreePath, &'a Entry)>) -> Digest {
        let mut hasher = Sha256::new();
        for (path, entry) in below {
            let (mode, content) = match entry {
                Entry::Folder { .. } => ("040000", String::new()),
                Entry::Link { target } => ("120000", target.to_string()),
                Entry::File { mode, digest, .. } => {
                    (if mode & 0o111 == 0 { "100644" } else { "100755" }, digest.to_string())
                }
            };
            let name = path.to_string();
            hasher.update(format!("{mode} {} {name} {} {content}\n", name.len(), content.len()));
        }
        Digest::new(hex(&hasher.finalize()))
    }
}

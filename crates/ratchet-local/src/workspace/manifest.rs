//! What the files of a run were at its start, in the user's directory and in the copy.

use std::{collections::BTreeMap, fs, io, path::Path};

use ratchet_core::ids::Digest;
use serde::{Deserialize, Serialize};

use super::tree::{Item, Kind, TreePath, digest_of_file};
use crate::{directory, error::LocalError};

/// The files of a run at its start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// By path, parents first.
    pub entries: BTreeMap<TreePath, Entry>,
}

/// One file of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// In the user's directory.
    pub source: Item,
    /// In the copy.
    pub copy: Item,
    /// The digest of a file's content, where it was small enough to be read at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Whether the stamp of a file cannot tell a change: it was written in the very moment that it was read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub doubtful: bool,
}

/// Which side of the manifest a file is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// The user's directory.
    Source,
    /// The copy.
    Copy,
}

impl Entry {
    /// What was there at the start.
    pub(super) fn item(&self, side: Side) -> &Item {
        match side {
            Side::Source => &self.source,
            Side::Copy => &self.copy,
        }
    }

    /// Whether what lies at `path` now is what was there at the start. Where only the content can tell, it is read.
    pub(super) fn is_unchanged(&self, side: Side, path: &Path, now: &Item) -> io::Result<bool> {
        let then = self.item(side);
        if then.kind != now.kind || then.mode != now.mode {
            return Ok(false);
        }
        if now.kind != Kind::File || (then.stamp == now.stamp && !self.doubtful) {
            return Ok(true);
        }
        match &self.digest {
            Some(digest) if then.stamp.size == now.stamp.size => Ok(digest_of_file(path)? == *digest),
            Some(_) | None => Ok(false),
        }
    }
}

impl Manifest {
    /// Reads a manifest.
    pub(super) fn load(path: &Path) -> Result<Self, LocalError> {
        let text = fs::read(path).map_err(|source| LocalError::state_directory(path, "be read", source))?;
        serde_json::from_slice(&text)
            .map_err(|error| LocalError::Damaged { path: path.to_owned(), reason: error.to_string() })
    }

    /// Writes it, whole or not at all.
    pub(super) fn save(&self, path: &Path) -> Result<(), LocalError> {
        let refused = |source| LocalError::state_directory(path, "be written", source);
        let text = serde_json::to_vec(self).map_err(|error| refused(error.into()))?;
        directory::write_whole(path, &text).map_err(refused)
    }
}

//! The files of a run.
//!
//! A tree of files is described by a [`Manifest`]; what a step changed in it is a [`Layer`]. Both are plain data with one canonical form and a digest
//! each; contents stand in them by their SHA-256 and live wherever the caller keeps them.

mod apply;
mod checkout;
mod codec;
mod contents;
mod digest;
mod disk;
mod error;
mod fingerprint;
pub mod git_index;
mod kept;
mod layer;
mod lower;
mod manifest;
mod marks;
mod merge;
mod path;
mod resolve;
mod scan;
mod snapshot;
mod stacks;
mod stamp;
#[cfg(test)]
mod testing;
mod tree;
mod upper;
mod view;

pub use self::{
    apply::{
        Application, Applied, Conflict, GitChange, GitState, Head, MovedRef, Repository, STAGE_PREFIX, apply, recover,
    },
    checkout::{Origin, checkout},
    contents::Contents,
    digest::ContentDigest,
    disk::{remove_tree, write_whole},
    error::WorkspaceError,
    kept::{Keeper, Kept},
    layer::{Change, Layer, Mark, Mismatch},
    lower::Holes,
    manifest::{ENTRIES_MAX, Entries, Entry, Manifest},
    marks::Marks,
    merge::{Branch, MergeConflict, merge},
    path::{LinkTarget, PATH_BYTES_MAX, PathError, TreePath},
    resolve::resolve,
    scan::{Exclude, Kind, Scan, Skip, in_parallel_each, paths, scan},
    snapshot::{hydrate, upload},
    stacks::Stacks,
    stamp::{Stamp, StatCache},
    tree::{Laid, Meeting, Tree, Trees},
    view::{Bounds, Probe, Stack, Strategy, View, probe},
};

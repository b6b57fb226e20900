//! The files of a run as the engine itself sees them: expressions read them, steps without a process write them, and what parallel steps left meets. Where trees and contents lie is
//! an adapter's; what is read in them, and what comes of them, is the same everywhere.

mod captured;
mod confined;
mod folder_digest;
mod leaving;
mod tree_files;
mod trees;

pub use self::{
    captured::{CapturedFiles, write_read_only},
    confined::{ConfinedFiles, content_digest},
    leaving::{Leaving, no_files, not_captured, with_tree},
    tree_files::{TreeFiles, TreeSource},
    trees::{content, empty, lay, merge, refused, size, tree_digest, write},
};

//! The files that the runs of a workflow begin with.

use crate::workflow::Template;

/// Where the files come from, and which of them are no part of a run.
#[derive(Debug, Clone, Default)]
pub struct Workspace {
    /// Where they come from.
    pub source: Source,
    /// Globs over paths from the root. What one names is in no run's files, with all that lies in it. Each is a glob that can be read.
    pub exclude: Vec<String>,
}

/// Where the files of a run come from.
#[derive(Debug, Clone, Default)]
pub enum Source {
    /// The directory of whoever starts the run, as it is then.
    #[default]
    Snapshot,
    /// A repository.
    Git(Box<GitSource>),
}

/// A repository that a run works on a checkout of.
#[derive(Debug, Clone)]
pub struct GitSource {
    /// Where it is. Filled in when a run is asked for.
    pub url: Template,
    /// A branch, a tag, a commit, or the whole name of a ref; the repository's own choice where there is none.
    pub reference: Option<Template>,
    /// The secret that the repository is asked for with. No step sees it.
    pub credentials: Option<String>,
}

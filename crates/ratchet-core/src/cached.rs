//! What the cache of results had to do with a step.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{Digest, StepKey},
    step::Usage,
};

/// How a run uses results of other runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheMode {
    /// Results of other runs stand in for steps, and new results are kept.
    #[default]
    Use,
    /// Every step runs, and new results take the place of what was kept.
    Refresh,
    /// Every step runs, and nothing is kept.
    Off,
}

impl CacheMode {
    /// Whether it is the one that nobody has to ask for.
    pub fn is_default(&self) -> bool {
        *self == Self::Use
    }
}

/// Who shares the result of a step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheScope {
    /// The runs of the same workflow, whatever its version.
    #[default]
    Workflow,
    /// The runs of every workflow.
    Shared,
}

/// The key of a step's result, and what was found under it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CacheUse {
    /// The SHA-256 over all that the result depends on. What that is lies in the blob store under this digest.
    pub key: Digest,
    /// What was found.
    pub found: Found,
}

impl CacheUse {
    /// The result that stood in for the step, where one did.
    pub fn hit(&self) -> Option<&Hit> {
        match &self.found {
            Found::Hit(hit) => Some(hit),
            Found::Miss(_) => None,
        }
    }
}

/// What was found under a key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// A result, which stood in for the step.
    Hit(Box<Hit>),
    /// None that could, so that the step ran.
    Miss(Miss),
}

/// A result of an earlier attempt that stood in for a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// The step that made it.
    pub from: StepKey,
    /// What making it took, which was saved.
    pub saved: Usage,
    /// Whether it is an agent's that no assertion has confirmed yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unproven: bool,
}

/// Why no result stood in for a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Miss {
    /// There is none under the key.
    Absent,
    /// The one that was there has had its time.
    Expired,
    /// The one that was there was not whole any more, and was removed.
    Damaged {
        /// What was wrong with it.
        reason: String,
    },
    /// A file is neither what it was before the kept change nor what it was after: somebody else changed it.
    Differs {
        /// Which.
        path: String,
    },
    /// The call, or a reset of the step, asked for a new one.
    Refreshed,
    /// Another attempt was computing it, for longer than it was expected to.
    WaitedLong {
        /// Whose.
        holder: StepKey,
    },
    /// The cache could not be asked.
    Unavailable {
        /// What it said.
        reason: String,
    },
}

use async_trait::async_trait;
use ratchet_core::{
    artifact::{ArtifactName, ArtifactRead, ArtifactVersion, Which},
    ids::ExecutionId,
};

use super::{Page, StoreError};

/// What is known of artifacts: the rows that [`Write::Artifact`](super::Write::Artifact) and its like make, beside those of executions and in the same commits.
///
/// Contract: versions of a name are numbered from 1, without a gap, in the order in which they were registered; a number is never given twice, also not
/// after its version was dropped. Versions outlive the run that made them. Every read sees all that was committed before it began.
#[async_trait]
pub trait ArtifactStore: Send + Sync {
    /// A version, where it is there. [`Which::Named`] is the newest that the run of this name made, or a run that a step of it started; else the one with this tag.
    async fn artifact(&self, name: &ArtifactName, which: &Which) -> Result<Option<ArtifactVersion>, StoreError>;

    /// The number that was given last under a name, whether its version is still there or not.
    async fn last_artifact(&self, name: &ArtifactName) -> Result<Option<u64>, StoreError>;

    /// Versions by workflow, name and number. `after` is the last of the page before.
    async fn artifacts(
        &self,
        filter: &ArtifactFilter,
        after: Option<&(ArtifactName, u64)>,
        limit: usize,
    ) -> Result<Page<ArtifactVersion>, StoreError>;

    /// The versions that a run made, not those of runs that its steps started, by workflow, name and number.
    async fn artifacts_made_by(&self, execution: &ExecutionId) -> Result<Vec<ArtifactVersion>, StoreError>;

    /// The tags of a name, in order, each with the number of its version.
    async fn artifact_tags(&self, name: &ArtifactName) -> Result<Vec<(String, u64)>, StoreError>;

    /// What a run read, with the runs that its steps started. In order.
    async fn artifacts_read_by(&self, execution: &ExecutionId) -> Result<Vec<ArtifactRead>, StoreError>;

    /// Who read a version. In order.
    async fn artifact_readers(&self, name: &ArtifactName, number: u64) -> Result<Vec<ArtifactRead>, StoreError>;
}

/// Which versions are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArtifactFilter {
    /// Of this workflow only.
    pub workflow: Option<String>,
    /// Of this name only.
    pub name: Option<String>,
}

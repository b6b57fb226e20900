use std::collections::HashMap;

use jiff::Timestamp;
use ratchet_core::{
    artifact::{ArtifactName, ArtifactVersion},
    ids::ExecutionId,
};

use crate::ports::{ArtifactFilter, StateStore, StoreError, Write};

/// Versions that are read at once.
const PAGE: usize = 500;

/// What a collection found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// Versions that nothing keeps.
    pub dropped: Vec<ArtifactVersion>,
    /// How many others there are.
    pub kept: usize,
}

/// Drops the versions that nothing keeps: those whose time is over, that have no tag, and that no run relies on which has not ended. Their content is left to
/// whoever sweeps the blob store. With `only_look` nothing is dropped. Runs may begin meanwhile: a version that one begins to rely on stays.
pub async fn collect(store: &dyn StateStore, now: Timestamp, only_look: bool) -> Result<Collected, StoreError> {
    let mut collected = Collected::default();
    let mut lives = HashMap::new();
    for versions in by_name(store).await? {
        let Some(name) = versions.first().map(|version| version.artifact.name.clone()) else { continue };
        let tags = store.artifact_tags(&name).await?;
        let newest = versions.len();
        for (position, version) in versions.into_iter().enumerate() {
            let newer = (newest - 1 - position) as u64;
            let is_over = version.artifact.retention.is_over(version.artifact.made_at, newer, now);
            let is_tagged = tags.iter().any(|(_, number)| *number == version.number);
            if !is_over || is_tagged || is_in_use(store, &version, &mut lives).await? {
                collected.kept += 1;
                continue;
            }
            if only_look || drop_version(store, &version).await? {
                collected.dropped.push(version);
            } else {
                collected.kept += 1;
            }
        }
    }
    Ok(collected)
}

/// Every version, those of a name together and in their order.
async fn by_name(store: &dyn StateStore) -> Result<Vec<Vec<ArtifactVersion>>, StoreError> {
    let mut names: Vec<Vec<ArtifactVersion>> = Vec::new();
    let mut after: Option<(ArtifactName, u64)> = None;
    loop {
        let page = store.artifacts(&ArtifactFilter::default(), after.as_ref(), PAGE).await?;
        after = page.rows.last().map(|version| (version.artifact.name.clone(), version.number));
        for version in page.rows {
            match names.last_mut() {
                Some(versions) if versions[0].artifact.name == version.artifact.name => versions.push(version),
                _ => names.push(vec![version]),
            }
        }
        if !page.more {
            return Ok(names);
        }
    }
}

/// Whether a run that has not ended made a version or reads it.
async fn is_in_use(
    store: &dyn StateStore,
    version: &ArtifactVersion,
    known: &mut HashMap<ExecutionId, bool>,
) -> Result<bool, StoreError> {
    let maker = version.artifact.origin.maker().map(|maker| maker.execution.clone());
    let readers = store.artifact_readers(&version.artifact.name, version.number).await?;
    for execution in maker.into_iter().chain(readers.into_iter().map(|read| read.execution)) {
        let is_live = match known.get(&execution) {
            Some(is_live) => *is_live,
            None => is_live(store, &execution).await?,
        };
        known.insert(execution, is_live);
        if is_live {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a run has not ended. One without a row that reads is about to begin, unless it has made something: then it was removed.
async fn is_live(store: &dyn StateStore, execution: &ExecutionId) -> Result<bool, StoreError> {
    match store.execution(execution).await? {
        Some(row) => Ok(!row.status.is_ended()),
        None => Ok(store.artifacts_made_by(execution).await?.is_empty()),
    }
}

/// Drops a version as it was seen. `false` where somebody has begun to rely on it since.
async fn drop_version(store: &dyn StateStore, version: &ArtifactVersion) -> Result<bool, StoreError> {
    let ArtifactVersion { number, artifact, uses } = version;
    let write = Write::DropArtifact { artifact: artifact.name.clone(), number: *number, uses: *uses };
    Ok(store.commit(vec![write]).await?.conflict.is_none())
}

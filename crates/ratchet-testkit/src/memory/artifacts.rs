use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use ratchet_core::{
    artifact::{Artifact, ArtifactName, ArtifactRead, ArtifactVersion, Which},
    ids::ExecutionId,
};
use ratchet_engine::ports::{ArtifactFilter, ArtifactStore, Current, Page, StoreError, WriteOutcome};

use super::{lock, state_store::page};
use crate::memory::MemoryStateStore;

/// Versions in ordered maps.
#[derive(Debug, Default)]
pub(super) struct Artifacts {
    versions: BTreeMap<(ArtifactName, u64), ArtifactVersion>,
    last: BTreeMap<ArtifactName, u64>,
    tags: BTreeMap<(ArtifactName, String), u64>,
    reads: BTreeSet<ArtifactRead>,
}

impl Artifacts {
    pub(super) fn register(&mut self, artifact: Artifact) -> WriteOutcome {
        let of_name = || self.of_name(&artifact.name).rev();
        let source = artifact.origin.source();
        let known = of_name()
            .find(|version| version.artifact.origin.source() == source)
            .filter(|newest| artifact.is(newest))
            .or_else(|| of_name().find(|version| artifact.hands_on(version)));
        if let Some(known) = known {
            return WriteOutcome::Artifact(Box::new(known.clone()));
        }
        let last = self.last.entry(artifact.name.clone()).or_default();
        *last += 1;
        let version = ArtifactVersion { number: *last, artifact, uses: 0 };
        self.versions.insert((version.artifact.name.clone(), version.number), version.clone());
        WriteOutcome::Artifact(Box::new(version))
    }

    pub(super) fn read(&mut self, read: ArtifactRead) -> Result<WriteOutcome, Current> {
        let version = self.versions.get_mut(&(read.artifact.clone(), read.number)).ok_or(Current::Absent)?;
        version.uses += 1;
        self.reads.insert(read);
        Ok(WriteOutcome::Written)
    }

    pub(super) fn tag(
        &mut self,
        artifact: &ArtifactName,
        tag: String,
        number: Option<u64>,
    ) -> Result<WriteOutcome, Current> {
        if number.is_some_and(|number| !self.versions.contains_key(&(artifact.clone(), number))) {
            return Err(Current::Absent);
        }
        let key = (artifact.clone(), tag);
        let before = match number {
            Some(number) => self.tags.insert(key, number),
            None => self.tags.remove(&key),
        };
        for number in [before, number].into_iter().flatten().filter(|_| before != number) {
            if let Some(version) = self.versions.get_mut(&(artifact.clone(), number)) {
                version.uses += 1;
            }
        }
        Ok(WriteOutcome::Written)
    }

    pub(super) fn drop_version(
        &mut self,
        artifact: ArtifactName,
        number: u64,
        uses: u64,
    ) -> Result<WriteOutcome, Current> {
        let is_tagged = self.tags.iter().any(|((name, _), tagged)| *name == artifact && *tagged == number);
        let key = (artifact, number);
        let version = self.versions.get(&key).ok_or(Current::Absent)?;
        if version.uses != uses || is_tagged {
            return Err(Current::Artifact(Box::new(version.clone())));
        }
        self.versions.remove(&key);
        self.reads.retain(|read| (&read.artifact, read.number) != (&key.0, key.1));
        Ok(WriteOutcome::Written)
    }

    fn of_name(&self, name: &ArtifactName) -> impl DoubleEndedIterator<Item = &ArtifactVersion> {
        self.versions.range((name.clone(), 0)..=(name.clone(), u64::MAX)).map(|(_, version)| version)
    }

    fn find(&self, name: &ArtifactName, which: &Which) -> Option<&ArtifactVersion> {
        let numbered = |number: u64| self.versions.get(&(name.clone(), number));
        match which {
            Which::Latest => self.of_name(name).next_back(),
            Which::Number(number) => numbered(*number),
            Which::Named(tag) => {
                let run = ExecutionId::new(tag.as_str());
                let is_its = |version: &&ArtifactVersion| {
                    version.artifact.origin.maker().is_some_and(|maker| maker.execution.is_within(&run))
                };
                let tagged = || self.tags.get(&(name.clone(), tag.clone())).and_then(|number| numbered(*number));
                self.of_name(name).rev().find(is_its).or_else(tagged)
            }
        }
    }
}

#[async_trait]
impl ArtifactStore for MemoryStateStore {
    async fn artifact(&self, name: &ArtifactName, which: &Which) -> Result<Option<ArtifactVersion>, StoreError> {
        Ok(lock(&self.0).artifacts.find(name, which).cloned())
    }

    async fn last_artifact(&self, name: &ArtifactName) -> Result<Option<u64>, StoreError> {
        Ok(lock(&self.0).artifacts.last.get(name).copied())
    }

    async fn artifacts(
        &self,
        filter: &ArtifactFilter,
        after: Option<&(ArtifactName, u64)>,
        limit: usize,
    ) -> Result<Page<ArtifactVersion>, StoreError> {
        let tables = lock(&self.0);
        let rows = tables.artifacts.versions.iter().filter(|(key, _)| {
            after.is_none_or(|after| *key > after)
                && filter.workflow.as_ref().is_none_or(|workflow| key.0.workflow == *workflow)
                && filter.name.as_ref().is_none_or(|name| key.0.name == *name)
        });
        Ok(page(rows.map(|(_, version)| version.clone()), limit))
    }

    async fn artifacts_made_by(&self, execution: &ExecutionId) -> Result<Vec<ArtifactVersion>, StoreError> {
        let is_its = |version: &&ArtifactVersion| {
            version.artifact.origin.maker().is_some_and(|maker| maker.execution == *execution)
        };
        Ok(lock(&self.0).artifacts.versions.values().filter(is_its).cloned().collect())
    }

    async fn artifact_tags(&self, name: &ArtifactName) -> Result<Vec<(String, u64)>, StoreError> {
        let tables = lock(&self.0);
        let tags = tables.artifacts.tags.iter().filter(|((of, _), _)| of == name);
        Ok(tags.map(|((_, tag), number)| (tag.clone(), *number)).collect())
    }

    async fn artifacts_read_by(&self, execution: &ExecutionId) -> Result<Vec<ArtifactRead>, StoreError> {
        let tables = lock(&self.0);
        Ok(tables.artifacts.reads.iter().filter(|read| read.execution.is_within(execution)).cloned().collect())
    }

    async fn artifact_readers(&self, name: &ArtifactName, number: u64) -> Result<Vec<ArtifactRead>, StoreError> {
        let tables = lock(&self.0);
        let is_it = |read: &&ArtifactRead| read.artifact == *name && read.number == number;
        Ok(tables.artifacts.reads.iter().filter(is_it).cloned().collect())
    }
}

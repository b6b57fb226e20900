use async_trait::async_trait;
use jiff::Timestamp;
use ratchet_core::ids::StepKey;
use ratchet_engine::ports::{
    CacheError, Entry, EntryFilter, EntryName, Evicted, Lease, Leased, Listed, Looked, Page, Published, Statistic,
    StepCache, UseFilter, Used,
};

use crate::state_store::LocalStepCache;

/// The kept results of a state directory, as they are: nothing is added, and nothing is removed. Whoever asks for a lease gets it.
pub(super) struct KeptResults(pub(super) Option<LocalStepCache>);

#[async_trait]
impl StepCache for KeptResults {
    async fn get(&self, name: &EntryName, now: Timestamp) -> Result<Looked, CacheError> {
        self.0.as_ref().map_or(Ok(Looked::Absent), |kept| kept.peek(name, now))
    }

    async fn publish(&self, _entry: Entry, _used: Used, _replace: bool) -> Result<Published, CacheError> {
        Ok(Published::Passed)
    }

    async fn note(&self, _used: Used) -> Result<(), CacheError> {
        Ok(())
    }

    async fn lease(&self, _name: &EntryName, _lease: Lease, _over: Option<&Lease>) -> Result<Leased, CacheError> {
        Ok(Leased::Taken)
    }

    async fn release(&self, _name: &EntryName, _holder: &StepKey, _attempt: u32) -> Result<(), CacheError> {
        Ok(())
    }

    async fn remove(&self, _name: &EntryName) -> Result<bool, CacheError> {
        Ok(false)
    }

    async fn withdraw(&self, _name: &EntryName, _made_by: &StepKey, _now: Timestamp) -> Result<bool, CacheError> {
        Ok(false)
    }

    async fn confirm(&self, _name: &EntryName, _made_by: &StepKey) -> Result<(), CacheError> {
        Ok(())
    }

    async fn invalidate(&self, _filter: &EntryFilter) -> Result<u64, CacheError> {
        Ok(0)
    }

    async fn evict(&self, _bytes_max: u64) -> Result<Evicted, CacheError> {
        Ok(Evicted::default())
    }

    async fn entries(
        &self,
        filter: &EntryFilter,
        after: Option<&EntryName>,
        limit: usize,
    ) -> Result<Page<Listed>, CacheError> {
        match &self.0 {
            Some(kept) => kept.entries(filter, after, limit).await,
            None => Ok(Page { rows: Vec::new(), more: false }),
        }
    }

    async fn uses(&self, filter: &UseFilter, limit: usize) -> Result<Vec<Used>, CacheError> {
        match &self.0 {
            Some(kept) => kept.uses(filter, limit).await,
            None => Ok(Vec::new()),
        }
    }

    async fn statistics(&self, filter: &UseFilter) -> Result<Vec<Statistic>, CacheError> {
        match &self.0 {
            Some(kept) => kept.statistics(filter).await,
            None => Ok(Vec::new()),
        }
    }
}

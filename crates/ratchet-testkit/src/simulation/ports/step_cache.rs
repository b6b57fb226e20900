use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use ratchet_core::ids::StepKey;
use ratchet_engine::ports::{
    CacheError, Entry, EntryFilter, EntryName, Evicted, Lease, Leased, Listed, Looked, Page, Published, Statistic,
    StepCache, UseFilter, Used,
};

use crate::{
    memory::MemoryStepCache,
    simulation::{
        Mutation,
        world::{Shared, lock, pause},
    },
};

/// Kept results in memory, behind a connection that fails, and on a disk that damages them at times.
pub(crate) struct SimulatedStepCache {
    pub(crate) world: Shared,
    pub(crate) inner: Arc<MemoryStepCache>,
    /// The contract that it breaks on purpose.
    pub(crate) mutation: Option<Mutation>,
}

impl SimulatedStepCache {
    async fn available(&self, action: &'static str) -> Result<(), CacheError> {
        pause(&self.world).await;
        let mut world = lock(&self.world);
        // It lives where the blobs do.
        let rate = world.faults.blob_unavailable;
        if world.random.chance(rate) {
            world.say(|| format!("cache: cannot {action}"));
            return Err(CacheError::Failed { action, reason: "it does not answer".to_owned() });
        }
        Ok(())
    }
}

#[async_trait]
impl StepCache for SimulatedStepCache {
    async fn get(&self, name: &EntryName, now: Timestamp) -> Result<Looked, CacheError> {
        self.available("give an entry").await?;
        {
            let mut world = lock(&self.world);
            let rate = world.faults.blob_unavailable;
            if world.random.chance(rate) {
                self.inner.damage(name);
            }
        }
        if self.mutation == Some(Mutation::EntriesMixedUp)
            && let Ok(page) = self.inner.entries(&EntryFilter::default(), None, 1).await
            && let Some(Ok(entry)) = page.rows.into_iter().next().map(|listed| listed.entry)
        {
            return Ok(Looked::Entry(Box::new(Entry { name: name.clone(), ..*entry })));
        }
        self.inner.get(name, now).await
    }

    async fn publish(&self, entry: Entry, used: Used, replace: bool) -> Result<Published, CacheError> {
        self.available("keep an entry").await?;
        let published = self.inner.publish(entry, used, replace).await;
        pause(&self.world).await;
        published
    }

    async fn note(&self, used: Used) -> Result<(), CacheError> {
        self.available("note a hit").await?;
        self.inner.note(used).await
    }

    async fn lease(&self, name: &EntryName, lease: Lease, over: Option<&Lease>) -> Result<Leased, CacheError> {
        self.available("give a lease").await?;
        if self.mutation == Some(Mutation::LeasesForAll) {
            return Ok(Leased::Taken);
        }
        let asking = lease.holder.clone();
        let leased = self.inner.lease(name, lease, over).await;
        if let Ok(leased) = &leased {
            lock(&self.world).laws.lease_asked(&asking, leased);
        }
        pause(&self.world).await;
        leased
    }

    async fn release(&self, name: &EntryName, holder: &StepKey, attempt: u32) -> Result<(), CacheError> {
        self.available("end a lease").await?;
        self.inner.release(name, holder, attempt).await
    }

    async fn remove(&self, name: &EntryName) -> Result<bool, CacheError> {
        self.available("remove an entry").await?;
        self.inner.remove(name).await
    }

    async fn withdraw(&self, name: &EntryName, made_by: &StepKey, now: Timestamp) -> Result<bool, CacheError> {
        self.available("withdraw an entry").await?;
        self.inner.withdraw(name, made_by, now).await
    }

    async fn confirm(&self, name: &EntryName, made_by: &StepKey) -> Result<(), CacheError> {
        self.available("confirm an entry").await?;
        self.inner.confirm(name, made_by).await
    }

    async fn invalidate(&self, filter: &EntryFilter) -> Result<u64, CacheError> {
        self.inner.invalidate(filter).await
    }

    async fn evict(&self, bytes_max: u64) -> Result<Evicted, CacheError> {
        self.inner.evict(bytes_max).await
    }

    async fn entries(
        &self,
        filter: &EntryFilter,
        after: Option<&EntryName>,
        limit: usize,
    ) -> Result<Page<Listed>, CacheError> {
        self.inner.entries(filter, after, limit).await
    }

    async fn uses(&self, filter: &UseFilter, limit: usize) -> Result<Vec<Used>, CacheError> {
        self.available("tell uses").await?;
        self.inner.uses(filter, limit).await
    }

    async fn statistics(&self, filter: &UseFilter) -> Result<Vec<Statistic>, CacheError> {
        self.inner.statistics(filter).await
    }
}

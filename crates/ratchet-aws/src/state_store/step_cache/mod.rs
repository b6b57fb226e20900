//! Kept results of steps, in the table of the state.
//!
//! | item | partition | sort key | in the indexes |
//! | --- | --- | --- | --- |
//! | a name: its entry, its lease, or both | `cache/<scope>/<key>` | `name` | by name in `list`, by last use in `wake`, while it has an entry |
//! | a use | that of its step's row | `use/<step>/<epoch>/<child>` | by time in `list`, with all that it says |
//! | bytes of the entries of one shard | `cache-bytes/<shard>` | `bytes` | |
//!
//! What a step costs, whatever else is kept: a look is one read; a miss takes its lease by a read and a write and publishes by a read and one transaction (the name, the use and the
//! bytes: together or not at all), a hit is noted by two writes. Where there is a bound of bytes, a publish reads the eight sums too, and pushes out what is over it, the longest unused
//! first, by the index. What people ask for reads more: a list as many items as there are entries, statistics as many entries of the index as there were uses in the period, some
//! thousands in each request.

mod entries;
mod slot;
#[cfg(test)]
mod tests;
mod uses;

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use ratchet_core::ids::StepKey;
use ratchet_engine::ports::{
    CacheError, Entry, EntryFilter, EntryName, Evicted, Lease, Leased, Listed, Looked, Page, Published, Statistic,
    StepCache, StoreError, UseFilter, Used,
};

use self::slot::{Kept, Slot, Swapped};
use super::DynamoStateStore;

/// The step cache in a table of the state.
#[derive(Debug, Clone)]
pub struct DynamoStepCache {
    store: DynamoStateStore,
    bytes_max: Option<u64>,
}

/// How often others may be first before a change gives up.
const CONFLICTS_MAX: u32 = 50;

impl DynamoStepCache {
    /// The kept results in the table of a state, which push others out so as to stay within so many bytes, where there is a bound.
    pub fn new(store: DynamoStateStore, bytes_max: Option<u64>) -> Self {
        Self { store, bytes_max }
    }

    /// Changes what is under a name, whatever races with it: `change` gives what is to be there, or nothing where it is to stay, and the answer.
    async fn change<T>(
        &self,
        name: &EntryName,
        used: Option<&Used>,
        change: impl Fn(&Slot) -> (Option<Slot>, T) + Send + Sync,
    ) -> Result<Changed<T>, StoreError> {
        for round in 0..CONFLICTS_MAX {
            let seen = self.slot(name).await?;
            let (next, answer) = change(&seen);
            if next.is_none() && used.is_none() {
                return Ok(Changed::Done(answer));
            }
            match self.swap(name, &seen, next.as_ref(), used).await? {
                Swapped::Done => return Ok(Changed::Done(answer)),
                Swapped::Noted => return Ok(Changed::Noted),
                Swapped::Conflict => tokio::time::sleep(Duration::from_millis(5 << round.min(5))).await,
            }
        }
        Err(StoreError::Unavailable(format!("too many change the entry {} at once", name.key)))
    }

    /// The same, without a use that could be there already.
    async fn change_alone<T>(
        &self,
        name: &EntryName,
        change: impl Fn(&Slot) -> (Option<Slot>, T) + Send + Sync,
    ) -> Result<T, StoreError> {
        match self.change(name, None, change).await? {
            Changed::Done(answer) => Ok(answer),
            Changed::Noted => Err(StoreError::Unavailable("a use was noted that nobody told".to_owned())),
        }
    }

    /// Removes the entry of a name where this holds of it. How many bytes it named.
    async fn remove_where(
        &self,
        name: &EntryName,
        is_meant: impl Fn(&Slot) -> bool + Send + Sync,
    ) -> Result<Option<u64>, StoreError> {
        self.change_alone(name, |seen| match &seen.kept {
            Some(kept) if is_meant(seen) => (Some(Slot { kept: None, ..seen.clone() }), Some(kept.bytes)),
            _ => (None, None),
        })
        .await
    }

    async fn end_lease(&self, name: &EntryName, holder: &StepKey, attempt: Option<u32>) -> Result<(), StoreError> {
        self.change_alone(name, |seen| {
            let is_its = seen
                .lease
                .as_ref()
                .is_some_and(|held| held.holder == *holder && attempt.is_none_or(|attempt| attempt == held.attempt));
            (is_its.then(|| Slot { lease: None, ..seen.clone() }), ())
        })
        .await
    }
}

/// What became of a change.
enum Changed<T> {
    /// It was made.
    Done(T),
    /// The use that was to be noted with it was noted before: nothing changed.
    Noted,
}

fn failed(action: &'static str) -> impl Fn(StoreError) -> CacheError {
    move |error| CacheError::Failed { action, reason: error.to_string() }
}

#[async_trait]
impl StepCache for DynamoStepCache {
    async fn get(&self, name: &EntryName, now: Timestamp) -> Result<Looked, CacheError> {
        let looked = self.slot(name).await.map_err(failed("be read"))?.look(name, now);
        if matches!(looked, Looked::Entry(_) | Looked::Absent) {
            return Ok(looked);
        }
        // Unless another took its place meanwhile.
        let removed = self.change_alone(name, |seen| {
            let looked = seen.look(name, now);
            let goes = matches!(looked, Looked::Expired | Looked::Damaged(_));
            (goes.then(|| Slot { kept: None, ..seen.clone() }), looked)
        });
        removed.await.map_err(failed("remove an entry"))
    }

    async fn publish(&self, entry: Entry, used: Used, replace: bool) -> Result<Published, CacheError> {
        let failed = failed("keep an entry");
        let name = entry.name.clone();
        let published = self.change(&name, Some(&used), |seen| {
            let lease = seen.lease.clone().filter(|held| held.holder != entry.made_by);
            let stands = matches!(seen.look(&name, entry.created_at), Looked::Entry(_));
            if stands && !replace {
                let next = (lease != seen.lease).then(|| Slot { lease, ..seen.clone() });
                return (next, Published::Passed);
            }
            (Some(Slot { kept: Some(Kept::of(&entry, entry.created_at)), lease, ..seen.clone() }), Published::Kept)
        });
        match published.await.map_err(&failed)? {
            Changed::Done(published) => {
                if let (Published::Kept, Some(bytes_max)) = (published, self.bytes_max) {
                    self.push_out(bytes_max, Some(&name)).await.map_err(&failed)?;
                }
                Ok(published)
            }
            Changed::Noted => {
                self.end_lease(&name, &entry.made_by, None).await.map_err(&failed)?;
                Ok(Published::Passed)
            }
        }
    }

    async fn note(&self, used: Used) -> Result<(), CacheError> {
        self.touch(&used.name, used.at).await.map_err(failed("note a hit"))?;
        self.note_use(&used).await.map_err(failed("note a hit"))
    }

    async fn lease(&self, name: &EntryName, lease: Lease, over: Option<&Lease>) -> Result<Leased, CacheError> {
        let leased = self.change_alone(name, |seen| {
            if matches!(seen.look(name, lease.taken_at), Looked::Entry(_)) {
                return (None, Leased::Published);
            }
            match &seen.lease {
                Some(held) if over != Some(held) && held.holder != lease.holder => (None, Leased::Held(held.clone())),
                _ => (Some(Slot { lease: Some(lease.clone()), ..seen.clone() }), Leased::Taken),
            }
        });
        leased.await.map_err(failed("give a lease"))
    }

    async fn release(&self, name: &EntryName, holder: &StepKey, attempt: u32) -> Result<(), CacheError> {
        self.end_lease(name, holder, Some(attempt)).await.map_err(failed("end a lease"))
    }

    async fn remove(&self, name: &EntryName) -> Result<bool, CacheError> {
        let removed = self.remove_where(name, |_| true).await;
        removed.map(|bytes| bytes.is_some()).map_err(failed("remove an entry"))
    }

    async fn withdraw(&self, name: &EntryName, made_by: &StepKey, _now: Timestamp) -> Result<bool, CacheError> {
        let failed = failed("withdraw an entry");
        // First that nothing comes any more, then what came.
        self.mark_withdrawn(made_by).await.map_err(&failed)?;
        let removed = self.remove_where(name, |seen| seen.made_by(name, made_by).is_some()).await;
        removed.map(|bytes| bytes.is_some()).map_err(&failed)
    }

    async fn confirm(&self, name: &EntryName, made_by: &StepKey) -> Result<(), CacheError> {
        let confirmed = self.change_alone(name, |seen| {
            let Some(entry) = seen.made_by(name, made_by).filter(|entry| entry.unproven) else { return (None, ()) };
            let used_at = seen.kept.as_ref().map_or(entry.created_at, |kept| kept.used_at);
            let kept = Kept::of(&Entry { unproven: false, ..entry }, used_at);
            (Some(Slot { kept: Some(kept), ..seen.clone() }), ())
        });
        confirmed.await.map_err(failed("confirm an entry"))
    }

    async fn invalidate(&self, filter: &EntryFilter) -> Result<u64, CacheError> {
        self.remove_all(filter).await.map_err(failed("remove entries"))
    }

    async fn evict(&self, bytes_max: u64) -> Result<Evicted, CacheError> {
        self.push_out(bytes_max, None).await.map_err(failed("push entries out"))
    }

    async fn entries(
        &self,
        filter: &EntryFilter,
        after: Option<&EntryName>,
        limit: usize,
    ) -> Result<Page<Listed>, CacheError> {
        self.list(filter, after, limit).await.map_err(failed("be read"))
    }

    async fn uses(&self, filter: &UseFilter, limit: usize) -> Result<Vec<Used>, CacheError> {
        self.newest_uses(filter, limit).await.map_err(failed("be read"))
    }

    async fn statistics(&self, filter: &UseFilter) -> Result<Vec<Statistic>, CacheError> {
        self.count_uses(filter).await.map_err(failed("be read"))
    }
}

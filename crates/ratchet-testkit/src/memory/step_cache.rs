use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Mutex,
};

use async_trait::async_trait;
use jiff::Timestamp;
use ratchet_core::ids::{Digest, StepKey};
use ratchet_engine::ports::{
    CacheError, Entry, EntryFilter, EntryName, Evicted, Lease, Leased, Listed, Looked, Page, Published, Statistic,
    StepCache, UseFilter, Used,
};

use super::lock;

/// Kept results in maps.
#[derive(Debug, Default)]
pub struct MemoryStepCache {
    bytes_max: Option<u64>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<EntryName, Kept>,
    leases: HashMap<EntryName, Lease>,
    uses: Vec<Used>,
    noted: HashSet<StepKey>,
}

/// An entry as it is kept: text, so that it can be damaged.
#[derive(Debug, Clone)]
struct Kept {
    body: String,
    digest: Digest,
    used_at: Timestamp,
}

impl Kept {
    fn new(entry: &Entry, used_at: Timestamp) -> Self {
        let (body, digest) = entry.sealed();
        Self { body, digest, used_at }
    }

    fn open(&self) -> Result<Entry, String> {
        Entry::opened(&self.body, &self.digest)
    }

    fn is_meant(&self, filter: &EntryFilter, name: &EntryName) -> bool {
        filter.selects(name, self.used_at, self.open().ok().as_ref())
    }
}

impl MemoryStepCache {
    /// One that keeps no more than so many bytes.
    pub fn bounded(bytes_max: u64) -> Self {
        Self { bytes_max: Some(bytes_max), state: Mutex::default() }
    }

    /// Damages the entry of a name, as a disk does.
    pub fn damage(&self, name: &EntryName) {
        if let Some(kept) = lock(&self.state).entries.get_mut(name) {
            kept.body.push(' ');
        }
    }
}

impl State {
    fn note(&mut self, used: Used) -> bool {
        let is_new = self.noted.insert(used.step.clone());
        if is_new {
            self.uses.push(used);
        }
        is_new
    }

    fn end_lease(&mut self, name: &EntryName, holder: &StepKey, attempt: Option<u32>) {
        let is_its = |lease: &Lease| lease.holder == *holder && attempt.is_none_or(|attempt| attempt == lease.attempt);
        if self.leases.get(name).is_some_and(is_its) {
            self.leases.remove(name);
        }
    }

    fn made_by(&self, name: &EntryName, step: &StepKey) -> Option<Entry> {
        let entry = self.entries.get(name).and_then(|kept| kept.open().ok());
        entry.filter(|entry| entry.made_by == *step)
    }

    fn evict(&mut self, bytes_max: u64, but: Option<&EntryName>) -> Evicted {
        let mut by_age: Vec<(Timestamp, EntryName, u64)> = self
            .entries
            .iter()
            .map(|(name, kept)| (kept.used_at, name.clone(), kept.open().map_or(0, |entry| entry.bytes)))
            .collect();
        by_age.sort();
        let mut total: u64 = by_age.iter().map(|(_, _, bytes)| bytes).sum();
        let mut evicted = Evicted::default();
        for (_, name, bytes) in by_age {
            if total <= bytes_max {
                break;
            }
            if Some(&name) != but {
                self.entries.remove(&name);
                total -= bytes;
                evicted.entries += 1;
                evicted.bytes += bytes;
            }
        }
        evicted
    }
}

#[async_trait]
impl StepCache for MemoryStepCache {
    async fn get(&self, name: &EntryName, now: Timestamp) -> Result<Looked, CacheError> {
        let mut state = lock(&self.state);
        let Some(kept) = state.entries.get(name) else { return Ok(Looked::Absent) };
        let looked = match kept.open() {
            Ok(entry) if entry.name != *name => Looked::Damaged("it is another entry".to_owned()),
            Ok(entry) if entry.is_expired(now) => Looked::Expired,
            Ok(entry) => return Ok(Looked::Entry(Box::new(entry))),
            Err(reason) => Looked::Damaged(reason),
        };
        state.entries.remove(name);
        Ok(looked)
    }

    async fn publish(&self, entry: Entry, used: Used, replace: bool) -> Result<Published, CacheError> {
        let mut state = lock(&self.state);
        state.end_lease(&entry.name, &entry.made_by, None);
        let stands = state.entries.get(&entry.name).is_some_and(|kept| {
            kept.open().is_ok_and(|old| old.name == entry.name && !old.is_expired(entry.created_at))
        });
        if !state.note(used) || stands && !replace {
            return Ok(Published::Passed);
        }
        let name = entry.name.clone();
        state.entries.insert(name.clone(), Kept::new(&entry, entry.created_at));
        if let Some(bytes_max) = self.bytes_max {
            state.evict(bytes_max, Some(&name));
        }
        Ok(Published::Kept)
    }

    async fn note(&self, used: Used) -> Result<(), CacheError> {
        let mut state = lock(&self.state);
        if let Some(kept) = state.entries.get_mut(&used.name) {
            kept.used_at = kept.used_at.max(used.at);
        }
        state.note(used);
        Ok(())
    }

    async fn lease(&self, name: &EntryName, lease: Lease, over: Option<&Lease>) -> Result<Leased, CacheError> {
        let mut state = lock(&self.state);
        let is_whole = |kept: &Kept| kept.open().is_ok_and(|entry| !entry.is_expired(lease.taken_at));
        if state.entries.get(name).is_some_and(is_whole) {
            return Ok(Leased::Published);
        }
        match state.leases.get(name) {
            Some(held) if Some(held) != over && held.holder != lease.holder => Ok(Leased::Held(held.clone())),
            _ => {
                state.leases.insert(name.clone(), lease);
                Ok(Leased::Taken)
            }
        }
    }

    async fn release(&self, name: &EntryName, holder: &StepKey, attempt: u32) -> Result<(), CacheError> {
        lock(&self.state).end_lease(name, holder, Some(attempt));
        Ok(())
    }

    async fn remove(&self, name: &EntryName) -> Result<bool, CacheError> {
        Ok(lock(&self.state).entries.remove(name).is_some())
    }

    async fn withdraw(&self, name: &EntryName, made_by: &StepKey, _now: Timestamp) -> Result<bool, CacheError> {
        let mut state = lock(&self.state);
        state.noted.insert(made_by.clone());
        let is_its = state.made_by(name, made_by).is_some();
        if is_its {
            state.entries.remove(name);
        }
        Ok(is_its)
    }

    async fn confirm(&self, name: &EntryName, made_by: &StepKey) -> Result<(), CacheError> {
        let mut state = lock(&self.state);
        if let Some(entry) = state.made_by(name, made_by) {
            let used_at = state.entries.get(name).map_or(entry.created_at, |kept| kept.used_at);
            state.entries.insert(name.clone(), Kept::new(&Entry { unproven: false, ..entry }, used_at));
        }
        Ok(())
    }

    async fn invalidate(&self, filter: &EntryFilter) -> Result<u64, CacheError> {
        let mut state = lock(&self.state);
        let before = state.entries.len();
        state.entries.retain(|name, kept| !kept.is_meant(filter, name));
        Ok((before - state.entries.len()) as u64)
    }

    async fn evict(&self, bytes_max: u64) -> Result<Evicted, CacheError> {
        Ok(lock(&self.state).evict(bytes_max, None))
    }

    async fn entries(
        &self,
        filter: &EntryFilter,
        after: Option<&EntryName>,
        limit: usize,
    ) -> Result<Page<Listed>, CacheError> {
        let state = lock(&self.state);
        let mut rows: Vec<Listed> = state
            .entries
            .iter()
            .filter(|(name, kept)| after.is_none_or(|after| *name > after) && kept.is_meant(filter, name))
            .take(limit + 1)
            .map(|(name, kept)| Listed { name: name.clone(), entry: kept.open().map(Box::new), used_at: kept.used_at })
            .collect();
        let more = rows.len() > limit;
        rows.truncate(limit);
        Ok(Page { rows, more })
    }

    async fn uses(&self, filter: &UseFilter, limit: usize) -> Result<Vec<Used>, CacheError> {
        let state = lock(&self.state);
        let mut uses: Vec<Used> = state.uses.iter().filter(|used| filter.selects(used)).cloned().collect();
        uses.sort_by(|one, other| (other.at, &other.step).cmp(&(one.at, &one.step)));
        uses.truncate(limit);
        Ok(uses)
    }

    async fn statistics(&self, filter: &UseFilter) -> Result<Vec<Statistic>, CacheError> {
        let state = lock(&self.state);
        Ok(Statistic::count(state.uses.iter().filter(|used| filter.selects(used))))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::contract;

    #[tokio::test]
    async fn keeps_the_contract() {
        contract::step_cache(async |bytes_max| {
            let cache = Arc::new(MemoryStepCache { bytes_max, ..MemoryStepCache::default() });
            let to_damage = cache.clone();
            (cache as Arc<dyn StepCache>, Box::new(move |name: &EntryName| to_damage.damage(name)) as _)
        })
        .await;
    }
}

//! Entries that are looked for: by name, page by page, and by when they were used last.

use std::collections::VecDeque;

use aws_sdk_dynamodb::types::AttributeValue;
use ratchet_engine::ports::{EntryFilter, EntryName, Evicted, Listed, Page, StoreError};

use super::{
    DynamoStepCache,
    slot::{BYTES, Slot, bytes_key, key_of, name_in},
};
use crate::state_store::{
    Table,
    error::refused,
    item::{self, Item, LIST_SHARD, LISTED, PK, WAKE_AT, WAKE_SHARD, text},
    key::SHARDS,
};

/// Entries that are asked for at once.
const PAGE: usize = 100;

/// Stands between a scope and a key: no name holds it, and all that may stand in one sorts after it.
const BETWEEN: char = '\u{1}';

/// Sorts as the name does.
pub(super) fn listed_as(name: &EntryName) -> String {
    format!("{}{BETWEEN}{}", name.scope, name.key)
}

/// An index, walked in order: its eight partitions side by side.
struct Walk {
    index: &'static str,
    partition: &'static str,
    sort: &'static str,
    shards: Vec<Shard>,
}

/// What is known of one partition.
#[derive(Default)]
struct Shard {
    found: VecDeque<(AttributeValue, EntryName)>,
    after: Option<Item>,
    is_read: bool,
}

impl Walk {
    fn by_name() -> Self {
        Self::of(Table::LIST, LIST_SHARD, LISTED)
    }

    fn by_use() -> Self {
        Self::of(Table::WAKE, WAKE_SHARD, WAKE_AT)
    }

    fn of(index: &'static str, partition: &'static str, sort: &'static str) -> Self {
        Self { index, partition, sort, shards: (0..SHARDS).map(|_| Shard::default()).collect() }
    }

    /// The next name. `from` is what the first is greater than.
    async fn next(&mut self, cache: &DynamoStepCache, from: Option<&str>) -> Result<Option<EntryName>, StoreError> {
        for number in 0..self.shards.len() {
            while self.shards[number].found.is_empty() && !self.shards[number].is_read {
                self.read(cache, number, from).await?;
            }
        }
        let first = self.shards.iter_mut().filter(|shard| !shard.found.is_empty());
        let first = first.min_by(|one, other| order(&one.found[0]).cmp(&order(&other.found[0])));
        Ok(first.and_then(|shard| shard.found.pop_front()).map(|(_, name)| name))
    }

    async fn read(&mut self, cache: &DynamoStepCache, number: usize, from: Option<&str>) -> Result<(), StoreError> {
        let shard = &mut self.shards[number];
        let mut condition = "#p = :p".to_owned();
        let mut request = cache
            .store
            .client
            .query()
            .table_name(&cache.store.table)
            .index_name(self.index)
            .expression_attribute_names("#p", self.partition)
            .expression_attribute_values(":p", text(format!("cache/{number}")))
            .limit(i32::try_from(PAGE).unwrap_or(i32::MAX))
            .set_exclusive_start_key(shard.after.take());
        if let Some(from) = from {
            condition.push_str(" AND #s > :from");
            request =
                request.expression_attribute_names("#s", self.sort).expression_attribute_values(":from", text(from));
        }
        let answer = request.key_condition_expression(condition).send().await;
        let answer = answer.map_err(|error| refused("list kept results", &error))?;
        shard.found.extend(answer.items.into_iter().flatten().filter_map(|mut item| {
            let name = name_in(item::text_of(&item, PK)?)?;
            Some((item.remove(self.sort)?, name))
        }));
        shard.after = answer.last_evaluated_key.filter(|key| !key.is_empty());
        shard.is_read = shard.after.is_none();
        Ok(())
    }
}

/// Where an entry stands in its index: by number or by text, of one moment by its name.
fn order((sorted, name): &(AttributeValue, EntryName)) -> (i128, &str, &EntryName) {
    let number = sorted.as_n().ok().and_then(|number| number.parse().ok()).unwrap_or_default();
    (number, sorted.as_s().map_or("", String::as_str), name)
}

impl DynamoStepCache {
    pub(super) async fn list(
        &self,
        filter: &EntryFilter,
        after: Option<&EntryName>,
        limit: usize,
    ) -> Result<Page<Listed>, StoreError> {
        let (mut walk, mut rows) = (Walk::by_name(), Vec::new());
        let from = after.map(listed_as);
        loop {
            let mut names = Vec::new();
            while names.len() < PAGE
                && let Some(name) = walk.next(self, from.as_deref()).await?
            {
                names.push(name);
            }
            let is_last = names.len() < PAGE;
            let keys: Vec<_> = names.iter().map(key_of).collect();
            let found = self.store.get_all(&keys).await?;
            for (name, key) in names.into_iter().zip(keys) {
                rows.extend(
                    found
                        .get(&key)
                        .and_then(|item| listed(name, item))
                        .filter(|row| filter.selects(&row.name, row.used_at, row.entry.as_deref().ok())),
                );
            }
            if is_last || rows.len() > limit {
                let more = rows.len() > limit;
                rows.truncate(limit);
                return Ok(Page { rows, more });
            }
        }
    }

    pub(super) async fn remove_all(&self, filter: &EntryFilter) -> Result<u64, StoreError> {
        let (mut gone, mut after) = (0, None);
        loop {
            let page = self.list(filter, after.as_ref(), PAGE).await?;
            for row in &page.rows {
                // Unless it is another by now.
                let is_meant = |seen: &Slot| {
                    seen.kept
                        .as_ref()
                        .is_some_and(|kept| kept.opened(&row.name).ok() == row.entry.as_deref().ok().cloned())
                };
                gone += u64::from(self.remove_where(&row.name, is_meant).await?.is_some());
            }
            after = page.rows.last().map(|row| row.name.clone());
            if !page.more {
                return Ok(gone);
            }
        }
    }

    /// Pushes entries out, the longest unused first, but for one.
    pub(super) async fn push_out(&self, bytes_max: u64, but: Option<&EntryName>) -> Result<Evicted, StoreError> {
        let keys: Vec<_> = (0..SHARDS).map(bytes_key).collect();
        let sums = self.store.get_all(&keys).await?;
        let mut total: u64 = sums.values().filter_map(|item| item::number_of::<u64>(item, BYTES)).sum();
        let (mut evicted, mut walk) = (Evicted::default(), Walk::by_use());
        while total > bytes_max
            && let Some(name) = walk.next(self, None).await?
        {
            if Some(&name) != but
                && let Some(bytes) = self.remove_where(&name, |_| true).await?
            {
                total = total.saturating_sub(bytes);
                evicted.entries += 1;
                evicted.bytes += bytes;
            }
        }
        Ok(evicted)
    }
}

fn listed(name: EntryName, item: &Item) -> Option<Listed> {
    let kept = Slot::of(item).kept?;
    Some(Listed { entry: kept.opened(&name).map(Box::new), used_at: kept.used_at, name })
}

//! How steps were settled: each once, by its step's name, and found by time.

use futures_util::future::try_join_all;
use jiff::Timestamp;
use ratchet_core::ids::StepKey;
use ratchet_engine::ports::{Statistic, StoreError, UseFilter, Used};

use super::DynamoStepCache;
use crate::state_store::{
    Table,
    conditional::There,
    error::refused,
    item::{self, Item, LIST_SHARD, LISTED, USED, WORKFLOW, text},
    key::{self, Key, SHARDS},
};

/// Where a step's use is noted.
fn key_of(step: &StepKey) -> Key {
    let child = step.path.child.map_or_else(String::new, |child| format!("{child:010}"));
    Key { partition: key::partition_of(step), sort: format!("use/{}/{:010}/{child}", step.path.step, step.epoch.0) }
}

/// Sorts as the time does; of one moment, as the step does.
fn listed_as(used: &Used) -> String {
    let (step, key) = (&used.step, key_of(&used.step));
    format!("{}/{}/{}", sortable(used.at), step.execution, key.sort)
}

fn sortable(at: Timestamp) -> String {
    format!("{:020}", at.as_nanosecond().max(0))
}

/// The item of a use.
pub(super) fn item_of(used: &Used) -> Result<Item, StoreError> {
    let told = serde_json::to_string(used)
        .map_err(|error| StoreError::Refused { action: "note a use".to_owned(), reason: error.to_string() })?;
    let mut item = item::keyed(key_of(&used.step));
    // Uses of one fan-out spread as its children do.
    let shard = key::shard_of(&format!("{}{}", key::partition_of(&used.step), used.step.path.step));
    item.insert(USED.to_owned(), text(told));
    item.insert(WORKFLOW.to_owned(), text(&used.workflow));
    item.insert(LIST_SHARD.to_owned(), text(format!("use/{shard}")));
    item.insert(LISTED.to_owned(), text(listed_as(used)));
    Ok(item)
}

impl DynamoStepCache {
    /// Notes a use, unless one of the step is there.
    pub(super) async fn note_use(&self, used: &Used) -> Result<(), StoreError> {
        self.store.put_where(There::Nothing, item_of(used)?, "note a use").await.map(drop)
    }

    /// Has nothing be published any more that a step gave.
    pub(super) async fn mark_withdrawn(&self, step: &StepKey) -> Result<(), StoreError> {
        self.store.put_where(There::Nothing, item::keyed(key_of(step)), "withdraw a result").await.map(drop)
    }

    pub(super) async fn newest_uses(&self, filter: &UseFilter, limit: usize) -> Result<Vec<Used>, StoreError> {
        let shards: Vec<_> = (0..SHARDS).map(|shard| self.uses_of(shard, filter, limit)).collect();
        let mut uses: Vec<Used> = try_join_all(shards).await?.into_iter().flatten().collect();
        uses.sort_by_cached_key(|used| std::cmp::Reverse(listed_as(used)));
        uses.truncate(limit);
        Ok(uses)
    }

    pub(super) async fn count_uses(&self, filter: &UseFilter) -> Result<Vec<Statistic>, StoreError> {
        let shards: Vec<_> = (0..SHARDS).map(|shard| self.uses_of(shard, filter, usize::MAX)).collect();
        let uses: Vec<Used> = try_join_all(shards).await?.into_iter().flatten().collect();
        Ok(Statistic::count(&uses))
    }

    /// The newest uses in one partition of the index for which all holds that is said.
    async fn uses_of(&self, shard: u32, filter: &UseFilter, limit: usize) -> Result<Vec<Used>, StoreError> {
        let first = filter.from.map_or_else(|| "0".to_owned(), sortable);
        // Nothing lies between a time and the same with a slash behind it but what was at that time; a digit sorts after the slash.
        let last = filter.before.map_or_else(|| ":".to_owned(), sortable);
        let (mut found, mut after): (Vec<Used>, Option<Item>) = (Vec::new(), None);
        if filter.from.zip(filter.before).is_some_and(|(from, before)| from >= before) {
            return Ok(found);
        }
        loop {
            let mut request = self
                .store
                .client
                .query()
                .table_name(&self.store.table)
                .index_name(Table::LIST)
                .scan_index_forward(false)
                .key_condition_expression("#p = :p AND #l BETWEEN :first AND :last")
                .expression_attribute_names("#p", LIST_SHARD)
                .expression_attribute_names("#l", LISTED)
                .expression_attribute_values(":p", text(format!("use/{shard}")))
                .expression_attribute_values(":first", text(&first))
                .expression_attribute_values(":last", text(&last))
                .set_exclusive_start_key(after);
            if let Some(workflow) = &filter.workflow {
                request = request
                    .filter_expression("#workflow = :workflow")
                    .expression_attribute_names("#workflow", WORKFLOW)
                    .expression_attribute_values(":workflow", text(workflow));
            }
            let answer = request.send().await.map_err(|error| refused("list uses", &error))?;
            let told = answer.items.iter().flatten().filter_map(|item| item::text_of(item, USED));
            let uses = told.filter_map(|used| serde_json::from_str::<Used>(used).ok());
            found.extend(uses.filter(|used| filter.selects(used)));
            after = answer.last_evaluated_key.filter(|key| !key.is_empty());
            if after.is_none() || found.len() >= limit {
                found.truncate(limit);
                return Ok(found);
            }
        }
    }
}

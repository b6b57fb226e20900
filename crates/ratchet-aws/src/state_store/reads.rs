//! What is read: items by their keys and queries of one partition, strongly consistent; the indexes only where a hint is enough.

use std::{cmp::Reverse, collections::HashMap, time::Duration};

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use futures_util::{StreamExt as _, TryStreamExt as _, future::try_join_all, stream};
use jiff::Timestamp;
use ratchet_core::{
    budget::BudgetRow,
    execution::ExecutionRow,
    group::GroupRow,
    ids::{Epoch, ExecutionId, StepId, StepKey, StepPath},
    join::{JoinKey, JoinRow},
    step::{AttemptRow, StepRow},
    transition::StepTransition,
};
use ratchet_engine::ports::{Committed, ExecutionFilter, Page, StateStore, StoreError, Write};
use serde::de::DeserializeOwned;

use super::{
    DynamoStateStore, Table,
    commit::bucket,
    error::refused,
    item::{self, Item, LIST_SHARD, LISTED, NESTED, PK, SK, STATUS, WAKE_AT, WAKE_SHARD, WORKFLOW, number, text},
    key::{self, CHILDREN_EACH, Key, SHARDS},
};

/// Items that one request may name.
const BATCH_MAX: usize = 100;
/// Requests of one answer that are on their way at once.
const AT_ONCE: usize = 16;
/// How often what the table had no room for is asked again, the wait doubling each time.
const RETRIES: u32 = 8;
/// Buckets without a child after which no more are looked for, where nobody knows how many there are.
const EMPTY_MAX: u32 = 64;

/// A query of one partition.
#[derive(Default)]
pub(super) struct Range {
    pub(super) partition: String,
    /// What the sort keys begin with.
    pub(super) prefix: String,
    /// From this sort key on.
    pub(super) from: Option<String>,
    /// Up to this one.
    pub(super) to: Option<String>,
    pub(super) newest_first: bool,
    pub(super) limit: Option<usize>,
}

/// Sorts after all that begins with the same.
const LAST: char = '\u{10ffff}';

impl DynamoStateStore {
    /// An item by its key.
    pub(super) async fn get(&self, key: &Key) -> Result<Option<Item>, StoreError> {
        let found = self
            .client
            .get_item()
            .table_name(&self.table)
            .key(PK, text(&key.partition))
            .key(SK, text(&key.sort))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| refused("read a row", &error))?;
        Ok(found.item)
    }

    pub(super) async fn get_row<T: DeserializeOwned>(&self, key: &Key) -> Result<Option<T>, StoreError> {
        self.get(key).await?.as_ref().map(item::row).transpose()
    }

    /// Items by their keys, in no order; those that are not there are left out.
    pub(super) async fn get_all(&self, keys: &[Key]) -> Result<HashMap<Key, Item>, StoreError> {
        let batches: Vec<_> = keys.chunks(BATCH_MAX).map(|batch| self.get_batch(batch)).collect();
        let found = try_join_all(batches).await?;
        let keyed = |item: Item| {
            let part = |name| item::text_of(&item, name).unwrap_or_default().to_owned();
            (Key { partition: part(PK), sort: part(SK) }, item)
        };
        Ok(found.into_iter().flatten().map(keyed).collect())
    }

    async fn get_batch(&self, keys: &[Key]) -> Result<Vec<Item>, StoreError> {
        let wrong = |error: aws_sdk_dynamodb::error::BuildError| StoreError::Refused {
            action: "read rows".to_owned(),
            reason: error.to_string(),
        };
        let wanted = keys.iter().cloned().map(item::keyed).collect();
        let wanted =
            KeysAndAttributes::builder().set_keys(Some(wanted)).consistent_read(true).build().map_err(wrong)?;
        let mut wanted = HashMap::from([(self.table.clone(), wanted)]);
        let (mut found, mut wait) = (Vec::new(), Duration::from_millis(20));
        for _ in 0..RETRIES {
            let answer = self.client.batch_get_item().set_request_items(Some(wanted)).send().await;
            let answer = answer.map_err(|error| refused("read rows", &error))?;
            found.extend(answer.responses.into_iter().flat_map(HashMap::into_values).flatten());
            match answer.unprocessed_keys.filter(|left| !left.is_empty()) {
                None => return Ok(found),
                Some(left) => wanted = left,
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
        Err(StoreError::Unavailable("the table has no room for so many reads".to_owned()))
    }

    /// The items of a range, in order.
    pub(super) async fn query(&self, range: &Range) -> Result<Vec<Item>, StoreError> {
        let first = range.from.clone().unwrap_or_else(|| range.prefix.clone());
        let last = range.to.clone().unwrap_or_else(|| format!("{}{LAST}", range.prefix));
        let (mut found, mut after): (Vec<Item>, Option<Item>) = (Vec::new(), None);
        loop {
            let wanted = range.limit.map(|limit| limit.saturating_sub(found.len()));
            let answer = self
                .client
                .query()
                .table_name(&self.table)
                .consistent_read(true)
                .key_condition_expression("#p = :p AND #s BETWEEN :first AND :last")
                .expression_attribute_names("#p", PK)
                .expression_attribute_names("#s", SK)
                .expression_attribute_values(":p", text(&range.partition))
                .expression_attribute_values(":first", text(&first))
                .expression_attribute_values(":last", text(&last))
                .scan_index_forward(!range.newest_first)
                .set_limit(wanted.map(|wanted| i32::try_from(wanted).unwrap_or(i32::MAX)))
                .set_exclusive_start_key(after)
                .send()
                .await
                .map_err(|error| refused("read rows", &error))?;
            found.extend(answer.items.into_iter().flatten());
            after = answer.last_evaluated_key.filter(|key| !key.is_empty());
            if after.is_none() || range.limit.is_some_and(|limit| found.len() >= limit) {
                return Ok(found);
            }
        }
    }

    pub(super) async fn query_rows<T: DeserializeOwned>(&self, range: &Range) -> Result<Vec<T>, StoreError> {
        self.query(range).await?.iter().map(item::row).collect()
    }

    /// The newest row of a step up to an epoch.
    async fn newest_step(&self, id: &ExecutionId, epoch: Epoch, step: &StepId) -> Result<Option<StepRow>, StoreError> {
        let range = Range {
            partition: key::run(id),
            from: Some(key::step_sort(step, Epoch(0))),
            to: Some(key::step_sort(step, epoch)),
            newest_first: true,
            limit: Some(1),
            ..Range::default()
        };
        Ok(self.query_rows(&range).await?.pop())
    }

    /// How many children a fan-out has; `None` where its own row does not say.
    async fn child_count(&self, id: &ExecutionId, epoch: Epoch, step: &StepId) -> Result<Option<u32>, StoreError> {
        let path = StepPath::step(step.clone());
        let row: Option<StepRow> = self.get_row(&key::step(&StepKey { execution: id.clone(), epoch, path })).await?;
        Ok(row.into_iter().flat_map(|row| row.records).find_map(|record| match record.transition {
            StepTransition::FannedOut { count, .. } => Some(count),
            _ => None,
        }))
    }

    async fn children_of_bucket(
        &self,
        (id, epoch, step): (&ExecutionId, Epoch, &StepId),
        bucket: u32,
        from: u32,
    ) -> Result<Vec<StepRow>, StoreError> {
        let range = Range {
            partition: key::children(id, epoch, step, bucket),
            from: Some(key::child_sort(from)),
            to: Some(key::child_sort(u32::MAX)),
            ..Range::default()
        };
        self.query_rows(&range).await
    }

    /// Keys of the index of runs, newest first, of one of its partitions.
    async fn listed(
        &self,
        shard: u32,
        filter: &ExecutionFilter,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Key)>, StoreError> {
        let (mut found, mut after): (Vec<(String, Key)>, Option<Item>) = (Vec::new(), None);
        let mut conditions = Vec::new();
        loop {
            let mut request = self
                .client
                .query()
                .table_name(&self.table)
                .index_name(Table::LIST)
                .scan_index_forward(false)
                .expression_attribute_names("#p", LIST_SHARD)
                .expression_attribute_values(":p", text(format!("run/{shard}")))
                .set_exclusive_start_key(after);
            let mut keys = "#p = :p".to_owned();
            if let Some(before) = before {
                keys.push_str(" AND #l < :before");
                request = request
                    .expression_attribute_names("#l", LISTED)
                    .expression_attribute_values(":before", text(before));
            }
            conditions.clear();
            if let Some(workflow) = &filter.workflow {
                conditions.push("#workflow = :workflow");
                request = request
                    .expression_attribute_names("#workflow", WORKFLOW)
                    .expression_attribute_values(":workflow", text(workflow));
            }
            if let Some(status) = filter.status {
                conditions.push("#status = :status");
                request = request
                    .expression_attribute_names("#status", STATUS)
                    .expression_attribute_values(":status", text(status.as_str()));
            }
            if filter.roots_only {
                conditions.push("#nested = :nested");
                request = request
                    .expression_attribute_names("#nested", NESTED)
                    .expression_attribute_values(":nested", AttributeValue::Bool(false));
            }
            let wanted = (!conditions.is_empty()).then(|| conditions.join(" AND "));
            let page = i32::try_from(limit).unwrap_or(i32::MAX);
            let answer = request
                .key_condition_expression(keys)
                .set_filter_expression(wanted.clone())
                .set_limit(wanted.is_none().then_some(page))
                .send()
                .await
                .map_err(|error| refused("list executions", &error))?;
            found.extend(answer.items.into_iter().flatten().filter_map(|item| {
                let part = |name| item::text_of(&item, name).map(str::to_owned);
                Some((part(LISTED)?, Key { partition: part(PK)?, sort: part(SK)? }))
            }));
            after = answer.last_evaluated_key.filter(|key| !key.is_empty());
            if after.is_none() || found.len() >= limit {
                found.truncate(limit);
                return Ok(found);
            }
        }
    }
}

#[async_trait]
impl StateStore for DynamoStateStore {
    async fn commit(&self, writes: Vec<Write>) -> Result<Committed, StoreError> {
        self.commit_in_order(writes).await
    }

    async fn execution(&self, id: &ExecutionId) -> Result<Option<ExecutionRow>, StoreError> {
        self.get_row(&key::execution(id)).await
    }

    async fn step(&self, key: &StepKey) -> Result<Option<StepRow>, StoreError> {
        self.get_row(&key::step(key)).await
    }

    async fn newest_steps(
        &self,
        id: &ExecutionId,
        epoch: Epoch,
        steps: &[StepId],
    ) -> Result<Vec<Option<StepRow>>, StoreError> {
        let key_at = |step: &StepId, epoch| {
            let path = StepPath::step(step.clone());
            key::step(&StepKey { execution: id.clone(), epoch, path })
        };
        if epoch == Epoch::FIRST {
            let keys: Vec<Key> = steps.iter().map(|step| key_at(step, epoch)).collect();
            let found = match keys.as_slice() {
                [one] => self.get(one).await?.map(|item| (one.clone(), item)).into_iter().collect(),
                keys => self.get_all(keys).await?,
            };
            return keys.iter().map(|key| found.get(key).map(item::row).transpose()).collect();
        }
        if steps.len() <= AT_ONCE {
            let newest: Vec<_> = steps.iter().map(|step| self.newest_step(id, epoch, step)).collect();
            return try_join_all(newest).await;
        }
        let range = Range { partition: key::run(id), prefix: key::STEP.to_owned(), ..Range::default() };
        let mut newest: HashMap<StepId, StepRow> = HashMap::new();
        for row in self.query_rows::<StepRow>(&range).await? {
            if row.key.epoch <= epoch {
                // The oldest epoch comes first.
                newest.insert(row.key.path.step.clone(), row);
            }
        }
        Ok(steps.iter().map(|step| newest.get(step).cloned()).collect())
    }

    async fn steps(
        &self,
        id: &ExecutionId,
        after: Option<&StepKey>,
        limit: usize,
    ) -> Result<Page<StepRow>, StoreError> {
        // No sort key lies between one and the same with a zero byte behind it.
        let from = after.map(|after| format!("{}\0", key::step(after).sort));
        let prefix = key::STEP.to_owned();
        let range =
            Range { partition: key::run(id), prefix, from, limit: Some(limit.saturating_add(1)), ..Range::default() };
        Ok(page(self.query_rows(&range).await?, limit))
    }

    async fn children(
        &self,
        id: &ExecutionId,
        epoch: Epoch,
        step: &StepId,
        from: u32,
        limit: usize,
    ) -> Result<Vec<StepRow>, StoreError> {
        let count = self.child_count(id, epoch, step).await?;
        let last = count.map_or(u32::MAX, |count| count.saturating_sub(1)) / CHILDREN_EACH;
        let (mut rows, mut empty) = (Vec::new(), 0);
        let read = |bucket| self.children_of_bucket((id, epoch, step), bucket, from);
        let mut buckets = stream::iter(from / CHILDREN_EACH..=last).map(read).buffered(AT_ONCE.min(limit.max(1)));
        while let Some(found) = buckets.try_next().await? {
            empty = if found.is_empty() { empty + 1 } else { 0 };
            rows.extend(found);
            if rows.len() >= limit || (count.is_none() && empty > EMPTY_MAX) {
                break;
            }
        }
        rows.truncate(limit);
        Ok(rows)
    }

    async fn last_child(&self, id: &ExecutionId, epoch: Epoch, step: &StepId) -> Result<Option<u32>, StoreError> {
        let highest = async |bucket| {
            let range = Range {
                partition: key::children(id, epoch, step, bucket),
                from: Some(key::child_sort(0)),
                to: Some(key::child_sort(u32::MAX)),
                newest_first: true,
                limit: Some(1),
                ..Range::default()
            };
            let rows: Vec<StepRow> = self.query_rows(&range).await?;
            Ok::<_, StoreError>(rows.first().and_then(|row| row.key.path.child))
        };
        // Children start in their order, so that buckets are full up to one of them: that one is looked for by halves. Where lanes that start at once leave a bucket
        // empty before it, what is found is too low, and names a child that has no row yet.
        let Some(count) = self.child_count(id, epoch, step).await? else {
            let rows = self.children(id, epoch, step, 0, usize::MAX).await?;
            return Ok(rows.last().and_then(|row| row.key.path.child));
        };
        let Some(mut last) = highest(0).await? else { return Ok(None) };
        let (mut low, mut high) = (0, count.div_ceil(CHILDREN_EACH).max(1));
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match highest(middle).await? {
                Some(child) => (low, last) = (middle, child),
                None => high = middle,
            }
        }
        Ok(Some(last))
    }

    async fn join(&self, key: &JoinKey) -> Result<Option<JoinRow>, StoreError> {
        Ok(self.get(&key::join(key)).await?.map(|item| bucket(key.clone(), &item)))
    }

    async fn attempts(&self, key: &StepKey) -> Result<Vec<AttemptRow>, StoreError> {
        let range = Range { partition: key::partition_of(key), prefix: key::attempts(key), ..Range::default() };
        self.query_rows(&range).await
    }

    async fn budget(&self, owner: &ExecutionId) -> Result<Option<BudgetRow>, StoreError> {
        self.get_row(&key::budget(owner)).await
    }

    async fn group(&self, name: &str) -> Result<Option<GroupRow>, StoreError> {
        self.get_row(&key::group(name)).await
    }

    async fn executions(
        &self,
        filter: &ExecutionFilter,
        after: Option<&ExecutionId>,
        limit: usize,
    ) -> Result<Page<ExecutionRow>, StoreError> {
        let before = match after {
            None => None,
            Some(id) => match self.execution(id).await? {
                Some(row) => Some(item::listed(&row)),
                None => return Ok(Page { rows: Vec::new(), more: false }),
            },
        };
        let wanted = limit.saturating_add(1);
        let shards = (0..SHARDS).map(|shard| self.listed(shard, filter, before.as_deref(), wanted));
        let shards = try_join_all(shards).await?;
        let mut keys: Vec<(String, Key)> = shards.into_iter().flatten().collect();
        keys.sort_by_key(|(listed, _)| Reverse(listed.clone()));
        let more = keys.len() > limit;
        let keys: Vec<Key> = keys.into_iter().take(limit).map(|(_, key)| key).collect();
        let found = self.get_all(&keys).await?;
        let rows = keys.iter().filter_map(|key| found.get(key)).map(item::row).collect::<Result<_, _>>()?;
        Ok(Page { rows, more })
    }

    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<ExecutionId>, StoreError> {
        let of_shard = async |shard: u32| {
            let answer = self
                .client
                .query()
                .table_name(&self.table)
                .index_name(Table::WAKE)
                .key_condition_expression("#p = :p AND #at <= :now")
                .expression_attribute_names("#p", WAKE_SHARD)
                .expression_attribute_names("#at", WAKE_AT)
                .expression_attribute_values(":p", text(format!("wake/{shard}")))
                .expression_attribute_values(":now", number(now.as_nanosecond()))
                .limit(i32::try_from(limit).unwrap_or(i32::MAX))
                .send()
                .await
                .map_err(|error| refused("look for what is due", &error))?;
            let due = answer.items.into_iter().flatten().filter_map(|item| {
                let id = item::text_of(&item, PK)?.strip_prefix("run/")?;
                Some((item::number_of::<i128>(&item, WAKE_AT)?, ExecutionId::new(id)))
            });
            Ok::<_, StoreError>(due.collect::<Vec<_>>())
        };
        let mut due = Vec::new();
        for found in try_join_all((0..SHARDS).map(of_shard)).await? {
            due.extend(found);
        }
        due.sort();
        Ok(due.into_iter().take(limit).map(|(_, id)| id).collect())
    }
}

pub(super) fn page<T>(mut rows: Vec<T>, limit: usize) -> Page<T> {
    let more = rows.len() > limit;
    rows.truncate(limit);
    Page { rows, more }
}

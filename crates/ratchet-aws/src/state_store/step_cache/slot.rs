//! What is under a name, and how it changes: an entry and a lease in one item, so that neither is given while the other is.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    error::{BuildError, SdkError},
    operation::{transact_write_items::TransactWriteItemsError, update_item::UpdateItemError},
    types::{Delete, Put, TransactWriteItem, Update},
};
use jiff::Timestamp;
use ratchet_core::ids::{Digest, StepKey};
use ratchet_engine::ports::{Entry, EntryName, Lease, Looked, StoreError, Used};

use super::{DynamoStepCache, entries::listed_as, uses};
use crate::state_store::{
    error::refused,
    item::{self, BODY, Item, LIST_SHARD, LISTED, PK, SK, WAKE_AT, WAKE_SHARD, WORKFLOW, WRITER, number, text},
    key::{self, Key},
    shared::writer,
};

/// The digest of an entry's text.
const DIGEST: &str = "digest";
/// Bytes that an entry names, or that those of a shard do together.
pub(super) const BYTES: &str = "bytes";
/// A lease.
const LEASE: &str = "lease";

/// Reads after "cannot".
const ACTION: &str = "change a kept result";

/// What is under a name.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Slot {
    pub(super) kept: Option<Kept>,
    pub(super) lease: Option<Lease>,
    /// The write that left it so; none where nothing is.
    pub(super) writer: Option<String>,
}

/// An entry as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kept {
    body: String,
    digest: Digest,
    workflow: String,
    pub(super) bytes: u64,
    pub(super) used_at: Timestamp,
}

/// What became of a swap.
pub(super) enum Swapped {
    /// It is done.
    Done,
    /// What was seen is not there any more.
    Conflict,
    /// The use was noted before.
    Noted,
}

impl Kept {
    /// An entry that was used last at this time.
    pub(super) fn of(entry: &Entry, used_at: Timestamp) -> Self {
        let (body, digest) = entry.sealed();
        Self { body, digest, workflow: entry.workflow.clone(), bytes: entry.bytes, used_at }
    }

    /// The entry of a name, or why it is none any more.
    pub(super) fn opened(&self, name: &EntryName) -> Result<Entry, String> {
        let entry = Entry::opened(&self.body, &self.digest)?;
        if entry.name == *name { Ok(entry) } else { Err("it is the entry of another key".to_owned()) }
    }
}

impl Slot {
    pub(super) fn of(item: &Item) -> Self {
        let kept = || {
            let used_at: i128 = item::number_of(item, WAKE_AT)?;
            Some(Kept {
                // What is missing is damage, which whoever opens it finds.
                body: item::text_of(item, BODY).unwrap_or_default().to_owned(),
                digest: Digest::new(item::text_of(item, DIGEST).unwrap_or_default()),
                workflow: item::text_of(item, WORKFLOW).unwrap_or_default().to_owned(),
                bytes: item::number_of(item, BYTES).unwrap_or_default(),
                used_at: Timestamp::from_nanosecond(used_at).unwrap_or(Timestamp::UNIX_EPOCH),
            })
        };
        // A lease that cannot be read is as none: at worst the same is computed twice.
        let lease = item::text_of(item, LEASE).and_then(|lease| serde_json::from_str(lease).ok());
        Self { kept: kept(), lease, writer: item::text_of(item, WRITER).map(str::to_owned) }
    }

    pub(super) fn look(&self, name: &EntryName, now: Timestamp) -> Looked {
        match self.kept.as_ref().map(|kept| kept.opened(name)) {
            None => Looked::Absent,
            Some(Ok(entry)) if entry.is_expired(now) => Looked::Expired,
            Some(Ok(entry)) => Looked::Entry(Box::new(entry)),
            Some(Err(reason)) => Looked::Damaged(reason),
        }
    }

    /// The entry, where this step made it.
    pub(super) fn made_by(&self, name: &EntryName, step: &StepKey) -> Option<Entry> {
        self.kept.as_ref()?.opened(name).ok().filter(|entry| entry.made_by == *step)
    }

    fn bytes(&self) -> u64 {
        self.kept.as_ref().map_or(0, |kept| kept.bytes)
    }

    /// The item; `None` where there is nothing to keep.
    fn to_item(&self, name: &EntryName) -> Option<Item> {
        let mut item = item::keyed(key_of(name));
        let mut put = |name: &str, value| item.insert(name.to_owned(), value);
        put(WRITER, text(writer()));
        if let Some(lease) = &self.lease {
            // Plain data with text keys always has a JSON form.
            put(LEASE, text(serde_json::to_string(lease).unwrap_or_default()));
        }
        if let Some(kept) = &self.kept {
            let shard = format!("cache/{}", shard(name));
            put(BODY, text(&kept.body));
            put(DIGEST, text(kept.digest.as_str()));
            put(BYTES, number(kept.bytes));
            put(WORKFLOW, text(&kept.workflow));
            put(LIST_SHARD, text(&shard));
            put(LISTED, text(listed_as(name)));
            put(WAKE_SHARD, text(&shard));
            put(WAKE_AT, number(kept.used_at.as_nanosecond()));
        }
        (self.kept.is_some() || self.lease.is_some()).then_some(item)
    }
}

/// Where a name's item is.
pub(super) fn key_of(name: &EntryName) -> Key {
    Key { partition: format!("{PARTITION}{}/{}", name.scope, name.key), sort: "name".to_owned() }
}

/// The name whose item lies in a partition.
pub(super) fn name_in(partition: &str) -> Option<EntryName> {
    let (scope, key) = partition.strip_prefix(PARTITION)?.rsplit_once('/')?;
    Some(EntryName { scope: scope.to_owned(), key: Digest::new(key) })
}

const PARTITION: &str = "cache/";

/// The partition of an index, and the sum, that a name counts for.
pub(super) fn shard(name: &EntryName) -> u32 {
    key::shard_of(name.key.as_str())
}

/// Where the sum of a shard is.
pub(super) fn bytes_key(shard: u32) -> Key {
    Key { partition: format!("cache-bytes/{shard}"), sort: "bytes".to_owned() }
}

impl DynamoStepCache {
    /// What is under a name.
    pub(super) async fn slot(&self, name: &EntryName) -> Result<Slot, StoreError> {
        Ok(self.store.get(&key_of(name)).await?.as_ref().map(Slot::of).unwrap_or_default())
    }

    /// Puts what is to be under a name in the place of what was seen there, notes a use, and keeps the sum of bytes right: all of it or nothing.
    pub(super) async fn swap(
        &self,
        name: &EntryName,
        seen: &Slot,
        next: Option<&Slot>,
        used: Option<&Used>,
    ) -> Result<Swapped, StoreError> {
        let mut writes = Vec::new();
        if let Some(next) = next {
            writes.extend(self.swapping(name, seen, next)?);
            let (before, after) = (i128::from(seen.bytes()), i128::from(next.bytes()));
            if before != after {
                writes.push(self.adding(shard(name), after - before)?);
            }
        }
        let first_of_use = writes.len();
        if let Some(used) = used {
            let item = uses::item_of(used)?;
            let put = Put::builder().table_name(&self.store.table).set_item(Some(item));
            let put = put.condition_expression("attribute_not_exists(#k)").expression_attribute_names("#k", PK);
            writes.push(TransactWriteItem::builder().put(put.build().map_err(|error| wrong(&error))?).build());
        }
        if writes.is_empty() {
            return Ok(Swapped::Done);
        }
        let written = self.store.client.transact_write_items().set_transact_items(Some(writes)).send().await;
        match written {
            Ok(_) => Ok(Swapped::Done),
            Err(error) => match refused_at(&error) {
                Some(at) if at.contains(&first_of_use) => Ok(Swapped::Noted),
                Some(_) => Ok(Swapped::Conflict),
                None => Err(refused(ACTION, &error)),
            },
        }
    }

    fn swapping(&self, name: &EntryName, seen: &Slot, next: &Slot) -> Result<Option<TransactWriteItem>, StoreError> {
        let condition = if seen.writer.is_some() { "#w = :seen" } else { "attribute_not_exists(#w)" };
        let seen = seen.writer.as_ref().map(|seen| HashMap::from([(":seen".to_owned(), text(seen))]));
        let write = TransactWriteItem::builder();
        let write = match next.to_item(name) {
            Some(item) => {
                let put = Put::builder().table_name(&self.store.table).set_item(Some(item));
                let put = put.condition_expression(condition).expression_attribute_names("#w", WRITER);
                write.put(put.set_expression_attribute_values(seen).build().map_err(|error| wrong(&error))?)
            }
            None if seen.is_none() => return Ok(None),
            None => {
                let delete = Delete::builder().table_name(&self.store.table).set_key(Some(item::keyed(key_of(name))));
                let delete = delete.condition_expression(condition).expression_attribute_names("#w", WRITER);
                write.delete(delete.set_expression_attribute_values(seen).build().map_err(|error| wrong(&error))?)
            }
        };
        Ok(Some(write.build()))
    }

    fn adding(&self, shard: u32, bytes: i128) -> Result<TransactWriteItem, StoreError> {
        let update = Update::builder()
            .table_name(&self.store.table)
            .set_key(Some(item::keyed(bytes_key(shard))))
            .update_expression("ADD #b :b")
            .expression_attribute_names("#b", BYTES)
            .expression_attribute_values(":b", number(bytes));
        Ok(TransactWriteItem::builder().update(update.build().map_err(|error| wrong(&error))?).build())
    }

    /// Has an entry be used last at this time, if it was not used later.
    pub(super) async fn touch(&self, name: &EntryName, at: Timestamp) -> Result<(), StoreError> {
        let key = key_of(name);
        let updated = self
            .store
            .client
            .update_item()
            .table_name(&self.store.table)
            .key(PK, text(key.partition))
            .key(SK, text(key.sort))
            .update_expression("SET #at = :at, #w = :w")
            .condition_expression("#at < :at")
            .expression_attribute_names("#at", WAKE_AT)
            .expression_attribute_names("#w", WRITER)
            .expression_attribute_values(":at", number(at.as_nanosecond()))
            .expression_attribute_values(":w", text(writer()))
            .send()
            .await;
        match updated {
            Ok(_) => Ok(()),
            // It is gone, or was used later.
            Err(error)
                if error.as_service_error().is_some_and(UpdateItemError::is_conditional_check_failed_exception) =>
            {
                Ok(())
            }
            Err(error) => Err(refused(ACTION, &error)),
        }
    }
}

/// The positions at which a transaction found what it did not expect, or met another; `None` where that is not why it failed.
fn refused_at<R>(error: &SdkError<TransactWriteItemsError, R>) -> Option<Vec<usize>> {
    let TransactWriteItemsError::TransactionCanceledException(cancelled) = error.as_service_error()? else {
        return match error.as_service_error()? {
            TransactWriteItemsError::TransactionInProgressException(_) => Some(Vec::new()),
            _ => None,
        };
    };
    let reasons = cancelled.cancellation_reasons();
    let codes = || reasons.iter().filter_map(|reason| reason.code()).filter(|code| *code != "None");
    let is_race = |code: &str| matches!(code, "ConditionalCheckFailed" | "TransactionConflict");
    if !codes().all(is_race) || codes().next().is_none() {
        return None;
    }
    let failed = reasons.iter().enumerate().filter(|(_, reason)| reason.code() == Some("ConditionalCheckFailed"));
    Some(failed.map(|(at, _)| at).collect())
}

fn wrong(error: &BuildError) -> StoreError {
    StoreError::Refused { action: ACTION.to_owned(), reason: error.to_string() }
}

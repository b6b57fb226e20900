//! Items and what they hold: a row as JSON beside the few attributes that conditions and indexes look at.

use std::{collections::HashMap, fmt};

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use ratchet_core::{execution::ExecutionRow, step::StepRow};
use ratchet_engine::ports::StoreError;
use serde::{Serialize, de::DeserializeOwned};

use super::key::{self, Key};

pub(super) type Item = HashMap<String, AttributeValue>;

/// The partition key.
pub(super) const PK: &str = "pk";
/// The sort key.
pub(super) const SK: &str = "sk";
/// The row, as JSON.
pub(super) const BODY: &str = "body";
/// How often the row changed: what a conditional write compares.
pub(super) const REVISION: &str = "rev";
/// Names the write that made the item as it is, so that a write whose answer was lost is known again.
pub(super) const WRITER: &str = "writer";
/// Which partition of the index of due runs it lies in; only of a run that is to be looked at again.
pub(super) const WAKE_SHARD: &str = "wake_shard";
/// When that is, in nanoseconds since 1970.
pub(super) const WAKE_AT: &str = "wake_at";
/// Which partition of the index of all runs it lies in.
pub(super) const LIST_SHARD: &str = "list_shard";
/// Sorts runs by the time at which they were asked for.
pub(super) const LISTED: &str = "listed";
/// Of a run: its workflow.
pub(super) const WORKFLOW: &str = "workflow";
/// Of a run: where it stands.
pub(super) const STATUS: &str = "run_status";
/// Of a run: whether a step of another one started it.
pub(super) const NESTED: &str = "nested";
/// Of a use of a kept result: all that it says, as JSON.
pub(super) const USED: &str = "used";
/// Of a row that nobody needs for good: when it may go, in seconds since 1970. The table takes it away some time after that.
pub(super) const ENDS_AT: &str = "ends_at";
/// Of an earlier attempt: how many records it has.
pub(super) const RECORDS: &str = "records";

pub(super) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub(super) fn number(value: impl fmt::Display) -> AttributeValue {
    AttributeValue::N(format!("{value}"))
}

/// The attribute that says when an item may go.
pub(super) fn ends(at: Timestamp) -> (String, AttributeValue) {
    (ENDS_AT.to_owned(), number(at.as_second()))
}

pub(super) fn keyed(key: Key) -> Item {
    HashMap::from([(PK.to_owned(), text(key.partition)), (SK.to_owned(), text(key.sort))])
}

/// An item with a row in it.
pub(super) fn with_body(key: Key, row: &impl Serialize) -> Result<Item, StoreError> {
    let body = serde_json::to_string(row)
        .map_err(|error| StoreError::Refused { action: "write a row".to_owned(), reason: error.to_string() })?;
    let mut item = keyed(key);
    item.insert(BODY.to_owned(), text(body));
    Ok(item)
}

pub(super) fn of_execution(row: &ExecutionRow) -> Result<Item, StoreError> {
    let mut item = with_body(key::execution(&row.id), row)?;
    let mut put = |name: &str, value| item.insert(name.to_owned(), value);
    let shard = key::shard(&row.id);
    put(REVISION, number(row.revision));
    put(LIST_SHARD, text(format!("run/{shard}")));
    put(LISTED, text(listed(row)));
    put(WORKFLOW, text(&row.definition.name));
    put(STATUS, text(row.status.as_str()));
    put(NESTED, AttributeValue::Bool(row.id.is_nested()));
    if let Some(at) = row.wake_at {
        put(WAKE_SHARD, text(format!("wake/{shard}")));
        put(WAKE_AT, number(at.as_nanosecond()));
    }
    Ok(item)
}

/// Sorts as the time does at which a run was asked for; of one moment, as its identifier does.
pub(super) fn listed(row: &ExecutionRow) -> String {
    format!("{:020}/{}", sortable(row.created_at), row.id)
}

/// Nanoseconds since 1970, from which on runs are asked for.
fn sortable(at: Timestamp) -> i128 {
    at.as_nanosecond().max(0)
}

pub(super) fn of_step(row: &StepRow) -> Result<Item, StoreError> {
    let mut item = with_body(key::step(&row.key), row)?;
    item.insert(REVISION.to_owned(), number(row.revision()));
    Ok(item)
}

/// The row in an item.
pub(super) fn row<T: DeserializeOwned>(item: &Item) -> Result<T, StoreError> {
    let body = item.get(BODY).and_then(|body| body.as_s().ok());
    let body = body.ok_or_else(|| damaged(item, "it holds no row"))?;
    serde_json::from_str(body).map_err(|error| damaged(item, &error.to_string()))
}

pub(super) fn text_of<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

pub(super) fn number_of<T: std::str::FromStr>(item: &Item, name: &str) -> Option<T> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

pub(super) fn damaged(item: &Item, reason: &str) -> StoreError {
    let place = [PK, SK].map(|name| text_of(item, name).unwrap_or("?")).join(" ");
    StoreError::Damaged { place, reason: reason.to_owned() }
}

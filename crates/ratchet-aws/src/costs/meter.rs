//! What requests cost by the rules of the services that take them: units of DynamoDB from the bytes of rows, requests of S3, events, invocations.

use std::{
    collections::HashMap,
    ops::{Add, Sub},
};

use serde_json::{Map, Value, json};

/// An item as requests spell it.
type Item = Map<String, Value>;

/// Bytes of an item that one write unit pays for, and each entry of an index as well.
const WRITE_UNIT_BYTES: u64 = 1024;
/// Bytes that one read unit pays for, where the read is consistent.
const READ_UNIT_BYTES: u64 = 4096;
/// Bytes that one event pays for.
const EVENT_BYTES: u64 = 64 * 1024;

/// The keys and the other attributes of each index.
const INDEXES: [(&[&str], &[&str]); 2] =
    [(&["wake_shard", "wake_at"], &[]), (&["list_shard", "listed"], &["workflow", "run_status", "nested", "used"])];

/// What was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Items that were read, or looked for, one by one; a query counts as one.
    pub(super) reads: i64,
    pub(super) read_units: i64,
    /// Items that were written, or were to be.
    pub(super) writes: i64,
    pub(super) write_units: i64,
    /// Requests that write several items, all or none.
    pub(super) transactions: i64,
    /// Entries of indexes that changed with items.
    pub(super) index_writes: i64,
    pub(super) index_units: i64,
    /// Events on the bus, each 64 KB of one.
    pub(super) events: i64,
    /// Messages for later.
    pub(super) messages: i64,
    /// Invocations of functions.
    pub(super) invocations: i64,
    /// Requests to S3 that write or list.
    pub(super) s3_writes: i64,
    /// Those that read.
    pub(super) s3_reads: i64,
    /// Requests to ECS.
    pub(super) ecs: i64,
    /// Requests that a function waits for.
    pub(super) waits: i64,
}

/// The names of counts, as tables and limits have them.
pub(super) const NAMES: [&str; 13] = [
    "reads",
    "read_units",
    "writes",
    "write_units",
    "transactions",
    "index_writes",
    "index_units",
    "events",
    "messages",
    "invocations",
    "s3_writes",
    "s3_reads",
    "ecs",
];

impl Counts {
    pub(super) fn named(&self) -> [i64; NAMES.len()] {
        [
            self.reads,
            self.read_units,
            self.writes,
            self.write_units,
            self.transactions,
            self.index_writes,
            self.index_units,
            self.events,
            self.messages,
            self.invocations,
            self.s3_writes,
            self.s3_reads,
            self.ecs,
        ]
    }

    fn combine(self, other: Self, with: impl Fn(i64, i64) -> i64) -> Self {
        Self {
            reads: with(self.reads, other.reads),
            read_units: with(self.read_units, other.read_units),
            writes: with(self.writes, other.writes),
            write_units: with(self.write_units, other.write_units),
            transactions: with(self.transactions, other.transactions),
            index_writes: with(self.index_writes, other.index_writes),
            index_units: with(self.index_units, other.index_units),
            events: with(self.events, other.events),
            messages: with(self.messages, other.messages),
            invocations: with(self.invocations, other.invocations),
            s3_writes: with(self.s3_writes, other.s3_writes),
            s3_reads: with(self.s3_reads, other.s3_reads),
            ecs: with(self.ecs, other.ecs),
            waits: with(self.waits, other.waits),
        }
    }
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.combine(other, |one, other| one + other)
    }
}

impl Sub for Counts {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self.combine(other, |one, other| one - other)
    }
}

/// Counts requests, and knows the rows that they wrote.
#[derive(Default)]
pub(super) struct Meter {
    pub(super) counts: Counts,
    /// How often which kind of row was written.
    pub(super) rows: HashMap<String, i64>,
    /// The largest row of each kind.
    pub(super) bytes_max: HashMap<String, u64>,
    items: HashMap<String, Item>,
}

/// What a request to the table wrote, once that is known.
pub(super) enum Written {
    /// The item as it is.
    Item(Item),
    /// Whatever lies under a key now is to be read.
    Under(Value),
}

impl Meter {
    /// A request that was answered.
    pub(super) fn read(&mut self, operation: &str, request: &Value, answer: &Value) {
        let (count, found): (i64, Vec<u64>) = match operation {
            "GetItem" => (1, vec![answer["Item"].as_object().map_or(0, bytes_of)]),
            "BatchGetItem" => {
                let found = answer["Responses"].as_object().into_iter().flat_map(Map::values);
                let found = found.flat_map(|items| items.as_array().into_iter().flatten());
                let wanted = request["RequestItems"].as_object().into_iter().flat_map(Map::values);
                let wanted = wanted.map(|table| table["Keys"].as_array().map_or(0, Vec::len)).sum::<usize>();
                let mut sizes: Vec<u64> = found.filter_map(Value::as_object).map(bytes_of).collect();
                // What is not there is paid for as well.
                sizes.resize(wanted.max(sizes.len()), 0);
                (sizes.len().try_into().unwrap_or_default(), sizes)
            }
            "Query" => {
                let found = answer["Items"].as_array().into_iter().flatten();
                (1, vec![found.filter_map(Value::as_object).map(bytes_of).sum()])
            }
            other => panic!("what {other} costs is not known here"),
        };
        self.counts.reads += count;
        self.counts.read_units += found.into_iter().map(|bytes| units(bytes, READ_UNIT_BYTES)).sum::<i64>();
    }

    /// The items that a request is to write.
    pub(super) fn targets(operation: &str, request: &Value) -> Vec<Written> {
        let one = |operation: &str, request: &Value| match operation {
            "Put" => Written::Item(request["Item"].as_object().cloned().unwrap_or_default()),
            _ => Written::Under(json!({"Key": request["Key"], "TableName": request["TableName"]})),
        };
        match operation {
            "PutItem" => vec![one("Put", request)],
            "UpdateItem" | "DeleteItem" => vec![one("", request)],
            "TransactWriteItems" => {
                let items = request["TransactItems"].as_array().into_iter().flatten();
                items
                    .flat_map(|item| item.as_object().into_iter().flatten())
                    .map(|(word, part)| one(word, part))
                    .collect()
            }
            other => panic!("what {other} costs is not known here"),
        }
    }

    /// An item that a request wrote, or was refused: `after` is what is there then.
    pub(super) fn wrote(&mut self, key: &Value, after: Option<Item>, was_refused: bool, in_transaction: bool) {
        let place = format!("{} {}", key["pk"]["S"].as_str().unwrap_or("?"), key["sk"]["S"].as_str().unwrap_or("?"));
        let before = self.items.get(&place);
        let size = |item: Option<&Item>| item.map_or(0, bytes_of);
        let times = if in_transaction { 2 } else { 1 };
        self.counts.writes += 1;
        self.counts.write_units += times * units(size(before).max(size(after.as_ref())), WRITE_UNIT_BYTES);
        *self.rows.entry(kind_of(&place)).or_default() += 1;
        if was_refused {
            return;
        }
        for index in INDEXES {
            let (writes, units) = index_writes(index, before, after.as_ref());
            self.counts.index_writes += writes;
            self.counts.index_units += times * units;
        }
        let most = self.bytes_max.entry(kind_of(&place)).or_default();
        *most = (*most).max(size(after.as_ref()));
        match after {
            Some(item) => self.items.insert(place, item),
            None => self.items.remove(&place),
        };
    }

    /// Events that were put on the bus.
    pub(super) fn events(&mut self, entries: &[Value]) {
        let bytes = |entry: &Value| {
            ["Source", "DetailType", "Detail"].map(|name| entry[name].as_str().map_or(0, str::len) as u64).iter().sum()
        };
        self.counts.events += entries.iter().map(|entry| units(bytes(entry), EVENT_BYTES)).sum::<i64>();
    }
}

/// How many units bytes are; at least one.
fn units(bytes: u64, unit: u64) -> i64 {
    bytes.div_ceil(unit).max(1).try_into().unwrap_or(i64::MAX)
}

/// What kind of row lies there.
fn kind_of(place: &str) -> String {
    let (partition, sort) = place.split_once(' ').unwrap_or((place, ""));
    let first = |text: &str| text.split('/').next().unwrap_or_default().to_owned();
    if partition.starts_with("run/") { first(sort) } else { first(partition) }
}

/// How many entries of an index change with an item, and their units.
fn index_writes((keys, others): (&[&str], &[&str]), before: Option<&Item>, after: Option<&Item>) -> (i64, i64) {
    let entry = |item: Option<&Item>| -> Option<(Item, Item)> {
        let item = item?;
        let part = |names: &[&str]| -> Item {
            names.iter().filter_map(|name| Some(((*name).to_owned(), item.get(*name)?.clone()))).collect()
        };
        let key = part(keys);
        (key.len() == keys.len()).then(|| (key, part(others)))
    };
    let cost = |(key, others): &(Item, Item), item: Option<&Item>| {
        let table_key = item.map_or(0, |item| bytes_of(&part_of(item, &["pk", "sk"])));
        units(table_key + bytes_of(key) + bytes_of(others), WRITE_UNIT_BYTES)
    };
    match (entry(before), entry(after)) {
        (None, None) => (0, 0),
        (Some(gone), None) => (1, cost(&gone, before)),
        (None, Some(new)) => (1, cost(&new, after)),
        (Some(old), Some(new)) if old == new => (0, 0),
        (Some(old), Some(new)) if old.0 == new.0 => (1, cost(&old, before).max(cost(&new, after))),
        // An entry under another key is another entry.
        (Some(old), Some(new)) => (2, cost(&old, before) + cost(&new, after)),
    }
}

fn part_of(item: &Item, names: &[&str]) -> Item {
    names.iter().filter_map(|name| Some(((*name).to_owned(), item.get(*name)?.clone()))).collect()
}

/// The bytes of an item, as the service counts them: names and values.
pub(super) fn bytes_of(item: &Item) -> u64 {
    item.iter().map(|(name, value)| name.len() as u64 + bytes_of_value(value)).sum()
}

fn bytes_of_value(value: &Value) -> u64 {
    let Some((kind, value)) = value.as_object().and_then(|value| value.iter().next()) else { return 0 };
    let digits = |value: &Value| value.as_str().map_or(1, |text| text.len() as u64 / 2 + 2);
    match kind.as_str() {
        "S" => value.as_str().map_or(0, |text| text.len() as u64),
        "N" => digits(value),
        "NS" => value.as_array().into_iter().flatten().map(digits).sum(),
        "BOOL" | "NULL" => 1,
        other => panic!("no row has an attribute of the kind {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(meter: &mut Meter, item: &Value) {
        let item = item.as_object().unwrap().clone();
        let key = json!({"pk": item["pk"], "sk": item["sk"]});
        meter.wrote(&key, Some(item), false, false);
    }

    #[test]
    fn units_are_those_of_the_larger_row_and_of_each_index_that_changes() {
        let run = |wake: Option<&str>, status: &str, bytes: usize| {
            let mut item = json!({
                "pk": {"S": "run/r"}, "sk": {"S": "execution"}, "body": {"S": "x".repeat(bytes)},
                "list_shard": {"S": "run/1"}, "listed": {"S": "1"}, "run_status": {"S": status},
            });
            if let Some(at) = wake {
                item["wake_shard"] = json!({"S": "wake/1"});
                item["wake_at"] = json!({"N": at});
            }
            item
        };
        let mut meter = Meter::default();
        for (item, units, indexes) in [
            (run(Some("1"), "running", 10), 1, 2),
            (run(Some("1"), "running", 1500), 2, 0),
            // The row before was larger.
            (run(Some("2"), "running", 10), 2, 2),
            (run(Some("2"), "completed", 10), 1, 1),
            (run(None, "completed", 10), 1, 1),
        ] {
            let before = meter.counts;
            put(&mut meter, &item);
            let cost = meter.counts - before;
            assert_eq!((cost.write_units, cost.index_writes, cost.index_units), (units, indexes, indexes), "{item}");
        }
        let before = meter.counts;
        meter.wrote(&json!({"pk": {"S": "run/r"}, "sk": {"S": "execution"}}), None, true, false);
        let cost = meter.counts - before;
        assert_eq!((cost.writes, cost.write_units, cost.index_writes), (1, 1, 0), "what is refused is paid for");
        assert_eq!(meter.rows["execution"], 6);
    }

    #[test]
    fn what_is_not_there_is_paid_for_when_it_is_read() {
        let mut meter = Meter::default();
        meter.read("GetItem", &json!({}), &json!({}));
        meter.read("GetItem", &json!({}), &json!({"Item": {"body": {"S": "x".repeat(5000)}}}));
        let keys = json!({"RequestItems": {"t": {"Keys": [{}, {}, {}]}}});
        meter.read("BatchGetItem", &keys, &json!({"Responses": {"t": [{"body": {"S": "x".repeat(9000)}}]}}));
        meter.read(
            "Query",
            &json!({}),
            &json!({"Items": [{"a": {"S": "x".repeat(3000)}}, {"a": {"S": "x".repeat(3000)}}]}),
        );
        assert_eq!((meter.counts.reads, meter.counts.read_units), (1 + 1 + 3 + 1, 1 + 2 + (3 + 1 + 1) + 2));
    }
}

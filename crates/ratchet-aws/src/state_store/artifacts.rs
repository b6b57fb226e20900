//! Versions of artifacts, their tags, and who read them.
//!
//! The head of a name holds the last number and the tags, and goes with every change in one transaction: so numbers have no gap and a version that has a tag is
//! never dropped. Whoever begins to read a version changes its item alone.

use std::{collections::BTreeMap, fmt};

use async_trait::async_trait;
use aws_sdk_dynamodb::{
    error::SdkError,
    operation::transact_write_items::TransactWriteItemsError,
    types::{Delete, Put, TransactWriteItem},
};
use ratchet_core::{
    artifact::{Artifact, ArtifactName, ArtifactRead, ArtifactVersion, Which},
    history::sha256_hex,
    ids::ExecutionId,
};
use ratchet_engine::ports::{ArtifactFilter, ArtifactStore, Current, Page, StoreError, WriteOutcome};
use serde::{Deserialize, Serialize};

use super::{
    DynamoStateStore,
    commit::Applied,
    error::refused,
    item::{self, Item, PK, SK, WRITER, text},
    key::{self, Key},
    reads::{Range, page},
    shared::writer,
};

/// How often others may be first before a write gives up and its event comes again.
const CONFLICTS_MAX: u32 = 100;

/// What all versions of a name have in common.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Head {
    last: u64,
    tags: BTreeMap<String, u64>,
}

/// A row as it was read: what is there, and who wrote it.
struct Seen<T> {
    key: Key,
    row: Option<T>,
    writer: Option<String>,
}

fn at(name: &ArtifactName, sort: impl fmt::Display) -> Key {
    Key { partition: key::artifact(name), sort: sort.to_string() }
}

fn version_key(name: &ArtifactName, number: u64) -> Key {
    at(name, format!("{VERSION}{number:020}"))
}

const VERSION: &str = "version/";

/// Versions of one origin.
fn of_source(artifact: &Artifact) -> String {
    format!("source/{}/", sha256_hex(artifact.origin.source().as_bytes()))
}

/// Versions that a run made with this content.
fn of_content(execution: &ExecutionId, artifact: &Artifact) -> String {
    format!("content/{execution}/{}/", artifact.file.content.digest)
}

/// Versions that a run made, or one that a step of it started.
fn of_root(execution: &ExecutionId) -> String {
    format!("by/{}/", execution.root())
}

/// The entries that lead to a version: in its artifact's partition by origin, content and run, and in its run's.
fn entries(version: &ArtifactVersion) -> Vec<Key> {
    let (name, number) = (&version.artifact.name, version.number);
    let mut keys = vec![at(name, format!("{}{number:020}", of_source(&version.artifact)))];
    if let Some(maker) = version.artifact.origin.maker() {
        keys.push(at(name, format!("{}{number:020}", of_content(&maker.execution, &version.artifact))));
        keys.push(at(name, format!("{}{number:020}", of_root(&maker.execution))));
        keys.push(Key {
            partition: key::run(&maker.execution),
            sort: format!("made/{}/{}/{number:020}", name.workflow, name.name),
        });
    }
    keys
}

/// What an entry leads to.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    artifact: ArtifactName,
    number: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    execution: Option<ExecutionId>,
}

/// The partition in which every artifact's name stands.
const CATALOGUE: &str = "artifacts";

const NAME: &str = "name/";

fn catalogue(name: &ArtifactName) -> Key {
    Key { partition: CATALOGUE.to_owned(), sort: format!("{NAME}{}/{}", name.workflow, name.name) }
}

/// The rows that say that a run read a version: in the artifact's partition and in its run's.
fn reads(read: &ArtifactRead) -> Result<[Item; 2], StoreError> {
    let name = sha256_hex(format!("{read:?}").as_bytes());
    let of_version = at(&read.artifact, format!("read/{:020}/{name}", read.number));
    let of_run = Key { partition: key::run(&read.execution.root()), sort: format!("read/{name}") };
    Ok([item::with_body(of_version, read)?, item::with_body(of_run, read)?])
}

impl DynamoStateStore {
    pub(super) async fn register(&self, artifact: &Artifact) -> Result<ArtifactVersion, StoreError> {
        for _ in 0..CONFLICTS_MAX {
            // The head first: what is read after it is at least as new, and a change since then conflicts.
            let head = self.seen::<Head>(at(&artifact.name, "head")).await?;
            let same = self.newest_of(&artifact.name, &of_source(artifact)).await?;
            if let Some(same) = same.filter(|same| artifact.is(same)) {
                return Ok(same);
            }
            if let Some(maker) = artifact.origin.maker().filter(|maker| maker.step.is_none()) {
                let handed = self.newest_of(&artifact.name, &of_content(&maker.execution, artifact)).await?;
                if let Some(handed) = handed.filter(|handed| artifact.hands_on(handed)) {
                    return Ok(handed);
                }
            }
            let mut row = head.row.clone().unwrap_or_default();
            row.last += 1;
            let version = ArtifactVersion { number: row.last, artifact: artifact.clone(), uses: 0 };
            let execution = artifact.origin.maker().map(|maker| maker.execution.clone());
            let entry = Entry { artifact: artifact.name.clone(), number: version.number, execution };
            let mut items = vec![
                put(&head, &row)?,
                put(&Seen::<()>::absent(version_key(&artifact.name, version.number)), &version)?,
            ];
            for key in entries(&version) {
                items.push(put_anyway(item::with_body(key, &entry)?)?);
            }
            if head.row.is_none() {
                items.push(put_anyway(item::with_body(catalogue(&artifact.name), &artifact.name)?)?);
            }
            if self.transact(items, "register an artifact").await? {
                return Ok(version);
            }
        }
        Err(busy(&artifact.name))
    }

    pub(super) async fn note_read(&self, read: &ArtifactRead) -> Result<Applied, StoreError> {
        for _ in 0..CONFLICTS_MAX {
            let seen = self.seen::<ArtifactVersion>(version_key(&read.artifact, read.number)).await?;
            let Some(version) = &seen.row else { return Ok(Err(Current::Absent)) };
            let used = ArtifactVersion { uses: version.uses + 1, ..version.clone() };
            let mut writes = vec![put(&seen, &used)?];
            for item in reads(read)? {
                writes.push(put_anyway(item)?);
            }
            if self.transact(writes, "note who reads an artifact").await? {
                return Ok(Ok(WriteOutcome::Written));
            }
        }
        Err(busy(&read.artifact))
    }

    pub(super) async fn tag(&self, name: &ArtifactName, tag: &str, number: Option<u64>) -> Result<Applied, StoreError> {
        for _ in 0..CONFLICTS_MAX {
            let head = self.seen::<Head>(at(name, "head")).await?;
            let mut row = head.row.clone().unwrap_or_default();
            let before = match number {
                Some(number) => row.tags.insert(tag.to_owned(), number),
                None => row.tags.remove(tag),
            };
            let mut used = Vec::new();
            for touched in [before, number].into_iter().flatten() {
                let seen = self.seen::<ArtifactVersion>(version_key(name, touched)).await?;
                if seen.row.is_none() && number == Some(touched) {
                    return Ok(Err(Current::Absent));
                }
                used.push(seen);
            }
            if before == number {
                return Ok(Ok(WriteOutcome::Written));
            }
            let mut writes = vec![put(&head, &row)?];
            for seen in &used {
                if let Some(version) = &seen.row {
                    writes.push(put(seen, &ArtifactVersion { uses: version.uses + 1, ..version.clone() })?);
                }
            }
            if self.transact(writes, "tag an artifact").await? {
                return Ok(Ok(WriteOutcome::Written));
            }
        }
        Err(busy(name))
    }

    pub(super) async fn drop_version(
        &self,
        name: &ArtifactName,
        number: u64,
        uses: u64,
    ) -> Result<Applied, StoreError> {
        for _ in 0..CONFLICTS_MAX {
            let head = self.seen::<Head>(at(name, "head")).await?;
            let seen = self.seen::<ArtifactVersion>(version_key(name, number)).await?;
            let Some(version) = seen.row.clone() else { return Ok(Err(Current::Absent)) };
            let row = head.row.clone().unwrap_or_default();
            if version.uses != uses || row.tags.values().any(|tagged| *tagged == number) {
                return Ok(Err(Current::Artifact(Box::new(version))));
            }
            let mut writes = vec![put(&head, &row)?, delete(self, &seen)?];
            for key in entries(&version) {
                writes.push(delete(self, &Seen::<()>::anyway(key))?);
            }
            if self.transact(writes, "drop an artifact").await? {
                self.forget_readers(name, number).await?;
                return Ok(Ok(WriteOutcome::Written));
            }
        }
        Err(busy(name))
    }

    /// Deletes what is known of the readers of a version that is gone. What a crash leaves of it leads nowhere.
    async fn forget_readers(&self, name: &ArtifactName, number: u64) -> Result<(), StoreError> {
        for read in self.readers(name, number).await? {
            for item in reads(&read)? {
                let part = |name| item.get(name).cloned();
                let request = self.client.delete_item().table_name(&self.table);
                let request = request.set_key(Some(keys_of([(PK, part(PK)), (SK, part(SK))])));
                request.send().await.map_err(|error| refused("drop an artifact", &error))?;
            }
        }
        Ok(())
    }

    async fn readers(&self, name: &ArtifactName, number: u64) -> Result<Vec<ArtifactRead>, StoreError> {
        let range = within(key::artifact(name), format!("read/{number:020}/"));
        self.query_rows(&range).await
    }

    async fn seen<T: serde::de::DeserializeOwned>(&self, key: Key) -> Result<Seen<T>, StoreError> {
        let item = self.get(&key).await?;
        let row = item.as_ref().map(item::row).transpose()?;
        let writer = item.as_ref().and_then(|item| item::text_of(item, WRITER)).map(str::to_owned);
        Ok(Seen { key, row, writer })
    }

    /// The newest version that entries with this beginning lead to.
    async fn newest_of(&self, name: &ArtifactName, prefix: &str) -> Result<Option<ArtifactVersion>, StoreError> {
        let range = Range { newest_first: true, limit: Some(1), ..within(key::artifact(name), prefix.to_owned()) };
        match self.query_rows::<Entry>(&range).await?.pop() {
            Some(entry) => self.get_row(&version_key(name, entry.number)).await,
            None => Ok(None),
        }
    }

    /// Writes all or nothing. `false` where another was first.
    async fn transact(&self, items: Vec<TransactWriteItem>, action: &str) -> Result<bool, StoreError> {
        let items = items.into_iter().map(|item| self.in_table(item)).collect();
        // The token makes a try whose answer was lost the same write again.
        let request = self.client.transact_write_items().set_transact_items(Some(items)).client_request_token(writer());
        match request.send().await {
            Ok(_) => Ok(true),
            Err(error) if was_late(&error) => Ok(false),
            Err(error) => Err(refused(action, &error)),
        }
    }

    fn in_table(&self, mut item: TransactWriteItem) -> TransactWriteItem {
        if let Some(put) = &mut item.put {
            put.table_name.clone_from(&self.table);
        }
        if let Some(delete) = &mut item.delete {
            delete.table_name.clone_from(&self.table);
        }
        item
    }
}

impl<T> Seen<T> {
    /// A row that must not be there.
    fn absent(key: Key) -> Self {
        Self { key, row: None, writer: None }
    }
}

impl Seen<()> {
    /// A row of which it does not matter whether it is there.
    fn anyway(key: Key) -> Self {
        Self { key, row: Some(()), writer: None }
    }
}

fn within(partition: String, prefix: String) -> Range {
    Range { partition, prefix, ..Range::default() }
}

fn keys_of<const N: usize>(parts: [(&str, Option<aws_sdk_dynamodb::types::AttributeValue>); N]) -> Item {
    parts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// Puts a row over the one that was seen.
fn put<T>(seen: &Seen<T>, row: &impl Serialize) -> Result<TransactWriteItem, StoreError> {
    let mut item = item::with_body(seen.key.clone(), row)?;
    item.insert(WRITER.to_owned(), text(writer()));
    let put = Put::builder().table_name("").set_item(Some(item));
    let put = match &seen.writer {
        Some(seen) => put
            .condition_expression("#w = :seen")
            .expression_attribute_names("#w", WRITER)
            .expression_attribute_values(":seen", text(seen)),
        None => put.condition_expression("attribute_not_exists(#k)").expression_attribute_names("#k", PK),
    };
    Ok(TransactWriteItem::builder().put(put.build().map_err(|error| unbuilt(&error))?).build())
}

/// Puts an item whatever is there: it only ever says the same.
fn put_anyway(item: Item) -> Result<TransactWriteItem, StoreError> {
    let put = Put::builder().table_name("").set_item(Some(item)).build().map_err(|error| unbuilt(&error))?;
    Ok(TransactWriteItem::builder().put(put).build())
}

/// Deletes the row that was seen.
fn delete<T>(store: &DynamoStateStore, seen: &Seen<T>) -> Result<TransactWriteItem, StoreError> {
    let keys = Some(item::keyed(seen.key.clone()));
    let delete = Delete::builder().table_name(&store.table).set_key(keys);
    let delete = match &seen.writer {
        Some(seen) => delete
            .condition_expression("#w = :seen")
            .expression_attribute_names("#w", WRITER)
            .expression_attribute_values(":seen", text(seen)),
        None => delete,
    };
    Ok(TransactWriteItem::builder().delete(delete.build().map_err(|error| unbuilt(&error))?).build())
}

fn unbuilt(error: &aws_sdk_dynamodb::error::BuildError) -> StoreError {
    StoreError::Refused { action: "write an artifact".to_owned(), reason: error.to_string() }
}

/// Whether a transaction did not come about because another write was first.
fn was_late(error: &SdkError<TransactWriteItemsError>) -> bool {
    let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error.as_service_error() else {
        return false;
    };
    let late = |code: Option<&str>| matches!(code, Some("ConditionalCheckFailed" | "TransactionConflict"));
    cancelled.cancellation_reasons().iter().any(|reason| late(reason.code()))
}

fn busy(name: &ArtifactName) -> StoreError {
    StoreError::Unavailable(format!("too many change the artifact {name} at once"))
}

#[async_trait]
impl ArtifactStore for DynamoStateStore {
    async fn artifact(&self, name: &ArtifactName, which: &Which) -> Result<Option<ArtifactVersion>, StoreError> {
        match which {
            Which::Number(number) => self.get_row(&version_key(name, *number)).await,
            Which::Latest => {
                let range = within(key::artifact(name), VERSION.to_owned());
                let range = Range { newest_first: true, limit: Some(1), ..range };
                Ok(self.query_rows(&range).await?.pop())
            }
            Which::Named(word) => {
                let run = ExecutionId::new(word.as_str());
                let range = within(key::artifact(name), of_root(&run));
                let made: Vec<Entry> = self.query_rows(&Range { newest_first: true, ..range }).await?;
                let is_its = |entry: &&Entry| entry.execution.as_ref().is_some_and(|made| made.is_within(&run));
                let number = match made.iter().find(is_its) {
                    Some(entry) => Some(entry.number),
                    None => {
                        self.get_row::<Head>(&at(name, "head")).await?.and_then(|head| head.tags.get(word).copied())
                    }
                };
                match number {
                    Some(number) => self.get_row(&version_key(name, number)).await,
                    None => Ok(None),
                }
            }
        }
    }

    async fn last_artifact(&self, name: &ArtifactName) -> Result<Option<u64>, StoreError> {
        Ok(self.get_row::<Head>(&at(name, "head")).await?.map(|head| head.last))
    }

    async fn artifacts(
        &self,
        filter: &ArtifactFilter,
        after: Option<&(ArtifactName, u64)>,
        limit: usize,
    ) -> Result<Page<ArtifactVersion>, StoreError> {
        let mut names: Vec<ArtifactName> = self.query_rows(&within(CATALOGUE.to_owned(), NAME.to_owned())).await?;
        names.sort();
        names.retain(|name| {
            filter.workflow.as_ref().is_none_or(|workflow| name.workflow == *workflow)
                && filter.name.as_ref().is_none_or(|wanted| name.name == *wanted)
                && after.is_none_or(|(after, _)| name >= after)
        });
        let mut found = Vec::new();
        for name in names {
            if found.len() > limit {
                break;
            }
            let first = after.filter(|(after, _)| *after == name).map_or(0, |(_, number)| number + 1);
            let range = Range {
                from: Some(version_key(&name, first).sort),
                limit: Some(limit.saturating_add(1)),
                ..within(key::artifact(&name), VERSION.to_owned())
            };
            found.extend(self.query_rows::<ArtifactVersion>(&range).await?);
        }
        Ok(page(found, limit))
    }

    async fn artifacts_made_by(&self, execution: &ExecutionId) -> Result<Vec<ArtifactVersion>, StoreError> {
        let range = within(key::run(execution), "made/".to_owned());
        let made: Vec<Entry> = self.query_rows(&range).await?;
        let keys: Vec<Key> = made.iter().map(|entry| version_key(&entry.artifact, entry.number)).collect();
        let mut found: Vec<ArtifactVersion> =
            self.get_all(&keys).await?.values().map(item::row).collect::<Result<_, _>>()?;
        found.sort_by(|one, other| (&one.artifact.name, one.number).cmp(&(&other.artifact.name, other.number)));
        Ok(found)
    }

    async fn artifact_tags(&self, name: &ArtifactName) -> Result<Vec<(String, u64)>, StoreError> {
        let head: Option<Head> = self.get_row(&at(name, "head")).await?;
        Ok(head.map(|head| head.tags.into_iter().collect()).unwrap_or_default())
    }

    async fn artifacts_read_by(&self, execution: &ExecutionId) -> Result<Vec<ArtifactRead>, StoreError> {
        let range = within(key::run(&execution.root()), "read/".to_owned());
        let mut reads: Vec<ArtifactRead> = self.query_rows(&range).await?;
        reads.retain(|read| read.execution.is_within(execution));
        reads.sort();
        Ok(reads)
    }

    async fn artifact_readers(&self, name: &ArtifactName, number: u64) -> Result<Vec<ArtifactRead>, StoreError> {
        if self.get(&version_key(name, number)).await?.is_none() {
            return Ok(Vec::new());
        }
        let mut readers = self.readers(name, number).await?;
        readers.sort();
        Ok(readers)
    }
}

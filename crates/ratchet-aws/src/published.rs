//! Workflows that were published to a deployment: each name and version stands for one text, for good, and the newest of a name says what starts it.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    Client,
    error::{DisplayErrorContext, SdkError},
    operation::transact_write_items::TransactWriteItemsError,
    types::{AttributeValue, Delete, Put, TransactWriteItem},
};
use jiff::{SignedDuration, Timestamp};
use ratchet_core::{ids::Digest, workflow::Workflow};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How often others may publish under a name meanwhile.
const CONFLICTS_MAX: u32 = 20;

/// The partition key, the sort key, the row as JSON, and of the newest of a name when it was published.
const ATTRIBUTES: [&str; 4] = ["pk", "sk", "body", "at"];

type Item = HashMap<String, AttributeValue>;

/// A published definition. Its text is in the blob store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The workflow's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The SHA-256 of its text with all that it refers to.
    pub digest: Digest,
    /// When it was published: of two versions of a name, no two at the same time.
    pub published_at: Timestamp,
}

/// What came of publishing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Publication {
    /// It is published now.
    New(Published),
    /// The same text was published before.
    Already(Published),
    /// Another text was published under this name and version.
    Taken(Published),
}

/// What an event must be to start a workflow by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TriggerKind {
    /// Commits that came to a repository.
    Push,
    /// A time.
    Schedule,
    /// A call over HTTP.
    Webhook,
    /// Any event that looks like a pattern.
    Event,
}

/// Why definitions could not be read or written.
#[derive(Debug, Error)]
pub enum PublishedError {
    /// The table refused.
    #[error("the table cannot {action}: {reason}")]
    Table {
        /// What was tried: a fragment that reads after "cannot".
        action: &'static str,
        /// What it said.
        reason: String,
    },
    /// What is stored is not what was written.
    #[error("what is stored of the published workflow {name} is damaged: {reason}")]
    Damaged {
        /// Whose item it is.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Many publish under one name at once.
    #[error("many publish {0} at once; try again")]
    Contention(String),
}

/// The published definitions of a deployment, in its table.
#[derive(Debug, Clone)]
pub struct PublishedWorkflows {
    client: Client,
    table: String,
}

impl TriggerKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Push, Self::Schedule, Self::Webhook, Self::Event];

    /// The word for it, as in a workflow's `on`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Schedule => "schedule",
            Self::Webhook => "webhook",
            Self::Event => "event",
        }
    }

    /// Whether it starts a workflow.
    fn starts(self, workflow: &Workflow) -> bool {
        workflow.triggers.as_ref().is_some_and(|on| match self {
            Self::Push => on.push.is_some(),
            Self::Schedule => on.schedule.is_some(),
            Self::Webhook => on.webhook.is_some(),
            Self::Event => on.event.is_some(),
        })
    }

    fn partition(self) -> String {
        format!("trigger/{}", self.as_str())
    }
}

impl PublishedWorkflows {
    /// Those of a table.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { client, table: table.into() }
    }

    /// Publishes a definition whose text is in the blob store already. Of two that do so at once, one is the first. What starts a workflow is what its newest version says.
    pub async fn publish(
        &self,
        workflow: &Workflow,
        digest: Digest,
        now: Timestamp,
    ) -> Result<Publication, PublishedError> {
        let (name, version) = (&workflow.name, &workflow.version);
        for _ in 0..CONFLICTS_MAX {
            if let Some(known) = self.find(name, Some(version)).await? {
                let is_same = known.digest == digest;
                return Ok(if is_same { Publication::Already(known) } else { Publication::Taken(known) });
            }
            let newest = self.find(name, None).await?;
            let after = |newest: &Published| newest.published_at.saturating_add(SignedDuration::from_nanos(1)).ok();
            let published_at = newest.as_ref().and_then(after).map_or(now, |after| now.max(after));
            let published =
                Published { name: name.clone(), version: version.clone(), digest: digest.clone(), published_at };
            if self.write(workflow, &published, newest.as_ref()).await? {
                return Ok(Publication::New(published));
            }
        }
        Err(PublishedError::Contention(name.clone()))
    }

    /// The definition of a name and a version, or of no version the one that was published last.
    pub async fn find(&self, name: &str, version: Option<&str>) -> Result<Option<Published>, PublishedError> {
        let (partition, sort) = key(name, version);
        let [pk, sk, ..] = ATTRIBUTES;
        let got = self
            .client
            .get_item()
            .table_name(&self.table)
            .key(pk, text(partition))
            .key(sk, text(sort))
            .consistent_read(true)
            .send()
            .await;
        let got = got.map_err(|error| refused("read a published workflow", &error))?;
        got.item.map(|item| read(name, &item)).transpose()
    }

    /// The newest definitions of the workflows that something of a kind starts, by their names.
    pub async fn started_by(&self, kind: TriggerKind) -> Result<Vec<Published>, PublishedError> {
        let mut found = Vec::new();
        let mut pages = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("#k = :k")
            .expression_attribute_names("#k", ATTRIBUTES[0])
            .expression_attribute_values(":k", text(kind.partition()))
            .consistent_read(true)
            .into_paginator()
            .items()
            .send();
        while let Some(item) = pages.next().await {
            let item = item.map_err(|error| refused("list what is started", &error))?;
            found.push(read(kind.as_str(), &item)?);
        }
        Ok(found)
    }

    /// Writes a version, that it is the newest, and what starts it, all or none. `false` where another was first.
    async fn write(
        &self,
        workflow: &Workflow,
        published: &Published,
        newest: Option<&Published>,
    ) -> Result<bool, PublishedError> {
        let (name, [pk, sk, _, at]) = (&published.name, ATTRIBUTES);
        let put = |partition: String, sort: String| {
            Put::builder().table_name(&self.table).set_item(Some(item(partition, sort, published)))
        };
        let (partition, sort) = key(name, Some(&published.version));
        let version =
            put(partition, sort).condition_expression("attribute_not_exists(#k)").expression_attribute_names("#k", pk);
        let (partition, sort) = key(name, None);
        let last = match newest {
            None => put(partition, sort)
                .condition_expression("attribute_not_exists(#k)")
                .expression_attribute_names("#k", pk),
            Some(newest) => put(partition, sort)
                .condition_expression("#at = :seen")
                .expression_attribute_names("#at", at)
                .expression_attribute_values(":seen", text(newest.published_at.to_string())),
        };
        let mut writes = Vec::new();
        for put in [version, last] {
            writes.push(TransactWriteItem::builder().put(put.build().map_err(|error| broken(&error))?).build());
        }
        for kind in TriggerKind::ALL {
            let write = TransactWriteItem::builder();
            writes.push(if kind.starts(workflow) {
                write.put(put(kind.partition(), name.clone()).build().map_err(|error| broken(&error))?).build()
            } else {
                let delete =
                    Delete::builder().table_name(&self.table).key(pk, text(kind.partition())).key(sk, text(name));
                write.delete(delete.build().map_err(|error| broken(&error))?).build()
            });
        }
        let written = self.client.transact_write_items().set_transact_items(Some(writes)).send().await;
        match written {
            Ok(_) => Ok(true),
            Err(error) if is_conflict(&error) => Ok(false),
            Err(error) => Err(refused("publish a workflow", &error)),
        }
    }
}

/// Whether another write was in the way, before or at the same time.
fn is_conflict(error: &SdkError<TransactWriteItemsError>) -> bool {
    let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error.as_service_error() else {
        return false;
    };
    let codes = cancelled.cancellation_reasons().iter().filter_map(|reason| reason.code());
    codes.filter(|code| *code != "None").all(|code| matches!(code, "ConditionalCheckFailed" | "TransactionConflict"))
}

fn key(name: &str, version: Option<&str>) -> (String, String) {
    let sort = version.map_or_else(|| "newest".to_owned(), |version| format!("version/{version}"));
    (format!("workflow/{name}"), sort)
}

fn item(partition: String, sort: String, published: &Published) -> Item {
    // Plain data with text keys always has a JSON form.
    let body = serde_json::to_string(published).unwrap_or_default();
    let values = [partition, sort, body, published.published_at.to_string()];
    ATTRIBUTES.into_iter().map(str::to_owned).zip(values.map(text)).collect()
}

fn read(name: &str, item: &Item) -> Result<Published, PublishedError> {
    let body = item.get(ATTRIBUTES[2]).and_then(|body| body.as_s().ok()).map_or("", String::as_str);
    let damaged =
        |error: serde_json::Error| PublishedError::Damaged { name: name.to_owned(), reason: error.to_string() };
    serde_json::from_str(body).map_err(damaged)
}

fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

fn refused<E: std::error::Error + Send + Sync + 'static>(action: &'static str, error: &SdkError<E>) -> PublishedError {
    PublishedError::Table { action, reason: DisplayErrorContext(error).to_string() }
}

fn broken(error: &aws_sdk_dynamodb::error::BuildError) -> PublishedError {
    PublishedError::Table { action: "publish a workflow", reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use ratchet_definition::compile::{SourceFile, compile};

    use super::*;
    use crate::{Table, emulator::Emulator};

    fn workflow(version: &str, on: &str) -> Workflow {
        let text = format!(
            "name: deploy\nversion: \"{version}\"\n{on}steps:\n  - {{ id: a, type: assert, condition: \"true\", message: no }}\n"
        );
        compile(&SourceFile { name: "w.yaml".to_owned(), text }).unwrap().workflow
    }

    fn digest(of: &str) -> Digest {
        Digest::new(of)
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_name_and_version_stand_for_one_text_and_the_newest_says_what_starts_it() {
        let Some(emulator) = Emulator::start().await else { return };
        let client = Client::new(&emulator.config().await);
        Table::create(&client, "published").await.unwrap();
        let published = PublishedWorkflows::new(client, "published");
        let started = async |kind| -> Vec<String> {
            published.started_by(kind).await.unwrap().into_iter().map(|found| found.version).collect()
        };
        assert_eq!(published.find("deploy", None).await.unwrap(), None);
        let on = "on: { push: { repositories: [team/app] }, webhook: {} }\n";
        let first = published.publish(&workflow("1", on), digest("a"), at(10)).await.unwrap();
        assert!(matches!(first, Publication::New(_)), "{first:?}");
        assert_eq!(started(TriggerKind::Push).await, ["1"]);
        assert_eq!(started(TriggerKind::Webhook).await, ["1"]);
        assert!(started(TriggerKind::Event).await.is_empty());
        // A clock that went back makes no version older than the one before it.
        let second = published.publish(&workflow("0", "on: { webhook: {} }\n"), digest("b"), at(5)).await.unwrap();
        assert!(matches!(&second, Publication::New(new) if new.published_at > at(10)), "{second:?}");
        assert_eq!(published.find("deploy", None).await.unwrap().map(|found| found.version), Some("0".to_owned()));
        assert!(started(TriggerKind::Push).await.is_empty(), "the newest does not start by a push");
        assert_eq!(started(TriggerKind::Webhook).await, ["0"]);
        let again = published.publish(&workflow("1", on), digest("a"), at(20)).await.unwrap();
        assert!(matches!(again, Publication::Already(_)), "{again:?}");
        let other = published.publish(&workflow("1", on), digest("c"), at(20)).await.unwrap();
        assert!(matches!(&other, Publication::Taken(known) if known.digest == digest("a")), "{other:?}");
        assert_eq!(published.find("deploy", Some("1")).await.unwrap().map(|found| found.digest), Some(digest("a")));
        let racing = workflow("2", "");
        let racers = ["x", "y", "z"].map(|text| published.publish(&racing, digest(text), at(30)));
        let outcomes: Vec<Publication> = join_all(racers).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(outcomes.iter().filter(|outcome| matches!(outcome, Publication::New(_))).count(), 1, "{outcomes:?}");
        assert!(started(TriggerKind::Webhook).await.is_empty());
    }
}

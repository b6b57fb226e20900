use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use ratchet_core::{
    history::sha256_hex,
    ids::{Digest, ExecutionId, StepId, StepKey},
    output::{BlobRef, Outputs},
    step::Usage,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Page;

/// Results of steps, kept under keys for other runs.
///
/// Contract of the entries: one is there whole or not at all, also after a crash in the middle of [`publish`](Self::publish). Of two that are published under one name the first
/// stays, unless the second is to take its place. What an attempt gave is published once: again, or after it was withdrawn, it changes nothing. [`get`](Self::get) gives an entry
/// only as it was published: it compares a digest, and one that is damaged is removed and told. The contents that an entry names live in the blob store; whoever collects
/// garbage there keeps them while the entry is there. A publish may push out others, the longest unused first, to keep within a bound of bytes: never what it published itself.
///
/// Contract of the leases: of those who ask for one at once exactly one gets it. It names an attempt. Whether that has ended is its readers' to find out: a lease that has
/// outlived its attempt is taken by naming it, so that of several who found that out one gets it. No lease is given for a name under which an entry is.
///
/// Contract of the uses: each settled step is noted once, however often it is told. They outlive the entries, by a year at
/// least.
#[async_trait]
pub trait StepCache: Send + Sync {
    /// The entry of a name at a time.
    async fn get(&self, name: &EntryName, now: Timestamp) -> Result<Looked, CacheError>;

    /// Keeps what an attempt gave, notes its use, and ends the lease that it holds. `replace` has it take the place of an entry that is there.
    async fn publish(&self, entry: Entry, used: Used, replace: bool) -> Result<Published, CacheError>;

    /// Notes a hit, which makes its entry the most recently used.
    async fn note(&self, used: Used) -> Result<(), CacheError>;

    /// Asks for the lease of a name, in the place of `over` where that is still held.
    async fn lease(&self, name: &EntryName, lease: Lease, over: Option<&Lease>) -> Result<Leased, CacheError>;

    /// Ends the lease of an attempt that gave nothing, where it holds it.
    async fn release(&self, name: &EntryName, holder: &StepKey, attempt: u32) -> Result<(), CacheError>;

    /// Removes the entry of a name. `false` where there is none.
    async fn remove(&self, name: &EntryName) -> Result<bool, CacheError>;

    /// Removes an entry that a step made, and has nothing that it gave be published any more. Another step's under the same name stays.
    async fn withdraw(&self, name: &EntryName, made_by: &StepKey, now: Timestamp) -> Result<bool, CacheError>;

    /// Takes the mark off an entry that says that no assertion has confirmed it.
    async fn confirm(&self, name: &EntryName, made_by: &StepKey) -> Result<(), CacheError>;

    /// Removes the entries that a filter selects, and says how many.
    async fn invalidate(&self, filter: &EntryFilter) -> Result<u64, CacheError>;

    /// Pushes entries out, the longest unused first, until those that are left have no more than so many bytes together.
    async fn evict(&self, bytes_max: u64) -> Result<Evicted, CacheError>;

    /// The entries that a filter selects, by page and in the order of their names: `after` is the last of the page before.
    async fn entries(
        &self,
        filter: &EntryFilter,
        after: Option<&EntryName>,
        limit: usize,
    ) -> Result<Page<Listed>, CacheError>;

    /// How steps were settled, newest first.
    async fn uses(&self, filter: &UseFilter, limit: usize) -> Result<Vec<Used>, CacheError>;

    /// Counts of a period by workflow and step, in the order of their names. Withdrawn results count as what they were.
    async fn statistics(&self, filter: &UseFilter) -> Result<Vec<Statistic>, CacheError>;
}

/// What an entry is found by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EntryName {
    /// Who shares it: a workflow's name, or empty for all.
    pub scope: String,
    /// The key.
    pub key: Digest,
}

/// The result of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// What it is found by.
    pub name: EntryName,
    /// The workflow of the run that made it.
    pub workflow: String,
    /// What its author's `version` of the cache was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The step that made it.
    pub made_by: StepKey,
    /// What it gave.
    pub outputs: Outputs,
    /// How its process ended, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// What it had to say although it succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// The files as it left them, whose last layer is what it changed. `None` where it changed nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<Digest>,
    /// An agent's session, where another step goes on with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<BlobRef>,
    /// What making it took.
    pub usage: Usage,
    /// Bytes of the contents that it names.
    pub bytes: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it has had its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Whether it is an agent's that no assertion has confirmed yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unproven: bool,
}

impl Entry {
    /// Whether it has had its time.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// What is written, and the digest that it is verified by when it is read.
    pub fn sealed(&self) -> (String, Digest) {
        // Plain data with text keys always has a JSON form.
        let body = serde_json::to_string(self).unwrap_or_default();
        let digest = Digest::new(sha256_hex(body.as_bytes()));
        (body, digest)
    }

    /// Reads what [`sealed`](Self::sealed) gave; a reason where it is not that any more.
    pub fn opened(body: &str, digest: &Digest) -> Result<Self, String> {
        if sha256_hex(body.as_bytes()) != digest.as_str() {
            return Err("its text no longer has its digest".to_owned());
        }
        serde_json::from_str(body).map_err(|error| format!("its text cannot be read: {error}"))
    }
}

/// What is under a name.
#[derive(Debug, Clone, PartialEq)]
pub enum Looked {
    /// An entry.
    Entry(Box<Entry>),
    /// Nothing.
    Absent,
    /// An entry that has had its time. It is removed.
    Expired,
    /// What is no entry any more. It is removed.
    Damaged(String),
}

/// What became of a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// It is kept.
    Kept,
    /// Another was there first, or what the attempt gave was published or withdrawn before.
    Passed,
}

/// The right to compute what is not there yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The step whose attempt computes it.
    pub holder: StepKey,
    /// The attempt.
    pub attempt: u32,
    /// Since when.
    pub taken_at: Timestamp,
    /// When whoever waits computes for itself.
    pub until: Timestamp,
}

/// What came of asking for a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leased {
    /// It was given.
    Taken,
    /// Another holds it.
    Held(Lease),
    /// There is an entry by now.
    Published,
}

/// How a step was settled that is cached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Used {
    /// Which step.
    pub step: StepKey,
    /// The workflow of its run.
    pub workflow: String,
    /// What its result is found by.
    pub name: EntryName,
    /// When it was settled.
    pub at: Timestamp,
    /// Whether a kept result stood in for it.
    pub hit: bool,
    /// What it took; of a hit, what was saved.
    pub usage: Usage,
}

/// Which entries are meant: those for which all holds that is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntryFilter {
    /// With a key that begins so.
    pub key: Option<String>,
    /// Of this workflow.
    pub workflow: Option<String>,
    /// Of this step.
    pub step: Option<StepId>,
    /// Of this `version` of the cache.
    pub version: Option<String>,
    /// Made before this.
    pub made_before: Option<Timestamp>,
    /// Not used since this.
    pub unused_since: Option<Timestamp>,
    /// That have had their time by this.
    pub expired_by: Option<Timestamp>,
}

/// Which uses are meant: those for which all holds that is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UseFilter {
    /// In runs of this workflow.
    pub workflow: Option<String>,
    /// Of this step.
    pub step: Option<StepId>,
    /// In this run.
    pub execution: Option<ExecutionId>,
    /// From this time on.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub before: Option<Timestamp>,
    /// Hits only, or misses only.
    pub hit: Option<bool>,
}

/// An entry and when it was used last.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// What it is found by.
    pub name: EntryName,
    /// The entry, or why it is none any more.
    pub entry: Result<Box<Entry>, String>,
    /// When a step was settled with it last, or it was made.
    pub used_at: Timestamp,
}

/// What was pushed out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Evicted {
    /// Entries.
    pub entries: u64,
    /// Bytes that they named.
    pub bytes: u64,
}

/// Counts of a step of a workflow.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Statistic {
    /// The workflow.
    pub workflow: String,
    /// The step.
    pub step: StepId,
    /// How often a kept result stood in for it.
    pub hits: u64,
    /// How often it ran.
    pub misses: u64,
    /// Milliseconds of processes that the hits saved.
    pub saved_ms: u64,
    /// US dollars that the hits saved.
    pub saved_usd: f64,
    /// Milliseconds of processes that the misses took.
    pub spent_ms: u64,
    /// US dollars that the misses cost.
    pub spent_usd: f64,
}

impl EntryFilter {
    /// Whether what is under a name is meant. Of what is damaged there is no entry: only its key and its last use are known.
    pub fn selects(&self, name: &EntryName, used_at: Timestamp, entry: Option<&Entry>) -> bool {
        let Self { key, workflow, step, version, made_before, unused_since, expired_by } = self;
        let holds = |holds: &dyn Fn(&Entry) -> bool| entry.is_some_and(holds);
        key.as_ref().is_none_or(|key| name.key.as_str().starts_with(key.as_str()))
            && workflow.as_ref().is_none_or(|workflow| holds(&|entry| entry.workflow == *workflow))
            && step.as_ref().is_none_or(|step| holds(&|entry| entry.made_by.path.step == *step))
            && version.as_ref().is_none_or(|version| holds(&|entry| entry.version.as_ref() == Some(version)))
            && made_before.is_none_or(|at| holds(&|entry| entry.created_at < at))
            && unused_since.is_none_or(|at| used_at < at)
            && expired_by.is_none_or(|at| holds(&|entry| entry.is_expired(at)))
    }
}

impl UseFilter {
    /// Whether a use is meant.
    pub fn selects(&self, used: &Used) -> bool {
        let Self { workflow, step, execution, from, before, hit } = self;
        workflow.as_ref().is_none_or(|workflow| used.workflow == *workflow)
            && step.as_ref().is_none_or(|step| used.step.path.step == *step)
            && execution.as_ref().is_none_or(|execution| used.step.execution == *execution)
            && from.is_none_or(|from| used.at >= from)
            && before.is_none_or(|before| used.at < before)
            && hit.is_none_or(|hit| used.hit == hit)
    }
}

impl Statistic {
    /// A step of which nothing is counted yet.
    pub fn none(workflow: String, step: StepId) -> Self {
        Self { workflow, step, hits: 0, misses: 0, saved_ms: 0, saved_usd: 0.0, spent_ms: 0, spent_usd: 0.0 }
    }

    /// Counts uses by workflow and step, in the order of their names.
    pub fn count<'a>(uses: impl IntoIterator<Item = &'a Used>) -> Vec<Self> {
        let mut counted = BTreeMap::new();
        for used in uses {
            let (workflow, step) = (&used.workflow, &used.step.path.step);
            let of_step = counted.entry((workflow, step)).or_insert_with(|| Self::none(workflow.clone(), step.clone()));
            of_step.add(used);
        }
        counted.into_values().collect()
    }

    /// Hits among all, from 0 to 1; `None` where there was nothing.
    pub fn rate(&self) -> Option<f64> {
        let all = self.hits + self.misses;
        #[expect(clippy::cast_precision_loss, reason = "counts of steps are far below what a float holds exactly")]
        (all > 0).then(|| self.hits as f64 / all as f64)
    }

    /// With another use in it.
    pub fn add(&mut self, used: &Used) {
        let money = used.usage.cost_usd.unwrap_or(0.0);
        if used.hit {
            self.hits += 1;
            self.saved_ms += used.usage.process_ms;
            self.saved_usd += money;
        } else {
            self.misses += 1;
            self.spent_ms += used.usage.process_ms;
            self.spent_usd += money;
        }
    }
}

/// Why the cache could not be asked. A step runs then as if nothing were kept.
#[derive(Debug, Error)]
pub enum CacheError {
    /// The place where it lives refused or failed.
    #[error("the step cache cannot {action}: {reason}")]
    Failed {
        /// What was tried: a fragment that reads after "cannot".
        action: &'static str,
        /// What it said.
        reason: String,
    },
}

impl CacheError {
    /// The stable code of the error's page in `docs/errors`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Failed { .. } => "RT-0230",
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Failed { .. } => {
                "make room or make the state directory writable; steps run meanwhile as if nothing were kept"
            }
        }
    }
}

/// How long a step is expected to take of which nothing is known.
pub const EXPECTED_UNKNOWN: Duration = Duration::from_mins(5);

//! What counts of a row, read from its stored form.

use std::collections::BTreeMap;

use jiff::Timestamp;
use ratchet_core::{
    cached::CacheUse,
    execution::DefinitionRef,
    ids::{Epoch, ExecutionId, StepKey},
    status::{ExecutionStatus, StepStatus},
    step::Usage,
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

/// An execution.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct RunFact {
    /// Which.
    pub id: ExecutionId,
    /// The step that it was started for, where it was.
    #[serde(default)]
    pub parent: Option<ParentFact>,
    /// What it follows.
    pub definition: DefinitionRef,
    /// Its generation: 1 where nobody cancelled or resumed it.
    pub epoch: Epoch,
    /// Where it stands.
    pub status: ExecutionStatus,
    /// Whether it completed with a step that failed and was passed over.
    #[serde(default)]
    pub continued: bool,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it ended.
    #[serde(default)]
    pub ended_at: Option<Timestamp>,
}

/// The step that an execution was started for.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ParentFact {
    /// Which.
    pub key: StepKey,
    /// The way to it from the outermost run: `release.build[2]`.
    #[serde(default)]
    pub way: String,
}

/// A step, or a child of one, in one epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct StepFact {
    /// Which.
    pub key: StepKey,
    /// Where it stands.
    pub status: StepStatus,
    /// How many attempts were made.
    pub attempts: u32,
    /// When its first attempt was claimed.
    pub started_at: Timestamp,
    /// When it settled.
    pub settled_at: Option<Timestamp>,
    /// Whether it is a run of its own, whose rows say what was spent.
    pub is_run: bool,
    /// What the cache of results had to do with it, where it is cached.
    pub cache: Option<CacheUse>,
    /// Whether it did more than end well: what it asked for held, and it had nothing to warn of.
    pub holds: bool,
    /// Whether its result was taken over from an older epoch, so that nothing was done here.
    pub is_taken_over: bool,
    /// What its current attempt took, once it said so.
    pub spent: Vec<(Timestamp, Usage)>,
    /// What each model took of that, where the agent said so.
    pub models: BTreeMap<String, Usage>,
}

/// An earlier attempt of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptFact {
    /// Of which step.
    pub key: StepKey,
    /// Which.
    pub attempt: u32,
    /// What it took, once it said so.
    pub spent: Vec<(Timestamp, Usage)>,
}

impl RunFact {
    /// Reads the stored form of a row.
    pub fn read(body: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(body)
    }
}

impl StepFact {
    /// Reads the stored form of a row.
    pub fn read(body: &str) -> Result<Self, serde_json::Error> {
        let body: StepBody = serde_json::from_str(body)?;
        let spent = spent(&body.records);
        let status = body.state.status();
        let is_hit = body.cache.as_ref().is_some_and(|cache| cache.hit().is_some());
        let used = spent.iter().fold(Usage::default(), |sum, (_, usage)| sum.and(*usage));
        let holds = body.result.as_ref().is_none_or(|result| result.warning.is_none() && !result.concludes);
        let models = body.result.and_then(|result| result.outputs.models).filter(|_| used.cost_usd.is_some());
        Ok(Self {
            status,
            attempts: body.attempt,
            started_at: body.started_at,
            settled_at: body.settled_at,
            is_run: body.execution.is_some(),
            holds: status == StepStatus::Completed && holds,
            is_taken_over: status == StepStatus::Completed
                && body.key.path.child.is_some()
                && !is_hit
                && !body.records.iter().any(RecordBody::claims),
            cache: body.cache,
            spent,
            models: models.map(|models| by_model(&models)).unwrap_or_default(),
            key: body.key,
        })
    }

    /// What its processes took, and what its agents cost.
    pub fn usage(&self) -> Usage {
        self.spent.iter().fold(Usage::default(), |sum, (_, usage)| sum.and(*usage))
    }
}

impl AttemptFact {
    /// Reads the stored form of a row.
    pub fn read(body: &str) -> Result<Self, serde_json::Error> {
        let AttemptBody { key, attempt, records } = serde_json::from_str(body)?;
        Ok(Self { key, attempt, spent: spent(&records) })
    }
}

#[derive(Deserialize)]
struct StepBody {
    key: StepKey,
    state: State,
    attempt: u32,
    started_at: Timestamp,
    #[serde(default)]
    settled_at: Option<Timestamp>,
    #[serde(default)]
    result: Option<ResultBody>,
    #[serde(default)]
    execution: Option<IgnoredAny>,
    #[serde(default)]
    cache: Option<CacheUse>,
    records: Vec<RecordBody>,
}

#[derive(Deserialize)]
struct AttemptBody {
    key: StepKey,
    attempt: u32,
    records: Vec<RecordBody>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Running(IgnoredAny),
    FannedOut(IgnoredAny),
    Waiting(IgnoredAny),
    Completed,
    Failed(IgnoredAny),
    Skipped(IgnoredAny),
    Blocked,
    Cancelled,
}

impl State {
    fn status(&self) -> StepStatus {
        match self {
            Self::Running(_) | Self::FannedOut(_) => StepStatus::Running,
            Self::Waiting(_) => StepStatus::Waiting,
            Self::Completed => StepStatus::Completed,
            Self::Failed(_) => StepStatus::Failed,
            Self::Skipped(_) => StepStatus::Skipped,
            Self::Blocked => StepStatus::Blocked,
            Self::Cancelled => StepStatus::Cancelled,
        }
    }
}

#[derive(Deserialize)]
struct ResultBody {
    #[serde(default)]
    outputs: OutputsBody,
    #[serde(default)]
    warning: Option<IgnoredAny>,
    #[serde(default)]
    concludes: bool,
}

/// An author may give an output the name of an agent's: what it is, is looked at where it is used.
#[derive(Default, Deserialize)]
struct OutputsBody {
    #[serde(default)]
    models: Option<Value>,
}

#[derive(Deserialize)]
struct RecordBody {
    at: Timestamp,
    change: Change,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(default)]
    result: Option<RecordResult>,
}

#[derive(PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Change {
    Claimed,
    Reclaimed,
    LostAndReclaimed,
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct RecordResult {
    #[serde(default)]
    usage: Usage,
}

impl RecordBody {
    fn claims(&self) -> bool {
        self.change != Change::Other
    }
}

/// What the records of an attempt say that it took. One that was never claimed took nothing: its result is another's.
fn spent(records: &[RecordBody]) -> Vec<(Timestamp, Usage)> {
    if !records.iter().any(RecordBody::claims) {
        return Vec::new();
    }
    let usage = |record: &RecordBody| record.usage.or(record.result.as_ref().map(|result| result.usage));
    records.iter().filter_map(|record| Some((record.at, usage(record)?))).collect()
}

/// The output `models` of an agent's step: what each model cost and how many tokens it read and wrote.
fn by_model(output: &Value) -> BTreeMap<String, Usage> {
    let models = output["json"].as_object().into_iter().flatten();
    models
        .map(|(name, model)| {
            let (cost_usd, tokens) = (model["cost_usd"].as_f64(), model["tokens"].as_u64());
            (name.clone(), Usage { cost_usd, tokens, ..Usage::default() })
        })
        .collect()
}

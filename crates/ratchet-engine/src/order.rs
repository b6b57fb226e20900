//! What a runner is told to do, and what it reports.

use std::{collections::BTreeMap, fmt, ops::RangeInclusive, time::Duration};

use ratchet_core::{
    execution::TraceParent,
    history::sha256_hex,
    ids::{Digest, StepKey, TokenHash},
    output::FileValue,
    step::{StepFailure, StepResult, Usage},
    workflow::{Expression, OnLimit, SecurityProfile, ValueType},
};
use ratchet_definition::evaluate::Scope;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::masks::Masks;

/// The secret of an attempt. Whoever reports with it is the attempt; the state holds only its hash.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// A token of these random bytes.
    pub fn new(entropy: [u8; 16]) -> Self {
        Self(ratchet_core::history::hex(&entropy))
    }

    /// What the state holds of it.
    pub fn hash(&self) -> TokenHash {
        TokenHash::new(sha256_hex(self.0.as_bytes()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// One attempt of one step, every template in it filled in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    /// Which step.
    pub key: StepKey,
    /// The way to the step from the outermost run, as people name it: what a recording finds an agent's session by.
    pub way: String,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// Proves the attempt's report.
    pub token: Token,
    /// The span that the attempt's own spans belong to.
    pub trace: TraceParent,
    /// What is done.
    pub work: Work,
    /// The files that it begins with: a tree in the blob store. `None` where it works in the directory itself.
    pub tree: Option<Digest>,
    /// Variables that the workflow and the step declare.
    pub environment: BTreeMap<String, String>,
    /// Variables that hold secrets, which the runner puts in.
    pub secrets: BTreeMap<String, Vec<SecretText>>,
    /// Secrets that the runner puts into files, each with the file's name: the variable of the secret's name holds the path.
    pub secret_files: BTreeMap<String, String>,
    /// Where the process starts, relative to the workspace; empty for its root.
    pub working_directory: String,
    /// How many bytes it may leave in its files; as many as there is room for where nothing is said.
    pub disk_bytes_max: Option<u64>,
    /// How long the attempt may take.
    pub timeout: Option<Duration>,
    /// What is captured at its end, in order.
    pub outputs: Vec<OutputOrder>,
    /// What the expressions of its outputs see besides what its process gives.
    pub scope: Scope,
    /// The files that it reads, relative to the workspace or, for captured files of other steps, absolute.
    pub inputs: Vec<String>,
    /// The files of other steps that its texts name by the paths of copies, which are there before it begins.
    pub captured: Vec<FileValue>,
    /// How large its task is, where tasks have sizes.
    pub size: TaskSize,
    /// The same over all attempts of the step: for what the process does to the outside world.
    pub idempotency_key: String,
    /// What must not be written where a person reads it.
    pub masks: Masks,
    /// What the adapters of this place need to find the run's workspace.
    pub place: Value,
}

/// How large a task is, and what it runs on. What is not said is the deployment's choice.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSize {
    /// 1024 are one processor.
    pub cpu_units: Option<u32>,
    /// Mebibytes.
    pub memory_mib: Option<u32>,
    /// Gibibytes of disk.
    pub disk_gib: Option<u32>,
    /// The image that it runs in.
    pub image: Option<String>,
    /// Whether it may run on capacity that is taken back at any time.
    pub spot: Option<bool>,
}

/// A part of a variable or header that may hold a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretText {
    /// What stands beside it.
    Plain(String),
    /// The secret of this name.
    Secret(String),
}

/// What an attempt does.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Runs a program.
    Command {
        /// The program and its arguments.
        argv: Vec<String>,
        /// Values that the script reads, as variables of its own.
        values: BTreeMap<String, String>,
        /// Exit codes besides 0 that are not failures.
        allow_exit_codes: Vec<i32>,
        /// What its processes may do; `None` for whatever the runner's user may.
        profile: Option<SecurityProfile>,
    },
    /// Asks an agent.
    Agent(Box<AgentOrder>),
    /// Sends a request.
    Request(Box<RequestOrder>),
    /// Runs a program that reads one JSON object and writes one.
    Program(Box<ProgramOrder>),
}

/// A request to send.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RequestOrder {
    /// Where to: `http` or `https`, a host, no user.
    pub url: String,
    /// The method.
    pub method: String,
    /// By their names in small letters. Secrets are put in by the runner.
    pub headers: BTreeMap<String, Vec<SecretText>>,
    /// What is sent.
    pub body: Option<RequestBody>,
    /// The status codes that are a success, in ranges.
    pub expect_status: Vec<RangeInclusive<u16>>,
}

/// What a request sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestBody {
    /// Text.
    Text(String),
    /// Data, as JSON.
    Json(Value),
}

/// A program of the author's.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProgramOrder {
    /// The program and its arguments. A program that is named by a relative path lies beside the workflow's file.
    pub argv: Vec<String>,
    /// Its content, where it lies beside the workflow's file.
    pub digest: Option<Digest>,
    /// What it reads: one JSON object.
    pub stdin: String,
    /// The fields of the object that it must write, and their types, in order.
    pub outputs: Vec<(String, ValueType)>,
}

/// What an agent is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AgentOrder {
    /// What is asked.
    pub prompt: String,
    /// What its process may do.
    pub profile: SecurityProfile,
    /// The model.
    pub model: Option<String>,
    /// The most turns.
    pub max_turns: Option<u32>,
    /// The most money, in US dollars.
    pub max_cost_usd: Option<f64>,
    /// The tools it may use.
    pub allowed_tools: Option<Vec<String>>,
    /// What its reply must look like.
    pub output_schema: Option<Value>,
    /// Added to the system prompt.
    pub append_system_prompt: Option<String>,
    /// How long it may say nothing.
    pub stall_timeout: Option<Duration>,
    /// What must succeed before the step is done.
    pub verify: Option<VerifyOrder>,
    /// What is done when a limit is reached.
    #[serde(default)]
    pub on_limit: OnLimit,
    /// The session that it goes on with: what an attempt before it kept in the blob store.
    pub session: Option<Digest>,
    /// The conversation of another step that it goes on with where it begins: kept in the blob store.
    #[serde(default)]
    pub continues: Option<Digest>,
    /// Whether another step goes on with its own.
    #[serde(default)]
    pub keeps_session: bool,
}

/// A command that judges the work of an agent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VerifyOrder {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Values that the script reads, as variables of its own.
    pub values: BTreeMap<String, String>,
    /// The command as a person would have typed it: what the agent is told.
    pub display: String,
    /// What its processes may do; `None` for whatever the runner's user may.
    pub profile: Option<SecurityProfile>,
    /// How often the agent may work again on what it left.
    pub max_fix_rounds: u32,
}

/// An output to capture.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OutputOrder {
    /// Its name.
    pub name: String,
    /// Where it comes from.
    pub source: OutputOrderSource,
}

/// Where an output comes from.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputOrderSource {
    /// A file, relative to the workspace.
    File(String),
    /// An expression over `stdout`, `stderr`, `exit_code`, `response`, `json` and earlier outputs.
    From {
        /// The expression. What it reads is known to whoever planned it.
        #[serde(with = "expression")]
        expression: Expression,
        /// The type that its value is turned into.
        value_type: ValueType,
    },
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptReport {
    /// Which step.
    pub key: StepKey,
    /// Which attempt.
    pub attempt: u32,
    /// Proves the report.
    pub token: Token,
    /// What came of it.
    pub outcome: AttemptOutcome,
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptOutcome {
    /// It ended well.
    Succeeded(StepResult),
    /// It did not.
    Failed {
        /// Why.
        failure: StepFailure,
        /// What it took.
        usage: Usage,
    },
    /// It was told to stop, and did.
    Stopped,
}

/// Expressions on their way to whoever evaluates them.
mod expression {
    use ratchet_core::workflow::{Expression, Uses};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Told<T> {
        source: T,
        code: T,
    }

    pub(super) fn serialize<S: Serializer>(expression: &Expression, serializer: S) -> Result<S::Ok, S::Error> {
        Told { source: &expression.source, code: &expression.code }.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Expression, D::Error> {
        let Told { source, code } = Told::deserialize(deserializer)?;
        Ok(Expression { source, code, uses: Uses::default() })
    }
}

//! A file of tests: what it may say, and every mistake in it with its place.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use ratchet_core::{
    status::{ExecutionStatus, StepStatus},
    workflow::{Action, OutputSource, StepOutput, Workflow},
};
use ratchet_definition::{
    diagnostic::Diagnostics,
    mistake::Mistake,
    yaml::{self, Limits, Node},
};
use serde::Deserialize;
use serde_json::Value;
use serde_path_to_error::Segment;

use crate::command_error::CommandError;

/// How the name of such a file ends.
pub(crate) const SUFFIX: &str = ".test.yaml";

/// The code of a mistake in such a file.
const MISTAKE: &str = "RT-0440";

/// The tests of one workflow.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TestFile {
    /// The workflow's file, relative to this one.
    #[serde(default = "beside")]
    pub(crate) workflow: PathBuf,
    /// The tests.
    pub(crate) tests: Vec<Test>,
}

fn beside() -> PathBuf {
    PathBuf::from("workflow.yaml")
}

/// One run of the workflow, and what must come of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Test {
    /// What it shows.
    pub(crate) name: String,
    /// A folder beside the file: the workspace is a copy of it. An empty folder where it does not say.
    #[serde(default)]
    pub(crate) files: Option<PathBuf>,
    /// Files that are written over those, by their paths.
    #[serde(default)]
    pub(crate) write: BTreeMap<PathBuf, String>,
    /// Whether the copy becomes a repository with one commit.
    #[serde(default)]
    pub(crate) git: bool,
    /// Commands that prepare the copy.
    #[serde(default)]
    pub(crate) run: Vec<String>,
    /// The inputs of the run.
    #[serde(default)]
    pub(crate) inputs: BTreeMap<String, Value>,
    /// The variables that the run is given.
    #[serde(default, alias = "environment")]
    pub(crate) env: BTreeMap<String, String>,
    /// Secrets of the run, by name: made-up ones, which no real one stands in for.
    #[serde(default)]
    pub(crate) secrets: BTreeMap<String, String>,
    /// Whether the run is made twice, each time on files of its own: what must come of it is said of the second, which finds the results of the first.
    #[serde(default)]
    pub(crate) again: bool,
    /// Who plays the agent.
    #[serde(default)]
    pub(crate) agent: Agent,
    /// What is stated of steps instead of doing them.
    #[serde(default)]
    pub(crate) steps: BTreeMap<String, Stated>,
    /// What must come of it. Nothing said is a run that completes.
    #[serde(default)]
    pub(crate) expect: Option<Expected>,
}

/// Who plays the agent in a test.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub(crate) enum Agent {
    /// Nobody: only steps whose reply is stated have an agent.
    #[default]
    Nobody,
    /// A recording, in a folder beside the file.
    Recorded(PathBuf),
    /// The folder `recording` beside the file, and it changes nothing: what a workflow comes to whose agent only talks.
    Idle,
}

impl From<String> for Agent {
    fn from(text: String) -> Self {
        match text.as_str() {
            "none" => Self::Nobody,
            "idle" => Self::Idle,
            folder => Self::Recorded(PathBuf::from(folder)),
        }
    }
}

/// What is stated of a step.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Stated {
    /// Outputs that it gives, by name.
    pub(crate) outputs: BTreeMap<String, Value>,
    /// What its process prints.
    pub(crate) stdout: Option<String>,
    /// How its process ends; of failures that are stated: how those do.
    pub(crate) exit_code: Option<i32>,
    /// What its agent replies: text, or data where the step has a schema.
    pub(crate) reply: Option<Value>,
    /// Files that it writes, by their paths.
    pub(crate) write: BTreeMap<PathBuf, String>,
    /// So many attempts fail before one does what else is stated, or what the step does.
    pub(crate) fails: u32,
    /// What those failures say.
    pub(crate) message: Option<String>,
    /// The tasks of so many attempts are lost before those.
    pub(crate) lost: u32,
    /// What a person says.
    pub(crate) answer: Option<Answer>,
    /// What the person says besides.
    pub(crate) comment: Option<String>,
    /// The limit that its agent reaches.
    pub(crate) limit: Option<Limit>,
    /// What its `verify` says of what its agent left, instead of running.
    pub(crate) verify: Option<bool>,
}

impl Stated {
    /// Whether it says what the step's process gives, so that none is started.
    pub(crate) fn stands_for_process(&self) -> bool {
        !self.outputs.is_empty() || self.stdout.is_some() || !self.write.is_empty() || self.ends()
    }

    /// Whether it says what the step's agent says.
    pub(crate) fn has_agent(&self) -> bool {
        self.reply.is_some() || self.limit.is_some()
    }

    fn ends(&self) -> bool {
        self.exit_code.is_some() && self.fails == 0
    }
}

/// What a person says to a step that asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Answer {
    Approve,
    Reject,
}

/// A limit of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Limit {
    Cost,
    Turns,
    Stall,
}

/// What must come of a run. What is not said is not compared, but for the status and the steps that failed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Expected {
    /// Where it stands at its end; completed where it does not say.
    pub(crate) status: Option<ExecutionStatus>,
    /// The steps that failed; none, of a run that must complete.
    pub(crate) failed_steps: Option<Vec<String>>,
    /// Where steps stand.
    pub(crate) steps: BTreeMap<String, ExpectedStep>,
    /// Outputs of the run.
    pub(crate) outputs: BTreeMap<String, Value>,
    /// Expressions that must be true.
    pub(crate) check: Vec<String>,
    /// A code, or a part of the message, of a failure.
    pub(crate) error: Option<String>,
    /// Files of the workspace.
    pub(crate) files: BTreeMap<PathBuf, ExpectedFile>,
    /// Globs, one of which each path matches that the run changed.
    pub(crate) changed: Option<Vec<String>>,
    /// How often an agent was asked.
    pub(crate) agent_calls: Option<u32>,
    /// The most that agents may have cost, in US dollars.
    pub(crate) max_cost_usd: Option<f64>,
}

impl Expected {
    /// The steps that it names.
    fn steps(&self) -> impl Iterator<Item = &String> {
        self.steps.keys().chain(self.failed_steps.iter().flatten())
    }
}

/// How a step must end.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged, expecting = "it is neither a status nor an object of `status`, `attempts`, `cached` and `outputs`")]
pub(crate) enum ExpectedStep {
    Status(StepStatus),
    Details(ExpectedDetails),
}

/// More about how a step must end.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ExpectedDetails {
    pub(crate) status: Option<StepStatus>,
    pub(crate) attempts: Option<u32>,
    pub(crate) cached: Option<bool>,
    pub(crate) outputs: BTreeMap<String, Value>,
}

/// What must be in the place of a file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "it is neither `present` nor `absent` nor an object of `contains` and `equals`")]
pub(crate) enum ExpectedFile {
    Presence(Presence),
    Content(ExpectedContent),
}

/// Whether a file is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Presence {
    Present,
    Absent,
}

/// What a file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ExpectedContent {
    pub(crate) contains: Option<String>,
    pub(crate) equals: Option<String>,
}

/// A file of tests that was read, with its text for what is said of it.
#[derive(Debug)]
pub(crate) struct Source {
    /// Where it lies, as it was named.
    pub(crate) path: PathBuf,
    /// What it says.
    pub(crate) file: TestFile,
    /// Its text.
    pub(super) text: String,
    /// The places in it.
    pub(super) tree: Node,
}

impl Source {
    /// Reads a file. What is wrong with it is a report with its place.
    pub(crate) fn read(path: &Path) -> Result<Result<Self, Diagnostics>, CommandError> {
        let refused = |source| CommandError::File { path: path.to_owned(), source };
        let text = fs::read_to_string(path).map_err(refused)?;
        let report = |mistakes: Vec<Mistake>| Diagnostics::of_text(&path.display().to_string(), &text, mistakes);
        let (tree, mistakes) = yaml::parse(&text, Limits::default());
        let Some(tree) = tree.filter(|_| mistakes.is_empty()) else { return Ok(Err(report(mistakes))) };
        let file: TestFile = match serde_path_to_error::deserialize(tree.to_json()) {
            Ok(file) => file,
            Err(error) => {
                let place = find(&tree, error.path().iter());
                return Ok(Err(report(vec![Mistake::error(MISTAKE, error.inner().to_string(), place.head())])));
            }
        };
        let mut mistakes = Vec::new();
        let names = tree.get("tests").map(Node::items).unwrap_or_default();
        for (position, test) in file.tests.iter().enumerate() {
            if file.tests[..position].iter().any(|other| other.name == test.name) {
                let message = format!("two tests have the name `{}`", test.name);
                mistakes.push(Mistake::error(MISTAKE, message, names[position].head()));
            }
        }
        if !mistakes.is_empty() {
            return Ok(Err(report(mistakes)));
        }
        Ok(Ok(Self { path: path.to_owned(), file, text, tree }))
    }

    /// The folder that its paths are relative to.
    pub(crate) fn folder(&self) -> &Path {
        self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    /// What it says of steps and inputs that the workflow does not have, or that cannot be stated of them.
    pub(crate) fn check(&self, workflow: &Workflow) -> Result<(), Diagnostics> {
        let mut mistakes = Vec::new();
        let tests = self.tree.get("tests").map(Node::items).unwrap_or_default();
        for (test, node) in self.file.tests.iter().zip(tests) {
            for (place, names) in [
                ("steps", test.steps.keys().collect::<Vec<_>>()),
                ("expect", test.expect.iter().flat_map(Expected::steps).collect()),
            ] {
                let place = node.get(place).unwrap_or(node);
                for name in
                    names.into_iter().filter(|name| !workflow.steps.iter().any(|step| step.id.as_str() == *name))
                {
                    let message = format!("the workflow {} has no step `{name}`", workflow.name);
                    let found = place.entry(name).or_else(|| place.get("steps").and_then(|steps| steps.entry(name)));
                    let span = found.map_or_else(|| place.head(), |entry| entry.key.span.clone());
                    mistakes.push(Mistake::error(MISTAKE, message, span));
                }
            }
            for (name, stated) in &test.steps {
                let Some(step) = workflow.steps.iter().find(|step| step.id.as_str() == name) else { continue };
                let entry = |name: &str, below: &[&str]| {
                    let mut found = node.get("steps").and_then(|steps| steps.entry(name));
                    for part in below {
                        found = found.and_then(|entry| entry.value.entry(part));
                    }
                    found.map_or_else(|| node.head(), |entry| entry.key.span.clone())
                };
                if let Err((message, help)) = fits(stated, &step.action) {
                    let span = entry(name, &[]);
                    let message = format!("`{name}` is a step of type {}: {message}", step.action.type_name());
                    mistakes.push(Mistake::error(MISTAKE, message, span).with_help(help));
                }
                let is_file = |output: &&StepOutput| {
                    matches!(output.source, OutputSource::File(_)) && stated.outputs.contains_key(&output.name)
                };
                if let Some(output) = step.outputs.iter().find(is_file) {
                    let message = format!("the output `{}` of `{name}` is a file", output.name);
                    let help = "write the file under `write:`, with its path";
                    let span = entry(name, &["outputs", &output.name]);
                    mistakes.push(Mistake::error(MISTAKE, message, span).with_help(help));
                }
            }
        }
        if mistakes.is_empty() {
            return Ok(());
        }
        mistakes.sort_by_key(|mistake| mistake.span.start);
        Err(Diagnostics::of_text(&self.path.display().to_string(), &self.text, mistakes))
    }
}

/// Whether what is stated can be said of such a step: else why not, and what to write.
fn fits(stated: &Stated, action: &Action) -> Result<(), (&'static str, &'static str)> {
    let asks = stated.answer.is_some() || stated.comment.is_some();
    let agent = stated.has_agent();
    let process = !stated.outputs.is_empty() || stated.stdout.is_some() || stated.exit_code.is_some();
    let attempts = stated.fails > 0 || stated.lost > 0 || stated.message.is_some();
    match action {
        Action::Approval(_) if process || agent || attempts || !stated.write.is_empty() => {
            Err(("only its answer can be stated", "write `answer: approve` or `answer: reject`"))
        }
        Action::Approval(_) => Ok(()),
        _ if asks => Err(("it asks nobody", "`answer` and `comment` are for approval steps")),
        Action::ClaudeCode(_) if process => {
            Err(("its agent has no output of a process", "write `reply:`, and `write:` for the files that it changes"))
        }
        Action::ClaudeCode(_) if stated.reply.is_some() && stated.limit.is_some() => {
            Err(("an agent that reaches a limit does not reply", "state one of `reply` and `limit`"))
        }
        Action::ClaudeCode(agent) if stated.verify.is_some() && agent.verify.is_none() => {
            Err(("nothing judges its agent's work", "leave out `verify`: the step has none"))
        }
        Action::ClaudeCode(_) => Ok(()),
        _ if stated.verify.is_some() => Err(("it has no agent", "`verify` is for claude_code steps")),
        _ if agent => Err(("it has no agent", "`reply` and `limit` are for claude_code steps")),
        Action::Shell(_) | Action::Webhook(_) | Action::Exec(_) => Ok(()),
        Action::Assert(_) | Action::Template(_) | Action::Wait(_) | Action::Workflow(_) => Err((
            "it has no process that could be stood in for",
            "leave it to run; state the results of steps that it reads, or the inputs that lead it",
        )),
    }
}

/// The node at a path, or the last one above it that there is.
fn find<'n, 'p>(tree: &'n Node, path: impl Iterator<Item = &'p Segment>) -> &'n Node {
    let mut found = tree;
    for segment in path {
        let next = match segment {
            Segment::Map { key } => found.get(key),
            Segment::Seq { index } => found.items().get(*index),
            Segment::Enum { .. } | Segment::Unknown => None,
        };
        match next {
            Some(next) => found = next,
            None => break,
        }
    }
    found
}

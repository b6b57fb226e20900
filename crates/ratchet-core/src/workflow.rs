//! A valid workflow, as `ratchet-definition` makes it. Nobody downstream checks it again.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    time::Duration,
};

use serde::{Deserialize, Serialize};

pub use crate::{
    agent::{ClaudeCode, OnLimit, SecurityProfile, Verify},
    declaration::{InputDeclaration, InputValidation, OutputDeclaration, ValueType},
    nested::{AGENT_OUTPUTS, Exec, SubWorkflow},
    resources::Resources,
    trigger::Triggers,
    uses::{Names, Uses},
    webhook::{Body, Data, Url, UrlPart, Webhook},
    workspace::Workspace,
};
use crate::{
    artifact::ArtifactPolicy, budget::Budget, cached::CacheScope, few::FewMap, graph::Graph, ids::StepId,
    retry::RetryPolicy,
};

/// A definition: what runs, in which order, with what.
#[derive(Debug, Clone)]
pub struct Workflow {
    /// Kebab-case; the workflow's identity.
    pub name: String,
    /// With the name, one immutable published definition.
    pub version: String,
    /// For people.
    pub description: Option<String>,
    /// The inputs in the order of the file.
    pub inputs: Vec<InputDeclaration>,
    /// The outputs in the order of the file.
    pub outputs: Vec<OutputDeclaration>,
    /// Variables of every step's process.
    pub environment: FewMap<String, Template>,
    /// Which more of them hold secrets: what they are is filled in where a process starts, and no caller sets them.
    pub secret_environment: BTreeSet<String>,
    /// What starts it by itself, where anything does.
    pub triggers: Option<Box<Triggers>>,
    /// How long the whole run may take.
    pub timeout: Option<Duration>,
    /// How long the steps of `finally` may take together.
    pub finally_timeout: Duration,
    /// How many runs of a group go on at once.
    pub concurrency: Option<Concurrency>,
    /// What the agents of a run may spend.
    pub budget: Option<Budget>,
    /// How long a person needs for what a run does, as its author says: what figures reckon with. Nothing that runs reads it.
    pub by_hand: Option<Duration>,
    /// What becomes of the artifacts that its runs make.
    pub artifacts: ArtifactPolicy,
    /// The files that its runs begin with. Of a workflow that is a step of another one it does not count.
    pub workspace: Workspace,
    /// Every step, in the order of the file: the work, then `on_failure`, then `finally`. A graph's node names its step by the position here.
    pub steps: Vec<Step>,
    /// Who needs whom.
    pub graph: Graph,
}

impl Workflow {
    /// The step of this name.
    pub fn step(&self, id: &StepId) -> Option<&Step> {
        self.graph.node_of(id).and_then(|node| node.step).map(|position| &self.steps[position])
    }
}

/// How many runs of a group go on at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concurrency {
    /// The group's name, filled in when a run is asked for. Workflows that name the same group share it.
    pub group: Template,
    /// How many.
    pub limit: u32,
    /// What becomes of a run that others are in the way of.
    pub on_conflict: OnConflict,
}

/// What becomes of a run that others of its group are in the way of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnConflict {
    /// It waits for its turn.
    Queue,
    /// They are cancelled, and it waits until they have ended.
    CancelRunning,
    /// It fails at once.
    Reject,
}

/// Text with `{{ … }}` in it. One `{{ … }}` and nothing else keeps its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// As the author wrote it.
    pub source: String,
    /// What it reads.
    pub uses: Uses,
}

/// An expression, with or without braces around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression {
    /// As the author wrote it.
    pub source: String,
    /// The code that is evaluated: braces inside it became parentheses or concatenations.
    pub code: String,
    /// What it reads.
    pub uses: Uses,
}

/// Which list of the file a step stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// `steps`.
    Work,
    /// `on_failure`: after the work, where it failed.
    OnFailure,
    /// `finally`: after all, also after a cancel.
    Finally,
}

/// What is done with an attempt whose task was lost and whose effect is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnLost {
    /// Another attempt.
    Rerun,
    /// The run pauses and a person decides.
    Pause,
}

/// What a step's failure means for the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// What needs it is blocked and the run fails.
    Fail,
    /// What needs it goes on; the run completes with a failed step.
    Continue,
    /// For an assertion: told, and no more.
    Warn,
    /// For an assertion: what it stands in (the run, or of a child the fan-out) ends as a success.
    Succeed,
}

/// One step.
#[derive(Debug, Clone)]
pub struct Step {
    /// Unique in the workflow.
    pub id: StepId,
    /// For people.
    pub name: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// The list it stands in.
    pub place: Place,
    /// Skips the step where false.
    pub when: Option<Expression>,
    /// One child for each value of a list.
    pub foreach: Option<ForEach>,
    /// Variables of its process.
    pub environment: FewMap<String, Template>,
    /// Variables of its process that hold secrets. Their values never come to the engine: who runs the process puts them in.
    pub secrets: BTreeMap<String, Vec<SecretPart>>,
    /// Secrets that its process gets as files: the secret, whose variable names the path, and the file's name.
    pub secret_files: BTreeMap<String, String>,
    /// Where its process starts, relative to the workspace.
    pub working_directory: Option<Template>,
    /// How long one attempt may take.
    pub timeout: Option<Duration>,
    /// When it is tried again.
    pub retry: RetryPolicy,
    /// What is done with a lost attempt.
    pub on_lost: OnLost,
    /// What its failure means.
    pub on_failure: OnFailure,
    /// Whether and by which key its result may be reused.
    pub cache: CachePolicy,
    /// What it reads.
    pub inputs: StepInputs,
    /// What it gives, in the order of the file: a later one may read an earlier one.
    pub outputs: Vec<StepOutput>,
    /// The size of its task, where tasks are containers.
    pub resources: Option<Resources>,
    /// What it does.
    pub action: Action,
}

/// A part of a variable that holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretPart {
    /// What stands beside it.
    Text(Template),
    /// The secret of this name.
    Secret(String),
}

/// One child for each value of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct ForEach {
    /// Gives the list.
    pub items: Expression,
    /// How many children may run at once.
    pub max_parallel: Option<NonZeroU32>,
    /// Whether the first failure beyond the tolerated ones stops the rest.
    pub fail_fast: bool,
    /// How many children may fail without the step failing.
    pub tolerated_failures: u32,
}

/// Whether and by which key a step's result may be reused.
#[derive(Debug, Clone, Default)]
pub struct CachePolicy {
    /// Whether the author asked for it.
    pub enabled: bool,
    /// The author's part of the key.
    pub key: Option<Template>,
    /// How long an entry holds.
    pub ttl: Option<Duration>,
    /// Changed by the author to leave old entries behind.
    pub version: Option<String>,
    /// Who shares the result.
    pub scope: CacheScope,
}

/// What a step reads.
#[derive(Debug, Clone, PartialEq)]
pub enum StepInputs {
    /// Files or globs.
    Files(Vec<Template>),
    /// Values by name.
    Named(BTreeMap<String, Template>),
}

/// One output of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepOutput {
    /// Its name.
    pub name: String,
    /// Where it comes from.
    pub source: OutputSource,
    /// For people.
    pub description: Option<String>,
    /// Whether it is kept as a versioned artifact.
    pub artifact: bool,
}

/// Where an output of a step comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum OutputSource {
    /// A file of the workspace, by path.
    File(Template),
    /// An expression over what the process gave, turned into the type.
    From {
        /// Over `stdout`, `stderr`, `exit_code`, `response`, `json` and earlier outputs.
        expression: Expression,
        /// The declared type.
        value_type: ValueType,
    },
}

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Runs a command.
    Shell(Shell),
    /// Asks an agent.
    ClaudeCode(Box<ClaudeCode>),
    /// Checks conditions.
    Assert(Assert),
    /// Fills in a text.
    Template(TextTemplate),
    /// Sends an HTTP request.
    Webhook(Box<Webhook>),
    /// Waits for a time.
    Wait(Wait),
    /// Waits for a person's word.
    Approval(Approval),
    /// Runs another workflow, or a group of steps, as a run of its own.
    Workflow(Box<SubWorkflow>),
    /// Runs a program that takes its inputs and gives its outputs as JSON.
    Exec(Box<Exec>),
}

impl Step {
    /// The names of the secrets that its process is given.
    pub fn secret_names(&self) -> impl Iterator<Item = &str> {
        let in_variables = self.secrets.values().flatten().filter_map(|part| match part {
            SecretPart::Secret(name) => Some(name.as_str()),
            SecretPart::Text(_) => None,
        });
        in_variables.chain(self.secret_files.keys().map(String::as_str))
    }

    /// The steps that anything in this one reads.
    pub fn steps_read(&self) -> BTreeSet<StepId> {
        let mut steps = BTreeSet::new();
        self.for_each_uses(&mut |uses| steps.extend(uses.steps.iter().cloned()));
        steps
    }

    /// The artifacts that the values of its outputs ask for by a constant reference.
    pub fn artifacts_of_outputs(&self) -> impl Iterator<Item = &str> {
        self.outputs
            .iter()
            .filter_map(|output| match &output.source {
                OutputSource::From { expression, .. } => Some(expression.uses.artifacts.iter()),
                OutputSource::File(_) => None,
            })
            .flatten()
            .map(String::as_str)
    }

    /// The inputs of the workflow that it reads.
    pub fn inputs_read(&self) -> Names {
        let mut inputs = Names::default();
        self.for_each_uses(&mut |uses| inputs.extend(&uses.inputs));
        inputs
    }

    fn for_each_uses(&self, visit: &mut impl FnMut(&Uses)) {
        let mut templates: Vec<&Template> = self.environment.values().collect();
        templates.extend(&self.working_directory);
        templates.extend(self.secrets.values().flatten().filter_map(|part| match part {
            SecretPart::Text(text) => Some(text),
            SecretPart::Secret(_) => None,
        }));
        templates.extend(&self.cache.key);
        templates.extend(self.resources.iter().filter_map(|resources| resources.image.as_ref()));
        let mut expressions: Vec<&Expression> = self.when.iter().collect();
        expressions.extend(self.foreach.iter().map(|foreach| &foreach.items));
        match &self.inputs {
            StepInputs::Files(files) => templates.extend(files),
            StepInputs::Named(values) => templates.extend(values.values()),
        }
        for output in &self.outputs {
            match &output.source {
                OutputSource::File(path) => templates.push(path),
                OutputSource::From { expression, .. } => expressions.push(expression),
            }
        }
        match &self.action {
            Action::Shell(shell) => match &shell.program {
                Program::Words(words) => templates.extend(words),
                Program::Script { uses, .. } => visit(uses),
            },
            Action::ClaudeCode(agent) => {
                match agent.verify.as_ref().map(|verify| &verify.command.program) {
                    Some(Program::Words(words)) => templates.extend(words),
                    Some(Program::Script { uses, .. }) => visit(uses),
                    None => {}
                }
                templates.push(&agent.prompt);
                templates.extend(&agent.model);
                templates.extend(&agent.append_system_prompt);
            }
            Action::Assert(assert) => {
                templates.extend(&assert.message);
                for condition in &assert.conditions {
                    expressions.push(&condition.expression);
                    templates.extend(&condition.message);
                }
            }
            Action::Template(text) => {
                let (TextSource::Inline(template) | TextSource::File(template)) = &text.text;
                templates.push(template);
                templates.extend(&text.output);
            }
            Action::Webhook(webhook) => webhook.for_each_template(&mut |template| templates.push(template)),
            Action::Wait(Wait::For(time) | Wait::Until(time)) => templates.push(time),
            Action::Approval(approval) => {
                templates.push(&approval.message);
                templates.extend(&approval.approvers);
            }
            // What they are given stands under `inputs`.
            Action::Workflow(_) | Action::Exec(_) => {}
        }
        for template in templates {
            visit(&template.uses);
        }
        for expression in expressions {
            visit(&expression.uses);
        }
    }
}

impl Action {
    /// The word for it in a workflow file.
    pub fn type_name(&self) -> &str {
        match self {
            Self::Shell(_) => "shell",
            Self::ClaudeCode(_) => "claude_code",
            Self::Assert(_) => "assert",
            Self::Template(_) => "template",
            Self::Webhook(_) => "webhook",
            Self::Wait(_) => "wait",
            Self::Approval(_) => "approval",
            Self::Workflow(sub) => &sub.type_name,
            Self::Exec(exec) => &exec.type_name,
        }
    }

    /// Whether it needs a task of its own: the rest is done by the engine at once, or by a run of its own.
    pub fn needs_task(&self) -> bool {
        match self {
            Self::Shell(_) | Self::ClaudeCode(_) | Self::Exec(_) | Self::Webhook(_) => true,
            Self::Assert(_) | Self::Template(_) | Self::Wait(_) | Self::Approval(_) | Self::Workflow(_) => false,
        }
    }

    /// The workflow that it runs, where it runs one.
    pub fn sub_workflow(&self) -> Option<&SubWorkflow> {
        match self {
            Self::Workflow(sub) => Some(sub),
            _ => None,
        }
    }
}

/// A command.
#[derive(Debug, Clone, PartialEq)]
pub struct Shell {
    /// As the author wrote it.
    pub source: String,
    /// How it is run.
    pub program: Program,
    /// Exit codes besides 0 that are not failures.
    pub allow_exit_codes: BTreeSet<i32>,
    /// What its processes may do; `None` for whatever the user may.
    pub security_profile: Option<SecurityProfile>,
}

/// How a command is run.
#[derive(Debug, Clone, PartialEq)]
pub enum Program {
    /// Words that need no shell: a program and its arguments.
    Words(Vec<Template>),
    /// A script, cut where the author's values stand.
    Script {
        /// The shell and its options; the script comes after them.
        interpreter: Vec<String>,
        /// The script's parts in order.
        parts: Vec<ScriptPart>,
        /// What the script's values read.
        uses: Uses,
    },
}

/// A part of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScriptPart {
    /// Shell code that the author wrote.
    Code(String),
    /// A value, which reaches the script as data.
    Value {
        /// What gives the value.
        expression: Box<Expression>,
        /// How it stands there.
        quoting: Quoting,
        /// Where it is, or is a part of, the target of a redirection.
        target: Option<Target>,
    },
    /// The first of these literal parts whose condition holds, or none of them.
    Choice(Vec<(Option<Expression>, String)>),
}

/// The literal text around a value that names a file. Where something else stands there too, no agent's value may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Before it.
    pub before: String,
    /// After it.
    pub after: String,
}

/// How a value stands in a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quoting {
    /// As a whole argument or part of one: quotes are put around it, and a list is one word each.
    Bare,
    /// Inside the author's double quotes.
    Double,
    /// As code: the author said so.
    Raw,
}

/// A step that checks.
#[derive(Debug, Clone, PartialEq)]
pub struct Assert {
    /// All must be true.
    pub conditions: Vec<Condition>,
    /// What is said when one is false and has no message of its own.
    pub message: Option<Template>,
}

/// One condition.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// True where all is well.
    pub expression: Expression,
    /// What is said when it is false.
    pub message: Option<Template>,
}

/// Where the text of a template step comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum TextSource {
    /// From the workflow.
    Inline(Template),
    /// From a file of the workspace, by its path. What the file reads is known when it is read: it may be any step that comes before.
    File(Template),
}

/// A step that fills in a text.
#[derive(Debug, Clone, PartialEq)]
pub struct TextTemplate {
    /// The text.
    pub text: TextSource,
    /// The file it is written to; without one the text is the output `text`.
    pub output: Option<Template>,
}

/// A step that waits for a time.
#[derive(Debug, Clone, PartialEq)]
pub enum Wait {
    /// So long from when it is ready: a duration as authors write it, or seconds.
    For(Template),
    /// Until a moment, in RFC 3339.
    Until(Template),
}

/// A step that waits for a person's word. Its step's `timeout` is how long.
#[derive(Debug, Clone, PartialEq)]
pub struct Approval {
    /// What is asked.
    pub message: Template,
    /// Who may answer; empty for anybody.
    pub approvers: Vec<Template>,
}

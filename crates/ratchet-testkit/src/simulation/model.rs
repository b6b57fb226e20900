//! A workflow as the simulation thinks of it: what the generator draws, what the oracle interprets, and what is written as the text that the engine
//! compiles. It shares no type with the engine's own idea of a workflow.

use std::fmt::Write as _;

use super::random::hash;

/// A workflow.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) name: String,
    /// How long the whole run may take, in seconds.
    pub(crate) timeout: Option<u32>,
    /// How long `finally` may take, in seconds.
    pub(crate) finally_timeout: Option<u32>,
    /// The group whose runs do not all go on at once.
    pub(crate) concurrency: Option<Concurrency>,
    /// What its agents may spend.
    pub(crate) budget: Option<Budget>,
    /// The value of the input `n`.
    pub(crate) input: i64,
    /// Every step: the work, then `on_failure`, then `finally`.
    pub(crate) steps: Vec<Step>,
    /// The steps whose value is an output of the workflow.
    pub(crate) outputs: Vec<usize>,
    /// Whether it is a group of steps, whose one output is called `v`.
    pub(crate) is_group: bool,
}

/// How many runs of a group go on at once.
#[derive(Debug, Clone)]
pub(crate) struct Concurrency {
    /// `None` for the workflow's own.
    pub(crate) group: Option<String>,
    pub(crate) limit: u32,
    pub(crate) on_conflict: &'static str,
}

/// What agents may spend.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    pub(crate) calls: Option<u32>,
    pub(crate) cents: Option<u32>,
}

/// A list of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum List {
    Work,
    OnFailure,
    Finally,
}

/// A step.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) id: String,
    pub(crate) list: List,
    /// Positions of steps; `None` for all above in the same list.
    pub(crate) needs: Option<Vec<usize>>,
    pub(crate) when: Option<Condition>,
    pub(crate) each: Option<Each>,
    pub(crate) action: Action,
    /// Of one that needs a process: whether that is an agent's.
    pub(crate) asks_agent: bool,
    /// Steps whose value its process sees.
    pub(crate) reads: Vec<usize>,
    pub(crate) retry: Retry,
    pub(crate) pauses_when_lost: bool,
    pub(crate) on_failure: OnFailure,
    /// Of one that needs a process: how its result is kept, where it is.
    pub(crate) cached: Option<Cached>,
    /// How often its author edited it: its process and its text see that.
    pub(crate) edits: u32,
}

/// How a result is kept.
#[derive(Debug, Clone)]
pub(crate) struct Cached {
    /// Whether the runs of other workflows share it.
    pub(crate) is_shared: bool,
    /// Whether its author gave it a key; else it depends on all files.
    pub(crate) has_key: bool,
}

/// What a step does.
#[derive(Debug, Clone)]
pub(crate) enum Action {
    Shell,
    Assert(Condition),
    Template,
    /// Waits for so many seconds.
    Wait(u32),
    /// Waits for a person's word, so many seconds at most.
    Approval(Option<u32>),
    /// A group of steps, which is a run of its own: it may take so many seconds.
    Group(Box<Model>, Option<u32>),
}

/// What a failure means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnFailure {
    Fail,
    Continue,
    Warn,
    /// Of an assertion: what it stands in ends as a success.
    Succeed,
}

/// When a failed attempt is tried again.
#[derive(Debug, Clone)]
pub(crate) struct Retry {
    pub(crate) attempts: u32,
    /// Seconds.
    pub(crate) delay: u32,
    pub(crate) backoff: &'static str,
    pub(crate) jitter: bool,
    /// Empty for every failure.
    pub(crate) on: Vec<Failing>,
}

/// How an attempt fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failing {
    Exit(u8),
    Timeout,
    /// An output was not there.
    Output,
    /// The launcher refuses it for good.
    Refused,
}

/// One child for each value of a list.
#[derive(Debug, Clone)]
pub(crate) struct Each {
    pub(crate) items: Items,
    pub(crate) max_parallel: Option<u32>,
    pub(crate) fail_fast: bool,
    pub(crate) tolerated: u32,
}

/// Where the list comes from.
#[derive(Debug, Clone)]
pub(crate) enum Items {
    Given(Vec<i64>),
    /// The output `list` of a step.
    ListOf(usize),
    /// The output `v` of a step that fans out.
    ValuesOf(usize),
}

/// A condition.
#[derive(Debug, Clone)]
pub(crate) enum Condition {
    Always,
    Failure,
    Success,
    ValueIs(usize, i64),
    StatusIs(usize, Status),
    InputIs(i64),
    ItemIs(i64),
    Not(Box<Condition>),
    Both(Box<Condition>, Box<Condition>),
    Either(Box<Condition>, Box<Condition>),
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Completed,
    Failed,
    Skipped,
    Blocked,
}

impl Status {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Blocked => "blocked",
        }
    }
}

impl Condition {
    /// Whether a failure above does not keep its step from being looked at.
    pub(crate) fn handles_failure(&self) -> bool {
        match self {
            Self::Always | Self::Failure => true,
            Self::Success | Self::ValueIs(..) | Self::StatusIs(..) | Self::InputIs(_) | Self::ItemIs(_) => false,
            Self::Not(inner) => inner.handles_failure(),
            Self::Both(a, b) | Self::Either(a, b) => a.handles_failure() || b.handles_failure(),
        }
    }

    pub(crate) fn reads_item(&self) -> bool {
        match self {
            Self::ItemIs(_) => true,
            Self::Always
            | Self::Failure
            | Self::Success
            | Self::ValueIs(..)
            | Self::StatusIs(..)
            | Self::InputIs(_) => false,
            Self::Not(inner) => inner.reads_item(),
            Self::Both(a, b) | Self::Either(a, b) => a.reads_item() || b.reads_item(),
        }
    }

    fn text(&self, model: &Model) -> String {
        let id = |step: usize| &model.steps[step].id;
        match self {
            Self::Always => "always()".to_owned(),
            Self::Failure => "failure()".to_owned(),
            Self::Success => "success()".to_owned(),
            Self::ValueIs(step, value) => format!("{}.outputs.v == {value}", id(*step)),
            Self::StatusIs(step, status) => format!("{}.status == '{}'", id(*step), status.word()),
            Self::InputIs(value) => format!("inputs.n == {value}"),
            Self::ItemIs(value) => format!("item == {value}"),
            Self::Not(inner) => format!("not ({})", inner.text(model)),
            Self::Both(a, b) => format!("({}) and ({})", a.text(model), b.text(model)),
            Self::Either(a, b) => format!("({}) or ({})", a.text(model), b.text(model)),
        }
    }
}

impl Step {
    /// Whether it needs a process.
    pub(crate) fn needs_task(&self) -> bool {
        matches!(self.action, Action::Shell)
    }

    pub(crate) fn handles_failure(&self) -> bool {
        self.when.as_ref().is_some_and(Condition::handles_failure)
    }
}

impl Model {
    /// What the output is called that a step's value is.
    pub(crate) fn output_name(&self, step: usize) -> &str {
        if self.is_group { "v" } else { &self.steps[step].id }
    }

    pub(crate) fn position(&self, id: &str) -> Option<usize> {
        self.steps.iter().position(|step| step.id == id)
    }

    /// Whether a step stands in a list that comes after the list of another: all of the work is before `on_failure`, and both are before `finally`.
    pub(crate) fn is_in_later_list(&self, step: usize, other: usize) -> bool {
        matches!(
            (self.steps[other].list, self.steps[step].list),
            (List::Work, List::OnFailure | List::Finally) | (List::OnFailure, List::Finally)
        )
    }

    /// The steps directly before a step: those that it names, or all above it in its list.
    pub(crate) fn needs(&self, step: usize) -> Vec<usize> {
        match &self.steps[step].needs {
            Some(needs) => needs.clone(),
            None => (0..step).filter(|above| self.steps[*above].list == self.steps[step].list).collect(),
        }
    }

    /// The steps that a step comes after, directly or not, in its own list; in ascending order.
    pub(crate) fn ancestors(&self, step: usize) -> Vec<usize> {
        let mut found = vec![false; self.steps.len()];
        let mut open = self.needs(step);
        while let Some(need) = open.pop() {
            if !std::mem::replace(&mut found[need], true) {
                open.extend(self.needs(need));
            }
        }
        (0..self.steps.len()).filter(|position| found[*position]).collect()
    }

    /// The workflow as its author would write it.
    pub(crate) fn yaml(&self) -> String {
        let mut text = format!("name: {}\nversion: \"1\"\n", self.name);
        if let Some(timeout) = self.timeout {
            let _ = writeln!(text, "timeout: {timeout}");
        }
        if let Some(timeout) = self.finally_timeout {
            let _ = writeln!(text, "finally_timeout: {timeout}");
        }
        if let Some(Concurrency { group, limit, on_conflict }) = &self.concurrency {
            let group = group.as_ref().map_or_else(String::new, |group| format!("group: {group}, "));
            let _ = writeln!(text, "concurrency: {{{group}limit: {limit}, on_conflict: {on_conflict}}}");
        }
        if let Some(Budget { calls, cents }) = &self.budget {
            let calls = calls.map(|calls| format!("max_agent_calls: {calls}"));
            let cost = cents.map(|cents| format!("max_cost_usd: {}.{:02}", cents / 100, cents % 100));
            let limits: Vec<String> = calls.into_iter().chain(cost).collect();
            let _ = writeln!(text, "budget: {{{}}}", limits.join(", "));
        }
        let _ = writeln!(text, "inputs:\n  n: {{type: integer, default: 0}}");
        if !self.outputs.is_empty() {
            text.push_str("outputs:\n");
            for step in &self.outputs {
                let step = &self.steps[*step];
                let kind = if step.each.is_some() { "array" } else { "integer" };
                let _ = writeln!(text, "  {0}: {{type: {kind}, from: {0}.outputs.v}}", step.id);
                if step.keeps() && step.each.is_none() {
                    let kept = kept_name(&step.id);
                    let _ = writeln!(text, "  {kept}: {{type: artifact, from: {}.outputs.{kept}}}", step.id);
                }
            }
        }
        let mut types = String::new();
        self.write_types(&mut types);
        if !types.is_empty() {
            let _ = write!(text, "step_types:\n{types}");
        }
        self.write_lists(&mut text);
        text
    }

    /// The groups of steps among the steps, and those among theirs.
    fn write_types(&self, text: &mut String) {
        for step in &self.steps {
            let Action::Group(group, _) = &step.action else { continue };
            let _ = writeln!(text, "  {}:\n    inputs: {{n: {{type: integer, default: 0}}}}", group.name);
            if let Some(timeout) = group.finally_timeout {
                let _ = writeln!(text, "    finally_timeout: {timeout}");
            }
            if let [giver, ..] = group.outputs[..] {
                let _ =
                    writeln!(text, "    outputs: {{v: {{type: integer, from: {}.outputs.v}}}}", group.steps[giver].id);
            }
            let mut lists = String::new();
            group.write_lists(&mut lists);
            lists.lines().for_each(|line| {
                let _ = writeln!(text, "    {line}");
            });
            group.write_types(text);
        }
    }

    fn write_lists(&self, text: &mut String) {
        for (list, title) in [(List::Work, "steps"), (List::OnFailure, "on_failure"), (List::Finally, "finally")] {
            if self.steps.iter().any(|step| step.list == list) {
                let _ = writeln!(text, "{title}:");
                for step in self.steps.iter().filter(|step| step.list == list) {
                    self.write_step(text, step);
                }
            }
        }
    }

    fn write_step(&self, text: &mut String, step: &Step) {
        let id = |position: &usize| self.steps[*position].id.as_str();
        let _ = writeln!(text, "  - id: {}", step.id);
        let mut line = |words: String| {
            let _ = writeln!(text, "    {words}");
        };
        if let Some(needs) = &step.needs {
            line(format!("needs: [{}]", needs.iter().map(id).collect::<Vec<_>>().join(", ")));
        }
        if let Some(when) = &step.when {
            line(format!("when: \"{}\"", when.text(self)));
        }
        if let Some(each) = &step.each {
            let items = match &each.items {
                Items::Given(items) => format!("{items:?}"),
                Items::ListOf(step) => format!("{}.outputs.list", id(step)),
                Items::ValuesOf(step) => format!("{}.outputs.v", id(step)),
            };
            line(format!("foreach: \"{items}\""));
            line(format!("fail_fast: {}", each.fail_fast));
            line(format!("tolerated_failures: {}", each.tolerated));
            if let Some(max_parallel) = each.max_parallel {
                line(format!("max_parallel: {max_parallel}"));
            }
        }
        match step.on_failure {
            OnFailure::Fail => {}
            OnFailure::Continue => line("on_failure: continue".to_owned()),
            OnFailure::Warn => line("on_failure: warn".to_owned()),
            OnFailure::Succeed => line("on_failure: succeed".to_owned()),
        }
        match &step.action {
            Action::Shell => self.write_shell(&mut line, step),
            Action::Assert(condition) => {
                line("type: assert".to_owned());
                line(format!("condition: \"{}\"", condition.text(self)));
                line("message: it is not so".to_owned());
            }
            Action::Template => {
                line("type: template".to_owned());
                let values: Vec<String> =
                    self.values(step).into_iter().map(|(name, value)| format!("{name}={value}")).collect();
                line(format!("template: \"{}\"", values.join(" ")));
            }
            Action::Wait(seconds) => {
                line("type: wait".to_owned());
                line(format!("for: {seconds}s"));
            }
            Action::Approval(timeout) => {
                line("type: approval".to_owned());
                line("message: \"shall {{ inputs.n }} be?\"".to_owned());
                if let Some(timeout) = timeout {
                    line(format!("timeout: {timeout}s"));
                }
            }
            Action::Group(group, timeout) => {
                line(format!("type: {}", group.name));
                line(format!("inputs: {{n: \"{{{{ {} }}}}\"}}", if step.each.is_some() { "item" } else { "inputs.n" }));
                if let Some(timeout) = timeout {
                    line(format!("timeout: {timeout}s"));
                }
                Self::write_retry(&mut line, step);
            }
        }
    }

    fn write_shell(&self, line: &mut impl FnMut(String), step: &Step) {
        if step.asks_agent {
            line("type: claude_code".to_owned());
            line("prompt: work".to_owned());
        } else {
            line("type: shell".to_owned());
            line("command: work".to_owned());
        }
        let mut values = self.values(step);
        values.extend(self.artifacts_read(step));
        if !values.is_empty() {
            let values: Vec<String> = values.into_iter().map(|(name, value)| format!("{name}: \"{value}\"")).collect();
            line(format!("environment: {{{}}}", values.join(", ")));
        }
        let from = if step.asks_agent { "response" } else { "stdout" };
        let kept = if step.keeps() {
            format!(", {}: {{path: {}.txt, artifact: true}}", kept_name(&step.id), step.id)
        } else {
            String::new()
        };
        line(format!("outputs: {{v: {{type: integer, from: {from}}}, list: {{type: array, from: json}}{kept}}}"));
        if let Some(cached) = &step.cached {
            let scope = if cached.is_shared { "shared" } else { "workflow" };
            // What a process gives follows from the step's name and from its variables.
            let key = if cached.has_key { format!(", key: {}", step.id) } else { String::new() };
            line(format!("cache: {{scope: {scope}, version: {}{key}}}", step.id));
        }
        Self::write_retry(line, step);
        line(format!("on_lost: {}", if step.pauses_when_lost { "pause" } else { "rerun" }));
    }

    fn write_retry(line: &mut impl FnMut(String), step: &Step) {
        let Retry { attempts, delay, backoff, jitter, on } = &step.retry;
        if *attempts > 1 {
            let on: Vec<String> = on.iter().filter_map(|failing| failing.word()).collect();
            let on = if on.is_empty() { String::new() } else { format!(", on: [{}]", on.join(", ")) };
            line(format!("retry: {{attempts: {attempts}, delay: {delay}s, backoff: {backoff}, jitter: {jitter}{on}}}"));
        }
    }

    /// The artifacts that a step reads, by the name of a variable: each that a step which it reads has kept in this run.
    fn artifacts_read(&self, step: &Step) -> Vec<(String, String)> {
        let kept = step.reads.iter().map(|read| &self.steps[*read]).filter(|read| read.keeps() && read.each.is_none());
        kept.map(|read| {
            let found = format!("artifact(execution.workflow ~ '/{}@' ~ execution.id)", kept_name(&read.id));
            let value = format!("{{{{ file_content({found}) if {}.status == 'completed' else '' }}}}", read.id);
            (artifact_variable(&read.id), value)
        })
        .collect()
    }

    /// What a step reads, by the name of a variable: the expressions that its process or its text gets.
    fn values(&self, step: &Step) -> Vec<(String, String)> {
        let mut values = vec![("N".to_owned(), "{{ inputs.n | json }}".to_owned())];
        if step.each.is_some() {
            values.push(("ITEM".to_owned(), "{{ item | json }}".to_owned()));
        }
        for read in &step.reads {
            let read = &self.steps[*read];
            let value = format!("{{{{ {}.outputs.v | json }}}}", read.id);
            values.push((format!("V_{}", read.id.to_uppercase()), value));
        }
        values.extend((step.edits > 0).then(|| ("EDITS".to_owned(), step.edits.to_string())));
        values
    }
}

impl Step {
    /// Whether it keeps a file as an artifact.
    pub(crate) fn keeps(&self) -> bool {
        matches!(self.action, Action::Shell) && hash(&self.id).is_multiple_of(2)
    }
}

/// The name under which a step keeps its file.
pub(crate) fn kept_name(step: &str) -> String {
    format!("kept_{step}")
}

/// The variable in which a step finds what another one kept.
pub(crate) fn artifact_variable(step: &str) -> String {
    format!("A_{}", step.to_uppercase())
}

/// What is in the file that a step keeps.
pub(crate) fn kept_content(step: &str, value: i64) -> String {
    format!("{step} made {value}")
}

impl Failing {
    /// The word for it under `retry.on`, where there is one.
    fn word(self) -> Option<String> {
        match self {
            Self::Exit(code) => Some(code.to_string()),
            Self::Timeout => Some("timeout".to_owned()),
            Self::Output | Self::Refused => None,
        }
    }
}

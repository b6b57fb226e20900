use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    time::Duration,
};

use clap::Args;
use ratchet_core::{execution::ExecutionRow, ids::StepId};
use ratchet_engine::view::{ExecutionView, StepView};
use serde_json::{Value, json};

use super::{diff, list, why};
use crate::{
    arguments::CommonArguments,
    command_error::CommandError,
    console::Console,
    execution_name,
    exit_code::ExitCode,
    figures::table::Table,
    state::{Outcome, State},
    words::{between, dollars, elapsed, harmless, one_line},
};

/// Characters of a value that are shown.
const VALUE_WIDEST: usize = 60;
/// What stands for a value that is not there.
const NOTHING: &str = "-";

/// Show two executions side by side: times, costs, keys, outputs, files
#[derive(Debug, Args)]
#[command(after_help = "\
Where the keys of a step differ, the parts are named that do, as `ratchet why` names them. Files are
compared by what each execution changed; `ratchet diff` shows the changes of one.

Examples:
  ratchet compare k3f9 last
  ratchet compare k3f9 last --json | jq '.steps[] | select(.changed)'")]
pub(crate) struct CompareArguments {
    /// One execution
    a: String,
    /// The other
    b: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(
    arguments: &CompareArguments,
    common: &CommonArguments,
    console: Console,
) -> Result<ExitCode, CommandError> {
    let state = State::open_for(common, &arguments.a)?;
    let (a, b) = (Side::of(&state, &arguments.a).await?, Side::of(&state, &arguments.b).await?);
    let compared = Compared::of(&state, a, b).await?;
    if arguments.json {
        console.json(&compared.json())?;
    } else {
        console.text(&compared.text(console))?;
    }
    Ok(ExitCode::Completed)
}

/// One of the two.
struct Side {
    row: ExecutionRow,
    outcome: Outcome,
    /// What it changed, by path; `None` where that is not known.
    files: Option<BTreeMap<String, Value>>,
}

impl Side {
    async fn of(state: &State, name: &str) -> Result<Self, CommandError> {
        let row = execution_name::find(&*state.store, name).await?;
        let workflow = state.workflow(&row).await?;
        let outcome = state.outcome(&row, &workflow).await?;
        let files = match diff::answer(state, &row, None).await {
            Ok(answer) => Some(by_path(&answer)),
            Err(CommandError::NoFiles { .. }) => None,
            Err(error) => return Err(error),
        };
        Ok(Self { row, outcome, files })
    }

    fn view(&self) -> &ExecutionView {
        &self.outcome.view
    }

    fn took(&self) -> Duration {
        between(self.view().created_at, self.view().ended_at.unwrap_or(self.view().updated_at))
    }
}

/// The paths that an execution changed for its directory, and what each is afterwards.
fn by_path(answer: &Value) -> BTreeMap<String, Value> {
    let changes = answer["changes"].as_array().into_iter().flatten();
    let applied = changes.filter(|change| change["is_applied"] == true);
    applied.filter_map(|change| Some((change["path"].as_str()?.to_owned(), change["after"].clone()))).collect()
}

struct Compared {
    a: Side,
    b: Side,
    /// Every step of the two, in the order of the first one's file.
    steps: Vec<StepId>,
    /// Of steps whose keys differ: the parts that do, where what both were made of is still kept.
    changed: BTreeMap<StepId, Option<Vec<String>>>,
}

impl Compared {
    async fn of(state: &State, a: Side, b: Side) -> Result<Self, CommandError> {
        let mut steps: Vec<StepId> = a.view().steps.iter().map(|(id, _)| id.clone()).collect();
        steps.extend(b.view().steps.iter().map(|(id, _)| id.clone()).filter(|id| a.view().step(id).is_none()));
        let mut changed = BTreeMap::new();
        for id in &steps {
            let key = |side: &Side| side.view().step(id).and_then(|step| step.cache_key.clone());
            if let (Some(one), Some(other)) = (key(&a), key(&b))
                && one != other
            {
                let (one, other) = (why::parts(&*state.blobs, &one).await?, why::parts(&*state.blobs, &other).await?);
                changed.insert(id.clone(), one.zip(other).map(|(one, other)| other.differences(&one)));
            }
        }
        Ok(Self { a, b, steps, changed })
    }

    fn pair(&self, id: &StepId) -> (Option<&StepView>, Option<&StepView>) {
        (self.a.view().step(id), self.b.view().step(id))
    }

    /// How the key of a step compares.
    fn key(&self, id: &StepId) -> &'static str {
        let has_key = |step: Option<&StepView>| step.is_some_and(|step| step.cache_key.is_some());
        let (a, b) = self.pair(id);
        match (has_key(a), has_key(b)) {
            (true, true) if self.changed.contains_key(id) => "differs",
            (true, true) => "same",
            (true, false) => "only A",
            (false, true) => "only B",
            (false, false) => "",
        }
    }

    fn text(&self, console: Console) -> String {
        let paint = console.out;
        let mut head = Table::new("", &["A", "B"]);
        let mut add = |name: &str, of: fn(&Side) -> String| head.add(name.to_owned(), vec![of(&self.a), of(&self.b)]);
        add("execution", |side| side.row.id.to_string());
        add("workflow", |side| format!("{} {}", side.view().workflow_name, side.view().workflow_version));
        add("status", |side| side.view().status.to_string());
        add("time", |side| elapsed(side.took()));
        add("cost", |side| dollars(side.view().cost_usd));
        add("tokens", |side| side.view().tokens.to_string());
        let mut steps = Table::new("step", &["A", "time", "cost", "B", "time", "cost", "key"]);
        for id in &self.steps {
            let (a, b) = self.pair(id);
            let cells = cells(a).into_iter().chain(cells(b)).chain([self.key(id).to_owned()]);
            steps.add(id.to_string(), cells.collect());
        }
        let mut text = format!("{}\n{}", head.text(), steps.text());
        for (id, parts) in &self.changed {
            let parts = parts.as_ref().map_or_else(
                || "what one of the two was made of is not kept any more".to_owned(),
                |parts| parts.join(", "),
            );
            let _ = writeln!(text, "  {id} changed: {}", harmless(&parts));
        }
        for (title, lines) in [
            ("Inputs", told(&self.a.view().inputs, &self.b.view().inputs)),
            ("Outputs", told(&self.a.view().outputs, &self.b.view().outputs)),
            ("Outputs of steps", self.step_outputs()),
            ("Files", self.files().map_or_else(|why| vec![why.to_owned()], |files| files.lines())),
        ] {
            if !lines.is_empty() {
                let _ = writeln!(text, "\n{}", paint.bold(title));
                for line in &lines {
                    let _ = writeln!(text, "  {line}");
                }
            }
        }
        text
    }

    /// What steps gave that both have, where it differs.
    fn step_outputs(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for id in &self.steps {
            if let (Some(a), Some(b)) = self.pair(id) {
                lines.extend(told(&a.outputs, &b.outputs).into_iter().map(|line| format!("{id}.{line}")));
            }
        }
        lines
    }

    fn files(&self) -> Result<FilesCompared<'_>, &'static str> {
        let a = self.a.files.as_ref().ok_or("what A leaves is not known: it has not completed, or works in place")?;
        let b = self.b.files.as_ref().ok_or("what B leaves is not known: it has not completed, or works in place")?;
        let mut files = FilesCompared::default();
        for path in a.keys().chain(b.keys()).collect::<BTreeSet<_>>() {
            match (a.get(path), b.get(path)) {
                (Some(one), Some(other)) if one == other => files.same += 1,
                (Some(_), Some(_)) => files.different.push(path),
                (Some(_), None) => files.only_a.push(path),
                (None, _) => files.only_b.push(path),
            }
        }
        Ok(files)
    }

    fn json(&self) -> Value {
        let side = |side: &Side| {
            let mut brief = list::brief(&side.row, side.outcome.left_behind);
            brief["took_ms"] = json!(side.took().as_millis());
            brief["cost_usd"] = json!(side.view().cost_usd);
            brief["tokens"] = json!(side.view().tokens);
            brief
        };
        let step = |id: &StepId| {
            let (a, b) = self.pair(id);
            let outputs = a.zip(b).map(|(a, b)| differences(&a.outputs, &b.outputs));
            json!({
                "step": id, "a": step_json(a), "b": step_json(b), "key": self.key(id),
                "changed": self.changed.get(id).cloned().flatten(), "outputs": outputs,
            })
        };
        json!({
            "a": side(&self.a),
            "b": side(&self.b),
            "steps": self.steps.iter().map(step).collect::<Vec<Value>>(),
            "inputs": differences(&self.a.view().inputs, &self.b.view().inputs),
            "outputs": differences(&self.a.view().outputs, &self.b.view().outputs),
            "files": self.files().ok().map(|files| json!({
                "only_a": files.only_a, "only_b": files.only_b, "different": files.different, "same": files.same,
            })),
        })
    }
}

/// Paths that two executions changed.
#[derive(Default)]
struct FilesCompared<'a> {
    only_a: Vec<&'a String>,
    only_b: Vec<&'a String>,
    different: Vec<&'a String>,
    /// Those that are alike afterwards.
    same: usize,
}

impl FilesCompared<'_> {
    fn lines(&self) -> Vec<String> {
        let parts = [("only A changed", &self.only_a), ("only B changed", &self.only_b), ("differs", &self.different)];
        let mut lines: Vec<String> = Vec::new();
        for (what, paths) in parts {
            lines.extend(paths.iter().map(|path| format!("{what}  {}", harmless(path))));
        }
        if self.same > 0 {
            lines.push(format!("both changed alike: {}", self.same));
        }
        lines
    }
}

fn took(step: &StepView) -> Option<Duration> {
    Some(between(step.started_at?, step.completed_at?))
}

fn cells(step: Option<&StepView>) -> [String; 3] {
    let Some(step) = step else { return [NOTHING, "", ""].map(str::to_owned) };
    let status = if step.cached { "cached".to_owned() } else { step.status.to_string() };
    [status, took(step).map(elapsed).unwrap_or_default(), step.cost_usd.map(dollars).unwrap_or_default()]
}

fn step_json(step: Option<&StepView>) -> Value {
    step.map_or(Value::Null, |step| {
        json!({
            "status": step.status, "cached": step.cached, "cache_key": step.cache_key, "attempts": step.attempts,
            "took_ms": took(step).map(|took| took.as_millis()), "process_ms": step.process_ms,
            "cost_usd": step.cost_usd, "tokens": step.tokens,
        })
    })
}

/// The values that differ, by name, each as it is in the first and in the second.
fn differences(a: &BTreeMap<String, Value>, b: &BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let differs = names.into_iter().filter(|name| a.get(*name) != b.get(*name));
    differs.map(|name| (name.clone(), json!({ "a": a.get(name), "b": b.get(name) }))).collect()
}

/// The same in a line each.
fn told(a: &BTreeMap<String, Value>, b: &BTreeMap<String, Value>) -> Vec<String> {
    let shown = |value: &Value| {
        let text = one_line(&if value.is_null() { NOTHING.to_owned() } else { value.to_string() });
        console::truncate_str(&text, VALUE_WIDEST, "…").into_owned()
    };
    let line = |(name, pair): (String, Value)| format!("{name}  {} | {}", shown(&pair["a"]), shown(&pair["b"]));
    differences(a, b).into_iter().map(line).collect()
}

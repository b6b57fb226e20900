use std::fmt::Write as _;
use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use clap::Args;
use jiff::Timestamp;
use ratchet_core::{
    ids::{ExecutionId, StepId},
    join::NeedOutcome,
    output::{Output, Outputs},
    status::StepStatus,
    workflow::{
        Action, Body, Expression, OutputSource, Resources, SecretPart, Shell, Step, StepInputs, Template, TextSource,
        Wait, Webhook, Workflow,
    },
};
use ratchet_definition::{
    evaluate::{Artifacts, EvaluationError, Evaluator, ExecutionView, Scope, StepView},
    files::FileAccess,
    parse,
};
use ratchet_engine::{
    artifacts::look_up,
    masks::{MASK, Masks},
    values::load_large,
    view::{ExecutionRows, output_view},
};
use ratchet_local::{directory::StateDirectory, workspace::ConfinedFiles};
use serde_json::{Map, Value, json};

use crate::{
    arguments::CommonArguments, command_error::CommandError, console::Console, definition, execution_name,
    exit_code::ExitCode, inputs::InputArguments, seen, state::State, state_directory,
};

/// Show a step with its values filled in; nothing runs
#[derive(Debug, Args)]
#[command(after_help = "\
Outputs of other steps are taken from an earlier run with --from; else they stand there as <step.outputs.name>.

Examples:
  ratchet render workflow.yaml tests -i target_file=src/main.py
  ratchet render workflow.yaml write --from last
  ratchet render workflow.yaml tests --json | jq -r .command")]
pub(crate) struct RenderArguments {
    /// The file, or a folder with a workflow.yaml in it
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The step
    step: String,
    #[command(flatten)]
    inputs: InputArguments,
    /// Read files of this directory instead of the current one
    #[arg(long, value_name = "DIR", default_value = ".")]
    workspace: PathBuf,
    /// Take the outputs of other steps from this execution
    #[arg(long, value_name = "EXECUTION")]
    from: Option<String>,
    /// Fill in this item of a fan-out's list, as JSON
    #[arg(long, value_name = "JSON")]
    item: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(
    arguments: &RenderArguments,
    common: &CommonArguments,
    console: Console,
) -> Result<ExitCode, CommandError> {
    let definition = definition::load(&arguments.file, common, console)?;
    let workflow = &definition.workflow;
    let step = definition::step(workflow, &arguments.step)?;
    let refused = |source| CommandError::File { path: arguments.workspace.clone(), source };
    let root = arguments.workspace.canonicalize().map_err(refused)?;
    let state = StateDirectory::new(state_directory::locate(common.state_dir.as_deref())?);
    let files: Arc<dyn FileAccess> = Arc::new(ConfinedFiles::new(&root, state));
    let scope = scope(arguments, common, workflow, &files).await?;
    let masks = Masks::of(workflow, &scope.inputs);
    let artifacts = scope.artifacts.clone();
    let mut page =
        Page { evaluator: Evaluator::new(scope, Arc::clone(&files)), files, shown: Vec::new(), problems: Vec::new() };
    page.step(workflow, step);
    while find_artifacts(common, workflow, &artifacts).await? {
        (page.shown, page.problems) = (Vec::new(), Vec::new());
        page.step(workflow, step);
    }
    page.mask(&masks);
    if arguments.json {
        let mut object: Map<String, Value> =
            page.shown.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        object.insert(
            "problems".to_owned(),
            page.problems
                .iter()
                .map(|(name, error)| {
                    json!({
                        "field": name, "code": error.code, "message": error.message, "help": error.help,
                    })
                })
                .collect(),
        );
        console.json(&object)?;
    } else {
        console.text(&text(&page.shown, console))?;
    }
    if page.problems.is_empty() {
        return Ok(ExitCode::Completed);
    }
    let lines = page.problems.iter().map(|(name, error)| format!("\n  {name}: [{}] {}", error.code, error.message));
    Err(CommandError::Render { step: step.id.to_string(), reason: lines.collect() })
}

/// Finds the artifacts that were asked for, where there is a state directory. Whether there were any.
async fn find_artifacts(
    common: &CommonArguments,
    workflow: &Workflow,
    artifacts: &Artifacts,
) -> Result<bool, CommandError> {
    let wanted = artifacts.take_wanted();
    let Some(state) = State::open_existing(common)?.filter(|_| !wanted.is_empty()) else { return Ok(false) };
    for text in wanted {
        let found = look_up(&*state.store, &workflow.name, &text).await?;
        artifacts.tell(&text, found.map(|version| version.artifact.file));
    }
    Ok(true)
}

/// What the step's templates see.
async fn scope(
    arguments: &RenderArguments,
    common: &CommonArguments,
    workflow: &Workflow,
    files: &Arc<dyn FileAccess>,
) -> Result<Scope, CommandError> {
    let now = Timestamp::now();
    let mut scope = Scope {
        inputs: BTreeMap::new(),
        env: arguments.inputs.environment()?,
        steps: workflow.steps.iter().map(|step| (step.id.clone(), unknown(step))).collect(),
        item: Some(Output::Json(json!("<item>"))),
        index: Some(0),
        execution: ExecutionView {
            id: ExecutionId::new("<execution>"),
            workflow: workflow.name.clone(),
            version: workflow.version.clone(),
            started_at: now,
        },
        trigger: Value::Null,
        needs: NeedOutcome::FINE,
        outputs: None,
        locals: BTreeMap::new(),
        now,
        artifacts: Artifacts::default(),
    };
    if let Some(item) = &arguments.item {
        scope.item = Some(Output::Json(serde_json::from_str(item).unwrap_or_else(|_| Value::String(item.clone()))));
    }
    if let Some(name) = &arguments.from {
        let state = State::open_for(common, name)?;
        let row = execution_name::find(&*state.store, name).await?;
        if row.definition.name != workflow.name {
            return Err(CommandError::Argument {
                argument: "--from",
                reason: format!("{} is an execution of {}, not of {}", row.id, row.definition.name, workflow.name),
                hint: "`ratchet list --workflow NAME` shows those of a workflow",
            });
        }
        let rows = ExecutionRows::load(&*state.store, &*state.blobs, workflow, &row.id).await?;
        scope.execution.id = row.id;
        scope.execution.started_at = row.created_at;
        (scope.now, scope.trigger) = (row.created_at, row.trigger);
        if arguments.inputs.is_empty() {
            scope.inputs = load_large(&*state.blobs, &row.inputs).await?;
            scope.env = row.environment;
        }
        for step in &workflow.steps {
            if let Some(rows) = rows.as_ref().and_then(|rows| rows.step(&step.id)) {
                scope.steps.insert(step.id.clone(), seen::step(rows));
            }
        }
    }
    if scope.inputs.is_empty() {
        scope.inputs = arguments.inputs.resolve(workflow, BTreeMap::new())?;
    }
    let given = scope.env.clone();
    let evaluator = Evaluator::new(scope.clone(), Arc::clone(files));
    for (name, template) in workflow.environment.iter().filter(|(name, _)| !given.contains_key(*name)) {
        if let Ok(value) = evaluator.text(template) {
            scope.env.insert(name.clone(), value);
        }
    }
    Ok(scope)
}

/// A step that has not run: its outputs are known by name alone.
fn unknown(step: &Step) -> StepView {
    let shell = ["stdout", "stderr", "exit_code"];
    let more: &[&str] = match &step.action {
        Action::Shell(_) => &shell,
        Action::Template(_) => &["text"],
        Action::Approval(_) => &["approved", "comment", "by"],
        Action::Webhook(_) => &["status", "body", "json", "headers"],
        Action::ClaudeCode(_) | Action::Assert(_) | Action::Wait(_) | Action::Workflow(_) | Action::Exec(_) => &[],
    };
    let outputs: Outputs = step
        .output_names()
        .into_iter()
        .chain(more.iter().copied())
        .map(|name| (name.to_owned(), Output::Json(json!(format!("<{}.outputs.{name}>", step.id)))))
        .collect();
    StepView {
        status: StepStatus::Completed,
        outputs,
        exit_code: Some(0),
        duration_ms: Some(0),
        attempts: 1,
        cached: false,
    }
}

/// What is shown of a step, in order, and what could not be filled in.
struct Page {
    evaluator: Evaluator,
    files: Arc<dyn FileAccess>,
    shown: Vec<(String, Value)>,
    problems: Vec<(String, EvaluationError)>,
}

impl Page {
    fn step(&mut self, workflow: &Workflow, step: &Step) {
        self.plain("id", json!(step.id));
        self.plain("type", json!(step.action.type_name()));
        if let Some(node) = workflow.graph.node_of(&step.id) {
            let needs: Vec<&StepId> = node.needs.iter().map(|need| &workflow.graph.node(*need).id).collect();
            self.plain("needs", json!(needs.into_iter().filter(|need| !need.is_internal()).collect::<Vec<_>>()));
        }
        if let Some(when) = &step.when {
            self.condition("when", when);
        }
        if let Some(foreach) = &step.foreach {
            let items = self.evaluator.expression(&foreach.items);
            self.add("foreach", items.map(|items| output_view(&items)));
        }
        self.action(&step.action);
        if let Some(directory) = &step.working_directory {
            self.text("working_directory", directory);
        }
        for (name, template) in workflow.environment.iter().chain(step.environment.iter()) {
            self.text(&format!("environment.{name}"), template);
        }
        for name in step.secrets.keys() {
            self.plain(&format!("environment.{name}"), json!(MASK));
        }
        match &step.inputs {
            StepInputs::Files(files) => {
                for (position, file) in files.iter().enumerate() {
                    self.text(&format!("inputs.{position}"), file);
                }
            }
            StepInputs::Named(named) => {
                for (name, template) in named {
                    self.value(&format!("inputs.{name}"), template);
                }
            }
        }
        for output in &step.outputs {
            match &output.source {
                OutputSource::File(path) => self.text(&format!("outputs.{}", output.name), path),
                OutputSource::From { expression, .. } => {
                    self.plain(&format!("outputs.{}", output.name), json!(format!("from {}", expression.source)));
                }
            }
        }
        if let Some(key) = &step.cache.key {
            self.text("cache_key", key);
        }
        if let Some(resources) = &step.resources {
            self.resources(resources);
        }
    }

    /// The size of the task, as containers have it.
    fn resources(&mut self, resources: &Resources) {
        let Resources { cpu_units, memory_mib, disk_gib, image, spot } = resources;
        let sizes = [
            ("cpu", cpu_units.map(|units| json!(f64::from(units) / 1024.0))),
            ("memory", memory_mib.map(|memory| json!(format!("{memory} MiB")))),
            ("disk", disk_gib.map(|disk| json!(format!("{disk} GiB")))),
            ("spot", spot.map(|spot| json!(spot))),
        ];
        for (name, value) in sizes {
            if let Some(value) = value {
                self.plain(&format!("resources.{name}"), value);
            }
        }
        if let Some(image) = image {
            self.text("resources.image", image);
        }
    }

    /// Masks sensitive inputs in all that is shown.
    fn mask(&mut self, masks: &Masks) {
        for (_, value) in &mut self.shown {
            *value = masks.value(value.take());
        }
        for (_, error) in &mut self.problems {
            error.message = masks.text(&error.message).into_owned();
            error.help = error.help.as_deref().map(|help| masks.text(help).into_owned());
        }
    }

    fn action(&mut self, action: &Action) {
        match action {
            Action::Shell(shell) => self.shell(shell),
            Action::ClaudeCode(agent) => {
                self.text("prompt", &agent.prompt);
                self.plain("security_profile", json!(agent.security_profile));
                for (name, template) in [("model", &agent.model), ("append_system_prompt", &agent.append_system_prompt)]
                {
                    if let Some(template) = template {
                        self.text(name, template);
                    }
                }
                let limits = [("max_turns", json!(agent.max_turns)), ("max_cost_usd", json!(agent.max_cost_usd))];
                let tools =
                    [("allowed_tools", json!(agent.allowed_tools)), ("output_schema", json!(agent.output_schema))];
                if let Some(verify) = &agent.verify {
                    let command = self.evaluator.command(&verify.command);
                    self.add("verify", command.map(|command| json!(command.display)));
                }
                for (name, value) in limits.into_iter().chain(tools).filter(|(_, value)| !value.is_null()) {
                    self.plain(name, value);
                }
            }
            Action::Assert(assert) => {
                for (position, condition) in assert.conditions.iter().enumerate() {
                    let name = if assert.conditions.len() == 1 {
                        "condition".to_owned()
                    } else {
                        format!("conditions.{position}")
                    };
                    self.condition(&name, &condition.expression);
                    if let Some(message) = &condition.message {
                        self.text(&format!("{name}.message"), message);
                    }
                }
                if let Some(message) = &assert.message {
                    self.text("message", message);
                }
            }
            Action::Webhook(webhook) => self.webhook(webhook),
            Action::Wait(Wait::For(time)) => self.text("for", time),
            Action::Wait(Wait::Until(time)) => self.text("until", time),
            Action::Approval(approval) => {
                self.text("message", &approval.message);
                for (position, approver) in approval.approvers.iter().enumerate() {
                    self.text(&format!("approvers.{position}"), approver);
                }
            }
            Action::Workflow(sub) => {
                let (name, version) = (&sub.definition.name, &sub.definition.version);
                self.plain("runs", json!({ "workflow": name, "version": version, "file": sub.definition.origin }));
            }
            Action::Exec(exec) => self.plain("exec", json!(exec.command)),
            Action::Template(template) => {
                match &template.text {
                    TextSource::Inline(text) => self.text("template", text),
                    TextSource::File(path) => self.template_file(path),
                }
                if let Some(output) = &template.output {
                    self.text("output", output);
                }
            }
        }
    }

    fn webhook(&mut self, webhook: &Webhook) {
        self.plain("method", json!(webhook.method));
        let url = self.evaluator.url(&webhook.url).map(Value::String);
        self.add("url", url);
        for (name, parts) in &webhook.headers {
            let part = |part: &SecretPart| match part {
                SecretPart::Text(text) => self.evaluator.header(text),
                SecretPart::Secret(_) => Ok(MASK.to_owned()),
            };
            let value = parts.iter().map(part).collect::<Result<String, _>>();
            self.add(&format!("headers.{name}"), value.map(Value::String));
        }
        match &webhook.body {
            Some(Body::Text(text)) => self.value("body", text),
            Some(Body::Json(data)) => {
                let body = self.evaluator.data(data);
                self.add("body", body);
            }
            None => {}
        }
        let statuses = webhook.expect_status.iter().map(|range| match (range.start(), range.end()) {
            (start, end) if start == end => start.to_string(),
            (start, end) => format!("{start}-{end}"),
        });
        self.plain("expect_status", json!(statuses.collect::<Vec<_>>()));
    }

    /// The path of a template's file and, where the file is there, its text.
    fn template_file(&mut self, path: &Template) {
        self.text("template_file", path);
        let Ok(content) = self.evaluator.text(path).map(|path| self.files.read(&path)) else { return };
        let text = content.ok().and_then(|bytes| String::from_utf8(bytes).ok());
        if let Some(Ok(parsed)) = text.map(|text| parse::template(&text)) {
            self.text("template", &parsed.value);
        }
    }

    fn shell(&mut self, shell: &Shell) {
        match self.evaluator.command(shell) {
            Ok(command) => {
                self.plain("command", json!(command.display));
                self.plain("argv", json!(command.argv));
                if !command.values.is_empty() {
                    self.plain("values", json!(command.values));
                }
            }
            Err(error) => self.problems.push(("command".to_owned(), error)),
        }
    }

    fn condition(&mut self, name: &str, expression: &Expression) {
        let judged = self.evaluator.condition(expression).map(|judgement| {
            let read: Map<String, Value> =
                judgement.read.into_iter().map(|(name, value)| (name, json!(value))).collect();
            json!({ "expression": expression.source, "holds": judgement.holds, "read": read })
        });
        self.add(name, judged);
    }

    fn text(&mut self, name: &str, template: &Template) {
        let text = self.evaluator.text(template).map(Value::String);
        self.add(name, text);
    }

    fn value(&mut self, name: &str, template: &Template) {
        let value = self.evaluator.value(template).map(|value| output_view(&value));
        self.add(name, value);
    }

    fn plain(&mut self, name: &str, value: Value) {
        self.shown.push((name.to_owned(), value));
    }

    fn add(&mut self, name: &str, value: Result<Value, EvaluationError>) {
        match value {
            Ok(value) => self.plain(name, value),
            Err(error) => self.problems.push((name.to_owned(), error)),
        }
    }
}

/// A line a field; a text of several lines stands under its name.
fn text(shown: &[(String, Value)], console: Console) -> String {
    let mut page = String::new();
    for (name, value) in shown.iter().filter(|(name, _)| name != "argv" && name != "values") {
        let words = match value {
            Value::String(text) => text.clone(),
            Value::Array(items) => items.iter().map(in_words).collect::<Vec<_>>().join(", "),
            other => in_words(other),
        };
        let label = console.out.bold(name);
        if words.contains('\n') {
            let _ = writeln!(page, "{label}:\n    {}", words.trim_end().replace('\n', "\n    "));
        } else {
            page.push_str(format!("{label}: {words}").trim_end());
            page.push('\n');
        }
    }
    page
}

fn in_words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(judged) if judged.contains_key("holds") => {
            let read = judged["read"].as_object().into_iter().flatten();
            let read: Vec<String> = read.map(|(name, value)| format!("{name} = {}", in_words(value))).collect();
            let with = if read.is_empty() { String::new() } else { format!(" ({})", read.join(", ")) };
            format!("{}: {}{with}", judged["expression"].as_str().unwrap_or_default().trim(), judged["holds"])
        }
        other => other.to_string(),
    }
}

//! What a step's expressions say once its needs are there: whether it runs, and with what.

use std::{collections::BTreeMap, sync::Arc};

use ratchet_core::{
    cached::CacheMode,
    event::{Outcome, Verdict},
    fan_out,
    graph::Node,
    history::sha256_hex,
    ids::{Epoch, StepKey, StepPath},
    join::NeedOutcome,
    output::{Output, Outputs},
    resources::Resources,
    step::{FailureClass, StepFailure, StepResult, StepRow, StepState, Usage},
    transition::{Ending, SkipReason},
    workflow::{Action, Body, ForEach, OutputSource, SecretPart, Step, StepInputs, Template, Webhook},
};
use ratchet_definition::{
    evaluate::{EvaluationError, Evaluator, Scope},
    files::FileAccess,
};
use serde_json::Value;

use crate::{
    artifacts, asked,
    conversation::{self, Conversation},
    engine::{Engine, EngineError},
    inline::Inline,
    items,
    masks::Masks,
    nested,
    noted::Noted,
    order::{Order, OutputOrder, OutputOrderSource, RequestBody, RequestOrder, SecretText, TaskSize, Token, Work},
    run::Run,
    scope::{self, Overlay},
    step_cache::{self, KeyFiles, KeyParts, Material, Parts},
    trees::Base,
    values::load,
    waiting,
};

/// What is to be done with a step that is ready.
pub(crate) enum Prepared {
    /// The engine knows already.
    Settled(Box<Verdict>),
    /// It needs a task. The order has no token yet. With it all that its result depends on, where that is kept.
    Task(Box<Order>, Option<Box<KeyParts>>),
    /// It is a run of its own.
    Run(Box<PreparedRun>),
}

/// A step that is a run of its own.
pub(crate) struct PreparedRun {
    /// What the run is given.
    pub(crate) inputs: Outputs,
    /// The row of an older epoch whose run goes on.
    pub(crate) taken_over: Option<StepRow>,
}

/// A step that is ready, as its handler knows it.
pub(crate) struct Ready<'a> {
    pub(crate) path: &'a StepPath,
    pub(crate) needs: NeedOutcome,
    /// The files that it begins with.
    pub(crate) base: Base,
    pub(crate) predecessor: Option<u32>,
    /// The fan-out's row, for a child.
    pub(crate) parent: Option<&'a StepRow>,
    /// The row of an older epoch of which something may be taken over: the children of a fan-out, a run, or an agent's session.
    pub(crate) adopts: Option<&'a StepRow>,
    /// Who takes over the lane of a child that settles at once.
    pub(crate) successor: Option<u32>,
}

impl Ready<'_> {
    pub(crate) fn settle(&self, outcome: Outcome) -> Prepared {
        let (predecessor, successor) = (self.predecessor, self.successor);
        Prepared::Settled(Box::new(Verdict::Settle { outcome, predecessor, successor }))
    }

    fn skip(&self, reason: SkipReason) -> Prepared {
        let (predecessor, successor) = (self.predecessor, self.successor);
        Prepared::Settled(Box::new(Verdict::Skip { reason, predecessor, successor }))
    }
}

/// Evaluates a step that is ready. An expression that cannot be evaluated is a failure of the step, not of the engine.
pub(crate) async fn prepare(
    engine: &Engine,
    run: &Run,
    overlay: &Overlay,
    ready: &Ready<'_>,
) -> Result<Prepared, EngineError> {
    let node = run.node(&ready.path.step)?;
    let Some(step) = run.step(node) else {
        let warning = ready.base.conflict.as_ref().map(|conflict| conflict.message.clone());
        return Ok(ready.settle(Outcome::Succeeded(StepResult { warning, ..StepResult::default() })));
    };
    if ready.path.child.is_none()
        && let Some(prepared) = without_evaluation(run, node, step, ready)
    {
        return Ok(prepared);
    }
    if let Some(failure) = ready.base.conflict.clone() {
        return Ok(ready.settle(Outcome::Failed { failure, usage: Usage::default() }));
    }
    let old = match adopted(engine, run, ready).await? {
        Adopted::Result(outcome) => return Ok(ready.settle(*outcome)),
        Adopted::Run(row) => Some(*row),
        Adopted::Nothing => {
            ready.adopts.filter(|old| old.execution.is_some() && has_later_files(run, &old.key)).cloned()
        }
    };
    let item = match (ready.path.child, ready.parent.and_then(|parent| parent.items.as_ref())) {
        (Some(child), Some(index)) => {
            let item = engine.items.item(engine.ports.blobs.as_ref(), index, child).await?;
            Some((load(engine.ports.blobs.as_ref(), &item).await?, child))
        }
        _ => None,
    };
    let mut scope = scope::build(engine, run, overlay, step.steps_read(), ready.needs, item).await?;
    let files = engine.ports.workspaces.files(&run.row, ready.base.tree.as_ref()).await?;
    let caller = step.cache.enabled.then(|| scope.env.clone());
    while let Err(error) = scope::add_environment(&mut scope, run, &files) {
        if !artifacts::find_wanted(engine, run, Some(ready.path), &scope.artifacts).await? {
            return Ok(ready.settle(failed(&error)));
        }
    }
    let scope = Arc::new(scope);
    let conversation = conversation::of(engine, run, overlay, step).await?;
    loop {
        let evaluating = Evaluating { run, step, ready, scope: &scope, files: &files, conversation: &conversation };
        let prepared = evaluating.prepared(engine, overlay, caller.clone(), old.clone()).await?;
        if !artifacts::find_wanted(engine, run, Some(ready.path), &scope.artifacts).await? {
            return Ok(prepared);
        }
    }
}

/// A step that is evaluated.
struct Evaluating<'a> {
    run: &'a Run,
    step: &'a Step,
    ready: &'a Ready<'a>,
    scope: &'a Arc<Scope>,
    files: &'a Arc<dyn FileAccess>,
    /// What becomes of an agent's session.
    conversation: &'a Conversation,
}

impl Evaluating<'_> {
    /// What the expressions come to, with the artifacts that are at hand. `caller` are the variables that the caller passed, where the step is cached.
    async fn prepared(
        &self,
        engine: &Engine,
        overlay: &Overlay,
        caller: Option<BTreeMap<String, String>>,
        old: Option<StepRow>,
    ) -> Result<Prepared, EngineError> {
        let Self { run, step, ready, scope, files, conversation } = *self;
        let noted = Arc::new(Noted::new(Arc::clone(files)));
        let evaluator = Evaluator::new(Arc::clone(scope), Arc::<Noted>::clone(&noted));
        let evaluated = evaluate(run, step, ready, scope, &evaluator, noted.as_ref());
        if matches!(&evaluated, Ok(Evaluated::Order(_) | Evaluated::Inline)) {
            // Where its outputs are made nobody can ask for them any more.
            step.artifacts_of_outputs().for_each(|reference| scope.artifacts.want(reference));
        }
        match evaluated {
            Err(error) => Ok(ready.settle(failed(&error))),
            Ok(Evaluated::Skip) => Ok(ready.skip(SkipReason::WhenFalse)),
            Ok(Evaluated::FanOut(list)) => fan_out(engine, run, step, ready, list).await,
            Ok(Evaluated::Order(mut order)) => {
                order.captured = noted.take();
                if let Err(failure) = conversation.put(&mut order) {
                    return Ok(ready.settle(Outcome::Failed { failure, usage: Usage::default() }));
                }
                let session = ready.adopts.and_then(|old| suspended(run, old)).and_then(|at| at.session.clone());
                if let (Work::Agent(asked), Some(session)) = (&mut order.work, session) {
                    asked.session = Some(session);
                    // What it changed before is in the files that it begins with: what it changes now is not all that the step does.
                    return Ok(Prepared::Task(order, None));
                }
                Ok(match Box::pin(self.parts(engine, caller)).await? {
                    Ok(parts) => Prepared::Task(order, parts.map(Box::new)),
                    Err(error) => ready.settle(failed(&error)),
                })
            }
            Ok(Evaluated::Inline) => match &step.action {
                Action::Wait(wait) => Ok(waiting::wait(wait, &evaluator, engine.ports.clock.now(), ready)),
                Action::Approval(approval) => {
                    Ok(waiting::ask(approval, step.timeout, &evaluator, engine.ports.clock.now(), ready))
                }
                Action::Workflow(sub) => match nested::given(step, &sub.workflow.inputs, &evaluator) {
                    Ok(inputs) => Ok(Prepared::Run(Box::new(PreparedRun { inputs, taken_over: old }))),
                    Err(error) => Ok(ready.settle(failed(&error))),
                },
                _ => {
                    let base = ready.base.tree.as_ref();
                    let inline = Inline { step, scope, overlay, evaluator: &evaluator, files, base };
                    Ok(ready.settle(inline.perform(engine, run).await?))
                }
            },
        }
    }

    /// All that the step's result depends on, where it is kept for other runs. Steps that work in the directory itself keep nothing: what they change is not known. `caller` are
    /// the variables that the caller passed.
    async fn parts(
        &self,
        engine: &Engine,
        caller: Option<BTreeMap<String, String>>,
    ) -> Result<Result<Option<KeyParts>, EvaluationError>, EngineError> {
        let Self { run, ready, scope, files, .. } = *self;
        let (Some(env), Some(tree)) = (caller, &ready.base.tree) else { return Ok(Ok(None)) };
        if run.row.options.cache == CacheMode::Off {
            return Ok(Ok(None));
        }
        let Parts { mut parts, needs_workspace } =
            match self.without_workspace(Scope { env, ..Scope::clone(scope) }, files) {
                Ok(Some(parts)) => parts,
                Ok(None) => return Ok(Ok(None)),
                Err(error) => return Ok(Err(error)),
            };
        if needs_workspace {
            parts.add_digest("workspace", engine.ports.workspaces.content(&run.row, tree).await?);
        }
        Ok(Ok(Some(parts)))
    }

    fn without_workspace(
        &self,
        mut scope: Scope,
        files: &Arc<dyn FileAccess>,
    ) -> Result<Option<Parts>, EvaluationError> {
        let Self { run, step, ready, .. } = *self;
        let files: Arc<dyn FileAccess> = Arc::new(KeyFiles(files.clone()));
        scope::add_environment(&mut scope, run, &files)?;
        let scope = Arc::new(scope);
        let evaluator = Evaluator::new(scope.clone(), files.clone());
        let mut order = order(run, step, ready, &scope, &evaluator, files.as_ref())?;
        // What has no conversation to go on with has failed already.
        let _ = self.conversation.put(&mut order);
        let agent = run.row.options.agent.as_deref();
        step_cache::of_order(&Material { step, order: &order, evaluator: &evaluator, files: files.as_ref(), agent })
    }
}

enum Evaluated {
    Skip,
    FanOut(Vec<Output>),
    Order(Box<Order>),
    Inline,
}

/// What is known before any expression is evaluated.
fn without_evaluation(run: &Run, node: &Node, step: &Step, ready: &Ready<'_>) -> Option<Prepared> {
    use ratchet_core::execution::Selection;
    let selected = match &run.row.options.selection {
        Selection::All => true,
        Selection::Only(only) => step.id == *only,
        Selection::Until(until) => run
            .graph()
            .index_of(until)
            .zip(run.graph().index_of(&step.id))
            .is_none_or(|(until, this)| until == this || run.graph().ancestors(&[until]).contains(&this)),
    };
    if !selected {
        return Some(ready.skip(SkipReason::NotSelected));
    }
    if step.place == ratchet_core::workflow::Place::OnFailure && run.row.endings.contains(&Ending::Cancelled) {
        return Some(ready.skip(SkipReason::RunCancelled));
    }
    if let Some(reason) = node.is_left_out(ready.needs) {
        return Some(ready.skip(reason));
    }
    let handles_failure = step.when.as_ref().is_some_and(|when| when.uses.handles_failure);
    (node.is_blocked_by(ready.needs) && !handles_failure).then(|| Prepared::Settled(Box::new(Verdict::Block)))
}

/// Whether what changed in the directory is in the files of a row of an older epoch. What such a row left half done is not gone on with where it is not: it would be lost.
pub(crate) fn has_later_files(run: &Run, old: &StepKey) -> bool {
    run.row.directory_later().is_none_or(|(epoch, _)| epoch <= old.epoch)
}

/// What a step begins with whose agent goes on: the files as it left them, which nobody else knows.
pub(crate) fn with_left(run: &Run, base: Base, old: Option<&StepRow>) -> Base {
    let left = old.and_then(|old| suspended(run, old)?.tree.clone().or_else(|| old.base.clone()));
    Base { tree: left.or(base.tree), ..base }
}

/// What the agent of an older row stopped at, where it may go on: not where what changed in the directory since is not in the files that it left.
fn suspended<'a>(run: &Run, old: &'a StepRow) -> Option<&'a StepFailure> {
    old.suspended().filter(|_| has_later_files(run, &old.key))
}

/// What the same child of an older epoch left.
enum Adopted {
    Nothing,
    /// It was done.
    Result(Box<Outcome>),
    /// It was a run of its own, which goes on.
    Run(Box<StepRow>),
}

/// What the same child in an older epoch left, where it still counts.
async fn adopted(engine: &Engine, run: &Run, ready: &Ready<'_>) -> Result<Adopted, EngineError> {
    let mut left = Adopted::Nothing;
    let mut parent = ready.parent.cloned();
    while let Some(epoch) = parent.as_ref().and_then(|parent| parent.adopts) {
        let at = |path: StepPath| StepKey { execution: run.row.id.clone(), epoch, path };
        match engine.ports.store.step(&at(ready.path.clone())).await? {
            Some(StepRow { state: StepState::Completed, result: Some(result), .. }) => {
                return Ok(Adopted::Result(Box::new(Outcome::Succeeded(result))));
            }
            Some(row) if row.execution.is_some() && matches!(left, Adopted::Nothing) => {
                left = Adopted::Run(Box::new(row));
            }
            _ => {}
        }
        parent = engine.ports.store.step(&at(StepPath::step(ready.path.step.clone()))).await?;
    }
    Ok(left)
}

fn evaluate(
    run: &Run,
    step: &Step,
    ready: &Ready<'_>,
    scope: &Scope,
    evaluator: &Evaluator,
    files: &dyn FileAccess,
) -> Result<Evaluated, EvaluationError> {
    let is_child = ready.path.child.is_some();
    if let Some(when) = &step.when
        && (step.foreach.is_none() || when.uses.item == is_child)
        && !evaluator.condition(when)?.holds
    {
        return Ok(Evaluated::Skip);
    }
    if let (Some(foreach), false) = (&step.foreach, is_child) {
        return list(evaluator, foreach).map(Evaluated::FanOut);
    }
    if !step.action.needs_task() {
        return Ok(Evaluated::Inline);
    }
    order(run, step, ready, scope, evaluator, files).map(|order| Evaluated::Order(Box::new(order)))
}

fn list(evaluator: &Evaluator, foreach: &ForEach) -> Result<Vec<Output>, EvaluationError> {
    match evaluator.expression(&foreach.items)? {
        Output::Json(Value::Array(values)) => Ok(values.into_iter().map(Output::Json).collect()),
        Output::Each(outputs) => {
            Ok(outputs.into_iter().map(|output| output.unwrap_or(Output::Json(Value::Null))).collect())
        }
        other => Err(mistake(
            "RT-0190",
            format!("`foreach` needs a list, and this is {}", kind_of(&other)),
            &foreach.items.source,
        )),
    }
}

fn kind_of(output: &Output) -> &'static str {
    match output {
        Output::Json(Value::Null) => "null",
        Output::Json(Value::Bool(_)) => "a boolean",
        Output::Json(Value::Number(_)) => "a number",
        Output::Json(Value::String(_)) => "a string",
        Output::Json(Value::Array(_)) | Output::Each(_) => "a list",
        Output::Json(Value::Object(_)) => "an object",
        Output::File(_) => "a file",
        Output::Stored(_) => "a stored value",
    }
}

async fn fan_out(
    engine: &Engine,
    run: &Run,
    step: &Step,
    ready: &Ready<'_>,
    list: Vec<Output>,
) -> Result<Prepared, EngineError> {
    let blobs = engine.ports.blobs.as_ref();
    // A resumed fan-out works on the list that it had: a child may itself have changed what the list is made from.
    let (items, adopts): (_, Option<Epoch>) = match ready.adopts {
        Some(old) => match &old.items {
            Some(items) => (items.clone(), has_later_files(run, &old.key).then_some(old.key.epoch)),
            None => (items::store(blobs, &list).await?, None),
        },
        None => (items::store(blobs, &list).await?, None),
    };
    let count = engine.items.count(blobs, &items).await?;
    if count == 0 {
        let outputs = step.output_names().into_iter().map(|name| (name.to_owned(), Output::Each(Vec::new()))).collect();
        return Ok(ready.settle(Outcome::Succeeded(StepResult { outputs, ..StepResult::default() })));
    }
    let wanted = step.foreach.as_ref().and_then(|foreach| foreach.max_parallel).map(std::num::NonZeroU32::get);
    let lanes = fan_out::lanes(wanted, run.row.options.max_parallel, count);
    Ok(Prepared::Settled(Box::new(Verdict::FanOut { count, lanes, items, adopts })))
}

fn order(
    run: &Run,
    step: &Step,
    ready: &Ready<'_>,
    scope: &Scope,
    evaluator: &Evaluator,
    files: &dyn FileAccess,
) -> Result<Order, EvaluationError> {
    let mut environment: BTreeMap<String, String> =
        run.workflow.environment.keys().filter_map(|name| Some((name.clone(), scope.env.get(name)?.clone()))).collect();
    for (name, template) in step.environment.iter() {
        environment.insert(name.clone(), evaluator.text(template)?);
    }
    if let Some((name, _)) = environment.iter().find(|(_, value)| value.contains('\0')) {
        let message = format!("the value of the variable {name} holds a NUL byte, which no process can be given");
        return Err(mistake("RT-0126", message, name));
    }
    let mut secrets: BTreeMap<String, Vec<SecretText>> = BTreeMap::new();
    for (name, parts) in &step.secrets {
        let filled_in = parts.iter().map(|part| {
            Ok(match part {
                SecretPart::Text(text) => SecretText::Plain(evaluator.text(text)?),
                SecretPart::Secret(name) => SecretText::Secret(name.clone()),
            })
        });
        environment.remove(name);
        secrets.insert(name.clone(), filled_in.collect::<Result<_, EvaluationError>>()?);
    }
    step.secret_files.keys().for_each(|name| drop(environment.remove(name)));
    let work = match &step.action {
        Action::Shell(shell) => {
            let command = evaluator.command(shell)?;
            let allow_exit_codes = shell.allow_exit_codes.iter().copied().collect();
            Work::Command {
                argv: command.argv,
                values: command.values,
                allow_exit_codes,
                profile: shell.security_profile,
            }
        }
        Action::ClaudeCode(agent) => Work::Agent(Box::new(asked::order(agent, evaluator)?)),
        Action::Webhook(webhook) => Work::Request(Box::new(request(webhook, evaluator)?)),
        Action::Exec(exec) => Work::Program(Box::new(nested::program(step, exec, evaluator, files)?)),
        Action::Assert(_) | Action::Template(_) | Action::Wait(_) | Action::Approval(_) | Action::Workflow(_) => {
            unreachable!("the engine does these at once: Action::needs_task says so")
        }
    };
    let key = run.key(ready.path.clone());
    let trace = run.row.trace.of_attempt(&key, 1);
    Ok(Order {
        // The same over epochs too: a resumed step is the same effect on the outside world.
        idempotency_key: sha256_hex(format!("{}/{}", run.row.id, ready.path).as_bytes())[..32].to_owned(),
        way: run.way(ready.path),
        key,
        attempt: 1,
        token: Token::new([0; 16]),
        trace,
        work,
        tree: ready.base.tree.clone(),
        environment,
        secrets,
        secret_files: step.secret_files.clone(),
        disk_bytes_max: step.resources.as_ref().and_then(Resources::disk_bytes),
        working_directory: step.working_directory.as_ref().map_or(Ok(String::new()), |path| evaluator.text(path))?,
        timeout: step.timeout,
        outputs: outputs(step, evaluator)?,
        scope: scope::of_outputs(step, scope),
        inputs: inputs(step, evaluator, files)?,
        captured: Vec::new(),
        size: size(step, evaluator)?,
        masks: Masks::of(&run.workflow, &scope.inputs),
        place: run.row.options.place.clone(),
    })
}

/// How large the step's task is.
fn size(step: &Step, evaluator: &Evaluator) -> Result<TaskSize, EvaluationError> {
    let Some(resources) = &step.resources else { return Ok(TaskSize::default()) };
    let Resources { cpu_units, memory_mib, disk_gib, image, spot } = resources;
    let image = image.as_ref().map(|image| evaluator.text(image)).transpose()?;
    Ok(TaskSize { cpu_units: *cpu_units, memory_mib: *memory_mib, disk_gib: *disk_gib, image, spot: *spot })
}

/// A request with its values filled in.
fn request(webhook: &Webhook, evaluator: &Evaluator) -> Result<RequestOrder, EvaluationError> {
    let part = |part: &SecretPart| {
        Ok(match part {
            SecretPart::Text(text) => SecretText::Plain(evaluator.header(text)?),
            SecretPart::Secret(name) => SecretText::Secret(name.clone()),
        })
    };
    let headers = webhook.headers.iter().map(|(name, parts)| {
        let parts = parts.iter().map(part).collect::<Result<_, EvaluationError>>()?;
        Ok((name.clone(), parts))
    });
    let body = match &webhook.body {
        Some(Body::Text(text)) => Some(match evaluator.value(text)? {
            Output::Json(value) if !value.is_string() => RequestBody::Json(value),
            _ => RequestBody::Text(evaluator.text(text)?),
        }),
        Some(Body::Json(data)) => Some(RequestBody::Json(evaluator.data(data)?)),
        None => None,
    };
    Ok(RequestOrder {
        url: evaluator.url(&webhook.url)?,
        method: webhook.method.clone(),
        headers: headers.collect::<Result<_, EvaluationError>>()?,
        body,
        expect_status: webhook.expect_status.clone(),
    })
}

fn outputs(step: &Step, evaluator: &Evaluator) -> Result<Vec<OutputOrder>, EvaluationError> {
    let source = |source: &OutputSource| {
        Ok(match source {
            OutputSource::File(path) => OutputOrderSource::File(evaluator.text(path)?),
            OutputSource::From { expression, value_type } => {
                OutputOrderSource::From { expression: expression.clone(), value_type: *value_type }
            }
        })
    };
    step.outputs
        .iter()
        .map(|output| Ok(OutputOrder { name: output.name.clone(), source: source(&output.source)? }))
        .collect()
}

/// The files that a step reads. Values by name are seen by its templates only.
fn inputs(step: &Step, evaluator: &Evaluator, files: &dyn FileAccess) -> Result<Vec<String>, EvaluationError> {
    let StepInputs::Files(templates) = &step.inputs else { return Ok(Vec::new()) };
    let mut paths = Vec::new();
    for template in templates {
        add_paths(&mut paths, evaluator.value(template)?, template, files)?;
    }
    Ok(paths)
}

fn add_paths(
    paths: &mut Vec<String>,
    output: Output,
    template: &Template,
    files: &dyn FileAccess,
) -> Result<(), EvaluationError> {
    let source = &template.source;
    match output {
        Output::Json(Value::String(path)) => {
            let leaves = path.starts_with('/') || path.split('/').any(|part| part == "..");
            if template.uses.tainted && leaves {
                let message = format!("an agent named the file {path}, which leaves the workspace");
                return Err(mistake("RT-0191", message, source));
            }
            paths.push(path);
        }
        Output::Json(Value::Null) => {}
        Output::Json(Value::Array(values)) => {
            for value in values {
                add_paths(paths, Output::Json(value), template, files)?;
            }
        }
        Output::Each(outputs) => {
            for output in outputs.into_iter().flatten() {
                add_paths(paths, output, template, files)?;
            }
        }
        Output::File(file) => {
            let path = files.path_of_captured(&file).map_err(|error| mistake("RT-0191", error.to_string(), source))?;
            paths.push(path);
        }
        other => {
            let message = format!("an input must be a path or a list of paths, and this is {}", kind_of(&other));
            return Err(mistake("RT-0191", message, source));
        }
    }
    Ok(())
}

fn mistake(code: &'static str, message: String, text: &str) -> EvaluationError {
    EvaluationError { code, message, help: None, text: text.trim().to_owned() }
}

pub(crate) fn failed(error: &EvaluationError) -> Outcome {
    Outcome::Failed { failure: failure_of(error), usage: Usage::default() }
}

/// The failure of a step whose expression could not be evaluated.
pub(crate) fn failure_of(error: &EvaluationError) -> StepFailure {
    let mut failure = StepFailure::new(FailureClass::Definition, error.to_string()).with_code(error.code);
    failure.hint.clone_from(&error.help);
    failure
}

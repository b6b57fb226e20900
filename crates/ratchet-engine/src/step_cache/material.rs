use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ratchet_core::{
    ids::Digest,
    output::{FileValue, Output},
    workflow::{OutputSource, Step, StepInputs, Template},
};
use ratchet_definition::{
    evaluate::{EvaluationError, Evaluator, Scope, StepView},
    files::{FileAccess, FileError},
};
use serde_json::{Map, Value, json};

use super::KeyParts;
use crate::order::{AgentOrder, Order, OutputOrder, OutputOrderSource, RequestBody, RequestOrder, SecretText, Work};

/// Files that a pattern matches and that stand in the key one by one. More of them stand there as one part, so that a key stays small.
const NAMED_MAX: usize = 500;

/// What a key is made of besides the order.
pub(crate) struct Material<'a> {
    pub(crate) step: &'a Step,
    /// The order, rendered with [`KeyFiles`].
    pub(crate) order: &'a Order,
    /// Evaluates in the step's scope.
    pub(crate) evaluator: &'a Evaluator,
    pub(crate) files: &'a dyn FileAccess,
    /// Which agent the run asks.
    pub(crate) agent: Option<&'a str>,
}

/// The parts of a key.
pub(crate) struct Parts {
    pub(crate) parts: KeyParts,
    /// Whether the content of the whole workspace belongs to them: neither the author's key nor declared inputs stand for what the step reads.
    pub(crate) needs_workspace: bool,
}

/// The parts of the key of an attempt, but for the content of the workspace. `None` where it reads what cannot be followed.
pub(crate) fn of_order(material: &Material<'_>) -> Result<Option<Parts>, EvaluationError> {
    let Material { step, order, evaluator, .. } = material;
    let mut parts = KeyParts::new();
    parts.add("type", &json!(step.action.type_name()));
    work(&mut parts, order, material.agent);
    parts.add("environment", &environment(order));
    parts.add("working_directory", &json!(order.working_directory));
    parts.add("outputs", &Value::Array(order.outputs.iter().map(output).collect()));
    let read = read_by_outputs(step, &order.scope);
    if !read.is_empty() {
        parts.add("outputs' values", &Value::Object(read));
    }
    if let Some(image) = step.resources.as_ref().and_then(|resources| resources.image.as_ref()) {
        parts.add("image", &json!(evaluator.text(image)?));
    }
    if let Some(version) = &step.cache.version {
        parts.add("cache version", &json!(version));
    }
    if let Some(key) = &step.cache.key {
        parts.add("cache_key", &json!(evaluator.text(key)?));
    }
    let declared = match &step.inputs {
        StepInputs::Files(files) => files.as_slice(),
        // They are in what the program is given. What it reads besides is not declared.
        StepInputs::Named(_) => &[],
    };
    let mut known = Known::All;
    for template in declared {
        known = known.min(add_input(&mut parts, &evaluator.value(template)?, template, material.files)?);
    }
    let is_undeclared = step.cache.key.is_none() && declared.is_empty();
    let needs_workspace = is_undeclared || known == Known::Within;
    Ok((known != Known::Not).then_some(Parts { parts, needs_workspace }))
}

/// What is known of the files that a declared input means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Known {
    /// They lie outside the workspace.
    Not,
    /// That they lie in it.
    Within,
    /// All.
    All,
}

/// The files as a key names them: a captured file is its path and its digest, wherever a copy of it lies.
pub(crate) struct KeyFiles(pub(crate) Arc<dyn FileAccess>);

impl FileAccess for KeyFiles {
    fn read_captured(&self, file: &FileValue) -> Result<Vec<u8>, FileError> {
        self.0.read_captured(file)
    }

    fn path_of_captured(&self, file: &FileValue) -> Result<String, FileError> {
        Ok(format!("{}@sha256:{}", file.path, file.content.digest))
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, FileError> {
        self.0.read(path)
    }

    fn digest(&self, path: &str) -> Result<Option<Digest>, FileError> {
        self.0.digest(path)
    }

    fn glob(&self, pattern: &str) -> Result<Vec<String>, FileError> {
        self.0.glob(pattern)
    }

    fn program(&self, path: &str) -> Option<Digest> {
        self.0.program(path)
    }
}

fn work(parts: &mut KeyParts, order: &Order, agent: Option<&str>) {
    match &order.work {
        Work::Command { argv, values, allow_exit_codes, profile } => {
            parts.add("command", &json!({"argv": argv, "values": values}));
            parts.add("allow_exit_codes", &json!(allow_exit_codes));
            // A step without one has the key that it had before there were any.
            if let Some(profile) = profile {
                parts.add("security_profile", &json!(profile));
            }
        }
        Work::Agent(asked) => {
            // How long and how dear it may be decides whether there is a result, not what it is.
            let AgentOrder {
                prompt,
                profile,
                model,
                allowed_tools,
                output_schema,
                append_system_prompt,
                verify,
                continues,
                keeps_session,
                ..
            } = &**asked;
            parts.add("prompt", &json!(prompt));
            parts.add("append_system_prompt", &json!(append_system_prompt));
            parts.add("agent", &json!(agent));
            parts.add("model", &json!(model));
            parts.add("security_profile", &json!(profile));
            parts.add("allowed_tools", &json!(allowed_tools));
            parts.add("output_schema", &json!(output_schema));
            // A step without one has the key that it had before there were any.
            if let Some(verify) = verify {
                parts.add("verify", &json!({"argv": verify.argv, "values": verify.values}));
            }
            if let Some(session) = continues {
                parts.add_digest("session", session.clone());
            }
            // What was kept without its session is of no use where another step goes on with that.
            if *keeps_session {
                parts.add("keeps its session", &json!(true));
            }
        }
        Work::Request(request) => {
            let RequestOrder { url, method, headers, body, expect_status } = &**request;
            let headers: BTreeMap<_, _> = headers.iter().map(|(name, value)| (name, texts(value))).collect();
            let body = match body {
                None => Value::Null,
                Some(RequestBody::Text(text)) => json!({"text": text}),
                Some(RequestBody::Json(value)) => json!({"json": value}),
            };
            let expected: Vec<_> = expect_status.iter().map(|range| [range.start(), range.end()]).collect();
            parts.add("request", &json!({"url": url, "method": method, "headers": headers, "body": body}));
            parts.add("expect_status", &json!(expected));
        }
        Work::Program(program) => {
            parts.add("program", &json!({"argv": program.argv, "outputs": program.outputs, "content": program.digest}));
            parts.add("inputs", &json!(program.stdin));
        }
    }
}

/// What is declared of the process's environment: of a secret its name, never its value.
fn environment(order: &Order) -> Value {
    let secrets: BTreeMap<_, _> = order.secrets.iter().map(|(name, value)| (name, texts(value))).collect();
    json!({"variables": order.environment, "secrets": secrets, "secret_files": order.secret_files})
}

fn texts(parts: &[SecretText]) -> Value {
    let text = |part: &SecretText| match part {
        SecretText::Plain(text) => json!(text),
        SecretText::Secret(name) => json!({"secret": name}),
    };
    Value::Array(parts.iter().map(text).collect())
}

fn output(output: &OutputOrder) -> Value {
    match &output.source {
        OutputOrderSource::File(path) => json!({"name": output.name, "path": path}),
        OutputOrderSource::From { expression, value_type } => {
            json!({"name": output.name, "from": expression.code, "type": value_type})
        }
    }
}

/// The values besides what its process gives that a step's outputs are made from.
fn read_by_outputs(step: &Step, scope: &Scope) -> Map<String, Value> {
    let code: BTreeSet<&str> = step
        .outputs
        .iter()
        .filter_map(|output| match &output.source {
            OutputSource::From { expression, .. } => Some(expression.code.as_str()),
            OutputSource::File(_) => None,
        })
        .collect();
    // A word that only looks like the name costs a hit, never a wrong one.
    let mentions = |word: &str| code.iter().any(|code| code.contains(word));
    let view = |view: &StepView| {
        let mut shown = json!({"status": view.status, "outputs": view.outputs, "exit_code": view.exit_code});
        for (name, value) in
            [("duration", json!(view.duration_ms)), ("attempts", json!(view.attempts)), ("cached", json!(view.cached))]
        {
            if mentions(name) {
                shown[name] = value;
            }
        }
        shown
    };
    let mut read = Map::new();
    let steps: BTreeMap<_, _> = scope.steps.iter().map(|(id, step)| (id, view(step))).collect();
    let artifacts: BTreeMap<_, _> = step
        .artifacts_of_outputs()
        .map(|reference| (reference, scope.artifacts.known(reference).map(|file| file.content.digest)))
        .collect();
    let item = scope.item.as_ref().map(|item| json!([item, scope.index]));
    for (name, value, is_read) in [
        ("inputs", json!(scope.inputs), !scope.inputs.is_empty()),
        ("env", json!(scope.env), !scope.env.is_empty()),
        ("steps", json!(steps), !steps.is_empty()),
        ("item", json!(item), item.is_some()),
        ("artifacts", json!(artifacts), !artifacts.is_empty()),
        ("trigger", scope.trigger.clone(), !scope.trigger.is_null()),
        ("execution", json!(scope.execution.id), mentions("execution")),
        ("now", json!(scope.now), mentions("now") || mentions("execution")),
        ("needs", json!(scope.needs.failed_above), mentions("success") || mentions("failure")),
    ] {
        if is_read {
            read.insert(name.to_owned(), value);
        }
    }
    read
}

/// Adds what a declared input is.
fn add_input(
    parts: &mut KeyParts,
    value: &Output,
    template: &Template,
    files: &dyn FileAccess,
) -> Result<Known, EvaluationError> {
    let unreadable = |error: &FileError| EvaluationError {
        code: "RT-0123",
        message: error.to_string(),
        help: None,
        text: template.source.trim().to_owned(),
    };
    match value {
        Output::File(file) => parts.add_digest(format!("input {}", file.path), file.content.digest.clone()),
        Output::Json(Value::String(path)) => {
            let path = path.strip_prefix("./").unwrap_or(path);
            let content = match files.digest(path) {
                Err(FileError::Outside(_)) => return Ok(Known::Not),
                Err(FileError::NotFound(_)) => None,
                other => other.map_err(|error| unreadable(&error))?,
            };
            if let Some(digest) = content {
                parts.add_digest(format!("input {path}"), digest);
            } else if path.contains(['*', '?', '[', '{']) {
                let matched = files.glob(path).map_err(|error| unreadable(&error))?;
                // A value is meant literally, and may look like a pattern that means something else.
                let is_certain = !matched.is_empty() || !template.source.contains("{{");
                add_matched(parts, path, matched, files).map_err(|error| unreadable(&error))?;
                return Ok(if is_certain { Known::All } else { Known::Within });
            } else {
                parts.add(format!("input {path}"), &Value::Null);
            }
        }
        Output::Json(Value::Array(values)) => {
            let mut known = Known::All;
            for value in values {
                known = known.min(add_input(parts, &Output::Json(value.clone()), template, files)?);
            }
            return Ok(known);
        }
        Output::Each(entries) => {
            let mut known = Known::All;
            for value in entries.iter().flatten() {
                known = known.min(add_input(parts, value, template, files)?);
            }
            return Ok(known);
        }
        // What is no path was refused when the order was made; null names no file.
        Output::Json(_) | Output::Stored(_) => {}
    }
    Ok(Known::All)
}

fn add_matched(
    parts: &mut KeyParts,
    pattern: &str,
    matched: Vec<String>,
    files: &dyn FileAccess,
) -> Result<(), FileError> {
    let mut found = BTreeMap::new();
    for path in matched {
        if let Some(digest) = files.digest(&path)? {
            found.insert(path, digest);
        }
    }
    if found.is_empty() || found.len() > NAMED_MAX {
        parts.add(format!("input {pattern}"), &json!(found));
        return Ok(());
    }
    // That no other file matches is a part of it too.
    parts.add(format!("input {pattern}"), &json!(found.keys().collect::<Vec<_>>()));
    for (path, digest) in found {
        parts.add_digest(format!("input {path}"), digest);
    }
    Ok(())
}

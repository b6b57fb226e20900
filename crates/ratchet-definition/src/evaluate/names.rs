//! The names of the scope as the template engine asks for them: each is converted when it is read, never before.

use std::{fmt, sync::Arc};

use minijinja::{
    Error, State, Value,
    value::{Enumerator, Object},
};
use ratchet_core::status::StepStatus;

use super::{Scope, StepView, error::Reason, record::Record, value};
use crate::{expression::vocabulary, files::FileAccess, parsed::SCOPE_NAMES};

/// The name under which functions find the scope: no identifier, so no author can write it.
const SELF: &str = "\0names";

/// The root of the scope.
pub(crate) struct Names {
    /// What can be seen.
    pub(crate) scope: Arc<Scope>,
    /// The files that functions read.
    pub(crate) files: Arc<dyn FileAccess>,
    record: Record,
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").field("scope", &self.scope).finish_non_exhaustive()
    }
}

/// The scope that a function is called in.
pub(crate) fn names_of(state: &State<'_, '_>) -> Result<Arc<Names>, Error> {
    state
        .lookup(SELF)
        .and_then(|value| value.downcast_object::<Names>())
        .ok_or_else(|| Reason::new("RT-0121", "functions cannot be called here").into())
}

impl Names {
    pub(super) fn new(scope: Arc<Scope>, files: Arc<dyn FileAccess>) -> Self {
        Self { scope, files, record: Record::default() }
    }

    pub(super) fn begin_record(&self) {
        self.record.begin();
    }

    pub(super) fn end_record(&self) -> Vec<(String, String)> {
        self.record.end()
    }

    /// Notes that a value was read, where somebody asked for it.
    pub(super) fn note(&self, label: &str, value: &Value) {
        self.record.note(label, value);
    }

    fn undefined(&self, name: &str) -> Value {
        let steps = self.scope.steps.keys().map(ratchet_core::ids::StepId::as_str);
        let known = SCOPE_NAMES.iter().copied().chain(steps).chain(self.scope.locals.keys().map(String::as_str));
        let reason = Reason::undefined(name);
        match crate::nearest::Nearest::default().find(name, known) {
            Some(near) => reason.with_help(format!("did you mean `{near}`?")).invalid(),
            None => reason
                .with_help("no step above has this name, and it is none of the names that are always there")
                .invalid(),
        }
    }
}

impl Object for Names {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        let scope = &self.scope;
        let member = |member| Value::from_object(Member { names: Arc::clone(self), member });
        Some(match key {
            SELF => Value::from_dyn_object(Arc::clone(self)),
            "inputs" => member(MemberKind::Inputs),
            "env" => member(MemberKind::Environment),
            "execution" => member(MemberKind::Execution),
            "outputs" if scope.outputs.is_some() => member(MemberKind::Own),
            "trigger" => value::from_json(&scope.trigger),
            "item" => match &scope.item {
                Some(item) => value::from_output(item, &self.files),
                None => Reason::new("RT-0120", "`item` is not defined").with_help(ONLY_IN_FOREACH).invalid(),
            },
            "index" => match scope.index {
                Some(index) => Value::from(index),
                None => Reason::new("RT-0120", "`index` is not defined").with_help(ONLY_IN_FOREACH).invalid(),
            },
            "secrets" => Reason::new("RT-0128", "a secret cannot be read here")
                .with_help("give it to the step's process: `secrets: [NAME]`, and read it there as `$NAME`")
                .invalid(),
            key => {
                if let Some(output) = scope.locals.get(key) {
                    value::from_output(output, &self.files)
                } else if let Some((id, _)) = scope.steps.iter().find(|(id, _)| id.as_str() == key) {
                    member(MemberKind::Step(id.clone()))
                } else if vocabulary::function(key).is_some() || key == "loop" {
                    return None;
                } else {
                    self.undefined(key)
                }
            }
        })
    }
}

const ONLY_IN_FOREACH: &str = "it is there only in a step with `foreach`";

/// Something with names of its own.
#[derive(Debug)]
struct Member {
    names: Arc<Names>,
    member: MemberKind,
}

#[derive(Debug)]
enum MemberKind {
    Inputs,
    Environment,
    Execution,
    Step(ratchet_core::ids::StepId),
    Outputs(ratchet_core::ids::StepId),
    /// The outputs of the step itself that stand above the one that reads them.
    Own,
}

const STEP_MEMBERS: &[&str] = &["attempts", "cached", "duration", "exit_code", "outputs", "status"];
const EXECUTION_MEMBERS: &[&str] = &["id", "started_at", "version", "workflow"];

impl Member {
    fn step(&self, id: &ratchet_core::ids::StepId) -> Option<&StepView> {
        self.names.scope.steps.get(id)
    }

    fn of_execution(&self, key: &str) -> Option<Value> {
        let execution = &self.names.scope.execution;
        Some(match key {
            "id" => Value::from(execution.id.as_str()),
            "workflow" => Value::from(execution.workflow.as_str()),
            "version" => Value::from(execution.version.as_str()),
            "started_at" => Value::from(execution.started_at.to_string()),
            _ => return None,
        })
    }

    fn of_step(&self, id: &ratchet_core::ids::StepId, key: &str) -> Option<Value> {
        let step = self.step(id)?;
        Some(match key {
            "outputs" => {
                Value::from_object(Self { names: Arc::clone(&self.names), member: MemberKind::Outputs(id.clone()) })
            }
            "status" => Value::from(step.status.as_str()),
            "exit_code" => Value::from(step.exit_code),
            #[expect(clippy::cast_precision_loss, reason = "a step takes less than 2^52 milliseconds")]
            "duration" => Value::from(step.duration_ms.map(|duration| duration as f64 / 1000.0)),
            "attempts" => Value::from(step.attempts),
            "cached" => Value::from(step.cached),
            _ => return None,
        })
    }

    /// The names that can be asked for.
    fn known(&self) -> Vec<&str> {
        match &self.member {
            MemberKind::Inputs => self.names.scope.inputs.keys().map(String::as_str).collect(),
            MemberKind::Environment => self.names.scope.env.keys().map(String::as_str).collect(),
            MemberKind::Execution => EXECUTION_MEMBERS.to_vec(),
            MemberKind::Step(_) => STEP_MEMBERS.to_vec(),
            MemberKind::Outputs(id) => {
                self.step(id).into_iter().flat_map(|step| step.outputs.keys()).map(String::as_str).collect()
            }
            MemberKind::Own => self.names.scope.outputs.iter().flatten().map(|(name, _)| name.as_str()).collect(),
        }
    }

    fn path(&self) -> String {
        match &self.member {
            MemberKind::Inputs => "inputs".to_owned(),
            MemberKind::Environment => "env".to_owned(),
            MemberKind::Execution => "execution".to_owned(),
            MemberKind::Step(id) => id.to_string(),
            MemberKind::Outputs(id) => format!("{id}.outputs"),
            MemberKind::Own => "outputs".to_owned(),
        }
    }
}

impl Object for Member {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        let Names { scope, files, .. } = &*self.names;
        let found = match &self.member {
            MemberKind::Inputs => scope.inputs.get(key).map(|output| value::from_output(output, files)),
            MemberKind::Environment => Some(Value::from(scope.env.get(key).map_or("", String::as_str))),
            MemberKind::Execution => self.of_execution(key),
            MemberKind::Step(id) => self.of_step(id, key),
            MemberKind::Own => scope
                .outputs
                .iter()
                .find_map(|outputs| outputs.get(key))
                .map(|output| value::from_output(output, files)),
            MemberKind::Outputs(id) => match self.step(id) {
                Some(step) => match step.outputs.get(key) {
                    Some(output) => Some(value::from_output(output, files)),
                    None if step.status != StepStatus::Completed => Some(Value::from(())),
                    None => None,
                },
                None => None,
            },
        };
        found.or_else(|| {
            Some(Reason::undefined(&format!("{}.{key}", self.path())).with_nearest(key, self.known()).invalid())
        })
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.known().into_iter().map(Value::from).collect())
    }
}

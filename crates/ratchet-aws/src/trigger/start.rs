//! An execution of a published workflow is started.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
};

use ratchet_core::{
    cached::CacheMode,
    execution::{DefinitionRef, RunOptions, Selection},
    history::Actor,
    ids::ExecutionId,
    workflow::Workflow,
};
use ratchet_definition::{
    inputs::{self, GivenInput},
    sources::compile_stored,
};
use ratchet_engine::{EngineError, StartRequest, Started};
use serde_json::Value;

use super::{Trigger, refusal::Refusal};
use crate::{published::Published, workspaces::DeployedPlace};

/// A published definition, compiled.
pub(super) struct Definition {
    pub(super) workflow: Arc<Workflow>,
    text: String,
    reference: DefinitionRef,
}

/// What an execution begins with, beside its definition.
pub(super) struct Beginning {
    /// Names it: the same again is the same execution.
    pub(super) key: String,
    pub(super) inputs: BTreeMap<String, GivenInput>,
    pub(super) environment: BTreeMap<String, String>,
    /// What expressions see as `trigger`.
    pub(super) trigger: Value,
    /// Who asked for it.
    pub(super) actor: Actor,
}

impl Trigger {
    /// The definition of a name and a version, or of no version the newest.
    pub(super) async fn find(&self, name: &str, version: Option<&str>) -> Result<Arc<Definition>, Refusal> {
        if let Some(published) = self.deployment.published.find(name, version).await? {
            self.definition(&published).await
        } else {
            let name = version.map_or_else(|| name.to_owned(), |version| format!("{name}@{version}"));
            Err(Refusal::NotPublished { name })
        }
    }

    /// A published definition. It is read and compiled once for each cold start.
    pub(super) async fn definition(&self, published: &Published) -> Result<Arc<Definition>, Refusal> {
        let digest = &published.digest;
        let known = self.definitions.lock().unwrap_or_else(PoisonError::into_inner).get(digest).cloned();
        if let Some(definition) = known {
            return Ok(definition);
        }
        let origin = format!("{}@{}", published.name, published.version);
        let broken = |reason: String| Refusal::Definition { name: origin.clone(), reason };
        let bytes = self.deployment.engine.ports().blobs.get(digest).await?;
        let text = String::from_utf8(bytes).map_err(|error| broken(error.to_string()))?;
        let workflow = Arc::new(compile_stored(&origin, &text).map_err(broken)?);
        self.deployment.engine.keep_workflow(digest.clone(), workflow.clone());
        let reference = DefinitionRef {
            name: published.name.clone(),
            version: published.version.clone(),
            digest: digest.clone(),
            origin,
        };
        let definition = Arc::new(Definition { workflow, text, reference });
        let mut known = self.definitions.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(digest.clone(), definition.clone());
        Ok(definition)
    }

    /// Starts an execution, or finds the one that was started under the same key.
    pub(super) async fn start(&self, definition: &Definition, beginning: Beginning) -> Result<Started, Refusal> {
        let Beginning { key, inputs, environment, trigger, actor } = beginning;
        let workflow = &definition.workflow;
        let inputs = inputs::resolve(workflow, inputs).map_err(Refusal::Inputs)?;
        let request = StartRequest {
            execution: ExecutionId::of_key(&workflow.name, &key),
            definition: definition.reference.clone(),
            source: definition.text.clone(),
            inputs,
            environment,
            trigger,
            options: RunOptions {
                selection: Selection::All,
                max_parallel: self.deployment.settings.max_parallel,
                cache: CacheMode::Use,
                agent: None,
                place: DeployedPlace::of_workflow(workflow).to_value(),
            },
            actor,
            trace: self.deployment.new_trace(),
            parent: None,
            tree: Some(self.deployment.workspaces.empty().await.map_err(EngineError::from)?),
        };
        if self.deployment.engine.source_of(&request)?.repository.is_some() {
            let reason = "this deployment checks out no repositories".to_owned();
            return Err(EngineError::Source { workflow: workflow.name.clone(), reason }.into());
        }
        let started = self.deployment.engine.start(request).await?;
        let (execution, created) = (&started.row.id, started.created);
        tracing::info!(%execution, workflow = workflow.name, created, "started");
        Ok(started)
    }
}

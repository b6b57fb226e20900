//! Where the files of a run come from, told before the run is there.

use std::{collections::BTreeMap, sync::Arc};

use ratchet_core::{
    workflow::{Template, Workflow},
    workspace::Source,
};
use ratchet_definition::{
    evaluate::{EvaluationError, Evaluator, ExecutionView, Scope},
    files::NoFiles,
};

use crate::{
    engine::{Engine, EngineError, StartRequest},
    masks::Masks,
};

/// The most bytes of a url or of the name of a ref.
const TEXT_MAX: usize = 4096;

/// Where the files of a run come from, and which are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunSource {
    /// The repository that the run has a checkout of; `None` for the directory that it is started for.
    pub repository: Option<RepositorySource>,
    /// Globs over paths from the root: what one names is no part of the run, with all that lies in it.
    pub exclude: Vec<String>,
}

/// A repository, and what of it is checked out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositorySource {
    /// Where it is.
    pub url: String,
    /// A branch, a tag, a commit, or the whole name of a ref; the repository's own choice where there is none.
    pub reference: Option<String>,
    /// The name of the secret that it is asked for with.
    pub credentials: Option<String>,
}

/// What a workflow says about the files of a run that is asked for.
pub(crate) fn source_of(
    engine: &Engine,
    workflow: &Workflow,
    request: &StartRequest,
) -> Result<RunSource, EngineError> {
    let exclude = workflow.workspace.exclude.clone();
    let Source::Git(git) = &workflow.workspace.source else { return Ok(RunSource { repository: None, exclude }) };
    let failed = |field: &str, reason: String| EngineError::Source {
        workflow: workflow.name.clone(),
        reason: format!("`{field}` {reason}"),
    };
    let now = engine.ports().clock.now();
    let run = ExecutionView {
        id: request.execution.clone(),
        workflow: workflow.name.clone(),
        version: workflow.version.clone(),
        started_at: now,
    };
    let mut scope = Scope {
        inputs: request.inputs.clone(),
        env: request.environment.clone(),
        trigger: request.trigger.clone(),
        ..Scope::of_run(run)
    };
    let variables = environment(&scope, workflow);
    scope.env = variables.map_err(|error| failed("url", format!("cannot be told: {error}")))?;
    let evaluator = Evaluator::new(scope, Arc::new(NoFiles));
    let masks = Masks::of(workflow, &request.inputs);
    let text = |field: &str, template: &Template| {
        let text = evaluator.text(template).map_err(|error| failed(field, format!("cannot be told: {error}")))?;
        let text = text.trim().to_owned();
        if text.len() > TEXT_MAX || text.chars().any(char::is_control) || text.starts_with('-') {
            return Err(failed(
                field,
                format!("is longer than {TEXT_MAX} bytes, more than a line, or begins with `-`"),
            ));
        }
        if masks.are_in(text.as_bytes()) {
            return Err(failed(field, "holds a sensitive input, and would show it".to_owned()));
        }
        Ok(text)
    };
    let url = text("url", &git.url)?;
    if url.is_empty() {
        return Err(failed("url", "is empty".to_owned()));
    }
    let reference = git.reference.as_ref().map(|reference| text("ref", reference)).transpose()?;
    let reference = reference.filter(|reference| !reference.is_empty());
    Ok(RunSource {
        repository: Some(RepositorySource { url, reference, credentials: git.credentials.clone() }),
        exclude,
    })
}

/// The workflow's variables under those of the caller.
fn environment(scope: &Scope, workflow: &Workflow) -> Result<BTreeMap<String, String>, EvaluationError> {
    let evaluator = Evaluator::new(scope.clone(), Arc::new(NoFiles));
    let mut values = BTreeMap::new();
    for (name, template) in workflow.environment.iter() {
        // What a file says is not known yet, and a url that reads it is told so.
        match evaluator.text(template) {
            Err(_) if template.uses.files => {}
            value => drop(values.insert(name.clone(), value?)),
        }
    }
    values.extend(scope.env.clone());
    Ok(values)
}

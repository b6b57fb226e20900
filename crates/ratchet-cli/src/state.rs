//! Where executions live, opened: the state directory, or a deployment.

use std::{path::PathBuf, sync::Arc};

#[cfg(feature = "aws")]
use ratchet_aws::remote::Remote;
use ratchet_core::{execution::ExecutionRow, ids::ExecutionId, status::ExecutionStatus, workflow::Workflow};
use ratchet_engine::{
    masks::Masks,
    ports::{BlobStore, StateStore, StepCache},
    values::load_large,
    view::{ExecutionRows, ExecutionView},
};
use ratchet_local::{
    blob_store::LocalBlobStore,
    directory::StateDirectory,
    lock::EngineLock,
    place::{Checkout, LocalPlace},
    state_store::{LocalStateStore, LocalStepCache},
    workspace::{Application, application},
};
use serde::Serialize;

use crate::{
    arguments::CommonArguments,
    command_error::CommandError,
    definition,
    nested::{self, Nested},
    state_directory,
};

/// What commands read and write.
pub(crate) struct State {
    /// The rows.
    pub(crate) store: Arc<dyn StateStore>,
    /// The content.
    pub(crate) blobs: Arc<dyn BlobStore>,
    home: Home,
}

/// Whose executions they are.
enum Home {
    /// Those of this machine.
    Here(Here),
    /// Those of a deployment.
    #[cfg(feature = "aws")]
    Stack(Box<Remote>),
}

/// What only the executions of this machine have.
pub(crate) struct Here {
    /// Where everything lies.
    pub(crate) directory: StateDirectory,
    /// The rows, with what only this store does.
    pub(crate) store: Arc<LocalStateStore>,
}

/// How an execution stands, and where its files are.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    /// The execution.
    #[serde(flatten)]
    pub(crate) view: ExecutionView,
    /// What became of its changes; none while it has not completed.
    pub(crate) application: Option<Application>,
    /// The directory that it is about; none of a deployment's.
    pub(crate) workspace: Option<PathBuf>,
    /// Whether it works in the directory itself.
    pub(crate) in_place: bool,
    /// The repository that it works on a checkout of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) checkout: Option<Checkout>,
    /// Whether it is not done and no process drives it: its process died.
    pub(crate) left_behind: bool,
    /// Of those that it waits for: which no process drives.
    #[serde(skip)]
    pub(crate) abandoned: Vec<ExecutionId>,
    /// The executions that its steps are: each is told by its own name, and by its step.
    #[serde(skip)]
    pub(crate) nested: Vec<Nested>,
    /// The stack that it runs on; none of this machine's.
    #[serde(skip)]
    pub(crate) stack: Option<String>,
}

impl State {
    /// Opens the state directory, and makes it where it is not there.
    pub(crate) fn open(common: &CommonArguments) -> Result<Self, CommandError> {
        let place = state_directory::locate(common.state_dir.as_deref())?;
        let directory = StateDirectory::open(&place)?;
        let store = Arc::new(LocalStateStore::open(&directory.database())?);
        Ok(Self::over(directory, store))
    }

    /// Opens the state directory where it is there. A command that only looks leaves none behind.
    pub(crate) fn open_existing(common: &CommonArguments) -> Result<Option<Self>, CommandError> {
        let place = state_directory::locate(common.state_dir.as_deref())?;
        if StateDirectory::new(place).database().exists() { Self::open(common).map(Some) } else { Ok(None) }
    }

    /// Opens the state directory of a command that is about an execution that must be there.
    pub(crate) fn open_for(common: &CommonArguments, execution: &str) -> Result<Self, CommandError> {
        Self::open_existing(common)?.ok_or_else(|| match execution {
            "last" => CommandError::NoExecutions,
            name => CommandError::UnknownExecution { name: name.to_owned() },
        })
    }

    /// What a command is about that works on this machine and on a deployment alike. Where nothing is there yet, none.
    pub(crate) async fn any(common: &CommonArguments) -> Result<Option<Self>, CommandError> {
        #[cfg(feature = "aws")]
        if let Some(stack) = common.stack() {
            return Self::of_stack(stack).await.map(Some);
        }
        Self::open_existing(common)
    }

    /// The same, of a command that is about an execution that must be there.
    pub(crate) async fn any_for(common: &CommonArguments, execution: &str) -> Result<Self, CommandError> {
        #[cfg(feature = "aws")]
        if let Some(stack) = common.stack() {
            return Self::of_stack(stack).await;
        }
        Self::open_for(common, execution)
    }

    /// A deployment.
    #[cfg(feature = "aws")]
    pub(crate) async fn of_stack(name: &str) -> Result<Self, CommandError> {
        let remote = Remote::of_stack(name).await?;
        let (store, blobs) = (Arc::clone(&remote.store), Arc::clone(&remote.blobs));
        Ok(Self { store, blobs, home: Home::Stack(Box::new(remote)) })
    }

    /// The state directory of an engine of this process.
    pub(crate) fn over(directory: StateDirectory, store: Arc<LocalStateStore>) -> Self {
        let blobs = Arc::new(LocalBlobStore::new(directory.blobs()));
        Self { store: Arc::clone(&store) as Arc<dyn StateStore>, blobs, home: Home::Here(Here { directory, store }) }
    }

    /// What only this machine has.
    pub(crate) fn here(&self) -> Result<&Here, CommandError> {
        match &self.home {
            Home::Here(here) => Ok(here),
            #[cfg(feature = "aws")]
            Home::Stack(remote) => Err(CommandError::OnlyHere { stack: remote.name.clone() }),
        }
    }

    /// The deployment; none on this machine.
    #[cfg(feature = "aws")]
    pub(crate) fn remote(&self) -> Option<&Remote> {
        match &self.home {
            Home::Here(_) => None,
            Home::Stack(remote) => Some(remote),
        }
    }

    /// Results that are kept, on this machine at most so many bytes of them.
    pub(crate) fn step_cache(&self, bytes_max: u64) -> Arc<dyn StepCache> {
        match &self.home {
            Home::Here(here) => Arc::new(LocalStepCache::new(Arc::clone(&here.store), bytes_max)),
            #[cfg(feature = "aws")]
            Home::Stack(remote) => Arc::clone(&remote.step_cache),
        }
    }

    /// The text of the definition that an execution follows.
    pub(crate) async fn text(&self, execution: &ExecutionRow) -> Result<String, CommandError> {
        let text = self.blobs.get(&execution.definition.digest).await?;
        String::from_utf8(text)
            .map_err(|error| CommandError::Definition { execution: execution.id.clone(), reason: error.to_string() })
    }

    /// The definition that an execution follows.
    pub(crate) async fn workflow(&self, execution: &ExecutionRow) -> Result<Workflow, CommandError> {
        definition::stored(execution, &self.text(execution).await?)
    }

    /// What must not be seen of an execution. Where its workflow is not known, it is not known which inputs are sensitive, and none is shown.
    pub(crate) async fn masks(
        &self,
        execution: &ExecutionRow,
        workflow: Option<&Workflow>,
    ) -> Result<Masks, CommandError> {
        let inputs = load_large(&*self.blobs, &execution.inputs).await?;
        Ok(workflow.map_or_else(|| Masks::of_outputs(inputs.values()), |workflow| Masks::of(workflow, &inputs)))
    }

    /// An execution as it is shown, with what became of its files.
    pub(crate) async fn outcome(&self, execution: &ExecutionRow, workflow: &Workflow) -> Result<Outcome, CommandError> {
        let rows = self.rows(execution, workflow).await?;
        self.outcome_of(&rows, workflow).await
    }

    /// An execution as it is shown, from its rows.
    pub(crate) async fn outcome_of(&self, rows: &ExecutionRows, workflow: &Workflow) -> Result<Outcome, CommandError> {
        let execution = &rows.execution;
        let view = ExecutionView::new(workflow, rows);
        let nested = nested::below(self, rows.nested(workflow)).await?;
        let here = match &self.home {
            Home::Here(here) => here,
            // What a deployment's run changed goes into no directory, and no process has to be there for it.
            #[cfg(feature = "aws")]
            Home::Stack(remote) => {
                return Ok(Outcome {
                    application: (execution.status == ExecutionStatus::Completed).then_some(Application::Nothing),
                    view,
                    workspace: None,
                    in_place: false,
                    checkout: None,
                    left_behind: false,
                    abandoned: Vec::new(),
                    nested,
                    stack: Some(remote.name.clone()),
                });
            }
        };
        let place = LocalPlace::of(execution)?;
        let application = here.application(execution, &place)?;
        let left_behind = match execution.status {
            ExecutionStatus::Completed if application.is_none() => {
                // Looked at in this order, what another process finishes meanwhile is not taken for left behind.
                let driven = EngineLock::is_held(&here.directory, &execution.id);
                !driven && here.application(execution, &place)?.is_none()
            }
            _ => self.is_left_behind(execution).await?,
        };
        let mut abandoned = Vec::new();
        for other in view.waits_for.iter().flat_map(|turn| &turn.running) {
            if let Some(row) = self.store.execution(&other.execution_id).await?
                && self.is_left_behind(&row).await?
            {
                abandoned.push(row.id);
            }
        }
        Ok(Outcome {
            view,
            application,
            workspace: Some(place.workspace),
            in_place: place.in_place,
            checkout: place.checkout,
            left_behind,
            abandoned,
            nested,
            stack: None,
        })
    }

    /// Whether an execution goes on by its row, and no process drives it.
    pub(crate) async fn is_left_behind(&self, execution: &ExecutionRow) -> Result<bool, CommandError> {
        let runs = |row: &ExecutionRow| row.status == ExecutionStatus::Running;
        let directory = match &self.home {
            Home::Here(here) => &here.directory,
            #[cfg(feature = "aws")]
            Home::Stack(_) => return Ok(false),
        };
        if !runs(execution) || EngineLock::is_held(directory, &execution.id) {
            return Ok(false);
        }
        // It may have ended between the two looks. Whoever drives it holds the lock from before its row says that it goes on until after.
        Ok(self.store.execution(&execution.id).await?.is_some_and(|row| runs(&row)))
    }

    /// All that is known of an execution.
    pub(crate) async fn rows(
        &self,
        execution: &ExecutionRow,
        workflow: &Workflow,
    ) -> Result<ExecutionRows, CommandError> {
        let rows = ExecutionRows::load(&*self.store, &*self.blobs, workflow, &execution.id).await?;
        rows.ok_or_else(|| CommandError::UnknownExecution { name: execution.id.to_string() })
    }
}

impl Here {
    fn application(&self, execution: &ExecutionRow, place: &LocalPlace) -> Result<Option<Application>, CommandError> {
        Ok(match execution.status {
            ExecutionStatus::Completed if !place.is_applied() || execution.id.is_nested() => Some(Application::Nothing),
            ExecutionStatus::Completed => application(&self.directory, &execution.id, execution.epoch)?,
            _ => None,
        })
    }
}

//! A person looks at the files of a step, in a view of their own.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use ratchet_core::{execution::ExecutionRow, ids::Digest, step::StepRow};
use ratchet_engine::{
    Seen,
    order::{AttemptOutcome, AttemptReport, Order},
    ports::{AttemptFiles, AttemptPlace, AttemptRunner, Silent, StopSignal},
};

use super::{CACHE_BYTES_MAX, DriveError, LocalConfig, LocalEngine, in_background};
use crate::{error::LocalError, scratch::Scratch, secrets::LocalSecrets, workspace::AttemptView};

/// The files of a step and what its process saw besides, for a program of a person's. What is changed in them reaches nobody and is gone with this.
pub struct Visit {
    seen: Seen,
    view: Option<AttemptView>,
    scratch: Scratch,
}

impl Visit {
    /// What the step's process saw besides its files.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// The files.
    pub fn files(&self) -> Option<AttemptFiles> {
        self.view.as_ref().map(AttemptView::files)
    }

    /// An empty folder of this visit's: `home` or `tmp`.
    pub fn folder(&self, name: &str) -> io::Result<PathBuf> {
        let folder = self.scratch.path().join(name);
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if let Some(view) = self.view.take() {
            view.give_up();
        }
    }
}

impl LocalEngine {
    /// An engine for whoever only looks at runs: it runs no attempt.
    pub fn to_look_at(state_dir: &Path) -> Result<Self, DriveError> {
        Self::open(LocalConfig {
            state_dir: state_dir.to_owned(),
            runner: Arc::new(Nobody),
            secrets: Arc::new(LocalSecrets::default()),
            observer: Arc::new(Silent),
            max_parallel: None,
            cache_bytes_max: CACHE_BYTES_MAX,
        })
    }

    /// Opens the files of a step of a run, as they were at a tree. The run may go on meanwhile, whoever drives it.
    pub async fn visit(&self, run: &ExecutionRow, step: &StepRow, tree: &Digest) -> Result<Visit, DriveError> {
        let seen = self.engine.seen_by(run, step, Some(tree)).await?;
        let scratch = Scratch::make(&self.state)
            .map_err(|error| LocalError::state_directory(&self.state.scratch(), "hold a view", error))?;
        let (files, id, tree, rooms) = (self.files.clone(), run.id.clone(), tree.clone(), scratch.path().join("views"));
        let view = in_background(move || files.open_apart(&id, &tree, rooms)).await?;
        Ok(Visit { seen, view: Some(view), scratch })
    }
}

/// Runs nothing.
struct Nobody;

#[async_trait]
impl AttemptRunner for Nobody {
    async fn run(&self, order: Order, _place: AttemptPlace, _stop: StopSignal) -> AttemptReport {
        let Order { key, attempt, token, .. } = order;
        AttemptReport { key, attempt, token, outcome: AttemptOutcome::Stopped }
    }
}

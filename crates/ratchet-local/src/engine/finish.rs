//! The end of a run: its changes go to the user's directory.

use std::collections::BTreeSet;

use ratchet_core::{
    execution::ExecutionRow,
    output::Output,
    step::{StepRow, StepState},
};
use ratchet_engine::{ports::StateStore, values::load};
use ratchet_workspace::TreePath;

use super::{DriveError, LocalEngine, in_background};
use crate::{
    place::LocalPlace,
    workspace::{self, Application, Changes},
};

/// Rows that are read at a time.
const PAGE: usize = 500;

impl LocalEngine {
    /// Applies what a completed run changed. Done already, it is only told; what was refused is tried once more where it is asked for `again`.
    pub(super) async fn apply(&self, row: &ExecutionRow, again: bool) -> Result<Application, DriveError> {
        if !LocalPlace::of(row)?.is_applied() {
            return Ok(Application::Nothing);
        }
        if let Some(done) = self.application(row)?.filter(|done| !(again && done.is_refused())) {
            return Ok(done);
        }
        let (files, id, epoch) = (self.files.clone(), row.id.clone(), row.epoch);
        let later = row.directory_later();
        let Some(left) = row.left.clone() else {
            let record = move || workspace::record_nothing(files.state(), &id, epoch, later.as_ref());
            return Ok(in_background(record).await?);
        };
        let changes = in_background(move || Changes::of(&files, &id, &left, later.as_ref())).await?;
        let declared = if changes.has_exempt() { self.declared_files(row).await? } else { BTreeSet::new() };
        let (files, id) = (self.files.clone(), row.id.clone());
        Ok(in_background(move || workspace::apply(&files, (&id, epoch, again), changes, declared)).await?)
    }

    /// The files that steps of the run gave as outputs: they are applied though git ignores them.
    async fn declared_files(&self, row: &ExecutionRow) -> Result<BTreeSet<TreePath>, DriveError> {
        let mut files = BTreeSet::new();
        let mut after = None;
        loop {
            let page = self.store.steps(&row.id, after.as_ref(), PAGE).await?;
            for step in &page.rows {
                self.add_files_of(step, &mut files).await?;
                if matches!(step.state, StepState::FannedOut { .. }) || step.status().is_settled() {
                    self.add_files_of_children(step, &mut files).await?;
                }
            }
            after = page.rows.last().map(|step| step.key.clone());
            if !page.more {
                return Ok(files);
            }
        }
    }

    async fn add_files_of_children(&self, step: &StepRow, files: &mut BTreeSet<TreePath>) -> Result<(), DriveError> {
        let mut from = 0;
        loop {
            let (id, epoch, name) = (&step.key.execution, step.key.epoch, &step.key.path.step);
            let children = self.store.children(id, epoch, name, from, PAGE).await?;
            for child in &children {
                self.add_files_of(child, files).await?;
            }
            match children.last().and_then(|child| child.key.path.child) {
                Some(last) if children.len() == PAGE => from = last + 1,
                _ => return Ok(()),
            }
        }
    }

    async fn add_files_of(&self, step: &StepRow, files: &mut BTreeSet<TreePath>) -> Result<(), DriveError> {
        let Some(result) = &step.result else { return Ok(()) };
        for output in result.outputs.values() {
            add_files(&load(self.engine.ports().blobs.as_ref(), output).await?, files);
        }
        Ok(())
    }
}

fn add_files(output: &Output, files: &mut BTreeSet<TreePath>) {
    match output {
        Output::File(file) => {
            files.extend(TreePath::new(&file.path));
        }
        Output::Each(each) => each.iter().flatten().for_each(|output| add_files(output, files)),
        Output::Json(_) | Output::Stored(_) => {}
    }
}

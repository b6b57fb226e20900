//! A run in the hands of this process: its lock, its events, and the certainty that nothing of an earlier engine is left of it.

use std::fs;

use ratchet_core::ids::ExecutionId;

use super::{LocalEngine, in_background};
use crate::{
    bus::Subscription,
    directory,
    error::LocalError,
    lock::{Acquired, EngineLock, Owner},
    processes::{ProcessTable, end_leftovers},
    supervise::{self, Supervision},
    workspace,
};

/// What holds a run.
pub(super) struct Hold {
    /// Given back when it is dropped.
    _lock: EngineLock,
    /// The run's events; with the driver while it drives.
    pub(super) events: Option<Subscription>,
}

impl LocalEngine {
    /// Takes a run into the hands of this process, where it is not there yet. Whether it was taken over from an engine that may have left something undone.
    pub(super) async fn hold(&self, id: &ExecutionId) -> Result<bool, LocalError> {
        if self.holds().contains_key(id) {
            return Ok(false);
        }
        let lock = match EngineLock::acquire_free(&self.state, id, &supervise::owner())? {
            Some(lock) => {
                let (state, held) = (self.state.clone(), id.clone());
                if state.views(id).exists() {
                    in_background(move || make_sure(&state, &held)).await?;
                } else {
                    make_sure(&state, id)?;
                }
                lock
            }
            None => self.take_over(id).await?,
        };
        let events = self.bus.subscribe(id);
        self.launcher.adopt(id);
        self.holds().insert(id.clone(), Hold { _lock: lock, events: Some(events) });
        Ok(true)
    }

    /// Takes a run that somebody holds, or held and did not give back: that is waited for, and what is left of it is ended.
    async fn take_over(&self, id: &ExecutionId) -> Result<EngineLock, LocalError> {
        let (state, held) = (self.state.clone(), id.clone());
        in_background(move || {
            let Acquired { lock, dead } = EngineLock::acquire(&state, &held, &supervise::table(), &supervise::owner())?;
            if let Some(dead) = dead {
                end_what_is_left(&state, &held, &dead)?;
            }
            make_sure(&state, &held)?;
            Ok(lock)
        })
        .await
    }

    /// Gives a run back.
    pub(super) fn release(&self, id: &ExecutionId) {
        self.launcher.release(id);
        self.files.release(id);
        self.watch.forget(id);
        if self.holds().remove(id).is_some() && supervise::current() != Supervision::Namespace {
            // A mark that stays only costs the next command a search for processes.
            let _ = fs::remove_file(self.state.unsupervised().join(id.as_str()));
        }
    }

    /// Locks a run for a moment, to put something right.
    pub(super) fn lock(&self, id: &ExecutionId) -> Result<Acquired, LocalError> {
        EngineLock::acquire(&self.state, id, &supervise::table(), &supervise::owner())
    }
}

/// That the files of a run that is held are whole, that nothing is left of its views, and that it is noted where its processes could outlive its engine.
fn make_sure(state: &directory::StateDirectory, id: &ExecutionId) -> Result<(), LocalError> {
    workspace::Source::load(state, id)?;
    workspace::remove_rooms(state, id);
    mark(state, id)
}

/// What ended with its namespace needs no search; the rest is found by its marks.
fn end_what_is_left(state: &directory::StateDirectory, id: &ExecutionId, dead: &Owner) -> Result<(), LocalError> {
    match (dead.supervision, supervise::current()) {
        (Supervision::Namespace, _) => Ok(()),
        // From inside a namespace the machine's processes cannot be seen. The guard looked before it made this one, unless that owner lived then.
        (_, Supervision::Namespace) if state.unsupervised().join(id.as_str()).exists() => {
            Err(LocalError::Leftovers { execution: id.clone(), pids: Vec::new() })
        }
        (_, Supervision::Namespace) => Ok(()),
        (_, Supervision::Reaper | Supervision::None) => end_leftovers(&ProcessTable::default(), state, id).map(|_| ()),
    }
}

/// Notes that processes of the run could outlive its engine.
fn mark(state: &directory::StateDirectory, id: &ExecutionId) -> Result<(), LocalError> {
    if supervise::current() == Supervision::Namespace {
        return Ok(());
    }
    let mark = state.unsupervised().join(id.as_str());
    directory::create(&state.unsupervised())
        .and_then(|()| fs::write(&mark, ""))
        .map_err(|source| LocalError::state_directory(&mark, "be written", source))
}

//! Word from other processes: that they changed something in a run that this process drives.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use ratchet_core::ids::ExecutionId;
use tokio::{
    sync::watch::{Receiver, Sender},
    task::AbortHandle,
    time::{MissedTickBehavior, interval},
};

use crate::directory::StateDirectory;

/// How often it is looked whether another process left word.
pub(super) const BEAT: Duration = Duration::from_millis(50);

/// Listens for word to any run of a state directory while somebody drives one: one look for all of them, however many they are.
pub(super) struct Word {
    state: StateDirectory,
    left: Sender<()>,
    listening: Mutex<Option<AbortHandle>>,
}

impl Word {
    pub(super) fn new(state: StateDirectory) -> Arc<Self> {
        Arc::new(Self { state, left: Sender::new(()), listening: Mutex::default() })
    }

    /// Leaves word for the process that drives a run, which looks for this more often than at the rows.
    pub(super) fn leave(&self, id: &ExecutionId) {
        let touched = touch(&self.of(id)).and_then(|()| touch(&self.of_any()));
        if let Err(error) = touched {
            tracing::debug!(%error, "the process that drives the run finds out a little later");
        }
    }

    /// Is told when word was left to some run: to which one, [`left_to`](Self::left_to) says.
    pub(super) fn listen(self: &Arc<Self>) -> Receiver<()> {
        let told = self.left.subscribe();
        let mut listening = self.listening();
        if listening.as_ref().is_none_or(AbortHandle::is_finished) {
            let seen = modified(&self.of_any());
            *listening = Some(tokio::spawn(self.clone().look(seen)).abort_handle());
        }
        told
    }

    /// When word was left to a run last, as the file system says it.
    pub(super) fn left_to(&self, id: &ExecutionId) -> Option<SystemTime> {
        modified(&self.of(id))
    }

    /// Looks until nobody listens any more.
    async fn look(self: Arc<Self>, mut seen: Option<SystemTime>) {
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let any = self.of_any();
        loop {
            beat.tick().await;
            let now = modified(&any);
            if std::mem::replace(&mut seen, now) != now {
                self.left.send_replace(());
            }
            let mut listening = self.listening();
            if self.left.receiver_count() == 0 {
                *listening = None;
                return;
            }
        }
    }

    fn of(&self, id: &ExecutionId) -> PathBuf {
        self.state.execution(&id.root()).join("changed")
    }

    fn of_any(&self) -> PathBuf {
        self.state.root().join("changed")
    }

    fn listening(&self) -> MutexGuard<'_, Option<AbortHandle>> {
        self.listening.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn touch(path: &Path) -> io::Result<()> {
    File::create(path)?.set_modified(SystemTime::now())
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn whoever_listens_is_told_and_nobody_looks_when_nobody_listens() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(folder.path()).unwrap();
        let (ours, theirs) = (Word::new(state.clone()), Word::new(state.clone()));
        let ids = ["one", "two"].map(ExecutionId::new);
        for id in &ids {
            fs::create_dir(state.execution(id)).unwrap();
        }
        for round in 0..3 {
            let mut told = [ours.listen(), ours.listen()];
            let before = ids.each_ref().map(|id| ours.left_to(id));
            theirs.leave(&ids[1]);
            for told in &mut told {
                timeout(BEAT * 200, told.changed()).await.expect("all are told").unwrap();
            }
            let after = ids.each_ref().map(|id| ours.left_to(id));
            assert_eq!([after[0] == before[0], after[1] == before[1]], [true, false], "round {round}");
            drop(told);
            while ours.listening().is_some() {
                tokio::task::yield_now().await;
            }
        }
    }
}

//! Which process drives a run.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::Path,
    time::{Duration, Instant},
};

use ratchet_core::ids::ExecutionId;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::{
    directory::{self, StateDirectory},
    error::LocalError,
    processes::{ProcessName, ProcessTable},
    supervise::Supervision,
};

/// How long a lock may take to come free once its owner is gone: its namespace is being torn down.
const HANDOVER_PATIENCE: Duration = Duration::from_secs(10);

/// How often it is looked whether that came.
const HANDOVER_BEAT: Duration = Duration::from_millis(2);

/// What stands in the lock file of a run that is driven, and of one whose engine died.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The process that a person sees.
    pub guard: ProcessName,
    /// The process above the engine: when it is gone, so is everything that the engine started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reaper: Option<ProcessName>,
    /// What ends its steps' processes when it dies.
    pub supervision: Supervision,
}

impl Owner {
    /// Whether the process that a person sees is there.
    fn is_alive(&self, table: &ProcessTable) -> bool {
        table.is_alive(self.guard)
    }

    /// Waits until all that ends with this owner has ended. A lock is free a moment before that.
    fn wait_for_end(&self, table: &ProcessTable) {
        let begin = Instant::now();
        let is_there = |name| table.is_alive(name);
        while (is_there(self.guard) || self.reaper.is_some_and(is_there)) && begin.elapsed() < HANDOVER_PATIENCE {
            std::thread::sleep(HANDOVER_BEAT);
        }
    }
}

/// The right to drive a run. Held by at most one process of the machine; the kernel takes it back when that dies.
#[derive(Debug)]
pub struct EngineLock {
    file: File,
}

/// A lock that was taken, and who held it before and died.
#[derive(Debug)]
pub struct Acquired {
    /// The lock.
    pub lock: EngineLock,
    /// The owner that did not give it back.
    pub dead: Option<Owner>,
}

impl EngineLock {
    /// Takes the lock of a run that nobody holds and that whoever held it before has given back. `None` where it is not so. Waits for nobody.
    pub(crate) fn acquire_free(
        state: &StateDirectory,
        id: &ExecutionId,
        me: &Owner,
    ) -> Result<Option<Self>, LocalError> {
        let path = state.lock(id);
        let refused = |source| LocalError::state_directory(&path, "hold the lock of a run", source);
        directory::create(&state.execution(id)).map_err(refused)?;
        let file = open(&path).map_err(refused)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() || !is_the_file_at(&file, &path) {
            return Ok(None);
        }
        if file.metadata().map_err(refused)?.len() > 0 {
            // It is let go as it was found, its last owner's name in it.
            return Ok(None);
        }
        file.write_all_at(&serde_json::to_vec(me).map_err(|error| refused(error.into()))?, 0).map_err(refused)?;
        Ok(Some(Self { file }))
    }

    /// Takes the lock of a run for this process, or says who holds it. Waits a moment where the holder is dying.
    pub fn acquire(
        state: &StateDirectory,
        id: &ExecutionId,
        table: &ProcessTable,
        me: &Owner,
    ) -> Result<Acquired, LocalError> {
        let path = state.lock(id);
        let refused = |source| LocalError::state_directory(&path, "hold the lock of a run", source);
        directory::create(&state.execution(id)).map_err(refused)?;
        let begin = Instant::now();
        loop {
            let mut file = open(&path).map_err(refused)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if is_the_file_at(&file, &path) => {
                    let dead = read_owner(&mut file).map_err(refused)?;
                    // Several runs of one process share an owner, and one of them may have ended without giving its lock back.
                    if let Some(dead) = dead.as_ref().filter(|dead| dead.guard != me.guard) {
                        dead.wait_for_end(table);
                    }
                    write_owner(&file, Some(me)).map_err(refused)?;
                    return Ok(Acquired { lock: Self { file }, dead });
                }
                // The run was removed between opening and locking.
                Ok(()) => directory::create(&state.execution(id)).map_err(refused)?,
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    let owner = read_owner(&mut file).map_err(refused)?;
                    let alive = owner.as_ref().is_some_and(|owner| owner.is_alive(table));
                    if alive || begin.elapsed() > HANDOVER_PATIENCE {
                        return Err(LocalError::Driven {
                            execution: id.clone(),
                            owner: owner.map(|owner| owner.guard.pid),
                        });
                    }
                    std::thread::sleep(HANDOVER_BEAT);
                }
                Err(error) => return Err(refused(error.into())),
            }
        }
    }

    /// Whether a process drives the run now.
    pub fn is_held(state: &StateDirectory, id: &ExecutionId) -> bool {
        let Ok(file) = File::open(state.lock(id)) else { return false };
        matches!(flock(&file, FlockOperation::NonBlockingLockShared), Err(rustix::io::Errno::WOULDBLOCK))
    }
}

impl Drop for EngineLock {
    fn drop(&mut self) {
        // An owner's name that stays behind only costs the next one a search for processes.
        let _ = write_owner(&self.file, None);
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Whether an open file is what stands at a path now.
pub(crate) fn is_the_file_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), path.symlink_metadata()) {
        (Ok(held), Ok(there)) => (held.dev(), held.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

fn read_owner(file: &mut File) -> io::Result<Option<Owner>> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_string(&mut text)?;
    Ok(serde_json::from_str(&text).ok())
}

fn write_owner(file: &File, owner: Option<&Owner>) -> io::Result<()> {
    file.set_len(0)?;
    match owner {
        Some(owner) => file.write_all_at(&serde_json::to_vec(owner)?, 0),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An owner whose process is gone, though another has its number now.
    fn dead(owner: &Owner) -> Owner {
        Owner { guard: ProcessName { started: owner.guard.started + 1, ..owner.guard }, ..owner.clone() }
    }

    #[test]
    fn one_process_drives_a_run_and_a_dead_owner_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(folder.path()).unwrap();
        let table = ProcessTable::default();
        let id = ExecutionId::new("run");
        let me = Supervision::None.owner(&table);

        assert!(!EngineLock::is_held(&state, &id));
        let first = EngineLock::acquire(&state, &id, &table, &me).unwrap();
        assert!(first.dead.is_none() && EngineLock::is_held(&state, &id));
        assert!(EngineLock::acquire_free(&state, &id, &me).unwrap().is_none(), "it is held");
        let refused = EngineLock::acquire(&state, &id, &table, &me).unwrap_err();
        assert_eq!(refused.to_string(), format!("the run run is driven by another process ({})", me.guard.pid));
        drop(first);
        assert!(!EngineLock::is_held(&state, &id));

        // What a process that was killed leaves: its name, and no lock.
        let dead = dead(&me);
        std::fs::write(state.lock(&id), serde_json::to_vec(&dead).unwrap()).unwrap();
        assert!(EngineLock::acquire_free(&state, &id, &me).unwrap().is_none(), "it was not given back");
        let next = EngineLock::acquire(&state, &id, &table, &me).unwrap();
        assert_eq!(next.dead, Some(dead));
        drop(next);
        let free = EngineLock::acquire_free(&state, &id, &me).unwrap().expect("it was given back");
        assert_eq!(read_owner(&mut open(&state.lock(&id)).unwrap()).unwrap(), Some(me));
        drop(free);
        assert!(!EngineLock::is_held(&state, &id));
    }

    #[test]
    fn a_lock_that_a_dying_owner_still_holds_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(folder.path()).unwrap();
        let table = ProcessTable::default();
        let id = ExecutionId::new("run");
        let me = Supervision::None.owner(&table);
        let dying = dead(&me);
        let held = EngineLock::acquire(&state, &id, &table, &dying).unwrap();
        let waiter = std::thread::spawn({
            let (state, id, table) = (state.clone(), id.clone(), table.clone());
            move || EngineLock::acquire(&state, &id, &table, &me).map(|_| ())
        });
        drop(held);
        waiter.join().unwrap().unwrap();
    }
}

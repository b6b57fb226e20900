use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
};

use ratchet_engine::ports::StoreError;
use rusqlite::{Connection, ErrorCode};
use tokio::sync::oneshot;

use super::{
    apply::apply,
    connection::Patience,
    error,
    kept::{Kept, Mark},
    row::{RowWrite, Written},
};

/// The most commits that share a transaction, so that the first of them does not wait for ever.
const BATCH_MAX: usize = 512;

/// All that writes goes through here.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    queue: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

/// How much a store has written since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriterCounts {
    /// Commits that were answered.
    pub commits: u64,
    /// Transactions that they shared: each is one sync to disk.
    pub transactions: u64,
}

/// What the thread and those who commit have in common.
#[derive(Debug)]
struct Shared {
    path: PathBuf,
    /// Beside the connection, without which it must not be asked.
    kept: Kept,
    connection: Mutex<Connection>,
    patience: Patience,
    /// Jobs that were sent to the thread and that it has not begun.
    waiting: AtomicUsize,
    commits: AtomicU64,
    transactions: AtomicU64,
}

enum Job {
    Commit(Commit),
    /// Work that needs the connection to itself.
    Alone(Box<dyn FnOnce(&mut Connection) + Send>),
}

struct Commit {
    writes: Vec<RowWrite>,
    answer: oneshot::Sender<Result<Written, StoreError>>,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(connection: Connection, patience: Patience, path: &Path) -> Result<Self, StoreError> {
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            kept: Kept::new(&connection),
            connection: Mutex::new(connection),
            patience,
            waiting: AtomicUsize::new(0),
            commits: AtomicU64::new(0),
            transactions: AtomicU64::new(0),
        });
        let (queue, jobs) = channel();
        let of_thread = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("state-writer".to_owned())
            .spawn(move || of_thread.write_until_closed(&jobs))
            .map_err(|error| StoreError::Unavailable(format!("no thread can be started: {error}")))?;
        Ok(Self { shared, queue: Some(queue), thread: Some(thread) })
    }

    /// Commits the writes, and returns when they are on the disk.
    pub(super) async fn commit(&self, writes: Vec<RowWrite>) -> Result<Written, StoreError> {
        if let Some(result) = self.shared.write_at_once(&writes) {
            return result;
        }
        let (answer, answered) = oneshot::channel();
        self.send(Job::Commit(Commit { writes, answer }))?;
        answered.await.map_err(|_| self.shared.stopped())?
    }

    /// Does some work on the writing connection, after what waits for it already.
    pub(super) async fn alone<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job = move |connection: &mut Connection| {
            // Nobody waits any more where the answer cannot be given.
            let _ = answer.send(work(connection));
        };
        self.send(Job::Alone(Box::new(job)))?;
        let result = answered.await.map_err(|_| self.shared.stopped())?;
        result.map_err(|error| error::of_database(action, &error, &self.shared.path))
    }

    /// Rows as they were written or read last.
    pub(super) fn kept(&self) -> &Kept {
        &self.shared.kept
    }

    pub(super) fn counts(&self) -> WriterCounts {
        WriterCounts {
            commits: self.shared.commits.load(Ordering::Relaxed),
            transactions: self.shared.transactions.load(Ordering::Relaxed),
        }
    }

    fn send(&self, job: Job) -> Result<(), StoreError> {
        let queue = self.queue.as_ref().ok_or_else(|| self.shared.stopped())?;
        self.shared.waiting.fetch_add(1, Ordering::Relaxed);
        queue.send(job).map_err(|_| self.shared.stopped())
    }
}

impl Drop for Writer {
    /// Lets the thread finish what waits, and closes the file, so that all of it is in the one file when the last process leaves.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has nothing left to close.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Writes one commit on the caller's thread, where nothing else is being written: two switches of threads would take half as long as the sync
    /// itself. `None`, and nothing written, where it would have to wait.
    fn write_at_once(&self, writes: &[RowWrite]) -> Option<Result<Written, StoreError>> {
        if self.waiting.load(Ordering::Relaxed) > 0 {
            return None;
        }
        let connection = match self.connection.try_lock() {
            Ok(connection) => connection,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        self.patience.set(false);
        match self.begin(&connection).and_then(|mark| self.finish(&connection, mark, &[writes])) {
            Ok(mut written) => {
                self.commits.fetch_add(1, Ordering::Relaxed);
                Some(Ok(written.pop().unwrap_or_default()))
            }
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => None,
            Err(error) => Some(Err(self.failure(&error))),
        }
    }

    fn write_until_closed(&self, jobs: &Receiver<Job>) {
        let mut next = None;
        while let Some(job) = next.take().or_else(|| self.receive(jobs.recv().ok())) {
            let mut connection = self.lock();
            match job {
                Job::Commit(commit) => next = self.write_batch(&connection, commit, jobs),
                Job::Alone(work) => work(&mut connection),
            }
        }
    }

    fn receive(&self, job: Option<Job>) -> Option<Job> {
        if job.is_some() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        job
    }

    /// The connection, for somebody who can wait for it and for other processes.
    fn lock(&self) -> MutexGuard<'_, Connection> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        self.patience.set(true);
        connection
    }

    /// Writes a commit and all that wait behind it in one transaction, and answers them. Returns the job that ended the queue, where one did.
    fn write_batch(&self, connection: &Connection, first: Commit, jobs: &Receiver<Job>) -> Option<Job> {
        let begun = self.begin(connection);
        // What came while other processes had their turn comes along.
        let (mut batch, mut after) = (vec![first], None);
        while batch.len() < BATCH_MAX && after.is_none() {
            match self.receive(jobs.try_recv().ok()) {
                Some(Job::Commit(commit)) => batch.push(commit),
                alone @ Some(Job::Alone(_)) => after = alone,
                None => break,
            }
        }
        let writes: Vec<&[RowWrite]> = batch.iter().map(|commit| &*commit.writes).collect();
        let results: Vec<_> = match begun {
            Err(error) => writes.iter().map(|_| Err(self.failure(&error))).collect(),
            Ok(mark) => match self.finish(connection, mark, &writes) {
                Ok(written) => written.into_iter().map(Ok).collect(),
                Err(error) if batch.len() == 1 => vec![Err(self.failure(&error))],
                // What one commit cannot do is not the others' fault: each tries for itself.
                Err(_) => writes.iter().map(|writes| self.write_alone(connection, writes)).collect(),
            },
        };
        for (commit, result) in batch.into_iter().zip(results) {
            self.commits.fetch_add(1, Ordering::Relaxed);
            // Whoever asked may be gone; what was committed stays committed.
            let _ = commit.answer.send(result);
        }
        after
    }

    fn write_alone(&self, connection: &Connection, writes: &[RowWrite]) -> Result<Written, StoreError> {
        let written = self.begin(connection).and_then(|mark| self.finish(connection, mark, &[writes]));
        written.map(|mut written| written.pop().unwrap_or_default()).map_err(|error| self.failure(&error))
    }

    /// Begins with the write lock in hand, so that nothing that is read in between can change.
    fn begin(&self, connection: &Connection) -> rusqlite::Result<Mark> {
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        Ok(self.kept.mark())
    }

    /// Applies commits in the transaction that has begun, and ends it: all of them are on the disk then, or none.
    fn finish(&self, connection: &Connection, mark: Mark, commits: &[&[RowWrite]]) -> rusqlite::Result<Vec<Written>> {
        let written = commits.iter().map(|writes| apply(connection, writes)).collect::<rusqlite::Result<Vec<_>>>();
        let written = written.and_then(|written| connection.prepare_cached("COMMIT")?.execute([]).map(|_| written));
        if let Ok(written) = &written {
            self.transactions.fetch_add(1, Ordering::Relaxed);
            let applied = commits.iter().zip(written).flat_map(|(writes, written)| &writes[..written.applied.len()]);
            self.kept.committed(mark, applied.filter_map(RowWrite::kept));
        } else if !connection.is_autocommit() {
            // Some errors have ended the transaction already. One that cannot be rolled back ends with its connection.
            let _ = connection.execute_batch("ROLLBACK");
        }
        written
    }

    fn failure(&self, error: &rusqlite::Error) -> StoreError {
        error::of_database("write to", error, &self.path)
    }

    fn stopped(&self) -> StoreError {
        StoreError::Unavailable(format!("the writer of {} has stopped", self.path.display()))
    }
}

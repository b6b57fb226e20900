use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
};

use ratchet_engine::ports::StoreError;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{
    apply::apply,
    error::StoreFailure,
    row::{RowWrite, Written},
};

/// The most commits that share a transaction, so that the first of them does not wait for ever.
const BATCH_MAX: usize = 512;

/// The thread that writes.
#[derive(Debug)]
pub(super) struct Writer {
    path: PathBuf,
    queue: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    counts: Arc<Counts>,
}

/// How much a store has written since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriterCounts {
    /// Commits that were answered.
    pub commits: u64,
    /// Transactions that they shared: each is one sync to disk.
    pub transactions: u64,
}

#[derive(Debug, Default)]
struct Counts {
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
    /// Starts the thread on a connection that is its own.
    pub(super) fn start(connection: Connection, path: &Path) -> Result<Self, StoreError> {
        let (queue, jobs) = channel();
        let counts = Arc::new(Counts::default());
        let (thread_counts, thread_path) = (Arc::clone(&counts), path.to_owned());
        let thread = thread::Builder::new()
            .name("state-writer".to_owned())
            .spawn(move || write_until_closed(connection, &jobs, &thread_path, &thread_counts))
            .map_err(|error| StoreError::Unavailable(format!("no thread can be started: {error}")))?;
        Ok(Self { path: path.to_owned(), queue: Some(queue), thread: Some(thread), counts })
    }

    /// Commits the writes together with what else waits, and returns when they are on the disk.
    pub(super) async fn commit(&self, writes: Vec<RowWrite>) -> Result<Written, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.send(Job::Commit(Commit { writes, answer }))?;
        answered.await.map_err(|_| self.stopped())?
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
        let result = answered.await.map_err(|_| self.stopped())?;
        result.map_err(|error| StoreFailure::new(action, error).at(&self.path))
    }

    pub(super) fn counts(&self) -> WriterCounts {
        WriterCounts {
            commits: self.counts.commits.load(Ordering::Relaxed),
            transactions: self.counts.transactions.load(Ordering::Relaxed),
        }
    }

    fn send(&self, job: Job) -> Result<(), StoreError> {
        let queue = self.queue.as_ref().ok_or_else(|| self.stopped())?;
        queue.send(job).map_err(|_| self.stopped())
    }

    fn stopped(&self) -> StoreError {
        StoreError::Unavailable(format!("the writer of {} has stopped", self.path.display()))
    }
}

impl Drop for Writer {
    /// Lets the thread finish what waits and close the file, so that all of it is in the one file when the last process leaves.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has nothing left to close.
            let _ = thread.join();
        }
    }
}

fn write_until_closed(mut connection: Connection, jobs: &Receiver<Job>, path: &Path, counts: &Counts) {
    let mut batch = Vec::new();
    while let Ok(job) = jobs.recv() {
        let mut next = Some(job);
        while let Some(job) = next.take() {
            match job {
                Job::Commit(commit) => {
                    batch.push(commit);
                    if batch.len() < BATCH_MAX {
                        next = jobs.try_recv().ok();
                    }
                }
                Job::Alone(work) => {
                    write_batch(&connection, &mut batch, path, counts);
                    work(&mut connection);
                }
            }
        }
        write_batch(&connection, &mut batch, path, counts);
    }
}

/// Writes what waits in one transaction, and answers it.
fn write_batch(connection: &Connection, batch: &mut Vec<Commit>, path: &Path, counts: &Counts) {
    match write_together(connection, batch, counts) {
        Ok(written) => {
            for (commit, written) in batch.drain(..).zip(written) {
                commit.answer(Ok(written), counts);
            }
        }
        // What one commit cannot do is not the others' fault: each tries for itself.
        Err(_) if batch.len() > 1 => {
            for commit in batch.drain(..) {
                let result = write_together(connection, std::slice::from_ref(&commit), counts);
                let result = result.map(|mut written| written.pop().unwrap_or_default());
                commit.answer(result.map_err(|error| StoreFailure::new("write to", error).at(path)), counts);
            }
        }
        Err(error) => {
            if let Some(commit) = batch.pop() {
                commit.answer(Err(StoreFailure::new("write to", error).at(path)), counts);
            }
        }
    }
}

impl Commit {
    fn answer(self, result: Result<Written, StoreError>, counts: &Counts) {
        counts.commits.fetch_add(1, Ordering::Relaxed);
        // Whoever asked may be gone; what was committed stays committed.
        let _ = self.answer.send(result);
    }
}

fn write_together(connection: &Connection, batch: &[Commit], counts: &Counts) -> rusqlite::Result<Vec<Written>> {
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    let written = batch.iter().map(|commit| apply(connection, &commit.writes)).collect::<rusqlite::Result<Vec<_>>>();
    let written = written.and_then(|written| connection.prepare_cached("COMMIT")?.execute([]).map(|_| written));
    if written.is_ok() {
        counts.transactions.fetch_add(1, Ordering::Relaxed);
    } else if !connection.is_autocommit() {
        // Some errors have ended the transaction already. One that cannot be rolled back ends with its connection.
        let _ = connection.execute_batch("ROLLBACK");
    }
    written
}

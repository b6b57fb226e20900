//! The physical limit: the same processes, each step durable in `SQLite` before anything follows from it, and nothing else. No definition, no
//! decisions, no output, no history. What an engine adds to this is what it costs.

use std::{
    process,
    process::{Command, Stdio},
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

use rusqlite::Connection;

use crate::{Outcome, PARALLEL};

/// Runs `chains` rows of `steps` processes each, and one more at the end where they are joined.
pub(crate) fn run(database: &str, chains: &str, steps: &str, joined: bool) -> Outcome<()> {
    let (chains, steps): (u32, u32) = (chains.parse()?, steps.parse()?);
    let connection = open(database)?;
    let (queue, waiting) = channel();
    let writer = thread::spawn(move || write_all(connection, &waiting));
    let next = AtomicU32::new(0);
    let outcome = thread::scope(|scope| {
        let workers: Vec<_> =
            (0..PARALLEL.min(chains)).map(|_| scope.spawn(|| work(&next, chains, steps, &queue))).collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| Err("a worker panicked".into())))
    });
    outcome?;
    if joined {
        commit(&queue, vec![row("join", "claimed")])?;
        commit(&queue, vec![row("join", start()?)])?;
    }
    drop(queue);
    writer.join().map_err(|_| "the writer panicked")?.map_err(Into::into)
}

fn open(database: &str) -> rusqlite::Result<Connection> {
    let connection = Connection::open(database)?;
    connection.busy_timeout(Duration::from_mins(1))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection
        .execute("CREATE TABLE IF NOT EXISTS steps (key TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID", ())?;
    Ok(connection)
}

/// Takes one row of steps after the other until none is left. A step is claimed in a commit before its process starts, as anything must that starts none
/// twice; the claim of the next one goes into the commit that records the end of the one before, which is as few commits as there can be.
fn work(next: &AtomicU32, chains: u32, steps: u32, queue: &Sender<Commit>) -> Result<(), String> {
    let mut places = std::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)))
        .take_while(|chain| *chain < chains)
        .flat_map(|chain| (0..steps).map(move |number| format!("{chain}-{number}")));
    let Some(mut step) = places.next() else { return Ok(()) };
    commit(queue, vec![row(&step, "claimed")])?;
    loop {
        let result = row(&step, start()?);
        let Some(following) = places.next() else { return commit(queue, vec![result]) };
        commit(queue, vec![result, row(&following, "claimed")])?;
        step = following;
    }
}

/// Runs the process of a step to its end.
fn start() -> Result<&'static str, String> {
    let quiet = || Stdio::null();
    let status = Command::new("true").stdin(quiet()).stdout(quiet()).stderr(quiet()).status();
    Ok(if status.map_err(|error| error.to_string())?.success() { "completed" } else { "failed" })
}

/// A step's row: its key and what is known of it.
type Row = (String, &'static str);

fn row(step: &str, body: &'static str) -> Row {
    (format!("{}-{step}", process::id()), body)
}

/// Rows to write, and who waits until they are durable.
struct Commit {
    rows: Vec<Row>,
    done: Sender<()>,
}

fn commit(queue: &Sender<Commit>, rows: Vec<Row>) -> Result<(), String> {
    let (done, durable) = channel();
    queue.send(Commit { rows, done }).map_err(|_| "the writer is gone")?;
    durable.recv().map_err(|_| "the writer failed".to_owned())
}

/// The one writer: whatever waits goes into one commit.
fn write_all(mut connection: Connection, waiting: &Receiver<Commit>) -> rusqlite::Result<()> {
    while let Ok(first) = waiting.recv() {
        let batch: Vec<Commit> = std::iter::once(first).chain(waiting.try_iter()).collect();
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        {
            let mut statement =
                transaction.prepare_cached("INSERT OR REPLACE INTO steps (key, body) VALUES (?1, ?2)")?;
            for row in batch.iter().flat_map(|commit| &commit.rows) {
                statement.execute((&row.0, row.1))?;
            }
        }
        transaction.commit()?;
        for commit in batch {
            let _ = commit.done.send(());
        }
    }
    Ok(())
}

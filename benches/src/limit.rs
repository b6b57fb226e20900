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
        step("join", &queue)?;
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

/// Takes one row of steps after the other until none is left.
fn work(next: &AtomicU32, chains: u32, steps: u32, queue: &Sender<Write>) -> Result<(), String> {
    loop {
        let chain = next.fetch_add(1, Ordering::Relaxed);
        if chain >= chains {
            return Ok(());
        }
        for number in 0..steps {
            step(&format!("{chain}-{number}"), queue)?;
        }
    }
}

/// Claims a step, runs its process, and records its end: a commit before and a commit after, as anything must that starts no process twice and
/// forgets no result.
fn step(name: &str, queue: &Sender<Write>) -> Result<(), String> {
    let key = format!("{}-{name}", process::id());
    commit(&key, "claimed", queue)?;
    let status = Command::new("true")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map_err(|error| error.to_string())?;
    commit(&key, if status.success() { "completed" } else { "failed" }, queue)
}

/// A row to write, and who waits until it is durable.
struct Write {
    key: String,
    body: &'static str,
    done: Sender<()>,
}

fn commit(key: &str, body: &'static str, queue: &Sender<Write>) -> Result<(), String> {
    let (done, durable) = channel();
    queue.send(Write { key: key.to_owned(), body, done }).map_err(|_| "the writer is gone")?;
    durable.recv().map_err(|_| "the writer failed".to_owned())
}

/// The one writer: whatever waits goes into one commit.
fn write_all(mut connection: Connection, writes: &Receiver<Write>) -> rusqlite::Result<()> {
    while let Ok(first) = writes.recv() {
        let batch: Vec<Write> = std::iter::once(first).chain(writes.try_iter()).collect();
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        {
            let mut statement =
                transaction.prepare_cached("INSERT OR REPLACE INTO steps (key, body) VALUES (?1, ?2)")?;
            for write in &batch {
                statement.execute((&write.key, write.body))?;
            }
        }
        transaction.commit()?;
        for write in batch {
            let _ = write.done.send(());
        }
    }
    Ok(())
}

use std::{fs, path::Path};

use ratchet_core::ids::ExecutionId;
use ratchet_engine::ports::StoreError;
use rusqlite::{Connection, TransactionBehavior};

use super::{LocalStateStore, schema::TABLES};

/// What the state takes on the disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreSize {
    /// The file, with its write-ahead log.
    pub total: u64,
    /// The part of the file that is free for new rows: what compacting gives back.
    pub free: u64,
}

impl LocalStateStore {
    /// Deletes an execution and all of its rows, at once or not at all. `false` where there is none. Its blobs and folders are its caller's.
    pub async fn delete_execution(&self, id: &ExecutionId) -> Result<bool, StoreError> {
        let id = id.clone();
        self.writer.alone("delete from", move |connection| delete(connection, &id)).await
    }

    /// Gives the free part of the file back to the disk. Takes a while, during which nothing is written, and as much room again.
    pub async fn compact(&self) -> Result<(), StoreError> {
        self.writer
            .alone("compact", |connection| connection.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)"))
            .await
    }

    /// What the state takes on the disk.
    pub async fn size(&self) -> Result<StoreSize, StoreError> {
        let page = |connection: &Connection, pragma| {
            connection.pragma_query_value(None, pragma, |row| row.get::<_, u32>(0).map(u64::from))
        };
        let (free, page_size) = self
            .writer
            .alone("measure", move |connection| {
                Ok((page(connection, "freelist_count")?, page(connection, "page_size")?))
            })
            .await?;
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        let on_disk = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
        Ok(StoreSize { total: on_disk(&self.path) + on_disk(Path::new(&log)), free: free * page_size })
    }

    /// What is wrong with the file: reads all of it. Empty where nothing is.
    pub async fn check(&self) -> Result<Vec<String>, StoreError> {
        let problems = self.writer.alone("check", |connection| {
            let mut statement = connection.prepare("PRAGMA integrity_check(20)")?;
            let lines = statement.query_map([], |row| row.get::<_, String>(0))?;
            lines.collect::<rusqlite::Result<Vec<_>>>()
        });
        Ok(problems.await?.into_iter().filter(|line| line != "ok").collect())
    }
}

fn delete(connection: &mut Connection, id: &ExecutionId) -> rusqlite::Result<bool> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut deleted = 0;
    for (table, column) in TABLES {
        // With those that its steps started, whose names begin with its own and a point: what follows a point in the order of names is a slash.
        let these = format!("{column} = ?1 OR ({column} > ?1 || '.' AND {column} < ?1 || '/')");
        deleted = transaction.execute(&format!("DELETE FROM {table} WHERE {these}"), [id.as_str()])?;
    }
    transaction.commit()?;
    Ok(deleted > 0)
}

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

    /// Every run that has a row.
    pub fn execution_ids(&self) -> Result<Vec<ExecutionId>, StoreError> {
        self.readers.read(|connection| {
            let mut statement = connection.prepare("SELECT id FROM execution")?;
            let ids = statement.query_map([], |row| row.get::<_, String>(0).map(ExecutionId::new))?;
            Ok(ids.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Gives every text of every row, of whatever table, as all of them stood at one moment: whoever looks for what the state names misses no table.
    pub fn for_each_text(&self, mut give: impl FnMut(&str)) -> Result<(), StoreError> {
        self.readers.read(|connection| {
            let moment = connection.unchecked_transaction()?;
            for (table, columns) in text_columns(&moment)? {
                let mut statement = moment.prepare(&format!("SELECT {columns} FROM {table}"))?;
                let count = statement.column_count();
                let mut rows = statement.query([])?;
                while let Some(row) = rows.next()? {
                    for column in 0..count {
                        if let Some(text) = row.get_ref(column)?.as_str_or_null()? {
                            give(text);
                        }
                    }
                }
            }
            Ok(())
        })
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

/// Each table with those of its columns that hold text.
fn text_columns(connection: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    let mut statement = connection.prepare(
        "SELECT '\"' || tables.name || '\"', group_concat('\"' || columns.name || '\"')
         FROM sqlite_schema AS tables, pragma_table_info(tables.name) AS columns
         WHERE tables.type = 'table' AND columns.type = 'TEXT' GROUP BY tables.name",
    )?;
    let tables = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    tables.collect()
}

fn delete(connection: &mut Connection, id: &ExecutionId) -> rusqlite::Result<bool> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut deleted = 0;
    for (table, column) in TABLES {
        // With those that its steps started, whose names begin with its own and a point: what follows a point in the order of names is a slash.
        let these = format!("{column} = ?1 OR ({column} > ?1 || '.' AND {column} < ?1 || '/')");
        deleted = transaction.execute(&format!("DELETE FROM {table} WHERE {these}"), [id.as_str()])?;
    }
    forget_reads(&transaction, id)?;
    transaction.commit()?;
    Ok(deleted > 0)
}

/// What a run read is known as long as there is something that was made of it.
fn forget_reads(connection: &Connection, id: &ExecutionId) -> rusqlite::Result<usize> {
    connection.execute(
        "DELETE FROM artifact_read
         WHERE (execution = ?1 OR (execution > ?1 || '.' AND execution < ?1 || '/')) AND NOT EXISTS (
             SELECT 1 FROM artifact
             WHERE artifact.execution = ?1 OR (artifact.execution > ?1 || '.' AND artifact.execution < ?1 || '/')
         )",
        [id.as_str()],
    )
}

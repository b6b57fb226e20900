use std::collections::BTreeMap;

use ratchet_core::ids::ExecutionId;
use ratchet_engine::ports::StoreError;
use rusqlite::{Connection, params};

use super::{LocalStateStore, error::StoreFailure, shared_header::Header};

/// What the file was like when somebody looked. Two that are equal say that nothing was committed between them; one of which nothing is known equals none.
#[derive(Debug, Clone, Copy)]
pub struct Moment(Option<Header>);

/// The executions in figures, without those that steps of others started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overview {
    /// How many stand where, by the word for it.
    pub by_status: BTreeMap<String, i64>,
    /// How many executions each workflow has.
    pub by_workflow: BTreeMap<String, i64>,
}

impl PartialEq for Moment {
    fn eq(&self, other: &Self) -> bool {
        self.0.is_some() && self.0 == other.0
    }
}

impl LocalStateStore {
    /// What the file is like now: some words of memory are read, and the database is not asked.
    pub fn moment(&self) -> Moment {
        Moment(self.writer.kept().mark().header())
    }

    /// Each execution that has not ended, with its revision. Where it is as it was and so is the number of all, no execution began, changed or ended.
    pub fn unfinished(&self) -> Result<(i64, BTreeMap<ExecutionId, i64>), StoreError> {
        self.readers.read(|connection| {
            let count = connection.prepare_cached("SELECT count(*) FROM execution")?.query_row([], |row| row.get(0))?;
            let mut statement = connection
                .prepare_cached("SELECT id, revision FROM execution WHERE status IN ('running', 'paused')")?;
            let rows = statement.query_map([], |row| Ok((ExecutionId::new(row.get::<_, String>(0)?), row.get(1)?)))?;
            Ok((count, rows.collect::<rusqlite::Result<_>>()?))
        })
    }

    /// A number that grows with each change of an execution, of its steps and of those that its steps started. 0 where it is not there.
    pub fn changes_of(&self, id: &ExecutionId) -> Result<i64, StoreError> {
        self.readers.read(|connection| {
            // Names of those that its steps started begin with its own and a point: what follows a point in the order of names is a slash.
            let sum = |table: &str, column: &str| {
                connection
                    .prepare_cached(&format!(
                        "SELECT coalesce(sum(revision), 0) + count(*) FROM {table}
                         WHERE {column} = ?1 OR ({column} > ?1 || '.' AND {column} < ?1 || '/')"
                    ))?
                    .query_row(params![id.as_str()], |row| row.get::<_, i64>(0))
            };
            Ok(sum("execution", "id")? + sum("step", "execution")? + sum("child", "execution")?)
        })
    }

    /// How many executions there are, by where they stand and by workflow.
    pub fn overview(&self) -> Result<Overview, StoreError> {
        self.readers.read(|connection| {
            Ok(Overview { by_status: counts(connection, "status")?, by_workflow: counts(connection, "workflow")? })
        })
    }
}

fn counts(connection: &Connection, column: &str) -> Result<BTreeMap<String, i64>, StoreFailure> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {column}, count(*) FROM execution WHERE instr(id, '.') = 0 GROUP BY {column}"
    ))?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

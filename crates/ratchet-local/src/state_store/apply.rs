use ratchet_core::{budget::BudgetRow, group::GroupRow, ids::StepKey, join::JoinRow};
use ratchet_engine::ports::{Expectation, WriteOutcome};
use rusqlite::{Connection, OptionalExtension, Params, ToSql, params, types::Type};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    artifacts,
    row::{Obstacle, RowWrite, Written, integer, item, kind, nanoseconds},
};

/// Applies a commit's writes in order inside the open transaction, up to the first whose expectation does not hold. Such a write has changed nothing,
/// so the transaction goes on: with what stood before it, and with other commits.
pub(super) fn apply(connection: &Connection, writes: &[RowWrite]) -> rusqlite::Result<Written> {
    let mut written = Written { applied: Vec::with_capacity(writes.len()), conflict: None };
    for (position, write) in writes.iter().enumerate() {
        match apply_one(connection, write)? {
            Ok(outcome) => written.applied.push(outcome),
            Err(obstacle) => {
                written.conflict = Some((position, obstacle));
                break;
            }
        }
    }
    Ok(written)
}

fn apply_one(connection: &Connection, write: &RowWrite) -> rusqlite::Result<Result<WriteOutcome, Obstacle>> {
    match write {
        RowWrite::Execution { row, body, expect } => {
            let (id, revision, status) = (row.id.as_str(), integer(row.revision), row.status.as_str());
            let (wake_at, created_at) = (row.wake_at.map(nanoseconds), nanoseconds(row.created_at));
            let values: [&dyn ToSql; 7] = [&id, &revision, &row.definition.name, &status, &wake_at, &created_at, body];
            let put = EXECUTION.put(connection, *expect, &values, params![id])?;
            Ok(put.outcome(Obstacle::Execution))
        }
        RowWrite::Step { row, body, expect } => {
            let (key, revision) = (&row.key, integer(row.revision()));
            let table = if key.path.child.is_some() { &CHILD } else { &STEP };
            let StepColumns(execution, step, epoch, item) = StepColumns::of(key);
            let values: [&dyn ToSql; 6] = [&execution, &step, &epoch, &item, &revision, body];
            let put = table.put(connection, *expect, &values, params![execution, step, epoch, item])?;
            Ok(put.outcome(Obstacle::Step))
        }
        RowWrite::Attempt { key, attempt, records, body } => {
            let StepColumns(execution, step, epoch, item) = StepColumns::of(key);
            let records = i64::try_from(*records).unwrap_or(i64::MAX);
            let values = params![execution, step, epoch, item, attempt, records, body];
            connection.prepare_cached(PUT_ATTEMPT)?.execute(values)?;
            Ok(Ok(WriteOutcome::Written))
        }
        RowWrite::Unite { key, arrival } => {
            let mut statement = connection.prepare_cached(UNITE)?;
            let values = params![
                key.execution.as_str(),
                key.step.as_str(),
                key.epoch.0,
                kind(key.kind),
                key.level,
                key.bucket,
                arrival.ok,
                arrival.failed,
                arrival.continued
            ];
            let united = statement.query_row(values, |row| {
                Ok(JoinRow { key: key.clone(), ok: row.get(0)?, failed: row.get(1)?, continued: row.get(2)? })
            })?;
            Ok(Ok(WriteOutcome::United(united)))
        }
        RowWrite::EnterCall { owner, call, budget } => {
            let before = BUDGET.read(connection, owner.as_str())?.unwrap_or_else(|| BudgetRow::empty(owner.clone()));
            let mut row = before.clone();
            if row.enter(call.clone(), budget).is_err() {
                return Ok(Err(Obstacle::Budget(Box::new(before))));
            }
            let changed = row != before;
            if changed {
                BUDGET.put(connection, owner.as_str(), &row)?;
            }
            Ok(Ok(WriteOutcome::Budget { row, changed }))
        }
        RowWrite::SettleCall { owner, call, usage } => {
            let row = BUDGET.read(connection, owner.as_str())?;
            let mut row: BudgetRow = row.unwrap_or_else(|| BudgetRow::empty(owner.clone()));
            let changed = row.settle(call, usage.as_ref());
            if changed {
                BUDGET.put(connection, owner.as_str(), &row)?;
            }
            Ok(Ok(WriteOutcome::Budget { row, changed }))
        }
        RowWrite::TakeTurn { group, member, waits } => change_group(connection, group, |row| {
            row.take_turn(member.clone(), *waits);
        }),
        RowWrite::LeaveGroup { group, execution, epoch } => change_group(connection, group, |row| {
            row.leave(execution, *epoch);
        }),
        RowWrite::Artifact { artifact, body } => {
            let version = artifacts::register(connection, artifact, body)?;
            Ok(Ok(WriteOutcome::Artifact(Box::new(version))))
        }
        RowWrite::ReadArtifact(read) => artifacts::note_read(connection, read),
        RowWrite::TagArtifact { artifact, tag, number } => artifacts::tag(connection, artifact, tag, *number),
        RowWrite::DropArtifact { artifact, number, uses } => {
            artifacts::drop_version(connection, artifact, *number, *uses)
        }
    }
}

fn change_group(
    connection: &Connection,
    group: &str,
    change: impl FnOnce(&mut GroupRow),
) -> rusqlite::Result<Result<WriteOutcome, Obstacle>> {
    let before = GROUP.read(connection, group)?.unwrap_or_else(|| GroupRow::empty(group.to_owned()));
    let mut row = before.clone();
    change(&mut row);
    if row.is_empty() {
        GROUP.delete(connection, group)?;
    } else if row != before {
        GROUP.put(connection, group, &row)?;
    }
    Ok(Ok(WriteOutcome::Group(row)))
}

/// A table whose rows are read and changed in one step: the transaction has the write lock.
struct ChangedInPlace {
    read: &'static str,
    put: &'static str,
    delete: &'static str,
}

const BUDGET: ChangedInPlace = ChangedInPlace {
    read: "SELECT body FROM budget WHERE execution = ?1",
    put: "INSERT INTO budget (execution, body) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET body = excluded.body",
    delete: "DELETE FROM budget WHERE execution = ?1",
};

const GROUP: ChangedInPlace = ChangedInPlace {
    read: "SELECT body FROM concurrency_group WHERE name = ?1",
    put: "INSERT INTO concurrency_group (name, body) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET body = excluded.body",
    delete: "DELETE FROM concurrency_group WHERE name = ?1",
};

impl ChangedInPlace {
    fn read<T: DeserializeOwned>(&self, connection: &Connection, key: &str) -> rusqlite::Result<Option<T>> {
        let mut statement = connection.prepare_cached(self.read)?;
        let body: Option<String> = statement.query_row([key], |row| row.get(0)).optional()?;
        let damaged = |error| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error));
        body.map(|body| serde_json::from_str(&body).map_err(damaged)).transpose()
    }

    fn put(&self, connection: &Connection, key: &str, row: &impl Serialize) -> rusqlite::Result<()> {
        let body = serde_json::to_string(row);
        let body = body.map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        connection.prepare_cached(self.put)?.execute([key, &body]).map(drop)
    }

    fn delete(&self, connection: &Connection, key: &str) -> rusqlite::Result<()> {
        connection.prepare_cached(self.delete)?.execute([key]).map(drop)
    }
}

/// The columns of a step's key.
struct StepColumns<'a>(&'a str, &'a str, u32, i64);

impl<'a> StepColumns<'a> {
    fn of(key: &'a StepKey) -> Self {
        Self(key.execution.as_str(), key.path.step.as_str(), key.epoch.0, item(key))
    }
}

/// The statements that put a row where its expectation holds. Both take the same columns; the replacing one takes the expected revision after them.
struct ConditionalPut {
    insert: &'static str,
    replace: &'static str,
    current: &'static str,
}

const EXECUTION: ConditionalPut = ConditionalPut {
    insert: "INSERT INTO execution (id, revision, workflow, status, wake_at, created_at, body)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
    replace: "UPDATE execution SET revision = ?2, workflow = ?3, status = ?4, wake_at = ?5, created_at = ?6, body = ?7
        WHERE id = ?1 AND revision = ?8",
    current: "SELECT body FROM execution WHERE id = ?1",
};

/// Leaves the item (`?4`) out, which a step does not have.
const STEP: ConditionalPut = ConditionalPut {
    insert: "INSERT INTO step (execution, step, epoch, revision, body) VALUES (?1, ?2, ?3, ?5, ?6)
        ON CONFLICT DO NOTHING",
    replace: "UPDATE step SET revision = ?5, body = ?6
        WHERE execution = ?1 AND step = ?2 AND epoch = ?3 AND revision = ?7",
    current: "SELECT body FROM step WHERE execution = ?1 AND step = ?2 AND epoch = ?3 AND ?4 = -1",
};

const CHILD: ConditionalPut = ConditionalPut {
    insert: "INSERT INTO child (execution, step, epoch, item, revision, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
        ON CONFLICT DO NOTHING",
    replace: "UPDATE child SET revision = ?5, body = ?6
        WHERE execution = ?1 AND step = ?2 AND epoch = ?3 AND item = ?4 AND revision = ?7",
    current: "SELECT body FROM child WHERE execution = ?1 AND step = ?2 AND epoch = ?3 AND item = ?4",
};

const PUT_ATTEMPT: &str = "INSERT INTO attempt (execution, step, epoch, item, attempt, records, body)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
    ON CONFLICT DO UPDATE SET records = excluded.records, body = excluded.body WHERE excluded.records > records";

const UNITE: &str = "INSERT INTO bucket (execution, step, epoch, kind, level, bucket, ok, failed, continued)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
    ON CONFLICT DO UPDATE SET
        ok = ok | excluded.ok, failed = failed | excluded.failed, continued = continued | excluded.continued
    RETURNING ok, failed, continued";

/// What came of a conditional put.
enum Put {
    Done,
    /// Nothing was changed. This row is there instead, or none.
    Prevented(Option<String>),
}

impl Put {
    fn outcome(self, obstacle: fn(String) -> Obstacle) -> Result<WriteOutcome, Obstacle> {
        match self {
            Self::Done => Ok(WriteOutcome::Written),
            Self::Prevented(current) => Err(current.map_or(Obstacle::Absent, obstacle)),
        }
    }
}

impl ConditionalPut {
    /// Puts a row where the expectation holds.
    fn put(
        &self,
        connection: &Connection,
        expect: Expectation,
        values: &[&dyn ToSql],
        key: impl Params,
    ) -> rusqlite::Result<Put> {
        let changed = match expect {
            Expectation::Absent => connection.prepare_cached(self.insert)?.execute(values)?,
            Expectation::Revision(revision) => {
                let revision = integer(revision);
                let values: Vec<&dyn ToSql> = values.iter().copied().chain([&revision as &dyn ToSql]).collect();
                connection.prepare_cached(self.replace)?.execute(&*values)?
            }
        };
        if changed == 1 {
            return Ok(Put::Done);
        }
        let current = connection.prepare_cached(self.current)?.query_row(key, |row| row.get(0)).optional()?;
        Ok(Put::Prevented(current))
    }
}

use jiff::Timestamp;
use ratchet_core::{
    budget::BudgetRow,
    execution::ExecutionRow,
    group::GroupRow,
    ids::{Epoch, ExecutionId, StepId, StepKey},
    join::{JoinKey, JoinRow},
    status::ExecutionStatus,
    step::{AttemptRow, StepRow},
};
use ratchet_engine::ports::{ExecutionFilter, Page};
use rusqlite::{Connection, OptionalExtension, Params, params};

use super::{
    error::StoreFailure,
    row::{Row, decode, item, kind, nanoseconds},
};

pub(super) fn execution(connection: &Connection, id: &ExecutionId) -> Result<Option<ExecutionRow>, StoreFailure> {
    one(connection, "SELECT body FROM execution WHERE id = ?1", params![id.as_str()])
}

pub(super) fn step(connection: &Connection, key: &StepKey) -> Result<Option<StepRow>, StoreFailure> {
    let (execution, step, epoch) = (key.execution.as_str(), key.path.step.as_str(), key.epoch.0);
    match key.path.child {
        None => {
            let statement = "SELECT body FROM step WHERE execution = ?1 AND step = ?2 AND epoch = ?3";
            one(connection, statement, params![execution, step, epoch])
        }
        Some(item) => {
            let statement = "SELECT body FROM child WHERE execution = ?1 AND step = ?2 AND epoch = ?3 AND item = ?4";
            one(connection, statement, params![execution, step, epoch, item])
        }
    }
}

pub(super) fn newest_steps(
    connection: &Connection,
    id: &ExecutionId,
    epoch: Epoch,
    steps: &[StepId],
) -> Result<Vec<Option<StepRow>>, StoreFailure> {
    if let [step] = steps {
        let statement =
            "SELECT body FROM step WHERE execution = ?1 AND step = ?2 AND epoch <= ?3 ORDER BY epoch DESC LIMIT 1";
        return Ok(vec![one(connection, statement, params![id.as_str(), step.as_str(), epoch.0])?]);
    }
    // A run that has just begun has no row: that is found by one look, and not by one for each of its steps.
    let mut any = connection.prepare_cached("SELECT 1 FROM step WHERE execution = ?1 LIMIT 1")?;
    if !any.exists(params![id.as_str()])? {
        return Ok(vec![None; steps.len()]);
    }
    let asked = serde_json::to_string(steps).map_err(|error| StoreFailure::Row(error.to_string()))?;
    let mut statement = connection.prepare_cached(
        "SELECT (
            SELECT body FROM step WHERE execution = ?1 AND step = asked.value AND epoch <= ?2 ORDER BY epoch DESC LIMIT 1
        ) FROM json_each(?3) AS asked ORDER BY asked.key",
    )?;
    let mut rows = statement.query(params![id.as_str(), epoch.0, asked])?;
    let mut found = Vec::with_capacity(steps.len());
    while let Some(row) = rows.next()? {
        found.push(match row.get_ref(0)?.as_str_or_null()? {
            Some(body) => Some(decode(body)?),
            None => None,
        });
    }
    Ok(found)
}

pub(super) fn steps(
    connection: &Connection,
    id: &ExecutionId,
    after: Option<&StepKey>,
    limit: usize,
) -> Result<Page<StepRow>, StoreFailure> {
    let (step, epoch) = after.map_or(("", -1), |key| (key.path.step.as_str(), i64::from(key.epoch.0)));
    let statement =
        "SELECT body FROM step WHERE execution = ?1 AND (step, epoch) > (?2, ?3) ORDER BY step, epoch LIMIT ?4";
    let rows = many(connection, statement, params![id.as_str(), step, epoch, one_more(limit)])?;
    Ok(page(rows, limit))
}

pub(super) fn children(
    connection: &Connection,
    id: &ExecutionId,
    epoch: Epoch,
    step: &StepId,
    from: u32,
    limit: usize,
) -> Result<Vec<StepRow>, StoreFailure> {
    let statement = "SELECT body FROM child WHERE execution = ?1 AND step = ?2 AND epoch = ?3 AND item >= ?4
        ORDER BY item LIMIT ?5";
    many(connection, statement, params![id.as_str(), step.as_str(), epoch.0, from, count(limit)])
}

pub(super) fn last_child(
    connection: &Connection,
    id: &ExecutionId,
    epoch: Epoch,
    step: &StepId,
) -> Result<Option<u32>, StoreFailure> {
    let statement = "SELECT max(item) FROM child WHERE execution = ?1 AND step = ?2 AND epoch = ?3";
    let mut statement = connection.prepare_cached(statement)?;
    Ok(statement.query_row(params![id.as_str(), step.as_str(), epoch.0], |row| row.get(0))?)
}

pub(super) fn join(connection: &Connection, key: &JoinKey) -> Result<Option<JoinRow>, StoreFailure> {
    let mut statement = connection.prepare_cached(
        "SELECT ok, failed, continued FROM bucket
         WHERE execution = ?1 AND step = ?2 AND epoch = ?3 AND kind = ?4 AND level = ?5 AND bucket = ?6",
    )?;
    let columns =
        params![key.execution.as_str(), key.step.as_str(), key.epoch.0, kind(key.kind), key.level, key.bucket];
    let row = statement.query_row(columns, |row| {
        Ok(JoinRow { key: key.clone(), ok: row.get(0)?, failed: row.get(1)?, continued: row.get(2)? })
    });
    Ok(row.optional()?)
}

pub(super) fn attempts(connection: &Connection, key: &StepKey) -> Result<Vec<AttemptRow>, StoreFailure> {
    let statement =
        "SELECT body FROM attempt WHERE execution = ?1 AND step = ?2 AND epoch = ?3 AND item = ?4 ORDER BY attempt";
    many(connection, statement, params![key.execution.as_str(), key.path.step.as_str(), key.epoch.0, item(key)])
}

pub(super) fn budget(connection: &Connection, owner: &ExecutionId) -> Result<Option<BudgetRow>, StoreFailure> {
    one(connection, "SELECT body FROM budget WHERE execution = ?1", params![owner.as_str()])
}

pub(super) fn group(connection: &Connection, name: &str) -> Result<Option<GroupRow>, StoreFailure> {
    one(connection, "SELECT body FROM concurrency_group WHERE name = ?1", params![name])
}

/// What comes after a row that was given.
const OLDER: &str = " AND (created_at, id) < (SELECT created_at, id FROM execution WHERE id = ?3)";

/// Names alone are looked through, which stand in an index: the rows themselves are large.
const WITH_TEXT: &str = " AND id IN (
    SELECT id FROM execution INDEXED BY execution_by_workflow WHERE instr(lower(id), ?4) OR instr(lower(workflow), ?4)
)";

pub(super) fn executions(
    connection: &Connection,
    filter: &ExecutionFilter,
    text: Option<&str>,
    after: Option<&ExecutionId>,
    limit: usize,
) -> Result<Page<ExecutionRow>, StoreFailure> {
    let workflow = filter.workflow.as_deref();
    let status = filter.status.map(ExecutionStatus::as_str);
    let after = after.map(ExecutionId::as_str);
    // Each combination is a statement of its own, so that its conditions can use an index.
    let roots = filter.roots_only.then_some(" AND instr(id, '.') = 0");
    let text = text.map(str::to_lowercase);
    let conditions = [
        workflow.map(|_| " AND workflow = ?1"),
        status.map(|_| " AND status = ?2"),
        after.map(|_| OLDER),
        text.as_ref().map(|_| WITH_TEXT),
        roots,
    ];
    let conditions: String = conditions.into_iter().flatten().collect();
    let statement =
        format!("SELECT body FROM execution WHERE TRUE{conditions} ORDER BY created_at DESC, id DESC LIMIT ?5");
    let rows = many(connection, &statement, params![workflow, status, after, text, one_more(limit)])?;
    Ok(page(rows, limit))
}

pub(super) fn due(connection: &Connection, now: Timestamp, limit: usize) -> Result<Vec<ExecutionId>, StoreFailure> {
    let mut statement =
        connection.prepare_cached("SELECT id FROM execution WHERE wake_at <= ?1 ORDER BY wake_at, id LIMIT ?2")?;
    let ids = statement.query_map(params![nanoseconds(now), count(limit)], |row| row.get::<_, String>(0))?;
    Ok(ids.map(|id| id.map(ExecutionId::new)).collect::<Result<_, _>>()?)
}

/// The names of runs that steps started begin with that of their root and a point: what follows a point in the order of names is a slash.
pub(super) fn due_within(
    connection: &Connection,
    root: &ExecutionId,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<ExecutionId>, StoreFailure> {
    let mut statement = connection.prepare_cached(
        "SELECT id FROM execution WHERE id > ?1 || '.' AND id < ?1 || '/' AND wake_at <= ?2 ORDER BY id LIMIT ?3",
    )?;
    let values = params![root.as_str(), nanoseconds(now), count(limit)];
    let ids = statement.query_map(values, |row| row.get::<_, String>(0))?;
    Ok(ids.map(|id| id.map(ExecutionId::new)).collect::<Result<_, _>>()?)
}

fn one<T: Row>(connection: &Connection, statement: &str, values: impl Params) -> Result<Option<T>, StoreFailure> {
    let mut statement = connection.prepare_cached(statement)?;
    let mut rows = statement.query(values)?;
    match rows.next()? {
        Some(row) => Ok(Some(decode(row.get_ref(0)?.as_str()?)?)),
        None => Ok(None),
    }
}

fn many<T: Row>(connection: &Connection, statement: &str, values: impl Params) -> Result<Vec<T>, StoreFailure> {
    let mut statement = connection.prepare_cached(statement)?;
    let mut rows = statement.query(values)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(decode(row.get_ref(0)?.as_str()?)?);
    }
    Ok(found)
}

/// The rows of a page, of which one more than it holds was asked for.
pub(super) fn page<T>(mut rows: Vec<T>, limit: usize) -> Page<T> {
    let more = rows.len() > limit;
    rows.truncate(limit);
    Page { rows, more }
}

pub(super) fn one_more(limit: usize) -> i64 {
    count(limit).saturating_add(1)
}

fn count(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

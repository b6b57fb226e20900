//! Versions of artifacts, their tags, and who read them.

use async_trait::async_trait;
use ratchet_core::{
    artifact::{Artifact, ArtifactName, ArtifactRead, ArtifactVersion, Which},
    ids::{ExecutionId, StepId, StepPath},
};
use ratchet_engine::ports::{ArtifactFilter, ArtifactStore, Page, StoreError, WriteOutcome};
use rusqlite::{Connection, OptionalExtension, Params, Row, ToSql, params, types::Type};

use super::{
    LocalStateStore,
    error::StoreFailure,
    reads::{one_more, page},
    row::{Obstacle, integer},
};

/// What a version is made of, in the order that [`version`] reads.
const COLUMNS: &str = "artifact.number, artifact.uses, artifact.body";

/// The rows of a run and of those that its steps started: see `maintenance::delete`.
const WITHIN: &str = "(execution = ?1 OR (execution > ?1 || '.' AND execution < ?1 || '/'))";

type Applied = rusqlite::Result<Result<WriteOutcome, Obstacle>>;

/// Registers a version, unless it is there.
pub(super) fn register(connection: &Connection, artifact: &Artifact, body: &str) -> rusqlite::Result<ArtifactVersion> {
    let ArtifactName { workflow, name } = &artifact.name;
    let source = artifact.origin.source();
    let find = |condition: &str, value: &str| {
        let statement = format!(
            "SELECT {COLUMNS} FROM artifact WHERE workflow = ?1 AND name = ?2 AND {condition} ORDER BY number DESC"
        );
        let mut statement = connection.prepare_cached(&statement)?;
        let mut rows = statement.query(params![workflow, name, value])?;
        rows.next()?.map(version).transpose()
    };
    if let Some(newest) = find("source = ?3", &source)?.filter(|newest| artifact.is(newest)) {
        return Ok(newest);
    }
    if let Some(maker) = artifact.origin.maker().filter(|maker| maker.step.is_none()) {
        let statement = format!(
            "SELECT {COLUMNS} FROM artifact
             WHERE execution = ?1 AND workflow = ?2 AND name = ?3 AND digest = ?4 ORDER BY number DESC"
        );
        let mut statement = connection.prepare_cached(&statement)?;
        let digest = artifact.file.content.digest.as_str();
        let mut rows = statement.query(params![maker.execution.as_str(), workflow, name, digest])?;
        if let Some(row) = rows.next()? {
            return version(row);
        }
    }
    let next = "INSERT INTO artifact_name (workflow, name, last) VALUES (?1, ?2, 1)
        ON CONFLICT DO UPDATE SET last = last + 1 RETURNING last";
    let number: i64 = connection.prepare_cached(next)?.query_row([workflow, name], |row| row.get(0))?;
    let execution = artifact.origin.maker().map(|maker| maker.execution.as_str());
    let insert = "INSERT INTO artifact (workflow, name, number, source, execution, digest, uses, body)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7)";
    let digest = artifact.file.content.digest.as_str();
    connection.prepare_cached(insert)?.execute(params![workflow, name, number, source, execution, digest, body])?;
    Ok(ArtifactVersion { number: number.unsigned_abs(), artifact: artifact.clone(), uses: 0 })
}

/// Notes that a run relies on a version.
pub(super) fn note_read(connection: &Connection, read: &ArtifactRead) -> Applied {
    let ArtifactName { workflow, name } = &read.artifact;
    let number = integer(read.number);
    if !is_there(connection, &read.artifact, read.number)? {
        return Ok(Err(Obstacle::Absent));
    }
    let (step, item) = step_columns(read.step.as_ref());
    let insert = "INSERT INTO artifact_read (execution, step, item, workflow, name, number)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING";
    let values = params![read.execution.as_str(), step, item, workflow, name, number];
    connection.prepare_cached(insert)?.execute(values)?;
    used(connection, &read.artifact, number)?;
    Ok(Ok(WriteOutcome::Written))
}

/// Moves a tag to a version, or takes it away.
pub(super) fn tag(connection: &Connection, artifact: &ArtifactName, tag: &str, number: Option<u64>) -> Applied {
    let ArtifactName { workflow, name } = artifact;
    if let Some(number) = number
        && !is_there(connection, artifact, number)?
    {
        return Ok(Err(Obstacle::Absent));
    }
    let before: Option<i64> = connection
        .prepare_cached("SELECT number FROM artifact_tag WHERE workflow = ?1 AND name = ?2 AND tag = ?3")?
        .query_row([workflow, name, tag], |row| row.get(0))
        .optional()?;
    let after = number.map(integer);
    if before == after {
        return Ok(Ok(WriteOutcome::Written));
    }
    if let Some(number) = after {
        let put = "INSERT INTO artifact_tag (workflow, name, tag, number) VALUES (?1, ?2, ?3, ?4)
            ON CONFLICT DO UPDATE SET number = excluded.number";
        connection.prepare_cached(put)?.execute(params![workflow, name, tag, number])?;
    } else {
        let delete = "DELETE FROM artifact_tag WHERE workflow = ?1 AND name = ?2 AND tag = ?3";
        connection.prepare_cached(delete)?.execute([workflow, name, tag])?;
    }
    for number in [before, after].into_iter().flatten() {
        used(connection, artifact, number)?;
    }
    Ok(Ok(WriteOutcome::Written))
}

/// Drops a version that is as it was seen, with what is noted of its readers.
pub(super) fn drop_version(connection: &Connection, artifact: &ArtifactName, number: u64, uses: u64) -> Applied {
    let ArtifactName { workflow, name } = artifact;
    let find = format!("SELECT {COLUMNS} FROM artifact WHERE workflow = ?1 AND name = ?2 AND number = ?3");
    let number = integer(number);
    let key = params![workflow, name, number];
    let Some(there) = connection.prepare_cached(&find)?.query_row(key, version).optional()? else {
        return Ok(Err(Obstacle::Absent));
    };
    let tags = "SELECT EXISTS (SELECT 1 FROM artifact_tag WHERE workflow = ?1 AND name = ?2 AND number = ?3)";
    let is_tagged: bool = connection.prepare_cached(tags)?.query_row(key, |row| row.get(0))?;
    if there.uses != uses || is_tagged {
        return Ok(Err(Obstacle::Artifact(Box::new(there))));
    }
    for table in ["artifact", "artifact_read"] {
        let delete = format!("DELETE FROM {table} WHERE workflow = ?1 AND name = ?2 AND number = ?3");
        connection.prepare_cached(&delete)?.execute(key)?;
    }
    Ok(Ok(WriteOutcome::Written))
}

fn is_there(connection: &Connection, artifact: &ArtifactName, number: u64) -> rusqlite::Result<bool> {
    let find = "SELECT EXISTS (SELECT 1 FROM artifact WHERE workflow = ?1 AND name = ?2 AND number = ?3)";
    let key = params![artifact.workflow, artifact.name, integer(number)];
    connection.prepare_cached(find)?.query_row(key, |row| row.get(0))
}

fn used(connection: &Connection, artifact: &ArtifactName, number: i64) -> rusqlite::Result<()> {
    let update = "UPDATE artifact SET uses = uses + 1 WHERE workflow = ?1 AND name = ?2 AND number = ?3";
    connection.prepare_cached(update)?.execute(params![artifact.workflow, artifact.name, number]).map(drop)
}

/// A step in its columns: no text stands for the run itself, -1 for a step that is no child.
fn step_columns(step: Option<&StepPath>) -> (&str, i64) {
    step.map_or(("", -1), |path| (path.step.as_str(), path.child.map_or(-1, i64::from)))
}

fn version(row: &Row<'_>) -> rusqlite::Result<ArtifactVersion> {
    let (number, uses): (i64, i64) = (row.get(0)?, row.get(1)?);
    let artifact = serde_json::from_str(row.get_ref(2)?.as_str()?)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(2, Type::Text, Box::new(error)))?;
    Ok(ArtifactVersion { number: number.unsigned_abs(), artifact, uses: uses.unsigned_abs() })
}

fn read(row: &Row<'_>) -> rusqlite::Result<ArtifactRead> {
    let (execution, step, item): (String, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let child = u32::try_from(item).ok();
    let step = (!step.is_empty()).then(|| StepPath { step: StepId::new(step), child });
    let artifact = ArtifactName { workflow: row.get(3)?, name: row.get(4)? };
    let number: i64 = row.get(5)?;
    Ok(ArtifactRead { execution: ExecutionId::new(execution), step, artifact, number: number.unsigned_abs() })
}

fn versions(connection: &Connection, rest: &str, values: impl Params) -> Result<Vec<ArtifactVersion>, StoreFailure> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM artifact {rest}"))?;
    let rows = statement.query_map(values, version)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn reads(connection: &Connection, condition: &str, values: impl Params) -> Result<Vec<ArtifactRead>, StoreFailure> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT execution, step, item, workflow, name, number FROM artifact_read WHERE {condition}
         ORDER BY execution, step, item, workflow, name, number"
    ))?;
    let rows = statement.query_map(values, read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn find(
    connection: &Connection,
    artifact: &ArtifactName,
    which: &Which,
) -> Result<Option<ArtifactVersion>, StoreFailure> {
    let ArtifactName { workflow, name } = artifact;
    let first =
        |rest: &str, values: &[&dyn ToSql]| versions(connection, rest, values).map(|found| found.into_iter().next());
    match which {
        Which::Latest => first("WHERE workflow = ?1 AND name = ?2 ORDER BY number DESC LIMIT 1", &[workflow, name]),
        Which::Number(number) => {
            first("WHERE workflow = ?1 AND name = ?2 AND number = ?3", &[workflow, name, &integer(*number)])
        }
        Which::Named(word) => {
            let of_run = format!("WHERE {WITHIN} AND workflow = ?2 AND name = ?3 ORDER BY number DESC LIMIT 1");
            if let Some(found) = first(&of_run, &[word, workflow, name])? {
                return Ok(Some(found));
            }
            let tagged = "JOIN artifact_tag USING (workflow, name, number)
                WHERE artifact_tag.workflow = ?1 AND artifact_tag.name = ?2 AND tag = ?3";
            first(tagged, &[workflow, name, word])
        }
    }
}

fn list(
    connection: &Connection,
    filter: &ArtifactFilter,
    after: Option<&(ArtifactName, u64)>,
    limit: usize,
) -> Result<Page<ArtifactVersion>, StoreFailure> {
    let conditions = [
        filter.workflow.as_ref().map(|_| " AND workflow = ?1"),
        filter.name.as_ref().map(|_| " AND name = ?2"),
        after.map(|_| " AND (workflow, name, number) > (?3, ?4, ?5)"),
    ];
    let conditions: String = conditions.into_iter().flatten().collect();
    let rest = format!("WHERE TRUE{conditions} ORDER BY workflow, name, number LIMIT ?6");
    let (workflow, name) = after.map_or(("", ""), |(name, _)| (name.workflow.as_str(), name.name.as_str()));
    let number = after.map_or(0, |(_, number)| integer(*number));
    let rows =
        versions(connection, &rest, params![filter.workflow, filter.name, workflow, name, number, one_more(limit)])?;
    Ok(page(rows, limit))
}

#[async_trait]
impl ArtifactStore for LocalStateStore {
    async fn artifact(&self, name: &ArtifactName, which: &Which) -> Result<Option<ArtifactVersion>, StoreError> {
        self.readers.read(|connection| find(connection, name, which))
    }

    async fn last_artifact(&self, name: &ArtifactName) -> Result<Option<u64>, StoreError> {
        self.readers.read(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT last FROM artifact_name WHERE workflow = ?1 AND name = ?2")?;
            let last = statement.query_row([&name.workflow, &name.name], |row| row.get::<_, i64>(0)).optional()?;
            Ok(last.map(i64::unsigned_abs))
        })
    }

    async fn artifacts(
        &self,
        filter: &ArtifactFilter,
        after: Option<&(ArtifactName, u64)>,
        limit: usize,
    ) -> Result<Page<ArtifactVersion>, StoreError> {
        self.readers.read(|connection| list(connection, filter, after, limit))
    }

    async fn artifacts_made_by(&self, execution: &ExecutionId) -> Result<Vec<ArtifactVersion>, StoreError> {
        let rest = "WHERE execution = ?1 ORDER BY workflow, name, number";
        self.readers.read(|connection| versions(connection, rest, [execution.as_str()]))
    }

    async fn artifact_tags(&self, name: &ArtifactName) -> Result<Vec<(String, u64)>, StoreError> {
        self.readers.read(|connection| {
            let statement = "SELECT tag, number FROM artifact_tag WHERE workflow = ?1 AND name = ?2 ORDER BY tag";
            let mut statement = connection.prepare_cached(statement)?;
            let tags = statement.query_map([&name.workflow, &name.name], |row| {
                Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs()))
            })?;
            Ok(tags.collect::<rusqlite::Result<_>>()?)
        })
    }

    async fn artifacts_read_by(&self, execution: &ExecutionId) -> Result<Vec<ArtifactRead>, StoreError> {
        self.readers.read(|connection| reads(connection, WITHIN, [execution.as_str()]))
    }

    async fn artifact_readers(&self, name: &ArtifactName, number: u64) -> Result<Vec<ArtifactRead>, StoreError> {
        let condition = "workflow = ?1 AND name = ?2 AND number = ?3";
        let key = params![name.workflow, name.name, integer(number)];
        self.readers.read(|connection| reads(connection, condition, key))
    }
}

use rusqlite::{Connection, TransactionBehavior};

/// Marks the file as Ratchet's: "Rtch" in ASCII.
const APPLICATION_ID: i32 = 0x5274_6368;

/// What each version of the schema adds to the one before it. The file's `user_version` is the number of steps that were made; a step is never
/// changed once it was released.
///
/// A row's body is its JSON; what the store compares or sorts by stands beside it in columns of its own. Steps and children are kept apart, so that
/// no read of a run's steps walks over a fan-out.
const STEPS: &[&str] = &[
    "
    CREATE TABLE execution (
        id TEXT PRIMARY KEY,
        revision INTEGER NOT NULL,
        workflow TEXT NOT NULL,
        status TEXT NOT NULL,
        wake_at INTEGER,
        created_at INTEGER NOT NULL,
        body TEXT NOT NULL
    ) STRICT;
    CREATE INDEX execution_by_age ON execution (created_at, id);
    CREATE INDEX execution_by_workflow ON execution (workflow, created_at, id);
    CREATE INDEX execution_by_status ON execution (status, created_at, id);
    CREATE INDEX execution_by_wake ON execution (wake_at, id) WHERE wake_at IS NOT NULL;

    CREATE TABLE step (
        execution TEXT NOT NULL,
        step TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        revision INTEGER NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (execution, step, epoch)
    ) STRICT;

    CREATE TABLE child (
        execution TEXT NOT NULL,
        step TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        item INTEGER NOT NULL,
        revision INTEGER NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (execution, step, epoch, item)
    ) STRICT;

    CREATE TABLE attempt (
        execution TEXT NOT NULL,
        step TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        item INTEGER NOT NULL,
        attempt INTEGER NOT NULL,
        records INTEGER NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (execution, step, epoch, item, attempt)
    ) STRICT;

    CREATE TABLE bucket (
        execution TEXT NOT NULL,
        step TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        kind TEXT NOT NULL,
        level INTEGER NOT NULL,
        bucket INTEGER NOT NULL,
        ok INTEGER NOT NULL,
        failed INTEGER NOT NULL,
        continued INTEGER NOT NULL,
        PRIMARY KEY (execution, step, epoch, kind, level, bucket)
    ) STRICT, WITHOUT ROWID;
",
    "
    CREATE TABLE budget (
        execution TEXT PRIMARY KEY,
        body TEXT NOT NULL
    ) STRICT;

    CREATE TABLE concurrency_group (
        name TEXT PRIMARY KEY,
        body TEXT NOT NULL
    ) STRICT;
",
    ARTIFACTS,
    "
    CREATE TABLE cache_entry (
        scope TEXT NOT NULL,
        key TEXT NOT NULL,
        workflow TEXT NOT NULL,
        step TEXT NOT NULL,
        version TEXT,
        bytes INTEGER NOT NULL,
        created_at INTEGER NOT NULL,
        used_at INTEGER NOT NULL,
        expires_at INTEGER,
        digest TEXT NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (scope, key)
    ) STRICT;
    CREATE INDEX cache_entry_by_use ON cache_entry (used_at, scope, key, bytes);

    CREATE TABLE cache_lease (
        scope TEXT NOT NULL,
        key TEXT NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (scope, key)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE cache_use (
        execution TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        step TEXT NOT NULL,
        item INTEGER NOT NULL,
        at INTEGER NOT NULL,
        workflow TEXT,
        scope TEXT,
        key TEXT,
        hit INTEGER,
        process_ms INTEGER,
        cost_usd REAL,
        tokens INTEGER,
        withdrawn INTEGER NOT NULL,
        PRIMARY KEY (execution, epoch, step, item)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX cache_use_by_step ON cache_use (workflow, step, at);
    CREATE INDEX cache_use_by_time ON cache_use (at);
",
];

/// Versions of artifacts outlive the runs that made them. A tag and a read name a version by its number.
const ARTIFACTS: &str = "
    CREATE TABLE artifact_name (
        workflow TEXT NOT NULL,
        name TEXT NOT NULL,
        last INTEGER NOT NULL,
        PRIMARY KEY (workflow, name)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE artifact (
        workflow TEXT NOT NULL,
        name TEXT NOT NULL,
        number INTEGER NOT NULL,
        source TEXT NOT NULL,
        execution TEXT,
        digest TEXT NOT NULL,
        uses INTEGER NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (workflow, name, number)
    ) STRICT;
    CREATE INDEX artifact_by_source ON artifact (workflow, name, source, number);
    CREATE INDEX artifact_by_execution ON artifact (execution, workflow, name, number) WHERE execution IS NOT NULL;

    CREATE TABLE artifact_tag (
        workflow TEXT NOT NULL,
        name TEXT NOT NULL,
        tag TEXT NOT NULL,
        number INTEGER NOT NULL,
        PRIMARY KEY (workflow, name, tag)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE artifact_read (
        execution TEXT NOT NULL,
        step TEXT NOT NULL,
        item INTEGER NOT NULL,
        workflow TEXT NOT NULL,
        name TEXT NOT NULL,
        number INTEGER NOT NULL,
        PRIMARY KEY (execution, step, item, workflow, name, number)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX artifact_read_by_version ON artifact_read (workflow, name, number);
";

/// The tables whose rows belong to one execution, with the column that names it. The execution's own comes last.
pub(super) const TABLES: &[(&str, &str)] = &[
    ("step", "execution"),
    ("child", "execution"),
    ("attempt", "execution"),
    ("bucket", "execution"),
    ("budget", "execution"),
    ("execution", "id"),
];

/// Why a file was not brought up to date.
#[derive(Debug)]
pub(super) enum SchemaError {
    /// It is of a version that this code does not know.
    Newer { found: u32, known: u32 },
    /// It is a database, but not one of Ratchet's.
    Foreign,
    /// The database said so.
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for SchemaError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Brings a file up to this version, in one transaction.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), SchemaError> {
    // In one transaction: another process may bring the file up to date between two of the looks.
    if version(&*connection.transaction()?)? == STEPS.len() {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have done it while this one waited for its turn.
    let from = version(&transaction)?;
    for step in &STEPS[from..] {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", u32::try_from(STEPS.len()).unwrap_or(u32::MAX))?;
    Ok(transaction.commit()?)
}

/// How many steps were made in the file. An empty file is ours to fill.
fn version(connection: &Connection) -> Result<usize, SchemaError> {
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let application_id: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if application_id != APPLICATION_ID {
        let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if found != 0 || tables != 0 || application_id != 0 {
            return Err(SchemaError::Foreign);
        }
    }
    match usize::try_from(found) {
        Ok(version) if version <= STEPS.len() => Ok(version),
        _ => Err(SchemaError::Newer { found, known: u32::try_from(STEPS.len()).unwrap_or(u32::MAX) }),
    }
}

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use ratchet_engine::ports::StoreError;
use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig};

use super::{error, schema, schema::SchemaError};

/// How long a transaction waits for its turn while other processes write.
const TURN_LIMIT: Duration = Duration::from_secs(30);

/// The longest pause between two looks at whether it is one's turn.
const TURN_PAUSE_MAX: Duration = Duration::from_millis(10);

/// Bytes of the smallest page: a database has at least one.
const HEADER: u64 = 512;

/// Pages of the write-ahead log after which they are copied into the file: 16 MB. A run writes the same few pages again and again, and each is copied once.
const LOG_PAGES: u32 = 4000;

/// Statements that a connection keeps compiled: all that there are.
const STATEMENTS: usize = 64;

/// Whether a connection waits for its turn while another process writes, or gives up at once. Whoever uses the connection sets it first.
#[derive(Debug, Clone)]
pub(super) struct Patience(Arc<AtomicBool>);

impl Patience {
    pub(super) fn set(&self, patient: bool) {
        self.0.store(patient, Ordering::Relaxed);
    }

    fn is_patient(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }
}

/// Opens the file for writing; makes it where it is not there, and brings it up to date.
pub(super) fn open(path: &Path, patience: &Patience) -> Result<Connection, StoreError> {
    // Closing a file drops this process's locks on it, whoever took them: so nobody here may have the file open while it is made.
    static MAKING: Mutex<()> = Mutex::new(());
    let making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    create(path).map_err(|source| StoreError::Refused {
        action: format!("make {}", path.display()),
        reason: source.to_string(),
    })?;
    if fs::metadata(path).is_ok_and(|metadata| (1..HEADER).contains(&metadata.len())) {
        // The database would take it for an empty one and write over it.
        let reason = "it is too short to be a database".to_owned();
        return Err(StoreError::Damaged { place: path.display().to_string(), reason });
    }
    let failure = |error| error::of_database("open", &error, path);
    let mut connection = connect(path, patience.clone()).map_err(failure)?;
    drop(making);
    if !use_write_ahead_log(&connection).map_err(failure)? {
        let reason =
            "its file system cannot share memory between processes, which the write-ahead log needs".to_owned();
        return Err(StoreError::Refused { action: format!("open {}", path.display()), reason });
    }
    schema::migrate(&mut connection).map_err(|error| match error {
        SchemaError::Newer { found, known } => StoreError::Newer { place: path.display().to_string(), found, known },
        SchemaError::Foreign => StoreError::Damaged {
            place: path.display().to_string(),
            reason: "it is the database of another program".to_owned(),
        },
        SchemaError::Sqlite(error) => error::of_database("bring up to date", &error, path),
    })?;
    Ok(connection)
}

/// Opens a file that is there and up to date, for reading.
pub(super) fn open_for_reading(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(path, Patience::default())?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// Makes an empty file that only its owner may read, durably; one that is there stays as it is.
fn create(path: &Path) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => File::open(folder)?.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn connect(path: &Path, patience: Patience) -> rusqlite::Result<Connection> {
    let mut connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    let mut since = Instant::now();
    connection.busy_handler(Some(move |looks: i32| {
        if looks == 0 {
            since = Instant::now();
        }
        patience.is_patient() && wait_for_turn(since, looks)
    }))?;
    // Else a statement whose plan might depend on a value (one that an index of some rows only would serve) is compiled anew each time that it is run.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
    Ok(connection)
}

/// Waits a moment, or says that the wait has been long enough.
fn wait_for_turn(since: Instant, looks: i32) -> bool {
    if since.elapsed() > TURN_LIMIT {
        return false;
    }
    let pause = Duration::from_micros(250).saturating_mul(u32::try_from(looks).unwrap_or(0).saturating_add(1));
    thread::sleep(pause.min(TURN_PAUSE_MAX));
    true
}

/// Turns the write-ahead log on, which stays in the file. `false` where the file system cannot.
fn use_write_ahead_log(connection: &Connection) -> rusqlite::Result<bool> {
    let since = Instant::now();
    let mut looks = 0;
    loop {
        // The change needs the file to itself for a moment, and says "busy" without asking the handler.
        match connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0)) {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && wait_for_turn(since, looks) => {
                looks += 1;
            }
            answer => return Ok(answer?.eq_ignore_ascii_case("wal")),
        }
    }
}

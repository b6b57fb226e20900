use std::{fs, path::Path};

use ratchet_engine::ports::{StateStore, StoreError};
use ratchet_testkit::builders::{execution_row, put_execution, put_step, step_key, step_row};
use rusqlite::Connection;
use tempfile::TempDir;

use super::{LocalStateStore, fresh};

/// Opens a file that cannot be used, and returns the error with its folder's name left out.
fn refusal(path: &Path, folder: &Path) -> (&'static str, String) {
    let error = LocalStateStore::open(path).expect_err("the file cannot be used");
    (error.code(), error.to_string().replace(&folder.display().to_string(), ""))
}

/// A state file that holds an execution.
async fn filled(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("state.db");
    let store = LocalStateStore::open(&path).unwrap();
    store.commit(vec![put_execution(&execution_row("run"))]).await.unwrap();
    path
}

#[tokio::test]
async fn a_newer_file_is_left_as_it_is() {
    let folder = TempDir::new().unwrap();
    let path = filled(folder.path()).await;
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 999).unwrap();
    let before = fs::read(&path).unwrap();
    let (code, message) = refusal(&path, folder.path());
    assert_eq!(code, "RT-0202");
    assert_eq!(message, "the state at /state.db is of schema version 999, and this version of ratchet knows up to 4");
    assert!(fs::read(&path).unwrap() == before, "not a byte was changed");
}

#[tokio::test]
async fn another_programs_file_is_left_as_it_is() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("theirs.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE precious (id)").unwrap();
    let (code, message) = refusal(&path, folder.path());
    assert_eq!(
        (code, &*message),
        ("RT-0203", "the state at /theirs.db is damaged: it is the database of another program")
    );

    let text = folder.path().join("notes.txt");
    fs::write(&text, "some notes, long enough not to be taken for the head of an empty file\n".repeat(20)).unwrap();
    let (code, message) = refusal(&text, folder.path());
    assert_eq!((code, &*message), ("RT-0203", "the state at /notes.txt is damaged: file is not a database"));
    assert!(fs::read_to_string(&text).unwrap().starts_with("some notes"), "not a byte was changed");
}

#[tokio::test]
async fn a_place_that_cannot_hold_a_file_is_named() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let (code, message) = refusal(&folder.path().join("file/state.db"), folder.path());
    assert_eq!(code, "RT-0201");
    assert!(message.starts_with("the state store cannot make /file/state.db: "), "{message}");

    let (code, message) = refusal(Path::new("/proc/self/ratchet/state.db"), folder.path());
    assert_eq!(code, "RT-0201");
    assert!(message.starts_with("the state store cannot make /proc/self/ratchet/state.db: "), "{message}");
}

#[tokio::test]
async fn every_cut_of_a_file_is_refused_or_read_right() {
    let folder = TempDir::new().unwrap();
    let path = filled(folder.path()).await;
    let whole = fs::read(&path).unwrap();
    let mut refused = 0;
    for cut in (1..whole.len()).step_by(whole.len() / 40) {
        for damage in [whole[..cut].to_vec(), [&whole[..cut], &vec![0xa5; whole.len() - cut]].concat()] {
            let damaged = folder.path().join(format!("{cut}.db"));
            fs::write(&damaged, &damage).unwrap();
            let read = match LocalStateStore::open(&damaged) {
                Ok(store) => store.execution(&execution_row("run").id).await,
                Err(error) => Err(error),
            };
            match read {
                Ok(row) => assert_eq!(row, Some(execution_row("run")), "cut at {cut}: never a wrong answer"),
                Err(StoreError::Damaged { .. }) => refused += 1,
                Err(other) => panic!("cut at {cut}: {other}"),
            }
            fs::remove_file(&damaged).unwrap();
        }
    }
    assert!(refused > 40, "most damage is noticed: {refused}");
}

#[tokio::test]
async fn a_row_that_is_not_what_was_written_is_told() {
    let folder = TempDir::new().unwrap();
    let path = filled(folder.path()).await;
    Connection::open(&path).unwrap().execute_batch("UPDATE execution SET body = '{\"id\": \"run\"}'").unwrap();
    let store = LocalStateStore::open(&path).unwrap();
    let error = store.execution(&execution_row("run").id).await.unwrap_err();
    let message = error.to_string().replace(&folder.path().display().to_string(), "");
    assert!(
        message.starts_with("the state at /state.db is damaged: the row of an execution cannot be read: missing field"),
        "{message}"
    );
    let conflicting = store.commit(vec![put_execution(&execution_row("run"))]).await.unwrap_err();
    assert_eq!(conflicting.to_string(), error.to_string());
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_the_store_goes_on_when_there_is_room() {
    let (_folder, store) = fresh();
    let limit = async |pages: u32| {
        store
            .writer
            .alone("limit", move |connection| connection.pragma_update(None, "max_page_count", pages))
            .await
            .unwrap();
    };
    limit(60).await;
    let mut kept = Vec::new();
    let error = loop {
        let row = step_row(step_key("run", 1, &format!("s{}", kept.len())));
        match store.commit(vec![put_step(&row)]).await {
            Ok(committed) => assert_eq!(committed.conflict, None),
            Err(error) => break error,
        }
        kept.push(row);
        assert!(kept.len() < 10_000, "60 pages are full some time");
    };
    assert_eq!(error.code(), "RT-0201");
    assert!(error.to_string().ends_with("state.db: the disk is full"), "{error}");

    limit(10_000).await;
    let next = step_row(step_key("run", 1, "next"));
    store.commit(vec![put_step(&next)]).await.unwrap();
    for row in kept.iter().chain([&next]) {
        assert_eq!(store.step(&row.key).await.unwrap().as_ref(), Some(row), "what was committed is there");
    }
    assert_eq!(store.check().await.unwrap(), Vec::<String>::new());
}

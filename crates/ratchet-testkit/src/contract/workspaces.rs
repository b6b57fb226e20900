use std::sync::Arc;

use ratchet_core::{execution::ExecutionRow, history::sha256_hex, ids::Digest, output::FileValue};
use ratchet_definition::files::{FileAccess, FileError};
use ratchet_engine::ports::{WorkspaceError, Workspaces};

/// The contract of [`Workspaces`], and of the [`FileAccess`] that it gives. `make` gives an adapter and a run whose workspace is empty.
pub async fn workspaces(make: impl AsyncFn() -> (Arc<dyn Workspaces>, ExecutionRow)) {
    what_is_written_is_read(&make().await).await;
    a_captured_file_stays_as_it_was(&make().await).await;
    a_path_stays_inside(&make().await).await;
    a_folder_has_a_digest(&make().await).await;
    a_glob_gives_sorted_files(&make().await).await;
}

type Under<'a> = &'a (Arc<dyn Workspaces>, ExecutionRow);

async fn write(under: Under<'_>, path: &str, content: &str) -> FileValue {
    under.0.write(&under.1, path, content.as_bytes()).await.expect("the workspace can be written")
}

async fn files(under: Under<'_>) -> Arc<dyn FileAccess> {
    under.0.files(&under.1).await.expect("the workspace is there")
}

async fn what_is_written_is_read(under: Under<'_>) {
    for (path, name) in
        [("report.txt", "report.txt"), ("a/b c/ü.txt", "a/b c/ü.txt"), ("./x/../y", "y"), ("empty", "empty")]
    {
        let content = if path == "empty" { "" } else { "content\n" };
        let value = write(under, path, content).await;
        assert_eq!((&*value.path, value.content.size), (name, content.len() as u64));
        assert_eq!(value.content.digest.as_str(), sha256_hex(content.as_bytes()));
        let files = files(under).await;
        assert_eq!(files.read(path), Ok(content.as_bytes().to_vec()));
        assert_eq!(files.digest(path), Ok(Some(value.content.digest.clone())));
        assert_eq!(files.read_captured(&value), Ok(content.as_bytes().to_vec()));
        assert_eq!(files.path_of_captured(&value), Ok(name.to_owned()));
    }
    let files = files(under).await;
    assert_eq!(files.read("missing"), Err(FileError::NotFound("missing".to_owned())));
    assert_eq!(files.digest("missing"), Ok(None));
}

async fn a_captured_file_stays_as_it_was(under: Under<'_>) {
    let first = write(under, "coverage.xml", "before").await;
    let second = write(under, "coverage.xml", "after").await;
    let files = files(under).await;
    assert_eq!(files.read("coverage.xml"), Ok(b"after".to_vec()));
    assert_eq!(files.read_captured(&first), Ok(b"before".to_vec()));
    assert_eq!(files.read_captured(&second), Ok(b"after".to_vec()));
    assert_eq!(files.path_of_captured(&second), Ok("coverage.xml".to_owned()), "it still has the digest");
    let copy = files.path_of_captured(&first).expect("there is a copy");
    assert!(copy.starts_with('/') && copy.ends_with("coverage.xml"), "a copy outside the workspace: {copy}");
}

async fn a_path_stays_inside(under: Under<'_>) {
    write(under, "inside", "").await;
    let files = files(under).await;
    for path in ["../outside", "/etc/passwd", "a/../../outside", ".."] {
        let outside = FileError::Outside(path.to_owned());
        assert_eq!(files.read(path), Err(outside.clone()));
        assert_eq!(files.digest(path), Err(outside.clone()));
        assert_eq!(files.glob(&format!("{path}/*")), Err(FileError::Outside(format!("{path}/*"))));
        let written = under.0.write(&under.1, path, b"").await;
        assert!(matches!(&written, Err(WorkspaceError::Outside(named)) if named == path), "{path}: {written:?}");
    }
}

async fn a_folder_has_a_digest(under: Under<'_>) {
    let digest = async || files(under).await.digest("folder").expect("it can be read");
    assert_eq!(digest().await, None);
    let mut seen: Vec<Option<Digest>> = Vec::new();
    for (path, content) in
        [("folder/a", "1"), ("folder/a", "2"), ("folder/b", "2"), ("folder/deep/c", ""), ("folder/a", "3")]
    {
        write(under, path, content).await;
        let now = digest().await;
        assert!(now.is_some() && !seen.contains(&now), "{path} with {content:?} makes another digest");
        assert_eq!(digest().await, now, "the same files have the same digest");
        seen.push(now);
    }
    write(under, "folder/a", "2").await;
    assert_eq!(digest().await, seen[3], "what it is made of counts, not when");
    write(under, "beside", "").await;
    assert_eq!(digest().await, seen[3], "what lies beside does not count");
}

async fn a_glob_gives_sorted_files(under: Under<'_>) {
    for path in ["b.py", "a.py", "a.txt", "src/z.py", "src/deep/y.py"] {
        write(under, path, "").await;
    }
    let files = files(under).await;
    for (pattern, expected) in [
        ("*.py", vec!["a.py", "b.py"]),
        ("./*.py", vec!["a.py", "b.py"]),
        ("**/*.py", vec!["a.py", "b.py", "src/deep/y.py", "src/z.py"]),
        ("src/*", vec!["src/z.py"]),
        ("a.{py,txt}", vec!["a.py", "a.txt"]),
        ("*.rs", vec![]),
    ] {
        let expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
        assert_eq!(files.glob(pattern), Ok(expected), "{pattern}");
    }
}

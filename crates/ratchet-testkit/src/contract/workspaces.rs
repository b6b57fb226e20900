use std::sync::Arc;

use ratchet_core::{
    execution::ExecutionRow,
    history::sha256_hex,
    ids::{Digest, StepId, StepPath},
    output::FileValue,
};
use ratchet_definition::files::{FileAccess, FileError};
use ratchet_engine::ports::{Branch, Laid, WorkspaceError, Workspaces};

/// The contract of [`Workspaces`], and of the [`FileAccess`] that it gives. `make` gives an adapter and a run that begins with a tree without files.
pub async fn workspaces(make: impl AsyncFn() -> (Arc<dyn Workspaces>, ExecutionRow)) {
    directories(&make).await;
    a_tree_never_changes(make().await).await;
    branches_come_together(make().await).await;
    branches_at_odds_are_named(make().await).await;
    a_change_is_laid_where_it_fits(make().await).await;
    content_is_what_a_process_can_tell(make().await).await;
}

/// The part of it that holds of runs that work in the directory itself too. `make` gives an adapter and a run whose directory is empty.
pub async fn directories(make: impl AsyncFn() -> (Arc<dyn Workspaces>, ExecutionRow)) {
    what_is_written_is_read(make().await.into()).await;
    a_captured_file_stays_as_it_was(make().await.into()).await;
    a_path_stays_inside(make().await.into()).await;
    a_folder_has_a_digest(make().await.into()).await;
    a_glob_gives_sorted_files(make().await.into()).await;
}

/// A run, and its files as they are after what was written.
struct Under {
    workspaces: Arc<dyn Workspaces>,
    execution: ExecutionRow,
    tree: Option<Digest>,
}

impl From<(Arc<dyn Workspaces>, ExecutionRow)> for Under {
    fn from((workspaces, execution): (Arc<dyn Workspaces>, ExecutionRow)) -> Self {
        let tree = execution.tree.clone();
        Self { workspaces, execution, tree }
    }
}

impl Under {
    async fn write(&mut self, path: &str, content: &str) -> FileValue {
        let written = self.workspaces.write(&self.execution, self.tree.as_ref(), path, content.as_bytes()).await;
        let written = written.expect("the workspace can be written");
        assert_eq!(written.tree.is_some(), self.tree.is_some(), "a tree makes a tree");
        self.tree = written.tree;
        written.file
    }

    async fn files(&self) -> Arc<dyn FileAccess> {
        self.workspaces.files(&self.execution, self.tree.as_ref()).await.expect("the workspace is there")
    }
}

async fn what_is_written_is_read(mut under: Under) {
    for (path, name) in
        [("report.txt", "report.txt"), ("a/b c/ü.txt", "a/b c/ü.txt"), ("./x/../y", "y"), ("empty", "empty")]
    {
        let content = if path == "empty" { "" } else { "content\n" };
        let value = under.write(path, content).await;
        assert_eq!((&*value.path, value.content.size), (name, content.len() as u64));
        assert_eq!(value.content.digest.as_str(), sha256_hex(content.as_bytes()));
        let files = under.files().await;
        assert_eq!(files.read(path), Ok(content.as_bytes().to_vec()));
        assert_eq!(files.digest(path), Ok(Some(value.content.digest.clone())));
        assert_eq!(files.read_captured(&value), Ok(content.as_bytes().to_vec()));
        assert_eq!(files.path_of_captured(&value), Ok(name.to_owned()));
    }
    let files = under.files().await;
    assert_eq!(files.read("missing"), Err(FileError::NotFound("missing".to_owned())));
    assert_eq!(files.digest("missing"), Ok(None));
}

async fn a_captured_file_stays_as_it_was(mut under: Under) {
    let first = under.write("coverage.xml", "before").await;
    let second = under.write("coverage.xml", "after").await;
    let files = under.files().await;
    assert_eq!(files.read("coverage.xml"), Ok(b"after".to_vec()));
    assert_eq!(files.read_captured(&first), Ok(b"before".to_vec()));
    assert_eq!(files.read_captured(&second), Ok(b"after".to_vec()));
    assert_eq!(files.path_of_captured(&second), Ok("coverage.xml".to_owned()), "it still has the digest");
    let copy = files.path_of_captured(&first).expect("there is a copy");
    assert!(copy.starts_with('/') && copy.ends_with("coverage.xml"), "a copy outside the workspace: {copy}");
}

async fn a_path_stays_inside(mut under: Under) {
    under.write("inside", "").await;
    let files = under.files().await;
    for path in ["../outside", "/etc/passwd", "a/../../outside", ".."] {
        let outside = FileError::Outside(path.to_owned());
        assert_eq!(files.read(path), Err(outside.clone()));
        assert_eq!(files.digest(path), Err(outside.clone()));
        assert_eq!(files.glob(&format!("{path}/*")), Err(FileError::Outside(format!("{path}/*"))));
        let written = under.workspaces.write(&under.execution, under.tree.as_ref(), path, b"").await;
        assert!(matches!(&written, Err(WorkspaceError::Outside(named)) if named == path), "{path}: {written:?}");
    }
}

async fn a_folder_has_a_digest(mut under: Under) {
    let digest = async |under: &Under| under.files().await.digest("folder").expect("it can be read");
    assert_eq!(digest(&under).await, None);
    let mut seen: Vec<Option<Digest>> = Vec::new();
    for (path, content) in
        [("folder/a", "1"), ("folder/a", "2"), ("folder/b", "2"), ("folder/deep/c", ""), ("folder/a", "3")]
    {
        under.write(path, content).await;
        let now = digest(&under).await;
        assert!(now.is_some() && !seen.contains(&now), "{path} with {content:?} makes another digest");
        assert_eq!(digest(&under).await, now, "the same files have the same digest");
        seen.push(now);
    }
    under.write("folder/a", "2").await;
    assert_eq!(digest(&under).await, seen[3], "what it is made of counts, not when");
    under.write("beside", "").await;
    assert_eq!(digest(&under).await, seen[3], "what lies beside does not count");
}

async fn a_glob_gives_sorted_files(mut under: Under) {
    for path in ["b.py", "a.py", "a.txt", "src/z.py", "src/deep/y.py"] {
        under.write(path, "").await;
    }
    let files = under.files().await;
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

type Trees = (Arc<dyn Workspaces>, ExecutionRow);

/// The tree after a file was written over another.
async fn over(under: &Trees, tree: Option<&Digest>, path: &str, content: &str) -> Digest {
    let written = under.0.write(&under.1, tree, path, content.as_bytes()).await.expect("the tree can be written");
    written.tree.expect("a tree makes a tree")
}

async fn read(under: &Trees, tree: &Digest, path: &str) -> Option<String> {
    let files = under.0.files(&under.1, Some(tree)).await.expect("the tree is there");
    files.read(path).ok().map(|content| String::from_utf8_lossy(&content).into_owned())
}

async fn a_tree_never_changes(under: Trees) {
    let source = under.1.tree.clone();
    let first = over(&under, source.as_ref(), "file", "1").await;
    let second = over(&under, Some(&first), "file", "2").await;
    assert_eq!(read(&under, &first, "file").await.as_deref(), Some("1"));
    assert_eq!(read(&under, &second, "file").await.as_deref(), Some("2"));
    assert_eq!(read(&under, &source.expect("it begins with one"), "file").await, None);
}

fn branch(step: &str, tree: &Digest) -> Branch {
    Branch { step: StepPath::step(StepId::new(step)), tree: tree.clone() }
}

async fn lay(under: &Trees, base: &Digest, left: &Digest, outputs: &[&str]) -> Laid {
    let outputs: Vec<String> = outputs.iter().map(ToString::to_string).collect();
    under.0.lay(&under.1, base, left, &outputs).await.expect("all of it is there")
}

async fn a_change_is_laid_where_it_fits(under: Trees) {
    let found = over(&under, under.1.tree.as_ref(), "file", "1").await;
    let left = over(&under, Some(&found), "file", "2").await;
    for (there, expected) in [(Some("1"), Some("2")), (Some("2"), Some("2")), (Some("3"), None), (None, None)] {
        let mut base = over(&under, under.1.tree.as_ref(), "beside", "b").await;
        if let Some(content) = there {
            base = over(&under, Some(&base), "file", content).await;
        }
        match (lay(&under, &base, &left, &["other"]).await, expected) {
            (Laid::Tree(laid), Some(content)) => {
                assert_eq!(read(&under, &laid, "file").await.as_deref(), Some(content), "{there:?}");
                assert_eq!(read(&under, &laid, "beside").await.as_deref(), Some("b"), "what it did not touch stays");
            }
            (Laid::Differs(path), None) => assert_eq!(path, "file"),
            (laid, _) => panic!("{there:?} gives {laid:?}"),
        }
        let Laid::Tree(laid) = lay(&under, &base, &left, &["./file"]).await else {
            panic!("an output is replaced, whatever is there");
        };
        assert_eq!(read(&under, &laid, "file").await.as_deref(), Some("2"));
    }
    let added = over(&under, Some(&found), "new", "n").await;
    assert!(matches!(lay(&under, &left, &added, &[]).await, Laid::Tree(_)), "what was not there is not there");
    assert_eq!(under.0.size(&under.1, &added).await.expect("it is there"), 1, "only what was changed counts");
}

async fn content_is_what_a_process_can_tell(under: Trees) {
    let content = async |tree: &Digest| under.0.content(&under.1, tree).await.expect("it is there");
    let one = over(&under, under.1.tree.as_ref(), "a", "1").await;
    let one = over(&under, Some(&one), "b", "2").await;
    let other = over(&under, under.1.tree.as_ref(), "b", "2").await;
    assert_ne!(content(&one).await, content(&other).await);
    let other = over(&under, Some(&other), "a", "1").await;
    assert_eq!(content(&one).await, content(&other).await, "what it is made of counts, not how it came about");
    let changed = over(&under, Some(&one), "a", "2").await;
    assert_ne!(content(&one).await, content(&changed).await);
    let leaving = over(&under, Some(&one), "__pycache__/a.pyc", "x").await;
    assert_eq!(content(&one).await, content(&leaving).await, "what tools leave behind does not count");
}

async fn branches_come_together(under: Trees) {
    let base = over(&under, under.1.tree.as_ref(), "base", "1").await;
    let left = over(&under, Some(&base), "left", "1").await;
    let right = over(&under, Some(&over(&under, Some(&base), "base", "2").await), "both", "same").await;
    let also = over(&under, Some(&base), "both", "same").await;
    let branches = [branch("left", &left), branch("right", &right), branch("also", &also), branch("none", &base)];
    let merged = under.0.merge(&under.1, &branches).await.expect("nothing is at odds");
    assert_eq!(under.0.merge(&under.1, &branches).await.expect("nothing is at odds"), merged, "again it is the same");
    for (path, content) in [("base", "2"), ("left", "1"), ("both", "same")] {
        assert_eq!(read(&under, &merged, path).await.as_deref(), Some(content), "{path}");
    }
    let further = over(&under, Some(&merged), "base", "3").await;
    let again = under.0.merge(&under.1, &[branch("left", &left), branch("further", &further)]).await;
    let again = again.expect("what goes on from another has nothing against it");
    assert_eq!(read(&under, &again, "base").await.as_deref(), Some("3"));
}

async fn branches_at_odds_are_named(under: Trees) {
    let base = over(&under, under.1.tree.as_ref(), "src/file", "1").await;
    let one = over(&under, Some(&base), "src/file", "2").await;
    let other = over(&under, Some(&base), "src/file", "3").await;
    match under.0.merge(&under.1, &[branch("base", &base), branch("one", &one), branch("other", &other)]).await {
        Err(WorkspaceError::Conflict { path, first, second }) => {
            assert_eq!((&*path, &*first.to_string(), &*second.to_string()), ("src/file", "one", "other"));
        }
        other => panic!("{other:?}"),
    }
}

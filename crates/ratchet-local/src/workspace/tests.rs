//! Directories, the trees that runs make of them, and what a directory is in the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use ratchet_core::ids::{Epoch, ExecutionId};
use ratchet_workspace::Bounds;
use tempfile::TempDir;

use super::*;
use crate::{blob_store::LocalBlobStore, directory::StateDirectory};

struct Scene {
    _folder: TempDir,
    state: StateDirectory,
    source: PathBuf,
    id: ExecutionId,
    files: Files,
}

/// Edits a tree. One edit a line: `write PATH TEXT`, `remove PATH`, `folder PATH`, `link PATH TO`, `mode PATH OCTAL`.
fn edit(root: &Path, edits: &str) {
    for line in edits.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut words = line.splitn(3, ' ');
        let (verb, path, rest) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap_or_default());
        let target = root.join(path);
        match verb {
            "write" => {
                fs::create_dir_all(target.parent().unwrap()).unwrap();
                fs::write(&target, rest).unwrap();
            }
            "remove" if target.symlink_metadata().unwrap().is_dir() => remove_tree(&target).unwrap(),
            "remove" => fs::remove_file(&target).unwrap(),
            "folder" => fs::create_dir_all(&target).unwrap(),
            "link" => symlink(rest, &target).unwrap(),
            "mode" => {
                let mode = u32::from_str_radix(rest, 8).unwrap();
                fs::set_permissions(&target, fs::Permissions::from_mode(mode)).unwrap();
            }
            other => panic!("{other}"),
        }
    }
}

/// Every file below a folder with its text.
fn texts(root: &Path) -> BTreeMap<String, String> {
    let files = ratchet_workspace::paths(root, &|path| path.is_git()).unwrap();
    let files = files.into_iter().filter(|(_, kind)| *kind == ratchet_workspace::Kind::File);
    files.map(|(path, _)| (path.to_string(), fs::read_to_string(root.join(path.as_path())).unwrap())).collect()
}

impl Scene {
    fn new(start: &str) -> Self {
        rustix::process::umask(rustix::fs::Mode::from_bits_truncate(0o022));
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().canonicalize().unwrap().join("project");
        fs::create_dir(&source).unwrap();
        edit(&source, start);
        let state = StateDirectory::open(&folder.path().join("state")).unwrap();
        let files = fresh(&state);
        Self { _folder: folder, state, source, id: ExecutionId::new("run"), files }
    }

    fn place(&self) -> LocalPlace {
        LocalPlace { workspace: self.source.clone(), in_place: false, definitions: None, checkout: None }
    }

    fn begin(&self) -> Digest {
        self.files.begin(&self.id, &self.place(), &[]).unwrap().unwrap()
    }

    /// A step that edits its files, and what it left.
    fn step(&self, base: &Digest, edits: &str) -> Digest {
        let view = self.files.open(&self.id, base).unwrap();
        edit(view.files().root(), edits);
        self.files.close(view, BTreeSet::new(), Bounds::NONE).unwrap()
    }

    /// What a step finds.
    fn sees(&self, tree: &Digest) -> BTreeMap<String, String> {
        let view = self.files.open(&self.id, tree).unwrap();
        let found = texts(view.files().root());
        assert_eq!(
            self.files.close(view, BTreeSet::new(), Bounds::NONE).unwrap(),
            *tree,
            "who only looks changes nothing"
        );
        found
    }

    fn apply(&self, epoch: u32, left: &Digest, declared: &[&str]) -> Result<Application, LocalError> {
        let declared = declared.iter().map(|path| TreePath::new(path).unwrap()).collect();
        let changes = Changes::of(&self.files, &self.id, left, None)?;
        apply(&self.files, (&self.id, Epoch(epoch), false), changes, declared)
    }

    /// The same files as those of a directory, and as those of a tree.
    fn both(&self) -> [Arc<dyn FileAccess>; 2] {
        let tree = tree_digest(&self.begin()).unwrap();
        let run = self.files.of_run(&self.id).unwrap();
        [
            Arc::new(ConfinedFiles::new(&self.source, self.state.clone())),
            Arc::new(TreeFiles::new(RunTrees { files: self.files.clone(), run, definitions: None }, tree)),
        ]
    }
}

#[test]
fn whoever_asks_at_once_for_the_files_of_a_run_has_the_same() {
    for _ in 0..20 {
        let world = Scene::new("write a one");
        world.begin();
        let (files, barrier) = (fresh(&world.state), std::sync::Barrier::new(4));
        let ask = || {
            barrier.wait();
            files.of_run(&world.id).unwrap()
        };
        let all = std::thread::scope(|scope| [0; 4].map(|_| scope.spawn(ask)).map(|asking| asking.join().unwrap()));
        assert!(all.iter().all(|run| Arc::ptr_eq(run, &all[0])));
    }
}

fn fresh(state: &StateDirectory) -> Files {
    Files::new(state.clone(), LocalBlobStore::new(state.blobs()))
}

/// Says shortly what came of an application.
fn said(application: &Application) -> String {
    match application {
        Application::Nothing => "nothing".to_owned(),
        Application::Applied { paths, .. } => {
            format!("applied {}", paths.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        }
        Application::NotApplied { conflicts } => {
            conflicts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        }
    }
}

#[test]
fn a_step_sees_what_those_before_it_left_whoever_comes_when() {
    let scene = Scene::new("write a one\nwrite d/b one");
    let source = scene.begin();
    let first = scene.step(&source, "write a two\nremove d");
    edit(&scene.source, "write a mine\nwrite n mine");
    let (left, right) = (scene.step(&first, "write l 1"), scene.step(&first, "write r 1"));
    let further = scene.step(&left, "remove l\nwrite m 1");
    let expected = [
        (&source, &[("a", "one"), ("d/b", "one")][..]),
        (&first, &[("a", "two")]),
        (&left, &[("a", "two"), ("l", "1")]),
        (&right, &[("a", "two"), ("r", "1")]),
        (&further, &[("a", "two"), ("m", "1")]),
    ];
    // In this process, and in one that comes later and knows nothing.
    for files in [scene.files.clone(), fresh(&scene.state)] {
        let scene = Scene {
            files,
            state: scene.state.clone(),
            source: scene.source.clone(),
            id: scene.id.clone(),
            _folder: tempfile::tempdir().unwrap(),
        };
        for (tree, found) in expected.iter().rev().chain(&expected) {
            let found: BTreeMap<_, _> =
                found.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
            assert_eq!(scene.sees(tree), found);
        }
        scene.files.release(&scene.id);
        assert!(!scene.state.views(&scene.id).exists());
    }
}

#[test]
fn an_attempt_that_is_given_up_leaves_nothing() {
    let scene = Scene::new("write a one");
    let source = scene.begin();
    let view = scene.files.open(&scene.id, &source).unwrap();
    edit(view.files().root(), "write a two");
    view.give_up();
    assert_eq!(scene.sees(&source)["a"], "one");
}

#[test]
fn who_changes_nothing_writes_nothing() {
    let scene = Scene::new("write a one");
    let source = scene.begin();
    let before = ratchet_workspace::paths(&scene.state.blobs(), &|_| false).unwrap();
    for _ in 0..3 {
        scene.sees(&source);
    }
    let again = ExecutionId::new("again");
    assert_eq!(
        scene.files.begin(&again, &scene.place(), &[]).unwrap(),
        Some(source),
        "the same directory is the same tree"
    );
    assert_eq!(ratchet_workspace::paths(&scene.state.blobs(), &|_| false).unwrap(), before);
}

#[test]
fn a_step_may_leave_so_much_and_no_more() {
    let scene = Scene::new("write a one");
    let view = scene.files.open(&scene.id, &scene.begin()).unwrap();
    edit(view.files().root(), "write n 12345");
    let error = scene.files.close(view, BTreeSet::new(), Bounds { bytes: 4, ..Bounds::NONE }).unwrap_err();
    assert_eq!(error.code(), "RT-0273");
}

#[test]
fn a_second_end_is_compared_with_what_the_first_left() {
    let scene = Scene::new("write a one\nwrite b one\nwrite .gitignore out\nfolder .git");
    let source = scene.begin();
    let first = scene.step(&source, "write a two\nwrite out 1\nwrite .coverage 1");
    assert_eq!(said(&scene.apply(1, &first, &[]).unwrap()), "applied a");
    assert_eq!(said(&scene.apply(1, &source, &[]).unwrap()), "applied a", "done already, it is only told");
    let second = scene.step(&first, "write a three\nwrite b two\nwrite out 2");
    edit(&scene.source, "write b mine");
    assert_eq!(said(&scene.apply(2, &second, &[]).unwrap()), "b was changed");
    edit(&scene.source, "write b one");
    assert_eq!(said(&scene.apply(3, &second, &["out"]).unwrap()), "applied a b out");
    // Resumed from its start, it takes back what it had done.
    assert_eq!(said(&scene.apply(4, &source, &[]).unwrap()), "applied a b out");
    assert_eq!(texts(&scene.source)["a"], "one");
    assert_eq!(application(&scene.state, &scene.id, Epoch(1)).unwrap(), None, "only the newest end is told of");
}

#[test]
fn what_a_power_loss_may_have_taken_is_not_believed() {
    let scene = Scene::new("write a one");
    scene.begin();
    let note = scene.state.source(&scene.id);
    let text = fs::read_to_string(&note).unwrap();
    let start = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    fs::write(&note, text.replace(start.trim(), "another start")).unwrap();
    for (is_synced, code) in [(true, None), (false, Some("RT-0258"))] {
        if is_synced {
            fs::write(scene.state.synced(&scene.id), "").unwrap();
        } else {
            fs::remove_file(scene.state.synced(&scene.id)).unwrap();
        }
        let loaded = Source::load(&scene.state, &scene.id);
        assert_eq!(loaded.err().map(|error| error.code()), code);
    }
}

#[test]
fn a_workspace_that_is_no_directory_is_told() {
    let scene = Scene::new("write a one");
    for (path, in_place) in ["a", "none"].into_iter().flat_map(|path| [(path, false), (path, true)]) {
        let place = LocalPlace { workspace: scene.source.join(path), in_place, definitions: None, checkout: None };
        assert_eq!(scene.files.begin(&scene.id, &place, &[]).unwrap_err().code(), "RT-0253", "{path}");
    }
    let place = LocalPlace { workspace: "relative".into(), in_place: true, definitions: None, checkout: None };
    assert_eq!(scene.files.begin(&scene.id, &place, &[]).unwrap_err().code(), "RT-0253");
    let place = LocalPlace { in_place: true, ..scene.place() };
    assert_eq!(scene.files.begin(&scene.id, &place, &[]).unwrap(), None, "the directory itself has no tree");
}

#[test]
fn a_state_directory_in_the_workspace_is_no_part_of_it() {
    let scene = Scene::new("write a one");
    let state = StateDirectory::open(&scene.source.join(".state")).unwrap();
    let scene = Scene { files: fresh(&state), state, ..scene };
    let source = scene.begin();
    let left = scene.step(&source, "write a two");
    assert_eq!(scene.sees(&left).into_iter().collect::<Vec<_>>(), [("a".to_owned(), "two".to_owned())]);
    assert_eq!(said(&scene.apply(1, &left, &[]).unwrap()), "applied a");
}

#[test]
fn a_path_never_leaves_the_workspace() {
    let scene = Scene::new(
        "write a one\nwrite deep/b two\nlink inside deep\nlink up ..\nlink out /etc/hostname\nlink dangling none",
    );
    edit(scene.source.parent().unwrap(), "write secret x");
    edit(&scene.source, &format!("link own {}/a\nlink hop up/secret", scene.source.display()));
    for files in scene.both() {
        let outcome = |path: &str| match files.read(path) {
            Ok(content) => String::from_utf8(content).unwrap(),
            Err(FileError::Outside(_)) => "outside".to_owned(),
            Err(FileError::NotFound(_)) => "none".to_owned(),
            Err(error) => error.to_string(),
        };
        let absolute = scene.source.join("a").to_str().unwrap().to_owned();
        for (path, expected) in [
            ("a", "one"),
            ("./deep/../a", "one"),
            ("inside/b", "two"),
            ("own", "one"),
            (absolute.as_str(), "one"),
            ("../secret", "outside"),
            ("deep/../../secret", "outside"),
            ("up/secret", "outside"),
            ("hop", "outside"),
            ("out", "outside"),
            ("/etc/hostname", "outside"),
            ("dangling", "none"),
            ("none", "none"),
            ("a/b", "none"),
            ("deep", "the file deep cannot be read: it is no file"),
        ] {
            assert_eq!(outcome(path), expected, "{path}");
            let digest = files.digest(path);
            assert_eq!(matches!(digest, Err(FileError::Outside(_))), expected == "outside", "{path}: {digest:?}");
            assert_eq!(matches!(digest, Ok(None)), expected == "none", "{path}: {digest:?}");
        }
    }
    let files = ConfinedFiles::new(&scene.source, scene.state.clone());
    let outcome = |path: &str| String::from_utf8(files.read(path).unwrap()).unwrap();
    for path in ["../new", "up/new", "/tmp/new", "", "."] {
        assert!(files.write(path, b"x").is_err(), "{path}");
    }
    files.write("out", b"a file now").unwrap();
    assert_eq!(outcome("out"), "a file now", "the link was replaced, not followed");
    files.write("./made/deeper/x", b"y").unwrap();
    assert_eq!(fs::metadata(scene.source.join("made/deeper/x")).unwrap().permissions().mode() & 0o7777, 0o644);
}

#[test]
fn the_digest_of_a_folder_is_that_of_all_in_it() {
    let scene = Scene::new("write f/a one\nfolder f/empty\nlink f/l a");
    let mut seen = Vec::new();
    let mut number = 0;
    let mut digests = |scene: &Scene| {
        number += 1;
        let scene = Scene {
            id: ExecutionId::new(format!("run{number}")),
            files: scene.files.clone(),
            state: scene.state.clone(),
            source: scene.source.clone(),
            _folder: tempfile::tempdir().unwrap(),
        };
        let [here, there] = scene.both().map(|files| ["f", "f/", "."].map(|path| files.digest(path).unwrap().unwrap()));
        assert_eq!(here, there, "a tree and a directory say the same");
        assert!(here[0] == here[1] && here[0] != here[2]);
        here[0].clone()
    };
    seen.push(digests(&scene));
    for edits in ["write f/a two", "mode f/a 755", "remove f/empty", "remove f/l\nlink f/l b", "write f/b x"] {
        edit(&scene.source, edits);
        let digest = digests(&scene);
        assert!(!seen.contains(&digest), "{edits}");
        seen.push(digest);
    }
    edit(&scene.source, "mode f/a 700");
    assert_eq!(Some(&digests(&scene)), seen.last(), "who may read it does not count");
}

#[test]
fn globs_find_files_and_links_to_files() {
    let scene = Scene::new(
        "write a.py x\nwrite b/c.py x\nwrite b/d/e.py x\nwrite .git/x.py x\nlink l.py a.py\nlink out.py /etc/hostname\nfolder f.py",
    );
    for files in scene.both() {
        for (pattern, found) in [
            ("*.py", &["a.py", "l.py"][..]),
            ("**/*.py", &["a.py", "b/c.py", "b/d/e.py", "l.py"]),
            ("./b/*.py", &["b/c.py"]),
            ("{a,none}.py", &["a.py"]),
            ("none", &[]),
            (".git/*", &[".git/x.py"]),
        ] {
            assert_eq!(files.glob(pattern).unwrap(), found, "{pattern}");
        }
        for pattern in ["../*", "/etc/*"] {
            assert_eq!(files.glob(pattern), Err(FileError::Outside(pattern.to_owned())));
        }
        assert!(matches!(files.glob("[").unwrap_err(), FileError::Unreadable { .. }));
    }
}

#[test]
fn a_captured_file_is_named_by_its_path_while_it_is_the_same() {
    use ratchet_core::{history::sha256_hex, ids::Digest, output::BlobRef};
    let scene = Scene::new("write report.xml one");
    let files = ConfinedFiles::new(&scene.source, scene.state.clone());
    let digest = Digest::new(sha256_hex(b"one"));
    let blob = scene.state.blob(&digest);
    fs::create_dir_all(blob.parent().unwrap()).unwrap();
    fs::write(&blob, "one").unwrap();
    let value = FileValue { path: "report.xml".into(), content: BlobRef { digest: digest.clone(), size: 3 } };
    assert_eq!(files.path_of_captured(&value).unwrap(), "report.xml");
    edit(&scene.source, "write report.xml two");
    let copy = files.path_of_captured(&value).unwrap();
    assert_eq!(Path::new(&copy), scene.state.captured(&digest).join("report.xml"));
    assert_eq!(fs::read(&copy).unwrap(), b"one");
    assert!(fs::metadata(&copy).unwrap().permissions().readonly());
    assert_eq!(
        (files.read_captured(&value).unwrap(), files.path_of_captured(&value).unwrap()),
        (b"one".to_vec(), copy)
    );
    fs::write(&blob, "damaged").unwrap();
    assert!(matches!(files.read_captured(&value).unwrap_err(), FileError::Unreadable { .. }));
}

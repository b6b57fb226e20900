//! One suite for all kinds of views: a step sees the same files, and the same changes are found.

use std::{fs::File, io::Read as _, os::unix::fs::MetadataExt, process::Stdio, sync::Arc};

use proptest::{prop_assert_eq, proptest};
use tempfile::TempDir;

use super::*;
use crate::{
    kept::{Keeper, Kept},
    layer::Mark,
    testing::{self, Memory, edit, read_tree},
};

/// Every kind that the machine gives, and with which rights.
fn kinds() -> Vec<(Strategy, Rights)> {
    let folder = tempfile::tempdir().unwrap();
    let given = probe(folder.path());
    let mut kinds = vec![(Strategy::Copy, Rights::Best)];
    if given.strategy.is_at_own_path() {
        kinds.extend([(Strategy::BoundCopy, Rights::Best), (Strategy::BoundCopy, Rights::UserNamespace)]);
    }
    if given.strategy == Strategy::Overlay {
        kinds.extend([(Strategy::Overlay, Rights::Best), (Strategy::Overlay, Rights::UserNamespace)]);
    }
    kinds
}

struct Scene {
    folder: TempDir,
    source: PathBuf,
    contents: Memory,
    kind: (Strategy, Rights),
    views: usize,
}

impl Scene {
    fn new(kind: (Strategy, Rights), source: &testing::Tree) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap().join("the source, a:b");
        fs::create_dir(&root).unwrap();
        testing::write_tree(&root, source);
        Self { folder, source: root, contents: Memory::default(), kind, views: 0 }
    }

    fn keep(&self) -> Arc<Kept> {
        Arc::new(self.keeper().keep(&self.source, &|_| false).unwrap())
    }

    fn keeper(&self) -> Keeper {
        Keeper::new(self.folder.path().join("kept"), self.kind.0.holes())
    }

    fn open(&mut self, stack: &Stack) -> View {
        self.views += 1;
        self.open_from(stack, &self.contents)
    }

    fn open_from(&self, stack: &Stack, contents: &dyn Contents) -> View {
        let room = self.folder.path().join(format!("room-{}", self.views));
        View::open_with(self.kind.0, &self.source, stack, &room, contents, self.kind.1).unwrap()
    }
}

fn captured(view: &mut View) -> Layer {
    view.capture(&|_| false, Bounds::NONE).unwrap()
}

/// What a step sees that reads and writes in a shell.
fn shell(view: &View, folder: Option<&str>, script: &str) -> String {
    let mut command = Command::new("sh");
    command.args(["-euc", script]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let folder = folder.map(|folder| TreePath::new(folder).unwrap());
    view.place(&mut command, folder.as_ref()).unwrap();
    let output = command.spawn().unwrap().wait_with_output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

proptest! {
    #![proptest_config(testing::cases(12))]
    #[test]
    fn what_a_step_does_is_what_is_found_and_what_the_next_one_sees(
        source in testing::trees(),
        first in testing::edits(),
        second in testing::edits(),
        user in testing::edits(),
        is_elsewhere: bool,
    ) {
        for kind in kinds() {
            let mut scene = Scene::new(kind, &source);
            let start = testing::manifest(&source);
            let mut stack = Stack::new(scene.keep());
            prop_assert_eq!(stack.manifest(), &start);
            let mut tree = source.clone();
            let mut theirs = source.clone();
            for edits in [&first, &second] {
                let before = testing::manifest(&tree);
                let mut view = scene.open(&stack);
                prop_assert_eq!(&read_tree(view.root()), &tree, "{:?}", kind);
                for edit in edits {
                    edit.make_on_disk(&mut tree, view.root());
                }
                // Meanwhile the user works in the directory, and neither sees the other.
                for edit in &user {
                    edit.make_on_disk(&mut theirs, &scene.source);
                }
                prop_assert_eq!(&read_tree(view.root()), &tree, "{:?}", kind);
                prop_assert_eq!(&read_tree(&scene.source), &theirs, "{:?}", kind);
                let layer = captured(&mut view);
                prop_assert_eq!(&layer, &Layer::between(&before, &testing::manifest(&tree)), "{:?}", kind);
                view.keep(&layer, &scene.contents).unwrap();
                // The next step may run where the folder of this one is not.
                stack.push(Arc::new(layer), view.into_tree().filter(|_| !is_elsewhere)).unwrap();
            }
            let view = scene.open(&stack);
            prop_assert_eq!(&read_tree(view.root()), &tree, "{:?}", kind);
        }
    }

    #[test]
    fn a_directory_that_is_known_is_kept_as_it_is_now(
        source in testing::trees(),
        edits in proptest::collection::vec(testing::edits(), 1..4),
    ) {
        for kind in kinds() {
            let mut scene = Scene::new(kind, &source);
            let mut tree = source.clone();
            let first = scene.keep();
            for edits in &edits {
                for edit in edits {
                    edit.make_on_disk(&mut tree, &scene.source);
                }
                let kept = scene.keep();
                prop_assert_eq!(&kept.manifest, &testing::manifest(&tree));
                let view = scene.open(&Stack::new(kept));
                prop_assert_eq!(&read_tree(view.root()), &tree, "{:?}", kind);
            }
            let view = scene.open(&Stack::new(first));
            prop_assert_eq!(&read_tree(view.root()), &source, "an earlier run still sees what it began with");
        }
    }
}

proptest! {
    #![proptest_config(testing::cases(8))]
    #[test]
    fn steps_that_follow_each_other_may_share_a_view(
        source in testing::trees(),
        steps in proptest::collection::vec((testing::edits(), 0..4_u8, proptest::arbitrary::any::<proptest::sample::Index>()), 1..6),
    ) {
        for kind in kinds() {
            let mut scene = Scene::new(kind, &source);
            let contents: Arc<dyn Contents> = Arc::new(Memory::default());
            let trees = crate::Trees::new(contents.clone());
            let stacks = crate::Stacks::new(scene.keep(), kind.0.holes(), scene.folder.path().join("stacks"));
            let mut at = trees.begin(&testing::manifest(&source)).unwrap();
            let mut left = vec![(at, source.clone())];
            let (mut opened, mut tree) = (at, source.clone());
            let mut view = {
 scene.views += 1; scene.open_from(&stacks.of(&trees, at).unwrap(), &*contents)};
            for (edits, end, other) in &steps {
                let before = testing::manifest(&tree);
                for edit in edits {
                    edit.make_on_disk(&mut tree, view.root());
                }
                let layer = captured(&mut view);
                prop_assert_eq!(&layer, &Layer::between(&before, &testing::manifest(&tree)), "{:?}", kind);
                view.keep(&layer, &*contents).unwrap();
                at = trees.grow(at, layer).unwrap();
                left.push((at, tree.clone()));
                match end {
                    0 => view.go_on(),
                    // Over: its folder is used, or gone.
                    1 => {
                        let changed = view.changed().clone();
                        if let Some(folder) = view.into_tree() {
                            stacks.add(&trees, (opened, at), &changed, Some(folder)).unwrap();
                        }
                        (opened, view) = (at, {
 scene.views += 1; scene.open_from(&stacks.of(&trees, at).unwrap(), &*contents)});
                    }
                    // The next step is one of another branch.
                    _ => {
                        view.remove().unwrap();
                        (at, tree) = left[other.index(left.len())].clone();
                        (opened, view) = (at, {
 scene.views += 1; scene.open_from(&stacks.of(&trees, at).unwrap(), &*contents)});
                    }
                }
                prop_assert_eq!(&read_tree(view.root()), &tree, "{:?}", kind);
            }
        }
    }
}

#[test]
fn this_machine_gives_what_the_probe_says() {
    let folder = tempfile::tempdir().unwrap();
    let given = probe(folder.path());
    assert_eq!(given, probe(folder.path()));
    assert_eq!(
        given.refused.len(),
        match given.strategy {
            Strategy::Overlay => 0,
            Strategy::BoundCopy => 1,
            Strategy::Copy => 2,
        }
    );
    assert!(
        given.refused.iter().all(|(_, reason)| reason.starts_with("a view of the workspace cannot be made: ")),
        "{given:?}"
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left");
}

#[test]
fn a_command_works_in_the_view_at_the_directory_s_own_path() {
    for kind in kinds() {
        let mut tree = testing::Tree::new();
        testing::edit_tree(&mut tree, "+a one\n+d/b two");
        let mut scene = Scene::new(kind, &tree);
        let stack = Stack::new(scene.keep());
        let mut view = scene.open(&stack);
        let place = view.path().to_owned();
        assert_eq!(place == scene.source, kind.0.is_at_own_path());
        assert_eq!(shell(&view, None, "pwd -P; cat a"), format!("{}\none", place.display()), "{kind:?}");
        assert_eq!(shell(&view, Some("d"), "pwd -P; cat b"), format!("{}/d\ntwo", place.display()));
        shell(&view, None, "echo -n changed > \"$PWD/a\"; mkdir e; mv d/b e/c; ln -s a l; rmdir d");
        assert_eq!(fs::read(view.root().join("a")).unwrap(), b"changed", "the engine sees it too");
        assert_eq!(fs::read(scene.source.join("a")).unwrap(), b"one", "the user does not");
        let paths: Vec<_> = captured(&mut view)
            .iter()
            .map(|(path, change)| format!("{path}{}", if change.after.is_none() { "-" } else { "" }))
            .collect();
        assert_eq!(paths, ["a", "d-", "d/b-", "e", "e/c", "l"], "{kind:?}");
        if kind.1 == Rights::UserNamespace {
            let rights = shell(&view, None, "grep Cap /proc/self/status");
            let none = |set: &str| rights.contains(&format!("{set}:\t0000000000000000"));
            assert!(
                rustix::process::getuid().is_root() || (none("CapEff") && none("CapPrm") && none("CapAmb")),
                "{rights}"
            );
        }
        let room = view.room.clone();
        view.remove().unwrap();
        assert!(!room.exists());
    }
}

#[test]
fn two_views_of_one_directory_do_not_see_each_other() {
    for kind in kinds() {
        let mut tree = testing::Tree::new();
        testing::edit_tree(&mut tree, "+a one\n+b two");
        let mut scene = Scene::new(kind, &tree);
        let stack = Stack::new(scene.keep());
        let (mut left, mut right) = (scene.open(&stack), scene.open(&stack));
        shell(&left, None, "echo left > a; rm b");
        shell(&right, None, "cat a b; echo right > a");
        assert_eq!((captured(&mut left).len(), captured(&mut right).len()), (2, 1), "{kind:?}");
    }
}

#[test]
fn steps_that_follow_each_other_share_a_copy_and_never_its_start() {
    for kind in kinds() {
        let mut tree = testing::Tree::new();
        testing::edit_tree(&mut tree, "+a one\n+b two");
        let mut scene = Scene::new(kind, &tree);
        let mut stack = Stack::new(scene.keep());
        let mut view = scene.open(&stack);
        edit(view.root(), "+a ONE");
        let layer = captured(&mut view);
        view.keep(&layer, &scene.contents).unwrap();
        // An overlay's own folder goes with its room, so the contents come from where they are kept.
        stack.push(Arc::new(layer), None).unwrap();
        let room = scene.folder.path().join("next");
        let mut view = view.next(&stack, &room, &scene.contents).unwrap();
        assert_eq!(room.exists(), kind.0 == Strategy::Overlay);
        edit(view.root(), "-b");
        let layer = captured(&mut view);
        assert_eq!(layer.iter().map(|(path, _)| path.to_string()).collect::<Vec<_>>(), ["b"], "{kind:?}");
        // Where files were left that are in no layer, the copy is made again.
        edit(view.root(), "+stray x");
        let view = view.next(&stack, &scene.folder.path().join("again"), &scene.contents).unwrap();
        assert_eq!(testing::show(&read_tree(view.root())), "a 644 ONE\nb 644 two\n", "{kind:?}");
    }
}

#[test]
fn a_long_chain_of_layers_is_seen_as_one() {
    for kind in kinds() {
        let mut scene = Scene::new(kind, &testing::Tree::new());
        let mut stack = Stack::new(scene.keep());
        let mut tree = testing::Tree::new();
        for number in 0..140 {
            let before = testing::manifest(&tree);
            testing::edit_tree(&mut tree, &format!("+d/{} {number}\n+same {number}", number % 50));
            let written = scene.folder.path().join("content");
            for path in [format!("d/{}", number % 50), "same".to_owned()] {
                let testing::Node::File(_, content) = &tree[&TreePath::new(path).unwrap()] else { panic!() };
                fs::write(&written, content).unwrap();
                scene.contents.keep(&written).unwrap();
            }
            stack.push(Arc::new(Layer::between(&before, &testing::manifest(&tree))), None).unwrap();
        }
        let view = scene.open(&stack);
        assert_eq!(read_tree(view.root()), tree, "{kind:?}");
    }
}

#[test]
fn trees_of_a_directory_are_folded_and_those_in_use_stay() {
    for kind in kinds() {
        let mut scene = Scene::new(kind, &testing::Tree::new());
        let first = scene.keep();
        for number in 0..26 {
            edit(&scene.source, &format!("+f{} {number}\n+same {number}", number % 7));
            scene.keep();
        }
        let before = scene.keep();
        assert_eq!(before.trees.len(), 27);
        scene.keeper().fold().unwrap();
        let folded = scene.keep();
        assert_eq!((folded.trees.len(), &folded.manifest), (1, &before.manifest));
        scene.keeper().remove_unused(&first.trees.iter().cloned().collect()).unwrap();
        assert!(first.trees[0].exists() && folded.trees[0].exists() && !before.trees[0].exists());
        let view = scene.open(&Stack::new(folded));
        assert_eq!(testing::manifest(&read_tree(view.root())), before.manifest);
    }
}

#[test]
fn a_power_loss_or_damage_makes_the_directory_new() {
    let kind = (Strategy::Copy, Rights::Best);
    let mut tree = testing::Tree::new();
    testing::edit_tree(&mut tree, "+a one\n+b two");
    let scene = Scene::new(kind, &tree);
    let kept = scene.keep();
    let settled = || {
        // The cache knows a file only once its stamp has aged, so what is copied again shows nothing: the trees do.
        scene.keep().trees.clone()
    };
    assert_eq!(settled(), kept.trees);
    let state = scene.folder.path().join("kept/state");
    let other_start = fs::read_to_string(&state).unwrap().replace(super::super::kept::boot().as_str(), "another");
    fs::write(&state, &other_start).unwrap();
    let again = scene.keep();
    assert_ne!(again.trees, kept.trees, "what was not on the disk is not believed");
    scene.keeper().sync().unwrap();
    let text = fs::read_to_string(&state).unwrap().replace(super::super::kept::boot().as_str(), "another");
    fs::write(&state, text).unwrap();
    assert_eq!(settled(), again.trees, "what was on the disk is");
    for (number, name) in ["state", "cache", "manifest"].into_iter().enumerate() {
        for is_edited in [false, true] {
            let files = fs::read_dir(scene.folder.path().join("kept")).unwrap().map(|entry| entry.unwrap().path());
            for file in files.filter(|file| file.to_string_lossy().ends_with(name)) {
                fs::write(&file, "damaged").unwrap();
            }
            if is_edited {
                edit(&scene.source, &format!("+a {number}"));
                testing::edit_tree(&mut tree, &format!("+a {number}"));
            }
            assert_eq!(scene.keep().manifest, testing::manifest(&tree), "{name}, edited: {is_edited}");
        }
    }
    assert!(kept.trees[0].exists(), "an earlier run may still use it");
}

#[test]
fn what_a_step_may_leave_behind_is_bounded() {
    for kind in kinds() {
        let mut scene = Scene::new(kind, &testing::Tree::new());
        let stack = Stack::new(scene.keep());
        let mut view = scene.open(&stack);
        let large = File::create(view.root().join("large")).unwrap();
        large.set_len(10 << 20).unwrap();
        edit(view.root(), "+small x");
        let mut told = |bytes, paths| {
            view.capture(&|_| false, Bounds { bytes, paths }).map_err(|error| (error.code(), error.to_string()))
        };
        assert!(told((10 << 20) + 1, 2).is_ok());
        let (code, text) = told(10 << 20, 2).unwrap_err();
        assert_eq!(code, "RT-0273");
        assert_eq!(text, "the step's changes are 10485761 bytes, and 10485760 are allowed; the largest file is large");
        let (_, text) = told(u64::MAX, 1).unwrap_err();
        assert_eq!(text, "the step's changes are 2 paths, and 1 are allowed; the largest file is large");
    }
}

#[test]
fn names_devices_pipes_and_holes() {
    for kind in kinds() {
        let mut tree = testing::Tree::new();
        testing::edit_tree(&mut tree, "+a one\n+p x\n+d/x y");
        let mut scene = Scene::new(kind, &tree);
        fs::write(scene.source.join(testing::strange_name()), "old").unwrap();
        let stack = Stack::new(scene.keep());
        let mut view = scene.open(&stack);
        fs::write(view.root().join(testing::strange_name()), "new").unwrap();
        // A pipe in place of a file: the file is gone, and the pipe is nothing that can be kept.
        shell(&view, None, "rm p; mkfifo p; rm -r d; mkfifo d");
        let mut content = Vec::new();
        File::open(view.root().join(testing::strange_name())).unwrap().read_to_end(&mut content).unwrap();
        assert_eq!(content, b"new");
        let paths: Vec<_> = captured(&mut view).iter().map(|(path, _)| path.to_string()).collect();
        assert_eq!(paths, ["caf%e9 %2541\n", "d", "d/x", "p"], "{kind:?}");
    }
}

#[test]
fn a_touched_file_is_no_change_and_keeps_its_time() {
    for kind in kinds() {
        let mut tree = testing::Tree::new();
        testing::edit_tree(&mut tree, "+a one");
        let mut scene = Scene::new(kind, &tree);
        let time = |path: &Path| fs::metadata(path).unwrap().mtime();
        File::options().write(true).open(scene.source.join("a")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        let stack = Stack::new(scene.keep());
        let mut view = scene.open(&stack);
        assert_eq!(time(&view.root().join("a")), 0, "programs compare times: {kind:?}");
        shell(&view, None, "touch a; chmod 600 a; chmod 644 a; printf one > a");
        assert!(captured(&mut view).is_empty(), "{kind:?}");
    }
}

#[test]
fn links_of_a_copy_never_lead_into_the_users_files() {
    let mut tree = testing::Tree::new();
    testing::edit_tree(&mut tree, "+a one\n+deep/x y\nldeep/up ../a\nlout ../elsewhere\nlfar /usr/share");
    let mut scene = Scene::new((Strategy::Copy, Rights::Best), &tree);
    let mut view = scene.open(&Stack::new(scene.keep()));
    let target = |path: &str| fs::read_link(view.root().join(path)).unwrap();
    assert_eq!((target("deep/up"), target("far")), (PathBuf::from("../a"), PathBuf::from("/usr/share")));
    assert_eq!(target("out"), scene.source.parent().unwrap().join("elsewhere"), "it still names the same place");
    assert!(captured(&mut view).is_empty());
    std::os::unix::fs::symlink(view.root().join("a"), view.root().join("made")).unwrap();
    edit(view.root(), "-out\nlout ../other");
    let layer = captured(&mut view);
    let found: Vec<_> = layer.iter().map(|(path, change)| (path.to_string(), change.after.clone().unwrap())).collect();
    let link = |target: &Path| Entry::Link { target: crate::path::LinkTarget::new(target) };
    let expected = [("made", link(&scene.source.join("a"))), ("out", link(Path::new("../other")))];
    assert_eq!(found, expected.map(|(path, entry)| (path.to_owned(), entry)));
}

#[test]
fn a_directory_that_works_only_where_it_lies_is_refused_elsewhere_and_works_there() {
    type Make<'a> = &'a dyn Fn(&Path);
    let named = |root: &Path| root.to_str().unwrap().to_owned();
    let bound: [Make<'_>; 3] = [
        &|root| edit(root, &format!("lown {}/a", named(root))),
        &|root| edit(root, &format!("+.venv/pyvenv.cfg command = python -m venv {}/.venv", named(root))),
        &|root| edit(root, &format!("+lib/own.pth {}", named(root))),
    ];
    for make in bound {
        for kind in kinds() {
            let mut scene = Scene::new(kind, &testing::Tree::new());
            edit(&scene.source, "+a one");
            make(&scene.source);
            let stack = Stack::new(scene.keep());
            if kind.0.is_at_own_path() {
                scene.open(&stack);
            } else {
                let room = scene.folder.path().join("room");
                let error = View::open(kind.0, &scene.source, &stack, &room, &scene.contents).unwrap_err();
                assert_eq!((error.code(), error.hint().contains("--in-place")), ("RT-0255", true));
            }
        }
    }
    let mut scene = Scene::new((Strategy::Copy, Rights::Best), &testing::Tree::new());
    edit(&scene.source, &format!("+lib/other.pth {}-other/a", named(&scene.source)));
    let stack = Stack::new(scene.keep());
    scene.open(&stack);
}

#[test]
fn a_full_disk_is_told_and_the_directory_is_as_it_was() {
    testing::on_small_disk(1 << 20, |disk| {
        let source = tempfile::tempdir().unwrap();
        fs::write(source.path().join("large"), vec![1; 2 << 20]).unwrap();
        let keeper = Keeper::new(disk.join("kept"), Strategy::Copy.holes());
        let error = keeper.keep(source.path(), &|_| false).unwrap_err();
        assert_eq!(error.code(), "RT-0251", "{error}");
        fs::write(source.path().join("large"), "small now").unwrap();
        let kept = keeper.keep(source.path(), &|_| false).unwrap();
        let stack = Stack::new(Arc::new(kept));
        fs::write(disk.join("filler"), vec![1; 900 << 10]).unwrap();
        let mut after = stack.manifest().clone();
        let contents = Memory::default();
        let content = source.path().join("content");
        fs::write(&content, vec![2; 1 << 20]).unwrap();
        let (digest, size) = contents.keep(&content).unwrap();
        after.set(TreePath::new("more").unwrap(), Some(Entry::File { mode: 0o644, size, digest }));
        let mut larger = stack.clone();
        larger.push(Arc::new(Layer::between(stack.manifest(), &after)), None).unwrap();
        for (strategy, _) in kinds() {
            let outcome = View::open(strategy, source.path(), &larger, &disk.join("room"), &contents);
            assert_eq!(outcome.map(|_| ()).unwrap_err().code(), "RT-0251", "{strategy:?}");
        }
    });
}

#[test]
fn a_layer_keeps_its_marks_over_views() {
    let mut layer = Layer::default();
    let change = crate::layer::Change { before: None, after: Some(Entry::Folder { mode: 0o755 }), mark: Mark::Plain };
    layer.insert(TreePath::new("__pycache__").unwrap(), change);
    let nowhere = Path::new("/nowhere");
    crate::marks::Marks::new(nowhere, nowhere, BTreeSet::new()).mark(&mut layer);
    let mut written = Vec::new();
    layer.write(&mut written).unwrap();
    assert_eq!(Layer::read(written.as_slice()).unwrap().iter().next().unwrap().1.mark, Mark::Leaving);
}

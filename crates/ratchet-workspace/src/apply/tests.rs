//! A directory at the start, what a run does in its view, what the user does meanwhile, and what the directory is in the end.

mod repositories;

use std::{
    fs,
    os::unix::fs::symlink,
    path::PathBuf,
    process::Command,
    sync::{Arc, OnceLock},
};

use proptest::{prop_assert, prop_assert_eq, prop_assume, proptest};
use tempfile::TempDir;

use super::*;
use crate::{
    kept::Keeper,
    marks::Marks,
    testing::{self, Memory, edit, read_tree, show},
    view::{Bounds, Stack, Strategy, View, probe},
};

/// The best kind of view that the machine gives.
fn best() -> Strategy {
    static BEST: OnceLock<Strategy> = OnceLock::new();
    *BEST.get_or_init(|| probe(tempfile::tempdir().unwrap().path()).strategy)
}

/// The best kind, and the one that is left everywhere.
fn kinds() -> impl Iterator<Item = Strategy> {
    [Strategy::Copy].into_iter().chain((best() != Strategy::Copy).then(best))
}

struct Scene {
    folder: TempDir,
    source: PathBuf,
    start: Manifest,
    git: Option<GitState>,
    view: View,
    contents: Memory,
}

impl Scene {
    /// A directory as `make` makes it, and a view of it.
    fn new(make: impl FnOnce(&Path)) -> Self {
        Self::of(best(), make)
    }

    /// The same, with a view of a kind.
    fn of(kind: Strategy, make: impl FnOnce(&Path)) -> Self {
        rustix::process::umask(rustix::fs::Mode::from_bits_truncate(0o022));
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().canonicalize().unwrap().join("project");
        fs::create_dir(&source).unwrap();
        make(&source);
        let kept = Keeper::new(folder.path().join("kept"), kind.holes()).keep(&source, &|_| false).unwrap();
        let (start, contents) = (kept.manifest.clone(), Memory::default());
        let room = folder.path().join("room");
        let view = View::open(kind, &source, &Stack::new(Arc::new(kept)), &room, &contents).unwrap();
        let git = view.git_state().unwrap();
        Self { folder, source, start, git, view, contents }
    }

    fn journal(&self) -> PathBuf {
        self.folder.path().join("journal")
    }

    /// Finds what the run did, with `report.xml` declared, and does something with it.
    fn with<T>(&mut self, work: impl FnOnce(&Application<'_>) -> T) -> T {
        let mut layer = self.view.capture(&|_| false, Bounds::NONE).unwrap();
        Marks::new(&self.source, self.view.root(), [TreePath::new("report.xml").unwrap()].into()).mark(&mut layer);
        self.view.keep(&layer, &self.contents).unwrap();
        let change =
            self.git.clone().map(|before| GitChange { before, after: self.view.git_state().unwrap().unwrap() });
        work(&Application {
            target: &self.source,
            journal: &self.journal(),
            name: "run",
            start: &self.start,
            layer: &layer,
            git: change.as_ref(),
            contents: &self.contents,
        })
    }

    fn apply(&mut self) -> Applied {
        self.with(|application| apply(application).unwrap())
    }

    /// An application whose operations are all still to be done.
    fn begun(&mut self) -> Journal {
        self.with(|application| match begin(application).unwrap() {
            Begun::Ready(journal) => *journal,
            Begun::Ended(applied) => panic!("{applied:?}"),
        })
    }

    /// Runs git in the view.
    fn git(&self, arguments: &str) -> String {
        let mut command = git_command(arguments);
        self.view.place(&mut command, None).unwrap();
        said_by(command)
    }

    fn shown(&self) -> String {
        show(&read_tree(&self.source))
    }

    /// Nothing of an application is left behind.
    fn assert_clean(&self) {
        assert!(!self.source.join(format!("{STAGE_PREFIX}run")).exists() && !self.journal().exists());
        assert!(!self.source.join(".git/index.lock").exists() && !self.source.join(".git/index.ratchet-run").exists());
    }
}

/// Says shortly what came of an application.
fn said(applied: &Applied) -> String {
    match applied {
        Applied::Nothing => "nothing".to_owned(),
        Applied::Whole { paths, refs } => {
            let mut words: Vec<_> = paths.iter().map(ToString::to_string).collect();
            words.extend(refs.iter().map(|moved| match &moved.kept_as {
                Some(kept_as) => format!("({kept_as})"),
                None => format!("({})", moved.name),
            }));
            format!("applied {}", words.join(" "))
        }
        Applied::None { conflicts } => {
            format!("not applied: {}", conflicts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
        }
    }
}

fn trimmed(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).flat_map(|line| [line, "\n"]).collect()
}

/// Plays a scene; where nothing is applied, the directory must be as the user left it.
fn check(name: &str, start: &str, run: &str, user: &str, expected: &str, directory: Option<&str>) {
    let mut scene = Scene::new(|root| edit(root, start));
    edit(scene.view.root(), run);
    edit(&scene.source, user);
    let before = scene.shown();
    let applied = scene.apply();
    assert_eq!(said(&applied), expected, "{name}");
    assert_eq!(scene.shown(), directory.map_or(before, trimmed), "{name}");
    scene.assert_clean();
    let again = scene.apply();
    let whole = matches!(applied, Applied::Whole { .. } | Applied::Nothing);
    assert_eq!(again == Applied::Nothing, whole, "{name}: done already, there is nothing to do");
}

#[test]
fn changes_are_applied() {
    let start = "+a one\n+b two\n+deep/c three\nll a\ndempty";
    let linked = "+a one\n+b two\n+deep/c three\nll deep\ndempty\nddeep/inner";
    for (name, run, user, expected, directory) in [
        (
            "nothing happened",
            "",
            "+a mine",
            "nothing",
            "a 644 mine\nb 644 two\ndeep 755 folder\ndeep/c 644 three\nempty 755 folder\nl -> a",
        ),
        (
            "every kind of change",
            "+a ONE\n-b\n+new/d four\nxnew/d\n-l\nll deep/c\n-empty",
            "",
            "applied a b empty l new new/d",
            "a 644 ONE\ndeep 755 folder\ndeep/c 644 three\nl -> deep/c\nnew 755 folder\nnew/d 755 four",
        ),
        (
            "kinds change",
            "-a\nda\n+a/inner x\n-deep\n+deep y\n-empty\nlempty b",
            "",
            "applied a a/inner deep deep/c empty",
            "a 755 folder\na/inner 644 x\nb 644 two\ndeep 644 y\nempty -> b\nl -> a",
        ),
        (
            "beside the user's own edits",
            "+a ONE",
            "+b mine\n+other x\nmdeep/c 600",
            "applied a",
            "a 644 ONE\nb 644 mine\ndeep 755 folder\ndeep/c 600 three\nempty 755 folder\nl -> a\nother 644 x",
        ),
        (
            "the user had the same idea",
            "+a ONE\n+e x\n-b",
            "+a ONE\n+e x\n-b",
            "nothing",
            "a 644 ONE\ndeep 755 folder\ndeep/c 644 three\ne 644 x\nempty 755 folder\nl -> a",
        ),
        (
            "half of the same idea",
            "+a ONE\n+e x\n-b",
            "+a ONE",
            "applied b e",
            "a 644 ONE\ndeep 755 folder\ndeep/c 644 three\ne 644 x\nempty 755 folder\nl -> a",
        ),
        (
            "an edit that was taken back",
            "+a ONE",
            "+a x\n+a one",
            "applied a",
            "a 644 ONE\nb 644 two\ndeep 755 folder\ndeep/c 644 three\nempty 755 folder\nl -> a",
        ),
        (
            "a removed folder keeps what the user put into it",
            "-deep",
            "+deep/mine x",
            "applied deep deep/c",
            "a 644 one\nb 644 two\ndeep 755 folder\ndeep/mine 644 x\nempty 755 folder\nl -> a",
        ),
        (
            "leavings stay in the view, declared outputs do not",
            "+.coverage x\n+deep/__pycache__/c.pyc x\n+report.xml r",
            "",
            "applied report.xml",
            "a 644 one\nb 644 two\ndeep 755 folder\ndeep/c 644 three\nempty 755 folder\nl -> a\nreport.xml 644 r",
        ),
        (
            "a link gives way to a folder of what it leads to",
            "-l\ndl\ndl/inner\n+l/c three\n-deep",
            "+deep/mine x",
            "applied deep deep/c deep/inner l l/c l/inner",
            "a 644 one\nb 644 two\ndeep 755 folder\ndeep/mine 644 x\nempty 755 folder\nl 755 folder\nl/c 644 three\nl/inner 755 folder",
        ),
        (
            "a closed folder",
            "mdeep 555\ndshut\n+shut/x y\nmshut 500",
            "",
            "applied deep shut shut/x",
            "a 644 one\nb 644 two\ndeep 555 folder\ndeep/c 644 three\nempty 755 folder\nl -> a\nshut 500 folder\nshut/x 644 y",
        ),
    ] {
        if user.starts_with("+deep/mine") {
            // What is left of it is not what the run made of it, so it is tried again, and left alone again.
            let start = if run.starts_with("-l") { linked } else { start };
            let mut scene = Scene::new(|root| edit(root, start));
            edit(scene.view.root(), run);
            edit(&scene.source, user);
            assert_eq!(said(&scene.apply()), expected, "{name}");
            assert_eq!(scene.shown(), trimmed(directory), "{name}");
            continue;
        }
        check(name, start, run, user, expected, Some(directory));
    }
}

#[test]
fn what_the_user_changed_is_never_overwritten() {
    let start = "+a one\n+b two\n+deep/c three\nll a";
    for (name, run, user, expected) in [
        ("changed", "+a ONE\n+b TWO", "+a mine", "not applied: a was changed"),
        ("changed and removed", "-a", "+a mine", "not applied: a was changed"),
        ("same size", "+a ONE", "+a 1on", "not applied: a was changed"),
        ("mode", "+a ONE", "ma 600", "not applied: a was changed"),
        ("removed", "+a ONE", "-a", "not applied: a was removed"),
        ("created", "+n x", "+n y", "not applied: n was created"),
        ("created as a folder", "+n x", "dn", "not applied: n was created"),
        ("link", "-l\nll b", "-l\nll deep", "not applied: l was changed"),
        ("folder removed", "+deep/new x", "-deep", "not applied: deep/new lies in a folder that was removed"),
        (
            "never through a link",
            "+deep/new x",
            "-deep\nldeep /tmp",
            "not applied: deep/new lies in a folder that was replaced",
        ),
        ("more than one", "+a x\n+b x", "+a y\n+b y", "not applied: a was changed, b was changed"),
        (
            "a folder that became a file, with something in it",
            "-deep\n+deep x",
            "+deep/mine y",
            "not applied: deep was created",
        ),
    ] {
        check(name, start, run, user, expected, None);
    }
}

/// An undo that reaches what was not done yet leaves alone what lies behind the link that is still there.
#[test]
fn nothing_is_taken_back_behind_a_link() {
    let mut scene = Scene::new(|root| edit(root, "+a one\nddeep\nddeep/inner\nll deep"));
    edit(scene.view.root(), "+a ONE\n-l\ndl\ndl/inner\nml/inner 500");
    let before = scene.shown();
    let mut journal = scene.begun();
    journal.phase = Phase::Undoing(vec![Conflict::new(&TreePath::new("a").unwrap(), "was changed")]);
    journal.save(&scene.journal()).unwrap();
    assert_eq!(said(&recover(&scene.journal()).unwrap().unwrap()), "not applied: a was changed");
    assert_eq!(scene.shown(), before);
    scene.assert_clean();
}

proptest! {
    #![proptest_config(testing::cases(16))]
    #[test]
    fn what_a_run_did_is_what_the_directory_is_then(source in testing::trees(), edits in testing::edits()) {
        let mut scene = Scene::new(|root| testing::write_tree(root, &source));
        let mut tree = source.clone();
        for edit in &edits {
            edit.make_on_disk(&mut tree, scene.view.root());
        }
        let applied = scene.apply();
        prop_assert_eq!(applied == Applied::Nothing, tree == source);
        prop_assert_eq!(read_tree(&scene.source), tree);
        scene.assert_clean();
    }

    #[test]
    fn beside_a_user_it_is_all_or_nothing(
        source in testing::trees(), edits in testing::edits(), user in testing::edits()
    ) {
        let mut scene = Scene::new(|root| testing::write_tree(root, &source));
        let (mut tree, mut theirs) = (source.clone(), source.clone());
        for edit in &edits {
            edit.make_on_disk(&mut tree, scene.view.root());
        }
        for edit in &user {
            edit.make_on_disk(&mut theirs, &scene.source);
        }
        let layer = Layer::between(&testing::manifest(&source), &testing::manifest(&tree));
        let applied = scene.apply();
        let now = read_tree(&scene.source);
        scene.assert_clean();
        if let Applied::None { .. } = applied {
            prop_assert_eq!(now, theirs);
        } else {
            for (path, node) in &theirs {
                let changed = layer.get(path);
                prop_assert!(changed.is_some() || now.get(path) == Some(node), "{path} was the user's");
            }
            let manifest = testing::manifest(&now);
            for (path, change) in &layer {
                let left_for_the_user = change.after.is_none() && manifest.below(path).next().is_some();
                prop_assert!(left_for_the_user || manifest.get(path) == change.after.as_ref(), "{path} was the run's");
            }
        }
    }

    #[test]
    fn one_that_dies_anywhere_is_finished_or_taken_back(
        source in testing::trees(), edits in testing::edits(), cut: proptest::sample::Index, user_writes: bool
    ) {
        let mut scene = Scene::new(|root| testing::write_tree(root, &source));
        let mut tree = source.clone();
        for edit in &edits {
            edit.make_on_disk(&mut tree, scene.view.root());
        }
        prop_assume!(tree != source);
        let mut journal = scene.begun();
        let all = journal.operations.clone();
        journal.operations.truncate(cut.index(all.len() + 1));
        prop_assert!(matches!(journal.perform(&scene.journal()).unwrap(), Done::All));
        let (done, last) = (journal.operations.len(), all.last().unwrap().path().clone());
        journal.operations = all;
        journal.save(&scene.journal()).unwrap();
        // The user puts something where the last operation will put something.
        let place = scene.source.join(last.as_path());
        let is_in_the_way = user_writes && done < journal.operations.len() && place.symlink_metadata().is_err();
        let was_folder = |path: TreePath| matches!(source.get(&path), Some(testing::Node::Folder(_)));
        let is_in_the_way = is_in_the_way && last.parent().is_none_or(was_folder) && place.parent().unwrap().is_dir() && tree.contains_key(&last) && !source.contains_key(&last);
        if is_in_the_way {
            symlink("the user's", &place).unwrap();
        }
        let told = recover(&scene.journal()).unwrap().unwrap();
        let mut now = read_tree(&scene.source);
        if is_in_the_way {
            prop_assert!(matches!(told, Applied::None { .. }), "{told:?}");
            prop_assert!(now.remove(&last).is_some());
            prop_assert_eq!(now, source);
        } else {
            prop_assert!(matches!(told, Applied::Whole { .. }), "{told:?}");
            prop_assert_eq!(now, tree);
        }
        scene.assert_clean();
        prop_assert_eq!(recover(&scene.journal()).unwrap(), None);
    }
}

#[test]
fn one_that_died_while_taking_back_is_taken_back() {
    let mut scene = Scene::new(|root| edit(root, "+a one\n+b two"));
    edit(scene.view.root(), "+a ONE\n+b TWO\n+n x");
    let before = scene.shown();
    let mut journal = scene.begun();
    assert!(matches!(journal.perform(&scene.journal()).unwrap(), Done::All));
    journal.phase = Phase::Undoing(vec![Conflict::new(&TreePath::new("n").unwrap(), "was created")]);
    journal.save(&scene.journal()).unwrap();
    assert_eq!(said(&recover(&scene.journal()).unwrap().unwrap()), "not applied: n was created");
    assert_eq!(scene.shown(), before);
    scene.assert_clean();
}

#[test]
fn what_has_lost_its_place_to_the_user_is_kept_and_told() {
    let mut scene = Scene::new(|root| edit(root, "+a one"));
    edit(scene.view.root(), "-a\nda\n+a/b x");
    let mut journal = scene.begun();
    let all = journal.operations.clone();
    journal.operations.truncate(2);
    assert!(matches!(journal.perform(&scene.journal()).unwrap(), Done::All));
    journal.operations = all;
    journal.save(&scene.journal()).unwrap();
    edit(&scene.source, "+a/b mine");
    let told = said(&recover(&scene.journal()).unwrap().unwrap());
    let slot = scene.source.join(format!("{STAGE_PREFIX}run/0"));
    let expected = format!("not applied: a/b was created, a could not be put back and lies in {}", slot.display());
    assert_eq!(told, expected);
    assert_eq!(
        (fs::read(slot).unwrap(), fs::read(scene.source.join("a/b")).unwrap()),
        (b"one".to_vec(), b"mine".to_vec())
    );
    assert!(!scene.journal().exists());
}

#[test]
fn one_that_died_while_staging_begins_again() {
    let mut scene = Scene::new(repository);
    edit(scene.view.root(), "+a ONE");
    scene.git("commit -q -a -m run");
    let mut journal = scene.begun();
    assert!(scene.source.join(".git/index.lock").exists(), "no git command comes between");
    journal.phase = Phase::Staging;
    journal.operations.clear();
    journal.git = None;
    journal.save(&scene.journal()).unwrap();
    assert_eq!(said(&scene.apply()), "applied a (refs/heads/main)");
    scene.assert_clean();
}

#[test]
fn a_directory_that_cannot_be_written_is_as_it_was() {
    testing::on_small_disk(1 << 20, |disk| {
        let mut scene = Scene::new(|root| edit(root, "+a one"));
        let target = disk.join("project");
        fs::rename(&scene.source, &target)
            .or_else(|_| fs::create_dir(&target).map(|()| edit(&target, "+a one")))
            .unwrap();
        scene.source.clone_from(&target);
        edit(scene.view.root(), "+a ONE\n+n x");
        fs::write(scene.view.root().join("large"), vec![7; 2 << 20]).unwrap();
        let error = scene.with(|application| apply(application).unwrap_err());
        assert_eq!(error.code(), "RT-0251", "{error}");
        assert_eq!(scene.shown(), "a 644 one\n");
        scene.assert_clean();
        fs::remove_file(scene.view.root().join("large")).unwrap();
        let read_only = rustix::mount::MountFlags::RDONLY;
        rustix::mount::mount_remount(disk, read_only, c"").unwrap();
        let error = scene.with(|application| apply(application).unwrap_err());
        assert_eq!(error.code(), "RT-0271", "{error}");
        rustix::mount::mount_remount(disk, rustix::mount::MountFlags::empty(), c"").unwrap();
        assert_eq!(said(&scene.apply()), "applied a n");
    });
}

/// Runs git in a folder.
fn git(root: &Path, arguments: &str) -> String {
    let mut command = git_command(arguments);
    command.current_dir(root);
    said_by(command)
}

fn git_command(arguments: &str) -> Command {
    let mut command = Command::new("git");
    command
        .args(["-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "init.defaultBranch=main"])
        .args(["-c", "protocol.file.allow=always"])
        .args(arguments.split(' '))
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null");
    command
}

fn said_by(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A repository with one commit of `a` and `b`, which ignores logs.
fn repository(root: &Path) {
    edit(root, "+a one\n+b two\n+.gitignore *.log");
    git(root, "init -q");
    git(root, "add .");
    git(root, "commit -q -m start");
}

#[test]
fn permissions_of_a_folder_that_both_changed_are_a_conflict() {
    use std::os::unix::fs::PermissionsExt;
    for (user, run, expected) in [
        (0o700, 0o700, "nothing"),
        (0o700, 0o750, "not applied: known was changed, new was created"),
        (0o755, 0o700, "applied known"),
    ] {
        let mut scene = Scene::new(|root| edit(root, "+known/file x"));
        let make = |root: &Path, mode: u32, is_new: bool| {
            for name in ["known", "new"].into_iter().take(1 + usize::from(is_new)) {
                let _ = fs::create_dir(root.join(name));
                fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
            }
        };
        let both_make = expected != "applied known";
        make(scene.view.root(), run, both_make);
        make(&scene.source, user, both_make);
        assert_eq!(said(&scene.apply()), expected);
        let mode = fs::metadata(scene.source.join("known")).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, if both_make { user } else { run });
    }
}

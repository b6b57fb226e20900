//! A directory at the start, what a run does in its copy, what the user does meanwhile, and what the directory is in the end.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fmt::Write,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt, fs::symlink},
    path::PathBuf,
    process::Command,
    time::SystemTime,
};

use ratchet_core::ids::Epoch;
use tempfile::TempDir;

use super::{
    journal::{Done, Journal, Phase},
    tree::{Item, Kind, walk},
    *,
};

struct Scene {
    _folder: TempDir,
    state: StateDirectory,
    source: PathBuf,
    id: ExecutionId,
}

/// Edits a tree. One edit a line: `write PATH TEXT`, `remove PATH`, `folder PATH`, `link PATH TO`, `mode PATH OCTAL`, `touch PATH`, `git ARGUMENTS`.
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
            "touch" => fs::File::open(&target).unwrap().set_modified(SystemTime::now()).unwrap(),
            "git" => git(root, &line[4..]),
            other => panic!("{other}"),
        }
    }
}

fn git(root: &Path, arguments: &str) {
    let output = Command::new("git")
        .args(["-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "init.defaultBranch=main"])
        .args(arguments.split(' '))
        .current_dir(root)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

fn git_says(root: &Path, arguments: &str) -> String {
    let output = Command::new("git").args(arguments.split(' ')).current_dir(root).output().unwrap();
    assert!(output.status.success(), "git {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A tree as text, one line a path, without git's own folder.
fn show(root: &Path) -> String {
    let mut text = String::new();
    for (path, item) in walk(root, &|path| path.ends_with(".git")).unwrap() {
        let what = match &item.kind {
            Kind::Folder => "folder".to_owned(),
            Kind::Link(to) => format!("-> {to}"),
            Kind::File => fs::read_to_string(root.join(path.as_path())).unwrap(),
        };
        writeln!(text, "{path} {:o} {what}", item.mode).unwrap();
    }
    text
}

fn trimmed(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).flat_map(|line| [line, "\n"]).collect()
}

impl Scene {
    fn new(start: &str) -> Self {
        rustix::process::umask(rustix::fs::Mode::from_bits_truncate(0o022));
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().canonicalize().unwrap().join("project");
        fs::create_dir(&source).unwrap();
        edit(&source, start);
        let state = StateDirectory::open(&folder.path().join("state")).unwrap();
        Self { _folder: folder, state, source, id: ExecutionId::new("run") }
    }

    fn place(&self) -> LocalPlace {
        LocalPlace { workspace: self.source.clone(), in_place: false, definitions: None }
    }

    fn copy(&self) -> PathBuf {
        self.state.workspace(&self.id)
    }

    fn prepare(&self) {
        prepare(&self.state, &self.id, &self.place()).unwrap();
    }

    fn apply(&self, epoch: u32, declared: &[&str]) -> Result<Application, LocalError> {
        let declared = declared.iter().map(|path| TreePath::new(*path)).collect();
        apply(&self.state, &self.id, Epoch(epoch), &self.source, declared)
    }

    /// Nothing of an application is left behind.
    fn assert_clean(&self) {
        let stage = self.source.join(format!("{}{}", apply::STAGE_PREFIX, self.id));
        assert!(!stage.exists() && !self.state.journal(&self.id).exists());
    }
}

/// Says shortly what came of an application.
fn said(application: &Application) -> String {
    match application {
        Application::Nothing => "nothing".to_owned(),
        Application::Applied { paths } => {
            format!("applied {}", paths.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        }
        Application::NotApplied { conflicts } => {
            let texts: Vec<_> =
                conflicts.iter().map(|conflict| format!("{} {}", conflict.path, conflict.reason)).collect();
            format!("not applied: {}", texts.join(", "))
        }
    }
}

/// Runs a scene and compares what is said and what the directory is; where nothing is applied it must be as the user left it.
fn check(name: &str, start: &str, run: &str, user: &str, expected: &str, directory: Option<&str>) {
    let scene = Scene::new(start);
    scene.prepare();
    edit(&scene.copy(), run);
    edit(&scene.source, user);
    let before = show(&scene.source);
    let application = scene.apply(1, &["report.xml"]).unwrap();
    assert_eq!(said(&application), expected, "{name}");
    assert_eq!(show(&scene.source), directory.map_or(before, trimmed), "{name}");
    scene.assert_clean();
    assert_eq!(scene.apply(1, &[]).unwrap(), application, "{name}: again it is only told");
}

#[test]
fn changes_are_applied() {
    let start = "write a one\nwrite b two\nwrite deep/c three\nlink l a\nfolder empty";
    for (name, run, user, expected, directory) in [
        (
            "nothing happened",
            "",
            "write a mine",
            "nothing",
            "a 644 mine\nb 644 two\ndeep 755 folder\ndeep/c 644 three\nempty 755 folder\nl 0 -> a",
        ),
        (
            "touched, not changed",
            "touch a",
            "",
            "nothing",
            "a 644 one\nb 644 two\ndeep 755 folder\ndeep/c 644 three\nempty 755 folder\nl 0 -> a",
        ),
        (
            "every kind of change",
            "write a ONE\nremove b\nwrite new/d four\nmode new/d 755\nremove l\nlink l deep/c\nremove empty",
            "",
            "applied a b empty l new new/d",
            "a 644 ONE\ndeep 755 folder\ndeep/c 644 three\nl 0 -> deep/c\nnew 755 folder\nnew/d 755 four",
        ),
        (
            "kinds change",
            "remove a\nfolder a\nwrite a/inner x\nremove deep\nwrite deep y\nremove empty\nlink empty b",
            "",
            "applied a a/inner deep deep/c empty",
            "a 755 folder\na/inner 644 x\nb 644 two\ndeep 644 y\nempty 0 -> b\nl 0 -> a",
        ),
        (
            "beside the user's own edits",
            "write a ONE",
            "write b mine\nwrite other x\nmode deep/c 600",
            "applied a",
            "a 644 ONE\nb 644 mine\ndeep 755 folder\ndeep/c 600 three\nempty 755 folder\nl 0 -> a\nother 644 x",
        ),
        (
            "the user had the same idea",
            "write a ONE\nwrite e x\nremove b",
            "write a ONE\nwrite e x\nremove b",
            "nothing",
            "a 644 ONE\ndeep 755 folder\ndeep/c 644 three\ne 644 x\nempty 755 folder\nl 0 -> a",
        ),
        (
            "an edit that was taken back",
            "write a ONE",
            "write a x\nwrite a one",
            "applied a",
            "a 644 ONE\nb 644 two\ndeep 755 folder\ndeep/c 644 three\nempty 755 folder\nl 0 -> a",
        ),
        (
            "a removed folder keeps what the user put into it",
            "remove deep",
            "write deep/mine x",
            "applied deep deep/c",
            "a 644 one\nb 644 two\ndeep 755 folder\ndeep/mine 644 x\nempty 755 folder\nl 0 -> a",
        ),
        (
            "leavings stay in the copy, declared outputs do not",
            "write .coverage x\nwrite deep/__pycache__/c.pyc x\nwrite report.xml r",
            "",
            "applied report.xml",
            "a 644 one\nb 644 two\ndeep 755 folder\ndeep/c 644 three\nempty 755 folder\nl 0 -> a\nreport.xml 644 r",
        ),
        (
            "a closed folder",
            "mode deep 555\nfolder shut\nwrite shut/x y\nmode shut 500",
            "",
            "applied deep shut shut/x",
            "a 644 one\nb 644 two\ndeep 555 folder\ndeep/c 644 three\nempty 755 folder\nl 0 -> a\nshut 500 folder\nshut/x 644 y",
        ),
    ] {
        check(name, start, run, user, expected, Some(directory));
    }
}

#[test]
fn what_the_user_changed_is_never_overwritten() {
    let start = "write a one\nwrite b two\nwrite deep/c three\nlink l a";
    for (name, run, user, expected) in [
        ("changed", "write a ONE\nwrite b TWO", "write a mine", "not applied: a was changed"),
        ("changed and removed", "remove a", "write a mine", "not applied: a was changed"),
        ("same size", "write a ONE", "write a 1on", "not applied: a was changed"),
        ("mode", "write a ONE", "mode a 600", "not applied: a was changed"),
        ("removed", "write a ONE", "remove a", "not applied: a was removed"),
        ("created", "write n x", "write n y", "not applied: n was created"),
        ("created as a folder", "write n x", "folder n", "not applied: n was created"),
        ("link", "remove l\nlink l b", "remove l\nlink l deep", "not applied: l was changed"),
        (
            "folder removed",
            "write deep/new x",
            "remove deep",
            "not applied: deep/new lies in a folder that was removed",
        ),
        (
            "never through a link",
            "write deep/new x",
            "remove deep\nlink deep /tmp",
            "not applied: deep/new lies in a folder that was replaced",
        ),
        ("more than one", "write a x\nwrite b x", "write a y\nwrite b y", "not applied: a was changed, b was changed"),
        (
            "a folder that became a file, with something in it",
            "remove deep\nwrite deep x",
            "write deep/mine y",
            "not applied: deep was created",
        ),
    ] {
        check(name, start, run, user, expected, None);
    }
}

#[test]
fn a_copy_that_a_power_loss_caught_half_written_is_refused() {
    let scene = Scene::new("");
    let here = format!("{BEGUN}{}", boot());
    directory::create(&scene.state.execution(&scene.id)).unwrap();
    check_copy(&scene.state, &scene.id).expect("a run in place has no copy");
    fs::write(scene.state.manifest(&scene.id), "").unwrap();
    for (note, is_whole) in [(WHOLE, true), (&here, true), ("being written since start another", false), ("", false)] {
        fs::write(scene.state.synced(&scene.id), note).unwrap();
        assert_eq!(check_copy(&scene.state, &scene.id).is_ok(), is_whole, "{note}");
    }
    fs::remove_file(scene.state.synced(&scene.id)).unwrap();
    assert_eq!(check_copy(&scene.state, &scene.id).unwrap_err().code(), "RT-0258");
}

#[test]
fn names_that_are_no_text_survive() {
    let scene = Scene::new("");
    let name = OsStr::from_bytes(b"caf\xe9 %41\n");
    fs::write(scene.source.join(name), "old").unwrap();
    scene.prepare();
    assert_eq!(fs::read(scene.copy().join(name)).unwrap(), b"old");
    fs::write(scene.copy().join(name), "new").unwrap();
    assert_eq!(said(&scene.apply(1, &[]).unwrap()), "applied caf%e9 %2541\n");
    assert_eq!(fs::read(scene.source.join(name)).unwrap(), b"new");
}

#[test]
fn a_second_end_is_compared_with_what_the_first_left() {
    let scene = Scene::new("write a one\nwrite b two");
    scene.prepare();
    edit(&scene.copy(), "write a ONE\nwrite n x\nremove b");
    assert_eq!(said(&scene.apply(1, &[]).unwrap()), "applied a b n");
    edit(&scene.copy(), "write a TWO\nremove n\nwrite b again");
    assert_eq!(said(&scene.apply(2, &[]).unwrap()), "applied a b n");
    assert_eq!(show(&scene.source), "a 644 TWO\nb 644 again\n");
    edit(&scene.copy(), "write a THREE");
    edit(&scene.source, "write a mine");
    assert_eq!(said(&scene.apply(3, &[]).unwrap()), "not applied: a was changed");
}

#[test]
fn links_of_the_copy_never_lead_into_the_users_files() {
    let scene = Scene::new("write a one\nwrite deep/x y\nlink deep/up ../a");
    edit(&scene.source, "link out ../elsewhere\nlink far /usr/share");
    scene.prepare();
    let target = |path: &str| fs::read_link(scene.copy().join(path)).unwrap();
    assert_eq!(target("deep/up"), Path::new("../a"));
    assert_eq!(target("far"), Path::new("/usr/share"));
    assert_eq!(target("out"), scene.source.parent().unwrap().join("elsewhere"), "it still names the same place");
    symlink(scene.copy().join("a"), scene.copy().join("made")).unwrap();
    assert_eq!(said(&scene.apply(1, &[]).unwrap()), "applied made");
    assert_eq!(fs::read_link(scene.source.join("made")).unwrap(), scene.source.join("a"));
}

#[test]
fn a_directory_that_works_only_where_it_lies_is_refused() {
    let refused = |make: &dyn Fn(&Path)| {
        let scene = Scene::new("write a one");
        make(&scene.source);
        let error = prepare(&scene.state, &scene.id, &scene.place()).unwrap_err();
        assert!(!scene.copy().exists());
        (error.code(), error.hint().contains("--in-place"))
    };
    let named = |root: &Path| root.to_str().unwrap().to_owned();
    assert_eq!(refused(&|root| edit(root, &format!("link own {}/a", named(root)))), ("RT-0255", true));
    assert_eq!(
        refused(&|root| edit(root, &format!("write .venv/pyvenv.cfg command = python -m venv {}/.venv", named(root)))),
        ("RT-0255", true)
    );
    assert_eq!(refused(&|root| edit(root, &format!("write lib/own.pth {}", named(root)))), ("RT-0255", true));
    assert_eq!(refused(&|root| edit(root, "write .git gitdir: /elsewhere")), ("RT-0256", true));
    let scene = Scene::new("");
    edit(&scene.source, &format!("write lib/other.pth {}-other/a", named(&scene.source)));
    scene.prepare();
}

#[test]
fn a_workspace_that_is_no_directory_is_told() {
    let scene = Scene::new("write a one");
    for path in ["missing", "a"] {
        for in_place in [false, true] {
            let place = LocalPlace { workspace: scene.source.join(path), in_place, definitions: None };
            assert_eq!(prepare(&scene.state, &scene.id, &place).unwrap_err().code(), "RT-0253");
        }
    }
}

const REPOSITORY: &str = "write a one\nwrite .gitignore *.log\ngit init -q\ngit add .\ngit commit -q -m start";

#[test]
fn commits_of_a_run_reach_the_repository_and_configuration_stays_the_users() {
    let scene = Scene::new(REPOSITORY);
    scene.prepare();
    let run = "git checkout -q -b feature\nwrite a two\nwrite build.log x\ngit add .\ngit commit -q -m change\n\
               git config core.fsmonitor /evil\nwrite .git/hooks/pre-commit evil\ngit repack -q -a -d\ngit prune";
    edit(&scene.copy(), run);
    // The user looks around meanwhile, which rewrites the index.
    edit(&scene.source, "touch a\ngit status");
    let Application::Applied { paths } = scene.apply(1, &[]).unwrap() else { panic!() };
    assert!(!paths.iter().any(|path| path.to_string().contains("build.log")));
    assert_eq!(git_says(&scene.source, "log --format=%s"), "change\nstart");
    assert_eq!(git_says(&scene.source, "branch --show-current"), "feature");
    assert_eq!(git_says(&scene.source, "status --porcelain"), "");
    git_says(&scene.source, "fsck --full --strict");
    assert!(!fs::read_to_string(scene.source.join(".git/config")).unwrap().contains("evil"));
    assert!(!scene.source.join(".git/hooks/pre-commit").exists());
}

#[test]
fn a_run_that_only_looks_at_the_repository_does_not_mind_the_users_commits() {
    let scene = Scene::new(REPOSITORY);
    scene.prepare();
    edit(&scene.copy(), "write new x\ntouch a\ngit status");
    edit(&scene.source, "write b mine\ngit add b\ngit commit -q -m mine");
    assert_eq!(said(&scene.apply(1, &[]).unwrap()), "applied new");
    assert_eq!(git_says(&scene.source, "log --format=%s"), "mine\nstart");
}

#[test]
fn commits_on_both_sides_are_a_conflict() {
    let scene = Scene::new(REPOSITORY);
    scene.prepare();
    edit(&scene.copy(), "write a two\ngit commit -q -a -m run");
    edit(&scene.source, "write b mine\ngit add b\ngit commit -q -m mine");
    let objects = walk(&scene.source.join(".git/objects"), &|_| false).unwrap();
    let said = said(&scene.apply(1, &[]).unwrap());
    assert_eq!(said, "not applied: .git/index was changed, .git/refs/heads/main was changed");
    assert_eq!(walk(&scene.source.join(".git/objects"), &|_| false).unwrap(), objects);
    assert_eq!(git_says(&scene.source, "log --format=%s"), "mine\nstart");
}

#[test]
fn an_application_that_dies_anywhere_is_finished_or_taken_back_by_the_next() {
    let start = "write a one\nwrite b two\nwrite deep/c three\nfolder empty";
    let run = "write a ONE\nremove b\nwrite new/d four\nremove deep\nwrite deep file\nremove empty\nwrite z last";
    let after = "a 644 ONE\ndeep 644 file\nnew 755 folder\nnew/d 644 four\nz 644 last\n";
    for done in 0..=9 {
        for user in [None, Some("write z mine")] {
            let scene = Scene::new(start);
            scene.prepare();
            edit(&scene.copy(), run);
            let before = show(&scene.source);
            let mut journal = begun(&scene);
            assert_eq!(journal.operations.len(), 9);
            // Dies after so many operations.
            let all = journal.operations.clone();
            journal.operations.truncate(done);
            assert!(matches!(journal.perform(&scene.state.journal(&scene.id)).unwrap(), Done::All));
            journal.operations = all;
            journal.save(&scene.state.journal(&scene.id)).unwrap();
            if let Some(edits) = user {
                edit(&scene.source, edits);
            }
            let told = said(&recover(&scene.state, &scene.id).unwrap().unwrap());
            let now = show(&scene.source);
            if user.is_none() {
                assert_eq!(
                    (told.as_str(), now.as_str()),
                    ("applied a b deep deep/c empty new new/d z", after),
                    "{done}"
                );
            } else if done < 9 {
                assert_eq!(told, "not applied: z was created", "{done}");
                assert_eq!(now, format!("{before}z 644 mine\n"), "{done}");
            }
            scene.assert_clean();
            assert_eq!(recover(&scene.state, &scene.id).unwrap(), None);
        }
    }
}

#[test]
fn an_application_that_died_while_taking_back_is_taken_back() {
    let scene = Scene::new("write a one\nwrite b two");
    scene.prepare();
    edit(&scene.copy(), "write a ONE\nwrite b TWO\nwrite n x");
    let before = show(&scene.source);
    let mut journal = begun(&scene);
    assert!(matches!(journal.perform(&scene.state.journal(&scene.id)).unwrap(), Done::All));
    journal.phase = Phase::Undoing(vec![Conflict::new(&TreePath::new("n"), "was created")]);
    journal.save(&scene.state.journal(&scene.id)).unwrap();
    assert_eq!(said(&recover(&scene.state, &scene.id).unwrap().unwrap()), "not applied: n was created");
    assert_eq!(show(&scene.source), before);
    scene.assert_clean();
}

#[test]
fn an_application_that_died_while_staging_begins_again() {
    let scene = Scene::new("write a one");
    scene.prepare();
    edit(&scene.copy(), "write a ONE");
    let mut journal = begun(&scene);
    journal.phase = Phase::Staging;
    journal.operations.clear();
    journal.save(&scene.state.journal(&scene.id)).unwrap();
    assert_eq!(said(&scene.apply(1, &[]).unwrap()), "applied a");
    scene.assert_clean();
}

/// An application whose operations are all still to be done.
fn begun(scene: &Scene) -> Journal {
    match apply::begin(&scene.state, &scene.id, Epoch(1), &scene.source, BTreeSet::new()).unwrap() {
        apply::Begun::Ready(journal) => journal,
        apply::Begun::Ended(application) => panic!("{application:?}"),
    }
}

#[test]
fn a_path_never_leaves_the_workspace() {
    let scene = Scene::new(
        "write a one\nwrite deep/b two\nlink inside deep\nlink up ..\nlink out /etc/hostname\nlink dangling none",
    );
    edit(scene.source.parent().unwrap(), "write secret x");
    edit(&scene.source, &format!("link own {}/a\nlink hop up/secret", scene.source.display()));
    let files = ConfinedFiles::new(&scene.source, scene.state.clone());
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
    for path in ["../new", "up/new", "/tmp/new", "", "."] {
        assert!(files.write(path, b"x").is_err(), "{path}");
    }
    files.write("out", b"a file now").unwrap();
    assert_eq!(outcome("out"), "a file now", "the link was replaced, not followed");
    files.write("./made/deeper/x", b"y").unwrap();
    assert_eq!(Item::read(&scene.source.join("made/deeper/x")).unwrap().unwrap().mode, 0o644);
}

#[test]
fn the_digest_of_a_folder_is_that_of_all_in_it() {
    let scene = Scene::new("write f/a one\nfolder f/empty\nlink f/l a");
    let files = ConfinedFiles::new(&scene.source, scene.state.clone());
    let mut seen = vec![files.digest("f").unwrap().unwrap()];
    for edits in ["write f/a two", "mode f/a 755", "remove f/empty", "remove f/l\nlink f/l b", "write f/b x"] {
        edit(&scene.source, edits);
        let digest = files.digest("f").unwrap().unwrap();
        assert!(!seen.contains(&digest), "{edits}");
        seen.push(digest);
    }
    edit(&scene.source, "touch f/a\nmode f/a 700");
    assert_eq!(files.digest("f/").unwrap().as_ref(), seen.last(), "neither time nor who may read counts");
    assert_ne!(files.digest("."), files.digest("f"));
}

#[test]
fn globs_find_files_and_links_to_files() {
    let scene = Scene::new(
        "write a.py x\nwrite b/c.py x\nwrite b/d/e.py x\nwrite .git/x.py x\nlink l.py a.py\nlink out.py /etc/hostname\nfolder f.py",
    );
    let files = ConfinedFiles::new(&scene.source, scene.state.clone());
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

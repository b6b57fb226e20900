//! What becomes of a repository: commits, refs, what is checked out, and what is staged.

use std::os::unix::ffi::OsStringExt as _;

use super::*;

/// Plays a scene in a repository. Lines that begin with `git` are commands.
fn play(run: &str, user: &str) -> (Scene, String) {
    let mut scene = Scene::new(repository);
    for line in run.lines().map(str::trim_start) {
        match line.strip_prefix("git ") {
            Some(arguments) => drop(scene.git(arguments)),
            None => edit(scene.view.root(), line),
        }
    }
    for line in user.lines() {
        match line.strip_prefix("git ") {
            Some(arguments) => drop(git(&scene.source, arguments)),
            None => edit(&scene.source, line),
        }
    }
    let told = said(&scene.apply());
    scene.assert_clean();
    git(&scene.source, "fsck --full --strict");
    (scene, told)
}

#[test]
fn commits_of_a_run_reach_the_repository_and_configuration_stays_the_users() {
    let run = "git checkout -q -b feature\n+a two\n+build.log x\ngit add .\ngit commit -q -m change\ngit tag v1\n\
               git config core.fsmonitor /evil\n+.git/hooks/pre-commit evil\ngit repack -q -a -d\ngit prune";
    // The user looks around meanwhile, which rewrites the index.
    let (scene, told) = play(run, "+a one\ngit status");
    assert_eq!(told, "applied a (refs/heads/feature) (refs/tags/v1)");
    let says = |arguments| git(&scene.source, arguments);
    assert_eq!(says("log --format=%s"), "change\nstart");
    assert_eq!(says("branch --show-current"), "feature");
    assert_eq!(says("status --porcelain"), "");
    assert_eq!(says("rev-parse v1"), says("rev-parse HEAD"));
    assert!(!fs::read_to_string(scene.source.join(".git/config")).unwrap().contains("evil"));
    assert!(!scene.source.join(".git/hooks/pre-commit").exists() && !scene.source.join("build.log").exists());
}

#[test]
fn a_run_that_only_looks_at_the_repository_does_not_mind_the_users_commits() {
    let (scene, told) = play("+new x\ngit status", "+b mine\ngit commit -q -a -m mine");
    assert_eq!(told, "applied new");
    assert_eq!(git(&scene.source, "log --format=%s"), "mine\nstart");
    assert_eq!(git(&scene.source, "status --porcelain"), "?? new");
}

#[test]
fn a_ref_that_both_moved_is_kept_under_a_name_of_the_runs() {
    let (scene, told) = play("+a two\ngit commit -q -a -m run", "+b mine\ngit commit -q -a -m mine");
    assert_eq!(told, "applied a (refs/ratchet/run/heads/main)");
    let says = |arguments| git(&scene.source, arguments);
    assert_eq!(says("log --format=%s"), "mine\nstart");
    assert_eq!(says("log --format=%s refs/ratchet/run/heads/main"), "run\nstart");
    assert_eq!(says("status --porcelain"), "M a", "what the run changed is there, and not committed");
}

#[test]
fn what_the_user_staged_stays_staged() {
    let (scene, told) = play("+a two\ngit commit -q -a -m run", "+b mine\ngit add b\n+n new\ngit add n");
    assert_eq!(told, "applied a (refs/heads/main)");
    assert_eq!(git(&scene.source, "status --porcelain"), "M  b\nA  n");
    assert_eq!(git(&scene.source, "log --format=%s"), "run\nstart");
}

#[test]
fn what_the_user_staged_is_never_unstaged() {
    // Staged and then taken back in the files, so that only the index tells.
    let user = "+a mine\ngit add a\n+a one";
    let (scene, told) = play("+a two\n+n x\ngit add .\ngit commit -q -m run", user);
    assert_eq!(told, "not applied: .git/index has staged changes where the run's commits change something");
    assert_eq!(git(&scene.source, "log --format=%s"), "start");
    assert_eq!(git(&scene.source, "show :a"), "mine");
    assert_eq!(fs::read(scene.source.join("a")).unwrap(), b"one");
    assert!(!scene.source.join("n").exists());
}

#[test]
fn an_index_that_another_command_holds_is_not_touched() {
    let mut scene = Scene::new(repository);
    edit(scene.view.root(), "+a two");
    scene.git("commit -q -a -m run");
    let lock = scene.source.join(".git/index.lock");
    fs::write(&lock, "another's").unwrap();
    assert_eq!(said(&scene.apply()), "not applied: .git/index is locked by another git command");
    assert_eq!(fs::read(&lock).unwrap(), b"another's");
    fs::remove_file(&lock).unwrap();
    assert_eq!(said(&scene.apply()), "applied a (refs/heads/main)");
}

#[test]
fn branches_come_and_go_with_a_run_unless_the_user_moved_them() {
    let mut scene = Scene::new(|root| {
        repository(root);
        for name in ["gone", "moved", "kept"] {
            git(root, &format!("branch {name}"));
        }
    });
    for command in ["branch -D gone", "branch -D moved", "branch made", "branch -m kept renamed"] {
        scene.git(command);
    }
    edit(&scene.source, "+b mine");
    git(&scene.source, "commit -q -a -m mine");
    git(&scene.source, "branch -f moved main");
    scene.apply();
    assert_eq!(git(&scene.source, "for-each-ref --format=%(refname:short)"), "made\nmain\nmoved\nrenamed");
}

#[test]
fn a_first_commit_and_a_checked_out_commit() {
    let mut scene = Scene::new(|root| {
        edit(root, "+a one");
        git(root, "init -q");
    });
    scene.git("add a");
    scene.git("commit -q -m first");
    assert_eq!(said(&scene.apply()), "applied (refs/heads/main)");
    assert_eq!(git(&scene.source, "status --porcelain"), "");
    assert_eq!(git(&scene.source, "log --format=%s"), "first");
    let mut scene = Scene::new(repository);
    scene.git("checkout -q --detach");
    edit(scene.view.root(), "+a two");
    scene.git("commit -q -a -m loose");
    assert_eq!(said(&scene.apply()), "applied a");
    assert_eq!(git(&scene.source, "log --format=%s"), "loose\nstart");
    assert_eq!(git(&scene.source, "branch --show-current"), "");
    assert_eq!(git(&scene.source, "status --porcelain"), "");
}

/// A repository that has part of itself elsewhere is whole in a view, and what a run does reaches it where it is.
#[test]
fn linked_worktrees_and_borrowed_objects() {
    let ways = ["worktree add -q -b linked ../project", "clone -q --shared . ../project"];
    for (kind, make) in kinds().flat_map(|kind| ways.map(|make| (kind, make))) {
        let mut scene = Scene::of(kind, |root| {
            let main = root.parent().unwrap().join("main");
            fs::create_dir(&main).unwrap();
            repository(&main);
            fs::remove_dir(root).unwrap();
            git(&main, make);
        });
        let main = scene.folder.path().join("main");
        fs::rename(&main, main.with_extension("away")).unwrap();
        // The user's own repository could be away: the view does not need it.
        assert_eq!(scene.git("status --porcelain"), "");
        scene.git("fsck --full --strict");
        edit(scene.view.root(), "+a two\n+n x");
        scene.git("add .");
        scene.git("commit -q -m run");
        fs::rename(main.with_extension("away"), &main).unwrap();
        let branch = git(&scene.source, "symbolic-ref HEAD");
        assert_eq!(said(&scene.apply()), format!("applied a n ({branch})"), "{kind:?} {make}");
        assert_eq!(git(&scene.source, "log --format=%s"), "run\nstart");
        assert_eq!(git(&scene.source, "status --porcelain"), "");
        assert_eq!(
            (git(&main, "status --porcelain"), git(&main, "log --format=%s")),
            (String::new(), "start".to_owned())
        );
        for root in [&scene.source, &main] {
            git(root, "fsck --full --strict");
        }
    }
}

#[test]
fn submodules_move_with_their_commits() {
    for kind in kinds() {
        let mut scene = Scene::of(kind, |root| {
            let library = root.parent().unwrap().join("library");
            fs::create_dir(&library).unwrap();
            repository(&library);
            repository(root);
            git(root, "submodule --quiet add ../library sub");
            git(root, "commit -q -m submodule");
        });
        edit(&scene.view.root().join("sub"), "+a two");
        scene.git("-C sub commit -q -a -m inner");
        scene.git("commit -q -a -m outer");
        // The user looks at the submodule meanwhile, with which git writes its index anew. What the run began with is kept.
        scene.contents.keep(&scene.source.join(".git/modules/sub/index")).unwrap();
        File::open(scene.source.join("sub/a")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        let index = fs::read(scene.source.join(".git/modules/sub/index")).unwrap();
        git(&scene.source, "-C sub status");
        assert_ne!(fs::read(scene.source.join(".git/modules/sub/index")).unwrap(), index);
        let Applied::Whole { .. } = scene.apply() else { panic!("{kind:?}") };
        assert_eq!(git(&scene.source, "log -1 --format=%s"), "outer", "{kind:?}");
        assert_eq!(git(&scene.source, "-C sub log -1 --format=%s"), "inner", "{kind:?}");
        assert_eq!(git(&scene.source, "status --porcelain"), "");
        git(&scene.source.join("sub"), "fsck --full --strict");
    }
}

/// Names that are no text are committed, applied and taken away like any other.
#[test]
fn names_that_are_not_text() {
    for kind in kinds() {
        let mut scene = Scene::of(kind, |root| {
            repository(root);
            fs::write(root.join(testing::strange_name()), "old").unwrap();
            git(root, "add .");
            git(root, "commit -q -m strange");
        });
        let other = PathBuf::from(std::ffi::OsString::from_vec(b"sub-\xff/\xfe".to_vec()));
        let view = scene.view.root().to_owned();
        fs::create_dir(view.join(other.parent().unwrap())).unwrap();
        fs::rename(view.join(testing::strange_name()), view.join(&other)).unwrap();
        scene.git("add .");
        scene.git("commit -q -m renamed");
        let Applied::Whole { paths, .. } = scene.apply() else { panic!("{kind:?}") };
        let paths: Vec<_> = paths.iter().map(ToString::to_string).collect();
        assert_eq!(paths, ["caf%e9 %2541\n", "sub-%ff", "sub-%ff/%fe"], "{kind:?}");
        assert_eq!(fs::read(scene.source.join(&other)).unwrap(), b"old");
        assert!(!scene.source.join(testing::strange_name()).exists());
        assert_eq!(git(&scene.source, "status --porcelain"), "");
        git(&scene.source, "fsck --full --strict");
    }
}

#[test]
fn an_object_that_is_missing_is_told_before_anything_is_touched() {
    let mut scene = Scene::new(repository);
    edit(scene.view.root(), "+a two");
    scene.git("commit -q -a -m run");
    let tree = scene.git("rev-parse HEAD^{tree}");
    let object = scene.view.root().join(".git/objects").join(&tree[..2]).join(&tree[2..]);
    fs::remove_file(object).unwrap();
    let error = scene.with(|application| apply(application).unwrap_err());
    assert_eq!(error.code(), "RT-0277", "{error}");
    assert_eq!(git(&scene.source, "log --format=%s"), "start");
    assert_eq!(fs::read(scene.source.join("a")).unwrap(), b"one");
    scene.assert_clean();
}

#[test]
fn an_application_with_commits_that_dies_before_git_moves_is_finished() {
    let mut scene = Scene::new(repository);
    edit(scene.view.root(), "+a two\n+n x");
    scene.git("add .");
    scene.git("commit -q -m run");
    for git_done in [false, true] {
        let journal = scene.begun();
        if git_done {
            journal.git.as_ref().unwrap().perform().unwrap();
        }
        assert!(matches!(said(&recover(&scene.journal()).unwrap().unwrap()).as_str(), "applied a n (refs/heads/main)"));
        assert_eq!(git(&scene.source, "status --porcelain"), "");
        scene.assert_clean();
        git(&scene.source, "reset -q --hard HEAD~1");
    }
}

#[test]
fn the_parts_of_a_git_folder() {
    use crate::apply::git::{GitPart, git_part};
    for (text, part) in [
        ("source/a", None),
        (".github/config", None),
        (".git/config", Some(GitPart::Kept)),
        (".git/hooks/pre-commit", Some(GitPart::Kept)),
        (".git/HEAD", Some(GitPart::Kept)),
        (".git/refs/heads/main", Some(GitPart::Kept)),
        (".git/index", Some(GitPart::Kept)),
        (".git/objects/ab/cd", Some(GitPart::Objects)),
        (".git/modules/a/HEAD", Some(GitPart::Module)),
        (".git/modules/a/config", Some(GitPart::Kept)),
        (".git/modules/a/hooks/post-checkout", Some(GitPart::Kept)),
        (".git/modules/a/index.lock", Some(GitPart::Kept)),
    ] {
        assert_eq!(git_part(&TreePath::new(text).unwrap()), part, "{text}");
    }
}

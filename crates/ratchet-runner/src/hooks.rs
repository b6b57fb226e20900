//! The hooks that git runs for the processes of a step: a commit says which execution made it, and the repository's own hooks run as they would.
//!
//! They stand in a folder of the engine's, which a variable of the process names to git, so that nothing of the repository's or the person's configuration changes.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// The folder's name beside the homes of commands.
const FOLDER: &str = "hooks";

/// The hook in which the trailer is added: also `git commit --no-verify` runs it, and whatever makes commits out of others.
const MESSAGE: &str = "prepare-commit-msg";

/// Every other hook that a repository that is worked in may have: git looks for them in the one folder that it is told.
const OTHERS: [&str; 20] = [
    "applypatch-msg",
    "commit-msg",
    "p4-changelist",
    "p4-post-changelist",
    "p4-pre-submit",
    "p4-prepare-changelist",
    "post-applypatch",
    "post-checkout",
    "post-commit",
    "post-index-change",
    "post-merge",
    "post-rewrite",
    "pre-applypatch",
    "pre-auto-gc",
    "pre-commit",
    "pre-merge-commit",
    "pre-push",
    "pre-rebase",
    "reference-transaction",
    "sendemail-validate",
];

/// Runs the repository's own hook of the same name, wherever the repository and the person say that their hooks are.
const CHAIN: &str = "#!/bin/sh
own=$(GIT_CONFIG_COUNT=${RATCHET_GIT_CONFIG_COUNT:-0} git rev-parse --git-path hooks)/${0##*/}
if test -x \"$own\"; then exec \"$own\" \"$@\"; fi
";

/// The same, and then adds the trailer. A message that says nothing stays one: git refuses it.
const CHAIN_AND_ADD: &str = "#!/bin/sh
own=$(GIT_CONFIG_COUNT=${RATCHET_GIT_CONFIG_COUNT:-0} git rev-parse --git-path hooks)/${0##*/}
if test -x \"$own\"; then \"$own\" \"$@\" || exit; fi
if grep -qv -e '^#' -e '^[[:space:]]*$' \"$1\"; then
    git interpret-trailers --in-place --if-exists addIfDifferent --if-missing add --trailer \"Ratchet-Execution: $RATCHET_EXECUTION_ID\" \"$1\"
fi
";

/// Makes the folder of hooks below a folder of the engine's, where it is not there yet.
pub(crate) fn folder(scratch: &Path) -> io::Result<PathBuf> {
    // Several attempts may be the first: one makes it, and the others wait for that.
    static MAKING: Mutex<()> = Mutex::new(());
    let folder = scratch.join(FOLDER);
    if folder.is_dir() {
        return Ok(folder);
    }
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    if folder.is_dir() {
        return Ok(folder);
    }
    // Written whole under another name, so that what is there is whole.
    let made = scratch.join(format!("{FOLDER}.part"));
    match fs::remove_dir_all(&made) {
        // What an attempt could not finish, on a full disk say.
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => fs::create_dir_all(&made)?,
    }
    let write = |name: &str, text: &str| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o500).open(made.join(name))?;
        file.write_all(text.as_bytes())
    };
    write(MESSAGE, CHAIN_AND_ADD)?;
    let [first, others @ ..] = OTHERS;
    write(first, CHAIN)?;
    // One file under many names: every run makes such a folder.
    others.iter().try_for_each(|name| fs::hard_link(made.join(first), made.join(name)))?;
    fs::rename(&made, &folder)?;
    Ok(folder)
}

/// The folder that git is told of by these variables.
pub(crate) fn named(variables: &BTreeMap<String, String>) -> Option<PathBuf> {
    let count: usize = variables.get("GIT_CONFIG_COUNT")?.trim().parse().ok()?;
    let is_hooks =
        |number: &usize| variables.get(&format!("GIT_CONFIG_KEY_{number}")).is_some_and(|key| key == "core.hooksPath");
    let number = (0..count.min(1000)).rev().find(is_hooks)?;
    variables.get(&format!("GIT_CONFIG_VALUE_{number}")).map(PathBuf::from)
}

/// Tells git of the hooks by the variables of a process, beside what they tell it already.
pub(crate) fn add(variables: &mut BTreeMap<String, String>, hooks: &Path) {
    let given: usize = variables.get("GIT_CONFIG_COUNT").and_then(|count| count.trim().parse().ok()).unwrap_or(0);
    variables.insert(format!("GIT_CONFIG_KEY_{given}"), "core.hooksPath".to_owned());
    variables.insert(format!("GIT_CONFIG_VALUE_{given}"), hooks.display().to_string());
    variables.insert("GIT_CONFIG_COUNT".to_owned(), (given + 1).to_string());
    if given > 0 {
        variables.insert("RATCHET_GIT_CONFIG_COUNT".to_owned(), given.to_string());
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt as _, process::Command};

    use super::*;

    struct Repository {
        folder: tempfile::TempDir,
        variables: BTreeMap<String, String>,
    }

    impl Repository {
        fn new(declared: &[(&str, &str)]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let mut variables: BTreeMap<String, String> =
                declared.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            add(&mut variables, &super::folder(folder.path()).unwrap());
            variables.insert("RATCHET_EXECUTION_ID".to_owned(), "run-7".to_owned());
            for (name, value) in [
                ("HOME", folder.path().to_str().unwrap()),
                ("GIT_CONFIG_NOSYSTEM", "1"),
                ("GIT_AUTHOR_NAME", "t"),
                ("GIT_AUTHOR_EMAIL", "t@example.com"),
                ("GIT_COMMITTER_NAME", "t"),
                ("GIT_COMMITTER_EMAIL", "t@example.com"),
            ] {
                variables.insert(name.to_owned(), value.to_owned());
            }
            let repository = Self { folder, variables };
            fs::create_dir(repository.work()).unwrap();
            repository.run("git init -q -b main");
            repository
        }

        fn work(&self) -> PathBuf {
            self.folder.path().join("project")
        }

        fn try_to_run(&self, script: &str) -> (bool, String) {
            let mut command = Command::new("bash");
            command
                .args(["-ec", script])
                .current_dir(self.work())
                .env_clear()
                .env("PATH", std::env::var_os("PATH").unwrap());
            let output = command.envs(&self.variables).output().unwrap();
            let said = [output.stdout, output.stderr].concat();
            (output.status.success(), String::from_utf8_lossy(&said).into_owned())
        }

        fn run(&self, script: &str) -> String {
            let (did_well, said) = self.try_to_run(script);
            assert!(did_well, "{script}: {said}");
            said
        }

        fn hook(&self, path: &str, script: &str) {
            let path = self.work().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    const TRAILER: &str = "git log -1 --format='%(trailers:key=Ratchet-Execution)'";

    #[test]
    fn every_way_to_make_a_commit_adds_the_trailer_once() {
        let repository = Repository::new(&[]);
        for script in [
            "echo a > a; git add a; git commit -qm first",
            "echo b > a; git commit -qam second --no-verify",
            "git commit -q --amend --no-edit",
            "git commit -q --allow-empty -m 'subject

body

Signed-off-by: a <a@example.com>'",
            "git checkout -qb side HEAD~1; echo c > c; git add c; git commit -qm side; git checkout -q main; git merge -q side -m merged",
            "git revert --no-edit -m 1 HEAD > /dev/null",
            "git cherry-pick --allow-empty side > /dev/null || git commit -q --allow-empty -m picked",
            "git worktree add -q ../linked -b linked; cd ../linked; git commit -q --allow-empty -m linked",
        ] {
            let said = repository.run(&format!("{script}; {TRAILER}"));
            assert_eq!(said.trim(), "Ratchet-Execution: run-7", "{script}");
        }
        let (did_well, said) = repository.try_to_run("git commit -q --allow-empty -m ''");
        assert!(!did_well && said.contains("empty commit message"), "{said}");
    }

    #[test]
    fn the_hooks_of_the_repository_run_wherever_they_are() {
        for (declared, set, place) in [
            (&[][..], "true", ".git/hooks"),
            (&[], "git config core.hooksPath .husky/_", ".husky/_"),
            (&[], "git config --global core.hooksPath ~/project/theirs", "theirs"),
            (
                &[
                    ("GIT_CONFIG_COUNT", "1"),
                    ("GIT_CONFIG_KEY_0", "core.hooksPath"),
                    ("GIT_CONFIG_VALUE_0", "declared"),
                ],
                "true",
                "declared",
            ),
        ] {
            let repository = Repository::new(declared);
            repository.run(set);
            for name in ["pre-commit", "post-commit", "post-checkout", "reference-transaction"] {
                repository.hook(&format!("{place}/{name}"), &format!("echo {name} >> \"$HOME/ran\""));
            }
            repository.hook(&format!("{place}/{MESSAGE}"), "echo 'of the hook' >> \"$1\"");
            repository.hook(&format!("{place}/commit-msg"), "! grep -q forbidden \"$1\"");
            repository.hook(&format!("{place}/pre-push"), "cat > \"$HOME/pushed\"");
            repository.run("git commit -q --allow-empty -m one; git checkout -qb other");
            let message = repository.run("git log -1 --format=%B");
            assert!(
                message.contains("of the hook") && message.contains("Ratchet-Execution: run-7"),
                "{place}: {message}"
            );
            let ran = fs::read_to_string(repository.folder.path().join("ran")).unwrap();
            for name in ["pre-commit", "post-commit", "post-checkout", "reference-transaction"] {
                assert!(ran.contains(name), "{place}: {ran}");
            }
            let (did_well, _) = repository.try_to_run("git commit -q --allow-empty -m forbidden");
            assert!(!did_well, "{place}");
            // From a folder below, with what git hands a hook on its standard input.
            repository
                .run("git init -q --bare \"$HOME/bare\"; mkdir -p below; cd below; git push -q \"$HOME/bare\" HEAD");
            assert!(fs::read_to_string(repository.folder.path().join("pushed")).unwrap().contains("refs/heads/other"));
        }
    }
}

//! What to say to a person whose command failed in a way that is known.

/// What to do about an exit code, where it is known what it means.
pub(crate) fn on_exit(code: i32, argv: &[String], last_words: &str) -> Option<String> {
    let runs = |program: &str| argv.iter().any(|word| word.contains(program));
    let hint = match code {
        5 if runs("pytest") || last_words.contains("no tests ran") => {
            "pytest found no tests there (its exit code 5): give it a test file or a folder of tests, not the source file that they test, \
             or list 5 in `allow_exit_codes`"
        }
        4 if runs("pytest") && last_words.contains("unrecognized arguments: --cov") => {
            "pytest knows `--cov` only with its plugin: install `pytest-cov` beside it"
        }
        126 => "a program was found and could not be run: is it executable, and made for this machine?",
        127 => {
            "a program was not found: a step sees the PATH of the shell that runs ratchet and what `environment` declares, and no aliases \
             or start-up files"
        }
        137 => "it was killed: often because the machine ran out of memory",
        143 => "it was asked to end by something other than ratchet",
        141 => {
            "it wrote to a pipe that nobody read any more: `head` and its like end early, and `pipefail` makes that a failure"
        }
        128 if runs("git") && last_words.contains("not a git repository") => {
            "the workspace is not a git repository: run it on a checkout"
        }
        _ => return None,
    };
    Some(hint.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_exit_codes_have_advice() {
        for (code, command, words, expected) in [
            (5, "pytest --cov src/a.py", "no tests ran in 0.01s", Some("pytest found no tests")),
            (5, "make test", "==== no tests ran in 0.01s ====", Some("pytest found no tests")),
            (5, "make test", "failed", None),
            (127, "nosuch", "nosuch: command not found", Some("was not found")),
            (137, "x", "", Some("killed")),
            (1, "pytest", "1 failed", None),
        ] {
            let hint = on_exit(code, &["bash".to_owned(), "-c".to_owned(), command.to_owned()], words);
            assert_eq!(hint.is_some(), expected.is_some(), "{code} {command}");
            assert!(hint.unwrap_or_default().contains(expected.unwrap_or_default()), "{code} {command}");
        }
    }
}

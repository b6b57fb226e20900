//! Commands whose effect stays in the world outside: running one twice does it twice.

/// Words that a command begins with, and those of which one must follow; none means any.
struct Effect {
    begins: &'static [&'static str],
    then: &'static [&'static str],
}

const EFFECTS: &[Effect] = &[
    Effect { begins: &["git", "push"], then: &[] },
    Effect {
        begins: &["gh"],
        then: &[
            "create", "merge", "close", "comment", "edit", "delete", "reopen", "review", "ready", "upload", "set",
            "api", "run", "rerun", "fork", "sync", "transfer", "lock",
        ],
    },
    Effect { begins: &["glab"], then: &["create", "merge", "close", "note", "update", "delete", "api"] },
    Effect { begins: &["docker"], then: &["push"] },
    Effect { begins: &["podman"], then: &["push"] },
    Effect { begins: &["npm"], then: &["publish"] },
    Effect { begins: &["pnpm"], then: &["publish"] },
    Effect { begins: &["yarn"], then: &["publish"] },
    Effect { begins: &["cargo"], then: &["publish"] },
    Effect { begins: &["gem"], then: &["push"] },
    Effect { begins: &["twine"], then: &["upload"] },
    Effect { begins: &["kubectl"], then: &["apply", "create", "delete", "patch", "replace", "rollout", "scale"] },
    Effect { begins: &["helm"], then: &["install", "upgrade", "uninstall", "rollback"] },
    Effect { begins: &["terraform"], then: &["apply", "destroy"] },
    Effect { begins: &["tofu"], then: &["apply", "destroy"] },
    Effect { begins: &["sam"], then: &["deploy", "delete"] },
    Effect { begins: &["cdk"], then: &["deploy", "destroy"] },
    Effect { begins: &["sendmail"], then: &[] },
];

/// Words that stand before a command and change nothing about what it does.
const PREFIXES: &[&str] = &[
    "sudo", "env", "command", "exec", "time", "nohup", "if", "then", "else", "elif", "do", "while", "until", "!", "{",
];

/// The first command of a script that has such an effect, as its first words, and where it begins in bytes of the script.
///
/// This is no shell parser: it looks at the words after each place where a command may begin. What it misses is not warned of, and a
/// word in a quoted text is taken for a command only where a line of it begins like one.
pub(crate) fn find(script: &str) -> Option<(String, usize)> {
    // Most scripts name none of these programs anywhere.
    if !EFFECTS.iter().any(|effect| script.contains(effect.begins[0])) {
        return None;
    }
    let mut start = 0;
    let mut previous = ' ';
    for (at, character) in script.char_indices().chain([(script.len(), '\n')]) {
        let continues = character == '\n' && previous == '\\';
        if matches!(character, '\n' | ';' | '&' | '|' | '(' | ')' | '`') && !continues {
            if let Some(found) = of_command(&script[start..at]) {
                return Some((found.0, start + found.1));
            }
            start = at + character.len_utf8();
        }
        previous = character;
    }
    None
}

/// The same of a command whose words are known.
pub(crate) fn of_words(words: &[&str]) -> Option<String> {
    let effect = EFFECTS.iter().find(|effect| {
        // The verb stands within the first few words; what comes after is arguments.
        words.starts_with(effect.begins)
            && (effect.then.is_empty()
                || words[effect.begins.len()..].iter().take(4).any(|word| effect.then.contains(word)))
    })?;
    let shown = words.len().min(effect.begins.len() + 2).min(3);
    Some(words[..shown].join(" "))
}

fn of_command(command: &str) -> Option<(String, usize)> {
    let words = words(command);
    let is_prefix = |(_, word): &&(usize, &str)| PREFIXES.contains(word) || is_assignment(word);
    let skipped = words.iter().take_while(is_prefix).count();
    let (at, first) = *words.get(skipped)?;
    let words: Vec<&str> = words[skipped..].iter().map(|(_, word)| *word).collect();
    if first == "git" {
        // `git -C dir push`: the options of git itself come first.
        let mut rest = words[1..].iter();
        let mut verb = rest.next();
        while let Some(word) = verb.filter(|word| word.starts_with('-')) {
            if matches!(*word, "-C" | "-c") {
                rest.next();
            }
            verb = rest.next();
        }
        return verb.filter(|verb| **verb == "push").map(|_| ("git push".to_owned(), at));
    }
    of_words(&words).map(|found| (found, at))
}

/// The words of a text, each with where it begins. A backslash before a line end is none.
fn words(text: &str) -> Vec<(usize, &str)> {
    let mut words = Vec::new();
    let mut start = None;
    for (at, character) in text.char_indices().chain([(text.len(), ' ')]) {
        match (character.is_whitespace(), start) {
            (true, Some(from)) => {
                if &text[from..at] != "\\" {
                    words.push((from, &text[from..at]));
                }
                start = None;
            }
            (false, None) => start = Some(at),
            _ => {}
        }
    }
    words
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=')
        .is_some_and(|(name, _)| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_in_the_world_is_found() {
        let cases = [
            ("git push origin main", Some("git push@0")),
            ("git push", Some("git push@0")),
            ("git add . && git -C sub push", Some("git push@13")),
            ("git commit -m 'x'\ngh pr create --title \"a\" \\\n  --body b", Some("gh pr create@18")),
            ("if true; then sudo docker push x; fi", Some("docker push x@19")),
            ("A=1 B=2 npm publish", Some("npm publish@8")),
            ("url=$(gh pr create --fill)", Some("gh pr create@6")),
            ("git commit -m 'push'", None),
            ("gh pr view 12", None),
            ("gh auth status", None),
            ("echo gh pr create", None),
            ("kubectl get pods", None),
            ("terraform plan", None),
            ("# git push", None),
            ("echo a \\\n git push", None),
            ("", None),
        ];
        for (script, expected) in cases {
            let found = find(script).map(|(words, at)| format!("{words}@{at}"));
            assert_eq!(found.as_deref(), expected, "{script}");
        }
    }
}

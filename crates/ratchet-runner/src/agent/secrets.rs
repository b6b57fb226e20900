//! Values that must not be written down.

use std::collections::BTreeMap;

/// What stands for a secret.
const SECRET: &str = "<ratchet:secret>";
/// Shorter values are words that stand in any text.
const LENGTH_MIN: usize = 6;
/// What keys of well-known services begin with.
const PREFIXES: [&str; 8] = ["sk-ant-", "ghp_", "gho_", "ghs_", "github_pat_", "AKIA", "ASIA", "xoxb-"];
/// Parts of a variable's name that say that its value is a secret.
const NAMES: [&str; 7] = ["KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "AUTH"];

/// Values to leave out of what is kept.
#[derive(Debug, Clone, Default)]
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    /// These values.
    pub(super) fn new(values: Vec<String>) -> Self {
        Self::sorted(values.into_iter().filter(|value| value.len() >= LENGTH_MIN).collect())
    }

    /// And those variables that are secrets by their names. The engine's own idempotency key is none.
    pub(super) fn with_environment(&self, environment: &BTreeMap<String, String>) -> Self {
        let is_secret = |name: &str| !name.starts_with("RATCHET_") && NAMES.iter().any(|part| name.contains(part));
        let named = environment.iter().filter(|(name, _)| is_secret(name)).map(|(_, value)| value.clone());
        Self::new(self.0.iter().cloned().chain(named).collect())
    }

    /// And these values, however short.
    pub(super) fn with_values(&self, values: &[String]) -> Self {
        Self::sorted(self.0.iter().chain(values).cloned().collect())
    }

    /// A secret may be part of another: the longer one goes first.
    fn sorted(mut values: Vec<String>) -> Self {
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        values.dedup();
        Self(values)
    }

    /// The text without them, and without what looks like a key of a well-known service.
    pub(super) fn leave_out(&self, text: &str) -> String {
        let text = self.0.iter().fold(text.to_owned(), |text, value| text.replace(value, SECRET));
        PREFIXES.iter().fold(text, |text, prefix| without_keys(&text, prefix))
    }
}

fn without_keys(text: &str, prefix: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(prefix) {
        let (before, found) = rest.split_at(at);
        let is_key = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let end = found.find(|c| !is_key(c)).unwrap_or(found.len());
        let begins_a_word = !before.ends_with(is_key);
        clean.push_str(before);
        clean.push_str(if begins_a_word && end >= prefix.len() + 12 { SECRET } else { &found[..end] });
        rest = &found[end..];
    }
    clean.push_str(rest);
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_left_out_and_words_are_not() {
        let environment = BTreeMap::from(
            [
                ("DB_PASSWORD", "correct horse"),
                ("API_KEY", "short"),
                ("RATCHET_IDEMPOTENCY_KEY", "execution-1"),
                ("PROJECT", "mine-mine"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        let secrets = Secrets::new(vec!["horse battery".to_owned()]).with_environment(&environment);
        for (text, expected) in [
            ("a correct horse here", "a <ratchet:secret> here"),
            ("horse battery", "<ratchet:secret>"),
            ("short execution-1 mine-mine", "short execution-1 mine-mine"),
            ("key: sk-ant-api03-abcdefghijklmnop.", "key: <ratchet:secret>."),
            ("AKIAIOSFODNN7EXAMPLE", "<ratchet:secret>"),
            ("AKIA is short, xAKIAIOSFODNN7EXAMPLE is none", "AKIA is short, xAKIAIOSFODNN7EXAMPLE is none"),
        ] {
            assert_eq!(secrets.leave_out(text), expected);
        }
    }
}

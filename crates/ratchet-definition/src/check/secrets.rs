//! Secrets that stand in the text.

use std::ops::Range;

use crate::check::report::Report;

/// How a kind of key begins, and how many characters of a key follow at least.
struct KeyShape {
    kind: &'static str,
    prefix: &'static str,
    least: usize,
}

const KEY_SHAPES: &[KeyShape] = &[
    KeyShape { kind: "an AWS access key", prefix: "AKIA", least: 16 },
    KeyShape { kind: "an AWS session key", prefix: "ASIA", least: 16 },
    KeyShape { kind: "a GitHub token", prefix: "ghp_", least: 30 },
    KeyShape { kind: "a GitHub token", prefix: "gho_", least: 30 },
    KeyShape { kind: "a GitHub token", prefix: "ghs_", least: 30 },
    KeyShape { kind: "a GitHub token", prefix: "ghu_", least: 30 },
    KeyShape { kind: "a GitHub token", prefix: "github_pat_", least: 40 },
    KeyShape { kind: "a GitLab token", prefix: "glpat-", least: 20 },
    KeyShape { kind: "an Anthropic key", prefix: "sk-ant-", least: 20 },
    KeyShape { kind: "an API key", prefix: "sk-proj-", least: 20 },
    KeyShape { kind: "a Stripe key", prefix: "sk_live_", least: 20 },
    KeyShape { kind: "a Slack token", prefix: "xoxb-", least: 20 },
    KeyShape { kind: "a Slack token", prefix: "xoxp-", least: 20 },
    KeyShape { kind: "a Google key", prefix: "AIza", least: 35 },
    KeyShape { kind: "an npm token", prefix: "npm_", least: 36 },
    KeyShape { kind: "a PyPI token", prefix: "pypi-", least: 40 },
];

const PRIVATE_KEY: &str = "PRIVATE KEY-----";

/// So much of a word is looked at: a text that is one long word takes no more time than another.
const KEY_LENGTH_MAX: usize = 128;

/// The line that begins a private key is no longer than this.
const HEAD_LENGTH_MAX: usize = 80;

/// More secrets than this in one file are hidden like the others, and not reported one by one.
const REPORTED_MAX: usize = 100;

/// Reports what looks like a secret, comments included, and returns what no report may show, in order and without overlaps.
pub(crate) fn check(text: &str, report: &mut Report) -> Vec<Range<usize>> {
    let mut found = private_keys(text);
    for shape in KEY_SHAPES {
        let mut looked_at = 0;
        for start in memchr::memmem::find_iter(text.as_bytes(), shape.prefix) {
            if start < looked_at || text[..start].ends_with(|c: char| c.is_ascii_alphanumeric()) {
                continue;
            }
            let body = start + shape.prefix.len();
            let length = word_length(&text[body..], KEY_LENGTH_MAX);
            if length >= shape.least && is_random(&text[body..body + length]) {
                let end = body + word_length(&text[body..], usize::MAX);
                found.push(Secret { kind: shape.kind, at: start..end, hidden: body..end });
                looked_at = end;
            }
        }
    }
    found.sort_by_key(|secret| secret.hidden.start);
    let help = "remove it and have it revoked: whoever sees the file has it. Pass it in the environment of the \
                command that needs it";
    for secret in found.iter().take(REPORTED_MAX) {
        report.error("RT-0043", secret.at.clone(), format!("{} stands in the text", secret.kind), help.to_owned());
    }
    let mut hidden: Vec<Range<usize>> = Vec::with_capacity(found.len());
    for secret in found {
        match hidden.last_mut() {
            Some(last) if secret.hidden.start <= last.end => last.end = last.end.max(secret.hidden.end),
            _ => hidden.push(secret.hidden),
        }
    }
    hidden
}

struct Secret {
    kind: &'static str,
    at: Range<usize>,
    hidden: Range<usize>,
}

fn private_keys(text: &str) -> Vec<Secret> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(start) = memchr::memmem::find(&text.as_bytes()[from..], b"-----BEGIN ").map(|at| from + at) {
        let limit = text.floor_char_boundary(start + HEAD_LENGTH_MAX);
        let Some(head) = text[start..limit].lines().next().and_then(|line| line.find(PRIVATE_KEY)) else {
            from = start + 1;
            continue;
        };
        let body = start + head + PRIVATE_KEY.len();
        let end = text[body..].find("-----END").map_or(text.len(), |end| body + end);
        found.push(Secret { kind: "a private key", at: start..body, hidden: body..end });
        from = end;
    }
    found
}

/// How many characters of a key stand at the beginning of a text, counted as far as `most`.
fn word_length(text: &str, most: usize) -> usize {
    let is_of_key = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    text.as_bytes().iter().take(most).take_while(|byte| is_of_key(byte)).count()
}

/// Whether it looks drawn at random, as keys are and the placeholders of examples are not.
fn is_random(body: &str) -> bool {
    let mut seen = [false; 128];
    body.bytes().filter(u8::is_ascii).for_each(|byte| seen[usize::from(byte)] = true);
    let distinct = seen.iter().filter(|seen| **seen).count();
    distinct >= 8 && !body.to_ascii_uppercase().contains("EXAMPLE") && !body.contains("xxxx")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::work::at_most;

    #[test]
    fn keys_are_told_from_what_only_begins_like_one() {
        // Put together here, so that no scanner takes this file for a leak.
        let body = "b4Rk9ZpQ2mXc7Lw1Ns8Vd3Ty6Hg5Jf0Ke";
        let cases = [
            (format!("token: ghp_{body}"), 1),
            (format!("# ghp_{body}"), 1),
            (format!("key: {}{}", "AKI", "AQ7R2M9T4W8Z3X6C5"), 1),
            (format!("key: sk-ant-{body}"), 1),
            (format!("a: ghp_{body}\nb: ghp_{body}"), 2),
            (format!("pypi-{}", body.repeat(20)), 1),
            (format!("-----BEGIN RSA {PRIVATE_KEY}\nabc\n-----END RSA {PRIVATE_KEY}"), 1),
            (format!("{}{}", "AKI", "AIOSFODNN7EXAMPLE"), 0),
            ("ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx".to_owned(), 0),
            ("sk-ant-...".to_owned(), 0),
            ("risk-ant-hill-b4Rk9ZpQ2mXc7Lw1Ns8V".to_owned(), 0),
            ("-----BEGIN CERTIFICATE-----".to_owned(), 0),
        ];
        for (text, expected) in cases {
            let mut report = Report::default();
            let hidden = check(&text, &mut report);
            assert_eq!((hidden.len(), report.into_mistakes().len()), (expected, expected), "{text}");
        }
    }

    #[test]
    fn a_text_of_nothing_but_beginnings_takes_no_more_time_than_another() {
        for piece in
            [String::from("AKIAghp_sk-ant-b4Rk9ZpQ2m"), "-----BEGIN ".into(), format!("-----BEGIN {PRIVATE_KEY}")]
        {
            let text = piece.repeat((2 << 20) / piece.len());
            at_most(Duration::from_secs(10), &piece, || check(&text, &mut Report::default()));
        }
    }
}

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

/// Reports what looks like a secret, comments included, and returns what no report may show.
pub(crate) fn check(text: &str, report: &mut Report) -> Vec<Range<usize>> {
    let mut hidden = Vec::new();
    let mut found = |kind: &str, at: Range<usize>, secret: Range<usize>| {
        hidden.push(secret);
        let help = "remove it and have it revoked: whoever sees the file has it. Pass it in the environment of the \
                    command that needs it";
        report.error("RT-0043", at, format!("{kind} stands in the text"), help.to_owned());
    };
    for shape in KEY_SHAPES {
        for (start, _) in text.match_indices(shape.prefix) {
            let part_of_a_word = text[..start].ends_with(|c: char| c.is_ascii_alphanumeric());
            let body = start + shape.prefix.len();
            let length =
                text[body..].bytes().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')).count();
            let end = body + length;
            if !part_of_a_word && length >= shape.least && is_random(&text[body..end]) {
                found(shape.kind, start..end, body..end);
            }
        }
    }
    for (start, _) in text.match_indices("-----BEGIN ") {
        let rest = &text[start..];
        let Some(head) = rest.lines().next().and_then(|line| line.find(PRIVATE_KEY)) else { continue };
        let body = start + head + PRIVATE_KEY.len();
        let end = text[body..].find("-----END").map_or(text.len(), |end| body + end);
        found("a private key", start..body, body..end);
    }
    hidden.sort_by_key(|part| part.start);
    hidden
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
    use super::*;

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
}

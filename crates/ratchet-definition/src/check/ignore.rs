//! Comments that say that a warning is known: `# ratchet: ignore RT-0061`, in its line or in the one above.

use std::collections::BTreeMap;

use crate::mistake::{Mistake, Severity};

/// What such a comment begins with.
const MARK: &str = "# ratchet: ignore";

/// One code of one comment.
struct Ignored<'text> {
    code: &'text str,
    /// Where the code stands.
    at: usize,
    used: bool,
}

/// Leaves out the warnings that comments name. A comment that no warning needs is one itself, where nothing else is wrong.
pub(crate) fn apply(text: &str, mistakes: Vec<Mistake>) -> Vec<Mistake> {
    let mut comments = comments(text);
    if comments.is_empty() {
        return mistakes;
    }
    let lines = Lines::of(text);
    let mut kept: Vec<Mistake> = Vec::with_capacity(mistakes.len());
    for mistake in mistakes {
        let line = lines.at(mistake.span.start);
        let mut ignored = false;
        if mistake.severity == Severity::Warning {
            for line in [Some(line), line.checked_sub(1)].into_iter().flatten() {
                for comment in comments.get_mut(&line).into_iter().flatten() {
                    if comment.code == mistake.code {
                        comment.used = true;
                        ignored = true;
                    }
                }
            }
        }
        if !ignored {
            kept.push(mistake);
        }
    }
    if kept.iter().all(|mistake| mistake.severity == Severity::Warning) {
        for comment in comments.values().flatten().filter(|comment| !comment.used) {
            let message = format!("there is no warning {} here to ignore", comment.code);
            let mistake = Mistake::warning("RT-0071", message, comment.at..comment.at + comment.code.len());
            kept.push(
                mistake.with_help("remove the comment; it stands in the line of the warning, or in the one above"),
            );
        }
        kept.sort_by_key(|mistake| mistake.span.start);
    }
    kept
}

/// The codes of the comments by their lines, from 0.
fn comments(text: &str) -> BTreeMap<usize, Vec<Ignored<'_>>> {
    let mut found: BTreeMap<usize, Vec<Ignored<'_>>> = BTreeMap::new();
    if !text.contains(MARK) {
        return found;
    }
    let mut start = 0;
    for (number, line) in text.split('\n').enumerate() {
        if let Some(at) = line.find(MARK).filter(|at| *at == 0 || line[..*at].ends_with(char::is_whitespace)) {
            let mut from = at + MARK.len();
            for word in line[from..].split([' ', ',']) {
                let code = word.trim_end();
                if code.len() == 7 && code.starts_with("RT-") {
                    let ignored = Ignored { code, at: start + from, used: false };
                    found.entry(number).or_default().push(ignored);
                } else if !code.is_empty() {
                    // What comes after the codes says why.
                    break;
                }
                from += word.len() + 1;
            }
        }
        start += line.len() + 1;
    }
    found
}

/// Where the lines of a text begin.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect())
    }

    /// The line that a byte stands in, from 0.
    fn at(&self, byte: usize) -> usize {
        self.0.partition_point(|start| *start <= byte).saturating_sub(1)
    }
}

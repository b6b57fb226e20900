//! How a value stands in a script.

use ratchet_core::workflow::Target;

use super::{marks::Marked, refusal::Refusal};

/// What was found of one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is data. In the target of a redirection, with what stands around it.
    Data(Stance, Option<Surroundings>),
    /// It stands in a comment.
    Comment,
    /// The author wants it to be code.
    Raw,
    /// It cannot stand there.
    Refused(Refusal),
}

/// How data stands in its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stance {
    /// As all of it, and a list may be several words.
    Whole,
    /// Outside quotes.
    Part,
    /// Inside double quotes, or where they mean nothing.
    Quoted,
    /// Inside single quotes.
    Single,
}

/// What stands around a value in the target of a redirection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Surroundings {
    /// Only text.
    Literal(Target),
    /// Other values, or what the shell expands.
    Mixed,
}

/// Two findings about one value. A refusal stays; what is not alike is none.
pub(super) fn merged(known: Option<Verdict>, found: Verdict) -> Verdict {
    match known {
        None => found,
        Some(refused @ Verdict::Refused(_)) => refused,
        Some(same) if same == found => same,
        Some(_) if matches!(found, Verdict::Refused(_)) => found,
        Some(_) => Verdict::Refused(Refusal::Unclear),
    }
}

/// The verdict on a value that the parser may not have seen at all: the tree has no comments.
pub(super) fn settled(marked: &Marked, number: usize, verdict: Option<Verdict>) -> Verdict {
    verdict.unwrap_or_else(|| {
        let line = marked.before(number).rsplit('\n').next().unwrap_or_default();
        let begins = |at: usize| {
            line[..at].chars().next_back().is_none_or(|c| c.is_whitespace() || matches!(c, ';' | '&' | '|' | '(' | ')'))
        };
        if line.match_indices('#').any(|(at, _)| begins(at)) {
            Verdict::Comment
        } else {
            Verdict::Refused(Refusal::Unseen)
        }
    })
}

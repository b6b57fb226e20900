//! One changed path, as it is shown.

use std::time::Duration;

use ratchet_local::workspace::{Change, Difference, Entry, FilesError, Layer, TreePath};
use serde_json::{Value, json};
use similar::{Algorithm, ChangeTag, TextDiff};

use crate::{
    command_error::CommandError,
    paint::Paint,
    words::{bytes, harmless},
};

/// The most bytes of a text that are compared line by line.
const TEXT_MAX: u64 = 4 << 20;
/// After this time the shortest difference is given up for one that is found sooner.
const SEARCH_MOST: Duration = Duration::from_secs(2);

/// A changed path.
pub(super) struct Shown {
    path: String,
    change: Change,
    is_git: bool,
    text: Option<Text>,
}

/// What changed of a text.
struct Text {
    /// As a unified diff, with its head; empty where only its mode changed.
    diff: String,
    added: usize,
    removed: usize,
}

/// The changes that are told. A folder that came or went is not, where something in it did.
pub(super) fn told(layer: &Layer) -> impl Iterator<Item = (&TreePath, &Change)> {
    let mut changes = layer.iter().peekable();
    std::iter::from_fn(move || {
        loop {
            let (path, change) = changes.next()?;
            let is_folder = |entry: &Option<Entry>| entry.as_ref().is_none_or(Entry::is_folder);
            let is_only_folder = is_folder(&change.before) && is_folder(&change.after);
            let came_or_went = change.before.is_none() || change.after.is_none();
            if !(is_only_folder && came_or_went && changes.peek().is_some_and(|(next, _)| next.is_within(path))) {
                return Some((path, change));
            }
        }
    })
}

impl Shown {
    pub(super) fn of(difference: &Difference, path: &TreePath, change: &Change) -> Result<Self, CommandError> {
        let (is_git, name) = (path.is_git(), path.to_string());
        let text = Text::of(difference, &name, change)?;
        Ok(Self { path: name, change: change.clone(), is_git, text })
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Whether it is applied, and is the user's and not git's.
    pub(super) fn is_usual(&self) -> bool {
        self.change.mark.is_applied() && !self.is_git
    }

    /// Lines that were added and removed.
    pub(super) fn lines(&self) -> (usize, usize) {
        self.text.as_ref().map_or((0, 0), |text| (text.added, text.removed))
    }

    /// What happened, in a word.
    fn word(&self) -> &'static str {
        match (&self.change.before, &self.change.after) {
            (None, _) => "created",
            (_, None) => "deleted",
            _ => "changed",
        }
    }

    /// What happened, in a line without its end.
    fn line(&self) -> String {
        let described = |entry: &Entry| match entry {
            Entry::Folder { mode } => format!("folder, mode {mode:o}"),
            Entry::File { mode, size, .. } => format!("file, mode {mode:o}, {}", bytes(*size)),
            Entry::Link { target } => format!("link to {target}"),
        };
        let what = match (&self.change.before, &self.change.after) {
            (Some(before), Some(after)) => format!("{} -> {}", described(before), described(after)),
            (Some(entry), None) | (None, Some(entry)) => described(entry),
            (None, None) => String::new(),
        };
        format!("{} {} ({what})", self.word(), self.path)
    }

    /// The change as it is read: a unified diff where it is one of a text that is there afterwards, else a line.
    pub(super) fn text(&self, paint: Paint) -> String {
        let modes = self.change.before.as_ref().and_then(mode).zip(self.change.after.as_ref().and_then(mode));
        let is_mode_changed = modes.is_some_and(|(before, after)| before != after);
        let Some(text) = self.text.as_ref().filter(|_| self.change.after.is_some()) else {
            return format!("{}\n", paint.bold(&harmless(&self.line())));
        };
        let mut shown = String::new();
        if is_mode_changed || text.diff.is_empty() {
            shown = format!("{}\n", paint.bold(&harmless(&self.line())));
        }
        for line in harmless(&text.diff).split_inclusive('\n') {
            let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
            let painted = match line.as_bytes() {
                [b'-', b'-', b'-', b' ', ..] | [b'+', b'+', b'+', b' ', ..] => paint.bold(line),
                [b'+', ..] => paint.good(line),
                [b'-', ..] => paint.bad(line),
                [b'@', ..] => paint.busy(line),
                _ => line.to_owned(),
            };
            shown.push_str(&painted);
            shown.push_str(end);
        }
        shown
    }

    /// The change as a line of a table.
    pub(super) fn stat(&self, width: usize, paint: Paint) -> String {
        let path = harmless(&self.path);
        let what = match &self.text {
            Some(text) if text.added + text.removed > 0 => {
                let deleted = if self.change.after.is_none() { "  deleted" } else { "" };
                let (added, removed) = (format!("+{}", text.added), format!("-{}", text.removed));
                format!("{} {}{deleted}", paint.good(&added), paint.bad(&removed))
            }
            _ => self.word().to_owned(),
        };
        format!("{path:<width$}  {what}\n")
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "path": self.path,
            "change": self.word(),
            "before": self.change.before,
            "after": self.change.after,
            "mark": self.change.mark,
            "is_applied": self.change.mark.is_applied(),
            "lines_added": self.text.as_ref().map(|text| text.added),
            "lines_removed": self.text.as_ref().map(|text| text.removed),
            "diff": self.text.as_ref().map(|text| &text.diff),
        })
    }
}

fn mode(entry: &Entry) -> Option<u32> {
    match entry {
        Entry::Folder { mode } | Entry::File { mode, .. } => Some(*mode),
        Entry::Link { .. } => None,
    }
}

impl Text {
    /// What changed of a text; `None` where one of the two is none, or too much of it.
    fn of(difference: &Difference, path: &str, change: &Change) -> Result<Option<Self>, CommandError> {
        let text = |entry: &Option<Entry>| match entry {
            None => Ok::<_, CommandError>(Some(String::new())),
            Some(Entry::File { size, .. }) if *size > TEXT_MAX => Ok(None),
            Some(entry) => {
                let read = difference.read(entry).map_err(|error| {
                    let (what, reason) = (format!("the content of {path}"), error.to_string());
                    CommandError::Local(FilesError::Damaged { what, reason }.into())
                })?;
                let text = read.and_then(|bytes| String::from_utf8(bytes).ok());
                Ok(text.filter(|text| !text.contains('\0')))
            }
        };
        let (Some(before), Some(after)) = (text(&change.before)?, text(&change.after)?) else { return Ok(None) };
        let diff = TextDiff::configure().algorithm(Algorithm::Myers).timeout(SEARCH_MOST).diff_lines(&*before, &*after);
        let counted = |tag| diff.iter_all_changes().filter(|change| change.tag() == tag).count();
        let (added, removed) = (counted(ChangeTag::Insert), counted(ChangeTag::Delete));
        let name = |side: &str, entry: &Option<Entry>| match entry {
            Some(_) => format!("{side}/{path}"),
            None => "/dev/null".to_owned(),
        };
        let head = (name("a", &change.before), name("b", &change.after));
        let diff = diff.unified_diff().header(&head.0, &head.1).to_string();
        Ok(Some(Self { diff, added, removed }))
    }
}

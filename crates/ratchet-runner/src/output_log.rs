//! What a process prints: to its log as it comes, and in bounded memory however much it is.

use std::{
    borrow::Cow,
    collections::VecDeque,
    fs::{DirBuilder, File},
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::Instant,
};

use ratchet_engine::masks::{MaskedStream, Masks};
use serde::{Deserialize, Serialize};

/// A line of `output.log`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine<'a> {
    /// Milliseconds from the start of the attempt.
    pub at: u64,
    /// Where it was printed.
    pub stream: Stream,
    /// The line without its end; what was no UTF-8 is replaced.
    pub text: Cow<'a, str>,
    /// Whether the line goes on in the next entry of the same stream.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}

/// Where a process prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How much of the output is kept, and where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Bytes of each stream that are kept whole, for expressions.
    pub(crate) whole: usize,
    /// Bytes of the log. What goes beyond is left out but for the last lines.
    pub(crate) log: u64,
    /// The longest line in bytes; a longer one is cut into parts.
    pub(crate) line: usize,
    /// How many last lines are kept, for a failure.
    pub(crate) tail: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { whole: 1 << 20, log: 64 << 20, line: 16 << 10, tail: 20 }
    }
}

/// The longest line of a failure, in characters.
const LINE_CHARACTERS_MAX: usize = 400;

/// Takes what a process prints.
pub(crate) struct OutputLog<'a> {
    path: PathBuf,
    /// Opened with the first line: most steps print nothing.
    file: Option<File>,
    started: Instant,
    bounds: Bounds,
    written: u64,
    left_out: u64,
    stdout: Printed,
    stderr: Printed,
    lines: Vec<u8>,
    trouble: Option<io::Error>,
    on_line: Box<dyn FnMut(&str) + Send + 'a>,
}

/// What one stream has printed.
#[derive(Default)]
struct Printed {
    pending: Vec<u8>,
    whole: Vec<u8>,
    tail: VecDeque<String>,
    continues: bool,
    /// Where there is something to mask.
    masked: Option<MaskedStream>,
}

impl<'a> OutputLog<'a> {
    /// A log at `path`. `on_line` is told each line that is printed; once the log is full, only the last of each piece that is read.
    pub(crate) fn new(path: PathBuf, started: Instant, bounds: Bounds, on_line: impl FnMut(&str) + Send + 'a) -> Self {
        Self {
            path,
            file: None,
            started,
            bounds,
            written: 0,
            left_out: 0,
            stdout: Printed::default(),
            stderr: Printed::default(),
            lines: Vec::new(),
            trouble: None,
            on_line: Box::new(on_line),
        }
    }

    /// Masks these values in all that it writes, tells and keeps for a failure. What expressions read stays as it was printed.
    pub(crate) fn masking(mut self, masks: &Masks) -> Self {
        for printed in [&mut self.stdout, &mut self.stderr] {
            printed.masked = (!masks.is_empty()).then(|| MaskedStream::new(masks));
        }
        self
    }

    /// Takes some bytes of a stream.
    pub(crate) fn print(&mut self, stream: Stream, bytes: &[u8]) {
        let whole_max = self.bounds.whole;
        let printed = self.printed(stream);
        if printed.whole.len() <= whole_max {
            let room = (whole_max + 1).saturating_sub(printed.whole.len()).min(bytes.len());
            printed.whole.extend_from_slice(&bytes[..room]);
        }
        match &mut printed.masked {
            None => self.log(stream, bytes),
            Some(masked) => {
                let seen = masked.take(bytes);
                self.log(stream, &seen);
            }
        }
    }

    /// Takes what may be seen.
    fn log(&mut self, stream: Stream, bytes: &[u8]) {
        let (line_max, tail) = (self.bounds.line, self.bounds.tail);
        let printed = self.printed(stream);
        let mut pending = std::mem::take(&mut printed.pending);
        pending.extend_from_slice(bytes);
        let skipped = if self.left_out > 0 { self.skim(&pending, tail) } else { 0 };
        let mut rest = &pending[skipped..];
        while let Some((line, partial, after)) = cut(rest, line_max) {
            self.line(stream, line, partial);
            rest = after;
        }
        self.printed(stream).pending = rest.to_vec();
        self.flush();
    }

    /// Takes what has no line end yet and closes the log.
    pub(crate) fn end(&mut self) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            if let Some(masked) = &mut self.printed(stream).masked {
                let seen = masked.end();
                self.log(stream, &seen);
            }
            let pending = std::mem::take(&mut self.printed(stream).pending);
            if !pending.is_empty() {
                self.line(stream, &pending, false);
            }
        }
        if self.left_out > 0 {
            let at = self.at();
            let text = format!("… {} bytes were left out here; the last lines of each stream follow", self.left_out);
            self.entry(&LogLine { at, stream: Stream::Stderr, text: text.into(), partial: false });
            for stream in [Stream::Stdout, Stream::Stderr] {
                for text in std::mem::take(&mut self.printed(stream).tail) {
                    self.entry(&LogLine { at, stream, text: text.as_str().into(), partial: false });
                    self.printed(stream).tail.push_back(text);
                }
            }
        }
        self.flush();
    }

    /// All that a stream printed, or `None` where it was more than is kept.
    pub(crate) fn whole(&mut self, stream: Stream) -> Option<String> {
        let kept = self.bounds.whole;
        let printed = self.printed(stream);
        (printed.whole.len() <= kept).then(|| String::from_utf8_lossy(&printed.whole).into_owned())
    }

    /// What a failure shows: the last lines of standard error, or of standard output where there are none.
    pub(crate) fn last_words(&self) -> Option<String> {
        let tails = [&self.stderr.tail, &self.stdout.tail];
        tails.into_iter().map(shortened).find(|text| !text.trim().is_empty())
    }

    /// The last lines of both streams, standard output first.
    pub(crate) fn last_of_both(&self) -> Option<String> {
        let tails = [&self.stdout.tail, &self.stderr.tail].map(shortened);
        let said: Vec<&str> = tails.iter().map(|text| text.trim_end()).filter(|text| !text.is_empty()).collect();
        (!said.is_empty()).then(|| said.join("\n"))
    }

    /// Why the log is not complete, where the system refused to write it.
    pub(crate) fn trouble(&self) -> Option<&io::Error> {
        self.trouble.as_ref()
    }

    /// Bytes that are held in memory.
    #[cfg(test)]
    fn held(&self) -> usize {
        let of = |printed: &Printed| {
            printed.pending.capacity()
                + printed.whole.capacity()
                + printed.tail.iter().map(String::capacity).sum::<usize>()
        };
        of(&self.stdout) + of(&self.stderr) + self.lines.capacity()
    }

    fn printed(&mut self, stream: Stream) -> &mut Printed {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    fn at(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// How many bytes of a piece can be passed over because only its last lines count.
    fn skim(&mut self, piece: &[u8], tail: usize) -> usize {
        let start = memchr::memrchr_iter(b'\n', piece).nth(tail).map_or(0, |at| at + 1);
        self.left_out += start as u64;
        start
    }

    fn line(&mut self, stream: Stream, bytes: &[u8], partial: bool) {
        let bytes = bytes.strip_suffix(b"\r").filter(|_| !partial).unwrap_or(bytes);
        let text = String::from_utf8_lossy(bytes);
        (self.on_line)(&text);
        if self.left_out > 0 {
            self.left_out += bytes.len() as u64 + 1;
        } else if self.written >= self.bounds.log {
            let text = format!("… the log is full at {} bytes", self.bounds.log);
            self.entry(&LogLine { at: self.at(), stream, text: text.into(), partial: false });
            self.left_out = bytes.len() as u64 + 1;
        } else {
            self.entry(&LogLine { at: self.at(), stream, text: Cow::Borrowed(&text), partial });
        }
        let tail = self.bounds.tail;
        let printed = self.printed(stream);
        // A long line that comes in parts counts once, by its last part.
        if printed.continues {
            printed.tail.pop_back();
        } else if printed.tail.len() == tail {
            printed.tail.pop_front();
        }
        printed.tail.push_back(text.into_owned());
        printed.continues = partial;
    }

    fn entry(&mut self, line: &LogLine<'_>) {
        let before = self.lines.len();
        // A line of text and numbers is always valid JSON.
        if serde_json::to_writer(&mut self.lines, line).is_ok() {
            self.lines.push(b'\n');
        }
        self.written += (self.lines.len() - before) as u64;
    }

    fn flush(&mut self) {
        if self.lines.is_empty() || self.trouble.is_some() {
            self.lines.clear();
            return;
        }
        let mut write = || {
            let file = match &mut self.file {
                Some(file) => file,
                none => none.insert(open(&self.path)?),
            };
            file.write_all(&self.lines)
        };
        if let Err(error) = write() {
            self.trouble = Some(error);
        }
        self.lines.clear();
    }
}

/// Opens a log, and makes its folder first where there is none: many programs print nothing and need neither.
fn open(path: &Path) -> io::Result<File> {
    let file = || File::options().create(true).append(true).open(path);
    file().or_else(|error| match path.parent() {
        Some(folder) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            file()
        }
        _ => Err(error),
    })
}

/// The next line of some bytes, or a part of one that is too long, and what comes after it. `None` where the line has no end yet.
fn cut(bytes: &[u8], line_max: usize) -> Option<(&[u8], bool, &[u8])> {
    let window = &bytes[..bytes.len().min(line_max + 1)];
    if let Some(end) = memchr::memchr(b'\n', window) {
        return Some((&bytes[..end], false, &bytes[end + 1..]));
    }
    if bytes.len() <= line_max {
        return None;
    }
    // Not in the middle of a character: a UTF-8 character has at most three bytes after its first.
    let boundary = (line_max - 3..=line_max).rev().find(|at| bytes[*at] & 0xC0 != 0x80).unwrap_or(line_max);
    Some((&bytes[..boundary], true, &bytes[boundary..]))
}

/// Last lines, short enough to be part of a step's row.
fn shortened(tail: &VecDeque<String>) -> String {
    let line = |line: &String| match line.char_indices().nth(LINE_CHARACTERS_MAX) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.clone(),
    };
    tail.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const SMALL: Bounds = Bounds { whole: 12, log: 400, line: 8, tail: 3 };

    struct Heard {
        log: Vec<(Stream, String, bool)>,
        lines: Vec<String>,
        stdout: Option<String>,
        last_words: Option<String>,
    }

    fn hear(bounds: Bounds, pieces: &[(Stream, &[u8])]) -> Heard {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("output.log");
        let mut lines = Vec::new();
        let mut log = OutputLog::new(path.clone(), Instant::now(), bounds, |line| lines.push(line.to_owned()));
        for (stream, bytes) in pieces {
            log.print(*stream, bytes);
        }
        log.end();
        let (stdout, last_words) = (log.whole(Stdout), log.last_words());
        drop(log);
        let text = fs::read_to_string(&path).unwrap_or_default();
        let log = text.lines().map(|line| {
            let line: LogLine<'_> = serde_json::from_str(line).unwrap();
            (line.stream, line.text.into_owned(), line.partial)
        });
        Heard { log: log.collect(), lines, stdout, last_words }
    }

    use Stream::{Stderr, Stdout};

    #[test]
    fn lines_are_whole_however_they_come() {
        let euro = "€".as_bytes();
        for (pieces, expected) in [
            (
                vec![(Stdout, &b"one\ntw"[..]), (Stdout, b"o\r\n"), (Stdout, b"end")],
                vec![("one", false), ("two", false), ("end", false)],
            ),
            (
                vec![(Stdout, &euro[..1]), (Stdout, &euro[1..2]), (Stdout, &euro[2..]), (Stdout, b"\n")],
                vec![("€", false)],
            ),
            (vec![(Stdout, b"a\xffb\n")], vec![("a\u{fffd}b", false)]),
            (vec![(Stdout, b"0123456789\n")], vec![("01234567", true), ("89", false)]),
            (vec![(Stdout, "0123456€9\n".as_bytes())], vec![("0123456", true), ("€9", false)]),
            (
                vec![(Stdout, b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\n")],
                vec![
                    ("\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}", true),
                    ("\u{fffd}\u{fffd}", false),
                ],
            ),
            (vec![(Stdout, b"\n\n")], vec![("", false), ("", false)]),
            (vec![(Stdout, b"")], vec![]),
        ] {
            let heard = hear(SMALL, &pieces);
            let log: Vec<_> = heard.log.iter().map(|(_, text, partial)| (text.as_str(), *partial)).collect();
            assert_eq!(log, expected);
            assert_eq!(heard.lines, expected.iter().map(|(text, _)| (*text).to_owned()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_sensitive_value_is_masked_wherever_it_is_cut() {
        let masks = Masks::new(["0123456789".to_owned()]);
        let text = b"key 0123456789\n0123456789 0123\n456789 and 012345678";
        for size in 1..text.len() {
            let folder = tempfile::tempdir().unwrap();
            let (path, mut lines) = (folder.path().join("output.log"), Vec::new());
            let bounds = Bounds { whole: 100, ..SMALL };
            let log = OutputLog::new(path.clone(), Instant::now(), bounds, |line| lines.push(line.to_owned()));
            let mut log = log.masking(&masks);
            text.chunks(size).for_each(|piece| log.print(Stderr, piece));
            log.end();
            assert_eq!(log.whole(Stderr).as_deref(), std::str::from_utf8(text).ok(), "data stays what it is");
            assert_eq!(log.last_words().as_deref(), Some("key ***\n*** 0123\n5678"), "by {size}");
            drop(log);
            let logged = fs::read_to_string(&path).unwrap();
            for text in [&logged, &lines.join("\n")] {
                assert!(!text.contains("0123456789") && text.contains("key ***"), "by {size}: {text}");
            }
        }
    }

    #[test]
    fn standard_output_is_whole_or_not_there() {
        assert_eq!(hear(SMALL, &[(Stdout, b"0123456789ab")]).stdout.as_deref(), Some("0123456789ab"));
        assert_eq!(hear(SMALL, &[(Stdout, b"0123456789a"), (Stdout, b"bc")]).stdout, None);
        assert_eq!(hear(SMALL, &[(Stderr, b"0123456789abc")]).stdout.as_deref(), Some(""));
    }

    #[test]
    fn a_failure_shows_the_last_lines() {
        let last = |pieces: &[(Stream, &[u8])]| hear(SMALL, pieces).last_words;
        assert_eq!(last(&[(Stdout, b"out\n"), (Stderr, b"1\n2\n3\n4\n")]).as_deref(), Some("2\n3\n4"));
        assert_eq!(last(&[(Stdout, b"out\n"), (Stderr, b" \n")]).as_deref(), Some("out"));
        assert_eq!(last(&[(Stdout, b"a\n0123456789012345678\nb\n")]).as_deref(), Some("a\n678\nb"));
        assert_eq!(last(&[]), None);
    }

    #[test]
    fn a_full_log_keeps_its_beginning_and_its_end() {
        let mut text: Vec<u8> = (0..1000).flat_map(|n| format!("{n}\n").into_bytes()).collect();
        text.extend_from_slice(b"end");
        let pieces: Vec<_> = text.chunks(97).map(|chunk| (Stdout, chunk)).collect();
        let heard = hear(SMALL, &pieces);
        let log: Vec<_> = heard.log.iter().map(|(_, text, _)| text.as_str()).collect();
        assert_eq!(log[..2], ["0", "1"]);
        assert_eq!(log[log.len() - 3..], ["998", "999", "end"]);
        assert_eq!(log.iter().filter(|line| line.starts_with("… the log is full at 400 bytes")).count(), 1);
        let kept = log.iter().position(|line| line.starts_with('…')).unwrap();
        let left_out: usize = text.len() - (0..kept).map(|n| n.to_string().len() + 1).sum::<usize>();
        // The last line has no end, and counts as if it had one.
        assert!(log[log.len() - 4].starts_with(&format!("… {} bytes were left out", left_out + 1)), "{log:?}");
    }

    #[test]
    fn memory_is_bounded_however_much_is_printed() {
        let folder = tempfile::tempdir().unwrap();
        for piece in [vec![b'x'; 1 << 16], b"line\n".repeat(1 << 13), vec![0xF0; 1 << 16]] {
            let path = folder.path().join("output.log");
            let bounds = Bounds { log: 1 << 20, ..Bounds::default() };
            let mut log = OutputLog::new(path, Instant::now(), bounds, |_| {});
            for _ in 0..400 {
                log.print(Stdout, &piece);
            }
            log.end();
            assert!(log.held() < 4 << 20, "{} bytes are held", log.held());
            assert!(log.left_out > 300 * piece.len() as u64);
        }
        assert!(fs::metadata(folder.path().join("output.log")).unwrap().len() < 8 << 20);
    }

    #[test]
    fn a_log_that_cannot_be_written_is_trouble_and_not_a_failure() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        let mut log = OutputLog::new(folder.path().join("file/log"), Instant::now(), SMALL, |_| {});
        log.print(Stdout, b"line\n");
        log.end();
        assert!(log.trouble().is_some());
        assert_eq!(log.last_words().as_deref(), Some("line"));
    }
}

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read as _, Seek, SeekFrom},
    path::Path,
};

use ratchet_engine::masks::Masks;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{masks, row};
use crate::{
    attempt_logs::{AttemptFolder, LogLine, attempts},
    command_error::CommandError,
    state::State,
    words::harmless,
};

/// The most bytes of a file that one answer holds, but for the end of its last line.
const BYTES_MAX: u64 = 256 << 10;
/// Of a longer file only so much of its end is shown.
const TAIL_MAX: u64 = 2 << 20;

/// What of a step's attempt is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    /// What its process wrote.
    Output,
    /// What its agent said and did.
    Transcript,
}

/// From where.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct LogQuery {
    /// The newest where it is not given.
    epoch: Option<u32>,
    attempt: Option<u32>,
    /// The first byte; without it the beginning, or the last part of a long file.
    offset: Option<u64>,
}

impl LogQuery {
    /// The same attempt, from there on.
    pub(crate) fn after(offset: u64) -> Self {
        Self { offset: Some(offset), ..Self::default() }
    }
}

/// What an attempt of a step wrote, from an offset on: whole lines only. What is not there yet is empty.
pub(crate) async fn log(
    state: &State,
    id: &str,
    step: &str,
    written: Written,
    query: &LogQuery,
) -> Result<Value, CommandError> {
    let run = row(state, id).await?;
    let masks = masks(state, &run).await?;
    let root = state.here()?.directory.execution(&run.id).join("attempts");
    let unreadable = |path: &Path, source| CommandError::File { path: path.to_owned(), source };
    let mut found = attempts(&root).map_err(|source| unreadable(&root, source))?;
    found.retain(|folder| folder.step == step);
    found.sort_by_key(|folder| (folder.epoch, folder.attempt));
    let all: Vec<Value> =
        found.iter().map(|folder| json!({ "epoch": folder.epoch, "attempt": folder.attempt })).collect();
    let fits = |folder: &&AttemptFolder| {
        query.epoch.is_none_or(|epoch| epoch == folder.epoch)
            && query.attempt.is_none_or(|attempt| attempt == folder.attempt)
    };
    let Some(folder) = found.iter().rev().find(fits) else {
        return Ok(json!({
            "step": step, "attempts": all, "entries": [], "from": 0, "offset": query.offset.unwrap_or(0), "more": false,
        }));
    };
    let path = match written {
        Written::Output => folder.output(),
        Written::Transcript => folder.transcript(),
    };
    let part = Part::read(&path, query.offset).map_err(|source| unreadable(&path, source))?;
    let entry = |line: &String| match written {
        Written::Output => line_of(line, &masks),
        Written::Transcript => serde_json::from_str(line).ok().map(|event| masks.value(event)),
    };
    Ok(json!({
        "step": step, "epoch": folder.epoch, "attempt": folder.attempt, "attempts": all,
        "entries": part.lines.iter().filter_map(entry).collect::<Vec<_>>(),
        "from": part.from, "offset": part.offset, "more": part.more,
    }))
}

fn line_of(line: &str, masks: &Masks) -> Option<Value> {
    let LogLine { at, stream, text, partial } = serde_json::from_str(line).ok()?;
    Some(json!({ "at": at, "stream": stream, "text": masks.text(&harmless(&text)), "partial": partial }))
}

/// Some whole lines of a file.
struct Part {
    lines: Vec<String>,
    /// The first byte that was looked at.
    from: u64,
    /// The byte after the last whole line.
    offset: u64,
    /// Whether there are more bytes after that now.
    more: bool,
}

impl Part {
    /// From an offset on; without one from the beginning, or where the last part of a long file begins. A file that is not there has no lines.
    fn read(path: &Path, offset: Option<u64>) -> io::Result<Self> {
        let nothing = |offset| Self { lines: Vec::new(), from: offset, offset, more: false };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(nothing(offset.unwrap_or(0))),
            Err(error) => return Err(error),
        };
        let size = file.metadata()?.len();
        let mut reader = BufReader::new(file);
        let mut from = offset.unwrap_or_else(|| size.saturating_sub(TAIL_MAX));
        reader.seek(SeekFrom::Start(from))?;
        if offset.is_none() && from > 0 {
            from += reader.skip_until(b'\n')? as u64;
        }
        let mut part = nothing(from);
        let mut line = Vec::new();
        while part.offset < from + BYTES_MAX {
            line.clear();
            let count = reader.by_ref().take(size.saturating_sub(part.offset)).read_until(b'\n', &mut line)?;
            if line.pop() != Some(b'\n') {
                break;
            }
            part.offset += count as u64;
            part.lines.push(String::from_utf8_lossy(&line).into_owned());
        }
        part.more = part.offset >= from + BYTES_MAX && part.offset < size;
        Ok(part)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn parts_of_a_file_are_whole_lines_and_join() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        assert_eq!(Part::read(&path, None).unwrap().offset, 0, "a file that is not there yet");
        fs::write(&path, "one\ntwo\nthr").unwrap();
        let part = Part::read(&path, None).unwrap();
        assert_eq!((part.lines.join("|").as_str(), part.offset, part.more), ("one|two", 8, false));
        fs::write(&path, "one\ntwo\nthree\n").unwrap();
        assert_eq!(Part::read(&path, Some(part.offset)).unwrap().lines, ["three"]);
        assert!(Part::read(&path, Some(1_000)).unwrap().lines.is_empty(), "an offset beyond its end");

        let lines: Vec<String> = (0..400_000).map(|number| format!("line {number}")).collect();
        fs::write(&path, lines.join("\n") + "\n").unwrap();
        let (mut seen, mut offset) = (Vec::new(), Some(0));
        while let Some(from) = offset {
            let part = Part::read(&path, Some(from)).unwrap();
            offset = part.more.then_some(part.offset);
            seen.extend(part.lines);
        }
        assert_eq!(seen, lines);
        let tail = Part::read(&path, None).unwrap();
        assert!(tail.from > 0 && lines.contains(&tail.lines[0]), "the end of a long file begins with a whole line");
    }
}

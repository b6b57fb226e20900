//! What the attempts of an execution wrote, as files.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};

/// One attempt's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AttemptFolder {
    /// The execution's generation.
    pub(crate) epoch: u32,
    /// The step, or the child of a fan-out, as people write it (`generate[3]`).
    pub(crate) step: String,
    /// Which attempt.
    pub(crate) attempt: u32,
    /// Where it lies.
    pub(crate) path: PathBuf,
    /// When the attempt began.
    began: SystemTime,
}

/// A line that a process wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogLine {
    /// Milliseconds since the attempt began.
    pub(crate) at: u64,
    /// `stdout` or `stderr`.
    pub(crate) stream: String,
    /// What it wrote.
    pub(crate) text: String,
    /// Whether the line goes on in the next one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) partial: bool,
}

/// The folders of all attempts under an execution's `attempts`, in the order in which they began.
pub(crate) fn attempts(root: &Path) -> io::Result<Vec<AttemptFolder>> {
    let mut found = Vec::new();
    for (epoch, epoch_path) in numbered(root)? {
        for (step, step_path) in named(&epoch_path)? {
            for (attempt, path) in numbered(&step_path)? {
                let metadata = fs::metadata(&path)?;
                let began = metadata.created().or_else(|_| metadata.modified())?;
                found.push(AttemptFolder { epoch, step: step.clone(), attempt, path, began });
            }
        }
    }
    found.sort_by(|one, other| {
        (one.epoch, one.began, &one.step, one.attempt).cmp(&(other.epoch, other.began, &other.step, other.attempt))
    });
    Ok(found)
}

impl AttemptFolder {
    /// What its process wrote.
    pub(crate) fn output(&self) -> PathBuf {
        self.path.join("output.log")
    }

    /// What its agent did.
    pub(crate) fn transcript(&self) -> PathBuf {
        self.path.join("transcript.jsonl")
    }

    /// Whether it is one of a step, named as a person writes it: a fan-out's name stands for all of its children.
    pub(crate) fn is_of(&self, step: &str) -> bool {
        self.step == step || self.step.strip_prefix(step).is_some_and(|child| child.starts_with('['))
    }
}

/// Reads a file that grows, whole lines at a time.
#[derive(Debug)]
pub(crate) struct Tail {
    path: PathBuf,
    offset: u64,
}

impl Tail {
    /// From its beginning.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, offset: 0 }
    }

    /// Gives each whole line that was written since the last call. A file that is not there yet has none.
    pub(crate) fn read(&mut self, mut line: impl FnMut(&str)) -> io::Result<()> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        file.seek(SeekFrom::Start(self.offset))?;
        let mut pending: Vec<u8> = Vec::new();
        let mut chunk = vec![0; 64 * 1024];
        loop {
            let count = file.read(&mut chunk)?;
            if count == 0 {
                return Ok(());
            }
            pending.extend_from_slice(&chunk[..count]);
            let Some(end) = pending.iter().rposition(|byte| *byte == b'\n') else { continue };
            for text in pending[..end].split(|byte| *byte == b'\n') {
                line(&String::from_utf8_lossy(text));
            }
            self.offset += end as u64 + 1;
            pending.drain(..=end);
        }
    }
}

fn numbered(folder: &Path) -> io::Result<Vec<(u32, PathBuf)>> {
    let named = named(folder)?.into_iter();
    Ok(named.filter_map(|(name, path)| name.parse().ok().map(|number| (number, path))).collect())
}

fn named(folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    entries.map(|entry| entry.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_gives_each_whole_line_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut tail = Tail::new(path.clone());
        let read = |tail: &mut Tail| {
            let mut lines = Vec::new();
            tail.read(|line| lines.push(line.to_owned())).unwrap();
            lines
        };
        assert!(read(&mut tail).is_empty(), "a file that is not there yet");
        fs::write(&path, "one\ntwo\nthr").unwrap();
        assert_eq!(read(&mut tail), ["one", "two"]);
        fs::write(&path, "one\ntwo\nthree\n\nlong ").unwrap();
        assert_eq!(read(&mut tail), ["three", ""]);
        assert!(read(&mut tail).is_empty());
        let long = "x".repeat(200_000);
        fs::write(&path, format!("one\ntwo\nthree\n\n{long}\n")).unwrap();
        assert_eq!(read(&mut tail), [long]);
    }

    #[test]
    fn attempts_are_found_by_epoch_and_step() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["1/build/1", "1/build/2", "2/build/1", "1/each[7]/1", "1/not-a-number/x"] {
            fs::create_dir_all(folder.path().join(path)).unwrap();
        }
        let found = attempts(folder.path()).unwrap();
        let mut names: Vec<String> =
            found.iter().map(|one| format!("{}/{}/{}", one.epoch, one.step, one.attempt)).collect();
        assert_eq!(names.last().map(String::as_str), Some("2/build/1"), "the newest epoch comes last");
        names.sort();
        assert_eq!(names, ["1/build/1", "1/build/2", "1/each[7]/1", "2/build/1"]);
        assert!(found.iter().any(|one| one.is_of("each")) && found.iter().any(|one| one.is_of("each[7]")));
        assert!(!found.iter().any(|one| one.is_of("buil")));
        assert!(attempts(&folder.path().join("none")).unwrap().is_empty());
    }
}

//! The events of a session on their way to its transcript, and to whoever is told of them.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path,
};

use ratchet_engine::{
    masks::{MaskedStream, Masks},
    ports::{AgentRequest, Progress},
};
use serde_json::{Value, json};

use super::said::Said;

/// A transcript while it is written: a line of JSON an event, sensitive values masked.
pub(crate) struct Transcript {
    file: File,
    masks: Masks,
    progress: Progress,
    /// What paths of the workspace begin with: they are told without it.
    root: String,
}

impl Transcript {
    /// Goes on at the end of the transcript of a request.
    pub(crate) fn open(request: &AgentRequest) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(&request.transcript)?;
        let root = format!("{}/", request.files.path().display());
        Ok(Self { file, masks: request.masks.clone(), progress: request.progress.clone(), root })
    }

    /// Notes an event and tells what it says. `text` is the same as it came: it is kept as it is where nothing in it is masked.
    pub(crate) fn event(&mut self, event: &Value, text: Option<&str>) -> io::Result<()> {
        if self.masks.is_empty() {
            self.tell(event);
            return match text {
                Some(text) => writeln!(self.file, "{text}"),
                None => writeln!(self.file, "{event}"),
            };
        }
        let masked = self.masks.value(event.clone());
        self.tell(&masked);
        writeln!(self.file, "{masked}")
    }

    /// Notes something that the agent did not say.
    pub(super) fn warn(&mut self, message: &str) -> io::Result<()> {
        self.event(&json!({"type": "ratchet", "subtype": "warning", "message": message}), None)
    }

    fn tell(&self, event: &Value) {
        for line in Said::of(event).iter().filter_map(Said::progress) {
            self.progress.tell(&line.replace(&self.root, ""));
        }
    }
}

/// Masks what stands in the files at and below a path. A link, and what lies behind it, is left alone.
pub(super) fn mask_files(path: &Path, masks: &Masks) -> io::Result<()> {
    let kind = match path.symlink_metadata() {
        Ok(found) => found.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if kind.is_dir() {
        return std::fs::read_dir(path)?.try_for_each(|entry| mask_files(&entry?.path(), masks));
    }
    if !kind.is_file() {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut masked = tempfile::Builder::new().prefix(".ratchet-").tempfile_in(folder)?;
    let mut source = File::open(path)?;
    let mut stream = MaskedStream::new(masks);
    let mut chunk = vec![0; 64 << 10];
    loop {
        let count = source.read(&mut chunk)?;
        let seen = if count == 0 { stream.end() } else { stream.take(&chunk[..count]) };
        masked.write_all(&seen)?;
        if count == 0 {
            break;
        }
    }
    masked.as_file().set_permissions(source.metadata()?.permissions())?;
    masked.persist(path).map_err(|error| error.error)?;
    Ok(())
}

//! Workflows that were published on this machine: each name and version stands for one text, for good.

use std::{
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    directory::{self, StateDirectory},
    error::LocalError,
};

/// A published definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The workflow's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// When it was published.
    pub published_at: Timestamp,
    /// Its text, with all that it refers to.
    pub text: String,
}

/// What came of publishing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Publication {
    /// It is published now.
    New,
    /// The same text was published before.
    Already,
    /// Another text was published under this name and version.
    Taken(Box<Published>),
}

/// The published definitions of a state directory.
#[derive(Debug, Clone)]
pub struct PublishedWorkflows {
    folder: PathBuf,
}

impl PublishedWorkflows {
    /// Those of a state directory. Nothing is touched.
    pub fn new(state: &StateDirectory) -> Self {
        Self { folder: state.published() }
    }

    /// Publishes a definition. Of two that do so at once, one is the first.
    pub fn publish(&self, definition: &Published) -> Result<Publication, LocalError> {
        let path = self.path(&definition.name, &definition.version);
        let refused = |source| LocalError::state_directory(&path, "hold a published definition", source);
        if let Some(known) = Self::read(&path)? {
            return Ok(compared(known, definition));
        }
        let folder = path.parent().unwrap_or(&self.folder);
        directory::create(folder).map_err(refused)?;
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(refused)?;
        serde_json::to_writer(&mut file, definition).map_err(|error| refused(error.into()))?;
        file.as_file().sync_all().map_err(refused)?;
        match file.persist_noclobber(&path) {
            Ok(_) => {
                fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(refused)?;
                Ok(Publication::New)
            }
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => match Self::read(&path)? {
                Some(known) => Ok(compared(known, definition)),
                None => Err(refused(error.error)),
            },
            Err(error) => Err(refused(error.error)),
        }
    }

    /// The definition of a name and a version, or of no version the one that was published last.
    pub fn find(&self, name: &str, version: Option<&str>) -> Result<Option<Published>, LocalError> {
        match version {
            Some(version) => Self::read(&self.path(name, version)),
            None => Ok(self.versions(name)?.pop()),
        }
    }

    /// All versions of a name, the one that was published last at the end.
    pub fn versions(&self, name: &str) -> Result<Vec<Published>, LocalError> {
        let folder = self.folder.join(file_name(name));
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(LocalError::state_directory(&folder, "be read", error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| LocalError::state_directory(&folder, "be read", error))?;
            if entry.path().extension().is_some_and(|extension| extension == "json") {
                found.extend(Self::read(&entry.path())?);
            }
        }
        found.sort_by(|one, other| (one.published_at, &one.version).cmp(&(other.published_at, &other.version)));
        Ok(found)
    }

    /// Every name that something was published under, in order.
    pub fn names(&self) -> Result<Vec<String>, LocalError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(LocalError::state_directory(&self.folder, "be read", error)),
        };
        // Names of workflows are file names as they stand.
        let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort();
        Ok(names)
    }

    fn path(&self, name: &str, version: &str) -> PathBuf {
        self.folder.join(file_name(name)).join(format!("{}.json", file_name(version)))
    }

    fn read(path: &Path) -> Result<Option<Published>, LocalError> {
        let content = match fs::read(path) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(LocalError::state_directory(path, "be read", error)),
        };
        serde_json::from_slice(&content)
            .map(Some)
            .map_err(|error| LocalError::Damaged { path: path.to_owned(), reason: error.to_string() })
    }
}

fn compared(known: Published, definition: &Published) -> Publication {
    if known.text == definition.text { Publication::Already } else { Publication::Taken(Box::new(known)) }
}

/// Any text as the name of a file: letters, digits, hyphens and inner points stay as they are.
fn file_name(text: &str) -> String {
    let mut name = String::new();
    for (position, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            b'.' if position > 0 => name.push('.'),
            byte => {
                // Writing to a string cannot fail.
                let _ = write!(name, "%{byte:02x}");
            }
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(version: &str, second: i64, text: &str) -> Published {
        Published {
            name: "deploy".to_owned(),
            version: version.to_owned(),
            published_at: Timestamp::from_second(second).unwrap(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn a_name_and_version_stand_for_one_text() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(folder.path()).unwrap();
        let published = PublishedWorkflows::new(&state);
        assert_eq!(published.find("deploy", None).unwrap(), None);
        let first = definition("1.0", 1, "a");
        assert_eq!(published.publish(&first).unwrap(), Publication::New);
        assert_eq!(published.publish(&definition("1.0", 2, "a")).unwrap(), Publication::Already);
        let other = published.publish(&definition("1.0", 2, "b")).unwrap();
        assert_eq!(other, Publication::Taken(Box::new(first.clone())));
        assert_eq!(published.find("deploy", Some("1.0")).unwrap(), Some(first));
    }

    #[test]
    fn the_newest_is_the_one_that_was_published_last_whatever_it_is_called() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(folder.path()).unwrap();
        let published = PublishedWorkflows::new(&state);
        for (version, second) in [("2", 1), ("10", 3), ("../../x", 2)] {
            assert_eq!(published.publish(&definition(version, second, "a")).unwrap(), Publication::New);
        }
        assert_eq!(published.find("deploy", None).unwrap().unwrap().version, "10");
        assert_eq!(published.find("deploy", Some("../../x")).unwrap().unwrap().version, "../../x");
        assert_eq!(published.names().unwrap(), ["deploy"]);
        assert_eq!(published.find("..", None).unwrap(), None);
    }
}

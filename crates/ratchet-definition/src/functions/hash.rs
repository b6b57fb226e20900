//! `hash`, `file_hash`, `dir_hash`.

use minijinja::{
    Error, State, Value,
    value::{Rest, ValueKind},
};
use ratchet_core::history::hex;
use sha2::{Digest as _, Sha256};

use super::files::wrong_kind;
use crate::{
    evaluate::{
        Reason, names_of,
        value::{as_file, text_of, to_json},
    },
    files::{FileAccess, FileError},
};

/// `hash(…)`: the SHA-256 over its arguments. A file value, or a string that names a file or folder of the workspace, stands for its path and content.
///
/// Each part is written with its kind and its length, so that no two lists of arguments run into the same bytes.
#[expect(clippy::needless_pass_by_value, reason = "the template engine gives the rest of the arguments by value")]
pub(super) fn hash(state: &State<'_, '_>, arguments: Rest<Value>) -> Result<String, Error> {
    let names = names_of(state)?;
    let mut hasher = Sha256::new();
    for argument in arguments.iter() {
        add(&mut hasher, argument, &*names.files)?;
    }
    Ok(hex(&hasher.finalize()))
}

fn part(hasher: &mut Sha256, kind: u8, bytes: &[u8]) {
    hasher.update([kind]);
    hasher.update((bytes.len() as u64).to_be_bytes());
    hasher.update(bytes);
}

fn add(hasher: &mut Sha256, value: &Value, files: &dyn FileAccess) -> Result<(), Error> {
    if let Some(file) = as_file(value) {
        part(hasher, b'f', file.file.path.as_bytes());
        part(hasher, b'c', file.file.content.digest.as_str().as_bytes());
        return Ok(());
    }
    match value.kind() {
        ValueKind::String => {
            let text = text_of(value)?;
            match content_of(&text, files)? {
                Some(digest) => {
                    part(hasher, b'f', path_of(&text).as_bytes());
                    part(hasher, b'c', digest.as_bytes());
                }
                None => part(hasher, b's', text.as_bytes()),
            }
        }
        // 90 and 90.0 are the same number.
        ValueKind::Number => part(hasher, b'n', text_of(value)?.as_bytes()),
        ValueKind::Seq | ValueKind::Iterable => {
            let items: Vec<Value> = value.try_iter()?.checked().collect::<Result<_, _>>()?;
            part(hasher, b'l', &(items.len() as u64).to_be_bytes());
            items.iter().try_for_each(|item| add(hasher, item, files))?;
        }
        ValueKind::Map => {
            let keys: Vec<Value> = value.try_iter()?.checked().collect::<Result<_, _>>()?;
            part(hasher, b'm', &(keys.len() as u64).to_be_bytes());
            for key in &keys {
                part(hasher, b'k', text_of(key)?.as_bytes());
                add(hasher, &value.get_item(key)?, files)?;
            }
        }
        ValueKind::Undefined => return Err(wrong_kind("a value", value)),
        _ => part(hasher, b'j', to_json(value)?.to_string().as_bytes()),
    }
    Ok(())
}

/// A path without a leading `./`, so that both ways to write it are one.
fn path_of(text: &str) -> &str {
    text.strip_prefix("./").unwrap_or(text)
}

/// The digest of what a string names in the workspace. Text that cannot be a path of it stands for itself.
fn content_of(text: &str, files: &dyn FileAccess) -> Result<Option<String>, Error> {
    if text.is_empty() || text.len() > 4_096 || text.contains(['\n', '\0']) {
        return Ok(None);
    }
    match files.digest(path_of(text)) {
        Ok(digest) => Ok(digest.map(|digest| digest.as_str().to_owned())),
        Err(FileError::NotFound(_) | FileError::Outside(_)) => Ok(None),
        Err(error) => Err(Reason::file(&error).into()),
    }
}

/// `file_hash(path)`: the SHA-256 of a file's content.
pub(super) fn file_hash(state: &State<'_, '_>, file: &Value) -> Result<String, Error> {
    if let Some(file) = as_file(file) {
        return Ok(file.file.content.digest.as_str().to_owned());
    }
    digest_of(state, file, "a file or a path")
}

/// `dir_hash(path)`: the SHA-256 over the paths, modes and contents of a folder.
pub(super) fn dir_hash(state: &State<'_, '_>, folder: &Value) -> Result<String, Error> {
    digest_of(state, folder, "the path of a folder")
}

fn digest_of(state: &State<'_, '_>, path: &Value, wanted: &str) -> Result<String, Error> {
    if path.kind() != ValueKind::String {
        return Err(wrong_kind(wanted, path));
    }
    let path = text_of(path)?;
    let digest = names_of(state)?.files.digest(path_of(&path)).map_err(|error| Error::from(Reason::file(&error)))?;
    digest.map(|digest| digest.as_str().to_owned()).ok_or_else(|| Reason::file(&FileError::NotFound(path)).into())
}

//! Where the command keeps its sessions: a file of lines for each, in a folder that is named by where it was started.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use ratchet_engine::ports::{AgentRequest, SessionPoint};

/// The longest name of such a folder: of a longer path the command makes another name.
const NAME_LENGTH_MAX: usize = 200;

fn folder(request: &AgentRequest) -> io::Result<PathBuf> {
    let started_in = request.files.path();
    let started_in = started_in.canonicalize().unwrap_or_else(|_| started_in.to_owned());
    let name: String = started_in
        .to_string_lossy()
        .chars()
        .map(|character| if character.is_ascii_alphanumeric() { character } else { '-' })
        .collect();
    if name.len() > NAME_LENGTH_MAX {
        return Err(io::Error::other("no session is gone on with in a workspace of so long a path"));
    }
    Ok(request.directory.join("claude/projects").join(name))
}

/// Whether this is a name that the command gives a session: it becomes that of a file.
fn is_name(session_id: &str) -> bool {
    !session_id.is_empty() && session_id.chars().all(|character| character.is_ascii_alphanumeric() || character == '-')
}

/// The file of a session of this attempt.
pub(super) fn find(request: &AgentRequest, session_id: &str) -> Option<PathBuf> {
    let path = folder(request).ok()?.join(format!("{session_id}.jsonl"));
    (is_name(session_id) && fs::symlink_metadata(&path).is_ok_and(|found| found.is_file())).then_some(path)
}

/// Whether nothing is there of a session that is to be gone on with: neither told by another attempt nor left by this one.
pub(super) fn is_missing(request: &AgentRequest, point: &SessionPoint) -> bool {
    // Of a workspace of so long a path only the command knows the folder.
    point.history.is_none() && folder(request).is_ok() && find(request, &point.session_id).is_none()
}

/// Puts what was said in another attempt where the command looks for it.
pub(super) fn put(request: &AgentRequest, session_id: &str, history: &Path) -> io::Result<()> {
    if !is_name(session_id) {
        return Err(io::Error::other(format!("`{session_id}` is no name of a session")));
    }
    let folder = folder(request)?;
    fs::create_dir_all(&folder)?;
    fs::copy(history, folder.join(format!("{session_id}.jsonl")))?;
    Ok(())
}

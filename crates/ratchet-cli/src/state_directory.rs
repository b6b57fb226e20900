//! Where the state lives, and how its folders are laid out.

use std::{
    env,
    path::{Path, PathBuf},
};

use crate::command_error::CommandError;

/// The state directory: `--state-dir`, else `$RATCHET_STATE_DIR`, else `$XDG_STATE_HOME/ratchet`, else `~/.local/state/ratchet`.
pub(crate) fn locate(asked: Option<&Path>) -> Result<PathBuf, CommandError> {
    let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let place = match asked {
        Some(place) => place.to_owned(),
        None => match (variable("XDG_STATE_HOME"), variable("HOME")) {
            (Some(state), _) if state.is_absolute() => state.join("ratchet"),
            (_, Some(home)) => home.join(".local/state/ratchet"),
            (_, None) => return Err(CommandError::NoStateDirectory),
        },
    };
    std::path::absolute(&place).map_err(|source| CommandError::StateDirectory { place, source })
}

//! Variables that a value may be put into, and those that a shell or the system does more with.

use super::{commands::Argument, refusal::Refusal};

/// Variables that bash calculates with, or keeps its own state in.
const OWN: &[&str] = &[
    "DIRSTACK",
    "EPOCHREALTIME",
    "EPOCHSECONDS",
    "EUID",
    "EXECIGNORE",
    "FIGNORE",
    "FUNCNEST",
    "GLOBIGNORE",
    "GROUPS",
    "HISTCMD",
    "IFS",
    "LINENO",
    "OPTERR",
    "OPTIND",
    "PATH",
    "PPID",
    "RANDOM",
    "SECONDS",
    "SRANDOM",
    "TMOUT",
    "UID",
];

/// Variables whose content a shell runs or loads, when it starts or later.
const CODE: &[&str] = &[
    "ENV",
    "PROMPT_COMMAND",
    "PS0",
    "PS1",
    "PS2",
    "PS3",
    "PS4",
    "SHELLOPTS",
    "LD_AUDIT",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
];

/// Whether what a process finds in a variable of this name may be run.
pub(crate) fn is_code(name: &str) -> bool {
    name.starts_with("BASH") || CODE.contains(&name)
}

/// Why no value can be put into a variable of this name by a script, if none can.
pub(super) fn refused(name: &str) -> Option<Refusal> {
    (is_code(name) || OWN.contains(&name)).then(|| Refusal::Variable(name.to_owned()))
}

/// The name in `NAME=` or `NAME+=`, where a word begins so.
pub(super) fn assigned(word: &str) -> Option<&str> {
    let (name, _) = word.split_once('=')?;
    let name = name.strip_suffix('+').unwrap_or(name);
    let mut characters = name.chars();
    let begins = characters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    (begins && characters.all(|c| c.is_ascii_alphanumeric() || c == '_')).then_some(name)
}

/// Whether a command may give a variable an attribute that makes it calculate with what is put into it: bash runs code that stands in a number.
pub(super) fn attributes(words: &[Argument]) -> Option<Refusal> {
    let mut words = words;
    while let [Argument::Literal(name), rest @ ..] = words
        && matches!(name.as_str(), "builtin" | "command")
    {
        words = rest;
    }
    let [Argument::Literal(name), arguments @ ..] = words else { return None };
    match name.as_str() {
        "declare" | "typeset" | "local" => {
            let gives = |argument: &Argument| match argument {
                Argument::Literal(text) => text.starts_with(['-', '+']) && text.contains(['i', 'n']),
                Argument::Dynamic => true,
                Argument::Value(_) => false,
            };
            arguments.iter().any(gives).then(|| Refusal::Attributes(name.clone()))
        }
        "eval" | "source" | "." => Some(Refusal::Attributes(name.clone())),
        _ => None,
    }
}

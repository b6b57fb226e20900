//! A call that cannot be understood, in the words of all other errors.

use std::error::Error as _;

use clap::{
    Command, CommandFactory,
    error::{ContextKind, ContextValue, ErrorKind},
};

use crate::{arguments::Arguments, command_error::CommandError, words::one_of};

/// In so many letters of a command's name one typing error is none for whoever looks for what was meant; one always is.
const LETTERS_AN_ERROR: usize = 3;

/// What is wrong with a call, from what the parser says of it. `words` is the call, without the program's own name.
pub(crate) fn of(error: &clap::Error, words: &[String]) -> CommandError {
    let mut program = Arguments::command();
    program.build();
    let called = words.iter().find_map(|word| program.find_subcommand(word)).cloned();
    let told = Told { error, program, called };
    let (message, hint) = told.in_words();
    match error.kind() {
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            CommandError::ArgumentValue { message, hint: hint.unwrap_or_else(|| told.help()) }
        }
        _ => CommandError::Call {
            message,
            hint: hint.map_or_else(|| told.help(), |hint| format!("{hint}\n      {}", told.help())),
            usage: told.usage(),
        },
    }
}

struct Told<'a> {
    error: &'a clap::Error,
    program: Command,
    called: Option<Command>,
}

impl Told<'_> {
    /// What is wrong, and what may have been meant.
    fn in_words(&self) -> (String, Option<String>) {
        let argument = self.one(ContextKind::InvalidArg);
        let name = argument.split([' ', '=']).next().unwrap_or_default();
        let meant = |kind| self.all(kind).first().map(|name| format!("did you mean {name}?"));
        match self.error.kind() {
            ErrorKind::InvalidSubcommand => {
                let word = self.one(ContextKind::InvalidSubcommand);
                let likely = || self.most_like(&word).map(|name| format!("did you mean {name}?"));
                (format!("there is no command {word}"), meant(ContextKind::SuggestedSubcommand).or_else(likely))
            }
            ErrorKind::UnknownArgument if name.starts_with('-') => {
                (format!("there is no option {name}"), meant(ContextKind::SuggestedArg))
            }
            ErrorKind::UnknownArgument => (format!("{argument} is one argument too many"), None),
            ErrorKind::InvalidValue if self.one(ContextKind::InvalidValue).is_empty() => {
                (format!("{argument} needs a value"), None)
            }
            ErrorKind::InvalidValue => {
                let (value, valid) = (self.one(ContextKind::InvalidValue), self.all(ContextKind::ValidValue));
                let valid: Vec<&str> = valid.iter().map(String::as_str).collect();
                (format!("{name}: it cannot be {value}"), Some(format!("write {}", one_of(&valid))))
            }
            ErrorKind::ValueValidation => {
                let value = self.one(ContextKind::InvalidValue);
                let reason = self.error.source().map(ToString::to_string).unwrap_or_default();
                // The words of the standard library for what is no number.
                let is_no_number = reason.contains("invalid digit") || reason.contains("empty string");
                (
                    format!("{name}: {}", if is_no_number { format!("'{value}' is no whole number") } else { reason }),
                    None,
                )
            }
            ErrorKind::MissingRequiredArgument => {
                let missing: Vec<String> = self.all(ContextKind::InvalidArg);
                (format!("{} missing", is_or_are(&missing)), None)
            }
            ErrorKind::ArgumentConflict => {
                let other = self.one(ContextKind::PriorArg);
                let other = other.split([' ', '=']).next().unwrap_or_default();
                if other == name {
                    (format!("{name} may be given only once"), None)
                } else {
                    (format!("{name} and {other} exclude each other"), None)
                }
            }
            _ => {
                let text = self.error.render().to_string();
                let first = text.lines().next().unwrap_or_default();
                (first.trim_start_matches("error: ").to_owned(), None)
            }
        }
    }

    /// Where to read more.
    fn help(&self) -> String {
        match &self.called {
            Some(command) => format!("`ratchet {} --help` has its options and examples", command.get_name()),
            None => "`ratchet --help` lists the commands".to_owned(),
        }
    }

    /// How the command is called.
    fn usage(&self) -> String {
        let mut command = self.called.clone().unwrap_or_else(|| self.program.clone());
        let usage = command.render_usage().to_string();
        usage.trim_start_matches("Usage: ").trim().to_owned()
    }

    fn all(&self, kind: ContextKind) -> Vec<String> {
        match self.error.get(kind) {
            Some(ContextValue::String(one)) => vec![one.clone()],
            Some(ContextValue::Strings(all)) => all.clone(),
            _ => Vec::new(),
        }
    }

    fn one(&self, kind: ContextKind) -> String {
        self.all(kind).into_iter().next().unwrap_or_default()
    }

    fn most_like(&self, word: &str) -> Option<&str> {
        let errors = |name: &&str| strsim::damerau_levenshtein(name, word);
        let nearest = self.program.get_subcommands().map(Command::get_name).min_by_key(errors)?;
        (errors(&nearest) <= (word.chars().count() / LETTERS_AN_ERROR).max(1)).then_some(nearest)
    }
}

fn is_or_are(missing: &[String]) -> String {
    match missing {
        [one] => format!("{one} is"),
        all => format!("{} are", all.join(" and ")),
    }
}

//! Why a value cannot stand where it stands, and what to write instead.

use std::ops::Range;

use crate::mistake::Mistake;

/// A place where a value is not known to be data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Inside `$'…'` or `$"…"`.
    DollarQuotes,
    /// Directly after a `$`.
    AfterDollar,
    /// Directly after a backslash.
    AfterBackslash,
    /// After a `~`.
    Tilde,
    /// As the name of a command, or as a part of one.
    CommandName,
    /// The command's name is not in the script.
    UnknownCommand,
    /// In an array, or as an element of one.
    Array,
    /// Into a variable that a shell or the system does more with.
    Variable(String),
    /// Into a variable that may calculate, because of this command.
    Attributes(String),
    /// As a file descriptor.
    Descriptor,
    /// In a path that may be a connection.
    Connection,
    /// In a here-document of which the delimiter is quoted.
    QuotedHereDocument,
    /// In a here-string.
    HereString,
    /// In arithmetic.
    Arithmetic,
    /// Inside `${…}`.
    Parameter,
    /// Inside back quotes.
    BackQuotes,
    /// In a test where it is not an operand that is text or a file.
    Test,
    /// As the format of `printf`.
    Format,
    /// As, or before, code that this program runs.
    Code(String),
    /// As an argument of a builtin that does more with it than take it.
    Builtin(String),
    /// Before the command that another one starts.
    BeforeCommand(String),
    /// Where the parser did not see it.
    Unseen,
    /// Where it stands in one way, and in another way for another choice or another shell.
    Unclear,
}

impl Refusal {
    /// The mistake that a value at this place of a text is.
    pub(super) fn mistake(&self, text: &str, place: Range<usize>) -> Mistake {
        let help = self.help(&text[place.clone()]);
        Mistake::error(self.code(), self.message(), place).with_help(help)
    }

    fn code(&self) -> &'static str {
        match self {
            Self::AfterDollar
            | Self::AfterBackslash
            | Self::Tilde
            | Self::Arithmetic
            | Self::Parameter
            | Self::BackQuotes
            | Self::Test
            | Self::Descriptor
            | Self::Connection
            | Self::QuotedHereDocument
            | Self::HereString
            | Self::Unseen
            | Self::Unclear => "RT-0111",
            Self::Format | Self::Code(_) | Self::Builtin(_) => "RT-0112",
            Self::CommandName | Self::UnknownCommand | Self::BeforeCommand(_) => "RT-0113",
            Self::DollarQuotes => "RT-0114",
            Self::Array | Self::Variable(_) | Self::Attributes(_) => "RT-0115",
        }
    }

    fn message(&self) -> String {
        let message = match self {
            Self::DollarQuotes => "a value cannot stand inside `$'…'` or `$\"…\"`",
            Self::AfterDollar => "a `$` before a value would change what it is",
            Self::AfterBackslash => "a backslash before a value would change what it is",
            Self::Tilde => "a value cannot be a part of a `~` that the shell expands",
            Self::CommandName => "a value cannot choose which command runs",
            Self::UnknownCommand => {
                "the command's name is not in the script, so nobody knows how it reads its arguments"
            }
            Self::Array => "a value cannot stand in an array or be put into an element of one",
            Self::Descriptor => "a value cannot be a file descriptor",
            Self::Connection => "bash may take this path for a connection, whatever the value is",
            Self::QuotedHereDocument => {
                "a value cannot stand in a here-document with a quoted delimiter: nothing in it is filled in"
            }
            Self::HereString => "a value cannot stand in a here-string",
            Self::Arithmetic => "a value cannot stand in arithmetic: the shell would run code in it",
            Self::Parameter => "a value cannot stand inside `${…}`: the shell would expand it",
            Self::BackQuotes => "a value cannot stand inside back quotes",
            Self::Test => "in a test a value can only be an operand of a comparison of text or of a file test",
            Self::Format => "a value cannot be a part of the format of `printf`, which is code",
            Self::Unseen => "it is not clear how the shell takes a value here",
            Self::Unclear => {
                "a value stands here in more than one way: it depends on a choice, or on which shell reads it"
            }
            Self::Variable(name) => {
                return format!("a value cannot be put into `{name}`: the shell or the system does more with it");
            }
            Self::Attributes(name) => {
                return format!(
                    "a value cannot be put into a variable in a script with `{name}`, which may make a variable calculate"
                );
            }
            Self::Code(program) => {
                return format!("a value cannot be code, or choose the code, that `{program}` runs");
            }
            Self::Builtin(name) => {
                return format!("`{name}` does more with its arguments than take them, so a value cannot be one");
            }
            Self::BeforeCommand(name) => {
                return format!("a value cannot stand before the command that `{name}` starts");
            }
        };
        message.to_owned()
    }

    /// What to write instead of this value, which is `{{ … }}` as its author wrote it.
    fn help(&self, value: &str) -> String {
        match self {
            Self::DollarQuotes => format!("write it as a word of its own, or as \"…{value}…\""),
            Self::AfterDollar => format!("write {value} without the `$`, or `\\$` for the character"),
            Self::AfterBackslash => format!("write {value} without the backslash, or `\\\\` for the character"),
            Self::Tilde => format!("write \"$HOME/{value}\""),
            Self::CommandName => {
                "write the command's name in the script, and choose with `when` on two steps or with the shell's own `case`".to_owned()
            }
            Self::UnknownCommand => format!("put the value into `$1` first: a line `set -- {value}`, then \"$1\""),
            Self::Array => format!("put it into the positional parameters: set -- {value}, then \"$1\" or \"$@\""),
            Self::Variable(_) => format!("use a name of your own: value={value}"),
            Self::Attributes(_) => environment("NAME", value, "use \"$NAME\""),
            Self::Descriptor => "write the descriptor in the script, or > before the name of a file".to_owned(),
            Self::Connection => format!("write a path relative to the workspace: > out/{value}"),
            Self::QuotedHereDocument => format!(
                "write the delimiter without quotes, with a backslash before each `$`, back quote and backslash; or printf '%s\\n' {value} | …"
            ),
            Self::HereString => format!("write printf '%s\\n' {value} | …"),
            Self::Arithmetic => "compute it in the braces: {{ a + 1 }}".to_owned(),
            Self::Parameter => {
                "use a filter in the braces, such as {{ … | default('x') }} or {{ … | replace('a', 'b') }}".to_owned()
            }
            Self::BackQuotes => format!("write $(command {value})"),
            Self::Test => "compare numbers in the braces or in the step's `when`: {{ a > 1 }}".to_owned(),
            Self::Format => format!("write printf '%s' {value}"),
            Self::Code(program) => instead_of_code(program, value),
            Self::Builtin(_) => {
                format!("put the value into `$1` first: a line `set -- {value}`, then \"$1\" where it is safe")
            }
            Self::BeforeCommand(name) => {
                format!("write `{name}` with options that are in the script, then the command, then {value}")
            }
            Self::Unseen | Self::Unclear => format!("write it as an argument of a command: command {value}, or \"…{value}…\""),
        }
    }
}

fn environment(name: &str, value: &str, then: &str) -> String {
    format!("declare it under the step's `environment:` ({name}: \"{value}\") and {then}")
}

fn instead_of_code(program: &str, value: &str) -> String {
    match program {
        "bash" | "sh" | "dash" | "zsh" | "ksh" => {
            format!("give it as an argument: {program} -c 'command \"$1\"' _ {value}")
        }
        "eval" | "trap" | "source" | "." => format!("write the command itself, with {value} as its argument"),
        "ssh" => {
            "let the other side read it: printf '%s\\n' … | ssh host 'read -r value; command \"$value\"'".to_owned()
        }
        "sed" => format!("change the text in the braces with `replace`; a file's name follows `--`: sed … -- {value}"),
        "awk" | "gawk" | "mawk" => format!("hand it over as a variable: awk -v value={value} '…'"),
        _ => format!("give it as an argument after the code or the script: {program} … -- {value}"),
    }
}

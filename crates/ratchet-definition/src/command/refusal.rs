//! Why a value cannot stand where it stands, and what to write instead.

use super::marks::Placeholder;
use crate::mistake::Mistake;

/// A place where a value is not known to be data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Inside single quotes.
    SingleQuotes,
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
    /// In an assignment.
    Assignment,
    /// As the target of a redirection.
    Redirection,
    /// In a here-document or here-string.
    HereDocument,
    /// In arithmetic.
    Arithmetic,
    /// Inside `${…}`.
    Parameter,
    /// Inside back quotes.
    BackQuotes,
    /// In the list of a `for`.
    ForList,
    /// In a `case`.
    Case,
    /// Inside `[[ … ]]`.
    ExtendedTest,
    /// Inside `[ … ]` where it is not one operand.
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
}

impl Refusal {
    /// The mistake that this is.
    pub(super) fn mistake(&self, text: &str, placeholder: &Placeholder) -> Mistake {
        let value = &text[placeholder.span.clone()];
        let (code, message, help) = match self {
            Self::SingleQuotes => (
                "RT-0114",
                "a value cannot stand inside single quotes".to_owned(),
                format!("write \"…{value}…\", or end the quotes around it: '…'{value}'…'; for braces that are meant as text write {{{{ '…' }}}}"),
            ),
            Self::DollarQuotes => (
                "RT-0114",
                "a value cannot stand inside `$'…'` or `$\"…\"`".to_owned(),
                format!("write it as a word of its own, or as \"…{value}…\""),
            ),
            Self::AfterDollar => {
                ("RT-0111", "a `$` before a value would change what it is".to_owned(), format!("write {value} without the `$`, or `\\$` for the character"))
            }
            Self::AfterBackslash => {
                ("RT-0111", "a backslash before a value would change what it is".to_owned(), format!("write {value} without the backslash, or `\\\\` for the character"))
            }
            Self::Tilde => ("RT-0111", "a value cannot follow `~`".to_owned(), format!("write \"$HOME/{value}\"")),
            Self::CommandName => (
                "RT-0113",
                "a value cannot choose which command runs".to_owned(),
                "write the command's name in the script, and choose with `when` on two steps or with the shell's own `case`".to_owned(),
            ),
            Self::UnknownCommand => (
                "RT-0113",
                "the command's name is not in the script, so nobody knows how it reads its arguments".to_owned(),
                format!("put the value into `$1` first: a line `set -- {value}`, then \"$1\""),
            ),
            Self::Assignment => (
                "RT-0115",
                "a value cannot stand in an assignment yet".to_owned(),
                format!("declare it under the step's `environment:` (NAME: \"{value}\") and use \"$NAME\""),
            ),
            Self::Redirection => (
                "RT-0115",
                "a value cannot be the target of a redirection yet".to_owned(),
                format!("declare it under the step's `environment:` (FILE: \"{value}\") and write > \"$FILE\""),
            ),
            Self::HereDocument => (
                "RT-0115",
                "a value cannot stand in a here-document or here-string yet".to_owned(),
                format!("write printf '%s\\n' {value} | …, or a file with a `template` step"),
            ),
            Self::Arithmetic => (
                "RT-0111",
                "a value cannot stand in arithmetic: the shell would run code in it".to_owned(),
                "compute it in the braces: {{ a + 1 }}".to_owned(),
            ),
            Self::Parameter => (
                "RT-0111",
                "a value cannot stand inside `${…}`: the shell would expand it".to_owned(),
                "use a filter in the braces, such as {{ … | default('x') }} or {{ … | replace('a', 'b') }}".to_owned(),
            ),
            Self::BackQuotes => (
                "RT-0111",
                "a value cannot stand inside back quotes".to_owned(),
                format!("write $(command {value})"),
            ),
            Self::ForList => (
                "RT-0115",
                "a value cannot stand in the list of a `for` yet".to_owned(),
                format!("write set -- {value}, then for item in \"$@\"; or use `foreach`"),
            ),
            Self::Case => (
                "RT-0115",
                "a value cannot stand in a `case` yet".to_owned(),
                format!("declare it under the step's `environment:` (NAME: \"{value}\") and write case \"$NAME\" in"),
            ),
            Self::ExtendedTest => (
                "RT-0115",
                "a value cannot stand inside `[[ … ]]` yet".to_owned(),
                "compare in the step's `when`, or write [ … = … ] with one value an operand".to_owned(),
            ),
            Self::Test => (
                "RT-0111",
                "inside `[ … ]` a value can only be an operand of =, !=, -n, -z or a file test".to_owned(),
                "compare numbers in the braces or in the step's `when`: {{ a > 1 }}".to_owned(),
            ),
            Self::Format => (
                "RT-0112",
                "a value cannot be a part of the format of `printf`, which is code".to_owned(),
                format!("write printf '%s' {value}"),
            ),
            Self::Code(program) => (
                "RT-0112",
                format!("a value cannot be code, or choose the code, that `{program}` runs"),
                match program.as_str() {
                    "bash" | "sh" | "dash" | "zsh" | "ksh" => {
                        format!("give it as an argument: {program} -c 'command \"$1\"' _ {value}")
                    }
                    "eval" | "trap" | "source" | "." => {
                        format!("write the command itself, with {value} as its argument")
                    }
                    "ssh" => "let the other side read it: printf '%s' … | ssh host 'read -r value; command \"$value\"'".to_owned(),
                    "sed" => format!("change the text in the braces with `replace`; a file's name follows `--`: sed … -- {value}"),
                    "awk" | "gawk" | "mawk" => format!("hand it over as a variable: awk -v value={value} '…'"),
                    _ => format!("give it as an argument after the code or the script: {program} … -- {value}"),
                },
            ),
            Self::Builtin(name) => (
                "RT-0112",
                format!("`{name}` does more with its arguments than take them, so a value cannot be one"),
                format!("put the value into `$1` first: a line `set -- {value}`, then \"$1\" where it is safe"),
            ),
            Self::BeforeCommand(name) => (
                "RT-0113",
                format!("a value cannot stand before the command that `{name}` starts"),
                format!("write `{name}` with options that are in the script, then the command, then {value}"),
            ),
            Self::Unseen => (
                "RT-0111",
                "it is not clear how the shell takes a value here".to_owned(),
                format!("write it as an argument of a command: command {value}, or \"…{value}…\""),
            ),
        };
        Mistake::error(code, message, placeholder.span.clone()).with_help(help)
    }
}

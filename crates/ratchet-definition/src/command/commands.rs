//! What commands do with their arguments: most take them as data, some run them.

use super::{refusal::Refusal, variables};

/// A word of a command, as far as the script tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Argument {
    /// Its text stands in the script.
    Literal(String),
    /// A value is in it, after this text.
    Value(String),
    /// The shell makes it.
    Dynamic,
}

/// How a value among a command's words is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Taken {
    /// As data; a list may be several words.
    Data,
    /// As data, and always as one word.
    OneWord,
    /// As one word that is put into a variable.
    Assigned,
    /// Not at all.
    Not(Refusal),
}

/// Builtins that take their arguments as data.
const DATA_BUILTINS: &[&str] = &[":", "cd", "echo", "exit", "false", "kill", "pushd", "pwd", "return", "shift", "true"];

/// Builtins of bash and of sh that do more: they run their arguments, or take them as names of variables, which can hold code too.
const OTHER_BUILTINS: &[&str] = &[
    ".",
    "alias",
    "bg",
    "bind",
    "break",
    "caller",
    "compgen",
    "complete",
    "compopt",
    "continue",
    "declare",
    "dirs",
    "disown",
    "enable",
    "eval",
    "export",
    "fc",
    "fg",
    "getopts",
    "hash",
    "help",
    "history",
    "jobs",
    "let",
    "local",
    "logout",
    "mapfile",
    "popd",
    "read",
    "readarray",
    "readonly",
    "shopt",
    "source",
    "suspend",
    "times",
    "trap",
    "type",
    "typeset",
    "ulimit",
    "umask",
    "unalias",
    "unset",
    "wait",
];

/// Builtins and keywords that are handled apart.
const SPECIAL: &[&str] = &["[", "builtin", "command", "exec", "printf", "set", "test"];

/// Words that mean something to the shell in the place of a command's name.
const KEYWORDS: &[&str] = &[
    "!", "[[", "case", "coproc", "do", "done", "elif", "else", "esac", "fi", "for", "function", "if", "in", "select",
    "then", "time", "until", "while", "{", "}",
];

/// Programs that run whatever they are given as a command line.
const RUNNERS: &[&str] = &[
    "at",
    "batch",
    "crontab",
    "entr",
    "expect",
    "flock",
    "nix-shell",
    "parallel",
    "powershell",
    "pwsh",
    "rsh",
    "runuser",
    "screen",
    "script",
    "slogin",
    "ssh",
    "su",
    "tclsh",
    "tmux",
    "watch",
];

const SHELLS: &[&str] = &["ash", "bash", "dash", "fish", "ksh", "mksh", "sh", "zsh"];

/// A command that starts another one.
struct Wrapper {
    name: &'static str,
    /// Options that stand alone.
    flags: &'static [&'static str],
    /// Options whose argument is the next word.
    options: &'static [&'static str],
    /// Words between the options and the command.
    operands: usize,
    /// Whether assignments may stand before the command.
    assignments: bool,
}

const fn wrapper(
    name: &'static str,
    flags: &'static [&'static str],
    options: &'static [&'static str],
    operands: usize,
) -> Wrapper {
    Wrapper { name, flags, options, operands, assignments: false }
}

const WRAPPERS: &[Wrapper] = &[
    wrapper("builtin", &[], &[], 0),
    wrapper("busybox", &[], &[], 0),
    wrapper("command", &["-p", "-v", "-V"], &[], 0),
    wrapper("doas", &["-n"], &["-u", "-C"], 0),
    Wrapper { assignments: true, ..wrapper("env", &["-i", "-0", "--ignore-environment"], &["-u", "-C"], 0) },
    wrapper("exec", &["-c", "-l"], &["-a"], 0),
    wrapper("ionice", &["-t"], &["-c", "-n"], 0),
    wrapper("nice", &[], &["-n"], 0),
    wrapper("nohup", &[], &[], 0),
    wrapper("setsid", &["-w", "-f", "--wait", "--fork"], &[], 0),
    wrapper("stdbuf", &["-oL", "-o0", "-eL", "-e0", "-i0"], &["-i", "-o", "-e"], 0),
    Wrapper { assignments: true, ..wrapper("sudo", &["-E", "-n", "-H", "-S"], &["-u", "-g"], 0) },
    wrapper("time", &["-p", "-v"], &["-f", "-o"], 0),
    wrapper("timeout", &["--foreground", "--preserve-status", "-v"], &["-s", "-k"], 1),
    wrapper("xargs", &["-0", "-r", "-t", "-x", "--null"], &["-I", "-n", "-P", "-L", "-d", "-a", "-s", "-E"], 0),
];

/// A program that runs code of its own language.
struct Language {
    name: &'static str,
    /// Options whose argument is code.
    code: &'static [&'static str],
    /// Options whose argument is not.
    options: &'static [&'static str],
    /// Options after whose argument everything is an argument of the code.
    last: &'static [&'static str],
}

const LANGUAGES: &[Language] = &[
    Language { name: "awk", code: &["-e", "--source"], options: &["-F", "-v", "-f"], last: &[] },
    Language { name: "bun", code: &["-e", "--eval"], options: &[], last: &[] },
    Language { name: "deno", code: &["eval"], options: &[], last: &[] },
    Language { name: "gawk", code: &["-e", "--source"], options: &["-F", "-v", "-f"], last: &[] },
    Language { name: "elixir", code: &["-e", "--eval"], options: &["-r"], last: &[] },
    Language { name: "julia", code: &["-e", "-E", "--eval", "--print"], options: &["-L"], last: &[] },
    Language { name: "lua", code: &["-e"], options: &["-l"], last: &[] },
    Language { name: "mawk", code: &[], options: &["-F", "-v", "-f"], last: &[] },
    Language {
        name: "node",
        code: &["-e", "-p", "--eval", "--print", "-pe"],
        options: &["-r", "--require"],
        last: &[],
    },
    Language { name: "osascript", code: &["-e"], options: &["-l"], last: &[] },
    Language { name: "perl", code: &["-e", "-E", "-ne", "-pe", "-nE", "-pE"], options: &["-I"], last: &[] },
    Language { name: "php", code: &["-r", "-B", "-R", "-E"], options: &["-d", "-c"], last: &[] },
    Language { name: "pypy", code: &["-c"], options: &["-W", "-X"], last: &["-c", "-m"] },
    Language { name: "python", code: &["-c"], options: &["-W", "-X"], last: &["-c", "-m"] },
    Language { name: "Rscript", code: &["-e"], options: &[], last: &[] },
    Language { name: "ruby", code: &["-e", "-ne", "-pe"], options: &["-I", "-r", "-C"], last: &[] },
    Language { name: "sed", code: &["-e", "--expression", "-ne", "-ie"], options: &["-f"], last: &[] },
];

/// Whether the shell itself knows a command of this name, so that no program of this name would run. `true` and `false` do the same as programs.
pub(super) fn is_shells_own(name: &str) -> bool {
    let own = [DATA_BUILTINS, OTHER_BUILTINS, SPECIAL, KEYWORDS].into_iter().any(|names| names.contains(&name));
    own && !matches!(name, "true" | "false")
}

/// How each word of a command, its name first, takes a value.
pub(super) fn taken(words: &[Argument]) -> Vec<Taken> {
    let Some((first, rest)) = words.split_first() else { return Vec::new() };
    let all = |taken: &Taken| {
        std::iter::once(Taken::Not(Refusal::CommandName)).chain(rest.iter().map(|_| taken.clone())).collect()
    };
    let Argument::Literal(path) = first else {
        return all(&Taken::Not(Refusal::UnknownCommand));
    };
    let name = path.rsplit('/').next().unwrap_or(path);
    let language = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let bare = name == path;
    let mut verdicts: Vec<Taken> = match name {
        _ if bare && DATA_BUILTINS.contains(&name) => all(&Taken::Data),
        "printf" => all_after(words, format_end(words), &Refusal::Format),
        "set" if bare => all_after(words, position(words, "--").map(|at| at + 1), &Refusal::Builtin(name.to_owned())),
        "test" | "[" => test(words),
        "export" | "readonly" if bare => declaration(words),
        "eval" | "trap" | "source" | "." if bare => all(&Taken::Not(Refusal::Code(name.to_owned()))),
        _ if bare && OTHER_BUILTINS.contains(&name) => all(&Taken::Not(Refusal::Builtin(name.to_owned()))),
        _ if RUNNERS.contains(&name) => all(&Taken::Not(Refusal::Code(name.to_owned()))),
        _ if SHELLS.contains(&name) => all_after(words, shell_operand(words), &Refusal::Code(name.to_owned())),
        "find" => find(words),
        _ => {
            if let Some(wrapper) = WRAPPERS.iter().find(|wrapper| wrapper.name == name) {
                wrapped(wrapper, words)
            } else if let Some(known) = LANGUAGES.iter().find(|known| known.name == language) {
                in_language(known, words)
            } else {
                nested(words, all(&Taken::Data))
            }
        }
    };
    verdicts[0] = Taken::Not(Refusal::CommandName);
    verdicts
}

fn literal(argument: Option<&Argument>) -> Option<&str> {
    match argument {
        Some(Argument::Literal(text)) => Some(text),
        _ => None,
    }
}

fn position(words: &[Argument], text: &str) -> Option<usize> {
    words.iter().position(|word| literal(Some(word)) == Some(text))
}

/// Data from a position on, and refused before it; refused everywhere where there is none.
fn all_after(words: &[Argument], from: Option<usize>, refusal: &Refusal) -> Vec<Taken> {
    let from = from.unwrap_or(words.len());
    (0..words.len()).map(|at| if at < from { Taken::Not(refusal.clone()) } else { Taken::Data }).collect()
}

/// Where the arguments of `printf` begin: after a format that stands in the script and writes no variable.
fn format_end(words: &[Argument]) -> Option<usize> {
    let mut at = 1;
    if literal(words.get(at)) == Some("--") {
        at += 1;
    }
    let format = literal(words.get(at))?;
    (!format.starts_with('-') && !writes_variable(format)).then_some(at + 1)
}

/// `export NAME=…`: a value stands after the name, and never among the options.
fn declaration(words: &[Argument]) -> Vec<Taken> {
    let name = literal(words.first()).unwrap_or_default();
    let plain = words[1..].iter().all(|word| match word {
        Argument::Literal(text) => !text.starts_with('-') || text == "-p",
        Argument::Value(_) => true,
        Argument::Dynamic => false,
    });
    let taken = |word: &Argument| match word {
        Argument::Value(leading) => match variables::assigned(leading) {
            Some(variable) if plain => match variables::refused(variable) {
                None => Taken::Assigned,
                Some(refusal) => Taken::Not(refusal),
            },
            _ => Taken::Not(Refusal::Builtin(name.to_owned())),
        },
        _ => Taken::Not(Refusal::Builtin(name.to_owned())),
    };
    words.iter().map(taken).collect()
}

/// Whether a format has a conversion `%n`, with whatever stands between.
fn writes_variable(format: &str) -> bool {
    format.split('%').skip(1).any(|rest| {
        let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit() || "-+ #.*'hlLqjzt".contains(c));
        rest.starts_with('n')
    })
}

/// `[ … ]`: values are operands, never operators; and each is one word, so that they stay so.
fn test(words: &[Argument]) -> Vec<Taken> {
    const UNARY: &str = "-b -c -d -e -f -g -h -k -n -p -r -s -u -w -x -z -G -L -N -O -S";
    const BINARY: &str = "= == != < > -nt -ot -ef";
    let closed = literal(words.first()).is_some_and(|name| name.ends_with('['));
    let end = words.len() - usize::from(closed);
    let is_in = |word: Option<&Argument>, operators: &str| {
        literal(word).is_some_and(|word| operators.split(' ').any(|operator| operator == word))
    };
    let start = if literal(words.get(1)) == Some("!") { 2 } else { 1 };
    let operands = &words[start.min(end)..end];
    let fine = match operands {
        [_] => true,
        [operator, _] => is_in(Some(operator), UNARY),
        [_, operator, _] => is_in(Some(operator), BINARY),
        _ => false,
    };
    let taken = if fine { Taken::OneWord } else { Taken::Not(Refusal::Test) };
    words.iter().map(|_| taken.clone()).collect()
}

/// Where the arguments of a shell's code or script begin.
fn shell_operand(words: &[Argument]) -> Option<usize> {
    let mut at = 1;
    let mut reads_input = false;
    loop {
        let Argument::Literal(word) = words.get(at)? else { return None };
        if word == "--" {
            at += 1;
            if reads_input {
                return Some(at);
            }
            break;
        }
        if let Some(long) = word.strip_prefix("--") {
            at += if matches!(long, "rcfile" | "init-file") { 2 } else { 1 };
        } else if let Some(cluster) = word.strip_prefix(['-', '+']).filter(|cluster| !cluster.is_empty()) {
            reads_input |= cluster.contains('s');
            at += 1 + cluster.matches(['o', 'O']).count();
        } else {
            break;
        }
    }
    // The code of `-c`, or the path of the script.
    literal(words.get(at)).map(|_| at + 1)
}

fn in_language(language: &Language, words: &[Argument]) -> Vec<Taken> {
    let refusal = Refusal::Code(language.name.to_owned());
    let mut verdicts: Vec<Taken> = words.iter().map(|_| Taken::Not(refusal.clone())).collect();
    let mut at = 1;
    let mut has_code = false;
    let from = loop {
        let Some(word) = literal(words.get(at)) else { return verdicts };
        if language.code.contains(&word) || language.last.contains(&word) {
            if literal(words.get(at + 1)).is_none() {
                return verdicts;
            }
            has_code = true;
            at += 2;
            if language.last.contains(&word) {
                break at;
            }
        } else if language.options.contains(&word) {
            if language.name.ends_with("awk")
                && let Some(option) = verdicts.get_mut(at + 1)
            {
                *option = Taken::OneWord;
            }
            has_code |= matches!(word, "-f");
            at += 2;
        } else if word == "--" {
            at += 1;
            if !has_code {
                let Some(_) = literal(words.get(at)) else { return verdicts };
                at += 1;
            }
            break at;
        } else if word.starts_with('-') && word.len() > 1 {
            at += 1;
        } else if language.name == "sed" {
            // The script; sed takes options after it too.
            has_code = true;
            at += 1;
        } else {
            // The first operand: the script, or, where the code came by an option, the first argument.
            break at + 1;
        }
    };
    for verdict in verdicts.iter_mut().skip(from) {
        *verdict = Taken::Data;
    }
    verdicts
}

fn wrapped(wrapper: &Wrapper, words: &[Argument]) -> Vec<Taken> {
    let refusal = Refusal::BeforeCommand(wrapper.name.to_owned());
    let mut verdicts: Vec<Taken> = words.iter().map(|_| Taken::Not(refusal.clone())).collect();
    let mut at = 1;
    loop {
        let word = match words.get(at) {
            Some(Argument::Literal(word)) => word.as_str(),
            Some(Argument::Value(_)) if wrapper.assignments => break,
            _ => return verdicts,
        };
        if word == "--" {
            at += 1;
            break;
        } else if wrapper.flags.contains(&word) {
            at += 1;
        } else if wrapper.options.contains(&word) {
            if matches!(words.get(at + 1), Some(Argument::Value(_))) {
                return verdicts;
            }
            at += 2;
        } else if word.starts_with('-') && word.len() > 1 {
            // An option that is not known may take the next word or not.
            return verdicts;
        } else {
            break;
        }
    }
    while let Some(word) = words.get(at).filter(|_| wrapper.assignments) {
        match word {
            Argument::Literal(word) if word.contains('=') => {}
            Argument::Value(leading) => match variables::assigned(leading).map(variables::refused) {
                Some(None) => verdicts[at] = Taken::OneWord,
                Some(Some(refusal)) => verdicts[at] = Taken::Not(refusal),
                None => break,
            },
            _ => break,
        }
        at += 1;
    }
    for _ in 0..wrapper.operands {
        if matches!(words.get(at), Some(Argument::Value(_))) {
            return verdicts;
        }
        at += 1;
    }
    if let Some(inner) = words.get(at..).filter(|inner| !inner.is_empty()) {
        verdicts.truncate(at);
        verdicts.extend(taken(inner));
    }
    verdicts
}

/// `find`: what stands after `-exec` is a command.
fn find(words: &[Argument]) -> Vec<Taken> {
    let mut verdicts: Vec<Taken> = words.iter().map(|_| Taken::Data).collect();
    let mut at = 1;
    while at < words.len() {
        let starts = matches!(literal(words.get(at)), Some("-exec" | "-execdir" | "-ok" | "-okdir"));
        at += 1;
        if starts {
            let inner = &words[at..];
            let end =
                inner.iter().position(|word| matches!(literal(Some(word)), Some(";" | "+"))).unwrap_or(inner.len());
            for (verdict, inner) in verdicts[at..].iter_mut().zip(taken(&inner[..end])) {
                *verdict = inner;
            }
            at += end;
        }
    }
    verdicts
}

/// Options by which many programs take a command line or code.
const CODE_OPTIONS: &[&str] = &["--command", "--eval", "--exec", "--run", "--shell-command"];

/// Any other program may start a shell that its arguments name (`docker run image sh -c …`): the word after such code's option is no place.
fn nested(words: &[Argument], mut verdicts: Vec<Taken>) -> Vec<Taken> {
    let own = literal(words.first()).unwrap_or_default().to_owned();
    for at in 1..words.len() {
        match &words[at] {
            Argument::Literal(option) if CODE_OPTIONS.contains(&option.as_str()) => {
                if let Some(verdict) = verdicts.get_mut(at + 1) {
                    *verdict = Taken::Not(Refusal::Code(own.clone()));
                }
            }
            Argument::Value(leading) if CODE_OPTIONS.iter().any(|option| leading.strip_prefix(option) == Some("=")) => {
                verdicts[at] = Taken::Not(Refusal::Code(own.clone()));
            }
            _ => {}
        }
    }
    let mut inside: Option<&str> = None;
    for at in 1..words.len() {
        let Some(word) = literal(words.get(at)) else { continue };
        let name = word.rsplit('/').next().unwrap_or(word);
        let language = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
        if SHELLS.contains(&name) || LANGUAGES.iter().any(|known| known.name == language) || RUNNERS.contains(&name) {
            inside = Some(word);
            continue;
        }
        let Some(program) = inside else { continue };
        let name = program.rsplit('/').next().unwrap_or(program);
        let language = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
        let is_code = match LANGUAGES.iter().find(|known| known.name == language) {
            Some(known) => known.code.contains(&word),
            None => word.strip_prefix('-').is_some_and(|cluster| !cluster.starts_with('-') && cluster.contains('c')),
        };
        if is_code && let Some(verdict) = verdicts.get_mut(at + 1) {
            *verdict = Taken::Not(Refusal::Code(name.to_owned()));
        }
    }
    verdicts
}

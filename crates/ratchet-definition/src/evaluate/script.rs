//! Commands with values: the values travel beside the script, never in it.
//!
//! The script that runs holds references such as `"${__ratchet_1}"` where the values stand. The values come in as environment variables; a
//! prelude on the script's first line moves each into a variable of the shell that is not exported, so that no other process sees it and line
//! numbers stay. Nothing that a value holds is ever parsed as code.

use std::{collections::BTreeMap, fmt::Write};

use minijinja::{Value, value::ValueKind};
use ratchet_core::workflow::{Expression, Program, Quoting, ScriptPart, Shell, Target, Template};

use super::{CompiledTemplate, EvaluationError, Evaluator, RenderedCommand, compiled, error::Reason, value};
use crate::functions::quoted;

/// The most bytes of one value: the system takes 128 KiB for one argument or variable.
const VALUE_MAX: usize = 100 * 1024;
/// The most bytes of a script with its references: it is one argument.
const SCRIPT_MAX: usize = 120 * 1024;
/// The most bytes of all values together: the system takes some 2 MiB for all arguments and variables.
const VALUES_MAX: usize = 1024 * 1024;

/// Fills in the values of a command.
pub(super) fn render(evaluator: &Evaluator, shell: &Shell) -> Result<RenderedCommand, EvaluationError> {
    let refuse = |reason: Reason| evaluator.error(&reason.into(), &shell.source);
    let command = match &shell.program {
        Program::Words(words) => words_of(evaluator, words, &refuse)?,
        Program::Script { interpreter, parts, .. } => {
            let mut script = Script::default();
            for part in parts {
                match part {
                    ScriptPart::Code(code) => script.add_code(code),
                    ScriptPart::Value { expression, quoting, target } => {
                        let value = value_of(evaluator, expression)?;
                        let added = match target {
                            Some(target) => check_target(&value, target, expression.uses.tainted),
                            None => Ok(()),
                        };
                        added
                            .and_then(|()| script.add_value(&value, *quoting))
                            .map_err(|error| evaluator.error(&error, &expression.source))?;
                    }
                    ScriptPart::Choice(branches) => {
                        for (condition, code) in branches {
                            let holds = match condition {
                                Some(condition) => value_of(evaluator, condition)?.is_true(),
                                None => true,
                            };
                            if holds {
                                script.add_code(code);
                                break;
                            }
                        }
                    }
                }
            }
            script.finish(interpreter).map_err(refuse)?
        }
    };
    let bytes: usize = command.argv.iter().chain(command.values.values()).map(String::len).sum();
    if bytes > VALUES_MAX {
        let message = format!("the command and its values have {bytes} bytes; the most is {VALUES_MAX}");
        return Err(refuse(Reason::new("RT-0127", message).with_help(BY_FILE)));
    }
    Ok(command)
}

const BY_FILE: &str = "write it to a file with a `template` step (or a file output) and pass the file's path";

fn value_of(evaluator: &Evaluator, expression: &Expression) -> Result<Value, EvaluationError> {
    let compiled =
        compiled::expression(&expression.code).map_err(|error| evaluator.error(&error, &expression.source))?;
    evaluator.value_of(&compiled, &expression.source)
}

/// Paths that bash takes for connections.
const CONNECTIONS: [&str; 2] = ["/dev/tcp/", "/dev/udp/"];

/// Refuses what would open something other than a file; of what an agent wrote, whatever leaves the workspace.
fn check_target(value: &Value, target: &Target, tainted: bool) -> Result<(), minijinja::Error> {
    let text = value::text_of(value)?;
    let connects =
        |connection: &str| !text.is_empty() && (connection.starts_with(&text) || text.starts_with(connection));
    if target.before.is_empty() && CONNECTIONS.iter().any(|connection| connects(connection)) {
        let message = "the target of a redirection would be a connection, or the beginning of one";
        return Err(Reason::new("RT-0129", message).with_help("give the path of a file").into());
    }
    let path = format!("{}{text}{}", target.before, target.after);
    if tainted && (path.starts_with('/') || path.split('/').any(|part| part == "..")) {
        let message = format!("an agent named the file `{path}`, which leaves the workspace");
        let help = "have it name files relative to the workspace's root, and check that with an `assert` step";
        return Err(Reason::new("RT-0129", message).with_help(help).into());
    }
    Ok(())
}

fn words_of(
    evaluator: &Evaluator,
    words: &[Template],
    refuse: &impl Fn(Reason) -> EvaluationError,
) -> Result<RenderedCommand, EvaluationError> {
    let mut argv = Vec::with_capacity(words.len());
    for word in words {
        let compiled = evaluator.compiled(word)?;
        let texts = match &*compiled {
            CompiledTemplate::Value(expression) => {
                let value = evaluator.value_of(expression, &word.source)?;
                texts_of(&value).map_err(|error| evaluator.error(&error, &word.source))?
            }
            other => vec![evaluator.render(other, &word.source)?],
        };
        for text in texts {
            check(&text).map_err(refuse)?;
            argv.push(text);
        }
    }
    let display = argv.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
    Ok(RenderedCommand { argv, values: BTreeMap::new(), display })
}

/// The words that a value is as a whole argument: of a list, one an item.
fn texts_of(value: &Value) -> Result<Vec<String>, minijinja::Error> {
    if matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable) {
        return value.try_iter()?.checked().map(|item| value::text_of(&item?)).collect();
    }
    Ok(vec![value::text_of(value)?])
}

/// Refuses what no argument can hold.
fn check(text: &str) -> Result<(), Reason> {
    if text.contains('\0') {
        let reason = Reason::new("RT-0126", "a value holds a NUL byte, which no argument of a program can");
        return Err(reason.with_help("pass it in a file"));
    }
    if text.len() > VALUE_MAX {
        let message = format!("a value has {} bytes; in a command the most is {VALUE_MAX}", text.len());
        return Err(Reason::new("RT-0125", message).with_help(BY_FILE));
    }
    Ok(())
}

#[derive(Default)]
struct Script {
    prelude: String,
    code: String,
    display: String,
    values: BTreeMap<String, String>,
    count: u32,
}

impl Script {
    fn add_code(&mut self, code: &str) {
        self.code.push_str(code);
        self.display.push_str(code);
    }

    fn add_value(&mut self, value: &Value, quoting: Quoting) -> Result<(), minijinja::Error> {
        self.count += 1;
        match quoting {
            Quoting::Bare => {
                let texts = texts_of(value)?;
                let single = texts.len() == 1;
                for (index, text) in texts.into_iter().enumerate() {
                    let number = if single { self.count.to_string() } else { format!("{}_{}", self.count, index + 1) };
                    if index > 0 {
                        self.add_code(" ");
                    }
                    let _ = write!(self.code, "\"${{__ratchet_{number}}}\"");
                    self.display.push_str(&quoted(&text));
                    self.carry(&number, text)?;
                }
            }
            Quoting::Raw => {
                let text = value::text_of(value)?;
                check(&text)?;
                self.add_code(&text);
            }
            Quoting::Double => {
                let text = value::text_of(value)?;
                let number = self.count.to_string();
                let _ = write!(self.code, "${{__ratchet_{number}}}");
                for c in text.chars() {
                    if matches!(c, '"' | '\\' | '$' | '`') {
                        self.display.push('\\');
                    }
                    self.display.push(c);
                }
                self.carry(&number, text)?;
            }
        }
        Ok(())
    }

    fn carry(&mut self, number: &str, text: String) -> Result<(), Reason> {
        check(&text)?;
        let _ = write!(self.prelude, "__ratchet_{number}=$RATCHET_VALUE_{number};unset RATCHET_VALUE_{number};");
        self.values.insert(format!("RATCHET_VALUE_{number}"), text);
        Ok(())
    }

    fn finish(self, interpreter: &[String]) -> Result<RenderedCommand, Reason> {
        let script = if self.prelude.is_empty() { self.code } else { format!("{} {}", self.prelude, self.code) };
        if script.len() > SCRIPT_MAX {
            let message =
                format!("the script has {} bytes with its values' places; the most is {SCRIPT_MAX}", script.len());
            let help = "move the script, or the long list that it is given, into a file of the workspace";
            return Err(Reason::new("RT-0127", message).with_help(help));
        }
        let mut argv = interpreter.to_vec();
        argv.push(script);
        Ok(RenderedCommand { argv, values: self.values, display: self.display })
    }
}

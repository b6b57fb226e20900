//! What a run is given, checked against what its workflow declares.

use std::collections::BTreeMap;

use ratchet_core::{
    output::Output,
    workflow::{InputDeclaration, Workflow},
};
use serde_json::Value;
use thiserror::Error;

use crate::{
    check::values::{described, violation},
    coerce::{coerce, coerce_text, shown},
    nearest::Nearest,
};

/// A value as it came in.
#[derive(Debug, Clone, PartialEq)]
pub enum GivenInput {
    /// Text, which is read as the declared type.
    Text(String),
    /// A value of a type of its own.
    Value(Value),
    /// What an expression gave.
    Output(Output),
}

/// An input that is not what the workflow declares.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct InputMistake {
    /// Stable, `RT-nnnn`; its page is `docs/errors/RT-nnnn.md`.
    pub code: &'static str,
    /// Which input.
    pub input: String,
    /// What is wrong. A sensitive value is never in it.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// The value of every declared input: the given one, else the default, else null. Or all that is wrong, at once.
pub fn resolve(
    workflow: &Workflow,
    given: BTreeMap<String, GivenInput>,
) -> Result<BTreeMap<String, Output>, Vec<InputMistake>> {
    resolve_declared(&workflow.inputs, &workflow.name, given)
}

/// The same of what a step hands over to what it runs, which declares these inputs.
pub fn resolve_declared(
    declared: &[InputDeclaration],
    owner: &str,
    given: BTreeMap<String, GivenInput>,
) -> Result<BTreeMap<String, Output>, Vec<InputMistake>> {
    let mut mistakes = Vec::new();
    let known = || declared.iter().map(|input| input.name.as_str());
    for name in given.keys().filter(|name| !known().any(|known| known == name.as_str())) {
        let help = match known().next() {
            Some(_) => Nearest::default().help(name, known().collect::<Vec<_>>()),
            None => Some(format!("`{owner}` declares no inputs")),
        };
        mistakes.push(mistake("RT-0140", name, format!("there is no input `{name}`"), help));
    }
    let mut values = BTreeMap::new();
    let mut given = given;
    for declaration in declared {
        match value_of(declaration, given.remove(&declaration.name)) {
            Ok(value) => {
                values.insert(declaration.name.clone(), value);
            }
            Err(mistake) => mistakes.push(mistake),
        }
    }
    if mistakes.is_empty() { Ok(values) } else { Err(mistakes) }
}

fn mistake(code: &'static str, input: &str, message: String, help: Option<String>) -> InputMistake {
    InputMistake { code, input: input.to_owned(), message, help }
}

fn value_of(declaration: &InputDeclaration, given: Option<GivenInput>) -> Result<Output, InputMistake> {
    let name = &declaration.name;
    let coerced = match given {
        Some(GivenInput::Text(text)) => coerce_text(declaration.value_type, &text),
        Some(GivenInput::Value(value)) if !value.is_null() => coerce(declaration.value_type, Output::Json(value)),
        Some(GivenInput::Output(output)) if output != Output::Json(Value::Null) => {
            coerce(declaration.value_type, output)
        }
        _ => match &declaration.default {
            Some(default) => coerce(declaration.value_type, Output::Json(default.clone())),
            None if declaration.required => {
                let help = format!("give it with `-i {name}=…`: it is {}", described(declaration.value_type));
                return Err(mistake("RT-0141", name, format!("the input `{name}` is required"), Some(help)));
            }
            None => return Ok(Output::Json(Value::Null)),
        },
    };
    let value = coerced.map_err(|error| {
        let message = if declaration.sensitive {
            format!("the value of the input `{name}` is not {}", described(declaration.value_type))
        } else {
            format!("the input `{name}`: {error}")
        };
        mistake("RT-0142", name, message, None)
    })?;
    let problem = match &value {
        Output::Json(json) if !json.is_null() => violation(json, &declaration.validation),
        _ => None,
    };
    let Some(problem) = problem else { return Ok(value) };
    let message = match &value {
        Output::Json(json) if !declaration.sensitive => {
            format!("the input `{name}` is `{}`: {problem}", shown(&json.to_string()))
        }
        _ => format!("the input `{name}`: {problem}"),
    };
    let allowed: Vec<String> = declaration.validation.allowed.iter().map(Value::to_string).collect();
    let help = if allowed.is_empty() {
        declaration.description.clone()
    } else {
        Some(format!("it may be {}", allowed.join(", ")))
    };
    Err(mistake("RT-0143", name, message, help))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::compile::{SourceFile, compile};

    const WORKFLOW: &str = r#"
name: sample
version: "1"
inputs:
  file: { type: file, required: true }
  percent: { type: number, default: 90, validation: { min: 1, max: 100 } }
  colour: { type: string, validation: { enum: [red, blue] } }
  word: { type: string, validation: { pattern: "^[a-z]+$", max: 5 } }
  token: { type: integer, sensitive: true }
  list: { type: array }
steps:
  - { id: a, type: shell, command: "true" }
"#;

    fn shown_resolution(given: &[(&str, GivenInput)]) -> String {
        let source = SourceFile { name: "w.yaml".into(), text: WORKFLOW.into() };
        let workflow = compile(&source).expect("a valid workflow").workflow;
        let given = given.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        match resolve(&workflow, given) {
            Ok(values) => values
                .iter()
                .filter(|(_, value)| **value != Output::Json(Value::Null))
                .map(|(name, value)| match value {
                    Output::Json(json) => format!("{name}={json}"),
                    other => format!("{name}={other:?}"),
                })
                .collect::<Vec<_>>()
                .join(" "),
            Err(mistakes) => mistakes
                .iter()
                .map(|mistake| format!("{} {}; {}", mistake.code, mistake, mistake.help.as_deref().unwrap_or("-")))
                .collect::<Vec<_>>()
                .join("\n"),
        }
    }

    #[test]
    fn inputs_are_resolved_or_all_mistakes_are_told() {
        let text = |text: &str| GivenInput::Text(text.to_owned());
        let file = ("file", text("a.py"));
        let cases: &[(&[(&str, GivenInput)], &str)] = &[
            (std::slice::from_ref(&file), r#"file="a.py" percent=90"#),
            (&[file.clone(), ("percent", text(" 50.0 "))], r#"file="a.py" percent=50"#),
            (&[file.clone(), ("percent", GivenInput::Value(json!(null)))], r#"file="a.py" percent=90"#),
            (&[file.clone(), ("list", GivenInput::Value(json!([1])))], r#"file="a.py" list=[1] percent=90"#),
            (&[], "RT-0141 the input `file` is required; give it with `-i file=…`: it is the path of a file"),
            (&[file.clone(), ("percnt", text("1"))], "RT-0140 there is no input `percnt`; did you mean `percent`?"),
            (
                &[file.clone(), ("percent", text("0.5")), ("colour", text("green")), ("word", text("A"))],
                "RT-0143 the input `percent` is `0.5`: it is less than 1; -\n\
                 RT-0143 the input `colour` is `\"green\"`: it is not one of the values under `enum`; it may be \"red\", \"blue\"\n\
                 RT-0143 the input `word` is `\"A\"`: it does not match the pattern `^[a-z]+$`; -",
            ),
            (
                &[file.clone(), ("percent", text("many")), ("token", text("hush"))],
                "RT-0142 the input `percent`: `many` is not a number; -\n\
                 RT-0142 the value of the input `token` is not a whole number; -",
            ),
        ];
        for (given, expected) in cases {
            assert_eq!(shown_resolution(given), *expected);
        }
    }
}

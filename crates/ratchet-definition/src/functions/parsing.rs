//! `json_parse`, `yaml_parse`.

use minijinja::{Error, State, Value};

use super::files::text_or_content;
use crate::{
    evaluate::{Reason, value::from_json},
    mistake::Severity,
    yaml,
};

/// `json_parse(text)`: the value that JSON text, or a file of it, is.
pub(super) fn json_parse(state: &State<'_, '_>, text: &Value) -> Result<Value, Error> {
    let text = text_or_content(state, text)?;
    let json = serde_json::from_str(&text)
        .map_err(|error| Error::from(Reason::new("RT-0124", format!("this is not JSON: {error}"))))?;
    Ok(from_json(&json))
}

/// `yaml_parse(text)`: the value that YAML text, or a file of it, is.
pub(super) fn yaml_parse(state: &State<'_, '_>, text: &Value) -> Result<Value, Error> {
    let text = text_or_content(state, text)?;
    let (tree, mistakes) = yaml::parse(&text, yaml::Limits::default());
    if let Some(mistake) = mistakes.iter().find(|mistake| mistake.severity == Severity::Error) {
        return Err(Reason::new("RT-0124", mistake.message.clone()).into());
    }
    Ok(tree.map_or(Value::from(()), |tree| from_json(&tree.to_json())))
}

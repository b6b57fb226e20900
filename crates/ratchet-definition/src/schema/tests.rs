//! The schema is published, complete, and says what the parser says.

mod checker;

use std::{collections::BTreeSet, fs, path::Path};

use self::checker::Checker;
use super::*;
use crate::{
    compile::{SourceFile, compile},
    diagnostic::Diagnostics,
    mistake::Severity,
    yaml::{self, Limits},
};

/// Set to write the published schema instead of comparing it.
const UPDATE: &str = "RATCHET_UPDATE_DOCS";

#[test]
fn the_published_schema_is_the_one_that_is_printed() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/workflow.schema.json");
    let text = serde_json::to_string_pretty(&json_schema()).expect("a value can be written") + "\n";
    if std::env::var_os(UPDATE).is_some() {
        fs::write(path, &text).expect("docs can be written");
    }
    let page = fs::read_to_string(path).unwrap_or_default();
    assert!(page == text, "docs/workflow.schema.json is not what the table of fields says: run `make docs`");
}

#[test]
fn every_property_is_described_and_every_reference_leads_somewhere() {
    fn walk(schema: &Value, root: &Value, seen: &mut u32) {
        if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
            assert!(root.pointer(&target[1..]).is_some(), "{target}");
        }
        if schema.get("additionalProperties") == Some(&json!(false)) {
            for (name, property) in schema["properties"].as_object().expect("properties") {
                assert!(property["description"].as_str().is_some_and(|text| text.len() > 10), "{name}");
                *seen += 1;
            }
        }
        match schema {
            Value::Object(map) => map.values().for_each(|inner| walk(inner, root, seen)),
            Value::Array(list) => list.iter().for_each(|inner| walk(inner, root, seen)),
            _ => {}
        }
    }
    let schema = json_schema();
    let mut seen = 0;
    walk(&schema, &schema, &mut seen);
    assert!(seen > 100, "{seen}");
}

/// Codes about structure: what the schema must find too. All others are about meaning, or about the text as YAML.
const STRUCTURE: &[&str] = &["RT-0010", "RT-0011", "RT-0012", "RT-0013", "RT-0014", "RT-0015", "RT-0016", "RT-0018"];

/// The code of a type of step that nobody declares: which types a file declares no schema sees, nor what their steps may say.
const UNDECLARED: &str = "RT-0019";

/// Codes of texts that are no tree, or not the tree that is meant: no schema sees them.
const TEXT: &[&str] = &["RT-0001", "RT-0002", "RT-0003", "RT-0004", "RT-0005", "RT-0006", "RT-0007", "RT-0008"];

#[test]
fn the_schema_and_the_parser_agree_on_structure() {
    let schema = json_schema();
    let checker = Checker::new(&schema);
    let mut problems = Vec::new();
    let mut compared = 0;
    for (name, text) in cases() {
        let (Some(tree), _) = yaml::parse(&text, Limits::default()) else { continue };
        let errors = checker.check(&tree.to_json());
        let codes = error_codes(&text);
        if codes.iter().any(|code| TEXT.contains(&code.as_str())) {
            continue;
        }
        if codes.contains(UNDECLARED) {
            continue;
        }
        compared += 1;
        let structural: Vec<&String> = codes.iter().filter(|code| STRUCTURE.contains(&code.as_str())).collect();
        if structural.is_empty() != errors.is_empty() {
            problems.push(format!("{name}: the parser says {codes:?}, the schema says {errors:#?}"));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(compared > 70, "{compared}");
}

fn error_codes(text: &str) -> BTreeSet<String> {
    let all = |wrong: &Diagnostics| wrong.all().to_vec();
    match compile(&SourceFile { name: "workflow.yaml".into(), text: text.into() }) {
        Ok(_) => BTreeSet::new(),
        Err(wrong) => all(&wrong)
            .iter()
            .filter(|finding| finding.severity() == Severity::Error)
            .map(|finding| finding.code().to_owned())
            .collect(),
    }
}

/// Every file of every folder of cases.
fn cases() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut cases = Vec::new();
    for folder in ["right", "warned", "wrong"] {
        for entry in fs::read_dir(root.join(folder)).expect("the folder of cases") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
                cases.push((format!("{folder}/{name}"), fs::read_to_string(&path).expect("text")));
            }
        }
    }
    cases.sort();
    cases
}

//! The authoring guide: every example in it is valid, those that say so run, and together they show every field.

use std::{collections::BTreeSet, fs};

use ratchet_tests::{repository, world::World};
use serde_json::Value;

use crate::ends::{End, from_each_step};

/// A block of YAML of the guide.
struct Example {
    /// The line that it begins in.
    line: usize,
    text: String,
    /// How it is run, where it is: what stands after `run` in the block's first line.
    run: Option<String>,
    /// The file that it is, which the examples after it may refer to: what stands after `file`.
    file: Option<String>,
}

fn examples() -> Vec<Example> {
    let page = fs::read_to_string(repository().join("docs/authoring.md")).expect("the guide");
    let mut found: Vec<Example> = Vec::new();
    let mut open = false;
    for (number, line) in page.lines().enumerate() {
        match (open, line.strip_prefix("```")) {
            (false, Some(kind)) => {
                let run = kind.strip_prefix("yaml run").map(|arguments| arguments.trim().to_owned());
                let file = kind.strip_prefix("yaml file ").map(str::to_owned);
                assert!(run.is_some() || file.is_some() || kind == "yaml", "line {}: a block of `{kind}`", number + 1);
                found.push(Example { line: number + 1, text: String::new(), run, file });
                open = true;
            }
            (true, Some(_)) => open = false,
            (true, None) => {
                if let Some(example) = found.last_mut() {
                    example.text.push_str(line);
                    example.text.push('\n');
                }
            }
            (false, None) => {}
        }
    }
    found
}

#[test]
fn every_example_is_valid_and_runs() {
    let examples = examples();
    assert!(examples.len() >= 12 && examples.iter().filter(|example| example.run.is_some()).count() >= 8);
    let mut files: Vec<(String, String)> = Vec::new();
    for Example { line, text, run, file } in examples {
        let world = World::new();
        let name = file.as_deref().unwrap_or("workflow.yaml");
        for (name, text) in &files {
            world.write(name, text);
        }
        world.write(name, &text);
        files.extend(file.clone().map(|name| (name, text.clone())));
        let done = world.ratchet(["validate", name, "--deny", "warnings"]);
        assert_eq!(done.code, 0, "docs/authoring.md:{line}\n{done:?}");
        if let Some(arguments) = run {
            let mut call = vec!["run", "workflow.yaml", "--quiet"];
            if let Some((flag, value)) = arguments.split_once(' ') {
                call.extend([flag, value]);
            }
            let done = world.ratchet(call);
            assert_eq!(done.code, 0, "docs/authoring.md:{line}\n{done:?}");
            assert!(!world.work().join("pwned").exists(), "docs/authoring.md:{line}");
        }
    }
}

/// Every step of every example that runs: resumed from there, it ends as the whole run did.
#[test]
fn a_resume_from_any_step_of_an_example_ends_as_the_run() {
    let (mut files, mut resumed): (Vec<(String, String)>, usize) = (Vec::new(), 0);
    for Example { line, text, run, file } in examples() {
        files.extend(file.map(|name| (name, text.clone())));
        let Some(arguments) = run else { continue };
        let world = World::new();
        for (name, text) in &files {
            world.write(name, text);
        }
        world.write("workflow.yaml", &text);
        let call = ["run", "workflow.yaml", "--quiet"]
            .into_iter()
            .chain(arguments.split_once(' ').into_iter().flat_map(|(flag, value)| [flag, value]));
        world.ratchet(call).expect_code(0);
        let whole = End::of(&world, &world.work());
        for (step, end) in from_each_step(&world, &text, &world.work()) {
            assert_eq!(end, whole, "docs/authoring.md:{line}, from {step}");
            resumed += 1;
        }
    }
    assert!(resumed >= 30, "{resumed} steps");
}

#[test]
fn every_field_is_in_an_example() {
    let schema: Value = serde_json::from_str(&World::new().ratchet(["schema"]).stdout).expect("a schema");
    let mut fields = BTreeSet::new();
    collect(&schema, &mut fields);
    assert!(fields.len() > 50, "{fields:?}");
    let text: String = examples().into_iter().map(|example| example.text).collect();
    let missing: Vec<String> = fields
        .into_iter()
        .filter(|field| {
            !text.match_indices(&format!("{field}:")).any(|(at, _)| {
                text[..at].chars().next_back().is_none_or(|before| !before.is_alphanumeric() && before != '_')
            })
        })
        .collect();
    assert!(missing.is_empty(), "docs/authoring.md shows no example of: {}", missing.join(", "));
}

/// The names of fields, but for those that are other names of one.
fn collect(schema: &Value, fields: &mut BTreeSet<String>) {
    if schema["additionalProperties"] == Value::Bool(false) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let is_alias = property["description"].as_str().is_some_and(|text| text.starts_with("Another name"));
            if !is_alias && property.get("$ref").is_none_or(|target| !target.to_string().contains("_defaults")) {
                fields.insert(name.clone());
            }
        }
    }
    match schema {
        Value::Object(map) => map.values().for_each(|inner| collect(inner, fields)),
        Value::Array(list) => list.iter().for_each(|inner| collect(inner, fields)),
        _ => {}
    }
}

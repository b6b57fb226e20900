//! The dependency edges of the workspace are those of the table in ARCHITECTURE.md.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

use ratchet_tests::repository;
use serde_json::Value;

use super::none;

type Edges = BTreeMap<String, BTreeSet<String>>;

#[test]
fn the_edges_are_those_of_the_table() {
    let told = table();
    let real = real_edges(|name, packages| packages.contains(name));
    assert!(told.len() > 5, "the table of ARCHITECTURE.md was not found");
    let mut problems = Vec::new();
    for name in told.keys().chain(real.keys()).collect::<BTreeSet<_>>() {
        match (told.get(name), real.get(name)) {
            (Some(told), Some(real)) if told != real => {
                problems.push(format!("{name}: the table says {told:?}, Cargo.toml says {real:?}"));
            }
            (Some(_), None) => problems.push(format!("{name} is in the table and not in the workspace")),
            (None, Some(_)) => problems.push(format!("{name} is in the workspace and not in the table")),
            _ => {}
        }
    }
    none("ARCHITECTURE.md and the Cargo.toml files disagree", &problems);
}

/// The core stays pure only while nothing that awaits, reads files or knows a cloud can be reached from it.
#[test]
fn the_core_depends_on_plain_data_only() {
    const ALLOWED: [&str; 5] = ["jiff", "serde", "serde_json", "sha2", "thiserror"];
    let outside = real_edges(|name, packages| !packages.contains(name));
    let problems: Vec<String> =
        outside["ratchet-core"].iter().filter(|name| !ALLOWED.contains(&name.as_str())).cloned().collect();
    none("ratchet-core depends on", &problems);
}

#[test]
fn only_the_aws_adapters_know_the_sdk() {
    let problems: Vec<String> = real_edges(|name, _| name.starts_with("aws-"))
        .into_iter()
        .filter(|(package, edges)| package != "ratchet-aws" && !edges.is_empty())
        .map(|(package, edges)| format!("{package} depends on {edges:?}"))
        .collect();
    none("crates of the AWS SDK outside ratchet-aws", &problems);
}

/// The rows `| `crate` | `edge`, `edge` | … |` of the first table whose head says so.
fn table() -> Edges {
    let text = fs::read_to_string(repository().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md can be read");
    text.lines()
        .skip_while(|line| !line.starts_with("| crate | depends on |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').collect();
            let names =
                |cell: &str| -> BTreeSet<String> { cell.split('`').skip(1).step_by(2).map(String::from).collect() };
            (names(cells[0]).into_iter().next().unwrap_or_default(), names(cells[1]))
        })
        .collect()
}

/// What each package of the workspace needs to run, of the names that `wanted` picks. What its tests need does not count.
fn real_edges(wanted: impl Fn(&str, &BTreeSet<String>) -> bool) -> Edges {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(repository())
        .output()
        .expect("cargo can be started");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let names: BTreeSet<String> = packages.iter().map(|package| text(&package["name"])).collect();
    packages
        .iter()
        .map(|package| {
            let edges = package["dependencies"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|dependency| dependency["kind"].is_null())
                .map(|dependency| text(&dependency["name"]))
                .filter(|name| wanted(name, &names))
                .collect();
            (text(&package["name"]), edges)
        })
        .collect()
}

//! The command as a person sees it, in an empty home.

mod agents;
mod artifacts;
mod browser;
mod caching;
mod conclusions;
mod differences;
mod disks;
mod edits;
mod errors;
mod events;
mod figures;
mod files;
mod guide;
mod help;
mod interrupts;
mod language;
mod limits;
mod logs;
mod nested;
mod plan;
mod resumes;
mod runs;
mod secrets;
mod sensitive;
mod sharing;
mod shells;
mod terminal;
mod testing;
mod traces;
mod trees;
mod troubles;
mod ui;
mod waiting;
mod webhooks;
mod workspaces;

use std::fmt::Write as _;

use ratchet_tests::world::{Done, World};
use regex::Regex;
use serde_json::Value;

/// A call and all that came of it, with what differs from run to run left out.
fn shown(world: &World, arguments: &[&str], done: &Done) -> String {
    let mut text = format!("$ ratchet {}\n", arguments.join(" "));
    for (name, part) in [("stdout", &done.stdout), ("stderr", &done.stderr)] {
        if !part.is_empty() {
            let _ = writeln!(text, "--- {name}\n{}", part.trim_end());
        }
    }
    let _ = writeln!(text, "--- exit code {}", done.code);
    redacted(world, &text)
}

/// Whether nothing was written to the state directory.
fn is_untouched(world: &World) -> bool {
    std::fs::read_dir(world.state()).map_or(0, Iterator::count) == 0
}

/// Runs a call and gives all that came of it.
fn call(world: &World, arguments: &[&str]) -> String {
    shown(world, arguments, &world.ratchet(arguments))
}

/// Runs a call that must end well, and gives the JSON that it printed.
#[track_caller]
fn state(world: &World, arguments: &[&str]) -> Value {
    let done = world.ratchet(arguments).expect_code(0);
    serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {}", done.stdout))
}

/// Identifiers, times, digests and paths of the world, by what they are.
fn redacted(world: &World, text: &str) -> String {
    let folder = world.work().parent().expect("a world has a folder").display().to_string();
    let patterns = [
        (r"\d{8}-\d{6}-[0-9a-z]{6}", "[EXECUTION]"),
        (r"key-[0-9a-z]{20}", "[KEY EXECUTION]"),
        (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?", "[TIME]"),
        (r"\b[0-9a-f]{64}\b", "[DIGEST]"),
        (r#""(wall_ms|process_ms|start_ms|engine_ms)": \d+"#, "\"$1\": [MS]"),
        (r#""at":\d+"#, "\"at\":[MS]"),
        (r" +\b(\d+ms|\d+\.\ds|\d+m\d\ds)\b", " [TOOK]"),
        (r"\d+\.\d\.\d+", "[VERSION]"),
        (r"(?m)  (now|\d+m ago)$", "  [AGO]"),
    ];
    let mut text = text.replace(&folder, "[WORLD]");
    for (pattern, word) in patterns {
        text = Regex::new(pattern).expect("a pattern").replace_all(&text, word).into_owned();
    }
    text
}

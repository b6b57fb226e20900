//! Sensitive inputs are seen nowhere but by the processes that are given them.

use ratchet_tests::world::World;

use super::{agents::files_with, terminal::on_a_terminal, traces::Collector};

/// The values, each with a part of it that nothing else holds.
const PLAIN: &str = "canary-plain-3fb1";
const QUOTED: &str = "canary \"qu0ted\" tail-7f3a";
const PIN: &str = "4815162342";
const KEY: &str = "-----BEGIN-----\ncanaryline9c2d\ncanaryline0e5f\n-----END-----";
const CANARIES: [&str; 6] = ["canary-plain", "qu0ted", "tail-7f3a", PIN, "canaryline9c2d", "canaryline0e5f"];

/// Every way from an input to something that is kept or shown.
const LEAKING: &str = r#"
name: leaking
version: "1"
environment:
  PLAIN: "{{ inputs.plain }}"
inputs:
  plain: { type: string, sensitive: true, required: true }
  quoted: { type: string, sensitive: true, required: true }
  pin: { type: integer, sensitive: true, required: true }
  key: { type: string, sensitive: true, required: true }
outputs:
  said: { type: string, from: prints.outputs.said }
  pin: { type: integer, from: prints.outputs.pin }
steps:
  - id: prints
    type: shell
    command: |
      printf '%s' "${PLAIN%????}"
      printf '%s\n' "${PLAIN#"${PLAIN%????}"}"
      printf '%s\n' {{ inputs.quoted }} {{ inputs.pin }} {{ inputs.key }}
      printf '%s\n' {{ inputs.key }} | tail -n 2 >&2
      printf 'and no end of line: %s' {{ inputs.plain }}
    outputs:
      said: { type: string, from: stdout }
      pin: { type: integer, from: "'{{ inputs.pin }}'" }
  - id: data
    type: shell
    command: printf '%s\n' {{ inputs.quoted | json }}
  - id: fails
    type: shell
    on_failure: continue
    retry: { attempts: 2, delay: 1ms }
    command: "echo {{ inputs.quoted }} >&2; exit 3"
  - id: each
    type: shell
    on_failure: continue
    foreach: "[inputs.plain, inputs.pin]"
    command: "echo {{ item }} >&2; exit 4"
  - id: checks
    type: assert
    on_failure: continue
    condition: inputs.plain == 'something else' and inputs.pin > 5
    message: "{{ inputs.plain }} is not right, nor is {{ inputs.quoted }}"
  - id: warns
    type: assert
    on_failure: warn
    condition: inputs.plain == 'something else'
    message: "{{ inputs.plain }} is to be looked at"
  - id: writes
    type: template
    template: "{{ inputs.plain }} {{ inputs.quoted }} {{ inputs.key }}"
  - id: asks
    type: claude_code
    prompt: "Say {{ inputs.plain }}"
    append_system_prompt: "and {{ inputs.pin }}"
"#;

/// Says what it was asked, on every way out, and leaves it in the folder that it calls its own.
const AGENT: &str = r#"#!/bin/sh
case "$1" in --version) echo '2.1.330 (Claude Code)'; exit 0;; esac
prompt=$(cat)
mkdir -p "$CLAUDE_CONFIG_DIR/projects" && echo "$prompt" > "$CLAUDE_CONFIG_DIR/projects/session.jsonl"
echo "no event: $prompt"; echo "an error: $prompt" >&2
echo '{"type":"system","subtype":"init","session_id":"s-1"}'
echo "{\"type\":\"assistant\",\"message\":{\"id\":\"m1\",\"content\":[{\"type\":\"text\",\"text\":\"$prompt\"}]}}"
echo "{\"type\":\"result\",\"is_error\":false,\"result\":\"$prompt\",\"session_id\":\"s-1\",\"total_cost_usd\":0.01}"
"#;

#[test]
fn a_sensitive_input_is_seen_nowhere() {
    let collector = Collector::start();
    let mut world = World::new();
    world.write("workflow.yaml", LEAKING);
    world.add_program("claude", AGENT);
    let inputs = serde_json::json!({ "plain": PLAIN, "quoted": QUOTED, "pin": 4_815_162_342_u64, "key": KEY });
    world.write("inputs.json", &inputs.to_string());
    world.variables.push(("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), collector.url()));
    let recording = world.outside("recording").display().to_string();
    let given = ["--inputs", "inputs.json"];
    let log = ["--log", "trace", "--log-format", "json"];

    let mut seen = Vec::new();
    let mut call = |arguments: &[&str], code: i32| {
        let done = world.ratchet(arguments).expect_code(code);
        seen.push((arguments.join(" "), done.stdout + &done.stderr));
    };
    call(&[&["run", ".", "--record", &recording][..], &given, &log].concat(), 4);
    call(&[&["run", ".", "--json"][..], &given].concat(), 4);
    for arguments in [
        &["status"][..],
        &["status", "--json"],
        &["list"],
        &["list", "--json"],
        &["logs"],
        &["logs", "--json"],
        &["logs", "--transcript"],
        &["logs", "--transcript", "--json"],
        &["logs", "last", "fails", "--attempt", "1"],
        &["history"],
        &["history", "--json"],
        &["replay"],
        &["replay", "last", "--json"],
        &["render", ".", "prints", "--from", "last"],
        &["render", ".", "checks", "--from", "last", "--json"],
    ] {
        call(arguments, 0);
    }
    for step in ["prints", "fails", "checks", "writes", "asks"] {
        call(&[&["render", ".", step][..], &given].concat(), 0);
        call(&[&["render", ".", step, "--json"][..], &given].concat(), 0);
    }
    call(&[&["run", ".", "--only", "prints", "-i", "pin=canaryline9c2d"][..], &given].concat(), 2);
    call(&["resume", "last", "--from", "fails"], 4);
    call(&["rerun", "--quiet"], 4);
    let (shown, _) = on_a_terminal(&world, &[&["run", "."][..], &given].concat(), &[]);
    seen.push(("on a terminal".to_owned(), shown));
    seen.push(("traces".to_owned(), collector.text()));

    // It is masked, and not left out.
    let of = |call: &str| &seen.iter().find(|(name, _)| name == call).unwrap_or_else(|| panic!("{call}")).1;
    assert!(of("logs").contains("prints | ***\nprints | ***\nprints | ***\n"), "{}", of("logs"));
    assert!(of("logs --transcript").contains("Say ***"), "{}", of("logs --transcript"));
    assert!(of("status").contains("*** is not right, nor is ***"), "{}", of("status"));
    assert!(
        of("render . prints --inputs inputs.json").contains("***"),
        "{}",
        of("render . prints --inputs inputs.json")
    );
    for (name, text) in &seen {
        for canary in CANARIES {
            let place = text.find(canary).map(|at| text[..at].lines().last().unwrap_or_default());
            assert!(place.is_none(), "`{canary}` in `ratchet {name}`, after: {}", place.unwrap_or_default());
        }
    }
    // The rows must hold the inputs, and content that steps made is theirs.
    let is_data = |path: &str| ["/state.db", "/blobs/", "/kept/"].iter().any(|part| path.contains(part));
    for folder in [world.state(), world.outside("recording")] {
        for canary in CANARIES {
            let found: Vec<String> = files_with(&folder, canary).into_iter().filter(|path| !is_data(path)).collect();
            assert_eq!(found, [""; 0], "{canary}");
        }
    }
}

//! The pages in a real browser: Debian's Chromium. `RATCHET_TEST_BROWSER` names what drives it; without it these tests say that they skip.

use std::{
    env, fs,
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use ratchet_tests::{page::Page, repository, running::Gate, world::World};
use serde_json::{Value, json};

use super::state;

/// A workflow with a step of each kind that a page shows in a way of its own. The last of the work fails.
const CHECK: &str = "\
name: release-check
version: \"1.4.0\"
description: Builds, has an agent write what is new, and checks it before a person lets it go
outputs:
  notes: { type: string, from: write_notes.outputs.response }
steps:
  - id: build
    type: shell
    use_cache: true
    command: |
      echo compiling 12 modules
      printf 'one\\ntwo\\n' > built.txt
      echo warning: unused import >&2
    outputs:
      said: { type: string, from: stdout }
  - id: lint
    type: shell
    foreach: \"['api', 'engine', 'pages']\"
    command: echo linted {{ item }}
  - id: write_notes
    type: claude_code
    needs: [build]
    prompt: Write NOTES.md from the last commits.
  - id: small_enough
    type: assert
    needs: [write_notes]
    condition: \"1 < 2\"
  - id: tests
    type: shell
    needs: [lint, small_enough]
    retry: { attempts: 2, delay: 1ms }
    command: |
      echo running 214 tests
      echo 'test release::notes_are_short ... FAILED' >&2
      exit 3
  - id: publish
    type: shell
    needs: [tests]
    command: echo published
finally:
  - id: tidy
    type: shell
    command: rm -f scratch.txt
";

const STEPS: [&str; 7] = ["build", "lint", "write_notes", "small_enough", "tests", "publish", "tidy"];

/// What the agent does: it says the text in `@WORDS@`, is denied a command, and writes a file.
const AGENT: &str = r#"#!/bin/sh
case "$1" in --version) echo '2.1.330 (Claude Code)'; exit 0;; esac
cat > /dev/null
printf '# New\n\n- faster\n' > NOTES.md
cat <<'EVENTS'
{"type":"system","subtype":"init","session_id":"s-1","model":"a-model"}
{"type":"assistant","message":{"id":"m1","content":[{"type":"text","text":"@WORDS@"},{"type":"tool_use","id":"t1","name":"Bash","input":{"command":"curl https://example.com"}}],"usage":{"input_tokens":900,"output_tokens":40}}}
{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"t1","is_error":true,"content":"This command is not allowed: @WORDS@"}]}}
{"type":"assistant","message":{"id":"m2","content":[{"type":"tool_use","id":"t2","name":"Write","input":{"file_path":"NOTES.md","content":"@WORDS@"}}],"usage":{"input_tokens":1000,"output_tokens":50}}}
{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"t2","content":"written"}]}}
{"type":"result","subtype":"success","is_error":false,"terminal_reason":"completed","result":"@WORDS@","session_id":"s-1","num_turns":3,"duration_ms":4200,"total_cost_usd":0.0365,"usage":{"input_tokens":1900,"output_tokens":90},"permission_denials":[{"tool_name":"Bash","tool_input":{"command":"curl https://example.com"}}]}
EVENTS
"#;

/// Markup that does harm where it is read as markup. The first part ends the element that data stands in.
const MARKUP: &str = "</script><img src=x onerror='window.hacked=1'><script>window.hacked=2</script>";

/// Drives the browser through a scenario. `None` where there is no browser, which was said.
#[track_caller]
fn drive(scenario: &str, page: Option<&Page>, mut given: Value) {
    let Some(tools) = tools() else { return };
    given["tools"] = json!(tools);
    given["chromium"] = json!("/usr/bin/chromium");
    given["pictures"] = json!(env::var("RATCHET_TEST_PICTURES").ok());
    if let Some(page) = page {
        given["address"] = json!(page.address);
        given["origin"] = json!(format!("http://{}", page.host()));
    }
    let script = repository().join("tests/support/browser.mjs");
    let mut child = Command::new("node")
        .arg(script)
        .arg(scenario)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("node can be started");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(given.to_string().as_bytes()).expect("what it needs");
    drop(stdin);
    let output = child.wait_with_output().expect("an end");
    assert!(output.status.success(), "{scenario}:\n{}", String::from_utf8_lossy(&output.stderr));
}

#[expect(clippy::print_stderr, reason = "a test that skips says so")]
fn tools() -> Option<PathBuf> {
    let tools = env::var_os("RATCHET_TEST_BROWSER").filter(|path| !path.is_empty()).map(PathBuf::from);
    if tools.is_none() {
        eprintln!(
            "skipped: RATCHET_TEST_BROWSER does not name what drives a browser (tests/support/install-browser.sh installs it)"
        );
    }
    tools
}

fn id(world: &World) -> String {
    state(world, &["status", "--json"])["execution_id"].as_str().expect("a name").to_owned()
}

/// A world in which the check has run, twice: the second time with a kept result.
fn checked(words: &str) -> World {
    let mut world = World::new();
    world.variables.push(("ANTHROPIC_API_KEY".to_owned(), "sk-ant-none".to_owned()));
    world.write("check.yaml", CHECK);
    world.add_program("claude", &AGENT.replace("@WORDS@", words));
    world.ratchet(["run", "check.yaml"]).expect_code(1);
    world.ratchet(["run", "check.yaml"]).expect_code(1);
    world
}

/// What a part of a step must show.
const TABS: [(&str, &str, &str); 8] = [
    ("build", "key", "stood in for it"),
    ("build", "diff", "+two"),
    ("lint", "overview", "lint[2]"),
    ("lint[1]", "log", "linted engine"),
    ("write_notes", "transcript", "Denied"),
    ("write_notes", "overview", "Write NOTES.md"),
    ("tests", "log", "FAILED"),
    ("tests", "overview", "attempt 2"),
];

#[test]
fn each_view_shows_what_it_is_for_to_everybody() {
    let world = checked("The notes are written.");
    let failed = id(&world);
    world.write(
        "fine.yaml",
        "name: tidy-up\nversion: \"2\"\nsteps:\n  - id: all\n    type: shell\n    command: echo tidied\n",
    );
    world.ratchet(["run", "fine.yaml"]).expect_code(0);
    let page = Page::open(&world);
    drive("views", Some(&page), json!({ "failed": failed, "steps": STEPS, "tabs": TABS }));
}

#[test]
fn a_run_is_followed_as_it_goes_on() {
    let Some(_) = tools() else { return };
    let world = World::new();
    let (begin, end) = (Gate::new(&world, "begin"), Gate::new(&world, "end"));
    let workflow = format!(
        "name: slow\nversion: \"1\"\nsteps:\n  - id: first\n    type: shell\n    command: |\n      echo the first line\n      cat {} > /dev/null\n      \
         echo the last line\n  - id: second\n    type: shell\n    command: echo done\n",
        end.path().display()
    );
    world.write("workflow.yaml", &workflow);
    let page = Page::open(&world);
    // The page is there before the run is: the run waits until it is seen.
    let script = "read -r _ < \"$1\" && exec \"$2\" run workflow.yaml";
    let mut run = world.program("sh");
    run.args(["-c", script, "sh"]).arg(begin.path()).arg(ratchet_tests::ratchet());
    let mut run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a shell");
    drive("live", Some(&page), json!({ "gates": { "begin": begin.path(), "end": end.path() } }));
    assert!(run.wait().expect("an end").success());
}

const ASKING: &str = "\
name: release
version: \"1\"
steps:
  - id: build
    type: shell
    command: echo built
  - id: accept
    type: approval
    needs: [build]
    message: |
      Release version 1.4.0?
      It cannot be taken back.
  - id: publish
    type: shell
    needs: [accept]
    command: echo \"{{ accept.outputs.comment }}\"
";

#[test]
fn each_action_does_what_it_says() {
    let world = World::new();
    world.write("workflow.yaml", ASKING);
    world.ratchet(["run", "."]).expect_code(3);
    let other = id(&world);
    world.ratchet(["run", "."]).expect_code(3);
    let asks = id(&world);
    let page = Page::open(&world);
    drive("actions", Some(&page), json!({ "asks": asks, "other": other }));
}

/// A world in which everything that can be written has markup in it, and where it must be shown.
fn hostile() -> (World, String, Value) {
    let mut world = World::new();
    world.variables.push(("ANTHROPIC_API_KEY".to_owned(), "sk-ant-none".to_owned()));
    let in_json = json!(MARKUP).to_string();
    world.add_program("claude", &AGENT.replace("@WORDS@", in_json.trim_matches('"')));
    let workflow = json!({
        "name": "hostile", "version": "1", "description": MARKUP,
        "outputs": { "said": { "type": "string", "from": "says.outputs.said" } },
        "steps": [
            { "id": "says", "type": "shell", "description": MARKUP, "env": { "WORDS": MARKUP }, "on_failure": "continue",
              "command": "printf '%s\\n' \"$WORDS\"; printf '%s\\n' \"$WORDS\" >&2; printf '%s\\n' \"$WORDS\" > \"${WORDS%%/*}.html\"",
              "outputs": { "said": { "type": "string", "from": "stdout" } } },
            { "id": "fails", "type": "shell", "env": { "WORDS": MARKUP }, "on_failure": "continue",
              "command": "printf '%s\\n' \"$WORDS\" >&2; exit 1" },
            { "id": "asks", "type": "claude_code", "prompt": MARKUP },
        ],
    });
    world.write("workflow.yaml", &workflow.to_string());
    world.ratchet(["run", "workflow.yaml"]).expect_code(4);
    let id = id(&world);
    let parts = json!([
        ["says", "overview"],
        ["says", "log"],
        ["says", "diff"],
        ["fails", "overview"],
        ["asks", "overview"],
        ["asks", "transcript"],
    ]);
    (world, id, parts)
}

#[test]
fn what_is_hostile_is_text_and_does_nothing() {
    let (world, id, parts) = hostile();
    let page = Page::open(&world);
    drive("hostile", Some(&page), json!({ "hostile": id, "parts": parts, "markup": MARKUP }));
    let report = world.outside("report.html");
    world.ratchet(["report", &id, "-o", &report.display().to_string()]).expect_code(0);
    drive("hostile", None, json!({ "hostile": id, "parts": parts, "markup": MARKUP, "report": report }));
}

#[test]
fn a_report_shows_the_same_without_a_server() {
    let world = checked("The notes are written.");
    let id = id(&world);
    let report = world.outside("report.html");
    world.ratchet(["report", "last", "-o", &report.display().to_string()]).expect_code(0);
    if let Ok(pictures) = env::var("RATCHET_TEST_PICTURES") {
        fs::create_dir_all(&pictures).expect("a folder");
        fs::copy(&report, PathBuf::from(pictures).join("report.html")).expect("a copy");
    }
    drive("report", None, json!({ "failed": id, "tabs": TABS, "report": report }));
}

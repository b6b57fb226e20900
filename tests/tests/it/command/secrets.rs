//! Secrets: to the process that asks for them, and nowhere else.

use std::{fs, path::Path};

use ratchet_tests::world::World;
use serde_json::Value;

/// What must not be found, in two lines.
const CANARY: &str = "c4n4ry-\"in\"-a-c0al-mine";
const FILE_CANARY: &str = "b1rd-of-many-l1nes\nsecond-l1ne-of-it";
const WIDE_CANARY: &str = "w1de-0pen-sky";

const WORKFLOW: &str = r#"
name: secretive
version: "1"
secrets: [TOKEN, KEY, WIDE]
environment:
  WIDE_HEADER: "{{ secrets.WIDE }} of {{ execution.workflow }}"
steps:
  - id: uses
    type: shell
    secrets: [TOKEN]
    environment:
      HEADER: "Bearer {{ secrets.TOKEN }} of {{ execution.workflow }}"
      KEYS: "{{ secrets.KEY }}"
    command: |
      test "$HEADER" = "Bearer $TOKEN of secretive"
      test "$(printf %s "$KEYS" | wc -l)" = 1
      printf 'printed: %s, %s\n' "$TOKEN" "$HEADER"
      printf '%s\n' "$KEYS" >&2
      for (( at = 0; at < ${#TOKEN}; at++ )); do printf '%s' "${TOKEN:at:1}"; done
      printf '\n%s' "${TOKEN:0:9}"
      printf '%s\n' "${TOKEN:9}" >&2
      printf '%s' "$TOKEN" > "$HOME/kept"
    outputs:
      said: { type: string, from: stdout }
  - id: in_a_file
    type: shell
    secrets: { KEY: { file: bird.pem } }
    command: |
      test "$(stat -c %a "$KEY")" = 600
      test "$(basename "$KEY")" = bird.pem
      cat "$KEY"
      cp "$KEY" "$TMPDIR/copy"
      printf '%s\n' "$WIDE_HEADER"
    outputs:
      said: { type: string, from: stdout }
  - id: other
    type: shell
    command: |
      test -z "${TOKEN-}${HEADER-}${KEY-}${RATCHET_SECRET_TOKEN-}"
      env
  - id: fails
    type: shell
    on_failure: continue
    secrets: [TOKEN]
    command: |
      echo "the token is $TOKEN" >&2
      printf '%s' "$TOKEN" > "$HOME/kept"
      exit 1
  - id: gives
    type: shell
    on_failure: continue
    secrets: [TOKEN]
    command: printf '%s' "$TOKEN" > "$TMPDIR/x"; cp "$TMPDIR/x" given.txt
    outputs:
      file: ./given.txt
  - id: tidy
    type: shell
    command: rm -f given.txt
"#;

fn world(workflow: &str) -> World {
    let mut world = World::new();
    world.write("workflow.yaml", workflow);
    let file = world.outside("secrets");
    fs::write(&file, format!("# for tests\nKEY={}\n", Value::from(FILE_CANARY))).expect("a file");
    world.variables.push(("RATCHET_SECRET_TOKEN".to_owned(), CANARY.to_owned()));
    world.variables.push(("RATCHET_SECRET_WIDE".to_owned(), WIDE_CANARY.to_owned()));
    world.variables.push(("RATCHET_SECRETS_FILE".to_owned(), file.display().to_string()));
    world
}

/// The files below a folder whose bytes hold a text, or whose names do.
fn holding(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(holding(&path, text));
        } else {
            let bytes = fs::read(&path).unwrap_or_default();
            if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

#[test]
fn a_secret_reaches_the_process_that_asks_for_it_and_nothing_else() {
    let world = world(WORKFLOW);
    let done = world.ratchet(["run", ".", "--json", "--log", "trace"]).expect_code(4);
    let state: Value = serde_json::from_str(&done.stdout).expect("JSON");
    let said = state["steps"]["uses"]["outputs"]["said"].as_str().expect("text");
    assert_eq!(said, "printed: ***, Bearer *** of secretive\n***\nc4n4ry-\"i", "what is no whole secret is none");
    assert_eq!(state["steps"]["in_a_file"]["outputs"]["said"], "****** of secretive");
    assert_eq!(state["steps"]["other"]["status"], "completed");
    assert_eq!(state["steps"]["gives"]["error"]["code"], "RT-0317");
    let failed = state["steps"]["fails"]["error"]["detail"].as_str().expect("its last words");
    assert_eq!(failed, "the token is ***");
    let printed =
        [done.stdout, done.stderr, world.ratchet(["logs"]).stdout, world.ratchet(["history", "--json"]).stdout];
    let escaped = Value::from(CANARY).to_string();
    for canary in [CANARY, &escaped[1..escaped.len() - 1], "b1rd-of-many-l1nes", "second-l1ne-of-it", WIDE_CANARY] {
        assert!(printed.iter().all(|text| !text.contains(canary)), "{canary} was printed");
        assert_eq!(holding(&world.state(), canary), [""; 0], "{canary} is in the state");
    }
    // That the search finds what is there.
    assert!(
        !holding(&world.state(), "the token is ***").is_empty()
            && !holding(world.work().parent().expect("it"), "b1rd-of-many-l1nes").is_empty()
    );
}

#[test]
fn a_secret_that_is_not_there_fails_the_step_and_one_that_is_too_short_is_refused() {
    let mut missing = world(WORKFLOW);
    missing.variables.retain(|(name, _)| name != "RATCHET_SECRET_TOKEN");
    let code = |world: &World| {
        let done = world.ratchet(["run", ".", "--json"]).expect_code(1);
        let state: Value = serde_json::from_str(&done.stdout).expect("JSON");
        state["steps"]["uses"]["error"]["code"].as_str().map(str::to_owned)
    };
    assert_eq!(code(&missing).as_deref(), Some("RT-0220"));
    // What holds a secret is no caller's to set, and nothing was made of the run.
    let passed = missing.ratchet(["run", ".", "--env", "WIDE_HEADER=mine"]).expect_code(2);
    assert!(passed.stderr.contains("RT-0426") && passed.stderr.contains("WIDE_HEADER"), "{passed:?}");
    missing.variables.push(("RATCHET_SECRET_TOKEN".to_owned(), "short".to_owned()));
    let short = missing.ratchet(["run", "."]).expect_code(2);
    assert!(short.stderr.contains("RT-0318") && short.stderr.contains("TOKEN"), "{short:?}");
    assert_eq!(missing.ratchet(["list", "--json"]).stdout.matches("\"execution_id\"").count(), 1);
    missing.variables.push(("RATCHET_SECRETS_FILE".to_owned(), "/nowhere".to_owned()));
    assert!(missing.ratchet(["run", "."]).expect_code(2).stderr.contains("RT-0221"));
}

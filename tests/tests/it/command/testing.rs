//! Tests of workflows: what can be stated of a step, what can be expected of a run, and what is said where it does not hold.

use ratchet_tests::world::World;
use serde_json::{Value, json};

use super::{call, shown};

/// A workflow of every type of step that something can be stated of.
const WORKFLOW: &str = r#"
name: release
version: "1"
inputs:
  target: { type: string, default: staging }
outputs:
  url: { type: string, from: deploy.outputs.url }
  parts: { type: array, from: each.outputs.text }
budget: { max_agent_calls: 10 }
secrets: [DEPLOY_KEY]
steps:
  - id: build
    type: shell
    retry: { attempts: 3 }
    command: echo built > built.txt; echo "$CHANNEL"
    environment: { CHANNEL: "{{ env.CHANNEL }}" }
    outputs:
      channel: { type: string, from: stdout }
  - id: notes
    type: claude_code
    prompt: Say what changed.
    output_schema: { type: object, required: [title], properties: { title: { type: string } } }
    outputs:
      title: { type: string, from: json.title }
  - id: each
    type: claude_code
    foreach: "['a', 'b']"
    prompt: "Look at {{ item }}."
    outputs:
      text: { type: string, from: response }
  - id: ask
    type: approval
    message: "Deploy {{ notes.outputs.title }} to {{ inputs.target }}?"
  - id: deploy
    type: shell
    secrets: [DEPLOY_KEY]
    on_lost: pause
    command: test "$DEPLOY_KEY" = the-real-one && exit 9
    outputs:
      url: { type: string, from: json.url }
      size: { type: integer, from: json.size }
      log: ./deploy.log
  - id: smoke
    type: webhook
    url: "{{ deploy.outputs.url }}"
    when: inputs.target == 'staging'
  - id: slow
    type: shell
    on_failure: continue
    command: exit 3
"#;

const STEPS: &str = r"
      build: { fails: 1, exit_code: 7 }
      notes: { reply: { title: One }, write: { NOTES.md: 'One' } }
      each: { reply: seen }
      ask: { answer: approve, comment: go }
      deploy: { stdout: '{}', outputs: { url: 'https://example.org/health', size: '12' }, write: { deploy.log: 'done' } }
      smoke: { outputs: { status: 200 } }
";

fn world(tests: &str) -> World {
    let world = World::new();
    world.write("workflow.yaml", WORKFLOW.trim_start());
    world.write("files/README.md", "release\n");
    world.write("release.test.yaml", tests);
    world
}

fn results(world: &World, arguments: &[&str], code: i32) -> Value {
    let done = world.ratchet([&["test", "--json"], arguments].concat()).expect_code(code);
    serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {}", done.stdout))
}

#[test]
fn what_is_stated_stands_in_and_what_comes_of_it_is_compared() {
    let tests = format!(
        "
tests:
  - name: all that can be stated
    files: files
    git: true
    run: [\"echo more > more.txt\"]
    write: {{ extra/file: text }}
    env: {{ CHANNEL: beta }}
    secrets: {{ DEPLOY_KEY: made-up }}
    steps: {STEPS}
    expect:
      failed_steps: [slow]
      steps:
        build: {{ status: completed, attempts: 2, outputs: {{ channel: beta }} }}
        smoke: completed
        deploy: {{ cached: false, outputs: {{ size: 12 }} }}
      outputs: {{ url: https://example.org/health, parts: [seen, seen] }}
      check:
        - ask.outputs.comment == 'go' and ask.outputs.approved
        - notes.outputs.files_changed == ['NOTES.md'] and outputs.parts | length == 2
        - inputs.target == 'staging' and env.CHANNEL == 'beta' and slow.status == 'failed'
      files:
        NOTES.md: {{ equals: One }}
        deploy.log: {{ contains: done }}
        extra/file: present
        more.txt: present
        gone: absent
      changed: [\"*.md\", \"*.log\", built.txt]
      agent_calls: 3
      max_cost_usd: 0
  - name: elsewhere
    inputs: {{ target: production }}
    secrets: {{ DEPLOY_KEY: made-up }}
    steps: {STEPS}
    expect: {{ failed_steps: [slow], steps: {{ smoke: skipped }} }}
  - name: a person says no
    steps: {}
    expect: {{ status: failed, failed_steps: [ask], error: RT-0181 }}
  - name: nobody says anything
    steps: {{ notes: {{ reply: {{ title: One }} }}, each: {{ reply: seen }} }}
    expect: {{ status: paused, steps: {{ ask: waiting, deploy: pending }} }}
  - name: a task is lost
    steps: {}
    expect: {{ status: paused, error: lost }}
  - name: an agent at its limit
    steps: {{ notes: {{ limit: cost }} }}
    expect: {{ status: failed, error: limit of money }}
  - name: an agent that says nothing
    steps: {{ notes: {{ limit: stall }} }}
    expect: {{ status: failed, error: RT-0339 }}
  - name: a real command
    steps: {}
    secrets: {{ DEPLOY_KEY: the-real-one }}
    expect: {{ status: failed, failed_steps: [deploy], error: exit code 9 }}
",
        STEPS.replace("answer: approve, comment: go", "answer: reject"),
        STEPS.replace("deploy: {", "deploy: { lost: 1,"),
        STEPS.lines().filter(|line| !line.contains("deploy:")).collect::<Vec<_>>().join("\n"),
    );
    let world = world(&tests);
    let results = results(&world, &["--junit", "report.xml"], 0);
    assert_eq!(results[0]["tests"].as_array().map(Vec::len), Some(8), "{results}");
    let coverage = json!({ "steps": 7, "never_ran": [], "branches": 4, "never_taken": ["slow never did well"] });
    assert_eq!(results[0]["coverage"], coverage);
    let report = world.read("report.xml");
    assert!(report.contains(r#"tests="8" failures="0""#) && report.contains(r#"name="elsewhere""#), "{report}");
    assert_eq!(world.read("release.test.yaml"), tests, "tests leave their own folder as it is");
    assert!(!world.work().join("built.txt").exists());
}

#[test]
fn what_a_check_says_of_an_agents_work_is_stated_or_found_out() {
    let world = World::new();
    let workflow = "
name: mends
version: \"1\"
budget: { max_agent_calls: 3 }
steps:
  - { id: mend, type: claude_code, prompt: Mend it., verify: grep -q mended NOTES.md, on_limit: pause }
";
    world.write("workflow.yaml", workflow.trim_start());
    let tests = "
tests:
  - name: it is mended
    steps: { mend: { reply: done, write: { NOTES.md: mended } } }
  - name: it is not
    steps: { mend: { reply: done, write: { NOTES.md: broken } } }
    expect: { status: failed, error: RT-0342 }
  - name: whatever it left is well
    steps: { mend: { reply: done, verify: true } }
  - name: it is not done in time
    steps: { mend: { limit: turns } }
    expect: { status: paused, error: RT-0334 }
  - name: and never
    steps: { mend: { reply: done, write: { NOTES.md: mended }, verify: false } }
    expect: { status: failed, error: RT-0342 }
";
    world.write("mends.test.yaml", tests.trim_start());
    let results = results(&world, &[], 0);
    assert_eq!(results[0]["tests"].as_array().map(Vec::len), Some(5), "{results}");
}

#[test]
fn a_stated_failure_leaves_the_sessions_of_children_as_they_were_recorded() {
    let world = World::new();
    let workflow = "
name: looks
version: \"1\"
outputs:
  texts: { type: array, from: each.outputs.response }
budget: { max_agent_calls: 10 }
steps:
  - { id: each, type: claude_code, foreach: \"['a', 'b']\", prompt: \"Look at {{ item }}.\", retry: { attempts: 2 } }
";
    let sessions = json!([
        {"step": "each[0]", "reply": {"response": "of a"}}, {"step": "each[1]", "reply": {"response": "of b"}},
    ]);
    world.write("workflow.yaml", workflow.trim_start());
    world.write("recording/recording.json", &json!({"format": 1, "sessions": sessions}).to_string());
    let tests = "
tests:
  - name: again after a failure
    agent: recording
    steps: { each: { fails: 1 } }
    expect: { outputs: { texts: [of a, of b] }, agent_calls: 2 }
";
    world.write("looks.test.yaml", tests);
    results(&world, &[], 0);
}

#[test]
fn what_does_not_hold_is_shown() {
    let tests = format!(
        "
tests:
  - name: nothing is right
    files: files
    steps: {STEPS}
    env: {{ CHANNEL: beta }}
    secrets: {{ DEPLOY_KEY: made-up }}
    expect:
      steps: {{ build: {{ attempts: 1, outputs: {{ channel: stable, none: 1 }} }}, smoke: skipped }}
      outputs: {{ url: https://example.com }}
      check: [\"notes.outputs.title == 'Two'\", \"1 +\", nobody.status]
      files:
        NOTES.md: {{ equals: \"One\\nTwo\\n\" }}
        README.md: absent
        gone: {{ contains: x }}
        deploy.log: {{ contains: \"<failed> & more\" }}
      changed: [\"*.md\"]
      agent_calls: 0
      error: RT-0999
  - name: it does not come so far
    expect: {{ steps: {{ build: completed }} }}
  - name: no such files
    files: nowhere
  - name: inputs that are none
    inputs: {{ goal: x }}
"
    );
    let world = world(&tests);
    let arguments = ["test", "--jobs", "1", "--junit", "report.xml"];
    insta::assert_snapshot!("test_failed", shown(&world, &arguments, &world.ratchet(arguments)));
    let report = world.read("report.xml");
    assert!(report.contains("failures=\"4\"") && report.contains("&lt;failed&gt; &amp; more"), "{report}");
}

#[test]
fn mistakes_in_tests_are_shown_with_their_places() {
    let tests = "
tests:
  - name: one
    steps:
      biuld: { fails: 1 }
      ask: { stdout: yes }
      notes: { stdout: text }
      build: { answer: approve }
      deploy: { outputs: { log: text } }
    expect: { steps: { nothing: completed } }
";
    let world = world(tests);
    insta::assert_snapshot!("test_mistakes", call(&world, &["test"]));
    world.write("release.test.yaml", "tests:\n  - name: one\n    expect:\n      status: done\n");
    insta::assert_snapshot!("test_no_status", call(&world, &["test", "release.test.yaml"]));
    world.write("release.test.yaml", "tests:\n  - name: one\n    expected: {}\n");
    insta::assert_snapshot!("test_no_field", call(&world, &["test"]));
    world.write("release.test.yaml", "tests:\n  - { name: one }\n  - { name: one }\n");
    insta::assert_snapshot!("test_twice", call(&world, &["test"]));
    world.write("release.test.yaml", "tests: [\n");
    insta::assert_snapshot!("test_no_yaml", call(&world, &["test"]));
    world.write("release.test.yaml", "tests: []\n");
    insta::assert_snapshot!("test_none", call(&world, &["test"]));
    world.write("release.test.yaml", "tests: [{ name: one }]\n");
    insta::assert_snapshot!("test_filtered", call(&world, &["test", "--filter", "two"]));
}

#[test]
fn what_came_is_expected_from_now_on() {
    let world = World::new();
    world.write(
        "workflow.yaml",
        "name: letters\nversion: \"1\"\noutputs: { said: { type: string, from: say.outputs.said } }\nsteps:\n  - id: say\n    \
         type: shell\n    command: printf hello\n    outputs: { said: { type: string, from: stdout } }\n",
    );
    world.write("workflow.test.yaml", "tests:\n  - name: it says it # in full\n");
    let mut report = String::new();
    let mut go = |arguments: &[&str]| {
        report.push_str(&call(&world, arguments));
        report.push_str(&world.read("workflow.test.yaml"));
        report.push('\n');
    };
    go(&["test", "--update"]);
    go(&["test"]);
    world.write("workflow.yaml", &world.read("workflow.yaml").replace("hello", "bye"));
    go(&["test"]);
    go(&["test", "--update"]);
    go(&["test"]);
    insta::assert_snapshot!("update", report);
}

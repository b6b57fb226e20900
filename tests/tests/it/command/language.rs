//! Parts of the language, run by the real command.

use ratchet_tests::world::World;

use super::call;

const TEMPLATE_FILES: &str = "\
name: letters
version: \"1\"
inputs:
  who: { type: string, default: you }
defaults:
  shell:
    environment: { GREETING: hello }
    outputs:
      said: { type: string, from: stdout }
steps:
  - id: greet
    type: shell
    command: printf %s \"$GREETING\"
  - id: shout
    type: shell
    environment: { GREETING: HELLO }
    command: printf %s \"$GREETING\"
  - id: letter
    type: template
    template_file: \"letters/{{ inputs.who }}.md\"
    output: out.md
  - id: right
    type: assert
    condition: letter.outputs.text is endingwith('HELLO.\\n')
";

#[test]
fn a_template_file_reads_what_the_step_could() {
    let world = World::new();
    world.write("workflow.yaml", TEMPLATE_FILES);
    world.write("letters/you.md", "Dear {{ inputs.who }},\n{{ greet.outputs.said }} and {{ shout.outputs.said }}.\n");
    world.write("letters/late.md", "{{ right.status }}");
    world.write("letters/wrong.md", "a\n{{ nope() }}\n{{ x | nope }}");
    world.write("letters/unknown.md", "{{ inputs.whom }}");
    let done = world.ratchet(["run", ".", "--quiet"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(world.read("out.md"), "Dear you,\nhello and HELLO.\n");
    insta::assert_snapshot!("template_file_render", call(&world, &["render", ".", "letter"]));
    for (who, reason) in [
        ("late", "reads `right`, which may not be done by then"),
        ("wrong", "is wrong: line 2: there is no function `nope`; line 3: there is no filter `nope`"),
        ("unknown", "`inputs.whom` is not defined"),
        ("nobody", "there is no file letters/nobody.md"),
        ("../../../x", "leaves the workspace"),
    ] {
        let done = world.ratchet(["run", ".", "--quiet", "-i", &format!("who={who}")]);
        assert!(done.code == 1 && done.stdout.contains(reason), "{who}: {done:?}");
    }
}

const PLACES_FOR_VALUES: &str = r#"
name: values
version: "1"
inputs:
  message: { type: string, required: true }
  list: { type: array, default: [a b, "$c"] }
  fast: { type: boolean, default: false }
steps:
  - id: write
    type: shell
    command: |
      text='<{{ inputs.message }}>'
      cat > "{{ inputs.list[0] }}.txt" <<END
      {% if inputs.fast %}fast{% else %}slow{% endif %} {{ inputs.message }}
      $(printf '%s.' {{ inputs.list }})
      END
      case $text in *{{ inputs.message }}*) printf %s "$text" ;; esac
    outputs:
      said: { type: string, from: stdout }
      again: { type: string, from: outputs.said ~ said }
      file: "./{{ inputs.list[0] }}.txt"
  - id: check
    type: assert
    conditions:
      - write.outputs.said == '<' ~ inputs.message ~ '>'
      - write.outputs.again == write.outputs.said ~ write.outputs.said
      - file_content(write.outputs.file) == 'slow ' ~ inputs.message ~ '\na b.$c.\n'
  - id: leave
    type: shell
    needs: []
    when: inputs.message == 'leave'
    command: touch nothing
    working_directory: "{{ inputs.message ~ '/../..' }}"
"#;

#[test]
fn values_are_data_in_every_place_of_a_command() {
    let world = World::new();
    world.write("workflow.yaml", PLACES_FOR_VALUES);
    for message in ["$(touch pwned)", "'\"`; touch pwned", "*", "END\ntouch pwned"] {
        let done = world.ratchet(["run", ".", "--quiet", "-i", &format!("message={message}")]);
        assert_eq!(done.code, 0, "{message}: {done:?}");
        assert!(!world.work().join("pwned").exists(), "{message}");
    }
    let done = world.ratchet(["run", ".", "--quiet", "-i", "message=leave"]);
    assert!(done.code == 1 && done.stdout.contains("leave"), "{done:?}");
}

const WARNED: &str = "\
name: warned
version: \"1\"
inputs:
  unused: { type: string, default: a }
steps:
  - { id: push, type: shell, command: git push }
";

#[test]
fn warnings_are_told_apart_and_can_be_denied_or_ignored() {
    let world = World::new();
    world.write("warned.yaml", WARNED);
    world.write("wrong.yaml", &WARNED.replace("type: shell", "type: shel"));
    let known =
        WARNED.replace("steps:", "steps: # ratchet: ignore RT-0061").replace("a }", "a } # ratchet: ignore RT-0068");
    world.write("known.yaml", &known);
    let mut report = String::new();
    for arguments in [
        &["validate", "warned.yaml"][..],
        &["validate", "warned.yaml", "--deny", "warnings"],
        &["validate", "warned.yaml", "wrong.yaml", "--format", "json"],
        &["validate", "known.yaml", "--deny", "warnings"],
    ] {
        report.push_str(&call(&world, arguments));
        report.push('\n');
    }
    insta::assert_snapshot!("validate_warnings", report);
}

#[test]
fn a_new_workflow_is_valid_and_runs() {
    let world = World::new();
    let mut report = String::new();
    for arguments in [
        &["new", "flows/my_first.yaml"][..],
        &["validate", "flows/my_first.yaml", "--deny", "warnings"],
        &["new", "flows/my_first.yaml"],
    ] {
        report.push_str(&call(&world, arguments));
        report.push('\n');
    }
    insta::assert_snapshot!("new", report);
    let done = world.ratchet(["run", "flows/my_first.yaml", "--json", "-i", "who=$(touch pwned)"]);
    let state: serde_json::Value = serde_json::from_str(&done.stdout).expect("a state");
    assert!(done.code == 0 && state["outputs"]["greeting"] == "Hello, $(touch pwned)", "{done:?}");
    assert!(!world.work().join("pwned").exists());
}

#[test]
fn a_reference_workflow_is_listed_read_and_begun_from() {
    let world = World::new();
    let mut report = String::new();
    for arguments in [
        &["workflows"][..],
        &["workflows", "code-reviw"],
        &["new", "--from", "review"],
        &["new", "--from", "code-review"],
        &["new", "--from", "code-review"],
        &["validate", "code-review", "--deny", "warnings"],
    ] {
        report.push_str(&call(&world, arguments));
        report.push('\n');
    }
    insta::assert_snapshot!("workflows", report);
    let read = world.ratchet(["workflows", "code-review"]);
    assert_eq!(read.stdout, std::fs::read_to_string(world.work().join("code-review/README.md")).expect("its page"));
    let listed = world.ratchet(["workflows", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed.stdout).expect("an array");
    let one = world.ratchet(["workflows", "code-review", "--json"]);
    let one: serde_json::Value = serde_json::from_str(&one.stdout).expect("an object");
    assert!(listed.as_array().is_some_and(|all| all.len() == 8 && all.contains(&one)), "{listed}");
}

//! Files that runs keep, version by version.

use std::fs;

use ratchet_tests::world::World;
use serde_json::{Value, json};

use super::{call, state};

const BUILD: &str = "\
name: build
version: \"1\"
inputs:
  n: { type: integer, default: 1 }
outputs:
  summary: { type: artifact, from: make.outputs.report }
  report: { type: artifact, from: make.outputs.report }
artifacts: { readers: [deploy] }
steps:
  - id: make
    type: shell
    command: echo \"report {{ inputs.n }}\" > report.txt
    outputs:
      report: { path: ./report.txt, artifact: true }
  - id: each
    type: shell
    foreach: \"[1, 2]\"
    command: echo {{ item }} > part.txt
    outputs:
      part: { path: ./part.txt, artifact: true }
";

const DEPLOY: &str = "\
name: deploy
version: \"1\"
inputs:
  base: { type: artifact, required: true }
steps:
  - id: beside
    type: shell
    needs: []
    command: cat {{ artifact('build/part[1]@latest') }}
  - id: use
    type: shell
    needs: []
    command: cat {{ artifact('build/report@latest') }} {{ inputs.base }} > out.txt
    outputs:
      out: { path: ./out.txt, artifact: true }
";

fn world() -> World {
    let world = World::new();
    world.write("build.yaml", BUILD);
    world.write("deploy.yaml", DEPLOY);
    for number in ["n=1", "n=2"] {
        world.ratchet(["run", "build.yaml", "--quiet", "-i", number]).expect_code(0);
    }
    world
}

#[test]
fn versions_are_kept_read_and_traced() {
    let world = world();
    let made = state(&world, &["status", "--json"]);
    let brief = |artifact: &Value| json!([artifact["name"], artifact["version"], artifact["step"]]);
    let artifacts: Vec<Value> = made["artifacts"].as_array().expect("a list").iter().map(brief).collect();
    let expected = [
        json!(["report", 2, "make"]),
        json!(["part[0]", 2, "each"]),
        json!(["part[1]", 2, "each"]),
        json!(["summary", 2, null]),
        json!(["report", 2, null]),
    ];
    assert_eq!(artifacts, expected, "what the workflow hands on under the same name is the step's version");
    world.ratchet(["run", "deploy.yaml", "-i", "base=build/report@1"]).expect_code(0);
    assert_eq!(world.read("out.txt"), "report 2\nreport 1\n");
    insta::assert_snapshot!("artifacts_list", call(&world, &["artifacts", "list"]));
    insta::assert_snapshot!("artifacts_show", call(&world, &["artifacts", "show", "build/report@latest"]));
    insta::assert_snapshot!("artifacts_lineage", call(&world, &["artifacts", "show", "--lineage", "deploy/out@1"]));
    let traced = state(&world, &["artifacts", "show", "--lineage", "--json", "build/report@2"]);
    assert_eq!(traced["lineage"]["made_into"][0]["artifact"], "deploy/out");
    let beside = state(&world, &["artifacts", "show", "--lineage", "--json", "build/part[1]@2"]);
    assert_eq!(beside["lineage"]["made_into"], json!([]), "another step read it, and nothing was made of that");
    insta::assert_snapshot!("artifacts_diff", {
        call(&world, &["artifacts", "diff", "build/report@1", "build/report@2"])
    });
}

#[test]
fn who_may_not_read_and_what_is_not_there_is_told_before_anything_runs() {
    let world = world();
    world.write("other.yaml", &DEPLOY.replace("name: deploy", "name: other"));
    let refused = |arguments: &[&str]| call(&world, arguments);
    insta::assert_snapshot!("artifacts_refused", refused(&["run", "other.yaml", "-i", "base=build/report@1"]));
    insta::assert_snapshot!("artifacts_missing", refused(&["run", "deploy.yaml", "-i", "base=build/report@7"]));
    insta::assert_snapshot!("artifacts_no_name", refused(&["run", "deploy.yaml", "-i", "base=report.txt"]));
    insta::assert_snapshot!("artifacts_bad_tag", refused(&["artifacts", "tag", "build/report@1", "latest"]));
    world.write(
        "step.yaml",
        &DEPLOY.replace("name: deploy", "name: other").replace("artifact, required: true", "string"),
    );
    let done = world.ratchet(["run", "step.yaml"]).expect_code(1);
    assert!(done.stderr.contains("RT-0198") || done.stdout.contains("RT-0198"), "{done:?}");
}

#[test]
fn a_version_outlives_its_run_and_can_be_put_tagged_and_given() {
    let world = world();
    world.ratchet(["rm", "last"]).expect_code(0);
    world.ratchet(["prune", "--older-than", "0s"]).expect_code(0);
    world.ratchet(["artifacts", "get", "build/report@latest", "-o", "back.txt"]).expect_code(0);
    assert_eq!(world.read("back.txt"), "report 2\n");
    world.write("model.bin", "by hand");
    insta::assert_snapshot!("artifacts_put", {
        call(&world, &["artifacts", "put", "train/model", "model.bin", "--tag", "v1", "--retention", "brief"])
    });
    insta::assert_snapshot!("artifacts_tag", call(&world, &["artifacts", "tag", "build/report@1", "stable"]));
    let given = world.ratchet(["artifacts", "get", "train/model@v1", "-o", "-"]).expect_code(0);
    assert_eq!(given.stdout, "by hand");
    insta::assert_snapshot!("artifacts_link", call(&world, &["artifacts", "get", "train/model@v1", "--link"]));
    insta::assert_snapshot!("artifacts_gc", call(&world, &["artifacts", "gc"]));
    let listed = state(&world, &["artifacts", "list", "--all", "--json"]);
    assert_eq!(listed.as_array().map(Vec::len), Some(9), "{listed:#}");
}

#[test]
fn an_output_may_ask_for_an_artifact() {
    let world = world();
    let reads = "\
name: reads
version: \"1\"
steps:
  - id: read
    type: shell
    command: echo read
    cache_key: mine
    outputs:
      text: { type: string, from: \"file_content(artifact('build/report@latest'))\" }
  - id: inline
    type: template
    template: made
    output: made.txt
    outputs:
      text: { type: string, from: \"file_content(artifact('build/report@1'))\" }
";
    world.write("reads.yaml", reads);
    world.write("build.yaml", &BUILD.replace("[deploy]", "[deploy, reads]"));
    world.ratchet(["run", "build.yaml", "--quiet", "-i", "n=3"]).expect_code(0);
    let read = || {
        let run = state(&world, &["run", "reads.yaml", "--json"]);
        ["read", "inline"].map(|step| json!([run["steps"][step]["outputs"]["text"], run["steps"][step]["cached"]]))
    };
    let refused = world.ratchet(["run", "reads.yaml"]).expect_code(1);
    assert!(
        refused.stdout.contains("RT-0198"),
        "the first version was made when it was not among the readers: {refused:?}"
    );
    world.write("reads.yaml", &reads.replace("@1", "@3"));
    assert_eq!(read(), [json!(["report 3\n", true]), json!(["report 3\n", false])], "it was found when it was refused");
    world.ratchet(["run", "build.yaml", "--quiet", "-i", "n=4"]).expect_code(0);
    assert_eq!(read(), [json!(["report 4\n", false]), json!(["report 3\n", false])], "what it read is in its key");
}

/// A run that is done again gets what the first one was given, whoever has collected what no run needs meanwhile.
#[test]
fn a_rerun_finds_what_it_was_given() {
    let world = world();
    let more = DEPLOY.replace("required: true }", "required: true }\n  word: { type: string, default: a }");
    world.write("deploy.yaml", &more.replace("{{ inputs.base }}", "{{ inputs.base }} <(echo {{ inputs.word }})"));
    let run = state(&world, &["run", "deploy.yaml", "--json", "-i", "base=build/report@1"]);
    assert_eq!(world.read("out.txt"), "report 2\nreport 1\na\n");
    let listed = state(&world, &["list", "--json"]);
    for made in listed.as_array().expect("a list").iter().filter(|run| run["workflow_name"] == "build") {
        world.ratchet(["rm", made["execution_id"].as_str().expect("a name")]).expect_code(0);
    }
    let age = "find \"$RATCHET_STATE_DIR/blobs\" \"$RATCHET_STATE_DIR/captured\" -exec touch -h -d '3 days ago' {} +";
    world.must("sh", &["-c", age]);
    world.ratchet(["artifacts", "gc"]).expect_code(0);
    world.ratchet(["prune"]).expect_code(0);
    for (more, expected) in [(&[][..], "a"), (&["-i", "word=b"][..], "b")] {
        let id = run["execution_id"].as_str().expect("a name");
        fs::remove_file(world.work().join("out.txt")).expect("it was made");
        world.ratchet([&["rerun", id, "--quiet"], more].concat()).expect_code(0);
        assert_eq!(world.read("out.txt"), format!("report 2\nreport 1\n{expected}\n"));
    }
}

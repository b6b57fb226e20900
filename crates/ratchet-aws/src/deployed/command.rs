//! The command asks a deployment in the same words as its own machine, and says the same.

use std::{fs, process::Command};

use serde_json::{Value, json};

use super::{
    Embedded, plain,
    stack::{Stack, programs},
    workflow,
};
use crate::emulator::Emulator;

/// The command beside a deployment.
struct Asking<'a> {
    embedded: &'a Embedded,
    variables: Vec<(&'static str, String)>,
}

/// What the command said.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl<'a> Asking<'a> {
    /// Asks a deployment.
    fn of(stack: &Stack, embedded: &'a Embedded) -> Self {
        let mut variables = stack.variables();
        variables.push(("RATCHET_STACK", "ratchet-test".to_owned()));
        variables.push(("RATCHET_STATE_DIR", embedded.folder.path().join("state").display().to_string()));
        Self { embedded, variables }
    }

    fn say(&self, arguments: &[&str]) -> Said {
        let mut command = Command::new(&self.embedded.command);
        let folder = self.embedded.folder.path();
        command.args(arguments).current_dir(folder).env_clear().envs(self.variables.iter().cloned());
        let output = command.env("HOME", folder).output().unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Said { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let said = self.say(arguments);
        serde_json::from_str(&said.out)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}{}", said.out, said.err))
    }
}

/// Words without what differs from run to run: numbers, names of executions, and which stack is asked.
fn words(text: &str) -> Vec<String> {
    let text = text.replace("--stack ratchet-test ", "");
    let plain = |word: &str| if word.contains(|c: char| c.is_ascii_digit()) { "#".to_owned() } else { word.to_owned() };
    text.split_whitespace().map(plain).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_says_the_same_of_a_deployment() {
    let (Some((functions, command)), Some(emulator)) = (programs(), Emulator::start().await) else { return };
    let embedded = Embedded { command, folder: tempfile::tempdir().unwrap() };
    let stack = Stack::deploy(emulator, &functions).await;
    let own = embedded.folder.path().join("state").display().to_string();
    let here = Asking { embedded: &embedded, variables: vec![("RATCHET_STATE_DIR", own)] };
    let there = Asking::of(&stack, &embedded);

    let listed = there.say(&["list"]);
    assert!(!listed.err.contains("RT-0466"), "RATCHET_BIN is to be built with --features otlp,aws");
    assert_eq!(listed.code, Some(0), "{}", listed.err);

    let file = workflow("inline.yaml").display().to_string();
    let refused = there.say(&["run", "inline"]);
    assert!(refused.code == Some(2) && refused.err.contains("RT-0422"), "{}", refused.err);
    assert_eq!(there.say(&["publish", &file]).out, "✓ published inline@1\n");
    assert_eq!(there.say(&["publish", &file]).out, "✓ inline@1 was published before, as it is\n");
    let paused = there.say(&["run", "inline", "-i", "who=you", "--idempotency-key", "one"]);
    assert_eq!(paused.code, Some(3), "{}{}", paused.out, paused.err);
    let run_here = here.json(&["run", &file, "-i", "who=you", "--json"]);
    let own_id = run_here["execution_id"].as_str().unwrap();
    let run_there = there.json(&["status", "--json"]);
    let id = run_there["execution_id"].as_str().unwrap();
    assert_eq!(plain(run_there.clone()), plain(run_here.clone()));
    assert_eq!(words(&there.say(&["status"]).out), words(&here.say(&["status", own_id]).out));
    let again = there.say(&["run", "inline", "-i", "who=me", "--idempotency-key", "one"]);
    assert!(again.code == Some(2) && again.err.contains("RT-0412"), "{}", again.err);
    assert_eq!(there.json(&["list", "--json"]).as_array().unwrap().len(), 1);

    let ended = there.json(&["approve", id, "go", "--comment", "fine", "--json"]);
    assert_eq!(ended["steps"]["go"]["outputs"]["by"], "arn:aws:iam::000000000000:user/ada");
    let ended_here = here.json(&["approve", own_id, "go", "--comment", "fine", "--json"]);
    assert_eq!(plain(ended), plain(ended_here));
    assert_eq!(words(&there.say(&["status", id]).out), words(&here.say(&["status", own_id]).out));
    let history = there.json(&["history", id, "--json"]);
    assert!(history["whole"] == true && history["records"][0].to_string().contains(":user/ada"), "{history:#}");
    for (arguments, code, error) in [
        (vec!["resume", id], 2, "RT-0407"),
        (vec!["logs", id, "greet"], 2, "RT-0408"),
        (vec!["status", "nothing-of-that-name"], 2, "RT-0403"),
        (vec!["rm", id], 2, "RT-0465"),
        (vec!["run", "inline", "--in-place"], 2, "RT-0402"),
        (vec!["--stack", "another", "list"], 2, "RT-0460"),
        (vec!["cancel", id], 2, "RT-0407"),
    ] {
        let said = there.say(&arguments);
        assert!(said.code == Some(code) && said.err.contains(error), "{arguments:?}: {:?} {}", said.code, said.err);
    }
    // What failed and was let go on runs again with it, and so does the question after it.
    let again = there.json(&["resume", id, "--from", "after", "--json"]);
    assert_eq!((again["status"].as_str(), again["execution_id"].as_str()), (Some("paused"), Some(id)));
    assert_eq!(plain(again), plain(here.json(&["resume", own_id, "--from", "after", "--json"])));
    there.json(&["cache", "stats", "--json"]);
    there.json(&["artifacts", "list", "--json"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_done_is_sent_again() {
    let (Some((functions, command)), Some(emulator)) = (programs(), Emulator::start().await) else { return };
    let embedded = Embedded { command, folder: tempfile::tempdir().unwrap() };
    let stack = Stack::deploy(emulator, &functions).await;
    let there = Asking::of(&stack, &embedded);
    stack.publish(&workflow("pushed.yaml")).await;
    stack.damage("push", true).await;
    let push = json!({"ref": "refs/heads/main", "after": "c1", "repository": {"full_name": "team/app"}, "sender": {"login": "ada"}});
    stack.put_event("github.example", "push", &push).await;
    stack.put_event("ratchet", "StepReady", &json!({"nobody": "knows it"})).await;
    stack.has_dead_letters(2).await;
    let said = there.say(&["redrive"]);
    assert_eq!(
        (said.code, said.out.as_str()),
        (Some(1), "✓ 0 dead letters sent again\n2 dead letters stay: the log of the function trigger says why\n"),
        "{}",
        said.err
    );
    assert_eq!(there.json(&["list", "--json"]), json!([]));
    stack.damage("push", false).await;
    // What was looked at is hidden for a while: the same letter is left again, as a rule leaves it.
    stack.leave(&json!({"id": "e1", "source": "github.example", "detail-type": "push", "detail": push})).await;
    let said = there.say(&["redrive"]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), "✓ 1 dead letter sent again\n"), "{}", said.err);
    let run = stack.newest_of("pushed").await;
    assert_eq!(stack.still(&run).await["steps"]["told"]["outputs"]["text"], "ada pushed to main of team/app");
    assert_eq!(there.say(&["redrive"]).out, "✓ 0 dead letters sent again\n");
    let nowhere = Command::new(&embedded.command).arg("redrive").env_remove("RATCHET_STACK").output().unwrap();
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("RT-0467"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_starts_what_is_published_until_it_has_none() {
    let (Some((functions, command)), Some(emulator)) =
        (programs(), Emulator::start_with(&[("RATCHET_EMULATOR_MINUTE", "2")]).await)
    else {
        return;
    };
    let embedded = Embedded { command, folder: tempfile::tempdir().unwrap() };
    let stack = Stack::deploy(emulator, &functions).await;
    let there = Asking::of(&stack, &embedded);
    let timed = workflow("timed.yaml").display().to_string();
    assert_eq!(there.say(&["publish", &timed]).code, Some(0));
    let run = stack.newest_of("timed").await;
    let told = stack.still(&run).await;
    assert_eq!(told["steps"]["told"]["outputs"]["text"], "schedule rate(1 minute)");
    let text = fs::read_to_string(workflow("timed.yaml")).unwrap();
    let still =
        text.replace("\"1\"", "\"2\"").replace("  schedule: { expressions: [\"rate(1 minute)\"] }", "  webhook: {}");
    let second = embedded.folder.path().join("timed.yaml");
    fs::write(&second, still).unwrap();
    let said = there.say(&["publish", second.to_str().unwrap()]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert_eq!(stack.schedules().await, Vec::<String>::new());
}

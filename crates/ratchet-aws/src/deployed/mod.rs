//! The deployed engine ends a run as the embedded one does: `template.yaml` on an emulator, with the functions as they were built, beside the command.

mod command;
mod stack;
mod tasks;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use ratchet_core::history::hex;
use serde_json::{Value, json};
use sha2::Sha256;

pub(crate) use self::stack::programs;
use self::stack::{SECRET, Stack};
use crate::{emulator::Emulator, trigger::page};

/// What differs from run to run, and what only one of the two places has: identifiers, times, costs, who answered, the user's directory.
const OWN: [&str; 14] = [
    "execution_id",
    "execution",
    "started_at",
    "completed_at",
    "created_at",
    "updated_at",
    "ended_at",
    "overhead",
    "process_ms",
    "by",
    "application",
    "workspace",
    "in_place",
    "left_behind",
];

/// What a person signs a request with. The emulator takes anybody for who they say they are.
const AUTHORIZATION: &str =
    "AWS4-HMAC-SHA256 Credential=ada/20260101/us-east-1/lambda/aws4_request, SignedHeaders=host, Signature=0";

fn workflow(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/deployed").join(name)
}

/// A state without what is a place's own.
fn plain(mut state: Value) -> Value {
    match &mut state {
        Value::Object(fields) => {
            fields.retain(|name, _| !OWN.contains(&name.as_str()));
            fields.values_mut().for_each(|field| *field = plain(field.take()));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = plain(item.take())),
        _ => {}
    }
    state
}

/// The command in a directory of its own.
struct Embedded {
    command: PathBuf,
    folder: tempfile::TempDir,
}

impl Embedded {
    fn run(&self, arguments: &[&str]) -> Value {
        let output = Command::new(&self.command)
            .args(arguments)
            .arg("--json")
            .current_dir(self.folder.path())
            .env("RATCHET_STATE_DIR", self.folder.path().join("state"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {said}"))
    }
}

/// Steps write files and read those of others; what two of them wrote meets, or is at odds.
async fn a_run_with_files(stack: &Stack, embedded: &Embedded) {
    let file = workflow("files.yaml");
    stack.publish(&file).await;
    let started = stack.invoke(&json!({"workflow": "files", "idempotency_key": "one"}));
    let id = started["execution_id"].as_str().unwrap_or_else(|| panic!("it was not started: {started}")).to_owned();
    let here = embedded.run(&["run", file.to_str().unwrap()]);
    stack.publish(&workflow("checkout.yaml")).await;
    let refused = stack.invoke(&json!({"workflow": "checkout", "idempotency_key": "one"}));
    assert_eq!(refused["error"]["code"], "RT-0453", "nothing here checks a repository out: {refused}");
    assert_eq!(here["steps"]["at_odds"]["error"]["code"], "RT-0195", "{here:#}");
    assert_eq!(plain(stack.still(&id).await), plain(here));
}

/// Invokes, answers and compares.
async fn an_invoked_run(stack: &Stack, embedded: &Embedded) {
    let file = workflow("inline.yaml");
    stack.publish(&file).await;
    let call = page::example("Call");
    let started = stack.invoke(&call);
    page::is_a("Invoked", &started);
    let id = started["execution_id"].as_str().unwrap_or_else(|| panic!("it was not started: {started}")).to_owned();
    assert_eq!(stack.invoke(&call)["execution_id"], id.as_str(), "the same call is the same execution");
    let paused = stack.still(&id).await;
    let here = embedded.run(&["run", file.to_str().unwrap(), "-i", "who=you"]);
    assert_eq!(plain(paused), plain(here.clone()));
    let path = format!("/executions/{id}/approve");
    let answer = page::example("Reply").to_string();
    let (status, told) = stack.post("PeopleUrl", &path, &[], &answer).await;
    assert_eq!(status, 403, "nobody is nobody: {told}");
    let wrong = stack.post("PeopleUrl", "/executions", &[("Authorization", AUTHORIZATION)], "{}").await;
    assert_eq!(wrong.0, 400, "a call names a workflow: {}", wrong.1);
    page::is_a("Refused", &wrong.1);
    let again = stack.post("PeopleUrl", "/executions", &[("Authorization", AUTHORIZATION)], &call.to_string()).await;
    assert_eq!((again.0, &again.1["created"]), (200, &json!(false)), "{}", again.1);
    page::is_a("StartedAnswer", &again.1);
    let (status, told) = stack.post("PeopleUrl", &path, &[("Authorization", AUTHORIZATION)], &answer).await;
    assert_eq!(status, 200, "{told}");
    let ended = stack.still(&id).await;
    let by = &ended["steps"]["go"]["outputs"]["by"];
    assert!(by.as_str().is_some_and(|by| by.ends_with(":user/ada")), "who answered is who signed: {by}");
    let here = embedded.run(&["approve", here["execution_id"].as_str().unwrap(), "go", "--comment", "fine"]);
    assert_eq!(plain(ended), plain(here));
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_end_as_in_the_embedded_engine() {
    let (Some((functions, command)), Some(emulator)) = (programs(), Emulator::start().await) else { return };
    let embedded = Embedded { command, folder: tempfile::tempdir().unwrap() };
    let stack = Stack::deploy(emulator, &functions).await;
    stack.has_the_table_of_the_store().await;
    an_invoked_run(&stack, &embedded).await;
    a_run_with_files(&stack, &embedded).await;

    let file = workflow("pushed.yaml");
    stack.publish(&file).await;
    // Larger than what stays in a row.
    let message = "a change ".repeat(2_000);
    let push = |commit: &str| {
        json!({
            "ref": "refs/heads/main", "before": "0", "after": commit, "repository": {"full_name": "team/app"},
            "sender": {"login": "ada"}, "head_commit": {"message": message, "added": ["a"]},
        })
    };
    let here = |event: &Value| {
        fs::write(embedded.folder.path().join("event.json"), event.to_string()).unwrap();
        embedded.run(&["run", file.to_str().unwrap(), "--event", "event.json"])
    };
    stack.put_event("github.example", "push", &push("c1")).await;
    let newest = stack.executions(3).await.swap_remove(0);
    let event = json!({"source": "github.example", "detail-type": "push", "detail": push("c1")});
    assert_eq!(plain(stack.still(&newest).await), plain(here(&event)));

    let body = push("c2").to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    let signature = format!("sha256={}", hex(&mac.finalize().into_bytes()));
    let signed = [("X-Hub-Signature-256", signature.as_str()), ("X-GitHub-Delivery", "1")];
    let (status, told) = stack.post("WebhooksUrl", "/", &signed, &body).await;
    assert_eq!(status, 202, "{told}");
    page::is_a("Started", &told);
    let id = told["started"][0]["execution_id"].as_str().unwrap().to_owned();
    let event = json!({"headers": {}, "body": body});
    assert_eq!(plain(stack.still(&id).await), plain(here(&event)));
    let replayed = [signed[0], ("X-GitHub-Delivery", "2")];
    assert_eq!(stack.post("WebhooksUrl", "/", &replayed, &body).await.0, 409, "a header makes no new delivery");
    assert_eq!(stack.post("WebhooksUrl", "/", &signed, &push("c3").to_string()).await.0, 401);
    assert_eq!(stack.post("WebhooksUrl", "/", &[], &body).await.0, 401);
    assert_eq!(stack.executions(4).await.len(), 4, "nothing more was started");
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_end_so_with_every_event_delivered_twice() {
    let (Some((functions, command)), Some(emulator)) =
        (programs(), Emulator::start_with(&[("RATCHET_EMULATOR_DELIVERIES", "2")]).await)
    else {
        return;
    };
    let embedded = Embedded { command, folder: tempfile::tempdir().unwrap() };
    let stack = Stack::deploy(emulator, &functions).await;
    an_invoked_run(&stack, &embedded).await;
}

#[test]
fn the_template_is_clean() {
    let Some(emulator) = std::env::var_os("RATCHET_TEST_EMULATOR") else { return };
    let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../template.yaml");
    let output = Command::new(Path::new(&emulator).with_file_name("cfn-lint")).arg(template).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

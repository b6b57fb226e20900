//! Events as they come, against workflows that they start or do not.

use super::*;

use crate::compile::{SourceFile, compile};

fn workflow(on: &str) -> Workflow {
    let text = format!(
        "name: w\nversion: '1'\ninputs:\n  branch: {{ type: string }}\n  count: {{ type: integer, default: 1 }}\n\
         steps: [{{ id: a, type: shell, command: 'true' }}]\non:\n{on}"
    );
    compile(&SourceFile { name: "w.yaml".into(), text: text.clone() })
        .unwrap_or_else(|wrong| panic!("{text}\n{wrong}"))
        .workflow
}

fn codecommit(change: impl FnOnce(&mut Json)) -> Json {
    let mut event = json!({
        "version": "0", "id": "01234567-0123-0123-0123-012345678901", "source": "aws.codecommit", "account": "123456789012",
        "detail-type": "CodeCommit Repository State Change", "time": "2026-06-12T10:23:43Z", "region": "eu-central-1",
        "resources": ["arn:aws:codecommit:eu-central-1:123456789012:shop"],
        "detail": {
            "event": "referenceUpdated", "repositoryName": "shop", "repositoryId": "1", "referenceType": "branch", "referenceName": "main",
            "referenceFullName": "refs/heads/main", "commitId": "7f0c", "oldCommitId": "1a2b",
            "callerUserArn": "arn:aws:iam::123456789012:user/ada",
        },
    });
    change(&mut event["detail"]);
    event
}

fn github(change: impl FnOnce(&mut Json)) -> Json {
    let commit = |id: &str, message: &str, added: &[&str], modified: &[&str]| json!({"id": id, "message": message, "added": added, "removed": [], "modified": modified});
    let mut body = json!({
        "ref": "refs/heads/main", "before": "1a2b", "after": "7f0c", "created": false, "deleted": false, "forced": false,
        "repository": {"full_name": "acme/shop", "fork": false, "default_branch": "main"},
        "pusher": {"name": "ada"}, "sender": {"login": "ada"},
        "commits": [commit("3c4d", "One", &["src/a.rs"], &[]), commit("7f0c", "Two\n\nMore of it", &[], &["docs/b.md"])],
        "head_commit": commit("7f0c", "Two", &[], &["docs/b.md"]),
    });
    change(&mut body);
    body
}

/// `started`, or the reason.
fn told(on: &str, event: &Json) -> String {
    match start(&workflow(on), event, Timestamp::UNIX_EPOCH) {
        Ok(start) => format!("started by {}", start.trigger["type"].as_str().unwrap_or_default()),
        Err(NotStarted { reason }) => reason,
    }
}

const MAIN: &str = "  push: { repositories: [shop, 'acme/*'], branches: [main, 'release/**'] }\n";
const TAGS: &str = "  push: { repositories: ['**'], tags: ['v*'] }\n";
const PATHS: &str = "  push: { repositories: ['**'], paths: ['src/**', '*.toml'] }\n";
const ANY: &str = "  push: { repositories: ['**'] }\n";

#[test]
fn pushes_start_what_they_are_of() {
    let all_own = |body: &mut Json| {
        for (at, message) in
            ["One\n\nRatchet-Execution: e1", "Two\r\n\r\nCo-Authored-By: a\r\nratchet-execution: e1\r\n"]
                .iter()
                .enumerate()
        {
            body["commits"][at]["message"] = json!(message);
        }
    };
    let tag = |body: &mut Json| body["ref"] = json!("refs/tags/v1.0");
    let cases: Vec<(&str, Json, &str)> = vec![
        (MAIN, codecommit(|_| {}), "started by push"),
        (MAIN, github(|_| {}), "started by push"),
        (MAIN, json!({"headers": {"x-github-event": "push"}, "body": github(|_| {}).to_string()}), "started by push"),
        (MAIN, json!({"source": "github.com", "detail-type": "push", "detail": github(|_| {})}), "started by push"),
        (MAIN, github(|body| body["ref"] = json!("refs/heads/release/2/x")), "started by push"),
        (
            MAIN,
            github(|body| body["ref"] = json!("refs/heads/dev")),
            "push: the branch `dev` is none of `main`, `release/**`",
        ),
        (
            MAIN,
            github(|body| body["repository"]["full_name"] = json!("other/shop")),
            "push: the repository `other/shop` is none of `shop`, `acme/*`",
        ),
        (
            MAIN,
            github(|body| body["repository"]["full_name"] = json!("acme/a/b")),
            "push: the repository `acme/a/b` is none of `shop`, `acme/*`",
        ),
        (MAIN, github(tag), "push: it is of the tag `v1.0`, and no tag starts this workflow"),
        (TAGS, github(tag), "started by push"),
        (TAGS, github(|_| {}), "push: it is of the branch `main`, and no branch starts this workflow"),
        (
            TAGS,
            codecommit(|d| (d["referenceType"], d["referenceName"]) = (json!("tag"), json!("x1"))),
            "push: the tag `x1` is none of `v*`",
        ),
        (ANY, github(tag), "started by push"),
        (ANY, github(|body| body["deleted"] = json!(true)), "push: `main` was deleted"),
        (
            ANY,
            github(|body| body["after"] = json!("0000000000000000000000000000000000000000")),
            "push: `main` was deleted",
        ),
        (ANY, codecommit(|d| d["event"] = json!("referenceDeleted")), "push: `main` was deleted"),
        (ANY, codecommit(|d| d["event"] = json!("referenceCreated")), "started by push"),
        (
            ANY,
            codecommit(|d| d["event"] = json!("commentOnCommitCreated")),
            "push: the event is none that is known as a push",
        ),
        (PATHS, github(|_| {}), "started by push"),
        (
            PATHS,
            github(|body| body["commits"][0]["added"] = json!(["sub/Cargo.toml"])),
            "push: none of the changed paths is one of `src/**`, `*.toml`",
        ),
        (PATHS, codecommit(|_| {}), "push: the event does not say which paths changed, and `paths` asks for some"),
        (PATHS, codecommit(|d| d["paths"] = json!(["Cargo.toml"])), "started by push"),
        (
            ANY,
            github(|body| body["repository"]["fork"] = json!(true)),
            "push: it is to a fork, and `allow_forks` is not set",
        ),
        (
            "  push: { repositories: ['**'], allow_forks: true }\n",
            github(|body| body["repository"]["fork"] = json!(true)),
            "started by push",
        ),
        (
            ANY,
            github(all_own),
            "push: a run made it (its commits carry the trailer `Ratchet-Execution`), and `allow_self` is not set",
        ),
        ("  push: { repositories: ['**'], allow_self: true }\n", github(all_own), "started by push"),
        // Somebody's own commit beside a run's is somebody's push.
        (ANY, github(|body| body["commits"][0]["message"] = json!("One\n\nRatchet-Execution: e1")), "started by push"),
        (ANY, github(|body| body["commits"][0]["message"] = json!("About Ratchet-Execution: e1")), "started by push"),
        (
            ANY,
            codecommit(|d| d["commitMessage"] = json!("x\n\nRatchet-Execution: e1")),
            "push: a run made it (its commits carry the trailer `Ratchet-Execution`), and `allow_self` is not set",
        ),
        (ANY, json!({"zen": "Design for failure."}), "push: the event is none that is known as a push"),
        (ANY, json!(null), "push: the event is none that is known as a push"),
    ];
    for (on, event, expected) in cases {
        assert_eq!(told(on, &event), expected, "{on}{event}");
    }
}

#[test]
fn schedules_calls_and_other_events_start_what_waits_for_them() {
    let tick = |expression: Json| json!({"source": "aws.scheduler", "detail-type": "Scheduled Event", "time": "2026-06-12T03:00:00Z", "detail": {"expression": expression}});
    let schedule = "  schedule: { expressions: ['rate(1 day)', 'cron(0 3 * * ? *)'], timezone: Europe/Berlin }\n";
    let webhook = "  webhook: { pattern: { action: [opened] } }\n";
    let event = "  event: { source: [aws.ecr], detail: { result: [SUCCESS], tag: [{ prefix: v }] } }\n";
    let image = |result: &str| json!({"source": "aws.ecr", "detail-type": "ECR Image Action", "detail": {"result": result, "tag": "v1"}});
    let cases: Vec<(String, Json, &str)> = vec![
        (schedule.into(), tick(json!(null)), "started by schedule"),
        (schedule.into(), tick(json!("rate(1 day)")), "started by schedule"),
        (
            schedule.into(),
            tick(json!("rate(2 days)")),
            "schedule: `rate(2 days)` is none of the schedule's expressions",
        ),
        ("  schedule: ['rate(5 minutes)']\n".into(), tick(json!(null)), "started by schedule"),
        (schedule.into(), image("SUCCESS"), "schedule: the event is no scheduled one"),
        ("  webhook: true\n".into(), json!({"headers": {}, "body": "no JSON"}), "started by webhook"),
        (webhook.into(), json!({"headers": {}, "body": "{\"action\": \"opened\"}"}), "started by webhook"),
        (
            webhook.into(),
            json!({"headers": {}, "body": {"action": "closed"}}),
            "webhook: `action` of the body is not what the pattern asks for",
        ),
        (webhook.into(), json!({"action": "opened"}), "webhook: the event is no call with `headers` and a `body`"),
        (event.into(), image("SUCCESS"), "started by event"),
        (event.into(), image("FAILURE"), "event: `detail.result` is not what the pattern asks for"),
        (format!("{MAIN}{event}"), image("SUCCESS"), "started by event"),
        (
            format!("{MAIN}{event}"),
            image("FAILURE"),
            "push: the event is none that is known as a push; event: `detail.result` is not what the pattern asks for",
        ),
    ];
    for (on, event, expected) in cases {
        assert_eq!(told(&on, &event), expected, "{on}{event}");
    }
    let mut none = workflow(MAIN);
    none.triggers = None;
    assert_eq!(
        start(&none, &json!({}), Timestamp::UNIX_EPOCH).unwrap_err().reason,
        "the workflow w has no `on`: nothing starts it by itself"
    );
}

#[test]
fn an_event_gives_inputs_and_is_seen_as_the_trigger() {
    let on = format!(
        "{MAIN}  inputs: {{ branch: '{{{{ trigger.branch }}}}', count: '{{{{ trigger.paths | length if trigger.paths else none }}}}' }}\n"
    );
    let workflow = workflow(&on);
    let Start { trigger, inputs } = start(&workflow, &github(|_| {}), Timestamp::UNIX_EPOCH).unwrap();
    let text = |text: &str| GivenInput::Text(text.to_owned());
    assert_eq!(
        inputs,
        BTreeMap::from([("branch".to_owned(), text("main")), ("count".to_owned(), GivenInput::Value(json!(2)))])
    );
    for (name, value) in [
        ("type", json!("push")),
        ("repository", json!("acme/shop")),
        ("ref", json!("refs/heads/main")),
        ("branch", json!("main")),
        ("tag", json!(null)),
        ("commit", json!("7f0c")),
        ("before", json!("1a2b")),
        ("actor", json!("ada")),
        ("paths", json!(["docs/b.md", "src/a.rs"])),
    ] {
        assert_eq!(trigger[name], value, "{name}");
    }
    assert_eq!(trigger["event"]["pusher"]["name"], "ada");
    let Start { inputs, .. } = start(&workflow, &codecommit(|_| {}), Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(inputs, BTreeMap::from([("branch".to_owned(), text("main"))]), "what comes to null is not given");
    let missing = tests::workflow(&format!("{ANY}  inputs: {{ branch: '{{{{ trigger.brunch }}}}' }}\n"));
    let reason = start(&missing, &codecommit(|_| {}), Timestamp::UNIX_EPOCH).unwrap_err().reason;
    assert!(reason.starts_with("the input `branch` has no value"), "{reason}");
}

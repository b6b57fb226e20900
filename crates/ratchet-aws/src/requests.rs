//! Every kind of request as it goes out, without a network: what is asked of DynamoDB, and on which condition.

use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::Client;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use jiff::Timestamp;
use ratchet_core::{
    artifact::{ArtifactName, Which},
    budget::{AgentCall, Budget},
    group::Member,
    ids::{Digest, Epoch, ExecutionId, StepId, StepKey, StepPath},
    join::{JoinKey, JoinKind, NeedOutcome},
    step::AttemptRow,
};
use ratchet_engine::ports::{ArtifactStore, Current, ExecutionFilter, Expectation, StateStore, StoreError, Write};
use ratchet_testkit::builders::{artifact, execution_row, step_row};
use serde_json::{Value, json};

use crate::{DynamoStateStore, answers::config};

fn store(answer: impl Fn(&HttpRequest) -> (u16, String) + Send + Sync + 'static) -> DynamoStateStore {
    DynamoStateStore::new(Client::new(&config(answer)), "state")
}

fn body_of(request: &HttpRequest) -> Value {
    serde_json::from_slice(request.body().bytes().unwrap_or_default()).unwrap_or_default()
}

/// A store whose requests are kept, and answered with nothing.
fn recorded() -> (DynamoStateStore, Arc<Mutex<Vec<String>>>) {
    let requests: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = requests.clone();
    let store = store(move |request| {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let mut body = body_of(request);
        hide(&mut body);
        kept.lock().unwrap().push(format!("{} {body:#}", target.trim_start_matches("DynamoDB_20120810.")));
        (200, "{}".to_owned())
    });
    (store, requests)
}

/// A store whose every request is answered with an error, which is made from the request.
fn refusing(answer: impl Fn(&Value) -> Value + Send + Sync + 'static) -> DynamoStateStore {
    store(move |request| (400, answer(&body_of(request)).to_string()))
}

/// Takes out what differs from call to call, and rows, whose form is not the request's.
fn hide(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match name.as_str() {
                    "body" => *field = "(the row)".into(),
                    "writer" | "ClientRequestToken" => *field = "(this write)".into(),
                    _ => hide(field),
                }
            }
        }
        Value::Array(fields) => fields.iter_mut().for_each(hide),
        _ => {}
    }
}

async fn asked(ask: impl AsyncFnOnce(DynamoStateStore)) -> String {
    let (store, requests) = recorded();
    ask(store).await;
    let requests = requests.lock().unwrap();
    requests.join("\n")
}

fn key(child: Option<u32>) -> StepKey {
    let path = StepPath { step: StepId::new("build"), child };
    StepKey { execution: ExecutionId::new("run"), epoch: Epoch(2), path }
}

#[tokio::test]
async fn writes_go_out_with_their_conditions() {
    let call = AgentCall { key: key(None), attempt: 1 };
    let budget = Budget { max_agent_calls: Some(3), ..Budget::default() };
    let member = Member { execution: ExecutionId::new("run"), epoch: Epoch(1), limit: 1 };
    let join = JoinKey {
        execution: ExecutionId::new("run"),
        epoch: Epoch(1),
        step: StepId::new("end"),
        kind: JoinKind::Needs,
        level: 0,
        bucket: 1,
    };
    let writes = [
        ("execution-new", Write::Execution { row: Box::new(execution_row("run")), expect: Expectation::Absent }),
        (
            "execution-changed",
            Write::Execution { row: Box::new(execution_row("run")), expect: Expectation::Revision(7) },
        ),
        ("step-claimed", Write::Step { row: Box::new(step_row(key(None))), expect: Expectation::Absent }),
        ("child-changed", Write::Step { row: Box::new(step_row(key(Some(33)))), expect: Expectation::Revision(1) }),
        ("attempt", Write::Attempt(Box::new(AttemptRow { key: key(None), attempt: 3, records: Vec::new() }))),
        (
            "union",
            Write::Unite {
                key: join,
                place: 5,
                outcome: NeedOutcome { satisfied: true, failed_above: true, continued_above: false },
            },
        ),
        ("budget", Write::EnterCall { owner: ExecutionId::new("run"), call, budget }),
        ("group", Write::TakeTurn { group: "deploy".to_owned(), member, waits: true }),
        ("artifact", Write::Artifact(Box::new(artifact("report", "run", 1, None, "x")))),
    ];
    for (name, write) in writes {
        let requests = asked(async |store| drop(store.commit(vec![write]).await)).await;
        insta::assert_snapshot!(format!("write-{name}"), requests);
    }
}

#[tokio::test]
async fn what_becomes_of_a_task_is_written_over_what_was_seen() {
    let digest = Digest::new("00".repeat(32));
    let asked = asked(async |store| {
        let (key, at) = (key(Some(33)), Timestamp::UNIX_EPOCH);
        drop(store.expect_task(&key, 2, at).await);
        drop(store.begin_task(&key, 2, "one", at).await);
        drop(store.report_task(&key, 2, "one", (&digest, at)).await);
        drop(store.give_up_task(&key, 2, (None, at)).await);
    });
    insta::assert_snapshot!("write-task", asked.await);
}

#[tokio::test]
async fn reads_name_their_keys() {
    let run = ExecutionId::new("run");
    let steps = [StepId::new("a"), StepId::new("b")];
    let filter = ExecutionFilter { workflow: Some("w".to_owned()), roots_only: true, ..ExecutionFilter::default() };
    insta::assert_snapshot!("read-execution", asked(async |store| drop(store.execution(&run).await)).await);
    insta::assert_snapshot!(
        "read-first",
        asked(async |store| drop(store.newest_steps(&run, Epoch(1), &steps).await)).await
    );
    insta::assert_snapshot!(
        "read-later",
        asked(async |store| drop(store.newest_steps(&run, Epoch(3), &steps[..1]).await)).await
    );
    let children = asked(async |store| drop(store.children(&run, Epoch(1), &steps[0], 40, 1).await)).await;
    let parts: Vec<&str> = children.trim_end().split("\nQuery").collect();
    let (first, buckets) = parts.split_at(2);
    insta::assert_snapshot!("read-children", first.join("\nQuery"));
    // All buckets are asked alike.
    assert_eq!(buckets.len(), 64);
    for (number, bucket) in (2..).zip(buckets) {
        assert_eq!(*bucket, first[1].replace("run/run/1/a/1\"", &format!("run/run/1/a/{number}\"")));
    }
    insta::assert_snapshot!("read-attempts", asked(async |store| drop(store.attempts(&key(Some(33))).await)).await);
    let name = ArtifactName { workflow: "w".to_owned(), name: "report".to_owned() };
    insta::assert_snapshot!(
        "read-artifact",
        asked(async |store| drop(store.artifact(&name, &Which::Latest).await)).await
    );
    let listed = asked(async |store| drop(store.executions(&filter, None, 10).await)).await;
    assert_eq!(listed.matches("Query").count(), 8, "each part of the index is asked");
    insta::assert_snapshot!("read-list", listed.split("\nQuery").next().unwrap_or_default());
    let due = asked(async |store| drop(store.due(Timestamp::UNIX_EPOCH, 5).await)).await;
    insta::assert_snapshot!("read-due", due.split("\nQuery").next().unwrap_or_default());
}

fn claim() -> Vec<Write> {
    vec![Write::Step { row: Box::new(step_row(key(None))), expect: Expectation::Absent }]
}

const CONDITION: &str = "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException";

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_known_again() {
    let own = refusing(|request| json!({"__type": CONDITION, "Item": request["Item"]}));
    let committed = own.commit(claim()).await.unwrap();
    assert_eq!((committed.applied.len(), committed.conflict), (1, None));
    let other = refusing(|request| {
        let mut item = request["Item"].clone();
        item["writer"] = json!({"S": "another"});
        json!({"__type": CONDITION, "Item": item})
    });
    let committed = other.commit(claim()).await.unwrap();
    let current = Current::Step(Box::new(step_row(key(None))));
    assert_eq!(committed.conflict.map(|conflict| conflict.current), Some(current));
    let gone = refusing(|_| json!({"__type": CONDITION}));
    assert_eq!(gone.commit(claim()).await.unwrap().conflict.map(|conflict| conflict.current), Some(Current::Absent));
}

#[tokio::test]
async fn what_may_pass_is_told_from_what_will_not() {
    for (code, passes) in [
        ("ThrottlingException", true),
        ("ProvisionedThroughputExceededException", true),
        ("InternalServerError", true),
        ("AccessDeniedException", false),
        ("ResourceNotFoundException", false),
        ("ValidationException", false),
    ] {
        let refusing =
            refusing(move |_| json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": "no"}));
        let written = refusing.commit(claim()).await;
        let read = refusing.execution(&ExecutionId::new("run")).await.map(drop);
        for error in [written.map(drop).unwrap_err(), read.unwrap_err()] {
            assert_eq!(matches!(error, StoreError::Unavailable(_)), passes, "{code}: {error}");
            assert!(error.to_string().contains(code), "{error}");
        }
    }
}

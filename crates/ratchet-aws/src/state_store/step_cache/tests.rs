//! The contract on an emulator, and each kind of request as it goes out.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU32, Ordering},
};

use aws_sdk_dynamodb::{Client, types::AttributeValue};
use ratchet_core::output::{BlobRef, Output};
use ratchet_testkit::{
    builders::{kept_result, step_key, time, use_of},
    contract,
};
use serde_json::{Value, json};

use super::*;
use crate::{Table, answers::config, emulator::Emulator};

/// A cache whose requests are kept, and answered one after the other by what is said.
fn asked(bytes_max: Option<u64>, answers: Vec<(u16, Value)>) -> (DynamoStepCache, Arc<Mutex<Vec<String>>>) {
    let requests: Arc<Mutex<Vec<String>>> = Arc::default();
    let (kept, answers) = (requests.clone(), Mutex::new(answers.into_iter()));
    let config = config(move |request| {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let mut body = serde_json::from_slice(request.body().bytes().unwrap_or_default()).unwrap_or_default();
        hide(&mut body);
        kept.lock().unwrap().push(format!("{} {body:#}", target.trim_start_matches("DynamoDB_20120810.")));
        let (status, answer) = answers.lock().unwrap().next().unwrap_or((200, json!({})));
        (status, answer.to_string())
    });
    (DynamoStepCache::new(DynamoStateStore::new(Client::new(&config), "state"), bytes_max), requests)
}

/// Takes out what differs from call to call, and texts, whose form is not the request's.
fn hide(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match name.as_str() {
                    "body" | "digest" | "used" | "lease" => *field = "(text)".into(),
                    "writer" | "ClientRequestToken" | ":w" => *field = "(this write)".into(),
                    _ => hide(field),
                }
            }
        }
        Value::Array(fields) => fields.iter_mut().for_each(hide),
        _ => {}
    }
}

fn entry() -> Entry {
    let blob = BlobRef { digest: ratchet_core::ids::Digest::new("0".repeat(64)), size: 1 };
    Entry { created_at: time(7), ..kept_result("k", "run", Output::Stored(blob)) }
}

fn lease(run: &str) -> Lease {
    Lease { holder: step_key(run, 1, "s"), attempt: 1, taken_at: time(1), until: time(60) }
}

/// What a read gives where an entry or a lease is under the name.
fn there(kept: Option<&Entry>, lease: Option<&Lease>) -> Value {
    let mut item = json!({"writer": {"S": "seen"}});
    if let Some(entry) = kept {
        let (body, digest) = entry.sealed();
        let at = entry.created_at.as_nanosecond().to_string();
        item["body"] = json!({"S": body});
        item["digest"] = json!({"S": digest.as_str()});
        item["bytes"] = json!({"N": entry.bytes.to_string()});
        item["wake_at"] = json!({"N": at});
    }
    if let Some(lease) = lease {
        item["lease"] = json!({"S": serde_json::to_string(lease).unwrap()});
    }
    json!({"Item": item})
}

/// Pins what is asked for one call, and what comes of it.
async fn pin<T: std::fmt::Debug>(
    name: &str,
    answers: Vec<Value>,
    ask: impl AsyncFnOnce(DynamoStepCache) -> Result<T, CacheError>,
) {
    let (cache, requests) = asked(None, answers.into_iter().map(|answer| (200, answer)).collect());
    let came = ask(cache).await.unwrap();
    let requests = requests.lock().unwrap().join("\n");
    insta::assert_snapshot!(name, format!("{requests}\n= {came:?}"));
}

#[tokio::test]
async fn what_a_step_costs_is_what_is_asked() {
    let (entry, own) = (entry(), lease("run"));
    let (name, used) = (entry.name.clone(), use_of(&entry));
    let nothing = || json!({});
    pin("look", vec![nothing()], async |cache| cache.get(&name, time(8)).await).await;
    pin("lease", vec![nothing()], async |cache| cache.lease(&name, own.clone(), None).await).await;
    let over = || vec![there(None, Some(&lease("other")))];
    pin("lease-over", over(), async |cache| cache.lease(&name, own.clone(), Some(&lease("other"))).await).await;
    pin("release", vec![there(None, Some(&own))], async |cache| cache.release(&name, &own.holder, 1).await).await;
    let publish = async |cache: DynamoStepCache| cache.publish(entry.clone(), used.clone(), false).await;
    pin("publish", vec![there(None, Some(&own))], publish).await;
    pin("publish-late", vec![there(Some(&entry), None)], publish).await;
    pin("note", Vec::new(), async |cache| cache.note(used.clone()).await).await;
    pin("withdraw", vec![nothing(), there(Some(&entry), None)], async |cache| {
        cache.withdraw(&name, &entry.made_by, time(9)).await
    })
    .await;
    let unproven = Entry { unproven: true, ..entry.clone() };
    pin("confirm", vec![there(Some(&unproven), None)], async |cache| cache.confirm(&name, &entry.made_by).await).await;
}

#[tokio::test]
async fn what_is_asked_for_a_publish_does_not_grow() {
    let entry = entry();
    let sums =
        json!({"Responses": {"state": [{"pk": {"S": "cache-bytes/1"}, "sk": {"S": "bytes"}, "bytes": {"N": "100"}}]}});
    let answers = [json!({}), json!({}), sums].map(|answer| (200, answer)).into();
    let (cache, requests) = asked(Some(1000), answers);
    cache.publish(entry.clone(), use_of(&entry), false).await.unwrap();
    let requests = requests.lock().unwrap();
    let kinds: Vec<&str> = requests.iter().filter_map(|request| request.split(' ').next()).collect();
    assert_eq!(kinds, ["GetItem", "TransactWriteItems", "BatchGetItem"], "no index is read while there is room");
}

#[tokio::test]
async fn lists_go_by_the_indexes() {
    let filter = UseFilter { workflow: Some("w".to_owned()), from: Some(time(1)), ..UseFilter::default() };
    for (name, asked) in [
        ("list", asked(None, Vec::new())),
        ("uses", asked(None, Vec::new())),
        (
            "evict",
            asked(
                None,
                vec![(
                    200,
                    json!({"Responses": {"state": [
            {"pk": {"S": "cache-bytes/1"}, "sk": {"S": "bytes"}, "bytes": {"N": "100"}}]}}),
                )],
            ),
        ),
    ] {
        let (cache, requests) = asked;
        match name {
            "list" => drop(cache.entries(&EntryFilter::default(), Some(&entry().name), 10).await.unwrap()),
            "uses" => drop(cache.uses(&filter, 10).await.unwrap()),
            _ => drop(cache.evict(10).await.unwrap()),
        }
        let requests = requests.lock().unwrap();
        assert_eq!(
            requests.iter().filter(|request| request.starts_with("Query ")).count(),
            8,
            "{name}: each part of the index"
        );
        let first: Vec<&str> = requests.iter().map(String::as_str).take(requests.len() - 7).collect();
        insta::assert_snapshot!(name, first.join("\n"));
    }
}

#[tokio::test]
async fn a_race_is_told_from_a_refusal() {
    let entry = entry();
    let cancelled = |codes: [&str; 3]| {
        let reasons: Vec<_> = codes.map(|code| json!({"Code": code})).into();
        let kind = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException";
        (400, json!({"__type": kind, "CancellationReasons": reasons}))
    };
    let (failed, none) = ("ConditionalCheckFailed", "None");
    for (codes, came) in [
        ([failed, none, none], "Kept"),
        ([none, "TransactionConflict", none], "Kept"),
        ([none, none, failed], "Passed"),
        ([failed, none, failed], "Passed"),
        (["ThrottlingError", none, none], "Failed"),
        (["ItemCollectionSizeLimitExceeded", none, none], "Failed"),
    ] {
        let (cache, _) = asked(None, vec![(200, json!({})), cancelled(codes)]);
        let published = cache.publish(entry.clone(), use_of(&entry), false).await;
        let told = published.map_or_else(|_| "Failed".to_owned(), |published| format!("{published:?}"));
        assert_eq!(told, came, "{codes:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_results_in_dynamodb_keep_the_contract() {
    let Some(emulator) = Emulator::start().await else { return };
    let client = Client::new(&emulator.config().await);
    let tables = AtomicU32::new(0);
    contract::step_cache(async |bytes_max| {
        let table = format!("cache-{}", tables.fetch_add(1, Ordering::Relaxed));
        Table::create(&client, &table).await.unwrap();
        let cache = DynamoStepCache::new(DynamoStateStore::new(client.clone(), table.clone()), bytes_max);
        let (client, runtime) = (client.clone(), tokio::runtime::Handle::current());
        let damage = move |name: &EntryName| {
            let partition = format!("cache/{}/{}", name.scope, name.key);
            let request = client
                .update_item()
                .table_name(&table)
                .key("pk", AttributeValue::S(partition))
                .key("sk", AttributeValue::S("name".to_owned()))
                .update_expression("SET body = :damaged")
                .expression_attribute_values(":damaged", AttributeValue::S("damaged".to_owned()));
            tokio::task::block_in_place(|| runtime.block_on(async { drop(request.send().await.unwrap()) }));
        };
        (Arc::new(cache) as Arc<dyn StepCache>, Box::new(damage) as _)
    })
    .await;
}

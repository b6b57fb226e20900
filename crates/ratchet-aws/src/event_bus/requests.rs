//! What is asked of `EventBridge` and SQS, and what becomes of what they refuse.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use jiff::SignedDuration;
use ratchet_core::ids::{StepId, StepPath};
use ratchet_engine::ports::{BusError, Clock, Envelope, Event, EventBus};
use ratchet_testkit::{
    builders::{envelope, step_key, step_ready, time},
    memory::{ManualClock, MemoryBlobStore},
};
use serde_json::{Value, json};

use super::{BusPlace, EventBridgeBus};
use crate::answers::config;

fn bus(answer: impl Fn(&HttpRequest) -> (u16, String) + Send + Sync + 'static) -> EventBridgeBus {
    let config = config(answer);
    let place = BusPlace { bus: "ratchet-test".to_owned(), timers: "https://queues/timers".to_owned() };
    EventBridgeBus::new(
        aws_sdk_eventbridge::Client::new(&config),
        aws_sdk_sqs::Client::new(&config),
        place,
        Arc::new(MemoryBlobStore::default()),
        Arc::new(ManualClock::new(time(0), 0)),
    )
}

fn body_of(request: &HttpRequest) -> Value {
    serde_json::from_slice(request.body().bytes().unwrap_or_default()).unwrap_or_default()
}

/// What a bus asks for, which takes all, while something is done with it.
async fn asked(ask: impl AsyncFnOnce(EventBridgeBus)) -> Vec<String> {
    let requests: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = requests.clone();
    let bus = bus(move |request| {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        kept.lock().unwrap().push(format!("{target} {:#}", body_of(request)));
        (200, json!({"FailedEntryCount": 0, "Entries": []}).to_string())
    });
    ask(bus).await;
    requests.lock().unwrap().clone()
}

fn ready(step: &str) -> Envelope {
    envelope("run", step_ready(StepPath::step(StepId::new(step))))
}

#[tokio::test]
async fn events_name_their_bus_and_their_word() {
    let requests = asked(async |bus| bus.publish(ready("build")).await.unwrap()).await;
    insta::assert_snapshot!(requests.join("\n"));
}

#[tokio::test]
async fn many_events_go_out_together() {
    let requests =
        asked(async |bus| bus.publish_all((0..23).map(|n| ready(&format!("s{n}"))).collect()).await.unwrap()).await;
    let entries = |request: &String| request.matches("\"Detail\"").count();
    assert_eq!(requests.iter().map(entries).collect::<Vec<_>>(), [10, 10, 3]);
}

#[tokio::test]
async fn what_is_for_later_waits_in_the_queue_or_is_left_to_the_wake_up() {
    let event = || envelope("run", Event::RetryDue { key: step_key("run", 1, "a"), attempt: 1 });
    let now = ManualClock::new(time(0), 0).now();
    let after = |milliseconds| now + SignedDuration::from_millis(milliseconds);
    let later = asked(async |bus| bus.publish_at(event(), after(1500)).await.unwrap()).await;
    insta::assert_snapshot!(later.join("\n"));
    let at_once = asked(async |bus| bus.publish_at(event(), after(-1)).await.unwrap()).await;
    assert!(at_once.len() == 1 && at_once[0].starts_with("AWSEvents.PutEvents"), "{at_once:?}");
    let far = asked(async |bus| bus.publish_at(event(), after(901_000)).await.unwrap()).await;
    assert!(far.is_empty(), "{far:?}");
}

/// A bus that answers each request with what a function makes of its number and its entries.
fn partly(
    answer: impl Fn(usize, usize) -> Vec<Value> + Send + Sync + 'static,
) -> (EventBridgeBus, Arc<Mutex<Vec<Vec<String>>>>) {
    let requests: Arc<Mutex<Vec<Vec<String>>>> = Arc::default();
    let (kept, calls) = (requests.clone(), AtomicUsize::new(0));
    let bus = bus(move |request| {
        let body = body_of(request);
        let entries = body["Entries"].as_array().cloned().unwrap_or_default();
        let step = |entry: &Value| {
            let detail: Value = serde_json::from_str(entry["Detail"].as_str().unwrap_or_default()).unwrap_or_default();
            detail["event"]["path"]["step"].as_str().unwrap_or_default().to_owned()
        };
        kept.lock().unwrap().push(entries.iter().map(step).collect());
        let results = answer(calls.fetch_add(1, Ordering::Relaxed), entries.len());
        let failed = results.iter().filter(|result| result.get("ErrorCode").is_some()).count();
        (200, json!({"FailedEntryCount": failed, "Entries": results}).to_string())
    });
    (bus, requests)
}

#[tokio::test]
async fn only_what_was_refused_for_now_is_put_again() {
    let (bus, requests) = partly(|call, entries| {
        let refused = json!({"ErrorCode": "ThrottlingException", "ErrorMessage": "slow down"});
        let taken = json!({"EventId": "1"});
        (0..entries).map(|at| if call == 0 && at == 1 { refused.clone() } else { taken.clone() }).collect()
    });
    bus.publish_all(vec![ready("a"), ready("b"), ready("c")]).await.unwrap();
    assert_eq!(*requests.lock().unwrap(), [vec!["a", "b", "c"], vec!["b"]]);
}

#[tokio::test]
async fn what_is_refused_again_and_again_or_for_good_is_told() {
    for (code, tries) in [("InternalFailure", 4), ("NotAuthorizedForSourceException", 1)] {
        let (bus, requests) = partly(move |_, _| vec![json!({"ErrorCode": code, "ErrorMessage": "no"})]);
        let BusError::Unavailable(reason) = bus.publish(ready("a")).await.unwrap_err();
        assert!(reason.contains(code) && reason.contains("StepReady"), "{reason}");
        assert_eq!(requests.lock().unwrap().len(), tries, "{code}");
    }
    let refusing = bus(|_| (400, json!({"__type": "AccessDeniedException"}).to_string()));
    let BusError::Unavailable(reason) = refusing.publish(ready("a")).await.unwrap_err();
    assert!(reason.contains("AccessDenied"), "{reason}");
}

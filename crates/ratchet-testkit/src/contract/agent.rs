use std::{fs, path::Path, sync::Arc};

use ratchet_engine::ports::{Agent, AgentFault, AgentRequest, Stop};
use serde_json::Value;
use tokio::sync::watch;

/// The contract of [`Agent`]. `make` is given an empty folder and gives an agent with a request that it can fulfil, all of whose paths lie in the folder.
pub async fn agent(make: impl AsyncFn(&Path) -> (Arc<dyn Agent>, AgentRequest)) {
    for told_to_stop in [None, Some(Stop::Gracefully), Some(Stop::AtOnce)] {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let (agent, request) = make(folder.path()).await;
        let identity = agent.identity();
        assert!(!identity.is_empty(), "an agent says which one it is");
        let (_sender, stop) = watch::channel(told_to_stop);
        let result = agent.perform(request.clone(), stop).await;
        match (told_to_stop, result) {
            (None, Ok(reply)) => {
                assert!(reply.cost_usd >= 0.0 && reply.cost_usd.is_finite(), "a cost is a number of dollars");
                assert_transcript(&request.transcript);
            }
            (None, Err(error)) => panic!("the request can be fulfilled: {error} ({:?})", error.fault),
            (Some(_), Err(error)) => assert_eq!(error.fault, AgentFault::Stopped, "{error}"),
            (Some(stop), Ok(_)) => panic!("an agent that is told to stop ({stop:?}) before it begins does not work"),
        }
        assert_eq!(agent.identity(), identity, "an agent stays the one it is");
    }
}

/// Each event of a session is a line of JSON.
fn assert_transcript(path: &Path) {
    let text = fs::read_to_string(path).expect("the session's events are written");
    assert!(!text.is_empty() && text.ends_with('\n'), "a session has events, each a whole line");
    for line in text.lines() {
        let event: Result<Value, _> = serde_json::from_str(line);
        assert!(event.is_ok_and(|event| event.is_object()), "an event is an object: {line}");
    }
}

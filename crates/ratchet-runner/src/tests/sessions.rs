//! Sessions that end at a limit and are gone on with by another attempt.

use ratchet_core::ids::Digest;
use ratchet_engine::ports::{BlobStore, SessionPoint};

use super::*;

/// An agent that reaches a limit, unless it goes on with what it said before.
fn limited(request: &AgentRequest) -> Result<AgentReply, AgentError> {
    let share = |cost_usd| BTreeMap::from([("m".to_owned(), ModelShare { cost_usd, tokens: 10 })]);
    if let Some(point) = &request.resume {
        let history = fs::read_to_string(point.history.as_ref().unwrap()).unwrap();
        let response = json!([request.prompt, request.round, point.session_id, point.cost_usd, point.models, history]);
        return Ok(AgentReply { response: response.to_string(), session_id: "s".to_owned(), ..AgentReply::default() });
    }
    let history = request.directory.join("kept.jsonl");
    fs::write(&history, "what was said").unwrap();
    let spent = AgentReply {
        cost_usd: 0.25,
        tokens: 10,
        models: share(0.25),
        session_id: "s".to_owned(),
        history: Some(history),
        ..AgentReply::default()
    };
    let fault = if request.prompt == "take long" { AgentFault::Timeout } else { AgentFault::Limit };
    Err(AgentError { fault, message: "too much".to_owned(), hint: None, spent: Box::new(spent) })
}

fn world(blobs: &Arc<MemoryBlobStore>, change: impl FnOnce(&mut AgentOrder)) -> World {
    let Work::Agent(mut asked) = agent_order() else { unreachable!() };
    asked.on_limit = OnLimit::Pause;
    change(&mut asked);
    let mut world = World::new(Work::Agent(asked));
    (world.agent, world.blobs) = (Doing(limited), Arc::clone(blobs));
    world
}

#[tokio::test]
async fn a_session_at_its_limit_is_kept_and_gone_on_with_elsewhere() {
    let blobs = Arc::default();
    for prompt in ["do it", "take long"] {
        let failure = world(&blobs, |asked| prompt.clone_into(&mut asked.prompt)).fails().await;
        let kept = failure.session.expect("it is kept");
        let (result, _place) = world(&blobs, |asked| asked.session = Some(kept)).succeeds().await;
        let Value::Array(said) = value(&result, "json") else { panic!("{result:?}") };
        assert!(said[0].as_str().unwrap().contains("go on where you were"), "{said:?}");
        let models = json!({"m": {"cost_usd": 0.25, "tokens": 10}});
        assert_eq!(said[1..], [json!(2), json!("s"), json!(0.25), models, json!("what was said")]);
    }
}

#[tokio::test]
async fn only_a_limit_is_waited_at_and_only_where_the_step_says_so() {
    let blobs = Arc::default();
    assert_eq!(world(&blobs, |asked| asked.on_limit = OnLimit::Fail).fails().await.session, None);
    let mut broken = world(&blobs, |_| {});
    broken.agent = Doing(|_| {
        let (fault, message) = (AgentFault::Api, "no".to_owned());
        Err(AgentError { fault, message, hint: None, spent: Box::default() })
    });
    assert_eq!(broken.fails().await.session, None);
}

#[tokio::test]
async fn a_session_of_which_nothing_is_known_is_begun_anew_and_a_lost_one_is_said() {
    let blobs = Arc::default();
    let mut unknown = world(&blobs, |_| {});
    unknown.agent = Doing(|request| {
        let spent = Box::default();
        Err(AgentError { fault: AgentFault::Limit, message: request.prompt.clone(), hint: None, spent })
    });
    let kept = unknown.fails().await.session.unwrap();
    let mut again = world(&blobs, |asked| asked.session = Some(kept));
    again.agent = Doing(|request| {
        assert_eq!((request.prompt.as_str(), request.round, &request.resume), ("do it", 2, &None));
        Ok(AgentReply::default())
    });
    again.succeeds().await;
    let lost = world(&blobs, |asked| asked.session = Some(Digest::new("nowhere"))).fails().await;
    assert_eq!(lost.code.as_deref(), Some(codes::SESSION_LOST));
}

/// An agent that tells what it was asked, and keeps what was said.
#[expect(clippy::unnecessary_wraps, reason = "agents may fail")]
fn talking(request: &AgentRequest) -> Result<AgentReply, AgentError> {
    let said = |point: &SessionPoint| fs::read_to_string(point.history.as_ref().unwrap()).unwrap();
    let before = request.resume.as_ref().map(said).unwrap_or_default();
    let history = request.directory.join("kept.jsonl");
    fs::write(&history, format!("{before}{};", request.prompt)).unwrap();
    let (response, session_id) = (json!([request.prompt, request.round, before]).to_string(), "s".to_owned());
    Ok(AgentReply { response, session_id, cost_usd: 0.25, history: Some(history), ..AgentReply::default() })
}

#[tokio::test]
async fn another_step_goes_on_in_the_conversation_of_one_that_is_done() {
    let blobs = Arc::default();
    let talk = |change: &dyn Fn(&mut AgentOrder)| {
        let mut world = world(&blobs, change);
        world.agent = Doing(talking);
        world
    };
    assert_eq!(talk(&|_| {}).succeeds().await.0.session, None, "nobody goes on with it");
    let (first, _place) = talk(&|asked| asked.keeps_session = true).succeeds().await;
    let kept = first.session.expect("it is kept");
    for _ in 0..2 {
        // What one step adds the next one does not see: each goes on with what was said until then.
        let (second, _place) = talk(&|asked| {
            asked.prompt = "and then?".to_owned();
            (asked.continues, asked.keeps_session) = (Some(kept.digest.clone()), true);
        })
        .succeeds()
        .await;
        assert_eq!(value(&second, "json"), json!(["and then?", 1, "do it;"]));
        let text = blobs.get(&second.session.expect("it is kept too").digest).await.unwrap();
        let text: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!((&text["history"], &text["point"]["cost_usd"]), (&json!("do it;and then?;"), &json!(0.5)));
    }
    let lost = talk(&|asked| asked.continues = Some(Digest::new("nowhere"))).fails().await;
    assert_eq!(lost.code.as_deref(), Some(codes::SESSION_LOST));
}

//! Sessions that end at a limit and are gone on with by another attempt.

use ratchet_core::ids::Digest;

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

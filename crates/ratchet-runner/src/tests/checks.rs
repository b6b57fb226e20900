//! Commands that judge what an agent left.

use std::net::TcpListener;

use ratchet_engine::{
    order::{SecretText, VerifyOrder},
    ports::SessionPoint,
};
use ratchet_testkit::memory::MemorySecrets;

use super::*;
use crate::profile::{Worker, rules};

/// An attempt of an agent that writes a line to `rounds` each time that it is asked, and of a script that judges it.
fn world(script: &str, max_fix_rounds: u32) -> World {
    let Work::Agent(mut asked) = agent_order() else { unreachable!() };
    asked.verify = Some(VerifyOrder {
        argv: ["bash", "-c", script].map(str::to_owned).to_vec(),
        values: BTreeMap::from([("VALUE".to_owned(), "a value".to_owned())]),
        display: "the check".to_owned(),
        profile: None,
        max_fix_rounds,
    });
    let mut world = World::new(Work::Agent(asked));
    world.agent = Doing(|request| {
        let path = request.files.path().join("rounds");
        let rounds = fs::read_to_string(&path).unwrap_or_default();
        fs::write(&path, format!("{rounds}{}\n", json!({"round": request.round, "prompt": request.prompt}))).unwrap();
        let models = BTreeMap::from([("m".to_owned(), ModelShare { cost_usd: 0.25, tokens: 10 })]);
        Ok(AgentReply {
            response: format!("round {}", request.round),
            cost_usd: 0.25,
            tokens: 10,
            turns: 3,
            models,
            session_id: "s".to_owned(),
            permission_denials: vec![json!(request.resume)],
            history: None,
            json: Some(json!([request.max_turns, request.max_cost_usd])),
        })
    });
    world
}

fn limits(world: World, max_turns: u32, max_cost_usd: f64) -> World {
    world.with(|order| {
        let Work::Agent(asked) = &mut order.work else { unreachable!() };
        (asked.max_turns, asked.max_cost_usd) = (Some(max_turns), Some(max_cost_usd));
    })
}

/// What the agent was asked in each round.
fn prompts(place: &TempDir) -> Vec<String> {
    let rounds = fs::read_to_string(place.path().join("workspace/rounds")).unwrap();
    let rounds = rounds.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    rounds.map(|round| round["prompt"].as_str().unwrap().to_owned()).collect()
}

/// Succeeds in the third round, and says something on both streams before.
const THIRD: &str = r#"test $(wc -l < rounds) = 3 || { echo "out $(wc -l < rounds) $VALUE"; echo err >&2; exit 7; }"#;

#[tokio::test]
async fn what_fails_goes_back_to_the_agent_and_all_rounds_are_added_up() {
    let (result, place) = limits(world(THIRD, 2), 8, 1.0).succeeds().await;
    let prompts = prompts(&place);
    assert_eq!((prompts.len(), prompts[0].as_str()), (3, "do it"));
    for (prompt, round) in prompts[1..].iter().zip(1..) {
        for part in ["    the check\n", "exit code 7", &format!("out {round} a value\nerr\n")] {
            assert!(prompt.contains(part), "{part}: {prompt}");
        }
    }
    let usage = result.usage;
    assert_eq!((usage.cost_usd, usage.tokens, usage.turns), (Some(0.75), Some(30), Some(9)));
    assert_eq!(value(&result, "models"), json!({"m": {"cost_usd": 0.75, "tokens": 30}}));
    assert_eq!(value(&result, "response"), json!("round 3"));
    // The last round had what the others left it, and began where they ended.
    assert_eq!(value(&result, "json"), json!([2, 0.5]));
    let point = |cost_usd: f64, tokens| SessionPoint {
        session_id: "s".to_owned(),
        cost_usd,
        models: BTreeMap::from([("m".to_owned(), ModelShare { cost_usd, tokens })]),
        history: None,
    };
    assert_eq!(value(&result, "permission_denials"), json!([null, point(0.25, 10), point(0.5, 20)]));
    let transcript = fs::read_to_string(place.path().join("attempt/transcript.jsonl")).unwrap();
    let events: Vec<Value> = transcript.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let failed: Vec<bool> = events.iter().map(|event| event["failed"].is_string()).collect();
    assert_eq!(failed, [true, true, false], "{transcript}");
    assert!(place.path().join("attempt/output.log").exists());
}

#[tokio::test]
async fn work_that_is_judged_well_is_done() {
    let (result, place) = world("test -s rounds", 2).succeeds().await;
    assert_eq!((prompts(&place).len(), result.usage.cost_usd), (1, Some(0.25)));
}

#[tokio::test]
async fn what_never_succeeds_fails_the_step_with_what_was_printed_last() {
    for (rounds, times, said) in [(0, "once", "out 1 a value\nerr"), (1, "2 times", "out 2 a value\nerr")] {
        let (outcome, place) = world(THIRD, rounds).run().await;
        let AttemptOutcome::Failed { failure, usage } = outcome else { panic!("{outcome:?}") };
        assert_eq!((failure.class, failure.code.as_deref()), (FailureClass::AgentError, Some(codes::AGENT_UNVERIFIED)));
        assert!(failure.message.contains(times) && failure.message.contains("exit code 7"), "{}", failure.message);
        assert_eq!(failure.detail.as_deref(), Some(said));
        assert_eq!(prompts(&place).len(), rounds as usize + 1);
        assert_eq!(usage.tokens, Some(10 * (u64::from(rounds) + 1)));
    }
}

#[tokio::test]
async fn limits_bound_all_rounds_together() {
    for (turns, cost) in [(3, 9.0), (9, 0.25)] {
        let (outcome, place) = limits(world(THIRD, 5), turns, cost).run().await;
        let AttemptOutcome::Failed { failure, usage } = outcome else { panic!("{outcome:?}") };
        assert_eq!(failure.code.as_deref(), Some(codes::AGENT_LIMIT), "{failure:?}");
        assert_eq!((prompts(&place).len(), usage.turns), (1, Some(3)));
    }
    let world = world("tail -f /dev/null", 5).with(|order| order.timeout = Some(Duration::from_millis(500)));
    let (outcome, place) = world.run().await;
    let AttemptOutcome::Failed { failure, usage } = outcome else { panic!("{outcome:?}") };
    assert_eq!((failure.code.as_deref(), failure.class), (Some(codes::TIMEOUT), FailureClass::Timeout));
    assert_eq!((prompts(&place).len(), usage.turns), (1, Some(3)));
}

#[tokio::test]
async fn a_check_that_cannot_be_made_is_not_the_agents_to_mend() {
    let world = world("true", 5).with(|order| {
        let Work::Agent(asked) = &mut order.work else { unreachable!() };
        asked.verify.as_mut().unwrap().argv = vec!["not-there".to_owned()];
    });
    let (outcome, place) = world.run().await;
    let AttemptOutcome::Failed { failure, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!((failure.code.as_deref(), prompts(&place).len()), (Some(codes::PROGRAM_MISSING), 1));
}

#[tokio::test]
async fn an_agent_that_fails_in_a_later_round_fails_with_what_all_of_them_took() {
    let mut world = world("exit 1", 2);
    world.agent = Doing(|request| {
        let spent = AgentReply { cost_usd: 0.5, session_id: "s".to_owned(), ..AgentReply::default() };
        if request.round == 1 {
            return Ok(spent);
        }
        let (fault, hint) = (AgentFault::RateLimited, None);
        Err(AgentError { fault, message: "busy".to_owned(), hint, spent: Box::new(spent) })
    });
    let (outcome, _place) = world.run().await;
    let AttemptOutcome::Failed { failure, usage } = outcome else { panic!("{outcome:?}") };
    assert_eq!((failure.class, usage.cost_usd), (FailureClass::RateLimited, Some(1.0)));
}

#[tokio::test]
async fn no_secret_that_a_check_prints_reaches_a_prompt() {
    let mut world = world("echo $TOKEN; exit 1", 1).with(|order| {
        order.secrets = BTreeMap::from([("TOKEN".to_owned(), vec![SecretText::Secret("TOKEN".to_owned())])]);
    });
    let known = BTreeMap::from([("TOKEN".to_owned(), "t0ken-of-a-canary".to_owned())]);
    world.secrets = Some(Arc::new(MemorySecrets::new(known)));
    let (outcome, place) = world.run().await;
    let prompts = prompts(&place);
    assert!(prompts[1].contains("***") && !prompts[1].contains("canary"), "{prompts:?}");
    assert!(!format!("{outcome:?}").contains("canary"));
    assert!(!fs::read_to_string(place.path().join("attempt/transcript.jsonl")).unwrap().contains("canary"));
}

#[tokio::test]
async fn a_check_reaches_no_more_of_the_network_than_the_agent() {
    for profile in [SecurityProfile::PlanOnly, SecurityProfile::Restricted, SecurityProfile::Standard] {
        assert_eq!(rules(profile, Worker::Check).network, rules(profile, Worker::Agent).network);
        assert_eq!(rules(profile, Worker::Check).files, rules(profile, Worker::Agent).files);
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let script = format!("exec 3<>/dev/tcp/{}", listener.local_addr().unwrap().to_string().replace(':', "/"));
    world(&script, 0).succeeds().await;
    let world = world(&script, 0).with(|order| {
        let Work::Agent(asked) = &mut order.work else { unreachable!() };
        asked.verify.as_mut().unwrap().profile = Some(SecurityProfile::Standard);
    });
    let failure = world.fails().await;
    if failure.code.as_deref() == Some(codes::PROFILE) {
        return skipped(&failure.message);
    }
    assert_eq!(failure.code.as_deref(), Some(codes::AGENT_UNVERIFIED), "{failure:?}");
    assert!(failure.detail.is_some_and(|words| words.contains("/dev/tcp")), "for that reason");
}

#[expect(clippy::print_stderr, reason = "a test that skips says so")]
fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}

//! A stand-in for the command that says what a script says: every way in which a session can end.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration};

use ratchet_core::workflow::SecurityProfile;
use ratchet_engine::ports::{Agent, AgentError, AgentFault, AgentReply, AgentRequest, ModelShare, SessionPoint};
use serde_json::json;
use tempfile::TempDir;

use super::ClaudeCode;
use crate::{
    agent::testing::{request, stop},
    profile::Confinement,
};

/// A command that answers as `version` does and then runs a script, whose first argument to `say` becomes an event.
fn command(place: &Path, version: &str, help: &str, script: &str) -> ClaudeCode {
    let path = place.join("bin/claude");
    let script = format!(
        "#!/bin/sh\ncase \"$1\" in --version) echo '{version}'; exit 0;; --help) echo '{help}'; exit 0;; esac\n\
         here='{}'\nfor word in \"$@\"; do printf '%s\\n' \"$word\"; done > \"$here/arguments\"\ncat > \"$here/prompt\"\nenv > \"$here/environment\"\n{script}\n",
        place.display()
    );
    fs::create_dir_all(place.join("bin")).unwrap();
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let given = BTreeMap::from([
        ("PATH".to_owned(), place.join("bin").display().to_string()),
        ("ANTHROPIC_API_KEY".to_owned(), "the-key".to_owned()),
    ]);
    let mut agent = ClaudeCode::new(&given);
    agent.grace = Duration::from_millis(100);
    // It notes what it was given outside of what any profile lets it see.
    agent.confinement = Ok(Confinement { is_on: false, ..Confinement::default() });
    agent
}

const VERSION: &str = "2.1.330 (Claude Code)";
const INIT: &str = r#"echo '{"type":"system","subtype":"init","session_id":"s-1"}'"#;

/// What the command does, whether data is asked for, and the reply's words or the fault and a part of its message.
type Case = (String, bool, Result<&'static str, (AgentFault, &'static str)>);

async fn perform(
    version: &str,
    help: &str,
    script: &str,
    change: impl FnOnce(&mut AgentRequest),
) -> (TempDir, Result<AgentReply, AgentError>) {
    let place = tempfile::tempdir().unwrap();
    let agent = command(place.path(), version, help, script);
    let mut request = request(place.path(), "ask");
    request.timeout = Some(Duration::from_secs(100));
    request.environment = BTreeMap::from([("PATH".to_owned(), std::env::var("PATH").unwrap())]);
    change(&mut request);
    let outcome = agent.perform(request, stop()).await;
    (place, outcome)
}

#[tokio::test]
async fn a_session_is_judged_by_its_result_alone() {
    use AgentFault::{Api, Broken, Limit, RateLimited, Schema, Unauthorised, Unavailable};
    let result = |fields: &str| {
        format!("{INIT}; echo '{{\"total_cost_usd\":0.5,{fields},\"session_id\":\"s-1\",\"type\":\"result\"}}'")
    };
    let api_error = |status: &str, words: &str| {
        result(&format!(
            r#""subtype":"success","is_error":true,"api_error_status":{status},"terminal_reason":"api_error","result":"{words}""#
        ))
    };
    let error = |subtype: &str, reason: &str, words: &str| {
        result(&format!(r#""subtype":"{subtype}","is_error":true,"terminal_reason":"{reason}","errors":["{words}"]"#))
    };
    let success = result(r#""subtype":"success","is_error":false,"terminal_reason":"completed","result":"done""#);
    let cases: Vec<Case> = vec![
        (success.clone(), false, Ok("done")),
        (format!("echo 'some words'; {success}; exit 1"), false, Ok("done")),
        (format!("{success} | tr -d '\\n'"), false, Ok("done")),
        (success.clone(), true, Err((Schema, "without the data"))),
        (result(r#""subtype":"success","is_error":false,"result":"{}","structured_output":{"n":1}"#), true, Ok("{}")),
        (
            error("error_max_structured_output_retries", "structured_output_retry_exhausted", "no"),
            true,
            Err((Schema, "fits")),
        ),
        (
            format!("{}; exit 1", error("error_max_turns", "max_turns", "Reached maximum number of turns (2)")),
            false,
            Err((Limit, "(2)")),
        ),
        (error("error_max_budget_usd", "budget_exhausted", "spent"), false, Err((Limit, "money"))),
        (
            result(r#""subtype":"error_max_budget_usd","is_error":true,"errors":["spent"]"#),
            false,
            Err((Limit, "money")),
        ),
        (api_error("401", "Invalid API key"), false, Err((Unauthorised, "Invalid API key"))),
        (api_error("403", "Forbidden"), false, Err((Unauthorised, "Forbidden"))),
        (api_error("429", "slow down"), false, Err((RateLimited, "slow down"))),
        (api_error("529", "Overloaded"), false, Err((RateLimited, "Overloaded"))),
        (api_error("500", "oops"), false, Err((Api, "status 500: oops"))),
        (api_error("404", "no such model"), false, Err((Api, "no such model"))),
        (api_error("null", "Connection error"), false, Err((Api, "cannot be reached"))),
        (api_error("null", "Not logged in · Please run /login"), false, Err((Unauthorised, "no key"))),
        (
            format!("{}; exit 0", error("error_during_execution", "aborted_tools", "interrupted")),
            false,
            Err((Broken, "interrupted")),
        ),
        (format!("{INIT}; kill -9 $$"), false, Err((Broken, "code 137"))),
        (format!("{INIT}; echo bad >&2; exit 1"), false, Err((Broken, "bad"))),
        ("echo 'unknown option --x' >&2; exit 1".to_owned(), false, Err((Unavailable, "unknown option --x"))),
        ("exit 0".to_owned(), false, Err((Unavailable, "it said nothing"))),
    ];
    for (script, schema, expected) in cases {
        let (_place, outcome) = perform(VERSION, "", &script, |request| {
            request.output_schema = schema.then(|| json!({"type": "object"}));
        })
        .await;
        match (&outcome, expected) {
            (Ok(reply), Ok(words)) => assert_eq!((reply.response.as_str(), reply.cost_usd), (words, 0.5), "{script}"),
            (Err(error), Err((fault, part))) => {
                assert_eq!(error.fault, fault, "{script}: {error}");
                assert!(error.message.contains(part), "{script}: {error}");
                let has_result = script.contains("total_cost_usd");
                assert_eq!(error.spent.cost_usd > 0.0, has_result, "{script}");
            }
            _ => panic!("{script}: {outcome:?}"),
        }
    }
}

#[tokio::test]
async fn a_result_counts_its_tokens_turns_and_denials() {
    let fields = r#""is_error":false,"result":"r","num_turns":4,"usage":{"input_tokens":1},"permission_denials":[{"tool_name":"Bash"}],
        "modelUsage":{"a":{"inputTokens":10,"outputTokens":5,"cacheReadInputTokens":2},"b":{"inputTokens":3,"costUSD":0.25}}"#;
    let script = format!("{INIT}; echo '{{\"type\":\"result\",{}}}'", fields.replace('\n', ""));
    let (_place, outcome) = perform(VERSION, "", &script, |_| {}).await;
    let reply = outcome.unwrap();
    assert_eq!((reply.turns, reply.tokens, reply.session_id.as_str()), (4, 20, "s-1"));
    assert_eq!(reply.permission_denials, [json!({"tool_name": "Bash"})]);
    let share = |name: &str| (reply.models[name].cost_usd, reply.models[name].tokens);
    assert_eq!((share("a"), share("b")), ((0.0, 17), (0.25, 3)));
}

#[tokio::test]
async fn a_session_that_is_gone_on_with_counts_from_there() {
    let elsewhere = tempfile::tempdir().unwrap();
    let kept = elsewhere.path().join("kept.jsonl");
    fs::write(&kept, "{}").unwrap();
    let point = SessionPoint {
        session_id: "s-1".to_owned(),
        cost_usd: 0.5,
        models: BTreeMap::from([("a".to_owned(), ModelShare { cost_usd: 0.5, tokens: 15 })]),
        history: Some(kept),
    };
    let result =
        |fields: &str| format!("{INIT}; echo '{{\"type\":\"result\",\"is_error\":false,\"num_turns\":2,{fields}}}'");
    let models = r#""modelUsage":{"a":{"inputTokens":20,"costUSD":0.75},"b":{"inputTokens":3}}"#;
    for (fields, cost, tokens, names) in [
        (format!(r#""total_cost_usd":0.75,{models}"#), 0.25, 8, vec!["a", "b"]),
        (r#""total_cost_usd":0.75,"usage":{"input_tokens":7}"#.to_owned(), 0.25, 7, vec![]),
        // A command that counts each time anew.
        (r#""total_cost_usd":0.25,"usage":{"input_tokens":7}"#.to_owned(), 0.25, 7, vec![]),
        (r#""total_cost_usd":0.5,"modelUsage":{"a":{"inputTokens":15,"costUSD":0.5}}"#.to_owned(), 0.0, 0, vec![]),
    ] {
        let (place, outcome) =
            perform(VERSION, "", &result(&fields), |request| request.resume = Some(point.clone())).await;
        let reply = outcome.unwrap();
        assert_eq!((reply.cost_usd, reply.tokens, reply.turns), (cost, tokens, 2), "{fields}");
        assert_eq!(reply.models.keys().collect::<Vec<_>>(), names, "{fields}");
        let arguments = fs::read_to_string(place.path().join("arguments")).unwrap();
        assert!(arguments.contains("\n--resume\ns-1\n"), "{arguments}");
    }
}

#[tokio::test]
async fn a_session_without_a_result_counts_what_it_said() {
    let message = |id: &str| {
        format!(
            r#"echo '{{"type":"assistant","message":{{"id":"{id}","usage":{{"input_tokens":100,"output_tokens":1}}}}}}'"#
        )
    };
    let script = format!("{INIT}; {}; {}; {}; kill -9 $$", message("m1"), message("m1"), message("m2"));
    let error = perform(VERSION, "", &script, |_| {}).await.1.unwrap_err();
    assert_eq!((error.spent.tokens, error.spent.turns, error.spent.session_id.as_str()), (202, 2, "s-1"));
}

#[tokio::test]
async fn a_session_that_hangs_is_ended_at_its_timeout() {
    for script in ["tail -f /dev/null", "trap '' TERM; while :; do tail -f /dev/null; done"] {
        let script = format!("{INIT}; {script}");
        let (place, outcome) =
            perform(VERSION, "", &script, |request| request.timeout = Some(Duration::from_millis(300))).await;
        let error = outcome.unwrap_err();
        assert_eq!(error.fault, AgentFault::Timeout, "{error}");
        assert!(fs::read_to_string(place.path().join("attempt/transcript.jsonl")).unwrap().contains("init"));
    }
}

#[tokio::test]
async fn a_session_that_says_nothing_is_ended_and_pieces_of_replies_are_words() {
    let piece = r#"echo '{"type":"stream_event","event":{"type":"content_block_delta"},"session_id":"s-1"}'"#;
    for (script, part) in [
        ("tail -f /dev/null".to_owned(), "nothing for 0.3 s"),
        (format!("{INIT}; {piece}; tail -f /dev/null"), "nothing for 0.3 s"),
    ] {
        let (place, outcome) =
            perform(VERSION, "", &script, |request| request.stall_timeout = Some(Duration::from_millis(300))).await;
        let error = outcome.unwrap_err();
        assert_eq!(error.fault, AgentFault::Stalled, "{error}");
        assert!(error.message.contains(part), "{error}");
        let read = |name: &str| fs::read_to_string(place.path().join(name)).unwrap_or_default();
        assert!(read("arguments").contains("--include-partial-messages"));
        assert!(!read("attempt/transcript.jsonl").contains("stream_event"));
    }
}

#[tokio::test]
async fn what_is_asked_reaches_the_command() {
    let success = format!("{INIT}; echo '{{\"type\":\"result\",\"is_error\":false,\"result\":\"\"}}'");
    let (place, outcome) = perform(VERSION, "", &success, |request| {
        request.prompt = "a prompt\nof 'two' lines".to_owned();
        request.max_turns = Some(7);
        request.max_cost_usd = Some(0.5);
        request.model = Some("a-model".to_owned());
        request.allowed_tools = Some(vec!["Read".to_owned(), "Edit".to_owned()]);
        request.environment.insert("ANTHROPIC_BASE_URL".to_owned(), "http://elsewhere".to_owned());
    })
    .await;
    outcome.unwrap();
    let read = |name: &str| fs::read_to_string(place.path().join(name)).unwrap();
    assert_eq!(read("prompt"), "a prompt\nof 'two' lines");
    let arguments = read("arguments").replace(&place.path().display().to_string(), "HERE");
    let arguments: Vec<_> = arguments.lines().collect();
    assert_eq!(
        arguments,
        [
            "-p",
            "--output-format",
            "stream-json",
            "--verbose",
            "--setting-sources",
            "",
            "--strict-mcp-config",
            "--disable-slash-commands",
            "--permission-prompts",
            "none",
            "--restricted",
            "--permission-mode",
            "acceptEdits",
            "--tools",
            "Read,Edit",
            "--disallowedTools",
            "Edit(.git)",
            "Edit(.git/**)",
            "Edit(**/.git/**)",
            "Edit(.claude/**)",
            "Edit(**/.claude/**)",
            "Edit(.mcp.json)",
            "--max-turns",
            "7",
            "--max-budget-usd",
            "0.5",
            "--model",
            "a-model",
        ]
    );
    let environment = read("environment");
    assert!(environment.contains("ANTHROPIC_API_KEY=the-key") && !environment.contains("elsewhere"));
    assert!(read("attempt/transcript.jsonl").contains("ANTHROPIC_BASE_URL are left out"));
}

#[tokio::test]
async fn an_older_command_gets_only_options_that_it_has() {
    let success = format!("{INIT}; echo '{{\"type\":\"result\",\"is_error\":false,\"result\":\"\"}}'");
    for (help, expected) in [("--tools", vec![]), ("--restricted   Confine", vec!["--restricted"])] {
        let (place, outcome) = perform("2.1.197 (Claude Code)", help, &success, |_| {}).await;
        outcome.unwrap();
        let arguments = fs::read_to_string(place.path().join("arguments")).unwrap();
        let new: Vec<_> =
            arguments.lines().filter(|word| ["--restricted", "--permission-prompts"].contains(word)).collect();
        assert_eq!(new, expected);
    }
}

#[tokio::test]
async fn a_profile_is_enforced_or_refused() {
    let allow = |tools: &[&str]| Some(tools.iter().map(|tool| (*tool).to_owned()).collect::<Vec<_>>());
    for (profile, tools, part) in [
        (SecurityProfile::Standard, None, "nothing would keep an agent of the profile standard"),
        (SecurityProfile::Elevated, None, "nothing would keep an agent of the profile elevated"),
        (SecurityProfile::Restricted, allow(&["Bash"]), "the tool Bash"),
        (SecurityProfile::Restricted, allow(&["Edit(src/**)"]), "the tool Edit(src/**)"),
        (SecurityProfile::PlanOnly, allow(&["Write"]), "the tool Write"),
    ] {
        let (place, outcome) = perform(VERSION, "", "exit 0", |request| {
            request.profile = profile;
            request.allowed_tools = tools;
        })
        .await;
        let error = outcome.unwrap_err();
        assert_eq!(error.fault, AgentFault::Profile);
        assert!(error.message.contains(part), "{error}");
        assert!(!place.path().join("arguments").exists());
    }
}

#[test]
fn the_tools_of_a_profile_are_told_to_the_command() {
    use SecurityProfile::{Elevated, PlanOnly, Restricted, Standard};
    let place = tempfile::tempdir().unwrap();
    for (profile, allowed, expected) in [
        (PlanOnly, None, Ok("dontAsk Read,Grep,Glob")),
        (Restricted, Some(vec!["Read", "Write"]), Ok("acceptEdits Read,Write")),
        (Standard, None, Ok("dontAsk Read,Grep,Glob,Edit,Write +Edit(./**)")),
        (
            Standard,
            Some(vec!["Read", "Bash(cargo test:*)", "Bash(ls)"]),
            Ok("dontAsk Read,Bash +Bash(cargo test:*) +Bash(ls)"),
        ),
        (Standard, Some(vec!["Bash(ls)", "Edit"]), Ok("dontAsk Bash,Edit +Bash(ls) +Edit(./**)")),
        (Standard, Some(vec!["Bash"]), Err("the tool Bash")),
        (Standard, Some(vec!["Bash(*)"]), Err("the tool Bash(*)")),
        (Standard, Some(vec!["WebFetch"]), Err("the tool WebFetch")),
        (Elevated, None, Ok("bypassPermissions Read,Grep,Glob,Edit,Write,Bash")),
        (Elevated, Some(vec!["Bash"]), Ok("bypassPermissions Bash")),
    ] {
        let mut request = request(place.path(), "ask");
        request.profile = profile;
        request.allowed_tools = allowed.map(|tools| tools.into_iter().map(str::to_owned).collect());
        let told = super::arguments::tools(&request).map(|tools| told_of(&request, &tools));
        match (told, expected) {
            (Ok(told), Ok(expected)) => assert_eq!(told, expected),
            (Err(error), Err(part)) => assert!(error.message.contains(part), "{error}"),
            (other, _) => panic!("{profile:?}: {other:?}"),
        }
    }
}

/// The mode, the tools and what is allowed of them, as the command is told.
fn told_of(request: &AgentRequest, tools: &super::arguments::Tools) -> String {
    let installed = super::Installed {
        path: "claude".into(),
        version: VERSION.to_owned(),
        has_restricted: true,
        has_permission_prompts: true,
    };
    let prepared = super::Prepared::of(request).unwrap();
    let arguments = super::arguments::of(request, &installed, tools, &prepared);
    let arguments: Vec<_> = arguments.iter().map(|word| word.to_str().unwrap()).collect();
    let after = |option: &str| {
        let at = arguments.iter().position(|word| *word == option);
        let rest = at.map_or(&[][..], |at| &arguments[at + 1..]);
        rest.iter().take_while(|word| !word.starts_with("--")).copied().collect::<Vec<_>>()
    };
    let rules: Vec<String> = after("--allowedTools").iter().map(|rule| format!("+{rule}")).collect();
    let told = format!("{} {} {}", after("--permission-mode")[0], after("--tools")[0], rules.join(" "));
    told.trim_end().to_owned()
}

#[tokio::test]
async fn a_command_that_is_not_there_or_not_it_is_told() {
    let missing = ClaudeCode::new(&BTreeMap::from([("PATH".to_owned(), "/nowhere".to_owned())]));
    let error = missing.installed().await.unwrap_err();
    assert_eq!(error.fault, AgentFault::Unavailable);
    assert!(error.hint.unwrap().contains("RATCHET_CLAUDE"));
    for (version, part) in [("claudia 3", "is not Claude Code"), ("'; exit 9; echo '", "code 9")] {
        let error = perform(version, "", "exit 0", |_| {}).await.1.unwrap_err();
        assert_eq!(error.fault, AgentFault::Unavailable);
        assert!(error.message.contains(part), "{error}");
    }
}

#[tokio::test]
async fn it_keeps_the_contract_of_an_agent() {
    let success = format!("{INIT}; echo '{{\"type\":\"result\",\"is_error\":false,\"result\":\"done\"}}'");
    ratchet_testkit::contract::agent(async |place: &Path| {
        let agent: Arc<dyn Agent> = Arc::new(command(place, VERSION, "", &success));
        let mut request = request(place, "ask");
        request.environment = BTreeMap::from([("PATH".to_owned(), std::env::var("PATH").unwrap())]);
        (agent, request)
    })
    .await;
}

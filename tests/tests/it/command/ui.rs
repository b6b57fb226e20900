//! The server of `ratchet ui`: what it tells, what it does, and whom it does not answer.

use std::net::{SocketAddr, TcpStream};

use ratchet_tests::{
    page::Page,
    running::Gate,
    world::{Done, World},
};
use rustix::process::Signal;
use serde_json::{Value, json};

const WORKFLOW: &str = "\
name: notes
version: \"1\"
description: Makes notes
inputs:
  key: { type: string, sensitive: true, required: true }
  word: { type: string, default: hello }
steps:
  - id: build
    type: shell
    command: |
      echo '<img src=x onerror=alert(1)>'
      echo {{ inputs.key }} >&2
      echo {{ inputs.word }} > notes.txt
    outputs:
      said: { type: string, from: stdout }
  - id: each
    type: shell
    foreach: \"['a', 'b']\"
    command: echo {{ item }}
  - id: accept
    type: approval
    needs: [build, each]
    message: Shall it be so?
  - id: tell
    type: shell
    needs: [accept]
    command: echo {{ accept.outputs.comment }}
";

const KEY: &str = "a-key-that-nobody-sees";

/// A world with an execution that waits for a word.
fn asking() -> World {
    let world = World::new();
    world.write("workflow.yaml", WORKFLOW);
    world.write("inputs.json", &json!({ "key": KEY }).to_string());
    run(&world, &[]).expect_code(3);
    world
}

fn run(world: &World, more: &[&str]) -> Done {
    world.ratchet([&["run", "workflow.yaml", "--inputs", "inputs.json"][..], more].concat())
}

fn status(world: &World, id: &str) -> Value {
    serde_json::from_str(&world.ratchet(["status", id, "--json"]).expect_code(0).stdout).expect("JSON")
}

fn id(world: &World) -> String {
    status(world, "last")["execution_id"].as_str().expect("a name").to_owned()
}

#[track_caller]
fn told(page: &Page, path: &str) -> Value {
    let reply = page.get(path);
    assert_eq!(reply.status, 200, "{path}: {reply:?}");
    assert!(reply.head.contains("content-type: application/json"), "{path}: {}", reply.head);
    assert!(!reply.body.contains(KEY), "{path} shows a sensitive input: {}", reply.body);
    serde_json::from_str(&reply.body).unwrap_or_else(|error| panic!("{path}: {error}: {}", reply.body))
}

#[test]
fn the_server_tells_what_the_commands_tell() {
    let world = asking();
    let id = id(&world);
    let page = Page::open(&world);
    let execution = told(&page, &format!("/api/executions/{id}"));
    for (field, value) in status(&world, &id).as_object().expect("an object") {
        assert_eq!(execution[field], *value, "{field} is not what `ratchet status --json` says");
    }
    assert_eq!(execution["order"], json!(["build", "each", "accept", "tell"]));
    assert_eq!(execution["asking"], json!(["accept"]));
    assert_eq!(execution["inputs"]["key"], "***");
    let kinds = |step: &str| -> Vec<&str> {
        let spans = execution["timeline"][step].as_array().expect("spans");
        spans.iter().filter_map(|span| span["kind"].as_str()).collect()
    };
    assert_eq!([kinds("build"), kinds("each"), kinds("accept")], [["attempt"], ["children"], ["wait"]]);
    assert_eq!(execution["graph"]["boxes"].as_array().map(Vec::len), Some(4));

    let below = |step: &str, part: &str| told(&page, &format!("/api/executions/{id}/steps/{step}{part}"));
    let build = below("build", "");
    assert_eq!(build["view"]["outputs"]["said"], "<img src=x onerror=alert(1)>");
    assert_eq!(below("each", "")["children"].as_array().map(Vec::len), Some(2));
    assert_eq!(below("each%5B1%5D", "")["view"]["status"], "completed");
    assert_eq!(below("accept", "")["view"]["question"]["message"], "Shall it be so?");
    let log = below("build", "/log");
    let mut texts: Vec<&str> =
        log["entries"].as_array().expect("lines").iter().filter_map(|line| line["text"].as_str()).collect();
    // Two pipes tell nothing of what was written first.
    texts.sort_unstable();
    assert_eq!(texts, ["***", "<img src=x onerror=alert(1)>"]);
    let rest = below("build", &format!("/log?epoch=1&attempt=1&offset={}", log["offset"]));
    assert_eq!(
        (rest["entries"].clone(), &rest["offset"]),
        (json!([]), &log["offset"]),
        "what was told is not told again"
    );
    assert_eq!(below("build", "/why")["reason"], below("each%5B0%5D", "/why")["reason"]);
    let diff = below("build", "/diff");
    assert_eq!(diff["changes"][0]["path"], "notes.txt");
    assert!(diff["changes"][0]["diff"].as_str().is_some_and(|diff| diff.contains("+hello")), "{diff}");

    for (path, code, status) in [
        ("/api/executions/none".to_owned(), "RT-0403", 404),
        // What a page asks for, it was told the whole name of.
        ("/api/executions/last".to_owned(), "RT-0403", 404),
        (format!("/api/executions/{id}/steps/none"), "RT-0405", 404),
        (format!("/api/executions/{id}/diff"), "RT-0427", 422),
        ("/api/executions?status=odd".to_owned(), "RT-0402", 422),
    ] {
        let reply = page.get(&path);
        assert!(reply.status == status && reply.body.contains(code), "{path}: {reply:?}");
    }
}

#[test]
fn the_list_is_filtered_and_comes_in_pages() {
    let world = World::new();
    for (name, command) in [("alpha", "true"), ("beta", "false")] {
        let workflow = format!(
            "name: {name}\nversion: \"1\"\nsteps:\n  - id: only\n    type: shell\n    command: \"{command}\"\n"
        );
        world.write(&format!("{name}.yaml"), &workflow);
    }
    let mut ids = Vec::new();
    for file in ["alpha.yaml", "beta.yaml", "alpha.yaml", "alpha.yaml"] {
        world.ratchet(["run", file]);
        ids.insert(0, id(&world));
    }
    let page = Page::open(&world);
    let names = |query: &str| -> Vec<String> {
        let answer = told(&page, &format!("/api/executions?{query}"));
        let listed = answer["executions"].as_array().expect("a list");
        listed.iter().filter_map(|one| one["execution_id"].as_str().map(str::to_owned)).collect()
    };
    assert_eq!(names(""), ids);
    assert_eq!(names("workflow=beta"), [ids[2].clone()]);
    assert_eq!(names("status=failed&text=BET"), [ids[2].clone()]);
    assert_eq!(names("status=completed&workflow=beta"), Vec::<String>::new());
    assert_eq!(names(&format!("text={}", ids[1])), [ids[1].clone()]);
    assert_eq!(names("text=%25"), Vec::<String>::new(), "a text is no pattern");
    assert_eq!(names("limit=2"), ids[..2]);
    assert_eq!(names(&format!("limit=2&after={}", ids[1])), ids[2..]);
    assert_eq!(names(&format!("text=alpha&limit=1&after={}", ids[1])), [ids[3].clone()]);
    let answer = told(&page, "/api/executions?limit=2");
    assert_eq!(answer["more"], true);
    assert_eq!(answer["by_status"], json!({ "completed": 3, "failed": 1 }));
    assert_eq!(answer["by_workflow"], json!({ "alpha": 3, "beta": 1 }));
}

#[test]
fn who_has_no_token_learns_and_changes_nothing() {
    let world = asking();
    let id = id(&world);
    let page = Page::open(&world);
    let (host, cookie) = (page.host(), page.cookie().to_owned());
    let origin = format!("http://{host}");
    let port = page.socket.port();
    let token = page.address.split_once("token=").expect("a token").1.to_owned();
    let name = cookie.split('=').next().expect("a name").to_owned();
    let of_token = format!("{name}={token}");
    let nearly = format!("{cookie}0");
    let execution = format!("/api/executions/{id}");

    for path in ["/", "/assets/app.js", "/api/executions", "/api/changes", &execution, "/none"] {
        let get = format!("GET {path} HTTP/1.1");
        for (headers, status, why) in [
            (vec![("Host", &*host)], 401, "no cookie"),
            (vec![("Host", &host), ("Cookie", &of_token)], 401, "the token as the cookie"),
            (vec![("Host", &host), ("Cookie", &nearly)], 401, "another cookie"),
            (vec![("Host", "evil.example"), ("Cookie", &cookie)], 421, "the name of somebody else"),
            (vec![("Host", &host), ("Host", "evil.example"), ("Cookie", &cookie)], 400, "two names"),
            (vec![("Host", &host), ("Cookie", &cookie), ("Sec-Fetch-Site", "cross-site")], 403, "another page"),
            (vec![("Host", &host), ("Cookie", &cookie), ("Sec-Fetch-Site", "same-site")], 403, "another port"),
        ] {
            let reply = page.send(&get, &headers, "");
            let refused = reply.status == status || (why == "two names" && reply.status == 421);
            assert!(refused && !reply.body.contains(&id), "{path}, {why}: {reply:?}");
        }
    }
    for query in ["token=", "token=00", &format!("token={token}0"), &format!("token={}", &token[1..]), "x=1"] {
        let reply = page.send(&format!("GET /?{query} HTTP/1.1"), &[("Host", &host)], "");
        assert!(reply.status == 401 && !reply.head.contains("set-cookie"), "{query}: {reply:?}");
    }
    let elsewhere = page.send(&format!("GET /?token={token} HTTP/1.1"), &[("Host", "evil.example")], "");
    assert!(elsewhere.status == 421 && !elsewhere.head.contains("set-cookie"), "{elsewhere:?}");

    let approve = format!("POST {execution}/actions/approve HTTP/1.1");
    let body = r#"{"step":"accept"}"#;
    let json = ("Content-Type", "application/json");
    let other_port = format!("http://127.0.0.1:{}", port.wrapping_add(1));
    for (headers, status, why) in [
        (vec![("Host", &*host), json, ("Origin", &origin)], 401, "no cookie"),
        (vec![("Host", &host), json, ("Cookie", &cookie)], 403, "no origin"),
        (vec![("Host", &host), json, ("Cookie", &cookie), ("Origin", "http://evil.example")], 403, "another origin"),
        (vec![("Host", &host), json, ("Cookie", &cookie), ("Origin", "null")], 403, "no page's origin"),
        (vec![("Host", &host), json, ("Cookie", &cookie), ("Origin", &other_port)], 403, "another port's origin"),
        (
            vec![("Host", &host), ("Content-Type", "text/plain"), ("Cookie", &cookie), ("Origin", &origin)],
            415,
            "a form",
        ),
    ] {
        let reply = page.send(&approve, &headers, body);
        assert_eq!(reply.status, status, "{why}: {reply:?}");
    }
    let by_get = page.get(&format!("{execution}/actions/approve"));
    assert_eq!(by_get.status, 405, "{by_get:?}");
    assert_eq!(status(&world, &id)["status"], "paused", "nothing was done");

    // Loopback is more than one address, and this is not the one that it listens on.
    let other = SocketAddr::from(([127, 0, 0, 2], port));
    assert!(TcpStream::connect(other).is_err(), "it listens on more than 127.0.0.1");
}

#[test]
fn what_is_let_in_is_kept_apart_from_everything_else() {
    let world = asking();
    let page = Page::open(&world);
    let admitted =
        page.send(page.address.split_once("127").map_or("", |_| "GET / HTTP/1.1"), &[("Host", &page.host())], "");
    assert_eq!(admitted.status, 401);
    let token = page.address.split_once("/?").expect("a token").1;
    let admitted = page.send(&format!("GET /?{token} HTTP/1.1"), &[("Host", &page.host())], "");
    let cookie = admitted.head.lines().find(|line| line.starts_with("set-cookie: ")).expect("a cookie");
    for word in ["httponly", "samesite=strict", "path=/"] {
        assert!(cookie.contains(word), "{cookie}");
    }
    assert!(!cookie.contains(token), "the cookie is not the token");
    for path in ["/", "/assets/app.js", "/assets/none.js", "/api/executions", "/none"] {
        let reply = page.get(path);
        for header in [
            "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'",
            "x-content-type-options: nosniff",
            "cache-control: no-store",
            "referrer-policy: no-referrer",
            "cross-origin-resource-policy: same-origin",
        ] {
            assert!(reply.head.contains(header), "{path} lacks {header}: {}", reply.head);
        }
        assert!(!reply.head.contains("access-control-allow"), "{path}: {}", reply.head);
    }
    let index = page.get("/").body;
    assert!(!index.contains("<script>") && !index.contains("style=") && !index.contains("https://"), "{index}");
    for path in [
        "/assets/../Cargo.toml",
        "/assets/..%2fmod.rs",
        "/assets/%2e%2e/%2e%2e/etc/passwd",
        "/assets//etc/passwd",
        "/../../../../etc/passwd",
        "/api/executions/..%2f..%2f..%2fetc%2fpasswd",
        "/api/executions/%00",
    ] {
        let reply = page.get(path);
        assert!(matches!(reply.status, 400 | 404) && !reply.body.contains("root:"), "{path}: {reply:?}");
    }
    let id = id(&world);
    for step in ["..%2f..%2f..", "build%2f..%2feach", "%2fetc%2fpasswd", "build%00"] {
        for part in ["log", "transcript"] {
            let reply = page.get(&format!("/api/executions/{id}/steps/{step}/{part}"));
            let nothing = reply.status == 404 || reply.body.contains("\"entries\":[]");
            assert!(nothing, "{step}/{part}: {reply:?}");
        }
    }
}

#[test]
fn an_answer_is_given_by_the_command_for_it() {
    let world = asking();
    let id = id(&world);
    let page = Page::open(&world);
    let done = page.post(
        &format!("/api/executions/{id}/actions/approve"),
        &json!({ "step": "accept", "comment": "it's \"fine\"; $(touch hacked)" }).to_string(),
    );
    let done: Value = serde_json::from_str(&done.body).unwrap_or_else(|error| panic!("{error}: {done:?}"));
    let command = done["command"].as_str().expect("a command");
    assert_eq!(command, format!("ratchet approve '--comment=it'\\''s \"fine\"; $(touch hacked)' {id} accept"));
    let done = ended(&page, &done);
    assert_eq!(done["exit_code"], 0, "{done}");
    let state = status(&world, &id);
    assert_eq!(state["status"], "completed");
    assert_eq!(state["steps"]["accept"]["outputs"]["comment"], "it's \"fine\"; $(touch hacked)");
    assert!(!world.work().join("hacked").exists());

    let refused = page.post(&format!("/api/executions/{id}/actions/cancel"), "{}");
    let refused = ended(&page, &serde_json::from_str(&refused.body).expect("JSON"));
    assert_eq!(refused["exit_code"], 2, "{refused}");
    assert!(refused["said"].as_str().is_some_and(|said| said.contains("error[RT-0407]")), "{refused}");

    let again = page.post(&format!("/api/executions/{id}/actions/resume"), r#"{"from":["build"]}"#);
    let again = ended(&page, &serde_json::from_str(&again.body).expect("JSON"));
    assert_eq!(
        (&again["command"], &again["exit_code"]),
        (&json!(format!("ratchet resume --from=build {id}")), &json!(3))
    );
    for (verb, body, status) in [("shell", "{}", 404), ("rm", "{}", 404), ("cancel", r#"{"state_dir":"/"}"#, 422)] {
        assert_eq!(page.post(&format!("/api/executions/{id}/actions/{verb}"), body).status, status, "{verb}");
    }
    assert_eq!(page.post("/api/executions/none/actions/cancel", "{}").status, 404);
}

/// A command that was started, at its end.
#[track_caller]
fn ended(page: &Page, action: &Value) -> Value {
    let path = format!("/api/actions/{}", action["action"]);
    ratchet_tests::eventually("the end of the command", || {
        let now = told(page, &path);
        (now["running"] == false).then_some(now)
    })
}

#[test]
fn changes_are_told_and_what_was_started_outlives_the_page() {
    let world = World::new();
    let gate = Gate::new(&world, "gate");
    let workflow = format!(
        "name: slow\nversion: \"1\"\nsteps:\n  - id: ask\n    type: approval\n    message: Now?\n  - id: wait\n    type: shell\n    needs: [ask]\n    \
         command: cat {} > came.txt\n",
        gate.path().display()
    );
    world.write("workflow.yaml", &workflow);
    world.ratchet(["run", "."]).expect_code(3);
    let id = id(&world);
    let page = Page::open(&world);
    let mut events = page.events(&format!("/api/changes?execution={id}"));
    let mut next = || -> Value { serde_json::from_str(&events.next().expect("an event")).expect("JSON") };
    assert_eq!(next(), json!({ "executions": [], "list": false, "shown": true }), "the first is of no change");

    let started = page.post(&format!("/api/executions/{id}/actions/approve"), r#"{"step":"ask"}"#);
    assert!(started.body.contains("\"running\":true"), "{started:?}");
    let change = next();
    assert_eq!(change["shown"], true, "{change}");
    let wait = format!("/api/executions/{id}/steps/wait");
    ratchet_tests::eventually("the step runs", || (told(&page, &wait)["view"]["status"] == "running").then_some(()));

    page.running.signal(Signal::INT);
    page.running.end();
    gate.open();
    ratchet_tests::eventually("the run goes on without the page", || {
        (status(&world, &id)["status"] == "completed" && world.work().join("came.txt").exists()).then_some(())
    });
}

#[test]
fn a_report_holds_all_and_hides_what_must_not_be_seen() {
    let world = asking();
    let id = id(&world);
    let done = world.ratchet(["report", "last"]).expect_code(0);
    assert!(done.stdout.starts_with(&format!("{id}.html (")), "{done:?}");
    let report = world.read(&format!("{id}.html"));
    assert!(!report.contains(KEY), "a sensitive input is in it");
    assert!(!report.contains("<img src=x"), "what a step wrote is markup");
    assert!(report.contains(r"\u003cimg src=x onerror=alert(1)\u003e"), "what a step wrote is not in it");
    for outside in ["https://", "src=\"", "href=\"", "@import", "url("] {
        let markup = report.split("<script type=\"application/json\"").next().unwrap_or_default();
        assert!(!markup.contains(outside), "it may load something: {outside}");
    }
    assert_eq!(report.matches("<script").count(), 2, "the data and the page's own");
    let printed = world.ratchet(["report", &id, "-o", "-"]).expect_code(0).stdout;
    assert_eq!(printed.matches("<script").count(), 2);
    world.ratchet(["report", "none"]).expect_code(2);
}

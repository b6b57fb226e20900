//! Requests of a workflow, to a server on this machine.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::mpsc::{Receiver, channel},
    thread,
};

use ratchet_tests::world::World;
use serde_json::Value;

const CANARY: &str = "c4n4ry-of-a-header";

const WORKFLOW: &str = r#"
name: hooks
version: "1"
secrets: [TOKEN]
inputs:
  base: { type: string, required: true }
steps:
  - id: sends
    type: webhook
    url: "{{ inputs.base ~ '/items?n=1' }}"
    headers: { Authorization: "Bearer {{ secrets.TOKEN }}" }
    body: { value: "{{ inputs.base }}", list: [1, "{{ 1 + 1 }}"] }
    retry: { attempts: 2, delay: 1ms, on: [503] }
    outputs:
      id: { type: integer, from: json.id }
  - id: reads
    type: shell
    command: test {{ sends.outputs.status }} = 201 && test {{ sends.outputs.id }} = 7 && printf '%s' {{ sends.outputs.body }}
    outputs:
      said: { type: string, from: stdout }
"#;

/// Answers as many requests as there are answers, and gives what it was sent.
fn server(answers: &'static [&'static str]) -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (tell, told) = channel();
    thread::spawn(move || {
        for answer in answers {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let mut bytes = Vec::new();
            let mut piece = [0; 1024];
            while !bytes.ends_with(b"}") {
                match stream.read(&mut piece) {
                    Ok(count) if count > 0 => bytes.extend_from_slice(&piece[..count]),
                    _ => break,
                }
            }
            let _ = stream.write_all(answer.as_bytes());
            if tell.send(String::from_utf8_lossy(&bytes).into_owned()).is_err() {
                return;
            }
        }
    });
    (port, told)
}

#[test]
fn a_request_is_sent_and_tried_again_with_the_same_key() {
    let (port, told) = server(&[
        "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy",
        "HTTP/1.1 201 Created\r\ncontent-length: 41\r\n\r\n{\"id\": 7, \"echo\": \"c4n4ry-of-a-header\"}  ",
    ]);
    let mut world = World::new();
    world.write("workflow.yaml", WORKFLOW);
    world.variables.push(("RATCHET_SECRET_TOKEN".to_owned(), CANARY.to_owned()));
    let base = format!("base=http://localhost:{port}");

    let refused = world.ratchet(["run", ".", "-i", &base, "--json"]).expect_code(1);
    let state: Value = serde_json::from_str(&refused.stdout).expect("JSON");
    assert_eq!(state["steps"]["sends"]["error"]["code"], "RT-0350", "{state}");

    world.variables.push(("RATCHET_ALLOW_HOSTS".to_owned(), "a b".to_owned()));
    assert!(world.ratchet(["run", ".", "-i", &base]).expect_code(2).stderr.contains("'a b' is no host"));
    world.variables.pop();
    world.variables.push(("RATCHET_ALLOW_HOSTS".to_owned(), format!("localhost:{port}")));
    let done = world.ratchet(["run", ".", "-i", &base, "--json", "--log", "trace"]).expect_code(0);
    let state: Value = serde_json::from_str(&done.stdout).expect("JSON");
    assert_eq!(state["steps"]["sends"]["attempts"], 2);
    assert_eq!(state["steps"]["reads"]["outputs"]["said"], "{\"id\": 7, \"echo\": \"***\"}  ");

    let sent: Vec<String> = told.iter().collect();
    let header = |text: &str, name: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(name));
        found.unwrap_or_else(|| panic!("{name} in {text}")).to_owned()
    };
    let keys: Vec<String> = sent.iter().map(|text| header(text, "idempotency-key: ")).collect();
    assert!(keys.len() == 2 && keys[0] == keys[1] && keys[0].len() == 32, "{keys:?}");
    assert_eq!(header(&sent[1], "authorization: "), format!("Bearer {CANARY}"));
    assert!(sent[1].ends_with(&format!("{{\"list\":[1,2],\"value\":\"http://localhost:{port}\"}}")), "{}", sent[1]);

    let shown = [done.stdout, done.stderr, world.ratchet(["logs"]).stdout, world.ratchet(["history", "--json"]).stdout];
    assert!(shown.iter().all(|text| !text.contains(CANARY)));
    assert!(shown[2].contains("201 Created"), "{}", shown[2]);
    assert_eq!(super::agents::files_with(&world.state(), CANARY), [""; 0]);
    let rendered = world.ratchet(["render", ".", "sends", "-i", "base=https://example.org"]).expect_code(0).stdout;
    assert!(
        rendered.contains("headers.authorization: Bearer ***\n")
            && rendered.contains("url: https://example.org/items?n=1\n")
    );
}

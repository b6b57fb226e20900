//! What reaches a tracing system, by the protocol that it speaks, and what the processes of steps see of it.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::any_value::Value,
    trace::v1::{Span, status::StatusCode},
};
use prost::Message;
use ratchet_tests::world::World;

use super::state;

/// A collector on loopback. It is listened to as long as the test lives.
pub(super) struct Collector {
    address: SocketAddr,
    spans: Arc<Mutex<Vec<Span>>>,
    services: Arc<Mutex<Vec<String>>>,
}

impl Collector {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let collector = Self { address, spans: Arc::default(), services: Arc::default() };
        let (spans, services) = (Arc::clone(&collector.spans), Arc::clone(&collector.services));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let request = receive(&stream);
                for resource in request.resource_spans {
                    let attributes = resource.resource.map(|resource| resource.attributes).unwrap_or_default();
                    let name = attributes.into_iter().find(|attribute| attribute.key == "service.name");
                    services.lock().expect("services").extend(name.and_then(|name| text(name.value?.value?)));
                    let sent = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
                    spans.lock().expect("spans").extend(sent);
                }
                answer(&stream);
            }
        });
        collector
    }

    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` has to be.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All that came, in words.
    pub(super) fn text(&self) -> String {
        format!("{:?}", self.spans.lock().expect("spans"))
    }

    /// The spans by name. Each name must be there once.
    fn spans(&self) -> BTreeMap<String, Span> {
        let spans = self.spans.lock().expect("spans").clone();
        let count = spans.len();
        let by_name: BTreeMap<String, Span> = spans.into_iter().map(|span| (name_of(&span), span)).collect();
        assert_eq!(by_name.len(), count, "{:?}", by_name.keys());
        by_name
    }
}

fn receive(stream: &TcpStream) -> ExportTraceServiceRequest {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).expect("a line") > 0, "the call ended early: {head}");
    }
    let head = head.to_ascii_lowercase();
    assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
    assert!(head.contains("content-type: application/x-protobuf\r\n"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    let mut body = vec![0; length.parse().expect("a number")];
    reader.read_exact(&mut body).expect("a body");
    ExportTraceServiceRequest::decode(&*body).expect("a request of the protocol")
}

fn answer(mut stream: &TcpStream) {
    stream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        .expect("an answer");
}

/// `step build`, and of an attempt also whose it is: `attempt 2 of build`.
fn name_of(span: &Span) -> String {
    let step = span.attributes.iter().find(|attribute| attribute.key == "ratchet.step");
    match step.and_then(|step| text(step.value.clone()?.value?)) {
        Some(step) if span.name.starts_with("attempt") => format!("{} of {step}", span.name),
        _ => span.name.clone(),
    }
}

fn text(value: Value) -> Option<String> {
    if let Value::StringValue(text) = value { Some(text) } else { None }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

const TRACED: &str = "\
name: traced
version: \"1\"
steps:
  - id: flaky
    type: shell
    retry: { attempts: 2, delay: 1ms }
    command: echo \"$TRACEPARENT\"; test \"$RATCHET_ATTEMPT\" = 2
    outputs:
      seen: { type: string, from: stdout }
  - id: each
    type: shell
    foreach: \"[1, 2]\"
    command: echo {{ item }}
  - id: fails
    type: shell
    on_failure: continue
    command: exit 3
  - id: holds
    type: assert
    condition: 1 < 2
";

#[test]
fn a_run_is_one_trace_of_execution_steps_and_attempts() {
    let collector = Collector::start();
    let mut world = World::new();
    world.write("workflow.yaml", TRACED);
    let mut set = |name: &str, value: &str| world.variables.push((name.to_owned(), value.to_owned()));
    set("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url());
    let (trace, caller) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    set("TRACEPARENT", &format!("00-{trace}-{caller}-01"));
    let done = world.ratchet(["run", ".", "--json"]).expect_code(4);
    assert!(!done.stderr.contains("not exported") && !done.stderr.contains("without export"), "{}", done.stderr);

    let spans = collector.spans();
    let names: Vec<&str> = spans.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "attempt 1 of each[0]",
            "attempt 1 of each[1]",
            "attempt 1 of fails",
            "attempt 1 of flaky",
            "attempt 2 of flaky",
            "execution traced",
            "step each",
            "step each[0]",
            "step each[1]",
            "step fails",
            "step flaky",
            "step holds",
        ]
    );
    assert!(spans.values().all(|span| hex(&span.trace_id) == trace), "one trace, and it is the caller's");
    let id = |name: &str| hex(&spans[name].span_id);
    let parent = |name: &str| hex(&spans[name].parent_span_id);
    assert_eq!(parent("execution traced"), caller);
    for step in ["flaky", "each", "fails", "holds"] {
        assert_eq!(parent(&format!("step {step}")), id("execution traced"), "{step}");
    }
    for child in ["each[0]", "each[1]"] {
        assert_eq!(parent(&format!("step {child}")), id("step each"));
        assert_eq!(parent(&format!("attempt 1 of {child}")), id(&format!("step {child}")));
    }
    assert_eq!([parent("attempt 1 of flaky"), parent("attempt 2 of flaky")], [id("step flaky"), id("step flaky")]);
    let mut ids: Vec<String> = names.iter().map(|name| id(name)).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), names.len(), "every span has an identifier of its own");

    let failed = |name: &str| spans[name].status.as_ref().is_some_and(|status| status.code() == StatusCode::Error);
    assert!(failed("attempt 1 of flaky") && failed("step fails") && !failed("step flaky") && !failed("step holds"));
    for span in spans.values() {
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{}", span.name);
    }
    assert!(collector.services.lock().expect("services").iter().all(|name| name == "ratchet"));

    // What the process saw is the span of its own attempt.
    let state = state(&world, &["status", "--json"]);
    assert_eq!(state["steps"]["flaky"]["outputs"]["seen"], format!("00-{trace}-{}-01", id("attempt 2 of flaky")));
}

#[test]
fn a_collector_that_is_not_there_takes_nothing_from_the_run() {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let mut world = World::new();
    world.write("workflow.yaml", &TRACED.replace("exit 3", "exit 0"));
    world.variables.push(("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), format!("http://{address}")));
    let done = world.ratchet(["run", ".", "--quiet"]).expect_code(0);
    assert_eq!(done.stderr.matches("note: traces are not exported").count(), 1, "{}", done.stderr);
}

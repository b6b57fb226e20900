//! Requests to servers on this machine that answer as each test wants.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, TcpListener, TcpStream},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use ratchet_core::{
    ids::{Epoch, ExecutionId, StepId, StepKey, StepPath},
    output::Output,
    step::FailureClass,
    workflow::{Expression, Uses, ValueType},
};
use ratchet_definition::files::FileAccess;
use ratchet_engine::{
    order::{AttemptOutcome, Order, OutputOrder, OutputOrderSource, RequestBody, RequestOrder, SecretText, Work},
    ports::{AttemptFiles, AttemptPlace, AttemptRunner, Observer, Silent, Stop, StopSignal},
};
use ratchet_testkit::{
    builders,
    memory::{MemoryBlobStore, MemorySecrets},
};
use rcgen::{CertifiedKey, KeyPair};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{AllowedHosts, Web, web::Resolve};
use crate::{
    Runner, codes,
    tests::{Doing, Folder},
};

const SECRET: &str = "hush-hush-4711";

/// A server that answers one connection after another, and what it was sent. An empty answer is none: the connection stays open.
struct Server {
    port: u16,
    sent: mpsc::Receiver<String>,
}

impl Server {
    fn start(answers: Vec<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tell, sent) = mpsc::channel();
        thread::spawn(move || {
            for answer in answers {
                let Ok((mut stream, _)) = listener.accept() else { return };
                if tell.send(read(&mut stream)).is_err() {
                    return;
                }
                if answer.is_empty() {
                    // To its end, which the client makes.
                    let _ = stream.read_to_end(&mut Vec::new());
                } else {
                    // A client that has heard enough hangs up.
                    let _ = stream.write_all(&answer);
                }
            }
        });
        Self { port, sent }
    }

    fn sent(&self) -> String {
        self.sent.recv_timeout(Duration::from_mins(1)).unwrap()
    }
}

/// A request, to the end of its body.
fn read(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
            if body.len() >= length {
                return text;
            }
        }
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return text,
            Ok(count) => bytes.extend_from_slice(&piece[..count]),
        }
    }
}

fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len()).into_bytes()
}

/// Names by a table that a test can change, and how often it was asked.
#[derive(Default)]
struct Names {
    answers: Mutex<Vec<Vec<IpAddr>>>,
    asked: Mutex<u32>,
}

#[async_trait::async_trait]
impl Resolve for Names {
    async fn addresses(&self, _host: &str, _port: u16) -> std::io::Result<Vec<IpAddr>> {
        *self.asked.lock().unwrap() += 1;
        let mut answers = self.answers.lock().unwrap();
        if answers.is_empty() { Err(std::io::Error::other("no such name")) } else { Ok(answers.remove(0)) }
    }
}

struct Case {
    order: Order,
    web: Web,
    stop: StopSignal,
}

impl Case {
    fn get(url: impl Into<String>) -> Self {
        let request = RequestOrder {
            url: url.into(),
            method: "GET".to_owned(),
            headers: BTreeMap::new(),
            body: None,
            expect_status: vec![200..=299],
        };
        let path = StepPath::step(StepId::new("call"));
        let key = StepKey { execution: ExecutionId::new("e"), epoch: Epoch::FIRST, path };
        let order = Order {
            idempotency_key: "the-key".to_owned(),
            ..builders::order(key, 1, Work::Request(Box::new(request)))
        };
        let web = Web::default().allowing(AllowedHosts::parse("127.0.0.1,named.test").unwrap());
        Self { order, web, stop: watch::channel(None).1 }
    }

    fn with(mut self, change: impl FnOnce(&mut RequestOrder)) -> Self {
        let Work::Request(request) = &mut self.order.work else { unreachable!() };
        change(request);
        self
    }

    fn web(self, web: Web) -> Self {
        Self { web, ..self }
    }

    async fn run(self) -> (AttemptOutcome, String) {
        let place = tempfile::tempdir().unwrap();
        let files = Arc::new(|files: &AttemptFiles| Arc::new(Folder(files.root().to_owned())) as Arc<dyn FileAccess>);
        let secrets = MemorySecrets::new(BTreeMap::from([
            ("TOKEN".to_owned(), SECRET.to_owned()),
            ("LINES".to_owned(), "two\nlines-of-it".to_owned()),
        ]));
        let runner = Runner::new(
            Arc::new(MemoryBlobStore::default()),
            Arc::new(Doing(|_| panic!("no agent is asked here"))),
            Arc::new(Silent) as Arc<dyn Observer>,
            files,
        )
        .with_secrets(Arc::new(secrets))
        .with_web(self.web);
        let attempt = AttemptPlace {
            definitions: None,
            files: AttemptFiles::in_folder(place.path()),
            directory: place.path().join("attempt"),
            scratch: place.path().join("scratch"),
        };
        let outcome = runner.run(self.order, attempt, self.stop).await.outcome;
        (outcome, fs::read_to_string(place.path().join("attempt/output.log")).unwrap_or_default())
    }

    /// The class, code and words of the failure.
    async fn fails(self) -> (FailureClass, String, String) {
        match self.run().await.0 {
            AttemptOutcome::Failed { failure, .. } => {
                let words = format!("{}; {}", failure.message, failure.detail.unwrap_or_default());
                (failure.class, failure.code.unwrap_or_default(), words)
            }
            other => panic!("{other:?}"),
        }
    }

    async fn succeeds(self) -> (BTreeMap<String, Value>, String) {
        match self.run().await {
            (AttemptOutcome::Succeeded(result), log) => {
                let json = |output| match output {
                    Output::Json(value) => value,
                    other => panic!("{other:?}"),
                };
                (result.outputs.into_iter().map(|(name, output)| (name, json(output))).collect(), log)
            }
            (other, _) => panic!("{other:?}"),
        }
    }
}

fn url(server: &Server, path: &str) -> String {
    format!("http://127.0.0.1:{}{path}", server.port)
}

#[tokio::test]
async fn a_request_is_sent_as_it_was_asked_for_and_its_reply_is_data() {
    let echo = format!("{{\"got\": \"Bearer {SECRET}\", \"n\": 1}}");
    let server =
        Server::start(vec![answer("201 Created", "x-a: 1\r\nx-a: 2\r\ncontent-type: application/json\r\n", &echo)]);
    let mut case = Case::get(url(&server, "/items/a%2Fb?q=1")).with(|request| {
        request.method = "POST".to_owned();
        let parts = vec![SecretText::Plain("Bearer ".to_owned()), SecretText::Secret("TOKEN".to_owned())];
        request.headers.insert("authorization".to_owned(), parts);
        request.body = Some(RequestBody::Json(json!({"say": "\"}{\r\nx: y"})));
    });
    let expression = Expression { source: "json.n".to_owned(), code: "json.n".to_owned(), uses: Uses::default() };
    let source = OutputOrderSource::From { expression, value_type: ValueType::Integer };
    case.order.outputs.push(OutputOrder { name: "n".to_owned(), source });
    let (outputs, log) = case.succeeds().await;

    let sent = server.sent();
    let (head, body) = sent.split_once("\r\n\r\n").unwrap();
    let mut lines: Vec<&str> = head.lines().collect();
    lines[1..].sort_unstable();
    let host = format!("host: 127.0.0.1:{}", server.port);
    let agent = concat!("user-agent: ratchet/", env!("CARGO_PKG_VERSION"));
    let expected = [
        "POST /items/a%2Fb?q=1 HTTP/1.1",
        "accept: */*",
        "authorization: Bearer hush-hush-4711",
        "connection: close",
        "content-length: 22",
        "content-type: application/json",
        &host,
        "idempotency-key: the-key",
        agent,
    ];
    assert_eq!(lines, expected);
    assert_eq!(body, r#"{"say":"\"}{\r\nx: y"}"#);

    assert_eq!(outputs["status"], 201);
    assert_eq!(outputs["body"], json!("{\"got\": \"Bearer ***\", \"n\": 1}"));
    assert_eq!(outputs["json"], json!({"got": "Bearer ***", "n": 1}));
    assert_eq!((&outputs["headers"]["x-a"], &outputs["n"]), (&json!("1, 2"), &json!(1)));
    assert!(log.contains("201 Created") && !log.contains(SECRET), "{log}");
}

#[tokio::test]
async fn an_authors_own_headers_stand_and_text_is_text() {
    let server = Server::start(vec![answer("204 No Content", "", "")]);
    let own = |text: &str| vec![SecretText::Plain(text.to_owned())];
    let case = Case::get(url(&server, "")).with(|request| {
        request.method = "PUT".to_owned();
        request.headers.insert("idempotency-key".to_owned(), own("mine"));
        request.headers.insert("content-type".to_owned(), own("text/csv"));
        request.body = Some(RequestBody::Text("a,é".to_owned()));
    });
    let (outputs, _) = case.succeeds().await;
    let sent = server.sent();
    for part in ["PUT / HTTP/1.1\r\n", "idempotency-key: mine\r\n", "content-type: text/csv\r\n", "\r\n\r\na,é"] {
        assert!(sent.contains(part), "{part} in {sent}");
    }
    assert_eq!((&outputs["status"], &outputs["json"], &outputs["body"]), (&json!(204), &Value::Null, &json!("")));
}

#[tokio::test]
async fn addresses_that_are_not_public_are_refused() {
    // No server: nothing may come so far.
    for (url, address) in [
        ("http://127.0.0.1:1/", "127.0.0.1"),
        ("http://169.254.169.254/latest/meta-data", "169.254.169.254"),
        ("http://[::1]:1/", "::1"),
        ("http://[::ffff:127.0.0.1]/", "::ffff:127.0.0.1"),
        ("http://[fd00:ec2::254]/", "fd00:ec2::254"),
        ("https://10.1.2.3/", "10.1.2.3"),
        ("http://localhost:1/", "127.0.0.1"),
        // As the machine itself reads them.
        ("http://127.1:1/", "127.0.0.1"),
        ("http://0x7f000001:1/", "127.0.0.1"),
        ("http://2130706433:1/", "127.0.0.1"),
    ] {
        let (class, code, words) = Case::get(url).web(Web::default()).fails().await;
        assert_eq!((class, code.as_str()), (FailureClass::Definition, codes::ADDRESS_REFUSED), "{url}: {words}");
        assert!(words.contains(address) || url.contains("localhost"), "{words}");
    }
    // One address that is not public is enough, and another port is not allowed with the first.
    let names = Names::default();
    names.answers.lock().unwrap().push(vec!["1.1.1.1".parse().unwrap(), "10.0.0.1".parse().unwrap()]);
    let web = Web::default().resolving(Arc::new(names)).allowing(AllowedHosts::parse("named.test:81").unwrap());
    assert_eq!(Case::get("http://named.test/").web(web).fails().await.1, codes::ADDRESS_REFUSED);
}

#[tokio::test]
async fn a_name_is_asked_for_once() {
    let server = Server::start(vec![answer("307 T", "location: /there\r\n", ""), answer("200 OK", "", "done")]);
    let names = Arc::new(Names::default());
    // What it would be told the second time is another machine.
    *names.answers.lock().unwrap() = vec![vec![Ipv4Addr::LOCALHOST.into()], vec![Ipv4Addr::new(10, 0, 0, 1).into()]];
    let case = Case::get(format!("http://named.test:{}/here", server.port));
    let web = case.web.clone().resolving(names.clone());
    let (outputs, _) = case.web(web).succeeds().await;
    assert_eq!((&outputs["body"], *names.asked.lock().unwrap()), (&json!("done"), 1));
    assert!(server.sent().contains(&format!("host: named.test:{}\r\n", server.port)));
    assert!(server.sent().starts_with("GET /there "));
}

#[tokio::test]
async fn redirects_are_followed_on_their_host_alone() {
    let elsewhere = answer("302 Found", "location: http://127.0.0.2/secret\r\n", "");
    let around = || answer("302 Found", "location: /again\r\n", "");
    for (answers, words) in [
        (vec![elsewhere], "stay on their host"),
        ((0..6).map(|_| around()).collect(), "more than 5"),
        (vec![answer("308 P", "", "")], "does not say where to"),
    ] {
        let server = Server::start(answers);
        let (class, code, told) = Case::get(url(&server, "/")).fails().await;
        assert_eq!((class, code.as_str()), (FailureClass::Definition, codes::REDIRECT_REFUSED));
        assert!(told.contains(words), "{told}");
    }
    let server = Server::start(vec![answer("303 See Other", "location: /done\r\n", ""), answer("200 OK", "", "")]);
    let case = Case::get(url(&server, "/do")).with(|request| {
        request.method = "POST".to_owned();
        request.body = Some(RequestBody::Text("once".to_owned()));
    });
    case.succeeds().await;
    assert!(server.sent().ends_with("once"));
    let second = server.sent();
    assert!(
        second.starts_with("GET /done ") && !second.contains("once") && !second.contains("content-type"),
        "{second}"
    );
    // One that is expected is a reply.
    let server = Server::start(vec![around()]);
    let (outputs, _) =
        Case::get(url(&server, "/")).with(|request| request.expect_status = vec![300..=399]).succeeds().await;
    assert_eq!((&outputs["status"], &outputs["headers"]["location"]), (&json!(302), &json!("/again")));
}

#[tokio::test]
async fn a_status_that_is_not_expected_fails_with_what_was_said() {
    let body = format!("no such item, {SECRET}");
    let server = Server::start(vec![answer("404 Not Found", "", &body), answer("404 Not Found", "", "")]);
    let with_secret = |request: &mut RequestOrder| {
        request.headers.insert("x-key".to_owned(), vec![SecretText::Secret("TOKEN".to_owned())]);
    };
    let (class, code, words) = Case::get(url(&server, "/x?q=1")).with(with_secret).fails().await;
    assert_eq!((class, code.as_str()), (FailureClass::Status(404), codes::STATUS_UNEXPECTED));
    assert!(words.contains("404 Not Found; no such item, ***") && !words.contains("q=1"), "{words}");
    Case::get(url(&server, "/x")).with(|request| request.expect_status = vec![404..=404]).succeeds().await;
}

#[tokio::test]
async fn replies_are_bounded() {
    let long = "x".repeat((1 << 20) + 1);
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{long}").into_bytes();
    let headers = answer("200 OK", &format!("x-long: {}\r\n", "y".repeat(70_000)), "");
    let many = answer("200 OK", &"x-many: 1\r\n".repeat(200), "");
    for (reply, code) in [
        (answer("200 OK", "", &long), codes::REPLY_TOO_LONG),
        (endless, codes::REPLY_TOO_LONG),
        (headers, codes::NOT_REACHED),
        (many, codes::NOT_REACHED),
        (b"SSH-2.0-OpenSSH_9.9\r\n".to_vec(), codes::NOT_REACHED),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".to_vec(), codes::NOT_REACHED),
    ] {
        let server = Server::start(vec![reply]);
        assert_eq!(Case::get(url(&server, "/")).fails().await.1, code);
    }
    let server = Server::start(vec![answer("200 OK", "", &long[1..])]);
    assert_eq!(Case::get(url(&server, "/")).succeeds().await.0["body"].as_str().map(str::len), Some(1 << 20));
}

#[tokio::test]
async fn a_server_that_says_nothing_is_waited_for_until_the_timeout_or_the_stop() {
    let server = Server::start(vec![Vec::new()]);
    let mut case = Case::get(url(&server, "/"));
    case.order.timeout = Some(Duration::from_millis(50));
    let (class, code, words) = case.fails().await;
    assert_eq!((class, code.as_str()), (FailureClass::Timeout, codes::TIMEOUT));
    assert!(words.contains("0.05 s"), "{words}");

    let server = Server::start(vec![Vec::new()]);
    let (tell, stop) = watch::channel(None);
    let case = Case { stop, ..Case::get(url(&server, "/")) };
    let asked = tokio::task::spawn_blocking(move || {
        server.sent();
        tell.send(Some(Stop::Gracefully)).unwrap();
    });
    assert_eq!(case.run().await.0, AttemptOutcome::Stopped);
    asked.await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_reached_or_said_is_told() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (class, code, words) = Case::get(format!("http://127.0.0.1:{closed}/")).fails().await;
    assert_eq!((class, code.as_str()), (FailureClass::Launch, codes::NOT_REACHED));
    assert!(words.contains("refused"), "{words}");

    let web = Web::default().resolving(Arc::new(Names::default()));
    let (class, code, words) = Case::get("http://nowhere.test/").web(web).fails().await;
    assert_eq!((class, code.as_str()), (FailureClass::Launch, codes::NOT_REACHED));
    assert!(words.contains("nowhere.test is not known"), "{words}");

    for parts in [vec![SecretText::Plain("a\r\nx: y".to_owned())], vec![SecretText::Secret("LINES".to_owned())]] {
        let case = Case::get("http://127.0.0.1:1/").with(|request| {
            request.headers.insert("x-key".to_owned(), parts);
        });
        let (class, _, words) = case.fails().await;
        assert_eq!(class, FailureClass::Definition);
        assert!(words.contains("line break") && !words.contains("lines-of-it"), "{words}");
    }
    let missing = Case::get("http://127.0.0.1:1/").with(|request| {
        request.headers.insert("x-key".to_owned(), vec![SecretText::Secret("NONE".to_owned())]);
    });
    assert_eq!(missing.fails().await.1, "RT-0220");
}

/// A certificate of the name `named.test`, which nobody else vouches for, and its key.
fn certified() -> CertifiedKey<KeyPair> {
    rcgen::generate_simple_self_signed(["named.test".to_owned()]).unwrap()
}

/// A server with a certificate.
async fn safe_server(certified: &CertifiedKey<KeyPair>) -> (u16, tokio::task::JoinHandle<()>) {
    use rustls_pki_types::PrivatePkcs8KeyDer;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_rustls::{TlsAcceptor, rustls};

    let certificate = certified.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()).into();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        // A client that does not trust the certificate hangs up.
        let Ok(mut stream) = TlsAcceptor::from(Arc::new(config)).accept(stream).await else { return };
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream.write_all(&answer("200 OK", "", "safe")).await;
        let _ = stream.shutdown().await;
    });
    (port, serving)
}

#[tokio::test]
async fn a_host_is_known_by_its_certificate() {
    let certified = certified();
    let folder = tempfile::tempdir().unwrap();
    let trusted = folder.path().join("named.test.pem");
    fs::write(&trusted, certified.cert.pem()).unwrap();
    let case = |port: u16, trusting: bool| {
        let names = Names::default();
        names.answers.lock().unwrap().push(vec![Ipv4Addr::LOCALHOST.into()]);
        let case = Case::get(format!("https://named.test:{port}/"));
        let web = case.web.clone().resolving(Arc::new(names));
        case.web(if trusting { web.trusting(trusted.clone()) } else { web })
    };
    let (port, serving) = safe_server(&certified).await;
    assert_eq!(case(port, true).succeeds().await.0["body"], "safe");
    serving.await.unwrap();

    let (port, serving) = safe_server(&certified).await;
    let (class, code, words) = case(port, false).fails().await;
    assert_eq!((class, code.as_str()), (FailureClass::Launch, codes::NOT_REACHED));
    assert!(words.contains("over TLS") && words.contains("certificate"), "{words}");
    serving.await.unwrap();
}

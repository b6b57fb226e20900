//! What stands between the engine and the emulator: every request goes through it, is counted, and is handed on. Events, tasks and invocations go to whoever drives the run.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Method, Request, Response,
    body::{Bytes, Incoming},
    header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
};

use super::meter::{Meter, Written};

/// The name under which tasks ask: a function does not wait for what they ask for.
pub(super) const TASK: &str = "task";

/// What comes of requests that the emulator does not see.
pub(super) enum Work {
    /// An event on the bus: its word and its detail.
    Event(String, Value),
    /// A task that was asked for: its variables.
    Task(Vec<(String, String)>),
}

/// An invocation of a function by another program, which waits for its answer.
pub(super) struct Invocation {
    pub(super) function: String,
    pub(super) payload: Value,
    pub(super) answer: oneshot::Sender<Value>,
}

/// What requests go through.
pub(super) struct Between {
    emulator: String,
    pub(super) meter: Mutex<Meter>,
    pub(super) work: Mutex<VecDeque<Work>>,
    invocations: mpsc::UnboundedSender<Invocation>,
}

impl Between {
    /// Listens on loopback. Where, and what comes to be answered.
    pub(super) async fn listen(emulator: &str) -> (Arc<Self>, String, mpsc::UnboundedReceiver<Invocation>) {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (invocations, asked) = mpsc::unbounded_channel();
        let emulator = emulator.trim_start_matches("http://").to_owned();
        let between = Arc::new(Self { emulator, meter: Mutex::default(), work: Mutex::default(), invocations });
        let serving = between.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let between = serving.clone();
                let service = service_fn(move |request| {
                    let between = between.clone();
                    async move { Ok::<_, std::convert::Infallible>(between.take(request).await) }
                });
                // A client that goes away takes nothing with it.
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        (between, format!("http://{address}"), asked)
    }

    async fn take(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
        let (service, operation) =
            target.split_once('.').map(|(service, word)| (service.to_owned(), word.to_owned())).unwrap_or_default();
        let json: Value = serde_json::from_slice(&body).unwrap_or_default();
        let path = parts.uri.path().to_owned();
        let by = parts.headers.get("authorization").and_then(|by| by.to_str().ok()).unwrap_or_default();
        if !by.contains(&format!("Credential={TASK}/")) {
            self.meter.lock().unwrap().counts.waits += 1;
        }
        if let Some(function) = path.strip_prefix("/2015-03-31/functions/") {
            let function = function.split('/').next().unwrap_or_default().to_owned();
            let (answer, answered) = oneshot::channel();
            self.invocations.send(Invocation { function, payload: json, answer }).ok().unwrap();
            return answer_with(&answered.await.unwrap_or(Value::Null));
        }
        match (service.as_str(), operation.as_str()) {
            ("AWSEvents", "PutEvents") => return answer_with(&self.put_events(&json)),
            (service, "RunTask") if service.starts_with("AmazonEC2ContainerService") => {
                return answer_with(&self.run_task(&json));
            }
            (service, _) if service.starts_with("AmazonEC2ContainerService") => {
                self.meter.lock().unwrap().counts.ecs += 1;
            }
            ("AmazonSQS", _) => self.meter.lock().unwrap().counts.messages += 1,
            ("", _) => {
                let mut meter = self.meter.lock().unwrap();
                match parts.method {
                    Method::GET | Method::HEAD => meter.counts.s3_reads += 1,
                    Method::DELETE => {}
                    _ => meter.counts.s3_writes += 1,
                }
            }
            _ => {}
        }
        let (answer, body) = self.hand_on(parts, body).await;
        if service.starts_with("DynamoDB") {
            let said: Value = serde_json::from_slice(&body).unwrap_or_default();
            self.table(&operation, &json, &said, answer.status.is_success()).await;
        }
        Response::from_parts(answer, Full::new(body))
    }

    fn put_events(&self, request: &Value) -> Value {
        let entries = request["Entries"].as_array().cloned().unwrap_or_default();
        self.meter.lock().unwrap().events(&entries);
        let mut work = self.work.lock().unwrap();
        for entry in &entries {
            let detail = serde_json::from_str(entry["Detail"].as_str().unwrap()).unwrap();
            work.push_back(Work::Event(entry["DetailType"].as_str().unwrap().to_owned(), detail));
        }
        let taken: Vec<Value> = entries.iter().map(|_| json!({"EventId": "1"})).collect();
        json!({"FailedEntryCount": 0, "Entries": taken})
    }

    fn run_task(&self, request: &Value) -> Value {
        let variables = request["overrides"]["containerOverrides"][0]["environment"].as_array().unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let variables = variables.iter().map(|one| (text(&one["name"]), text(&one["value"]))).collect();
        self.meter.lock().unwrap().counts.ecs += 1;
        self.work.lock().unwrap().push_back(Work::Task(variables));
        json!({"tasks": [{"taskArn": "arn:aws:ecs:us-east-1:000000000000:task/ratchet/1"}], "failures": []})
    }

    /// Counts a request to the table.
    async fn table(&self, operation: &str, request: &Value, answer: &Value, is_fine: bool) {
        if matches!(operation, "GetItem" | "BatchGetItem" | "Query") {
            return self.meter.lock().unwrap().read(operation, request, answer);
        }
        let targets = Meter::targets(operation, request);
        let in_transaction = operation == "TransactWriteItems";
        if in_transaction {
            self.meter.lock().unwrap().counts.transactions += 1;
        }
        for target in targets {
            let (key, after) = match target {
                Written::Item(item) => (json!({"pk": item["pk"], "sk": item["sk"]}), Some(item).filter(|_| is_fine)),
                Written::Under(wanted) if is_fine => {
                    let key = wanted["Key"].clone();
                    (key, self.item(&wanted).await)
                }
                Written::Under(wanted) => (wanted["Key"].clone(), None),
            };
            self.meter.lock().unwrap().wrote(&key, after, !is_fine, in_transaction);
        }
    }

    /// What lies under a key now. Nobody is charged for that it is looked at here.
    async fn item(&self, wanted: &Value) -> Option<serde_json::Map<String, Value>> {
        let request = Request::builder()
            .method(Method::POST)
            .uri("/")
            .header("host", &self.emulator)
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-target", "DynamoDB_20120810.GetItem")
            .header("authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0");
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let (_, body) = self.hand_on(parts, Bytes::from(wanted.to_string())).await;
        let said: Value = serde_json::from_slice(&body).unwrap();
        said["Item"].as_object().cloned()
    }

    async fn hand_on(&self, mut parts: http::request::Parts, body: Bytes) -> (http::response::Parts, Bytes) {
        for gone in [TRANSFER_ENCODING, CONTENT_LENGTH, CONNECTION] {
            parts.headers.remove(gone);
        }
        parts.headers.remove("expect");
        let stream = TcpStream::connect(&self.emulator).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let answer = sender.send_request(Request::from_parts(parts, Full::new(body))).await.unwrap();
        let (mut parts, body) = answer.into_parts();
        for gone in [TRANSFER_ENCODING, CONNECTION] {
            parts.headers.remove(gone);
        }
        (parts, body.collect().await.unwrap().to_bytes())
    }
}

fn answer_with(body: &Value) -> Response<Full<Bytes>> {
    Response::new(Full::new(Bytes::from(body.to_string())))
}

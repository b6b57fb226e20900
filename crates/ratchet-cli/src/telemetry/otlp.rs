//! Export of spans by OTLP over HTTP, as the standard variables say.

use std::{
    io::Read,
    sync::{
        Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use opentelemetry::{
    InstrumentationScope, KeyValue,
    trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState},
};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks},
};
use ratchet_core::execution::TraceParent;

use super::spans::{Attribute, Span};
use crate::console::Console;

/// How long spans are gathered before they are sent together.
const GATHERED: Duration = Duration::from_secs(1);
/// The most spans that are sent together.
const BATCH_MOST: usize = 512;

/// Sends spans from a thread of its own.
pub(super) struct Exporter {
    spans: Mutex<Option<Sender<Span>>>,
    sender: Mutex<Option<JoinHandle<()>>>,
}

impl Exporter {
    /// Begins to export. `None` where the variables ask for something that cannot be done, which is said.
    pub(super) fn start(console: Console) -> Option<Self> {
        let built = SpanExporter::builder().with_http().with_http_client(Client::new()).build();
        let mut exporter = match built {
            Ok(exporter) => exporter,
            Err(error) => {
                console.say(&format!("note: traces are not exported: {error}"));
                return None;
            }
        };
        let mut resource = Resource::builder();
        if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name("ratchet");
        }
        exporter.set_resource(&resource.build());
        let (spans, received) = mpsc::channel();
        let sender = thread::spawn(move || send_all(&exporter, &received, console));
        Some(Self { spans: Mutex::new(Some(spans)), sender: Mutex::new(Some(sender)) })
    }

    /// Sends a span soon.
    pub(super) fn send(&self, span: Span) {
        if let Some(spans) = &*self.spans.lock().unwrap_or_else(PoisonError::into_inner) {
            // A sender that has stopped has said why.
            let _ = spans.send(span);
        }
    }

    /// Sends what is left. The exporter's own timeout bounds the wait.
    pub(super) fn finish(&self) {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(sender) = self.sender.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = sender.join();
        }
    }
}

fn send_all(exporter: &SpanExporter, spans: &mpsc::Receiver<Span>, console: Console) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    let mut open = true;
    while open {
        let mut batch: Vec<SpanData> = spans.recv().into_iter().map(data).collect();
        open = !batch.is_empty();
        while open && batch.len() < BATCH_MOST {
            match spans.recv_timeout(GATHERED) {
                Ok(span) => batch.push(data(span)),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => open = false,
            }
        }
        if batch.is_empty() {
            return;
        }
        if let Err(error) = runtime.block_on(exporter.export(batch)) {
            // Once is enough: what cannot be reached now will hardly be in a second.
            console.say(&format!("note: traces are not exported: {error}"));
            return;
        }
    }
}

fn data(span: Span) -> SpanData {
    let (trace, own) = ids(&span.context);
    let parent = span.parent.as_ref().map_or(SpanId::INVALID, |parent| ids(parent).1);
    SpanData {
        span_context: SpanContext::new(trace, own, TraceFlags::SAMPLED, false, TraceState::default()),
        parent_span_id: parent,
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: span.name.into(),
        start_time: system_time(span.from),
        end_time: system_time(span.to),
        attributes: span.attributes.into_iter().map(attribute).collect(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: span.failure.map_or(Status::Unset, Status::error),
        instrumentation_scope: InstrumentationScope::builder("ratchet").with_version(env!("CARGO_PKG_VERSION")).build(),
    }
}

fn ids(context: &TraceParent) -> (TraceId, SpanId) {
    let mut parts = context.0.split('-').skip(1);
    let trace = parts.next().and_then(|text| TraceId::from_hex(text).ok()).unwrap_or(TraceId::INVALID);
    let span = parts.next().and_then(|text| SpanId::from_hex(text).ok()).unwrap_or(SpanId::INVALID);
    (trace, span)
}

fn attribute((name, value): (&'static str, Attribute)) -> KeyValue {
    match value {
        Attribute::Text(text) => KeyValue::new(name, text),
        Attribute::Number(number) => KeyValue::new(name, number),
        Attribute::Amount(amount) => KeyValue::new(name, amount),
    }
}

fn system_time(at: Timestamp) -> SystemTime {
    at.into()
}

/// The HTTP client of the exporter: it has a thread of its own, so it may block.
#[derive(Debug)]
struct Client {
    agent: ureq::Agent,
}

impl Client {
    fn new() -> Self {
        let timeout = std::env::var("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT")
            .or_else(|_| std::env::var("OTEL_EXPORTER_OTLP_TIMEOUT"))
            .ok()
            .and_then(|text| text.parse().ok())
            .map_or(Duration::from_secs(5), Duration::from_millis);
        let config = ureq::Agent::config_builder().timeout_global(Some(timeout)).http_status_as_error(false).build();
        Self { agent: config.new_agent() }
    }
}

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        let response = self.agent.run(Request::from_parts(parts, body.to_vec()))?;
        let (parts, mut body) = response.into_parts();
        let mut text = Vec::new();
        // A collector's answer is a few bytes; what is longer is none of its.
        body.as_reader().take(64 * 1024).read_to_end(&mut text)?;
        Ok(Response::from_parts(parts, text.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, net::TcpListener};

    use opentelemetry_otlp::WithExportConfig;

    use super::*;

    #[test]
    fn spans_reach_a_collector() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let collector = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a call");
            let mut received = Vec::new();
            let mut chunk = [0; 4096];
            // The span's name stands in the body as it is.
            while !received.windows(10).any(|window| window == b"step build") {
                let count = stream.read(&mut chunk).expect("bytes");
                assert!(count > 0, "the call ended before its span: {}", String::from_utf8_lossy(&received));
                received.extend_from_slice(&chunk[..count]);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").expect("an answer");
            received
        });
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Client::new())
            .with_endpoint(format!("http://{address}/v1/traces"))
            .build()
            .expect("an exporter");
        let (spans, received) = mpsc::channel();
        let context = TraceParent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned());
        let at = Timestamp::constant(1_767_225_600, 0);
        let span = Span {
            name: "step build".to_owned(),
            context: context.clone(),
            parent: Some(context),
            from: at,
            to: at,
            attributes: vec![("ratchet.step", Attribute::Text("build".to_owned()))],
            failure: None,
        };
        spans.send(span).expect("a receiver");
        drop(spans);
        send_all(&exporter, &received, Console::new());
        let call = collector.join().expect("a collector");
        let head = String::from_utf8_lossy(&call).into_owned();
        assert!(head.starts_with("POST /v1/traces HTTP/1.1"), "{head}");
        let trace = [0x0a, 0xf7, 0x65, 0x19, 0x16, 0xcd, 0x43, 0xdd, 0x84, 0x48, 0xeb, 0x21, 0x1c, 0x80, 0x31, 0x9c];
        assert!(call.windows(16).any(|window| window == trace), "the trace's own identifier");
    }
}

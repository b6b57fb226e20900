//! A Messages API on loopback that says what a script says: for tests of a real agent without a model, a key or a network.

use std::{
    collections::VecDeque,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use serde_json::{Value, json};

/// What the API says to one request.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Words, and the end of the turn.
    Text(String),
    /// The use of a tool, by name and input.
    Tool(String, Value),
    /// A failure with this status.
    Failure(u16),
    /// Nothing, until the server is dropped.
    Silence,
}

impl Answer {
    /// Words.
    pub fn text(words: impl Into<String>) -> Self {
        Self::Text(words.into())
    }

    /// The use of a tool.
    pub fn tool(name: impl Into<String>, input: Value) -> Self {
        Self::Tool(name.into(), input)
    }
}

/// The server. It ends with its drop.
#[derive(Debug)]
pub struct MessagesApi {
    address: SocketAddr,
    state: Arc<State>,
    /// Its drop ends every silence.
    _silence: mpsc::Sender<()>,
}

#[derive(Debug)]
struct State {
    script: Mutex<VecDeque<Answer>>,
    requests: Mutex<Vec<Request>>,
    silence: Mutex<mpsc::Receiver<()>>,
}

/// A request as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Each header's name in small letters, and its value.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Value,
}

impl Request {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl MessagesApi {
    /// Starts one that gives these answers in turn; the last one again and again.
    pub fn start(script: impl IntoIterator<Item = Answer>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (sender, receiver) = mpsc::channel();
        let state = Arc::new(State {
            script: Mutex::new(script.into_iter().collect()),
            requests: Mutex::default(),
            silence: Mutex::new(receiver),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                // A client that goes away in the middle is none of the server's business.
                thread::spawn(move || state.serve(&stream).ok());
            }
        });
        Ok(Self { address, state, _silence: sender })
    }

    /// What `ANTHROPIC_BASE_URL` has to be.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests for a message so far.
    pub fn requests(&self) -> Vec<Request> {
        self.state.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl State {
    fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut first = String::new();
        reader.read_line(&mut first)?;
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':') {
                headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
            }
        }
        let mut request = Request { headers, body: Value::Null };
        let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        request.body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let is_message = first.starts_with("POST /v1/messages?") || first.starts_with("POST /v1/messages ");
        if !is_message {
            return respond(stream, 404, &failure("not_found_error"));
        }
        let stream_wanted = request.body["stream"] == Value::Bool(true);
        let model = request.body["model"].as_str().unwrap_or("scripted").to_owned();
        let number = {
            let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
            requests.push(request);
            requests.len()
        };
        let (block, reason) = match self.next() {
            Answer::Text(words) => (json!({"type": "text", "text": words}), "end_turn"),
            Answer::Tool(name, input) => (
                json!({"type": "tool_use", "id": format!("toolu_{number:024}"), "name": name, "input": input}),
                "tool_use",
            ),
            Answer::Failure(status) => return respond(stream, status, &failure(kind_of(status))),
            Answer::Silence => {
                // Nobody ever sends: it returns when the server is dropped.
                let _ = self.silence.lock().unwrap_or_else(PoisonError::into_inner).recv();
                return Ok(());
            }
        };
        let usage = json!({"input_tokens": 1000, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 50});
        let message = json!({
            "id": format!("msg_{number:024}"), "type": "message", "role": "assistant", "model": model, "content": [],
            "stop_reason": null, "stop_sequence": null, "usage": usage,
        });
        if stream_wanted { events(stream, &message, &block, reason) } else { whole(stream, message, &block, reason) }
    }

    fn next(&self) -> Answer {
        let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        let last = if script.len() > 1 { script.pop_front() } else { script.front().cloned() };
        last.unwrap_or_else(|| Answer::text("ok"))
    }
}

fn whole(stream: &TcpStream, mut message: Value, block: &Value, reason: &str) -> io::Result<()> {
    message["content"] = json!([block]);
    message["stop_reason"] = json!(reason);
    respond(stream, 200, &message)
}

fn events(mut stream: &TcpStream, message: &Value, block: &Value, reason: &str) -> io::Result<()> {
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")?;
    let (start, delta) = if block["type"] == "text" {
        (json!({"type": "text", "text": ""}), json!({"type": "text_delta", "text": block["text"]}))
    } else {
        let mut start = block.clone();
        start["input"] = json!({});
        (start, json!({"type": "input_json_delta", "partial_json": block["input"].to_string()}))
    };
    for event in [
        json!({"type": "message_start", "message": message}),
        json!({"type": "content_block_start", "index": 0, "content_block": start}),
        json!({"type": "content_block_delta", "index": 0, "delta": delta}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": null}, "usage": message["usage"]}),
        json!({"type": "message_stop"}),
    ] {
        write!(stream, "event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default())?;
    }
    stream.flush()
}

fn respond(mut stream: &TcpStream, status: u16, body: &Value) -> io::Result<()> {
    let body = body.to_string();
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status} Scripted\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

fn failure(kind: &str) -> Value {
    json!({"type": "error", "error": {"type": kind, "message": "scripted"}})
}

fn kind_of(status: u16) -> &'static str {
    match status {
        400 => "invalid_request_error",
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        _ => "api_error",
    }
}

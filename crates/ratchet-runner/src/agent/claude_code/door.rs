//! The one way out of an agent's walls: a socket on which the runner itself listens. What comes there goes to the API and nowhere else, and the key is added on the way,
//! so that the agent has neither a network nor a key.

use std::{
    convert::Infallible,
    fs::{self, DirBuilder, File},
    io,
    os::{fd::AsRawFd, unix::fs::DirBuilderExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{
    body::{Bytes, Incoming},
    client, server,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpStream, UnixListener, UnixStream},
    task::{JoinHandle, JoinSet},
};

use crate::request::{Connection, secured};

/// Where the agent finds the folder of the socket.
pub(super) const FOLDER_INSIDE: &str = "/run/ratchet";
/// The socket in it.
const SOCKET: &str = "api";

/// Where the API is, and what is added to a request for it.
#[derive(Debug, Clone)]
pub(super) struct Api {
    /// What stands before the paths of requests.
    pub(super) url: Uri,
    /// Values of headers that stand for others, and those.
    pub(super) replaced: Vec<(String, String)>,
    /// Headers that are added.
    pub(super) added: HeaderMap,
}

/// A socket that is listened to as long as this lives.
#[derive(Debug)]
pub(super) struct Door {
    folder: PathBuf,
    listening: JoinHandle<()>,
}

impl Door {
    /// Listens in a folder of its own, below that of an attempt.
    pub(super) fn open(directory: &Path, api: Api) -> io::Result<Self> {
        let folder = directory.join("door");
        // An engine that was killed may have left one.
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        DirBuilder::new().mode(0o700).create(&folder)?;
        // The kernel takes short names of sockets alone, and attempts lie deep.
        let opened = File::open(&folder)?;
        let listener = UnixListener::bind(format!("/proc/self/fd/{}/{SOCKET}", opened.as_raw_fd()))?;
        let listening = tokio::spawn(listen(listener, Arc::new(api)));
        Ok(Self { folder, listening })
    }

    /// The folder that the agent sees as [`FOLDER_INSIDE`].
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The socket, as the agent finds it.
    pub(super) fn inside() -> String {
        format!("{FOLDER_INSIDE}/{SOCKET}")
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.listening.abort();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

async fn listen(listener: UnixListener, api: Arc<Api>) {
    let mut visitors = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((visitor, _)) => drop(visitors.spawn(serve(visitor, Arc::clone(&api)))),
                Err(error) => tracing::debug!(%error, "an agent's connection was not taken"),
            },
            Some(_) = visitors.join_next(), if !visitors.is_empty() => {}
        }
    }
}

async fn serve(visitor: UnixStream, api: Arc<Api>) {
    let answer = service_fn(move |request| {
        let api = Arc::clone(&api);
        async move { Ok::<_, Infallible>(pass_on(request, &api).await) }
    });
    if let Err(error) = server::conn::http1::Builder::new().serve_connection(TokioIo::new(visitor), answer).await {
        tracing::debug!(%error, "an agent's connection broke");
    }
}

type Body = BoxBody<Bytes, hyper::Error>;

/// Sends a request on to the API, and its reply back, as they come.
async fn pass_on(request: Request<Incoming>, api: &Api) -> Response<Body> {
    if !is_allowed(request.method(), request.uri().path()) {
        return refusal(StatusCode::FORBIDDEN, "the step's profile reaches the messages of the API and nothing else");
    }
    match forward(request, api).await {
        Ok(reply) => reply,
        Err(reason) => refusal(StatusCode::BAD_GATEWAY, &format!("the API cannot be reached: {reason}")),
    }
}

/// What an agent needs of its API.
fn is_allowed(method: &Method, path: &str) -> bool {
    method == Method::POST && matches!(path, "/v1/messages" | "/v1/messages/count_tokens")
}

async fn forward(request: Request<Incoming>, api: &Api) -> Result<Response<Body>, String> {
    let host = api.url.host().ok_or("its address has no host")?.to_owned();
    let is_secured = api.url.scheme_str() == Some("https");
    let port = api.url.port_u16().unwrap_or(if is_secured { 443 } else { 80 });
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let plain = TcpStream::connect((name, port)).await.map_err(|error| error.to_string())?;
    let stream: Box<dyn Connection> = if is_secured { Box::new(secured(name, plain).await?) } else { Box::new(plain) };
    let told = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(told)?;
    tokio::spawn(async move {
        // Its end is seen by whoever reads the reply.
        let _ = connection.await;
    });
    let reply = sender.send_request(addressed(request, api)?).await.map_err(told)?;
    Ok(reply.map(BodyExt::boxed))
}

/// A request as the API is to get it.
fn addressed(request: Request<Incoming>, api: &Api) -> Result<Request<Incoming>, String> {
    let (mut head, body) = request.into_parts();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let before = api.url.path().trim_end_matches('/');
    head.uri = format!("{before}{path}").parse().map_err(|_| "its path cannot be written".to_owned())?;
    for value in head.headers.values_mut() {
        let Ok(text) = value.to_str() else { continue };
        if let Some((stand_in, real)) = api.replaced.iter().find(|(stand_in, _)| text.contains(stand_in.as_str())) {
            let text = text.replace(stand_in, real);
            *value = HeaderValue::from_str(&text).map_err(|_| "the key is no header".to_owned())?;
            value.set_sensitive(true);
        }
    }
    head.headers.extend(api.added.clone());
    let host = api.url.authority().map_or("", |authority| authority.as_str());
    head.headers.insert(header::HOST, HeaderValue::from_str(host).map_err(|_| "its host is no header".to_owned())?);
    Ok(Request::from_parts(head, body))
}

/// Headers as the variable writes them: a line each.
pub(super) fn headers(text: &str) -> HeaderMap {
    let line = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((HeaderName::try_from(name.trim()).ok()?, HeaderValue::try_from(value.trim()).ok()?))
    };
    text.lines().filter_map(line).collect()
}

fn refusal(status: StatusCode, reason: &str) -> Response<Body> {
    let body = serde_json::json!({"type": "error", "error": {"type": "permission_error", "message": reason}});
    let body = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {}).boxed();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use ratchet_testkit::messages_api::{Answer, MessagesApi};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn ask(door: &Door, request: &str) -> String {
        let opened = File::open(door.folder()).unwrap();
        let mut stream = UnixStream::connect(format!("/proc/self/fd/{}/{SOCKET}", opened.as_raw_fd())).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn messages_pass_with_the_key_and_nothing_else_does() {
        let real = MessagesApi::start([Answer::text("salve")]).unwrap();
        let place = tempfile::tempdir().unwrap();
        // Deeper than the name of a socket may be long.
        let directory = place.path().join("deep/".repeat(40));
        fs::create_dir_all(&directory).unwrap();
        let api = Api {
            url: format!("{}/", real.url()).parse().unwrap(),
            replaced: vec![("stand-in".to_owned(), "the-key".to_owned())],
            added: headers("x-team: mine\nnonsense"),
        };
        let door = Door::open(&directory, api).unwrap();
        let message = |line: &str, host: &str| {
            format!(
                "{line} HTTP/1.1\r\nhost: {host}\r\nx-api-key: stand-in\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}"
            )
        };
        let answer = ask(&door, &message("POST /v1/messages?beta=true", "elsewhere.example")).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("salve"), "{answer}");
        for line in [
            "GET /v1/messages",
            "POST /v1/files",
            "POST /v1/messages/../files",
            "POST http://elsewhere.example/",
            "CONNECT elsewhere.example:443",
        ] {
            let answer = ask(&door, &message(line, "elsewhere.example")).await;
            assert!(answer.starts_with("HTTP/1.1 403"), "{line}: {answer}");
        }
        let requests = real.requests();
        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0].header("x-api-key"), Some("the-key"));
        assert_eq!(requests[0].header("x-team"), Some("mine"));
        assert_eq!(requests[0].header("host"), Some(real.url().trim_start_matches("http://")));
        let folder = door.folder().to_owned();
        drop(door);
        assert!(!folder.exists());
    }
}

//! Requests and replies. A host's name is asked for once, what it stands for is judged, and the connection goes to that very address.

use std::{env, io, net::IpAddr, path::PathBuf, sync::Arc, sync::OnceLock, time::Duration};

use async_trait::async_trait;
use http::{HeaderMap, Method, Request, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore},
};

use super::{
    AllowedHosts, hosts,
    redirect::{self, host_and_port, is_https},
};

/// The most bytes of a reply's body.
pub(super) const BODY_MAX: usize = 1 << 20;
/// The most bytes of a reply's headers.
const HEADERS_BYTES_MAX: usize = 64 << 10;
/// The most headers of a reply.
const HEADERS_MAX: usize = 100;
/// The most redirects that are followed.
const REDIRECTS_MAX: usize = 5;
/// How long one address may take to be reached before the next one is tried.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);

/// What requests may reach, and how names are resolved.
#[derive(Clone)]
pub struct Web {
    allowed: AllowedHosts,
    resolve: Arc<dyn Resolve>,
    /// The certificates that hosts are known by.
    trust: Arc<OnceLock<Result<Arc<ClientConfig>, String>>>,
    /// A file of certificates besides those of the web.
    certificates: Option<PathBuf>,
}

/// Finds the addresses of a name.
#[async_trait]
pub(super) trait Resolve: Send + Sync {
    async fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<IpAddr>>;
}

/// As the machine does.
struct System;

#[async_trait]
impl Resolve for System {
    async fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((host, port)).await?.map(|address| address.ip()).collect())
    }
}

/// The public network alone. Certificates of the file that `SSL_CERT_FILE` names are trusted besides those of the web.
impl Default for Web {
    fn default() -> Self {
        Self {
            allowed: AllowedHosts::default(),
            resolve: Arc::new(System),
            trust: Arc::default(),
            certificates: env::var_os("SSL_CERT_FILE").map(PathBuf::from),
        }
    }
}

/// A request to send.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) uri: Uri,
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) uri: Uri,
    pub(super) status: http::StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// Why nothing of use came back.
#[derive(Debug)]
pub(super) enum Fault {
    /// The host has an address that is not public, and is not allowed.
    Refused { host: String, port: u16, address: IpAddr },
    /// The host is not known, not reached, or does not speak as it should.
    NotReached(String),
    /// The reply is too long.
    TooLong,
    /// It is a redirect that is not followed.
    Redirect(String),
}

impl Web {
    /// With hosts that may be asked whatever their addresses are.
    #[must_use]
    pub fn allowing(self, allowed: AllowedHosts) -> Self {
        Self { allowed, ..self }
    }

    #[cfg(test)]
    pub(super) fn resolving(self, resolve: Arc<dyn Resolve>) -> Self {
        Self { resolve, ..self }
    }

    #[cfg(test)]
    pub(super) fn trusting(self, certificates: PathBuf) -> Self {
        Self { certificates: Some(certificates), ..self }
    }

    /// Sends a request and follows where it is led, as far as it may. A redirect whose status is expected is a reply.
    pub(super) async fn send(&self, mut call: Call, is_expected: impl Fn(u16) -> bool) -> Result<Reply, Fault> {
        let (host, port) =
            host_and_port(&call.uri).ok_or_else(|| Fault::NotReached("the url has no host".to_owned()))?;
        let host = host.to_owned();
        let addresses = self.addresses(&host, port).await?;
        for _ in 0..=REDIRECTS_MAX {
            let reply = self.exchange(&call, &host, &addresses).await?;
            let status = reply.status.as_u16();
            if is_expected(status) {
                return Ok(reply);
            }
            let location = reply.headers.get(header::LOCATION).and_then(|location| location.to_str().ok());
            match redirect::next(&call.uri, &call.method, status, location).map_err(Fault::Redirect)? {
                None => return Ok(reply),
                Some(next) => {
                    if !next.keeps_body {
                        call.body = Bytes::new();
                        call.headers.remove(header::CONTENT_TYPE);
                    }
                    (call.uri, call.method) = (next.uri, next.method);
                }
            }
        }
        Err(Fault::Redirect(format!("there were more than {REDIRECTS_MAX} of them")))
    }

    /// The addresses of a host, each of which may be reached.
    async fn addresses(&self, host: &str, port: u16) -> Result<Vec<IpAddr>, Fault> {
        let addresses = match host.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) => self
                .resolve
                .addresses(host, port)
                .await
                .map_err(|error| Fault::NotReached(format!("the host {host} is not known: {error}")))?,
        };
        if addresses.is_empty() {
            return Err(Fault::NotReached(format!("the host {host} has no address")));
        }
        let refused = addresses.iter().find(|address| !hosts::is_public(**address));
        match refused {
            Some(address) if !self.allowed.contain(host, port) => {
                Err(Fault::Refused { host: host.to_owned(), port, address: *address })
            }
            _ => Ok(addresses),
        }
    }

    async fn exchange(&self, call: &Call, host: &str, addresses: &[IpAddr]) -> Result<Reply, Fault> {
        let (_, port) = host_and_port(&call.uri).unwrap_or((host, 0));
        let stream = connect(host, addresses, port).await?;
        if !is_https(&call.uri) {
            return converse(stream, call).await;
        }
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Fault::NotReached(format!("{host} is no name that a certificate can have")))?;
        let stream = TlsConnector::from(self.trust()?)
            .connect(name, stream)
            .await
            .map_err(|error| Fault::NotReached(format!("{host} cannot be spoken with over TLS: {error}")))?;
        converse(stream, call).await
    }

    pub(super) fn trust(&self) -> Result<Arc<ClientConfig>, Fault> {
        let made = self.trust.get_or_init(|| {
            let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
            if let Some(file) = &self.certificates {
                let told = |reason: String| format!("the certificates of {} cannot be read: {reason}", file.display());
                for certificate in CertificateDer::pem_file_iter(file).map_err(|error| told(error.to_string()))? {
                    let certificate = certificate.map_err(|error| told(error.to_string()))?;
                    roots.add(certificate).map_err(|error| told(error.to_string()))?;
                }
            }
            let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(|error| error.to_string())?;
            Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
        });
        made.clone().map_err(Fault::NotReached)
    }
}

/// A connection of either kind.
pub(crate) trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Connection for T {}

/// Speaks TLS with a host over a connection to it. An error says why not.
pub(crate) async fn secured(host: &str, stream: TcpStream) -> Result<impl Connection + 'static, String> {
    static WEB: OnceLock<Web> = OnceLock::new();
    let web = WEB.get_or_init(|| {
        let web = Web::default();
        let certificates = web.certificates.or_else(|| env::var_os("NODE_EXTRA_CA_CERTS").map(PathBuf::from));
        Web { certificates, ..Web::default() }
    });
    let trust = web.trust().map_err(|fault| match fault {
        Fault::NotReached(reason) => reason,
        other => format!("{other:?}"),
    })?;
    let name =
        ServerName::try_from(host.to_owned()).map_err(|_| format!("{host} is no name that a certificate can have"))?;
    TlsConnector::from(trust).connect(name, stream).await.map_err(|error| error.to_string())
}

async fn connect(host: &str, addresses: &[IpAddr], port: u16) -> Result<TcpStream, Fault> {
    let mut reasons = Vec::new();
    for address in addresses {
        match tokio::time::timeout(CONNECT_TIME_MAX, TcpStream::connect((*address, port))).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => reasons.push(error.to_string()),
            Err(_) => reasons.push(format!("no answer in {CONNECT_TIME_MAX:?}")),
        }
    }
    reasons.dedup();
    Err(Fault::NotReached(format!("{host} cannot be reached at port {port}: {}", reasons.join("; "))))
}

/// Sends a request over a connection of its own, and reads the reply.
async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, call: &Call) -> Result<Reply, Fault> {
    let broken = |error: hyper::Error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        Fault::NotReached(format!("the connection broke: {error}{cause}"))
    };
    let mut request =
        Request::builder().method(call.method.clone()).uri(call.uri.path_and_query().map_or("/", |path| path.as_str()));
    if let Some(headers) = request.headers_mut() {
        headers.clone_from(&call.headers);
        if let Some(host) = call.uri.authority().and_then(|authority| authority.as_str().parse().ok()) {
            headers.insert(header::HOST, host);
        }
        headers.insert(header::CONNECTION, http::HeaderValue::from_static("close"));
    }
    let request = request
        .body(Full::new(call.body.clone()))
        .map_err(|error| Fault::NotReached(format!("the request cannot be written: {error}")))?;
    let handshake = http1::Builder::new()
        .max_headers(HEADERS_MAX)
        .max_header_size(HEADERS_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await;
    let (mut sender, connection) = handshake.map_err(broken)?;
    // Dropped with this future, however it ends: so is the connection.
    let mut driving = JoinSet::new();
    driving.spawn(connection);
    let (head, mut body) = sender.send_request(request).await.map_err(broken)?.into_parts();
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
        if bytes.len() + data.len() > BODY_MAX {
            return Err(Fault::TooLong);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Reply { uri: call.uri.clone(), status: head.status, headers: head.headers, body: bytes })
}

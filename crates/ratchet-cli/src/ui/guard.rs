//! Who may talk to the page's server: a browser of this machine that was given the token, and no page but its own.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{Html, IntoResponse, Response},
};
use uuid::Uuid;

/// Of every answer. Nothing is loaded but the page's own files, nothing is written into it as code, and nobody keeps or frames it.
const HEADERS: [(&str, &str); 8] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("cache-control", "no-store"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
];

/// What a request has to know and to say.
#[derive(Debug)]
pub(super) struct Guard {
    /// What the address that is printed ends with.
    token: String,
    /// What the browser is given for it: so that whoever sees the address later in a list of processes or a history sees no cookie.
    cookie: String,
    /// Cookies of one host are the same for all of its ports.
    cookie_name: String,
    /// How the server is called: a name that somebody else's DNS leads here is not among them.
    hosts: [String; 2],
}

impl Guard {
    /// With a new token.
    pub(super) fn new(port: u16) -> Self {
        let secret = || format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        Self {
            token: secret(),
            cookie: secret(),
            cookie_name: format!("ratchet-ui-{port}"),
            hosts: [format!("127.0.0.1:{port}"), format!("localhost:{port}")],
        }
    }

    /// The address that lets a browser in.
    pub(super) fn address(&self) -> String {
        format!("http://{}/?token={}", self.hosts[0], self.token)
    }

    /// What stands against a request; none where it may pass.
    fn refusal(&self, method: &Method, headers: &HeaderMap) -> Option<(StatusCode, &'static str)> {
        let Some(host) = text(headers, &header::HOST).filter(|host| self.hosts.iter().any(|own| own == host)) else {
            return Some((StatusCode::MISDIRECTED_REQUEST, "This server answers to 127.0.0.1 and localhost only.\n"));
        };
        // What another page asks for is refused even if it could not read the answer. Following a link from there is no harm.
        let site = header_text(headers, "sec-fetch-site").unwrap_or("none");
        let navigates = header_text(headers, "sec-fetch-mode") == Some("navigate") && method == Method::GET;
        if !matches!(site, "same-origin" | "none") && !navigates {
            return Some((StatusCode::FORBIDDEN, "This is for the page itself, and not for others.\n"));
        }
        if !self.knows_cookie(headers) {
            return Some((
                StatusCode::UNAUTHORIZED,
                "Open the address that `ratchet ui` printed: it has a token that lets this browser in.\n",
            ));
        }
        match *method {
            Method::GET | Method::HEAD => None,
            Method::POST if text(headers, &header::ORIGIN) == Some(&format!("http://{host}")) => None,
            Method::POST => Some((StatusCode::FORBIDDEN, "Only the page itself may change something.\n")),
            _ => Some((StatusCode::METHOD_NOT_ALLOWED, "Only GET and POST are understood.\n")),
        }
    }

    fn knows_cookie(&self, headers: &HeaderMap) -> bool {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.into_iter().any(|(name, value)| name == self.cookie_name && is_same(value, &self.cookie))
    }

    /// What lets a browser in that shows the token. The page is opened by a page of its own site, not by a redirect: a browser that came from elsewhere would not show a
    /// strict cookie yet.
    fn admission(&self) -> Response {
        const PAGE: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"0; url=/\"><title>Ratchet</title>\
            <p><a href=\"/\">Ratchet</a></p></html>";
        let cookie = format!("{}={}; HttpOnly; SameSite=Strict; Path=/", self.cookie_name, self.cookie);
        ([(header::SET_COOKIE, cookie)], Html(PAGE)).into_response()
    }

    /// Whether a request for the page shows the token.
    fn is_admitted(&self, request: &Request) -> bool {
        let given = request.uri().query().and_then(|query| query.strip_prefix("token="));
        let host = text(request.headers(), &header::HOST);
        let is_own = host.is_some_and(|host| self.hosts.iter().any(|own| own == host));
        is_own
            && request.method() == Method::GET
            && request.uri().path() == "/"
            && given.is_some_and(|given| is_same(given, &self.token))
    }
}

/// Lets a request pass, or answers it with what stands against it.
pub(super) async fn guard(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let mut response = if guard.is_admitted(&request) {
        guard.admission()
    } else {
        match guard.refusal(request.method(), request.headers()) {
            Some(refusal) => refusal.into_response(),
            None => next.run(request).await,
        }
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    header_text(headers, name.as_str())
}

/// A header that is there once.
fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// Whether two texts are the same, in a time that does not tell how far they are.
fn is_same(one: &str, other: &str) -> bool {
    let differences = one.bytes().zip(other.bytes()).fold(0, |all, (one, other)| all | (one ^ other));
    one.len() == other.len() && differences == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_against_a_request() {
        let guard = Guard::new(4000);
        let cookie = format!("other=1; ratchet-ui-4000={}", guard.cookie);
        let fine = [("host", "localhost:4000"), ("cookie", &cookie), ("origin", "http://localhost:4000")];
        let refused = |method: Method, changes: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fine.iter().chain(changes) {
                headers.insert(*name, value.parse().unwrap());
            }
            guard.refusal(&method, &headers).map(|(status, _)| status.as_u16())
        };
        assert_eq!([refused(Method::GET, &[]), refused(Method::POST, &[])], [None, None]);
        assert_eq!(refused(Method::GET, &[("origin", "http://evil.example")]), None, "reading is not changing");
        let token = guard.token.clone();
        for (method, changes, status) in [
            (Method::GET, &[("host", "evil.example:4000")][..], 421),
            (Method::GET, &[("host", "localhost:4001")], 421),
            (Method::GET, &[("host", "localhost:4000.evil.example")], 421),
            (Method::GET, &[("cookie", "")], 401),
            (Method::GET, &[("cookie", "ratchet-ui-4000=")], 401),
            (Method::GET, &[("cookie", &format!("ratchet-ui-4000={token}"))], 401),
            (Method::GET, &[("cookie", &format!("{cookie}0"))], 401),
            (Method::GET, &[("sec-fetch-site", "same-site")], 403),
            (Method::POST, &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")], 403),
            (Method::POST, &[("origin", "http://127.0.0.1:4000")], 403),
            (Method::POST, &[("origin", "http://evil.example")], 403),
            (Method::POST, &[("origin", "null")], 403),
            (Method::PUT, &[], 405),
        ] {
            assert_eq!(refused(method.clone(), changes), Some(status), "{method} {changes:?}");
        }
        let linked = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
        assert_eq!(refused(Method::GET, &linked), None, "a link to the page may be followed");
    }
}

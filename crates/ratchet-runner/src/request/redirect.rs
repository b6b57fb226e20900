//! Where a redirect leads, and whether a request goes there.

use http::{Method, Uri, uri::Scheme};

/// What a redirect asks for.
#[derive(Debug, PartialEq)]
pub(super) struct Next {
    pub(super) uri: Uri,
    pub(super) method: Method,
    /// Whether the body is sent again.
    pub(super) keeps_body: bool,
}

/// Where a reply leads, `None` where it is no redirect; an error says why it is not followed.
pub(super) fn next(uri: &Uri, method: &Method, status: u16, location: Option<&str>) -> Result<Option<Next>, String> {
    let asks = *method == Method::GET || *method == Method::HEAD;
    let (method, keeps_body) = match status {
        307 | 308 => (method.clone(), true),
        303 if *method == Method::HEAD => (Method::HEAD, false),
        303 => (Method::GET, false),
        301 | 302 if asks => (method.clone(), false),
        301 | 302 => {
            return Err(format!(
                "a {method} was answered with {status}, after which nobody knows whether to send it again"
            ));
        }
        _ => return Ok(None),
    };
    let Some(location) = location else { return Err(format!("the reply with {status} does not say where to")) };
    let target = resolve(uri, location).ok_or_else(|| format!("`{}` is no url to go to", shown(location)))?;
    let (from, to) = (host_and_port(uri), host_and_port(&target));
    let (Some((from_host, from_port)), Some((to_host, to_port))) = (from, to) else {
        return Err(format!("`{}` names no host", shown(location)));
    };
    if !from_host.eq_ignore_ascii_case(to_host) {
        return Err(format!("it leads from {from_host} to {}, and redirects stay on their host", shown(to_host)));
    }
    let (was_safe, is_safe) = (is_https(uri), is_https(&target));
    if was_safe && !is_safe {
        return Err("it leads from https to http".to_owned());
    }
    let is_upgrade = !was_safe && is_safe && from_port == 80 && to_port == 443;
    if from_port != to_port && !is_upgrade {
        return Err(format!("it leads from port {from_port} to port {to_port}"));
    }
    Ok(Some(Next { uri: target, method, keeps_body }))
}

pub(super) fn is_https(uri: &Uri) -> bool {
    uri.scheme() == Some(&Scheme::HTTPS)
}

/// Without the brackets of an address.
pub(super) fn host_and_port(uri: &Uri) -> Option<(&str, u16)> {
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
    let host = authority.host();
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port = authority.port_u16().unwrap_or(if is_https(uri) { 443 } else { 80 });
    (!host.is_empty()).then_some((host, port))
}

fn resolve(base: &Uri, location: &str) -> Option<Uri> {
    let location = location.split('#').next().unwrap_or_default();
    let (scheme, authority) = (base.scheme_str()?, base.authority()?);
    let has_scheme = location.find([':', '/', '?']).is_some_and(|at| location[at..].starts_with(':'));
    let text = if has_scheme {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{}", without_dots(location))
    } else if location.starts_with('?') || location.is_empty() {
        format!("{scheme}://{authority}{}{location}", base.path())
    } else {
        let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{}", without_dots(&format!("{folder}/{location}")))
    };
    let uri: Uri = text.parse().ok()?;
    matches!(uri.scheme_str(), Some("http" | "https")).then_some(uri)
}

/// A path and query, without `.` and `..` in the path.
fn without_dots(text: &str) -> String {
    let (path, query) = text.find('?').map_or((text, ""), |at| text.split_at(at));
    let mut kept: Vec<&str> = Vec::new();
    for part in path.split('/').skip(1) {
        match part {
            "." => {}
            ".." => {
                kept.pop();
            }
            part => kept.push(part),
        }
    }
    format!("/{}{query}", kept.join("/"))
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_stay_on_their_host_and_never_become_less_safe() {
        let cases = [
            ("https://a.org/x/y?q", "GET", 302, "/z", "GET https://a.org/z"),
            ("https://a.org/x/y?q", "GET", 301, "z?r=1#f", "GET https://a.org/x/z?r=1"),
            ("https://a.org/x/y?q", "HEAD", 303, "../../../z", "HEAD https://a.org/z"),
            ("https://a.org/x/y?q", "GET", 302, "?r", "GET https://a.org/x/y?r"),
            ("https://a.org/x", "POST", 307, "https://A.ORG:443/y", "POST+ https://A.ORG:443/y"),
            ("https://a.org/x", "POST", 303, "/y", "GET https://a.org/y"),
            ("http://a.org/x", "PUT", 308, "https://a.org/x", "PUT+ https://a.org/x"),
            ("http://a.org:8080/x", "GET", 302, "//a.org:8080/y", "GET http://a.org:8080/y"),
            (
                "https://a.org/x",
                "POST",
                302,
                "/y",
                "a POST was answered with 302, after which nobody knows whether to send it again",
            ),
            (
                "https://a.org/x",
                "GET",
                302,
                "https://b.org/",
                "it leads from a.org to b.org, and redirects stay on their host",
            ),
            (
                "https://a.org/x",
                "GET",
                302,
                "//b.org/",
                "it leads from a.org to b.org, and redirects stay on their host",
            ),
            (
                "https://a.org/x",
                "GET",
                302,
                "https://a.org.b.org/",
                "it leads from a.org to a.org.b.org, and redirects stay on their host",
            ),
            ("https://a.org/x", "GET", 302, "https://a.org@b.org/", "`https://a.org@b.org/` names no host"),
            ("https://a.org/x", "GET", 302, "http://a.org/x", "it leads from https to http"),
            ("https://a.org/x", "GET", 302, "https://a.org:8443/x", "it leads from port 443 to port 8443"),
            ("http://a.org:8080/x", "GET", 302, "https://a.org/x", "it leads from port 8080 to port 443"),
            ("https://a.org/x", "GET", 302, "file:///etc/passwd", "`file:///etc/passwd` is no url to go to"),
            ("https://a.org/x", "GET", 302, "javascript:1", "`javascript:1` is no url to go to"),
            ("https://a.org/x", "GET", 200, "/y", "none"),
            ("https://a.org/x", "GET", 304, "/y", "none"),
        ];
        for (uri, method, status, location, expected) in cases {
            let method = method.parse().unwrap();
            let told = match next(&uri.parse().unwrap(), &method, status, Some(location)) {
                Ok(Some(Next { uri, method, keeps_body })) => {
                    format!("{method}{} {uri}", if keeps_body { "+" } else { "" })
                }
                Ok(None) => "none".to_owned(),
                Err(reason) => reason,
            };
            assert_eq!(told, expected, "{method} {uri} {status} {location}");
        }
        assert!(next(&"https://a.org/x".parse().unwrap(), &Method::GET, 302, None).is_err());
    }
}

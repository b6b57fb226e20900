//! Requests and answers of function URLs.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::refusal::Refusal;

/// A request as a function URL hands it on.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Request {
    pub(super) method: String,
    /// The parts between the slashes of its path.
    pub(super) path: Vec<String>,
    /// By their names in small letters.
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

impl Request {
    pub(super) fn of(event: &Value) -> Result<Self, Refusal> {
        let wrong = |what: &str| Refusal::Payload(format!("this is no request of a function URL: {what}"));
        let method = event["requestContext"]["http"]["method"].as_str().ok_or_else(|| wrong("it has no method"))?;
        let path = event["rawPath"].as_str().unwrap_or_default();
        let headers = event["headers"].as_object().into_iter().flatten();
        let text = event["body"].as_str().unwrap_or_default();
        let body = if event["isBase64Encoded"] == true {
            STANDARD.decode(text).map_err(|_| wrong("its body is not in base 64"))?
        } else {
            text.as_bytes().to_vec()
        };
        Ok(Self {
            method: method.to_owned(),
            path: path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect(),
            headers: headers
                .filter_map(|(name, value)| Some((name.to_ascii_lowercase(), value.as_str()?.to_owned())))
                .collect(),
            body,
        })
    }
}

/// An answer with a status code.
pub(super) fn answer(status: u16, body: &Value) -> Value {
    json!({"statusCode": status, "headers": {"content-type": "application/json"}, "body": body.to_string()})
}

/// The answer to what is refused.
pub(super) fn refused(refusal: &Refusal) -> Value {
    let code = refusal.code();
    tracing::warn!(code, %refusal, "a request was refused");
    answer(refusal.status(), &refusal.answer())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_it_was_sent() {
        let event = |body: &str, encoded: bool| {
            json!({
                "rawPath": "/a//b", "headers": {"X-Name": "v"}, "body": body, "isBase64Encoded": encoded,
                "requestContext": {"http": {"method": "POST"}},
            })
        };
        let plain = Request::of(&event("{}", false)).unwrap();
        assert_eq!(
            (plain.path, plain.headers["x-name"].as_str(), plain.body),
            (vec!["a".into(), "b".into()], "v", b"{}".to_vec())
        );
        assert_eq!(Request::of(&event("e30=", true)).unwrap().body, b"{}");
        assert!(Request::of(&event("?", true)).is_err());
        assert!(Request::of(&json!({"workflow": "w"})).is_err());
    }
}

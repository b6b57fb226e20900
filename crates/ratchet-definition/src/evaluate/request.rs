//! What a request is made of: values become parts of an address, of a header or of JSON, and stay data there.

use std::fmt::Write as _;

use ratchet_core::{
    output::Output,
    workflow::{Data, Template, Url, UrlPart},
};
use serde_json::Value as Json;

use super::{EvaluationError, Evaluator, error::Reason};
use crate::lower::check_url;

/// The longest address, in bytes: servers refuse longer ones.
const URL_MAX: usize = 16 * 1024;

/// Fills in an address.
pub(super) fn url(evaluator: &Evaluator, url: &Url) -> Result<String, EvaluationError> {
    let mut source = String::new();
    let filled_in = match url {
        Url::Whole(template) => {
            source.clone_from(&template.source);
            evaluator.text(template)?
        }
        Url::Parts(parts) => {
            let mut text = String::new();
            for part in parts {
                match part {
                    UrlPart::Literal(literal) => {
                        text.push_str(literal);
                        source.push_str(literal);
                    }
                    UrlPart::Value(value) => {
                        encode(&evaluator.text(value)?, &mut text);
                        source.push_str(&value.source);
                    }
                }
            }
            text
        }
    };
    let refuse = |reason: String| {
        let help = "a value in a url is percent-encoded; one that is the whole url has to be one";
        evaluator.error(&Reason::new("RT-0150", reason).with_help(help).into(), &source)
    };
    if filled_in.len() > URL_MAX {
        return Err(refuse(format!("the url has {} bytes; the most is {URL_MAX}", filled_in.len())));
    }
    check_url(&filled_in).map_err(refuse)?;
    Ok(filled_in)
}

/// Adds a value as part of a path or a query: every byte that could mean something there is percent-encoded.
fn encode(value: &str, into: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            into.push(char::from(byte));
        } else {
            let _ = write!(into, "%{byte:02X}");
        }
    }
}

/// Fills in a part of a header.
pub(super) fn header(evaluator: &Evaluator, template: &Template) -> Result<String, EvaluationError> {
    let text = evaluator.text(template)?;
    if text.contains(|c: char| c.is_control() && c != '\t') {
        let reason = Reason::new("RT-0151", "the value of a header has a line break or another control character")
            .with_help("a header is one line: trim the value, or send it in the body");
        return Err(evaluator.error(&reason.into(), &template.source));
    }
    Ok(text)
}

/// Fills in data.
pub(super) fn data(evaluator: &Evaluator, data: &Data) -> Result<Json, EvaluationError> {
    Ok(match data {
        Data::Constant(value) => value.clone(),
        Data::Template(template) => match evaluator.value(template)? {
            Output::Json(value) => value,
            Output::File(_) => Json::String(evaluator.text(template)?),
            other => plain(other),
        },
        Data::List(items) => {
            Json::Array(items.iter().map(|item| self::data(evaluator, item)).collect::<Result<_, _>>()?)
        }
        Data::Map(members) => Json::Object(
            members
                .iter()
                .map(|(name, value)| Ok((name.clone(), self::data(evaluator, value)?)))
                .collect::<Result<_, EvaluationError>>()?,
        ),
    })
}

/// The outputs of a fan-out's children as a list; a file by its path, and what is not there as null.
fn plain(output: Output) -> Json {
    match output {
        Output::Json(value) => value,
        Output::File(file) => Json::String(file.path),
        Output::Each(entries) => entries.into_iter().map(|entry| entry.map_or(Json::Null, plain)).collect(),
        Output::Stored(_) => Json::Null,
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use ratchet_core::workflow::{Action, Body, SecretPart, Webhook};
    use serde_json::json;

    use super::*;
    use crate::{
        compile::{SourceFile, compile},
        evaluate::{Scope, tests::scope_and_files},
    };

    /// A request of a workflow with one input, and an evaluator in which the input has a value.
    fn request(fields: &str, value: Json) -> (Webhook, Evaluator) {
        let text = format!(
            "name: w\nversion: '1'\ninputs:\n  x: {{ type: string, required: true }}\nsteps:\n  - id: call\n    type: webhook\n{fields}"
        );
        let mut workflow = compile(&SourceFile { name: "w.yaml".into(), text }).expect("a workflow").workflow;
        let Action::Webhook(webhook) = workflow.steps.remove(0).action else { panic!("no webhook") };
        let (scope, files) = scope_and_files();
        let scope = Scope { inputs: BTreeMap::from([("x".to_owned(), Output::Json(value))]), ..scope };
        (*webhook, Evaluator::new(scope, Arc::new(files)))
    }

    /// Strings that would be something else than data if they could.
    const HOSTILE: &[&str] = &[
        "../../admin",
        "a/b",
        "?x=1",
        "#f",
        "a&b=c",
        "@evil.example",
        "evil.example/",
        "//evil.example",
        "\\evil",
        "%2e%2e",
        "a b",
        "é✓",
        "a\r\nX-Injected: 1",
        "\u{0}",
        "\"}, {\"x\": \"",
        "{{ secrets.TOKEN }}",
        ":80",
        "[::1]",
        "",
        "'; drop table",
    ];

    #[test]
    fn a_value_in_a_url_stays_in_its_place() {
        for value in HOSTILE {
            let fields =
                "    url: 'https://api.example.org:8443/items/{{ inputs.x }}-v/all?q={{ inputs.x }}&r=1#top'\n";
            let (webhook, evaluator) = request(fields, json!(value));
            let url = evaluator.url(&webhook.url).unwrap_or_else(|error| panic!("{value}: {error}"));
            let mut encoded = String::new();
            encode(value, &mut encoded);
            assert_eq!(url, format!("https://api.example.org:8443/items/{encoded}-v/all?q={encoded}&r=1"));
            let uri: http::Uri = url.parse().expect("a url");
            let authority = uri.authority().map(http::uri::Authority::as_str);
            assert_eq!((authority, uri.path().matches('/').count()), (Some("api.example.org:8443"), 3), "{value}");
        }
        for value in [".", ".."] {
            let (webhook, evaluator) = request("    url: 'https://example.org/{{ inputs.x }}/b'\n", json!(value));
            assert_eq!(evaluator.url(&webhook.url).expect_err("upwards").code, "RT-0150");
        }
    }

    #[test]
    fn a_value_that_is_a_whole_url_has_to_be_one() {
        for (value, expected) in [
            ("https://hooks.example.org/a?b=c", true),
            ("http://localhost:8080", true),
            ("hooks.example.org/a", false),
            ("/a", false),
            ("", false),
            ("file:///etc/passwd", false),
            ("https://user@example.org/", false),
            ("https://example.org/a\r\nHost: evil", false),
            ("https://example.org/a/../b", false),
            ("https://example.org:99999/", false),
            ("https:///a", false),
        ] {
            let (webhook, evaluator) = request("    url: '{{ inputs.x }}'\n", json!(value));
            assert_eq!(evaluator.url(&webhook.url).ok().as_deref(), expected.then_some(value), "{value}");
        }
        let (webhook, evaluator) =
            request("    url: '{{ inputs.x }}'\n", json!(format!("https://a.org/{}", "x".repeat(20_000))));
        assert_eq!(evaluator.url(&webhook.url).expect_err("too long").code, "RT-0150");
    }

    #[test]
    fn a_value_in_a_header_or_a_body_is_data() {
        let fields = "    url: https://example.org/\n    headers: { X-Value: 'a {{ inputs.x }}' }\n    \
                      body: { '}': '{{ inputs.x }}', list: ['{{ inputs.x }}!', 1, true, null], kept: '{{ {\"n\": 1} }}' }\n";
        for value in HOSTILE {
            let (webhook, evaluator) = request(fields, json!(value));
            let [SecretPart::Text(text)] = &webhook.headers["x-value"][..] else { panic!("{:?}", webhook.headers) };
            match evaluator.header(text) {
                Ok(header) => assert_eq!(header, format!("a {value}")),
                Err(error) => assert!(error.code == "RT-0151" && value.contains(char::is_control), "{value}: {error}"),
            }
            let Some(Body::Json(data)) = &webhook.body else { panic!("no data") };
            let body = evaluator.data(data).expect("data").to_string();
            let read: Json = serde_json::from_str(&body).expect("JSON");
            let expected = json!({"}": value, "list": [format!("{value}!"), 1, true, null], "kept": {"n": 1}});
            assert_eq!(read, expected);
        }
    }

    #[test]
    fn every_byte_that_could_mean_something_is_encoded() {
        for (value, expected) in [
            ("a-b.c_d~9", "a-b.c_d~9"),
            ("a/b?c#d&e=f", "a%2Fb%3Fc%23d%26e%3Df"),
            ("100% é\r\n", "100%25%20%C3%A9%0D%0A"),
            ("@:[]\\\u{0}", "%40%3A%5B%5D%5C%00"),
            ("", ""),
        ] {
            let mut text = String::new();
            encode(value, &mut text);
            assert_eq!(text, expected);
        }
    }
}

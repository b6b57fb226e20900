//! A request as an attempt.

mod hosts;
mod redirect;
mod web;

use std::{collections::BTreeMap, time::Duration, time::Instant};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use ratchet_core::{
    output::{Output, Outputs},
    step::{FailureClass, StepFailure, Usage},
};
use ratchet_engine::{
    masks::Masks,
    order::{RequestBody, RequestOrder},
    ports::StopSignal,
};
use serde_json::{Map, Value};

use self::web::{BODY_MAX, Call, Fault, Reply};
pub(crate) use self::web::{Connection, secured};
pub use self::{hosts::AllowedHosts, web::Web};
use crate::{
    capture::{Said, Withheld},
    codes,
    command::{filled_in, secrets_in},
    output_log::{Bounds, OutputLog, Stream},
    runner::{Attempt, Done, Runner, Undone, milliseconds},
};

/// How long a request may take where its step does not say.
const TIMEOUT: Duration = Duration::from_mins(1);
/// The same over all attempts of a step, for servers that know requests by it.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// So much of a reply that is no success is shown, in characters.
const DETAIL_CHARACTERS_MAX: usize = 2_000;

impl Runner {
    /// Sends a request, and judges the reply.
    pub(crate) async fn send(&self, attempt: &Attempt<'_>, asked: &RequestOrder) -> Result<Done, Undone> {
        let (order, began) = (attempt.order, Instant::now());
        let secrets = self.secrets_of(secrets_in(asked.headers.values())).await?;
        let call = call(asked, &secrets, &order.idempotency_key)?;
        let masks = Masks::new(secrets.into_values());
        let observer = &self.observer;
        let path = attempt.place.directory.join("output.log");
        let log =
            OutputLog::new(path, attempt.began, Bounds::default(), |line| observer.line_written(&order.key, line));
        let mut log = log.masking(&order.masks);
        log.print(Stream::Stdout, format!("{} {}\n", asked.method, asked.url).as_bytes());

        let limit = order.timeout.unwrap_or(TIMEOUT);
        let is_expected = |status| asked.expect_status.iter().any(|range| range.contains(&status));
        let name = format!("{} {}", asked.method, named(&call.uri));
        let sent = tokio::select! {
            biased;
            () = stopped(attempt.stop.clone()) => return Err(Undone::Stopped),
            sent = tokio::time::timeout(limit, self.web.send(call, is_expected)) => sent,
        };
        let usage = Usage {
            start_ms: milliseconds(began.duration_since(attempt.began)),
            process_ms: milliseconds(began.elapsed()),
            ..Usage::default()
        };
        if let Ok(Ok(reply)) = &sent {
            let line = format!("{} from {}, {} bytes\n", reply.status, reply.uri, reply.body.len());
            log.print(Stream::Stdout, masks.text(&line).as_bytes());
        }
        log.end();
        let reply = match sent {
            Ok(Ok(reply)) => reply,
            Ok(Err(fault)) => return Err(Undone::Failed(Box::new(masks.failure(&failure(&name, fault))), usage)),
            Err(_) => {
                let message = format!("`{name}` was not answered after {} s", limit.as_secs_f64());
                let failure = StepFailure::new(FailureClass::Timeout, message).with_code(codes::TIMEOUT);
                let hint = "raise the step's `timeout`: a request has a minute where nothing is said";
                return Err(Undone::Failed(Box::new(failure.with_hint(hint)), usage));
            }
        };
        let warning = log.trouble().map(|error| format!("its output.log is not complete: {error}"));
        if !is_expected(reply.status.as_u16()) {
            let failure = unexpected(&name, &reply, &asked.expect_status);
            return Err(Undone::Failed(Box::new(masks.failure(&failure)), usage));
        }
        let (always, said) = outputs(&reply, &masks);
        Ok(Done { said, always, exit_code: None, usage, warning, masks, session: None })
    }
}

/// Ends when the attempt is told to end.
async fn stopped(mut stop: StopSignal) {
    while stop.borrow_and_update().is_none() {
        if stop.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

fn call(asked: &RequestOrder, secrets: &BTreeMap<&str, String>, idempotency_key: &str) -> Result<Call, Undone> {
    let refuse = |message: String| {
        let failure = StepFailure::new(FailureClass::Definition, message).with_code(codes::NOT_REACHED);
        Undone::Failed(Box::new(failure), Usage::default())
    };
    let uri: Uri = asked.url.parse().map_err(|error| refuse(format!("`{}` is no url: {error}", asked.url)))?;
    let method: Method = asked.method.parse().map_err(|_| refuse(format!("`{}` is no method", asked.method)))?;
    let mut headers = HeaderMap::new();
    for (name, parts) in &asked.headers {
        // What is wrong with a secret is not shown.
        let value = HeaderValue::from_bytes(filled_in(parts, secrets).as_bytes());
        let mut value =
            value.map_err(|_| refuse(format!("the value of the header `{name}` has a line break in it")))?;
        value.set_sensitive(true);
        let name: HeaderName = name.parse().map_err(|_| refuse(format!("`{name}` is no name of a header")))?;
        headers.insert(name, value);
    }
    let (body, content_type) = match &asked.body {
        Some(RequestBody::Text(text)) => (text.clone(), Some("text/plain; charset=utf-8")),
        Some(RequestBody::Json(value)) => (value.to_string(), Some("application/json")),
        None => (String::new(), None),
    };
    let own = [
        (header::USER_AGENT, Some(concat!("ratchet/", env!("CARGO_PKG_VERSION")))),
        (header::ACCEPT, Some("*/*")),
        (header::CONTENT_TYPE, content_type),
        (HeaderName::from_static(IDEMPOTENCY_KEY), Some(idempotency_key)),
    ];
    for (name, value) in own {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
            headers.entry(name).or_insert(value);
        }
    }
    Ok(Call { uri, method, headers, body: body.into() })
}

/// An address as it stands in messages: without its query.
fn named(uri: &Uri) -> String {
    let (scheme, authority) = (uri.scheme_str().unwrap_or_default(), uri.authority().map_or("", |host| host.as_str()));
    format!("{scheme}://{authority}{}", uri.path())
}

fn failure(name: &str, fault: Fault) -> StepFailure {
    let failed =
        |class, code, message: String, hint: &str| StepFailure::new(class, message).with_code(code).with_hint(hint);
    match fault {
        Fault::Refused { host, port, address } => failed(
            FailureClass::Definition,
            codes::ADDRESS_REFUSED,
            format!("`{name}` was not sent: {host} is {address}, which is no public address"),
            &format!("whoever runs the workflow can allow it: `RATCHET_ALLOW_HOSTS={host}:{port}`"),
        ),
        Fault::NotReached(reason) => failed(
            FailureClass::Launch,
            codes::NOT_REACHED,
            format!("`{name}` was not answered: {reason}"),
            "check the url and the network; `retry` helps where it comes and goes",
        ),
        Fault::TooLong => failed(
            FailureClass::Output,
            codes::REPLY_TOO_LONG,
            format!("the reply to `{name}` is too long: the most is {} MiB", BODY_MAX >> 20),
            "fetch large content in a `shell` step, into a file",
        ),
        Fault::Redirect(reason) => failed(
            FailureClass::Definition,
            codes::REDIRECT_REFUSED,
            format!("the redirect of `{name}` was not followed: {reason}"),
            "write the url that it leads to, or expect the redirect (`expect_status: 3xx`) and look at `headers.location`",
        ),
    }
}

fn unexpected(name: &str, reply: &Reply, expected: &[std::ops::RangeInclusive<u16>]) -> StepFailure {
    let status = reply.status;
    let message = format!("`{name}` was answered with {status}");
    let failure = StepFailure::new(FailureClass::Status(status.as_u16()), message).with_code(codes::STATUS_UNEXPECTED);
    let ranges: Vec<String> = expected
        .iter()
        .map(|range| match (range.start(), range.end()) {
            (start, end) if start == end => start.to_string(),
            (start, end) => format!("{start} to {end}"),
        })
        .collect();
    let failure = failure.with_hint(format!("expected was {}: `expect_status` says what is", ranges.join(" or ")));
    let said: String = String::from_utf8_lossy(&reply.body).trim().chars().take(DETAIL_CHARACTERS_MAX).collect();
    if said.is_empty() { failure } else { failure.with_detail(said) }
}

/// The outputs that a request always gives, and what its declared ones can read.
fn outputs(reply: &Reply, masks: &Masks) -> (Outputs, Said) {
    let mut said = Said::default();
    let body = masks.text(&String::from_utf8_lossy(&reply.body)).into_owned();
    let json = serde_json::from_slice::<Value>(&reply.body).map(|value| masks.value(value));
    let mut headers = Map::new();
    for (name, value) in &reply.headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        match headers.get_mut(name.as_str()) {
            Some(Value::String(known)) => {
                known.push_str(", ");
                known.push_str(&value);
            }
            _ => {
                headers.insert(name.to_string(), Value::from(value));
            }
        }
    }
    said.value("response", body.clone());
    match &json {
        Ok(json) => said.value("json", json.clone()),
        Err(error) => {
            said.withheld.insert("json", Withheld::NoJson(error.to_string()));
        }
    }
    let values = [
        ("status", Value::from(reply.status.as_u16())),
        ("body", Value::from(body)),
        ("json", json.unwrap_or(Value::Null)),
        ("headers", masks.value(Value::Object(headers))),
    ];
    (values.into_iter().map(|(name, value)| (name.to_owned(), Output::Json(value))).collect(), said)
}

#[cfg(test)]
mod tests;

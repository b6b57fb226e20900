//! Requests that are signed with the deployment's secret, as GitHub signs them: HMAC-SHA256 over the body.
//!
//! The body is all that is signed. So it is what tells deliveries apart: a header that names the delivery could be made up by whoever replays a body. `docs/decisions` says more.

use std::time::{Duration, Instant};

use aws_config::SdkConfig;
use aws_sdk_secretsmanager::{Client, error::DisplayErrorContext};
use hmac::{Hmac, KeyInit as _, Mac as _};
use ratchet_core::history::sha256_hex;
use ratchet_engine::{EngineError, ports::StoreError};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::sync::Mutex;

use super::{
    Trigger,
    http::{self, Request},
    messages::Started,
    refusal::Refusal,
};
use crate::published::TriggerKind;

/// The header of the signature, as GitHub names it.
const SIGNATURE: &str = "x-hub-signature-256";

/// How long the secret is held before it is read again: one that was changed counts soon.
const HELD: Duration = Duration::from_mins(5);

/// Headers that no step sees.
const HIDDEN: [&str; 4] = ["authorization", "cookie", "x-hub-signature", SIGNATURE];

/// The secret that requests are signed with.
pub(super) struct WebhookSecret {
    client: Client,
    name: Option<String>,
    held: Mutex<Option<(Instant, String)>>,
}

impl WebhookSecret {
    pub(super) fn new(config: &SdkConfig, name: Option<String>) -> Self {
        Self { client: Client::new(config), name, held: Mutex::default() }
    }

    /// The secret; none where the deployment takes no webhooks.
    async fn get(&self) -> Result<Option<String>, Refusal> {
        let Some(name) = &self.name else { return Ok(None) };
        let mut held = self.held.lock().await;
        if let Some((since, secret)) = &*held
            && since.elapsed() < HELD
        {
            return Ok(Some(secret.clone()));
        }
        let got = self.client.get_secret_value().secret_id(name).send().await;
        let got = got.map_err(|error| {
            let reason = format!("the secret of webhooks cannot be read: {}", DisplayErrorContext(&error));
            Refusal::ForNow(EngineError::from(StoreError::Unavailable(reason)).into())
        })?;
        let secret = got.secret_string.filter(|secret| !secret.is_empty());
        *held = secret.clone().map(|secret| (Instant::now(), secret));
        Ok(secret)
    }
}

impl Trigger {
    /// Starts what a signed request starts: at `/` every workflow whose `on.push` it is, at `/NAME` the workflow of that name.
    pub(super) async fn webhook(&self, payload: &Value) -> Value {
        match self.delivered(payload).await {
            Ok(answer) => http::answer(202, &answer),
            Err(refusal) => http::refused(&refusal),
        }
    }

    async fn delivered(&self, payload: &Value) -> Result<Value, Refusal> {
        let request = Request::of(payload)?;
        if request.method != "POST" {
            return Err(Refusal::NoSuchPath(request.method));
        }
        let secret = self.webhook_secret.get().await?.ok_or(Refusal::NotSigned)?;
        if !is_signed(&secret, &request) {
            return Err(Refusal::NotSigned);
        }
        let kinds: &[TriggerKind] = match request.path.as_slice() {
            [] => &[TriggerKind::Push],
            [_] => &[TriggerKind::Push, TriggerKind::Webhook],
            _ => return Err(Refusal::NoSuchPath(request.path.join("/"))),
        };
        let mut candidates = self.candidates(kinds).await.map_err(Refusal::ForNow)?;
        if let [name] = request.path.as_slice() {
            candidates.retain(|found| found.name == *name);
            if candidates.is_empty() {
                return Err(Refusal::NotPublished { name: name.clone() });
            }
        }
        let key = format!("webhook {}", sha256_hex(&request.body));
        let outcome = self.start_each(candidates, &event(&request), &key).await;
        if outcome.for_now > 0 {
            let failed = crate::deployment::Failure::Some {
                failed: outcome.for_now,
                all: outcome.for_now + outcome.started.len(),
            };
            return Err(Refusal::ForNow(failed));
        }
        if !outcome.started.is_empty() && outcome.started.iter().all(|(_, created)| !created) {
            return Err(Refusal::Replayed);
        }
        Ok(json!(Started::of(outcome.started)))
    }
}

/// The request as an event: its headers and its body, which is read as JSON where it is some.
fn event(request: &Request) -> Value {
    let shown = |(name, _): &(&String, &String)| !HIDDEN.contains(&name.as_str());
    let headers: serde_json::Map<String, Value> =
        request.headers.iter().filter(shown).map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
    json!({"headers": headers, "body": String::from_utf8_lossy(&request.body)})
}

/// Whether the request carries the right signature. What is compared is compared whole, so that the time that it takes says nothing.
fn is_signed(secret: &str, request: &Request) -> bool {
    let signature = request.headers.get(SIGNATURE).and_then(|value| value.strip_prefix("sha256="));
    let Some(signature) = signature.and_then(bytes) else { return false };
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return false };
    mac.update(&request.body);
    mac.verify_slice(&signature).is_ok()
}

/// The bytes of hexadecimal digits.
fn bytes(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(body: &str, signature: Option<&str>) -> Request {
        let headers = signature.map(|value| (SIGNATURE.to_owned(), value.to_owned())).into_iter().collect();
        Request { method: "POST".to_owned(), path: Vec::new(), headers, body: body.as_bytes().to_vec() }
    }

    #[test]
    fn only_the_right_signature_is_taken() {
        // Made with `openssl dgst -sha256 -hmac`.
        const RIGHT: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let (secret, body) = ("It's a Secret to Everybody", "Hello, World!");
        assert!(is_signed(secret, &request(body, Some(RIGHT))));
        let wrong = [
            None,
            Some(""),
            Some("sha256="),
            Some("sha256=00"),
            Some("sha256=7ö"),
            Some(&RIGHT[7..]),
            Some(&RIGHT[..70]),
        ];
        for signature in wrong {
            assert!(!is_signed(secret, &request(body, signature)), "{signature:?}");
        }
        assert!(!is_signed(secret, &request("Hello, World", Some(RIGHT))));
        assert!(!is_signed("another", &request(body, Some(RIGHT))));
    }

    #[test]
    fn no_step_sees_what_proves_a_caller() {
        let mut request = request("{\"a\": 1}", Some("sha256=00"));
        request.headers.insert("authorization".to_owned(), "Bearer x".to_owned());
        request.headers.insert("x-github-event".to_owned(), "push".to_owned());
        assert_eq!(event(&request), json!({"headers": {"x-github-event": "push"}, "body": "{\"a\": 1}"}));
    }
}

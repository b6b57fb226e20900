//! The URL that people come through: requests that are signed with the caller's own credentials.

use std::{env, time::SystemTime};

use aws_config::SdkConfig;
use aws_credential_types::{Credentials, provider::ProvideCredentials as _};
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use aws_smithy_http_client::default_connector;
use aws_smithy_runtime_api::client::{
    http::{HttpConnector as _, HttpConnectorSettings, SharedHttpConnector},
    identity::Identity,
    orchestrator::HttpRequest,
};
use aws_smithy_types::{body::SdkBody, byte_stream::ByteStream};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::RemoteError;
use crate::chain;

/// The variable that names another address of the same URL, where it is reached through something in between.
const ADDRESS: &str = "RATCHET_PEOPLE_URL";

/// What is tried.
const ACTION: &str = "ask the deployment";

/// The most that an answer is read of.
const ANSWER_BYTES_MAX: usize = 6 * 1024 * 1024;

pub(super) struct Door {
    /// Without a slash at its end.
    url: String,
    region: String,
    credentials: aws_credential_types::provider::SharedCredentialsProvider,
    connector: SharedHttpConnector,
}

impl Door {
    pub(super) fn new(config: &SdkConfig, url: &str) -> Result<Self, RemoteError> {
        let missing = |what: &str| RemoteError::NoCredentials(what.to_owned());
        let credentials = config.credentials_provider().ok_or_else(|| missing("none are set"))?;
        let region = config.region().ok_or_else(|| missing("no region is set"))?.to_string();
        let connector = default_connector(&HttpConnectorSettings::builder().build(), config.sleep_impl());
        let connector = connector.ok_or_else(|| RemoteError::Unavailable {
            action: ACTION,
            reason: "this program was built without TLS".to_owned(),
        })?;
        let url = env::var(ADDRESS).ok().filter(|address| !address.is_empty()).unwrap_or_else(|| url.to_owned());
        Ok(Self { url: url.trim_end_matches('/').to_owned(), region, credentials, connector })
    }

    /// Asks, and gives what was answered.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Result<T, RemoteError> {
        let unavailable = |reason: String| RemoteError::Unavailable { action: ACTION, reason };
        let credentials = self.credentials.provide_credentials().await;
        let credentials = credentials.map_err(|error| RemoteError::NoCredentials(chain(&error)))?;
        let request = self.signed(&credentials, SystemTime::now(), method, path, &body.to_string())?;
        let response = self.connector.call(request).await.map_err(|error| unavailable(chain(&error)))?;
        let status = response.status().as_u16();
        let read = read(response.into_body()).await.map_err(unavailable)?;
        if (200..300).contains(&status) {
            return serde_json::from_slice(&read)
                .map_err(|error| unavailable(format!("its answer is not understood: {error}")));
        }
        Err(refusal(status, &read))
    }

    fn signed(
        &self,
        credentials: &Credentials,
        now: SystemTime,
        method: &str,
        path: &str,
        body: &str,
    ) -> Result<HttpRequest, RemoteError> {
        let broken = |error: &dyn std::error::Error| RemoteError::Unavailable { action: ACTION, reason: chain(error) };
        let url = format!("{}{path}", self.url);
        let identity = Identity::from(credentials.clone());
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("lambda")
            .time(now)
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| broken(&error))?
            .into();
        let headers = [("content-type", "application/json")];
        let signable = SignableRequest::new(method, &url, headers.into_iter(), SignableBody::Bytes(body.as_bytes()))
            .map_err(|error| broken(&error))?;
        let (instructions, _) = sign(signable, &parameters).map_err(|error| broken(&error))?.into_parts();
        let mut request = http::Request::builder()
            .method(method)
            .uri(&url)
            .header("content-type", "application/json")
            .body(SdkBody::from(body))
            .map_err(|error| broken(&error))?;
        instructions.apply_to_request_http1x(&mut request);
        HttpRequest::try_from(request).map_err(|error| broken(&error))
    }
}

async fn read(body: SdkBody) -> Result<Vec<u8>, String> {
    let mut body = ByteStream::new(body);
    let mut read = Vec::new();
    while let Some(part) = body.next().await {
        read.extend_from_slice(&part.map_err(|error| chain(&error))?);
        if read.len() > ANSWER_BYTES_MAX {
            return Err("its answer is too long".to_owned());
        }
    }
    Ok(read)
}

/// What an answer that is none means: the deployment's own words where it said something, else what the service in front of it does.
fn refusal(status: u16, body: &[u8]) -> RemoteError {
    let said: Value = serde_json::from_slice(body).unwrap_or_default();
    let error = &said["error"];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    match (text(&error["code"]), text(&error["message"])) {
        // Later the same may be done.
        (Some(_), Some(message)) if status == 503 => RemoteError::Unavailable { action: ACTION, reason: message },
        (Some(code), Some(message)) => RemoteError::Refused { code, message, help: text(&error["help"]) },
        _ => {
            let reason =
                said["Message"].as_str().or_else(|| said["message"].as_str()).unwrap_or("it says nothing more");
            let reason = format!("{status}: {reason}");
            match status {
                401 | 403 => RemoteError::Denied { action: ACTION, reason },
                _ => RemoteError::Unavailable { action: ACTION, reason },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_credential_types::provider::SharedCredentialsProvider;
    use serde_json::json;

    use super::*;
    use crate::answers::connector;

    fn door(status: u16, body: &str) -> Door {
        let body = body.to_owned();
        Door {
            url: "https://abc.lambda-url.us-east-1.on.aws".to_owned(),
            region: "us-east-1".to_owned(),
            credentials: SharedCredentialsProvider::new(Credentials::new("AKID", "secret", None, None, "tests")),
            connector: connector(move |_| (status, body.clone())),
        }
    }

    #[tokio::test]
    async fn requests_are_signed_for_the_service_of_function_urls() {
        let credentials = Credentials::new("AKID", "secret", Some("token".to_owned()), None, "tests");
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(490_896);
        let request = door(200, "").signed(&credentials, now, "POST", "/executions", "{}").unwrap();
        let shown: Vec<String> = request.headers().iter().map(|(name, value)| format!("{name}: {value}")).collect();
        insta::assert_snapshot!(format!("{} {}\n{}", request.method(), request.uri(), shown.join("\n")));
    }

    #[tokio::test]
    async fn what_a_deployment_says_is_told_as_it_said_it() {
        let said =
            json!({"error": {"code": "RT-0451", "message": "w is not published here", "help": null}}).to_string();
        for (status, body, code) in [
            (404, said.as_str(), "RT-0451"),
            (503, said.as_str(), "RT-0464"),
            (403, r#"{"Message":"Forbidden"}"#, "RT-0463"),
            (429, "{}", "RT-0464"),
            (502, "no JSON", "RT-0464"),
        ] {
            let error = door(status, body).ask::<Value>("POST", "/executions", &json!({})).await.unwrap_err();
            assert_eq!(error.code(), code, "{error}");
        }
        let fine = door(200, r#"{"a": 1}"#).ask::<Value>("POST", "/", &json!({})).await;
        assert_eq!(fine, Ok(json!({"a": 1})));
        assert_eq!(door(200, "<html>").ask::<Value>("POST", "/", &json!({})).await.unwrap_err().code(), "RT-0464");
    }
}

//! Clients of AWS whose requests are answered by a test.

use std::{fmt, sync::Arc};

use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig};
use aws_sdk_dynamodb::config::{Credentials, HttpClient, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
    orchestrator::{HttpRequest, HttpResponse},
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::body::SdkBody;

/// What answers a request.
type Answer = dyn Fn(&HttpRequest) -> http::Response<SdkBody> + Send + Sync;

/// What is asked of AWS, answered here.
#[derive(Clone)]
struct Answering(Arc<Answer>);

impl fmt::Debug for Answering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answering")
    }
}

impl HttpConnector for Answering {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::ready(Ok(HttpResponse::try_from((self.0)(&request)).unwrap()))
    }
}

impl HttpClient for Answering {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

/// What clients need whose every request is answered with a status code and a body. Nothing is tried again.
pub(crate) fn config(answer: impl Fn(&HttpRequest) -> (u16, String) + Send + Sync + 'static) -> SdkConfig {
    config_with(move |request| {
        let (status, body) = answer(request);
        http::Response::builder().status(status).body(SdkBody::from(body)).unwrap()
    })
}

/// A connector whose every request is answered so.
pub(crate) fn connector(answer: impl Fn(&HttpRequest) -> (u16, String) + Send + Sync + 'static) -> SharedHttpConnector {
    SharedHttpConnector::new(Answering(Arc::new(move |request: &HttpRequest| {
        let (status, body) = answer(request);
        http::Response::builder().status(status).body(SdkBody::from(body)).unwrap()
    })))
}

/// The same, with headers.
pub(crate) fn config_with(
    answer: impl Fn(&HttpRequest) -> http::Response<SdkBody> + Send + Sync + 'static,
) -> SdkConfig {
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new("test", "test", None, None, "tests")))
        .retry_config(RetryConfig::disabled())
        .http_client(Answering(Arc::new(answer)))
        .build()
}

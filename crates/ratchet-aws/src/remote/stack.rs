//! What a stack says of itself.

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use aws_sdk_cloudformation::{Client, error::ProvideErrorMetadata as _};

use super::RemoteError;

/// What is tried.
const ACTION: &str = "look at the stack";

/// The outputs of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outputs {
    name: String,
    values: BTreeMap<String, String>,
}

impl Outputs {
    pub(super) async fn of_stack(config: &SdkConfig, name: &str) -> Result<Self, RemoteError> {
        let Some(region) = config.region() else {
            return Err(RemoteError::NoCredentials("no region is set".to_owned()));
        };
        let described = Client::new(config).describe_stacks().stack_name(name).send().await;
        let missing = || RemoteError::NoStack { name: name.to_owned(), region: region.to_string() };
        let described = described.map_err(|error| {
            let is_missing = error.as_service_error().is_some_and(|error| {
                error.code() == Some("ValidationError")
                    && error.message().is_some_and(|message| message.contains("does not exist"))
            });
            if is_missing { missing() } else { RemoteError::of(ACTION, &error) }
        })?;
        let stack = described.stacks.and_then(|stacks| stacks.into_iter().next()).ok_or_else(missing)?;
        let values = stack.outputs.unwrap_or_default().into_iter();
        let values = values.filter_map(|output| output.output_key.zip(output.output_value)).collect();
        Ok(Self { name: name.to_owned(), values })
    }

    pub(super) fn get(&self, output: &str) -> Result<&str, RemoteError> {
        let missing = || RemoteError::NotADeployment { name: self.name.clone(), output: output.to_owned() };
        self.values.get(output).map(String::as_str).ok_or_else(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answers::config;

    async fn asked(status: u16, body: &'static str) -> Result<Outputs, RemoteError> {
        Outputs::of_stack(&config(move |_| (status, body.to_owned())), "ratchet").await
    }

    fn refusal(code: &str, message: &str) -> &'static str {
        format!("<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>").leak()
    }

    #[tokio::test]
    async fn outputs_are_found_by_their_names() {
        let body = "<DescribeStacksResponse><DescribeStacksResult><Stacks><member><StackName>ratchet</StackName><CreationTime>2026-01-01T00:00:00Z</CreationTime>\
                    <StackStatus>CREATE_COMPLETE</StackStatus><Outputs><member><OutputKey>Table</OutputKey><OutputValue>state</OutputValue></member></Outputs></member>\
                    </Stacks></DescribeStacksResult></DescribeStacksResponse>";
        let outputs = asked(200, body).await.unwrap();
        assert_eq!(outputs.get("Table"), Ok("state"));
        assert_eq!(outputs.get("Bucket").unwrap_err().code(), "RT-0461");
    }

    #[tokio::test]
    async fn what_a_stack_cannot_be_asked_for_is_told_apart() {
        let codes = [
            (400, refusal("ValidationError", "Stack with id ratchet does not exist"), "RT-0460"),
            (400, refusal("ValidationError", "something else"), "RT-0464"),
            (403, refusal("AccessDenied", "not authorized"), "RT-0463"),
            (403, refusal("ExpiredToken", "it is over"), "RT-0463"),
            (400, refusal("Throttling", "Rate exceeded"), "RT-0464"),
        ];
        for (status, body, code) in codes {
            let error = asked(status, body).await.unwrap_err();
            assert_eq!(error.code(), code, "{error}");
            assert!(error.hint().is_some());
        }
    }

    #[tokio::test]
    async fn nobody_is_asked_without_a_region_or_credentials() {
        let none = SdkConfig::builder().behavior_version(aws_config::BehaviorVersion::latest()).build();
        assert_eq!(Outputs::of_stack(&none, "ratchet").await.unwrap_err().code(), "RT-0462");
    }
}

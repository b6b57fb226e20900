//! Starts executions, and takes what people do with them.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use ratchet_aws::{
    deployment::logs,
    trigger::{Invocation, Trigger},
};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    logs::start();
    let trigger = Trigger::from_environment().await?;
    let handle = async |LambdaEvent { payload, context }: LambdaEvent<Value>| {
        let invocation = Invocation { function: context.invoked_function_arn, request: context.request_id };
        trigger.handle(payload, &invocation).await.map_err(Error::from)
    };
    lambda_runtime::run(service_fn(handle)).await
}

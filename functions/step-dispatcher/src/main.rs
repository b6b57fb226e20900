//! Starts the steps that are ready.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use ratchet_aws::deployment::{Deployment, Intake, logs};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    logs::start();
    let deployment = Deployment::from_environment().await?;
    let handle = async |event: LambdaEvent<Value>| {
        deployment.take(Intake::StepDispatcher, event.payload).await.map_err(Error::from)
    };
    lambda_runtime::run(service_fn(handle)).await
}

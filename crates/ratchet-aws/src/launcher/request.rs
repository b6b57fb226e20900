//! How a task is asked for, and what the answer means.

use aws_sdk_ecs::{
    error::ProvideErrorMetadata,
    types::{
        AssignPublicIp, AwsVpcConfiguration, CapacityProviderStrategyItem, ContainerOverride, EphemeralStorage,
        Failure, KeyValuePair, NetworkConfiguration, PropagateTags, TaskOverride,
    },
};
use ratchet_core::ids::Digest;
use ratchet_engine::order::{Order, Work};
use serde_json::json;

use super::{EcsLauncher, name, size::TaskSizes};
use crate::chain;

/// The variable of a task that names the content which its order is.
pub const ORDER: &str = "RATCHET_ORDER";

/// The variable of a task that says whose it is, for whoever hears that it ended.
pub const ATTEMPT: &str = "RATCHET_TASK";

/// The name of the container in a task.
const CONTAINER: &str = "step";

/// Where tasks run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskPlace {
    /// The cluster.
    pub cluster: String,
    /// The task definition of steps.
    pub steps: String,
    /// That of agents.
    pub agents: String,
    /// The subnets.
    pub subnets: Vec<String>,
    /// The security groups.
    pub security_groups: Vec<String>,
    /// Whether tasks reach the internet by addresses of their own.
    pub public_addresses: bool,
    /// What they run on where a step does not say.
    pub capacity: Capacity,
    /// How large they are where a step does not say.
    pub sizes: TaskSizes,
}

/// What a task runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capacity {
    /// What is there until the task ends.
    OnDemand,
    /// What may be taken back at any time; where there is none, what is not.
    Spot,
}

/// Why there is no task.
pub(super) enum Refused {
    /// The same may be given later.
    ForNow(String),
    /// It will not.
    ForGood(String),
}

/// Codes after which the same request may succeed.
const FOR_NOW: [&str; 6] = [
    "ClusterNotActive",
    "LimitExceededException",
    "RequestLimitExceeded",
    "ServerException",
    "ServiceUnavailable",
    "ThrottlingException",
];

impl EcsLauncher {
    /// Asks for the task of an attempt. The same again is the same task.
    pub(super) async fn run_once(&self, order: &Order, content: &Digest) -> Result<(), Refused> {
        let spot = order.size.spot.unwrap_or(self.place.capacity == Capacity::Spot);
        if !spot {
            return self.run_on(Capacity::OnDemand, order, content).await;
        }
        match self.run_on(Capacity::Spot, order, content).await {
            Err(Refused::ForNow(reason)) => {
                tracing::info!(step = %order.key.path, reason, "no task on spare capacity");
                self.run_on(Capacity::OnDemand, order, content).await
            }
            other => other,
        }
    }

    async fn run_on(&self, capacity: Capacity, order: &Order, content: &Digest) -> Result<(), Refused> {
        let definition = match order.work {
            Work::Agent(_) => &self.place.agents,
            Work::Command { .. } | Work::Request(_) | Work::Program(_) => &self.place.steps,
        };
        let started_by = name(&order.key, order.attempt);
        // Another request is another task: what was asked for on spare capacity is not what is asked for now.
        let (provider, token) = match capacity {
            Capacity::OnDemand => ("FARGATE", started_by.clone()),
            Capacity::Spot => ("FARGATE_SPOT", format!("{started_by}-spot")),
        };
        let built = |error: aws_sdk_ecs::error::BuildError| Refused::ForGood(error.to_string());
        let strategy = CapacityProviderStrategyItem::builder().capacity_provider(provider).weight(1).build();
        let network = AwsVpcConfiguration::builder()
            .set_subnets(Some(self.place.subnets.clone()))
            .set_security_groups(Some(self.place.security_groups.clone()))
            .assign_public_ip(if self.place.public_addresses {
                AssignPublicIp::Enabled
            } else {
                AssignPublicIp::Disabled
            })
            .build();
        let network = NetworkConfiguration::builder().awsvpc_configuration(network.map_err(built)?).build();
        let answer = self
            .client
            .run_task()
            .cluster(&self.place.cluster)
            .task_definition(definition)
            .client_token(token)
            .started_by(started_by)
            .capacity_provider_strategy(strategy.map_err(built)?)
            .network_configuration(network)
            .overrides(self.overrides(order, content)?)
            .propagate_tags(PropagateTags::TaskDefinition)
            .count(1)
            .send()
            .await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                let code = error.as_service_error().and_then(ProvideErrorMetadata::code).map(str::to_owned);
                return match code.as_deref() {
                    // It was asked for before, otherwise: by a handler whose clock or order differed. That one stands.
                    Some("ConflictException") => Ok(()),
                    Some(code) if !FOR_NOW.contains(&code) && !says_capacity(&chain(&error)) => {
                        Err(Refused::ForGood(format!("{code}: {}", chain(&error))))
                    }
                    _ => Err(Refused::ForNow(chain(&error))),
                };
            }
        };
        match answer.failures().first() {
            None => Ok(()),
            Some(failure) => Err(refusal(failure)),
        }
    }

    fn overrides(&self, order: &Order, content: &Digest) -> Result<TaskOverride, Refused> {
        let variable = |name: &str, value: String| KeyValuePair::builder().name(name).value(value).build();
        let attempt = json!({"key": order.key, "attempt": order.attempt}).to_string();
        let container = ContainerOverride::builder()
            .name(CONTAINER)
            .environment(variable(ORDER, content.as_str().to_owned()))
            .environment(variable(ATTEMPT, attempt))
            .build();
        let (cpu, memory) = self.place.sizes.of(&order.size).map_err(Refused::ForGood)?;
        let task =
            TaskOverride::builder().container_overrides(container).cpu(cpu.to_string()).memory(memory.to_string());
        Ok(match order.size.disk_gib.and_then(|gib| i32::try_from(gib).ok()) {
            Some(gib) => task.ephemeral_storage(EphemeralStorage::builder().size_in_gib(gib).build()).build(),
            None => task.build(),
        })
    }
}

/// What is not there now may be there later; what is wrong stays so.
fn refusal(failure: &Failure) -> Refused {
    let reason = failure.reason().unwrap_or("no reason");
    let told = match failure.detail() {
        Some(detail) => format!("{reason}: {detail}"),
        None => reason.to_owned(),
    };
    if reason.starts_with("RESOURCE") || says_capacity(reason) { Refused::ForNow(told) } else { Refused::ForGood(told) }
}

/// Whether words are about capacity or limits, which have no code of their own.
fn says_capacity(words: &str) -> bool {
    let words = words.to_lowercase();
    ["capacity is unavailable", "limit on the number of tasks", "rate exceeded", "try again"]
        .iter()
        .any(|about| words.contains(about))
}

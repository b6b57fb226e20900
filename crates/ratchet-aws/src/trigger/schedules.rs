//! The schedules of published workflows: each expression of the newest definition's `on.schedule` is one of `EventBridge` Scheduler, under a name that follows from what it says.
//!
//! Nothing rests on their being exact: a time that is none of the newest definition's starts nothing. So a new one is made before its definition is published, and one that is over
//! is removed after.

use std::{collections::BTreeMap, env};

use aws_config::SdkConfig;
use aws_sdk_scheduler::{
    Client,
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
    operation::{create_schedule::CreateScheduleError, delete_schedule::DeleteScheduleError},
    types::{DeadLetterConfig, FlexibleTimeWindow, FlexibleTimeWindowMode, RetryPolicy, Target},
};
use ratchet_core::{history::sha256_hex, workflow::Workflow};
use serde_json::json;

use super::refusal::Refusal;
use crate::deployment::Failure;

/// Where schedules are made: `template.yaml` sets these variables of the function that publishes.
const VARIABLES: [&str; 3] = ["RATCHET_SCHEDULES", "RATCHET_SCHEDULE_ROLE", "RATCHET_DEAD_LETTERS"];

/// Characters of a workflow's name that a schedule's name shows: the service takes 64 in all.
const NAME_SHOWN: usize = 30;
/// Characters of a digest that tell names apart.
const DIGEST_SHOWN: usize = 16;

/// How long the service tries to deliver a time, in seconds, and how often.
const RETRIED: (i32, i32) = (6 * 60 * 60, 20);

/// The schedules of a deployment.
#[derive(Debug, Clone)]
pub(super) struct Schedules {
    client: Client,
    place: Option<Place>,
}

#[derive(Debug, Clone)]
struct Place {
    /// The group that the deployment's schedules are in, and nothing else.
    group: String,
    /// What lets the service invoke the function.
    role: String,
    /// The queue of what could not be delivered.
    dead_letters: String,
}

/// One schedule, by its name.
type Wanted = BTreeMap<String, Times>;

/// What a schedule says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Times {
    expression: String,
    timezone: String,
}

impl Schedules {
    /// Those of the deployment that this process's environment names.
    pub(super) fn from_environment(config: &SdkConfig) -> Self {
        let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let place = match VARIABLES.map(variable) {
            [Some(group), Some(role), Some(dead_letters)] => Some(Place { group, role, dead_letters }),
            _ => None,
        };
        Self { client: Client::new(config), place }
    }

    /// Makes the schedules of a workflow that are not there, each of which invokes a function.
    pub(super) async fn make(&self, workflow: &Workflow, function: &str) -> Result<(), Refusal> {
        let wanted = wanted(workflow);
        if wanted.is_empty() {
            return Ok(());
        }
        let place = self.place()?;
        for (name, times) in &wanted {
            self.create(place, name, times, &workflow.name, function).await?;
        }
        Ok(())
    }

    /// Removes the schedules of a workflow that it does not ask for.
    pub(super) async fn remove_others(&self, workflow: &Workflow) -> Result<(), Refusal> {
        let Some(place) = &self.place else { return Ok(()) };
        let wanted = wanted(workflow);
        let mut pages = self
            .client
            .list_schedules()
            .group_name(&place.group)
            .name_prefix(prefix(&workflow.name))
            .into_paginator()
            .items()
            .send();
        let mut others = Vec::new();
        while let Some(found) = pages.next().await {
            let found = found.map_err(|error| refused(&error))?;
            others.extend(found.name().filter(|name| !wanted.contains_key(*name)).map(str::to_owned));
        }
        for name in others {
            match self.client.delete_schedule().group_name(&place.group).name(name).send().await {
                Ok(_) => {}
                // Somebody else was first.
                Err(error)
                    if error.as_service_error().is_some_and(DeleteScheduleError::is_resource_not_found_exception) => {}
                Err(error) => return Err(refused(&error)),
            }
        }
        Ok(())
    }

    async fn create(
        &self,
        place: &Place,
        name: &str,
        times: &Times,
        workflow: &str,
        function: &str,
    ) -> Result<(), Refusal> {
        let (seconds, attempts) = RETRIED;
        let retried =
            RetryPolicy::builder().maximum_event_age_in_seconds(seconds).maximum_retry_attempts(attempts).build();
        let target = Target::builder()
            .arn(function)
            .role_arn(&place.role)
            .input(event(workflow, &times.expression))
            .retry_policy(retried)
            .dead_letter_config(DeadLetterConfig::builder().arn(&place.dead_letters).build())
            .build();
        let window = FlexibleTimeWindow::builder().mode(FlexibleTimeWindowMode::Off).build();
        let (target, window) = (target.map_err(|error| broken(&error))?, window.map_err(|error| broken(&error))?);
        let created = self
            .client
            .create_schedule()
            .group_name(&place.group)
            .name(name)
            .description(format!("Starts the workflow {workflow}"))
            .schedule_expression(&times.expression)
            .schedule_expression_timezone(&times.timezone)
            .flexible_time_window(window)
            .target(target)
            .send()
            .await;
        match created {
            Ok(_) => Ok(()),
            // Its name says all that it says: it is the same.
            Err(error) if error.as_service_error().is_some_and(CreateScheduleError::is_conflict_exception) => Ok(()),
            Err(error) => match error.as_service_error() {
                Some(CreateScheduleError::ValidationException(wrong)) => {
                    Err(Refusal::Schedule { expression: times.expression.clone(), reason: wrong.message().to_owned() })
                }
                _ => Err(refused(&error)),
            },
        }
    }

    fn place(&self) -> Result<&Place, Refusal> {
        let missing = || Failure::Schedules(format!("template.yaml sets {}", VARIABLES.join(", ")));
        self.place.as_ref().ok_or_else(|| Refusal::ForNow(missing()))
    }
}

/// What the function is invoked with: the service fills in when, the same for each time that it tries.
fn event(workflow: &str, expression: &str) -> String {
    json!({
        "id": "<aws.scheduler.execution-id>",
        "source": "aws.scheduler",
        "detail-type": "Scheduled Event",
        "time": "<aws.scheduler.scheduled-time>",
        "resources": ["<aws.scheduler.schedule-arn>"],
        "detail": { "workflow": workflow, "expression": expression },
    })
    .to_string()
}

/// The schedules that a workflow asks for.
fn wanted(workflow: &Workflow) -> Wanted {
    let schedule = workflow.triggers.as_ref().and_then(|on| on.schedule.as_ref());
    let times = schedule.into_iter().flat_map(|schedule| {
        let timezone = &schedule.timezone;
        schedule.times.iter().map(move |time| Times { expression: time.expression(), timezone: timezone.clone() })
    });
    times
        .map(|times| {
            let digest = digest(&format!("{} {}", times.timezone, times.expression));
            (format!("{}{digest}", prefix(&workflow.name)), times)
        })
        .collect()
}

/// What the names of a workflow's schedules begin with, and those of no other's.
fn prefix(workflow: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_');
    let shown: String = workflow.chars().filter(|character| plain(*character)).take(NAME_SHOWN).collect();
    format!("{shown}.{}.", digest(workflow))
}

fn digest(text: &str) -> String {
    sha256_hex(text.as_bytes()).chars().take(DIGEST_SHOWN).collect()
}

fn broken(error: &aws_sdk_scheduler::error::BuildError) -> Refusal {
    Refusal::ForNow(Failure::Schedules(error.to_string()))
}

fn refused<E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static>(error: &SdkError<E>) -> Refusal {
    Refusal::ForNow(Failure::Schedules(DisplayErrorContext(error).to_string()))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use ratchet_definition::compile::{SourceFile, compile};
    use serde_json::Value;

    use super::*;
    use crate::answers::config;

    fn workflow(name: &str, on: &str) -> Workflow {
        let text = format!(
            "name: {name}\nversion: \"1\"\n{on}steps:\n  - {{ id: a, type: assert, condition: \"true\", message: no }}\n"
        );
        compile(&SourceFile { name: "w.yaml".to_owned(), text }).unwrap().workflow
    }

    const NIGHTLY: &str = "on: { schedule: { expressions: [\"cron(0 3 * * ? *)\"], timezone: Europe/Berlin } }\n";

    /// What is asked for, of a service that has some schedules and answers to what is made with a status code and a body.
    async fn asked(there: &[String], created: (u16, Value), ask: impl AsyncFnOnce(Schedules)) -> Vec<String> {
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = requests.clone();
        let listed = json!({"Schedules": there.iter().map(|name| json!({"Name": name})).collect::<Vec<_>>()});
        let config = config(move |request| {
            let mut body: Value =
                serde_json::from_slice(request.body().bytes().unwrap_or_default()).unwrap_or_default();
            if let Some(fields) = body.as_object_mut() {
                fields.remove("ClientToken");
            }
            let path = request.uri().split("/schedules").nth(1).unwrap_or_default().split("&clientToken").next();
            kept.lock().unwrap().push(format!("{} {} {body:#}", request.method(), path.unwrap_or_default()));
            match request.method() {
                "GET" => (200, listed.to_string()),
                "POST" => (created.0, created.1.to_string()),
                _ => (200, "{}".to_owned()),
            }
        });
        let place = Place { group: "group".into(), role: "role".into(), dead_letters: "queue".into() };
        ask(Schedules { client: Client::new(&config), place: Some(place) }).await;
        requests.lock().unwrap().clone()
    }

    #[tokio::test]
    async fn a_schedule_says_when_and_where_and_whose_it_is() {
        let made = json!({"ScheduleArn": "arn"});
        let requests = asked(&[], (200, made), async |schedules| {
            schedules.make(&workflow("tests", NIGHTLY), "function").await.unwrap();
        })
        .await;
        insta::assert_snapshot!(requests.join("\n"));
    }

    #[tokio::test]
    async fn what_is_not_asked_for_any_more_is_removed_and_all_else_stays() {
        let own = wanted(&workflow("tests", NIGHTLY)).into_keys().next().unwrap();
        let old = format!("{}0000", prefix("tests"));
        let requests = asked(&[own, old.clone()], (200, json!({})), async |schedules| {
            schedules.remove_others(&workflow("tests", NIGHTLY)).await.unwrap();
        })
        .await;
        assert!(requests[0].starts_with("GET ") && requests[0].contains(&prefix("tests")), "{requests:?}");
        assert_eq!(requests.len(), 2, "{requests:?}");
        assert!(requests[1].starts_with(&format!("DELETE /{old}")), "{requests:?}");
    }

    #[tokio::test]
    async fn what_is_there_is_the_same_and_what_is_wrong_is_told() {
        let refused = |status: u16, code: &str| (status, json!({"__type": code, "Message": "no", "message": "no"}));
        for (answer, told) in [
            (refused(409, "ConflictException"), None),
            (refused(400, "ValidationException"), Some("RT-0458")),
            (refused(500, "InternalServerException"), Some("RT-0457")),
        ] {
            let code = answer.1["__type"].clone();
            asked(&[], answer, async move |schedules| {
                let made = schedules.make(&workflow("tests", NIGHTLY), "function").await;
                assert_eq!(made.as_ref().err().map(Refusal::code), told, "{code}: {made:?}");
            })
            .await;
        }
    }

    #[test]
    fn names_are_those_of_one_workflow_and_short_enough() {
        let long = "a-very-long-name-of-a-workflow-that-goes-on-and-on-and-on".to_owned();
        let name = wanted(&workflow(&long, NIGHTLY)).into_keys().next().unwrap();
        assert_eq!((name.len(), name.starts_with(&prefix(&long))), (64, true), "{name}");
        assert!(!prefix("tests-more").starts_with(&prefix("tests")));
        assert!(wanted(&workflow("tests", "")).is_empty());
    }
}

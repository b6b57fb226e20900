//! A deployment whose functions are called here, one invocation after the other, and whose tasks are processes of the program that runs in them.

use std::{path::PathBuf, process::Stdio, sync::Arc};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::Credentials;
use ratchet_core::ids::ExecutionId;
use ratchet_definition::sources::compile_stored;
use ratchet_engine::ports::{BlobStore as _, Clock as _};
use serde_json::{Value, json};
use tokio::{
    process::{Child, Command},
    sync::mpsc,
};

use super::{
    between::{Between, Invocation, TASK, Work},
    meter::Counts,
};
use crate::{
    S3BlobStore, SystemClock, Table,
    deployment::{Deployment, Intake, Settings},
    emulator::Emulator,
    launcher::{Capacity, TaskPlace, TaskSizes},
    trigger::{self, Trigger},
};

/// A deployment that is counted.
pub(super) struct Counted {
    _emulator: Emulator,
    pub(super) between: Arc<Between>,
    endpoint: String,
    invocations: mpsc::UnboundedReceiver<Invocation>,
    config: SdkConfig,
    trigger: Trigger,
    functions: [(Intake, Deployment); 3],
    runner: PathBuf,
    folder: tempfile::TempDir,
}

impl Counted {
    /// `None`, and a word on it, where something that it needs is not there.
    pub(super) async fn start(runner: PathBuf) -> Option<Self> {
        let emulator = Emulator::start().await?;
        let direct = emulator.config().await;
        Table::create(&aws_sdk_dynamodb::Client::new(&direct), "table").await.unwrap();
        aws_sdk_s3::Client::new(&direct).create_bucket().bucket("bucket").send().await.unwrap();
        let (between, endpoint, invocations) = Between::listen(emulator.endpoint()).await;
        let config = aws_config::defaults(BehaviorVersion::latest())
            .endpoint_url(&endpoint)
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "tests"))
            .load()
            .await;
        let folder = tempfile::tempdir().unwrap();
        let deployment = || Deployment::new(&config, &config, settings(folder.path().join("ratchet"))).unwrap();
        let trigger = Trigger::new(&config, deployment());
        let functions = [Intake::Planner, Intake::StepDispatcher, Intake::CompletionHandler];
        let functions = functions.map(|intake| (intake, deployment()));
        Some(Self { _emulator: emulator, between, endpoint, invocations, config, trigger, functions, runner, folder })
    }

    /// Runs a workflow to its end, and gives what was asked for meanwhile.
    pub(super) async fn run(&mut self, text: &str) -> Counts {
        let workflow = compile_stored("costs", text).unwrap();
        let blobs = S3BlobStore::new(aws_sdk_s3::Client::new(&self.config), "bucket", "");
        let content = blobs.put(text.as_bytes()).await.unwrap();
        let published = &self.functions[0].1.published;
        published.publish(&workflow, content.digest, SystemClock.now()).await.unwrap();
        let before = self.between.meter.lock().unwrap().counts;
        let call = json!({"workflow": workflow.name, "idempotency_key": "one"});
        let invocation = trigger::Invocation {
            function: "arn:aws:lambda:us-east-1:000000000000:function:ratchet-trigger".to_owned(),
            request: "one".to_owned(),
        };
        self.count_invocation();
        let started = self.trigger.handle(call, &invocation).await.unwrap();
        let id = ExecutionId::new(started["execution_id"].as_str().unwrap_or_else(|| panic!("{started}")));
        self.work().await;
        let counts = self.between.meter.lock().unwrap().counts - before;
        let row = self.functions[0].1.engine.ports().store.execution(&id).await.unwrap().unwrap();
        assert_eq!(row.status.as_str(), "completed", "{row:#?}");
        counts
    }

    fn count_invocation(&self) {
        self.between.meter.lock().unwrap().counts.invocations += 1;
    }

    /// Does what was asked for until nothing is left.
    async fn work(&mut self) {
        loop {
            let next = self.between.work.lock().unwrap().pop_front();
            match next {
                None => return,
                Some(Work::Event(word, detail)) => {
                    let intake = match word.as_str() {
                        "StepReady" => Intake::StepDispatcher,
                        "StepFinished" => Intake::CompletionHandler,
                        _ => Intake::Planner,
                    };
                    let event = json!({"source": "ratchet", "detail-type": word, "detail": detail});
                    self.invoke(intake, event).await;
                }
                Some(Work::Task(variables)) => self.task(variables).await,
            }
        }
    }

    async fn invoke(&self, intake: Intake, payload: Value) -> Value {
        self.count_invocation();
        let (_, deployment) = self.functions.iter().find(|(of, _)| *of == intake).unwrap();
        deployment.take(intake, payload).await.unwrap()
    }

    /// Runs a task to its end, and says that it ended.
    async fn task(&mut self, variables: Vec<(String, String)>) {
        let mut process = self.start_task(&variables);
        loop {
            tokio::select! {
                ended = process.wait() => {
                    assert!(ended.unwrap().success(), "the task ended without a report");
                    break;
                }
                Some(Invocation { function, payload, answer }) = self.invocations.recv() => {
                    assert!(function.ends_with("completion-handler"), "{function}");
                    let told = self.invoke(Intake::CompletionHandler, payload).await;
                    answer.send(told).unwrap();
                }
            }
        }
        let variables = variables.iter().map(|(name, value)| json!({"name": name, "value": value}));
        let overrides = json!({"containerOverrides": [{"environment": variables.collect::<Vec<_>>()}]});
        let ended = json!({"source": "aws.ecs", "detail": {"overrides": overrides}});
        self.invoke(Intake::Planner, ended).await;
    }

    fn start_task(&self, variables: &[(String, String)]) -> Child {
        let at = self.folder.path().join("ratchet");
        if at.exists() {
            std::fs::remove_dir_all(&at).unwrap();
        }
        Command::new(&self.runner)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .envs([("AWS_ACCESS_KEY_ID", TASK), ("AWS_SECRET_ACCESS_KEY", "test"), ("AWS_REGION", "us-east-1")])
            .envs([("RATCHET_TABLE", "table"), ("RATCHET_BUCKET", "bucket"), ("RATCHET_BUS", "bus")])
            .envs([("RATCHET_TIMERS", "timers"), ("RATCHET_STEP_USER", "same"), ("RATCHET_LOG", "warn")])
            .env("AWS_ENDPOINT_URL", &self.endpoint)
            .env("RATCHET_FOLDER", at)
            .envs(variables.iter().cloned())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }
}

fn settings(folder: PathBuf) -> Settings {
    Settings {
        table: "table".to_owned(),
        bucket: "bucket".to_owned(),
        bus: "bus".to_owned(),
        timers: "timers".to_owned(),
        webhook_secret: None,
        max_parallel: 50,
        cache_bytes_max: None,
        folder,
        tasks: Some(TaskPlace {
            cluster: "ratchet".to_owned(),
            steps: "ratchet-step".to_owned(),
            agents: "ratchet-agent".to_owned(),
            subnets: vec!["subnet-1".to_owned()],
            security_groups: vec!["sg-1".to_owned()],
            public_addresses: true,
            capacity: Capacity::OnDemand,
            sizes: TaskSizes { cpu_units: 256, memory_mib: 512 },
        }),
        secrets: None,
        recording: None,
    }
}

//! `template.yaml` on an emulator of AWS, with the functions as they were built.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use ratchet_core::ids::ExecutionId;
use ratchet_definition::{
    compile::SourceFile,
    sources::{Lookup, Sources, compile_all},
};
use ratchet_engine::view::{ExecutionRows, ExecutionView};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep},
};

use crate::{
    SystemClock, Table,
    deployment::{Deployment, Settings},
    emulator::Emulator,
    published::Publication,
    workspaces::FOLDER,
};

/// What webhooks are signed with.
pub(super) const SECRET: &str = "a secret of the tests";

/// How long an execution may take to get where it is waited for.
const PATIENCE: Duration = Duration::from_mins(5);

/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// The name of the stack.
const NAME: &str = "ratchet-test";

/// A deployment on an emulator, both gone with the test.
pub(super) struct Stack {
    emulator: Emulator,
    folder: tempfile::TempDir,
    outputs: BTreeMap<String, String>,
    pub(super) deployment: Deployment,
}

/// What a test of a deployment needs beside the emulator, where it is there.
pub(crate) fn programs() -> Option<(PathBuf, PathBuf)> {
    let named = |name: &str| env::var_os(name).map(PathBuf::from);
    let programs = named("RATCHET_TEST_FUNCTIONS").zip(named("RATCHET_BIN"));
    if programs.is_none() {
        #[expect(clippy::print_stderr, reason = "a test that was left out says so")]
        {
            eprintln!("left out: RATCHET_TEST_FUNCTIONS and RATCHET_BIN name no programs (make test builds them)");
        }
    }
    programs
}

impl Stack {
    /// Deploys what lies in a folder, a program for each function.
    pub(super) async fn deploy(emulator: Emulator, functions: &Path) -> Self {
        Self::deploy_with(emulator, functions, &[]).await
    }

    /// The same with parameters of the template.
    pub(super) async fn deploy_with(emulator: Emulator, functions: &Path, parameters: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../template.yaml");
        fs::copy(template, folder.path().join("template.yaml")).unwrap();
        fs::create_dir(folder.path().join("target")).unwrap();
        std::os::unix::fs::symlink(functions, folder.path().join("target/functions")).unwrap();
        let config = emulator.config().await;
        aws_sdk_s3::Client::new(&config).create_bucket().bucket("packages").send().await.unwrap();
        let secrets = aws_sdk_secretsmanager::Client::new(&config);
        let secret = secrets.create_secret().name("webhooks").secret_string(SECRET).send().await.unwrap();
        let secret = format!("WebhookSecret={}", secret.arn().unwrap());
        let aws = |arguments: &str, more: &[&str]| aws(&emulator, folder.path(), arguments, more);
        aws(
            "cloudformation package --template-file template.yaml --s3-bucket packages --output-template-file packaged.yaml",
            &[],
        );
        let deploy =
            "cloudformation deploy --template-file packaged.yaml --capabilities CAPABILITY_IAM CAPABILITY_AUTO_EXPAND";
        let options = ["--stack-name", NAME, "--parameter-overrides", &secret];
        aws(deploy, &[&options, parameters].concat());
        let told = aws("cloudformation describe-stacks --query Stacks[0].Outputs", &["--stack-name", NAME]);
        let told: Vec<Value> = serde_json::from_str(&told).unwrap();
        let text = |output: &Value, name: &str| output[name].as_str().unwrap().to_owned();
        let outputs: BTreeMap<String, String> =
            told.iter().map(|output| (text(output, "OutputKey"), text(output, "OutputValue"))).collect();
        let settings = Settings {
            table: outputs["Table"].clone(),
            bucket: outputs["Bucket"].clone(),
            bus: outputs["Bus"].clone(),
            timers: outputs["Timers"].clone(),
            webhook_secret: None,
            max_parallel: 50,
            cache_bytes_max: None,
            folder: FOLDER.into(),
            tasks: None,
            secrets: None,
            recording: None,
        };
        let deployment = Deployment::new(&config, &emulator.config().await, settings).unwrap();
        Self { emulator, folder, outputs, deployment }
    }

    /// Fails unless the template's table has the keys and indexes of the one that the store's own tests make.
    pub(super) async fn has_the_table_of_the_store(&self) {
        let client = aws_sdk_dynamodb::Client::new(&self.emulator.config().await);
        Table::create(&client, "as-the-store-has-it").await.unwrap();
        let mut seen = Vec::new();
        for name in ["as-the-store-has-it", &self.outputs["Table"]] {
            let table = client.describe_table().table_name(name).send().await.unwrap().table.unwrap();
            let mut attributes: Vec<String> = table
                .attribute_definitions()
                .iter()
                .map(|one| format!("{} {}", one.attribute_name(), one.attribute_type()))
                .collect();
            let mut indexes: Vec<String> = table
                .global_secondary_indexes()
                .iter()
                .map(|index| format!("{:?} {:?} {:?}", index.index_name(), index.key_schema(), index.projection()))
                .collect();
            attributes.sort();
            indexes.sort();
            seen.push((attributes, indexes, format!("{:?}", table.key_schema())));
        }
        assert_eq!(seen[0], seen[1]);
    }

    /// Publishes a workflow's file, with the files beside it that it names.
    pub(super) async fn publish(&self, file: &Path) {
        let text = fs::read_to_string(file).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        let sources = Sources::gather(&SourceFile { name, text }, &Beside(file.parent().unwrap()));
        let workflow = compile_all(&sources).unwrap().workflow;
        let content = self.deployment.engine.ports().blobs.put(sources.text().as_bytes()).await.unwrap();
        let now = ratchet_engine::ports::Clock::now(&SystemClock);
        let published = self.deployment.published.publish(&workflow, content.digest, now).await.unwrap();
        assert!(matches!(published, Publication::New(_)), "{published:?}");
    }

    /// Invokes the trigger with the AWS command line.
    pub(super) fn invoke(&self, payload: &Value) -> Value {
        fs::write(self.folder.path().join("payload.json"), payload.to_string()).unwrap();
        let invoke = "lambda invoke --payload fileb://payload.json answer.json";
        aws(&self.emulator, self.folder.path(), invoke, &["--function-name", &self.outputs["TriggerFunction"]]);
        serde_json::from_str(&fs::read_to_string(self.folder.path().join("answer.json")).unwrap()).unwrap()
    }

    /// Puts an event on the deployment's bus.
    pub(super) async fn put_event(&self, source: &str, detail_type: &str, detail: &Value) {
        let entry = aws_sdk_eventbridge::types::PutEventsRequestEntry::builder()
            .event_bus_name(&self.outputs["Bus"])
            .source(source)
            .detail_type(detail_type)
            .detail(detail.to_string());
        let events = aws_sdk_eventbridge::Client::new(&self.emulator.config().await);
        let put = events.put_events().entries(entry.build()).send().await.unwrap();
        assert_eq!(put.failed_entry_count(), 0);
    }

    /// Sends a request to one of the function's URLs, and gives the status code and the answer.
    pub(super) async fn post(&self, url: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
        let url = self.outputs[url].trim_start_matches("https://").split('.').next().unwrap();
        let address = self.emulator.endpoint().trim_start_matches("http://");
        let headers = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect::<Vec<_>>().concat();
        let request = format!(
            "POST /_aws/lambda-url/{url}{path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n{headers}\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        (status, serde_json::from_str(body).unwrap_or_else(|_| Value::from(answer.as_str())))
    }

    /// What a program needs to ask the deployment as somebody, over the emulator.
    pub(super) fn variables(&self) -> Vec<(&'static str, String)> {
        let url = self.outputs["PeopleUrl"].trim_start_matches("https://").split('.').next().unwrap();
        vec![
            ("AWS_ACCESS_KEY_ID", "ada".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ENDPOINT_URL", self.emulator.endpoint().to_owned()),
            ("RATCHET_PEOPLE_URL", format!("{}/_aws/lambda-url/{url}", self.emulator.endpoint())),
        ]
    }

    /// The newest execution of a workflow, once there is one.
    pub(super) async fn newest_of(&self, workflow: &str) -> String {
        let begun = Instant::now();
        let filter =
            ratchet_engine::ports::ExecutionFilter { workflow: Some(workflow.to_owned()), ..Default::default() };
        loop {
            let page = self.deployment.engine.ports().store.executions(&filter, None, 1).await.unwrap();
            if let Some(row) = page.rows.first() {
                return row.id.to_string();
            }
            assert!(begun.elapsed() < PATIENCE, "nothing starts {workflow}");
            sleep(LOOK).await;
        }
    }

    /// How many messages wait in the queue of dead letters: what its alarm looks at.
    pub(super) async fn dead_letters(&self) -> usize {
        let client = aws_sdk_sqs::Client::new(&self.emulator.config().await);
        let all = aws_sdk_sqs::types::QueueAttributeName::ApproximateNumberOfMessages;
        let asked = client.get_queue_attributes().queue_url(&self.outputs["DeadLetters"]).attribute_names(all.clone());
        let told = asked.send().await.unwrap();
        told.attributes().unwrap()[&all].parse().unwrap()
    }

    /// Waits until so many wait there.
    pub(super) async fn has_dead_letters(&self, count: usize) {
        let begun = Instant::now();
        while self.dead_letters().await != count {
            assert!(begun.elapsed() < PATIENCE, "there are {} dead letters, not {count}", self.dead_letters().await);
            sleep(LOOK).await;
        }
    }

    /// Puts a message there, as a rule does with what it cannot deliver.
    pub(super) async fn leave(&self, letter: &Value) {
        let client = aws_sdk_sqs::Client::new(&self.emulator.config().await);
        let sent = client.send_message().queue_url(&self.outputs["DeadLetters"]).message_body(letter.to_string());
        sent.send().await.unwrap();
    }

    /// What starts workflows of a kind is damaged, or is not any more.
    pub(super) async fn damage(&self, trigger: &str, is_damaged: bool) {
        let client = aws_sdk_dynamodb::Client::new(&self.emulator.config().await);
        let text = |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.to_owned());
        let (partition, table) = (text(&format!("trigger/{trigger}")), &self.outputs["Table"]);
        if is_damaged {
            let put = client.put_item().table_name(table).item("pk", partition).item("sk", text("damaged"));
            put.item("body", text("no row")).send().await.unwrap();
        } else {
            client
                .delete_item()
                .table_name(table)
                .key("pk", partition)
                .key("sk", text("damaged"))
                .send()
                .await
                .unwrap();
        }
    }

    /// The names of the deployment's schedules.
    pub(super) async fn schedules(&self) -> Vec<String> {
        let client = aws_sdk_scheduler::Client::new(&self.emulator.config().await);
        let listed = client.list_schedules().group_name(NAME).send().await.unwrap();
        listed.schedules().iter().filter_map(|schedule| schedule.name().map(str::to_owned)).collect()
    }

    /// The state of an execution once it does not run any more.
    pub(super) async fn still(&self, id: &str) -> Value {
        let begun = Instant::now();
        loop {
            let state = self.state(id).await;
            if state["status"] != "running" {
                return state;
            }
            assert!(begun.elapsed() < PATIENCE, "{id} goes on and on: {state:#}");
            sleep(LOOK).await;
        }
    }

    /// All executions, once there are so many.
    pub(super) async fn executions(&self, count: usize) -> Vec<String> {
        let begun = Instant::now();
        let filter = ratchet_engine::ports::ExecutionFilter { roots_only: true, ..Default::default() };
        loop {
            let page = self.deployment.engine.ports().store.executions(&filter, None, 50).await.unwrap();
            if page.rows.len() >= count {
                return page.rows.into_iter().map(|row| row.id.to_string()).collect();
            }
            assert!(begun.elapsed() < PATIENCE, "there are {} executions, not {count}", page.rows.len());
            sleep(LOOK).await;
        }
    }

    pub(super) async fn state(&self, id: &str) -> Value {
        let ports = self.deployment.engine.ports();
        let id = ExecutionId::new(id);
        let row = ports.store.execution(&id).await.unwrap().expect("the execution is there");
        let workflow = self.deployment.engine.workflow(&row).await.unwrap();
        let rows = ExecutionRows::load(&*ports.store, &*ports.blobs, &workflow, &id).await.unwrap().unwrap();
        serde_json::to_value(ExecutionView::new(&workflow, &rows)).unwrap()
    }
}

/// Runs the AWS command line, which lies beside the emulator.
fn aws(emulator: &Emulator, folder: &Path, arguments: &str, more: &[&str]) -> String {
    let program = PathBuf::from(env::var_os("RATCHET_TEST_EMULATOR").unwrap()).with_file_name("aws");
    let output = Command::new(program)
        .args(arguments.split(' '))
        .args(more)
        .current_dir(folder)
        .env_clear()
        .env("PATH", env::var_os("PATH").unwrap_or_default())
        .env("HOME", folder)
        .envs([("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test"), ("AWS_DEFAULT_REGION", "us-east-1")])
        .envs([("AWS_ENDPOINT_URL", emulator.endpoint()), ("AWS_PAGER", "")])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "aws {arguments}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// Finds the files that lie beside a workflow's.
struct Beside<'a>(&'a Path);

impl Lookup for Beside<'_> {
    fn file(&self, path: &str) -> Result<String, String> {
        fs::read_to_string(self.0.join(path)).map_err(|error| error.to_string())
    }

    fn published(&self, name: &str, _version: Option<&str>) -> Result<String, String> {
        Err(format!("{name} is not published"))
    }
}

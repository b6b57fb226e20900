//! What is asked of ECS, and what becomes of what it answers.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
};

use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use ratchet_core::{
    output::{BlobRef, FileValue},
    step::StepResult,
    workflow::{Expression, SecurityProfile, ValueType},
};
use ratchet_definition::evaluate::ArtifactError;
use ratchet_engine::{
    masks::Masks,
    order::{
        AgentOrder, AttemptOutcome, AttemptReport, OutputOrder, OutputOrderSource, ProgramOrder, RequestBody,
        RequestOrder, SecretText, TaskSize, Work,
    },
    ports::{AttemptFiles, AttemptPlace, AttemptRunner, Event, Stop, StopSignal},
};
use ratchet_testkit::{
    builders::{envelope, order, step_key, time},
    contract::Launching,
    memory::{ManualClock, MemoryBlobStore, MemoryEventBus},
};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::*;
use crate::answers::config;

/// A table of rows and a cluster, which answers as it is told to.
#[derive(Default)]
struct Aws {
    items: HashMap<String, Value>,
    /// What was asked of ECS.
    asked: Vec<(String, Value)>,
    /// What is answered to the next requests for a task; once there are no more, all are given one.
    run_task: Vec<(u16, Value)>,
    /// The tasks that are listed.
    tasks: Vec<Listed>,
    /// Whether a task that is stopped ends.
    stops: bool,
    /// Who starts tasks that are asked for; where nobody does, they are not listed.
    machine: Option<mpsc::UnboundedSender<(usize, Value)>>,
}

/// A task as it is listed.
#[derive(Clone, Default)]
struct Listed {
    status: &'static str,
    /// Of which attempt; of any where nobody says.
    started_by: Option<Value>,
    /// Hears that it is to end.
    stop: Option<watch::Sender<Option<Stop>>>,
}

impl Aws {
    fn answer(&mut self, request: &HttpRequest) -> (u16, String) {
        let target = request.headers().get("x-amz-target").unwrap_or_default().to_owned();
        let word = target.split('.').next_back().unwrap_or_default();
        let body: Value = serde_json::from_slice(request.body().bytes().unwrap_or_default()).unwrap_or_default();
        let place = |key: &Value| format!("{} {}", key["pk"]["S"], key["sk"]["S"]);
        let arn = |number: usize| format!("arn:aws:ecs:us-east-1:000000000000:task/ratchet/{number}");
        let is_dynamo = target.starts_with("DynamoDB");
        if !is_dynamo {
            self.asked.push((word.to_owned(), body.clone()));
        }
        let answer = match word {
            "GetItem" => match self.items.get(&place(&body["Key"])) {
                Some(item) => json!({"Item": item}),
                None => json!({}),
            },
            "PutItem" => {
                let there = self.items.get(&place(&body["Item"]));
                let seen = body["ExpressionAttributeValues"].get(":seen");
                let holds = there.map(|item| &item["writer"]) == seen;
                if !holds {
                    let code = "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException";
                    return (400, json!({"__type": code, "Item": there}).to_string());
                }
                self.items.insert(place(&body["Item"]), body["Item"].clone());
                json!({})
            }
            "RunTask" if !self.run_task.is_empty() => {
                let (status, answer) = self.run_task.remove(0);
                return (status, answer.to_string());
            }
            "RunTask" => {
                if let Some(machine) = &self.machine {
                    let started_by = Some(body["startedBy"].clone());
                    self.tasks.push(Listed { status: "RUNNING", started_by, ..Listed::default() });
                    machine.send((self.tasks.len() - 1, body)).unwrap();
                }
                json!({"tasks": [{"taskArn": arn(0)}], "failures": []})
            }
            "ListTasks" => {
                let wants_stopped = body["desiredStatus"] == "STOPPED";
                let is_asked = |task: &Listed| {
                    (task.status == "STOPPED") == wants_stopped
                        && task.started_by.as_ref().is_none_or(|by| *by == body["startedBy"])
                };
                let listed = self.tasks.iter().enumerate().filter(|(_, task)| is_asked(task));
                json!({"taskArns": listed.map(|(number, _)| arn(number)).collect::<Vec<_>>()})
            }
            "DescribeTasks" => {
                let all = self.tasks.iter().enumerate();
                let told = all.map(|(number, task)| json!({"taskArn": arn(number), "lastStatus": task.status}));
                json!({"tasks": told.collect::<Vec<_>>()})
            }
            "StopTask" => {
                let stopped = self.tasks.iter_mut().enumerate().filter(|(number, _)| body["task"] == arn(*number));
                for (_, task) in stopped {
                    match &task.stop {
                        Some(stop) => drop(stop.send_replace(Some(Stop::Gracefully))),
                        None if self.stops => task.status = "STOPPED",
                        None => {}
                    }
                }
                json!({})
            }
            other => panic!("{other}"),
        };
        (200, answer.to_string())
    }
}

struct Case {
    aws: Arc<Mutex<Aws>>,
    launcher: EcsLauncher,
    rows: DynamoStateStore,
    clock: Arc<ManualClock>,
    bus: Arc<MemoryEventBus>,
}

impl Case {
    fn new(capacity: Capacity) -> Self {
        let aws: Arc<Mutex<Aws>> = Arc::default();
        let answering = aws.clone();
        let config = config(move |request| answering.lock().unwrap().answer(request));
        let place = TaskPlace {
            cluster: "ratchet".to_owned(),
            steps: "ratchet-step:1".to_owned(),
            agents: "ratchet-agent:1".to_owned(),
            subnets: vec!["subnet-a".to_owned(), "subnet-b".to_owned()],
            security_groups: vec!["sg-tasks".to_owned()],
            public_addresses: true,
            capacity,
            sizes: TaskSizes { cpu_units: 1024, memory_mib: 2048 },
        };
        let rows = DynamoStateStore::new(aws_sdk_dynamodb::Client::new(&config), "state");
        let (clock, bus) = (Arc::new(ManualClock::new(time(0), 0)), Arc::new(MemoryEventBus::default()));
        let ports: (Arc<dyn BlobStore>, Arc<dyn EventBus>, Arc<dyn Clock>) =
            (Arc::new(MemoryBlobStore::default()), bus.clone(), clock.clone());
        let launcher = EcsLauncher::new(Client::new(&config), place, rows.clone(), ports);
        Self { aws, launcher, rows, clock, bus }
    }

    fn list(&self, tasks: &[&'static str]) {
        let listed = tasks.iter().map(|status| Listed { status, ..Listed::default() });
        self.aws.lock().unwrap().tasks = listed.collect();
    }

    async fn launch(&self, order: Order) -> Result<(), LaunchError> {
        self.launcher.launch(Slot::unlimited(), order).await
    }

    fn asked(&self, word: &str) -> Vec<Value> {
        let aws = self.aws.lock().unwrap();
        aws.asked.iter().filter(|(asked, _)| asked == word).map(|(_, body)| body.clone()).collect()
    }

    async fn state(&self) -> TaskState {
        self.launcher.state(&key(), 1).await.unwrap()
    }
}

fn key() -> StepKey {
    step_key("run", 1, "build")
}

fn command() -> Order {
    order(
        key(),
        1,
        Work::Command {
            argv: vec!["true".to_owned()],
            values: BTreeMap::new(),
            allow_exit_codes: vec![],
            profile: None,
        },
    )
}

fn agent() -> Order {
    let asked = AgentOrder {
        prompt: "write".to_owned(),
        profile: SecurityProfile::Standard,
        model: None,
        max_turns: None,
        max_cost_usd: None,
        allowed_tools: None,
        output_schema: None,
        append_system_prompt: None,
        stall_timeout: None,
        verify: None,
        on_limit: ratchet_core::workflow::OnLimit::Fail,
        session: None,
        continues: None,
        keeps_session: false,
    };
    let size = TaskSize { cpu_units: Some(4096), disk_gib: Some(50), ..TaskSize::default() };
    Order { size, ..order(step_key("run", 1, "write"), 2, Work::Agent(Box::new(asked))) }
}

fn no_capacity() -> (u16, Value) {
    (
        200,
        json!({"tasks": [], "failures": [{"reason": "Capacity is unavailable at this time. Please try again later"}]}),
    )
}

#[tokio::test]
async fn tasks_are_asked_for_by_reference() {
    let case = Case::new(Capacity::OnDemand);
    case.launch(command()).await.unwrap();
    case.launch(agent()).await.unwrap();
    let asked: Vec<String> = case.asked("RunTask").iter().map(|body| format!("{body:#}")).collect();
    insta::assert_snapshot!("run-task", asked.join("\n"));
}

#[tokio::test]
async fn the_same_attempt_is_the_same_task() {
    let case = Case::new(Capacity::OnDemand);
    case.launch(command()).await.unwrap();
    case.launch(command()).await.unwrap();
    case.launch(Order { attempt: 2, ..command() }).await.unwrap();
    let tokens: Vec<Value> = case.asked("RunTask").iter().map(|body| body["clientToken"].clone()).collect();
    assert_eq!(tokens[0], tokens[1]);
    assert_ne!(tokens[0], tokens[2]);
    assert!(case.rows.begin_task(&key(), 1, "one", time(0)).await.unwrap());
    assert!(case.rows.begin_task(&key(), 1, "one", time(0)).await.unwrap(), "it is the same");
    assert!(!case.rows.begin_task(&key(), 1, "other", time(0)).await.unwrap(), "only one of two tasks is the attempt");
    case.launch(command()).await.unwrap();
    assert_eq!(case.asked("RunTask").len(), 3, "what has begun is not started again");
}

#[tokio::test(start_paused = true)]
async fn without_capacity_it_is_asked_again_and_then_told() {
    let case = Case::new(Capacity::OnDemand);
    case.aws.lock().unwrap().run_task = vec![no_capacity(), (400, json!({"__type": "ThrottlingException"}))];
    case.launch(command()).await.unwrap();
    assert_eq!(case.asked("RunTask").len(), 3);
    let case = Case::new(Capacity::OnDemand);
    case.aws.lock().unwrap().run_task = (0..4).map(|_| no_capacity()).collect();
    assert!(matches!(case.launch(command()).await, Err(LaunchError::NoCapacity(_))));
    assert_eq!(case.state().await, TaskState::Gone, "nobody waits for it");
    assert!(!case.rows.begin_task(&key(), 1, "late", time(0)).await.unwrap());
    for wrong in [
        (400, json!({"__type": "InvalidParameterException", "message": "no such subnet"})),
        (200, json!({"tasks": [], "failures": [{"reason": "MISSING", "detail": "the definition"}]})),
    ] {
        let case = Case::new(Capacity::OnDemand);
        case.aws.lock().unwrap().run_task = vec![wrong];
        assert!(matches!(case.launch(command()).await, Err(LaunchError::Refused(_))));
        assert_eq!(case.asked("RunTask").len(), 1, "what is wrong is not asked for again");
    }
}

#[tokio::test]
async fn where_there_is_no_spare_capacity_another_is_taken() {
    let case = Case::new(Capacity::Spot);
    case.aws.lock().unwrap().run_task = vec![no_capacity()];
    case.launch(command()).await.unwrap();
    let case_of_step = Order { attempt: 2, size: TaskSize { spot: Some(false), ..TaskSize::default() }, ..command() };
    case.launch(case_of_step).await.unwrap();
    let providers: Vec<Value> = case
        .asked("RunTask")
        .iter()
        .map(|body| body["capacityProviderStrategy"][0]["capacityProvider"].clone())
        .collect();
    assert_eq!(providers, ["FARGATE_SPOT", "FARGATE", "FARGATE"]);
}

#[tokio::test]
async fn a_task_is_alive_until_it_is_known_to_be_gone() {
    let minutes = |minutes: i64| time(0) + SignedDuration::from_mins(minutes);
    for (launched, begun, tasks, at, expected) in [
        (false, false, vec![], 0, TaskState::Alive),
        (true, false, vec![], 1, TaskState::Alive),
        (true, false, vec![], 3, TaskState::Alive),
        (true, false, vec!["PENDING"], 3, TaskState::Alive),
        (true, false, vec!["STOPPED"], 1, TaskState::Gone),
        (true, true, vec!["RUNNING"], 60, TaskState::Alive),
        (true, true, vec!["STOPPED", "DEPROVISIONING"], 60, TaskState::Alive),
        (true, true, vec!["STOPPED"], 1, TaskState::Gone),
        (true, true, vec![], 60, TaskState::Gone),
    ] {
        let case = Case::new(Capacity::OnDemand);
        if launched {
            case.launch(command()).await.unwrap();
        }
        if begun {
            assert!(case.rows.begin_task(&key(), 1, "one", time(0)).await.unwrap());
        }
        case.clock.set(minutes(at));
        case.list(&tasks);
        assert_eq!(case.state().await, expected, "{launched} {begun} {tasks:?} {at}");
        if expected == TaskState::Gone {
            case.launch(command()).await.unwrap();
            assert!(!case.rows.begin_task(&key(), 1, "late", time(0)).await.unwrap(), "what is gone stays so");
            assert_eq!(case.asked("RunTask").len(), usize::from(launched));
        }
    }
}

#[tokio::test]
async fn a_report_whose_event_was_lost_is_sent_again() {
    let case = Case::new(Capacity::OnDemand);
    let order = command();
    case.launch(order.clone()).await.unwrap();
    assert!(case.rows.begin_task(&key(), 1, "one", time(0)).await.unwrap());
    let (key, attempt, token) = (order.key.clone(), order.attempt, order.token);
    let outcome = AttemptOutcome::Succeeded(StepResult::default());
    let sent = envelope("run", Event::StepFinished(Box::new(AttemptReport { key, attempt, token, outcome })));
    let kept = case.launcher.blobs.put(&serde_json::to_vec(&sent).unwrap()).await.unwrap();
    assert!(!case.rows.report_task(&order.key, 1, "other", (&kept.digest, time(0))).await.unwrap());
    assert!(case.rows.report_task(&order.key, 1, "one", (&kept.digest, time(0))).await.unwrap());
    assert_eq!(case.state().await, TaskState::Alive);
    assert_eq!(case.bus.take(time(0)), None, "it is on its way");
    case.clock.set(time(0) + SignedDuration::from_mins(1));
    assert_eq!(case.state().await, TaskState::Alive);
    assert_eq!(case.bus.take(time(0)), Some(sent));
    case.launcher.stop(&order.key, 1).await.unwrap();
    assert!(case.asked("StopTask").is_empty());
    case.clock.set(time(0) + SignedDuration::from_hours(2));
    assert_eq!(case.state().await, TaskState::Gone, "nobody takes it");
}

#[tokio::test]
async fn tasks_are_looked_for_and_stopped_by_their_attempt() {
    let case = Case::new(Capacity::OnDemand);
    case.launch(command()).await.unwrap();
    case.list(&["RUNNING"]);
    assert_eq!(case.state().await, TaskState::Alive);
    case.launcher.stop(&key(), 1).await.unwrap();
    let asked = case.aws.lock().unwrap().asked.clone();
    let asked: Vec<String> = asked.iter().skip(1).map(|(word, body)| format!("{word} {body:#}")).collect();
    insta::assert_snapshot!("look-and-stop", asked.join("\n"));
}

/// Runs what is asked for here, and each of it twice: the fence lets one of the two begin.
#[tokio::test(flavor = "multi_thread")]
async fn tasks_keep_the_contract_also_where_each_is_started_twice() {
    ratchet_testkit::contract::task_launcher(async |runner, bus| {
        let mut case = Case::new(Capacity::OnDemand);
        let (machine, mut asked) = mpsc::unbounded_channel();
        case.aws.lock().unwrap().machine = Some(machine);
        case.launcher.bus = bus.clone();
        case.launcher.clock = Arc::new(Hasty(AtomicI64::new(0)));
        let (aws, rows, blobs) = (case.aws.clone(), case.rows.clone(), case.launcher.blobs.clone());
        tokio::spawn(async move {
            while let Some((number, body)) = asked.recv().await {
                let variables = body["overrides"]["containerOverrides"][0]["environment"].clone();
                let variable = |name: &str| {
                    let all = variables.as_array().unwrap().iter();
                    all.filter(|variable| variable["name"] == name).map(|variable| variable["value"].clone()).next()
                };
                let digest = Digest::new(variable(ORDER).unwrap().as_str().unwrap());
                let order: Order = serde_json::from_slice(&blobs.get(&digest).await.unwrap()).unwrap();
                let (stop, told) = watch::channel(None);
                aws.lock().unwrap().tasks[number].stop = Some(stop);
                let tasks = ["first", "second"].map(|name| Process {
                    name: format!("{name} of {number}"),
                    rows: rows.clone(),
                    blobs: blobs.clone(),
                    bus: bus.clone(),
                    runner: runner.clone(),
                });
                let aws = aws.clone();
                tokio::spawn(async move {
                    let [first, second] = tasks;
                    tokio::join!(first.run(order.clone(), told.clone()), second.run(order, told));
                    aws.lock().unwrap().tasks[number].status = "STOPPED";
                });
            }
        });
        Launching { launcher: case.launcher, place: Value::Null, counts_room: false }
    })
    .await;
}

#[tokio::test]
async fn a_handler_has_time_to_launch_what_it_claimed() {
    let case = Case::new(Capacity::OnDemand);
    assert_eq!(case.state().await, TaskState::Alive);
    case.clock.set(time(0) + SignedDuration::from_secs(149));
    assert_eq!(case.state().await, TaskState::Alive, "a function has two minutes, and what lists tasks is behind");
    case.launch(command()).await.unwrap();
    assert_eq!(case.asked("RunTask").len(), 1);
    let case = Case::new(Capacity::OnDemand);
    assert_eq!(case.state().await, TaskState::Alive);
    case.clock.set(time(0) + SignedDuration::from_secs(150));
    case.list(&["PENDING"]);
    assert_eq!(case.state().await, TaskState::Alive, "it is on its way");
    case.list(&[]);
    assert_eq!(case.state().await, TaskState::Gone);
    case.launch(command()).await.unwrap();
    assert_eq!(case.asked("RunTask").len(), 0, "what is gone stays so");
}

/// A clock on which a minute passes whenever it is looked at.
struct Hasty(AtomicI64);

impl Clock for Hasty {
    fn now(&self) -> Timestamp {
        time(0) + SignedDuration::from_mins(self.0.fetch_add(1, Ordering::Relaxed))
    }

    fn entropy(&self) -> [u8; 16] {
        [0; 16]
    }
}

/// What runs in a task.
struct Process {
    name: String,
    rows: DynamoStateStore,
    blobs: Arc<dyn BlobStore>,
    bus: Arc<dyn EventBus>,
    runner: Arc<dyn AttemptRunner>,
}

impl Process {
    async fn run(self, order: Order, stop: StopSignal) {
        if !self.rows.begin_task(&order.key, order.attempt, &self.name, time(0)).await.unwrap() {
            return;
        }
        let (key, attempt, trace) = (order.key.clone(), order.attempt, order.trace.clone());
        let place = AttemptPlace {
            files: AttemptFiles::in_folder("/"),
            definitions: None,
            directory: "/".into(),
            scratch: "/".into(),
        };
        let report = self.runner.run(order, place, stop).await;
        let event = Event::StepFinished(Box::new(report));
        let sent = Envelope { execution: key.execution.clone(), trace, event };
        let kept = self.blobs.put(&serde_json::to_vec(&sent).unwrap()).await.unwrap();
        assert!(self.rows.report_task(&key, attempt, &self.name, (&kept.digest, time(0))).await.unwrap());
        self.bus.publish(sent).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_stopped_has_ended() {
    let case = Case::new(Capacity::OnDemand);
    case.launch(command()).await.unwrap();
    case.list(&["PENDING"]);
    case.launcher.stop(&key(), 1).await.unwrap();
    assert_eq!(case.asked("StopTask").len(), 1);
    assert!(!case.rows.begin_task(&key(), 1, "one", time(0)).await.unwrap(), "it runs nothing any more");
    let case = Case::new(Capacity::OnDemand);
    case.launch(command()).await.unwrap();
    assert!(case.rows.begin_task(&key(), 1, "one", time(0)).await.unwrap());
    case.list(&["RUNNING"]);
    let stopped = case.launcher.stop(&key(), 1).await;
    assert!(matches!(stopped, Err(LaunchError::NoCapacity(_))), "it goes on: {stopped:?}");
    case.aws.lock().unwrap().stops = true;
    case.launcher.stop(&key(), 1).await.unwrap();
    assert_eq!(case.state().await, TaskState::Gone);
}

#[test]
fn steps_of_all_names_are_told_apart() {
    let all =
        [name(&key(), 1), name(&key(), 2), name(&step_key("run", 2, "build"), 1), name(&step_key("run", 1, "b"), 1)];
    assert!(all.iter().all(|name| name.len() == 32));
    assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), 4);
}

/// Orders of every kind of work, with all that an order may have.
fn orders() -> Vec<Order> {
    let expression = Expression {
        source: "json.n".to_owned(),
        code: "json.n".to_owned(),
        uses: ratchet_core::workflow::Uses::default(),
    };
    let source = OutputOrderSource::From { expression, value_type: ValueType::Integer };
    let secret = vec![SecretText::Plain("token ".to_owned()), SecretText::Secret("KEY".to_owned())];
    let request = RequestOrder {
        url: "https://example.com".to_owned(),
        method: "POST".to_owned(),
        headers: BTreeMap::from([("authorization".to_owned(), secret.clone())]),
        body: Some(RequestBody::Json(json!({"n": [1, null, 0.5]}))),
        expect_status: vec![200..=299, 404..=404],
    };
    let program = ProgramOrder {
        argv: vec!["./tool".to_owned()],
        stdin: "{}".to_owned(),
        digest: Some(Digest::new("11".repeat(32))),
        outputs: vec![("n".to_owned(), ValueType::Integer)],
    };
    let captured =
        FileValue { path: "a/b".to_owned(), content: BlobRef { digest: Digest::new("00".repeat(32)), size: 7 } };
    [
        command(),
        agent(),
        order(key(), 1, Work::Request(Box::new(request))),
        order(key(), 1, Work::Program(Box::new(program))),
    ]
    .map(|order| {
        let refused = ArtifactError { code: "RT-0198", message: "it may not".to_owned(), help: None };
        order.scope.artifacts.tell("other/report", Err(refused));
        order.scope.artifacts.tell("report", Ok(captured.clone()));
        Order {
            outputs: vec![
                OutputOrder { name: "n".to_owned(), source: source.clone() },
                OutputOrder { name: "f".to_owned(), source: OutputOrderSource::File("f".to_owned()) },
            ],
            secrets: BTreeMap::from([("KEY".to_owned(), secret.clone())]),
            timeout: Some(Duration::from_millis(1_500)),
            masks: Masks::new(["never seen".to_owned()]),
            captured: vec![captured.clone()],
            ..order
        }
    })
    .into()
}

#[tokio::test]
async fn an_order_comes_as_it_was_sent() {
    for sent in orders() {
        let case = Case::new(Capacity::OnDemand);
        case.launch(sent.clone()).await.unwrap();
        let asked = case.asked("RunTask").remove(0);
        let variables = &asked["overrides"]["containerOverrides"][0]["environment"];
        let digest = variables.as_array().unwrap().iter().find(|variable| variable["name"] == ORDER).unwrap();
        let content = case.launcher.blobs.get(&Digest::new(digest["value"].as_str().unwrap())).await.unwrap();
        let came: Order = serde_json::from_slice(&content).unwrap();
        assert_eq!(format!("{came:?}"), format!("{sent:?}"));
        assert_eq!(came.token, sent.token);
    }
}

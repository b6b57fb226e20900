//! Steps with a process run in tasks as they do on one machine. No image is there to run them in: the emulator runs the program that an image would, each time in namespaces of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    AUTHORIZATION, Embedded, plain,
    stack::{Stack, programs},
    workflow,
};
use crate::{emulator::Emulator, trigger::page};

/// How long a process may take to come or go: where an event that tells of it comes while another is handled, the wake-up of its run sees to it some minutes later.
const PATIENCE: Duration = Duration::from_mins(6);

/// A deployment whose tasks run as processes.
struct Tasks {
    stack: Stack,
    embedded: Embedded,
    folder: tempfile::TempDir,
}

impl Tasks {
    /// `None`, and a word on it, where something that it needs is not there.
    async fn start(deliveries: &str) -> Option<Self> {
        let (functions, command) = programs()?;
        if !Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "--pid", "--fork", "true"])
            .status()
            .is_ok_and(|status| status.success())
        {
            #[expect(clippy::print_stderr, reason = "a test that was left out says so")]
            {
                eprintln!("left out: no namespaces are made here");
            }
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("ratchet");
        fs::create_dir(&at).unwrap();
        let text = |path: PathBuf| path.display().to_string();
        let (program, at) = (text(functions.join("step-runner/bootstrap")), text(at));
        let recording = text(workflow("recording"));
        let emulator = Emulator::start_with(&[
            ("RATCHET_EMULATOR_TASKS", &program),
            ("RATCHET_EMULATOR_DELIVERIES", deliveries),
            ("RATCHET_FOLDER", &at),
            ("RATCHET_RECORDING", &recording),
        ])
        .await?;
        let given = ["RunnerImage=none", "Subnets=subnet-1", "SecurityGroups=sg-1"];
        let stack = Stack::deploy_with(emulator, &functions, &given).await;
        Some(Self { stack, embedded: Embedded { command, folder: tempfile::tempdir().unwrap() }, folder })
    }

    /// Starts what a file says.
    async fn run(&self, name: &str) -> String {
        self.stack.publish(&workflow(&format!("{name}.yaml"))).await;
        let started = self.stack.invoke(&json!({"workflow": name, "idempotency_key": "one"}));
        started["execution_id"].as_str().unwrap_or_else(|| panic!("it was not started: {started}")).to_owned()
    }

    /// The processes that were started for an attempt of a step.
    fn processes(&self, step: &str, attempt: u32) -> Vec<u32> {
        let notes = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let is_of = |note: &Path| {
            let of: Value = serde_json::from_str(&fs::read_to_string(note).unwrap()).unwrap_or_default();
            of["key"]["path"]["step"] == step && of["attempt"] == attempt
        };
        let of_step = notes.filter(|note| note.extension().is_some_and(|end| end == "task") && is_of(note));
        of_step.filter_map(|note| note.file_stem()?.to_str()?.parse().ok()).collect()
    }

    /// Waits until something is so, and says what is there where it never is.
    async fn wait(&self, what: &str, is_so: impl AsyncFn() -> bool) {
        let begun = Instant::now();
        while !is_so().await {
            let log = fs::read_to_string(self.folder.path().join("tasks.log")).unwrap_or_default();
            assert!(begun.elapsed() < PATIENCE, "{what}: {log}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the process of a step's first attempt is at work: it writes a line then.
    async fn is_at_work(&self, word: &str) {
        let log = self.folder.path().join("tasks.log");
        self.wait("it does not begin", async || fs::read_to_string(&log).unwrap_or_default().contains(word)).await;
    }

    /// Kills the process of a step's first attempt.
    fn kill(&self, step: &str) {
        let process = self.processes(step, 1)[0].to_string();
        assert!(Command::new("kill").args(["-9", &process]).status().unwrap().success());
    }

    fn has_ended(process: u32) -> bool {
        // One that ended and was not waited for yet has no program any more.
        fs::read_to_string(format!("/proc/{process}/cmdline")).unwrap_or_default().is_empty()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_with_a_process_end_as_in_the_embedded_engine() {
    let Some(tasks) = Tasks::start("1").await else { return };
    let id = tasks.run("tasks").await;
    let ended = tasks.stack.still(&id).await;
    let agent = format!("recorded:{}", workflow("recording").display());
    let here = tasks.embedded.run(&["run", workflow("tasks.yaml").to_str().unwrap(), "--agent", &agent]);
    assert_eq!(here["status"], "completed", "{here:#}");
    let log = fs::read_to_string(tasks.folder.path().join("tasks.log")).unwrap_or_default();
    assert_eq!(plain(ended), plain(here), "{log}");
    assert_eq!(tasks.processes("flaky", 1).len() + tasks.processes("flaky", 2).len(), 2, "a task for each attempt");

    // A task that is killed has no say any more: its step runs again, or a person is asked.
    let id = tasks.run("killed").await;
    for word in ["begun at again", "begun at asks"] {
        tasks.is_at_work(word).await;
    }
    tasks.kill("again");
    // A run that was paused starts nothing: what runs again does so before the other is lost.
    tasks
        .wait("it does not run again", async || tasks.stack.state(&id).await["steps"]["again"]["status"] == "completed")
        .await;
    tasks.kill("asks");
    let paused = tasks.stack.still(&id).await;
    assert_eq!(paused["status"], "paused", "{paused:#}");
    let ended = tasks.stack.state(&id).await;
    assert_eq!(ended["steps"]["again"]["attempts"], 2, "{ended:#}");
    assert_eq!(ended["steps"]["again"]["outputs"]["attempt"], 2, "{ended:#}");
    assert_eq!(ended["steps"]["asks"]["attempts"], 1, "{ended:#}");

    // What is cancelled has ended.
    let id = tasks.run("cancelled").await;
    tasks.is_at_work("begun at sleeps").await;
    let process = tasks.processes("sleeps", 1)[0];
    let path = format!("/executions/{id}/cancel");
    let body = page::example("Cancel").to_string();
    let (status, told) = tasks.stack.post("PeopleUrl", &path, &[("Authorization", AUTHORIZATION)], &body).await;
    assert_eq!(status, 200, "{told}");
    let cancelled = tasks.stack.still(&id).await;
    assert_eq!(cancelled["status"], "cancelled", "{cancelled:#}");
    assert_eq!(cancelled["steps"]["sleeps"]["status"], "cancelled", "{cancelled:#}");
    assert_eq!(cancelled["steps"]["last"]["status"], "completed", "{cancelled:#}");
    tasks.wait("it goes on", async || Tasks::has_ended(process)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_end_so_with_every_event_delivered_twice() {
    let Some(tasks) = Tasks::start("2").await else { return };
    let id = tasks.run("tasks").await;
    let ended = tasks.stack.still(&id).await;
    let agent = format!("recorded:{}", workflow("recording").display());
    let here = tasks.embedded.run(&["run", workflow("tasks.yaml").to_str().unwrap(), "--agent", &agent]);
    assert_eq!(plain(ended), plain(here));
}

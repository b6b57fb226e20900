//! An emulator of AWS for the tests: the program that `RATCHET_TEST_EMULATOR` names, on a port of loopback.

use std::{env, net::TcpListener, process::Stdio, time::Duration};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::Credentials;
use tokio::{
    net::TcpStream,
    process::{Child, Command},
    time::{Instant, sleep},
};

/// How long it may take to answer.
const START_MAX: Duration = Duration::from_mins(2);

/// A running emulator, which ends with the test.
pub(crate) struct Emulator {
    endpoint: String,
    _folder: tempfile::TempDir,
    _process: Child,
}

impl Emulator {
    /// Starts one; `None`, and a word on it, where there is no such program.
    pub(crate) async fn start() -> Option<Self> {
        Self::start_with(&[]).await
    }

    /// The same, with variables of the program's own.
    pub(crate) async fn start_with(variables: &[(&str, &str)]) -> Option<Self> {
        let Ok(program) = env::var("RATCHET_TEST_EMULATOR") else {
            #[expect(clippy::print_stderr, reason = "a test that was left out says so")]
            {
                eprintln!(
                    "left out: RATCHET_TEST_EMULATOR names no emulator of AWS (tests/support/install-emulator.sh)"
                );
            }
            return None;
        };
        let folder = tempfile::tempdir().expect("there is room for its files");
        let port = free_port();
        let endpoint = format!("http://127.0.0.1:{port}");
        let process = Command::new(program)
            .env_clear()
            .env("PATH", env::var_os("PATH").unwrap_or_default())
            .env("HOME", folder.path())
            .envs([("BIND_HOST", "127.0.0.1"), ("MINISTACK_HOST", "127.0.0.1"), ("IOT_MTLS_ENABLED", "0")])
            .envs([("GATEWAY_PORT", port.to_string()), ("AWS_ENDPOINT_URL", endpoint.clone())])
            .envs(variables.iter().copied())
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("RATCHET_TEST_EMULATOR names a program");
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(begun.elapsed() < START_MAX, "the emulator does not answer on port {port}");
            sleep(Duration::from_millis(50)).await;
        }
        Some(Self { endpoint, _folder: folder, _process: process })
    }

    /// Where it answers.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// What clients of it need.
    pub(crate) async fn config(&self) -> SdkConfig {
        aws_config::defaults(BehaviorVersion::latest())
            .endpoint_url(&self.endpoint)
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "tests"))
            .load()
            .await
    }
}

/// A port that nobody listens on.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("it is bound").port()
}

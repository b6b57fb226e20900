//! Secrets of commands and agents: in variables and in files, while they run and no longer.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use ratchet_core::workflow::ValueType;
use ratchet_engine::order::SecretText;
use ratchet_testkit::memory::MemorySecrets;

use super::*;

const TOKEN: &str = "t0ken-of-a-canary";
const KEY: &str = "-----BEGIN-----\nk3y-of-a-canary\n";

impl World {
    /// Runs it with secrets, of which it asks for one in a variable and one in a file.
    async fn run_with_secrets(mut self) -> (AttemptOutcome, TempDir) {
        self.order.secrets = BTreeMap::from([("TOKEN".to_owned(), vec![SecretText::Secret("TOKEN".to_owned())])]);
        self.order.secret_files = BTreeMap::from([("KEY".to_owned(), "id_key".to_owned())]);
        let secrets = MemorySecrets::new(BTreeMap::from(
            [("TOKEN", TOKEN), ("KEY", KEY)].map(|(name, value)| (name.to_owned(), value.to_owned())),
        ));
        self.secrets = Some(Arc::new(secrets));
        self.run().await
    }
}

/// The files below a folder that hold a part of a secret.
fn leaks(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(leaks(&path));
        } else if String::from_utf8_lossy(&fs::read(&path).unwrap()).contains("of-a-canary") {
            found.push(path.display().to_string());
        }
    }
    found
}

#[tokio::test]
async fn a_file_holds_a_secret_while_the_command_runs() {
    let script = r#"
        test "$(stat -c %a "$KEY")" = 600 && test "$(stat -c %a "$(dirname "$KEY")")" = 700
        case "$KEY" in "$TMPDIR"/secrets/id_key) ;; *) exit 9;; esac
        cat "$KEY"; cp "$KEY" "$HOME/copy"; printf '%s' "${TOKEN:0:5}"; printf '%s\n' "${TOKEN:5}"
        tail -n 1 "$KEY"
    "#;
    let (outcome, place) = World::bash(script).from("said", "stdout", ValueType::String).run_with_secrets().await;
    let AttemptOutcome::Succeeded(result) = outcome else { panic!("{outcome:?}") };
    assert_eq!(value(&result, "said"), json!("***\n***\n***"));
    assert_eq!(leaks(place.path()), [""; 0]);

    let (outcome, place) = World::bash("cat $KEY >&2; cp $KEY $HOME/copy; exit 3").run_with_secrets().await;
    assert!(
        matches!(&outcome, AttemptOutcome::Failed { failure, .. } if failure.detail.as_deref() == Some("***")),
        "{outcome:?}"
    );
    assert_eq!(leaks(place.path()), [""; 0]);
}

#[tokio::test]
async fn an_agent_gets_what_its_step_asks_for_and_leaves_nothing_of_it() {
    fn work(request: &AgentRequest) -> AgentReply {
        let key = Path::new(&request.environment["KEY"]);
        assert_eq!(fs::read_to_string(key).unwrap(), KEY);
        assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(request.environment["TOKEN"], TOKEN);
        assert!(!request.prompt.contains(TOKEN));
        for text in [TOKEN, "k3y-of-a-canary"] {
            assert_eq!(request.masks.text(text), "***");
        }
        for folder in ["home", "tmp"] {
            fs::create_dir_all(request.directory.join(folder)).unwrap();
            fs::write(request.directory.join(folder).join("left"), TOKEN).unwrap();
        }
        AgentReply { response: format!("{{\"token\": \"{TOKEN}\"}}"), ..AgentReply::default() }
    }
    let mut world = World::new(agent_order()).from("token", "json.token", ValueType::String);
    world.agent = Doing(|request| Ok(work(request)));
    let (outcome, place) = world.run_with_secrets().await;
    let AttemptOutcome::Succeeded(result) = outcome else { panic!("{outcome:?}") };
    assert_eq!((value(&result, "response"), value(&result, "token")), (json!("{\"token\": \"***\"}"), json!("***")));
    assert_eq!(leaks(place.path()), [""; 0]);

    let mut world = World::new(agent_order());
    world.agent = Doing(|request| {
        let spent = Box::new(work(request));
        Err(AgentError { fault: AgentFault::Broken, message: format!("it said {TOKEN}"), hint: None, spent })
    });
    let (outcome, place) = world.run_with_secrets().await;
    let AttemptOutcome::Failed { failure, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!((failure.message.as_str(), failure.detail.as_deref()), ("it said ***", Some("{\"token\": \"***\"}")));
    assert_eq!(leaks(place.path()), [""; 0]);

    // Without a secret to look after, what is left may be looked at after a failure.
    let mut world = World::new(agent_order());
    world.agent = Doing(|_| panic!("the secret is not there"));
    world.order.secrets.insert("TOKEN".to_owned(), vec![SecretText::Secret("TOKEN".to_owned())]);
    assert_eq!(world.fails().await.code.as_deref(), Some("RT-0220"));
}

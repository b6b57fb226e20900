//! What the process of a step sees of the world: little, and the same everywhere.

use std::{collections::BTreeMap, env, path::Path, process::Stdio};

use ratchet_engine::{order::Order, ports::AttemptPlace};
use tokio::{process::Command, sync::OnceCell};

use crate::hooks;

/// Where programs are searched where nobody says.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The variables of every step's process that come from the person who runs it.
#[derive(Debug, Default)]
pub struct BaseEnvironment {
    variables: BTreeMap<String, String>,
    /// Git's author as the person's own variables or configuration name it; asked for once.
    author: OnceCell<Author>,
}

/// Who a step's commits are by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Author {
    name: String,
    email: String,
}

impl BaseEnvironment {
    /// From these variables. Only PATH, LANG, TZ, USER and git's author are taken, and the first three have a value anyway.
    pub fn new(given: &BTreeMap<String, String>) -> Self {
        let defaults = [("PATH", SEARCH_PATH), ("LANG", "C.UTF-8"), ("TZ", "UTC"), ("USER", "ratchet")];
        let mut variables: BTreeMap<String, String> = defaults
            .into_iter()
            .map(|(name, default)| {
                let value = given.get(name).filter(|value| !value.is_empty()).cloned();
                (name.to_owned(), value.unwrap_or_else(|| default.to_owned()))
            })
            .collect();
        variables.insert("CI".to_owned(), "true".to_owned());
        let author = match (given.get("GIT_AUTHOR_NAME"), given.get("GIT_AUTHOR_EMAIL")) {
            (Some(name), Some(email)) => OnceCell::new_with(Some(Author { name: name.clone(), email: email.clone() })),
            _ => OnceCell::new(),
        };
        Self { variables, author }
    }

    /// From the variables of this process.
    pub fn of_this_process() -> Self {
        Self::new(
            &env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
        )
    }

    /// Who commits in a workspace are by. Asked ahead of the first attempt, it does not wait: git takes as long to answer as a small step.
    pub(crate) async fn author(&self, workspace: &Path) -> &Author {
        self.author.get_or_init(|| Author::of(workspace)).await
    }

    /// The variables of a process that works on files, before anything is declared: the person's few, and its home and temporary folder.
    pub async fn of_files(&self, workspace: &Path, home: &Path, temporary: &Path) -> BTreeMap<String, String> {
        let mut variables = self.variables.clone();
        let author = self.author(workspace).await;
        for role in ["AUTHOR", "COMMITTER"] {
            variables.insert(format!("GIT_{role}_NAME"), author.name.clone());
            variables.insert(format!("GIT_{role}_EMAIL"), author.email.clone());
        }
        let text = |path: &Path| path.display().to_string();
        variables.insert("HOME".to_owned(), text(home));
        variables.insert("TMPDIR".to_owned(), text(temporary));
        variables
    }

    /// The variables of an attempt: the person's few, what its workflow and step declare, and the engine's own, which nobody overrides.
    pub(crate) async fn of_attempt(
        &self,
        order: &Order,
        place: &AttemptPlace,
        home: &Path,
        temporary: &Path,
    ) -> BTreeMap<String, String> {
        let mut variables = self.of_files(place.files.path(), home, temporary).await;
        variables.extend(order.environment.clone());
        match hooks::folder(&place.scratch) {
            Ok(hooks) => hooks::add(&mut variables, &hooks),
            // The step does its work all the same, and its commits do not say whose they are.
            Err(error) => tracing::warn!(%error, "commits of a step do not say which execution made them"),
        }
        variables.insert("RATCHET_EXECUTION_ID".to_owned(), order.key.execution.to_string());
        variables.insert("RATCHET_STEP".to_owned(), order.key.path.to_string());
        variables.insert("RATCHET_ATTEMPT".to_owned(), order.attempt.to_string());
        variables.insert("RATCHET_IDEMPOTENCY_KEY".to_owned(), order.idempotency_key.clone());
        variables.insert("TRACEPARENT".to_owned(), order.trace.0.clone());
        variables
    }
}

impl Author {
    /// As git itself is configured for the workspace, else `ratchet`.
    async fn of(workspace: &Path) -> Self {
        let mut author = Self { name: "ratchet".to_owned(), email: "ratchet@localhost".to_owned() };
        if !is_configured(workspace) {
            return author;
        }
        let asked = Command::new("git")
            .args(["config", "--null", "--get-regexp", r"^user\.(name|email)$"])
            .current_dir(workspace)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .await;
        let Ok(answer) = asked else { return author };
        for entry in String::from_utf8_lossy(&answer.stdout).split('\0') {
            match entry.split_once('\n') {
                Some(("user.name", name)) => name.clone_into(&mut author.name),
                Some(("user.email", email)) => email.clone_into(&mut author.email),
                _ => {}
            }
        }
        author
    }
}

/// Whether git can be configured at all.
fn is_configured(workspace: &Path) -> bool {
    let home = env::home_dir().unwrap_or_default();
    let settings = env::var_os("XDG_CONFIG_HOME").map_or_else(|| home.join(".config"), Into::into);
    let places =
        ["/etc/gitconfig".into(), home.join(".gitconfig"), settings.join("git/config"), workspace.join(".git")];
    env::var_os("GIT_CONFIG_GLOBAL").is_some() || places.iter().any(|place| place.exists())
}

//! The command's environment: who configures the agent is the person who runs ratchet, and nobody else sees the key.

use std::{collections::BTreeMap, env, path::Path};

use ratchet_engine::ports::AgentRequest;

use super::door::{self, Api, Door};

/// What reaches the agent of the variables of whoever runs ratchet.
#[derive(Debug, Clone)]
pub(super) struct Variables(BTreeMap<String, String>);

/// Names that are taken, besides everything that begins with `ANTHROPIC_` or `OTEL_`.
const TAKEN: [&str; 17] = [
    "API_TIMEOUT_MS",
    "CLAUDE_CODE_CLIENT_CERT",
    "CLAUDE_CODE_CLIENT_KEY",
    "CLAUDE_CODE_ENABLE_TELEMETRY",
    "CLAUDE_CODE_MAX_OUTPUT_TOKENS",
    "CLAUDE_CODE_MAX_RETRIES",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CODE_SKIP_BEDROCK_AUTH",
    "CLAUDE_CODE_SKIP_VERTEX_AUTH",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_VERTEX",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "NODE_EXTRA_CA_CERTS",
    "MAX_THINKING_TOKENS",
    "SSL_CERT_FILE",
];

/// Where the API is where nobody says.
const API_URL: &str = "https://api.anthropic.com";

/// Variables that hold what the API knows a person by.
const KEYS: [&str; 3] = ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"];

/// Variables with which the command reaches its API in a way that nobody else can.
const ALONE: [&str; 6] = [
    "CLAUDE_CODE_CLIENT_CERT",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_FOUNDRY",
    "CLAUDE_CODE_USE_VERTEX",
    "HTTPS_PROXY",
    "HTTP_PROXY",
];

/// What the agent has in a key's place.
fn stand_in(name: &str) -> String {
    format!("the-runner-adds-{}", name.to_ascii_lowercase().replace('_', "-"))
}

impl Variables {
    /// Chooses from the variables of whoever runs ratchet.
    pub(super) fn of(given: &BTreeMap<String, String>) -> Self {
        let is_on =
            |name: &str| given.get(name).is_some_and(|value| !value.is_empty() && value != "0" && value != "false");
        let bedrock = is_on("CLAUDE_CODE_USE_BEDROCK");
        let vertex = is_on("CLAUDE_CODE_USE_VERTEX");
        let is_taken = |name: &str| {
            name.starts_with("ANTHROPIC_")
                || name.starts_with("OTEL_")
                || TAKEN.contains(&name)
                || (bedrock && name.starts_with("AWS_"))
                || (vertex && (name.starts_with("GOOGLE_") || name.starts_with("VERTEX_") || name == "CLOUD_ML_REGION"))
        };
        let mut taken: BTreeMap<String, String> = given
            .iter()
            .filter(|(name, _)| is_taken(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let mut add = |name: &str, value: String| {
            taken.entry(name.to_owned()).or_insert(value);
        };
        if bedrock && let Some(home) = env::home_dir() {
            // The agent has a home of its own, where a profile's files are not.
            add("AWS_CONFIG_FILE", home.join(".aws/config").display().to_string());
            add("AWS_SHARED_CREDENTIALS_FILE", home.join(".aws/credentials").display().to_string());
        }
        if given.keys().any(|name| name.starts_with("OTEL_EXPORTER_OTLP_")) && !is_on("OTEL_SDK_DISABLED") {
            for name in ["CLAUDE_CODE_ENABLE_TELEMETRY", "CLAUDE_CODE_ENHANCED_TELEMETRY_BETA"] {
                add(name, "1".to_owned());
            }
            for name in ["OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER", "OTEL_TRACES_EXPORTER"] {
                add(name, "otlp".to_owned());
            }
        }
        add("CLAUDE_CODE_MAX_RETRIES", "2".to_owned());
        for name in [
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
            "DISABLE_AUTOUPDATER",
            "DISABLE_TELEMETRY",
            "DISABLE_ERROR_REPORTING",
        ] {
            taken.insert(name.to_owned(), "1".to_owned());
        }
        Self(taken)
    }

    /// Where the API is and what its key is, where requests to it can be made in the agent's place: then it gets neither a network nor a key. Another provider's requests are
    /// signed by the command itself, and one that is reached through a proxy, or by a certificate of the person's, is reached by the command alone.
    pub(super) fn api(&self) -> Option<Api> {
        if ALONE.iter().any(|name| self.0.get(*name).is_some_and(|value| !value.is_empty() && value != "0")) {
            return None;
        }
        let url = self.0.get("ANTHROPIC_BASE_URL").filter(|url| !url.is_empty()).map_or(API_URL, String::as_str);
        let replaced = KEYS.iter().filter_map(|name| Some((stand_in(name), self.0.get(*name)?.clone())));
        let replaced = replaced.filter(|(_, key)| !key.is_empty()).collect();
        let added = self.0.get("ANTHROPIC_CUSTOM_HEADERS").map(|text| door::headers(text)).unwrap_or_default();
        Some(Api { url: url.parse().ok()?, replaced, added })
    }

    /// What the agent sees of its API through the door.
    pub(super) fn behind_door(environment: &mut BTreeMap<String, String>) {
        for name in KEYS {
            if let Some(key) = environment.get_mut(name).filter(|key| !key.is_empty()) {
                *key = stand_in(name);
            }
        }
        environment.remove("ANTHROPIC_CUSTOM_HEADERS");
        // No collector is reached from within.
        environment.retain(|name, _| !name.starts_with("OTEL_"));
        environment.remove("CLAUDE_CODE_ENABLE_TELEMETRY");
        environment.insert("ANTHROPIC_BASE_URL".to_owned(), "http://127.0.0.1".to_owned());
        environment.insert("ANTHROPIC_UNIX_SOCKET".to_owned(), Door::inside());
    }

    /// The environment for a request, and which of the step's own variables are left out because they would configure the agent.
    pub(super) fn environment(&self, request: &AgentRequest) -> (BTreeMap<String, String>, Vec<String>) {
        let configures = |name: &str| {
            ["ANTHROPIC_", "CLAUDE_", "OTEL_", "DISABLE_", "BUN_", "NODE_", "LD_"]
                .iter()
                .any(|prefix| name.starts_with(prefix))
                || name == "IS_SANDBOX"
                || self.0.contains_key(name)
                || TAKEN.contains(&name)
                || TAKEN.contains(&name.to_ascii_uppercase().as_str())
        };
        let (dropped, mut environment): (BTreeMap<_, _>, BTreeMap<_, _>) =
            request.environment.clone().into_iter().partition(|(name, _)| configures(name));
        let folder = |name: &str| Path::new(&request.directory).join(name).display().to_string();
        let own = [
            ("HOME", folder("home")),
            ("CLAUDE_CONFIG_DIR", folder("claude")),
            ("TMPDIR", folder("tmp")),
            ("CLAUDE_CODE_TMPDIR", folder("tmp")),
            ("TRACEPARENT", request.trace.0.clone()),
        ];
        environment.extend(own.map(|(name, value)| (name.to_owned(), value)));
        environment.extend(self.0.clone());
        (environment, dropped.into_keys().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::testing::request;

    fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_agent_sees_its_api_and_nothing_else_of_the_person() {
        for (given, expected) in [
            (
                map(&[("ANTHROPIC_API_KEY", "k"), ("AWS_SECRET_ACCESS_KEY", "s"), ("GITHUB_TOKEN", "t")]),
                vec!["ANTHROPIC_API_KEY"],
            ),
            (
                map(&[("CLAUDE_CODE_USE_BEDROCK", "1"), ("AWS_REGION", "eu-west-1"), ("GOOGLE_X", "y")]),
                vec!["AWS_CONFIG_FILE", "AWS_REGION", "AWS_SHARED_CREDENTIALS_FILE", "CLAUDE_CODE_USE_BEDROCK"],
            ),
            (map(&[("CLAUDE_CODE_USE_BEDROCK", "0"), ("AWS_REGION", "eu-west-1")]), vec!["CLAUDE_CODE_USE_BEDROCK"]),
            (
                map(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")]),
                vec![
                    "CLAUDE_CODE_ENABLE_TELEMETRY",
                    "CLAUDE_CODE_ENHANCED_TELEMETRY_BETA",
                    "OTEL_EXPORTER_OTLP_ENDPOINT",
                    "OTEL_LOGS_EXPORTER",
                    "OTEL_METRICS_EXPORTER",
                    "OTEL_TRACES_EXPORTER",
                ],
            ),
        ] {
            let quiet = Variables::of(&BTreeMap::new()).0;
            let taken = Variables::of(&given).0;
            let names: Vec<_> = taken.keys().filter(|name| !quiet.contains_key(*name)).map(String::as_str).collect();
            assert_eq!(names, expected);
        }
    }

    #[test]
    fn a_step_cannot_configure_the_agent() {
        let place = tempfile::tempdir().unwrap();
        let mut request = request(place.path(), "ask");
        request.environment = map(&[
            ("ANTHROPIC_BASE_URL", "http://elsewhere"),
            ("NODE_OPTIONS", "--require x"),
            ("https_proxy", "http://elsewhere"),
            ("CLAUDE_CODE_MAX_RETRIES", "99"),
            ("HOME", "/root"),
            ("PROJECT", "mine"),
        ]);
        let (environment, dropped) = Variables::of(&map(&[("ANTHROPIC_API_KEY", "k")])).environment(&request);
        assert_eq!(dropped, ["ANTHROPIC_BASE_URL", "CLAUDE_CODE_MAX_RETRIES", "NODE_OPTIONS", "https_proxy"]);
        assert_eq!(environment["CLAUDE_CODE_MAX_RETRIES"], "2");
        assert_eq!(environment["HOME"], request.directory.join("home").display().to_string());
        assert_eq!((environment["PROJECT"].as_str(), environment["ANTHROPIC_API_KEY"].as_str()), ("mine", "k"));
    }
}

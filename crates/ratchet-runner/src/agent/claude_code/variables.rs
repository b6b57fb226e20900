//! The command's environment: who configures the agent is the person who runs ratchet, and nobody else sees the key.

use std::{collections::BTreeMap, env, path::Path};

use ratchet_engine::ports::AgentRequest;

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

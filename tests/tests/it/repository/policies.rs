//! The roles of `template.yaml` allow what the code asks of AWS, and nothing that nobody asks for.

use std::collections::{BTreeMap, BTreeSet};

use super::{files, none};

/// What an operation of the SDK needs of a role.
const NEEDS: [(&str, &[&str]); 30] = [
    ("abort_multipart_upload", &["s3:AbortMultipartUpload"]),
    ("batch_get_item", &["dynamodb:BatchGetItem"]),
    ("complete_multipart_upload", &["s3:PutObject"]),
    ("copy_object", &["s3:GetObject", "s3:PutObject", "s3:PutObjectTagging"]),
    ("create_multipart_upload", &["s3:PutObject", "s3:PutObjectTagging"]),
    ("create_schedule", &["scheduler:CreateSchedule", "iam:PassRole"]),
    ("delete_item", &["dynamodb:DeleteItem"]),
    ("delete_message", &["sqs:DeleteMessage"]),
    ("delete_object_tagging", &["s3:DeleteObjectTagging"]),
    ("delete_schedule", &["scheduler:DeleteSchedule"]),
    ("describe_stacks", &["cloudformation:DescribeStacks"]),
    ("describe_tasks", &["ecs:DescribeTasks"]),
    ("get_item", &["dynamodb:GetItem"]),
    ("get_object", &["s3:GetObject"]),
    ("get_parameter", &["ssm:GetParameter"]),
    ("get_secret_value", &["secretsmanager:GetSecretValue"]),
    // That content is not there is told only to who may list.
    ("head_object", &["s3:GetObject", "s3:ListBucket"]),
    ("list_schedules", &["scheduler:ListSchedules"]),
    ("list_tasks", &["ecs:ListTasks"]),
    ("put_events", &["events:PutEvents"]),
    ("put_item", &["dynamodb:PutItem"]),
    ("put_object", &["s3:PutObject", "s3:PutObjectTagging"]),
    ("query", &["dynamodb:Query"]),
    ("receive_message", &["sqs:ReceiveMessage"]),
    ("run_task", &["ecs:RunTask", "iam:PassRole"]),
    ("send_message", &["sqs:SendMessage"]),
    ("stop_task", &["ecs:StopTask"]),
    ("transact_write_items", &["dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"]),
    ("update_item", &["dynamodb:UpdateItem"]),
    ("upload_part", &["s3:PutObject"]),
];

/// What is allowed for what no client of the code sends.
const OTHERS: [(&str, &str); 9] = [
    ("ecr:BatchCheckLayerAvailability", "ECS gets the image of a task"),
    ("ecr:BatchGetImage", "ECS gets the image of a task"),
    ("ecr:GetAuthorizationToken", "ECS gets the image of a task"),
    ("ecr:GetDownloadUrlForLayer", "ECS gets the image of a task"),
    ("lambda:InvokeFunction", "schedules and URLs invoke the trigger"),
    ("lambda:InvokeFunctionUrl", "people and webhooks come through URLs, with requests that the code signs itself"),
    ("logs:CreateLogStream", "ECS keeps what a task prints"),
    ("logs:PutLogEvents", "ECS keeps what a task prints"),
    ("sts:AssumeRole", "the services that schedule and run tasks take their roles"),
];

/// How the code calls its clients.
const CLIENTS: [&str; 4] = ["client", ".events", ".queues", "Client::new(config)"];

/// Code that only makes what tests need.
const FOR_TESTS: [&str; 8] =
    ["/tests", "/costs/", "/deployed/", "contracts.rs", "emulator.rs", "requests.rs", "answers.rs", "table.rs"];

#[test]
fn roles_allow_what_is_asked_for_and_nothing_else() {
    let asked = asked();
    assert!(asked.len() > 15, "the operations were not found: {asked:?}");
    let needs: BTreeMap<&str, &[&str]> = NEEDS.into_iter().collect();
    let template = files(".", &["template.yaml"]).into_iter().find(|file| file.path.ends_with("template.yaml"));
    let template = template.expect("template.yaml can be read").text;
    let allowed = actions(&template);
    assert!(allowed.len() > 15, "the actions were not found: {allowed:?}");
    let mut problems = Vec::new();
    let mut needed: BTreeSet<&str> = OTHERS.iter().map(|(action, _)| *action).collect();
    for (operation, path) in &asked {
        match needs.get(operation.as_str()) {
            None => problems.push(format!("{path}: what {operation} needs of a role is not said here")),
            Some(actions) => {
                needed.extend(*actions);
                for action in actions.iter().filter(|action| !allowed.contains(**action)) {
                    problems.push(format!("{path}: {operation} needs {action}, which no role allows"));
                }
            }
        }
    }
    for action in allowed.iter().filter(|action| !needed.contains(action.as_str())) {
        problems.push(format!("template.yaml: {action} is allowed, and nobody asks for it"));
    }
    none("the code and the roles disagree", &problems);
}

#[test]
fn each_statement_of_a_role_says_why() {
    let template = files(".", &["template.yaml"]).into_iter().find(|file| file.path.ends_with("template.yaml"));
    let text = template.expect("template.yaml can be read").text;
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let statements = lines.iter().enumerate().filter(|(_, line)| line.trim_start_matches("- ").starts_with("Effect:"));
    let says_why = |number: usize| {
        let before = lines[..number].iter().rev().find(|line| !line.starts_with("- &"));
        before.is_some_and(|line| line.starts_with('#'))
    };
    let silent = statements.filter(|(number, _)| !says_why(*number));
    let problems: Vec<String> = silent.map(|(number, line)| format!("template.yaml:{}: {line}", number + 1)).collect();
    none("statements without a word on why", &problems);
}

/// The operations that the code sends, each with a file that does.
fn asked() -> BTreeMap<String, String> {
    let mut asked = BTreeMap::new();
    for file in files("crates/ratchet-aws/src", &[".rs"]) {
        if FOR_TESTS.iter().any(|part| file.path.contains(part)) {
            continue;
        }
        let code = file.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for name in CLIENTS {
            for (at, _) in code.match_indices(name) {
                asked.extend(operation(&code[at + name.len()..]).map(|found| (found, file.path.clone())));
            }
        }
    }
    asked
}

/// What follows a client: a call of one of its operations, which takes nothing.
fn operation(code: &str) -> Option<String> {
    let (name, rest) = code.trim_start().strip_prefix('.')?.split_once('(')?;
    let is_name = name.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit());
    (is_name && name != "clone" && rest.starts_with(')')).then(|| name.to_owned())
}

/// The actions in a template: words as `service:Action`. What is in quotes is a condition's key.
fn actions(template: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '"' | '*');
    let words = template
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(|line| line.split(move |c: char| !is_part(c)));
    let is_action = |word: &&str| {
        word.split_once(':').is_some_and(|(service, action)| {
            !service.is_empty()
                && service.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
                && action.starts_with(|c: char| c.is_ascii_uppercase())
                && action.chars().all(|c| c.is_ascii_alphanumeric())
        })
    };
    words.filter(is_action).map(str::to_owned).collect()
}

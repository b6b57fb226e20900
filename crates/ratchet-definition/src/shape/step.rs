//! The fields of steps: those of every type, and those of each.

use super::{Field, Least, ListLength, NameKind, Record, Shape, StepType, Word, workflow::VALUE_TYPE};

/// The type of this name.
pub fn step_type(name: &str) -> Option<&'static StepType> {
    STEP_TYPES.iter().find(|step| step.name == name)
}

/// Fields of which exactly one is there: of steps of a type, or of a record by its word in the JSON Schema.
pub static EXACTLY_ONE: &[(&str, &[&str])] = &[
    ("assert", &["condition", "conditions"]),
    ("template", &["template", "template_file"]),
    ("wait", &["for", "until"]),
    ("step_output", &["path", "from"]),
    ("step_type", &["steps", "exec"]),
];

/// The fields of which exactly one is there, if there are any.
pub fn exactly_one(of: &str) -> &'static [&'static str] {
    EXACTLY_ONE.iter().find(|(name, _)| *name == of).map_or(&[], |(_, fields)| fields)
}

/// Whether the workflow may give a default for a field of steps of a type: what every step has to say itself has none.
pub fn has_default(step: &StepType, field: &Field) -> bool {
    !field.required && field.name != "needs" && field.name != "session" && !exactly_one(step.name).contains(&field.name)
}

/// What every step may say.
pub static COMMON_STEP_FIELDS: &[Field] = &[
    Field::required("id", &Shape::Name(NameKind::Step), "The step's name in expressions, unique in the workflow."),
    Field::optional("name", &Shape::Text, "A title for people."),
    Field::optional("description", &Shape::Text, "What the step is for."),
    Field::required("type", &Shape::Text, "What kind of step it is."),
    Field::optional(
        "needs",
        &Shape::OneOf(&[Shape::Name(NameKind::Step), Shape::List(&Shape::Name(NameKind::Step), ListLength::Any)]),
        "The steps that must be done before. Without it, all steps above; an empty list lets it start at once.",
    )
    .alias(&["depends_on"]),
    Field::optional(
        "when",
        &Shape::Expression,
        "Skips the step where it is false. `failure()` or `always()` in it lets the step run after a failure.",
    )
    .alias(&["if"]),
    Field::optional(
        "foreach",
        &Shape::OneOf(&[Shape::Expression, Shape::List(&Shape::Any, ListLength::Any)]),
        "A list, or an expression that gives one: the step runs once a value, with `item` and `index` in scope.",
    ),
    Field::optional("max_parallel", &Shape::Integer(1, 10_000), "How many children of a `foreach` may run at once."),
    Field::optional("fail_fast", &Shape::Boolean, "Whether the first failed child of a `foreach` stops the rest."),
    Field::optional(
        "tolerated_failures",
        &Shape::Integer(0, 1_000_000),
        "How many children of a `foreach` may fail without the step failing.",
    ),
    Field::optional("environment", &ENVIRONMENT, "Variables of the step's process. Templates work in them.")
        .alias(&["env"]),
    Field::optional(
        "working_directory",
        &Shape::Template,
        "Where the step's process starts, relative to the workspace.",
    ),
    Field::optional(
        "secrets",
        &Shape::OneOf(&[
            Shape::List(&Shape::Name(NameKind::Variable), ListLength::Any),
            Shape::Map(NameKind::Variable, &Shape::Record(&SECRET_FILE)),
        ]),
        "Secrets that the step's process gets: a list sets a variable of each secret's name, a map puts each into a file.",
    ),
    Field::optional("timeout", &Shape::Duration(Least::AboveZero), "How long one attempt may take."),
    Field::optional("retry", &Shape::Record(&RETRY), "When a failed attempt is followed by another."),
    Field::optional("on_lost", &ON_LOST, "What happens to an attempt that was lost and whose effect is unknown."),
    Field::optional("on_failure", &ON_FAILURE, "What the step's failure means for the run."),
    Field::optional(
        "cache_key",
        &Shape::Template,
        "The author's part of the key that a result is kept under. It also turns the cache on.",
    ),
    Field::optional("use_cache", &Shape::Boolean, "Whether a result of another run may stand in for this step."),
    Field::optional(
        "cache",
        &Shape::Record(&CACHE),
        "How the result is kept for other runs. It also turns the cache on.",
    ),
    Field::optional(
        "inputs",
        &Shape::OneOf(&[Shape::List(&Shape::Template, ListLength::Any), Shape::Map(NameKind::Identifier, &Shape::Any)]),
        "The files that the step reads: paths and globs. What runs another workflow takes values by name.",
    ),
    Field::optional(
        "outputs",
        &Shape::Map(NameKind::Identifier, &Shape::OneOf(&[Shape::Template, Shape::Record(&OUTPUT)])),
        "What the step gives, by name: a path, or a type and an expression.",
    ),
    Field::optional(
        "resources",
        &Shape::Record(&RESOURCES),
        "The size of the step's task, where tasks are containers. On one machine it has no effect.",
    ),
];

/// Every type of step.
pub static STEP_TYPES: &[StepType] = &[
    StepType {
        name: "shell",
        description: "Runs a command.",
        fields: &[
            Field::required(
                "command",
                &Shape::OneOf(&[Shape::Template, Shape::List(&Shape::ScalarTemplate, ListLength::NotEmpty)]),
                "A script, or a list of a program and its arguments that needs no shell. A value in it is always data.",
            ),
            Field::optional(
                "shell",
                &Shape::OneOf(&[
                    Shape::Word(&[
                        Word::now("bash", "`bash -euo pipefail`, unless said otherwise."),
                        Word::now("sh", "`sh -eu`."),
                    ]),
                    Shape::List(&Shape::Scalar, ListLength::NotEmpty),
                ]),
                "What runs the script: `bash`, `sh`, or a program and its arguments, of which the script is the last.",
            ),
            Field::optional(
                "allow_exit_codes",
                &Shape::List(&Shape::Integer(0, 255), ListLength::Any),
                "Exit codes besides 0 that are no failure.",
            ),
            Field::optional(
                "security_profile",
                &SECURITY_PROFILE,
                "What the command's processes may do. Without it, whatever the person may who runs ratchet.",
            ),
        ],
    },
    StepType {
        name: "claude_code",
        description: "Asks Claude Code, an agent that works on the files of the workspace.",
        fields: &[
            Field::required("prompt", &Shape::Template, "What is asked."),
            Field::optional("security_profile", &SECURITY_PROFILE, "What the agent's process may do."),
            Field::optional("model", &Shape::Template, "The model. Without it, the one that the command chooses."),
            Field::optional("max_turns", &Shape::Integer(1, 100_000), "The most turns of the conversation."),
            Field::optional(
                "max_cost_usd",
                &Shape::Number(Some(0.0)),
                "The most that the step may cost, in US dollars.",
            ),
            Field::optional(
                "allowed_tools",
                &Shape::List(&Shape::Text, ListLength::Any),
                "The tools that the agent may use. It can only take away from what the profile allows.",
            ),
            Field::optional(
                "output_schema",
                &Shape::Object,
                "A JSON Schema that the reply must match; the output `json` is the reply.",
            ),
            Field::optional("append_system_prompt", &Shape::Template, "Text that is added to the system prompt."),
            Field::optional(
                "stall_timeout",
                &Shape::Duration(Least::AboveZero),
                "How long the agent may say nothing at all. A command that it runs is silent until it is done.",
            ),
            Field::optional(
                "verify",
                &Shape::OneOf(&[Shape::Template, Shape::List(&Shape::ScalarTemplate, ListLength::NotEmpty)]),
                "A command that must succeed before the step is done, for `bash`. What it prints when it fails goes back to the agent.",
            ),
            Field::optional(
                "max_fix_rounds",
                &Shape::Integer(0, 100),
                "How often the agent may try to make `verify` succeed. Twice where nothing is said.",
            ),
            Field::optional(
                "session",
                &Shape::Name(NameKind::Step),
                "An earlier step that asks an agent: this one goes on in its conversation. Its result is the same session with more in it, and the earlier one stays as it was.",
            ),
            Field::optional(
                "on_limit",
                &ON_LIMIT,
                "What happens when the agent reaches `max_turns`, `max_cost_usd` or `timeout`: `fail`, where nothing is said.",
            ),
            Field::later("allowed_domains", "Hosts that the agent may reach."),
        ],
    },
    StepType {
        name: "assert",
        description: "Fails where a condition is false.",
        fields: &[
            Field::optional("condition", &Shape::Expression, "What must be true."),
            Field::optional(
                "conditions",
                &Shape::List(&Shape::OneOf(&[Shape::Record(&CONDITION), Shape::Expression]), ListLength::NotEmpty),
                "All that must be true, each with a message of its own.",
            ),
            Field::optional(
                "message",
                &Shape::Template,
                "What is said where a condition without a message of its own is false.",
            ),
        ],
    },
    StepType {
        name: "template",
        description: "Fills in a text.",
        fields: &[
            Field::optional("template", &Shape::Template, "The text that is filled in."),
            Field::optional(
                "template_file",
                &Shape::Template,
                "A file of the workspace that holds the text. It may read whatever the step itself could.",
            ),
            Field::optional(
                "output",
                &Shape::Template,
                "The file that the text is written to. Without it, the text is the output `text`.",
            ),
        ],
    },
    StepType {
        name: "webhook",
        description: "Sends an HTTP request. A reply whose status is not expected fails the step.",
        fields: &[
            Field::required(
                "url",
                &Shape::Template,
                "Where to. Values may stand in the path and the query, where they are percent-encoded, or one value is all of it.",
            ),
            Field::optional("method", &METHOD, "The method. `POST` where nothing is said."),
            Field::optional(
                "headers",
                &Shape::Map(NameKind::Header, &Shape::ScalarTemplate),
                "Headers of the request. `{{ secrets.NAME }}` works in them.",
            ),
            Field::optional(
                "body",
                &Shape::Any,
                "What is sent: a text, or a map or list, which is sent as JSON. Values in it are always data.",
            ),
            Field::optional(
                "expect_status",
                &Shape::OneOf(&[
                    Shape::Integer(100, 599),
                    STATUS_CLASS,
                    Shape::List(&Shape::OneOf(&[Shape::Integer(100, 599), STATUS_CLASS]), ListLength::NotEmpty),
                ]),
                "The status codes that are a success: `2xx` where nothing is said. A redirect that is expected is not followed.",
            ),
        ],
    },
    StepType {
        name: "approval",
        description: "Waits for a person's word. Its `timeout` is how long: then it fails, as it does after a no.",
        fields: &[
            Field::required("message", &Shape::Template, "What the person is asked."),
            Field::optional(
                "approvers",
                &Shape::List(&Shape::Template, ListLength::NotEmpty),
                "Who may answer, by name. Without it, anybody who may answer at all.",
            ),
        ],
    },
    StepType {
        name: "wait",
        description: "Waits for a time, without a process.",
        fields: &[
            Field::optional("for", &Shape::ScalarTemplate, "How long, from when the step could start."),
            Field::optional(
                "until",
                &Shape::Template,
                "The moment, with its offset from UTC, as in `2026-03-01T09:00:00Z`. One that has passed is no wait.",
            ),
        ],
    },
    StepType {
        name: "workflow",
        description: "Runs another workflow as a run of its own. What that gives are the outputs of the step.",
        fields: &[
            Field::required(
                "workflow",
                &Shape::Text,
                "The file of the workflow, by its path from this one, or the name that it was published under.",
            ),
            Field::optional(
                "version",
                &Shape::Scalar,
                "The version of a published workflow. Without it, the one that was published last.",
            ),
        ],
    },
];

/// A type of step that a workflow declares: what such steps say besides stands under `inputs`.
pub static CUSTOM_STEP: StepType = StepType {
    name: "custom",
    description: "Does what `step_types` says of its type. The values that it takes stand under `inputs`.",
    fields: &[],
};

/// Variables of processes.
pub(super) static ENVIRONMENT: Shape = Shape::Map(NameKind::Variable, &Shape::ScalarTemplate);

/// When a step is tried again.
pub(super) static RETRY: Record = Record {
    name: "a retry policy",
    definition: "retry",
    description: "When a failed attempt is followed by another, and after how long.",
    fields: &[
        Field::required(
            "attempts",
            &Shape::Integer(1, 1000),
            "How often the step may be tried, the first time included.",
        ),
        Field::optional(
            "delay",
            &Shape::Duration(Least::Zero),
            "The time before the second attempt. A second where nothing is said.",
        ),
        Field::optional(
            "backoff",
            &Shape::Word(&[
                Word::now("constant", "The same delay every time."),
                Word::now("linear", "The delay times the number of failures."),
                Word::now("exponential", "The delay doubles with every failure."),
            ]),
            "How the delay grows. It is exponential where nothing is said.",
        ),
        Field::optional(
            "max_delay",
            &Shape::Duration(Least::Zero),
            "The longest delay. Five minutes where nothing is said.",
        ),
        Field::optional("jitter", &Shape::Boolean, "Whether up to half of each delay is left out at random."),
        Field::optional(
            "on",
            &Shape::List(
                &Shape::OneOf(&[
                    Shape::Integer(1, 599),
                    Shape::Word(&[
                        Word::now("timeout", "The attempt took longer than its `timeout`."),
                        Word::now(
                            "rate_limited",
                            "The agent's API was busy, or a request was answered with 429 or 503.",
                        ),
                        Word::now("agent_error", "The agent failed otherwise."),
                    ]),
                ]),
                ListLength::Any,
            ),
            "The failures that are worth another attempt: exit codes of a command, status codes of a reply, or words. All of them where nothing is said.",
        ),
    ],
};

static METHOD: Shape = Shape::Word(&[
    Word::now("GET", "Asks."),
    Word::now("HEAD", "Asks for the headers alone."),
    Word::now("POST", "Sends."),
    Word::now("PUT", "Puts in place."),
    Word::now("PATCH", "Changes."),
    Word::now("DELETE", "Removes."),
]);

/// Status codes by their first digit.
const STATUS_CLASS: Shape = Shape::Word(&[
    Word::now("2xx", "200 to 299."),
    Word::now("3xx", "300 to 399."),
    Word::now("4xx", "400 to 499."),
    Word::now("5xx", "500 to 599."),
]);

static SECRET_FILE: Record = Record {
    name: "a secret as a file",
    definition: "secret_file",
    description: "A secret in a file that only the step's process can read. The variable of the secret's name holds its path.",
    fields: &[Field::required("file", &Shape::Text, "The name of the file, without a folder.")],
};

static RESOURCES: Record = Record {
    name: "a task's size",
    definition: "resources",
    description: "What the step's task is given, where tasks are containers. What is not said is the deployment's choice. On one machine it has no effect.",
    fields: &[
        Field::optional(
            "cpu",
            &Shape::OneOf(&[Shape::Number(Some(0.25)), Shape::Text]),
            "Processors: 0.25, 0.5, 1, 2, 4, 8 or 16, also as `2 vCPU`; or units of which 1024 are one: 256 to 16384.",
        ),
        Field::optional(
            "memory",
            &Shape::OneOf(&[Shape::Integer(512, 122_880), Shape::Text]),
            "Memory: MiB as a number, or text such as `4GB` or `512MB`. It goes with `cpu`.",
        ),
        Field::optional(
            "disk",
            &Shape::OneOf(&[Shape::Integer(21, 200), Shape::Text]),
            "Disk: GiB as a number, 21 to 200, or text such as `50GB`.",
        ),
        Field::optional("image", &Shape::Template, "The image that the task runs in."),
        Field::optional(
            "spot",
            &Shape::Boolean,
            "Whether the task may run on capacity that is taken back at any time.",
        ),
    ],
};

static ON_LOST: Shape = Shape::Word(&[
    Word::now("rerun", "Another attempt follows."),
    Word::now("pause", "The run waits until a person decides."),
]);

static ON_LIMIT: Shape = Shape::Word(&[
    Word::now("fail", "The attempt has failed."),
    Word::now(
        "pause",
        "The run pauses. After `ratchet resume` the agent goes on in the same session, on the files that it left.",
    ),
]);

static ON_FAILURE: Shape = Shape::Word(&[
    Word::now("fail", "What needs the step is blocked, and the run fails."),
    Word::now("continue", "What needs the step goes on, and the run completes with a failed step."),
    Word::now("warn", "For an assertion: it is said, and no more."),
    Word::now(
        "succeed",
        "For an assertion: the run ends as a success, or of a child its `foreach`. `finally` still runs.",
    ),
]);

static SECURITY_PROFILE: Shape = Shape::Word(&[
    Word::now("plan_only", "Reads the workspace. An agent's reply is the plan; a command reaches no network."),
    Word::now("restricted", "Also writes files of the workspace. An agent runs nothing; a command reaches no network."),
    Word::now("standard", "An agent also runs the commands of `allowed_tools`; a command reaches the network."),
    Word::now("elevated", "Runs anything, writes all files of the workspace, and reaches the network."),
]);

static CACHE_SCOPE: Shape = Shape::Word(&[
    Word::now("workflow", "The runs of the same workflow, whatever its version."),
    Word::now("shared", "The runs of every workflow."),
]);

static CACHE: Record = Record {
    name: "a step's cache",
    definition: "step_cache",
    description: "How the result of a step is kept for other runs.",
    fields: &[
        Field::optional("key", &Shape::Template, "The author's part of the key, as `cache_key`."),
        Field::optional("ttl", &Shape::Duration(Least::AboveZero), "How long the result holds."),
        Field::optional("version", &Shape::Scalar, "Change it to leave old results behind."),
        Field::optional("scope", &CACHE_SCOPE, "Who shares the result: `workflow`, where nothing is said."),
    ],
};

static OUTPUT: Record = Record {
    name: "an output of a step",
    definition: "step_output",
    description: "A value that a step gives: a file by its `path`, or an expression with a type.",
    fields: &[
        Field::optional("path", &Shape::Template, "The path of a file of the workspace."),
        Field::optional("type", &VALUE_TYPE, "The type that the value of `from` is turned into."),
        Field::optional(
            "from",
            &Shape::Expression,
            "An expression over `stdout`, `stderr`, `exit_code`, `response`, `json` and the outputs above this one.",
        ),
        Field::optional("description", &Shape::Text, "What it is."),
        Field::optional("artifact", &Shape::Boolean, "Whether the file is kept as a versioned artifact."),
    ],
};

static CONDITION: Record = Record {
    name: "a condition",
    definition: "condition",
    description: "An expression that must be true.",
    fields: &[
        Field::required("condition", &Shape::Expression, "What must be true."),
        Field::optional("message", &Shape::Template, "What is said where it is false."),
    ],
};

//! The fields of a workflow.

use super::{
    Field, Least, ListLength, NameKind, Record, Shape, Word, step::ENVIRONMENT, step::RETRY, trigger::TRIGGERS,
};

/// A whole file.
pub static WORKFLOW: Record = Record {
    name: "a workflow",
    definition: "workflow",
    description: "Steps that run in order, with what they take and what they give.",
    fields: &[
        Field::required("name", &Shape::Name(NameKind::Kebab), "The workflow's identity, in kebab-case."),
        Field::required(
            "version",
            &Shape::Text,
            "With the name, it identifies one published definition that never changes. Text, so a number needs quotes.",
        ),
        Field::optional("description", &Shape::Text, "What the workflow is for."),
        Field::optional("author", &Shape::Text, "Who to ask about it."),
        Field::optional("tags", &Shape::List(&Shape::Scalar, ListLength::Any), "Words to find it by."),
        Field::optional(
            "inputs",
            &Shape::Map(NameKind::Identifier, &Shape::Record(&INPUT)),
            "What a run is given, by name. Expressions read `inputs.<name>`.",
        ),
        Field::optional(
            "outputs",
            &Shape::Map(NameKind::Identifier, &Shape::Record(&OUTPUT)),
            "What a run gives, by name.",
        ),
        Field::optional("environment", &ENVIRONMENT, "Variables of the process of every step. Templates work in them.")
            .alias(&["env"]),
        Field::optional(
            "secrets",
            &Shape::List(&Shape::Name(NameKind::Variable), ListLength::Any),
            "Names of secrets that steps may ask for. Their values come from where the workflow runs.",
        ),
        Field::optional("on", &Shape::Record(&TRIGGERS), "What starts a run of the published workflow by itself."),
        Field::optional(
            "defaults",
            &Shape::StepDefaults,
            "Fields that every step of a type gets unless it says otherwise, by the type. Variables of `environment` are added one by one.",
        ),
        Field::optional("timeout", &Shape::Duration(Least::AboveZero), "How long a run may take."),
        Field::optional("retry", &Shape::Record(&RETRY), "How steps are tried again that do not say it themselves."),
        Field::optional("cache", &Shape::Record(&CACHE), "How results of steps are kept for other runs."),
        Field::optional("concurrency", &Shape::Record(&CONCURRENCY), "How many runs of a group may go on at once."),
        Field::optional("budget", &Shape::Record(&BUDGET), "What the agents of a run may spend, all together."),
        Field::optional(
            "roi",
            &Shape::Record(&ROI),
            "What a run is worth, for `ratchet stats`. Nothing that runs reads it.",
        ),
        Field::optional(
            "artifacts",
            &Shape::Record(&ARTIFACTS),
            "What becomes of the files that runs keep as artifacts: outputs of type `artifact`, and those of steps with `artifact: true`.",
        ),
        Field::optional(
            "workspace",
            &Shape::Record(&WORKSPACE),
            "Where the files come from that a run works on, and which of them are no part of it. It counts for the workflow that is run, and not for one that is a step of it.",
        ),
        Field::optional("step_types", &TYPES, "Types of steps by name: what each does, or the file that says it."),
        Field::required(
            "steps",
            &Shape::List(&Shape::Step, ListLength::NotEmpty),
            "The work, in order from top to bottom.",
        ),
        Field::optional(
            "on_failure",
            &Shape::List(&Shape::Step, ListLength::Any),
            "Steps that run after the work where it failed.",
        ),
        Field::optional(
            "finally",
            &Shape::List(&Shape::Step, ListLength::Any),
            "Steps that run after everything else, whatever came of it, also after a cancel.",
        ),
        Field::optional(
            "finally_timeout",
            &Shape::Duration(Least::AboveZero),
            "How long the steps of `finally` may take together. A minute where nothing is said.",
        ),
    ],
};

static INPUT: Record = Record {
    name: "an input",
    definition: "input",
    description: "A value that a run is given.",
    fields: &[
        Field::required(
            "type",
            &VALUE_TYPE,
            "The type of the value. What comes as text is turned into it, or refused.",
        ),
        Field::optional(
            "required",
            &Shape::Boolean,
            "Whether a run must be given it. Without it and without a default the value is null.",
        ),
        Field::optional("default", &Shape::Any, "The value where a run is given none. It must be of the type."),
        Field::optional("description", &Shape::Text, "What to give here."),
        Field::optional("validation", &Shape::Record(&VALIDATION), "What the value must satisfy."),
        Field::optional("sensitive", &Shape::Boolean, "Whether the value is masked wherever it would show."),
    ],
};

static VALIDATION: Record = Record {
    name: "a validation",
    definition: "validation",
    description: "What an input's value must satisfy.",
    fields: &[
        Field::optional("pattern", &Shape::Text, "A regular expression that a text must match."),
        Field::optional("min", &Shape::Number(None), "The least number, or the least length of a text in characters."),
        Field::optional(
            "max",
            &Shape::Number(None),
            "The greatest number, or the greatest length of a text in characters.",
        ),
        Field::optional(
            "enum",
            &Shape::List(&Shape::Any, ListLength::NotEmpty),
            "The values that are allowed, and no others.",
        ),
    ],
};

static OUTPUT: Record = Record {
    name: "an output of the workflow",
    definition: "output",
    description: "A value that a run gives.",
    fields: &[
        Field::required("type", &VALUE_TYPE, "The type of the value."),
        Field::optional("description", &Shape::Text, "What it is."),
        Field::optional(
            "from",
            &Shape::Expression,
            "An expression over the outputs of steps. Without it, it is the only output of a step that has this name.",
        ),
    ],
};

static CACHE: Record = Record {
    name: "the workflow's cache",
    definition: "workflow_cache",
    description: "How results of steps are kept for other runs.",
    fields: &[
        Field::optional("enabled", &Shape::Boolean, "Whether results are kept at all."),
        Field::optional("ttl", &Shape::Duration(Least::AboveZero), "How long a result holds."),
        Field::optional("version", &Shape::Scalar, "Change it to leave old results behind."),
    ],
};

static ARTIFACTS: Record = Record {
    name: "the workflow's artifacts",
    definition: "artifacts",
    description: "What becomes of the files that runs keep as artifacts.",
    fields: &[
        Field::optional(
            "readers",
            &Shape::List(&Shape::Name(NameKind::Kebab), ListLength::Any),
            "The other workflows that may read the versions that are made from now on; none with `[]`. Where nothing is said, every workflow whose state is in the same place may.",
        ),
        Field::optional(
            "retention",
            &Shape::Word(&[
                Word::now("brief", "The newest version of a name stays, and what is younger than 7 days."),
                Word::now("standard", "The newest 10 versions of a name stay, and what is younger than 90 days."),
                Word::now("forever", "Every version stays."),
            ]),
            "How long versions are kept. It is `standard` where nothing is said. What has a tag stays in any case.",
        ),
    ],
};

static WORKSPACE: Record = Record {
    name: "a workspace",
    definition: "workspace",
    description: "Where the files come from that a run works on, and which of them are no part of it.",
    fields: &[
        Field::optional(
            "source",
            &Shape::Word(&[
                Word::now("snapshot", "The directory that the run is started for, as it is then."),
                Word::now(
                    "git",
                    "A checkout of a repository, made for the run. Nothing is applied to a directory: what the run changes stays with it, unless a step pushes it.",
                ),
            ]),
            "Where the files come from. It is `snapshot` where nothing is said.",
        ),
        Field::optional(
            "url",
            &Shape::Template,
            "The repository of `source: git`, by `https`, `http`, `ssh` or `file`. It may read `inputs`, `env`, `trigger` and `execution`.",
        ),
        Field::optional(
            "ref",
            &Shape::Template,
            "The branch, tag or commit that is checked out, or the whole name of a ref. Without it, what the repository names itself. It may read what `url` may.",
        ),
        Field::optional(
            "credentials",
            &Shape::Name(NameKind::Variable),
            "The name of a secret that the repository is asked for with: a token or a password. No step sees it.",
        ),
        Field::optional(
            "exclude",
            &Shape::List(&Shape::Text, ListLength::Any),
            "Globs over paths from the root; `*` does not cross folders, `**` does. What one names is no part of the run, with all that lies in it: no step finds it, and what a step leaves there is gone after it.",
        ),
    ],
};

static CONCURRENCY: Record = Record {
    name: "a concurrency",
    definition: "concurrency",
    description: "How many runs of a group may go on at once. A run keeps its turn until it ends, also while it is paused.",
    fields: &[
        Field::optional(
            "group",
            &Shape::Template,
            "The group's name; workflows that give the same name share it. It may read `inputs`, `env`, `trigger` and `execution`. Without it, it is the workflow's name.",
        ),
        Field::optional("limit", &Shape::Integer(1, 100), "How many runs go on at once. One where nothing is said."),
        Field::optional(
            "on_conflict",
            &Shape::Word(&[
                Word::now("queue", "The run waits until its turn comes, in the order of arrival."),
                Word::now(
                    "cancel_running",
                    "Those that are in its way are cancelled, and it begins when they have ended.",
                ),
                Word::now("reject", "The run fails at once, and nothing of it runs."),
            ]),
            "What becomes of a run that others are in the way of. It is queued where nothing is said.",
        ),
    ],
};

static BUDGET: Record = Record {
    name: "a budget",
    definition: "budget",
    description: "What the agents of a run may spend. Before a call that would begin with one of these reached, the run pauses; what was done is kept.",
    fields: &[
        Field::optional("max_cost_usd", &Shape::Number(Some(0.01)), "US dollars."),
        Field::optional("max_tokens", &Shape::Integer(1, 1_000_000_000_000), "Tokens that agents read and write."),
        Field::optional(
            "max_agent_calls",
            &Shape::Integer(1, 1_000_000),
            "Attempts of steps that ask an agent. An attempt counts from its launch, whatever comes of it.",
        ),
    ],
};

static ROI: Record = Record {
    name: "a return on investment",
    definition: "roi",
    description: "What a run is worth.",
    fields: &[Field::required(
        "manual_minutes",
        &Shape::Number(Some(0.01)),
        "How many minutes a person needs for the same. `ratchet stats` counts them for each run that ended well.",
    )],
};

/// Types of steps by name.
static TYPES: Shape = Shape::Map(NameKind::StepType, &Shape::OneOf(&[Shape::Text, Shape::Record(&STEP_TYPE)]));

/// A file of step types that workflows share.
pub static TYPES_FILE: Record = Record {
    name: "a file of step types",
    definition: "types_file",
    description: "Types of steps that workflows share.",
    fields: &[Field::required(
        "step_types",
        &TYPES,
        "Types of steps by name: what each does, or the file that says it.",
    )],
};

static STEP_TYPE: Record = Record {
    name: "a step type",
    definition: "step_type",
    description: "What steps of a type do: a group of steps, which is a run of its own, or a program.",
    fields: &[
        Field::optional("description", &Shape::Text, "What such a step is for."),
        Field::optional(
            "inputs",
            &Shape::Map(NameKind::Identifier, &Shape::Record(&INPUT)),
            "What such a step takes, by name.",
        ),
        Field::optional(
            "outputs",
            &Shape::Map(NameKind::Identifier, &Shape::Record(&OUTPUT)),
            "What such a step gives, by name: of a program, fields of the object that it writes.",
        ),
        Field::optional(
            "steps",
            &Shape::List(&Shape::Step, ListLength::NotEmpty),
            "The steps of the group. They see its inputs and each other, and nothing of the workflow around them.",
        ),
        Field::optional(
            "exec",
            &Shape::List(&Shape::Scalar, ListLength::NotEmpty),
            "A program and its arguments. It reads one JSON object, the inputs, and writes one, the outputs. A program with a path lies beside this file.",
        ),
        Field::optional("environment", &ENVIRONMENT, "Variables of the processes of the group's steps.")
            .alias(&["env"]),
        Field::optional(
            "secrets",
            &Shape::List(&Shape::Name(NameKind::Variable), ListLength::Any),
            "Names of secrets that steps of the group may ask for.",
        ),
        Field::optional(
            "on_failure",
            &Shape::List(&Shape::Step, ListLength::Any),
            "Steps that run after those of the group where they failed.",
        ),
        Field::optional(
            "finally",
            &Shape::List(&Shape::Step, ListLength::Any),
            "Steps that run after everything else in the group, whatever came of it.",
        ),
        Field::optional(
            "finally_timeout",
            &Shape::Duration(Least::AboveZero),
            "How long the steps of `finally` may take together. A minute where nothing is said.",
        ),
    ],
};

/// The types of values.
pub(super) static VALUE_TYPE: Shape = Shape::Word(&[
    Word::now("string", "Text."),
    Word::now("number", "A number."),
    Word::now("integer", "A whole number."),
    Word::now("boolean", "True or false."),
    Word::now("array", "A list; as text, JSON."),
    Word::now("object", "A map; as text, JSON."),
    Word::now("file", "The path of a file of the workspace."),
    Word::now("artifact", "A file that is kept as a versioned artifact."),
]);

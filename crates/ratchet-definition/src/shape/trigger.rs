//! The fields of `on`: what starts a workflow by itself.

use super::{Field, ListLength, NameKind, Record, Shape};

pub(super) static TRIGGERS: Record = Record {
    name: "what starts a workflow",
    definition: "triggers",
    description: "What starts a run of the published workflow by itself: any one of these does. On one machine nothing does; `ratchet run --event` \
                  starts one as an event would.",
    fields: &[
        Field::optional("push", &Shape::Record(&PUSH), "Pushes to repositories."),
        Field::optional(
            "schedule",
            &Shape::OneOf(&[TIMES, Shape::Record(&SCHEDULE)]),
            "Times: a list of `rate(…)` and `cron(…)` expressions, or a map with such a list and a time zone.",
        ),
        Field::optional(
            "webhook",
            &Shape::OneOf(&[Shape::Boolean, Shape::Record(&WEBHOOK)]),
            "Calls of the deployment's endpoint for this workflow.",
        ),
        Field::optional("event", &Shape::Object, "Other events, by a pattern as EventBridge has them."),
        Field::optional(
            "inputs",
            &Shape::Map(NameKind::Identifier, &Shape::ScalarTemplate),
            "The values of inputs. `{{ trigger.… }}` in them is the event.",
        ),
    ],
};

static PUSH: Record = Record {
    name: "a push",
    definition: "push_trigger",
    description: "The pushes that start a run. With `branches` alone no tag does, and with `tags` alone no branch; without either both do. A branch or tag that is \
                  deleted starts nothing.",
    fields: &[
        Field::required("repositories", &GLOBS, "Globs over the names of repositories, such as `acme/shop`."),
        Field::optional(
            "branches",
            &GLOBS,
            "Globs over the names of branches. A `*` stays between slashes, `**` does not.",
        ),
        Field::optional("tags", &GLOBS, "Globs over the names of tags."),
        Field::optional("paths", &GLOBS, "Globs over the paths that the push changed. One path is enough."),
        Field::optional(
            "allow_self",
            &Shape::Boolean,
            "Whether a push counts that a run made: every commit of it has the trailer `Ratchet-Execution`.",
        ),
        Field::optional("allow_forks", &Shape::Boolean, "Whether a push to a fork counts."),
    ],
};

static SCHEDULE: Record = Record {
    name: "a schedule",
    definition: "schedule",
    description: "The times at which a run starts.",
    fields: &[
        Field::required("expressions", &TIMES, "Each by itself: `rate(12 hours)`, `cron(0 3 ? * MON-FRI *)`."),
        Field::optional(
            "timezone",
            &Shape::Text,
            "The time zone of `cron` expressions, such as `Europe/Berlin`. UTC where nothing is said.",
        ),
    ],
};

static WEBHOOK: Record = Record {
    name: "a call",
    definition: "webhook_trigger",
    description: "The calls that start a run.",
    fields: &[Field::optional("pattern", &Shape::Object, "What the body must look like, as a pattern of an event.")],
};

static GLOBS: Shape = Shape::List(&Shape::Text, ListLength::NotEmpty);

const TIMES: Shape = Shape::List(&Shape::Text, ListLength::NotEmpty);

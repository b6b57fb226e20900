//! What an event is, by its shape.

use serde_json::{Value as Json, json};

/// Everything that an event can be taken for.
pub(super) struct Occasion {
    pub(super) push: Option<Push>,
    pub(super) tick: Option<Tick>,
    pub(super) call: Option<Call>,
}

/// Commits that came to a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Push {
    pub(super) repository: String,
    /// Whether it is a tag that was pushed, and not a branch.
    pub(super) is_tag: bool,
    /// The name of the branch or tag.
    pub(super) name: String,
    pub(super) commit: Option<String>,
    pub(super) before: Option<String>,
    pub(super) actor: Option<String>,
    /// What changed, where the event says so.
    pub(super) paths: Option<Vec<String>>,
    /// What the commits say, where the event says so.
    messages: Vec<String>,
    pub(super) is_fork: bool,
    pub(super) is_deletion: bool,
}

/// A time of a schedule.
pub(super) struct Tick {
    pub(super) time: Option<String>,
    pub(super) expression: Option<String>,
}

/// A call over HTTP.
pub(super) struct Call {
    pub(super) body: Json,
    pub(super) headers: Json,
}

/// What the commits of a run carry.
const TRAILER: &str = "ratchet-execution:";

impl Occasion {
    pub(super) fn of(event: &Json) -> Self {
        let call = Call::of(event);
        let body = call.as_ref().map(|call| &call.body);
        let push = Push::of_codecommit(event)
            .or_else(|| Push::of_github(event))
            .or_else(|| Push::of_github(&event["detail"]))
            .or_else(|| body.and_then(Push::of_github));
        Self { push, tick: Tick::of(event), call }
    }
}

impl Push {
    fn of_codecommit(event: &Json) -> Option<Self> {
        let detail = &event["detail"];
        if event["source"] != "aws.codecommit" || event["detail-type"] != "CodeCommit Repository State Change" {
            return None;
        }
        let is_tag = match detail["referenceType"].as_str()? {
            "branch" => false,
            "tag" => true,
            _ => return None,
        };
        let is_deletion = match detail["event"].as_str()? {
            "referenceCreated" | "referenceUpdated" => false,
            "referenceDeleted" => true,
            _ => return None,
        };
        Some(Self {
            repository: text(&detail["repositoryName"])?,
            is_tag,
            name: text(&detail["referenceName"])?,
            commit: text(&detail["commitId"]),
            before: text(&detail["oldCommitId"]),
            actor: text(&detail["callerUserArn"]),
            paths: detail["paths"].as_array().map(|paths| paths.iter().filter_map(text).collect()),
            messages: text(&detail["commitMessage"]).into_iter().collect(),
            is_fork: false,
            is_deletion,
        })
    }

    fn of_github(body: &Json) -> Option<Self> {
        let reference = body["ref"].as_str()?;
        let after = text(&body["after"])?;
        let (is_tag, name) = match reference.strip_prefix("refs/tags/") {
            Some(name) => (true, name),
            None => (false, reference.strip_prefix("refs/heads/")?),
        };
        let commits = body["commits"].as_array().map(Vec::as_slice).unwrap_or_default();
        let head = Some(&body["head_commit"]).filter(|head| head.is_object());
        let told: Vec<&Json> = if commits.is_empty() { head.into_iter().collect() } else { commits.iter().collect() };
        let changed = |commit: &Json| {
            ["added", "removed", "modified"]
                .into_iter()
                .flat_map(|name| commit[name].as_array().into_iter().flatten().filter_map(text))
                .collect::<Vec<_>>()
        };
        let mut paths: Vec<String> = told.iter().flat_map(|commit| changed(commit)).collect();
        paths.sort();
        paths.dedup();
        Some(Self {
            repository: text(&body["repository"]["full_name"])?,
            is_tag,
            name: name.to_owned(),
            is_deletion: body["deleted"] == true || after.bytes().all(|byte| byte == b'0'),
            commit: Some(after),
            before: text(&body["before"]),
            actor: text(&body["sender"]["login"]).or_else(|| text(&body["pusher"]["name"])),
            paths: (!told.is_empty()).then_some(paths),
            messages: told.iter().filter_map(|commit| text(&commit["message"])).collect(),
            is_fork: body["repository"]["fork"] == true,
        })
    }

    /// Whether a run made all of its commits.
    pub(super) fn is_own(&self) -> bool {
        !self.messages.is_empty() && self.messages.iter().all(|message| has_trailer(message))
    }

    /// What expressions see of it.
    pub(super) fn told(&self, event: &Json) -> Json {
        let Self { repository, is_tag, name, commit, before, actor, paths, .. } = self;
        let kind = if *is_tag { "tags" } else { "heads" };
        json!({
            "type": "push",
            "repository": repository,
            "ref": format!("refs/{kind}/{name}"),
            "branch": (!is_tag).then_some(name),
            "tag": is_tag.then_some(name),
            "commit": commit,
            "before": before,
            "actor": actor,
            "paths": paths,
            "event": event,
        })
    }
}

/// Whether a commit's message ends with the trailer of a run, in a paragraph of its own.
fn has_trailer(message: &str) -> bool {
    let message = message.replace("\r\n", "\n");
    let Some((_, last)) = message.trim_end().rsplit_once("\n\n") else { return false };
    last.lines().any(|line| line.get(..TRAILER.len()).is_some_and(|start| start.eq_ignore_ascii_case(TRAILER)))
}

impl Tick {
    fn of(event: &Json) -> Option<Self> {
        let is_tick = matches!(event["source"].as_str(), Some("aws.scheduler" | "aws.events"))
            && event["detail-type"] == "Scheduled Event";
        is_tick.then(|| Self { time: text(&event["time"]), expression: text(&event["detail"]["expression"]) })
    }
}

impl Call {
    /// A body that is text is read as JSON where it is some.
    fn of(event: &Json) -> Option<Self> {
        let (body, headers) = (event.get("body")?, event.get("headers").filter(|headers| headers.is_object())?);
        let body = match body {
            Json::String(text) => serde_json::from_str(text).unwrap_or_else(|_| body.clone()),
            other => other.clone(),
        };
        Some(Self { body, headers: headers.clone() })
    }
}

fn text(value: &Json) -> Option<String> {
    value.as_str().map(str::to_owned)
}

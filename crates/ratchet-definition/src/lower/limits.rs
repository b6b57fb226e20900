//! What limits a run, its budget and how many of its group go on at once, and what becomes of what it makes.

use std::time::Duration;

use ratchet_core::{
    artifact::{ArtifactPolicy, Readers, Retention},
    budget::Budget,
    workflow::{Concurrency, OnConflict, Template, Uses},
};

use super::{Lowering, fields};
use crate::{check::references::Context, yaml::Node};

impl<'tree> Lowering<'_, 'tree> {
    /// What the agents of a run may spend.
    pub(super) fn budget(&mut self, root: &'tree Node) -> Option<Budget> {
        let node = root.get("budget")?;
        let number = |field| fields::integer(node, field).and_then(|number| u64::try_from(number).ok());
        let budget = Budget {
            max_cost_usd: fields::number(node, "max_cost_usd"),
            max_tokens: number("max_tokens"),
            max_agent_calls: number("max_agent_calls"),
        };
        // One whose entries are all wrong was reported, and has none left either.
        let is_empty = self.file.get(node.span.clone()).is_none_or(|text| !text.contains(':'));
        if node.entries().is_empty() && is_empty {
            let help = "add `max_cost_usd`, `max_tokens` or `max_agent_calls`, or remove `budget`".to_owned();
            self.report().error("RT-0046", node.head(), "this budget limits nothing", help);
            return None;
        }
        Some(budget)
    }

    /// How long a person needs for what a run does.
    pub(super) fn by_hand(root: &Node) -> Option<Duration> {
        let minutes = fields::number(root.get("roi")?, "manual_minutes")?;
        Duration::try_from_secs_f64(minutes * 60.0).ok()
    }

    /// What becomes of the artifacts of runs.
    pub(super) fn artifacts(root: &Node) -> ArtifactPolicy {
        let Some(node) = root.get("artifacts") else { return ArtifactPolicy::default() };
        let names = |list: &Node| list.items().iter().filter_map(Node::text).map(str::to_owned).collect();
        ArtifactPolicy {
            retention: node.get("retention").and_then(Node::text).and_then(Retention::of).unwrap_or_default(),
            readers: node.get("readers").map_or(Readers::All, |list| Readers::Only(names(list))),
        }
    }

    /// How many runs of a group go on at once. A group without a name is the workflow's own.
    pub(super) fn concurrency(&mut self, root: &'tree Node, context: Context<'tree>) -> Option<Concurrency> {
        let node = root.get("concurrency")?;
        let group = match node.get("group") {
            Some(group) if group.scalar().is_some_and(|scalar| scalar.text.trim().is_empty()) => {
                let help = "write a name, or leave `group` out: then it is the workflow's".to_owned();
                self.report().error("RT-0046", group.head(), "a group needs a name", help);
                return None;
            }
            Some(group) => self.template(group, context)?,
            None => Template { source: fields::text(root, "name")?, uses: Uses::default() },
        };
        Some(Concurrency {
            group,
            limit: fields::count(node, "limit").map_or(1, std::num::NonZeroU32::get),
            on_conflict: match node.get("on_conflict").and_then(Node::text) {
                Some("cancel_running") => OnConflict::CancelRunning,
                Some("reject") => OnConflict::Reject,
                _ => OnConflict::Queue,
            },
        })
    }
}

//! Small values: each is read from a node whose shape was checked.

use std::{collections::BTreeSet, num::NonZeroU32, time::Duration};

use ratchet_core::retry::{Backoff, RetryOn, RetryPolicy};

use crate::{
    duration::{parse_duration, seconds_of},
    yaml::{Kind, Node},
};

/// The text of a field, as it is written where it is no text.
pub(super) fn text(of: &Node, field: &str) -> Option<String> {
    of.get(field).and_then(Node::scalar).map(|scalar| scalar.text.clone())
}

/// The boolean of a field.
pub(super) fn boolean(of: &Node, field: &str) -> Option<bool> {
    match of.get(field)?.scalar()?.kind {
        Kind::Boolean(value) => Some(value),
        Kind::Null | Kind::Integer(_) | Kind::Float(_) | Kind::Text => None,
    }
}

/// The whole number of a field.
pub(super) fn integer(of: &Node, field: &str) -> Option<i64> {
    of.get(field)?.to_json().as_i64()
}

/// The whole number above zero of a field.
pub(super) fn count(of: &Node, field: &str) -> Option<NonZeroU32> {
    integer(of, field).and_then(|value| u32::try_from(value).ok()).and_then(NonZeroU32::new)
}

/// The number of a field.
pub(super) fn number(of: &Node, field: &str) -> Option<f64> {
    of.get(field)?.to_json().as_f64()
}

/// The duration of a field.
pub(super) fn duration(of: &Node, field: &str) -> Option<Duration> {
    let node = of.get(field)?;
    node.text().map_or_else(|| node.to_json().as_f64().and_then(seconds_of), parse_duration)
}

/// The exit codes of a list.
pub(super) fn exit_codes(of: &Node, field: &str) -> BTreeSet<i32> {
    let items = of.get(field).map(Node::items).unwrap_or_default();
    items.iter().filter_map(|item| item.to_json().as_i64()).filter_map(|code| i32::try_from(code).ok()).collect()
}

/// A retry policy. What it does not say is as in [`RetryPolicy::ONCE`].
pub(super) fn retry(of: &Node) -> Option<RetryPolicy> {
    let node = of.get("retry")?;
    let on = node.get("on").map(Node::items).unwrap_or_default();
    Some(RetryPolicy {
        attempts: count(node, "attempts")?,
        delay: duration(node, "delay").unwrap_or(RetryPolicy::ONCE.delay),
        backoff: match node.get("backoff").and_then(Node::text) {
            Some("constant") => Backoff::Constant,
            Some("linear") => Backoff::Linear,
            _ => RetryPolicy::ONCE.backoff,
        },
        max_delay: duration(node, "max_delay").unwrap_or(RetryPolicy::ONCE.max_delay),
        jitter: boolean(node, "jitter").unwrap_or(RetryPolicy::ONCE.jitter),
        on: on.iter().filter_map(retry_on).collect(),
    })
}

fn retry_on(node: &Node) -> Option<RetryOn> {
    match node.text() {
        Some("timeout") => Some(RetryOn::Timeout),
        Some("rate_limited") => Some(RetryOn::RateLimited),
        Some("agent_error") => Some(RetryOn::AgentError),
        _ => node.to_json().as_i64().and_then(|code| i32::try_from(code).ok()).map(RetryOn::ExitCode),
    }
}

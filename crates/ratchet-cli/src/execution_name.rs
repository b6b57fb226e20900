//! Executions by name: how a new one is called, and how a person may call it.

use jiff::{Timestamp, tz::TimeZone};
use ratchet_core::{execution::ExecutionRow, history::sha256_hex, ids::ExecutionId};
use ratchet_engine::ports::{ExecutionFilter, StateStore};

use crate::command_error::CommandError;

/// Digits and letters that cannot be taken for each other.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// The fewest characters of a name that may stand for the whole.
const SHORTEST: usize = 4;
/// The word for the newest execution.
const LAST: &str = "last";

/// A new execution's name: its time in UTC and six random characters, so that names sort by time.
pub(crate) fn fresh(now: Timestamp, entropy: [u8; 16]) -> ExecutionId {
    let time = now.to_zoned(TimeZone::UTC).strftime("%Y%m%d-%H%M%S");
    let random: String = entropy.iter().take(6).map(|byte| letter(*byte)).collect();
    ExecutionId::new(format!("{time}-{random}"))
}

/// The name of the one execution of a workflow with an idempotency key.
pub(crate) fn of_key(workflow: &str, key: &str) -> ExecutionId {
    let digest = sha256_hex(format!("{workflow}\n{key}").as_bytes());
    let bytes =
        digest.as_bytes().chunks(2).map(|pair| pair.iter().fold(0_u8, |sum, digit| sum * 16 + hex_value(*digit)));
    ExecutionId::new(format!("key-{}", bytes.take(20).map(letter).collect::<String>()))
}

/// The execution that a person means: its whole name, a prefix or suffix of at least four characters that no other has, or `last`.
pub(crate) async fn find(store: &dyn StateStore, name: &str) -> Result<ExecutionRow, CommandError> {
    if let Some(row) = store.execution(&ExecutionId::new(name)).await? {
        return Ok(row);
    }
    let unknown = || CommandError::UnknownExecution { name: name.to_owned() };
    let all = ExecutionFilter { roots_only: true, ..ExecutionFilter::default() };
    if name == LAST {
        let newest = store.executions(&all, None, 1).await?;
        return newest.rows.into_iter().next().ok_or(CommandError::NoExecutions);
    }
    if name.chars().count() < SHORTEST {
        return Err(unknown());
    }
    let mut found: Vec<ExecutionRow> = Vec::new();
    let mut after: Option<ExecutionId> = None;
    loop {
        let page = store.executions(&all, after.as_ref(), 200).await?;
        after = page.rows.last().map(|row| row.id.clone());
        let fits = |row: &ExecutionRow| row.id.as_str().starts_with(name) || row.id.as_str().ends_with(name);
        found.extend(page.rows.into_iter().filter(fits));
        if !page.more {
            break;
        }
    }
    match (found.pop(), found.is_empty()) {
        (Some(row), true) => Ok(row),
        (Some(row), false) => {
            found.push(row);
            let names = found.iter().map(|row| row.id.to_string()).collect();
            Err(CommandError::AmbiguousExecution { name: name.to_owned(), found: names })
        }
        (None, _) => Err(unknown()),
    }
}

fn letter(byte: u8) -> char {
    char::from(ALPHABET[usize::from(byte % 32)])
}

fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => digit - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_by_time_and_differ_by_chance() {
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let early = fresh(at("2026-11-23T01:15:12Z"), [0; 16]);
        let late = fresh(at("2026-11-23T01:15:13Z"), [0; 16]);
        assert_eq!(early.as_str(), "20261123-011512-000000");
        assert!(early < late);
        assert_ne!(fresh(at("2026-11-23T01:15:12Z"), [7; 16]), early);
    }

    #[test]
    fn a_key_names_one_execution_of_its_workflow() {
        assert_eq!(of_key("tests", "push-1"), of_key("tests", "push-1"));
        assert_ne!(of_key("tests", "push-1"), of_key("tests", "push-2"));
        assert_ne!(of_key("tests", "push-1"), of_key("lint", "push-1"));
        assert_eq!(of_key("tests", "push-1").as_str().len(), "key-".len() + 20);
    }
}

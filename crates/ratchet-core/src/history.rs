//! The audit trail: every change carries who, when, why and the hash of the change before it into the row that it changes.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Who made a change happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// The engine itself.
    Engine,
    /// The process of an attempt, proven by its token.
    Runner,
    /// A person, as the edge that they came through proved or knows them.
    Person(String),
}

/// One change of one row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record<T> {
    /// The change's number in its row, from 1.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// What made it happen: a word for the event, and what it was about.
    pub cause: String,
    /// What changed.
    #[serde(flatten)]
    pub transition: T,
    /// The SHA-256 over the hash of the record before and this one, in hexadecimal.
    pub hash: String,
}

/// How far a row's chain of records goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// How many records.
    pub length: u64,
    /// The hash of the last one; empty before the first.
    pub head: String,
}

impl Chain {
    /// Before the first record.
    pub const EMPTY: Self = Self { length: 0, head: String::new() };

    /// The record that follows. `row` names the row, so that a record cannot pass for another row's.
    pub fn next<T: Serialize>(
        &self,
        row: &str,
        at: Timestamp,
        actor: Actor,
        cause: String,
        transition: T,
    ) -> Record<T> {
        let mut record = Record { number: self.length + 1, at, actor, cause, transition, hash: String::new() };
        record.hash = self.hash_of(row, &record);
        record
    }

    /// Whether the record follows this chain unaltered.
    pub fn accepts<T: Serialize + Clone>(&self, row: &str, record: &Record<T>) -> bool {
        let unsealed = Record { hash: String::new(), ..record.clone() };
        record.number == self.length + 1 && record.hash == self.hash_of(row, &unsealed)
    }

    fn hash_of<T: Serialize>(&self, row: &str, unsealed: &Record<T>) -> String {
        let mut hasher = Sha256::new();
        hasher.update(self.head.as_bytes());
        hasher.update(b"\n");
        hasher.update(row.as_bytes());
        hasher.update(b"\n");
        // A record is plain data with text keys, which always has a JSON form.
        hasher.update(serde_json::to_vec(unsealed).unwrap_or_default());
        hex(&hasher.finalize())
    }
}

/// Bytes in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    // Digit by digit: every record of every row is hashed, and the formatter takes longer than the hash.
    bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]).collect()
}

/// The SHA-256 of some bytes, in lower-case hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

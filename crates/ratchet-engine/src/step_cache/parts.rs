use std::collections::{BTreeMap, BTreeSet};

use ratchet_core::{history::sha256_hex, ids::Digest};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The form that keys are made in. Whoever changes what a part means counts it up, which leaves all that was kept before behind.
///
/// 1: the first.
const FORMAT: u32 = 1;

/// All that the result of a step depends on, part by part: a digest of each under a name that a person understands.
///
/// The key is the SHA-256 of the canonical form, and the form itself is kept as content under it: so it can be said later which part of two keys differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyParts {
    format: u32,
    parts: BTreeMap<String, Digest>,
}

impl KeyParts {
    /// Of nothing yet.
    pub(crate) fn new() -> Self {
        Self { format: FORMAT, parts: BTreeMap::new() }
    }

    /// Adds a part whose content is known by its digest.
    pub(crate) fn add_digest(&mut self, name: impl Into<String>, digest: Digest) {
        self.parts.insert(name.into(), digest);
    }

    /// Adds a part.
    pub(crate) fn add(&mut self, name: impl Into<String>, value: &Value) {
        let mut text = String::new();
        write_canonical(value, &mut text);
        self.add_digest(name, Digest::new(sha256_hex(text.as_bytes())));
    }

    /// The form that the key is the digest of.
    pub fn canonical(&self) -> Vec<u8> {
        // A map with text keys always has a JSON form, and this one is in order.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The key.
    pub fn key(&self) -> Digest {
        Digest::new(sha256_hex(&self.canonical()))
    }

    /// Reads the form. `None` for anything else.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// The parts, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Digest)> {
        self.parts.iter().map(|(name, digest)| (name.as_str(), digest))
    }

    /// The names of the parts that differ between two keys, or that only one of them has.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let names: BTreeSet<&String> = self.parts.keys().chain(other.parts.keys()).collect();
        names.into_iter().filter(|name| self.parts.get(*name) != other.parts.get(*name)).cloned().collect()
    }
}

/// JSON in which one value has one text: maps in the order of their names.
fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(fields) => {
            let sorted: BTreeMap<&String, &Value> = fields.iter().collect();
            out.push('{');
            for (position, (name, value)) in sorted.into_iter().enumerate() {
                if position > 0 {
                    out.push(',');
                }
                out.push_str(&Value::String(name.clone()).to_string());
                out.push(':');
                write_canonical(value, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    out.push(',');
                }
                write_canonical(item, out);
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parts(entries: &[(&str, Value)]) -> KeyParts {
        let mut parts = KeyParts::new();
        for (name, value) in entries {
            parts.add(*name, value);
        }
        parts
    }

    #[test]
    fn a_key_follows_from_the_parts_whatever_their_order() {
        let one = parts(&[("a", json!({"x": [1, {"b": 2, "a": 3}], "y": null})), ("b", json!("1"))]);
        let other = parts(&[("b", json!("1")), ("a", json!({"y": null, "x": [1, {"a": 3, "b": 2}]}))]);
        assert_eq!((one.key(), one.differences(&other)), (other.key(), vec![]));
        assert_eq!(KeyParts::read(&one.canonical()), Some(one));
    }

    #[test]
    fn what_differs_is_named() {
        let one = parts(&[("a", json!("x")), ("b", json!("1")), ("gone", json!(0))]);
        let other = parts(&[("a", json!("x")), ("b", json!(1)), ("new", json!(0))]);
        assert_eq!(one.differences(&other), ["b", "gone", "new"]);
        assert_ne!(one.key(), other.key());
    }

    /// Keys outlive the program that made them: the form is a promise.
    #[test]
    fn the_form_stays_as_it_is() {
        let form = String::from_utf8(parts(&[("type", json!("shell"))]).canonical()).unwrap();
        assert_eq!(
            form,
            r#"{"format":1,"parts":{"type":"1e7eb4d678200e9f070940ac2bb7526360dbfd451eeaad704973c2e008a8f464"}}"#
        );
    }
}

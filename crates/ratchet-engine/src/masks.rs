//! Values that must not be seen, and the mask that stands in their place wherever a person or a log would see them: sensitive inputs, and secrets.

use std::{borrow::Cow, sync::Arc};

use ratchet_core::{
    history::Record,
    output::{Output, Outputs},
    step::{StepFailure, StepRow, StepState, Waiting},
    transition::StepTransition,
    workflow::Workflow,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What stands in the place of a sensitive value.
pub const MASK: &str = "***";

/// The fewest characters of a value that is looked for in text: shorter ones stand in any text by chance.
pub const CHARACTERS_MIN: usize = 4;

/// The fewest characters of a line of a longer value that is looked for by itself.
const LINE_CHARACTERS_MIN: usize = 8;

/// Values that must not be seen. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Masks {
    /// The longest first: one may be a part of another.
    values: Arc<[String]>,
}

impl Masks {
    /// Of a run with these inputs, whose large values were put back in their place.
    pub fn of(workflow: &Workflow, inputs: &Outputs) -> Self {
        let sensitive = workflow.inputs.iter().filter(|input| input.sensitive);
        Self::of_outputs(sensitive.filter_map(|input| inputs.get(&input.name)))
    }

    /// Of these values: every text and number in them.
    pub fn of_outputs<'a>(outputs: impl IntoIterator<Item = &'a Output>) -> Self {
        let mut texts = Vec::new();
        outputs.into_iter().for_each(|output| collect_output(output, &mut texts));
        Self::new(texts)
    }

    /// Of these texts, in the forms in which they may be met: as they are, inside JSON, and each long line by itself. The ends of lines after the last one
    /// are no part of them.
    pub fn new(texts: impl IntoIterator<Item = String>) -> Self {
        let mut values = Vec::new();
        let texts = texts.into_iter().map(|text| text.trim_end().to_owned());
        for text in texts.filter(|text| text.chars().count() >= CHARACTERS_MIN) {
            if text.contains('\n') {
                let lines = text.lines().map(str::trim).filter(|line| line.chars().count() >= LINE_CHARACTERS_MIN);
                values.extend(lines.map(str::to_owned));
            }
            values.push(text);
        }
        let in_json: Vec<String> = values.iter().map(|text| Value::from(text.as_str()).to_string()).collect();
        values.extend(in_json.iter().map(|quoted| quoted[1..quoted.len() - 1].to_owned()));
        Self::sorted(values)
    }

    /// And those.
    #[must_use]
    pub fn and(&self, others: &Self) -> Self {
        if others.is_empty() {
            return self.clone();
        }
        Self::sorted(self.values.iter().chain(others.values.iter()).cloned().collect())
    }

    fn sorted(mut values: Vec<String>) -> Self {
        values.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        values.dedup();
        Self { values: values.into() }
    }

    /// Whether there is nothing to mask.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The values themselves: for what must leave them out in a way of its own.
    pub fn values(&self) -> &[String] {
        &self.values
    }

    /// Whether some bytes hold one.
    pub fn are_in(&self, bytes: &[u8]) -> bool {
        self.values.iter().any(|value| memchr::memmem::find(bytes, value.as_bytes()).is_some())
    }

    /// The text with what must not be seen masked.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if !self.are_in(text.as_bytes()) {
            return Cow::Borrowed(text);
        }
        let mut stream = MaskedStream::new(self);
        let mut masked = stream.take(text.as_bytes());
        masked.extend(stream.end());
        // A value is whole characters, and so is what lies between two of them.
        Cow::Owned(String::from_utf8_lossy(&masked).into_owned())
    }

    /// A value in which every text and number is masked that holds a sensitive one. Names of fields stay.
    pub fn value(&self, value: Value) -> Value {
        if self.is_empty() {
            return value;
        }
        match value {
            Value::String(text) => Value::String(self.text(&text).into_owned()),
            Value::Number(number) if self.values.iter().any(|value| *value == number.to_string()) => Value::from(MASK),
            Value::Array(list) => list.into_iter().map(|item| self.value(item)).collect(),
            Value::Object(map) => map.into_iter().map(|(name, item)| (name, self.value(item))).collect(),
            other => other,
        }
    }

    /// A failure whose words are masked.
    pub fn failure(&self, failure: &StepFailure) -> StepFailure {
        let masked = |text: &Option<String>| text.as_deref().map(|text| self.text(text).into_owned());
        StepFailure {
            message: self.text(&failure.message).into_owned(),
            detail: masked(&failure.detail),
            hint: masked(&failure.hint),
            ..failure.clone()
        }
    }

    /// A step's row and one of its records with their words masked: for whoever tells them. Outputs are data and stay.
    pub fn told(&self, row: &StepRow, record: &Record<StepTransition>) -> (StepRow, Record<StepTransition>) {
        let (mut row, mut record) = (row.clone(), record.clone());
        match &mut row.state {
            StepState::Failed { failure, .. } => *failure = self.failure(failure),
            StepState::Waiting(Waiting::Limit(failure)) => **failure = self.failure(failure),
            StepState::Waiting(Waiting::Approval(question)) => {
                question.message = self.text(&question.message).into_owned();
            }
            _ => {}
        }
        if let Some(warning) = row.result.as_mut().and_then(|result| result.warning.as_mut()) {
            *warning = self.text(warning).into_owned();
        }
        if let StepTransition::Failed { failure, .. }
        | StepTransition::RetryScheduled { failure, .. }
        | StepTransition::Suspended { failure, .. } = &mut record.transition
        {
            *failure = self.failure(failure);
        }
        (row, record)
    }
}

fn collect_output(output: &Output, into: &mut Vec<String>) {
    match output {
        Output::Json(value) => collect(value, into),
        Output::Each(entries) => entries.iter().flatten().for_each(|entry| collect_output(entry, into)),
        // The path of a file says nothing of its content.
        Output::File(_) | Output::Stored(_) => {}
    }
}

fn collect(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) => into.push(text.clone()),
        Value::Number(number) => into.push(number.to_string()),
        Value::Array(list) => list.iter().for_each(|item| collect(item, into)),
        Value::Object(map) => map.values().for_each(|item| collect(item, into)),
        Value::Null | Value::Bool(_) => {}
    }
}

/// Masks bytes as they come, also a value that comes in pieces: what may be the beginning of one is held back until it is known.
#[derive(Debug)]
pub struct MaskedStream {
    masks: Masks,
    held: Vec<u8>,
}

impl MaskedStream {
    /// Over the values of these masks.
    pub fn new(masks: &Masks) -> Self {
        Self { masks: masks.clone(), held: Vec::new() }
    }

    /// Whether there is nothing to mask, so that bytes need not pass here.
    pub fn is_idle(&self) -> bool {
        self.masks.is_empty()
    }

    /// Takes some bytes, and gives what may be seen of all that came.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        self.clear(false)
    }

    /// Gives what was held back: nothing comes any more.
    pub fn end(&mut self) -> Vec<u8> {
        self.clear(true)
    }

    fn clear(&mut self, is_end: bool) -> Vec<u8> {
        let held = std::mem::take(&mut self.held);
        let mut begins = [false; 256];
        self.masks.values.iter().for_each(|value| begins[usize::from(value.as_bytes()[0])] = true);
        let mut shown = Vec::with_capacity(held.len());
        let (mut from, mut at) = (0, 0);
        while at < held.len() {
            if !begins[usize::from(held[at])] {
                at += 1;
                continue;
            }
            let rest = &held[at..];
            // The values are sorted: the first that could still come whole is longer than all that are there whole.
            let mut values = self.masks.values.iter().map(String::as_bytes);
            match values.find(|value| rest.starts_with(value) || (!is_end && value.starts_with(rest))) {
                None => at += 1,
                Some(value) if rest.len() < value.len() => break,
                Some(value) => {
                    shown.extend_from_slice(&held[from..at]);
                    shown.extend_from_slice(MASK.as_bytes());
                    at += value.len();
                    from = at;
                }
            }
        }
        shown.extend_from_slice(&held[from..at]);
        self.held = held[at..].to_vec();
        shown
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn masks(values: &[&str]) -> Masks {
        Masks::new(values.iter().map(|value| (*value).to_owned()))
    }

    /// The text as it comes out when it goes in by pieces of this size.
    fn streamed(masks: &Masks, text: &str, size: usize) -> String {
        let mut stream = MaskedStream::new(masks);
        let mut shown: Vec<u8> = text.as_bytes().chunks(size).flat_map(|piece| stream.take(piece)).collect();
        shown.extend(stream.end());
        String::from_utf8(shown).unwrap()
    }

    #[test]
    fn a_value_is_masked_however_it_comes() {
        let all = masks(&[
            "secret",
            "secretive ones",
            "aaab",
            "no \"quote\"",
            "first line\nsecond line\nx",
            "abc",
            "€uro",
            "token",
            "token-long",
            "-----BEGIN-----\nAAAABBBBCCCC\nab\n-----END-------\n",
        ]);
        for (text, expected) in [
            ("token-long token-lo token", "*** ***-lo ***"),
            ("-----BEGIN-----\nAAAABBBBCCCC\nab\n-----END-------\n", "***\n"),
            ("x AAAABBBBCCCC ab", "x *** ab"),
            ("", ""),
            ("a secret here", "a *** here"),
            ("secretsecret", "******"),
            ("secretive one", "***ive one"),
            ("secretive ones", "***"),
            ("secre", "secre"),
            ("aaaaab", "aa***"),
            ("say no \"quote\" or no \\\"quote\\\"", "say *** or ***"),
            ("first line\nsecond line\nx", "***"),
            ("only the second line", "only the ***"),
            ("abc is too short", "abc is too short"),
            ("5 €uro", "5 ***"),
        ] {
            assert_eq!(all.text(text), expected);
            for size in 1..=text.len().max(1) {
                assert_eq!(streamed(&all, text, size), expected, "by {size}");
            }
        }
    }

    #[test]
    fn what_cannot_be_a_value_is_not_held_back() {
        let mut stream = MaskedStream::new(&masks(&["secret"]));
        assert_eq!(stream.take(b"a line\nsec"), b"a line\n");
        assert_eq!(stream.take(b"ond"), b"second");
    }

    #[test]
    fn texts_and_numbers_in_a_value_are_masked_and_names_are_not() {
        let masks = Masks::of_outputs(&[Output::Json(json!({"pin": 123_456, "words": ["open sesame", true, 7]}))]);
        let masked = masks.value(json!({"open sesame": [123_456, "123456!", 7], "other": "Open Sesame"}));
        assert_eq!(masked, json!({"open sesame": ["***", "***!", 7], "other": "Open Sesame"}));
        assert!(Masks::of_outputs(&[Output::Json(json!(7)), Output::Json(json!(null))]).is_empty());
    }
}

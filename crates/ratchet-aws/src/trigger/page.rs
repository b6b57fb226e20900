//! `docs/api.md` and `docs/api.schema.json` say what the types say, and the tests of a deployment send what the page shows.

use std::{collections::BTreeMap, env, fs, path::PathBuf};

use ratchet_core::status::ExecutionStatus;
use ratchet_engine::ports::Envelope;
use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::messages::{
    Call, Cancel, Invoked, Publish, PublishedAnswer, RedriveAnswer, Refused, Reply, Resume, Started, StartedAnswer,
};
use crate::event_bus::Timed;

/// Set to write the published schemas instead of comparing them.
const UPDATE: &str = "RATCHET_UPDATE_DOCS";

/// Why a value is no message of a kind.
type Reader = fn(&Value) -> Result<(), String>;

/// The kinds of messages by their names.
#[derive(Default)]
struct Messages {
    readers: BTreeMap<String, Reader>,
    schemas: serde_json::Map<String, Value>,
}

impl Messages {
    fn all() -> Self {
        let mut all = Self::default();
        let mut taken = SchemaSettings::draft2020_12().into_generator();
        all.add::<Call>(&mut taken);
        all.add::<Reply>(&mut taken);
        all.add::<Cancel>(&mut taken);
        all.add::<Resume>(&mut taken);
        all.add::<Publish>(&mut taken);
        let mut answered = SchemaSettings::draft2020_12().for_serialize().into_generator();
        all.add::<Invoked>(&mut answered);
        all.add::<StartedAnswer>(&mut answered);
        all.add::<Started>(&mut answered);
        all.add::<PublishedAnswer>(&mut answered);
        all.add::<RedriveAnswer>(&mut answered);
        all.add::<Refused>(&mut answered);
        all.schemas.extend(taken.take_definitions(true));
        all.schemas.extend(answered.take_definitions(true));
        // The engine's own: they change with it, so that no schema is promised.
        all.readers.insert("Envelope".to_owned(), reads::<Envelope>);
        all.readers.insert("Timed".to_owned(), reads::<Timed>);
        all
    }

    fn add<T: JsonSchema + DeserializeOwned>(&mut self, generator: &mut SchemaGenerator) {
        generator.subschema_for::<T>();
        self.readers.insert(T::schema_name().into_owned(), reads::<T>);
    }
}

fn reads<T: DeserializeOwned>(value: &Value) -> Result<(), String> {
    serde_json::from_value::<T>(value.clone()).map(drop).map_err(|error| error.to_string())
}

/// The schema of where an execution stands.
pub(super) fn status(_: &mut SchemaGenerator) -> Schema {
    let all = ExecutionStatus::ALL.map(|status| json!(status));
    json_schema!({"type": "string", "enum": all})
}

/// The example of a message on the page.
pub(crate) fn example(name: &str) -> Value {
    examples().remove(name).unwrap_or_else(|| panic!("docs/api.md has no example of {name}"))
}

/// Fails unless a value is a message of a kind, with no field that the kind has not.
pub(crate) fn is_a(name: &str, value: &Value) {
    let read = Messages::all().readers[name](value);
    assert!(read.is_ok(), "this is no {name}: {read:?}: {value:#}");
}

fn docs(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)
}

/// The blocks of code that begin with `json` and the name of a message.
fn examples() -> BTreeMap<String, Value> {
    let page = fs::read_to_string(docs("api.md")).unwrap();
    let blocks = page.split("```json ").skip(1).map(|block| {
        let (name, rest) = block.split_once('\n').unwrap();
        let (text, _) = rest.split_once("```").unwrap();
        let value = serde_json::from_str(text).unwrap_or_else(|error| panic!("the example of {name}: {error}"));
        (name.to_owned(), value)
    });
    blocks.collect()
}

#[test]
fn the_published_api_is_what_the_types_say() {
    let all = Messages::all();
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What the function trigger of a deployment of Ratchet takes and answers",
        "$defs": all.schemas,
    });
    let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
    if env::var_os(UPDATE).is_some() {
        fs::write(docs("api.schema.json"), &text).unwrap();
    }
    let published = fs::read_to_string(docs("api.schema.json")).unwrap_or_default();
    assert!(published == text, "docs/api.schema.json is not what the types say: run `make docs`");
}

#[test]
fn each_message_has_an_example_that_is_one() {
    let (all, examples) = (Messages::all(), examples());
    assert_eq!(examples.keys().collect::<Vec<_>>(), all.readers.keys().collect::<Vec<_>>());
    for (name, example) in &examples {
        is_a(name, example);
        let Some(schema) = all.schemas.get(name) else { continue };
        assert_eq!(schema["additionalProperties"], false, "{name}");
        for (field, property) in schema["properties"].as_object().unwrap() {
            assert!(property["description"].is_string(), "{name}.{field} says nothing");
            assert!(example.get(field).is_some(), "the example of {name} does not show `{field}`");
        }
        let mut more = example.clone();
        more["unheard_of"] = json!(1);
        assert!(all.readers[name](&more).is_err(), "{name} takes anything");
    }
}

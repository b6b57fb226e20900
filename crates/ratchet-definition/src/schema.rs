//! The table of fields as a JSON Schema (2020-12), for editors.

use serde_json::{Map, Value, json};

use crate::{
    duration::DURATION_PATTERN,
    shape::{
        COMMON_STEP_FIELDS, CUSTOM_STEP, Field, Least, ListLength, NAME_LENGTH_MAX, NameKind, Record, STEP_TYPES,
        Shape, Support, WORKFLOW, Word, exactly_one, has_default,
    },
};

/// The schema of a workflow file. What this version refuses is not in it.
pub fn json_schema() -> Value {
    let mut definitions = Map::new();
    let root = record(&WORKFLOW, &mut definitions);
    let step = step(&mut definitions);
    definitions.insert("step".into(), step);
    let mut schema = Map::new();
    schema.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
    schema.insert("title".into(), json!("Ratchet workflow"));
    if let Value::Object(root) = root {
        schema.extend(root);
    }
    schema.insert("$defs".into(), Value::Object(definitions));
    Value::Object(schema)
}

/// A step: what `type` says decides which fields it has.
fn step(definitions: &mut Map<String, Value>) -> Value {
    let types = || STEP_TYPES.iter();
    let mut branches = Vec::new();
    for step in types() {
        let definition = format!("{}_step", step.name);
        let fields = || COMMON_STEP_FIELDS.iter().chain(step.fields);
        let object = with_exactly_one(object(step.description, fields(), definitions), step.name);
        definitions.insert(definition.clone(), object);
        branches.push(json!({
            "if": { "properties": { "type": { "const": step.name } }, "required": ["type"] },
            "then": { "$ref": format!("#/$defs/{definition}") },
        }));
    }
    let built_in: Vec<&str> = STEP_TYPES.iter().map(|step| step.name).collect();
    let object = object(CUSTOM_STEP.description, COMMON_STEP_FIELDS.iter(), definitions);
    definitions.insert("custom_step".into(), object);
    branches.push(json!({
        "if": { "properties": { "type": { "not": { "enum": built_in } } }, "required": ["type"] },
        "then": { "$ref": "#/$defs/custom_step" },
    }));
    let mut kinds: Vec<Value> =
        types().map(|step| json!({ "const": step.name, "description": step.description })).collect();
    let mut custom = name(NameKind::StepType);
    custom["not"] = json!({ "enum": built_in });
    custom["description"] = json!("A type that the workflow declares under `step_types`.");
    kinds.push(custom);
    json!({
        "description": "A step: `type` says what it does and which fields it has.",
        "type": "object",
        "properties": { "type": { "description": "What kind of step it is.", "oneOf": kinds } },
        "required": ["id", "type"],
        "allOf": branches,
    })
}

/// Fields of steps by type, none of them required.
fn defaults(definitions: &mut Map<String, Value>) -> Value {
    let mut properties = Map::new();
    for step in STEP_TYPES {
        let description = format!("What every step of type `{}` says unless it says otherwise.", step.name);
        let fields = object(
            &description,
            COMMON_STEP_FIELDS.iter().chain(step.fields).filter(|field| has_default(step, field)),
            definitions,
        );
        let definition = format!("{}_defaults", step.name);
        properties
            .insert(step.name.into(), json!({ "$ref": format!("#/$defs/{definition}"), "description": description }));
        definitions.insert(definition, fields);
    }
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

fn record(record: &'static Record, definitions: &mut Map<String, Value>) -> Value {
    with_exactly_one(object(record.description, record.fields.iter(), definitions), record.definition)
}

/// Adds that exactly one of some fields is there.
fn with_exactly_one(mut object: Value, of: &str) -> Value {
    let fields = exactly_one(of);
    if !fields.is_empty() {
        object["oneOf"] = fields.iter().map(|field| json!({ "required": [field] })).collect();
    }
    object
}

fn object(
    description: &str,
    fields: impl Iterator<Item = &'static Field>,
    definitions: &mut Map<String, Value>,
) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for field in fields.filter(|field| field.support == Support::Now) {
        let described = |text: String, mut schema: Value| {
            schema["description"] = json!(text);
            schema
        };
        let schema = shape(field.shape, definitions);
        for alias in field.aliases {
            let text = format!("Another name of `{}`. {}", field.name, field.description);
            properties.insert((*alias).to_owned(), described(text, schema.clone()));
        }
        properties.insert(field.name.to_owned(), described(field.description.to_owned(), schema));
        if field.required {
            required.push(json!(field.name));
        }
    }
    let mut object = json!({
        "description": description,
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        object["required"] = Value::Array(required);
    }
    object
}

fn shape(of: &'static Shape, definitions: &mut Map<String, Value>) -> Value {
    match of {
        Shape::Any => json!({}),
        Shape::Object => json!({ "type": "object" }),
        Shape::Text | Shape::Template => json!({ "type": "string" }),
        Shape::Scalar | Shape::ScalarTemplate => json!({ "type": ["string", "number", "boolean"] }),
        Shape::Expression => json!({ "type": ["string", "boolean"] }),
        Shape::Boolean => json!({ "type": "boolean" }),
        Shape::Integer(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Shape::Number(None) => json!({ "type": "number" }),
        Shape::Number(Some(least)) => json!({ "type": "number", "minimum": least }),
        Shape::Duration(least) => {
            let limit = if *least == Least::Zero { "minimum" } else { "exclusiveMinimum" };
            json!({ "anyOf": [{ "type": "number", limit: 0 }, { "type": "string", "pattern": DURATION_PATTERN }] })
        }
        Shape::Word(words) => {
            let now = words.iter().filter(|word| word.support == Support::Now);
            let constants: Vec<Value> = now
                .map(|Word { text, description, .. }| json!({ "const": text, "description": description }))
                .collect();
            json!({ "oneOf": constants })
        }
        Shape::Name(kind) => name(*kind),
        Shape::List(inner, length) => {
            let mut list = json!({ "type": "array", "items": shape(inner, definitions) });
            if *length == ListLength::NotEmpty {
                list["minItems"] = json!(1);
            }
            list
        }
        Shape::Map(kind, inner) => json!({
            "type": "object",
            "propertyNames": name(*kind),
            "additionalProperties": shape(inner, definitions),
        }),
        Shape::Record(inner) => {
            if !definitions.contains_key(inner.definition) {
                let object = record(inner, definitions);
                definitions.insert(inner.definition.to_owned(), object);
            }
            json!({ "$ref": format!("#/$defs/{}", inner.definition) })
        }
        Shape::OneOf(shapes) => {
            let any: Vec<Value> = shapes.iter().map(|inner| shape(inner, definitions)).collect();
            json!({ "anyOf": any })
        }
        Shape::Step => json!({ "$ref": "#/$defs/step" }),
        Shape::StepDefaults => defaults(definitions),
    }
}

fn name(kind: NameKind) -> Value {
    json!({ "type": "string", "pattern": kind.pattern(), "maxLength": NAME_LENGTH_MAX })
}

#[cfg(test)]
mod tests;

//! As much of JSON Schema as the schema of workflow files uses. A keyword that is not known here is an error: nothing in the schema goes unchecked.
//!
//! A library would do more, and would have every dependency of the workspace built a second time with the features that it asks for.

use std::collections::HashMap;

use regex::Regex;
use serde_json::{Map, Value};

/// Holds values against a schema.
pub(super) struct Checker<'schema> {
    root: &'schema Value,
    patterns: HashMap<&'schema str, Regex>,
}

impl<'schema> Checker<'schema> {
    pub(super) fn new(root: &'schema Value) -> Self {
        let mut checker = Self { root, patterns: HashMap::new() };
        checker.collect(root);
        checker
    }

    fn collect(&mut self, schema: &'schema Value) {
        match schema {
            Value::Object(map) => {
                if let Some(pattern) = map.get("pattern").and_then(Value::as_str) {
                    self.patterns.insert(pattern, Regex::new(pattern).expect("a pattern"));
                }
                map.values().for_each(|inner| self.collect(inner));
            }
            Value::Array(list) => list.iter().for_each(|inner| self.collect(inner)),
            _ => {}
        }
    }

    /// Why a value does not fit, by its place; nothing where it does.
    pub(super) fn check(&self, value: &Value) -> Vec<String> {
        let mut errors = Vec::new();
        self.holds(value, self.root, "", &mut errors);
        errors
    }

    fn fits(&self, value: &Value, schema: &Value) -> bool {
        let mut errors = Vec::new();
        self.holds(value, schema, "", &mut errors);
        errors.is_empty()
    }

    fn holds(&self, value: &Value, schema: &Value, at: &str, errors: &mut Vec<String>) {
        let schema = schema.as_object().expect("a schema is an object");
        for (keyword, rule) in schema {
            let fine = match keyword.as_str() {
                "$schema" | "$id" | "$defs" | "title" | "description" | "then" | "default" | "examples" => true,
                "$ref" => {
                    let target =
                        rule.as_str().and_then(|target| self.root.pointer(&target[1..])).expect("a definition");
                    self.holds(value, target, at, errors);
                    true
                }
                "type" => match rule {
                    Value::Array(types) => types.iter().any(|name| is_type(value, name)),
                    name => is_type(value, name),
                },
                "const" => value == rule,
                "enum" => rule.as_array().expect("values").contains(value),
                "pattern" => {
                    value.as_str().is_none_or(|text| self.patterns[rule.as_str().expect("text")].is_match(text))
                }
                "maxLength" => {
                    value.as_str().is_none_or(|text| text.chars().count() as u64 <= rule.as_u64().expect("a length"))
                }
                "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().expect("a number")),
                "maximum" => value.as_f64().is_none_or(|number| number <= rule.as_f64().expect("a number")),
                "exclusiveMinimum" => value.as_f64().is_none_or(|number| number > rule.as_f64().expect("a number")),
                "minItems" => value.as_array().is_none_or(|list| list.len() as u64 >= rule.as_u64().expect("a length")),
                "maxItems" => value.as_array().is_none_or(|list| list.len() as u64 <= rule.as_u64().expect("a length")),
                "minProperties" => {
                    value.as_object().is_none_or(|map| map.len() as u64 >= rule.as_u64().expect("a length"))
                }
                "items" => {
                    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.holds(item, rule, &format!("{at}/{index}"), errors);
                    }
                    true
                }
                "required" => value.as_object().is_none_or(|map| {
                    rule.as_array().expect("names").iter().all(|name| map.contains_key(name.as_str().expect("a name")))
                }),
                "properties" => {
                    for (name, inner) in rule.as_object().expect("schemas") {
                        if let Some(member) = value.get(name) {
                            self.holds(member, inner, &format!("{at}/{name}"), errors);
                        }
                    }
                    true
                }
                "propertyNames" => value
                    .as_object()
                    .is_none_or(|map| map.keys().all(|name| self.fits(&Value::from(name.as_str()), rule))),
                "additionalProperties" => self.additional(value, schema, rule, at, errors),
                "allOf" => {
                    rule.as_array().expect("schemas").iter().for_each(|inner| self.holds(value, inner, at, errors));
                    true
                }
                "anyOf" => rule.as_array().expect("schemas").iter().any(|inner| self.fits(value, inner)),
                "oneOf" => {
                    rule.as_array().expect("schemas").iter().filter(|inner| self.fits(value, inner)).count() == 1
                }
                "not" => !self.fits(value, rule),
                "if" => {
                    if self.fits(value, rule) {
                        self.holds(value, &schema["then"], at, errors);
                    }
                    true
                }
                unknown => panic!("the keyword {unknown} is not known here"),
            };
            if !fine {
                errors.push(format!("{at}: {keyword}"));
            }
        }
    }

    fn additional(
        &self,
        value: &Value,
        schema: &Map<String, Value>,
        rule: &Value,
        at: &str,
        errors: &mut Vec<String>,
    ) -> bool {
        let known = |name: &str| schema.get("properties").is_some_and(|properties| properties.get(name).is_some());
        let members = value.as_object().into_iter().flatten().filter(|(name, _)| !known(name));
        if rule == &Value::Bool(false) {
            return members.count() == 0;
        }
        for (name, member) in members {
            self.holds(member, rule, &format!("{at}/{name}"), errors);
        }
        true
    }
}

fn is_type(value: &Value, name: &Value) -> bool {
    match name.as_str().expect("the name of a type") {
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        unknown => panic!("the type {unknown} is not known here"),
    }
}

//! What a step of type `webhook` says.

use std::{collections::BTreeMap, ops::RangeInclusive};

use serde_json::Value;

use crate::workflow::{SecretPart, Template};

/// A step that sends an HTTP request.
#[derive(Debug, Clone, PartialEq)]
pub struct Webhook {
    /// Where to.
    pub url: Url,
    /// `GET`, `POST` and the like.
    pub method: String,
    /// By their names.
    pub headers: BTreeMap<String, Vec<SecretPart>>,
    /// What is sent.
    pub body: Option<Body>,
    /// The status codes that are a success, in ranges.
    pub expect_status: Vec<RangeInclusive<u16>>,
}

impl Webhook {
    /// Every template in it.
    pub(crate) fn for_each_template<'a>(&'a self, visit: &mut impl FnMut(&'a Template)) {
        match &self.url {
            Url::Whole(url) => visit(url),
            Url::Parts(parts) => parts.iter().for_each(|part| match part {
                UrlPart::Value(value) => visit(value),
                UrlPart::Literal(_) => {}
            }),
        }
        for part in self.headers.values().flatten() {
            match part {
                SecretPart::Text(text) => visit(text),
                SecretPart::Secret(_) => {}
            }
        }
        match &self.body {
            Some(Body::Text(text)) => visit(text),
            Some(Body::Json(data)) => data.for_each_template(visit),
            None => {}
        }
    }
}

/// The address of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Url {
    /// One value is all of it.
    Whole(Template),
    /// Scheme and host are literal; values stand in the path and the query, and are percent-encoded.
    Parts(Vec<UrlPart>),
}

/// A part of an address.
#[derive(Debug, Clone, PartialEq)]
pub enum UrlPart {
    /// As it stands.
    Literal(String),
    /// One `{{ … }}`.
    Value(Template),
}

/// What a request sends.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// Text. One `{{ … }}` that gives no text is sent as JSON.
    Text(Template),
    /// Data, sent as JSON.
    Json(Data),
}

/// Data with templates in it.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// As it stands.
    Constant(Value),
    /// A text. One `{{ … }}` and nothing else keeps its type.
    Template(Template),
    /// A list.
    List(Vec<Self>),
    /// Values by name.
    Map(Vec<(String, Self)>),
}

impl Data {
    fn for_each_template<'a>(&'a self, visit: &mut impl FnMut(&'a Template)) {
        match self {
            Self::Constant(_) => {}
            Self::Template(template) => visit(template),
            Self::List(items) => items.iter().for_each(|item| item.for_each_template(visit)),
            Self::Map(members) => members.iter().for_each(|(_, value)| value.for_each_template(visit)),
        }
    }
}

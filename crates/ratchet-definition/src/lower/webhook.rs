//! A request: its address, its headers and its body. A value in it is data: it never becomes a host, a header of its own, or a part of JSON's syntax.

use std::{collections::BTreeMap, ops::RangeInclusive};

use http::{Uri, uri::Scheme};
use ratchet_core::{
    ids::StepId,
    workflow::{Body, Data, OutputSource, SecretPart, Template, Url, UrlPart, Webhook},
};

use super::{Lowering, PendingTrust, secrets::reads_secret};
use crate::{
    check::references::Context,
    parsed::Trust,
    template::variables,
    yaml::{Content, Entry, Node, Positions},
};

/// Headers that say how a request is cut and sent on: the step's own business.
const OWN_HEADERS: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Fields of every step that are for a process.
const PROCESS_FIELDS: &[&str] = &["environment", "working_directory", "secrets", "inputs", "resources"];

impl<'tree> Lowering<'_, 'tree> {
    pub(super) fn webhook(&mut self, node: &'tree Node, context: Context<'tree>) -> Option<Webhook> {
        self.refuse_fields(node, PROCESS_FIELDS, "webhook");
        let headers = self.headers(node, context);
        let method = node.get("method").and_then(Node::text).unwrap_or("POST").to_owned();
        let body = node.get("body").filter(|body| !body.is_null());
        if let Some(body) = body
            && matches!(method.as_str(), "GET" | "HEAD")
        {
            let message = format!("a `{method}` sends no body");
            let help = "put the values into the query of `url`, or choose another `method`".to_owned();
            self.report().error("RT-0021", body.head(), message, help);
        }
        let body = body.and_then(|body| self.body(body, context));
        let url = self.url(node.get("url")?, context);
        Some(Webhook { url: url?, method, headers, body, expect_status: statuses(node.get("expect_status")) })
    }

    /// What such a step declares to give is made of the reply: it writes no file.
    pub(super) fn check_webhook_outputs(&mut self, node: &Node, outputs: &[ratchet_core::workflow::StepOutput]) {
        for output in outputs.iter().filter(|output| matches!(output.source, OutputSource::File(_))) {
            let Some(entry) = node.get("outputs").and_then(|outputs| outputs.entry(&output.name)) else { continue };
            let message = "a step of type `webhook` writes no file";
            let help =
                "give it a `type` and a `from`, as in `{type: object, from: json}`; a `template` step writes files"
                    .to_owned();
            self.report().error("RT-0021", entry.key.span.clone(), message, help);
        }
    }

    fn url(&mut self, node: &'tree Node, context: Context<'tree>) -> Option<Url> {
        let text = node.text()?;
        let values = variables(text);
        if let [(_, braces)] = &values[..]
            && text.trim() == &text[braces.clone()]
        {
            let whole = self.template(node, context)?;
            if let Some(step) = context.step {
                let span = Positions::of(node, self.file).locate(braces);
                let step = StepId::new(self.resolver.symbols.steps[step].id);
                self.trusted.push(PendingTrust { span, step, uses: whole.uses.clone(), trust: Trust::Host });
            }
            return Some(Url::Whole(Template { source: text.trim().to_owned(), uses: whole.uses }));
        }
        // All of it is looked at as a template first: then there is something between all braces.
        let whole = self.template(node, context)?;
        let mut wrong = |at: std::ops::Range<usize>, message: String, help: &str| {
            let at = Positions::of(node, self.file).locate(&at);
            self.report().error("RT-0080", at, message, help.to_owned());
            None
        };
        // What stands within braces says nothing of the url's parts.
        let mut outside = text.to_owned();
        for (_, braces) in &values {
            outside.replace_range(braces.clone(), &"x".repeat(braces.len()));
        }
        if let Some(at) = outside.find("{%").or_else(|| outside.find("{#")) {
            let message = "a statement or comment cannot stand in a url".to_owned();
            return wrong(at..at + 2, message, "choose between two steps with `when`, or make the whole url one value");
        }
        let path = outside.find("://").map(|at| at + 3).and_then(|host| {
            let length = outside[host..].find(['/', '?', '#']).unwrap_or(outside.len() - host);
            Some(host + length).filter(|_| matches!(&outside[..host - 3], "http" | "https"))
        });
        let Some(path) = path else {
            let help = "write scheme and host, as in `https://api.example.org/items/{{ inputs.item }}`, or make the whole url one value";
            let begins_with_value = values.first().is_some_and(|(_, braces)| braces.start == 0);
            let message = if begins_with_value {
                "a value cannot be the beginning of a url: it would choose the host"
            } else {
                "a url begins with `https://` or `http://`"
            };
            return wrong(0..text.len(), message.to_owned(), help);
        };
        let fragment = outside.find('#').unwrap_or(text.len());
        for (_, braces) in &values {
            let help = "values may stand in the path and in the query; or one value is the whole url";
            if braces.start < path {
                let message = "a value cannot be a part of the host or the port of a url".to_owned();
                return wrong(braces.clone(), message, help);
            }
            if braces.start > fragment {
                return wrong(
                    braces.clone(),
                    "what stands after `#` is never sent".to_owned(),
                    "remove it, or write it as %23",
                );
            }
        }
        if let Err(reason) = check(&outside) {
            return wrong(
                0..text.len(),
                reason,
                "write it as it is sent: a space is %20, and no name or password stands in it",
            );
        }
        let mut parts = Vec::new();
        let mut from = 0;
        for (_, braces) in values {
            parts.push(UrlPart::Literal(text[from..braces.start].to_owned()));
            let source = text[braces.clone()].to_owned();
            parts.push(UrlPart::Value(Template { source, uses: whole.uses.clone() }));
            from = braces.end;
        }
        if from < fragment {
            parts.push(UrlPart::Literal(text[from..fragment].to_owned()));
        }
        Some(Url::Parts(parts))
    }

    fn headers(&mut self, of: &'tree Node, context: Context<'tree>) -> BTreeMap<String, Vec<SecretPart>> {
        let mut headers = BTreeMap::new();
        for entry in of.get("headers").map(Node::entries).unwrap_or_default() {
            let name = entry.key.text.to_ascii_lowercase();
            if OWN_HEADERS.contains(&name.as_str()) {
                let message = format!("the header `{}` is the step's own business", entry.key.text);
                self.report().error("RT-0081", entry.key.span.clone(), message, "remove it".to_owned());
                continue;
            }
            if entry.value.text().is_some_and(|text| text.contains(char::is_control)) {
                let message = format!("the header `{}` has more than one line", entry.key.text);
                let help = "write it in one line: what stands on the next would be another header".to_owned();
                self.report().error("RT-0081", entry.value.head(), message, help);
                continue;
            }
            let parts = self.header(entry, context);
            if headers.insert(name, parts).is_some() {
                let message = format!("the header `{}` stands here twice", entry.key.text);
                self.report().error("RT-0081", entry.key.span.clone(), message, "remove one of the two".to_owned());
            }
        }
        headers
    }

    fn header(&mut self, entry: &'tree Entry, context: Context<'tree>) -> Vec<SecretPart> {
        if reads_secret(entry) {
            return self.secret_parts(&entry.value, context);
        }
        self.template(&entry.value, context).map(SecretPart::Text).into_iter().collect()
    }

    fn body(&mut self, node: &'tree Node, context: Context<'tree>) -> Option<Body> {
        match &node.content {
            Content::Scalar(_) if node.text().is_some() => self.template(node, context).map(Body::Text),
            _ => self.data(node, context).map(Body::Json),
        }
    }

    fn data(&mut self, node: &'tree Node, context: Context<'tree>) -> Option<Data> {
        Some(match &node.content {
            Content::Scalar(_) => match node.text() {
                Some(text) if text.contains("{{") || text.contains("{%") || text.contains("{#") => {
                    Data::Template(self.template(node, context)?)
                }
                _ => Data::Constant(node.to_json()),
            },
            Content::List(items) => {
                let items: Vec<Option<Data>> = items.iter().map(|item| self.data(item, context)).collect();
                Data::List(items.into_iter().collect::<Option<_>>()?)
            }
            Content::Map(entries) => {
                let mut members = Vec::with_capacity(entries.len());
                for entry in entries {
                    if entry.key.text.contains("{{") || entry.key.text.contains("{%") {
                        let message = "a name of the body cannot be a template";
                        let help = "make the whole body one value: \"{{ dict(…) }}\"".to_owned();
                        self.report().error("RT-0021", entry.key.span.clone(), message, help);
                        continue;
                    }
                    members.push((entry.key.text.clone(), self.data(&entry.value, context)?));
                }
                Data::Map(members)
            }
        })
    }
}

/// Whether a text is the address of a request.
pub(crate) fn check(url: &str) -> Result<(), String> {
    let uri: Uri = url.parse().map_err(|error: http::uri::InvalidUri| format!("this is no url: {error}"))?;
    let is_http = uri.scheme() == Some(&Scheme::HTTP) || uri.scheme() == Some(&Scheme::HTTPS);
    let Some(authority) = uri.authority().filter(|authority| is_http && !authority.host().is_empty()) else {
        return Err("this is no url that begins with `https://` or `http://` and a host".to_owned());
    };
    if authority.as_str().contains('@') {
        return Err("a name or password cannot stand in a url".to_owned());
    }
    if authority.as_str().len() > authority.host().len() && authority.port_u16().is_none_or(|port| port == 0) {
        return Err("the url has a port that is none".to_owned());
    }
    let path = uri.path();
    if path.split('/').any(|part| matches!(part, "." | "..")) {
        return Err("the path of the url goes up or stays where it is (`..`, `.`)".to_owned());
    }
    Ok(())
}

fn statuses(node: Option<&Node>) -> Vec<RangeInclusive<u16>> {
    let range = |node: &Node| match node.text() {
        Some(class) => {
            let hundreds =
                class.chars().next().and_then(|digit| digit.to_digit(10)).and_then(|n| u16::try_from(n).ok())?;
            Some(hundreds * 100..=hundreds * 100 + 99)
        }
        None => node.to_json().as_u64().and_then(|code| u16::try_from(code).ok()).map(|code| code..=code),
    };
    match node {
        None => vec![200..=299],
        Some(node) if node.scalar().is_some() => range(node).into_iter().collect(),
        Some(node) => node.items().iter().filter_map(range).collect(),
    }
}

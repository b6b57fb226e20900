//! Reports in XML, which come from programs that nobody here controls.

use minijinja::Error;
use roxmltree::{Document, ParsingOptions};

use crate::evaluate::Reason;

/// The most elements, attributes and texts of a report.
const NODES_MAX: u32 = 5_000_000;
/// The deepest nesting of a report: the parser goes down into it.
const DEPTH_MAX: usize = 200;

/// Parses a report. A document type may be named, which some tools do; one that declares entities or anything else is refused, and nothing is
/// ever fetched.
pub(super) fn parse(text: &str) -> Result<Document<'_>, Error> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if declares_types(text) {
        let reason = Reason::new("RT-0124", "the XML has a document type with declarations, which is refused");
        return Err(reason.with_help("let the tool write its report without a DTD").into());
    }
    if too_deep(text) {
        return Err(Reason::new("RT-0124", "the XML is nested too deeply for a report").into());
    }
    let options = ParsingOptions { allow_dtd: true, nodes_limit: NODES_MAX };
    Document::parse_with_options(text, options)
        .map_err(|error| Reason::new("RT-0124", format!("this is not well-formed XML: {error}")).into())
}

/// Whether there is an entity or an internal subset, wherever it stands: a report has no reason for the words.
fn declares_types(text: &str) -> bool {
    if text.contains("<!ENTITY") || text.contains("<!ELEMENT") || text.contains("<!ATTLIST") {
        return true;
    }
    text.find("<!DOCTYPE").is_some_and(|start| {
        let rest = &text[start..];
        rest[..rest.find('>').unwrap_or(rest.len())].contains('[')
    })
}

/// Whether more elements are open at once than a report needs, counted roughly: what it miscounts is not well-formed.
fn too_deep(text: &str) -> bool {
    let mut depth = 0_usize;
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        rest = &rest[start..];
        let end = if rest.starts_with("<![CDATA[") {
            "]]>"
        } else if rest.starts_with("<!--") {
            "-->"
        } else {
            ">"
        };
        let Some(length) = rest.find(end).map(|at| at + end.len()) else { return false };
        let tag = &rest[..length];
        if tag.starts_with("</") {
            depth = depth.saturating_sub(1);
        } else if !tag.starts_with("<!") && !tag.starts_with("<?") && !tag.ends_with("/>") {
            depth += 1;
            if depth > DEPTH_MAX {
                return true;
            }
        }
        rest = &rest[length..];
    }
    false
}

/// An attribute as a number.
pub(super) fn number(node: roxmltree::Node<'_, '_>, name: &str) -> Option<f64> {
    node.attribute(name)?.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

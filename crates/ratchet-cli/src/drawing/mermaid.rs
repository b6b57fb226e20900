use std::fmt::Write;

use super::{Look, Picture};

/// A flowchart in Mermaid, as Markdown pages show it.
pub(crate) fn mermaid(picture: &Picture) -> String {
    let mut text = String::from("flowchart TD\n");
    // Boxes are numbered, because `end` and other names mean something in Mermaid.
    for (position, node) in picture.nodes.iter().enumerate() {
        let (open, close) = match node.look {
            Look::Shell => ("[", "]"),
            Look::Agent => ("([", "])"),
            Look::Check => ("{{", "}}"),
            Look::Text => ("[/", "/]"),
            Look::Joint => ("(", ")"),
        };
        for frame in picture.frames.iter().filter(|frame| frame.start == position) {
            let _ = writeln!(text, "    subgraph f{}_{} [\" \"]", frame.start, frame.end);
        }
        let label = format!("<b>{}</b><br/>{}", escaped(&node.name), escaped(&node.note));
        let _ = writeln!(text, "    n{position}{open}\"{label}\"{close}");
        for _ in picture.frames.iter().filter(|frame| frame.end == position + 1) {
            text.push_str("    end\n");
        }
    }
    for (from, to) in &picture.arrows {
        let _ = writeln!(text, "    n{from} --> n{to}");
    }
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;").replace('>', "&gt;")
}

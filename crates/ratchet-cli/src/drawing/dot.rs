use std::fmt::Write;

use super::{Look, Picture};

/// A digraph in the language of Graphviz.
pub(crate) fn dot(picture: &Picture) -> String {
    let mut text = String::from("digraph workflow {\n    node [fontname=\"sans-serif\", fontsize=11];\n");
    for (position, node) in picture.nodes.iter().enumerate() {
        for frame in picture.frames.iter().filter(|frame| frame.start == position) {
            let _ = writeln!(text, "    subgraph cluster_{}_{} {{ style=dashed;", frame.start, frame.end);
        }
        let shape = match node.look {
            Look::Shell => "shape=box",
            Look::Agent => "shape=box, style=rounded",
            Look::Check => "shape=hexagon",
            Look::Text => "shape=parallelogram",
            Look::Joint => "shape=box, style=dotted",
        };
        let _ = writeln!(
            text,
            "    {} [{shape}, label={}];",
            quoted(&node.name),
            quoted(&format!("{}\n{}", node.name, node.note))
        );
        for _ in picture.frames.iter().filter(|frame| frame.end == position + 1) {
            text.push_str("    }\n");
        }
    }
    for (from, to) in &picture.arrows {
        let _ = writeln!(text, "    {} -> {};", quoted(&picture.nodes[*from].name), quoted(&picture.nodes[*to].name));
    }
    text.push_str("}\n");
    text
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

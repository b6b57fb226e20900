use std::fmt::Write;

use serde::Serialize;

use super::{
    Look, Picture, PictureNode,
    layout::{Layout, layout},
};

/// The height of a box, and of the gap under it, in pixels.
const BOX_HEIGHT: f64 = 44.0;
const GAP_HEIGHT: f64 = 36.0;
const GAP_WIDTH: f64 = 24.0;
const MARGIN: f64 = 16.0;
/// Pixels of a character at 13 px, with room to spare in any sans-serif font.
const CHARACTER_WIDTH: f64 = 7.6;

/// A picture that every browser shows.
pub(crate) fn svg(picture: &Picture) -> String {
    let layout = layout(picture);
    let frame = Frame::of(picture, &layout);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w:.0}\" height=\"{h:.0}\" viewBox=\"0 0 {w:.0} {h:.0}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"13\">\n{STYLE}",
        w = frame.width,
        h = frame.height
    );
    for path in &layout.paths {
        let _ = writeln!(text, "<path class=\"arrow\" marker-end=\"url(#head)\" d=\"{}\"/>", frame.curve(path));
    }
    for (node, place) in picture.nodes.iter().zip(&layout.boxes) {
        let (x, y) = frame.centre(*place);
        let (left, top, width) = (x - frame.box_width / 2.0, y - BOX_HEIGHT / 2.0, frame.box_width);
        let (class, radius) = match node.look {
            Look::Shell => ("shell", 4.0),
            Look::Agent => ("agent", 22.0),
            Look::Check => ("check", 12.0),
            Look::Text => ("text", 0.0),
            Look::Joint => ("joint", 4.0),
        };
        let _ = writeln!(
            text,
            "<g><rect class=\"{class}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{BOX_HEIGHT}\" rx=\"{radius}\"/>\
             <text class=\"name\" x=\"{x:.1}\" y=\"{:.1}\">{}</text><text class=\"note\" x=\"{x:.1}\" y=\"{:.1}\">{}</text></g>",
            y - 3.0,
            escaped(&node.name),
            y + 13.0,
            escaped(&node.note)
        );
    }
    text.push_str("</svg>\n");
    text
}

/// Where a page draws boxes and arrows, in pixels.
#[derive(Debug, Serialize)]
pub(crate) struct Placed {
    width: f64,
    height: f64,
    box_width: f64,
    box_height: f64,
    boxes: Vec<PlacedBox>,
    /// Arrows as paths of SVG, with the boxes that they lead from and to.
    arrows: Vec<(usize, usize, String)>,
}

/// A box, with the place of its upper left corner.
#[derive(Debug, Serialize)]
struct PlacedBox {
    x: f64,
    y: f64,
    name: String,
    note: String,
    is_step: bool,
}

/// What a page adds to a box: a mark before the name, and the longest word for where a step stands.
const ADDED_TO_NAME: &str = "   ";
const ADDED_TO_NOTE: &str = "    . completed";

/// The boxes and arrows of a picture for a page that draws them itself.
pub(crate) fn placed(picture: &Picture) -> Placed {
    let layout = layout(picture);
    let widened = |node: &PictureNode| PictureNode {
        name: format!("{}{ADDED_TO_NAME}", node.name),
        note: format!("{}{ADDED_TO_NOTE}", node.note),
        look: node.look,
    };
    let nodes = picture.nodes.iter().map(widened).collect();
    let frame = Frame::of(&Picture { nodes, arrows: Vec::new(), frames: Vec::new() }, &layout);
    let placed = |(node, place): (&PictureNode, &(usize, usize))| {
        let (x, y) = frame.centre(*place);
        PlacedBox {
            x: x - frame.box_width / 2.0,
            y: y - BOX_HEIGHT / 2.0,
            name: node.name.clone(),
            note: node.note.clone(),
            is_step: node.look != Look::Joint,
        }
    };
    let arrows = picture.arrows.iter().zip(&layout.paths);
    Placed {
        width: frame.width,
        height: frame.height,
        box_width: frame.box_width,
        box_height: BOX_HEIGHT,
        boxes: picture.nodes.iter().zip(&layout.boxes).map(placed).collect(),
        arrows: arrows.map(|((from, to), path)| (*from, *to, frame.curve(path))).collect(),
    }
}

const STYLE: &str = "<style>rect{fill:#fff;stroke:#57606a}.agent{fill:#f5f0ff;stroke:#8250df}.check{fill:#fff8e5;stroke:#9a6700}\
.text{fill:#eef6ff;stroke:#0969da}.joint{fill:none;stroke-dasharray:3 3}text{text-anchor:middle;fill:#1f2328}.name{font-weight:600}\
.note{font-size:11px;fill:#57606a}.arrow{fill:none;stroke:#8c959f;stroke-width:1.3}</style>\n\
<defs><marker id=\"head\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\">\
<path d=\"M0 0L8 4L0 8z\" fill=\"#8c959f\"/></marker></defs>\n";

/// Pixels of a layout.
struct Frame {
    widths: Vec<f64>,
    box_width: f64,
    width: f64,
    height: f64,
}

impl Frame {
    fn of(picture: &Picture, layout: &Layout) -> Self {
        let longest = picture.nodes.iter().map(|node| node.name.chars().count().max(node.note.chars().count()));
        let box_width = (as_pixels(longest.max().unwrap_or(0)) * CHARACTER_WIDTH + 24.0).max(90.0);
        let widths: Vec<f64> = layout.widths.iter().map(|count| as_pixels(*count) * (box_width + GAP_WIDTH)).collect();
        Self {
            width: widths.iter().copied().fold(0.0, f64::max) + 2.0 * MARGIN,
            height: as_pixels(widths.len()) * (BOX_HEIGHT + GAP_HEIGHT) - GAP_HEIGHT + 2.0 * MARGIN,
            widths,
            box_width,
        }
    }

    fn centre(&self, (layer, place): (usize, usize)) -> (f64, f64) {
        let left = (self.width - self.widths[layer]) / 2.0;
        let x = left + (as_pixels(place) + 0.5) * (self.box_width + GAP_WIDTH);
        (x, MARGIN + BOX_HEIGHT / 2.0 + as_pixels(layer) * (BOX_HEIGHT + GAP_HEIGHT))
    }

    /// From under the first box, past the bends, to above the last.
    fn curve(&self, path: &[(usize, usize)]) -> String {
        let mut text = String::new();
        for (position, pair) in path.windows(2).enumerate() {
            let ((x1, y1), (x2, y2)) = (self.centre(pair[0]), self.centre(pair[1]));
            let y1 = y1 + BOX_HEIGHT / 2.0;
            let y2 = y2 - BOX_HEIGHT / 2.0;
            let middle = f64::midpoint(y1, y2);
            let _ = if position == 0 { write!(text, "M{x1:.1} {y1:.1}") } else { write!(text, "L{x1:.1} {y1:.1}") };
            let _ = write!(text, "C{x1:.1} {middle:.1} {x2:.1} {middle:.1} {x2:.1} {y2:.1}");
        }
        text
    }
}

fn as_pixels(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

//! Where boxes and arrows go: layers from top to bottom, each ordered so that few arrows cross.
//!
//! The classic way in three passes: a step's layer is one below its lowest need; arrows over several layers get a bend in each layer between;
//! and sweeps down and up put every box near the middle of its neighbours.

use super::Picture;

/// Sweeps down and up; more change little.
const SWEEPS: usize = 4;
/// With more bends than this, long arrows are drawn straight: nobody can follow them anyway.
const BENDS_MOST: usize = 100_000;

/// The places of a picture's boxes and arrows, in rows and columns.
pub(super) struct Layout {
    /// Of each box, its layer and its place in it.
    pub(super) boxes: Vec<(usize, usize)>,
    /// Of each arrow, what it passes from its need to what needs it, both included.
    pub(super) paths: Vec<Vec<(usize, usize)>>,
    /// How many places each layer has.
    pub(super) widths: Vec<usize>,
}

/// Lays a picture out.
pub(super) fn layout(picture: &Picture) -> Layout {
    let layers_of = longest_paths(picture);
    let bends: usize = picture.arrows.iter().map(|(from, to)| layers_of[*to] - layers_of[*from] - 1).sum();
    let mut cells: Vec<usize> = layers_of;
    let mut neighbours: Vec<(Vec<usize>, Vec<usize>)> = vec![(Vec::new(), Vec::new()); cells.len()];
    let mut chains: Vec<Vec<usize>> = Vec::with_capacity(picture.arrows.len());
    for (from, to) in &picture.arrows {
        let mut chain = vec![*from];
        if bends <= BENDS_MOST {
            for layer in cells[*from] + 1..cells[*to] {
                chain.push(cells.len());
                cells.push(layer);
                neighbours.push((Vec::new(), Vec::new()));
            }
        }
        chain.push(*to);
        for pair in chain.windows(2) {
            neighbours[pair[0]].1.push(pair[1]);
            neighbours[pair[1]].0.push(pair[0]);
        }
        chains.push(chain);
    }
    let mut layers: Vec<Vec<usize>> = vec![Vec::new(); cells.iter().max().map_or(0, |last| last + 1)];
    for (cell, layer) in cells.iter().enumerate() {
        layers[*layer].push(cell);
    }
    let mut places = vec![0; cells.len()];
    for layer in &layers {
        settle(layer, &mut places);
    }
    for sweep in 0..SWEEPS {
        let down = sweep % 2 == 0;
        for step in 0..layers.len() {
            let layer = if down { step } else { layers.len() - 1 - step };
            let order = &mut layers[layer];
            let near = |cell: usize| if down { &neighbours[cell].0 } else { &neighbours[cell].1 };
            let mut weighed: Vec<(f64, usize)> = order
                .iter()
                .map(|cell| (middle(near(*cell), &places).unwrap_or(as_number(places[*cell])), *cell))
                .collect();
            weighed.sort_by(|one, other| one.0.total_cmp(&other.0));
            *order = weighed.into_iter().map(|(_, cell)| cell).collect();
            settle(order, &mut places);
        }
    }
    let place = |cell: usize| (cells[cell], places[cell]);
    Layout {
        boxes: (0..picture.nodes.len()).map(place).collect(),
        paths: chains.into_iter().map(|chain| chain.into_iter().map(place).collect()).collect(),
        widths: layers.iter().map(Vec::len).collect(),
    }
}

/// Of each box, how many arrows the longest way to it has.
fn longest_paths(picture: &Picture) -> Vec<usize> {
    let mut outgoing: Vec<Vec<usize>> = vec![Vec::new(); picture.nodes.len()];
    let mut waiting = vec![0_usize; picture.nodes.len()];
    for (from, to) in &picture.arrows {
        outgoing[*from].push(*to);
        waiting[*to] += 1;
    }
    let mut layers = vec![0; picture.nodes.len()];
    let mut ready: Vec<usize> = (0..picture.nodes.len()).filter(|node| waiting[*node] == 0).collect();
    while let Some(node) = ready.pop() {
        for to in &outgoing[node] {
            layers[*to] = layers[*to].max(layers[node] + 1);
            waiting[*to] -= 1;
            if waiting[*to] == 0 {
                ready.push(*to);
            }
        }
    }
    layers
}

fn settle(order: &[usize], places: &mut [usize]) {
    for (place, cell) in order.iter().enumerate() {
        places[*cell] = place;
    }
}

fn middle(near: &[usize], places: &[usize]) -> Option<f64> {
    let sum: f64 = near.iter().map(|cell| as_number(places[*cell])).sum();
    (!near.is_empty()).then(|| sum / as_number(near.len()))
}

fn as_number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

//! A table of figures: names on the left, figures right under their heads.

use std::fmt::Write as _;

/// The least width of a column: times and money fit.
const WIDTH_LEAST: usize = 6;

/// Between two columns.
const GAP: &str = "  ";

/// A table whose columns are as wide as what stands in them.
pub(crate) struct Table {
    rows: Vec<(String, Vec<String>)>,
}

impl Table {
    /// An empty one with these heads: of the names, and of the figures.
    pub(crate) fn new(name: &str, heads: &[&str]) -> Self {
        Self { rows: vec![(name.to_owned(), heads.iter().map(|head| (*head).to_owned()).collect())] }
    }

    /// With a row more.
    pub(crate) fn add(&mut self, name: String, cells: Vec<String>) {
        self.rows.push((name, cells));
    }

    /// The table as it is read.
    pub(crate) fn text(&self) -> String {
        let length = |text: &String| text.chars().count();
        let names = self.rows.iter().map(|(name, _)| length(name)).max().unwrap_or(0);
        let columns = self.rows.first().map_or(0, |(_, heads)| heads.len());
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                self.rows
                    .iter()
                    .filter_map(|(_, cells)| cells.get(column))
                    .map(length)
                    .max()
                    .unwrap_or(0)
                    .max(WIDTH_LEAST)
            })
            .collect();
        let mut text = String::new();
        for (name, cells) in &self.rows {
            let mut line = format!("{name:<names$}");
            for (cell, width) in cells.iter().zip(&widths) {
                let _ = write!(line, "{GAP}{cell:>width$}");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

//! Columns as wide as what is in them, three spaces apart, as kubectl has them.

use std::io::{self, Write};

/// Rows of cells below a heading.
#[derive(Debug)]
pub(super) struct Table {
    heading: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(heading: &[&'static str]) -> Self {
        Self { heading: heading.to_vec(), rows: Vec::new() }
    }

    /// Adds a row, which has as many cells as the heading; an empty one is shown as `-`.
    pub(super) fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.heading.len());
        let shown = |cell: String| if cell.is_empty() { "-".to_owned() } else { cell };
        self.rows.push(cells.into_iter().map(shown).collect());
    }

    pub(super) fn write(&self, indent: &str, out: &mut impl Write) -> io::Result<()> {
        let heading: Vec<String> = self.heading.iter().map(|&cell| cell.to_owned()).collect();
        let mut widths = vec![0; heading.len()];
        for row in self.rows.iter().chain([&heading]) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        for row in [&heading].into_iter().chain(&self.rows) {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            let line = cells.collect::<Vec<_>>().join("   ");
            writeln!(out, "{indent}{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() -> io::Result<()> {
        let mut table = Table::new(&["NAME", "PHASE"]);
        table.row(vec!["orders".into(), "Elected".into()]);
        table.row(vec!["a".into(), String::new()]);
        let mut out = Vec::new();
        table.write("  ", &mut out)?;
        let text = String::from_utf8(out).unwrap_or_default();
        assert_eq!(text, "  NAME     PHASE\n  orders   Elected\n  a        -\n");
        Ok(())
    }
}

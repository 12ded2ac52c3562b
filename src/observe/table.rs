//! Tables for people: aligned columns.

use std::fmt;

/// A table with a heading. Columns of numbers are aligned to the right.
#[derive(Debug)]
pub(crate) struct Table {
    heading: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub(crate) fn new(heading: &[&'static str]) -> Self {
        Self { heading: heading.to_vec(), rows: Vec::new() }
    }

    /// Adds a row with a cell for each column.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.heading.len(), "a cell for each column");
        self.rows.push(cells);
    }

    /// Whether all cells of a column are numbers.
    fn is_numeric(&self, column: usize) -> bool {
        let is_number =
            |cell: &String| cell.starts_with(|c: char| c.is_ascii_digit()) && !cell.contains(['.', ':']);
        self.rows.iter().all(|row| is_number(&row[column]))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.heading.len();
        let len = |cell: &str| cell.chars().count();
        let width = |column: usize| {
            let rows = self.rows.iter().map(|row| len(&row[column]));
            rows.chain([len(self.heading[column])]).max().unwrap_or(0)
        };
        let layout: Vec<_> = (0..columns).map(|column| (width(column), self.is_numeric(column))).collect();
        let heading = self.heading.iter().map(|name| (*name).to_owned()).collect();
        for row in std::iter::once(&heading).chain(&self.rows) {
            let mut line = String::new();
            for (cell, (width, is_numeric)) in row.iter().zip(&layout) {
                let gap = if line.is_empty() { "" } else { "  " };
                let padded = match is_numeric {
                    true => format!("{gap}{cell:>width$}"),
                    false => format!("{gap}{cell:<width$}"),
                };
                line.push_str(&padded);
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(&["zone", "sessions", "address"]);
        table.row(["floor-3", "7", "192.0.2.1"].map(str::to_owned).to_vec());
        table.row(["a", "120000000", "192.0.2.10"].map(str::to_owned).to_vec());
        let want = "\
zone      sessions  address
floor-3          7  192.0.2.1
a        120000000  192.0.2.10
";
        assert_eq!(table.to_string(), want);
    }
}

//! Columns as that tool aligns them: each cell is followed by at least three blanks and takes at
//! least five columns, the last one too; after the rows comes an empty line.

/// A table; the first row is the heading.
pub fn render(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count)
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
            (widest + PADDING).max(NARROWEST)
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        for (cell, width) in row.iter().zip(&widths) {
            // Text of others must not steer a terminal.
            let cell = cell.replace(char::is_control, "?");
            text += &format!("{cell:<width$}");
        }
        text.push('\n');
    }
    text.push('\n');
    text
}

const PADDING: usize = 3;
const NARROWEST: usize = 5;

#[cfg(test)]
mod tests;

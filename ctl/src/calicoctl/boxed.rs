//! Tables in boxes, as the original draws them for addresses and peers: headings in the middle, numbers to
//! the right, all else to the left.

/// A table of these rows.
pub fn draw(titles: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let title = titles.get(column).map_or(0, |title| title.chars().count());
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).fold(title, usize::max)
    };
    let widths: Vec<usize> = (0..titles.len()).map(width).collect();
    let rule: String =
        widths.iter().map(|width| format!("+{}", "-".repeat(width + 2))).collect::<String>()
            + "+\n";
    let line = |cells: &[String], place: fn(&str, usize) -> String| {
        let cells = cells.iter().zip(&widths).map(|(cell, width)| place(cell, *width));
        cells.map(|cell| format!("| {cell} ")).collect::<String>() + "|\n"
    };
    let titles: Vec<_> = titles.iter().map(|title| (*title).to_owned()).collect();
    let mut text = rule.clone() + &line(&titles, |cell, width| format!("{cell:^width$}")) + &rule;
    for row in rows {
        text += &line(row, |cell, width| {
            let number = cell.chars().next().is_some_and(|c| c.is_ascii_digit())
                && cell.parse::<f64>().is_ok();
            if number { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
    }
    text + &rule
}

#[cfg(test)]
mod tests;

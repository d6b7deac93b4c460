//! Rows of text as aligned columns, for results that people read.

use crate::report::sanitise;

/// One line a row; each column as wide as its widest cell, two spaces between. What would move a cursor is left out.
pub fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let rows: Vec<[String; N]> = rows.iter().map(|row| row.each_ref().map(|cell| sanitise(cell.as_bytes()))).collect();
    let width = |cell: &str| cell.chars().count();
    let widths: [usize; N] = std::array::from_fn(|column| rows.iter().map(|row| width(&row[column])).max().unwrap_or(0));
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, wide)| format!("{cell}{}  ", " ".repeat(wide - width(cell))));
        text.push_str(cells.collect::<String>().trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them_and_lines_end_with_text() {
        let rows = [["a", "bb", "c"], ["äöü", "", "d"], ["e", "", ""]].map(|row| row.map(str::to_owned));
        assert_eq!(columns(&rows), "a    bb  c\näöü      d\ne\n");
    }
}

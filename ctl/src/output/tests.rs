use super::*;
use crate::output::table::{PAGE, Tone};

#[derive(Serialize)]
struct Line {
    name: String,
    count: usize,
    note: &'static str,
}

impl Row for Line {
    const COLUMNS: &'static [Column] =
        &[Column::left("NAME"), Column::right("COUNT"), Column::left("NOTE").wide()];

    fn cells(&self) -> Vec<Cell> {
        let name = Cell::new(self.name.clone()).tone(Tone::Good);
        vec![name, Cell::new(self.count.to_string()), Cell::new(self.note)]
    }
}

fn print(lines: &[Line], format: Format, paint: Paint) -> String {
    let mut text = Vec::new();
    Out::to(&mut text, format, paint).all(lines).expect("writing to memory");
    String::from_utf8(text).expect("UTF-8")
}

fn line(name: &str, count: usize) -> Line {
    Line { name: name.to_owned(), count, note: "" }
}

#[test]
fn columns_are_as_wide_as_their_widest_value() {
    let lines = [line("a", 1), line("long-näme", 1_000_000)];
    let table = "NAME         COUNT\na                1\nlong-näme  1000000\n";
    assert_eq!(print(&lines, Format::Table, Paint(false)), table);
}

#[test]
fn wide_has_more_columns_and_no_cell_is_empty() {
    let wide = "NAME  COUNT  NOTE\na         1  -\n";
    assert_eq!(print(&[line("a", 1)], Format::Wide, Paint(false)), wide);
}

#[test]
fn colours_do_not_disturb_the_columns() {
    let painted = print(&[line("a", 1)], Format::Table, Paint(true));
    assert_eq!(painted, "\x1b[1mNAME\x1b[0m  \x1b[1mCOUNT\x1b[0m\n\x1b[32ma\x1b[0m         1\n");
}

#[test]
fn rows_beyond_the_first_page_keep_its_widths() {
    let mut lines: Vec<_> = (0..PAGE).map(|count| line("abc", count)).collect();
    lines.push(line("longer than a page knew", 1));
    lines.push(line("a", 2));
    let table = print(&lines, Format::Table, Paint(false));
    assert_eq!(table.lines().count(), PAGE + 3, "one header line");
    let last: Vec<_> = table.lines().rev().take(2).collect();
    assert_eq!(last, ["a         2", "longer than a page knew      1"]);
}

#[test]
fn an_array_has_one_element_a_line() {
    let json = print(&[line("a", 1), line("b", 2)], Format::Json, Paint(true));
    let expected = r#"[
  {"name":"a","count":1,"note":""},
  {"name":"b","count":2,"note":""}
]
"#;
    assert_eq!(json, expected);
    assert_eq!(print(&[], Format::Json, Paint(false)), "[]\n");
    assert_eq!(print(&[], Format::Yaml, Paint(false)), "[]\n");
}

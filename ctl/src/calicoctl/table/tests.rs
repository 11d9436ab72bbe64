use super::*;

fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

#[test]
fn cells_are_followed_by_three_blanks_and_rows_by_an_empty_line() {
    let rows = [row(&["NAME", "CIDR"]), row(&["default-pool", "10.0.0.0/16"]), row(&["b", ""])];
    assert_eq!(
        render(&rows),
        "NAME           CIDR          \n\
         default-pool   10.0.0.0/16   \n\
         b                            \n\n"
    );
}

#[test]
fn a_narrow_column_takes_five_and_a_heading_alone_is_a_table() {
    assert_eq!(render(&[row(&["A"]), row(&["b"])]), "A    \nb    \n\n");
    assert_eq!(render(&[row(&["NAME"])]), "NAME   \n\n");
}

#[test]
fn what_would_steer_a_terminal_does_not() {
    assert_eq!(render(&[row(&["\u{1b}[31m"])]), "?[31m   \n\n");
}

use super::*;

fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

#[test]
fn a_table_is_drawn_as_users_know_it() {
    let text = draw(
        &["GROUPING", "CIDR", "IPS TOTAL", "IPS FREE"],
        &[
            row(&["IP Pool", "192.168.0.0/16", "65536", "65527 (100%)"]),
            row(&["Block", "192.168.1.0/26", "64", "55 (86%)"]),
        ],
    );
    assert_eq!(
        text,
        "\
+----------+----------------+-----------+--------------+
| GROUPING |      CIDR      | IPS TOTAL |   IPS FREE   |
+----------+----------------+-----------+--------------+
| IP Pool  | 192.168.0.0/16 |     65536 | 65527 (100%) |
| Block    | 192.168.1.0/26 |        64 | 55 (86%)     |
+----------+----------------+-----------+--------------+
"
    );
}

#[test]
fn a_table_without_rows_has_its_headings() {
    assert_eq!(draw(&["IP"], &[]), "+----+\n| IP |\n+----+\n+----+\n");
}

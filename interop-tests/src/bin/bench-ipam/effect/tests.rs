use super::rounds;

#[test]
fn there_are_addresses_for_as_many_changes_as_any_size_asks_for() {
    assert_eq!([0.01, 1.0, 2.54, 2.56, 100.0].map(rounds), [3.0, 100.0, 254.0, 254.0, 254.0]);
}

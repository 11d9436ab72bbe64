use super::*;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn row(addresses: &Addresses, address: &str) -> Vec<Number> {
    let class = addresses.class(address.parse().unwrap());
    addresses.table.row(class).into_iter().flatten().copied().collect()
}

#[test]
fn an_address_has_the_criteria_of_all_ranges_around_it() {
    let mut addresses = Addresses::default();
    addresses.insert(net("10.0.0.0/8"), 1);
    addresses.insert(net("10.1.0.0/16"), 2);
    addresses.insert(net("10.1.0.5/32"), 3);
    assert_eq!(row(&addresses, "10.1.0.5"), [1, 2, 3]);
    assert_eq!(row(&addresses, "10.1.0.6"), [1, 2]);
    assert_eq!(row(&addresses, "10.2.0.0"), [1]);
    assert_eq!(addresses.class("11.0.0.0".parse().unwrap()), ClassId(0));
    addresses.remove(net("10.1.0.0/16"), 2);
    assert_eq!(row(&addresses, "10.1.0.5"), [1, 3]);
    assert_eq!(row(&addresses, "10.1.0.6"), [1]);
}

#[test]
fn addresses_of_the_same_sets_are_one_class() {
    let mut addresses = Addresses::default();
    for last in 1..=9 {
        addresses.insert(net(&format!("10.0.0.{last}/32")), 7);
    }
    assert_eq!(addresses.table.rows.len(), 1);
    addresses.take_touched();
    addresses.table.take_touched();
    addresses.insert(net("10.0.0.10/32"), 7);
    assert_eq!(addresses.take_touched().len(), 1, "one more member is one entry more");
    assert!(addresses.table.take_touched().is_empty(), "and no new class");
}

#[test]
fn nothing_is_left_when_all_ranges_went() {
    let mut addresses = Addresses::default();
    for (text, criterion) in
        [("10.0.0.0/8", 1), ("10.0.0.0/8", 2), ("0.0.0.0/0", 1), ("10.0.0.1/32", 3)]
    {
        addresses.insert(net(text), criterion);
    }
    for (text, criterion) in
        [("10.0.0.0/8", 2), ("0.0.0.0/0", 1), ("10.0.0.1/32", 3), ("10.0.0.0/8", 1)]
    {
        addresses.remove(net(text), criterion);
    }
    assert_eq!(addresses.table.rows.len() + addresses.ranges().count(), 0);
    assert!(addresses.lengths.is_empty());
}

#[test]
fn families_do_not_meet() {
    let mut addresses = Addresses::default();
    addresses.insert(net("0.0.0.0/0"), 1);
    assert!(row(&addresses, "::1").is_empty());
}

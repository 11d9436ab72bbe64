use super::*;

fn pool(cidr: &str) -> Pool {
    Pool::new("a", cidr.parse().unwrap(), 26).unwrap()
}

#[test]
fn parts_cover_the_pool_and_keep_its_ways() {
    let mut whole = pool("10.0.0.0/24");
    whole.selects_node = false;
    let parts = split(&whole, 4).unwrap();
    let names: Vec<(&str, String)> =
        parts.iter().map(|part| (part.name.as_str(), part.cidr.to_string())).collect();
    let expected = [
        ("split-a-0", "10.0.0.0/26".to_owned()),
        ("split-a-1", "10.0.0.64/26".to_owned()),
        ("split-a-2", "10.0.0.128/26".to_owned()),
        ("split-a-3", "10.0.0.192/26".to_owned()),
    ];
    assert_eq!(names, expected);
    assert!(parts.iter().all(|part| !part.selects_node && part.block_size == 26));
}

#[test]
fn a_number_that_is_no_power_of_two_or_too_large_is_refused() {
    assert_eq!(split(&pool("10.0.0.0/24"), 0), Err(SplitError::Number(0)));
    assert_eq!(split(&pool("10.0.0.0/24"), 1), Err(SplitError::Number(1)));
    assert_eq!(split(&pool("10.0.0.0/24"), 6), Err(SplitError::Number(6)));
    assert!(matches!(split(&pool("10.0.0.0/24"), 8), Err(SplitError::TooSmall { length: 27, .. })));
    assert!(matches!(split(&pool("10.0.0.0/24"), 1 << 31), Err(SplitError::TooSmall { .. })));
}

#[test]
fn the_smallest_parts_are_single_blocks_up_to_a_host() {
    let host = Pool::new("h", "10.0.0.0/31".parse().unwrap(), 32).unwrap();
    assert_eq!(split(&host, 2).unwrap().len(), 2);
}

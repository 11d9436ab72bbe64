use super::*;

fn asns(numbers: &[u32]) -> Vec<Asn> {
    numbers.iter().copied().map(Asn).collect()
}

fn sequence(numbers: &[u32]) -> AsPath {
    AsPath(vec![AsSegment::Sequence(asns(numbers))])
}

fn set(patterns: &[&str]) -> AsPathSet {
    AsPathSet::new(patterns.iter().map(|p| (*p).to_owned()).collect()).expect("patterns compile")
}

#[test]
fn every_kind_of_segment_has_its_brackets() {
    let path = AsPath(vec![
        AsSegment::ConfedSequence(asns(&[64512, 64513])),
        AsSegment::ConfedSet(asns(&[1, 2])),
        AsSegment::Sequence(asns(&[65001, 4_200_000_000])),
        AsSegment::Set(asns(&[7, 8])),
    ]);
    assert_eq!(as_path_text(&path), "(64512 64513) [1,2] 65001 4200000000 {7,8}");
    assert_eq!(as_path_len(&path), 3);
}

#[test]
fn the_first_as_is_matched_whole() {
    let mine = set(&["^65001( |$)"]);
    assert!(mine.contains(&sequence(&[65001])));
    assert!(mine.contains(&sequence(&[65001, 65002])));
    assert!(!mine.contains(&sequence(&[650_010])));
    assert!(!mine.contains(&sequence(&[65002, 65001])));
}

#[test]
fn an_empty_path_is_an_empty_text() {
    assert!(set(&["^$"]).contains(&AsPath::default()));
    assert!(!set(&["^$"]).contains(&sequence(&[1])));
    assert!(!set(&["^[0-9]"]).contains(&AsPath::default()));
}

#[test]
fn one_of_several_patterns_is_enough() {
    let both = set(&["^1 ", " 9$"]);
    assert!(both.contains(&sequence(&[1, 2])));
    assert!(both.contains(&sequence(&[3, 9])));
    assert!(!both.contains(&sequence(&[3, 1, 9, 3])));
    assert!(!set(&[]).contains(&sequence(&[1])));
}

#[test]
fn an_underscore_is_a_border_of_a_number() {
    let anywhere = set(&["_65001_"]);
    assert!(anywhere.contains(&sequence(&[65001])));
    assert!(anywhere.contains(&sequence(&[1, 65001, 2])));
    assert!(anywhere.contains(&AsPath(vec![AsSegment::Set(asns(&[1, 65001]))])));
    assert!(!anywhere.contains(&sequence(&[165_001, 650_012])));
    assert!(set(&["^1_2_3$"]).contains(&sequence(&[1, 2, 3])));
}

#[test]
fn a_wrong_pattern_is_named_with_its_fault() {
    let error = AsPathSet::new(vec!["^1".to_owned(), "(2".to_owned()]).expect_err("not closed");
    assert_eq!(error.to_string(), r#""(2" is not a regular expression: unclosed group"#);
}

#[test]
fn a_pattern_that_explodes_is_refused_instead_of_eating_memory() {
    let pattern = "1[0-9]{60}".to_owned();
    let error = AsPathSet::new(vec![pattern.clone()]).expect_err("2^60 states");
    assert_eq!(error, PatternError::TooLarge { pattern });
}

#[test]
fn a_list_of_thousands_of_numbers_is_not_too_large() {
    let patterns = (0..3000).map(|asn| format!("^{}( |$)", 100_000 + asn * 37)).collect();
    let list = AsPathSet::new(patterns).expect("fits");
    assert!(list.contains(&sequence(&[100_037, 1])));
    assert!(!list.contains(&sequence(&[100_038, 1])));
}

#[test]
fn numbers_are_written_as_the_standard_library_does() {
    for number in [0, 1, 9, 10, 99, 100, 65535, 4_199_999_999, u32::MAX] {
        let mut text = Vec::new();
        write_number(number, &mut |octets| text.extend_from_slice(octets));
        assert_eq!(String::from_utf8_lossy(&text), number.to_string());
    }
}

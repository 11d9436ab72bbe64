use super::*;

#[test]
fn bits_lie_in_words_from_the_lowest_up() {
    let row = Row::new(130, |bit| [0, 63, 64, 129].contains(&bit));
    assert_eq!(row.words(), [1 | 1 << 63, 1, 2]);
    assert!(row.has(129) && !row.has(128) && !row.has(500));
}

#[test]
fn the_summary_has_a_bit_for_each_word_that_is_not_empty() {
    assert_eq!(Row::new(200, |bit| bit == 130).summary(), [0b100]);
    assert_eq!(Row::new(64 * 65, |bit| bit == 64 * 64).summary(), [0, 1]);
}

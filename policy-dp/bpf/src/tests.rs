use std::os::fd::AsFd as _;

use super::*;

#[test]
fn a_rule_counts_the_octets_of_its_prefix_and_the_program_reads_it_so() {
    let rule = Rule::new("cali", 0x4_0000);
    assert_eq!(rule.prefix[..5], *b"cali\0");
    assert_eq!(rule.counts[..5], [255, 255, 255, 255, 0]);
    assert_eq!(rule.marks, 0x4_0000);
}

#[test]
fn the_kernel_takes_the_program() {
    // Needs root.
    let Ok(rule) = RuleArray::new() else { return };
    program::load(rule.as_fd()).expect("loaded");
}

use super::{LONGEST_PREFIX, LONGEST_REMARK, expressions_alone, remark};
use crate::{
    decode::rule_of,
    expr::{Expr, Log, Octets, Reg, Rule, Verdict},
};

/// `ct state` and `drop` in octets as the kernel lists them.
#[test]
fn a_verdict_is_written_as_the_kernel_lists_it() {
    let octets = expressions_alone(&[Expr::Verdict(Verdict::Drop)]);
    #[rustfmt::skip]
    let expected = [
        0x30, 0, 1, 0x80, // list element
        0x0e, 0, 1, 0, b'i', b'm', b'm', b'e', b'd', b'i', b'a', b't', b'e', 0, 0, 0,
        0x1c, 0, 2, 0x80,
        8, 0, 1, 0, 0, 0, 0, 0, // register: verdict
        0x10, 0, 2, 0x80, 0x0c, 0, 2, 0x80, 8, 0, 1, 0, 0, 0, 0, 0, // NF_DROP
    ];
    assert_eq!(octets, expected);
}

#[test]
fn registers_of_sixteen_octets_have_the_old_numbers() {
    let numbers = [(0, 1), (1, 9), (3, 11), (4, 2), (8, 3), (12, 4), (15, 23), (99, 23)];
    for (index, number) in numbers {
        assert_eq!(super::register(Reg::at(index)), number);
    }
}

#[test]
fn texts_that_are_too_long_are_cut_and_still_read_as_one() {
    let long = "é".repeat(200);
    assert!(remark(Some(&long)).len() <= LONGEST_REMARK + 3);
    let log = |prefix| vec![Expr::Log(Log { group: 2, prefix })];
    let rule = Rule::new(log(long.clone()), Some(&long));
    let read = rule_of(&expressions_alone(rule.expressions()), &remark(Some(&long)));
    let read = read.expect("ours");
    assert_eq!(read.digest(), rule.digest());
    let Expr::Log(Log { prefix, .. }) = &read.expressions()[0] else { panic!("{read:?}") };
    assert!(prefix.len() <= LONGEST_PREFIX && prefix.len() > LONGEST_PREFIX - 2);
}

#[test]
fn a_constant_of_any_length_is_read_as_written() {
    for len in [1, 2, 4, 16, 20] {
        let value = Octets::from_elem(7, len);
        let load = vec![Expr::Load { to: Reg::at(2), value }];
        let read = rule_of(&expressions_alone(&load), &[]).expect("ours");
        assert_eq!(read.expressions(), load);
    }
}

use super::{ElementsFound, TableFound, elements, shape};
use crate::{
    encode::{
        self, ELEM_LIST_ELEMENTS, ELEM_LIST_SET, ELEM_LIST_TABLE, MAKER, TABLE_F_OWNER,
        TABLE_F_PERSIST, TABLE_FLAGS, TABLE_NAME, TABLE_OWNER, TABLE_USERDATA, remark,
    },
    expr::{Octets, Verdict},
    plan::Presence,
    table::{Field, Holds, Shape, Span, Value},
    wire::{Attributes, Encoder, Messages, Netfilter as _},
};

fn table(flags: u32, owner: Option<u32>, maker: &str) -> TableFound {
    let mut e = Encoder::default();
    e.text(TABLE_NAME, "margay");
    e.u32(TABLE_FLAGS, flags);
    if let Some(port) = owner {
        e.u32(TABLE_OWNER, port);
    }
    e.attribute(TABLE_USERDATA, &remark(Some(maker)));
    TableFound::read(Attributes(e.octets())).expect("a table")
}

#[test]
fn a_table_is_held_an_orphan_or_foreign() {
    let both = TABLE_F_OWNER | TABLE_F_PERSIST;
    for (flags, owner, hold, expected) in [
        (both, Some(5), true, Presence::Held),
        (both, Some(6), true, Presence::Foreign),
        (TABLE_F_PERSIST, None, true, Presence::Orphan),
        (0, None, true, Presence::Foreign), // cannot become held
        (0, None, false, Presence::Held),
        (1, None, false, Presence::Foreign), // asleep
    ] {
        let found = table(flags, owner, MAKER).presence(5, hold);
        assert_eq!(found, expected, "{flags} {owner:?} {hold}");
    }
    assert_eq!(table(0, None, "theirs").presence(5, false), Presence::Foreign);
}

#[test]
fn every_shape_we_make_is_read_as_made() {
    for key in [&[Field::Ipv4][..], &[Field::Link], &[Field::Ipv6, Field::Protocol, Field::Port]] {
        let all = [Holds::Keys, Holds::Verdicts, Holds::Values(Field::Ipv6)];
        for (intervals, holds) in all.into_iter().flat_map(|all| [(false, all), (true, all)]) {
            let wanted = Shape { intervals, holds, ..Shape::set(key) };
            let mut e = Encoder::default();
            encode::shape(&mut e, &wanted);
            let all = super::by_number(Attributes(e.octets()));
            assert_eq!(shape(&all), Some(wanted));
        }
    }
}

/// What the kernel would list of these elements, in the order it may choose.
fn listed(shape: &Shape, all: &[(Span, Value)]) -> ElementsFound {
    let mut e = Encoder::default();
    e.text(ELEM_LIST_TABLE, "margay");
    e.text(ELEM_LIST_SET, "nets");
    let list = e.open(ELEM_LIST_ELEMENTS);
    for (span, value) in all.iter().rev() {
        encode::element(&mut e, shape, span, value, true);
    }
    e.close(list);
    ElementsFound::read(Attributes(e.octets())).expect("elements")
}

#[test]
fn ranges_are_put_together_from_their_ends() {
    let shape = Shape { holds: Holds::Verdicts, ..Shape::ranges(&[Field::Ipv4]) };
    let drop = || Value::Verdict(Verdict::Drop);
    let all = [
        (Span::prefix(&[0, 0, 0, 0], 8), drop()),
        (Span::prefix(&[1, 0, 0, 0], 8), Value::Verdict(Verdict::Accept)), // touches the first
        (Span::prefix(&[255, 0, 0, 0], 8), drop()),                        // has no end
    ];
    let found = listed(&shape, &all).elements.expect("ours");
    assert_eq!(found.len(), 5);
    assert_eq!(elements(&shape, found), Some(all.into()));
}

#[test]
fn ends_that_fit_nothing_make_a_set_foreign() {
    let shape = Shape::ranges(&[Field::Ipv4]);
    let whole = listed(&shape, &[(Span::prefix(&[1, 0, 0, 0], 8), Value::Member)]);
    let both = whole.elements.expect("ours");
    assert_eq!(elements(&shape, vec![both[1].clone()]), None);
    let twice = vec![both[0].clone(), both[0].clone()];
    assert_eq!(elements(&shape, twice), None);
    assert_eq!(elements(&Shape::set(&[Field::Ipv4]), both), None);
}

#[test]
fn keys_of_another_length_make_a_set_foreign() {
    let six = Shape::set(&[Field::Ipv6]);
    let found = listed(&six, &[(Span::one(&[7; 16]), Value::Member)]).elements.expect("ours");
    assert_eq!(elements(&Shape::set(&[Field::Ipv4]), found.clone()), None);
    assert_eq!(elements(&Shape::map(&[Field::Ipv6]), found), None);
    let none = Octets::new();
    assert!(crate::table::after(&none).is_none());
}

/// What a kernel listed of `tests/vectors/ruleset.nft`, as nft 1.0.6 made it.
const LISTED: &[&[u8]] = &[
    include_bytes!("../../fuzz/corpus/dump/rules"),
    include_bytes!("../../fuzz/corpus/dump/sets"),
    include_bytes!("../../fuzz/corpus/dump/chains"),
    include_bytes!("../../fuzz/corpus/dump/table"),
    include_bytes!("../../fuzz/corpus/dump/elements-ranges"),
    include_bytes!("../../fuzz/corpus/dump/elements-nets"),
];

#[test]
fn what_nft_made_is_read_as_what_we_would_have_made() {
    let mut text = String::new();
    for octets in LISTED {
        for message in Messages(octets) {
            let Some(attributes) = message.attributes() else { continue };
            let line = match message.nftables() {
                Some(encode::NEWTABLE) => {
                    let found = TableFound::read(attributes).expect("a table");
                    format!("{} {:?}", found.name, found.presence(1, false))
                }
                Some(encode::NEWRULE) => {
                    let found = super::RuleFound::read(attributes).expect("a rule");
                    format!("{} {:?}", found.chain, found.rule)
                }
                Some(encode::NEWSET) => {
                    let found = super::SetFound::read(attributes).expect("a set");
                    format!("{} {:?}", found.name, found.shape)
                }
                Some(encode::NEWCHAIN) => {
                    let found = super::ChainFound::read(attributes).expect("a chain");
                    format!("{} {:?}", found.name, found.hook)
                }
                Some(encode::NEWSETELEM) => {
                    let found = ElementsFound::read(attributes).expect("elements");
                    format!("{} {:?}", found.set, found.elements)
                }
                _ => continue,
            };
            text.push_str(&line);
            text.push('\n');
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/ruleset.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &text).expect("written");
    }
    assert_eq!(text, std::fs::read_to_string(path).expect("a golden file"));
}

#[test]
fn messages_cut_or_changed_anywhere_are_read_without_a_panic() {
    for octets in LISTED {
        for at in (0..octets.len()).step_by(5) {
            let mut changed = octets.to_vec();
            changed[at] ^= 0x41;
            for list in [&changed[..], &octets[..at]] {
                for message in Messages(list) {
                    let Some(attributes) = message.attributes() else { continue };
                    TableFound::read(attributes.clone());
                    super::ChainFound::read(attributes.clone());
                    super::RuleFound::read(attributes.clone());
                    super::SetFound::read(attributes.clone());
                    ElementsFound::read(attributes);
                }
            }
        }
    }
}

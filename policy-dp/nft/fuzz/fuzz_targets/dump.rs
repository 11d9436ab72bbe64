//! Messages of the kernel, as they are received: read or not ours, and what is read as ours is
//! written so that it reads the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use policy_nft::{
    decode::{
        ChainFound, ElementsFound, Generation, RuleFound, SetFound, TableFound, elements, rule_of,
        table_named,
    },
    encode::{expressions_alone, remark},
    wire::{Message, Messages, Netfilter as _, verdict},
};

fuzz_target!(|input: &[u8]| {
    let mut shapes = Vec::new();
    let mut lists = Vec::new();
    for message in Messages(input) {
        verdict(&message);
        every_reader(&message);
        let Some(attributes) = message.attributes() else { continue };
        shapes.extend(SetFound::read(attributes.clone()).and_then(|set| set.shape));
        lists.extend(ElementsFound::read(attributes).and_then(|found| found.elements));
    }
    for shape in &shapes {
        for list in &lists {
            if let Some(whole) = elements(shape, list.clone()) {
                assert!(whole.keys().all(|span| span.from.len() == shape.octets()));
            }
        }
    }
});

fn every_reader(message: &Message<'_>) {
    let Some(attributes) = message.attributes() else { return };
    if let Some(table) = TableFound::read(attributes.clone()) {
        table.presence(message.port, message.seq % 2 == 0);
    }
    ChainFound::read(attributes.clone());
    Generation::read(attributes.clone());
    table_named(attributes.clone());
    if let Some(rule) = RuleFound::read(attributes).and_then(|found| found.rule) {
        let octets = expressions_alone(rule.expressions());
        let again = rule_of(&octets, &remark(rule.remark())).expect("ours is ours");
        assert_eq!(again.digest(), rule.digest());
    }
}

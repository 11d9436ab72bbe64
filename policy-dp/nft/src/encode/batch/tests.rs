use std::collections::BTreeSet;

use super::{Batch, Object, Terms};
use crate::{
    encode::{NEWSETELEM, NEWTABLE},
    expr::{Expr, Rule, Verdict},
    name::Name,
    plan::Op,
    table::{Field, Shape, Span, Value},
    wire::{self, BATCH_BEGIN, BATCH_END, Messages, Netfilter as _},
};

fn answer(offset: Option<usize>) -> wire::Refusal {
    wire::Refusal { errno: 2, text: None, offset }
}

fn written(ops: &[Op]) -> Batch {
    let table = Name::of("margay");
    let apart = &BTreeSet::new();
    Batch::new(
        Terms { table: &table, generation: Some(7), hold: true, first: u32::MAX, apart },
        ops,
    )
}

fn members(n: u32, shape: Shape) -> Op {
    let member = |n: u32| (Span::prefix(&(n * 4).to_be_bytes(), 31), Value::Member);
    Op::AddElements("nets".into(), shape, (0..n).map(member).collect())
}

#[test]
fn a_batch_is_framed_and_numbered_through() {
    let batch = written(&[Op::HoldTable, Op::AddChain("a".into(), None)]);
    let all: Vec<_> = Messages(batch.octets()).collect();
    let kinds: Vec<_> = all.iter().map(|m| m.kind).collect();
    assert_eq!(kinds, [BATCH_BEGIN, wire::kind(NEWTABLE), 0x0a03, BATCH_END]);
    let numbers: Vec<_> = all.iter().map(|m| m.seq).collect();
    assert_eq!(numbers, [u32::MAX, 0, 1, 2]);
    assert_eq!(batch.numbers(), 4);
    let (number, generation) = all[0].attributes().and_then(|mut a| a.next()).expect("one");
    assert_eq!((number, wire::u32_of(generation)), (1, Some(7)));
}

#[test]
fn no_list_of_elements_outgrows_its_attribute() {
    let shape = Shape::ranges(&[Field::Ipv4]);
    let ops = [members(20_000, shape)];
    let batch = written(&ops);
    let all: Vec<_> = Messages(batch.octets()).collect();
    assert!(all.len() > 12, "{}", all.len());
    let mut starts = 0;
    for message in all.iter().filter(|m| m.nftables() == Some(NEWSETELEM)) {
        let list = message.attributes().and_then(|mut a| a.find(|(n, _)| *n == 3)).expect("a list");
        assert!(list.1.len() < 61_000);
        let starts_here =
            wire::Attributes(list.1).filter(|(_, v)| wire::Attributes(v).count() == 1).count();
        starts += starts_here;
    }
    assert_eq!(starts, 20_000);
}

#[test]
fn an_answer_leads_back_to_the_element() {
    let ops = [Op::HoldTable, members(3000, Shape::ranges(&[Field::Ipv4]))];
    let batch = written(&ops);
    let Op::AddElements(_, _, elements) = &ops[1] else { panic!() };
    let mut nth = 0;
    for message in Messages(batch.octets()).filter(|m| m.nftables() == Some(NEWSETELEM)) {
        let start = 16 + 4;
        let mut at = start;
        for (number, value) in message.attributes().expect("a header") {
            if number == 3 {
                at += 4;
                for (_, element) in wire::Attributes(value) {
                    let object = batch.about(message.seq, &answer(Some(at)), &ops);
                    let end = wire::Attributes(element).count() == 2;
                    let index = if end { nth - 1 } else { nth };
                    nth += usize::from(!end);
                    let span = elements[index].0.clone();
                    assert_eq!(object, Object::Element { set: "nets".into(), span });
                    at += wire::align(element.len() + 4);
                }
                break;
            }
            at += wire::align(value.len() + 4);
        }
    }
    assert_eq!(nth, 3000);
    assert_eq!(batch.about(1, &answer(None), &ops), Object::Set("nets".into()));
    assert_eq!(batch.about(1, &answer(Some(1 << 20)), &ops), Object::Set("nets".into()));
}

#[test]
fn an_answer_leads_back_to_the_rule() {
    let rule = || Rule::new(vec![Expr::Verdict(Verdict::Drop)], None);
    let add = |chain: &str| Op::AddRule(chain.into(), rule());
    let ops = [add("a"), add("b"), add("a"), Op::DropChain("c".into())];
    let batch = written(&ops);
    let about = |seq| batch.about(seq, &answer(None), &ops);
    assert_eq!(about(u32::MAX), Object::Batch);
    assert_eq!(about(2), Object::Rule { chain: "a".into(), index: 1 });
    assert_eq!(about(3), Object::Chain("c".into()));
    assert_eq!(about(4), Object::Batch);
    // What names nothing of the batch is not lost: the batch was refused all the same.
    assert_eq!(about(5), Object::Batch);
    assert_eq!(about(u32::MAX - 1), Object::Batch);
}

//! Random tables, one after the other, each made of the one before by the shortest way.

use policy_nft::{
    Keeper, Name,
    expr::{Expr, Reg, Rule, Verdict},
    netlink::Session,
    plan::Touched,
    table::{Field, Shape, Span, Table, Value, disjoint},
};

use crate::{
    net::enter,
    sample::{chain, filled, name, rule, v4},
};

/// Numbers that look random and are the same each time.
pub struct Dice(pub u64);

impl Dice {
    /// Less than `sides`.
    pub fn roll(&mut self, sides: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        u32::try_from(self.0 >> 33).expect("31 bits") % sides
    }
}

const CHAINS: u32 = 12;

/// A random table over few names, so that much of it meets what was there before. Chains jump to
/// later ones only.
fn table(dice: &mut Dice) -> Table {
    let mut table = Table::default();
    let present: Vec<u32> = (0..CHAINS).filter(|_| dice.roll(3) > 0).collect();
    for n in 0..4 {
        if dice.roll(3) > 0 {
            let shape = [Shape::set(&[Field::Ipv4]), Shape::ranges(&[Field::Ipv4])];
            let [single, ranges] = shape;
            let spans: Vec<Span> = (0..dice.roll(40))
                .map(|_| match n % 2 {
                    0 => Span::one(&v4(dice.roll(60))),
                    _ => Span::prefix(&v4(dice.roll(4000)), 22 + dice.roll(11)),
                })
                .collect();
            let shape = if n % 2 == 0 { single } else { ranges };
            let spans = if n % 2 == 0 { spans } else { disjoint(spans) };
            let set = filled(shape, spans.into_iter().map(|span| (span, Value::Member)));
            table.sets.insert(Name::of(&format!("set{n}")), set);
        }
    }
    let verdict = |dice: &mut Dice| match present.is_empty() || dice.roll(4) == 0 {
        true => Verdict::Drop,
        false => {
            let last = present[dice.roll(u32::try_from(present.len()).expect("few")) as usize];
            Verdict::Goto(Name::of(&format!("chain{last}")))
        }
    };
    let elements: Vec<(Span, Value)> = (0..dice.roll(10))
        .map(|_| (Span::one(&v4(dice.roll(20))), Value::Verdict(verdict(dice))))
        .collect();
    table.sets.insert("map".into(), filled(Shape::map(&[Field::Ipv4]), elements));
    for &n in &present {
        let rules: Vec<Rule> =
            (0..dice.roll(4)).map(|_| random_rule(dice, &table, &present, n)).collect();
        table.chains.insert(Name::of(&format!("chain{n}")), chain(rules));
    }
    table
}

fn random_rule(dice: &mut Dice, table: &Table, present: &[u32], n: u32) -> Rule {
    let mut steps = vec![Expr::Counter];
    if let Some(set) = table.sets.keys().nth(dice.roll(5) as usize).filter(|s| s.as_str() != "map")
    {
        steps.push(Expr::Payload {
            base: policy_nft::expr::Base::Network,
            offset: 12,
            len: 4,
            to: Reg::FIRST,
        });
        steps.push(Expr::Lookup { set: set.clone(), from: Reg::FIRST, inverted: false });
    }
    let later: Vec<u32> = present.iter().copied().filter(|&other| other > n).collect();
    steps.push(Expr::Verdict(match later.first() {
        Some(next) if dice.roll(2) == 0 => Verdict::Jump(Name::of(&format!("chain{next}"))),
        _ => Verdict::Return,
    }));
    rule(steps)
}

/// What differs between two tables.
fn difference(old: &Table, new: &Table) -> Touched {
    let mut touched = Touched::default();
    for name in old.chains.keys().chain(new.chains.keys()) {
        if old.chains.get(name) != new.chains.get(name) {
            touched.chains.insert(name.clone());
        }
    }
    for name in old.sets.keys().chain(new.sets.keys()) {
        let (before, after) = (old.sets.get(name), new.sets.get(name));
        if before == after {
            continue;
        }
        let (Some(before), Some(after)) = (before, after) else {
            touched.sets.insert(name.clone());
            continue;
        };
        let spans = before.elements.keys().chain(after.elements.keys());
        let changed = spans.filter(|s| before.elements.get(*s) != after.elements.get(*s));
        touched.elements.entry(name.clone()).or_default().extend(changed.cloned());
    }
    touched
}

#[test]
fn every_table_follows_from_every_other() {
    if !enter() {
        return;
    }
    let mut dice = Dice(7);
    let mut keeper = Keeper::open(name()).expect("a keeper");
    let mut reader = Session::open(name()).expect("a session");
    let mut old = Table::default();
    keeper.sync(&old).expect("taken");
    for round in 0..300 {
        let new = table(&mut dice);
        let synced = match round % 2 {
            0 => keeper.sync(&new),
            _ => keeper.sync_touched(&new, &difference(&old, &new)),
        };
        let synced = synced.unwrap_or_else(|err| panic!("round {round}: {err}"));
        assert_eq!(synced.readings, 0, "round {round}");
        let actual = reader.read().expect("read");
        assert_eq!(actual.sets, new.sets, "round {round}");
        assert!(
            actual.chains.len() == new.chains.len()
                && new.chains.iter().all(|(name, c)| actual.chains[name].has(&c.rules)),
            "round {round}"
        );
        assert_eq!(keeper.actual().map(|a| &a.sets), Some(&new.sets), "round {round}");
        old = new;
    }
}

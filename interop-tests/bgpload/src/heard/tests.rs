use super::*;
use crate::Args;

fn plan(classes: usize) -> Plan {
    let peers = 2;
    Plan::new(&Args { peers, routes: 50, prefer_first: true, classes, ..Args::default() })
}

fn tell(heard: &mut Heard, plan: &Plan, prefix: usize, peer: u32, stamp: u16) {
    let told = Told { marker: MARKER + peer, stamp, digest: peer };
    heard.take(plan, Event::Announce(plan.table.keys[prefix], told), Instant::now());
}

#[test]
fn only_the_reference_completes_a_session() {
    let plan = plan(0);
    let mut heard = Heard::new(&plan, None, 0, true);
    for prefix in 0..50 {
        assert!(!heard.complete());
        tell(&mut heard, &plan, prefix, 1, 0);
    }
    assert_eq!((heard.present(), heard.progress()), (50, (0, 50)));
    for prefix in 0..50 {
        assert!(!heard.complete());
        tell(&mut heard, &plan, prefix, 0, 0);
    }
    assert!(heard.complete());
    heard.take(&plan, Event::Withdraw(plan.table.keys[3]), Instant::now());
    assert!(!heard.complete());
}

#[test]
fn what_nobody_tells_any_more_must_go() {
    let mut plan = plan(0);
    let mut heard = Heard::new(&plan, None, 0, false);
    (0..50).for_each(|prefix| tell(&mut heard, &plan, prefix, 0, 0));
    plan.lose(0);
    plan.lose(1);
    heard.aim(&plan, None, 0);
    for prefix in 0..50 {
        assert!(!heard.complete());
        heard.take(&plan, Event::Withdraw(plan.table.keys[prefix]), Instant::now());
    }
    assert!(heard.complete());
}

#[test]
fn a_session_may_be_told_its_own_winning_routes_or_not() {
    let plan = plan(0);
    let mut heard = Heard::new(&plan, Some(0), 0, false);
    assert!(heard.complete());
    tell(&mut heard, &plan, 0, 0, 0);
    assert!(heard.complete());
    let heard = Heard::new(&plan, Some(1), 0, false);
    assert_eq!(heard.progress(), (0, 50));
}

#[test]
fn what_the_policy_rejects_must_not_come_and_the_rest_must_be_stamped() {
    let plan = plan(1);
    let mut heard = Heard::new(&plan, None, 1, false);
    for prefix in (0..50).filter(|p| plan.allows(1, *p)) {
        tell(&mut heard, &plan, prefix, 0, 0);
        assert!(!heard.complete());
        tell(&mut heard, &plan, prefix, 0, 1);
    }
    assert!(heard.complete());
    let rejected = (0..50).find(|p| !plan.allows(1, *p)).expect("one in eight");
    tell(&mut heard, &plan, rejected, 0, 1);
    assert!(!heard.complete());
}

#[test]
fn a_new_stamp_makes_every_route_stale() {
    let plan = plan(0);
    let mut heard = Heard::new(&plan, None, 0, false);
    (0..50).for_each(|prefix| tell(&mut heard, &plan, prefix, 0, 0));
    heard.aim(&plan, None, 77);
    assert_eq!(heard.progress(), (0, 50));
    (0..50).for_each(|prefix| tell(&mut heard, &plan, prefix, 0, 77));
    assert!(heard.complete());
}

#[test]
fn a_comparison_finds_altered_attributes_and_paths_nobody_sent() {
    let plan = plan(0);
    let sent: Vec<Vec<u32>> =
        (0u32..2).map(|peer| vec![peer; plan.parts[peer as usize].len()]).collect();
    let mut heard = Heard::new(&plan, None, 0, true);
    (0..50).for_each(|prefix| tell(&mut heard, &plan, prefix, 0, 0));
    let result = heard.compare(&plan, &sent).expect("deep");
    assert_eq!((result.compared, result.invented, result.altered), (50, 0, 0));
    let told = Told { marker: 0, stamp: 0, digest: 0 };
    heard.take(&plan, Event::Announce(plan.table.keys[1], told), Instant::now());
    let told = Told { marker: MARKER, stamp: 0, digest: 5 };
    heard.take(&plan, Event::Announce(plan.table.keys[2], told), Instant::now());
    let result = heard.compare(&plan, &sent).expect("deep");
    assert_eq!((result.compared, result.invented, result.altered), (50, 1, 1));
}

#[test]
fn probes_are_known_by_their_address() {
    let plan = plan(0);
    let mut heard = Heard::new(&plan, None, 0, false);
    let key = V4 | u64::from(PROBES + 2) << 8 | 32;
    heard.take(&plan, Event::Announce(key, Told::default()), Instant::now());
    assert!(heard.probes[2].is_some() && heard.probes[0].is_none());
    assert_eq!(heard.counts.unknown, 0);
}

use bgp_packet::{NextHop, PathAttributes};

use super::*;

fn attrs(next_hop: &str) -> Arc<Attrs> {
    let next_hop = NextHop { address: next_hop.parse().unwrap(), link_local: None };
    Arc::new(Attrs::new(&PathAttributes::local(next_hop)))
}

fn extra(weight: u32, interface: Option<u32>) -> Extra {
    Extra { local: LocalAttributes { weight, ..LocalAttributes::default() }, interface }
}

#[test]
fn equal_sets_have_one_number_until_the_last_is_released() {
    let mut sets = Interned::default();
    let a = sets.acquire(&attrs("192.0.2.1"), Extra::default());
    let b = sets.acquire(&attrs("192.0.2.1"), Extra::default());
    assert_eq!(a, b);
    sets.release(a);
    assert_eq!(sets.len(), 1);
    sets.release(b);
    assert_eq!(sets.len(), 0);
}

#[test]
fn local_values_tell_sets_apart() {
    let mut sets = Interned::default();
    let a = sets.acquire(&attrs("192.0.2.1"), Extra::default());
    let b = sets.acquire(&attrs("192.0.2.1"), extra(5, None));
    assert_ne!(a, b);
    assert_eq!(sets.extra(b).local.weight, 5);
    assert_eq!(sets.hop(a), sets.hop(b));
}

#[test]
fn an_interface_matters_for_link_local_next_hops_only() {
    let mut sets = Interned::default();
    let global = [None, Some(3)].map(|i| sets.acquire(&attrs("192.0.2.1"), extra(0, i)));
    assert_eq!(global[0], global[1]);
    let link = [Some(4), Some(3)].map(|i| sets.acquire(&attrs("fe80::1"), extra(0, i)));
    assert_ne!(link[0], link[1]);
    assert_eq!(sets.resolved(sets.hop(link[0])).0.interface, Some(4));
}

#[test]
fn next_hops_are_tracked_from_first_to_last_use() {
    let mut sets = Interned::default();
    let mut out = Vec::new();
    let a = sets.acquire(&attrs("192.0.2.1"), Extra::default());
    let b = sets.acquire(&attrs("192.0.2.1"), extra(1, None));
    let own = sets.acquire(&attrs("0.0.0.0"), Extra::default());
    assert_eq!(sets.hop(own), NONE);
    sets.drain(&mut out);
    let [Effect::Track(key)] = out[..] else { panic!("{out:?}") };
    let state = Some(Resolved { cost: 3, direct: false, local: false, interface: None });
    assert_eq!(sets.resolve(&key, state), Some((sets.hop(a), None)));
    assert_eq!(sets.resolve(&key, state), None, "no change");
    sets.release(a);
    sets.drain(&mut out);
    assert_eq!(out.len(), 1);
    sets.release(b);
    sets.drain(&mut out);
    assert!(matches!(out[1], Effect::Untrack(k) if k == key));
    assert_eq!(sets.resolve(&key, None), None);
}

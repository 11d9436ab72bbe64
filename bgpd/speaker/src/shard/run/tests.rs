use super::*;

fn end(peer: u16, epoch: u32, family: Family) -> Notice {
    let families = Family::SUPPORTED.into_iter().collect();
    Notice { peer: PeerId(peer), epoch: Epoch(epoch), family, families }
}

#[test]
fn a_flood_of_end_of_rib_is_one_entry_a_peer_and_family() {
    let (sender, mut receiver) = mpsc::channel(1);
    let mut unnoticed = Unnoticed::default();
    for epoch in 0..1000 {
        unnoticed.add(end(2, epoch, Family::IPV4_UNICAST));
        unnoticed.add(end(1, epoch, Family::IPV6_UNICAST));
        unnoticed.add(end(1, epoch, Family::IPV4_UNICAST));
    }
    let mut heard = Vec::new();
    for _ in 0..5 {
        unnoticed.deliver(&sender);
        while let Ok(Notice { peer, epoch, family, .. }) = receiver.try_recv() {
            heard.push((peer.0, epoch.0, family));
        }
    }
    let (v4, v6) = (Family::IPV4_UNICAST, Family::IPV6_UNICAST);
    assert_eq!(heard, [(1, 999, v4), (1, 999, v6), (2, 999, v4)], "the last word of each");
    assert!(unnoticed.is_empty());
    unnoticed.add(end(1, 1, v4));
    drop(receiver);
    unnoticed.deliver(&sender);
    assert!(unnoticed.is_empty(), "nobody waits for it any more");
}

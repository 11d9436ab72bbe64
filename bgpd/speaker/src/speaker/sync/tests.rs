use super::*;

const V4: Family = Family::IPV4_UNICAST;
const V6: Family = Family::IPV6_UNICAST;

fn sync(peers: &[u16]) -> Sync {
    let mut sync = Sync::default();
    sync.begin(peers.iter().map(|id| PeerId(*id)).collect(), false);
    sync
}

fn soon(sync: &Sync) -> bool {
    sync.deadline().is_some_and(|at| at <= Instant::now() + SETTLE)
}

#[tokio::test]
async fn every_family_must_have_passed_every_shard() {
    let mut sync = sync(&[1]);
    let both: FamilySet = [V4, V6].into_iter().collect();
    for family in [V4, V4, V6] {
        assert!(!soon(&sync));
        sync.end_of_rib(PeerId(1), Epoch(1), family, both, 2);
    }
    assert!(!soon(&sync));
    sync.end_of_rib(PeerId(1), Epoch(1), V6, both, 2);
    assert!(soon(&sync));
}

#[tokio::test]
async fn a_session_that_came_back_begins_anew() {
    let mut sync = sync(&[1]);
    let only: FamilySet = [V4].into_iter().collect();
    sync.end_of_rib(PeerId(1), Epoch(1), V4, only, 2);
    sync.end_of_rib(PeerId(1), Epoch(2), V4, only, 2);
    assert!(!soon(&sync));
    sync.end_of_rib(PeerId(1), Epoch(2), V4, only, 2);
    assert!(soon(&sync));
}

#[tokio::test]
async fn nobody_is_waited_for_who_is_gone() {
    let mut sync = sync(&[1, 2]);
    sync.gone(PeerId(1));
    assert!(!soon(&sync));
    sync.gone(PeerId(2));
    assert!(soon(&sync));
    sync.finish();
    assert_eq!(sync.deadline(), None);
    sync.gone(PeerId(3));
    assert_eq!(sync.deadline(), None);
}

#[tokio::test]
async fn without_peers_the_sweep_comes_at_once() {
    assert!(soon(&sync(&[])));
}

#[tokio::test]
async fn peers_that_nobody_can_name_are_given_all_the_time() {
    for known in [&[][..], &[1]] {
        let mut sync = Sync::default();
        sync.begin(known.iter().map(|id| PeerId(*id)).collect(), true);
        sync.gone(PeerId(1));
        assert!(!soon(&sync), "known: {known:?}");
    }
}

#[tokio::test]
async fn nothing_is_swept_before_all_peers_are_known() {
    let mut sync = Sync::default();
    sync.hold();
    let only: FamilySet = [V4].into_iter().collect();
    sync.end_of_rib(PeerId(1), Epoch(1), V4, only, 1);
    sync.end_of_rib(PeerId(2), Epoch(1), V4, only, 1);
    // What it sent went with its session.
    sync.gone(PeerId(2));
    assert_eq!(sync.deadline(), None);
    let peers = |ids: [u16; 2]| ids.into_iter().map(PeerId).collect();
    let mut early = Sync { heard: sync.heard.clone(), ..Sync::default() };
    early.begin([PeerId(1)].into_iter().collect(), false);
    assert!(soon(&early));
    sync.begin(peers([1, 3]), false);
    assert!(!sync.is_held() && !soon(&sync));
    sync.end_of_rib(PeerId(3), Epoch(1), V4, only, 1);
    assert!(soon(&sync));
}

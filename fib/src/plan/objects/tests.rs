use super::*;

fn hop(id: u32, last: u8) -> KernelObject {
    let gateway = Some([10, 0, 0, last].into());
    let kind = ObjectKind::Hop(Hop { gateway, oif: 1, onlink: false });
    KernelObject { id, protocol: 186, kind }
}

fn group(id: u32, members: &[u32]) -> KernelObject {
    let members = members.iter().map(|m| (*m, 1)).collect();
    KernelObject { id, protocol: 186, kind: ObjectKind::Group(members) }
}

#[test]
fn only_our_protocol_in_our_numbers_is_ours() {
    let mut objects = Objects::new(186);
    objects.set(hop(7, 1));
    objects.set(KernelObject { protocol: 11, ..hop(FIRST_ID, 2) });
    objects.set(hop(FIRST_ID + 1, 3));
    assert!(!objects.has_ours(7) && !objects.has_ours(FIRST_ID) && objects.has_ours(FIRST_ID + 1));
    // A number somebody else took is never given out.
    let mut taken = BTreeSet::new();
    let id = objects.fresh_id(&taken).expect("plenty");
    assert_eq!(id, FIRST_ID + 2);
    taken.insert(FIRST_ID + 3);
    assert_eq!(objects.fresh_id(&taken), Some(FIRST_ID + 4));
}

#[test]
fn unused_objects_go_late_and_groups_before_their_members() {
    let mut objects = Objects::new(186);
    objects.set(hop(FIRST_ID, 1));
    objects.set(hop(FIRST_ID + 1, 2));
    objects.set(group(FIRST_ID + 2, &[FIRST_ID, FIRST_ID + 1]));
    let keep = std::time::Duration::from_secs(30);
    let start = Instant::now();
    let needed = BTreeSet::from([FIRST_ID]);
    let (gone, next) = objects.garbage(&needed, start, keep);
    assert!(gone.is_empty() && next == Some(start + keep));
    let (gone, _) = objects.garbage(&needed, start + keep, keep);
    assert_eq!(gone, [FIRST_ID + 2, FIRST_ID + 1]);
    // Needed again in between: the time starts over.
    let all = objects.ids().into_iter().collect();
    assert_eq!(objects.garbage(&all, start + keep, keep), (Vec::new(), None));
    let (gone, _) = objects.garbage(&needed, start + keep * 2, keep);
    assert!(gone.is_empty());
}

#[test]
fn a_group_of_a_former_process_is_claimed_by_what_it_leads_to() {
    let mut objects = Objects::new(186);
    objects.set(hop(FIRST_ID, 1));
    objects.set(group(FIRST_ID + 2, &[FIRST_ID]));
    objects.adopt(FIRST_ID);
    objects.adopt(FIRST_ID + 2);
    let target = objects.expand(FIRST_ID + 2);
    assert_eq!(objects.find_claimable(&target), Some(FIRST_ID + 2));
    assert_eq!(objects.find_claimable(&Hops::new()), None);
    objects.disown(FIRST_ID + 2);
    assert_eq!(objects.find_claimable(&target), None);
}

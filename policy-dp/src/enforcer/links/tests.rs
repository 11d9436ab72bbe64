use super::*;

fn pod(name: &str) -> EndpointId {
    EndpointId::Workload { namespace: "shop".to_owned(), name: name.to_owned() }
}

#[test]
fn the_one_told_last_has_the_link_and_the_next_one_when_it_goes() {
    let mut links = Links::default();
    assert_eq!(links.claim(&pod("z"), Some("cali1"), 3), BTreeSet::from(["cali1".to_owned()]));
    links.claim(&pod("a"), Some("cali1"), 7);
    assert_eq!(links.owner("cali1"), Some(&pod("a")));
    assert_eq!(links.losers("cali1").collect::<Vec<_>>(), [&pod("z")]);
    assert_eq!(links.without(), 1);
    // Who is told anew has it then.
    links.claim(&pod("z"), Some("cali1"), 9);
    assert_eq!(links.owner("cali1"), Some(&pod("z")));
    assert_eq!(links.release(&pod("z")), BTreeSet::from(["cali1".to_owned()]));
    assert_eq!(links.owners().collect::<Vec<_>>(), [("cali1", &pod("a"))]);
    assert_eq!(links.without(), 0);
}

#[test]
fn a_claim_that_stays_touches_nothing_and_one_that_moves_touches_both_links() {
    let mut links = Links::default();
    links.claim(&pod("a"), Some("cali1"), 3);
    assert_eq!(links.claim(&pod("a"), Some("cali1"), 3), BTreeSet::new());
    let both = BTreeSet::from(["cali1".to_owned(), "cali2".to_owned()]);
    assert_eq!(links.claim(&pod("a"), Some("cali2"), 4), both);
    assert_eq!(links.owner("cali1"), None);
}

#[test]
fn who_names_no_link_has_none_and_is_counted() {
    let mut links = Links::default();
    assert_eq!(links.claim(&pod("a"), None, 3), BTreeSet::new());
    assert_eq!((links.without(), links.owners().count()), (1, 0));
    links.release(&pod("a"));
    assert_eq!(links.without(), 0);
}

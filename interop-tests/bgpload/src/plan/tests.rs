use super::*;

fn args(layout: &str, peers: usize, routes: usize, universe: usize) -> Args {
    Args { peers, routes, universe, layout: layout.into(), ..Args::default() }
}

#[test]
fn each_layout_tells_what_it_says() {
    let same = Plan::new(&args("same", 3, 500, 500));
    assert_eq!((same.prefixes(), same.paths()), (500, 1500));
    let distinct = Plan::new(&args("distinct", 3, 500, 500));
    assert_eq!((distinct.prefixes(), distinct.paths()), (1500, 1500));
    assert_eq!(distinct.parts[1][0].from, 500);
    let random = Plan::new(&args("random", 3, 500, 2000));
    assert_eq!((random.prefixes(), random.paths()), (2000, 1500));
    assert!(random.reachable() < 1500);
}

#[test]
fn the_shortest_path_wins_until_its_peer_is_lost() {
    let mut plan = Plan::new(&Args { prefer_first: true, ..args("same", 2, 100, 100) });
    assert!(plan.wins(0, 7) && !plan.wins(1, 7));
    plan.lose(0);
    assert!(!plan.wins(0, 7) && plan.wins(1, 7));
    assert_eq!(plan.reachable(), 100);
    plan.lose(1);
    assert_eq!(plan.reachable(), 0);
    assert!(!plan.wins(1, 7));
}

#[test]
fn each_class_is_refused_its_own_share() {
    let plan = Plan::new(&Args { classes: 4, ..args("same", 1, 2000, 2000) });
    assert_eq!([plan.class(0), plan.class(3), plan.class(4)], [1, 4, 1]);
    for class in 1..=4 {
        let allowed = (0..2000).filter(|p| plan.allows(class, *p)).count();
        assert!((1600..1900).contains(&allowed), "{allowed}");
    }
    assert!((0..2000).all(|p| plan.allows(0, p)));
}

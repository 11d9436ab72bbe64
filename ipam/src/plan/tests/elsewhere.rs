//! Addresses taken for another node than the one that is asked.

use super::*;

/// For a node that may use these pools.
fn for_node(node: &str, pools: impl IntoIterator<Item = Pool>, request: Request) -> Request {
    let there = Elsewhere::new(node.try_into().unwrap(), Pools::new(pools));
    Request { elsewhere: Some(Arc::new(there)), ..request }
}

#[test]
fn another_nodes_addresses_come_from_its_own_block_and_leave_its_owner_alone() {
    let mut lab = Lab::new([pool("a", "10.0.0.0/24", 30)]);
    let first = lab.assign("n2", request("h0", 1, 0)).unwrap().remove(0);
    lab.assign("n1", request("mine", 1, 0)).unwrap();
    let pools = [pool("a", "10.0.0.0/24", 30)];
    let grant = lab.assign("n1", for_node("n2", pools, request("h1", 1, 0))).unwrap().remove(0);
    assert_eq!((grant.block, grant.node.as_str(), grant.borrowed), (first.block, "n2", false));
    let (_, block) = lab.view.block(first.block).unwrap();
    assert!(block.is_owned_by(&owner("n2")), "the instance of n2 is kept");
    assert_eq!(lab.view.used_on(&"n2".try_into().unwrap()).len(), 2);
}

#[test]
fn a_block_claimed_for_another_node_is_adopted_by_it_and_by_nobody_else() {
    let mut lab = Lab::new([pool("a", "10.0.0.0/24", 30)]);
    let ask = |handle| for_node("n2", [pool("a", "10.0.0.0/24", 30)], request(handle, 1, 0));
    let first = lab.assign("n1", ask("h0")).unwrap().remove(0);
    assert_eq!(lab.owner_of(&first.block.to_string()).as_deref(), Some("n2"));
    assert!(!first.borrowed, "n2 has it");
    // Before n2 has a daemon, a second request finds that block again.
    assert_eq!(lab.assign("n3", ask("h1")).unwrap()[0].block, first.block);
    assert_eq!(lab.view.len(), 1);
    assert_eq!(lab.view.owned(&owner("n2")).count(), 0, "not yet of its instance");
    for (node, adopted) in [("n1", 0), ("n2", 1), ("n2", 0)] {
        assert_eq!(lab.ask(node, Ask::Adopt), Ok(Answer::Blocks(adopted)), "{node}");
    }
    assert_eq!(lab.view.owned(&owner("n2")).map(|block| block.held_len()).sum::<usize>(), 2);
    // Of its instance now, it still serves those who ask for n2.
    assert_eq!(lab.assign("n1", ask("h2")).unwrap()[0].block, first.block);
}

#[test]
fn pools_limits_and_affinity_are_those_of_the_other_node() {
    let rack = Pool { selects_node: false, ..pool("rack", "10.1.0.0/24", 30) };
    let mut lab = Lab::new([rack.clone(), pool("a", "10.0.0.0/29", 30)]);
    let there = || [Pool { selects_node: true, ..rack.clone() }];
    let grant = lab.assign("n1", for_node("n2", there(), request("h", 4, 0))).unwrap().remove(0);
    assert_eq!(grant.pool, "rack", "which selects n2 and not n1");
    let none = [rack.clone()];
    let error = lab.addresses("n1", for_node("n2", none, request("k", 1, 0))).unwrap_err();
    assert!(error.contains("no pool gives node n2") && error.contains("nodeSelector"), "{error}");
    lab.settings = Settings { strict_affinity: true, max_blocks_per_host: 1, ..lab.settings };
    let error = lab.addresses("n1", for_node("n2", there(), request("k", 1, 0))).unwrap_err();
    assert!(error.starts_with("node n2 owns 1 blocks"), "{error}");
    // An address of a block of n1 is not for n2, and one of n2's is.
    let mine = lab.assign("n1", request("mine", 1, 0)).unwrap().remove(0).block;
    let mine = mine.hosts().next().unwrap().to_string();
    let pools = [pool("a", "10.0.0.0/29", 30)];
    let error = lab.addresses("n1", for_node("n2", pools, exactly("k", &mine))).unwrap_err();
    assert!(error.contains("of node n1, and strictAffinity is on"), "{error}");
    lab.release(Release::Address { address: grant.address, handle: None, serial: None }).unwrap();
    let theirs = grant.address.to_string();
    let got = lab.addresses("n1", for_node("n2", there(), exactly("k", &theirs)));
    assert_eq!(got, Ok(vec![theirs]));
}

#[test]
fn requests_for_several_nodes_go_together_and_each_gets_a_block_of_its_own() {
    let mut lab = Lab::new([pool("a", "10.0.0.0/24", 30)]);
    let there = |node| for_node(node, [pool("a", "10.0.0.0/24", 30)], request(node, 2, 0));
    let asks =
        [Ask::Assign(there("n2")), Ask::Assign(request("n1", 2, 0)), Ask::Assign(there("n3"))];
    let plan = lab.plan("n1", &asks);
    lab.commit(&plan);
    let nodes: Vec<String> = plan
        .outcomes
        .iter()
        .map(|outcome| match &outcome.answer {
            Ok(Answer::Assigned(grants)) => {
                assert!(grants.iter().all(|grant| !grant.borrowed));
                grants[0].node.to_string()
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(nodes, ["n2", "n1", "n3"]);
    assert_eq!(lab.view.len(), 3);
    for node in ["n1", "n2", "n3"] {
        assert_eq!(lab.view.of_node(&node.try_into().unwrap()).count(), 1, "{node}");
    }
}

//! Explanations.

use bgp_core::{
    policy::{RuleAction, definition::SetDefinition},
    rib::{Effect, NotSent, PeerId, Reason},
};
use bgp_packet::{Asn, Community};

use super::rig::{Rig, net, rule};

const P: &str = "192.0.2.0/24";

fn export(rig: &Rig, to: u16) -> Vec<Result<(), NotSent>> {
    let explanation = rig.shard.explain(net(P), Some(PeerId(to))).unwrap();
    let export = explanation.export.unwrap();
    export.considered.into_iter().map(|path| path.outcome.map(drop)).collect()
}

#[test]
fn each_step_is_shown_up_to_the_one_that_decided() {
    let mut rig = Rig::new();
    (1..=2).for_each(|id| rig.external(id));
    rig.announce(1, P, |_| {});
    rig.announce(2, P, |attributes| attributes.as_path.prepend(Asn(65002), 2));
    let explanation = rig.shard.explain(net(P), None).unwrap();
    let steps = |at: usize| -> Vec<(Reason, String, String, bool)> {
        let steps = explanation.paths[at].steps.iter();
        steps.map(|s| (s.step, s.ours.clone(), s.theirs.clone(), s.decided)).collect()
    };
    let last = (Reason::AsPathLength, "1".to_owned(), "3".to_owned(), true);
    assert_eq!(explanation.paths[0].igp_metric, Some(0), "on link");
    assert_eq!(steps(0).last(), Some(&last));
    assert_eq!(steps(0)[0], (Reason::Weight, "0".to_owned(), "0".to_owned(), false));
    let last = (Reason::AsPathLength, "3".to_owned(), "1".to_owned(), true);
    assert_eq!(steps(1).last(), Some(&last));
    assert!(rig.shard.explain(net("10.0.0.0/8"), None).is_none());
}

#[test]
fn rules_that_matched_are_named() {
    let mut rig = Rig::new();
    rig.up(1, |spec| {
        let set = SetDefinition { med: Some(1), ..SetDefinition::default() };
        spec.config.import = rule(&[P], set, RuleAction::Accept);
    });
    rig.up(2, |spec| {
        spec.config.export = rule(&[P], SetDefinition::default(), RuleAction::Reject);
    });
    rig.announce(1, P, |_| {});
    let explanation = rig.shard.explain(net(P), Some(PeerId(2))).unwrap();
    let path = &explanation.paths[0];
    assert!(path.changed_by_import);
    let (policy, hits) = path.import.as_ref().unwrap();
    assert_eq!((policy.as_str(), hits[0].name.as_deref()), ("rule", Some("only")));
    let considered = &explanation.export.unwrap().considered[0];
    assert_eq!(considered.outcome, Err(NotSent::Policy));
    assert_eq!(considered.policy.as_ref().unwrap().1[0].action, RuleAction::Reject);
}

#[test]
fn a_route_that_is_not_sent_says_why() {
    let mut rig = Rig::new();
    (1..=2).for_each(|id| rig.external(id));
    (3..=4).for_each(|id| rig.internal(id));
    rig.announce(1, P, |_| {});
    assert_eq!(export(&rig, 1), [Err(NotSent::SplitHorizon)]);
    assert_eq!(export(&rig, 2), [Ok(())]);
    rig.announce(1, P, |attributes| attributes.communities.push(Community::NO_EXPORT));
    assert_eq!(export(&rig, 2), [Err(NotSent::Community)]);
    assert_eq!(export(&rig, 3), [Ok(())]);
    rig.announce(2, P, |_| {});
    rig.announce(3, P, |attributes| attributes.local_pref = Some(200));
    assert_eq!(rig.best(P), Some(3));
    assert_eq!(export(&rig, 4)[0], Err(NotSent::Reflection));
    assert_eq!(export(&rig, 4)[1..], [Err(NotSent::NotBest), Err(NotSent::NotBest)]);
}

#[test]
fn a_session_without_the_family_or_an_address_says_so() {
    let mut rig = Rig::new();
    rig.external(1);
    rig.up(2, |spec| spec.negotiated.families = bgp_packet::FamilySet::EMPTY);
    rig.up(3, |spec| spec.addresses.v4 = None);
    rig.announce(1, P, |_| {});
    assert_eq!(export(&rig, 2), [Err(NotSent::Family)]);
    assert_eq!(export(&rig, 3), [Err(NotSent::NoNextHop)]);
    assert!(rig.got(3, P).is_none());
}

#[test]
fn attributes_beyond_a_message_are_not_sent_and_say_so() {
    let mut rig = Rig::new();
    (1..=2).for_each(|id| rig.external(id));
    rig.announce(1, P, |_| {});
    assert!(rig.got(2, P).is_some());
    rig.announce(1, P, |a| a.communities = (0..2000).map(Community).collect());
    assert!(rig.got(2, P).is_none(), "withdrawn, for it does not fit");
    assert_eq!(export(&rig, 2), [Err(NotSent::TooLong)]);
    rig.assert_exact();
    let told = rig.notes.iter().filter_map(|note| match note {
        Effect::TooLong { to, except, prefix } => Some((to.len(), *except, *prefix)),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [(2, Some(PeerId(1)), net(P))], "not its source");
}

//! One test for each row of the table of UPDATE errors in RFC 7606 and its successors.

use std::net::Ipv6Addr;

use super::*;
use crate::{Family, FamilySet, Notification, as_path::AsnWidth};

fn session(kind: SessionKind) -> UpdateContext {
    UpdateContext {
        kind,
        peer_asn: Asn(65001),
        four_octet_asn: true,
        families: Family::SUPPORTED.into_iter().collect(),
        add_path: FamilySet::EMPTY,
        extended_next_hop: FamilySet::EMPTY,
        enforce_first_as: false,
        reject_as_set: false,
    }
}

fn external() -> UpdateContext {
    session(SessionKind::External)
}

fn internal() -> UpdateContext {
    session(SessionKind::Internal)
}

fn two_octet() -> UpdateContext {
    UpdateContext { four_octet_asn: false, ..external() }
}

/// An attribute whose length octet is right.
fn attribute(flags: u8, code: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![flags, code, value.len() as u8];
    out.extend(value);
    out
}

const ORIGIN: [u8; 4] = [0x40, 1, 1, 0];
const AS_PATH: [u8; 9] = [0x40, 2, 6, 2, 1, 0, 0, 0xFD, 0xE9];
const AS_PATH_TWO: [u8; 7] = [0x40, 2, 4, 2, 1, 0xFD, 0xE9];
const NEXT_HOP: [u8; 7] = [0x40, 3, 4, 192, 0, 2, 1];
const LOCAL_PREF: [u8; 7] = [0x40, 5, 4, 0, 0, 0, 100];
/// 2001:db8::/32 by way of 2001:db8::1.
const MP_REACH: [u8; 29] = [
    0x80, 14, 26, 0, 2, 1, 16, 0x20, 1, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 32,
    0x20, 1, 0x0D, 0xB8,
];
/// 10.0.0.0/8.
const NLRI: [u8; 2] = [8, 10];

/// The body of an UPDATE.
fn body(withdrawn: &[u8], attributes: &[&[u8]], nlri: &[u8]) -> Vec<u8> {
    let attributes = attributes.concat();
    let mut out = (withdrawn.len() as u16).to_be_bytes().to_vec();
    out.extend(withdrawn);
    out.extend((attributes.len() as u16).to_be_bytes());
    out.extend(attributes);
    out.extend(nlri);
    out
}

fn run(body: &[u8], context: &UpdateContext) -> Result<Decoded, Notification> {
    let update = Update::parse(body, context)?;
    update.decode_attributes(context)
}

/// A message that announces 10.0.0.0/8 with all it needs on this session, and `more`.
fn with(more: &[&[u8]], context: &UpdateContext) -> Decoded {
    let as_path: &[u8] = if context.four_octet_asn { &AS_PATH } else { &AS_PATH_TWO };
    let mut attributes: Vec<&[u8]> = vec![&ORIGIN, as_path, &NEXT_HOP];
    let own = |code| more.iter().any(|attribute| attribute[1] == code);
    if context.kind == SessionKind::Internal && !own(5) {
        attributes.push(&LOCAL_PREF);
    }
    attributes.retain(|attribute| !own(attribute[1]));
    attributes.extend(more);
    run(&body(&[], &attributes, &NLRI), context).unwrap()
}

#[track_caller]
fn accepted(decoded: Decoded) -> PathAttributes {
    assert_eq!(decoded.faults, []);
    decoded.attributes.expect("the route is taken")
}

#[track_caller]
fn withdrawn(decoded: &Decoded, code: u8) {
    assert_eq!(decoded.attributes, None);
    let strongest = decoded.faults.iter().max_by_key(|fault| fault.handling).unwrap();
    assert_eq!((strongest.code, strongest.handling), (code, Handling::TreatAsWithdraw));
}

/// The route stays, one attribute goes.
#[track_caller]
fn discarded(decoded: Decoded, code: u8) -> PathAttributes {
    let faults: Vec<_> = decoded.faults.iter().map(|fault| (fault.code, fault.handling)).collect();
    assert_eq!(faults, [(code, Handling::Discard)]);
    decoded.attributes.expect("the route is taken")
}

#[track_caller]
fn reset(outcome: Result<Decoded, Notification>, subcode: u8) -> Notification {
    let notification = outcome.unwrap_err();
    assert_eq!((notification.code, notification.subcode), (3, subcode));
    notification
}

#[test]
fn withdrawn_or_attribute_length_beyond_the_message_resets() {
    reset(run(&[0, 5, 8, 10, 0, 0], &external()), 1);
    reset(run(&[0, 0, 0, 9, 0x40, 1, 1, 0], &external()), 1);
    reset(run(&[0, 0, 0], &external()), 1);
    reset(run(&[], &external()), 1);
}

#[test]
fn cut_attribute_header_is_treat_as_withdraw() {
    for rest in [&[0x40][..], &[0x40, 4], &[0x50, 4, 0]] {
        let octets = body(&[], &[&ORIGIN, &AS_PATH, &NEXT_HOP, rest], &NLRI);
        withdrawn(&run(&octets, &external()).unwrap(), 0);
    }
}

#[test]
fn attribute_length_beyond_the_block_is_treat_as_withdraw() {
    let octets = body(&[], &[&ORIGIN, &AS_PATH, &NEXT_HOP, &[0x80, 4, 5, 0, 0, 0, 1]], &NLRI);
    let update = Update::parse(&octets, &external()).unwrap();
    assert_eq!(update.announced[0].unwrap().iter().count(), 1);
    withdrawn(&update.decode_attributes(&external()).unwrap(), 0);
}

#[test]
fn mp_reach_in_the_lost_part_resets() {
    let lost = [&[0xC0, 8, 200][..], &MP_REACH].concat();
    reset(run(&body(&[], &[&ORIGIN, &AS_PATH, &lost], &[]), &external()), 1);
    // Also where the lost attribute itself says that it carries NLRI, and classic NLRI is there.
    let cut = &MP_REACH[..20];
    reset(run(&body(&[], &[&ORIGIN, &AS_PATH, &NEXT_HOP, cut], &NLRI), &external()), 1);
}

#[test]
fn duplicate_mp_reach_or_mp_unreach_resets() {
    let block: [&[u8]; 4] = [&MP_REACH, &ORIGIN, &AS_PATH, &MP_REACH];
    reset(run(&body(&[], &block, &[]), &external()), 1);
    let unreach = attribute(0x80, 15, &[0, 2, 1]);
    reset(run(&body(&[], &[&unreach, &unreach], &[]), &external()), 1);
}

#[test]
fn other_duplicates_keep_the_first() {
    let first = attribute(0x80, 4, &[0, 0, 0, 1]);
    let second = attribute(0x80, 4, &[0, 0, 0, 2]);
    let route = discarded(with(&[&first, &second], &external()), 4);
    assert_eq!(route.med, Some(1));
    // Unknown ones too, and whatever is wrong with the second.
    let first = attribute(0xC0, 200, &[1]);
    let second = attribute(0x00, 200, &[2]);
    let route = discarded(with(&[&first, &second], &external()), 200);
    assert_eq!(route.unknown.len(), 1);
    assert_eq!(route.unknown[0].value, [1]);
}

#[test]
fn flags_that_conflict_with_the_definition_are_treat_as_withdraw() {
    let samples: [(u8, u8, &[u8]); 12] = [
        (0xC0, 1, &[0]),
        (0x80, 2, &[]),
        (0xC0, 3, &[192, 0, 2, 1]),
        (0xC0, 4, &[0, 0, 0, 1]),
        (0xC0, 5, &[0, 0, 0, 1]),
        (0x80, 8, &[0, 0, 0, 1]),
        (0xC0, 9, &[1, 1, 1, 1]),
        (0xC0, 10, &[1, 1, 1, 1]),
        (0x80, 16, &[0; 8]),
        (0x80, 32, &[0; 12]),
        (0x40, 35, &[0, 0, 0, 1]),
        (0x80, 40, &[1, 0, 7, 0, 0, 0, 0, 0, 0, 1]),
    ];
    for (flags, code, value) in samples {
        for context in [external(), internal()] {
            withdrawn(&with(&[&attribute(flags, code, value)], &context), code);
        }
    }
}

#[test]
fn flags_that_conflict_on_mp_attributes_reset() {
    let mut reach = MP_REACH;
    reach[0] = 0xC0;
    let data = reset(run(&body(&[], &[&reach, &ORIGIN, &AS_PATH], &[]), &external()), 9).data;
    assert_eq!(&*data, &reach);
    let unreach = attribute(0x40, 15, &[0, 2, 1]);
    reset(run(&body(&[], &[&unreach], &[]), &external()), 9);
}

#[test]
fn flags_that_conflict_on_aigp_atomic_aggregate_and_aggregator_discard() {
    let aigp = attribute(0xC0, 26, &[1, 0, 11, 0, 0, 0, 0, 0, 0, 0, 1]);
    discarded(with(&[&aigp], &external()), 26);
    let route = discarded(with(&[&attribute(0xC0, 6, &[])], &external()), 6);
    assert!(!route.atomic_aggregate);
    let aggregator = attribute(0x40, 7, &[0, 0, 0, 1, 1, 1, 1, 1]);
    assert_eq!(discarded(with(&[&aggregator], &external()), 7).aggregator, None);
}

#[test]
fn partial_on_well_known_or_non_transitive_is_ignored_and_cleared() {
    let origin = attribute(0x60, 1, &[0]);
    let med = attribute(0xA0, 4, &[0, 0, 0, 1]);
    let route = accepted(with(&[&origin, &med], &external()));
    assert_eq!(route.partial, crate::PartialBits::default());
    assert_eq!(route.med, Some(1));
}

#[test]
fn partial_on_known_optional_transitive_is_kept() {
    let communities = attribute(0xE0, 8, &[0, 1, 0, 2]);
    let route = accepted(with(&[&communities], &external()));
    assert!(route.partial.contains(8));
    let mut octets = Vec::new();
    crate::canonical_octets(&route, &mut octets);
    assert!(octets.ends_with(&communities));
}

#[test]
fn unused_flag_bits_and_a_needless_extended_length_are_ignored() {
    let origin = attribute(0x4F & !0x10, 1, &[0]);
    let med = [0x9F, 4, 0, 4, 0, 0, 0, 1];
    assert_eq!(accepted(with(&[&origin, &med], &external())).med, Some(1));
}

#[test]
fn missing_mandatory_attributes_are_treat_as_withdraw() {
    let all: [(&[u8], u8); 4] = [(&ORIGIN, 1), (&AS_PATH, 2), (&NEXT_HOP, 3), (&LOCAL_PREF, 5)];
    for (_, missing) in all {
        let block: Vec<&[u8]> =
            all.iter().filter(|(_, code)| *code != missing).map(|(octets, _)| *octets).collect();
        withdrawn(&run(&body(&[], &block, &NLRI), &internal()).unwrap(), missing);
    }
}

#[test]
fn local_pref_is_not_missed_from_external_peers() {
    assert_eq!(accepted(with(&[], &external())).local_pref, None);
    let confed = attribute(0x40, 2, &[3, 1, 0, 0, 0xFD, 0xE9]);
    assert_eq!(accepted(with(&[&confed], &session(SessionKind::ConfedExternal))).local_pref, None);
}

#[test]
fn nothing_is_missed_where_nothing_is_announced() {
    let decoded = run(&body(&NLRI, &[], &[]), &internal()).unwrap();
    assert_eq!(decoded, Decoded { attributes: None, faults: Vec::new() });
    let unreach = attribute(0x80, 15, &[0, 2, 1, 32, 0x20, 1, 0x0D, 0xB8]);
    let decoded = run(&body(&[], &[&unreach], &[]), &internal()).unwrap();
    assert_eq!(decoded, Decoded { attributes: None, faults: Vec::new() });
    // Attributes beside withdrawals mean nothing, but are not wrong.
    assert_eq!(run(&body(&NLRI, &[&ORIGIN], &[]), &internal()).unwrap().faults, []);
}

#[test]
fn next_hop_is_not_missed_beside_mp_reach_alone() {
    let route =
        accepted(run(&body(&[], &[&MP_REACH, &ORIGIN, &AS_PATH], &[]), &external()).unwrap());
    let address: Ipv6Addr = "2001:db8::1".parse().unwrap();
    assert_eq!(route.next_hop, NextHop::new(address));
    // But for classic NLRI in the same message it is.
    let octets = body(&[], &[&MP_REACH, &ORIGIN, &AS_PATH], &NLRI);
    withdrawn(&run(&octets, &external()).unwrap(), 3);
}

#[test]
fn next_hop_beside_mp_reach_is_ignored() {
    let next_hop = attribute(0x40, 3, &[0, 0, 0, 0]);
    let octets = body(&[], &[&MP_REACH, &ORIGIN, &AS_PATH, &next_hop], &[]);
    let route = accepted(run(&octets, &external()).unwrap());
    assert!(route.next_hop.address.is_ipv6());
}

#[test]
fn unknown_well_known_is_treat_as_withdraw() {
    withdrawn(&with(&[&attribute(0x40, 200, &[1])], &external()), 200);
}

#[test]
fn unknown_optional_transitive_is_kept_with_partial() {
    let later = attribute(0xE0, 201, &[2]);
    let unknown = [0xD0, 200, 0, 1, 1];
    let route = accepted(with(&[&later, &unknown], &external()));
    assert_eq!(
        route.unknown,
        [
            RawAttribute { flags: 0xE0, code: 200, value: vec![1] },
            RawAttribute { flags: 0xE0, code: 201, value: vec![2] },
        ]
    );
}

#[test]
fn unknown_non_transitive_is_dropped_quietly() {
    let route = accepted(with(&[&attribute(0x80, 200, &[1])], &external()));
    assert_eq!(route.unknown, []);
}

#[test]
fn malformed_prefix_in_the_classic_fields_resets() {
    for field in [&[33, 10, 0, 0, 0, 0][..], &[24, 10, 0], &[8]] {
        assert!(reset(run(&body(field, &[], &[]), &external()), 10).data.is_empty());
        reset(run(&body(&[], &[&ORIGIN, &AS_PATH, &NEXT_HOP], field), &external()), 10);
    }
}

#[test]
fn malformed_prefix_in_mp_attributes_resets() {
    for field in [&[129][..], &[64, 0x20, 1], &[1]] {
        let reach = attribute(0x80, 14, &[&MP_REACH[3..24], field].concat());
        let data = reset(run(&body(&[], &[&reach, &ORIGIN, &AS_PATH], &[]), &external()), 9).data;
        assert_eq!(&*data, &reach);
        let unreach = attribute(0x80, 15, &[&[0, 2, 1], field].concat());
        reset(run(&body(&[], &[&unreach], &[]), &external()), 9);
    }
}

#[test]
fn mp_attribute_of_a_family_not_negotiated_is_ignored() {
    let flowspec = attribute(0x80, 14, &[0, 1, 133, 0, 0, 3, 1, 8, 10]);
    let octets = body(&[], &[&flowspec, &ORIGIN, &AS_PATH], &[]);
    let update = Update::parse(&octets, &external()).unwrap();
    assert!(update.announced.iter().all(Option::is_none));
    assert_eq!(update.notes.len(), 1);
    assert_eq!((update.notes[0].code, update.notes[0].handling), (14, Handling::Ignore));
    let decoded = update.decode_attributes(&external()).unwrap();
    assert_eq!(decoded, Decoded { attributes: None, faults: Vec::new() });
    // The classic NLRI beside it is taken.
    let decoded = run(&body(&[], &[&flowspec, &ORIGIN, &AS_PATH, &NEXT_HOP], &NLRI), &external());
    accepted(decoded.unwrap());

    let mut context = external();
    context.families = [Family::IPV4_UNICAST].into_iter().collect();
    let unreach = attribute(0x80, 15, &[0, 2, 1, 32, 0x20, 1, 0x0D, 0xB8]);
    let octets = body(&[], &[&unreach], &[]);
    let update = Update::parse(&octets, &context).unwrap();
    assert!(update.withdrawn.iter().all(Option::is_none));
    assert_eq!(update.end_of_rib, None);
    assert_eq!(update.notes.len(), 1);
}

#[test]
fn host_bits_are_masked() {
    let octets = body(&[], &[&ORIGIN, &AS_PATH, &NEXT_HOP], &[9, 10, 0xFF]);
    let update = Update::parse(&octets, &external()).unwrap();
    let prefixes: Vec<_> = update.announced[0].unwrap().iter().collect();
    assert_eq!(prefixes, [(0, "10.128.0.0/9".parse().unwrap())]);
}

#[test]
fn silly_prefixes_are_ignored_and_noted() {
    let nlri = [8, 10, 4, 0xE0, 8, 0, 8, 127, 0, 32, 239, 1, 1, 1, 8, 11];
    let octets = body(&[], &[&ORIGIN, &AS_PATH, &NEXT_HOP], &nlri);
    let update = Update::parse(&octets, &external()).unwrap();
    let prefixes: Vec<String> =
        update.announced[0].unwrap().iter().map(|(_, prefix)| prefix.to_string()).collect();
    assert_eq!(prefixes, ["10.0.0.0/8", "0.0.0.0/0", "11.0.0.0/8"]);
    assert_eq!(update.notes.len(), 1);
    assert_eq!(update.notes[0].handling, Handling::Ignore);
    assert!(update.notes[0].text.contains("4 prefixes"), "{}", update.notes[0]);
    accepted(update.decode_attributes(&external()).unwrap());
}

#[test]
fn origin_length_or_value_is_treat_as_withdraw() {
    for value in [&[][..], &[0, 0], &[3], &[255]] {
        withdrawn(&with(&[&attribute(0x40, 1, value)], &external()), 1);
    }
}

#[test]
fn malformed_as_path_is_treat_as_withdraw() {
    let unknown_type = [5, 1, 0, 0, 0, 1];
    let empty_segment = [2, 0];
    let overrun = [2, 2, 0, 0, 0, 1];
    let left_over = [2, 1, 0, 0, 0, 1, 2];
    let as_zero = [2, 2, 0, 0, 0, 1, 0, 0, 0, 0];
    for value in [&unknown_type[..], &empty_segment, &overrun, &left_over, &as_zero] {
        withdrawn(&with(&[&attribute(0x40, 2, value)], &external()), 2);
    }
    let as_zero_two = attribute(0x40, 2, &[2, 1, 0, 0]);
    withdrawn(&with(&[&as_zero_two], &two_octet()), 2);
}

#[test]
fn empty_as_path_is_legal() {
    let route = accepted(with(&[&attribute(0x40, 2, &[])], &internal()));
    assert!(route.as_path.is_empty());
}

#[test]
fn first_as_that_is_not_the_peer_is_treat_as_withdraw_where_enforced() {
    let other = attribute(0x40, 2, &[2, 2, 0, 0, 0xFD, 0xEA, 0, 0, 0xFD, 0xE9]);
    let set = attribute(0x40, 2, &[1, 1, 0, 0, 0xFD, 0xE9]);
    let empty = attribute(0x40, 2, &[]);
    let enforced = UpdateContext { enforce_first_as: true, ..external() };
    for path in [&other, &set, &empty] {
        withdrawn(&with(&[path], &enforced), 2);
        accepted(with(&[path], &external()));
        accepted(with(&[path], &UpdateContext { enforce_first_as: true, ..internal() }));
    }
    accepted(with(&[], &enforced));
}

#[test]
fn confed_segments_from_outside_are_treat_as_withdraw() {
    for kind in [3, 4] {
        let path = attribute(0x40, 2, &[2, 1, 0, 0, 0xFD, 0xE9, kind, 1, 0, 0, 0xFD, 0xE9]);
        withdrawn(&with(&[&path], &external()), 2);
        accepted(with(&[&path], &internal()));
    }
}

#[test]
fn first_segment_from_a_confed_peer_must_be_a_confed_sequence() {
    let context = session(SessionKind::ConfedExternal);
    for value in [&[2, 1, 0, 0, 0xFD, 0xE9][..], &[4, 1, 0, 0, 0xFD, 0xE9], &[]] {
        withdrawn(&with(&[&attribute(0x40, 2, value)], &context), 2);
    }
    accepted(with(&[&attribute(0x40, 2, &[3, 1, 0, 0, 0xFD, 0xE9])], &context));
}

#[test]
fn as_set_is_treat_as_withdraw_where_rejected() {
    let set = attribute(0x40, 2, &[2, 1, 0, 0, 0xFD, 0xE9, 1, 1, 0, 0, 0, 7]);
    let confed_set = attribute(0x40, 2, &[3, 1, 0, 0, 0xFD, 0xE9, 4, 1, 0, 0, 0, 7]);
    let reject = UpdateContext { reject_as_set: true, ..internal() };
    for path in [&set, &confed_set] {
        withdrawn(&with(&[path], &reject), 2);
        accepted(with(&[path], &internal()));
    }
    // Also where only AS4_PATH has it.
    let as4 = attribute(0xC0, 17, &[1, 1, 0, 1, 0x86, 0xA0]);
    withdrawn(&with(&[&as4], &UpdateContext { reject_as_set: true, ..two_octet() }), 2);
}

#[test]
fn own_as_in_the_path_is_no_error_here() {
    accepted(with(
        &[&attribute(0x40, 2, &[2, 2, 0, 0, 0xFD, 0xE9, 0, 0, 0xFD, 0xE9])],
        &external(),
    ));
}

#[test]
fn next_hop_length_or_no_host_is_treat_as_withdraw() {
    for value in [&[][..], &[192, 0, 2], &[192, 0, 2, 1, 1]] {
        withdrawn(&with(&[&attribute(0x40, 3, value)], &external()), 3);
    }
    for first in [0, 127, 224, 239, 240, 255] {
        withdrawn(&with(&[&attribute(0x40, 3, &[first, 0, 0, 1])], &external()), 3);
    }
    accepted(with(&[&attribute(0x40, 3, &[223, 0, 0, 1])], &external()));
}

#[test]
fn martian_next_hop_of_mp_reach_is_told_not_punished() {
    for last in [0, 1] {
        let mut reach = MP_REACH;
        reach[7..22].fill(0);
        reach[22] = last;
        let route =
            accepted(run(&body(&[], &[&reach, &ORIGIN, &AS_PATH], &[]), &external()).unwrap());
        assert!(route.next_hop.is_martian());
    }
}

#[test]
fn med_length_is_treat_as_withdraw() {
    for value in [&[][..], &[1, 2, 3], &[1, 2, 3, 4, 5]] {
        withdrawn(&with(&[&attribute(0x80, 4, value)], &external()), 4);
    }
}

#[test]
fn local_pref_from_external_is_discarded_else_its_length_matters() {
    for value in [&[0, 0, 0, 1][..], &[], &[1, 2, 3, 4, 5]] {
        let local_pref = attribute(0x40, 5, value);
        assert_eq!(discarded(with(&[&local_pref], &external()), 5).local_pref, None);
    }
    for value in [&[][..], &[1, 2, 3, 4, 5]] {
        withdrawn(&with(&[&attribute(0x40, 5, value)], &internal()), 5);
        let path = attribute(0x40, 2, &[3, 1, 0, 0, 0xFD, 0xE9]);
        let confed = session(SessionKind::ConfedExternal);
        withdrawn(&with(&[&path, &attribute(0x40, 5, value)], &confed), 5);
    }
    assert_eq!(accepted(with(&[&LOCAL_PREF], &internal())).local_pref, Some(100));
}

#[test]
fn atomic_aggregate_with_a_value_is_discarded() {
    let route = discarded(with(&[&attribute(0x40, 6, &[0])], &external()), 6);
    assert!(!route.atomic_aggregate);
    assert!(accepted(with(&[&attribute(0x40, 6, &[])], &external())).atomic_aggregate);
}

#[test]
fn aggregator_length_or_as_zero_is_discarded() {
    let six = [0xFD, 0xE9, 1, 1, 1, 1];
    let eight = [0, 0, 0xFD, 0xE9, 1, 1, 1, 1];
    let expected = Aggregator { asn: Asn(65001), address: Ipv4Addr::new(1, 1, 1, 1) };
    for (context, good, bad) in
        [(external(), &eight[..], &six[..]), (two_octet(), &six[..], &eight[..])]
    {
        let route = accepted(with(&[&attribute(0xC0, 7, good)], &context));
        assert_eq!(route.aggregator, Some(expected));
        assert_eq!(discarded(with(&[&attribute(0xC0, 7, bad)], &context), 7).aggregator, None);
    }
    discarded(with(&[&attribute(0xC0, 7, &[0, 0, 0, 0, 1, 1, 1, 1])], &external()), 7);
    discarded(with(&[&attribute(0xC0, 7, &[0, 0, 1, 1, 1, 1])], &two_octet()), 7);
}

#[test]
fn communities_length_is_treat_as_withdraw() {
    for value in [&[][..], &[1, 2, 3], &[1, 2, 3, 4, 5]] {
        withdrawn(&with(&[&attribute(0xC0, 8, value)], &external()), 8);
    }
}

#[test]
fn originator_id_from_external_is_discarded_from_internal_its_length_matters() {
    for value in [&[1, 1, 1, 1][..], &[1]] {
        let route = discarded(with(&[&attribute(0x80, 9, value)], &external()), 9);
        assert_eq!(route.originator_id, None);
    }
    for value in [&[][..], &[1, 1, 1], &[1, 1, 1, 1, 1]] {
        withdrawn(&with(&[&attribute(0x80, 9, value)], &internal()), 9);
    }
    let route = accepted(with(&[&attribute(0x80, 9, &[1, 1, 1, 1])], &internal()));
    assert_eq!(route.originator_id, Some(Ipv4Addr::new(1, 1, 1, 1)));
}

#[test]
fn cluster_list_from_external_is_discarded_from_internal_its_length_matters() {
    for value in [&[1, 1, 1, 1][..], &[1]] {
        let route = discarded(with(&[&attribute(0x80, 10, value)], &external()), 10);
        assert_eq!(route.cluster_list, Vec::<Ipv4Addr>::new());
    }
    for value in [&[][..], &[1, 1, 1], &[1, 1, 1, 1, 1]] {
        withdrawn(&with(&[&attribute(0x80, 10, value)], &internal()), 10);
    }
    let route = accepted(with(&[&attribute(0x80, 10, &[1, 1, 1, 1, 2, 2, 2, 2])], &internal()));
    assert_eq!(route.cluster_list, [Ipv4Addr::new(1, 1, 1, 1), Ipv4Addr::new(2, 2, 2, 2)]);
}

#[test]
fn mp_reach_lengths_that_cannot_be_reset() {
    let too_short = [0, 2, 1, 0];
    let beyond = [0, 2, 1, 16, 0, 0, 0, 0];
    // The next hop ends where the reserved octet should be.
    let no_reserved = [&[0, 1, 1, 4][..], &[192, 0, 2, 1]].concat();
    for value in [&too_short[..], &beyond, &no_reserved, &[]] {
        let reach = attribute(0x80, 14, value);
        let data = reset(run(&body(&[], &[&reach, &ORIGIN, &AS_PATH], &[]), &external()), 9).data;
        assert_eq!(&*data, &reach);
    }
}

#[test]
fn mp_reach_next_hop_length_must_be_legal_for_the_family() {
    let mut extended = external();
    extended.extended_next_hop = [Family::IPV4_UNICAST].into_iter().collect();
    let reach = |afi: u8, len: u8| {
        let mut value = vec![0, afi, 1, len];
        value.resize(4 + usize::from(len), 1);
        value.extend([0, 8, 10]);
        attribute(0x80, 14, &value)
    };
    for (context, afi, legal) in [
        (external(), 1, &[4][..]),
        (extended.clone(), 1, &[4, 16, 32]),
        (external(), 2, &[16, 32]),
        (extended, 2, &[16, 32]),
    ] {
        for len in [0, 4, 8, 12, 15, 16, 17, 24, 32, 33, 48] {
            let outcome = run(&body(&[], &[&reach(afi, len), &ORIGIN, &AS_PATH], &[]), &context);
            if legal.contains(&len) {
                accepted(outcome.unwrap());
            } else {
                reset(outcome, 9);
            }
        }
    }
}

#[test]
fn mp_unreach_below_three_octets_resets() {
    for value in [&[][..], &[0], &[0, 2]] {
        let unreach = attribute(0x80, 15, value);
        reset(run(&body(&[], &[&unreach], &[]), &external()), 9);
    }
}

#[test]
fn extended_communities_length_is_treat_as_withdraw() {
    for value in [&[][..], &[0; 7], &[0; 9]] {
        withdrawn(&with(&[&attribute(0xC0, 16, value)], &external()), 16);
    }
    for value in [&[][..], &[0; 19], &[0; 21]] {
        withdrawn(&with(&[&attribute(0xC0, 25, value)], &external()), 25);
    }
}

#[test]
fn malformed_as4_path_is_discarded() {
    let mapped = attribute(0x40, 2, &[2, 1, 0x5B, 0xA0]);
    let unknown_type = [5, 1, 0, 0, 0, 1];
    let empty_segment = [2, 0];
    let overrun = [2, 2, 0, 0, 0, 1];
    let as_zero = [2, 1, 0, 0, 0, 0];
    for value in [&unknown_type[..], &empty_segment, &overrun, &as_zero, &[]] {
        let as4 = attribute(0xC0, 17, value);
        let route = discarded(with(&[&mapped, &as4], &two_octet()), 17);
        assert_eq!(route.as_path, AsPath::sequence([Asn::TRANS]));
    }
}

#[test]
fn confed_segments_in_as4_path_are_dropped_alone() {
    let mapped = attribute(0x40, 2, &[2, 1, 0x5B, 0xA0]);
    let as4 = attribute(0xC0, 17, &[3, 1, 0, 0, 0, 7, 2, 1, 0, 1, 0x86, 0xA0]);
    let route = accepted(with(&[&mapped, &as4], &two_octet()));
    assert_eq!(route.as_path, AsPath::sequence([Asn(100_000)]));
}

#[test]
fn malformed_as4_aggregator_is_discarded() {
    let mapped = attribute(0xC0, 7, &[0x5B, 0xA0, 1, 1, 1, 1]);
    for value in [&[][..], &[0, 1, 0x86, 0xA0, 1, 1], &[0, 0, 0, 0, 1, 1, 1, 1]] {
        let as4 = attribute(0xC0, 18, value);
        let route = discarded(with(&[&mapped, &as4], &two_octet()), 18);
        assert_eq!(route.aggregator.unwrap().asn, Asn::TRANS);
    }
}

#[test]
fn as4_attributes_from_a_four_octet_peer_are_discarded() {
    let as4 = attribute(0xC0, 17, &[2, 1, 0, 1, 0x86, 0xA0]);
    let route = discarded(with(&[&as4], &external()), 17);
    assert_eq!(route.as_path, AsPath::sequence([Asn(65001)]));
    let as4 = attribute(0xC0, 18, &[0, 1, 0x86, 0xA0, 1, 1, 1, 1]);
    discarded(with(&[&as4], &external()), 18);
}

#[test]
fn as4_attributes_are_ignored_where_the_aggregator_needs_none() {
    let mapped = attribute(0x40, 2, &[2, 1, 0x5B, 0xA0]);
    let as4_path = attribute(0xC0, 17, &[2, 1, 0, 1, 0x86, 0xA0]);
    let aggregator = attribute(0xC0, 7, &[0xFD, 0xE9, 1, 1, 1, 1]);
    let as4_aggregator = attribute(0xC0, 18, &[0, 1, 0x86, 0xA0, 2, 2, 2, 2]);
    let route = accepted(with(&[&mapped, &aggregator, &as4_path, &as4_aggregator], &two_octet()));
    assert_eq!(route.as_path, AsPath::sequence([Asn::TRANS]));
    assert_eq!(route.aggregator.unwrap().asn, Asn(65001));
    // Without AS4_AGGREGATOR there is nothing to conclude.
    let route = accepted(with(&[&mapped, &aggregator, &as4_path], &two_octet()));
    assert_eq!(route.as_path, AsPath::sequence([Asn(100_000)]));
}

#[test]
fn as4_aggregator_stands_for_as_trans() {
    let aggregator = attribute(0xC0, 7, &[0x5B, 0xA0, 1, 1, 1, 1]);
    let as4_aggregator = attribute(0xC0, 18, &[0, 1, 0x86, 0xA0, 2, 2, 2, 2]);
    let route = accepted(with(&[&aggregator, &as4_aggregator], &two_octet()));
    let expected = Aggregator { asn: Asn(100_000), address: Ipv4Addr::new(2, 2, 2, 2) };
    assert_eq!(route.aggregator, Some(expected));
    // Alone it means nothing.
    assert_eq!(accepted(with(&[&as4_aggregator], &two_octet())).aggregator, None);
}

#[test]
fn first_as_is_looked_for_in_the_merged_path() {
    let context = UpdateContext { enforce_first_as: true, peer_asn: Asn(100_000), ..two_octet() };
    let mapped = attribute(0x40, 2, &[2, 1, 0x5B, 0xA0]);
    let as4_path = attribute(0xC0, 17, &[2, 1, 0, 1, 0x86, 0xA0]);
    accepted(with(&[&mapped, &as4_path], &context));
    withdrawn(&with(&[&mapped], &context), 2);
}

#[test]
fn malformed_pmsi_tunnel_is_treat_as_withdraw() {
    for value in [&[][..], &[0, 6, 0, 0], &[0, 6, 0, 0, 0, 1, 1, 1], &[0, 0, 0, 0, 0, 1]] {
        withdrawn(&with(&[&attribute(0xC0, 22, value)], &external()), 22);
    }
    let good = attribute(0xC0, 22, &[0, 6, 0, 0, 0, 192, 0, 2, 1]);
    assert_eq!(accepted(with(&[&good], &external())).unknown.len(), 1);
}

#[test]
fn malformed_tunnel_encapsulation_is_treat_as_withdraw() {
    for value in [&[0][..], &[0, 8, 0, 5, 1], &[0, 8, 0, 3, 4, 2, 0], &[0, 8, 0, 3, 128, 0, 1]] {
        withdrawn(&with(&[&attribute(0xC0, 23, value)], &external()), 23);
    }
    // An unknown tunnel type with unknown sub-TLVs is passed on.
    let good = attribute(0xC0, 23, &[0, 99, 0, 6, 99, 1, 0, 200, 0, 0]);
    assert_eq!(accepted(with(&[&good], &external())).unknown.len(), 1);
}

#[test]
fn aigp_is_discarded_well_formed_or_not() {
    for value in [&[1, 0, 11, 0, 0, 0, 0, 0, 0, 0, 1][..], &[1, 0, 10, 0], &[]] {
        let route = discarded(with(&[&attribute(0x80, 26, value)], &internal()), 26);
        assert_eq!(route.unknown, []);
    }
}

#[test]
fn malformed_bgp_ls_or_prefix_sid_is_discarded() {
    discarded(with(&[&attribute(0x80, 29, &[4, 0, 0, 9])], &external()), 29);
    for value in
        [&[][..], &[1, 0, 6, 0, 0, 0, 0, 0, 0], &[1, 0, 7, 0], &[3, 0, 7, 0, 0, 0, 0, 0, 0, 0]]
    {
        let route = discarded(with(&[&attribute(0xC0, 40, value)], &external()), 40);
        assert_eq!(route.unknown, []);
    }
    let good = attribute(0xC0, 40, &[1, 0, 7, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(accepted(with(&[&good], &external())).unknown.len(), 1);
    assert_eq!(accepted(with(&[&attribute(0x80, 29, &[4, 0, 0, 0])], &external())).unknown, []);
}

#[test]
fn large_communities_length_is_treat_as_withdraw() {
    for value in [&[][..], &[0; 11], &[0; 13]] {
        withdrawn(&with(&[&attribute(0xC0, 32, value)], &external()), 32);
    }
}

#[test]
fn otc_length_is_treat_as_withdraw() {
    for value in [&[][..], &[0; 3], &[0; 5]] {
        withdrawn(&with(&[&attribute(0xC0, 35, value)], &external()), 35);
    }
    let route = accepted(with(&[&attribute(0xC0, 35, &[0, 0, 0, 7])], &external()));
    assert_eq!(route.only_to_customer, Some(Asn(7)));
}

#[test]
fn malformed_attr_set_is_treat_as_withdraw() {
    for value in [&[0, 0, 0][..], &[0, 0, 0, 1, 0x40, 1, 2, 0], &[0, 0, 0, 1, 0x40, 3, 0]] {
        withdrawn(&with(&[&attribute(0xC0, 128, value)], &external()), 128);
    }
    let good = attribute(0xC0, 128, &[0, 0, 0, 1, 0x40, 1, 1, 0]);
    assert_eq!(accepted(with(&[&good], &external())).unknown.len(), 1);
}

#[test]
fn only_atomic_aggregate_and_as_path_may_be_empty() {
    for (flags, code) in [(0x40, 1), (0x40, 3), (0x80, 4), (0xC0, 8), (0xC0, 16), (0xC0, 32)] {
        withdrawn(&with(&[&attribute(flags, code, &[])], &internal()), code);
    }
    let route = accepted(with(&[&attribute(0x40, 6, &[]), &attribute(0x40, 2, &[])], &internal()));
    assert!(route.atomic_aggregate && route.as_path.is_empty());
}

#[test]
fn the_strongest_of_several_faults_counts() {
    let decoded = with(&[&attribute(0x40, 6, &[1]), &attribute(0x80, 4, &[1])], &external());
    assert_eq!(decoded.faults.len(), 2);
    withdrawn(&decoded, 4);
}

#[test]
fn treat_as_withdraw_leaves_the_withdrawals_of_the_message() {
    let octets = body(&[8, 11], &[&[0x40, 1, 1, 9], &AS_PATH, &NEXT_HOP], &NLRI);
    let update = Update::parse(&octets, &external()).unwrap();
    assert_eq!(update.withdrawn[0].unwrap().iter().count(), 1);
    assert_eq!(update.announced[0].unwrap().iter().count(), 1);
    withdrawn(&update.decode_attributes(&external()).unwrap(), 1);
}

#[test]
fn rule_e_a_strong_fault_without_reachable_nlri_resets() {
    let bad_origin = attribute(0x40, 1, &[9]);
    // Already `parse` finds it, so that a caller may skip the attributes of what only withdraws.
    let octets = body(&NLRI, &[&bad_origin], &[]);
    let notification = Update::parse(&octets, &external()).unwrap_err();
    assert_eq!((notification.code, notification.subcode), (3, 1));
    // A weak one does not.
    run(&body(&NLRI, &[&attribute(0x40, 6, &[1])], &[]), &external()).unwrap();
    // Nor is MP_REACH of an ignored family without NLRI.
    let flowspec = attribute(0x80, 14, &[0, 1, 133, 0, 0, 3, 1, 8, 10]);
    run(&body(&NLRI, &[&flowspec, &bad_origin], &[]), &external()).unwrap();
}

#[test]
fn faults_keep_the_attribute_and_no_more_than_64_octets() {
    let long = attribute(0x80, 4, &[7; 100]);
    let decoded = with(&[&long], &external());
    assert_eq!(decoded.faults[0].octets, long[..64]);
    let text = decoded.faults[0].to_string();
    assert!(text.starts_with("MULTI_EXIT_DISC: is 100 octets, expected 4 [80046407"), "{text}");
}

#[test]
fn many_faults_are_bounded_without_losing_the_strongest() {
    let repeated = attribute(0xC0, 200, &[]);
    let mut more = vec![&repeated[..]; 1000];
    let decoded = with(&more, &external());
    assert_eq!(decoded.faults.len(), 16);
    assert!(decoded.attributes.is_some());
    let bad_med = attribute(0x80, 4, &[]);
    more.push(&bad_med);
    let decoded = with(&more, &external());
    assert_eq!(decoded.faults.len(), 16);
    withdrawn(&decoded, 4);
}

#[test]
fn repeated_communities_are_taken_once_in_order() {
    let value = [0, 1, 0, 2, 0, 3, 0, 4, 0, 1, 0, 2, 0, 3, 0, 4, 0, 0, 0, 1];
    let route = accepted(with(&[&attribute(0xC0, 8, &value)], &external()));
    assert_eq!(route.communities, [0x1_0002, 0x3_0004, 1].map(Community));
    let large = [[1_u8; 12], [2; 12], [1; 12]].concat();
    let ext = [[1_u8; 8], [2; 8], [1; 8]].concat();
    let v6 = [[1_u8; 20], [2; 20], [1; 20]].concat();
    let more = [attribute(0xC0, 32, &large), attribute(0xC0, 16, &ext), attribute(0xC0, 25, &v6)];
    let route = accepted(with(&more.each_ref().map(Vec::as_slice), &external()));
    assert_eq!(route.large_communities.len(), 2);
    assert_eq!(route.ext_communities, [[1; 8], [2; 8]]);
    assert_eq!(route.ipv6_ext_communities, [[1; 20], [2; 20]]);
}

#[test]
fn long_lists_lose_their_duplicates_too() {
    let mut list: Vec<u32> = (0..100).chain(50..150).collect();
    remove_duplicates(&mut list);
    assert_eq!(list, (0..150).collect::<Vec<_>>());
}

#[test]
fn a_two_octet_path_is_read_as_such() {
    let path = AsPath::from_wire(&[2, 2, 0, 1, 0, 2], AsnWidth::Two).unwrap();
    assert_eq!(path, AsPath::sequence([Asn(1), Asn(2)]));
}

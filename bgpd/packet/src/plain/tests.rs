use crate::{
    Announce, AsPath, AsSegment, Asn, Community, EncodeContext, Family, FamilySet, LargeCommunity,
    NextHop, PathAttributes, SessionKind, Update, UpdateContext, canonical_octets,
};

fn context(kind: SessionKind) -> UpdateContext {
    UpdateContext {
        kind,
        peer_asn: Asn(65001),
        four_octet_asn: true,
        families: Family::SUPPORTED.into_iter().collect(),
        add_path: FamilySet::EMPTY,
        extended_next_hop: FamilySet::EMPTY,
        enforce_first_as: true,
        reject_as_set: false,
    }
}

fn usual() -> PathAttributes {
    let mut attributes = PathAttributes::local(NextHop::new([192, 0, 2, 1]));
    attributes.as_path = AsPath::sequence([65001, 4_200_000_000, 3].map(Asn));
    attributes.med = Some(7);
    attributes.communities = vec![Community(9), Community(5)];
    attributes.large_communities = vec![LargeCommunity(1, 2, 3)];
    attributes
}

/// The body of an UPDATE of ours.
fn body(family: Family, attributes: &PathAttributes) -> Vec<u8> {
    let encode = EncodeContext { four_octet_asn: true, add_path: false, max_len: 4096 };
    let mut out = bytes::BytesMut::new();
    let prefix = if family.afi == 1 { "10.0.0.0/8" } else { "2001:db8::/32" };
    Announce::new(family, attributes, encode).expect("it fits").encode_all(
        [(0, prefix.parse().expect("a prefix"))],
        &mut out,
        |_, _| {},
    );
    out.split_off(crate::HEADER_LEN).to_vec()
}

fn plain(body: &[u8], context: &UpdateContext) -> Option<(NextHop, Vec<u8>)> {
    let mut out = Vec::new();
    let update = Update::parse(body, context).expect("sound");
    update.plain_attributes(context, &mut out).map(|next_hop| (next_hop, out))
}

fn canonical(attributes: &PathAttributes) -> Option<(NextHop, Vec<u8>)> {
    let mut out = Vec::new();
    canonical_octets(attributes, &mut out);
    Some((attributes.next_hop, out))
}

#[test]
fn usual_attributes_of_every_kind_of_session_and_family_are_plain() {
    let external = usual();
    let context_of_external = context(SessionKind::External);
    let read = plain(&body(Family::IPV4_UNICAST, &external), &context_of_external);
    assert_eq!(read, canonical(&external));

    let mut internal = PathAttributes { local_pref: Some(100), ..usual() };
    internal.originator_id = Some([10, 0, 0, 1].into());
    internal.cluster_list = vec![[10, 0, 0, 2].into()];
    internal.as_path.0.insert(0, AsSegment::ConfedSequence(vec![Asn(65100)]));
    let read = plain(&body(Family::IPV4_UNICAST, &internal), &context(SessionKind::Internal));
    assert_eq!(read, canonical(&internal));

    let mut v6 = usual();
    v6.next_hop = NextHop::new("2001:db8::1".parse::<std::net::IpAddr>().expect("an address"));
    let read = plain(&body(Family::IPV6_UNICAST, &v6), &context_of_external);
    assert_eq!(read, canonical(&v6));
}

#[test]
fn headers_of_another_form_come_out_canonical() {
    // AS_PATH with a length of two octets, as FRR writes it; COMMUNITIES with the Partial bit.
    let block = [
        &[0x40, 1, 1, 0, 0x50, 2, 0, 6, 2, 1, 0, 0, 0xFD, 0xE9][..],
        &[0x40, 3, 4, 192, 0, 2, 1, 0xE0, 8, 4, 0, 0, 0, 9],
    ]
    .concat();
    let octets = [&[0, 0, 0, block.len() as u8][..], &block, &[8, 10]].concat();
    let context = context(SessionKind::External);
    let decoded = Update::parse(&octets, &context).expect("sound").decode_attributes(&context);
    let attributes = decoded.expect("no reset").attributes.expect("no fault");
    assert_eq!(plain(&octets, &context), canonical(&attributes));
}

#[test]
fn what_a_rule_objects_to_is_not_plain() {
    let external = context(SessionKind::External);
    let internal = context(SessionKind::Internal);
    let with = |change: fn(&mut PathAttributes)| {
        let mut attributes = usual();
        change(&mut attributes);
        body(Family::IPV4_UNICAST, &attributes)
    };
    let sound = with(|_| {});
    assert!(plain(&sound, &external).is_some());
    assert_eq!(plain(&with(|a| a.local_pref = Some(1)), &external), None);
    assert_eq!(plain(&sound, &internal), None, "LOCAL_PREF is missing");
    assert_eq!(plain(&with(|a| a.as_path = AsPath::sequence([Asn(65002)])), &external), None);
    assert_eq!(plain(&with(|a| a.next_hop = NextHop::new([127, 0, 0, 1])), &external), None);
    assert_eq!(plain(&with(|a| a.communities = vec![Community(5); 2]), &external), None);
    let set = with(|a| a.as_path.0.push(AsSegment::Set(vec![Asn(5)])));
    assert!(plain(&set, &external).is_some());
    assert_eq!(plain(&set, &UpdateContext { reject_as_set: true, ..external.clone() }), None);
    assert_eq!(plain(&sound, &UpdateContext { four_octet_asn: false, ..external.clone() }), None);
    let confed = context(SessionKind::ConfedExternal);
    assert_eq!(plain(&sound, &confed), None);
    // ORIGIN twice.
    let at = 4;
    let twice = [&sound[..at], &[0x40, 1, 1, 0], &sound[at..]].concat();
    let mut twice = twice;
    twice[3] += 4;
    assert_eq!(plain(&twice, &external), None);
}

//! What several targets do: choose a session, take an UPDATE through all that reads it.

use bgp_packet::{
    Announce, AsSegment, Asn, Decoded, EncodeContext, Family, FamilySet, HEADER_LEN, Message,
    NextHop, PathAttributes, SessionKind, Update, UpdateContext, canonical_octets, from_canonical,
    message,
};
use bytes::BytesMut;
use ipnet::IpNet;

/// The session that the first three octets choose, and the rest of the input.
pub fn choose_session(data: &[u8]) -> Option<(UpdateContext, &[u8])> {
    let (&[flags, sets, asn], rest) = data.split_first_chunk::<3>()?;
    let set = |shift: u8| -> FamilySet {
        let bits = sets >> shift;
        let chosen = Family::SUPPORTED.into_iter().enumerate();
        chosen.filter(|(index, _)| bits >> index & 1 == 1).map(|(_, family)| family).collect()
    };
    let context = UpdateContext {
        kind: match flags & 3 {
            0 => SessionKind::Internal,
            1 => SessionKind::External,
            _ => SessionKind::ConfedExternal,
        },
        peer_asn: Asn([1, 65001, 100_000, 4_200_000_001][usize::from(asn % 4)]),
        four_octet_asn: flags & 4 != 0,
        families: set(0),
        add_path: set(2),
        extended_next_hop: set(4),
        enforce_first_as: flags & 8 != 0,
        reject_as_set: flags & 16 != 0,
    };
    Some((context, rest))
}

/// A whole message of this type.
pub fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(HEADER_LEN + body.len()).unwrap_or(u16::MAX);
    [&[0xFF; 16][..], &len.to_be_bytes(), &[kind], body].concat()
}

/// Reads all of an UPDATE body; what comes out must be consistent.
pub fn read_update(body: &[u8], context: &UpdateContext) -> Option<Decoded> {
    let update = match Update::parse(body, context) {
        Ok(update) => update,
        Err(notification) => {
            assert_eq!(notification.code, 3);
            // No more than the attribute itself goes back.
            assert!(notification.data.len() <= body.len());
            return None;
        }
    };
    let mut plain = Vec::new();
    let next_hop = update.plain_attributes(context, &mut plain);
    for nlri in update.withdrawn.iter().chain(&update.announced).flatten() {
        assert!(!nlri.is_empty());
        assert!(context.families.contains(nlri.family));
        for (path_id, prefix) in nlri {
            assert_eq!(prefix, prefix.trunc());
            assert!(nlri.add_path || path_id == 0);
        }
        assert_eq!(nlri.iter().count(), nlri.iter_v4().count() + nlri.iter_v6().count());
    }
    update.notes.iter().for_each(|note| drop(note.to_string()));
    // Where the message only withdraws nothing is found that `parse` has not found.
    let decoded = match update.decode_attributes(context) {
        Ok(decoded) => decoded,
        Err(notification) => panic!("parse lets pass what resets: {notification}"),
    };
    for fault in &decoded.faults {
        assert!(fault.octets.len() <= 64 && !fault.text.is_empty());
    }
    if let Some(attributes) = &decoded.attributes {
        check_canonical(attributes);
    }
    if let Some(next_hop) = next_hop {
        let mut octets = Vec::new();
        let attributes = decoded.attributes.as_ref().expect("plain, so without a fault");
        canonical_octets(attributes, &mut octets);
        assert_eq!((plain, next_hop), (octets, attributes.next_hop));
        assert!(decoded.faults.is_empty());
    }
    Some(decoded)
}

/// The canonical octets say the same as the attributes.
pub fn check_canonical(attributes: &PathAttributes) {
    let mut octets = Vec::new();
    canonical_octets(attributes, &mut octets);
    assert_eq!(from_canonical(&octets, attributes.next_hop).as_ref(), Some(attributes));
}

/// Announces a route to an internal peer and reads it there.
pub fn announce_and_read(
    attributes: &PathAttributes,
    family: Family,
    encode: EncodeContext,
) -> Option<PathAttributes> {
    let prefix: IpNet = if family == Family::IPV4_UNICAST { "10.0.0.0/8" } else { "2001:db8::/32" }
        .parse()
        .expect("a prefix");
    let mut out = BytesMut::new();
    let announce = Announce::new(family, attributes, encode)?;
    announce.encode_all([(7, prefix), (8, prefix)], &mut out, |range, count| {
        assert!(range.len() <= encode.max_len && count > 0);
    });
    let len = message::frame_len(&out, encode.max_len).expect("a message").expect("its header");
    let Ok(Message::Update(body)) = message::decode(&out[..len]) else { panic!("an UPDATE") };
    let all: FamilySet = Family::SUPPORTED.into_iter().collect();
    let context = UpdateContext {
        kind: SessionKind::Internal,
        peer_asn: Asn(1),
        four_octet_asn: encode.four_octet_asn,
        families: all,
        add_path: if encode.add_path { all } else { FamilySet::EMPTY },
        extended_next_hop: all,
        enforce_first_as: false,
        reject_as_set: false,
    };
    let decoded = read_update(body, &context).expect("well formed");
    assert_eq!(decoded.faults, []);
    Some(decoded.attributes.expect("well formed"))
}

/// Whether a 2-octet peer learns the whole path: AS4_PATH has no confederation segments.
pub fn fits_two_octets(attributes: &PathAttributes) -> bool {
    let path = &attributes.as_path.0;
    let confed = path.iter().take_while(|segment| segment.is_confed()).count();
    let (confed, others) = path.split_at(confed);
    confed.iter().flat_map(AsSegment::asns).all(|asn| asn.0 <= 0xFFFF)
        && !others.iter().any(AsSegment::is_confed)
}

/// An address that any peer takes.
pub fn some_next_hop() -> NextHop {
    NextHop::new(std::net::Ipv4Addr::new(192, 0, 2, 1))
}

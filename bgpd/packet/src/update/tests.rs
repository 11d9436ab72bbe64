use bytes::BytesMut;

use super::*;
use crate::{Announce, AsPath, Community, EncodeContext, PathAttributes, from_canonical};

fn context(kind: SessionKind) -> UpdateContext {
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

#[test]
fn what_announce_writes_parse_reads() {
    let mut attributes = PathAttributes::local(NextHop::new(Ipv4Addr::new(192, 0, 2, 1)));
    attributes.as_path = AsPath::sequence([Asn(65001), Asn(4_200_000_000)]);
    attributes.communities = vec![Community(1), Community(2)];
    attributes.local_pref = Some(100);
    for four_octet_asn in [true, false] {
        let mut context = context(SessionKind::Internal);
        context.four_octet_asn = four_octet_asn;
        let encode = EncodeContext { four_octet_asn, add_path: false, max_len: 4096 };
        let announce = Announce::new(Family::IPV4_UNICAST, &attributes, encode).unwrap();
        let prefixes: Vec<(u32, ipnet::IpNet)> = (0..5000_u32)
            .map(|i| {
                let address = Ipv4Addr::from_bits(0x0A00_0000 + (i << 8));
                (0, ipnet::Ipv4Net::new(address, 24).unwrap().into())
            })
            .collect();
        let mut out = BytesMut::new();
        let mut ranges = Vec::new();
        announce.encode(&mut prefixes.iter().copied(), &mut out, &mut |range, n| {
            ranges.push((range, n))
        });
        let mut read = Vec::new();
        for (range, count) in ranges {
            let frame = &out[range];
            assert!(frame.len() <= 4096);
            let crate::Message::Update(body) = crate::message::decode(frame).unwrap() else {
                panic!()
            };
            let update = Update::parse(body, &context).unwrap();
            let nlri = update.announced[0].unwrap();
            assert_eq!(nlri.iter().count(), count);
            read.extend(nlri.iter());
            let decoded = update.decode_attributes(&context).unwrap();
            assert_eq!(decoded.faults, []);
            assert_eq!(decoded.attributes.as_ref(), Some(&attributes));
        }
        assert_eq!(read, prefixes);
    }
    let mut octets = Vec::new();
    canonical_octets(&attributes, &mut octets);
    assert_eq!(from_canonical(&octets, attributes.next_hop), Some(attributes));
}

//! Messages recorded from other implementations, read as each session of theirs would be.

use std::{env, fmt::Write as _, fs, path::Path};

use bgp_packet::{
    AddPathMode, Announce, Asn, Capability, EncodeContext, ExtCommunity, Family, FamilySet,
    MAX_EXTENDED_LEN, Message, Nlri, Open, PathAttributes, RawAttribute, SessionKind, Update,
    UpdateContext, canonical_octets, from_canonical, message,
};
use bytes::BytesMut;

/// What the collector had offered.
struct Offered {
    asn: Asn,
    families: FamilySet,
    four_octet_asn: bool,
    add_path: bool,
    extended_next_hop: bool,
}

impl Offered {
    /// Of a line `! offered NAME as ASN`.
    fn from_line(line: &str) -> Self {
        let words: Vec<&str> = line.split(' ').collect();
        let ["!", "offered", name, "as", asn] = words[..] else { panic!("{line}") };
        let asn = asn.parse().unwrap();
        let both = Family::SUPPORTED.into_iter().collect();
        let full = name == "full";
        match name {
            "full" | "plain" => Self {
                asn,
                families: both,
                four_octet_asn: true,
                add_path: full,
                extended_next_hop: full,
            },
            "two" => Self {
                asn,
                families: [Family::IPV4_UNICAST].into_iter().collect(),
                four_octet_asn: false,
                add_path: false,
                extended_next_hop: false,
            },
            _ => panic!("{line}"),
        }
    }

    fn negotiate(&self, open: &Open) -> UpdateContext {
        let families: FamilySet = open.families().collect();
        let (mut add_path, mut extended_next_hop) = (FamilySet::EMPTY, FamilySet::EMPTY);
        for capability in &open.capabilities {
            match capability {
                Capability::AddPath(entries) if self.add_path => entries
                    .iter()
                    .filter(|(_, mode)| *mode != AddPathMode::Receive)
                    .for_each(|(family, _)| add_path.insert(*family)),
                Capability::ExtendedNextHop(entries) if self.extended_next_hop => {
                    entries.iter().for_each(|(family, _)| extended_next_hop.insert(*family));
                }
                _ => {}
            }
        }
        let internal = open.asn() == self.asn;
        UpdateContext {
            kind: if internal { SessionKind::Internal } else { SessionKind::External },
            peer_asn: open.asn(),
            four_octet_asn: self.four_octet_asn && open.four_octet_asn().is_some(),
            families: families.intersection(self.families),
            add_path,
            extended_next_hop,
            enforce_first_as: true,
            reject_as_set: false,
        }
    }
}

fn octets(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// What all messages of a file say.
fn read(file: &str) -> String {
    let mut out = String::new();
    let mut offered = None;
    let mut context = None;
    for line in file.lines() {
        if line.starts_with('#') {
            writeln!(out, "{line}").unwrap();
            continue;
        }
        if line.starts_with('!') {
            offered = Some(Offered::from_line(line));
            continue;
        }
        let octets = octets(line);
        assert_eq!(message::frame_len(&octets, MAX_EXTENDED_LEN), Ok(Some(octets.len())));
        match message::decode(&octets).unwrap() {
            Message::Open(open) => {
                writeln!(
                    out,
                    "OPEN as {} hold {} id {}",
                    open.asn(),
                    open.hold_time,
                    open.router_id
                )
                .unwrap();
                for capability in &open.capabilities {
                    writeln!(out, "  {capability:?}").unwrap();
                }
                context = offered.as_ref().map(|offered| offered.negotiate(&open));
                // Ours may group capabilities in another way, but says the same.
                let Ok(Message::Open(again)) = message::decode(&message::encode_open(&open)) else {
                    panic!("an OPEN")
                };
                assert_eq!(again, open);
            }
            Message::Update(body) => read_update(body, context.as_ref().unwrap(), &mut out),
            Message::KeepAlive => writeln!(out, "KEEPALIVE").unwrap(),
            Message::RouteRefresh(refresh) => writeln!(out, "{refresh:?}").unwrap(),
            Message::Notification(notification) => writeln!(out, "{notification}").unwrap(),
        }
    }
    out
}

fn read_update(body: &[u8], context: &UpdateContext, out: &mut String) {
    let update = match Update::parse(body, context) {
        Ok(update) => update,
        Err(notification) => return writeln!(out, "UPDATE refused: {notification}").unwrap(),
    };
    writeln!(out, "UPDATE").unwrap();
    if let Some(family) = update.end_of_rib {
        writeln!(out, "  end of RIB {family}").unwrap();
    }
    for note in &update.notes {
        writeln!(out, "  note {note}").unwrap();
    }
    for (what, fields) in [("withdrawn", update.withdrawn), ("announced", update.announced)] {
        for (path_id, prefix) in fields.iter().flatten().flat_map(Nlri::iter) {
            writeln!(out, "  {what} {prefix} {path_id}").unwrap();
        }
    }
    let decoded = update.decode_attributes(context).unwrap();
    for fault in &decoded.faults {
        writeln!(out, "  {:?} {fault}", fault.handling).unwrap();
    }
    if let Some(attributes) = &decoded.attributes {
        write_attributes(attributes, out);
        writes_the_same(&update, attributes, context);
    }
}

fn write_attributes(attributes: &PathAttributes, out: &mut String) {
    let PathAttributes { origin, as_path, next_hop, .. } = attributes;
    write!(out, "  {origin} path [{as_path}] via {}", next_hop.address).unwrap();
    if let Some(link_local) = next_hop.link_local {
        write!(out, " and {link_local}").unwrap();
    }
    writeln!(out).unwrap();
    let mut field = |name: &str, value: String| {
        if !value.is_empty() {
            writeln!(out, "  {name} {value}").unwrap();
        }
    };
    let a = attributes;
    let number = |n: Option<u32>| n.map(|n| n.to_string()).unwrap_or_default();
    field("med", number(a.med));
    field("local-pref", number(a.local_pref));
    field("atomic-aggregate", if a.atomic_aggregate { "yes" } else { "" }.to_owned());
    field(
        "aggregator",
        a.aggregator.map(|a| format!("{} {}", a.asn, a.address)).unwrap_or_default(),
    );
    field("communities", joined(&a.communities));
    field("originator", a.originator_id.map(|id| id.to_string()).unwrap_or_default());
    field("cluster-list", joined(&a.cluster_list));
    let extended: Vec<_> = a.ext_communities.iter().copied().map(ExtCommunity).collect();
    field("ext-communities", joined(&extended));
    field("large-communities", joined(&a.large_communities));
    field("only-to-customer", number(a.only_to_customer.map(|asn| asn.0)));
    for RawAttribute { flags, code, value } in &a.unknown {
        field("unknown", format!("{code} flags {flags:#04x} {value:02x?}"));
    }
}

fn joined(list: &[impl ToString]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// Announced again by us, and taken through the canonical form, it is the same route.
fn writes_the_same(update: &Update<'_>, attributes: &PathAttributes, context: &UpdateContext) {
    let mut canonical = Vec::new();
    canonical_octets(attributes, &mut canonical);
    assert_eq!(from_canonical(&canonical, attributes.next_hop).as_ref(), Some(attributes));
    for nlri in update.announced.iter().flatten() {
        let encode = EncodeContext {
            four_octet_asn: context.four_octet_asn,
            add_path: nlri.add_path,
            max_len: 4096,
        };
        let announce = Announce::new(nlri.family, attributes, encode).unwrap();
        let mut out = BytesMut::new();
        announce.encode_all(nlri.iter(), &mut out, |_, _| {});
        let Ok(Message::Update(body)) = message::decode(&out) else { panic!("an UPDATE") };
        let again = Update::parse(body, context).unwrap();
        let read = again.announced.iter().flatten().flat_map(Nlri::iter);
        assert!(read.eq(nlri.iter()));
        let decoded = again.decode_attributes(context).unwrap();
        assert_eq!(decoded.attributes.as_ref(), Some(attributes));
    }
}

#[test]
fn recorded_messages_mean_what_is_written_beside_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "hex"))
        .collect();
    files.sort();
    assert!(files.len() >= 11);
    for path in files {
        let said = read(&fs::read_to_string(&path).unwrap());
        let golden = path.with_extension("expected");
        if env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, said).unwrap();
        } else {
            assert_eq!(fs::read_to_string(&golden).unwrap_or_default(), said, "{}", path.display());
        }
    }
}

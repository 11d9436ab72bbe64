//! The rewriting of `export` for the plain cases, on canonical octets: without decoding a set, and
//! without an allocation for each of its parts. Half of what sending a table costs otherwise.
//!
//! A test holds the two equal; what is not plain (policies, private AS numbers, confederations,
//! `local-asn`, 2-octet peers) is left to `export`.

use bgp_packet::{Family, NextHop, SessionKind, attribute_code as code};

use super::{
    attrs::Attrs,
    core::Core,
    decision::DEFAULT_LOCAL_PREF,
    export,
    group::GroupKey,
    import::takes_all,
    query::NotSent,
    session::Origin,
    table::{MED_SET, Path},
};
use crate::config::RemovePrivate;

const WELL_KNOWN: u8 = 0x40;
const OPTIONAL: u8 = 0x80;
const EXTENDED: u8 = 0x10;
const AS_SEQUENCE: u8 = 2;

/// What is to be done to the octets.
#[derive(Debug, Clone, Copy)]
struct Plan {
    /// Prepended to the path.
    prepend: Option<u32>,
    keep_med: bool,
    /// Towards another AS.
    external: bool,
    /// ORIGINATOR_ID (where there is none) and our cluster id.
    reflect: Option<([u8; 4], [u8; 4])>,
}

/// Whether the output of a group can be made here at all.
pub(crate) fn is_plain(key: &GroupKey) -> bool {
    key.encode.four_octet_asn
        && key.kind != SessionKind::ConfedExternal
        && key.remove_private == RemovePrivate::No
        && !key.as_override
        && key.shown.is_none()
        && key.export.as_deref().is_none_or(takes_all)
}

/// Appends the canonical octets of what a plain group is sent of a path that is allowed, and
/// returns the next hop. `None`: to be done by `export`.
pub(crate) fn splice(
    core: &Core,
    key: &GroupKey,
    family: Family,
    path: &Path,
    out: &mut Vec<u8>,
) -> Option<Result<NextHop, NotSent>> {
    let attrs: &Attrs = core.sets.attrs(path.attrs);
    let next_hop = match export::next_hop(key, family, attrs.next_hop(), false) {
        Ok(next_hop) => next_hop,
        Err(why) => return Some(Err(why)),
    };
    let source = &core.sessions.get(path.session).seen;
    let external = key.kind == SessionKind::External;
    let reflected = matches!(source.origin, Origin::Internal | Origin::Client);
    let plan = Plan {
        prepend: (external && !key.route_server).then_some(key.local_asn.0),
        keep_med: !external
            || key.route_server
            || path.flags.any(MED_SET)
            || source.origin == Origin::Local,
        external,
        reflect: (!external && reflected)
            .then(|| (source.router_id.to_be_bytes(), key.cluster_id.octets())),
    };
    plan.run(attrs.octets(), out)?;
    Some(Ok(next_hop))
}

impl Plan {
    fn run(&self, mut octets: &[u8], out: &mut Vec<u8>) -> Option<()> {
        // What is still to be inserted, if it does not come by itself.
        let mut local_pref = !self.external;
        let mut reflect = self.reflect;
        let mut originator = false;
        while let Some(attribute) = Attribute::take(&mut octets)? {
            if local_pref && attribute.code >= code::LOCAL_PREF {
                local_pref = false;
                if attribute.code > code::LOCAL_PREF {
                    fixed(out, WELL_KNOWN, code::LOCAL_PREF, DEFAULT_LOCAL_PREF.to_be_bytes());
                }
            }
            if let Some((id, cluster)) = reflect
                && attribute.code >= code::ORIGINATOR_ID
            {
                if attribute.code == code::ORIGINATOR_ID {
                    originator = true;
                } else {
                    reflect = None;
                    if !originator {
                        fixed(out, OPTIONAL, code::ORIGINATOR_ID, id);
                    }
                    if attribute.code == code::CLUSTER_LIST {
                        let len = attribute.value.len() + 4;
                        header(out, OPTIONAL, code::CLUSTER_LIST, len);
                        out.extend_from_slice(&cluster);
                        out.extend_from_slice(attribute.value);
                        continue;
                    }
                    fixed(out, OPTIONAL, code::CLUSTER_LIST, cluster);
                }
            }
            match attribute.code {
                code::AS_PATH => match self.prepend {
                    Some(asn) => prepend(out, attribute.value, asn)?,
                    None => out.extend_from_slice(attribute.whole),
                },
                code::MED if !self.keep_med => {}
                code::LOCAL_PREF | code::ORIGINATOR_ID | code::CLUSTER_LIST if self.external => {}
                code::EXT_COMMUNITIES if self.external && !transitive::<8>(attribute.value) => {
                    return None;
                }
                code::IPV6_EXT_COMMUNITIES
                    if self.external && !transitive::<20>(attribute.value) =>
                {
                    return None;
                }
                _ => out.extend_from_slice(attribute.whole),
            }
        }
        if local_pref {
            fixed(out, WELL_KNOWN, code::LOCAL_PREF, DEFAULT_LOCAL_PREF.to_be_bytes());
        }
        if let Some((id, cluster)) = reflect {
            if !originator {
                fixed(out, OPTIONAL, code::ORIGINATOR_ID, id);
            }
            fixed(out, OPTIONAL, code::CLUSTER_LIST, cluster);
        }
        Some(())
    }
}

/// One attribute of a block.
struct Attribute<'a> {
    code: u8,
    value: &'a [u8],
    whole: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// The next attribute of the block, `Some(None)` at its end, `None` if it is cut.
    fn take(octets: &mut &'a [u8]) -> Option<Option<Self>> {
        let (code, head, len) = match **octets {
            [] => return Some(None),
            [flags, code, high, low, ..] if flags & EXTENDED != 0 => {
                (code, 4, usize::from(u16::from_be_bytes([high, low])))
            }
            [flags, code, len, ..] if flags & EXTENDED == 0 => (code, 3, usize::from(len)),
            _ => return None,
        };
        let (whole, rest) = octets.split_at_checked(head + len)?;
        *octets = rest;
        Some(Some(Self { code, value: whole.get(head..)?, whole }))
    }
}

fn header(out: &mut Vec<u8>, flags: u8, code: u8, len: usize) {
    match u8::try_from(len) {
        Ok(len) => out.extend_from_slice(&[flags, code, len]),
        Err(_) => {
            let [.., high, low] = len.to_be_bytes();
            out.extend_from_slice(&[flags | EXTENDED, code, high, low]);
        }
    }
}

fn fixed(out: &mut Vec<u8>, flags: u8, code: u8, value: [u8; 4]) {
    header(out, flags, code, 4);
    out.extend_from_slice(&value);
}

/// AS_PATH with a number in front; `None` with confederation segments in it.
fn prepend(out: &mut Vec<u8>, value: &[u8], asn: u32) -> Option<()> {
    let mut left = value;
    while let [kind, count, rest @ ..] = left {
        if *kind > AS_SEQUENCE {
            return None;
        }
        left = rest.get(usize::from(*count) * 4..)?;
    }
    let asn = asn.to_be_bytes();
    match value {
        [AS_SEQUENCE, count, rest @ ..] if *count < u8::MAX => {
            header(out, WELL_KNOWN, code::AS_PATH, value.len() + 4);
            out.extend_from_slice(&[AS_SEQUENCE, count + 1]);
            out.extend_from_slice(&asn);
            out.extend_from_slice(rest);
        }
        _ => {
            header(out, WELL_KNOWN, code::AS_PATH, value.len() + 6);
            out.extend_from_slice(&[AS_SEQUENCE, 1]);
            out.extend_from_slice(&asn);
            out.extend_from_slice(value);
        }
    }
    Some(())
}

/// Whether each community of N octets may leave the AS.
fn transitive<const N: usize>(value: &[u8]) -> bool {
    value.iter().step_by(N).all(|kind| kind & 0x40 == 0)
}

#[cfg(test)]
mod tests;

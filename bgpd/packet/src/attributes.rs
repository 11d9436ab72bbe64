//! The attribute block of an UPDATE to [`PathAttributes`], by RFC 7606 and the later attribute RFCs.
//!
//! One function for each attribute; each says what is wrong and what follows. Missing attributes,
//! the merge of RFC 6793 and the checks of the merged path come last.

use std::net::Ipv4Addr;

use crate::{
    Aggregator, AsPath, AsSegment, Asn, Community, Fault, Handling, LargeCommunity, NextHop,
    Origin, PathAttributes, RawAttribute, SessionKind, Update, UpdateContext,
    as_path::AsnWidth,
    attribute::{defined_flags, is_host},
    attribute_code as code,
    wire::{WireAttribute, WireAttributes, flag},
};

mod opaque;

/// The attributes of an UPDATE after RFC 7606.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// `None`: treat as withdraw, or the message announces nothing. The next hop in it is that of
    /// the classic NLRI, or of MP_REACH where there is no classic NLRI.
    pub attributes: Option<PathAttributes>,
    /// What was wrong, in wire order; of more than 16 the last is the strongest of the rest.
    pub faults: Vec<Fault>,
}

/// A fault of one attribute.
pub(crate) struct Wrong {
    pub(crate) handling: Handling,
    pub(crate) text: String,
}

impl Wrong {
    pub(crate) fn withdraw(text: impl Into<String>) -> Self {
        Self { handling: Handling::TreatAsWithdraw, text: text.into() }
    }

    pub(crate) fn discard(text: impl Into<String>) -> Self {
        Self { handling: Handling::Discard, text: text.into() }
    }
}

pub(crate) fn decode(update: &Update<'_>, context: &UpdateContext) -> Decoded {
    let mut decoder = Decoder::new(update, context);
    for attribute in WireAttributes::new(update.attributes) {
        match attribute {
            Ok(attribute) => decoder.attribute(attribute),
            Err(cut) => {
                let text = match cut.code {
                    Some(code) => format!("the block ends inside attribute {code}"),
                    None => "the block ends inside the header of an attribute".to_owned(),
                };
                decoder.fault(0, Wrong::withdraw(text), cut.whole);
            }
        }
    }
    decoder.finish()
}

struct Decoder<'a> {
    update: &'a Update<'a>,
    context: &'a UpdateContext,
    width: AsnWidth,
    /// A bit for each type code.
    seen: [u64; 4],
    faults: Vec<Fault>,
    origin: Option<Origin>,
    as_path: Option<AsPath>,
    as4_path: Option<AsPath>,
    next_hop: Option<Ipv4Addr>,
    as4_aggregator: Option<Aggregator>,
    /// The attributes that need no second look.
    rest: PathAttributes,
}

impl<'a> Decoder<'a> {
    fn new(update: &'a Update<'a>, context: &'a UpdateContext) -> Self {
        let unspecified = NextHop::new(Ipv4Addr::UNSPECIFIED);
        Self {
            update,
            context,
            width: AsnWidth::negotiated(context.four_octet_asn),
            seen: [0; 4],
            faults: Vec::new(),
            origin: None,
            as_path: None,
            as4_path: None,
            next_hop: None,
            as4_aggregator: None,
            rest: PathAttributes::local(unspecified),
        }
    }

    fn attribute(&mut self, attribute: WireAttribute<'_>) {
        let WireAttribute { code, whole, .. } = attribute;
        if matches!(code, code::MP_REACH | code::MP_UNREACH) {
            return; // taken apart by `Update::parse`
        }
        let outcome = if self.first_of(code) {
            check_flags(attribute).and_then(|()| self.value(attribute))
        } else {
            Err(Wrong::discard("is there twice, the first counts"))
        };
        if let Err(wrong) = outcome {
            self.fault(code, wrong, whole);
        }
    }

    /// A block of repeated attributes could have thousands: they must not take more memory than it.
    #[cold]
    fn fault(&mut self, code: u8, Wrong { handling, text }: Wrong, whole: &[u8]) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(Fault::new(code, handling, text, whole));
        } else if let Some(last) = self.faults.last_mut().filter(|last| last.handling < handling) {
            *last = Fault::new(code, handling, text, whole);
        }
    }

    /// Marks the type code as seen; false if it was already.
    fn first_of(&mut self, code: u8) -> bool {
        let bit = 1 << (code % 64);
        self.seen.get_mut(usize::from(code / 64)).is_some_and(|word| {
            let first = *word & bit == 0;
            *word |= bit;
            first
        })
    }

    fn value(&mut self, attribute: WireAttribute<'_>) -> Result<(), Wrong> {
        let WireAttribute { flags, code, value, .. } = attribute;
        let external = self.context.kind == SessionKind::External;
        let from_external = || Err(Wrong::discard("comes from an external peer"));
        let route = &mut self.rest;
        match code {
            code::ORIGIN => self.origin = Some(origin(value)?),
            code::AS_PATH => self.as_path = Some(as_path(value, self.width)?),
            code::NEXT_HOP => self.next_hop(value)?,
            code::MED => route.med = Some(u32::from_be_bytes(exactly(value)?)),
            code::LOCAL_PREF if external => return from_external(),
            code::LOCAL_PREF => route.local_pref = Some(u32::from_be_bytes(exactly(value)?)),
            code::ATOMIC_AGGREGATE if !value.is_empty() => {
                return Err(Wrong::discard(format!("is {} octets, expected none", value.len())));
            }
            code::ATOMIC_AGGREGATE => route.atomic_aggregate = true,
            code::AGGREGATOR => route.aggregator = Some(aggregator(value, self.width)?),
            code::COMMUNITIES => {
                route.communities =
                    list::<4, _>(value, |octets| Community(u32::from_be_bytes(octets)))?;
            }
            code::ORIGINATOR_ID if external => return from_external(),
            code::ORIGINATOR_ID => {
                route.originator_id = Some(Ipv4Addr::from(exactly::<4>(value)?));
            }
            code::CLUSTER_LIST if external => return from_external(),
            code::CLUSTER_LIST => {
                route.cluster_list =
                    entries::<4>(value)?.iter().copied().map(Ipv4Addr::from).collect();
            }
            code::EXT_COMMUNITIES => route.ext_communities = list::<8, _>(value, |octets| octets)?,
            code::AS4_PATH | code::AS4_AGGREGATOR if self.width == AsnWidth::Four => {
                return Err(Wrong::discard("comes from a peer that sends 4-octet AS numbers"));
            }
            code::AS4_PATH => self.as4_path = Some(as4_path(value)?),
            code::AS4_AGGREGATOR => {
                self.as4_aggregator = Some(aggregator(value, AsnWidth::Four)?);
            }
            code::IPV6_EXT_COMMUNITIES => {
                route.ipv6_ext_communities = list::<20, _>(value, |octets| octets)?;
            }
            code::LARGE_COMMUNITIES => {
                route.large_communities = list(value, LargeCommunity::from_wire)?;
            }
            code::ONLY_TO_CUSTOMER => {
                route.only_to_customer = Some(Asn(u32::from_be_bytes(exactly(value)?)));
            }
            _ => return self.opaque(attribute),
        }
        if flags & flag::PARTIAL != 0 {
            self.rest.partial.insert(code);
        }
        Ok(())
    }

    /// An attribute that is not looked into, or only to see whether it is well formed.
    fn opaque(&mut self, attribute: WireAttribute<'_>) -> Result<(), Wrong> {
        let WireAttribute { flags, code, value, .. } = attribute;
        if flags & flag::OPTIONAL == 0 {
            return Err(Wrong::withdraw("is well-known by its flags, but not known"));
        }
        opaque::check(code, value)?;
        if flags & flag::TRANSITIVE != 0 {
            let flags = flag::OPTIONAL | flag::TRANSITIVE | flag::PARTIAL;
            self.rest.unknown.push(RawAttribute { flags, code, value: value.to_vec() });
        }
        Ok(())
    }

    fn next_hop(&mut self, value: &[u8]) -> Result<(), Wrong> {
        let address = Ipv4Addr::from(exactly::<4>(value)?);
        let layout = &self.update.layout;
        // Beside MP_REACH_NLRI, without classic NLRI, the address means nothing (RFC 4760 §3).
        let ignored = layout.mp_reach.is_some() && !layout.classic_reach;
        if !is_host(address) && !ignored {
            return Err(Wrong::withdraw(format!("{address} is no host's address")));
        }
        self.next_hop = Some(address);
        Ok(())
    }

    fn finish(mut self) -> Decoded {
        self.merge_as4();
        self.check_path();
        let next_hop = self.check_presence();
        self.rest.unknown.sort_by_key(|raw| raw.code);
        let withdraw = self.faults.iter().any(|f| f.handling == Handling::TreatAsWithdraw);
        let attributes = match (next_hop, self.origin, self.as_path) {
            (Some(next_hop), Some(origin), Some(as_path)) if !withdraw => {
                Some(PathAttributes { origin, as_path, next_hop, ..self.rest })
            }
            _ => None,
        };
        Decoded { attributes, faults: self.faults }
    }

    /// RFC 6793 §4.2.3.
    fn merge_as4(&mut self) {
        if let (Some(aggregator), Some(as4)) = (&mut self.rest.aggregator, self.as4_aggregator) {
            if aggregator.asn != Asn::TRANS {
                // A router that knows 2 octets only has aggregated since: both are out of date.
                self.as4_path = None;
            } else {
                *aggregator = as4;
            }
        }
        if let (Some(as_path), Some(as4_path)) = (&mut self.as_path, self.as4_path.take()) {
            *as_path = std::mem::take(as_path).merged(as4_path);
        }
    }

    /// What depends on who sent the path.
    fn check_path(&mut self) {
        let Some(path) = &self.as_path else { return };
        let mut wrong = Vec::new();
        match self.context.kind {
            SessionKind::Internal => {}
            SessionKind::External => {
                if path.0.iter().any(AsSegment::is_confed) {
                    wrong.push("has confederation segments, from outside".to_owned());
                }
            }
            SessionKind::ConfedExternal => {
                if !matches!(path.0.first(), Some(AsSegment::ConfedSequence(_))) {
                    wrong.push("does not begin with AS_CONFED_SEQUENCE".to_owned());
                }
            }
        }
        if let Some(expected) = self.context.first_as()
            && path.first() != Some(expected)
        {
            wrong.push(match path.first() {
                Some(first) => format!("begins with {first}, expected {expected}"),
                None => format!("does not begin with {expected}"),
            });
        }
        if self.context.reject_as_set && path.has_set() {
            wrong.push("has an AS_SET or AS_CONFED_SET".to_owned());
        }
        // A message that announces nothing needs no path; one it has is still checked, rule (e).
        for text in wrong {
            self.fault(code::AS_PATH, Wrong::withdraw(text), &[]);
        }
    }

    /// The next hop, and whether all is there that NLRI needs.
    fn check_presence(&mut self) -> Option<NextHop> {
        let layout = &self.update.layout;
        if !layout.has_reach() {
            return None;
        }
        let mut required = vec![code::ORIGIN, code::AS_PATH];
        if layout.classic_reach {
            required.push(code::NEXT_HOP);
        }
        if self.context.kind == SessionKind::Internal {
            required.push(code::LOCAL_PREF);
        }
        for code in required {
            // One that was there but wrong has its fault already.
            if self.first_of(code) {
                self.fault(code, Wrong::withdraw("is missing"), &[]);
            }
        }
        if layout.classic_reach { self.next_hop.map(NextHop::new) } else { self.update.mp_next_hop }
    }
}

/// Optional and Transitive must be as the attribute defines them; the other bits do not matter.
fn check_flags(attribute: WireAttribute<'_>) -> Result<(), Wrong> {
    let flags = attribute.flags & (flag::OPTIONAL | flag::TRANSITIVE);
    let Some(expected) = defined_flags(attribute.code).filter(|expected| *expected != flags) else {
        return Ok(());
    };
    let text = format!("has flags {:#04x}, expected {expected:#04x}", attribute.flags);
    Err(match attribute.code {
        code::ATOMIC_AGGREGATE | code::AGGREGATOR | code::AIGP => Wrong::discard(text),
        _ => Wrong::withdraw(text),
    })
}

fn exactly<const N: usize>(value: &[u8]) -> Result<[u8; N], Wrong> {
    value
        .try_into()
        .map_err(|_| Wrong::withdraw(format!("is {} octets, expected {N}", value.len())))
}

/// At least one entry of N octets.
fn entries<const N: usize>(value: &[u8]) -> Result<&[[u8; N]], Wrong> {
    match value.as_chunks::<N>() {
        (entries @ [_, ..], []) => Ok(entries),
        _ => Err(Wrong::withdraw(format!(
            "is {} octets, expected a multiple of {N} above 0",
            value.len()
        ))),
    }
}

/// Likewise, each value once, where it stood first.
fn list<const N: usize, T: Copy + Ord>(
    value: &[u8],
    read: impl Fn([u8; N]) -> T,
) -> Result<Vec<T>, Wrong> {
    let mut out: Vec<T> = entries::<N>(value)?.iter().map(|octets| read(*octets)).collect();
    remove_duplicates(&mut out);
    Ok(out)
}

/// Keeps the first of equal values, in order.
pub(crate) fn remove_duplicates<T: Copy + Ord>(list: &mut Vec<T>) {
    if list.len() <= FEW {
        let mut kept = 0;
        while let Some((head, [next, ..])) = list.split_at_checked(kept) {
            if head.contains(next) {
                list.remove(kept);
            } else {
                kept += 1;
            }
        }
    } else {
        let mut seen = std::collections::BTreeSet::new();
        list.retain(|value| seen.insert(*value));
    }
}

/// Faults kept of one message.
const MAX_FAULTS: usize = 16;
/// Up to so many values a scan is faster than a set.
const FEW: usize = 32;

fn origin(value: &[u8]) -> Result<Origin, Wrong> {
    let [code] = exactly(value)?;
    Origin::from_wire(code).ok_or_else(|| Wrong::withdraw(format!("value {code} is not defined")))
}

fn as_path(value: &[u8], width: AsnWidth) -> Result<AsPath, Wrong> {
    let path =
        AsPath::from_wire(value, width).map_err(|error| Wrong::withdraw(error.to_string()))?;
    if path.contains(Asn(0)) {
        return Err(Wrong::withdraw("AS 0 is in the path"));
    }
    Ok(path)
}

/// Confederation segments have no place there and are dropped.
fn as4_path(value: &[u8]) -> Result<AsPath, Wrong> {
    let mut path = AsPath::from_wire(value, AsnWidth::Four)
        .map_err(|error| Wrong::discard(error.to_string()))?;
    if path.contains(Asn(0)) {
        return Err(Wrong::discard("AS 0 is in the path"));
    }
    path.strip_confed();
    if path.is_empty() {
        return Err(Wrong::discard("has no segment outside confederations"));
    }
    Ok(path)
}

fn aggregator(value: &[u8], width: AsnWidth) -> Result<Aggregator, Wrong> {
    let (asn, address) = match (width, value) {
        (AsnWidth::Two, &[a, b, c, d, e, f]) => ([0, 0, a, b], [c, d, e, f]),
        (AsnWidth::Four, &[a, b, c, d, e, f, g, h]) => ([a, b, c, d], [e, f, g, h]),
        (AsnWidth::Two, _) => {
            return Err(Wrong::discard(format!("is {} octets, expected 6", value.len())));
        }
        (AsnWidth::Four, _) => {
            return Err(Wrong::discard(format!("is {} octets, expected 8", value.len())));
        }
    };
    let asn = Asn(u32::from_be_bytes(asn));
    if asn == Asn(0) {
        return Err(Wrong::discard("AS 0 cannot aggregate"));
    }
    Ok(Aggregator { asn, address: Ipv4Addr::from(address) })
}

#[cfg(test)]
mod tests;

//! Ranges side by side, for kernels whose maps know no ranges within ranges.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::ClassId;

/// Addresses of one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The first address.
    pub first: IpAddr,
    /// The last address, of the same family.
    pub last: IpAddr,
    /// Their class.
    pub class: ClassId,
}

/// Cuts ranges of which the longest counts, ascending as [`Compiler::ranges`] gives them, into
/// pieces that do not overlap, ascending; neighbours of one class are one piece.
///
/// [`Compiler::ranges`]: super::Compiler::ranges
pub fn pieces(ranges: impl IntoIterator<Item = (IpNet, ClassId)>) -> Vec<Piece> {
    let mut cutter = Cutter::default();
    for (net, class) in ranges {
        let (v6, first) = number(net.network());
        let (_, last) = number(net.broadcast());
        cutter.close(Some((v6, first)));
        if let Some(before) = first.checked_sub(1) {
            cutter.emit(before);
        }
        cutter.at = Some(first);
        cutter.open.push(Open { v6, last, class });
    }
    cutter.close(None);
    cutter.pieces
}

#[derive(Default)]
struct Cutter {
    pieces: Vec<Piece>,
    /// The ranges around here, the innermost last.
    open: Vec<Open>,
    /// The first address that is in no piece yet; `None` behind the last address there is.
    at: Option<u128>,
}

struct Open {
    v6: bool,
    last: u128,
    class: ClassId,
}

impl Cutter {
    /// Ends the ranges that do not hold this address.
    fn close(&mut self, until: Option<(bool, u128)>) {
        while let Some(Open { v6, last, .. }) = self.open.last() {
            if until.is_some_and(|(family, address)| family == *v6 && address <= *last) {
                return;
            }
            self.emit(*last);
            self.open.pop();
        }
    }

    /// What lies before and up to `last` belongs to the innermost range.
    fn emit(&mut self, last: u128) {
        let (Some(Open { v6, class, .. }), Some(at)) = (self.open.last(), self.at) else { return };
        if at > last {
            return;
        }
        self.at = last.checked_add(1);
        let (first, last) = (address(*v6, at), address(*v6, last));
        match self.pieces.last_mut() {
            Some(piece) if piece.class == *class && follows(piece.last, first) => piece.last = last,
            _ => self.pieces.push(Piece { first, last, class: *class }),
        }
    }
}

/// Whether one address comes right behind another.
fn follows(last: IpAddr, first: IpAddr) -> bool {
    let ((v6, last), (family, first)) = (number(last), number(first));
    v6 == family && last.checked_add(1) == Some(first)
}

fn number(address: IpAddr) -> (bool, u128) {
    match address {
        IpAddr::V4(address) => (false, u128::from(u32::from(address))),
        IpAddr::V6(address) => (true, u128::from(address)),
    }
}

fn address(v6: bool, number: u128) -> IpAddr {
    match u32::try_from(number) {
        Ok(number) if !v6 => Ipv4Addr::from(number).into(),
        _ => Ipv6Addr::from(number).into(),
    }
}

#[cfg(test)]
mod tests;

//! What rules are made of: the expressions of nf_tables, as values.
//!
//! A rule is a row of expressions that work on registers; the first that does not match ends the
//! rule. Values that are compared are octets in the order of the packet, unless said otherwise.

use std::fmt;

use sha2::{Digest as _, Sha256};
use smallvec::SmallVec;

use crate::{encode, name::Name};

/// Octets as the kernel compares them.
pub type Octets = SmallVec<[u8; 16]>;

/// One of the sixteen registers of four octets; what is longer goes on in the next ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reg(u8);

impl Reg {
    /// The first one.
    pub const FIRST: Self = Self(0);

    /// The one that many behind the first, at most the last.
    pub const fn at(index: u8) -> Self {
        Self(if index < 16 { index } else { 15 })
    }

    /// How many stand before it.
    pub const fn index(self) -> u8 {
        self.0
    }
}

/// Where a chain goes on, or ends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// The packet passes this base chain.
    Accept,
    /// The packet is gone.
    Drop,
    /// Back to the rule behind the jump; at the end of a base chain its policy.
    Return,
    /// On in another chain, and back here behind its end.
    Jump(Name),
    /// On in another chain, and from its end to who jumped here.
    Goto(Name),
}

impl Verdict {
    /// The chain it names.
    pub fn chain(&self) -> Option<&Name> {
        match self {
            Self::Jump(chain) | Self::Goto(chain) => Some(chain),
            Self::Accept | Self::Drop | Self::Return => None,
        }
    }
}

/// What is known of a packet beside its octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Meta {
    /// The mark, four octets in host order.
    Mark,
    /// Name of the link it came by, sixteen octets filled up with NUL.
    InputName,
    /// Name of the link it leaves by, likewise.
    OutputName,
    /// 2 for IPv4, 10 for IPv6; one octet.
    Family,
    /// Protocol above IP; one octet. For IPv6 behind the extension headers.
    Protocol,
}

/// Where the octets of a packet are counted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Base {
    /// The IP header.
    Network,
    /// What follows it.
    Transport,
}

/// What connection tracking knows; four octets in host order, one bit a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ct {
    /// See [`ct_state`].
    State,
    /// See [`ct_status`].
    Status,
}

/// Bits of [`Ct::State`].
pub mod ct_state {
    /// Tracking can make nothing of it.
    pub const INVALID: u32 = 1;
    /// Of a connection seen in both directions.
    pub const ESTABLISHED: u32 = 2;
    /// Of a connection that another one announced, or an error about one.
    pub const RELATED: u32 = 4;
    /// The first of a connection.
    pub const NEW: u32 = 8;
    /// Exempt from tracking.
    pub const UNTRACKED: u32 = 64;
}

/// Bits of [`Ct::Status`].
pub mod ct_status {
    /// The destination was rewritten.
    pub const DESTINATION_NAT: u32 = 32;
}

/// How a comparison has to come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Compare {
    /// Equal.
    Equal,
    /// Different.
    Differs,
}

/// What the routing table is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fib {
    /// The link a packet to the source would leave by, if it is the one it came by; else 0. Four
    /// octets in host order.
    ReversePath,
    /// What the destination is (`RTN_*`); four octets in host order.
    DestinationType,
}

/// How often something may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate {
    /// So often,
    pub times: u32,
    /// in so many seconds.
    pub seconds: u64,
    /// So much more often at once after a pause.
    pub burst: u32,
}

impl Rate {
    /// What the kernel takes no burst for.
    pub const BURST: u32 = 5;
}

/// What is told of a packet, to whom.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Log {
    /// Group of NFLOG.
    pub group: u16,
    /// At most 127 octets, the rest is cut off by the encoder.
    pub prefix: String,
}

/// Which address of a connection is rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rewritten {
    /// Where it comes from.
    Source,
    /// Where it goes.
    Destination,
}

/// One step of a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Expr {
    /// Loads what is known of the packet.
    Meta {
        /// What.
        key: Meta,
        /// Where to.
        to: Reg,
    },
    /// Sets the packet's mark.
    SetMark {
        /// Where the mark is.
        from: Reg,
    },
    /// Loads octets of the packet; no match where it is shorter.
    Payload {
        /// Counted from where.
        base: Base,
        /// How far behind.
        offset: u32,
        /// How many.
        len: u32,
        /// Where to.
        to: Reg,
    },
    /// Loads what connection tracking knows.
    Ct {
        /// What.
        key: Ct,
        /// Where to.
        to: Reg,
    },
    /// Asks the routing table.
    Fib {
        /// What for.
        what: Fib,
        /// Where to.
        to: Reg,
    },
    /// Loads a constant.
    Load {
        /// Where to.
        to: Reg,
        /// The constant.
        value: Octets,
    },
    /// Goes on only if the register compares so.
    Cmp {
        /// Which register.
        from: Reg,
        /// How.
        how: Compare,
        /// With what.
        value: Octets,
    },
    /// Goes on only if the register is inside, or outside, of a range with both ends.
    Range {
        /// Which register.
        from: Reg,
        /// Equal: inside; differs: outside.
        how: Compare,
        /// Lower end.
        low: Octets,
        /// Upper end.
        high: Octets,
    },
    /// `to = (from & mask) ^ xor`.
    Bitwise {
        /// Which register.
        from: Reg,
        /// Where to.
        to: Reg,
        /// As long as `xor`.
        mask: Octets,
        /// As long as `mask`.
        xor: Octets,
    },
    /// Goes on only if the key is in the set, or is not.
    Lookup {
        /// The set.
        set: Name,
        /// Where the key begins.
        from: Reg,
        /// Goes on if it is *not* in the set.
        inverted: bool,
    },
    /// Takes the verdict that a map has for the key; goes on behind the rule without one.
    VerdictOf {
        /// The map.
        map: Name,
        /// Where the key begins.
        from: Reg,
    },
    /// Loads the value that a map has for the key; ends the rule without one.
    ValueOf {
        /// The map.
        map: Name,
        /// Where the key begins.
        from: Reg,
        /// Where to.
        to: Reg,
    },
    /// Ends the rule with a verdict.
    Verdict(Verdict),
    /// Counts packets and octets.
    Counter,
    /// Goes on with packets that come faster than so; the others have it for themselves.
    Faster {
        /// Packets.
        per_second: u32,
        /// Packets more at once after a pause.
        burst: u32,
    },
    /// Goes on with packets that come no faster than so; not with the others.
    Within(Rate),
    /// Goes on with the first packet of a connection if there are more than so many with it. Counts
    /// those that came by here and are tracked still.
    MoreConnections {
        /// As many may be.
        most: u32,
    },
    /// Tells somebody.
    Log(Log),
    /// Rewrites an address of the first packet of a connection, and of those behind it.
    Rewrite {
        /// Which.
        which: Rewritten,
        /// Whether it is one of IPv6.
        six: bool,
        /// Where the new one is.
        from: Reg,
        /// Where the first and the last of the ports are that it may get; its own where nothing is said.
        ports: Option<(Reg, Reg)>,
    },
    /// Rewrites the source to the address of the link it leaves by, to a random port.
    Masquerade {
        /// Where the first and the last of those are; any where nothing is said.
        ports: Option<(Reg, Reg)>,
    },
    /// Exempts the packet from connection tracking.
    Notrack,
}

impl Expr {
    /// The set or map it looks into.
    pub fn set(&self) -> Option<&Name> {
        match self {
            Self::Lookup { set, .. }
            | Self::VerdictOf { map: set, .. }
            | Self::ValueOf { map: set, .. } => Some(set),
            _ => None,
        }
    }
}

/// Sixteen octets that stand for what a rule says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 16]);

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

/// A row of expressions, with a remark for who lists the table.
#[derive(Clone, PartialEq, Eq)]
pub struct Rule {
    expressions: Box<[Expr]>,
    remark: Option<String>,
    digest: Digest,
}

impl Rule {
    /// A rule. Of the remark at most 128 octets are kept.
    pub fn new(expressions: Vec<Expr>, remark: Option<&str>) -> Self {
        let remark = remark.map(|text| short(text, encode::LONGEST_REMARK).to_owned());
        let mut hash = Sha256::new();
        hash.update(encode::expressions_alone(&expressions));
        hash.update(encode::remark(remark.as_deref()));
        let mut digest = [0; 16];
        digest.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
        // There are tens of thousands of them, and none grows.
        let expressions = expressions.into_boxed_slice();
        Self { expressions, remark, digest: Digest(digest) }
    }

    /// What it does, in order.
    pub fn expressions(&self) -> &[Expr] {
        &self.expressions
    }

    /// The same, with others in place of the sets and maps to values that this names.
    pub fn asking(&self, other: impl Fn(&Name) -> Option<Name>) -> Self {
        let expression = |expr: &Expr| match expr {
            Expr::Lookup { set, from, inverted } => Expr::Lookup {
                set: other(set).unwrap_or_else(|| set.clone()),
                from: *from,
                inverted: *inverted,
            },
            Expr::ValueOf { map, from, to } => Expr::ValueOf {
                map: other(map).unwrap_or_else(|| map.clone()),
                from: *from,
                to: *to,
            },
            same => same.clone(),
        };
        Self::new(self.expressions.iter().map(expression).collect(), self.remark())
    }

    /// What it says to people.
    pub fn remark(&self) -> Option<&str> {
        self.remark.as_deref()
    }

    /// Stands for the whole: equal for equal rules, whoever reads them.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The chains it may go to.
    pub fn chains(&self) -> impl Iterator<Item = &Name> {
        self.expressions.iter().filter_map(|expr| match expr {
            Expr::Verdict(verdict) => verdict.chain(),
            _ => None,
        })
    }

    /// The sets and maps it looks into.
    pub fn sets(&self) -> impl Iterator<Item = &Name> {
        self.expressions.iter().filter_map(Expr::set)
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.expressions).entries(self.remark.as_deref()).finish()
    }
}

/// The beginning of a text, at most so many octets, in whole characters.
pub(crate) fn short(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests;

//! Ranges of addresses as users write them.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;

use super::ScalarError;
use crate::wire::rules::{Answer, allow};

/// A CIDR or a bare address (a range of one), kept as written. Host bits may be set; fields that
/// forbid them say so.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    net: IpNet,
    text: String,
}

impl Cidr {
    /// The range, with the host bits as written; [`IpNet::trunc`] clears them.
    pub fn net(&self) -> IpNet {
        self.net
    }

    /// The text as it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it was written as an address without a length.
    pub fn is_bare(&self) -> bool {
        !self.text.contains('/')
    }
}

impl From<IpNet> for Cidr {
    fn from(net: IpNet) -> Self {
        Self { net, text: net.to_string() }
    }
}

impl FromStr for Cidr {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        let net = match text.split_once('/') {
            Some((address, length)) => net(address, length),
            None => text.parse::<IpAddr>().ok().map(IpNet::from),
        };
        match net {
            Some(net) => Ok(Self { net, text: text.to_owned() }),
            None => Err(ScalarError { found: text.to_owned(), allowed: EXPECTED.into() }),
        }
    }
}

/// As Go's `net.ParseCIDR` reads it: zeros in front of a number could mean octal digits, so they are
/// refused. The parser of `ipnet` takes them for decimal.
fn net(address: &str, length: &str) -> Option<IpNet> {
    let plain = length == "0"
        || (!length.starts_with('0') && length.bytes().all(|octet| octet.is_ascii_digit()));
    let length = length.parse().ok().filter(|_| plain)?;
    IpNet::new(address.parse().ok()?, length).ok()
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

textual!(Cidr, EXPECTED, |text| text.parse().map_err(|error: ScalarError| error.allowed));

const EXPECTED: &str = "a CIDR such as \"10.0.0.0/8\" or \"fd00::/8\"";

/// A rule: no host bits are set.
pub(crate) fn masked(cidr: &Cidr) -> Answer {
    allow(cidr.net.trunc() == cidr.net, || {
        format!("a CIDR without host bits: {}", cidr.net.trunc())
    })
}

/// A rule: the length is written down.
pub(crate) fn with_length(cidr: &Cidr) -> Answer {
    allow(!cidr.is_bare(), || format!("a CIDR with its length: {}", cidr.net))
}

/// A rule: IPv4.
pub(crate) fn of_v4(cidr: &Cidr) -> Answer {
    allow(matches!(cidr.net, IpNet::V4(_)), || "an IPv4 CIDR".into())
}

/// A rule: IPv6.
pub(crate) fn of_v6(cidr: &Cidr) -> Answer {
    allow(matches!(cidr.net, IpNet::V6(_)), || "an IPv6 CIDR".into())
}

/// A rule: one address, /32 or /128.
pub(crate) fn host_length(cidr: &Cidr) -> Answer {
    allow(cidr.net.prefix_len() == cidr.net.max_prefix_len(), || {
        "a single address: /32 or /128".into()
    })
}

/// A rule: an address of a node with the length of its network.
pub(crate) fn address_net(cidr: &Cidr) -> Answer {
    allow(!cidr.net.addr().is_unspecified(), || "an address, with or without a length".into())
}

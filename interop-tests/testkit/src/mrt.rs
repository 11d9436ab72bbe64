//! Reads recorded BGP messages: MRT (RFC 6396), the types BGP4MP and BGP4MP_ET.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::lab::succeeded;

const BGP4MP: u16 = 16;
const BGP4MP_ET: u16 = 17;
const MESSAGE: u16 = 1;
const MESSAGE_AS4: u16 = 4;
/// Type code of an UPDATE and where a message keeps it.
const UPDATE: u8 = 2;
const TYPE_AT: usize = 18;

/// One recorded message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Seconds since the Unix epoch.
    pub timestamp: u32,
    /// The AS that sent it.
    pub peer_asn: u32,
    /// The address that sent it.
    pub peer_address: IpAddr,
    /// Whether AS numbers in it take four octets, as the session had agreed.
    pub four_octet: bool,
    /// The whole BGP message with its header.
    pub message: Vec<u8>,
}

impl Record {
    /// True for an UPDATE.
    pub fn is_update(&self) -> bool {
        self.message.get(TYPE_AT) == Some(&UPDATE)
    }
}

/// The messages in a file, packed by gzip or not; records of other types are left out.
///
/// # Errors
/// When the file cannot be read or ends inside a record.
pub fn read(path: &Path) -> Result<Vec<Record>> {
    let octets = if path.extension().is_some_and(|extension| extension == "gz") {
        let output = Command::new("gzip").arg("-dc").arg(path).output().context("running gzip")?;
        if !output.status.success() {
            succeeded(&format!("gzip -dc {}", path.display()), &output)?;
        }
        output.stdout
    } else {
        std::fs::read(path).with_context(|| format!("reading {}", path.display()))?
    };
    parse(&octets).with_context(|| format!("in {}", path.display()))
}

/// The messages in the octets of an MRT file.
///
/// # Errors
/// When they end inside a record.
pub fn parse(octets: &[u8]) -> Result<Vec<Record>> {
    let mut input = Input(octets);
    let mut records = Vec::new();
    while !input.0.is_empty() {
        let timestamp = input.u32()?;
        let (kind, subtype) = (input.u16()?, input.u16()?);
        let length = usize::try_from(input.u32()?)?;
        let mut body = Input(input.take(length)?);
        if kind == BGP4MP_ET {
            body.u32()?; // microseconds
        }
        if matches!(kind, BGP4MP | BGP4MP_ET) && matches!(subtype, MESSAGE | MESSAGE_AS4) {
            records.push(message(timestamp, subtype == MESSAGE_AS4, body)?);
        }
    }
    Ok(records)
}

fn message(timestamp: u32, four_octet: bool, mut body: Input<'_>) -> Result<Record> {
    let mut asn =
        || -> Result<u32> { if four_octet { body.u32() } else { Ok(u32::from(body.u16()?)) } };
    let (peer_asn, _local_asn) = (asn()?, asn()?);
    let _interface = body.u16()?;
    let (peer_address, _local_address) = match body.u16()? {
        1 => (body.ipv4()?, body.ipv4()?),
        2 => (body.ipv6()?, body.ipv6()?),
        other => bail!("address family {other} of a peer"),
    };
    Ok(Record { timestamp, peer_asn, peer_address, four_octet, message: body.0.to_vec() })
}

/// Octets still to be read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).context("ends inside a record")?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.take(N)?.try_into()?)
    }

    fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn ipv4(&mut self) -> Result<IpAddr> {
        Ok(Ipv4Addr::from(self.array::<4>()?).into())
    }

    fn ipv6(&mut self) -> Result<IpAddr> {
        Ok(Ipv6Addr::from(self.array::<16>()?).into())
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    /// A BGP4MP record with a 2-octet peer AS and the message `body`.
    fn record(body: &[u8]) -> Vec<u8> {
        let mut octets = vec![0, 0, 0, 9, 0, 16, 0, 1];
        octets.extend(u32::to_be_bytes(16 + u32::try_from(body.len()).expect("short")));
        octets.extend([0xfd, 0xe9, 0, 1, 0, 0, 0, 1, 10, 0, 0, 2, 10, 0, 0, 1]);
        octets.extend(body);
        octets
    }

    #[test]
    fn a_message_is_read_with_its_sender() {
        let mut octets = record(b"abc");
        octets.extend(record(b"def"));
        let records = parse(&octets).expect("it is whole");
        assert_eq!(records.len(), 2);
        assert_eq!(records[0].peer_asn, 65001);
        assert_eq!(records[0].peer_address.to_string(), "10.0.0.2");
        assert!(!records[0].four_octet);
        assert_eq!(records[1].message, b"def");
    }

    #[test]
    fn a_file_that_ends_inside_a_record_is_refused() {
        let octets = record(b"abc");
        for cut in 1..octets.len() {
            assert!(parse(&octets[..cut]).is_err(), "cut at {cut}");
        }
    }
}

//! Attributes that are not interpreted, but whose form is known: a malformed one is not passed on.

use super::Wrong;
use crate::{
    attribute_code as code,
    wire::{WireAttributes, take_counted16, take_u16},
};

/// Whether the value is well formed, as far as that is known.
pub(super) fn check(code: u8, value: &[u8]) -> Result<(), Wrong> {
    match code {
        code::PMSI_TUNNEL => pmsi_tunnel(value),
        code::TUNNEL_ENCAPSULATION => tunnel_encapsulation(value)
            .ok_or_else(|| Wrong::withdraw("a tunnel or sub-TLV runs past its end")),
        code::AIGP => Err(Wrong::discard(if is_aigp(value) {
            "is not enabled on this session"
        } else {
            "is malformed"
        })),
        code::BGP_LS => tlvs16(value)
            .filter(|_| !value.is_empty())
            .ok_or_else(|| Wrong::discard("a TLV runs past its end")),
        code::PREFIX_SID => prefix_sid(value),
        code::ATTR_SET => attr_set(value),
        _ => Ok(()),
    }
}

/// RFC 6514 §5: flags, tunnel type, label (3), then what the type asks for.
fn pmsi_tunnel(value: &[u8]) -> Result<(), Wrong> {
    let Some((&[_, kind, ..], identifier)) = value.split_first_chunk::<5>() else {
        return Err(Wrong::withdraw(format!("is {} octets, expected at least 5", value.len())));
    };
    let legal = match kind {
        0 => identifier.is_empty(),
        1 => matches!(identifier.len(), 12 | 24), // extended tunnel ID, reserved, tunnel ID, P2MP ID
        3..=5 => matches!(identifier.len(), 8 | 32), // sender and group
        6 => matches!(identifier.len(), 4 | 16),  // address of the ingress replicator
        _ => true,
    };
    if legal {
        Ok(())
    } else {
        let len = identifier.len();
        Err(Wrong::withdraw(format!("tunnel type {kind} with an identifier of {len} octets")))
    }
}

/// RFC 9012 §2, §3: tunnels of type (2) and length (2), in them sub-TLVs whose length has one octet
/// below type 128 and two from there on.
fn tunnel_encapsulation(mut value: &[u8]) -> Option<()> {
    while !value.is_empty() {
        let (_, rest) = take_u16(value)?;
        let (mut sub_tlvs, rest) = take_counted16(rest)?;
        while let Some((&kind, rest)) = sub_tlvs.split_first() {
            (_, sub_tlvs) =
                if kind < 128 { crate::wire::take_counted8(rest)? } else { take_counted16(rest)? };
        }
        value = rest;
    }
    Some(())
}

/// RFC 7311 §3: TLVs whose length counts type and length; the first of type 1 has 11 octets.
fn is_aigp(mut value: &[u8]) -> bool {
    let mut found = false;
    while let Some((&[kind, high, low], rest)) = value.split_first_chunk::<3>() {
        let len = usize::from(u16::from_be_bytes([high, low]));
        if kind == 1 && !found {
            if len != 11 {
                return false;
            }
            found = true;
        }
        match len.checked_sub(3).and_then(|len| rest.get(len..)) {
            Some(rest) => value = rest,
            None => return false,
        }
    }
    found && value.is_empty()
}

/// TLVs of type (2) and length (2).
fn tlvs16(mut value: &[u8]) -> Option<()> {
    while !value.is_empty() {
        let (_, rest) = take_u16(value)?;
        (_, value) = take_counted16(rest)?;
    }
    Some(())
}

/// RFC 8669 §3: TLVs of type (1) and length (2); label index (1) has 7 octets, originator SRGB (3)
/// 2 and a number of 6.
fn prefix_sid(mut value: &[u8]) -> Result<(), Wrong> {
    if value.is_empty() {
        return Err(Wrong::discard("is empty"));
    }
    while let Some((&kind, rest)) = value.split_first() {
        let (tlv, rest) =
            take_counted16(rest).ok_or_else(|| Wrong::discard("a TLV runs past its end"))?;
        let legal = match kind {
            1 => tlv.len() == 7,
            3 => tlv.len() > 2 && (tlv.len() - 2).is_multiple_of(6),
            _ => true,
        };
        if !legal {
            return Err(Wrong::discard(format!("TLV {kind} is {} octets", tlv.len())));
        }
        value = rest;
    }
    Ok(())
}

/// RFC 6368 §5: origin AS (4), then attributes, none of them MP or a set again.
fn attr_set(value: &[u8]) -> Result<(), Wrong> {
    let Some((_, block)) = value.split_first_chunk::<4>() else {
        return Err(Wrong::withdraw(format!("is {} octets, expected at least 4", value.len())));
    };
    for attribute in WireAttributes::new(block) {
        match attribute {
            Ok(attribute)
                if matches!(
                    attribute.code,
                    code::NEXT_HOP | code::MP_REACH | code::MP_UNREACH | code::ATTR_SET
                ) =>
            {
                let text = format!("has attribute {} in it", attribute.code);
                return Err(Wrong::withdraw(text));
            }
            Ok(_) => {}
            Err(_) => return Err(Wrong::withdraw("an attribute in it runs past the end")),
        }
    }
    Ok(())
}

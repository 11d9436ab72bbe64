//! The expressions of rules, read back.

use std::collections::BTreeMap;

use crate::{
    decode::by_number,
    encode::{
        BITWISE_DREG, BITWISE_LEN, BITWISE_MASK, BITWISE_OP, BITWISE_SREG, BITWISE_XOR, CMP_DATA,
        CMP_OP, CMP_SREG, CONNLIMIT_COUNT, CONNLIMIT_F_INVERTED, CONNLIMIT_FLAGS, CT_DREG, CT_KEY,
        CT_STATE, CT_STATUS, DATA_VALUE, DATA_VERDICT, DIFFERS, EQUAL, EXPR_DATA, EXPR_NAME,
        FAMILY_IPV4, FAMILY_IPV6, FIB_DREG, FIB_F_DADDR, FIB_F_IIF, FIB_F_SADDR, FIB_FLAGS,
        FIB_RESULT, FIB_RESULT_ADDRTYPE, FIB_RESULT_OIF, IMMEDIATE_DATA, IMMEDIATE_DREG,
        LIMIT_BURST, LIMIT_F_INVERTED, LIMIT_FLAGS, LIMIT_PACKETS, LIMIT_RATE, LIMIT_TYPE,
        LIMIT_UNIT, LOG_GROUP, LOG_PREFIX, LOOKUP_DREG, LOOKUP_FLAGS, LOOKUP_INVERTED, LOOKUP_SET,
        LOOKUP_SREG, MAP_ADDRESSES, MAP_PORTS, MASQ_FLAGS, MASQ_PORT_MAX, MASQ_PORT_MIN, META_DREG,
        META_IIFNAME, META_KEY, META_L4PROTO, META_MARK, META_NFPROTO, META_OIFNAME, META_SREG,
        NAT_ADDRESS_MAX, NAT_ADDRESS_MIN, NAT_DESTINATION, NAT_FAMILY, NAT_FLAGS, NAT_PORT_MAX,
        NAT_PORT_MIN, NAT_SOURCE, NAT_TYPE, PAYLOAD_BASE, PAYLOAD_DREG, PAYLOAD_LEN,
        PAYLOAD_NETWORK, PAYLOAD_OFFSET, PAYLOAD_TRANSPORT, RANDOM_FULLY, RANGE_FROM, RANGE_OP,
        RANGE_SREG, RANGE_TO, REGISTER_1, REGISTER_32, REGISTER_VERDICT, UDATA_COMMENT,
        VERDICT_ACCEPT, VERDICT_CHAIN, VERDICT_CODE, VERDICT_DROP, VERDICT_GOTO, VERDICT_JUMP,
        VERDICT_RETURN,
    },
    expr::{Base, Compare, Ct, Expr, Fib, Log, Meta, Octets, Rate, Reg, Rewritten, Rule, Verdict},
    name::Name,
    wire::{Attributes, text_of, u16_of, u32_of, u64_of},
};

/// A rule from its list of expressions and what it carries for its user; `None` for one that we
/// never make.
pub fn rule_of(list: &[u8], user: &[u8]) -> Option<Rule> {
    let expressions = Attributes(list).map(|(_, value)| expression(value)).collect::<Option<_>>();
    let remark = match user {
        [] => None,
        [kind, len, text @ ..] if *kind == UDATA_COMMENT && usize::from(*len) == text.len() => {
            let (end, text) = text.split_last()?;
            Some(std::str::from_utf8(text).ok().filter(|_| *end == 0)?)
        }
        _ => return None,
    };
    Some(Rule::new(expressions?, remark))
}

/// The attributes of one expression.
struct Parts<'a>(BTreeMap<u16, &'a [u8]>);

impl<'a> Parts<'a> {
    fn value(&self, number: u16) -> Option<&'a [u8]> {
        self.0.get(&number).copied()
    }

    fn number(&self, number: u16) -> Option<u32> {
        u32_of(self.value(number)?)
    }

    fn register(&self, number: u16) -> Option<Reg> {
        let value = self.number(number)?;
        let index = match value {
            REGISTER_1..=4 => (value - REGISTER_1) * 4,
            REGISTER_32..=23 => value - REGISTER_32,
            _ => return None,
        };
        u8::try_from(index).ok().map(Reg::at)
    }

    fn data(&self, number: u16) -> Option<Octets> {
        data(self.value(number)?)
    }

    fn compare(&self, number: u16) -> Option<Compare> {
        match self.number(number)? {
            EQUAL => Some(Compare::Equal),
            DIFFERS => Some(Compare::Differs),
            _ => None,
        }
    }

    /// Whether one of these is there.
    fn any(&self, numbers: &[u16]) -> bool {
        numbers.iter().any(|number| self.0.contains_key(number))
    }
}

fn expression(value: &[u8]) -> Option<Expr> {
    let all = by_number(Attributes(value));
    let parts = all.get(&EXPR_DATA).copied().unwrap_or_default();
    let p = Parts(by_number(Attributes(parts)));
    match text_of(all.get(&EXPR_NAME)?)? {
        "meta" => meta(&p),
        "payload" => payload(&p),
        "ct" => Some(Expr::Ct {
            key: match p.number(CT_KEY)? {
                CT_STATE => Ct::State,
                CT_STATUS => Ct::Status,
                _ => return None,
            },
            to: p.register(CT_DREG)?,
        }),
        "fib" => fib(&p),
        "immediate" => immediate(&p),
        "cmp" => Some(Expr::Cmp {
            from: p.register(CMP_SREG)?,
            how: p.compare(CMP_OP)?,
            value: p.data(CMP_DATA)?,
        }),
        "range" => Some(Expr::Range {
            from: p.register(RANGE_SREG)?,
            how: p.compare(RANGE_OP)?,
            low: p.data(RANGE_FROM)?,
            high: p.data(RANGE_TO)?,
        }),
        "bitwise" => bitwise(&p),
        "lookup" => lookup(&p),
        "counter" => Some(Expr::Counter),
        "limit" => limit(&p),
        "connlimit" => {
            let over = p.number(CONNLIMIT_FLAGS)? == CONNLIMIT_F_INVERTED;
            over.then_some(Expr::MoreConnections { most: p.number(CONNLIMIT_COUNT)? })
        }
        "log" => log(&p),
        "nat" => rewrite(&p),
        "masq" => {
            let ports = ports(&p, MASQ_PORT_MIN, MASQ_PORT_MAX)?;
            let (more, flags) = ports.map_or((0, 0), |_| (2, MAP_PORTS));
            let plain = p.0.len() == 1 + more && p.number(MASQ_FLAGS)? == RANDOM_FULLY | flags;
            plain.then_some(Expr::Masquerade { ports })
        }
        "notrack" => Some(Expr::Notrack),
        _ => None,
    }
}

fn meta(p: &Parts<'_>) -> Option<Expr> {
    let key = match p.number(META_KEY)? {
        META_MARK => Meta::Mark,
        META_IIFNAME => Meta::InputName,
        META_OIFNAME => Meta::OutputName,
        META_NFPROTO => Meta::Family,
        META_L4PROTO => Meta::Protocol,
        _ => return None,
    };
    if p.any(&[META_SREG]) {
        return (key == Meta::Mark).then_some(Expr::SetMark { from: p.register(META_SREG)? });
    }
    Some(Expr::Meta { key, to: p.register(META_DREG)? })
}

fn payload(p: &Parts<'_>) -> Option<Expr> {
    Some(Expr::Payload {
        base: match p.number(PAYLOAD_BASE)? {
            PAYLOAD_NETWORK => Base::Network,
            PAYLOAD_TRANSPORT => Base::Transport,
            _ => return None,
        },
        offset: p.number(PAYLOAD_OFFSET)?,
        len: p.number(PAYLOAD_LEN)?,
        to: p.register(PAYLOAD_DREG)?,
    })
}

fn fib(p: &Parts<'_>) -> Option<Expr> {
    let what = match (p.number(FIB_RESULT)?, p.number(FIB_FLAGS)?) {
        (FIB_RESULT_OIF, flags) if flags == FIB_F_SADDR | FIB_F_IIF => Fib::ReversePath,
        (FIB_RESULT_ADDRTYPE, FIB_F_DADDR) => Fib::DestinationType,
        _ => return None,
    };
    Some(Expr::Fib { what, to: p.register(FIB_DREG)? })
}

fn immediate(p: &Parts<'_>) -> Option<Expr> {
    if p.number(IMMEDIATE_DREG)? == REGISTER_VERDICT {
        return verdict(p.value(IMMEDIATE_DATA)?).map(Expr::Verdict);
    }
    Some(Expr::Load { to: p.register(IMMEDIATE_DREG)?, value: p.data(IMMEDIATE_DATA)? })
}

fn bitwise(p: &Parts<'_>) -> Option<Expr> {
    let (mask, xor) = (p.data(BITWISE_MASK)?, p.data(BITWISE_XOR)?);
    let len = usize::try_from(p.number(BITWISE_LEN)?).ok()?;
    // Kernels that know shifts say that this is none.
    let plain = p.number(BITWISE_OP).is_none_or(|op| op == 0);
    (plain && mask.len() == len && xor.len() == len).then_some(Expr::Bitwise {
        from: p.register(BITWISE_SREG)?,
        to: p.register(BITWISE_DREG)?,
        mask,
        xor,
    })
}

fn lookup(p: &Parts<'_>) -> Option<Expr> {
    let set = Name::told(text_of(p.value(LOOKUP_SET)?)?)?;
    let from = p.register(LOOKUP_SREG)?;
    let flags = p.value(LOOKUP_FLAGS).map_or(Some(0), u32_of)?;
    if p.any(&[LOOKUP_DREG]) {
        return match (p.number(LOOKUP_DREG)?, flags) {
            (REGISTER_VERDICT, 0) => Some(Expr::VerdictOf { map: set, from }),
            (_, 0) => Some(Expr::ValueOf { map: set, from, to: p.register(LOOKUP_DREG)? }),
            _ => None,
        };
    }
    let inverted = match flags {
        0 => false,
        LOOKUP_INVERTED => true,
        _ => return None,
    };
    Some(Expr::Lookup { set, from, inverted })
}

fn rewrite(p: &Parts<'_>) -> Option<Expr> {
    let which = match p.number(NAT_TYPE)? {
        NAT_SOURCE => Rewritten::Source,
        NAT_DESTINATION => Rewritten::Destination,
        _ => return None,
    };
    let six = match p.number(NAT_FAMILY)? {
        FAMILY_IPV4 => false,
        FAMILY_IPV6 => true,
        _ => return None,
    };
    let from = p.register(NAT_ADDRESS_MIN)?;
    // One address for all.
    let ports = ports(p, NAT_PORT_MIN, NAT_PORT_MAX)?;
    let (more, flags) = ports.map_or((0, 0), |_| (2, MAP_PORTS));
    let plain = p.0.len() == 5 + more
        && p.register(NAT_ADDRESS_MAX)? == from
        && p.number(NAT_FLAGS)? == MAP_ADDRESSES | flags;
    plain.then_some(Expr::Rewrite { which, six, from, ports })
}

/// Where ports stand, if any do.
fn ports(p: &Parts<'_>, low: u16, high: u16) -> Option<Option<(Reg, Reg)>> {
    if !p.any(&[low]) {
        return Some(None);
    }
    Some(Some((p.register(low)?, p.register(high)?)))
}

fn limit(p: &Parts<'_>) -> Option<Expr> {
    if p.number(LIMIT_TYPE)? != LIMIT_PACKETS {
        return None;
    }
    let times = u32::try_from(u64_of(p.value(LIMIT_RATE)?)?).ok()?;
    let (seconds, burst) = (u64_of(p.value(LIMIT_UNIT)?)?, p.number(LIMIT_BURST)?);
    match p.number(LIMIT_FLAGS)? {
        LIMIT_F_INVERTED if seconds == 1 => Some(Expr::Faster { per_second: times, burst }),
        0 => Some(Expr::Within(Rate { times, seconds, burst })),
        _ => None,
    }
}

fn log(p: &Parts<'_>) -> Option<Expr> {
    let prefix = p.value(LOG_PREFIX).map_or(Some(""), text_of)?;
    Some(Expr::Log(Log { group: u16_of(p.value(LOG_GROUP)?)?, prefix: prefix.to_owned() }))
}

/// The octets of a constant.
pub(super) fn data(value: &[u8]) -> Option<Octets> {
    let all = by_number(Attributes(value));
    all.get(&DATA_VALUE).map(|value| Octets::from_slice(value))
}

/// A constant that is a verdict.
pub(super) fn verdict(value: &[u8]) -> Option<Verdict> {
    let all = by_number(Attributes(value));
    let inner = Parts(by_number(Attributes(all.get(&DATA_VERDICT)?)));
    let chain = || Name::told(text_of(inner.value(VERDICT_CHAIN)?)?);
    match inner.number(VERDICT_CODE)? {
        VERDICT_DROP => Some(Verdict::Drop),
        VERDICT_ACCEPT => Some(Verdict::Accept),
        VERDICT_RETURN => Some(Verdict::Return),
        VERDICT_JUMP => chain().map(Verdict::Jump),
        VERDICT_GOTO => chain().map(Verdict::Goto),
        _ => None,
    }
}

//! Values to octets: expressions, and the messages that carry out a plan.

pub mod batch;
mod number;

pub use self::number::*;
use crate::{
    expr::{Base, Compare, Ct, Expr, Fib, Meta, Rate, Reg, Rewritten, Rule, Verdict, short},
    table::{Field, Holds, Shape, Span, Value},
    wire::Encoder,
};

/// The list of expressions of a rule, without the attribute around it.
pub fn expressions_alone(expressions: &[Expr]) -> Vec<u8> {
    let mut e = Encoder::default();
    expressions.iter().for_each(|expr| expression(&mut e, expr));
    e.into_octets()
}

/// A remark as `nft` keeps and shows it; empty for none.
pub fn remark(text: Option<&str>) -> Vec<u8> {
    let Some(text) = text else { return Vec::new() };
    let text = short(text, LONGEST_REMARK);
    let mut octets = vec![UDATA_COMMENT, u8::try_from(text.len() + 1).unwrap_or(u8::MAX)];
    octets.extend_from_slice(text.as_bytes());
    octets.push(0);
    octets
}

/// What is between the attributes that name table and chain, and the end of a message.
fn rule(e: &mut Encoder, rule: &Rule) {
    let list = e.open(RULE_EXPRESSIONS);
    rule.expressions().iter().for_each(|expr| expression(e, expr));
    e.close(list);
    if rule.remark().is_some() {
        e.attribute(RULE_USERDATA, &remark(rule.remark()));
    }
}

fn expression(e: &mut Encoder, expr: &Expr) {
    let element = e.open(LIST_ELEM);
    match expr {
        Expr::Meta { key, to } => named(e, "meta", |e| {
            e.u32(META_KEY, meta_number(*key));
            e.u32(META_DREG, register(*to));
        }),
        Expr::SetMark { from } => named(e, "meta", |e| {
            e.u32(META_KEY, meta_number(Meta::Mark));
            e.u32(META_SREG, register(*from));
        }),
        Expr::Payload { base, offset, len, to } => named(e, "payload", |e| {
            e.u32(PAYLOAD_DREG, register(*to));
            e.u32(PAYLOAD_BASE, base_number(*base));
            e.u32(PAYLOAD_OFFSET, *offset);
            e.u32(PAYLOAD_LEN, *len);
        }),
        Expr::Ct { key, to } => named(e, "ct", |e| {
            e.u32(CT_KEY, ct_number(*key));
            e.u32(CT_DREG, register(*to));
        }),
        Expr::Fib { what, to } => named(e, "fib", |e| {
            let (result, flags) = fib_numbers(*what);
            e.u32(FIB_DREG, register(*to));
            e.u32(FIB_RESULT, result);
            e.u32(FIB_FLAGS, flags);
        }),
        Expr::Load { to, value } => named(e, "immediate", |e| {
            e.u32(IMMEDIATE_DREG, register(*to));
            data(e, IMMEDIATE_DATA, value);
        }),
        Expr::Cmp { from, how, value } => named(e, "cmp", |e| {
            e.u32(CMP_SREG, register(*from));
            e.u32(CMP_OP, compare_number(*how));
            data(e, CMP_DATA, value);
        }),
        Expr::Range { from, how, low, high } => named(e, "range", |e| {
            e.u32(RANGE_SREG, register(*from));
            e.u32(RANGE_OP, compare_number(*how));
            data(e, RANGE_FROM, low);
            data(e, RANGE_TO, high);
        }),
        Expr::Bitwise { from, to, mask, xor } => named(e, "bitwise", |e| {
            e.u32(BITWISE_SREG, register(*from));
            e.u32(BITWISE_DREG, register(*to));
            e.u32(BITWISE_LEN, u32::try_from(mask.len()).unwrap_or(u32::MAX));
            data(e, BITWISE_MASK, mask);
            data(e, BITWISE_XOR, xor);
        }),
        Expr::Lookup { set, from, inverted } => named(e, "lookup", |e| {
            e.text(LOOKUP_SET, set.as_str());
            e.u32(LOOKUP_SREG, register(*from));
            if *inverted {
                e.u32(LOOKUP_FLAGS, LOOKUP_INVERTED);
            }
        }),
        Expr::VerdictOf { map, from } => named(e, "lookup", |e| {
            e.text(LOOKUP_SET, map.as_str());
            e.u32(LOOKUP_SREG, register(*from));
            e.u32(LOOKUP_DREG, REGISTER_VERDICT);
        }),
        Expr::ValueOf { map, from, to } => named(e, "lookup", |e| {
            e.text(LOOKUP_SET, map.as_str());
            e.u32(LOOKUP_SREG, register(*from));
            e.u32(LOOKUP_DREG, register(*to));
        }),
        Expr::Verdict(code) => named(e, "immediate", |e| {
            e.u32(IMMEDIATE_DREG, REGISTER_VERDICT);
            verdict(e, IMMEDIATE_DATA, code);
        }),
        Expr::Counter => named(e, "counter", |_| {}),
        Expr::Faster { per_second, burst } => named(e, "limit", |e| {
            e.u64(LIMIT_RATE, (*per_second).into());
            e.u64(LIMIT_UNIT, 1);
            e.u32(LIMIT_BURST, *burst);
            e.u32(LIMIT_TYPE, LIMIT_PACKETS);
            e.u32(LIMIT_FLAGS, LIMIT_F_INVERTED);
        }),
        Expr::Within(Rate { times, seconds, burst }) => named(e, "limit", |e| {
            e.u64(LIMIT_RATE, (*times).into());
            e.u64(LIMIT_UNIT, *seconds);
            e.u32(LIMIT_BURST, *burst);
            e.u32(LIMIT_TYPE, LIMIT_PACKETS);
            e.u32(LIMIT_FLAGS, 0);
        }),
        Expr::MoreConnections { most } => named(e, "connlimit", |e| {
            e.u32(CONNLIMIT_COUNT, *most);
            e.u32(CONNLIMIT_FLAGS, CONNLIMIT_F_INVERTED);
        }),
        Expr::Log(log) => named(e, "log", |e| {
            e.u16(LOG_GROUP, log.group);
            if !log.prefix.is_empty() {
                e.text(LOG_PREFIX, short(&log.prefix, LONGEST_PREFIX));
            }
        }),
        Expr::Rewrite { which, six, from, ports } => named(e, "nat", |e| {
            e.u32(NAT_TYPE, rewritten_number(*which));
            e.u32(NAT_FAMILY, if *six { FAMILY_IPV6 } else { FAMILY_IPV4 });
            e.u32(NAT_ADDRESS_MIN, register(*from));
            e.u32(NAT_ADDRESS_MAX, register(*from));
            if let Some((low, high)) = ports {
                e.u32(NAT_PORT_MIN, register(*low));
                e.u32(NAT_PORT_MAX, register(*high));
            }
            e.u32(NAT_FLAGS, MAP_ADDRESSES | ports.map_or(0, |_| MAP_PORTS));
        }),
        Expr::Masquerade { ports } => named(e, "masq", |e| {
            e.u32(MASQ_FLAGS, RANDOM_FULLY | ports.map_or(0, |_| MAP_PORTS));
            if let Some((low, high)) = ports {
                e.u32(MASQ_PORT_MIN, register(*low));
                e.u32(MASQ_PORT_MAX, register(*high));
            }
        }),
        Expr::Notrack => named(e, "notrack", |_| {}),
    }
    e.close(element);
}

fn named(e: &mut Encoder, name: &str, body: impl FnOnce(&mut Encoder)) {
    e.text(EXPR_NAME, name);
    let at = e.open(EXPR_DATA);
    body(e);
    e.close(at);
}

fn data(e: &mut Encoder, kind: u16, value: &[u8]) {
    let at = e.open(kind);
    e.attribute(DATA_VALUE, value);
    e.close(at);
}

fn verdict(e: &mut Encoder, kind: u16, verdict: &Verdict) {
    let data = e.open(kind);
    let inner = e.open(DATA_VERDICT);
    e.u32(VERDICT_CODE, verdict_number(verdict));
    if let Some(chain) = verdict.chain() {
        e.text(VERDICT_CHAIN, chain.as_str());
    }
    e.close(inner);
    e.close(data);
}

/// What `NEWSET` says of a set beside its name and number.
pub(crate) fn shape(e: &mut Encoder, shape: &Shape) {
    e.u32(SET_FLAGS, set_flags(shape));
    let kind = shape.key.iter().fold(0, |all, field| all << 6 | field_type(*field));
    e.u32(SET_KEY_TYPE, kind);
    e.u32(SET_KEY_LEN, u32::try_from(shape.octets()).unwrap_or(u32::MAX));
    match shape.holds {
        Holds::Keys => {}
        Holds::Verdicts => {
            e.u32(SET_DATA_TYPE, DATA_TYPE_VERDICT);
            // The kernel asks for a length, and for verdicts looks no further.
            e.u32(SET_DATA_LEN, VERDICT_ROOM);
        }
        Holds::Values(field) => {
            e.u32(SET_DATA_TYPE, field_type(field));
            e.u32(SET_DATA_LEN, u32::try_from(field.octets()).unwrap_or(u32::MAX));
        }
    }
    if shape.intervals && !shape.halves() {
        let desc = e.open(SET_DESC);
        let fields = e.open(SET_DESC_CONCAT);
        for field in &shape.key {
            let one = e.open(LIST_ELEM);
            e.u32(SET_FIELD_LEN, u32::try_from(field.octets()).unwrap_or(u32::MAX));
            e.close(one);
        }
        e.close(fields);
        e.close(desc);
    }
    if let [one] = &*shape.key {
        // How `nft` knows to print keys; the kernel only keeps it.
        let mut octets = vec![UDATA_KEY_BYTE_ORDER, 4];
        let order: u32 = if matches!(one, Field::Link | Field::State) { 1 } else { 2 };
        octets.extend_from_slice(&order.to_ne_bytes());
        e.attribute(SET_USERDATA, &octets);
    }
}

/// An element, in one or two parts.
pub(crate) fn element(
    e: &mut Encoder,
    shape: &Shape,
    span: &Span,
    value: &Value,
    with_value: bool,
) {
    let at = e.open(LIST_ELEM);
    data(e, ELEM_KEY, &span.from);
    if shape.intervals && !shape.halves() {
        data(e, ELEM_KEY_END, &span.to);
    }
    match value {
        Value::Verdict(code) if with_value => verdict(e, ELEM_DATA, code),
        Value::Octets(octets) if with_value => data(e, ELEM_DATA, octets),
        Value::Member | Value::Verdict(_) | Value::Octets(_) => {}
    }
    e.close(at);
    if shape.halves()
        && let Some(end) = crate::table::after(&span.to)
    {
        let at = e.open(LIST_ELEM);
        data(e, ELEM_KEY, &end);
        e.u32(ELEM_FLAGS, ELEM_INTERVAL_END);
        e.close(at);
    }
}

fn set_flags(shape: &Shape) -> u32 {
    let mut flags = 0;
    if shape.intervals {
        flags |= SET_INTERVAL;
        if !shape.halves() {
            flags |= SET_CONCAT;
        }
    }
    if shape.holds != Holds::Keys {
        flags |= SET_MAP;
    }
    flags
}

/// The number of a register: those of sixteen octets have names of their own.
fn register(reg: Reg) -> u32 {
    let index = u32::from(reg.index());
    if index.is_multiple_of(4) { REGISTER_1 + index / 4 } else { REGISTER_32 + index }
}

fn meta_number(key: Meta) -> u32 {
    match key {
        Meta::Mark => META_MARK,
        Meta::InputName => META_IIFNAME,
        Meta::OutputName => META_OIFNAME,
        Meta::Family => META_NFPROTO,
        Meta::Protocol => META_L4PROTO,
    }
}

fn base_number(base: Base) -> u32 {
    match base {
        Base::Network => PAYLOAD_NETWORK,
        Base::Transport => PAYLOAD_TRANSPORT,
    }
}

fn ct_number(key: Ct) -> u32 {
    match key {
        Ct::State => CT_STATE,
        Ct::Status => CT_STATUS,
    }
}

fn fib_numbers(what: Fib) -> (u32, u32) {
    match what {
        Fib::ReversePath => (FIB_RESULT_OIF, FIB_F_SADDR | FIB_F_IIF),
        Fib::DestinationType => (FIB_RESULT_ADDRTYPE, FIB_F_DADDR),
    }
}

fn rewritten_number(which: Rewritten) -> u32 {
    match which {
        Rewritten::Source => NAT_SOURCE,
        Rewritten::Destination => NAT_DESTINATION,
    }
}

fn compare_number(how: Compare) -> u32 {
    match how {
        Compare::Equal => EQUAL,
        Compare::Differs => DIFFERS,
    }
}

fn verdict_number(verdict: &Verdict) -> u32 {
    match verdict {
        Verdict::Drop => VERDICT_DROP,
        Verdict::Accept => VERDICT_ACCEPT,
        Verdict::Jump(_) => VERDICT_JUMP,
        Verdict::Goto(_) => VERDICT_GOTO,
        Verdict::Return => VERDICT_RETURN,
    }
}

#[cfg(test)]
mod tests;

//! Numbers of `linux/netfilter/nf_tables.h`, by the names they have there, without the prefix.

#![allow(missing_docs)]

pub const FAMILY_INET: u8 = 1;

pub const NEWTABLE: u16 = 0;
pub const GETTABLE: u16 = 1;
pub const DELTABLE: u16 = 2;
pub const NEWCHAIN: u16 = 3;
pub const GETCHAIN: u16 = 4;
pub const DELCHAIN: u16 = 5;
pub const NEWRULE: u16 = 6;
pub const GETRULE: u16 = 7;
pub const DELRULE: u16 = 8;
pub const NEWSET: u16 = 9;
pub const GETSET: u16 = 10;
pub const DELSET: u16 = 11;
pub const NEWSETELEM: u16 = 12;
pub const GETSETELEM: u16 = 13;
pub const DELSETELEM: u16 = 14;
pub const NEWGEN: u16 = 15;
pub const GETGEN: u16 = 16;
pub const NEWOBJ: u16 = 18;
pub const GETOBJ: u16 = 19;
pub const NEWFLOWTABLE: u16 = 22;
pub const GETFLOWTABLE: u16 = 23;

pub const BATCH_GENID: u16 = 1;
pub const LIST_ELEM: u16 = 1;

pub const TABLE_NAME: u16 = 1;
pub const TABLE_FLAGS: u16 = 2;
pub const TABLE_USERDATA: u16 = 6;
pub const TABLE_OWNER: u16 = 7;
pub const TABLE_F_DORMANT: u32 = 1;
pub const TABLE_F_OWNER: u32 = 2;
pub const TABLE_F_PERSIST: u32 = 4;

pub const CHAIN_TABLE: u16 = 1;
pub const CHAIN_NAME: u16 = 3;
pub const CHAIN_HOOK: u16 = 4;
pub const CHAIN_POLICY: u16 = 5;
pub const CHAIN_TYPE: u16 = 7;
pub const CHAIN_FLAGS: u16 = 10;
pub const CHAIN_F_BASE: u32 = 1;
pub const HOOK_HOOKNUM: u16 = 1;
pub const HOOK_PRIORITY: u16 = 2;
pub const HOOK_DEV: u16 = 3;
pub const HOOK_DEVS: u16 = 4;

pub const RULE_TABLE: u16 = 1;
pub const RULE_CHAIN: u16 = 2;
pub const RULE_EXPRESSIONS: u16 = 4;
pub const RULE_COMPAT: u16 = 5;
pub const RULE_USERDATA: u16 = 7;

pub const SET_TABLE: u16 = 1;
pub const SET_NAME: u16 = 2;
pub const SET_FLAGS: u16 = 3;
pub const SET_KEY_TYPE: u16 = 4;
pub const SET_KEY_LEN: u16 = 5;
pub const SET_DATA_TYPE: u16 = 6;
pub const SET_DATA_LEN: u16 = 7;
pub const SET_DESC: u16 = 9;
pub const SET_ID: u16 = 10;
pub const SET_USERDATA: u16 = 13;
pub const SET_DESC_CONCAT: u16 = 2;
pub const SET_FIELD_LEN: u16 = 1;
pub const SET_INTERVAL: u32 = 4;
pub const SET_MAP: u32 = 8;
pub const SET_CONCAT: u32 = 0x80;
pub const DATA_TYPE_VERDICT: u32 = 0xffff_ff00;
pub const VERDICT_ROOM: u32 = 16;

pub const ELEM_KEY: u16 = 1;
pub const ELEM_DATA: u16 = 2;
pub const ELEM_FLAGS: u16 = 3;
pub const ELEM_KEY_END: u16 = 10;
pub const ELEM_INTERVAL_END: u32 = 1;
pub const ELEM_LIST_TABLE: u16 = 1;
pub const ELEM_LIST_SET: u16 = 2;
pub const ELEM_LIST_ELEMENTS: u16 = 3;

pub const GEN_ID: u16 = 1;
pub const GEN_PROC_NAME: u16 = 3;

pub const DATA_VALUE: u16 = 1;
pub const DATA_VERDICT: u16 = 2;
pub const VERDICT_CODE: u16 = 1;
pub const VERDICT_CHAIN: u16 = 2;
pub const VERDICT_DROP: u32 = 0;
pub const VERDICT_ACCEPT: u32 = 1;
pub const VERDICT_JUMP: u32 = -3_i32 as u32;
pub const VERDICT_GOTO: u32 = -4_i32 as u32;
pub const VERDICT_RETURN: u32 = -5_i32 as u32;

pub const EXPR_NAME: u16 = 1;
pub const EXPR_DATA: u16 = 2;
/// `NFTA_COUNTER_BYTES`.
pub const COUNTER_OCTETS: u16 = 1;
/// `NFTA_COUNTER_PACKETS`.
pub const COUNTER_PACKETS: u16 = 2;

pub const REGISTER_VERDICT: u32 = 0;
pub const REGISTER_1: u32 = 1;
pub const REGISTER_32: u32 = 8;

pub const IMMEDIATE_DREG: u16 = 1;
pub const IMMEDIATE_DATA: u16 = 2;

pub const META_DREG: u16 = 1;
pub const META_KEY: u16 = 2;
pub const META_SREG: u16 = 3;
pub const META_MARK: u32 = 3;
pub const META_IIFNAME: u32 = 6;
pub const META_OIFNAME: u32 = 7;
pub const META_NFPROTO: u32 = 15;
pub const META_L4PROTO: u32 = 16;

pub const PAYLOAD_DREG: u16 = 1;
pub const PAYLOAD_BASE: u16 = 2;
pub const PAYLOAD_OFFSET: u16 = 3;
pub const PAYLOAD_LEN: u16 = 4;
pub const PAYLOAD_NETWORK: u32 = 1;
pub const PAYLOAD_TRANSPORT: u32 = 2;

pub const CT_DREG: u16 = 1;
pub const CT_KEY: u16 = 2;
pub const CT_STATE: u32 = 0;
pub const CT_STATUS: u32 = 2;

pub const FIB_DREG: u16 = 1;
pub const FIB_RESULT: u16 = 2;
pub const FIB_FLAGS: u16 = 3;
pub const FIB_RESULT_OIF: u32 = 1;
pub const FIB_RESULT_ADDRTYPE: u32 = 3;
pub const FIB_F_SADDR: u32 = 1;
pub const FIB_F_DADDR: u32 = 2;
pub const FIB_F_IIF: u32 = 8;

pub const CMP_SREG: u16 = 1;
pub const CMP_OP: u16 = 2;
pub const CMP_DATA: u16 = 3;
pub const EQUAL: u32 = 0;
pub const DIFFERS: u32 = 1;

pub const RANGE_SREG: u16 = 1;
pub const RANGE_OP: u16 = 2;
pub const RANGE_FROM: u16 = 3;
pub const RANGE_TO: u16 = 4;

pub const BITWISE_SREG: u16 = 1;
pub const BITWISE_DREG: u16 = 2;
pub const BITWISE_LEN: u16 = 3;
pub const BITWISE_MASK: u16 = 4;
pub const BITWISE_XOR: u16 = 5;
pub const BITWISE_OP: u16 = 6;

pub const LOOKUP_SET: u16 = 1;
pub const LOOKUP_SREG: u16 = 2;
pub const LOOKUP_DREG: u16 = 3;
pub const LOOKUP_FLAGS: u16 = 5;
pub const LOOKUP_INVERTED: u32 = 1;

pub const LIMIT_RATE: u16 = 1;
pub const LIMIT_UNIT: u16 = 2;
pub const LIMIT_BURST: u16 = 3;
pub const LIMIT_TYPE: u16 = 4;
pub const LIMIT_FLAGS: u16 = 5;
pub const LIMIT_PACKETS: u32 = 0;
pub const LIMIT_F_INVERTED: u32 = 1;

pub const CONNLIMIT_COUNT: u16 = 1;
pub const CONNLIMIT_FLAGS: u16 = 2;
pub const CONNLIMIT_F_INVERTED: u32 = 1;

pub const LOG_GROUP: u16 = 1;
pub const LOG_PREFIX: u16 = 2;

pub const NAT_TYPE: u16 = 1;
pub const NAT_FAMILY: u16 = 2;
pub const NAT_ADDRESS_MIN: u16 = 3;
pub const NAT_ADDRESS_MAX: u16 = 4;
pub const NAT_PORT_MIN: u16 = 5;
pub const NAT_PORT_MAX: u16 = 6;
pub const NAT_FLAGS: u16 = 7;
pub const NAT_SOURCE: u32 = 0;
pub const NAT_DESTINATION: u32 = 1;
/// `NFPROTO_*`.
pub const FAMILY_IPV4: u32 = 2;
pub const FAMILY_IPV6: u32 = 10;
/// `NF_NAT_RANGE_MAP_IPS`: the kernel adds it by itself, and tells it.
pub const MAP_ADDRESSES: u32 = 1;
/// `NF_NAT_RANGE_PROTO_SPECIFIED`.
pub const MAP_PORTS: u32 = 2;

pub const MASQ_FLAGS: u16 = 1;
pub const MASQ_PORT_MIN: u16 = 2;
pub const MASQ_PORT_MAX: u16 = 3;
pub const RANDOM_FULLY: u32 = 16;

/// How `nft` tags a remark in what a table or rule carries for its user.
pub const UDATA_COMMENT: u8 = 0;
/// How `nft` tags the order of a key's octets.
pub const UDATA_KEY_BYTE_ORDER: u8 = 0;
/// Octets of a remark, as `nft` limits them.
pub const LONGEST_REMARK: usize = 127;
/// Octets of what is put before a logged packet, without the NUL.
pub const LONGEST_PREFIX: usize = 127;
/// What marks a table as ours.
pub const MAKER: &str = "margay: do not edit";

use crate::table::{ChainKind, Field, Hook, HookPoint};

/// The data types of `nft`, which the kernel keeps for it.
pub fn field_type(field: Field) -> u32 {
    match field {
        // Numbers as marks are, side by side.
        Field::Class => MARK << 18 | MARK << 12 | MARK << 6 | MARK,
        Field::ClassKey => MARK << 12 | MARK << 6 | MARK,
        Field::Ipv4 => 7,
        Field::Ipv6 => 8,
        Field::Protocol => 12,
        Field::Port => 13,
        Field::State => 26,
        Field::Link => 41,
    }
}

const MARK: u32 = 19;

/// The field of a data type, if we use it.
pub fn field_of(kind: u32) -> Option<Field> {
    use Field::{Class, ClassKey, Ipv4, Ipv6, Link, Port, Protocol, State};
    let all = [Class, ClassKey, Ipv4, Ipv6, Protocol, Port, State, Link];
    all.into_iter().find(|field| field_type(*field) == kind)
}

/// `NF_INET_*`.
pub fn point_number(point: HookPoint) -> u32 {
    match point {
        HookPoint::Prerouting => 0,
        HookPoint::Input => 1,
        HookPoint::Forward => 2,
        HookPoint::Output => 3,
        HookPoint::Postrouting => 4,
    }
}

/// The place with this number.
pub fn point_of(number: u32) -> Option<HookPoint> {
    use HookPoint::{Forward, Input, Output, Postrouting, Prerouting};
    let all = [Prerouting, Input, Forward, Output, Postrouting];
    all.into_iter().find(|point| point_number(*point) == number)
}

/// What the kernel calls a kind of base chain.
pub fn kind_name(kind: ChainKind) -> &'static str {
    match kind {
        ChainKind::Filter => "filter",
        ChainKind::Route => "route",
        ChainKind::Nat => "nat",
    }
}

/// The kind with this name.
pub fn kind_of(name: &str) -> Option<ChainKind> {
    use ChainKind::{Filter, Nat, Route};
    [Filter, Route, Nat].into_iter().find(|kind| kind_name(*kind) == name)
}

/// `NF_DROP` or `NF_ACCEPT`, for a base chain's end.
pub fn policy_number(hook: &Hook) -> u32 {
    if hook.drops { VERDICT_DROP } else { VERDICT_ACCEPT }
}

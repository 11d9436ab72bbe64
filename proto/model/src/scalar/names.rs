//! Names as Kubernetes and Calico allow them.

use crate::wire::rules::{Answer, allow};

fn is_label(text: &str) -> bool {
    let alphanumeric = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let edge = |c: Option<&u8>| c.is_some_and(|c| alphanumeric(*c));
    let bytes = text.as_bytes();
    edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|c| alphanumeric(*c) || *c == b'-')
}

/// Labels of `[a-z0-9]([-a-z0-9]*[a-z0-9])?` joined by dots, at most 253 octets.
pub(crate) fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

/// A DNS-1123 subdomain.
pub(crate) fn subdomain(text: &String) -> Answer {
    allow(is_subdomain(text), || {
        "a DNS name: lower case letters, digits, - and ., at most 253 characters".into()
    })
}

/// A single DNS-1123 label of at most 63 octets.
pub(crate) fn label(text: &String) -> Answer {
    allow(text.len() <= 63 && is_label(text), || {
        "a DNS label: lower case letters, digits and -, at most 63 characters".into()
    })
}

/// The name of a policy: `label`, `label.label`, or what was made of a policy of Kubernetes or
/// OpenStack.
pub(crate) fn policy(text: &String, namespaced: bool) -> Answer {
    let made: &[&str] = match namespaced {
        true => &["knp.default.", "ossg.default."],
        false => &[
            "kanp.adminnetworkpolicy.",
            "kbanp.baselineadminnetworkpolicy.",
            "kcnp.kube-admin.",
            "kcnp.kube-baseline.",
        ],
    };
    let from_elsewhere = made.iter().filter_map(|made| text.strip_prefix(made)).any(is_subdomain);
    let labels = text.split('.').count() <= 2 && text.split('.').all(is_label);
    allow(text.len() <= 253 && (labels || from_elsewhere), || {
        "a policy name: lower case letters, digits and -, with at most one dot, \
         at most 253 characters"
            .into()
    })
}

/// The name part of a label key or a label value: `[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?`,
/// at most 63 octets.
fn is_qualified_part(text: &str) -> bool {
    let edge = |c: Option<&u8>| c.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    text.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'))
}

/// A label key: an optional DNS prefix and a slash, then a name.
pub(crate) fn is_label_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && is_qualified_part(name),
        None => is_qualified_part(text),
    }
}

/// A label value: empty, or at most 63 octets of letters, digits, `-`, `_` and `.`.
pub(crate) fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_qualified_part(text)
}

/// The name of a port as Kubernetes allows it: at most 15 of `[a-z0-9-]`, a letter among them, no
/// hyphen at an edge or beside another.
pub(crate) fn port_name(text: &str) -> Answer {
    let holds = text.len() <= 15
        && is_label(text)
        && text.bytes().any(|c| c.is_ascii_lowercase())
        && !text.contains("--");
    allow(holds, || "a port name: at most 15 of a-z, 0-9 and -, with a letter".into())
}

/// The name of a network interface: at most 15 of `[a-zA-Z0-9_.-]`.
pub(crate) fn is_interface(text: &str) -> bool {
    let known = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'-');
    (1..=15).contains(&text.len()) && text.bytes().all(known)
}

/// The name of a network interface.
pub(crate) fn interface(text: &String) -> Answer {
    allow(is_interface(text), || {
        "an interface name: at most 15 of letters, digits, _, . and -".into()
    })
}

/// A pattern for names of interfaces, with `*` for anything.
pub(crate) fn interface_pattern(text: &String) -> Answer {
    let known = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'-' | b'*');
    allow((1..=15).contains(&text.len()) && text.bytes().all(known), || {
        "an interface name or pattern: at most 15 of letters, digits, _, ., - and *".into()
    })
}

/// A hardware address.
pub(crate) fn mac(text: &String) -> Answer {
    let parts: Vec<_> = text.split([':', '-']).collect();
    let holds = parts.len() == 6
        && parts.iter().all(|part| part.len() == 2 && part.bytes().all(|c| c.is_ascii_hexdigit()));
    allow(holds, || "a MAC address such as \"ee:ee:ee:ee:ee:ee\"".into())
}

//! What the host's end of a link is called, and its hardware address.

use margay_model::endpoint_name::host_interface;
use sha1::{Digest, Sha1};

use crate::attachment::{AttachmentId, Mac, Pod};

/// By what links of workloads are known, as in Calico.
pub const PREFIX: &str = "cali";
/// With what the alias of a link of ours begins; its handle follows.
pub const ALIAS: &str = "margay:";

/// The alias of an attachment's link.
pub fn alias(id: &AttachmentId) -> String {
    format!("{ALIAS}{}", id.handle())
}

/// The host's end: `cali` and the first 11 hexadecimal digits of SHA-1 of `NAMESPACE.POD`, or the
/// first 11 characters of the container's id. Where somebody else has that name (a further
/// interface of the pod, a container whose id begins alike), the digits of SHA-1 of all that the
/// attachment is known by; and of that with a number behind it, until it is free.
pub fn host_end(id: &AttachmentId, pod: Option<&Pod>, taken: impl Fn(&str) -> bool) -> String {
    let usual = match pod {
        Some(pod) => host_interface(PREFIX, &pod.namespace, &pod.name),
        None => format!("{PREFIX}{}", id.container.chars().take(11).collect::<String>()),
    };
    if !taken(&usual) {
        return usual;
    }
    let whose = pod.map_or_else(String::new, |pod| format!("{}.{}.", pod.namespace, pod.name));
    let mut text = format!("{whose}{id}");
    loop {
        let name = host_interface(PREFIX, &text, "");
        if !taken(&name) {
            return name;
        }
        text.push('+');
    }
}

/// A locally administered address that is the same whenever the attachment is made.
pub fn mac(id: &AttachmentId) -> Mac {
    let digest = Sha1::digest(id.to_string());
    let mut octets = [0; 6];
    for (octet, from) in octets.iter_mut().zip(digest) {
        *octet = from;
    }
    let [first, rest @ ..] = octets;
    let [b, c, d, e, f] = rest;
    Mac([(first & 0xfc) | 2, b, c, d, e, f])
}

#[cfg(test)]
mod tests;

//! `CNI_ARGS`: `KEY=VALUE;KEY=VALUE`.

use std::net::IpAddr;

use crate::error::{Code, Error};

/// What we understand of `CNI_ARGS`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Args {
    /// `K8S_POD_NAMESPACE`.
    pub pod_namespace: Option<String>,
    /// `K8S_POD_NAME`.
    pub pod_name: Option<String>,
    /// `K8S_POD_UID`.
    pub pod_uid: Option<String>,
    /// `IP`: the addresses the container is to have, one of a family.
    pub addresses: Vec<IpAddr>,
    /// `MAC`: of the container's interface.
    pub mac: Option<String>,
    /// Keys nobody knows, in the absence of `IgnoreUnknown`.
    pub unknown: Vec<String>,
}

/// How faults are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Faults {
    /// Refused.
    Refuse,
    /// Left out: a DEL must not fail for them.
    Drop,
}

impl Args {
    /// Reads the variable.
    ///
    /// # Errors
    /// A part without `=`, or an address that is none, where faults are refused.
    pub fn parse(text: &str, faults: Faults) -> Result<Self, Error> {
        let mut args = Self::default();
        let mut ignore_unknown = false;
        for part in text.split(';').filter(|part| !part.trim().is_empty()) {
            let Some((key, value)) = part.split_once('=') else {
                match faults {
                    Faults::Refuse => {
                        return Err(invalid(format!("CNI_ARGS: {part:?} is not KEY=VALUE")));
                    }
                    Faults::Drop => continue,
                }
            };
            let value = value.trim();
            let given = (!value.is_empty()).then(|| value.to_owned());
            match key.trim() {
                "IgnoreUnknown" => {
                    ignore_unknown = matches!(value.to_ascii_lowercase().as_str(), "1" | "true");
                }
                "K8S_POD_NAMESPACE" => args.pod_namespace = given,
                "K8S_POD_NAME" => args.pod_name = given,
                "K8S_POD_UID" => args.pod_uid = given,
                // The sandbox itself, which CNI_CONTAINERID names already.
                "K8S_POD_INFRA_CONTAINER_ID" => {}
                "MAC" => args.mac = given,
                "IP" => args.take_addresses(value, faults)?,
                key => args.unknown.push(key.to_owned()),
            }
        }
        if ignore_unknown {
            args.unknown.clear();
        }
        Ok(args)
    }

    fn take_addresses(&mut self, value: &str, faults: Faults) -> Result<(), Error> {
        for text in value.split(',').map(str::trim).filter(|text| !text.is_empty()) {
            // Some callers write a prefix length; an address of a container has none here.
            let bare = text.split_once('/').map_or(text, |(address, _)| address);
            match (bare.parse(), faults) {
                (Ok(address), _) => self.addresses.push(address),
                (Err(_), Faults::Refuse) => {
                    return Err(invalid(format!("CNI_ARGS: IP={text}: not an address")));
                }
                (Err(_), Faults::Drop) => {}
            }
        }
        Ok(())
    }
}

fn invalid(msg: String) -> Error {
    Error::new(Code::InvalidEnvironment, msg)
}

#[cfg(test)]
mod tests;

//! What a call says about the pod: CNI_ARGS, `args.cni`, `runtimeConfig`.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use serde_json::Value;

use crate::{
    args::Args,
    error::Error,
    json::{At, Object},
};

/// What there is to know of the pod.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pod {
    /// Namespace and name, if both are known.
    pub name: Option<(String, String)>,
    /// Its uid.
    pub uid: Option<String>,
    /// `args.cni.labels`
    pub labels: BTreeMap<String, String>,
    /// `args.cni.annotations`, then `runtimeConfig["io.kubernetes.cri.pod-annotations"]`.
    pub annotations: BTreeMap<String, String>,
    /// The addresses it is to have: `IP` of CNI_ARGS, else the capability `ips`, else `args.cni.ips`.
    pub addresses: Vec<IpAddr>,
}

/// The MAC of the container's interface, for whoever cannot write an annotation.
const HW_ADDR: &str = "cni.projectcalico.org/hwAddr";

impl Pod {
    pub(super) fn read(root: &Object<'_>, args: &Args) -> Result<Self, Error> {
        let mut pod = Self {
            name: args.pod_namespace.clone().zip(args.pod_name.clone()),
            uid: args.pod_uid.clone(),
            addresses: args.addresses.clone(),
            ..Self::default()
        };
        let mut mac = args.mac.clone();
        let cni = match root.object("args")? {
            Some(args) => args.object("cni")?,
            None => None,
        };
        let runtime = root.object("runtimeConfig")?;
        if let Some(runtime) = &runtime {
            if let Some(at) = runtime.get("io.kubernetes.cri.pod-annotations") {
                pairs(&at, &mut pod.annotations)?;
            }
            pod.take_addresses(runtime)?;
            mac = mac.or(runtime.string("mac")?.map(str::to_owned));
        }
        if let Some(cni) = &cni {
            if let Some(at) = cni.get("labels") {
                pairs(&at, &mut pod.labels)?;
            }
            if let Some(at) = cni.get("annotations") {
                pairs(&at, &mut pod.annotations)?;
            }
            pod.take_addresses(cni)?;
            mac = mac.or(cni.string("mac")?.map(str::to_owned));
        }
        if let Some(mac) = mac {
            pod.annotations.entry(HW_ADDR.to_owned()).or_insert(mac);
        }
        Ok(pod)
    }

    /// `ips`, with or without prefix lengths, unless the addresses are known already.
    fn take_addresses(&mut self, object: &Object<'_>) -> Result<(), Error> {
        if !self.addresses.is_empty() {
            return Ok(());
        }
        for at in object.list("ips")? {
            let text = at.string()?;
            let address = text.parse::<IpNet>().map(|net| net.addr()).or_else(|_| text.parse());
            self.addresses.push(address.map_err(|_| at.fault("an address"))?);
        }
        Ok(())
    }
}

/// Keys and values: a list of `{key, value}` as the conventions have it, or an object.
fn pairs(at: &At<'_>, to: &mut BTreeMap<String, String>) -> Result<(), Error> {
    if let Value::Object(_) = at.value() {
        for (key, value) in at.object()?.entries() {
            to.insert(key.to_owned(), value.string()?.to_owned());
        }
        return Ok(());
    }
    for pair in at.list()? {
        let object = pair.object()?;
        let Some(key) = object.string("key")? else { return Err(pair.fault("an object with key")) };
        let value = object.string("value")?.unwrap_or_default();
        to.insert(key.to_owned(), value.to_owned());
    }
    Ok(())
}

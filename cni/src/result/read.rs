//! Results of other plugins: what came before in the chain, what an IPAM plugin answered.

use ipnet::IpNet;

use super::{Dns, Interface, Ip, NetworkResult, Route};
use crate::{
    error::Error,
    json::{At, Object},
};

impl NetworkResult {
    /// Reads a result of any version: which one shows in its keys.
    ///
    /// # Errors
    /// Something in it is not what the specification says; the message has its path.
    pub fn read(at: &At<'_>) -> Result<Self, Error> {
        let object = at.object()?;
        let mut result = Self { dns: dns(&object)?, ..Self::default() };
        for key in ["ip4", "ip6"] {
            if let Some(family) = object.object(key)? {
                result.take_family(&family)?;
            }
        }
        for at in object.list("interfaces")? {
            result.interfaces.push(interface(&at)?);
        }
        for at in object.list("ips")? {
            result.ips.push(ip(&at)?);
        }
        for at in object.list("routes")? {
            result.routes.push(route(&at)?);
        }
        Ok(result)
    }

    /// `ip4` or `ip6` of 0.1.0 and 0.2.0.
    fn take_family(&mut self, family: &Object<'_>) -> Result<(), Error> {
        if let Some(at) = family.get("ip") {
            let gateway = gateway(family, "gateway")?;
            self.ips.push(Ip { interface: None, address: network(&at)?, gateway });
        }
        for at in family.list("routes")? {
            self.routes.push(route(&at)?);
        }
        Ok(())
    }
}

fn interface(at: &At<'_>) -> Result<Interface, Error> {
    let object = at.object()?;
    let text = |key| Ok(object.string(key)?.map(str::to_owned));
    Ok(Interface {
        name: text("name")?.unwrap_or_default(),
        mac: text("mac")?,
        mtu: object.number("mtu")?.filter(|mtu| *mtu > 0),
        sandbox: text("sandbox")?,
        socket_path: text("socketPath")?,
        pci_id: text("pciID")?,
    })
}

fn ip(at: &At<'_>) -> Result<Ip, Error> {
    let object = at.object()?;
    let Some(address) = object.get("address") else {
        return Err(at.fault("an address in CIDR notation"));
    };
    // Some plugins write -1 for an address on none of the interfaces.
    let interface = match object.get("interface") {
        Some(at) if at.value().as_i64().is_some_and(|index| index < 0) => None,
        Some(at) => Some(at.number()?),
        None => None,
    };
    Ok(Ip { interface, address: network(&address)?, gateway: gateway(&object, "gateway")? })
}

fn route(at: &At<'_>) -> Result<Route, Error> {
    let object = at.object()?;
    let Some(dst) = object.get("dst") else { return Err(at.fault("a route with dst")) };
    Ok(Route {
        dst: network(&dst)?,
        gw: gateway(&object, "gw")?,
        mtu: object.number("mtu")?,
        advmss: object.number("advmss")?,
        priority: object.number("priority")?,
        table: object.number("table")?,
        scope: object.number("scope")?,
    })
}

fn dns(object: &Object<'_>) -> Result<Dns, Error> {
    let Some(dns) = object.object("dns")? else { return Ok(Dns::default()) };
    Ok(Dns {
        nameservers: dns.strings("nameservers")?,
        domain: dns.string("domain")?.map(str::to_owned),
        search: dns.strings("search")?,
        options: dns.strings("options")?,
    })
}

fn network(at: &At<'_>) -> Result<IpNet, Error> {
    at.parse("an address in CIDR notation")
}

fn gateway(object: &Object<'_>, key: &str) -> Result<Option<std::net::IpAddr>, Error> {
    match object.get(key).filter(|at| at.value() != "") {
        Some(at) => at.parse("an address").map(Some),
        None => Ok(None),
    }
}

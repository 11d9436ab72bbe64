//! The network configuration on stdin, for `type: margay` and as it was written for Calico.
//!
//! Owns which keys there are, and what each means for a request. Strict towards a configuration
//! that names us: a key nobody knows is refused. Written for Calico, keys that have no meaning here
//! (its datastore, its log) are passed over, and what cannot be obeyed is a remark on stderr.
//! A DEL or GC takes what it needs and is not refused for the rest.

mod ipam;
mod pod;

use std::path::PathBuf;

use serde_json::Value;

pub use ipam::{Assign, Foreign, Ipam, without_pod_cidr};
pub use pod::Pod;

use crate::{
    args::{Args, Faults},
    env::{self, Verb},
    error::{Code, Error},
    json::{At, Object},
    result::NetworkResult,
    version::Version,
};

/// Under which name the plugin was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `margay-cni`, `margay`, `calico`: makes links.
    Network,
    /// `margay-ipam`, `calico-ipam`: addresses only.
    Ipam,
}

impl Role {
    /// By the name of the program.
    pub fn of(program: &str) -> Self {
        let name = program.rsplit('/').next().unwrap_or(program);
        if ipam::OURS.contains(&name) { Self::Ipam } else { Self::Network }
    }
}

/// What a configuration says.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `name`: the network.
    pub network: String,
    /// `socket`: where the daemon listens.
    pub socket: PathBuf,
    /// `spool_dir`: where a DEL is left that finds no daemon.
    pub spool_dir: PathBuf,
    /// `policy_wait_seconds`, or Calico's `policy_setup_timeout_seconds`.
    pub policy_wait_seconds: u32,
    /// `mtu`; none: the daemon chooses.
    pub mtu: Option<u32>,
    /// `num_queues`.
    pub queues: Option<u32>,
    /// `container_settings.allow_ip_forwarding`.
    pub allow_ip_forwarding: bool,
    /// `feature_control.ip_addrs_no_ipam`.
    pub allow_addresses_without_ipam: bool,
    /// `feature_control.floating_ips`.
    pub allow_floating_ips: bool,
    /// Where addresses come from.
    pub ipam: Ipam,
    /// What there is to know of the pod.
    pub pod: Pod,
    /// `prevResult`.
    pub previous: Option<NetworkResult>,
    /// `cni.dev/valid-attachments`: container id and interface of each. Only a GC has it.
    pub valid: Vec<(String, String)>,
    /// What cannot be obeyed, a sentence each.
    pub remarks: Vec<String>,
}

/// Where the daemon listens.
pub const SOCKET: &str = "/run/margay/bgpd.sock";
/// Where a DEL is left that finds no daemon.
pub const SPOOL: &str = "/var/lib/margay/cni-spool";
const POLICY_WAIT_SECONDS: u32 = 5;

/// Keys of the specification and of runtimes.
const STANDARD: &[&str] = &[
    "args",
    "capabilities",
    "cniVersion",
    "cniVersions",
    "disableCheck",
    "disableGC",
    "dns",
    "ipMasq",
    "ipam",
    "loadOnlyInlinedPlugins",
    "name",
    "prevResult",
    "runtimeConfig",
    "type",
];

/// Our own keys, and those of Calico that mean the same here.
const OURS: &[&str] = &[
    "socket",
    "spool_dir",
    "policy_wait_seconds",
    "policy_setup_timeout_seconds",
    "mtu",
    "num_queues",
    "device_type",
    "container_settings",
    "feature_control",
    "ipam_needs_interface",
];

/// Keys of Calico that the daemon makes needless: it knows its node, its datastore, its log and the
/// MTU, and takes no lock.
const NEEDLESS: &[&str] = &[
    "calico_api_group",
    "burst",
    "datastore_type",
    "endpoint_status_dir",
    "etcd_authority",
    "etcd_ca_cert_file",
    "etcd_cert_file",
    "etcd_discovery_srv",
    "etcd_endpoints",
    "etcd_key_file",
    "etcd_scheme",
    "hostname",
    "ipam_lock_file",
    "kubernetes",
    "log_file_max_age",
    "log_file_max_count",
    "log_file_max_size",
    "log_file_path",
    "log_level",
    "nodename",
    "nodename_file",
    "nodename_file_optional",
    "policy",
    "qps",
    "readiness_gates",
    "require_mtu_file",
];

/// What cannot be obeyed: windows, and a foreign dataplane.
const UNSUPPORTED: &[&str] = &[
    "dataplane_options",
    "mode",
    "vxlan_mac_prefix",
    "vxlan_vni",
    "windows_disable_default_deny_all_policies",
    "windows_local_endpoint",
    "windows_pause_image",
    "windows_use_single_network",
];

/// A configuration as JSON, before it is looked at.
///
/// # Errors
/// It is no JSON.
pub fn decode(stdin: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(stdin).map_err(|error| {
        Error::new(Code::Decode, "the network configuration is no JSON")
            .with_details(error.to_string())
    })
}

/// The version that a configuration is written for.
///
/// # Errors
/// One that we do not speak, or no object.
pub fn version(config: &Value) -> Result<Version, Error> {
    let config = At::root(config).object()?;
    let Some(text) = config.string("cniVersion")? else { return Ok(Version::UNNAMED) };
    text.parse().map_err(|unknown: crate::version::UnknownVersion| {
        let all = Version::ALL.map(Version::text).join(", ");
        Error::new(Code::IncompatibleVersion, unknown.to_string())
            .with_details(format!("supported: {all}"))
    })
}

impl Config {
    /// Looks at everything that the verb needs.
    ///
    /// # Errors
    /// A key that is missing, of the wrong kind, unknown or not supported.
    pub fn read(config: &Value, args: &str, verb: Verb, role: Role) -> Result<Self, Error> {
        let root = At::root(config).object()?;
        let faults =
            if matches!(verb, Verb::Del | Verb::Gc) { Faults::Drop } else { Faults::Refuse };
        let strict = faults == Faults::Refuse;
        let mut remarks = Vec::new();
        let ours = role == Role::Network && root.string("type").ok().flatten() == Some("margay");
        if strict && role == Role::Network {
            known_keys(&root, ours, &mut remarks)?;
        }
        let network = network(&root)?;
        let args = Args::parse(args, faults)?;
        if let (true, Some(unknown)) = (strict && ours, args.unknown.first()) {
            return Err(Error::new(
                Code::InvalidEnvironment,
                format!("CNI_ARGS: unknown key {unknown:?} (IgnoreUnknown=1 would pass over it)"),
            ));
        }
        let taker = Taker { strict };
        let pod = taker.or_default(Pod::read(&root, &args))?;
        let ipam = match (role, taker.or_default(Ipam::read(&root, verb, ours, &mut remarks))?) {
            // Called for addresses: whose they are is not the question.
            (Role::Ipam, Ipam::Foreign(_)) => Ipam::default(),
            (_, ipam) => ipam,
        };
        let path = |key, default: &str| -> Result<PathBuf, Error> {
            let path = taker.or_default(absolute(&root, key))?;
            Ok(path.unwrap_or_else(|| default.into()))
        };
        let settings = taker.or_default(Settings::read(&root, ours, &mut remarks))?;
        let previous = match root.get("prevResult") {
            Some(previous) if strict => Some(NetworkResult::read(&previous)?),
            _ => None,
        };
        Ok(Self {
            network,
            socket: path("socket", SOCKET)?,
            spool_dir: path("spool_dir", SPOOL)?,
            policy_wait_seconds: settings.policy_wait_seconds.unwrap_or(POLICY_WAIT_SECONDS),
            mtu: settings.mtu,
            queues: settings.queues,
            allow_ip_forwarding: settings.allow_ip_forwarding,
            allow_addresses_without_ipam: settings.allow_addresses_without_ipam,
            allow_floating_ips: settings.allow_floating_ips,
            ipam,
            pod,
            previous,
            valid: if verb == Verb::Gc { valid_attachments(&root)? } else { Vec::new() },
            remarks,
        })
    }
}

/// Takes what a verb needs and drops faults in the rest.
struct Taker {
    strict: bool,
}

impl Taker {
    fn or_default<T: Default>(&self, read: Result<T, Error>) -> Result<T, Error> {
        match read {
            Err(_) if !self.strict => Ok(T::default()),
            read => read,
        }
    }
}

#[derive(Default)]
struct Settings {
    policy_wait_seconds: Option<u32>,
    mtu: Option<u32>,
    queues: Option<u32>,
    allow_ip_forwarding: bool,
    allow_addresses_without_ipam: bool,
    allow_floating_ips: bool,
}

impl Settings {
    fn read(root: &Object<'_>, ours: bool, remarks: &mut Vec<String>) -> Result<Self, Error> {
        let policy_wait_seconds = match root.number("policy_wait_seconds")? {
            Some(seconds) => Some(seconds),
            // 0 is Calico's default and means that it does not wait.
            None => root.number("policy_setup_timeout_seconds")?.filter(|seconds| *seconds > 0),
        };
        if let Some(at) = root.get("device_type") {
            match at.string()? {
                "" | "veth" => {}
                _ if ours => return Err(unsupported(&at)),
                other => {
                    remarks.push(format!("device_type: {other:?} is not supported, a veth it is"))
                }
            }
        }
        let forwarding = root.object("container_settings")?;
        let features = root.object("feature_control")?;
        let truth = |object: &Option<Object<'_>>, key| -> Result<bool, Error> {
            Ok(object.as_ref().map(|object| object.truth(key)).transpose()?.flatten() == Some(true))
        };
        Ok(Self {
            policy_wait_seconds,
            mtu: root.number("mtu")?.filter(|mtu| *mtu > 0),
            queues: root.number("num_queues")?.filter(|queues| *queues > 0),
            allow_ip_forwarding: truth(&forwarding, "allow_ip_forwarding")?,
            allow_addresses_without_ipam: truth(&features, "ip_addrs_no_ipam")?,
            allow_floating_ips: truth(&features, "floating_ips")?,
        })
    }
}

/// `name`, which every verb with a configuration needs.
fn network(root: &Object<'_>) -> Result<String, Error> {
    match root.string("name")? {
        Some(name) if env::is_identifier(name) => Ok(name.to_owned()),
        Some(name) => {
            Err(Error::new(Code::InvalidConfig, format!("name: invalid characters in {name:?}"))
                .with_details("it begins with a letter or digit and has letters, digits, _ . -"))
        }
        None => Err(Error::new(Code::InvalidConfig, "name: the configuration has none")),
    }
}

/// A path that does not depend on where the runtime happens to be.
fn absolute(root: &Object<'_>, key: &str) -> Result<Option<PathBuf>, Error> {
    let Some(at) = root.get(key) else { return Ok(None) };
    let path = PathBuf::from(at.string()?);
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    if path.is_absolute() { Ok(Some(path)) } else { Err(at.fault("an absolute path")) }
}

/// Refuses keys that nobody knows in a configuration of ours; remarks on them in others.
fn known_keys(root: &Object<'_>, ours: bool, remarks: &mut Vec<String>) -> Result<(), Error> {
    for (key, at) in root.entries() {
        // Runtimes name what they add after themselves: `cni.dev/attachments`, `io.kubernetes.…`.
        let of_a_runtime = key.contains('/') || key.contains('.');
        let known = [STANDARD, OURS, NEEDLESS].iter().any(|list| list.contains(&key));
        let says_nothing = at.value().is_null() || at.value() == "";
        if known || of_a_runtime || says_nothing {
            continue;
        }
        if ours {
            return Err(unsupported(&at));
        }
        let why = if UNSUPPORTED.contains(&key) { "not supported" } else { "unknown" };
        remarks.push(format!("{key}: {why}, passed over"));
    }
    Ok(())
}

/// A field with the value it has, as the specification wants it told.
fn unsupported(at: &At<'_>) -> Error {
    let field = format!("{}: {} is not supported", at.path(), at.value());
    Error::new(Code::UnsupportedField, field)
}

/// The list of a GC. A runtime with no attachment may write null; without the key nothing is known,
/// and taking that for an empty list would delete everything.
fn valid_attachments(root: &Object<'_>) -> Result<Vec<(String, String)>, Error> {
    // The second name is that of libraries from before the specification was settled.
    let keys = ["cni.dev/valid-attachments", "cni.dev/attachments"];
    let Some(key) = keys.into_iter().find(|key| root.has(key)) else {
        return Err(Error::new(
            Code::InvalidConfig,
            "cni.dev/valid-attachments: missing, GC needs it",
        ));
    };
    let mut valid = Vec::new();
    for at in root.list(key)? {
        let attachment = at.object()?;
        let (Some(container), Some(ifname)) =
            (attachment.string("containerID")?, attachment.string("ifname")?)
        else {
            return Err(at.fault("an object with containerID and ifname"));
        };
        valid.push((container.to_owned(), ifname.to_owned()));
    }
    Ok(valid)
}

#[cfg(test)]
mod tests;

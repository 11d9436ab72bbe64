//! `margay workload` and the commands of `margay node` about the CNI plugin: what can be said.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// Containers of this node.
#[derive(Debug, Subcommand)]
pub enum WorkloadCommand {
    /// Every attachment of this node, and endpoints applied by hand
    List {
        /// Only of this namespace
        #[arg(short, long, value_name = "NAMESPACE")]
        namespace: Option<String>,
        /// Only of this network, by the name in its CNI configuration
        #[arg(long, value_name = "NETWORK")]
        network: Option<String>,
    },
    /// One of them: what it has, what there should be and how it is
    Show(Which),
    /// The same, and every step that was taken for it, with its time
    Trace(Which),
}

/// Which workload.
#[derive(Debug, Args)]
pub struct Which {
    /// NAMESPACE/POD, an address, the interface on the host, or a container id
    #[arg(value_name = "WORKLOAD")]
    pub workload: String,
}

/// Where the plugin is.
#[derive(Debug, Args)]
pub struct CniPlaces {
    /// Where the runtime looks for plugins
    #[arg(long, value_name = "PATH", default_value = "/opt/cni/bin")]
    pub bin_dir: PathBuf,
    /// Where the runtime looks for configurations
    #[arg(long, value_name = "PATH", default_value = "/etc/cni/net.d")]
    pub conf_dir: PathBuf,
    /// Name of the configuration file: the runtime takes the first by name
    #[arg(long, value_name = "NAME", default_value = "10-margay.conflist", value_parser = file_name)]
    pub conf_name: String,
}

/// `margay node install-cni`.
#[derive(Debug, Args)]
pub struct InstallCni {
    /// Where.
    #[command(flatten)]
    pub places: CniPlaces,
    /// The plugin's program; `margay-cni` beside this program by default
    #[arg(long, value_name = "FILE")]
    pub plugin: Option<PathBuf>,
    /// Install it as `calico` and `calico-ipam` too, in the place of Calico's plugin
    #[arg(long)]
    pub as_calico: bool,
    /// A configuration to install instead of the usual one
    #[arg(long, value_name = "FILE", conflicts_with_all = ["network", "families", "mtu", "spool_dir", "cni_version"])]
    pub conflist: Option<PathBuf>,
    /// Name of the network
    #[arg(long, value_name = "NAME", default_value = "margay", value_parser = network_name)]
    pub network: String,
    /// An address of which family every pod gets; with a comma between both
    #[arg(long, value_enum, value_delimiter = ',', value_name = "FAMILY", default_value = "ipv4")]
    pub families: Vec<Family>,
    /// MTU of pods; by default what the network allows
    #[arg(long, value_name = "OCTETS", value_parser = clap::value_parser!(u32).range(68..=65535))]
    pub mtu: Option<u32>,
    /// `cni-spool` in the daemon's state directory, if that is not /var/lib/margay
    #[arg(long, value_name = "PATH")]
    pub spool_dir: Option<PathBuf>,
    /// The CNI version to be spoken; 1.1.0 brings GC and STATUS where every plugin knows it
    #[arg(long, value_name = "VERSION", default_value = "1.0.0", value_parser = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"])]
    pub cni_version: String,
    /// How long to wait for a daemon that can serve pods, before the configuration is written
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub wait: u64,
}

/// Address families of pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Family {
    /// IPv4
    Ipv4,
    /// IPv6
    Ipv6,
}

/// A file in the directory, and one that runtimes look at.
fn file_name(text: &str) -> Result<String, String> {
    let looked_at = [".conflist", ".conf", ".json"].iter().any(|end| text.ends_with(end));
    if text.contains('/') || text.starts_with('.') {
        return Err("a name without directory that does not begin with a dot".to_owned());
    }
    if looked_at { Ok(text.to_owned()) } else { Err("runtimes look at *.conflist".to_owned()) }
}

/// As the CNI specification has it.
fn network_name(text: &str) -> Result<String, String> {
    let first = text.starts_with(|letter: char| letter.is_ascii_alphanumeric());
    let rest = |letter: char| letter.is_ascii_alphanumeric() || "_.-".contains(letter);
    if first && text.chars().all(rest) {
        return Ok(text.to_owned());
    }
    Err("letters, digits and _ . -, beginning with a letter or digit".to_owned())
}

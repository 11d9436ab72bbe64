//! The command line: what can be said, before anything is done.

pub mod ipam;
pub mod policy;
pub mod workload;

use std::{convert::Infallible, net::IpAddr, path::PathBuf, str::FromStr};

use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;
use margay_proto::v1;

use crate::error::Failure;

/// Margay's command line: looks at and steers the node daemon.
#[derive(Debug, Parser)]
#[command(
    name = "margay",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = false,
    disable_help_subcommand = true,
    after_help = "Exit codes: 0 done, 1 the operation failed, 2 usage or invalid configuration."
)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that stand before or after the command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Socket of the node daemon
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "MARGAY_SOCKET",
        default_value = SOCKET,
        value_parser = |text: &str| Ok::<_, Infallible>(or_default(text, SOCKET))
    )]
    pub socket: PathBuf,
    /// Socket of the policy dataplane
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "MARGAY_POLICY_SOCKET",
        default_value = POLICY_SOCKET,
        value_parser = |text: &str| Ok::<_, Infallible>(or_default(text, POLICY_SOCKET))
    )]
    pub policy_socket: PathBuf,
    /// How to print: table, wide, json, yaml; of `get` also name, custom-columns=…, jsonpath=… and
    /// go-template=…
    #[arg(short, long, global = true, value_name = "FORMAT", default_value = "table")]
    pub output: Output,
    /// No colours, even on a terminal (also: NO_COLOR in the environment)
    #[arg(long, global = true)]
    pub no_color: bool,
}

/// How to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// What every command can.
    Format(Format),
    /// `KIND/NAME`, one a line.
    Name,
    /// Columns by their headings (`NAME,CIDR`) or as paths (`POOL:.metadata.name`).
    CustomColumns(String),
    /// A template.
    JsonPath(String),
    /// A template of Go.
    GoTemplate(String),
    /// A file with one.
    GoTemplateFile(PathBuf),
}

/// How every command can print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Aligned columns.
    Table,
    /// The same with more columns.
    Wide,
    /// An array or object.
    Json,
    /// The same as YAML.
    Yaml,
}

impl FromStr for Output {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.split_once('=') {
            None => match text {
                "table" | "ps" => Self::Format(Format::Table),
                "wide" => Self::Format(Format::Wide),
                "json" => Self::Format(Format::Json),
                "yaml" | "yml" => Self::Format(Format::Yaml),
                "name" => Self::Name,
                _ => return Err(OUTPUTS.to_owned()),
            },
            Some(("custom-columns", columns)) => Self::CustomColumns(columns.to_owned()),
            Some(("jsonpath", template)) => Self::JsonPath(template.to_owned()),
            Some(("go-template", template)) => Self::GoTemplate(template.to_owned()),
            Some(("go-template-file", file)) => Self::GoTemplateFile(file.into()),
            Some(_) => return Err(OUTPUTS.to_owned()),
        })
    }
}

impl Output {
    /// What a command can that prints no resources.
    ///
    /// # Errors
    /// A form that only resources have.
    pub fn format(&self) -> Result<Format, Failure> {
        let only_get = |form: &str| {
            Failure::usage(format!("-o {form} is for resources: `margay get`"))
                .with_help("every command knows -o table, wide, json and yaml")
        };
        match self {
            Self::Format(format) => Ok(*format),
            Self::Name => Err(only_get("name")),
            Self::CustomColumns(_) => Err(only_get("custom-columns")),
            Self::JsonPath(_) => Err(only_get("jsonpath")),
            Self::GoTemplate(_) | Self::GoTemplateFile(_) => Err(only_get("go-template")),
        }
    }
}

const OUTPUTS: &str = "possible values: table, wide, json, yaml, name, custom-columns=COLUMNS, jsonpath=TEMPLATE, \
     go-template=TEMPLATE, go-template-file=FILE";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The daemon at a glance
    Status,
    /// Peers and their sessions
    Peers(PeersArgs),
    /// Routes, and why they are as they are
    Routes(Box<RoutesArgs>),
    /// Routes in the kernel, and those that should be
    Fib {
        /// This prefix, or the longest one that covers this address
        #[arg(value_name = "PREFIX|ADDRESS")]
        destination: Option<Destination>,
    },
    /// The daemon's configuration
    #[command(subcommand, subcommand_required = true, arg_required_else_help = false)]
    Config(ConfigCommand),
    /// Addresses and blocks of the cluster
    #[command(subcommand, subcommand_required = true, arg_required_else_help = false)]
    Ipam(ipam::IpamCommand),
    /// This host as a node of its cluster
    #[command(subcommand, subcommand_required = true, arg_required_else_help = false)]
    Node(NodeCommand),
    /// Containers of this node: addresses, interfaces, what was done for them
    #[command(subcommand, subcommand_required = true, arg_required_else_help = false)]
    Workload(workload::WorkloadCommand),
    /// Network policy on this node: what is in force, and what it says to a packet
    #[command(subcommand, subcommand_required = true, arg_required_else_help = false)]
    Policy(policy::PolicyCommand),
    /// Resources as the datastore has them
    Get(GetArgs),
    /// Create resources, or replace those that exist
    Apply(FileArgs),
    /// Create resources that do not exist yet
    Create(FileArgs),
    /// Replace resources that exist
    Replace(FileArgs),
    /// Delete resources, of files or by kind and name
    Delete(DeleteArgs),
    /// Change some fields of a resource
    Patch(PatchArgs),
    /// Set or remove a label of a resource
    Label(LabelArgs),
    /// Everything in the datastore at once: backups, and moves to another one
    #[command(subcommand, subcommand_required = true, arg_required_else_help = false)]
    Datastore(DatastoreCommand),
    /// Changes as they happen, one JSON object a line
    Monitor {
        /// Only these; both by default
        what: Option<Watched>,
    },
    /// What a selector means, and whether it selects some labels (needs no daemon)
    Selector(SelectorArgs),
    /// Whether files of resources are valid (needs no daemon)
    Validate(Files),
    /// Completions for a shell: `source <(margay completions bash)`
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
        /// For the name calicoctl instead
        #[arg(long)]
        calicoctl: bool,
    },
    /// The manual page: `margay man | man -l -`
    Man {
        /// Write one page for each command into this directory instead
        #[arg(long, value_name = "PATH")]
        dir: Option<PathBuf>,
        /// For the name calicoctl instead
        #[arg(long)]
        calicoctl: bool,
    },
}

/// `margay node`.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Sessions by what makes them: the mesh, BGPPeers, the configuration file
    Status,
    /// Whether the kernel of this host can do what a node needs (needs no daemon)
    Checksystem,
    /// Everything worth knowing about this node in one archive; secrets are left out
    Diags {
        /// Write it here; into the folder for temporary files by default
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Install the CNI plugin, and its configuration once the daemon can serve pods
    #[command(
        after_help = "Files appear whole, by renaming. What is there just so is not written again."
    )]
    InstallCni(Box<workload::InstallCni>),
    /// Remove the plugin and its configuration, and nothing else
    UninstallCni(workload::CniPlaces),
}

/// `margay peers`.
#[derive(Debug, Args)]
#[command(
    override_usage = "margay peers [NAME]\n       margay peers <COMMAND>",
    after_help = "A peer whose name is a command stands after `--`: margay peers -- reset"
)]
pub struct PeersArgs {
    /// What to do with a peer.
    #[command(subcommand)]
    pub command: Option<PeersCommand>,
    /// Everything about one peer, by name or address
    pub name: Option<String>,
}

/// What to do with a peer.
#[derive(Debug, Subcommand)]
pub enum PeersCommand {
    /// End the session and start it again, or only apply policies again
    Reset {
        /// Name or address
        name: String,
        /// Keep the session: apply import policy again (in), send everything again (out), or both
        #[arg(long, value_enum, value_name = "DIRECTION")]
        soft: Option<Soft>,
    },
    /// End the session and keep it down until `enable`
    Disable {
        /// Name or address
        name: String,
        /// Tell the peer why (RFC 9003; at most 255 octets)
        #[arg(long, value_name = "TEXT", value_parser = shutdown_message)]
        message: Option<String>,
    },
    /// Let the session start again
    Enable {
        /// Name or address
        name: String,
    },
}

/// Directions of a soft reset.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Soft {
    /// What the peer told us
    In,
    /// What we told the peer
    Out,
    /// Both
    Both,
}

/// `margay routes`.
#[derive(Debug, Args)]
#[command(
    override_usage = "margay routes [PREFIX|ADDRESS] [OPTIONS]\n       margay routes <COMMAND>",
    after_help = "Without options: every path kept after import policy, in every family. A prefix \
                  matches exactly, an address by longest match."
)]
pub struct RoutesArgs {
    /// What else to do with routes.
    #[command(subcommand)]
    pub command: Option<RoutesCommand>,
    /// Exactly this prefix, or the longest one that covers this address
    #[arg(value_name = "PREFIX|ADDRESS")]
    pub destination: Option<Destination>,
    /// Only this address family
    #[arg(long, value_enum)]
    pub family: Option<Family>,
    /// Also the more specific prefixes within PREFIX
    #[arg(long, requires = "destination")]
    pub longer: bool,
    /// Only paths from this peer (name or address)
    #[arg(long, value_name = "PEER")]
    pub received_from: Option<String>,
    /// As received, before import policy
    #[arg(long, requires = "received_from")]
    pub pre_policy: bool,
    /// As sent to this peer, after export policy and rewriting
    #[arg(long, value_name = "PEER", conflicts_with = "pre_policy")]
    pub advertised_to: Option<String>,
    /// Only best paths
    #[arg(long)]
    pub best: bool,
    /// At most so many rows
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
}

/// What else to do with routes.
#[derive(Debug, Subcommand)]
pub enum RoutesCommand {
    /// Originate a prefix until it is withdrawn or the daemon stops
    Add {
        /// What to announce
        prefix: ExactPrefix,
        /// Third-party next hop; ourselves by default
        #[arg(long, value_name = "ADDRESS")]
        next_hop: Option<IpAddr>,
        /// Community to start with: A:B, large:A:B:C, ext:rt:A:N; may be repeated
        #[arg(long = "community", value_name = "COMMUNITY")]
        communities: Vec<String>,
    },
    /// Take back a prefix of our own
    Withdraw {
        /// What to take back
        prefix: ExactPrefix,
    },
    /// Every path, each step of the decision, each policy rule, and who was told
    Explain {
        /// This prefix, or the longest one that covers this address
        #[arg(value_name = "PREFIX|ADDRESS")]
        destination: Destination,
        /// Only what this peer (name or address) was told
        #[arg(long, value_name = "PEER")]
        to: Option<String>,
    },
}

/// `margay get`.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// A kind, singular, plural or short: ippool, ippools, pool
    #[arg(conflicts_with = "file", required_unless_present = "file")]
    pub kind: Option<String>,
    /// Only these; all by default
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// What.
    #[command(flatten)]
    pub files: Files,
    /// Where they are.
    #[command(flatten)]
    pub space: Space,
    /// Of every namespace
    #[arg(short = 'A', long, conflicts_with_all = ["namespace", "names", "file"])]
    pub all_namespaces: bool,
    /// Only those whose labels match: "role == 'db' && has(rack)"
    #[arg(short = 'l', long, value_name = "SELECTOR", conflicts_with_all = ["names", "file"])]
    pub selector: Option<String>,
    /// Go on with what changes
    #[arg(short, long, conflicts_with = "file")]
    pub watch: bool,
    /// Without what only this cluster has: uid, resourceVersion, creationTimestamp, namespace
    #[arg(long)]
    pub export: bool,
}

/// Where namespaced resources are.
#[derive(Debug, Args)]
pub struct Space {
    /// Namespace of resources that do not name their own; `default` by default
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
}

/// Resources in files.
#[derive(Debug, Args)]
pub struct Files {
    /// YAML or JSON with any number of resources; a directory; `-` is standard input
    #[arg(short, long = "filename", alias = "file", value_name = "FILE")]
    pub file: Vec<PathBuf>,
    /// Directories within directories too
    #[arg(short = 'R', long)]
    pub recursive: bool,
    /// Files without a resource are no error
    #[arg(long)]
    pub skip_empty: bool,
    /// Drop fields nobody knows instead of refusing them
    #[arg(long)]
    pub lenient: bool,
}

/// `margay apply|create|replace`.
#[derive(Debug, Args)]
pub struct FileArgs {
    /// What.
    #[command(flatten)]
    pub files: Files,
    /// Where.
    #[command(flatten)]
    pub space: Space,
    /// Only say what would happen
    #[arg(long)]
    pub dry_run: bool,
}

/// `margay delete`.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// A kind, with names instead of a file
    #[arg(conflicts_with = "file", requires = "names", required_unless_present = "file")]
    pub kind: Option<String>,
    /// Which of that kind
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// What.
    #[command(flatten)]
    pub files: Files,
    /// Where.
    #[command(flatten)]
    pub space: Space,
    /// What is not there is no error
    #[arg(short, long)]
    pub skip_not_exists: bool,
}

/// `margay patch`.
#[derive(Debug, Args)]
pub struct PatchArgs {
    /// A kind, unless a file says what
    #[arg(conflicts_with = "file", requires = "name", required_unless_present = "file")]
    pub kind: Option<String>,
    /// Which of that kind
    pub name: Option<String>,
    /// Fields to change as JSON; null removes one, a list replaces a list
    #[arg(short, long, value_name = "PATCH")]
    pub patch: String,
    /// What.
    #[command(flatten)]
    pub files: Files,
    /// Where.
    #[command(flatten)]
    pub space: Space,
}

/// `margay label`.
#[derive(Debug, Args)]
pub struct LabelArgs {
    /// KIND NAME KEY=VALUE; KIND NAME KEY with --remove; with -f only the last
    #[arg(required = true, num_args = 1..=3, value_name = "KIND NAME LABEL")]
    pub words: Vec<String>,
    /// Give a label that is there another value
    #[arg(long)]
    pub overwrite: bool,
    /// Remove the label
    #[arg(long, conflicts_with = "overwrite")]
    pub remove: bool,
    /// What.
    #[command(flatten)]
    pub files: Files,
    /// Where.
    #[command(flatten)]
    pub space: Space,
}

/// `margay config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Whether a file is valid (runs `margay-bgpd --check`; needs no running daemon)
    Check {
        /// The file; /etc/margay/bgpd.toml by default
        file: Option<PathBuf>,
    },
    /// What a reload would change
    Diff {
        /// Compare with this file instead of the daemon's own
        file: Option<PathBuf>,
    },
    /// What is in force, defaults filled in, secrets left out
    Show {
        /// What would be in force with this file
        file: Option<PathBuf>,
    },
    /// Take the file into force; an invalid one changes nothing
    Reload {
        /// This file instead of the daemon's own, until the next reload
        file: Option<PathBuf>,
    },
}

/// `margay datastore`.
#[derive(Debug, Subcommand)]
pub enum DatastoreCommand {
    /// Write a backup: every resource and block as of one moment
    #[command(after_help = "Leases are not part of a backup: they say who lives now.")]
    Export {
        /// A file that appears when it is whole; standard output by default
        #[arg(default_value = "-", hide_default_value = true)]
        file: PathBuf,
        /// Which datastore.
        #[command(flatten)]
        offline: Offline,
    },
    /// Make the datastore hold what a backup has, and nothing else
    #[command(
        after_help = "A backup is read whole and checked before the first write. What is there \
                      just so is not written again: an import that was broken off is ended by the \
                      same command."
    )]
    Import(ImportArgs),
    /// Let no node register and no address be assigned until `unlock`; releases go on
    Lock,
    /// Let everybody write again
    Unlock,
    /// Copy everything to another, empty datastore (both daemons stopped)
    #[command(
        after_help = "Afterwards the daemon is started with the other configuration. A migration \
                      that was broken off is ended by the same command."
    )]
    Migrate {
        /// The configuration of a daemon with the other datastore
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
        /// The configuration of the daemon; /etc/margay/bgpd.toml by default
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

/// `margay datastore import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// A backup; `-` is standard input
    pub file: PathBuf,
    /// Replace or delete what is there; without, anything else than the backup is refused
    #[arg(long)]
    pub replace: bool,
    /// Only tell how much would change
    #[arg(long)]
    pub dry_run: bool,
    /// Which datastore.
    #[command(flatten)]
    pub offline: Offline,
}

/// The datastore of a daemon that does not run.
#[derive(Debug, Args)]
pub struct Offline {
    /// The daemon is stopped: its program does the work (runs `margay-bgpd`)
    #[arg(long)]
    pub offline: bool,
    /// With --offline: the daemon's configuration; /etc/margay/bgpd.toml by default
    #[arg(long, value_name = "FILE", requires = "offline")]
    pub config: Option<PathBuf>,
}

/// `margay selector`.
#[derive(Debug, Args)]
pub struct SelectorArgs {
    /// The selector, as in `role == 'db' && has(rack)`; blank selects everything
    pub expression: String,
    /// Labels to match it with: k=v,k=v
    #[arg(long, value_name = "LABELS", value_delimiter = ',')]
    pub labels: Vec<String>,
    /// One label to match it with: k=v, where the value may hold commas
    #[arg(long, value_name = "LABEL")]
    pub label: Vec<String>,
}

/// What to watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Watched {
    /// Sessions that change their state
    Peers,
    /// Prefixes whose best path changes
    Routes,
}

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Family {
    /// IPv4 unicast
    #[value(alias = "ipv4")]
    Ipv4Unicast,
    /// IPv6 unicast
    #[value(alias = "ipv6")]
    Ipv6Unicast,
}

impl From<Family> for v1::Family {
    fn from(family: Family) -> Self {
        match family {
            Family::Ipv4Unicast => Self::Ipv4Unicast,
            Family::Ipv6Unicast => Self::Ipv6Unicast,
        }
    }
}

/// What a question is about: a prefix exactly, or an address by longest match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// Masked.
    Prefix(IpNet),
    /// Without a length.
    Address(IpAddr),
}

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains('/') {
            text.parse::<IpNet>().map(|prefix| Self::Prefix(prefix.trunc())).ok()
        } else {
            text.parse().map(Self::Address).ok()
        }
        .ok_or_else(|| {
            "neither a prefix such as 10.0.0.0/24 or 2001:db8::/32 nor an address".to_owned()
        })
    }
}

/// A prefix to act on: host bits are a mistake, not a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExactPrefix(pub IpNet);

impl FromStr for ExactPrefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let prefix: IpNet = text
            .parse()
            .map_err(|_| "not a prefix such as 10.0.0.0/24 or 2001:db8::/32".to_owned())?;
        if prefix != prefix.trunc() {
            return Err(format!(
                "has bits set beyond its length, did you mean {}?",
                prefix.trunc()
            ));
        }
        Ok(Self(prefix))
    }
}

/// Where the node daemon listens.
pub const SOCKET: &str = "/run/margay/bgpd.sock";
const POLICY_SOCKET: &str = "/run/margay/policy-dp.sock";

/// An empty variable in the environment is as good as none.
fn or_default(text: &str, default: &str) -> PathBuf {
    if text.is_empty() { default } else { text }.into()
}

fn shutdown_message(text: &str) -> Result<String, String> {
    match text.len() {
        0..=255 => Ok(text.to_owned()),
        length => Err(format!("{length} octets long, at most 255 fit (RFC 9003)")),
    }
}

impl Cli {
    /// What clap cannot refuse: arguments of a listing before a command that takes its own.
    pub fn check(&self) -> Result<(), Failure> {
        let (misplaced, command) = match &self.command {
            Command::Peers(PeersArgs { command: Some(_), name: Some(name) }) => {
                (name.clone(), "peers")
            }
            Command::Routes(args) if args.command.is_some() => match args.filter() {
                Some(filter) => (filter, "routes"),
                None => return Ok(()),
            },
            _ => return Ok(()),
        };
        let message = format!("{misplaced} does not belong before a command of `{command}`");
        Err(Failure::usage(message)
            .with_help(format!("what the command is about follows it: margay {command} --help")))
    }
}

impl RoutesArgs {
    /// An argument that only a listing has, if one was given.
    fn filter(&self) -> Option<String> {
        let destination = self.destination.map(|destination| match destination {
            Destination::Prefix(prefix) => prefix.to_string(),
            Destination::Address(address) => address.to_string(),
        });
        let options = [
            (self.family.is_some(), "--family"),
            (self.longer, "--longer"),
            (self.received_from.is_some(), "--received-from"),
            (self.pre_policy, "--pre-policy"),
            (self.advertised_to.is_some(), "--advertised-to"),
            (self.best, "--best"),
            (self.limit.is_some(), "--limit"),
        ];
        let option = options.iter().find(|(given, _)| *given);
        destination.or_else(|| option.map(|(_, name)| (*name).to_owned()))
    }
}

/// What is wrong with a command line, with the remedies that clap knows.
pub fn usage_failure(error: &clap::Error) -> Failure {
    let rendered = error.render().to_string();
    let mut message = String::new();
    let mut remedies: Vec<String> = Vec::new();
    for paragraph in rendered.split("\n\n") {
        let lines: Vec<_> = paragraph.lines().map(str::trim).collect();
        let Some(first) = lines.first() else { continue };
        if let Some(text) = first.strip_prefix("error: ") {
            // Names and possible values on the next lines belong to the sentence.
            message = [text].iter().chain(lines.get(1..).unwrap_or_default()).fold(
                message,
                |message, line| {
                    if message.is_empty() { (*line).to_owned() } else { message + " " + line }
                },
            );
        } else if first.starts_with("tip: ") {
            remedies.extend(lines.iter().map(|tip| tip.trim_start_matches("tip: ").to_owned()));
        } else if let Some(usage) = first.strip_prefix("Usage: ") {
            remedies.push(format!("usage: {usage}"));
            remedies.extend(lines.iter().skip(1).map(|usage| format!("usage: {usage}")));
        } else if first.starts_with("For more information") {
            remedies.push("more with --help".to_owned());
        }
    }
    remedies.into_iter().fold(Failure::usage(message), Failure::with_help)
}

#[cfg(test)]
mod tests;

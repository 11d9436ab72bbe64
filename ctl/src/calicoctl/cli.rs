//! What can be said to it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::{datastore::DatastoreCommand, ipam::IpamCommand};
use crate::cli::{DeleteArgs, Files, Space};

/// Margay's command line under the name and with the arguments of calicoctl.
#[derive(Debug, Parser)]
#[command(
    name = "calicoctl",
    subcommand_required = true,
    arg_required_else_help = false,
    disable_help_subcommand = true,
    disable_version_flag = true,
    infer_long_args = true,
    after_help = "Every error is exit code 1. Resources are those of the node's daemon, \
                  margay-bgpd, which has the datastore in its configuration. The same program as \
                  `margay` has more commands: margay --help"
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
    /// Taken for compatibility: this tool logs nothing
    #[arg(
        short = 'l',
        long,
        global = true,
        value_name = "LEVEL",
        default_value = "panic",
        value_parser = ["panic", "fatal", "error", "warn", "info", "debug"]
    )]
    pub log_level: String,
    /// Where the datastore is; it must be the one that margay-bgpd uses
    #[arg(short = 'c', long, global = true, value_name = "FILE", default_value = CONFIG)]
    pub config: PathBuf,
    /// A context of a kubeconfig file: not supported
    #[arg(long, global = true, value_name = "CONTEXT")]
    pub context: Option<String>,
    /// Go on although the cluster's version is none that this tool knows
    #[arg(long, global = true)]
    pub allow_version_mismatch: bool,
    /// Socket of the node daemon
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "MARGAY_SOCKET",
        default_value = crate::cli::SOCKET
    )]
    pub socket: PathBuf,
}

/// The configuration file that need not be there.
pub const CONFIG: &str = "/etc/calico/calicoctl.cfg";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create resources that do not exist yet
    Create(CreateArgs),
    /// Create resources, or replace those that exist
    Apply(FileArgs),
    /// Replace resources that exist
    Replace(FileArgs),
    /// Delete resources, of files or by kind and name
    Delete(DeleteArgs),
    /// Show resources
    Get(GetArgs),
    /// Change some fields of a resource
    Patch(PatchArgs),
    /// Set or remove a label of a resource
    Label(LabelArgs),
    /// Whether files of resources are valid (needs no daemon)
    Validate(FileArgs),
    /// Kubernetes policies as resources of this API (needs no daemon)
    Convert(ConvertArgs),
    /// IP address management
    #[command(subcommand, subcommand_required = true, arg_required_else_help = false)]
    Ipam(IpamCommand),
    /// This node
    #[command(subcommand, subcommand_required = true, arg_required_else_help = false)]
    Node(NodeCommand),
    /// The cluster
    #[command(disable_help_flag = true)]
    Cluster(Words),
    /// The datastore
    #[command(subcommand, subcommand_required = true, arg_required_else_help = false)]
    Datastore(DatastoreCommand),
    /// Versions of this tool and of the cluster
    Version(VersionArgs),
}

/// `node`.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// The sessions of this node
    Status,
    /// Whether this host's kernel has what a node needs
    Checksystem {
        /// The kernel's configuration, where it is not that of the running one; nothing else counts
        #[arg(short = 'f', long, value_name = "FILE")]
        kernel_config: Option<PathBuf>,
    },
    /// Everything worth knowing about this node, in one archive
    Diags {
        /// Folder with log files to be taken along
        #[arg(long, value_name = "DIRECTORY", default_value = "/var/log/calico")]
        log_dir: PathBuf,
    },
    /// What is not supported.
    #[command(external_subcommand)]
    Other(Vec<String>),
}

/// Arguments that another command understands.
#[derive(Debug, Args)]
pub struct Words {
    /// What is said to it.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    pub words: Vec<String>,
}

/// Resources in files.
#[derive(Debug, Args)]
pub struct FileArgs {
    /// What.
    #[command(flatten)]
    pub files: Files,
    /// Where.
    #[command(flatten)]
    pub space: Space,
}

/// `create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// What.
    #[command(flatten)]
    pub files: Files,
    /// Where.
    #[command(flatten)]
    pub space: Space,
    /// What exists already is no error
    #[arg(long)]
    pub skip_exists: bool,
}

impl From<CreateArgs> for FileArgs {
    fn from(args: CreateArgs) -> Self {
        Self { files: args.files, space: args.space }
    }
}

/// `get`.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// A kind, singular, plural or short
    #[arg(conflicts_with = "file", required_unless_present = "file")]
    pub kind: Option<String>,
    /// Only these; all by default
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// What.
    #[command(flatten)]
    pub files: Files,
    /// Where.
    #[command(flatten)]
    pub space: Space,
    /// Of every namespace
    #[arg(short = 'A', short_alias = 'a', long)]
    pub all_namespaces: bool,
    /// ps, wide, yaml, json, custom-columns=A,B, go-template=TEMPLATE, go-template-file=FILE
    #[arg(short, long, value_name = "FORMAT", default_value = "ps")]
    pub output: String,
    /// Without what only this cluster has, of resources that are named
    #[arg(long)]
    pub export: bool,
}

/// `patch`.
#[derive(Debug, Args)]
pub struct PatchArgs {
    /// A kind
    pub kind: String,
    /// Which of that kind
    pub name: String,
    /// Fields to change as JSON; null removes one, a list replaces a list
    #[arg(short, long, value_name = "PATCH")]
    pub patch: String,
    /// Taken for compatibility: the patch is always merged
    #[arg(
        short = 't',
        long = "type",
        value_name = "TYPE",
        default_value = "strategic",
        value_parser = ["strategic", "json", "merge"]
    )]
    pub kind_of_patch: String,
    /// Where.
    #[command(flatten)]
    pub space: Space,
}

/// `label`.
#[derive(Debug, Args)]
pub struct LabelArgs {
    /// A kind
    pub kind: String,
    /// Which of that kind
    pub name: String,
    /// KEY=VALUE, or KEY with --remove
    pub label: String,
    /// Give a label that is there another value
    #[arg(long)]
    pub overwrite: bool,
    /// Remove the label
    #[arg(long, conflicts_with = "overwrite")]
    pub remove: bool,
    /// Where.
    #[command(flatten)]
    pub space: Space,
}

/// `convert`.
#[derive(Debug, Args)]
pub struct ConvertArgs {
    /// What.
    #[command(flatten)]
    pub files: Files,
    /// Where.
    #[command(flatten)]
    pub space: Space,
    /// yaml or json
    #[arg(short, long, value_name = "FORMAT", default_value = "yaml", value_parser = ["yaml", "json"])]
    pub output: String,
    /// Print what is not valid, too: not supported
    #[arg(long)]
    pub ignore_validation: bool,
}

/// `version`.
#[derive(Debug, Args)]
pub struct VersionArgs {
    /// Look again so often, and print when something changed: 30s, 1m
    #[arg(long, value_name = "DURATION")]
    pub poll: Option<String>,
    /// Only this tool's
    #[arg(long)]
    pub client: bool,
}

//! `calicoctl datastore`: the datastore locked, and moved as a whole.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{print, refused::Refused, session::Session, unsupported};
use crate::commands::{
    datastore::{self, set_ready},
    ipam::report::Cluster,
};

/// What can be done with it.
#[derive(Debug, Subcommand)]
pub enum DatastoreCommand {
    /// Move it
    #[command(subcommand, subcommand_required = true, arg_required_else_help = false)]
    Migrate(MigrateCommand),
    /// What is not supported.
    #[command(external_subcommand)]
    Other(Vec<String>),
}

/// `datastore migrate`.
#[derive(Debug, Subcommand)]
pub enum MigrateCommand {
    /// Let nobody register nodes or assign addresses
    Lock,
    /// Let everybody write again
    Unlock,
    /// Print everything, for import; the datastore must be locked
    Export,
    /// Fill an empty datastore with what was exported
    Import(ImportArgs),
    /// What is not supported.
    #[command(external_subcommand)]
    Other(Vec<String>),
}

/// `datastore migrate import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// What export printed
    #[arg(short, long, value_name = "FILE")]
    pub filename: PathBuf,
}

/// Locks, unlocks, exports or imports.
///
/// # Errors
/// What the daemon refuses, and what is not supported.
pub async fn run(command: DatastoreCommand, session: &Session) -> Result<(), Refused> {
    let command = match command {
        DatastoreCommand::Migrate(command) => command,
        DatastoreCommand::Other(words) => return Err(unsupported::datastore(&words)),
    };
    match command {
        MigrateCommand::Lock => {
            set_ready(false, &mut session.resources().await?).await?;
            print("Datastore locked.\n")
        }
        MigrateCommand::Unlock => {
            set_ready(true, &mut session.resources().await?).await?;
            print("Datastore unlocked.\n")
        }
        MigrateCommand::Export => {
            let locked = Cluster::ask(&mut session.resources().await?).await?.is_locked();
            if !locked {
                return Err(Refused::new(
                    "Datastore is not locked. Run the `calicoctl datastore migrate lock` command \
                     in order to begin migration.",
                ));
            }
            Ok(datastore::print_backup(session.connect().await?.datastore()).await?)
        }
        MigrateCommand::Import(args) => {
            // What is imported says which version the cluster has; until then nothing does.
            let client = session.connect().await?.datastore();
            let done = datastore::fill(client, &args.filename).await?;
            print(&format!("Successfully imported {done} values.\n"))
        }
        MigrateCommand::Other(words) => {
            Err(unsupported::datastore(&[vec!["migrate".to_owned()], words].concat()))
        }
    }
}

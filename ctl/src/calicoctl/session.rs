//! The way to the daemon, with what the original checks before it does anything.

use std::path::{Path, PathBuf};

use margay_proto::v1::{self, ipam_client::IpamClient, resources_client::ResourcesClient};
use tonic::transport::Channel;

use super::{cli::Global, config, refused::Refused, version};
use crate::{client::Client, error::Failure};

/// What every command has.
#[derive(Debug)]
pub struct Session {
    socket: PathBuf,
    config: PathBuf,
    allow_version_mismatch: bool,
}

impl Session {
    /// Of these options.
    ///
    /// # Errors
    /// One that is not supported.
    pub fn of(global: &Global) -> Result<Self, Refused> {
        if global.context.is_some() {
            return Err(Refused::new(
                "--context is not supported: the datastore is the one of margay-bgpd",
            ));
        }
        Ok(Self {
            socket: global.socket.clone(),
            config: global.config.clone(),
            allow_version_mismatch: global.allow_version_mismatch,
        })
    }

    /// The daemon's resources, once it is the datastore that is meant and of a version we know.
    ///
    /// # Errors
    /// No daemon, another datastore, or a cluster of an unknown version.
    pub async fn resources(&self) -> Result<ResourcesClient<Channel>, Refused> {
        Ok(self.checked().await?.resources())
    }

    /// The daemon's addresses, likewise.
    ///
    /// # Errors
    /// As [`Session::resources`].
    pub async fn ipam(&self) -> Result<IpamClient<Channel>, Refused> {
        Ok(self.checked().await?.ipam())
    }

    async fn checked(&self) -> Result<Client, Refused> {
        let client = self.connect().await?;
        if !self.allow_version_mismatch {
            version::check(&mut client.resources()).await?;
        }
        Ok(client)
    }

    /// Where the daemon listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The daemon itself.
    ///
    /// # Errors
    /// It cannot be reached.
    pub async fn client(&self) -> Result<Client, Failure> {
        Client::connect(&self.socket).await
    }

    /// The same as [`Session::resources`], whatever version the cluster has.
    ///
    /// # Errors
    /// No daemon, or another datastore.
    pub async fn connect(&self) -> Result<Client, Refused> {
        let wanted = config::wanted(&self.config, |name| std::env::var(name).ok())
            .map_err(|error| unreachable(&error))?;
        let client = self.client().await.map_err(|failure| unreachable(failure.message()))?;
        if let Some(wanted) = wanted {
            let there = client
                .resources()
                .get_datastore(v1::GetDatastoreRequest {})
                .await
                .map_err(Failure::from)?
                .into_inner();
            wanted.must_be(&there.r#type).map_err(|error| unreachable(&error))?;
        }
        Ok(client)
    }
}

fn unreachable(why: &str) -> Refused {
    Refused::fatal(format!("Failed to create Calico API client: {why}"))
}

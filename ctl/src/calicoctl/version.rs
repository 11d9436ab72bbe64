//! `calicoctl version`, and the check of versions before other commands.

use std::time::Duration;

use margay_model::Kind;
use margay_proto::v1::{self, resources_client::ResourcesClient};
use serde_json::Value;
use tonic::{Code, transport::Channel};

use super::{cli::VersionArgs, print, refused::Refused, session::Session};
use crate::{commands::resources, error::Failure};

/// The releases whose resources this tool takes, by their minor number; all have major 3.
const KNOWN: std::ops::RangeInclusive<u32> = 28..=33;
/// What this tool is like; behind the dash, what it is.
pub const VERSION: &str = concat!("v3.33.0-margay.", env!("CARGO_PKG_VERSION"));

/// What a cluster says about itself.
#[derive(Debug, Default, PartialEq, Eq)]
struct Cluster {
    version: String,
    kind: String,
}

/// Refuses a cluster whose release is none of those that this tool knows. One that says nothing is
/// as good as one that is known.
///
/// # Errors
/// Both versions, and how to go on all the same.
pub async fn check(client: &mut ResourcesClient<Channel>) -> Result<(), Refused> {
    let Ok(Some(cluster)) = cluster(client).await else { return Ok(()) };
    if is_known(&cluster.version) {
        return Ok(());
    }
    Err(Refused::new(format!(
        "version mismatch.\nClient Version:   {VERSION}\nCluster Version:  {}\nUse \
         --allow-version-mismatch to override.",
        cluster.version
    )))
}

/// Prints the versions, once or again and again.
///
/// # Errors
/// The cluster cannot be asked.
pub async fn run(args: &VersionArgs, session: &Session) -> Result<(), Refused> {
    let every = args.poll.as_deref().map(interval).transpose()?;
    let ours = format!("Client Version:    {VERSION}\nGit commit:        unknown\n");
    if args.client {
        return print(&ours);
    }
    print(&ours)?;
    let mut told = None;
    loop {
        let mut client = session.connect().await?.resources();
        let cluster = cluster(&mut client).await.map_err(|failure| {
            let text = failure.text();
            let text = text.trim_end().trim_start_matches("error: ");
            Refused::new(format!("Unable to retrieve Cluster Version or Type: {text}"))
        })?;
        let cluster = cluster.unwrap_or_default();
        if told.as_ref() != Some(&cluster) {
            print(&cluster.text())?;
            told = Some(cluster);
        }
        match every {
            Some(every) => tokio::time::sleep(every).await,
            None => return Ok(()),
        }
    }
}

impl Cluster {
    fn text(&self) -> String {
        let or_unknown = |text: &str| if text.is_empty() { "unknown" } else { text }.to_owned();
        format!(
            "Cluster Version:   {}\nCluster Type:      {}\n",
            or_unknown(&self.version),
            or_unknown(&self.kind)
        )
    }
}

/// What the cluster says about itself; `None` if it says nothing.
async fn cluster(client: &mut ResourcesClient<Channel>) -> Result<Option<Cluster>, Failure> {
    let name = v1::ResourceName {
        kind: Kind::ClusterInformation.name().to_owned(),
        namespace: String::new(),
        name: "default".to_owned(),
    };
    let object = match resources::known(name, client).await {
        Ok(object) => resources::parsed(&object)?,
        Err(status) if status.code() == Code::NotFound => return Ok(None),
        Err(status) => return Err(status.into()),
    };
    let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    Ok(Some(Cluster {
        version: text("/spec/calicoVersion").to_owned(),
        kind: text("/spec/clusterType").to_owned(),
    }))
}

/// Whether a release is known: `v3.28.1`, with or without the v and anything after a dash.
fn is_known(version: &str) -> bool {
    let version = version.strip_prefix('v').unwrap_or(version);
    let version = version.split('-').next().unwrap_or_default();
    if version.is_empty() {
        return true;
    }
    let mut parts = version.split('.');
    let minor = match (parts.next(), parts.next()) {
        (Some("3"), Some(minor)) => minor.parse::<u32>().ok(),
        _ => None,
    };
    minor.is_some_and(|minor| KNOWN.contains(&minor))
}

fn interval(text: &str) -> Result<Duration, Refused> {
    let interval: Result<margay_model::Duration, _> = text.parse();
    match interval.map(|interval| interval.get()) {
        Ok(interval) if !interval.is_zero() => Ok(interval),
        _ => Err(Refused::new(format!("Invalid duration for --poll: {text}"))),
    }
}

#[cfg(test)]
mod tests;

//! Reports of what is held, and the release of what several of them call leaked.
//!
//! Owns the file's shape, which is the original's, and which entries of several reports may be released.
//! Leaves to the daemon what looks leaked, and that only the very assignment that was reported goes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use margay_model::Kind;
use margay_proto::v1::{self, ipam_client::IpamClient, resources_client::ResourcesClient};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tonic::{Code, transport::Channel};

use crate::{commands::resources, error::Failure};

/// What a cluster says of itself, as far as reports need it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Cluster {
    guid: String,
    kind: String,
    locked: bool,
    /// Of its ClusterInformation: another one since every lock and unlock.
    revision: String,
}

impl Cluster {
    /// What it says now; nothing, if it has no ClusterInformation.
    ///
    /// # Errors
    /// It cannot be asked.
    pub async fn ask(client: &mut ResourcesClient<Channel>) -> Result<Self, Failure> {
        let object = match resources::fetch(information(), client).await {
            Ok(object) => resources::parsed(&object)?,
            Err(status) if status.code() == Code::NotFound => return Ok(Self::default()),
            Err(status) => return Err(status.into()),
        };
        let at = |pointer| object.pointer(pointer);
        let text = |pointer| at(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(Self {
            guid: text("/spec/clusterGUID"),
            kind: text("/spec/clusterType"),
            locked: at("/spec/datastoreReady") == Some(&Value::Bool(false)),
            revision: text("/metadata/resourceVersion"),
        })
    }

    /// Whether nobody may write for now.
    pub fn is_locked(&self) -> bool {
        self.locked
    }
}

/// The one ClusterInformation.
pub fn information() -> v1::ResourceName {
    v1::ResourceName {
        kind: Kind::ClusterInformation.name().to_owned(),
        namespace: String::new(),
        name: "default".to_owned(),
    }
}

/// Everything that was held at one moment.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    version: String,
    #[serde(rename = "clusterGUID")]
    guid: String,
    datastore_locked: bool,
    cluster_information_revision: String,
    cluster_type: String,
    allocations: BTreeMap<IpAddr, Vec<Allocation>>,
    /// Handles are views of blocks here: none is ever left behind.
    leaked_handles: Vec<Value>,
}

/// Who has an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Allocation {
    handle: String,
    sequence_number: u64,
    block: String,
    node: String,
    attributes: BTreeMap<String, String>,
    /// Why it looks leaked, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    leaked: Option<String>,
}

impl Report {
    /// Has the daemon check, and reports what it tells was held. Which datastore it was, and that it was
    /// locked, has to hold for all of that time.
    ///
    /// # Errors
    /// The daemon, or somebody locked or unlocked the datastore meanwhile.
    pub async fn take(
        version: &str,
        request: v1::CheckIpamRequest,
        resources: &mut ResourcesClient<Channel>,
        ipam: &mut IpamClient<Channel>,
    ) -> Result<(v1::CheckIpamResponse, Self), Failure> {
        let cluster = Cluster::ask(resources).await?;
        let answer = ipam.check_ipam(request).await?.into_inner();
        if Cluster::ask(resources).await? != cluster {
            let text = "ClusterInformation(default) was changed while everything was looked at";
            return Err(Failure::failed(text).with_help("make the report again"));
        }
        let report = Self::of(version, cluster, answer.addresses.clone())?;
        Ok((answer, report))
    }

    /// Of what the daemon tells.
    ///
    /// # Errors
    /// It tells what is no address.
    fn of(version: &str, cluster: Cluster, held: Vec<v1::HeldAddress>) -> Result<Self, Failure> {
        let mut allocations: BTreeMap<IpAddr, Vec<Allocation>> = BTreeMap::new();
        for held in held {
            let address = held.address.parse().map_err(|_| {
                Failure::failed(format!("the daemon sent {:?} as an address", held.address))
            })?;
            allocations.entry(address).or_default().push(Allocation {
                handle: held.handle,
                sequence_number: held.serial,
                block: held.block,
                node: held.node,
                attributes: held.attributes.into_iter().collect(),
                leaked: held.leaked,
            });
        }
        Ok(Self {
            version: version.to_owned(),
            guid: cluster.guid,
            datastore_locked: cluster.locked,
            cluster_information_revision: cluster.revision,
            cluster_type: cluster.kind,
            allocations,
            leaked_handles: Vec::new(),
        })
    }

    /// Writes it whole or not at all.
    ///
    /// # Errors
    /// The file.
    pub fn write(&self, path: &Path) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Failure::failed(format!("cannot write a report: {error}")))?;
        let mut part = path.as_os_str().to_owned();
        part.push(format!(".{}.part", std::process::id()));
        let part = PathBuf::from(part);
        fs::write(&part, text + "\n")
            .and_then(|()| fs::rename(&part, path))
            .map_err(|error| Failure::writing(path, &error))
    }

    fn read(path: &Path) -> Result<Self, Failure> {
        let text = fs::read(path).map_err(|error| Failure::reading(path, &error))?;
        serde_json::from_slice(&text)
            .map_err(|error| Failure::failed(format!("{} is no report: {error}", path.display())))
    }

    /// What it calls leaked: address, handle, sequence number.
    fn leaked(&self) -> BTreeSet<(String, IpAddr, u64)> {
        let leaked = |(address, all): (&IpAddr, &Vec<Allocation>)| {
            let address = *address;
            let leaked = all.iter().filter(|allocation| allocation.leaked.is_some());
            leaked
                .map(move |it| (it.handle.clone(), address, it.sequence_number))
                .collect::<Vec<_>>()
        };
        self.allocations.iter().flat_map(leaked).collect()
    }
}

/// How strict it is taken where reports come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Care {
    /// Made by this version, and the datastore is locked.
    Full,
    /// Whatever made them, locked or not.
    Forced,
}

/// What came of a release by reports.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Released now.
    pub released: Vec<String>,
    /// Not held any more.
    pub not_assigned: Vec<String>,
    /// Held by somebody else, or anew, since the reports.
    pub changed: Vec<String>,
}

/// Releases what all of these reports call leaked, handle by handle.
///
/// # Errors
/// A report that cannot be read or is not of this cluster as it is, or the daemon.
pub async fn release(
    paths: &[PathBuf],
    version: &str,
    care: Care,
    resources: &mut ResourcesClient<Channel>,
    ipam: &mut IpamClient<Channel>,
) -> Result<Outcome, Failure> {
    let read = |path: &PathBuf| Ok((path.display().to_string(), Report::read(path)?));
    let reports = paths.iter().map(read).collect::<Result<Vec<_>, Failure>>()?;
    let cluster = Cluster::ask(resources).await?;
    let mut outcome = Outcome::default();
    for assignments in in_all(&reports, &cluster, version, care)? {
        let named: Vec<_> = assignments.iter().map(|one| one.address.clone()).collect();
        let request =
            v1::ReleaseAddressesRequest { assignments, ..v1::ReleaseAddressesRequest::default() };
        match ipam.release_addresses(request).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                outcome.released.extend(answer.released);
                outcome.not_assigned.extend(answer.absent);
            }
            Err(status) if status.code() == Code::Aborted => outcome.changed.extend(named),
            Err(status) => return Err(status.into()),
        }
    }
    Ok(outcome)
}

/// Most assignments that a daemon takes at once.
const MOST: usize = 4096;

/// The assignments that all reports call leaked, by handle.
fn in_all(
    reports: &[(String, Report)],
    cluster: &Cluster,
    version: &str,
    care: Care,
) -> Result<Vec<Vec<v1::Assignment>>, Failure> {
    let refused = |name: &str, why: String| Err(Failure::failed(format!("report {name} {why}")));
    for (name, report) in reports {
        if cluster.guid.is_empty() || report.guid != cluster.guid {
            let why =
                format!("is of cluster {:?}, not of this one ({:?})", report.guid, cluster.guid);
            return refused(name, why);
        }
        if care == Care::Forced {
            continue;
        }
        if report.version != version {
            return refused(name, format!("was made by {}, not by {version}", report.version))
                .map_err(|failure| failure.with_help("--force takes it all the same"));
        }
        if !report.datastore_locked {
            return refused(name, "was made while the datastore was not locked".to_owned())
                .map_err(|failure| failure.with_help("--force takes it all the same"));
        }
    }
    if care == Care::Full && !cluster.locked {
        return Err(Failure::failed("the datastore is not locked")
            .with_help("`margay datastore lock`, or with --force"));
    }
    let is_of_now =
        |(_, report): &(String, Report)| report.cluster_information_revision == cluster.revision;
    if !reports.iter().any(is_of_now) {
        return Err(Failure::failed(
            "no report is of now: ClusterInformation changed since each of them was made",
        )
        .with_help("make another one with `margay ipam check --report FILE`"));
    }
    let mut leaked = reports.iter().map(|(_, report)| report.leaked());
    let first = leaked.next().unwrap_or_default();
    let in_all = leaked.fold(first, |all, next| all.intersection(&next).cloned().collect());
    let mut by_handle: BTreeMap<String, Vec<v1::Assignment>> = BTreeMap::new();
    for (handle, address, serial) in in_all {
        let one = v1::Assignment { address: address.to_string(), handle: handle.clone(), serial };
        by_handle.entry(handle).or_default().push(one);
    }
    let pieces = |all: Vec<v1::Assignment>| all.chunks(MOST).map(<[_]>::to_vec).collect::<Vec<_>>();
    Ok(by_handle.into_values().flat_map(pieces).collect())
}

#[cfg(test)]
mod tests;

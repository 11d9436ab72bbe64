//! `datastoreReady` of the ClusterInformation: whether anybody may write.

use std::fs;

use margay_proto::v1::{WriteMode, resources_client::ResourcesClient};
use serde_json::json;
use tonic::{Code, transport::Channel};

use crate::{
    commands::{
        ipam::report::information,
        resources::{change_one, fetch, merge, send},
    },
    error::Failure,
};

/// Where the kernel makes names that no other has.
const UUID: &str = "/proc/sys/kernel/random/uuid";

/// Locks the datastore or unlocks it; one that says nothing of itself yet is given its
/// ClusterInformation.
///
/// # Errors
/// It cannot be written.
pub async fn set_ready(ready: bool, client: &mut ResourcesClient<Channel>) -> Result<(), Failure> {
    let name = information();
    match fetch(name.clone(), client).await {
        Err(status) if status.code() == Code::NotFound => {
            let guid = fs::read_to_string(UUID)
                .map_err(|error| Failure::reading(std::path::Path::new(UUID), &error))?;
            let object = json!({
                "apiVersion": "projectcalico.org/v3",
                "kind": name.kind,
                "metadata": {"name": name.name},
                "spec": {
                    "clusterGUID": guid.trim().replace('-', ""),
                    "clusterType": "margay",
                    "datastoreReady": ready,
                },
            });
            let created =
                send(WriteMode::Create, vec![object.to_string()], false, false, client).await;
            match created {
                Ok(_) => return Ok(()),
                // Somebody else was faster: what they wrote is changed.
                Err(status) if status.code() == Code::AlreadyExists => {}
                Err(status) => return Err(status.into()),
            }
        }
        Ok(_) => {}
        Err(status) => return Err(status.into()),
    }
    let patch = json!({"spec": {"datastoreReady": ready}});
    let mut edit = |object: &mut serde_json::Value| {
        merge(object, &patch);
        Ok(())
    };
    change_one(&name, client, &mut edit).await.map(drop)
}

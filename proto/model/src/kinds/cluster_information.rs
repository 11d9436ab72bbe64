//! `ClusterInformation`: one object named `default`, about the whole datastore.

use crate::object::Object;

record! {
    /// The spec of a `ClusterInformation`.
    #[derive(Default)]
    pub struct ClusterInformationSpec {
        /// 32 hexadecimal digits, chosen when the datastore was set up.
        cluster_guid: Option<String> = "clusterGUID",
        /// What runs here, separated by commas.
        cluster_type: Option<String> = "clusterType",
        /// The version that was set up.
        calico_version: Option<String> = "calicoVersion",
        /// Whether agents may work; false while the datastore is locked.
        datastore_ready: Option<bool> = "datastoreReady",
        /// Which product it is.
        variant: Option<String> = "variant",
    }
}

spec!(ClusterInformationSpec, ClusterInformation);

/// A `ClusterInformation`.
pub type ClusterInformation = Object<ClusterInformationSpec>;

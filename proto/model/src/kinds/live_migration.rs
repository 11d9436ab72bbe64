//! `LiveMigration`: a workload that moves from one node to another. Internal.

use crate::{object::Object, selector::Selector, wire::At};

record! {
    /// A workload of an orchestrator.
    pub struct MigratedWorkload {
        /// Its node.
        hostname: Option<String> = "hostname",
        /// The orchestrator.
        orchestrator_id: Option<String> = "orchestratorID",
        /// Its name there.
        workload_id: Option<String> = "workloadID",
    }
}

record! {
    /// An endpoint of a workload.
    pub struct MigratedEndpoint {
        /// Its node.
        hostname: Option<String> = "hostname",
        /// The orchestrator.
        orchestrator_id: Option<String> = "orchestratorID",
        /// The workload's name there.
        workload_id: Option<String> = "workloadID",
        /// The endpoint's name.
        endpoint_id: Option<String> = "endpointID",
    }
}

record! {
    /// From where; exactly one field is there.
    pub struct MigrationSource {
        /// All endpoints of a workload.
        workload: Option<MigratedWorkload> = "workload",
        /// One endpoint.
        workload_endpoint: Option<MigratedEndpoint> = "workloadEndpoint",
    }
    check |source, at: &mut At<'_, '_>| {
        if source.workload.is_some() == source.workload_endpoint.is_some() {
            at.refuse_all("both or neither", "exactly one of workload, workloadEndpoint");
        }
    }
}

record! {
    /// Where to; exactly one field is there.
    pub struct MigrationTarget {
        /// Endpoints by their labels.
        selector: Option<Selector> = "selector",
        /// One endpoint.
        workload_endpoint: Option<MigratedEndpoint> = "workloadEndpoint",
    }
    check |target, at: &mut At<'_, '_>| {
        if target.selector.is_some() == target.workload_endpoint.is_some() {
            at.refuse_all("both or neither", "exactly one of selector, workloadEndpoint");
        }
    }
}

record! {
    /// The spec of a `LiveMigration`.
    pub struct LiveMigrationSpec {
        /// From where.
        source: MigrationSource = "source",
        /// Where to.
        target: MigrationTarget = "target",
    }
}

spec!(LiveMigrationSpec, LiveMigration);

/// A `LiveMigration`.
pub type LiveMigration = Object<LiveMigrationSpec>;

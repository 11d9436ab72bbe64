//! `KubeControllersConfiguration`: controllers that follow the Kubernetes API.

use std::collections::BTreeMap;

use crate::{
    object::Object,
    scalar::{Cidr, Duration},
    selector::{self, Selector},
    wire::{At, rules},
};

use super::Switch;

choice! {
    /// How much is logged.
    pub enum ControllersLogLevel [any_case] {
        /// Nothing.
        None = "None",
        /// Much.
        Debug = "Debug",
        /// What operators know.
        Info = "Info",
        /// What is odd.
        Warning = "Warning",
        /// What is wrong.
        Error = "Error",
        /// What ends it.
        Fatal = "Fatal",
        /// What must not be.
        Panic = "Panic",
    }
}

choice! {
    /// Which load balancers get addresses.
    pub enum AssignIps {
        /// All.
        AllServices = "AllServices",
        /// Those that ask.
        RequestedServicesOnly = "RequestedServicesOnly",
    }
}

record! {
    /// Host endpoints to make of interfaces.
    pub struct HostEndpointTemplate {
        /// How the names of those endpoints begin.
        generate_name: String = "generateName" => rules::at_most(253),
        /// The addresses of the interfaces.
        interface_cidrs: Vec<Cidr> = "interfaceCIDRs",
        /// The names of the interfaces, a regular expression.
        interface_pattern: Option<String> = "interfacePattern",
        /// Labels of those endpoints.
        labels: BTreeMap<String, String> = "labels",
        /// Annotations of those endpoints.
        annotations: BTreeMap<String, String> = "annotations",
        /// The nodes that get them.
        node_selector: Option<Selector> = "nodeSelector" => selector::short,
    }
    check |template, at: &mut At<'_, '_>| {
        if template.generate_name.is_empty() {
            at.refuse("generateName", "how the names begin");
        }
        if template.interface_cidrs.is_empty() && template.interface_pattern.is_none() {
            at.refuse("interfacePattern", "a pattern, unless there are interfaceCIDRs");
        }
    }
}

record! {
    /// Host endpoints made by a controller.
    #[derive(Default)]
    pub struct AutoHostEndpointConfig {
        /// Whether they are made.
        auto_create: Option<Switch> = "autoCreate",
        /// Whether each node gets one for all its interfaces.
        create_default_host_endpoint: Option<Switch> = "createDefaultHostEndpoint",
        /// Those made of single interfaces.
        templates: Vec<HostEndpointTemplate> = "templates",
    }
    check |config, at: &mut At<'_, '_>| {
        let names: Vec<_> = config.templates.iter().map(|row| &row.generate_name).collect();
        if rules::unique(&names).is_err() {
            at.refuse("templates", "templates whose generateName differ");
        }
    }
}

record! {
    /// The controller of nodes.
    #[derive(Default)]
    pub struct NodeControllerConfig {
        /// How often everything is compared; 5m if absent.
        reconciler_period: Option<Duration> = "reconcilerPeriod",
        /// Whether labels of Kubernetes nodes are taken over.
        sync_labels: Option<Switch> = "syncLabels",
        /// Host endpoints to make.
        host_endpoint: Option<AutoHostEndpointConfig> = "hostEndpoint",
        /// How long an address nobody uses is left alone; 0 is for ever.
        leak_grace_period: Option<Duration> = "leakGracePeriod",
    }
}

record! {
    /// A controller with nothing of its own to set.
    #[derive(Default)]
    pub struct ControllerConfig {
        /// How often everything is compared; 5m if absent.
        reconciler_period: Option<Duration> = "reconcilerPeriod",
    }
}

record! {
    /// The controller of load balancers.
    #[derive(Default)]
    pub struct LoadBalancerControllerConfig {
        /// Which get addresses; all if absent.
        assign_ips: Option<AssignIps> = "assignIPs",
    }
}

record! {
    /// The controller that moves old data to new forms.
    #[derive(Default)]
    pub struct MigrationControllerConfig {
        /// Whether names of policies are moved.
        policy_name_migrator: Option<Switch> = "policyNameMigrator",
    }
}

record! {
    /// Which controllers run; those that are absent do not.
    #[derive(Default)]
    pub struct ControllersConfig {
        /// Nodes.
        node: Option<NodeControllerConfig> = "node",
        /// Policies.
        policy: Option<ControllerConfig> = "policy",
        /// Workload endpoints.
        workload_endpoint: Option<ControllerConfig> = "workloadEndpoint",
        /// Service accounts.
        service_account: Option<ControllerConfig> = "serviceAccount",
        /// Namespaces.
        namespace: Option<ControllerConfig> = "namespace",
        /// Load balancers.
        load_balancer: Option<LoadBalancerControllerConfig> = "loadBalancer",
        /// Old data.
        migration: Option<MigrationControllerConfig> = "migration",
    }
}

record! {
    /// The spec of a `KubeControllersConfiguration`.
    #[derive(Default)]
    pub struct KubeControllersConfigurationSpec {
        /// How much is logged.
        log_severity_screen: Option<ControllersLogLevel> = "logSeverityScreen",
        /// Whether health is reported.
        health_checks: Option<Switch> = "healthChecks",
        /// How often etcd is compacted; 0 is never.
        etcd_v3_compaction_period: Option<Duration> = "etcdV3CompactionPeriod",
        /// Where metrics are served; 0 is nowhere.
        prometheus_metrics_port: Option<u16> = "prometheusMetricsPort",
        /// Where profiles are served.
        debug_profile_port: Option<u16> = "debugProfilePort",
        /// Which controllers run.
        controllers: Option<ControllersConfig> = "controllers",
    }
}

record! {
    /// What the controllers run with.
    #[derive(Default)]
    pub struct KubeControllersConfigurationStatus {
        /// The configuration in force.
        running_config: Option<KubeControllersConfigurationSpec> = "runningConfig",
        /// What the environment says.
        environment_vars: BTreeMap<String, String> = "environmentVars",
    }
}

spec!(
    KubeControllersConfigurationSpec,
    KubeControllersConfiguration,
    status KubeControllersConfigurationStatus,
    defaults defaults
);

/// A `KubeControllersConfiguration`.
pub type KubeControllersConfiguration = Object<KubeControllersConfigurationSpec>;

fn defaults(config: &mut KubeControllersConfiguration) {
    let spec = &mut config.spec;
    spec.prometheus_metrics_port.get_or_insert(9094);
    spec.health_checks.get_or_insert(Switch::Enabled);
    let Some(controllers) = &mut spec.controllers else { return };
    if let Some(node) = &mut controllers.node
        && node.leak_grace_period.is_none()
    {
        node.leak_grace_period = "15m".parse().ok();
    }
    if let Some(balancer) = &mut controllers.load_balancer {
        balancer.assign_ips.get_or_insert(AssignIps::AllServices);
    }
    if let Some(migration) = &mut controllers.migration {
        migration.policy_name_migrator.get_or_insert(Switch::Enabled);
    }
}

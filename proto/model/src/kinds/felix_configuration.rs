//! `FelixConfiguration`: the node agent, for the cluster (`default`), one node (`node.NAME`) or the
//! nodes a selector picks (any other name).
//!
//! One flat list of fields, as the API has it; that is why this file is long. What a field does
//! where is for the rooms that act on it; here are its form and its rules.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr},
};

use serde_json::Value as Json;

use crate::{
    fault::Step,
    object::Object,
    scalar::{Cidr, Dscp, Duration, Port, Protocol, names, numeric, of_v4, without_fraction},
    selector::{self, Selector},
    text::Node,
    wire::{At, Reader, Wire, rules},
};

use super::{ProgramClusterRoutes, Switch, endpoint::with_ports};

record! {
    /// Tables of the kernel, the ends included.
    pub struct RouteTableRange {
        /// The first.
        min: u32 = "min" => rules::within(1u32..=u32::MAX),
        /// The last.
        max: u32 = "max" => rules::within(1u32..=u32::MAX),
    }
    check |range, at: &mut At<'_, '_>| {
        if range.min > range.max {
            at.refuse("min", "at most max");
        }
    }
}

record! {
    /// A port that stays open.
    pub struct ProtoPort {
        /// Its protocol.
        protocol: Option<Protocol> = "protocol" => failsafe_protocol,
        /// Its number.
        port: u16 = "port" => rules::within(1u16..=65535),
        /// Towards whom; everyone if absent.
        net: Option<Cidr> = "net",
    }
}

/// How long a kind of flow is kept: a duration, or by the settings of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConntrackTimeout {
    /// As the kernel does.
    Auto,
    /// So long.
    After(Duration),
}

impl Wire for ConntrackTimeout {
    fn read(node: &Node<'_>, reader: &mut Reader) -> Option<Self> {
        if node.as_text() == Some("Auto") {
            return Some(Self::Auto);
        }
        let after = node.as_text().and_then(|text| text.parse().ok()).map(Self::After);
        after.or_else(|| reader.refuse(node, Self::expected()))
    }

    fn write(&self) -> Json {
        match self {
            Self::Auto => "Auto".into(),
            Self::After(duration) => duration.to_string().into(),
        }
    }

    fn expected() -> String {
        "Auto or a duration such as \"90s\"".into()
    }
}

record! {
    /// How long flows are kept.
    #[derive(Default)]
    pub struct BpfConntrackTimeouts {
        /// Any flow at least.
        creation_grace_period: Option<ConntrackTimeout> = "creationGracePeriod",
        /// TCP that was not answered.
        tcp_syn_sent: Option<ConntrackTimeout> = "tcpSynSent",
        /// TCP that stands.
        tcp_established: Option<ConntrackTimeout> = "tcpEstablished",
        /// TCP that was closed.
        tcp_fins_seen: Option<ConntrackTimeout> = "tcpFinsSeen",
        /// TCP that was reset.
        tcp_reset_seen: Option<ConntrackTimeout> = "tcpResetSeen",
        /// UDP.
        udp_timeout: Option<ConntrackTimeout> = "udpTimeout",
        /// Other protocols.
        generic_timeout: Option<ConntrackTimeout> = "genericTimeout",
        /// ICMP.
        icmp_timeout: Option<ConntrackTimeout> = "icmpTimeout",
    }
}

record! {
    /// How long a part of the agent may be silent.
    pub struct HealthTimeoutOverride {
        /// The part.
        name: String = "name",
        /// How long.
        timeout: Duration = "timeout",
    }
}

record! {
    /// The spec of a `FelixConfiguration`.
    #[derive(Default)]
    pub struct FelixConfigurationSpec {
        /// The nodes it applies to, where its name is neither `default` nor `node.NAME`.
        node_selector: Option<Selector> = "nodeSelector" => selector::short,
        /// Whether IPv6 is programmed.
        ipv6_support: Option<bool> = "ipv6Support",
        /// How the names of workload interfaces begin; commas separate.
        interface_prefix: Option<String> = "interfacePrefix",
        /// Interfaces host endpoints leave alone; commas separate.
        interface_exclude: Option<String> = "interfaceExclude",
        /// Where our rules stand among others.
        chain_insert_mode: Option<String> = "chainInsertMode"
            => rules::one_of_any_case(&["Insert", "Append"]),
        /// What becomes of what workloads send to their own host.
        default_endpoint_to_host_action: Option<String> = "defaultEndpointToHostAction"
            => rules::one_of_any_case(&["Drop", "Return", "Accept"]),
        /// Whether nftables is used.
        nftables_mode: Option<String> = "nftablesMode"
            => rules::one_of(&["Enabled", "Disabled", "Auto"]),
        /// How often its rules are compared.
        nftables_refresh_interval: Option<Duration> = "nftablesRefreshInterval" => without_fraction,
        /// What allowing means in the filter table.
        nftables_filter_allow_action: Option<String> = "nftablesFilterAllowAction"
            => rules::one_of_any_case(&["Accept", "Return"]),
        /// What allowing means in the mangle table.
        nftables_mangle_allow_action: Option<String> = "nftablesMangleAllowAction"
            => rules::one_of_any_case(&["Accept", "Return"]),
        /// What denying means.
        nftables_filter_deny_action: Option<String> = "nftablesFilterDenyAction"
            => rules::one_of_any_case(&["Drop", "Reject"]),
        /// The bits of packet marks that are ours, at least 8.
        nftables_mark_mask: Option<u32> = "nftablesMarkMask" => mark_mask,
        /// Whether established flows are offloaded.
        nftables_flow_table_offload: Option<String> = "nftablesFlowTableOffload"
            => rules::one_of(&["All", "Disabled"]),
        /// Interfaces whose flows are offloaded, a regular expression.
        nftables_flow_table_data_iface_pattern: Option<String> = "nftablesFlowTableDataIfacePattern",
        /// Which iptables is used.
        iptables_backend: Option<String> = "iptablesBackend"
            => rules::one_of_any_case(&["Legacy", "NFT", "Auto"]),
        /// What allowing means in the filter table.
        iptables_filter_allow_action: Option<String> = "iptablesFilterAllowAction"
            => rules::one_of_any_case(&["Accept", "Return"]),
        /// What allowing means in the mangle table.
        iptables_mangle_allow_action: Option<String> = "iptablesMangleAllowAction"
            => rules::one_of_any_case(&["Accept", "Return"]),
        /// What denying means.
        iptables_filter_deny_action: Option<String> = "iptablesFilterDenyAction"
            => rules::one_of_any_case(&["Drop", "Reject"]),
        /// The bits of packet marks that are ours, at least 8.
        iptables_mark_mask: Option<u32> = "iptablesMarkMask" => mark_mask,
        /// How often its rules are compared.
        iptables_refresh_interval: Option<Duration> = "iptablesRefreshInterval" => without_fraction,
        /// How soon after a write.
        iptables_post_write_check_interval: Option<Duration> = "iptablesPostWriteCheckInterval"
            => without_fraction,
        /// How often its lock is tried.
        iptables_lock_probe_interval: Option<Duration> = "iptablesLockProbeInterval"
            => without_fraction,
        /// Interfaces that masquerade, with `+` for anything.
        iptables_nat_outgoing_interface_filter: Option<String> = "iptablesNATOutgoingInterfaceFilter",
        /// How often sets are compared.
        ipsets_refresh_interval: Option<Duration> = "ipsetsRefreshInterval" => without_fraction,
        /// How large a set may be.
        max_ipset_size: Option<i64> = "maxIpsetSize",
        /// How often routes are compared.
        route_refresh_interval: Option<Duration> = "routeRefreshInterval" => without_fraction,
        /// How often interfaces are compared.
        interface_refresh_interval: Option<Duration> = "interfaceRefreshInterval"
            => without_fraction,
        /// How long the kernel may take.
        netlink_timeout: Option<Duration> = "netlinkTimeout" => without_fraction,
        /// Whether foreign routes to workloads are removed.
        remove_external_routes: Option<bool> = "removeExternalRoutes",
        /// The protocol number of our routes.
        device_route_protocol: Option<i64> = "deviceRouteProtocol",
        /// The source address of our routes.
        device_route_source_address: Option<Ipv4Addr> = "deviceRouteSourceAddress",
        /// The same for IPv6.
        device_route_source_address_ipv6: Option<Ipv6Addr> = "deviceRouteSourceAddressIPv6",
        /// Which routes to other nodes the agent writes.
        program_cluster_routes: Option<ProgramClusterRoutes> = "programClusterRoutes",
        /// Where routes of workloads come from.
        route_source: Option<String> = "routeSource"
            => rules::one_of(&["CalicoIPAM", "WorkloadIPs"]),
        /// Tables of the kernel that are ours.
        route_table_ranges: Vec<RouteTableRange> = "routeTableRanges",
        /// The same, older.
        route_table_range: Option<RouteTableRange> = "routeTableRange",
        /// Whether routes are left alone.
        route_sync_disabled: Option<bool> = "routeSyncDisabled",
        /// Whether forwarding is switched on.
        ip_forwarding: Option<Switch> = "ipForwarding",
        /// The metric of routes.
        ipv4_normal_route_priority: Option<u32> = "ipv4NormalRoutePriority"
            => rules::within(1u32..=2_147_483_646),
        /// The same for IPv6.
        ipv6_normal_route_priority: Option<u32> = "ipv6NormalRoutePriority"
            => rules::within(1u32..=2_147_483_646),
        /// The metric of routes of a workload that moves.
        ipv4_elevated_route_priority: Option<u32> = "ipv4ElevatedRoutePriority"
            => rules::within(1u32..=2_147_483_646),
        /// The same for IPv6.
        ipv6_elevated_route_priority: Option<u32> = "ipv6ElevatedRoutePriority"
            => rules::within(1u32..=2_147_483_646),
        /// How long those routes take.
        live_migration_route_convergence_time: Option<Duration> = "liveMigrationRouteConvergenceTime",
        /// Other sources of tunnel packets.
        external_nodes_list: Vec<Cidr> = "externalNodesList" => of_v4,
        /// Whether IP in IP is used; by the pools if absent.
        ipip_enabled: Option<bool> = "ipipEnabled",
        /// Whether VXLAN is used; by the pools if absent.
        vxlan_enabled: Option<bool> = "vxlanEnabled",
        /// The MTU of the IP-in-IP device; 0 is by itself.
        ipip_mtu: Option<i64> = "ipipMTU",
        /// The MTU of the IPv4 VXLAN device; 0 is by itself.
        vxlan_mtu: Option<i64> = "vxlanMTU",
        /// The MTU of the IPv6 VXLAN device; 0 is by itself.
        vxlan_mtu_v6: Option<i64> = "vxlanMTUV6",
        /// The MTU of the IPv4 WireGuard device; 0 is by itself.
        wireguard_mtu: Option<i64> = "wireguardMTU",
        /// The MTU of the IPv6 WireGuard device; 0 is by itself.
        wireguard_mtu_v6: Option<i64> = "wireguardMTUV6",
        /// Interfaces the MTU is taken from, a regular expression.
        mtu_iface_pattern: Option<String> = "mtuIfacePattern",
        /// The UDP port of VXLAN.
        vxlan_port: Option<u16> = "vxlanPort",
        /// The VXLAN network.
        vxlan_vni: Option<i64> = "vxlanVNI",
        /// Whether workloads may send VXLAN.
        allow_vxlan_packets_from_workloads: Option<bool> = "allowVXLANPacketsFromWorkloads",
        /// Whether workloads may send IP in IP.
        allow_ipip_packets_from_workloads: Option<bool> = "allowIPIPPacketsFromWorkloads",
        /// The address masqueraded packets get.
        nat_outgoing_address: Option<Ipv4Addr> = "natOutgoingAddress",
        /// The ports masqueraded packets get.
        nat_port_range: Option<Port> = "natPortRange" => numeric,
        /// Where nothing is masqueraded.
        nat_outgoing_exclusions: Option<String> = "natOutgoingExclusions"
            => rules::one_of(&["IPPoolsOnly", "IPPoolsAndHostIPs"]),
        /// What becomes of packets to services that do not exist.
        service_loop_prevention: Option<String> = "serviceLoopPrevention"
            => rules::one_of(&["Drop", "Reject", "Disabled"]),
        /// Whether workloads may send from other addresses.
        workload_source_spoofing: Option<String> = "workloadSourceSpoofing"
            => rules::one_of(&["Disabled", "Any"]),
        /// Whether floating addresses are used.
        floating_ips: Option<Switch> = "floatingIPs",
        /// Ports of the host that stay open.
        failsafe_inbound_host_ports: Option<Vec<ProtoPort>> = "failsafeInboundHostPorts",
        /// Ports the host may always reach.
        failsafe_outbound_host_ports: Option<Vec<ProtoPort>> = "failsafeOutboundHostPorts",
        /// Ports of the host that lead to services.
        kube_node_port_ranges: Option<Vec<Port>> = "kubeNodePortRanges" => node_port_ranges,
        /// Whether packets without a valid flow pass.
        disable_conntrack_invalid_check: Option<bool> = "disableConntrackInvalidCheck",
        /// How log lines begin.
        log_prefix: Option<String> = "logPrefix" => log_prefix,
        /// How many packets are logged.
        log_action_rate_limit: Option<String> = "logActionRateLimit" => rate_limit,
        /// How many at once.
        log_action_rate_limit_burst: Option<u32> = "logActionRateLimitBurst"
            => rules::within(0u32..=9999),
        /// How much is logged on the screen.
        log_severity_screen: Option<String> = "logSeverityScreen"
            => rules::one_of_any_case(LOG_LEVELS),
        /// How much is logged to the file.
        log_severity_file: Option<String> = "logSeverityFile" => rules::one_of_any_case(LOG_LEVELS),
        /// How much is logged to the system.
        log_severity_sys: Option<String> = "logSeveritySys" => rules::one_of_any_case(LOG_LEVELS),
        /// Whether health is served.
        health_enabled: Option<bool> = "healthEnabled",
        /// The address it is served on.
        health_host: Option<String> = "healthHost",
        /// The port it is served on.
        health_port: Option<u16> = "healthPort",
        /// Whether metrics are served.
        prometheus_metrics_enabled: Option<bool> = "prometheusMetricsEnabled",
        /// The address they are served on.
        prometheus_metrics_host: Option<String> = "prometheusMetricsHost",
        /// The port they are served on.
        prometheus_metrics_port: Option<u16> = "prometheusMetricsPort",
        /// Whether IPv4 is encrypted.
        wireguard_enabled: Option<bool> = "wireguardEnabled",
        /// Whether IPv6 is encrypted.
        wireguard_enabled_v6: Option<bool> = "wireguardEnabledV6",
        /// Whether traffic between hosts is encrypted.
        wireguard_host_encryption_enabled: Option<bool> = "wireguardHostEncryptionEnabled",
        /// The UDP port for IPv4.
        wireguard_listening_port: Option<u16> = "wireguardListeningPort"
            => rules::within(1u16..=65535),
        /// The UDP port for IPv6.
        wireguard_listening_port_v6: Option<u16> = "wireguardListeningPortV6"
            => rules::within(1u16..=65535),
        /// The device for IPv4.
        wireguard_interface_name: Option<String> = "wireguardInterfaceName" => names::interface,
        /// The device for IPv6.
        wireguard_interface_name_v6: Option<String> = "wireguardInterfaceNameV6"
            => names::interface,
        /// The priority of its routing rule.
        wireguard_routing_rule_priority: Option<u32> = "wireguardRoutingRulePriority"
            => rules::within(1u32..=32765),
        /// How often tunnels are kept alive.
        wireguard_keep_alive: Option<Duration> = "wireguardKeepAlive" => without_fraction,
        /// Whether its work is spread over threads.
        wireguard_threading_enabled: Option<bool> = "wireguardThreadingEnabled",
        /// Where files about endpoints are written.
        endpoint_status_path_prefix: Option<String> = "endpointStatusPathPrefix",
        /// Where policies are served to proxies.
        policy_sync_path_prefix: Option<String> = "policySyncPathPrefix",
        /// Whether eBPF is used.
        bpf_enabled: Option<bool> = "bpfEnabled",
        /// Interfaces towards other hosts, a regular expression.
        bpf_data_iface_pattern: Option<String> = "bpfDataIfacePattern",
        /// Those of them without link headers, a regular expression.
        bpf_l3_iface_pattern: Option<String> = "bpfL3IfacePattern",
        /// How programs are attached.
        bpf_attach_type: Option<String> = "bpfAttachType"
            => rules::one_of(&["TC", "TCX", "Netkit"]),
        /// Which connections are balanced when they are made.
        bpf_connect_time_load_balancing: Option<String> = "bpfConnectTimeLoadBalancing"
            => rules::one_of(&["TCP", "Enabled", "Disabled"]),
        /// The same, older.
        bpf_connect_time_load_balancing_enabled: Option<bool> = "bpfConnectTimeLoadBalancingEnabled",
        /// Whether the host's other connections are balanced packet by packet.
        bpf_host_networked_nat_without_ctlb: Option<Switch> = "bpfHostNetworkedNATWithoutCTLB",
        /// How answers to the outside travel.
        bpf_external_service_mode: Option<String> = "bpfExternalServiceMode"
            => rules::one_of_any_case(&["Tunnel", "DSR"]),
        /// Clients that get no direct answers.
        bpf_dsr_optout_cidrs: Vec<Cidr> = "bpfDSROptoutCIDRs",
        /// Services that are left alone.
        bpf_exclude_cidrs_from_nat: Vec<Cidr> = "bpfExcludeCIDRsFromNAT",
        /// Whether the rules of kube-proxy are removed.
        bpf_kube_proxy_iptables_cleanup_enabled: Option<bool> = "bpfKubeProxyIptablesCleanupEnabled",
        /// How often services are written at most.
        bpf_kube_proxy_min_sync_period: Option<Duration> = "bpfKubeProxyMinSyncPeriod"
            => without_fraction,
        /// Where the health of services is served.
        bpf_kube_proxy_healthz_port: Option<u16> = "bpfKubeProxyHealthzPort",
        /// The ports that avoid conflicts of sources.
        bpf_psnat_ports: Option<Port> = "bpfPSNATPorts" => numeric,
        /// Size of the flow table.
        bpf_map_size_conntrack: Option<i64> = "bpfMapSizeConntrack",
        /// Size of the flow table for each CPU; 0 is unused.
        bpf_map_size_per_cpu_conntrack: Option<i64> = "bpfMapSizePerCpuConntrack",
        /// Whether that table grows.
        bpf_map_size_conntrack_scaling: Option<String> = "bpfMapSizeConntrackScaling"
            => rules::one_of(&["Disabled", "DoubleIfFull"]),
        /// Size of the queue of flows to remove.
        bpf_map_size_conntrack_cleanup_queue: Option<i64> = "bpfMapSizeConntrackCleanupQueue",
        /// Size of the route table.
        bpf_map_size_route: Option<i64> = "bpfMapSizeRoute",
        /// Size of the table of services.
        bpf_map_size_nat_frontend: Option<i64> = "bpfMapSizeNATFrontend",
        /// Size of the table of endpoints of services.
        bpf_map_size_nat_backend: Option<i64> = "bpfMapSizeNATBackend",
        /// Size of the table of clients.
        bpf_map_size_nat_affinity: Option<i64> = "bpfMapSizeNATAffinity",
        /// Size of the table of address sets.
        bpf_map_size_ip_sets: Option<i64> = "bpfMapSizeIPSets",
        /// Size of the table of interfaces.
        bpf_map_size_if_state: Option<i64> = "bpfMapSizeIfState",
        /// How long flows are kept.
        bpf_conntrack_timeouts: Option<BpfConntrackTimeouts> = "bpfConntrackTimeouts",
        /// Who removes old flows.
        bpf_conntrack_mode: Option<String> = "bpfConntrackMode"
            => rules::one_of(&["Auto", "Userspace", "BPFProgram"]),
        /// Whether sources are checked against routes.
        bpf_enforce_rpf: Option<String> = "bpfEnforceRPF"
            => rules::one_of_any_case(&["Disabled", "Strict", "Loose"]),
        /// Whether the kernel's own flow table is passed by.
        bpf_host_conntrack_bypass: Option<bool> = "bpfHostConntrackBypass",
        /// Whether packets go straight into the workload.
        bpf_redirect_to_peer: Option<String> = "bpfRedirectToPeer"
            => rules::one_of(&["Enabled", "Disabled", "L2Only"]),
        /// Whether others are kept from eBPF.
        bpf_disable_unprivileged: Option<bool> = "bpfDisableUnprivileged",
        /// How careful the compiler of the kernel is.
        bpf_jit_hardening: Option<String> = "bpfJITHardening" => rules::one_of(&["Auto", "Strict"]),
        /// How much programs log.
        bpf_log_level: Option<String> = "bpfLogLevel"
            => rules::one_of_any_case(&["Off", "Info", "Debug"]),
        /// How much the removal of flows logs.
        bpf_conntrack_log_level: Option<String> = "bpfConntrackLogLevel"
            => rules::one_of_any_case(&["Off", "Debug"]),
        /// Which connections are logged.
        bpf_ctlb_log_filter: Option<String> = "bpfCTLBLogFilter",
        /// Which packets are logged, by interface.
        bpf_log_filters: BTreeMap<String, String> = "bpfLogFilters",
        /// Whether policies can be looked at.
        bpf_policy_debug_enabled: Option<bool> = "bpfPolicyDebugEnabled",
        /// Whether programs are profiled.
        bpf_profiling: Option<Switch> = "bpfProfiling",
        /// Interfaces whose packets the kernel tracks.
        bpf_force_track_packets_from_ifaces: Vec<String> = "bpfForceTrackPacketsFromIfaces",
        /// Interfaces without receive offload, a regular expression.
        bpf_disable_gro_for_ifaces: Option<String> = "bpfDisableGROForIfaces",
        /// Whether fragments are put together.
        bpf_ip_fragment_reassembly_enabled: Option<bool> = "bpfIPFragmentReassemblyEnabled",
        /// How long fragments are kept.
        bpf_ip_frag_timeout: Option<Duration> = "bpfIPFragTimeout" => without_fraction,
        /// The source of the host's packets in tunnels.
        bpf_overlay_host_source_ip: Option<String> = "bpfOverlayHostSourceIP"
            => rules::one_of(&["TunnelAddress", "HostAddress"]),
        /// How many endpoints a consistent service has.
        bpf_maglev_max_endpoints_per_service: Option<u32> = "bpfMaglevMaxEndpointsPerService"
            => rules::within(1u32..=3000),
        /// How many consistent services there are.
        bpf_maglev_max_services: Option<u32> = "bpfMaglevMaxServices" => rules::within(1u32..=3000),
        /// Size of the buffer for reports.
        bpf_export_buffer_size_mb: Option<i64> = "bpfExportBufferSizeMB",
        /// The mark of connections from outside to services.
        bpf_ext_to_service_connmark: Option<i64> = "bpfExtToServiceConnmark",
        /// Whether the host answers ARP for its addresses.
        local_subnet_l2_reachability: Option<String> = "localSubnetL2Reachability"
            => rules::one_of(&["Disabled", "PodsAndLoadBalancers"]),
        /// How often that is renewed.
        local_subnet_l2_reachability_refresh_interval: Option<Duration> = "localSubnetL2ReachabilityRefreshInterval"
            => without_fraction,
        /// Whether XDP is used.
        xdp_enabled: Option<bool> = "xdpEnabled",
        /// Whether XDP is used where drivers cannot.
        generic_xdp_enabled: Option<bool> = "genericXDPEnabled",
        /// How often its maps are compared.
        xdp_refresh_interval: Option<Duration> = "xdpRefreshInterval" => without_fraction,
        /// Whether the cloud checks addresses.
        aws_src_dst_check: Option<String> = "awsSrcDstCheck"
            => rules::one_of(&["DoNothing", "Enable", "Disable"]),
        /// Where cgroups are mounted.
        cgroup_v2_path: Option<String> = "cgroupV2Path",
        /// A dataplane outside the agent.
        dataplane_driver: Option<String> = "dataplaneDriver",
        /// How long the dataplane may be silent.
        dataplane_watchdog_timeout: Option<Duration> = "dataplaneWatchdogTimeout"
            => without_fraction,
        /// Whether no log line is dropped.
        debug_disable_log_dropping: Option<bool> = "debugDisableLogDropping",
        /// The address of the debugging port.
        debug_host: Option<String> = "debugHost",
        /// Where memory profiles are written.
        debug_memory_profile_path: Option<String> = "debugMemoryProfilePath",
        /// The debugging port.
        debug_port: Option<u16> = "debugPort",
        /// For tests.
        debug_simulate_calc_graph_hang_after: Option<Duration> = "debugSimulateCalcGraphHangAfter"
            => without_fraction,
        /// For tests.
        debug_simulate_dataplane_apply_delay: Option<Duration> = "debugSimulateDataplaneApplyDelay"
            => without_fraction,
        /// For tests.
        debug_simulate_dataplane_hang_after: Option<Duration> = "debugSimulateDataplaneHangAfter"
            => without_fraction,
        /// How soon endpoints are reported.
        endpoint_reporting_delay: Option<Duration> = "endpointReportingDelay" => without_fraction,
        /// Whether endpoints are reported.
        endpoint_reporting_enabled: Option<bool> = "endpointReportingEnabled",
        /// Features of the host that are there or not.
        feature_detect_override: Option<String> = "featureDetectOverride",
        /// Features of the agent that are on or not.
        feature_gates: Option<String> = "featureGates",
        /// Whether the collection of flows is traced.
        flow_logs_collector_debug_trace: Option<bool> = "flowLogsCollectorDebugTrace",
        /// How often flows are reported.
        flow_logs_flush_interval: Option<Duration> = "flowLogsFlushInterval" => without_fraction,
        /// Where they are reported.
        flow_logs_goldmane_server: Option<String> = "flowLogsGoldmaneServer",
        /// Whether they are reported on the node.
        flow_logs_local_reporter: Option<Switch> = "flowLogsLocalReporter",
        /// Whether policies are traced for them.
        flow_logs_policy_evaluation_mode: Option<String> = "flowLogsPolicyEvaluationMode"
            => rules::one_of(&["None", "Continuous"]),
        /// For the runtime of another implementation.
        go_gc_threshold: Option<i64> = "goGCThreshold",
        /// For the runtime of another implementation.
        go_max_procs: Option<i64> = "goMaxProcs",
        /// For the runtime of another implementation.
        go_memory_limit_mb: Option<i64> = "goMemoryLimitMB",
        /// How long parts of the agent may be silent.
        health_timeout_overrides: Vec<HealthTimeoutOverride> = "healthTimeoutOverrides",
        /// Whether a mesh without sidecars is supported.
        istio_ambient_mode: Option<Switch> = "istioAmbientMode",
        /// The code point of its packets.
        istio_dscp_mark: Option<Dscp> = "istioDSCPMark",
        /// Which files log debug lines, a regular expression.
        log_debug_filename_regex: Option<String> = "logDebugFilenameRegex",
        /// The log file.
        log_file_path: Option<String> = "logFilePath",
        /// The metadata server.
        metadata_addr: Option<String> = "metadataAddr",
        /// Its port.
        metadata_port: Option<u16> = "metadataPort",
        /// The region.
        openstack_region: Option<String> = "openstackRegion",
        /// Whether metrics of the runtime are served.
        prometheus_go_metrics_enabled: Option<bool> = "prometheusGoMetricsEnabled",
        /// Whether metrics of the process are served.
        prometheus_process_metrics_enabled: Option<bool> = "prometheusProcessMetricsEnabled",
        /// Whether metrics of WireGuard are served.
        prometheus_wire_guard_metrics_enabled: Option<bool> = "prometheusWireGuardMetricsEnabled",
        /// Who signs clients of the metrics.
        prometheus_metrics_ca_file: Option<String> = "prometheusMetricsCAFile",
        /// The certificate of the metrics server.
        prometheus_metrics_cert_file: Option<String> = "prometheusMetricsCertFile",
        /// Its key.
        prometheus_metrics_key_file: Option<String> = "prometheusMetricsKeyFile",
        /// What clients must show.
        prometheus_metrics_client_auth: Option<String> = "prometheusMetricsClientAuth"
            => rules::one_of(&["RequireAndVerifyClientCert", "RequireAnyClientCert", "VerifyClientCertIfGiven", "NoClientCert"]),
        /// How often the agent reports.
        reporting_interval: Option<Duration> = "reportingInterval" => without_fraction,
        /// How long a report counts.
        reporting_ttl: Option<Duration> = "reportingTTL" => without_fraction,
        /// Whether the MTU must be known at start.
        require_mtu_file: Option<bool> = "requireMTUFile",
        /// Whether sidecars are sped up.
        sidecar_acceleration_enabled: Option<bool> = "sidecarAccelerationEnabled",
        /// Whether usage is reported.
        usage_reporting_enabled: Option<bool> = "usageReportingEnabled",
        /// How soon.
        usage_reporting_initial_delay: Option<Duration> = "usageReportingInitialDelay"
            => without_fraction,
        /// How often.
        usage_reporting_interval: Option<Duration> = "usageReportingInterval" => without_fraction,
        /// Whether the dataplane is within the agent.
        use_internal_dataplane_driver: Option<bool> = "useInternalDataplaneDriver",
        /// Whether the firewall of Windows is managed.
        windows_manage_firewall_rules: Option<Switch> = "windowsManageFirewallRules",
    }
    removed ["bpfKubeProxyEndpointSlicesEnabled", "iptablesLockFilePath", "iptablesLockTimeout"]
    check Self::check
}

spec!(
    FelixConfigurationSpec, FelixConfiguration, defaults defaults, check check_name
);

/// A `FelixConfiguration`.
pub type FelixConfiguration = Object<FelixConfigurationSpec>;

impl FelixConfigurationSpec {
    fn check(&self, at: &mut At<'_, '_>) {
        if let Some(range) = &self.route_table_range {
            if !self.route_table_ranges.is_empty() {
                at.refuse("routeTableRange", "nothing beside routeTableRanges");
            }
            if range.max > 250 {
                at.refuse("routeTableRange", "tables 1 to 250");
            }
        }
        let tables = |range: &RouteTableRange| u64::from(range.max - range.min) + 1;
        if self.route_table_ranges.iter().map(tables).sum::<u64>() > 65_535 {
            at.refuse("routeTableRanges", "at most 65535 tables");
        }
        if self.kube_node_port_ranges.as_ref().is_some_and(|ranges| ranges.len() > 7) {
            at.refuse("kubeNodePortRanges", "at most 7 ranges");
        }
    }
}

/// The names `default` and `node.NAME` say themselves where they apply.
fn check_name(config: &FelixConfiguration, at: &mut At<'_, '_>) {
    let name = config.name();
    let is_scoped = name == "default" || name.starts_with("node.");
    if is_scoped && config.spec.node_selector.is_some() {
        let steps = [Step::Key("spec".into()), Step::Key("nodeSelector".into())];
        at.refuse_at(&steps, format!("no selector: the name {name} says where it applies"));
    }
}

fn defaults(config: &mut FelixConfiguration) {
    let spec = &mut config.spec;
    let word = |text: &str| Some(text.to_owned());
    spec.floating_ips.get_or_insert(Switch::Disabled);
    match spec.bpf_connect_time_load_balancing_enabled {
        // The older field wins while it is there.
        Some(enabled) => {
            spec.bpf_host_networked_nat_without_ctlb = Some(Switch::Disabled);
            spec.bpf_connect_time_load_balancing =
                word(if enabled { "Enabled" } else { "Disabled" });
        }
        None => {
            spec.bpf_host_networked_nat_without_ctlb.get_or_insert(Switch::Enabled);
            if spec.bpf_connect_time_load_balancing.is_none() {
                spec.bpf_connect_time_load_balancing = word("TCP");
            }
        }
    }
    if spec.nftables_mode.is_none() {
        spec.nftables_mode = word("Auto");
    }
    if spec.nftables_flow_table_offload.is_none() {
        spec.nftables_flow_table_offload = word("Disabled");
    }
}

const LOG_LEVELS: &[&str] = &["Trace", "Debug", "Info", "Warning", "Error", "Fatal"];

/// A rule: exactly the names of TCP, UDP and SCTP.
fn failsafe_protocol(protocol: &Protocol) -> rules::Answer {
    with_ports(protocol)?;
    let named = !matches!(protocol, Protocol::Number(_));
    rules::allow(named, || "one of TCP, UDP, SCTP by name".into())
}

/// A rule: at least eight bits.
fn mark_mask(mask: &u32) -> rules::Answer {
    rules::allow(mask.count_ones() >= 8, || "a mask of at least 8 bits".into())
}

/// A rule: numbers only.
fn node_port_ranges(ranges: &Vec<Port>) -> rules::Answer {
    ranges.iter().try_for_each(numeric)
}

/// A rule: what a log line may begin with.
fn log_prefix(text: &String) -> rules::Answer {
    let known = |c: char| c.is_ascii_alphanumeric() || "%: /_-".contains(c);
    rules::allow(text.chars().all(known), || "letters, digits, %, :, /, _, - and blanks".into())
}

/// A rule: `N/second` and the like, N from 1 to 9999.
fn rate_limit(text: &String) -> rules::Answer {
    let holds = text.split_once('/').is_some_and(|(number, unit)| {
        let digits = (1..=4).contains(&number.len()) && number.bytes().all(|c| c.is_ascii_digit());
        digits && !number.starts_with('0') && matches!(unit, "second" | "minute" | "hour" | "day")
    });
    rules::allow(holds, || {
        "a rate such as \"10/minute\", 1 to 9999 a second, minute, hour or day".into()
    })
}

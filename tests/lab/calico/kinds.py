"""The kinds of Calico's v3 resources that the fake datastore holds, as a table.

Separate because the store, the program and its rules all ask it. A kind or a field that is not
here does not exist for the fake: it is refused as the real calicoctl refuses it. Of Felix's some
220 fields most are here, under the names of the resource, not of the file.

Source: projectcalico/calico, calicoctl/calicoctl/resourcemgr/*.go (the names on the command line)
and api/pkg/apis/projectcalico/v3/*.go (the fields).
"""

from __future__ import annotations

from typing import Any, NamedTuple

API_VERSION = "projectcalico.org/v3"
Object = dict[str, Any]


class Kind(NamedTuple):
    """One kind; `fields` are the top-level fields of its spec with the type that each wants."""

    name: str
    words: tuple[str, ...]
    fields: dict[str, str]
    namespaced: bool = False

    @property
    def list_name(self) -> str:
        """The kind of the object that `get KIND` answers with."""
        return f"{self.name}List"


def _fields(**by_type: str) -> dict[str, str]:
    return {name: kind for kind, names in by_type.items() for name in names.split()}


POLICY = _fields(
    string="tier selector serviceAccountSelector",
    number="order",
    array="ingress egress types performanceHints",
)
FELIX = _fields(
    string="awsSrcDstCheck bpfAttachType bpfConnectTimeLoadBalancing bpfDataIfacePattern "
    "bpfEnforceRPF bpfExternalServiceMode bpfHostNetworkedNATWithoutCTLB bpfL3IfacePattern "
    "bpfLogLevel calicoVersion chainInsertMode clusterGUID clusterType dataplaneDriver "
    "defaultEndpointToHostAction deviceRouteSourceAddress deviceRouteSourceAddressIPv6 "
    "endpointStatusPathPrefix featureDetectOverride featureGates floatingIPs healthHost "
    "interfaceExclude interfacePrefix ipForwarding iptablesBackend iptablesFilterAllowAction "
    "iptablesFilterDenyAction iptablesMangleAllowAction iptablesNATOutgoingInterfaceFilter "
    "logDebugFilenameRegex logFilePath logPrefix logSeverityFile logSeverityScreen logSeveritySys "
    "mtuIfacePattern natOutgoingAddress natOutgoingExclusions nftablesFilterAllowAction "
    "nftablesFilterDenyAction nftablesMangleAllowAction nftablesMode openstackRegion "
    "policySyncPathPrefix programClusterRoutes prometheusMetricsHost routeSource "
    "serviceLoopPrevention wireguardInterfaceName wireguardInterfaceNameV6 workloadSourceSpoofing",
    duration="bpfKubeProxyMinSyncPeriod dataplaneWatchdogTimeout interfaceRefreshInterval "
    "ipsetsRefreshInterval iptablesLockProbeInterval iptablesPostWriteCheckInterval "
    "iptablesRefreshInterval netlinkTimeout nftablesRefreshInterval routeRefreshInterval "
    "usageReportingInitialDelay usageReportingInterval wireguardKeepAlive xdpRefreshInterval",
    integer="bpfMapSizeConntrack bpfMapSizeIPSets bpfMapSizeIfState bpfMapSizeNATAffinity "
    "bpfMapSizeNATBackend bpfMapSizeNATFrontend bpfMapSizeRoute deviceRouteProtocol "
    "goGCThreshold goMaxProcs goMemoryLimitMB healthPort ipipMTU iptablesMarkMask maxIpsetSize "
    "nftablesMarkMask prometheusMetricsPort vxlanMTU vxlanMTUV6 vxlanPort vxlanVNI "
    "wireguardListeningPort wireguardListeningPortV6 wireguardMTU wireguardMTUV6 "
    "wireguardRoutingRulePriority",
    boolean="allowIPIPPacketsFromWorkloads allowVXLANPacketsFromWorkloads bpfDisableUnprivileged "
    "bpfEnabled bpfKubeProxyIptablesCleanupEnabled disableConntrackInvalidCheck "
    "genericXDPEnabled healthEnabled ipipEnabled ipv6Support prometheusGoMetricsEnabled "
    "prometheusMetricsEnabled prometheusProcessMetricsEnabled prometheusWireGuardMetricsEnabled "
    "removeExternalRoutes requireMTUFile routeSyncDisabled usageReportingEnabled "
    "useInternalDataplaneDriver vxlanEnabled wireguardEnabled wireguardEnabledV6 "
    "wireguardHostEncryptionEnabled wireguardThreadingEnabled xdpEnabled",
    array="bpfDSROptoutCIDRs bpfExcludeCIDRsFromNAT externalNodesList failsafeInboundHostPorts "
    "failsafeOutboundHostPorts healthTimeoutOverrides kubeNodePortRanges routeTableRanges",
    object="routeTableRange",
)
KINDS = (
    Kind(
        "GlobalNetworkPolicy",
        ("globalnetworkpolicy", "globalnetworkpolicies", "gnp", "gnps"),
        POLICY | _fields(boolean="doNotTrack preDNAT applyOnForward", string="namespaceSelector"),
    ),
    Kind(
        "NetworkPolicy",
        ("networkpolicy", "networkpolicies", "policy", "np", "policies", "pol", "pols"),
        POLICY,
        namespaced=True,
    ),
    Kind("GlobalNetworkSet", ("globalnetworkset", "globalnetworksets"), _fields(array="nets")),
    Kind(
        "NetworkSet",
        ("networkset", "networksets", "netsets"),
        _fields(array="nets"),
        namespaced=True,
    ),
    Kind(
        "HostEndpoint",
        ("hostendpoint", "hostendpoints", "hep", "heps"),
        _fields(string="node interfaceName", array="expectedIPs profiles ports"),
    ),
    Kind(
        "FelixConfiguration",
        ("felixconfiguration", "felixconfigurations", "felixconfig", "felixconfigs"),
        FELIX,
    ),
    Kind(
        "IPPool",
        ("ippool", "ippools", "ipp", "ipps", "pool", "pools"),
        _fields(
            string="cidr ipipMode vxlanMode nodeSelector assignmentMode namespaceSelector",
            integer="blockSize",
            boolean="natOutgoing disabled disableBGPExport",
            array="allowedUses",
        ),
    ),
    Kind(
        "Node",
        ("node", "nodes", "no", "nos"),
        _fields(
            object="bgp",
            array="orchRefs addresses",
            string="ipv4VXLANTunnelAddr vxlanTunnelMACAddr ipv6VXLANTunnelAddr",
        ),
    ),
    Kind(
        "BGPPeer",
        ("bgppeer", "bgppeers", "bgpp", "bgpps", "bp", "bps"),
        _fields(
            string="node peerIP nodeSelector peerSelector sourceAddress reachableBy "
            "nextHopMode localWorkloadSelector reversePeering",
            duration="maxRestartTime keepaliveTime",
            as_number="asNumber localASNumber",
            boolean="keepOriginalNextHop",
            integer="numAllowedLocalASNumbers ttlSecurity",
            object="password",
            array="filters",
        ),
    ),
    Kind(
        "BGPFilter",
        ("bgpfilter", "bgpf", "bgpfs", "bf", "bfs"),  # the real one knows no "bgpfilters"
        _fields(array="exportV4 importV4 exportV6 importV6"),
    ),
)
BY_NAME = {kind.name: kind for kind in KINDS}
BY_LIST_NAME = {kind.list_name: kind for kind in KINDS}
BY_WORD = {word: kind for kind in KINDS for word in kind.words}

//! Drop reasons. The name of a reason is the metric's label and the expectation of tests.

/// Advice for damaged and forged packets.
const MALFORMED: &str = "Find the sender of damaged or forged packets with a capture at the device.";

/// Advice for packets whose translation an RFC forbids.
const UNTRANSLATABLE: &str = "Nothing to do: translation is impossible; the application must do without.";

/// Declares the reasons: the meaning as a doc comment, the name, and the advice to the operator.
macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $advice:expr;)+) => {
        named_enum! {
            /// Why a packet was dropped or refused.
            pub enum Reason {
                $($(#[doc = $doc])+ $variant = $name,)+
            }
        }

        impl Reason {
            /// What the operator can do, in one line.
            pub const fn advice(self) -> &'static str {
                match self {
                    $(Self::$variant => $advice,)+
                }
            }
        }
    };
}

reasons! {
    /// Neither IPv4 nor IPv6.
    NotIp = "not_ip", MALFORMED;
    /// The IPv4 header is too short, too long or contradicts the packet's length.
    Ipv4Header = "ipv4_header", MALFORMED;
    /// The IPv4 header checksum is wrong.
    Ipv4Checksum = "ipv4_checksum", MALFORMED;
    /// An IPv4 option has an impossible length.
    Ipv4Options = "ipv4_options", MALFORMED;
    /// An unexpired IPv4 source route (RFC 7915 §4.1).
    SourceRoute = "source_route", UNTRANSLATABLE;
    /// The IPv6 header contradicts the packet's length, or the packet is a jumbogram.
    Ipv6Header = "ipv6_header", MALFORMED;
    /// An IPv6 extension header is cut off, too long or out of place.
    ExtensionHeader = "extension_header", MALFORMED;
    /// More IPv6 extension headers than the parser accepts.
    ExtensionLimit = "extension_limit", UNTRANSLATABLE;
    /// An extension header after a Fragment header (RFC 7915 §5.1.1).
    ExtensionAfterFragment = "extension_after_fragment", UNTRANSLATABLE;
    /// A Routing header with segments left (RFC 7915 §5.1).
    RoutingHeader = "routing_header", UNTRANSLATABLE;
    /// The TCP, UDP or ICMP header is cut off or impossible.
    TransportHeader = "transport_header", MALFORMED;
    /// An invalid combination of TCP flags.
    TcpFlags = "tcp_flags", MALFORMED;
    /// The source is not a valid host address, or is a pool address on the IPv4 side.
    SourceAddress = "source_address",
        "Find the sender of forged or misconfigured sources with a capture at the device.";
    /// The destination is not a valid host address.
    DestinationAddress = "destination_address",
        "Nothing to do: some applications try loopback or multicast addresses.";
    /// The IPv6 source lies in no zone.
    NoZone = "no_zone", "Add the client's prefix to `clients` of a [[zone]] if it may use the gateway.";
    /// The IPv6 source lies under a pref64 (RFC 6146 §3.5).
    SourceInPref64 = "source_in_pref64",
        "Check the routes for pref64: packets loop, or their sources are forged.";
    /// The IPv6 destination is under no pref64 of the sender's zone.
    NotPref64 = "not_pref64",
        "Route only pref64 to this host, or add the destination's prefix to `pref64` of the zone.";
    /// An address that no mapping and no prefix translates without state (RFC 7757 §3.3).
    NoMapping = "no_mapping", "Add the address to `eam` or `hosts` of [siit], or set `pref64` there.";
    /// The IPv4 destination is not a pool4 address.
    NotPool4 = "not_pool4", "Route only pool4 to this host, or add the address to `pool4`.";
    /// The IPv4 destination is on the deny list.
    Denied = "denied", "Remove the destination from `deny` if clients may reach it.";
    /// A rule of the zone denies the destination.
    RuleDenied = "rule_denied", "Change the [[zone.rule]] that matches if clients may open such sessions.";
    /// The destination is an address of the gateway's host, or a broadcast address of one of its subnets.
    LocalDestination = "local_destination",
        "Connect to services of this host by its own addresses, not through pref64.";
    /// The IPv6 source is an address of the gateway's host.
    LocalSource = "local_source",
        "Test from a client: packets of the gateway's own host are never translated.";
    /// An IPv4 address that the Well-Known Prefix must not represent (RFC 6052 §3.1).
    WellKnownNotGlobal = "well_known_not_global",
        "Set `wkp_private = true` for private addresses, or use a prefix of your network as `pref64`.";
    /// Hop limit or TTL ran out.
    HopLimit = "hop_limit",
        "Traceroute causes a few. If there are many, look for a routing loop of pref64 or pool4.";
    /// The translated packet exceeds the next hop's MTU.
    TooBig = "too_big",
        "Path MTU discovery causes a few. If they last, let firewalls pass ICMP, or set `mss_clamp = true`.";
    /// A transport protocol that is not translated with state (RFC 6146 §3.4).
    Protocol = "protocol", UNTRANSLATABLE;
    /// A UDP datagram without checksum, for which none can be computed.
    UdpZeroChecksum = "udp_zero_checksum", "The sender must use UDP checksums.";
    /// An ICMP type or code without a counterpart (RFC 7915 §4.2, §5.2).
    IcmpType = "icmp_type", UNTRANSLATABLE;
    /// A fragment of an ICMP message, whose checksum can't be translated (RFC 7915 §1.2).
    IcmpFragment = "icmp_fragment", UNTRANSLATABLE;
    /// The checksum of an ICMP error is wrong.
    IcmpChecksum = "icmp_checksum", MALFORMED;
    /// The packet quoted by an ICMP error can't be used.
    IcmpQuoted = "icmp_quoted", MALFORMED;
    /// An ICMP error that matches no session or binding.
    IcmpNoBinding = "icmp_no_binding",
        "Nothing to do: the error arrived after its session ended, or is forged.";
    /// From the IPv4 side to a port without a binding.
    NoBinding = "no_binding",
        "Scans cause most. Raise the timeouts in [timers] if clients lose connections; servers need a [[static]].";
    /// From the IPv4 side, refused by filtering, or the client of the binding has been silent for a lifetime.
    Filtered = "filtered", "Set `filtering = \"endpoint-independent\"` if calls or games fail.";
    /// A TCP segment without SYN that belongs to no session. A zone host receives a RST.
    NoSession = "no_session", "Raise `tcp_established`, or let applications send keepalives.";
    /// An unsolicited SYN: dropped by policy, or not followed by an outbound SYN within the timeout.
    UnsolicitedSyn = "unsolicited_syn", "Scans cause most. A server of a zone needs a [[static]].";
    /// No room to store an unsolicited SYN.
    SynLimit = "syn_limit",
        "A flood of SYNs: set `unsolicited_syn = \"drop\"`, or raise `unsolicited_syns` in [limits].";
    /// No port or identifier is free in pool4.
    PoolExhausted = "pool_exhausted", "Add addresses to `pool4`. `gate64 hosts` lists the largest users.";
    /// The host's port blocks are full and its quota allows no further block.
    HostQuota = "host_quota",
        "Look at the host with `gate64 sessions --host`; raise `blocks_per_host` in [limits] or a [[zone.host]].";
    /// The host's first port block is full, and no packet from outside has answered the host yet.
    Unanswered = "unanswered",
        "The host scans, or its destinations are down. Raise `first_block` in [limits] if it needs more.";
    /// The share of the host, site or zone in pool4 or in a table is used up.
    PoolShare = "pool_share", "Add addresses to `pool4`, or raise `pool_share` of the zone.";
    /// The site exceeds its limit of new hosts per second.
    NewHostRate = "new_host_rate",
        "Raise `new_hosts_per_second` in [limits] if the site has that many hosts.";
    /// The host exceeds its limit of new bindings per second.
    BindingRate = "binding_rate", "Raise `bindings_per_second` in [limits] if the host needs more.";
    /// The host exceeds its limit of new sessions per second.
    SessionRate = "session_rate",
        "Raise `sessions_per_second` or `sessions_burst` in [limits] or a [[zone.host]] if the host needs more.";
    /// The zone exceeds its limit of new sessions per second.
    ZoneSessionRate = "zone_session_rate",
        "Raise `zone_sessions_per_second` in [zone.limits]; `gate64 hosts` lists the largest users.";
    /// The session limit of the host or of the table is reached.
    SessionLimit = "session_limit",
        "Look at the host with `gate64 sessions --host`; raise `sessions_per_host` or `sessions` in [limits].";
    /// The table of bindings, port blocks or hosts is full.
    TableFull = "table_full", "Raise `bindings`, `blocks` or `hosts` in [limits] and restart.";
    /// A hairpinned packet exceeded the handover limit.
    HairpinLoop = "hairpin_loop", "Look for mappings that refer to each other in [siit] and [[static]].";
    /// Fragments of one datagram overlap or contradict each other.
    FragmentOverlap = "fragment_overlap", MALFORMED;
    /// A fragment that was already received.
    FragmentDuplicate = "fragment_duplicate", "Nothing to do: the network duplicates a few packets.";
    /// A datagram was not complete before its fragment timeout.
    FragmentTimeout = "fragment_timeout",
        "Look for packet loss towards the sender, and for firewalls that drop fragments.";
    /// The fragment cache, or the share of the sender in it, is full.
    FragmentLimit = "fragment_limit", "Raise `fragment_bytes` in [limits], unless one host floods fragments.";
    /// The first fragment lacks the whole transport header.
    FragmentHeader = "fragment_header", MALFORMED;
    /// A fragment of impossible length, or one that ends beyond the largest packet.
    FragmentSize = "fragment_size", MALFORMED;
    /// One batch produced more packets than the output buffer holds.
    ExtraFull = "extra_full",
        "Lower the rate of large UDP datagrams, or raise `lowest_ipv6_mtu` if all links support it.";
    /// Handed over between workers too many times.
    HandOverLimit = "hand_over_limit",
        "A reload causes a few. If they last, report it as an error of gate64.";
    /// The inbox of the owning worker is full.
    RingFull = "ring_full",
        "The worker is overloaded: raise `workers`, or find the largest users with `gate64 hosts`.";
    /// Dropped in front of the queue of an overloaded worker: the host exceeded its share.
    Overload = "overload",
        "The host sends more than its share: find it with `gate64 hosts`; raise `workers` if that is normal.";
    /// The device rejected the write.
    DeviceWrite = "device_write",
        "Look at the log and at `ip -s link` of the device: the kernel rejects packets.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_meaning_and_an_advice() {
        for reason in Reason::ALL {
            for text in [reason.meaning().trim(), reason.advice()] {
                assert!(text.ends_with('.') && text.len() < 120, "{reason}: {text}");
                let longest =
                    text.split_terminator(['.', ':', ';']).map(|part| part.split_whitespace().count()).max();
                assert!(longest <= Some(25), "{reason}: {text}");
            }
        }
    }
}

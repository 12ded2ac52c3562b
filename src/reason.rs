//! Drop reasons. The name of a reason is the metric's label and the expectation of tests.

named_enum! {
    /// Why a packet was dropped or refused.
    pub enum Reason {
        /// Neither IPv4 nor IPv6.
        NotIp = "not_ip",
        /// The IPv4 header is too short, too long or contradicts the packet's length.
        Ipv4Header = "ipv4_header",
        /// The IPv4 header checksum is wrong.
        Ipv4Checksum = "ipv4_checksum",
        /// An IPv4 option has an impossible length.
        Ipv4Options = "ipv4_options",
        /// An unexpired IPv4 source route (RFC 7915 §4.1).
        SourceRoute = "source_route",
        /// The IPv6 header contradicts the packet's length, or the packet is a jumbogram.
        Ipv6Header = "ipv6_header",
        /// An IPv6 extension header is cut off, too long or out of place.
        ExtensionHeader = "extension_header",
        /// More IPv6 extension headers than the parser accepts.
        ExtensionLimit = "extension_limit",
        /// An extension header after a Fragment header (RFC 7915 §5.1.1).
        ExtensionAfterFragment = "extension_after_fragment",
        /// A Routing header with segments left (RFC 7915 §5.1).
        RoutingHeader = "routing_header",
        /// The TCP, UDP or ICMP header is cut off or impossible.
        TransportHeader = "transport_header",
        /// An invalid combination of TCP flags.
        TcpFlags = "tcp_flags",
        /// The source is not a valid host address, or is a pool address on the IPv4 side.
        SourceAddress = "source_address",
        /// The destination is not a valid host address.
        DestinationAddress = "destination_address",
        /// The IPv6 source lies in no zone.
        NoZone = "no_zone",
        /// The IPv6 source lies under a pref64 (RFC 6146 §3.5).
        SourceInPref64 = "source_in_pref64",
        /// The IPv6 destination is under no pref64 of the sender's zone.
        NotPref64 = "not_pref64",
        /// An address that no mapping and no prefix translates without state (RFC 7757 §3.3).
        NoMapping = "no_mapping",
        /// The IPv4 destination is not a pool4 address.
        NotPool4 = "not_pool4",
        /// The IPv4 destination is on the deny list.
        Denied = "denied",
        /// The destination is an address of the gateway's host, or a broadcast address of one of its subnets.
        LocalDestination = "local_destination",
        /// The IPv6 source is an address of the gateway's host.
        LocalSource = "local_source",
        /// An IPv4 address that the Well-Known Prefix must not represent (RFC 6052 §3.1).
        WellKnownNotGlobal = "well_known_not_global",
        /// Hop limit or TTL ran out.
        HopLimit = "hop_limit",
        /// The translated packet exceeds the next hop's MTU.
        TooBig = "too_big",
        /// A transport protocol that is not translated with state (RFC 6146 §3.4).
        Protocol = "protocol",
        /// A UDP datagram without checksum, for which none can be computed.
        UdpZeroChecksum = "udp_zero_checksum",
        /// An ICMP type or code without a counterpart (RFC 7915 §4.2, §5.2).
        IcmpType = "icmp_type",
        /// A fragment of an ICMP message, whose checksum can't be translated (RFC 7915 §1.2).
        IcmpFragment = "icmp_fragment",
        /// The checksum of an ICMP error is wrong.
        IcmpChecksum = "icmp_checksum",
        /// The packet quoted by an ICMP error can't be used.
        IcmpQuoted = "icmp_quoted",
        /// An ICMP error that matches no session or binding.
        IcmpNoBinding = "icmp_no_binding",
        /// From the IPv4 side to a port without a binding.
        NoBinding = "no_binding",
        /// From the IPv4 side, refused by filtering, or the client of the binding has been silent for a lifetime.
        Filtered = "filtered",
        /// A TCP segment without SYN that belongs to no session. A zone host receives a RST.
        NoSession = "no_session",
        /// An unsolicited SYN: dropped by policy, or not followed by an outbound SYN within the timeout.
        UnsolicitedSyn = "unsolicited_syn",
        /// No room to store an unsolicited SYN.
        SynLimit = "syn_limit",
        /// No port or identifier is free in pool4.
        PoolExhausted = "pool_exhausted",
        /// The host's port blocks are full and its quota allows no further block.
        HostQuota = "host_quota",
        /// The host's first port block is full, and no packet from outside has answered the host yet.
        Unanswered = "unanswered",
        /// The share of the host, site or zone in pool4 or in a table is used up.
        PoolShare = "pool_share",
        /// The site exceeds its limit of new hosts per second.
        NewHostRate = "new_host_rate",
        /// The host exceeds its limit of new bindings per second.
        BindingRate = "binding_rate",
        /// The session limit of the host or of the table is reached.
        SessionLimit = "session_limit",
        /// The table of bindings, port blocks or hosts is full.
        TableFull = "table_full",
        /// A hairpinned packet exceeded the handover limit.
        HairpinLoop = "hairpin_loop",
        /// Fragments of one datagram overlap or contradict each other.
        FragmentOverlap = "fragment_overlap",
        /// A fragment that was already received.
        FragmentDuplicate = "fragment_duplicate",
        /// A datagram was not complete before its fragment timeout.
        FragmentTimeout = "fragment_timeout",
        /// The fragment cache, or the share of the sender in it, is full.
        FragmentLimit = "fragment_limit",
        /// The first fragment lacks the whole transport header.
        FragmentHeader = "fragment_header",
        /// A fragment of impossible length, or one that ends beyond the largest packet.
        FragmentSize = "fragment_size",
        /// One batch produced more packets than the output buffer holds.
        ExtraFull = "extra_full",
        /// Handed over between workers too many times.
        HandOverLimit = "hand_over_limit",
        /// The inbox of the owning worker is full.
        RingFull = "ring_full",
        /// Dropped in front of the queue of an overloaded worker: the host exceeded its share.
        Overload = "overload",
        /// The device rejected the write.
        DeviceWrite = "device_write",
    }
}

//! Outcomes of client queries. Metrics and tests use the same names.

named_enum! {
    /// Outcome of a client query.
    pub enum Outcome {
        /// AAAA records of the name.
        Native = "native",
        /// AAAA records of the name, except those in an excluded prefix.
        NativeFiltered = "native_filtered",
        /// Synthesized: the name has no AAAA records.
        SynthesizedNodata = "synthesized_nodata",
        /// Synthesized: the AAAA query returned an error.
        SynthesizedRcode = "synthesized_rcode",
        /// Synthesized: the AAAA query timed out.
        SynthesizedTimeout = "synthesized_timeout",
        /// Synthesized: all AAAA records are in an excluded prefix.
        SynthesizedExcluded = "synthesized_excluded",
        /// Synthesized: a rule ignores AAAA records of the name.
        SynthesizedIgnored = "synthesized_ignored",
        /// The name does not exist.
        Nxdomain = "nxdomain",
        /// The name has neither AAAA nor A records.
        NoAddress = "no_address",
        /// The name has A records, none of which may be translated.
        Untranslatable = "untranslatable",
        /// Forwarded: DNS64 is off in the zone.
        PassedOff = "passed_off",
        /// Forwarded: a rule disables synthesis.
        PassedPolicy = "passed_policy",
        /// Forwarded: the client validates (CD).
        PassedCd = "passed_cd",
        /// Forwarded: the client may validate (DO) and the answer is signed.
        PassedDo = "passed_do",
        /// Forwarded: the type is not AAAA.
        PassedType = "passed_type",
        /// Forwarded: the class is not IN.
        PassedClass = "passed_class",
        /// The name of an IPv4 address, queried under a pref64.
        Ptr = "ptr",
        /// Queried under a pref64: an IPv4 address without a name, or a name or type without records.
        PtrMissing = "ptr_missing",
        /// Answered locally: ipv4only.arpa and the reverse names of its addresses.
        Ipv4only = "ipv4only",
        /// Answered locally: a configured name or address.
        Local = "local",
        /// Answered locally or refused: a special-use name (RFC 6761), which is not forwarded.
        SpecialName = "special_name",
        /// Not synthesized: the translator of the zone is down.
        TranslatorDown = "translator_down",
        /// Not synthesized: the negative AAAA answer is bogus.
        Bogus = "bogus",
        /// The upstream returned an error.
        UpstreamError = "upstream_error",
        /// No upstream answered in time.
        UpstreamTimeout = "upstream_timeout",
        /// The aliases form a loop or a chain that is too long.
        AliasLoop = "alias_loop",
        /// The query is malformed or does not have exactly one question.
        Formerr = "formerr",
        /// The EDNS version is not 0.
        Badvers = "badvers",
        /// The opcode is not QUERY.
        Notimp = "notimp",
        /// A zone transfer, which is not forwarded.
        Transfer = "transfer",
        /// Not a query; dropped.
        Ignored = "ignored",
        /// The client is in no zone; queries over UDP are dropped, connections closed.
        NoZone = "no_zone",
        /// Too many pending queries; dropped over UDP, refused over TCP.
        Busy = "busy",
        /// Too many pending queries of this client or its site; dropped over UDP, refused over TCP.
        BusyClient = "busy_client",
        /// More queries arrived than could be answered, and this client or its site had its share; dropped.
        Shed = "shed",
        /// The client exceeds its query rate; dropped over UDP, refused over TCP.
        RateLimited = "rate_limited",
        /// Too many answers to one client address; sent without records and with TC.
        ResponseLimited = "response_limited",
    }
}

impl Outcome {
    /// Whether AAAA records were synthesized.
    pub const fn is_synthesized(self) -> bool {
        matches!(
            self,
            Self::SynthesizedNodata
                | Self::SynthesizedRcode
                | Self::SynthesizedTimeout
                | Self::SynthesizedExcluded
                | Self::SynthesizedIgnored
        )
    }
}

//! What became of a query. The same word names the metric and what a test expects.

use core::fmt;

macro_rules! outcomes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// What became of a query.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        #[repr(u8)]
        pub enum Outcome {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Outcome {
            /// Every outcome, in the order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name in metrics, logs and tests.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// What the name means, in one line.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($doc),+),)+
                }
            }
        }
    };
}

outcomes! {
    /// AAAA records of the name itself.
    Native = "native",
    /// AAAA records of the name itself, without those under an excluded prefix.
    NativeFiltered = "native_filtered",
    /// Synthesised, the name having no AAAA records.
    SynthesisedNodata = "synthesised_nodata",
    /// Synthesised, the query for AAAA having ended in an error.
    SynthesisedRcode = "synthesised_rcode",
    /// Synthesised, the query for AAAA not having been answered in time.
    SynthesisedTimeout = "synthesised_timeout",
    /// Synthesised, all AAAA records lying under an excluded prefix.
    SynthesisedExcluded = "synthesised_excluded",
    /// Synthesised by a rule, AAAA records of the name's own being ignored.
    SynthesisedIgnored = "synthesised_ignored",
    /// The name does not exist.
    Nxdomain = "nxdomain",
    /// The name has neither AAAA nor A records.
    NoAddress = "no_address",
    /// The name has A records, none of which may be translated.
    Untranslatable = "untranslatable",
    /// Passed on because the zone has no DNS64.
    PassedOff = "passed_off",
    /// Passed on because a rule says that nothing is synthesised.
    PassedPolicy = "passed_policy",
    /// Passed on because the client checks itself (CD).
    PassedCd = "passed_cd",
    /// Passed on because the client can validate (DO) and the answer is signed.
    PassedDo = "passed_do",
    /// Passed on, the type being another than AAAA.
    PassedType = "passed_type",
    /// Passed on, the class being another than IN.
    PassedClass = "passed_class",
    /// The name of an IPv4 address, asked for under a pref64.
    Ptr = "ptr",
    /// An IPv4 address without a name, asked for under a pref64.
    PtrMissing = "ptr_missing",
    /// Answered locally: ipv4only.arpa and the reverse of its addresses.
    Ipv4only = "ipv4only",
    /// Answered locally: a name or an address that the operator told.
    Local = "local",
    /// Not synthesised because nothing translates for this zone at present.
    TranslatorDown = "translator_down",
    /// Not synthesised because the denial of AAAA is bogus.
    Bogus = "bogus",
    /// The upstream answered with an error.
    UpstreamError = "upstream_error",
    /// No upstream answered in time.
    UpstreamTimeout = "upstream_timeout",
    /// Aliases that lead in a circle or too far.
    AliasLoop = "alias_loop",
    /// The query could not be read, or had not exactly one question.
    Formerr = "formerr",
    /// An EDNS version other than 0.
    Badvers = "badvers",
    /// An operation other than a query.
    Notimp = "notimp",
    /// A zone transfer, which is not forwarded.
    Transfer = "transfer",
    /// Not even a query; not answered.
    Ignored = "ignored",
    /// The client is in no zone; not answered over UDP, refused over TCP.
    NoZone = "no_zone",
    /// Too many exchanges at once; not answered over UDP, refused over TCP.
    Busy = "busy",
    /// Too many exchanges of this client at once; not answered over UDP, refused over TCP.
    BusyClient = "busy_client",
    /// More queries a second than a client may ask; not answered over UDP, refused over TCP.
    RateLimited = "rate_limited",
    /// The same answer too often to one network; not sent, or sent empty with TC.
    ResponseLimited = "response_limited",
}

impl Outcome {
    /// Whether AAAA records were made.
    pub const fn is_synthesised(self) -> bool {
        matches!(
            self,
            Self::SynthesisedNodata
                | Self::SynthesisedRcode
                | Self::SynthesisedTimeout
                | Self::SynthesisedExcluded
                | Self::SynthesisedIgnored
        )
    }

    /// The number of outcomes; each as a number is below this.
    pub const COUNT: usize = Self::ALL.len();
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_names_and_order_agree() {
        let mut names = Vec::new();
        for (number, outcome) in Outcome::ALL.iter().enumerate() {
            assert_eq!(*outcome as usize, number);
            assert!(
                outcome.name().bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit())
            );
            names.push(outcome.name());
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Outcome::COUNT);
    }
}

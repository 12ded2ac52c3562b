//! The value of `--protocol`.

use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::addr::Proto;

/// Parses the name of a protocol.
pub(super) fn protocol() -> impl TypedValueParser<Value = Proto> {
    PossibleValuesParser::new(Proto::ALL.map(Proto::name)).map(|name| {
        let found = Proto::ALL.into_iter().find(|proto| proto.name() == name);
        found.expect("one of the possible values")
    })
}

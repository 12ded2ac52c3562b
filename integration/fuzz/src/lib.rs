//! The properties under a name that fuzz targets can call. They and the scenario language live in
//! the integration suite, which runs the committed corpora through them without nightly Rust.
#![allow(dead_code)]

#[path = "../../model/mod.rs"]
mod model;
#[path = "../../properties/mod.rs"]
mod properties;
#[path = "../../script/mod.rs"]
mod script;

macro_rules! targets {
    ($($name:ident),+) => {
        $(
            #[doc = concat!("Holds the properties of `", stringify!($name), "`, or panics.")]
            pub fn $name(data: &[u8]) {
                properties::$name(data);
            }
        )+
    };
}

targets!(parse, translate, quoted, config, sessions, saved, dns_query, dns_answer);

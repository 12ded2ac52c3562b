//! Properties that hold for any bytes. Fuzz targets search for counterexamples, and a test runs the
//! collected corpora.

mod config;
mod dns;
mod harness;
mod parse;
mod quoted;
mod saved;
mod translate;

pub(crate) use crate::model::bytes as sessions;
pub(crate) use config::config;
pub(crate) use dns::{dns_answer, dns_query};
pub(crate) use parse::parse;
pub(crate) use quoted::quoted;
pub(crate) use saved::saved;
pub(crate) use translate::translate;

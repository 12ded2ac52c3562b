//! Tests of the whole program: scenarios, simulation, the source tree, and the kernel lab.

mod chains;
mod closed_pipe;
mod configs_bad;
mod corpora;
mod damaged;
mod dns_scenarios;
mod dns_zones;
mod exit_codes;
mod fragment_shares;
mod handover;
mod json_schema;
mod lab;
mod matrix;
mod memory;
mod model;
#[allow(dead_code, reason = "the unit tests use more of it")]
mod packet_builder;
mod packet_builder_tests;
mod properties;
mod runners;
mod saved_blocks;
mod scenarios;
mod script;
mod simulate;
mod storm;
mod systemd;
mod tcp_matrix;
mod tidy;
mod translate;
mod uncaptured;
mod vectors;

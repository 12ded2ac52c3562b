//! Tests of the whole: scenarios, simulation, the tree itself, and the kernel lab.

mod lab;
mod systemd;
mod vectors;

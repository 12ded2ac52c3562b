//! Devices: where packets come from and go to.

//! Statistics of the translated packets: number, bytes, time.

use std::fmt;
use std::time::Duration;

use crate::wire::{TCP, ipv4, ipv6};

/// Minimum number of packets in a row to show its speed: the first packets run with cold caches.
const MIN_PACKETS: u64 = 1_000;

/// The rows in display order.
const ROWS: [&str; 4] =
    ["TCP   IPv6 to IPv4", "TCP   IPv4 to IPv6", "ICMP  IPv6 to IPv4", "ICMP  IPv4 to IPv6"];

#[derive(Clone, Copy, Default)]
struct Row {
    packets: u64,
    bytes: u64,
    time: Duration,
}

/// Packets, bytes and time, by protocol and direction.
#[derive(Clone, Copy, Default)]
pub(super) struct Tally([Row; ROWS.len()]);

impl Tally {
    /// Counts a packet as it was before translation.
    pub(super) fn count(&mut self, packet: &[u8], time: Duration) {
        let (protocol, four) = match packet {
            [0x40..=0x4f, ..] => (ipv4::Fields::of(packet).map(ipv4::Fields::protocol), true),
            [0x60..=0x6f, ..] => (ipv6::Fields::of(packet).map(ipv6::Fields::next_header), false),
            _ => (None, false),
        };
        let Some(protocol) = protocol else { return };
        let row = &mut self.0[2 * usize::from(protocol != TCP) + usize::from(four)];
        row.packets += 1;
        row.bytes += packet.len() as u64;
        row.time += time;
    }
}

/// Formats a number with thousands separators.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {:<20} {:>9} {:>13} {:>14} {:>8}", "", "packets", "bytes", "ns per packet", "Gbit/s")?;
        for (name, row) in ROWS.iter().zip(&self.0) {
            write!(f, "  {name:<20} {:>9} {:>13}", grouped(row.packets), grouped(row.bytes))?;
            let nanos = row.time.as_nanos() as f64;
            if row.packets >= MIN_PACKETS && nanos > 0.0 {
                let each = nanos / row.packets as f64;
                let gigabits = row.bytes as f64 * 8.0 / nanos;
                writeln!(f, " {each:>14.0} {gigabits:>8.1}")?;
            } else {
                writeln!(f, " {:>14} {:>8}", "-", "-")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands() {
        let cases = [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678")];
        for (number, want) in cases {
            assert_eq!(grouped(number), want);
        }
    }
}

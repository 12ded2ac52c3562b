//! `gate64 lab wire`: sends packets on an interface and captures what arrives there.
//!
//! A separate process, since it runs in another network namespace. Captures are standard input and
//! standard output.

use std::io;
use std::thread;
use std::time::{Duration, SystemTime};

use super::LabError;
use super::tap::Tap;
use crate::device::pcap::{Reader, Writer};
use crate::output::errln;
use crate::wire::buf::{Checksum, Offload, Segmentation};

/// Sends the packets of the capture on standard input on `interface`, and writes the packets received
/// there to standard output, until it is killed. With `segment`, TCP and UDP packets are
/// super-packets with segments of that many bytes.
pub(super) fn wire(interface: &str, segment: Option<u16>) -> Result<(), LabError> {
    let open = || Tap::open(interface).map_err(LabError::io(format!("packet socket on {interface}")));
    let mut from = open()?;
    let to = open()?;
    thread::spawn(move || {
        if let Err(why) = feed(&to, segment) {
            errln!("gate64 lab: {why}");
        }
    });
    let failed = || LabError::io("standard output");
    // The capture's header signals the reader that the socket listens.
    let mut writer = Writer::new(io::stdout().lock()).map_err(failed())?;
    writer.flush().map_err(failed())?;
    loop {
        match from.recv(Duration::from_secs(1)) {
            Ok(Some(frame)) => {
                writer.write(now(), &frame.bytes).map_err(failed())?;
                writer.flush().map_err(failed())?;
            }
            Ok(None) => {}
            // The gateway ended, and its interface with it.
            Err(why) if why.kind() == io::ErrorKind::NetworkDown => return Ok(()),
            Err(why) => return Err(LabError::io(interface)(why)),
        }
    }
}

fn feed(to: &Tap, segment: Option<u16>) -> Result<(), LabError> {
    let story = |why: crate::device::pcap::PcapError| LabError::DemoFailed(format!("standard input: {why}"));
    let mut reader = Reader::new(io::stdin().lock()).map_err(story)?;
    while let Some(packet) = reader.next_packet().map_err(story)? {
        let offload = segment.map_or_else(Offload::default, |size| offload_of(packet.bytes, size));
        to.send(packet.bytes, offload).map_err(LabError::io("sending a packet"))?;
    }
    Ok(())
}

/// Pending segmentation into `size` bytes, and a partial checksum.
fn offload_of(packet: &[u8], size: u16) -> Offload {
    let v6 = packet.first().is_some_and(|byte| byte >> 4 == 6);
    let tcp = packet.get(if v6 { 6 } else { 9 }) == Some(&6);
    let flags = packet.get(if v6 { 40 } else { 20 } + 13).copied().unwrap_or(0);
    let segmentation =
        if tcp { Segmentation::Tcp { size, ecn: flags & 0x80 != 0 } } else { Segmentation::Udp { size } };
    Offload { segmentation, checksum: Checksum::Partial }
}

#[expect(clippy::disallowed_methods, reason = "captures carry the time of day")]
fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

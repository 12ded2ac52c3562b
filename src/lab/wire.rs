//! Packets put onto an interface past the kernel, and what comes from it. A program of its own
//! (`gate64 lab wire`), since it runs in another namespace: captures on standard input and output.

use std::io;
use std::thread;
use std::time::{Duration, SystemTime};

use super::LabError;
use crate::device::pcap::{Reader, Writer};
use crate::device::tap::Tap;
use crate::wire::buf::{Checksum, Offload, Segmentation};

/// Puts the packets of the capture on standard input onto `interface`, and writes what comes from it
/// to standard output until it is ended. With `segment`, TCP and UDP packets are super-packets with
/// segments of that size.
pub(super) fn wire(interface: &str, segment: Option<u16>) -> Result<(), LabError> {
    let open = || Tap::open(interface).map_err(LabError::io(format!("packet socket on {interface}")));
    let mut from = open()?;
    let onto = open()?;
    thread::spawn(move || {
        if let Err(why) = feed(&onto, segment) {
            eprintln!("gate64 lab: {why}");
        }
    });
    let failed = || LabError::io("standard output");
    // Its header says that the socket listens.
    let mut writer = Writer::new(io::stdout().lock()).map_err(failed())?;
    writer.flush().map_err(failed())?;
    loop {
        match from.take(Duration::from_secs(1)) {
            Ok(Some(frame)) => {
                writer.write(now(), &frame.bytes).map_err(failed())?;
                writer.flush().map_err(failed())?;
            }
            Ok(None) => {}
            // Its gateway has ended, and it with it.
            Err(why) if why.kind() == io::ErrorKind::NetworkDown => return Ok(()),
            Err(why) => return Err(LabError::io(interface)(why)),
        }
    }
}

fn feed(onto: &Tap, segment: Option<u16>) -> Result<(), LabError> {
    let story = |why: crate::device::pcap::PcapError| LabError::Story(format!("standard input: {why}"));
    let mut reader = Reader::new(io::stdin().lock()).map_err(story)?;
    while let Some(packet) = reader.next_packet().map_err(story)? {
        let offload = segment.map_or_else(Offload::default, |size| left_to_do(packet.bytes, size));
        onto.put(packet.bytes, offload).map_err(LabError::io("putting a packet"))?;
    }
    Ok(())
}

/// Cut into segments of `size`, and the checksum, which is then of the pseudo-header alone.
fn left_to_do(packet: &[u8], size: u16) -> Offload {
    let v6 = packet.first().is_some_and(|byte| byte >> 4 == 6);
    let tcp = packet.get(if v6 { 6 } else { 9 }) == Some(&6);
    let flags = packet.get(if v6 { 40 } else { 20 } + 13).copied().unwrap_or(0);
    let segmentation =
        if tcp { Segmentation::Tcp { size, ecn: flags & 0x80 != 0 } } else { Segmentation::Udp { size } };
    Offload { segmentation, checksum: Checksum::Partial }
}

#[expect(clippy::disallowed_methods, reason = "a capture says when")]
fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

//! A capture as a device.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use super::{Reader, Writer};
use crate::device::{BATCH_BYTES, Device, Offloads, Tallies, Waker};
use crate::wire::buf::PacketBuf;

/// Reads its packets from one capture and writes to another.
///
/// What is written has the time of the packet last read. After the end of the capture nothing
/// comes any more.
pub struct PcapDevice<R, W> {
    reader: Reader<R>,
    writer: Writer<W>,
    now: Duration,
    ended: bool,
    tallies: Arc<Tallies>,
}

impl<R: Read, W: Write> PcapDevice<R, W> {
    /// A device that reads from `reader` and writes to `writer`.
    pub fn new(reader: Reader<R>, writer: Writer<W>) -> Self {
        Self { reader, writer, now: Duration::ZERO, ended: false, tallies: Arc::default() }
    }

    /// Whether all has been read.
    pub const fn ended(&self) -> bool {
        self.ended
    }
}

impl<R: Read + Send, W: Write + Send> Device for PcapDevice<R, W> {
    fn recv(&mut self, packets: &mut [PacketBuf]) -> io::Result<usize> {
        let (mut filled, mut bytes) = (0, 0);
        while let Some(slot) = packets.get_mut(filled).filter(|_| bytes < BATCH_BYTES && !self.ended) {
            match self.reader.next_packet() {
                Ok(Some(packet)) if slot.fill(packet.bytes) => {
                    self.now = packet.at;
                    bytes += slot.len();
                    filled += 1;
                }
                Ok(Some(_)) => self.tallies.unreadable.add(1),
                Ok(None) => self.ended = true,
                Err(error) => {
                    self.ended = true;
                    if filled == 0 {
                        return Err(io::Error::new(io::ErrorKind::InvalidData, error));
                    }
                }
            }
        }
        self.tallies.received.add(filled as u64);
        Ok(filled)
    }

    fn send(&mut self, packets: &[&PacketBuf]) -> usize {
        let written = packets.iter().filter(|p| self.writer.write(self.now, p.bytes()).is_ok()).count();
        self.tallies.sent.add(written as u64);
        self.tallies.writes.add(written as u64);
        self.tallies.refused.add((packets.len() - written) as u64);
        packets.len() - written
    }

    fn wait(&mut self, waker: &Waker, timeout: Option<Duration>) -> io::Result<()> {
        self.writer.flush()?;
        waker.sleep(None, timeout)
    }

    fn offloads(&self) -> Offloads {
        Offloads::default()
    }

    fn tallies(&self) -> &Arc<Tallies> {
        &self.tallies
    }
}

//! A capture file of raw IP packets, as Wireshark reads them.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use crate::lab::LabError;

/// Packets begin with their IP header (LINKTYPE_RAW).
const RAW_IP: u32 = 101;

/// The file, written as packets come.
pub(super) struct Capture(BufWriter<File>);

impl Capture {
    pub(super) fn create(path: &Path) -> Result<Self, LabError> {
        let file = File::create(path).map_err(LabError::io(path.display().to_string()))?;
        let mut capture = Self(BufWriter::new(file));
        let header = [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, RAW_IP];
        capture.words(&header)?;
        Ok(capture)
    }

    fn words(&mut self, words: &[u32]) -> Result<(), LabError> {
        for word in words {
            self.0.write_all(&word.to_le_bytes()).map_err(LabError::io("writing the capture"))?;
        }
        Ok(())
    }

    /// Writes one packet, seen at `micros` of the demonstration's time.
    pub(super) fn packet(&mut self, micros: u64, packet: &[u8]) -> Result<(), LabError> {
        let len = packet.len() as u32;
        let (seconds, rest) = ((micros / 1_000_000) as u32, (micros % 1_000_000) as u32);
        self.words(&[seconds, rest, len, len])?;
        self.0.write_all(packet).map_err(LabError::io("writing the capture"))
    }

    /// Writes what is still in memory.
    pub(super) fn finish(mut self) -> Result<(), LabError> {
        self.0.flush().map_err(LabError::io("writing the capture"))
    }
}

//! The demonstration's capture file, for Wireshark.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::time::Duration;

use crate::device::pcap::Writer;
use crate::lab::LabError;

/// A capture of raw IP packets.
pub(super) struct Capture(Writer<BufWriter<File>>);

fn failed() -> impl FnOnce(std::io::Error) -> LabError {
    LabError::io("writing the capture")
}

impl Capture {
    pub(super) fn create(path: &Path) -> Result<Self, LabError> {
        let file = File::create(path).map_err(LabError::io(path.display().to_string()))?;
        Writer::new(BufWriter::new(file)).map(Self).map_err(failed())
    }

    /// Writes one packet, seen at `micros` of the virtual time.
    pub(super) fn packet(&mut self, micros: u64, packet: &[u8]) -> Result<(), LabError> {
        self.0.write(Duration::from_micros(micros), packet).map_err(failed())
    }

    /// Writes buffered packets to the file.
    pub(super) fn finish(mut self) -> Result<(), LabError> {
        self.0.flush().map_err(failed())
    }
}

//! Saved sessions: any bytes are read or refused, and any session that is read is imported or refused.

use gate64::time::Instant;
use gate64::translator::Translator;
use gate64::worker::state::{HEADER, Header, Kind, Moment, RECORD, Reader, seal};

use crate::script::fixture::fixture;

const NOW: Instant = Instant::from_secs(1000);

/// The bytes as a file, then as the fields of records with a good header and CRCs.
pub(crate) fn saved(data: &[u8]) {
    import(data);
    let written = Moment { boot: [0; 16], monotonic: 0, wall: 0 };
    let mut bytes = Header { owner_seed: 1, written, clock: NOW }.encode().to_vec();
    let fields = data.get(HEADER..).unwrap_or_default();
    for fields in fields.chunks(RECORD) {
        let mut record = [0; RECORD];
        record[..fields.len()].copy_from_slice(fields);
        seal(&mut record);
        bytes.extend(record);
    }
    import(&bytes);
}

fn import(bytes: &[u8]) {
    let Ok(mut reader) = Reader::new(bytes) else { return };
    let mut translator = Translator::new(fixture(), 2);
    let mut kept = 0;
    while let Ok(Some((kind, saved))) = reader.next_record() {
        let Some(record) = saved.at(NOW) else { continue };
        match kind {
            Kind::Session => kept += u32::from(translator.import(NOW, &record).is_ok()),
            Kind::Quarantined => _ = translator.import_quarantined(NOW, &record),
        }
    }
    let found =
        (0..translator.session_slots()).filter(|slot| translator.record(NOW, *slot).is_some()).count();
    assert!(found <= kept as usize, "{found} sessions of {kept} records");
}

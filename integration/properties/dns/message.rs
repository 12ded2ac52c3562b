//! A DNS message, read without the library's own parsers.

/// A record of a message.
pub(super) struct Record {
    /// Whether its owner is the root, as OPT's is.
    pub(super) at_root: bool,
    pub(super) kind: u16,
    /// For OPT: the UDP size of its sender.
    pub(super) class: u16,
    pub(super) ttl: u32,
    pub(super) data: Vec<u8>,
}

/// A complete message.
pub(super) struct Shape {
    pub(super) id: u16,
    pub(super) flags: u16,
    /// Name, type and class of the first question as bytes; empty without question.
    pub(super) question: Vec<u8>,
    /// Answers, authority and additional records.
    pub(super) sections: [Vec<Record>; 3],
}

pub(super) const TC: u16 = 0x0200;
pub(super) const OPT: u16 = 41;

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take(&mut self, len: usize) -> Option<&[u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(len)?)?;
        self.at += len;
        Some(taken)
    }

    fn short(&mut self) -> Option<u16> {
        self.take(2).map(|b| u16::from(b[0]) << 8 | u16::from(b[1]))
    }

    fn long(&mut self) -> Option<u32> {
        Some(u32::from(self.short()?) << 16 | u32::from(self.short()?))
    }

    /// Skips a name; pointers are not followed, and a question has none.
    fn name(&mut self, may_point: bool) -> Option<()> {
        loop {
            match self.take(1)?[0] {
                0 => return Some(()),
                len @ 1..=63 => _ = self.take(usize::from(len))?,
                192.. if may_point => return self.take(1).map(|_| ()),
                64.. => return None,
            }
        }
    }

    fn record(&mut self) -> Option<Record> {
        let start = self.at;
        self.name(true)?;
        let at_root = self.at == start + 1;
        let (kind, class, ttl) = (self.short()?, self.short()?, self.long()?);
        let len = usize::from(self.short()?);
        Some(Record { at_root, kind, class, ttl, data: self.take(len)?.to_vec() })
    }
}

impl Shape {
    /// Parses a message. `None` if it is truncated, has trailing bytes, or more than one question.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader { bytes, at: 0 };
        let (id, flags, questions) = (reader.short()?, reader.short()?, reader.short()?);
        let counts = [reader.short()?, reader.short()?, reader.short()?];
        let start = reader.at;
        match questions {
            0 => {}
            1 => {
                reader.name(false)?;
                reader.take(4)?;
            }
            _ => return None,
        }
        let question = bytes[start..reader.at].to_vec();
        let mut sections = [Vec::new(), Vec::new(), Vec::new()];
        for (section, count) in sections.iter_mut().zip(counts) {
            for _ in 0..count {
                section.push(reader.record()?);
            }
        }
        (reader.at == bytes.len()).then_some(Self { id, flags, question, sections })
    }

    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        self.sections.iter().flatten()
    }

    /// The OPT records.
    pub(super) fn opts(&self) -> impl Iterator<Item = &Record> {
        self.records().filter(|record| record.kind == OPT)
    }

    /// The low bits of the response code.
    pub(super) fn rcode(&self) -> u16 {
        self.flags & 15
    }

    /// The queried type.
    pub(super) fn kind(&self) -> Option<u16> {
        let tail = self.question.last_chunk::<4>()?;
        Some(u16::from(tail[0]) << 8 | u16::from(tail[1]))
    }
}

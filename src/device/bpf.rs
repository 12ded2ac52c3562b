//! bpf(2): maps and programs. The C structures are those of `linux/bpf.h`.
//!
//! Implemented here because no crate wraps it: `nix` and `rustix` lack bpf(2), and the BPF crates load ELF objects.

pub(super) mod asm;
mod packet;

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

const MAP_CREATE: libc::c_int = 0;
const MAP_LOOKUP: libc::c_int = 1;
const MAP_UPDATE: libc::c_int = 2;
const MAP_DELETE: libc::c_int = 3;
const PROG_LOAD: libc::c_int = 5;

const SOCKET_FILTER: u32 = 1;
const NO_PREALLOC: u32 = 1;

/// Type of a map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Any key.
    Hash,
    /// The same, taking memory only for existing entries.
    SparseHash,
    /// Index from 0.
    Array,
    /// Longest prefix match.
    Lpm,
}

/// A map in the kernel. It stays writable after the process drops its capabilities.
#[derive(Debug)]
pub(super) struct Map {
    fd: OwnedFd,
    key: usize,
    value: usize,
}

#[repr(C)]
#[derive(Default)]
struct CreateAttr {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
}

#[repr(C)]
struct ElementAttr {
    map_fd: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

/// Calls bpf(2).
///
/// # Safety
/// `attr` must be the structure that `command` expects, and its addresses valid for the command's
/// accesses.
#[expect(unsafe_code, reason = "neither std nor libc has bpf(2)")]
unsafe fn bpf<T>(command: libc::c_int, attr: &mut T) -> io::Result<libc::c_int> {
    // SAFETY: the caller guarantees the content; the size is that of the structure.
    let done = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>()) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(done as libc::c_int) }
}

fn address<T: ?Sized>(of: &T) -> u64 {
    std::ptr::from_ref(of).cast::<u8>().addr() as u64
}

impl Map {
    /// Creates a map for `entries` entries; `key` and `value` are lengths in bytes.
    pub(super) fn new(kind: Kind, key: usize, value: usize, entries: usize) -> io::Result<Self> {
        let (map_type, map_flags) = match kind {
            Kind::Hash => (1, 0),
            Kind::SparseHash => (1, NO_PREALLOC),
            Kind::Array => (2, 0),
            Kind::Lpm => (11, NO_PREALLOC),
        };
        let mut attr = CreateAttr {
            map_type,
            key_size: key as u32,
            value_size: value as u32,
            max_entries: u32::try_from(entries.max(1)).map_err(|_| io::ErrorKind::InvalidInput)?,
            map_flags,
        };
        #[expect(unsafe_code, reason = "see `bpf`")]
        // SAFETY: MAP_CREATE expects this structure, without addresses; the descriptor is new.
        let fd = unsafe { OwnedFd::from_raw_fd(bpf(MAP_CREATE, &mut attr)?) };
        Ok(Self { fd, key, value })
    }

    pub(super) fn raw(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Reads the value of an entry.
    ///
    /// # Panics
    /// If the length of key or value is not that of the map.
    pub(super) fn get(&self, key: &[u8], value: &mut [u8]) -> io::Result<()> {
        assert_eq!((key.len(), value.len()), (self.key, self.value), "the map's lengths");
        self.element(MAP_LOOKUP, key, std::ptr::from_mut(value).cast::<u8>().addr() as u64)
    }

    /// Adds or replaces an entry.
    ///
    /// # Panics
    /// If the length of key or value is not that of the map.
    pub(super) fn set(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        assert_eq!((key.len(), value.len()), (self.key, self.value), "the map's lengths");
        self.element(MAP_UPDATE, key, address(value))
    }

    /// Removes an entry if it exists.
    ///
    /// # Panics
    /// If the length of the key is not that of the map.
    pub(super) fn remove(&self, key: &[u8]) -> io::Result<()> {
        assert_eq!(key.len(), self.key, "the map's length");
        match self.element(MAP_DELETE, key, 0) {
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            done => done,
        }
    }

    fn element(&self, command: libc::c_int, key: &[u8], value: u64) -> io::Result<()> {
        let map_fd = self.raw().unsigned_abs();
        let mut attr = ElementAttr { map_fd, pad: 0, key: address(key), value, flags: 0 };
        #[expect(unsafe_code, reason = "see `bpf`")]
        // SAFETY: the commands expect this structure. The kernel reads the key, and reads or writes the value, with
        // the map's lengths, which the callers have checked.
        unsafe { bpf(command, &mut attr) }.map(drop)
    }
}

/// Loads a socket filter. The error contains the end of the verifier's log.
pub(super) fn load(instructions: &[u64]) -> io::Result<OwnedFd> {
    let attempt = |log: &mut [u8]| {
        let mut attr = LoadAttr {
            prog_type: SOCKET_FILTER,
            insn_cnt: instructions.len() as u32,
            insns: address(instructions),
            license: address(c"Dual MIT/GPL".to_bytes_with_nul()),
            log_level: u32::from(!log.is_empty()),
            log_size: log.len() as u32,
            log_buf: if log.is_empty() { 0 } else { address(log) },
            kern_version: 0,
            prog_flags: 0,
        };
        #[expect(unsafe_code, reason = "see `bpf`")]
        // SAFETY: PROG_LOAD expects this structure. Instructions and licence are valid for their length
        // and terminator, the log is writable for `log_size` bytes; the descriptor is new.
        unsafe {
            bpf(PROG_LOAD, &mut attr).map(|fd| OwnedFd::from_raw_fd(fd))
        }
    };
    attempt(&mut []).or_else(|error| {
        if error.kind() == io::ErrorKind::PermissionDenied && error.raw_os_error() == Some(libc::EPERM) {
            return Err(error);
        }
        // Repeat with a log.
        let mut log = vec![0; 64 << 10];
        attempt(&mut log).map_err(|error| {
            let text = log.split(|&b| b == 0).next().unwrap_or_default();
            let last = String::from_utf8_lossy(text);
            let last = last.trim_end().lines().rev().take(3).collect::<Vec<_>>().join("; ");
            io::Error::new(error.kind(), format!("{error}: {last}"))
        })
    })
}

/// Runs a program on one packet and returns its result.
#[cfg(test)]
pub(super) fn test_run(program: &OwnedFd, packet: &[u8]) -> io::Result<u32> {
    #[repr(C)]
    #[derive(Default)]
    struct TestAttr {
        prog_fd: u32,
        retval: u32,
        data_size_in: u32,
        data_size_out: u32,
        data_in: u64,
        data_out: u64,
        repeat: u32,
        duration: u32,
    }
    // The kernel expects an Ethernet frame; a socket filter sees the packet after its header.
    let ethertype = if packet[0] >> 4 == 4 { [8, 0] } else { [0x86, 0xdd] };
    let frame = [[2; 12].as_slice(), &ethertype, packet].concat();
    let mut attr = TestAttr {
        prog_fd: program.as_raw_fd().unsigned_abs(),
        data_size_in: frame.len() as u32,
        data_in: address(frame.as_slice()),
        repeat: 1,
        ..TestAttr::default()
    };
    #[expect(unsafe_code, reason = "see `bpf`")]
    // SAFETY: PROG_TEST_RUN expects this structure; it reads `data_size_in` bytes and writes none.
    unsafe { bpf(10, &mut attr) }?;
    Ok(attr.retval)
}

//! The TUN interface: one queue per worker.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::time::Duration;

use tun::AbstractDevice;

use super::join::{Group, Joiner};
use super::layout::Layout;
use super::vnet::{self, HEADER};
use super::{BATCH_BYTES, Device, Offloads, QUEUE_LEN, Tallies, Waker, overload, sys};
use crate::wire::buf::{MAX_PACKET, PacketBuf, Segmentation};
use crate::wire::{ipv4, ipv6};
use crate::xlat::Cuts;

const NODE: &str = "/dev/net/tun";
/// Buffer for the headers of a joined super-packet: at most 40 bytes of IP and 60 of TCP.
const MAX_HEADERS: usize = 128;
/// Maximum number of buffers in a write: vnet header, packet headers, and a payload per packet.
const MAX_BUFFERS: usize = 2 + super::join::MAX_PACKETS;

/// Settings of the interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Settings {
    /// Name, at most 15 bytes; the kernel replaces `%d` by the first free number.
    pub(crate) name: String,
    /// Number of queues, at least 1.
    pub(crate) queues: u8,
    /// MTU in bytes.
    pub(crate) mtu: u16,
    /// Whether to use the kernel's offloads as far as it has them. Without them there are no
    /// super-packets.
    pub(crate) offloads: bool,
}

/// Why the interface could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The device node cannot be opened.
    #[error("{NODE}: {0}")]
    Node(#[source] io::Error),
    /// The interface exists already.
    #[error(
        "interface {name} exists already: another gateway or another program uses it; stop that program, or \
         write another name for `device` in [host]"
    )]
    Exists {
        /// The interface.
        name: String,
    },
    /// The interface cannot be created, or its queue cannot be attached.
    #[error("interface {name}, queue {queue}: {source}")]
    Attach {
        /// The interface.
        name: String,
        /// The queue's number, from 0.
        queue: u8,
        /// The kernel's error.
        source: io::Error,
    },
    /// The interface cannot be configured.
    #[error("interface {name}: {what}: {source}")]
    Configure {
        /// The interface.
        name: String,
        /// The failed step.
        what: &'static str,
        /// The kernel's error.
        source: io::Error,
    },
}

/// The interface. The kernel deletes it when this and all queues are dropped.
pub(crate) struct Interface {
    name: String,
    index: u32,
    is_adopted: bool,
    offloads: Offloads,
    #[expect(dead_code, reason = "keeps its descriptor open")]
    control: tun::Device,
}

/// One queue of the interface.
pub(crate) struct Queue {
    file: File,
    offloads: Offloads,
    joiner: Joiner,
    /// Buffer for the segments of a super-packet that the kernel does not segment.
    segment: PacketBuf,
    tallies: Arc<Tallies>,
    overload: Option<overload::Control>,
}

/// Creates the interface with non-blocking queues, sets its MTU and brings it up. It has no address
/// and no route. If an earlier process left queues of the interface, in the order of their numbers, the interface
/// keeps its addresses and routes; number of queues, MTU, offloads and queue length are set again.
///
/// # Errors
/// See [`OpenError`]. The interface is then deleted, unless it existed before.
pub(crate) fn open(settings: &Settings, stored: Vec<OwnedFd>) -> Result<(Interface, Vec<Queue>), OpenError> {
    let mut name = settings.name.clone();
    let mut files = adopt(settings, stored);
    let is_adopted = !files.is_empty();
    let existing = u8::try_from(files.len()).unwrap_or(u8::MAX);
    for queue in existing..settings.queues.max(1) {
        let (file, actual) = open_queue(&name, queue)?;
        name = actual;
        files.push(file);
    }
    let first = &files[0];
    let fail = |what| {
        let name = name.clone();
        move |source: io::Error| OpenError::Configure { name, what, source }
    };
    let offloads = enable_offloads(first.as_fd(), settings.offloads).map_err(fail("offloads"))?;
    if let Err(why) = sys::set_queue_len(&name, QUEUE_LEN) {
        // An unprivileged container may not change it; then bursts lose packets sooner.
        tracing::warn!("interface {name}: queue length {QUEUE_LEN}: {why}");
    }
    // `tun` takes ownership of the descriptor and closes it.
    let own = OwnedFd::from(first.try_clone().map_err(fail("duplicate"))?);
    let control = configure(&name, settings.mtu, own).map_err(|e| fail("configuration")(e.into()))?;
    let index = control.tun_index().map_err(|e| fail("index")(e.into()))?.unsigned_abs();
    let queues = files
        .into_iter()
        .map(|file| Queue {
            file,
            offloads,
            joiner: Joiner::default(),
            segment: PacketBuf::new(MAX_PACKET),
            tallies: Arc::default(),
            overload: None,
        })
        .collect();
    Ok((Interface { name, index, is_adopted, offloads, control }, queues))
}

/// The queues of the interface that an earlier process left, at most the wanted number. None if the interface has
/// been deleted since, or has another name.
fn adopt(settings: &Settings, stored: Vec<OwnedFd>) -> Vec<File> {
    let is_of_interface =
        |queue: &OwnedFd| sys::interface_of(queue.as_fd()).is_ok_and(|name| name == settings.name);
    if !stored.iter().all(is_of_interface) {
        return Vec::new();
    }
    let mut files: Vec<_> = stored.into_iter().map(File::from).collect();
    // The last one first: the kernel gives the number of a detached queue to the last one.
    while files.len() > usize::from(settings.queues.max(1)) {
        if let Some(extra) = files.pop() {
            // A queue that stays takes packets that nobody reads, until the service manager closes it.
            let _ = sys::detach_queue(extra.as_fd());
        }
    }
    files
}

fn open_queue(name: &str, queue: u8) -> Result<(File, String), OpenError> {
    let node = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(NODE)
        .map_err(OpenError::Node)?;
    let flags = libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR | libc::IFF_MULTI_QUEUE;
    // Otherwise a second gateway would add its queues to the interface of the first and take part of its packets.
    let exclusive = if queue == 0 { libc::IFF_TUN_EXCL } else { 0 };
    let attached = sys::attach_queue(node.as_fd(), name, flags | exclusive);
    let name = attached.map_err(|source| match source.raw_os_error() {
        Some(libc::EBUSY) if queue == 0 => OpenError::Exists { name: name.to_owned() },
        _ => OpenError::Attach { name: name.to_owned(), queue, source },
    })?;
    Ok((node, name))
}

fn configure(name: &str, mtu: u16, queue: OwnedFd) -> Result<tun::Device, tun::Error> {
    let mut config = tun::Configuration::default();
    config.tun_name(name).raw_fd(queue.into_raw_fd()).close_fd_on_drop(true).mtu(mtu).up();
    let mut control = tun::create(&config)?;
    // `create` does not configure an interface that it receives as a descriptor.
    control.configure(&config)?;
    Ok(control)
}

/// Enables the most offloads that the kernel supports: all, all but UDP segmentation (before
/// Linux 6.2), checksums only, or none.
fn enable_offloads(queue: BorrowedFd<'_>, wanted: bool) -> io::Result<Offloads> {
    let checksum = libc::TUN_F_CSUM;
    let tcp = checksum | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
    let udp = tcp | libc::TUN_F_USO4 | libc::TUN_F_USO6;
    for mask in [udp, tcp, checksum].into_iter().filter(|_| wanted) {
        if sys::set_offloads(queue, mask).is_ok() {
            return Ok(Offloads { checksum: true, tcp: mask & tcp == tcp, udp: mask == udp });
        }
    }
    sys::set_offloads(queue, 0)?;
    Ok(Offloads::default())
}

impl Interface {
    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its index in the network namespace where it was created.
    pub(crate) const fn index(&self) -> u32 {
        self.index
    }

    /// The kernel's offloads.
    pub(crate) const fn offloads(&self) -> Offloads {
        self.offloads
    }

    /// Whether an earlier process left it, with its addresses and routes.
    pub(crate) const fn is_adopted(&self) -> bool {
        self.is_adopted
    }
}

impl Queue {
    /// Lets the overload filter know how the worker keeps up.
    pub(crate) fn set_overload(&mut self, overload: overload::Control) {
        self.overload = Some(overload);
    }
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Device for Queue {
    fn recv(&mut self, packets: &mut [PacketBuf]) -> io::Result<usize> {
        let (mut filled, mut bytes, mut unreadable, mut drained) = (0, 0, 0, false);
        while let Some(slot) = packets.get_mut(filled).filter(|_| bytes < BATCH_BYTES) {
            match read(&self.file, slot) {
                Ok(true) => {
                    bytes += slot.len();
                    filled += 1;
                    let large = slot.offload.segmentation != Segmentation::None;
                    self.tallies.received_super.add(large.into());
                }
                Ok(false) => unreadable += 1,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock || filled > 0 => {
                    drained = true;
                    break;
                }
                Err(e) => return Err(e),
            }
        }
        self.tallies.received.add(filled as u64);
        self.tallies.unreadable.add(unreadable);
        if let Some(overload) = &mut self.overload {
            let full = filled == packets.len();
            overload.after_read(overload::Read {
                packets: filled as u64 + unreadable,
                bytes: bytes as u64,
                full,
                drained,
            });
        }
        Ok(filled)
    }

    fn send(&mut self, packets: &[&PacketBuf]) -> usize {
        self.joiner.group(packets, self.offloads);
        let mut refused = 0;
        for group in self.joiner.groups() {
            let joined = group.packets > 1 && write_joined(&self.file, group, &self.joiner, packets).is_ok();
            self.tallies.writes.add(1);
            if joined {
                self.tallies.joined.add(group.packets.into());
                continue;
            }
            for index in self.joiner.members(group) {
                let sent = write(&self.file, packets[index]).or_else(|error| {
                    let sent = write_segments(&self.file, packets[index], &mut self.segment, error);
                    self.tallies.segmented_in_software.add(sent.is_ok().into());
                    sent
                });
                refused += usize::from(sent.is_err());
            }
        }
        self.tallies.sent.add((packets.len() - refused) as u64);
        self.tallies.refused.add(refused as u64);
        refused
    }

    fn wait(&mut self, waker: &Waker, timeout: Option<Duration>) -> io::Result<()> {
        waker.sleep(Some(self.file.as_fd()), timeout)
    }

    fn filtered(&mut self) -> u64 {
        self.overload.as_mut().map_or(0, overload::Control::refused)
    }

    fn offloads(&self) -> Offloads {
        self.offloads
    }

    fn tallies(&self) -> &Arc<Tallies> {
        &self.tallies
    }
}

/// Reads one packet. Returns false if it is malformed and must be dropped.
fn read(mut file: &File, slot: &mut PacketBuf) -> io::Result<bool> {
    slot.clear();
    let mut header = [0; HEADER];
    let n = file.read_vectored(&mut [IoSliceMut::new(&mut header), IoSliceMut::new(slot.spare_mut())])?;
    let Some(len) = n.checked_sub(HEADER) else { return Ok(false) };
    slot.set_len(len);
    Ok(vnet::decode(&header, slot).is_ok())
}

fn write(file: &File, packet: &PacketBuf) -> io::Result<()> {
    let header = vnet::encode(packet.bytes(), packet.offload).ok_or(ErrorKind::InvalidInput)?;
    write_vectored(file, &[IoSlice::new(&header), IoSlice::new(packet.bytes())])
}

/// Segments a super-packet that the kernel refused with `error`, and writes the segments. Fails with
/// `error` if segmentation does not help, for example if the interface is down.
fn write_segments(
    file: &File,
    packet: &PacketBuf,
    segment: &mut PacketBuf,
    error: io::Error,
) -> io::Result<()> {
    let plain = Layout::of(packet.bytes())
        .is_some_and(|layout| layout.transport_at == if layout.v6 { ipv6::HEADER } else { ipv4::HEADER });
    let cuts = Cuts::of(packet.bytes(), &packet.offload).filter(|_| plain);
    let refused = matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EIO | libc::EMSGSIZE));
    let Some(cuts) = cuts.filter(|_| refused) else { return Err(error) };
    for index in 0..cuts.count() {
        cuts.write(packet.bytes(), index, segment);
        write(file, segment)?;
    }
    Ok(())
}

/// Writes a group as one super-packet: new headers, and the payloads from their buffers.
fn write_joined(file: &File, group: &Group, joiner: &Joiner, packets: &[&PacketBuf]) -> io::Result<()> {
    let layout = group.layout.ok_or(ErrorKind::InvalidInput)?;
    let mut buffer = [0; MAX_HEADERS];
    let head = &mut buffer[..layout.payload_at];
    head.copy_from_slice(&packets[usize::from(group.first)].bytes()[..layout.payload_at]);
    let offload = group.write_head(layout, head);
    let payload = group.payload as usize;
    let header = vnet::for_layout(layout, payload, offload).ok_or(ErrorKind::InvalidInput)?;
    let mut buffers = [IoSlice::new(&[]); MAX_BUFFERS];
    buffers[0] = IoSlice::new(&header);
    buffers[1] = IoSlice::new(head);
    let mut used = 2;
    for index in joiner.members(group) {
        buffers[used] = IoSlice::new(&packets[index].bytes()[layout.payload_at..]);
        used += 1;
    }
    write_vectored(file, &buffers[..used])
}

fn write_vectored(mut file: &File, buffers: &[IoSlice<'_>]) -> io::Result<()> {
    loop {
        match file.write_vectored(buffers) {
            // A TUN never writes a packet partially.
            Ok(_) => return Ok(()),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

#[cfg(test)]
mod tests;

//! The kernel's TUN: one interface, a queue for each worker.

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
use super::{BATCH_BYTES, Device, Offloads, Tallies, Waker, sys};
use crate::wire::buf::{MAX_PACKET, PacketBuf, Segmentation};
use crate::xlat::Cuts;

const NODE: &str = "/dev/net/tun";
/// Packets that may wait in a queue: a burst that comes while its worker translates a batch. The
/// kernel drops silently what finds no room.
const QUEUE_LEN: u16 = 8192;
/// The longest IP and TCP header together that are joined: 40 + 60.
const LONGEST_HEAD: usize = 128;
/// Pieces of the longest write: both headers, and a payload for each packet.
const PIECES: usize = 2 + super::join::MOST;

/// What the interface is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Its name, at most 15 bytes; a `%d` becomes the first free number.
    pub name: String,
    /// How many queues, at least 1.
    pub queues: u8,
    /// Its MTU in bytes.
    pub mtu: u16,
    /// Whether to take the kernel's offloads as far as it has them. Without, every packet comes
    /// and goes alone.
    pub offloads: bool,
}

/// Why there is no interface.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The device node cannot be opened.
    #[error("{NODE}: {0}")]
    Node(#[source] io::Error),
    /// The interface cannot be made, or its queue not attached.
    #[error("interface {name}, queue {queue}: {source}")]
    Attach {
        /// The interface.
        name: String,
        /// The queue's number, from 0.
        queue: u8,
        /// What the kernel said.
        source: io::Error,
    },
    /// The interface cannot be configured.
    #[error("interface {name}: {what}: {source}")]
    Configure {
        /// The interface.
        name: String,
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// The interface. It exists as long as this or one of its queues does.
pub struct Interface {
    name: String,
    index: u32,
    offloads: Offloads,
    control: tun::Device,
}

/// One queue of the interface.
pub struct Queue {
    file: File,
    offloads: Offloads,
    joiner: Joiner,
    /// Where the pieces of a super-packet are made that the kernel does not cut.
    piece: PacketBuf,
    tallies: Arc<Tallies>,
}

/// Makes the interface, its queues non-blocking, and brings it up with its MTU. It has no address
/// and no route.
///
/// # Errors
/// See [`OpenError`]; then nothing is left behind.
pub fn open(settings: &Settings) -> Result<(Interface, Vec<Queue>), OpenError> {
    let mut name = settings.name.clone();
    let mut files = Vec::new();
    for queue in 0..settings.queues.max(1) {
        let (file, given) = open_queue(&name, queue)?;
        name = given;
        files.push(file);
    }
    let first = &files[0];
    let fail = |what| {
        let name = name.clone();
        move |source: io::Error| OpenError::Configure { name, what, source }
    };
    let offloads = take_offloads(first.as_fd(), settings.offloads).map_err(fail("offloads"))?;
    sys::set_queue_len(&name, QUEUE_LEN).map_err(fail("queue length"))?;
    // `tun` closes what it is given: a descriptor of its own.
    let own = OwnedFd::from(first.try_clone().map_err(fail("duplicate"))?);
    let control = configure(&name, settings.mtu, own).map_err(|e| fail("configuration")(e.into()))?;
    let index = control.tun_index().map_err(|e| fail("index")(e.into()))?.unsigned_abs();
    let queues = files
        .into_iter()
        .map(|file| Queue {
            file,
            offloads,
            joiner: Joiner::default(),
            piece: PacketBuf::new(MAX_PACKET),
            tallies: Arc::default(),
        })
        .collect();
    Ok((Interface { name, index, offloads, control }, queues))
}

fn open_queue(name: &str, queue: u8) -> Result<(File, String), OpenError> {
    let node = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(NODE)
        .map_err(OpenError::Node)?;
    let flags = libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR | libc::IFF_MULTI_QUEUE;
    let name = sys::attach_queue(node.as_fd(), name, flags).map_err(|source| OpenError::Attach {
        name: name.to_owned(),
        queue,
        source,
    })?;
    Ok((node, name))
}

fn configure(name: &str, mtu: u16, queue: OwnedFd) -> Result<tun::Device, tun::Error> {
    let mut config = tun::Configuration::default();
    config.tun_name(name).raw_fd(queue.into_raw_fd()).close_fd_on_drop(true).mtu(mtu).up();
    let mut control = tun::create(&config)?;
    // With a descriptor given, `create` configures nothing.
    control.configure(&config)?;
    Ok(control)
}

/// Takes as much as the kernel has: everything, without UDP super-packets (before Linux 6.2),
/// without super-packets, nothing. Always set: the interface may remember another's choice.
fn take_offloads(queue: BorrowedFd<'_>, wanted: bool) -> io::Result<Offloads> {
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
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its index in the network namespace it was made in.
    pub const fn index(&self) -> u32 {
        self.index
    }

    /// What the kernel takes off us.
    pub const fn offloads(&self) -> Offloads {
        self.offloads
    }

    /// Changes its MTU, in bytes.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_mtu(&mut self, mtu: u16) -> io::Result<()> {
        self.control.set_mtu(mtu).map_err(io::Error::from)
    }
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Device for Queue {
    fn recv(&mut self, packets: &mut [PacketBuf]) -> io::Result<usize> {
        let (mut filled, mut bytes) = (0, 0);
        while let Some(slot) = packets.get_mut(filled).filter(|_| bytes < BATCH_BYTES) {
            match read(&self.file, slot) {
                Ok(true) => {
                    bytes += slot.len();
                    filled += 1;
                    let large = slot.offload.segmentation != Segmentation::None;
                    self.tallies.received_super.add(large.into());
                }
                Ok(false) => self.tallies.unreadable.add(1),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock || filled > 0 => break,
                Err(e) => return Err(e),
            }
        }
        self.tallies.received.add(filled as u64);
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
            for place in self.joiner.members(group) {
                let sent = write(&self.file, packets[place]).or_else(|error| {
                    let sent = write_cut(&self.file, packets[place], &mut self.piece, error);
                    self.tallies.cut.add(sent.is_ok().into());
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

    fn offloads(&self) -> Offloads {
        self.offloads
    }

    fn tallies(&self) -> &Arc<Tallies> {
        &self.tallies
    }
}

/// Reads one packet; false if it is of no use.
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
    write_pieces(file, &[IoSlice::new(&header), IoSlice::new(packet.bytes())])
}

/// Writes a super-packet that the kernel refused with `error` piece by piece. An interface that is
/// down refuses the pieces as well.
fn write_cut(file: &File, packet: &PacketBuf, piece: &mut PacketBuf, error: io::Error) -> io::Result<()> {
    let plain = Layout::of(packet.bytes())
        .is_some_and(|layout| layout.transport_at == if layout.v6 { 40 } else { 20 });
    let cuts = Cuts::of(packet.bytes(), &packet.offload).filter(|_| plain);
    let refused = matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EIO | libc::EMSGSIZE));
    let Some(cuts) = cuts.filter(|_| refused) else { return Err(error) };
    for index in 0..cuts.count() {
        cuts.write(packet.bytes(), index, piece);
        write(file, piece)?;
    }
    Ok(())
}

/// Writes a group as one super-packet: a new head, and the payloads from where they lie.
fn write_joined(file: &File, group: &Group, joiner: &Joiner, packets: &[&PacketBuf]) -> io::Result<()> {
    let layout = group.layout.ok_or(ErrorKind::InvalidInput)?;
    let mut space = [0; LONGEST_HEAD];
    let head = &mut space[..layout.payload_at];
    head.copy_from_slice(&packets[usize::from(group.first)].bytes()[..layout.payload_at]);
    let offload = group.write_head(layout, head);
    let payload = group.payload as usize;
    let header = vnet::for_layout(layout, payload, offload).ok_or(ErrorKind::InvalidInput)?;
    let mut pieces = [IoSlice::new(&[]); PIECES];
    pieces[0] = IoSlice::new(&header);
    pieces[1] = IoSlice::new(head);
    let mut used = 2;
    for place in joiner.members(group) {
        pieces[used] = IoSlice::new(&packets[place].bytes()[layout.payload_at..]);
        used += 1;
    }
    write_pieces(file, &pieces[..used])
}

fn write_pieces(mut file: &File, pieces: &[IoSlice<'_>]) -> io::Result<()> {
    loop {
        match file.write_vectored(pieces) {
            // The kernel takes a packet whole or not at all.
            Ok(_) => return Ok(()),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

#[cfg(test)]
mod tests;

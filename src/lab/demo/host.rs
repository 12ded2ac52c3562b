//! A simulated host: smoltcp's IP stack on a device that consists of two queues.

use std::collections::VecDeque;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Checksum, ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::{icmp, tcp, udp};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};

use crate::lab::LabError;

/// Send and receive buffer of a TCP socket, in bytes.
const BUFFER: usize = 256 << 10;

/// A device that consists of two queues.
struct Wire {
    mtu: usize,
    inward: VecDeque<Vec<u8>>,
    outward: VecDeque<Vec<u8>>,
}

/// A host with one address and a default route.
pub(super) struct Host {
    wire: Wire,
    interface: Interface,
    sockets: SocketSet<'static>,
}

struct Received(Vec<u8>);
struct Sending<'a>(&'a mut VecDeque<Vec<u8>>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

impl TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let mut packet = vec![0; len];
        let result = write(&mut packet);
        self.0.push_back(packet);
        result
    }
}

impl Device for Wire {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(Received, Sending<'_>)> {
        let packet = self.inward.pop_front()?;
        Some((Received(packet), Sending(&mut self.outward)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Sending<'_>> {
        Some(Sending(&mut self.outward))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu;
        // Checksums are computed and verified, so that the demonstration detects a wrong one.
        let mut checksum = ChecksumCapabilities::default();
        checksum.tcp = Checksum::Both;
        checksum.udp = Checksum::Both;
        capabilities.checksum = checksum;
        capabilities
    }
}

impl Host {
    /// A host with one address and a default route. `seed` seeds its random numbers.
    ///
    /// # Errors
    /// If the IP stack refuses the address or the route.
    pub(super) fn new(address: IpAddress, seed: u64) -> Result<Self, LabError> {
        let mut wire = Wire { mtu: 1500, inward: VecDeque::new(), outward: VecDeque::new() };
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut wire, Instant::ZERO);
        let full = || LabError::DemoFailed("the host's IP stack refuses its address or route".to_owned());
        let mut accepted = true;
        let len = if matches!(address, IpAddress::Ipv4(_)) { 32 } else { 128 };
        interface.update_ip_addrs(|list| accepted = list.push(IpCidr::new(address, len)).is_ok());
        let route = match address {
            // A point-to-point link ignores the next hop.
            IpAddress::Ipv4(own) => interface.routes_mut().add_default_ipv4_route(own).is_ok(),
            IpAddress::Ipv6(own) => interface.routes_mut().add_default_ipv6_route(own).is_ok(),
        };
        if !accepted || !route {
            return Err(full());
        }
        Ok(Self { wire, interface, sockets: SocketSet::new(Vec::new()) })
    }

    /// Processes received packets and sends pending ones.
    pub(super) fn poll(&mut self, now: Instant) {
        self.interface.poll(now, &mut self.wire, &mut self.sockets);
    }

    /// When to poll again if no packet arrives.
    pub(super) fn poll_at(&mut self, now: Instant) -> Option<Instant> {
        self.interface.poll_at(now, &self.sockets)
    }

    /// The next packet that the host sent.
    pub(super) fn sent(&mut self) -> Option<Vec<u8>> {
        self.wire.outward.pop_front()
    }

    /// Delivers a packet to the host.
    pub(super) fn arrive(&mut self, packet: Vec<u8>) {
        self.wire.inward.push_back(packet);
    }

    /// A new TCP socket.
    pub(super) fn tcp(&mut self) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; BUFFER]);
        self.sockets.add(tcp::Socket::new(buffer(), buffer()))
    }

    /// A new UDP socket, bound to `port`.
    ///
    /// # Errors
    /// If the stack refuses the port.
    pub(super) fn udp(&mut self, port: u16) -> Result<SocketHandle, LabError> {
        let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 8], vec![0; 16 << 10]);
        let mut socket = udp::Socket::new(buffer(), buffer());
        socket.bind(port).map_err(|e| LabError::DemoFailed(format!("UDP port {port}: {e}")))?;
        Ok(self.sockets.add(socket))
    }

    /// A new ICMP socket for echoes with this identifier.
    ///
    /// # Errors
    /// If the stack refuses the identifier.
    pub(super) fn icmp(&mut self, identifier: u16) -> Result<SocketHandle, LabError> {
        let buffer = || icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 8], vec![0; 4096]);
        let mut socket = icmp::Socket::new(buffer(), buffer());
        socket
            .bind(icmp::Endpoint::Ident(identifier))
            .map_err(|e| LabError::DemoFailed(format!("ICMP identifier {identifier}: {e}")))?;
        Ok(self.sockets.add(socket))
    }

    /// The TCP socket.
    pub(super) fn tcp_mut(&mut self, socket: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(socket)
    }

    /// The UDP socket.
    pub(super) fn udp_mut(&mut self, socket: SocketHandle) -> &mut udp::Socket<'static> {
        self.sockets.get_mut(socket)
    }

    /// The ICMP socket.
    pub(super) fn icmp_mut(&mut self, socket: SocketHandle) -> &mut icmp::Socket<'static> {
        self.sockets.get_mut(socket)
    }

    /// Opens a TCP connection from `port`.
    ///
    /// # Errors
    /// If the stack refuses.
    pub(super) fn connect(
        &mut self,
        socket: SocketHandle,
        to: (IpAddress, u16),
        port: u16,
    ) -> Result<(), LabError> {
        let socket: &mut tcp::Socket<'static> = self.sockets.get_mut(socket);
        socket
            .connect(self.interface.context(), to, port)
            .map_err(|e| LabError::DemoFailed(format!("connecting to {}: {e}", to.0)))
    }
}

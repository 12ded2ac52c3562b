//! A host of the simulation: smoltcp's IP stack on a device made of two queues.

use std::collections::VecDeque;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::{tcp, udp};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr, IpEndpoint};

/// Bytes of a socket's buffer, per direction.
const WINDOW: usize = 64 << 10;

#[derive(Default)]
struct Wire {
    inbound: VecDeque<Vec<u8>>,
    outbound: VecDeque<Vec<u8>>,
}

pub(super) struct Received(Vec<u8>);
pub(super) struct Sending<'a>(&'a mut VecDeque<Vec<u8>>);

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

    fn receive(&mut self, _: Instant) -> Option<(Received, Sending<'_>)> {
        let packet = self.inbound.pop_front()?;
        Some((Received(packet), Sending(&mut self.outbound)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sending<'_>> {
        Some(Sending(&mut self.outbound))
    }

    /// Computes and verifies checksums, as by default, so that a wrong one is an error.
    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = 1500;
        capabilities
    }
}

/// One end of a connection: what it sends and has received.
pub(super) struct Connection {
    socket: SocketHandle,
    outgoing: Vec<u8>,
    sent: usize,
    pub(super) received: Vec<u8>,
    closed: bool,
}

/// A host with one address and a default route to its device.
pub(super) struct Host {
    wire: Wire,
    interface: Interface,
    sockets: SocketSet<'static>,
    pub(super) connections: Vec<Connection>,
}

impl Host {
    pub(super) fn new(address: IpAddress, seed: u64) -> Self {
        let mut wire = Wire::default();
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut wire, Instant::ZERO);
        let len = if matches!(address, IpAddress::Ipv4(_)) { 32 } else { 128 };
        interface.update_ip_addrs(|list| list.push(IpCidr::new(address, len)).expect("room for one"));
        let routes = interface.routes_mut();
        match address {
            IpAddress::Ipv4(own) => routes.add_default_ipv4_route(own).map(|_| ()),
            IpAddress::Ipv6(own) => routes.add_default_ipv6_route(own).map(|_| ()),
        }
        .expect("room for one");
        Self { wire, interface, sockets: SocketSet::new(Vec::new()), connections: Vec::new() }
    }

    fn socket(&mut self) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; WINDOW]);
        self.sockets.add(tcp::Socket::new(buffer(), buffer()))
    }

    fn connection(&mut self, socket: SocketHandle, outgoing: Vec<u8>) {
        self.connections.push(Connection { socket, outgoing, sent: 0, received: Vec::new(), closed: false });
    }

    /// Connects from `from` and sends this.
    pub(super) fn connect(&mut self, from: u16, to: IpEndpoint, outgoing: Vec<u8>) {
        let socket = self.socket();
        let context = self.interface.context();
        self.sockets.get_mut::<tcp::Socket<'_>>(socket).connect(context, to, from).expect("a free socket");
        self.connection(socket, outgoing);
    }

    /// Accepts one connection and sends this on it.
    pub(super) fn listen(&mut self, port: u16, outgoing: Vec<u8>) {
        let socket = self.socket();
        self.sockets.get_mut::<tcp::Socket<'_>>(socket).listen(port).expect("a free socket");
        self.connection(socket, outgoing);
    }

    /// A UDP socket on `port`.
    pub(super) fn bind(&mut self, port: u16) -> SocketHandle {
        let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 64], vec![0; WINDOW]);
        let mut socket = udp::Socket::new(buffer(), buffer());
        socket.bind(port).expect("a free socket");
        self.sockets.add(socket)
    }

    pub(super) fn send_to(&mut self, socket: SocketHandle, to: IpEndpoint, payload: &[u8]) {
        self.sockets.get_mut::<udp::Socket<'_>>(socket).send_slice(payload, to).expect("room");
    }

    /// The next received datagram.
    pub(super) fn datagram(&mut self, socket: SocketHandle) -> Option<(Vec<u8>, IpEndpoint)> {
        let (payload, from) = self.sockets.get_mut::<udp::Socket<'_>>(socket).recv().ok()?;
        Some((payload.to_vec(), from.endpoint))
    }

    pub(super) fn arrive(&mut self, packet: Vec<u8>) {
        self.wire.inbound.push_back(packet);
    }

    /// Runs the stack and returns the packets it sent.
    pub(super) fn poll(&mut self, micros: i64) -> Vec<Vec<u8>> {
        let now = Instant::from_micros(micros);
        self.interface.poll(now, &mut self.wire, &mut self.sockets);
        for connection in &mut self.connections {
            let socket = self.sockets.get_mut::<tcp::Socket<'_>>(connection.socket);
            while socket.can_recv() {
                let received = &mut connection.received;
                socket.recv(|data| (data.len(), received.extend_from_slice(data))).expect("can receive");
            }
            if connection.sent < connection.outgoing.len() && socket.can_send() {
                connection.sent +=
                    socket.send_slice(&connection.outgoing[connection.sent..]).expect("can send");
            }
            if connection.sent == connection.outgoing.len() && socket.may_send() && !connection.closed {
                socket.close();
                connection.closed = true;
            }
        }
        self.interface.poll(now, &mut self.wire, &mut self.sockets);
        self.wire.outbound.drain(..).collect()
    }

    /// When the stack must run next without input.
    pub(super) fn poll_at(&mut self, micros: i64) -> Option<i64> {
        let at = self.interface.poll_at(Instant::from_micros(micros), &self.sockets)?;
        Some(at.total_micros())
    }
}

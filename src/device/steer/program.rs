//! The steering program: selects the queue of a packet. It makes the same decisions as
//! [`Owners`](crate::ownership::Owners); a test compares the two.

use super::maps::Maps;
use crate::addr::Proto;
use crate::device::bpf::asm::{If, Label, Op, Program, Reg, Width};

use Reg::{Fp, R0, R1, R2, R3, R6, R7, R8, R9};
use Width::{Byte, Half, Word};

// Offsets on the stack.
/// The IPv4 header: of the packet, later of the quoted packet.
const HEADER: i16 = -40;
const PROTOCOL: i16 = HEADER + 9;
const SOURCE: i16 = HEADER + 12;
const DESTINATION: i16 = HEADER + 16;
/// Key of a prefix map: length and address.
const PREFIX: i16 = -64;
const ADDRESS: i16 = PREFIX + 4;
/// Key of the map of static bindings.
const BINDING: i16 = -72;
/// The first bytes of the transport header.
const TRANSPORT: i16 = -80;

const ICMP: i32 = 1;
const TCP: i32 = 6;
const UDP: i32 = 17;

/// The program for `workers` queues.
pub(super) fn assemble(maps: &Maps, seed: u32, workers: u8) -> Vec<u64> {
    let mut writer = Writer { p: Program::default(), seed, workers };
    let malformed = writer.p.label();
    let unowned = writer.p.label();
    let v6 = writer.p.label();
    writer.p.op(Op::Mov, R6, R1);
    writer.p.op_number(Op::Mov, R7, 0);
    writer.read(0, HEADER, 20, malformed);
    writer.p.load(Byte, R1, Fp, HEADER);
    writer.p.op_number(Op::Rsh, R1, 4);
    writer.p.jump_if(If::Equal, R1, 6, v6);
    writer.p.jump_if(If::NotEqual, R1, 4, malformed);
    writer.v4(maps, unowned);
    writer.p.place(unowned);
    writer.unowned();
    writer.p.place(v6);
    writer.v6(maps, malformed);
    // Not a packet: the first worker counts and drops it.
    writer.p.place(malformed);
    writer.p.set(R0, 0);
    writer.p.exit();
    writer.p.finish()
}

/// Registers: `R6` the packet, `R7` the offset of its transport header, `R8` the [`Proto`], `R9` the
/// mapped port.
struct Writer {
    p: Program,
    seed: u32,
    workers: u8,
}

impl Writer {
    /// Reads `len` bytes at `R7 + offset` to the stack. Jumps to `short` if the packet is shorter.
    fn read(&mut self, offset: i32, to: i16, len: i32, short: Label) {
        self.p.op(Op::Mov, R2, R7);
        self.p.op_number(Op::Add, R2, offset);
        self.p.read_packet(to, len, short);
    }

    /// Adds the word on the stack, in network order, to the hash.
    fn hash_stack(&mut self, at: i16) {
        self.p.load(Word, R1, Fp, at);
        self.p.swap_to_host(R1, Word);
        self.p.hash_word();
    }

    /// Ends the program with the worker of the hash.
    fn hash_end(&mut self) {
        self.p.truncate(R0);
        self.p.op_number(Op::Mul, R0, self.workers.into());
        self.p.op_number(Op::Rsh, R0, 32);
        self.p.exit();
    }

    /// IPv6: selects by the source address, masked to its zone's host length.
    fn v6(&mut self, maps: &Maps, short: Label) {
        let unmasked = self.p.label();
        self.read(8, ADDRESS, 16, short);
        self.p.store_number(Word, Fp, PREFIX, 128);
        self.p.look_up(maps.zones.raw(), PREFIX);
        self.p.jump_if(If::Equal, R0, 0, unmasked);
        self.p.mask_address(ADDRESS);
        self.p.place(unmasked);
        self.p.begin_hash(self.seed);
        for word in [0, 4, 8, 12] {
            self.hash_stack(ADDRESS + word);
        }
        self.hash_end();
    }

    /// IPv4: selects fragments by their datagram, other packets by their mapped address and port. Jumps
    /// to `unowned` if that address is not in a pool.
    fn v4(&mut self, maps: &Maps, unowned: Label) {
        let (fragment, icmp, error, found) = (self.p.label(), self.p.label(), self.p.label(), self.p.label());
        self.p.load(Half, R1, Fp, HEADER + 6);
        self.p.swap_to_host(R1, Half);
        self.p.jump_if(If::AnyBit, R1, 0x3fff, fragment);
        self.header_end();
        self.p.load(Byte, R1, Fp, PROTOCOL);
        self.p.jump_if(If::Equal, R1, ICMP, icmp);
        self.protocol_number(unowned);
        self.port(2, 2, 0, unowned);
        self.p.jump(found);

        self.p.place(icmp);
        self.p.op_number(Op::Mov, R8, Proto::Icmp as i32);
        self.port(0, 6, 4, unowned);
        self.p.load(Byte, R1, Fp, TRANSPORT);
        self.p.jump_if(If::Equal, R1, 0, found);
        self.p.jump_if(If::Equal, R1, 8, found);
        self.p.jump(error);

        self.p.place(fragment);
        self.p.begin_hash(self.seed);
        self.hash_stack(SOURCE);
        self.hash_stack(DESTINATION);
        self.p.load(Byte, R3, Fp, PROTOCOL);
        self.p.op_number(Op::Lsh, R3, 16);
        self.p.load(Half, R1, Fp, HEADER + 4);
        self.p.swap_to_host(R1, Half);
        self.p.op(Op::Or, R1, R3);
        self.p.hash_word();
        self.hash_end();

        self.p.place(error);
        self.quoted(found, unowned);
        self.p.place(found);
        self.owner(maps, unowned);
    }

    /// The destination is not in a pool: any worker translates it without state or drops it. An ICMP
    /// error is selected by the packet that it quotes.
    fn unowned(&mut self) {
        self.p.begin_hash(self.seed);
        self.hash_stack(SOURCE);
        self.hash_stack(DESTINATION);
        self.hash_end();
    }

    /// Moves `R7` from the start of the IPv4 header on the stack to its end.
    fn header_end(&mut self) {
        self.p.load(Byte, R1, Fp, HEADER);
        self.p.op_number(Op::And, R1, 15);
        self.p.op_number(Op::Lsh, R1, 2);
        self.p.op(Op::Add, R7, R1);
    }

    /// Sets `R8` to the [`Proto`] of the IP protocol in `R1`. Jumps unless it is TCP or UDP.
    fn protocol_number(&mut self, unowned: Label) {
        let known = self.p.label();
        self.p.op_number(Op::Mov, R8, Proto::Tcp as i32);
        self.p.jump_if(If::Equal, R1, TCP, known);
        self.p.op_number(Op::Mov, R8, Proto::Udp as i32);
        self.p.jump_if(If::NotEqual, R1, UDP, unowned);
        self.p.place(known);
    }

    /// Reads `len` bytes of the transport header from offset `from`. Sets `R9` to the port at `at` in them.
    fn port(&mut self, from: i32, len: i32, at: i16, short: Label) {
        self.read(from, TRANSPORT, len, short);
        self.p.load(Half, R9, Fp, TRANSPORT + at);
        self.p.swap_to_host(R9, Half);
        // The verifier loses a register's bounds in a byte swap.
        self.p.op_number(Op::And, R9, 0xffff);
    }

    /// An ICMP error: uses source address and port of the packet that it quotes.
    fn quoted(&mut self, found: Label, unowned: Label) {
        let echo = self.p.label();
        self.p.op_number(Op::Add, R7, 8);
        self.read(0, HEADER, 20, unowned);
        self.p.load(Word, R1, Fp, SOURCE);
        self.p.store(Word, Fp, DESTINATION, R1);
        self.header_end();
        self.p.load(Byte, R1, Fp, PROTOCOL);
        self.p.jump_if(If::Equal, R1, ICMP, echo);
        self.protocol_number(unowned);
        self.port(0, 2, 0, unowned);
        self.p.jump(found);
        self.p.place(echo);
        self.p.op_number(Op::Mov, R8, Proto::Icmp as i32);
        self.port(4, 2, 0, unowned);
    }

    /// Selects the owner of a mapped address and port: static binding, else the port's range.
    fn owner(&mut self, maps: &Maps, unowned: Label) {
        let (dynamic, low) = (self.p.label(), self.p.label());
        self.p.load(Word, R1, Fp, DESTINATION);
        self.p.store(Word, Fp, BINDING, R1);
        self.p.store(Word, Fp, ADDRESS, R1);
        self.p.store(Half, Fp, BINDING + 4, R9);
        self.p.store(Half, Fp, BINDING + 6, R8);
        self.p.look_up(maps.statics.raw(), BINDING);
        self.p.jump_if(If::Equal, R0, 0, dynamic);
        self.p.load(Word, R0, R0, 0);
        self.p.exit();

        self.p.place(dynamic);
        self.p.store_number(Word, Fp, PREFIX, 32);
        self.p.look_up(maps.pools.raw(), PREFIX);
        self.p.jump_if(If::Equal, R0, 0, unowned);
        // Row = first row of the prefix + offset of the address in the prefix.
        self.p.load(Word, R1, Fp, ADDRESS);
        self.p.swap_to_host(R1, Word);
        self.p.load(Word, R2, R0, 0);
        self.p.op(Op::Sub, R1, R2);
        self.p.load(Word, R2, R0, 4);
        self.p.op(Op::Add, R1, R2);
        self.p.store(Word, Fp, PREFIX, R1);
        self.p.look_up(maps.rows.raw(), PREFIX);
        self.p.jump_if(If::Equal, R0, 0, unowned);

        // Without CAP_PERFMON the verifier accepts an addition to a pointer only if every path to it has the same
        // bounds: each branch has its own.
        self.p.jump_if(If::Less, R9, 1024, low);
        self.p.op_number(Op::Rsh, R9, 8);
        self.p.op_number(Op::Add, R9, 60);
        self.p.op(Op::Add, R0, R9);
        self.p.load(Byte, R0, R0, 0);
        self.p.exit();
        self.p.place(low);
        self.p.op_number(Op::Rsh, R9, 4);
        self.p.op(Op::Add, R0, R9);
        self.p.load(Byte, R0, R0, 0);
        self.p.exit();
    }
}

//! The steering program: which queue the kernel puts a packet on. The same decisions as in
//! [`Owners`](crate::ownership::Owners), word for word.

use super::asm::{Helper, If, Label, Op, Program, Reg, Width};
use super::maps::Maps;
use crate::addr::Proto;
use crate::ownership::MULTIPLIER;

use Reg::{Fp, R0, R1, R2, R3, R4, R5, R6, R7, R8, R9};
use Width::{Byte, Half, Word};

/// Where the stack holds the IPv4 header, first the packet's, then the quoted one.
const HEADER: i16 = -40;
const PROTOCOL: i16 = HEADER + 9;
const SOURCE: i16 = HEADER + 12;
const DESTINATION: i16 = HEADER + 16;
/// A key of a map of prefixes: a length, and an address.
const PREFIX: i16 = -64;
const ADDRESS: i16 = PREFIX + 4;
/// A key of the map of static bindings.
const PLACE: i16 = -72;
/// What was read of the transport header.
const TRANSPORT: i16 = -80;

const ICMP: i32 = 1;
const TCP: i32 = 6;
const UDP: i32 = 17;

/// The program for as many workers as queues.
pub(super) fn assemble(maps: &Maps, seed: u32, workers: u8) -> Vec<u64> {
    let mut writer = Writer { p: Program::default(), seed, workers };
    let nobody = writer.p.label();
    let stranger = writer.p.label();
    let v6 = writer.p.label();
    writer.p.op(Op::Mov, R6, R1);
    writer.p.op_number(Op::Mov, R7, 0);
    writer.read(0, HEADER, 20, nobody);
    writer.p.load(Byte, R1, Fp, HEADER);
    writer.p.op_number(Op::Rsh, R1, 4);
    writer.p.jump_if(If::Equal, R1, 6, v6);
    writer.p.jump_if(If::NotEqual, R1, 4, nobody);
    writer.v4(maps, stranger);
    writer.p.place(stranger);
    writer.stranger();
    writer.p.place(v6);
    writer.v6(maps, nobody);
    // No packet at all: the first worker will count and drop it.
    writer.p.place(nobody);
    writer.p.set(R0, 0);
    writer.p.exit();
    writer.p.finish()
}

/// `R6` holds the packet, `R7` where its transport header starts, `R8` the protocol's number,
/// `R9` the port that is ours.
struct Writer {
    p: Program,
    seed: u32,
    workers: u8,
}

impl Writer {
    /// Reads `len` bytes at `R7 + offset` to the stack, or goes to `short`.
    fn read(&mut self, offset: i32, to: i16, len: i32, short: Label) {
        self.p.op(Op::Mov, R1, R6);
        self.p.op(Op::Mov, R2, R7);
        self.p.op_number(Op::Add, R2, offset);
        self.p.op(Op::Mov, R3, Fp);
        self.p.op_number(Op::Add, R3, to.into());
        self.p.op_number(Op::Mov, R4, len);
        self.p.call(Helper::LoadBytes);
        self.p.jump_if(If::NotEqual, R0, 0, short);
    }

    /// Looks a key on the stack up; the value's address is in `R0`, or zero.
    fn look_up(&mut self, map: std::os::fd::RawFd, key: i16) {
        self.p.set_map(R1, map);
        self.p.op(Op::Mov, R2, Fp);
        self.p.op_number(Op::Add, R2, key.into());
        self.p.call(Helper::MapLookup);
    }

    fn hash_begin(&mut self) {
        self.p.set(R0, self.seed);
        self.p.set_wide(R5, MULTIPLIER);
    }

    /// Takes the word in `R1` into the hash.
    fn hash_word(&mut self) {
        self.p.op(Op::Xor, R0, R1);
        self.p.op(Op::Mul, R0, R5);
        self.p.op(Op::Mov, R2, R0);
        self.p.op_number(Op::Rsh, R2, 32);
        self.p.op(Op::Xor, R0, R2);
    }

    /// Takes the word in network order on the stack into the hash.
    fn hash_stack(&mut self, at: i16) {
        self.p.load(Word, R1, Fp, at);
        self.p.swap_to_host(R1, Word);
        self.hash_word();
    }

    /// Ends the program with the worker of the hash.
    fn hash_end(&mut self) {
        self.p.low(R0);
        self.p.op_number(Op::Mul, R0, self.workers.into());
        self.p.op_number(Op::Rsh, R0, 32);
        self.p.exit();
    }

    /// By the source, masked to its zone's host length.
    fn v6(&mut self, maps: &Maps, short: Label) {
        let unmasked = self.p.label();
        self.read(8, ADDRESS, 16, short);
        self.p.store_number(Word, Fp, PREFIX, 128);
        self.look_up(maps.zones.raw(), PREFIX);
        self.p.jump_if(If::Equal, R0, 0, unmasked);
        for word in [0, 4, 8, 12] {
            self.p.load(Word, R1, Fp, ADDRESS + word);
            self.p.load(Word, R2, R0, word);
            self.p.op(Op::And, R1, R2);
            self.p.store(Word, Fp, ADDRESS + word, R1);
        }
        self.p.place(unmasked);
        self.hash_begin();
        for word in [0, 4, 8, 12] {
            self.hash_stack(ADDRESS + word);
        }
        self.hash_end();
    }

    fn v4(&mut self, maps: &Maps, nobody: Label) {
        let (fragment, icmp, error, found) = (self.p.label(), self.p.label(), self.p.label(), self.p.label());
        self.p.load(Half, R1, Fp, HEADER + 6);
        self.p.swap_to_host(R1, Half);
        self.p.jump_if(If::AnyBit, R1, 0x3fff, fragment);
        self.header_end();
        self.p.load(Byte, R1, Fp, PROTOCOL);
        self.p.jump_if(If::Equal, R1, ICMP, icmp);
        self.protocol_number(nobody);
        self.port(2, 2, 0, nobody);
        self.p.jump(found);

        self.p.place(icmp);
        self.p.op_number(Op::Mov, R8, Proto::Icmp as i32);
        self.port(0, 6, 4, nobody);
        self.p.load(Byte, R1, Fp, TRANSPORT);
        self.p.jump_if(If::Equal, R1, 0, found);
        self.p.jump_if(If::Equal, R1, 8, found);
        self.p.jump(error);

        self.p.place(fragment);
        self.hash_begin();
        self.hash_stack(SOURCE);
        self.hash_stack(DESTINATION);
        self.p.load(Byte, R3, Fp, PROTOCOL);
        self.p.op_number(Op::Lsh, R3, 16);
        self.p.load(Half, R1, Fp, HEADER + 4);
        self.p.swap_to_host(R1, Half);
        self.p.op(Op::Or, R1, R3);
        self.hash_word();
        self.hash_end();

        self.p.place(error);
        self.quoted(found, nobody);
        self.p.place(found);
        self.owner(maps, nobody);
    }

    /// No place of ours: translated without state, by any worker, or dropped by it. An error goes by the
    /// packet that it quotes.
    fn stranger(&mut self) {
        self.hash_begin();
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

    /// `R8` = our number of the protocol in `R1`, which is TCP or UDP.
    fn protocol_number(&mut self, nobody: Label) {
        let known = self.p.label();
        self.p.op_number(Op::Mov, R8, Proto::Tcp as i32);
        self.p.jump_if(If::Equal, R1, TCP, known);
        self.p.op_number(Op::Mov, R8, Proto::Udp as i32);
        self.p.jump_if(If::NotEqual, R1, UDP, nobody);
        self.p.place(known);
    }

    /// Reads `len` bytes of the transport header from `from` on; `R9` = the port at `at` in them.
    fn port(&mut self, from: i32, len: i32, at: i16, short: Label) {
        self.read(from, TRANSPORT, len, short);
        self.p.load(Half, R9, Fp, TRANSPORT + at);
        self.p.swap_to_host(R9, Half);
        // For the verifier, which forgets a number's bounds in a swap.
        self.p.op_number(Op::And, R9, 0xffff);
    }

    /// An ICMP error: by address and port of the source of the packet that it quotes.
    fn quoted(&mut self, found: Label, nobody: Label) {
        let echo = self.p.label();
        self.p.op_number(Op::Add, R7, 8);
        self.read(0, HEADER, 20, nobody);
        self.p.load(Word, R1, Fp, SOURCE);
        self.p.store(Word, Fp, DESTINATION, R1);
        self.header_end();
        self.p.load(Byte, R1, Fp, PROTOCOL);
        self.p.jump_if(If::Equal, R1, ICMP, echo);
        self.protocol_number(nobody);
        self.port(0, 2, 0, nobody);
        self.p.jump(found);
        self.p.place(echo);
        self.p.op_number(Op::Mov, R8, Proto::Icmp as i32);
        self.port(4, 2, 0, nobody);
    }

    /// By a static binding, else by the block of the port.
    fn owner(&mut self, maps: &Maps, nobody: Label) {
        let (dynamic, low, row) = (self.p.label(), self.p.label(), self.p.label());
        self.p.load(Word, R1, Fp, DESTINATION);
        self.p.store(Word, Fp, PLACE, R1);
        self.p.store(Word, Fp, ADDRESS, R1);
        self.p.store(Half, Fp, PLACE + 4, R9);
        self.p.store(Half, Fp, PLACE + 6, R8);
        self.look_up(maps.statics.raw(), PLACE);
        self.p.jump_if(If::Equal, R0, 0, dynamic);
        self.p.load(Word, R0, R0, 0);
        self.p.exit();

        self.p.place(dynamic);
        self.p.store_number(Word, Fp, PREFIX, 32);
        self.look_up(maps.pools.raw(), PREFIX);
        self.p.jump_if(If::Equal, R0, 0, nobody);
        // The row: the prefix's first, and how far the address is into the prefix.
        self.p.load(Word, R1, Fp, ADDRESS);
        self.p.swap_to_host(R1, Word);
        self.p.load(Word, R2, R0, 0);
        self.p.op(Op::Sub, R1, R2);
        self.p.load(Word, R2, R0, 4);
        self.p.op(Op::Add, R1, R2);
        self.p.store(Word, Fp, PREFIX, R1);
        self.look_up(maps.rows.raw(), PREFIX);
        self.p.jump_if(If::Equal, R0, 0, nobody);

        self.p.jump_if(If::Less, R9, 1024, low);
        self.p.op_number(Op::Rsh, R9, 8);
        self.p.op_number(Op::Add, R9, 60);
        self.p.jump(row);
        self.p.place(low);
        self.p.op_number(Op::Rsh, R9, 4);
        self.p.place(row);
        self.p.op(Op::Add, R0, R9);
        self.p.load(Byte, R0, R0, 0);
        self.p.exit();
    }
}

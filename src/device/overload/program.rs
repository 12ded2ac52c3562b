//! The overload filter: drops packets of hosts above their share in front of the queue of a worker that is behind.
//!
//! Each share is a token bucket, stored as a virtual time: a packet passes if the virtual time is at most the depth
//! ahead of the clock, and moves it by its cost. CPUs update it without a lock, so that a share is exceeded slightly
//! where a host's packets arrive on several CPUs.

use std::mem::offset_of;
use std::os::fd::RawFd;

use super::maps::{BUCKETS, MAPPED_KEY, Maps, SIDE_BITS, Side, V4};
use super::queues::{Counts, Limits, Queues};
use crate::device::bpf::asm::{Helper, If, Label, Op, Program, Reg, Width};

use Reg::{Fp, R0, R1, R2, R3, R4, R6, R7, R8, R9};
use Width::{Byte, Double, Half, Word};

/// A packet costs one unit, and one more for each 2,048 bytes.
pub(super) const UNIT_SHIFT: i32 = 11;

// Fields of `__sk_buff`.
const PACKET_LEN: i16 = 0;
const QUEUE: i16 = 12;

// Fields of `Counts` and `Limits`.
const ACCEPTED: i16 = offset_of!(Counts, accepted) as i16;
const REFUSED: i16 = offset_of!(Counts, refused) as i16;
const UNKNOWN_TIME: i16 = offset_of!(Counts, unknown_time) as i16;
const DEADLINE: i16 = offset_of!(Limits, deadline) as i16;
const DEPTH: i16 = offset_of!(Limits, depth) as i16;
const KNOWN_COST: i16 = offset_of!(Limits, known_cost) as i16;
const UNKNOWN_COST: i16 = offset_of!(Limits, unknown_cost) as i16;

// Offsets on the stack.
/// Key of an array.
const INDEX: i16 = -8;
/// The IPv4 header.
const HEADER: i16 = -32;
/// Key of the map of zones: length and address. The address becomes that of the host.
const PREFIX: i16 = -56;
const HOST: i16 = PREFIX + 4;
/// The first bytes of the transport header.
const TRANSPORT: i16 = -64;
/// Address of the site of an unknown host.
const SITE: i16 = -80;
/// Key of the map of mapped prefixes.
const MAPPED: i16 = SITE - MAPPED_KEY as i16;
const MAPPED_ADDRESS: i16 = MAPPED + 8;

const ICMP: i32 = 1;
const TCP: i32 = 6;
const UDP: i32 = 17;

/// The program. Its result is the number of bytes to keep; 0 drops the packet.
pub(super) fn assemble(maps: &Maps, queues: &Queues, seed: u32) -> Vec<u64> {
    let mut p = Program::default();
    let [accept, refuse, pass, unknown, mapped, v6] = std::array::from_fn(|_| p.label());
    let mut writer = Writer { p, seed, accept, refuse, unknown, mapped };
    writer.queue(queues, pass);
    writer.read_at(0, HEADER, 20, accept);
    writer.p.load(Byte, R1, Fp, HEADER);
    writer.p.op_number(Op::Rsh, R1, 4);
    writer.p.jump_if(If::Equal, R1, 6, v6);
    writer.p.jump_if(If::NotEqual, R1, 4, accept);
    writer.v4(maps);
    writer.p.place(v6);
    writer.v6(maps);
    writer.p.place(unknown);
    writer.unknown(maps);
    writer.p.place(mapped);
    writer.mapped(maps);

    writer.p.place(accept);
    writer.count(ACCEPTED);
    writer.p.place(pass);
    writer.p.load(Word, R0, R6, PACKET_LEN);
    writer.p.exit();
    writer.p.place(refuse);
    writer.count(REFUSED);
    writer.p.set(R0, 0);
    writer.p.exit();
    writer.p.finish()
}

/// Registers: `R6` the packet, `R7` the counters of its queue, `R8` the time, `R9` the limits of its queue.
struct Writer {
    p: Program,
    seed: u32,
    accept: Label,
    refuse: Label,
    unknown: Label,
    mapped: Label,
}

impl Writer {
    /// Finds counters and limits of the packet's queue. Accepts the packet unless there are limits.
    fn queue(&mut self, queues: &Queues, pass: Label) {
        self.p.op(Op::Mov, R6, R1);
        self.p.load(Word, R1, R6, QUEUE);
        self.p.store(Word, Fp, INDEX, R1);
        self.p.look_up(queues.counts.raw(), INDEX);
        self.p.jump_if(If::Equal, R0, 0, pass);
        self.p.op(Op::Mov, R7, R0);
        self.p.look_up(queues.limits.raw(), INDEX);
        self.p.jump_if(If::Equal, R0, 0, pass);
        self.p.op(Op::Mov, R9, R0);
        self.p.load(Double, R1, R9, DEADLINE);
        self.p.jump_if(If::Equal, R1, 0, self.accept);
        self.p.call(Helper::Time);
        self.p.op(Op::Mov, R8, R0);
        self.p.load(Double, R1, R9, DEADLINE);
        self.p.jump_if_register(If::Less, R1, R8, self.accept);
    }

    /// Reads `len` bytes at `offset` of the packet to the stack. Jumps to `short` if the packet is shorter.
    fn read_at(&mut self, offset: i32, to: i16, len: i32, short: Label) {
        self.p.op_number(Op::Mov, R2, offset);
        self.p.read_packet(to, len, short);
    }

    /// Adds 1 to a counter of the queue.
    fn count(&mut self, counter: i16) {
        self.p.set(R1, 1);
        self.p.add_atomic(R7, counter, R1);
    }

    /// IPv6: the host is the source, masked to its zone's host length; or a mapped host.
    fn v6(&mut self, maps: &Maps) {
        let (outside, without_block) = (self.p.label(), self.p.label());
        self.read_at(8, HOST, 16, self.accept);
        self.p.store_number(Word, Fp, PREFIX, 128);
        self.p.look_up(maps.zones.raw(), PREFIX);
        self.p.jump_if(If::Equal, R0, 0, outside);
        self.p.copy_masked(HOST, SITE, 16);
        self.p.mask_address(HOST);
        self.known(maps, without_block);

        // Outside every zone, a /64 is a site.
        self.p.place(outside);
        self.copy_site(2);
        self.p.place(without_block);
        for (side, offset) in [(Side::Source6, 8), (Side::Destination6, 24)] {
            self.read_at(offset, MAPPED_ADDRESS, 16, self.accept);
            self.find_mapped(maps, side, 128);
        }
        self.p.jump(self.unknown);
    }

    /// Copies the first words of the host to the site; the others are 0.
    fn copy_site(&mut self, words: i16) {
        for word in 0..4 {
            if word < words {
                self.p.load(Word, R1, Fp, HOST + 4 * word);
                self.p.store(Word, Fp, SITE + 4 * word, R1);
            } else {
                self.p.store_number(Word, Fp, SITE + 4 * word, 0);
            }
        }
    }

    /// Jumps to `mapped` if the address on the stack is that of a mapped host.
    fn find_mapped(&mut self, maps: &Maps, side: Side, bits: u32) {
        self.p.store_number(Word, Fp, MAPPED, (SIDE_BITS + bits).cast_signed());
        self.p.store_number(Word, Fp, MAPPED + 4, side as i32);
        self.p.look_up(maps.mapped.raw(), MAPPED);
        self.p.jump_if(If::NotEqual, R0, 0, self.mapped);
    }

    /// Charges a mapped host, with its mask at `R0`.
    fn mapped(&mut self, maps: &Maps) {
        self.p.mask_address(MAPPED_ADDRESS);
        self.bucket(maps.mapped_buckets.raw(), MAPPED_ADDRESS, self.seed);
        self.p.jump_if(If::Equal, R0, 0, self.accept);
        self.charge(R0, 0, KNOWN_COST, 0);
    }

    /// IPv4: the host is that of the destination port, or a mapped host. Else the source is an unknown host.
    fn v4(&mut self, maps: &Maps) {
        let (found, icmp, other) = (self.p.label(), self.p.label(), self.p.label());
        self.p.load(Half, R1, Fp, HEADER + 6);
        self.p.swap_to_host(R1, Half);
        self.p.jump_if(If::AnyBit, R1, 0x3fff, other);
        self.p.load(Byte, R2, Fp, HEADER);
        self.p.op_number(Op::And, R2, 15);
        self.p.op_number(Op::Lsh, R2, 2);
        self.p.load(Byte, R1, Fp, HEADER + 9);
        self.p.jump_if(If::Equal, R1, ICMP, icmp);
        let transport = self.p.label();
        self.p.jump_if(If::Equal, R1, TCP, transport);
        self.p.jump_if(If::NotEqual, R1, UDP, other);
        self.p.place(transport);
        self.p.read_packet(TRANSPORT, 4, other);
        self.p.load(Byte, R1, Fp, TRANSPORT + 2);
        self.p.jump(found);

        // The identifier of an echo. Other messages have no port here: their sender is an unknown host.
        self.p.place(icmp);
        self.p.read_packet(TRANSPORT, 6, other);
        self.p.load(Byte, R2, Fp, TRANSPORT);
        self.p.load(Byte, R1, Fp, TRANSPORT + 4);
        self.p.jump_if(If::Equal, R2, 0, found);
        self.p.jump_if(If::NotEqual, R2, 8, other);

        self.p.place(found);
        self.p.store(Word, Fp, HOST + 12, R1);
        self.p.load(Word, R1, Fp, HEADER + 16);
        self.p.store(Word, Fp, HOST + 8, R1);
        self.p.store_number(Word, Fp, HOST + 4, 0);
        self.p.store_number(Word, Fp, HOST, V4);
        self.known(maps, other);

        self.p.place(other);
        for word in [4, 8, 12] {
            self.p.store_number(Word, Fp, MAPPED_ADDRESS + word, 0);
        }
        for (side, offset) in [(Side::Destination4, 16), (Side::Source4, 12)] {
            self.p.load(Word, R1, Fp, HEADER + offset);
            self.p.store(Word, Fp, MAPPED_ADDRESS, R1);
            self.find_mapped(maps, side, 32);
        }
        // The site is the source's /24.
        self.p.load(Word, R1, Fp, HEADER + 12);
        self.p.store(Word, Fp, HOST + 8, R1);
        self.p.store(Word, Fp, HOST + 4, R1);
        self.p.store_number(Byte, Fp, HOST + 7, 0);
        self.p.store_number(Word, Fp, HOST + 12, 0);
        self.p.store_number(Word, Fp, HOST, V4);
        self.copy_site(2);
        self.p.jump(self.unknown);
    }

    /// Charges a host with a port block. Jumps to `without_block` if the host has none.
    fn known(&mut self, maps: &Maps, without_block: Label) {
        self.p.look_up(maps.known.raw(), HOST);
        self.p.jump_if(If::Equal, R0, 0, without_block);
        self.charge(R0, 0, KNOWN_COST, 0);
        self.p.jump(self.accept);
    }

    /// Charges a host without port block. All such hosts together have a share, a site half of it, and a host half of
    /// its site's.
    fn unknown(&mut self, maps: &Maps) {
        // Different seeds: a host that is its own site has two buckets.
        for (at, seed, shift) in [(HOST, self.seed, 2), (SITE, !self.seed, 1)] {
            self.bucket(maps.buckets.raw(), at, seed);
            self.p.jump_if(If::Equal, R0, 0, self.accept);
            self.charge(R0, 0, UNKNOWN_COST, shift);
        }
        self.charge(R7, UNKNOWN_TIME, UNKNOWN_COST, 0);
        self.p.jump(self.accept);
    }

    /// Looks up the bucket of the address on the stack. Different addresses may share a bucket.
    fn bucket(&mut self, buckets: RawFd, at: i16, seed: u32) {
        self.p.begin_hash(seed);
        for word in 0..4 {
            self.p.load(Word, R1, Fp, at + 4 * word);
            self.p.hash_word();
        }
        self.p.op_number(Op::And, R0, BUCKETS as i32 - 1);
        self.p.store(Word, Fp, INDEX, R0);
        self.p.look_up(buckets, INDEX);
    }

    /// Charges the packet to the virtual time at `base + offset`. Refuses it if that is too far ahead. The cost
    /// of a unit is that of the queue, shifted to the left.
    fn charge(&mut self, base: Reg, offset: i16, cost: i16, shift: i32) {
        let ahead = self.p.label();
        self.p.load(Double, R1, R9, cost);
        self.p.op_number(Op::Lsh, R1, shift);
        self.p.load(Double, R2, base, offset);
        self.p.jump_if_register(If::Greater, R2, R8, ahead);
        self.p.op(Op::Mov, R2, R8);
        self.p.place(ahead);
        self.p.load(Double, R3, R9, DEPTH);
        self.p.op(Op::Add, R3, R8);
        self.p.jump_if_register(If::Greater, R2, R3, self.refuse);
        self.p.load(Word, R4, R6, PACKET_LEN);
        self.p.op_number(Op::Add, R4, 1 << UNIT_SHIFT);
        self.p.op(Op::Mul, R4, R1);
        self.p.op_number(Op::Rsh, R4, UNIT_SHIFT);
        self.p.op(Op::Add, R2, R4);
        self.p.store(Double, base, offset, R2);
    }
}

//! Pieces of programs that judge a packet: reads, lookups, and the hash of [`ownership`](crate::ownership).
//!
//! The packet is in `R6`. All pieces except masks and the hash clobber `R0` to `R5`.

use std::os::fd::RawFd;

use super::asm::{Helper, If, Label, Op, Program, Reg, Width};
use crate::ownership::MULTIPLIER;

use Reg::{Fp, R0, R1, R2, R3, R4, R5, R6};
use Width::Word;

impl Program {
    /// Reads `len` bytes at offset `R2` of the packet to the stack. Jumps to `short` if the packet is shorter.
    pub(in crate::device) fn read_packet(&mut self, to: i16, len: i32, short: Label) {
        self.op(Op::Mov, R1, R6);
        self.op(Op::Mov, R3, Fp);
        self.op_number(Op::Add, R3, to.into());
        self.op_number(Op::Mov, R4, len);
        self.call(Helper::LoadBytes);
        self.jump_if(If::NotEqual, R0, 0, short);
    }

    /// Looks up the key on the stack. `R0` is the address of the value, or 0.
    pub(in crate::device) fn look_up(&mut self, map: RawFd, key: i16) {
        self.set_map(R1, map);
        self.op(Op::Mov, R2, Fp);
        self.op_number(Op::Add, R2, key.into());
        self.call(Helper::MapLookup);
    }

    /// Masks the IPv6 address on the stack with the mask at `R0`. Clobbers `R1` and `R2`.
    pub(in crate::device) fn mask_address(&mut self, at: i16) {
        self.copy_masked(at, at, 0);
    }

    /// Copies an IPv6 address on the stack, masked with the mask at `R0 + mask`. Clobbers `R1` and `R2`.
    pub(in crate::device) fn copy_masked(&mut self, from: i16, to: i16, mask: i16) {
        for word in [0, 4, 8, 12] {
            self.load(Word, R1, Fp, from + word);
            self.load(Word, R2, R0, mask + word);
            self.op(Op::And, R1, R2);
            self.store(Word, Fp, to + word, R1);
        }
    }

    /// Begins a hash in `R0`, with its multiplier in `R5`.
    pub(in crate::device) fn begin_hash(&mut self, seed: u32) {
        self.set(R0, seed);
        self.set_wide(R5, MULTIPLIER);
    }

    /// Adds the word in `R1` to the hash. Clobbers `R2`.
    pub(in crate::device) fn hash_word(&mut self) {
        self.op(Op::Xor, R0, R1);
        self.op(Op::Mul, R0, R5);
        self.op(Op::Mov, R2, R0);
        self.op_number(Op::Rsh, R2, 32);
        self.op(Op::Xor, R0, R2);
    }
}

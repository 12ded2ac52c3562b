//! An assembler for the instructions of eBPF (RFC 9669) that the programs of this crate use.

use std::os::fd::RawFd;

/// A register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(in crate::device) enum Reg {
    /// Result of a call and of the program. Calls clobber `R0` to `R5`.
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    /// `R6` to `R9` survive calls.
    R6,
    R7,
    R8,
    R9,
    /// The end of the stack.
    Fp,
}

/// Size of a load or store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(in crate::device) enum Width {
    Word = 0x00,
    Half = 0x08,
    Byte = 0x10,
    Double = 0x18,
}

/// Arithmetic operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(in crate::device) enum Op {
    Add = 0x00,
    Sub = 0x10,
    Mul = 0x20,
    Or = 0x40,
    And = 0x50,
    Lsh = 0x60,
    Rsh = 0x70,
    Xor = 0xa0,
    Mov = 0xb0,
}

/// Jump condition; comparisons are unsigned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(in crate::device) enum If {
    Equal = 0x10,
    Greater = 0x20,
    AnyBit = 0x40,
    NotEqual = 0x50,
    Less = 0xa0,
}

/// A jump target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::device) struct Label(usize);

/// A helper function of the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub(in crate::device) enum Helper {
    /// `R1` map, `R2` key. Returns the address of the value, or 0.
    MapLookup = 1,
    /// Returns the time of CLOCK_MONOTONIC in nanoseconds.
    Time = 5,
    /// `R1` packet, `R2` offset, `R3` destination, `R4` length. Returns 0 on success.
    LoadBytes = 26,
}

const CLASS_LDX_MEM: u8 = 0x61;
const CLASS_ST_MEM: u8 = 0x62;
const CLASS_STX_MEM: u8 = 0x63;
const CLASS_STX_ATOMIC: u8 = 0xc3;
const CLASS_ALU32: u8 = 0x04;
const CLASS_JMP: u8 = 0x05;
const CLASS_ALU64: u8 = 0x07;
const FROM_REGISTER: u8 = 0x08;

/// A program under construction.
#[derive(Debug, Default)]
pub(in crate::device) struct Program {
    code: Vec<u64>,
    /// Index of the instruction at each label, once placed.
    labels: Vec<Option<usize>>,
    jumps: Vec<(usize, Label)>,
}

impl Program {
    fn push(&mut self, opcode: u8, dst: Reg, src: u8, offset: i16, number: i32) {
        let bytes = [
            [opcode, registers(dst, src)],
            offset.to_ne_bytes(),
            [number.to_ne_bytes()[0], number.to_ne_bytes()[1]],
            [number.to_ne_bytes()[2], number.to_ne_bytes()[3]],
        ];
        let mut flat = [0; 8];
        flat.copy_from_slice(bytes.as_flattened());
        self.code.push(u64::from_ne_bytes(flat));
    }

    /// A new label, to be placed later.
    pub(in crate::device) fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// Places a label at the next instruction.
    pub(in crate::device) fn place(&mut self, label: Label) {
        self.labels[label.0] = Some(self.code.len());
    }

    /// `dst = dst op src`, 64 bits wide.
    pub(in crate::device) fn op(&mut self, op: Op, dst: Reg, src: Reg) {
        self.push(CLASS_ALU64 | FROM_REGISTER | op as u8, dst, src as u8, 0, 0);
    }

    /// `dst = dst op number`, 64 bits wide, the number sign-extended.
    pub(in crate::device) fn op_number(&mut self, op: Op, dst: Reg, number: i32) {
        self.push(CLASS_ALU64 | op as u8, dst, 0, 0, number);
    }

    /// `dst = number`, zero-extended.
    pub(in crate::device) fn set(&mut self, dst: Reg, number: u32) {
        self.push(CLASS_ALU32 | Op::Mov as u8, dst, 0, 0, number.cast_signed());
    }

    /// Clears the high 32 bits of `dst`.
    pub(in crate::device) fn truncate(&mut self, dst: Reg) {
        self.push(CLASS_ALU32 | FROM_REGISTER | Op::Mov as u8, dst, dst as u8, 0, 0);
    }

    /// `dst = number`, two instructions long.
    pub(in crate::device) fn set_wide(&mut self, dst: Reg, number: u64) {
        self.push(0x18, dst, 0, 0, (number as u32).cast_signed());
        self.push(0, Reg::R0, 0, 0, ((number >> 32) as u32).cast_signed());
    }

    /// `dst = map`, two instructions long.
    pub(in crate::device) fn set_map(&mut self, dst: Reg, map: RawFd) {
        self.push(0x18, dst, 1, 0, map);
        self.push(0, Reg::R0, 0, 0, 0);
    }

    /// Converts the low 16 or 32 bits from network to host order and clears the rest.
    pub(in crate::device) fn swap_to_host(&mut self, dst: Reg, width: Width) {
        let bits = match width {
            Width::Word => 32,
            Width::Half => 16,
            Width::Byte | Width::Double => return,
        };
        self.push(0xdc, dst, 0, 0, bits);
    }

    /// `dst = *(base + offset)`, zero-extended.
    pub(in crate::device) fn load(&mut self, width: Width, dst: Reg, base: Reg, offset: i16) {
        self.push(CLASS_LDX_MEM | width as u8, dst, base as u8, offset, 0);
    }

    /// `*(base + offset) = src`.
    pub(in crate::device) fn store(&mut self, width: Width, base: Reg, offset: i16, src: Reg) {
        self.push(CLASS_STX_MEM | width as u8, base, src as u8, offset, 0);
    }

    /// `*(base + offset) += src`, 64 bits wide and atomic.
    pub(in crate::device) fn add_atomic(&mut self, base: Reg, offset: i16, src: Reg) {
        self.push(CLASS_STX_ATOMIC | Width::Double as u8, base, src as u8, offset, 0);
    }

    /// `*(base + offset) = number`.
    pub(in crate::device) fn store_number(&mut self, width: Width, base: Reg, offset: i16, number: i32) {
        self.push(CLASS_ST_MEM | width as u8, base, 0, offset, number);
    }

    /// Jumps to `to` if `condition` holds for `dst` and `number`.
    pub(in crate::device) fn jump_if(&mut self, condition: If, dst: Reg, number: i32, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.push(CLASS_JMP | condition as u8, dst, 0, 0, number);
    }

    /// Jumps to `to` if `condition` holds for `dst` and `src`.
    pub(in crate::device) fn jump_if_register(&mut self, condition: If, dst: Reg, src: Reg, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.push(CLASS_JMP | FROM_REGISTER | condition as u8, dst, src as u8, 0, 0);
    }

    /// Jumps to `to`.
    pub(in crate::device) fn jump(&mut self, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.push(CLASS_JMP, Reg::R0, 0, 0, 0);
    }

    /// Calls a helper.
    pub(in crate::device) fn call(&mut self, helper: Helper) {
        self.push(0x85, Reg::R0, 0, 0, helper as i32);
    }

    /// Ends the program; `R0` is its result.
    pub(in crate::device) fn exit(&mut self) {
        self.push(0x95, Reg::R0, 0, 0, 0);
    }

    /// Resolves the jumps and returns the instructions.
    ///
    /// # Panics
    /// If the target of a jump was not placed, or is more than 32,767 instructions away.
    pub(in crate::device) fn finish(mut self) -> Vec<u64> {
        for (at, label) in self.jumps {
            let target = self.labels[label.0].expect("every label is placed");
            let distance = i16::try_from(target as isize - at as isize - 1).expect("a short program");
            let mut bytes = self.code[at].to_ne_bytes();
            bytes[2..4].copy_from_slice(&distance.to_ne_bytes());
            self.code[at] = u64::from_ne_bytes(bytes);
        }
        self.code
    }
}

/// The byte of both registers. The kernel declares it as C bit fields, whose order follows the byte order.
const fn registers(dst: Reg, src: u8) -> u8 {
    if cfg!(target_endian = "little") { src << 4 | dst as u8 } else { (dst as u8) << 4 | src }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_is_relative_to_the_next_instruction() {
        let mut program = Program::default();
        let end = program.label();
        program.set(Reg::R0, 7);
        program.jump_if(If::Equal, Reg::R0, 7, end);
        program.set(Reg::R0, 8);
        program.place(end);
        program.exit();
        let code = program.finish();
        let bytes: Vec<[u8; 8]> = code.iter().map(|c| c.to_ne_bytes()).collect();
        assert_eq!(bytes[0][0], 0xb4);
        assert_eq!(i16::from_ne_bytes([bytes[1][2], bytes[1][3]]), 1);
        assert_eq!(i32::from_ne_bytes([bytes[1][4], bytes[1][5], bytes[1][6], bytes[1][7]]), 7);
        assert_eq!(bytes[3][0], 0x95);
    }
}

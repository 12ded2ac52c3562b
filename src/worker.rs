//! One worker: reads a batch, has it translated, sends it. The only clock on the packet path.

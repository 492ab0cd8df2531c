//! `ctrflame`: container-aware flame graphs from the host, in one command.

fn main() {}

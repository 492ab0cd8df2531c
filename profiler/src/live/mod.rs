//! The live host: perf events, `/proc` at the start, and the rings merged in time order.

pub mod gate;

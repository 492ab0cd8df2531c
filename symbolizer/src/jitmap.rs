//! perf-PID.map: what a JIT says of its code.

//! Kernel symbols: /proc/kallsyms, modules, BPF.

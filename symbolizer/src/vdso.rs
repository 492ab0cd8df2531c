//! The vdso's symbols.

//! Mangled names become readable ones, within bounds.

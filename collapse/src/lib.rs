//! Equal stacks become a tree with counts; folded text. No system, no clock, no random number.
#![forbid(unsafe_code)]

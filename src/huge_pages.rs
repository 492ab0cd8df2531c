#![allow(unsafe_code)] // a global allocator is an unsafe trait, and madvise(2) takes an address
//! Large tables in huge pages: a recording of a million stacks fills hundreds of MiB that are asked for in no
//! order, and each 4 KiB page of them would be a fault and a line of the TLB of its own.

use nix::sys::mman::{MmapAdvise, madvise};
use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::c_void;
use std::ptr::NonNull;

/// The system's allocator. The kernel is told that what is large may be of huge pages (`MADV_HUGEPAGE` of
/// madvise(2)); where `transparent_hugepage/enabled` says `never`, it is not.
pub(crate) struct HugePages;

/// Below two huge pages of most machines there may be no whole one.
const LARGE_BYTES: usize = 4 << 20;
/// The largest page of all architectures that is not a huge one: what is advised must begin at one.
const PAGE_BYTES: usize = 64 << 10;

/// Tells the kernel of a piece of memory, if it is large.
fn advise(start: *mut u8, len_bytes: usize) {
    if start.is_null() || len_bytes < LARGE_BYTES {
        return;
    }
    let before = start.align_offset(PAGE_BYTES);
    let Some(len_bytes) = len_bytes.checked_sub(before) else {
        return;
    };
    let len_bytes = len_bytes - len_bytes % PAGE_BYTES;
    if let Some(first) = NonNull::new(start.wrapping_add(before).cast::<c_void>()) {
        // SAFETY: the pages lie in a piece that was allocated just now and is not yet handed on;
        // the advice changes no byte of them.
        // Refused by a kernel without huge pages: then the pages are small.
        let _ = unsafe { madvise(first, len_bytes, MmapAdvise::MADV_HUGEPAGE) };
    }
}

// SAFETY: every call is the system allocator's, whose results are handed on as they are.
unsafe impl GlobalAlloc for HugePages {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that `System` asks for.
        let start = unsafe { System.alloc(layout) };
        advise(start, layout.size());
        start
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        let start = unsafe { System.alloc_zeroed(layout) };
        advise(start, layout.size());
        start
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: as in `alloc`; `start` came from `System`.
        unsafe { System.dealloc(start, layout) }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, len_bytes: usize) -> *mut u8 {
        // SAFETY: as in `dealloc`.
        let start = unsafe { System.realloc(start, layout, len_bytes) };
        advise(start, len_bytes);
        start
    }
}

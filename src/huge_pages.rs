#![allow(unsafe_code)] // a global allocator is an unsafe trait, and madvise(2) takes an address
//! Large tables in huge pages: a recording of a million stacks fills hundreds of MiB that are asked for in no
//! order, and each 4 KiB page of them would be a fault and a line of the TLB of its own.

use nix::sys::mman::{MmapAdvise, madvise};
use nix::unistd::{SysconfVar, sysconf};
use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system's allocator. Once they are wanted, the kernel is told that what is large may be of huge pages
/// (`MADV_HUGEPAGE` of madvise(2)); where `transparent_hugepage/enabled` says `never`, it is not.
pub(crate) struct HugePages;

/// Below two huge pages of most machines there may be no whole one.
const LARGE_BYTES: usize = 4 << 20;

/// The size of a page, once huge ones are wanted; 0 before.
static PAGE_BYTES: AtomicUsize = AtomicUsize::new(0);

/// Wants huge pages from now on. Not for a program that watches others: to make a huge page, the kernel may
/// move what they have in memory.
pub(crate) fn want() {
    let page_bytes = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    let page_bytes = page_bytes.and_then(|bytes| usize::try_from(bytes).ok());
    PAGE_BYTES.store(page_bytes.unwrap_or(0), Ordering::Relaxed);
}

/// Tells the kernel of a piece of memory, if it is large.
fn advise(start: *mut u8, len_bytes: usize) {
    let page_bytes = PAGE_BYTES.load(Ordering::Relaxed);
    if len_bytes < LARGE_BYTES || page_bytes == 0 {
        return;
    }
    // Outwards: malloc keeps a few bytes in front of a piece, and a mapping of which only a part was advised
    // would be two, which `mremap` does not move when the piece grows.
    let before = start.addr() % page_bytes;
    let len_bytes = (before + len_bytes).next_multiple_of(page_bytes);
    let first = start.wrapping_sub(before).cast::<c_void>();
    if let Some(first) = NonNull::new(first) {
        // SAFETY: every page has a byte of a piece that `System` gave, so it is mapped; the advice changes no
        // byte, whoever they belong to. Refused by a kernel without huge pages: then the pages are small.
        let _ = unsafe { madvise(first, len_bytes, MmapAdvise::MADV_HUGEPAGE) };
    }
}

// SAFETY: every call is the system allocator's, whose results are handed on as they are.
unsafe impl GlobalAlloc for HugePages {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that `System` asks for.
        let start = unsafe { System.alloc(layout) };
        advised(start, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        let start = unsafe { System.alloc_zeroed(layout) };
        advised(start, layout.size())
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: as in `alloc`; `start` came from `System`.
        unsafe { System.dealloc(start, layout) }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, len_bytes: usize) -> *mut u8 {
        // SAFETY: as in `dealloc`.
        let start = unsafe { System.realloc(start, layout, len_bytes) };
        advised(start, len_bytes)
    }
}

/// The piece, if it is one, after the kernel was told of it.
fn advised(start: *mut u8, len_bytes: usize) -> *mut u8 {
    if !start.is_null() {
        advise(start, len_bytes);
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    /// The start and end of the mapping that an address is in, and its `VmFlags` (proc_pid_smaps(5)).
    fn mapping_of(addr: usize) -> (usize, usize, String) {
        let all = fs::read_to_string("/proc/self/smaps").expect("smaps");
        let mut ends = None;
        for line in all.lines() {
            let (first, rest) = line.split_once([' ', '-']).unwrap_or((line, ""));
            if let (Ok(start), Some(end)) =
                (usize::from_str_radix(first, 16), rest.split(' ').next())
                && let Ok(end) = usize::from_str_radix(end, 16)
            {
                ends = Some((start, end)).filter(|(start, end)| (*start..*end).contains(&addr));
            }
            if let (Some((start, end)), Some(flags)) = (ends, line.strip_prefix("VmFlags:")) {
                return (start, end, flags.to_owned());
            }
        }
        panic!("no mapping at {addr:#x}");
    }

    #[test]
    fn a_large_piece_that_grows_stays_one_mapping_of_huge_pages() {
        want();
        let has_huge_pages = Path::new("/sys/kernel/mm/transparent_hugepage").exists();
        let mut bytes: Vec<u8> = Vec::new();
        for len in [8, 64, 256].map(|mib| mib << 20) {
            bytes.reserve_exact(len);
            bytes.push(1);
            let first = bytes.as_ptr().addr();
            let (start, end, flags) = mapping_of(first);
            assert!(
                start <= first && first + bytes.capacity() <= end,
                "{len}: two mappings"
            );
            assert_eq!(flags.contains(" hg"), has_huge_pages, "{len}: {flags}");
        }
        assert_eq!(bytes, [1; 3]);
    }
}

//! Where the running kernel's code lies, as a recording tells of it: so that whoever reads it can
//! tell whether the symbols at hand are of that kernel, of that boot.

use super::host;
use super::procfs::PROC;
use crate::BuildId;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// A stretch of kernel code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelMap {
    /// First address.
    pub start: u64,
    /// Length.
    pub len_bytes: u64,
    /// Address of the symbol that `path` ends in; of a module 0.
    pub offset: u64,
    /// `[kernel.kallsyms]_text`, `[module]`: as perf calls them.
    pub path: String,
    /// Its build id, where the kernel tells.
    pub build_id: Option<BuildId>,
}

/// All of them, the kernel itself first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelMaps {
    pub(crate) maps: Vec<KernelMap>,
}

impl KernelMaps {
    /// Of the running kernel; empty where it does not tell its addresses (kptr_restrict).
    pub fn of_running() -> Self {
        let proc_root = Path::new(PROC);
        let open = |name| File::open(proc_root.join(name)).map(BufReader::new);
        let mut kernel = open("kallsyms").ok().and_then(text_of);
        let mut modules = open("modules").map(modules_of).unwrap_or_default();
        let sys = Path::new("/sys");
        if let Some(kernel) = &mut kernel {
            kernel.build_id = host::kernel_build_id();
        }
        for module in &mut modules {
            let name = module.path.trim_matches(['[', ']']);
            let notes = sys.join("module").join(name).join("notes");
            let notes = std::fs::read(notes.join(".note.gnu.build-id"));
            module.build_id = notes.ok().and_then(|notes| host::build_id_in(&notes));
        }
        Self {
            maps: kernel.into_iter().chain(modules).collect(),
        }
    }
}

/// The kernel's own text, and the symbol at its start.
const KERNEL_PATH: &str = "[kernel.kallsyms]_text";

impl KernelMap {
    /// The image's name, without the symbol behind it.
    pub(crate) fn image(&self) -> &str {
        match self.path.rsplit_once(']') {
            Some((image, _)) => self.path.get(..=image.len()).unwrap_or(&self.path),
            None => &self.path,
        }
    }
}

/// The kernel's own text: from `_text` up to `_etext`. kallsyms is ascending but for what comes first.
fn text_of(mut kallsyms: impl BufRead) -> Option<KernelMap> {
    let mut start = None;
    let mut line = Vec::new();
    loop {
        line.clear();
        if kallsyms.read_until(b'\n', &mut line).ok()? == 0 {
            return None;
        }
        // Most lines are passed over by their end.
        let Some(line) = line
            .strip_suffix(b"\n")
            .filter(|line| line.ends_with(b"text"))
        else {
            continue;
        };
        let line = std::str::from_utf8(line).unwrap_or("");
        let mut fields = line.split(' ');
        let addr = fields
            .next()
            .and_then(|addr| u64::from_str_radix(addr, 16).ok())
            .filter(|addr| *addr != 0);
        match (addr, fields.nth(1), start) {
            (Some(addr), Some("_text"), None) => start = Some(addr),
            (Some(end), Some("_etext"), Some(start)) => {
                return Some(KernelMap {
                    start,
                    len_bytes: end.checked_sub(start)?,
                    offset: start,
                    path: KERNEL_PATH.into(),
                    build_id: None,
                });
            }
            _ => {}
        }
    }
}

/// `name size references users state address` (proc_modules(5)).
fn modules_of(modules: impl BufRead) -> Vec<KernelMap> {
    let module = |line: String| {
        let fields: Vec<&str> = line.split(' ').collect();
        let addr = fields.get(5)?.strip_prefix("0x")?;
        let start = u64::from_str_radix(addr, 16)
            .ok()
            .filter(|addr| *addr != 0)?;
        Some(KernelMap {
            start,
            len_bytes: fields.get(1)?.parse().ok()?,
            offset: 0,
            path: format!("[{}]", fields.first()?),
            build_id: None,
        })
    };
    let lines = modules.lines().map_while(Result::ok);
    lines.filter_map(module).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_text_goes_from_text_to_etext() {
        let kallsyms = b"0000000000000000 A fixed_percpu_data\n\
            ffffffff81000000 T _text\nffffffff81000000 T _stext\nffffffff81000100 t in_text\n\
            ffffffff82000000 T _etext\nffffffff83000000 t other_text\n";
        let expected = KernelMap {
            start: 0xffff_ffff_8100_0000,
            len_bytes: 0x100_0000,
            offset: 0xffff_ffff_8100_0000,
            path: "[kernel.kallsyms]_text".into(),
            build_id: None,
        };
        assert_eq!(text_of(&kallsyms[..]), Some(expected));
        let hidden = b"0000000000000000 T _text\n0000000000000000 T _etext\n";
        assert_eq!(text_of(&hidden[..]), None);
    }

    #[test]
    fn a_module_has_its_address_and_size() {
        let modules = b"ext4 835584 1 - Live 0xffffffffc0a00000\n\
            crc16 12288 1 ext4, Live 0x0000000000000000\n";
        let found = modules_of(&modules[..]);
        let expected = KernelMap {
            start: 0xffff_ffff_c0a0_0000,
            len_bytes: 835_584,
            offset: 0,
            path: "[ext4]".into(),
            build_id: None,
        };
        assert_eq!(found, [expected]);
    }
}

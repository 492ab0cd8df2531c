//! What differs between machines: how perf and DWARF number registers, and how a frame is left
//! without call frame information.

use object::elf;
use profiler::record;

/// DWARF registers that are followed: of aarch64 x0 to x30, sp and pc.
pub(crate) const REGISTERS: usize = 33;

/// `PERF_SAMPLE_REGS_ABI_64` (include/uapi/linux/perf_event.h).
const ABI_64: u64 = 2;

/// A machine whose stacks are unwound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Machine {
    X86_64,
    Aarch64,
}

/// Bit numbers of `sample_regs_user` by DWARF number, rax first (arch/x86/include/uapi/asm/perf_regs.h;
/// System V ABI, figure 3.36): AX BX CX DX SI DI BP SP IP … R8 to R15, and the address as 16.
const X86_64_PERF: [u32; 17] = [0, 3, 2, 1, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23, 8];

/// rbx, rbp, r12 to r15 and the return address.
const X86_64_SAVED: [u8; 7] = [3, 6, 12, 13, 14, 15, 16];
/// x19 to x28, fp and lr.
const AARCH64_SAVED: [u8; 12] = [19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30];

impl Machine {
    /// By the architecture that a recording tells (`uname -m`), else by which registers it has: only
    /// aarch64 numbers any beyond the 32nd.
    pub(crate) fn of_recording(
        arch: Option<&str>,
        registers: &record::Registers<'_>,
    ) -> Option<Self> {
        match arch {
            Some("x86_64") => Some(Self::X86_64),
            Some("aarch64" | "arm64") => Some(Self::Aarch64),
            Some(_) => None,
            None if registers.mask >> 32 != 0 => Some(Self::Aarch64),
            None => Some(Self::X86_64),
        }
    }

    /// Of the host that this runs on.
    pub(crate) fn of_this_host() -> Option<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Self::X86_64),
            "aarch64" => Some(Self::Aarch64),
            _ => None,
        }
    }

    pub(crate) fn of_image(machine: elf::Machine) -> Option<Self> {
        match machine {
            elf::EM_X86_64 => Some(Self::X86_64),
            elf::EM_AARCH64 => Some(Self::Aarch64),
            _ => None,
        }
    }

    /// The stack pointer's DWARF number.
    pub(crate) fn sp(self) -> u8 {
        match self {
            Self::X86_64 => 7,
            Self::Aarch64 => 31,
        }
    }

    /// The frame pointer's.
    pub(crate) fn fp(self) -> u8 {
        match self {
            Self::X86_64 => 6,
            Self::Aarch64 => 29,
        }
    }

    /// Of the register in which the CFI keeps the return address: x86_64 has the address itself there.
    pub(crate) fn return_address(self) -> u8 {
        match self {
            Self::X86_64 => 16,
            Self::Aarch64 => 30,
        }
    }

    /// The address of the code that runs.
    pub(crate) fn pc(self) -> u8 {
        match self {
            Self::X86_64 => 16,
            Self::Aarch64 => 32,
        }
    }

    /// Where the code was that a sample recorded, also of 32-bit code: the registers are the same.
    pub(crate) fn recorded_pc(self, recorded: &record::Registers<'_>) -> Option<u64> {
        match self {
            Self::X86_64 => recorded.get(8),
            Self::Aarch64 => recorded.get(32),
        }
    }

    /// Registers that a function keeps for its caller, and the return address.
    pub(crate) fn saved(self) -> &'static [u8] {
        match self {
            Self::X86_64 => &X86_64_SAVED,
            Self::Aarch64 => &AARCH64_SAVED,
        }
    }

    /// Whether a call leaves the return address in a register: only there may a frame end where
    /// it began.
    pub(crate) fn has_link_register(self) -> bool {
        self == Self::Aarch64
    }
}

/// The registers of one frame, by their DWARF numbers; some may not be known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registers {
    values: [u64; REGISTERS],
    known: u64,
}

impl Registers {
    pub(crate) fn none() -> Self {
        Self {
            values: [0; REGISTERS],
            known: 0,
        }
    }

    /// Those that a sample recorded; `None` without an address or a stack pointer, and of 32-bit
    /// code: its stack has other words.
    pub(crate) fn recorded(machine: Machine, recorded: &record::Registers<'_>) -> Option<Self> {
        if recorded.abi != ABI_64 {
            return None;
        }
        let mut registers = Self::none();
        match machine {
            Machine::X86_64 => {
                for (number, bit) in (0..).zip(X86_64_PERF) {
                    registers.set(number, recorded.get(bit));
                }
            }
            // The same numbers (arch/arm64/include/uapi/asm/perf_regs.h).
            Machine::Aarch64 => {
                for number in 0..REGISTERS as u8 {
                    registers.set(number, recorded.get(number.into()));
                }
            }
        }
        registers.get(machine.pc())?;
        registers.get(machine.sp())?;
        Some(registers)
    }

    pub(crate) fn get(&self, number: u8) -> Option<u64> {
        let value = self.values.get(usize::from(number))?;
        (self.known >> number & 1 == 1).then_some(*value)
    }

    /// Sets or forgets a register. Others than [`REGISTERS`] are nobody's concern.
    pub(crate) fn set(&mut self, number: u8, value: Option<u64>) {
        let Some(slot) = self.values.get_mut(usize::from(number)) else {
            return;
        };
        let bit = 1 << number;
        match value {
            Some(value) => {
                *slot = value;
                self.known |= bit;
            }
            None => self.known &= !bit,
        }
    }
}

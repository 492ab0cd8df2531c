//! perf events: which attributes a recording asks for, on which kernels, and how they are opened.
//!
//! Each CPU gets two events with a ring each: one samples, one only tracks what processes do (MMAP2,
//! COMM, FORK, EXIT, NAMESPACES, CGROUP, KSYMBOL). The tracking ring wakes the reader soon, so that a
//! short-lived process is seen while it lives; the sampling ring wakes it at a watermark.

use super::config::{KernelSamples, SampledEvent, UserPart, register_mask};
use super::gate::{Attempt, NamespaceRecords, Scope, Step};
use crate::record::{Layout, sample_bits};
use perf_event_open::config::{
    CallChain, Cgroup, Clock, Cpu, ExtraRecord, Inherit, Mmap, OnExecve, Opts, Priv, Proc,
    RecordIdFormat, RegsMask, SampleFormat, SampleOn, Size, StatFormat, Target, UseBuildId, WakeUp,
    WakeUpOn,
};
use perf_event_open::count::Counter;
use perf_event_open::event::hw::Hardware;
use perf_event_open::event::sw::Software;
use std::fs::File;
use std::io;

/// What a kernel understands, newest first: an attribute that it does not know is EINVAL or E2BIG.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum KernelLevel {
    /// No KSYMBOL yet.
    Linux4_12,
    /// KSYMBOL records.
    Linux5_1,
    /// Cgroup ids on samples, CGROUP records.
    Linux5_7,
    /// Build ids in MMAP2 records.
    Linux5_12,
    /// Lost records by `read()`.
    Linux6_0,
}

impl KernelLevel {
    pub(crate) const NEWEST: Self = Self::Linux6_0;

    /// The next older level, if this one was refused.
    pub(crate) fn older(self) -> Option<Self> {
        Some(match self {
            Self::Linux6_0 => Self::Linux5_12,
            Self::Linux5_12 => Self::Linux5_7,
            Self::Linux5_7 => Self::Linux5_1,
            Self::Linux5_1 => Self::Linux4_12,
            Self::Linux4_12 => return None,
        })
    }
}

/// Which tasks an event is attached to.
#[derive(Clone, Copy)]
pub(crate) enum Attachment<'a> {
    /// Every task on the CPU.
    Cpu,
    /// The tasks of a cgroup (its directory) and below.
    Cgroup(&'a File),
    /// A task and what it starts from now on.
    Task(u32),
    /// A task that waits before its exec, and what it starts from then on.
    TaskFromExec(u32),
}

/// What every event of a recording has in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) level: KernelLevel,
    pub(crate) event: SampledEvent,
    pub(crate) rate_hz: u64,
    pub(crate) kernel: KernelSamples,
    pub(crate) user: UserPart,
    /// NAMESPACES records need privilege (`perf_event_open()`: `attr.namespaces` wants perfmon).
    pub(crate) namespaces: bool,
    /// Bytes in the sampling ring that wake the reader.
    pub(crate) watermark_bytes: u32,
}

impl Plan {
    /// What is being tried, for who refuses it.
    pub(crate) fn attempt(&self, scope: Scope, step: Step) -> Attempt {
        Attempt {
            step,
            scope,
            kernel: self.kernel,
            namespaces: if self.namespaces {
                NamespaceRecords::Wanted
            } else {
                NamespaceRecords::Left
            },
            event: self.event,
            rate_hz: u32::try_from(self.rate_hz).ok(),
        }
    }

    /// Layout of the records in the sampling rings.
    pub(crate) fn sampling_layout(&self) -> Layout {
        let mut sample_type =
            self.id_bits() | sample_bits::IP | sample_bits::CALLCHAIN | sample_bits::PERIOD;
        if self.level >= KernelLevel::Linux5_7 {
            sample_type |= sample_bits::CGROUP;
        }
        let mut sample_regs_user = 0;
        if let UserPart::Stack(_) = self.user {
            sample_type |= sample_bits::REGS_USER | sample_bits::STACK_USER;
            sample_regs_user = register_mask();
        }
        Layout {
            sample_type,
            sample_regs_user,
            ..self.tracking_layout()
        }
    }

    /// Layout of the records in the tracking rings.
    pub(crate) fn tracking_layout(&self) -> Layout {
        Layout {
            sample_type: self.id_bits(),
            read_format: 0,
            branch_sample_type: 0,
            sample_regs_user: 0,
            sample_regs_intr: 0,
            sample_id_all: true,
        }
    }

    fn id_bits(&self) -> u64 {
        sample_bits::TID | sample_bits::TIME | sample_bits::CPU
    }

    fn shared_options(&self, attachment: Attachment<'_>) -> Opts {
        let on_task = matches!(
            attachment,
            Attachment::Task(_) | Attachment::TaskFromExec(_)
        );
        Opts {
            exclude: Priv {
                kernel: self.kernel == KernelSamples::Exclude,
                hv: true,
                ..Priv::default()
            },
            inherit: on_task.then_some(Inherit::NewChild),
            stat_format: StatFormat {
                lost_records: self.level >= KernelLevel::Linux6_0,
                ..StatFormat::default()
            },
            record_id_all: true,
            record_id_format: RecordIdFormat {
                cpu: true,
                task: true,
                time: true,
                ..RecordIdFormat::default()
            },
            // Comparable with our own clock (the merge's limit) and with jitdump files.
            timer: Some(Clock::Monotonic),
            ..Opts::default()
        }
    }

    /// Opens the sampling event of one CPU, disabled.
    pub(crate) fn open_sampling(
        &self,
        cpu: u32,
        attachment: Attachment<'_>,
    ) -> io::Result<Counter> {
        let mut options = self.shared_options(attachment);
        options.sample_on = SampleOn::Freq(self.rate_hz);
        options.sample_format = SampleFormat {
            period: true,
            code_addr: true,
            cgroup: self.level >= KernelLevel::Linux5_7,
            call_chain: Some(CallChain {
                exclude_user: false,
                exclude_kernel: self.kernel == KernelSamples::Exclude,
                defer_user: false,
                max_stack_frames: 0,
            }),
            ..SampleFormat::default()
        };
        if let UserPart::Stack(bytes) = self.user {
            options.sample_format.user_regs = Some(RegsMask(register_mask()));
            options.sample_format.user_stack = Some(Size(bytes));
        }
        options.wake_up = WakeUp {
            on: WakeUpOn::Bytes(self.watermark_bytes),
            on_aux_bytes: 0,
        };
        if matches!(attachment, Attachment::TaskFromExec(_)) {
            options.on_execve = Some(OnExecve::Enable);
        }
        let target = target(cpu, attachment);
        match self.event {
            SampledEvent::CpuClock => Counter::new(Software::CpuClock, target, options),
            SampledEvent::TaskClock => Counter::new(Software::TaskClock, target, options),
            SampledEvent::Cycles => Counter::new(Hardware::CpuCycle, target, options),
        }
    }

    /// Opens the tracking event of one CPU, disabled.
    pub(crate) fn open_tracking(
        &self,
        cpu: u32,
        attachment: Attachment<'_>,
    ) -> io::Result<Counter> {
        let mut options = self.shared_options(attachment);
        // A dummy counts nothing; without kernel samples it must not ask for the kernel either.
        options.exclude.kernel = true;
        options.extra_record = ExtraRecord {
            task: true,
            comm: true,
            mmap: Mmap {
                code: true,
                data: false,
                ext: Some(UseBuildId(self.level >= KernelLevel::Linux5_12)),
            },
            cgroup: self.level >= KernelLevel::Linux5_7,
            ksymbol: self.level >= KernelLevel::Linux5_1 && self.namespaces,
            namespaces: self.namespaces,
            ..ExtraRecord::default()
        };
        // Stands still when the CPU takes the event away: see `Opened::follow_cpus`.
        options.stat_format.time_enabled = true;
        options.wake_up = WakeUp {
            on: WakeUpOn::Bytes(1),
            on_aux_bytes: 0,
        };
        Counter::new(Software::Dummy, target(cpu, attachment), options)
    }
}

fn target(cpu: u32, attachment: Attachment<'_>) -> Target {
    match attachment {
        Attachment::Cpu => (Proc::ALL, Cpu(cpu)).into(),
        Attachment::Cgroup(directory) => (Cgroup(directory), Cpu(cpu)).into(),
        Attachment::Task(tid) | Attachment::TaskFromExec(tid) => (Proc(tid), Cpu(cpu)).into(),
    }
}

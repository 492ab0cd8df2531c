//! The open events and rings of a recording, CPU by CPU, and the wait for them.

use super::LiveError;
use super::attached::Attached;
use super::config::{Config, RingSize, SampledEvent, UserPart};
use super::cpus;
use super::events::{Attachment, KernelLevel, Plan};
use super::gate::{self, Denied, Step};
use super::ring::{Ring, SAMPLING_RING_BYTES, TRACKING_RING_BYTES, rings_of_cpu};
use super::signals::Signals;
use crate::HostPid;
use crate::order::RoundSorter;
use crate::record::Layout;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use perf_event_open::count::Counter;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

/// Sources in the sorter: which layout a record has.
pub(crate) const SAMPLING: u8 = 0;
pub(crate) const TRACKING: u8 = 1;

struct CpuRings {
    cpu: u32,
    sampling: Ring,
    tracking: Ring,
    /// [`Ring::enabled_ns`] of `tracking` at the last look.
    enabled_ns: u64,
}

impl CpuRings {
    /// Whether the CPU took the events away since the last look; looks.
    fn were_taken_away(&mut self) -> bool {
        let Some(enabled_ns) = self.tracking.enabled_ns() else {
            return false;
        };
        std::mem::replace(&mut self.enabled_ns, enabled_ns) == enabled_ns
    }
}

/// Layouts of the records in the two kinds of rings.
pub(crate) struct Layouts {
    pub(crate) sampling: Layout,
    pub(crate) tracking: Layout,
}

/// Whether CPUs came online: what happened on them before their events were open is not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CpusCame {
    Yes,
    No,
}

/// Everything that is open.
pub(crate) struct Opened {
    plan: Plan,
    attached: Attached,
    rings: Vec<CpuRings>,
    sampling_exponent: u8,
    page_bytes: usize,
    /// Signals and sampling rings: what may always wake us.
    urgent: Epoll,
    /// `urgent` and the tracking rings.
    all: Epoll,
    waits_for_signals: bool,
    /// Samples lost in rings that are closed already.
    lost_before: u64,
    lost_tracking_before: u64,
}

impl Opened {
    /// Opens the events on every online CPU, all disabled.
    pub(crate) fn open(config: &Config, command: Option<HostPid>) -> Result<Self, LiveError> {
        let online = cpus::online().map_err(|source| LiveError::Cpus { source })?;
        Self::open_on(&online, config, command)
    }

    /// As [`Self::open`], on these CPUs.
    pub(crate) fn open_on(
        cpus: &[u32],
        config: &Config,
        command: Option<HostPid>,
    ) -> Result<Self, LiveError> {
        if config.user.len_bytes() * config.rate_hz >= UserPart::LARGE_BYTES_A_SECOND
            && config.ring.is_none()
        {
            // More than who is not root may lock, unless `perf_event_mlock_kb` was raised.
            let large = RingSize::Bytes(UserPart::RING_BYTES);
            if let Ok(opened) = Self::open_rings(cpus, config, command, large) {
                return Ok(opened);
            }
        }
        let ring = config.ring.unwrap_or(RingSize::Bytes(SAMPLING_RING_BYTES));
        Self::open_rings(cpus, config, command, ring)
    }

    fn open_rings(
        cpus: &[u32],
        config: &Config,
        command: Option<HostPid>,
        ring: RingSize,
    ) -> Result<Self, LiveError> {
        let page_bytes = page_bytes();
        let pages = match ring {
            RingSize::Pages(pages) => pages,
            RingSize::Bytes(bytes) => bytes.div_ceil(page_bytes),
        };
        let pages = pages.max(1).next_power_of_two();
        let attached = Attached::to(config, command)?;
        let watermark_bytes = u32::try_from(pages * page_bytes / 2).unwrap_or(u32::MAX / 2);
        let wait_error = |source: nix::Error| LiveError::Wait {
            source: source.into(),
        };
        let plan = Plan {
            level: KernelLevel::NEWEST,
            event: config.event.unwrap_or(SampledEvent::Cycles),
            rate_hz: config.rate_hz,
            kernel: config.kernel,
            user: config.user,
            namespaces: true,
            watermark_bytes,
        };
        // The limit on open files may be met here as well as at an event.
        let epoll = || match Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC) {
            Err(nix::errno::Errno::EMFILE | nix::errno::Errno::ENFILE) => {
                let error = io::Error::last_os_error();
                Err(gate::diagnose(&error, plan.attempt(attached.scope(), Step::Open)).into())
            }
            made => made.map_err(wait_error),
        };
        let (urgent, all) = (epoll()?, epoll()?);
        let mut opened = Self {
            plan,
            attached,
            rings: Vec::new(),
            sampling_exponent: pages.trailing_zeros() as u8,
            page_bytes,
            urgent,
            all,
            waits_for_signals: false,
            lost_before: 0,
            lost_tracking_before: 0,
        };
        opened.choose_plan(cpus.first().copied().unwrap_or(0), config)?;
        for cpu in cpus {
            opened.open_cpu(*cpu)?;
        }
        opened
            .all
            .add(&opened.urgent.0, EpollEvent::new(EpollFlags::EPOLLIN, 0))
            .map_err(wait_error)?;
        Ok(opened)
    }

    /// Tries the first CPU until the kernel takes what is asked: older levels, then without
    /// NAMESPACES (they need privilege), then the CPU clock where there are no hardware events.
    fn choose_plan(&mut self, cpu: u32, config: &Config) -> Result<(), LiveError> {
        loop {
            let attachments = self.attached.attachments();
            let Some(first) = attachments.first().copied() else {
                return Err(LiveError::NoTasks);
            };
            let Err(error) = self.plan.open_sampling(cpu, first) else {
                break;
            };
            match (error.raw_os_error(), self.plan.level.older()) {
                (Some(libc::ENOENT | libc::EOPNOTSUPP | libc::ENODEV), _)
                    if config.event.is_none() && self.plan.event == SampledEvent::Cycles =>
                {
                    self.plan.event = SampledEvent::CpuClock;
                }
                (Some(libc::EINVAL | libc::E2BIG), Some(older)) => self.plan.level = older,
                _ => return Err(self.refused(&error, Step::Open).into()),
            }
        }
        loop {
            let attachments = self.attached.tracking_attachments();
            let Some(first) = attachments.first().copied() else {
                return Err(LiveError::NoTasks);
            };
            let Err(error) = self.plan.open_tracking(cpu, first) else {
                return Ok(());
            };
            match (error.raw_os_error(), self.plan.level.older()) {
                (Some(libc::EACCES | libc::EPERM), _) if self.plan.namespaces => {
                    self.plan.namespaces = false
                }
                (Some(libc::EINVAL | libc::E2BIG), Some(older)) => self.plan.level = older,
                _ => return Err(self.refused(&error, Step::Open).into()),
            }
        }
    }

    /// Which gate refused.
    fn refused(&self, error: &io::Error, step: Step) -> Denied {
        gate::diagnose(error, self.plan.attempt(self.attached.scope(), step))
    }

    fn open_cpu(&mut self, cpu: u32) -> Result<(), LiveError> {
        let tracking_pages = (TRACKING_RING_BYTES / self.page_bytes).max(1);
        let plan = self.plan;
        let sampling = self.map_ring(
            cpu,
            self.sampling_exponent,
            &self.attached.attachments(),
            |attachment| plan.open_sampling(cpu, attachment),
        )?;
        let tracking = self.map_ring(
            cpu,
            tracking_pages.trailing_zeros() as u8,
            &self.attached.tracking_attachments(),
            |attachment| plan.open_tracking(cpu, attachment),
        )?;
        let wait_error = |source: nix::Error| LiveError::Wait {
            source: source.into(),
        };
        self.urgent
            .add(sampling.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, 1))
            .map_err(wait_error)?;
        self.all
            .add(tracking.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, 2))
            .map_err(wait_error)?;
        self.rings.push(CpuRings {
            cpu,
            sampling,
            tracking,
            enabled_ns: 0,
        });
        Ok(())
    }

    /// One ring for all `attachments` on a CPU: the first event's, shared by the others.
    fn map_ring(
        &self,
        cpu: u32,
        exponent: u8,
        attachments: &[Attachment<'_>],
        open: impl Fn(Attachment<'_>) -> io::Result<Counter>,
    ) -> Result<Ring, LiveError> {
        let ring_error = |source| LiveError::Ring { cpu, source };
        let mut ring: Option<Ring> = None;
        for attachment in attachments {
            let counter = match open(*attachment) {
                Ok(counter) => counter,
                // A thread that ended since it was listed.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => continue,
                Err(error) => {
                    return Err(self.refused(&error, Step::Open).into());
                }
            };
            match ring.as_mut() {
                Some(ring) => ring.share_with(counter).map_err(ring_error)?,
                None => {
                    let len_bytes = (self.page_bytes as u64) * ((1 << exponent) + 1);
                    let sampling_bytes = self.page_bytes << self.sampling_exponent;
                    let cpu_bytes = rings_of_cpu(sampling_bytes, self.page_bytes) as u64;
                    let mapped = Ring::map(counter, exponent, self.page_bytes);
                    ring = Some(mapped.map_err(|error| {
                        self.refused(
                            &error,
                            Step::MapRing {
                                len_bytes,
                                cpu_bytes,
                            },
                        )
                    })?);
                }
            }
        }
        ring.ok_or(LiveError::NoTasks)
    }

    pub(crate) fn enable_tracking(&self) -> Result<(), LiveError> {
        self.each_ring(|rings| rings.tracking.enable())
    }

    /// Starts the samples; a command's start by themselves, at its exec.
    pub(crate) fn enable_sampling(&self) -> Result<(), LiveError> {
        match self.attached {
            Attached::TaskFromExec(_) => Ok(()),
            _ => self.each_ring(|rings| rings.sampling.enable()),
        }
    }

    pub(crate) fn disable(&self) -> Result<(), LiveError> {
        self.each_ring(|rings| rings.sampling.disable().and(rings.tracking.disable()))
    }

    fn each_ring(&self, act: impl Fn(&CpuRings) -> io::Result<()>) -> Result<(), LiveError> {
        self.rings.iter().try_for_each(|rings| {
            act(rings).map_err(|source| LiveError::Ring {
                cpu: rings.cpu,
                source,
            })
        })
    }

    /// Sleeps until a signal, a watermark, or (after `pause`) a tracking record; at most `longest`.
    pub(crate) fn wait(
        &mut self,
        signals: &Signals,
        pause: Duration,
        longest: Duration,
    ) -> Result<(), LiveError> {
        let wait_error = |source: nix::Error| LiveError::Wait {
            source: source.into(),
        };
        if !self.waits_for_signals {
            self.urgent
                .add(signals.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, 0))
                .map_err(wait_error)?;
            self.waits_for_signals = true;
        }
        let mut woken = [EpollEvent::empty(); 8];
        if sleep(&self.urgent, &mut woken, pause.min(longest)).map_err(wait_error)? == 0 {
            sleep(&self.all, &mut woken, longest.saturating_sub(pause)).map_err(wait_error)?;
        }
        Ok(())
    }

    /// Moves what is in the rings into `sorter`.
    pub(crate) fn drain_into(&self, sorter: &mut RoundSorter) {
        let layouts = self.layouts();
        for rings in &self.rings {
            rings.tracking.drain(&layouts.tracking, TRACKING, sorter);
            rings.sampling.drain(&layouts.sampling, SAMPLING, sorter);
        }
    }

    pub(crate) fn layouts(&self) -> Layouts {
        Layouts {
            sampling: self.plan.sampling_layout(),
            tracking: self.plan.tracking_layout(),
        }
    }

    pub(crate) fn event(&self) -> SampledEvent {
        self.plan.event
    }

    /// Whether each sample tells its cgroup.
    pub(crate) fn tells_cgroups(&self) -> bool {
        self.plan.level >= KernelLevel::Linux5_7
    }

    /// Samples that the kernel could not write.
    pub(crate) fn lost(&self) -> u64 {
        self.lost_before
            + self
                .rings
                .iter()
                .map(|rings| rings.sampling.lost())
                .sum::<u64>()
    }

    /// Records in the tracking rings that the kernel could not write.
    pub(crate) fn lost_tracking(&self) -> u64 {
        self.lost_tracking_before
            + self
                .rings
                .iter()
                .map(|rings| rings.tracking.lost())
                .sum::<u64>()
    }

    /// Opens events on CPUs that came online, closes those of CPUs that went; whether it opened any.
    /// A CPU's event does not come back with its CPU (`perf_event_exit_cpu()`), also when nobody
    /// saw it away, as in a suspend: its clock tells. A task's event does come back.
    ///
    /// Call it with the rings just drained, at intervals in which that clock moves.
    pub(crate) fn follow_cpus(&mut self, config: &Config) -> Result<CpusCame, LiveError> {
        // Unreadable now is no reason to end: the CPUs stay as they were.
        let Ok(online) = cpus::online() else {
            return Ok(CpusCame::No);
        };
        let on_cpus = matches!(self.attached, Attached::Cpu | Attached::Cgroup(_));
        let gone: Vec<CpuRings> = self
            .rings
            .extract_if(.., |rings| {
                !online.contains(&rings.cpu) || (on_cpus && rings.were_taken_away())
            })
            .collect();
        for rings in &gone {
            self.lost_before += rings.sampling.lost();
            self.lost_tracking_before += rings.tracking.lost();
        }
        let mut came = CpusCame::No;
        for cpu in online {
            if self.rings.iter().any(|rings| rings.cpu == cpu) {
                continue;
            }
            if let Attached::Tasks(_) | Attached::TaskFromExec(_) = self.attached {
                self.attached = self.attached.again(config);
            }
            // A CPU that went again meanwhile, or tasks that ended: nothing to sample there.
            if self.open_cpu(cpu).is_ok()
                && let Some(rings) = self.rings.last()
            {
                let enabled = rings.tracking.enable().and(rings.sampling.enable());
                enabled.map_err(|source| LiveError::Ring { cpu, source })?;
                came = CpusCame::Yes;
            }
        }
        Ok(came)
    }
}

fn sleep(epoll: &Epoll, woken: &mut [EpollEvent], longest: Duration) -> nix::Result<usize> {
    // Rounded up: a wait of less than a millisecond must not become a busy loop.
    let millis = longest.as_micros().div_ceil(1000).min(60_000) as u16;
    match epoll.wait(woken, EpollTimeout::from(millis)) {
        Err(nix::errno::Errno::EINTR) => Ok(0),
        slept => slept,
    }
}

pub(crate) fn page_bytes() -> usize {
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)
        .ok()
        .flatten();
    size.and_then(|size| usize::try_from(size).ok())
        .unwrap_or(4096)
}

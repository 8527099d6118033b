//! The Environment Abstraction Layer: DPDK's memory, its threads and its buses.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString, c_char, c_int};
use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::fcntl::{Flock, FlockArg};
use thiserror::Error;

use super::affinity::Affinity;
use super::{describe_errno, dpdk_sys as sys, errno, log_capture};

/// A process starts EAL once: DPDK cannot start a second time, not even after it was cleaned up.
static STARTED: AtomicBool = AtomicBool::new(false);

/// How EAL is started.
#[derive(Clone, Debug)]
pub struct EalOptions {
    /// The name of this instance among the DPDK processes of the machine: letters, digits, `-`, `_` and `.`.
    pub file_prefix: String,
    /// Use hugepages. Without them packets live in ordinary memory: slower, and not for every NIC.
    pub hugepages: bool,
    /// The memory DPDK takes at the start, in MiB.
    pub memory_mib: u32,
    /// The processors that DPDK's own threads (interrupts, and the thread that starts EAL, while it does) may run on:
    /// those that no worker is pinned to. Empty: those the calling thread may run on.
    pub control_cores: Vec<usize>,
    /// The devices that will be opened, as in the config. PCI addresses are allowed, and no other PCI device is
    /// touched; the rest is left to [`Device::probe`](super::Device::probe).
    pub devices: Vec<String>,
    /// Further arguments, which go before what they name here.
    pub extra_arguments: Vec<String>,
    /// Let DPDK log informational messages, too (default: warnings and errors).
    pub verbose: bool,
}

impl Default for EalOptions {
    fn default() -> Self {
        Self {
            file_prefix: "vtepd".to_owned(),
            hugepages: true,
            memory_mib: 512,
            control_cores: Vec::new(),
            devices: Vec::new(),
            extra_arguments: Vec::new(),
            verbose: false,
        }
    }
}

/// Why EAL did not start.
#[derive(Debug, Error)]
pub enum EalError {
    /// It was started before in this process.
    #[error("DPDK was already started in this process, which it supports once; start a new process")]
    AlreadyStarted,
    /// The instance's name cannot be part of a file name.
    #[error("`file_prefix = \"{0}\"` cannot name files: use letters, digits, `-`, `_` and `.`")]
    FilePrefix(String),
    /// An argument holds a NUL byte.
    #[error("the DPDK argument {0:?} holds a NUL byte; remove it from `eal_arguments` in [dpdk]")]
    Nul(String),
    /// The control cores are not there, or not allowed to this process.
    #[error("DPDK's own threads cannot run on cores {cores:?} ({source}): choose cores that this machine has online")]
    Cores {
        /// The cores asked for.
        cores: Vec<usize>,
        /// The system's error.
        source: std::io::Error,
    },
    /// Fewer free hugepages than the memory asked for.
    #[error(
        "DPDK needs {needed_mib} MiB of hugepages and {free_mib} MiB are free: reserve them (sysctl -w \
         vm.nr_hugepages={pages}), lower `memory_mib`, or set `hugepages = false` in [dpdk]"
    )]
    Hugepages {
        /// The memory asked for, in MiB.
        needed_mib: u64,
        /// Free hugepages of all sizes, in MiB.
        free_mib: u64,
        /// How many 2 MiB pages the machine should have, those in use included.
        pages: u64,
    },
    /// Something is not allowed to this user.
    #[error(
        "DPDK may not do what it must: run as root, or with CAP_NET_ADMIN, CAP_IPC_LOCK, CAP_SYS_NICE and access to \
         hugepages and VFIO; DPDK said: {said}"
    )]
    Permission {
        /// What DPDK logged.
        said: String,
    },
    /// Another process runs under the same name.
    #[error("another process runs as `{0}`: stop it, or give this one its own `file_prefix` in [dpdk]")]
    PrefixInUse(String),
    /// DPDK does not take one of its arguments.
    #[error("DPDK does not take its arguments ({arguments}): correct `eal_arguments` in [dpdk]; DPDK said: {said}")]
    Argument {
        /// All arguments, as given to DPDK.
        arguments: String,
        /// What DPDK logged.
        said: String,
    },
    /// Anything else.
    #[error("DPDK did not start ({reason}) with {arguments}; DPDK said: {said}")]
    Failed {
        /// DPDK's error.
        reason: String,
        /// All arguments, as given to DPDK.
        arguments: String,
        /// What DPDK logged.
        said: String,
    },
}

/// A running EAL. What is made with it keeps it running; the last to be dropped stops it and removes its run-time
/// folder. Clones are handles to the same one.
#[derive(Clone)]
pub struct Eal {
    running: Arc<Running>,
}

/// What keeps EAL running.
pub(super) type EalHold = Arc<Running>;

/// The state of the one EAL of this process.
pub(super) struct Running {
    /// Dropped after EAL has ended.
    _folder: RunFolder,
    /// DPDK's numbers of the ports that are open.
    open_ports: Mutex<BTreeSet<u16>>,
    keep_memory: AtomicBool,
}

impl Eal {
    /// DPDK's version as it tells it itself, such as "DPDK 22.11.5".
    #[must_use]
    pub fn version(&self) -> String {
        // SAFETY: a constant string of the library.
        unsafe { CStr::from_ptr(sys::rte_version()) }.to_string_lossy().into_owned()
    }

    /// Starts EAL. The calling thread becomes DPDK's main thread; its affinity is as before when this returns.
    ///
    /// # Errors
    /// [`EalError`], each with what to do about it. After an error of DPDK's own, EAL cannot be tried again in this
    /// process.
    pub fn start(options: &EalOptions) -> Result<Self, EalError> {
        let usable = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let prefix = &options.file_prefix;
        if prefix.is_empty() || prefix.starts_with('.') || !prefix.bytes().all(usable) {
            return Err(EalError::FilePrefix(prefix.clone()));
        }
        if options.hugepages {
            require_hugepages(u64::from(options.memory_mib))?;
        }
        let before = Affinity::of_this_thread();
        if !options.control_cores.is_empty() {
            // EAL's threads run where the thread that starts them may.
            Affinity::on(&options.control_cores)
                .and_then(|wanted| wanted.apply())
                .map_err(|source| EalError::Cores { cores: options.control_cores.clone(), source })?;
        }
        let outcome = Self::start_here(options);
        if let Ok(before) = &before
            && let Err(error) = before.apply()
        {
            tracing::warn!("the main thread stays on the cores DPDK gave it: {error}");
        }
        outcome
    }

    fn start_here(options: &EalOptions) -> Result<Self, EalError> {
        let arguments = arguments(options, &Affinity::of_this_thread().map(|own| own.cores()).unwrap_or_default());
        let mut strings = Vec::with_capacity(arguments.len());
        for argument in &arguments {
            strings.push(CString::new(argument.as_str()).map_err(|_| EalError::Nul(argument.clone()))?);
        }
        if STARTED.swap(true, Ordering::SeqCst) {
            return Err(EalError::AlreadyStarted);
        }
        // DPDK keeps some of the pointers: what they point to stays.
        let strings: &'static mut [CString] = strings.leak();
        let mut pointers: Vec<*mut c_char> = strings.iter().map(|text| text.as_ptr().cast_mut()).collect();
        let count = c_int::try_from(pointers.len()).unwrap_or(c_int::MAX);
        // SAFETY: `count` strings that live for ever, in an array DPDK may permute. It ran never before.
        let ((status, code), said) = log_capture::during(|| unsafe {
            let status = sys::rte_eal_init(count, pointers.as_mut_ptr());
            (status, errno())
        });
        if status < 0 {
            drop(RunFolder::claim());
            return Err(failure(&arguments, code, said));
        }
        let Some(folder) = RunFolder::claim() else {
            // SAFETY: EAL was started above, and nothing was made with it.
            log_capture::during(|| unsafe { sys::rte_eal_cleanup() });
            return Err(EalError::PrefixInUse(options.file_prefix.clone()));
        };
        let running =
            Running { _folder: folder, open_ports: Mutex::new(BTreeSet::new()), keep_memory: AtomicBool::new(false) };
        Ok(Self { running: Arc::new(running) })
    }

    pub(super) fn hold(&self) -> EalHold {
        Arc::clone(&self.running)
    }
}

impl Running {
    pub(super) fn open_ports(&self) -> MutexGuard<'_, BTreeSet<u16>> {
        self.open_ports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Packets are still about: DPDK's memory must outlive them, which is to say, stay.
    pub(super) fn keep_memory(&self) {
        self.keep_memory.store(true, Ordering::Relaxed);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.keep_memory.load(Ordering::Relaxed) {
            // SAFETY: ports, pools and threads each hold EAL, so none is left.
            let (status, _said) = log_capture::during(|| unsafe { sys::rte_eal_cleanup() });
            if status != 0 {
                tracing::warn!("DPDK did not end well: {}", describe_errno(status));
            }
        }
    }
}

/// The arguments of `rte_eal_init`; what `extra_arguments` name themselves is not given twice.
fn arguments(options: &EalOptions, cores: &[usize]) -> Vec<String> {
    let extra = &options.extra_arguments;
    let given = |names: &[&str]| {
        extra.iter().any(|argument| {
            names.iter().any(|name| match argument.strip_prefix(name) {
                // `-l0`, `--lcores=0`, or the value in the next argument.
                Some(rest) => !name.starts_with("--") || rest.is_empty() || rest.starts_with('='),
                None => false,
            })
        })
    };
    let mut arguments = vec!["vtepd".to_owned(), format!("--file-prefix={}", options.file_prefix)];
    if !given(&["-l", "-c", "-S", "--lcores"]) {
        // One lcore, for the main thread, on any of its cores: workers are threads of our own.
        let cores: Vec<String> = cores.iter().map(usize::to_string).collect();
        arguments.push(format!("--lcores=0@({})", cores.join(",")));
    }
    if !given(&["-m", "--socket-mem"]) {
        arguments.extend(["-m".to_owned(), options.memory_mib.to_string()]);
    }
    if !given(&["--log-level"]) {
        arguments.push(format!("--log-level={}", if options.verbose { "info" } else { "warning" }));
    }
    // No files that another process could attach to, nor any to be left behind. --in-memory is refused together with
    // --no-huge, whose memory is anonymous in any case.
    if options.hugepages {
        arguments.push("--in-memory".to_owned());
    } else {
        arguments.extend(["--no-huge".to_owned(), "--no-shconf".to_owned()]);
    }
    if !given(&["--no-telemetry", "--telemetry"]) {
        arguments.push("--no-telemetry".to_owned());
    }
    let allowed: Vec<String> = options
        .devices
        .iter()
        .filter(|device| super::device::pci_address(device).is_some())
        .map(|device| format!("--allow={}", super::device::dpdk_device(device)))
        .collect();
    if allowed.is_empty() && !given(&["-a", "-b", "--allow", "--block", "--no-pci"]) {
        arguments.push("--no-pci".to_owned());
    }
    arguments.extend(allowed);
    arguments.extend(extra.iter().cloned());
    arguments
}

/// Looks before DPDK does, which says little about it.
fn require_hugepages(needed_mib: u64) -> Result<(), EalError> {
    let mut free_mib = 0;
    let mut used_mib = 0;
    for size in fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().flatten() {
        let name = size.file_name().to_string_lossy().into_owned();
        let kib = name.strip_prefix("hugepages-").and_then(|rest| rest.strip_suffix("kB"));
        let Some(kib) = kib.and_then(|kib| kib.parse::<u64>().ok()) else { continue };
        let count = |file: &str| -> u64 {
            fs::read_to_string(size.path().join(file)).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
        };
        let (free, all) = (count("free_hugepages"), count("nr_hugepages"));
        free_mib += free * kib / 1024;
        used_mib += all.saturating_sub(free) * kib / 1024;
    }
    if free_mib >= needed_mib {
        return Ok(());
    }
    Err(EalError::Hugepages { needed_mib, free_mib, pages: (needed_mib + used_mib).div_ceil(2) })
}

fn failure(arguments: &[String], code: i32, said: String) -> EalError {
    let arguments = arguments.get(1..).unwrap_or_default().join(" ");
    if said.contains("ermission denied")
        || said.contains("not permitted")
        || [nix::libc::EACCES, nix::libc::EPERM].contains(&code)
    {
        EalError::Permission { said }
    } else if code == nix::libc::EINVAL {
        EalError::Argument { arguments, said }
    } else {
        EalError::Failed { reason: describe_errno(code), arguments, said }
    }
}

/// EAL's run-time folder, locked: nothing else tells two instances of one name apart, as they share no files.
struct RunFolder {
    path: PathBuf,
    _lock: Flock<File>,
}

impl RunFolder {
    /// `None` where another process has it, or where there is none.
    fn claim() -> Option<Self> {
        // SAFETY: returns EAL's own buffer, empty before there is a folder.
        let text = unsafe {
            let text = sys::rte_eal_get_runtime_dir();
            if text.is_null() {
                return None;
            }
            CStr::from_ptr(text)
        };
        let path = PathBuf::from(text.to_str().ok()?);
        let lock = Flock::lock(File::open(&path).ok()?, FlockArg::LockExclusiveNonblock).ok()?;
        Some(Self { path, _lock: lock })
    }
}

impl Drop for RunFolder {
    /// Removes the folder where it is empty: what another process may have put there is not ours.
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.path) {
            tracing::debug!("{} stays: {error}", self.path.display());
        }
    }
}

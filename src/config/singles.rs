//! The sections that are written once: `[vtep]`, `[dpdk]`, `[workers]`, `[fdb]`, `[stats]` and `[api]`.

use std::borrow::Cow;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::addresses::underlay_host;
use super::diagnostic::{Diagnostic, Findings, FirstPlaces};
use super::model::{Dpdk, Fdb, Idle, MoveDamping, Stats, UdpChecksum, Underlay, Vtep, Workers};
use super::reader::{Field, Reader};
use super::schema::MAX_SOCKET_PATH;
use super::value::Located;

/// `[vtep]`.
pub(super) struct VtepDraft {
    /// The address alone, which others are compared with even if another key is wrong.
    pub(super) address: Option<Located<IpAddr>>,
    pub(super) vtep: Option<Vtep>,
}

impl VtepDraft {
    pub(super) fn read(reader: &mut Reader<'_>, findings: &mut Findings) -> Option<Self> {
        let address = reader
            .get::<IpAddr>("address", findings)
            .checked(|address| underlay_host(address, "the gateway"), findings)
            .located();
        let udp_port = reader.get("udp_port", findings);
        let udp_checksum = reader.get::<Cow<'_, str>>("udp_checksum", findings);
        let dscp = reader.get("dscp", findings);
        let ttl = reader.get("ttl", findings);
        let strict = reader.get("strict", findings);
        let underlay = reader.get::<Cow<'_, str>>("underlay", findings).optional();
        let vtep = || {
            Some(Vtep {
                address: address?.value,
                udp_port: udp_port.value()?,
                udp_checksum: if udp_checksum.value()? == "zero" { UdpChecksum::Zero } else { UdpChecksum::Full },
                dscp: dscp.value()?,
                ttl: ttl.value()?,
                strict: strict.value()?,
                underlay: match underlay?.as_deref() {
                    Some("kernel") => Underlay::Kernel,
                    Some(_) => Underlay::Static,
                    None => Underlay::KernelIfPossible,
                },
            })
        };
        Some(Self { address, vtep: vtep() })
    }

    /// True where the kernel says how remote VTEPs are reached; nothing where the section is wrong.
    pub(super) fn asks_kernel(&self) -> Option<bool> {
        self.vtep.as_ref().map(|vtep| vtep.underlay != Underlay::Static)
    }
}

/// `[dpdk]`.
pub(super) struct DpdkDraft {
    /// Where the number of packet buffers is set, or the section.
    pub(super) packet_buffers: Located<u32>,
    pub(super) dpdk: Dpdk,
}

impl DpdkDraft {
    pub(super) fn read(reader: &mut Reader<'_>, findings: &mut Findings) -> Option<Self> {
        let hugepages = reader.get("hugepages", findings);
        let file_prefix = reader.get::<Cow<'_, str>>("file_prefix", findings).checked(file_prefix_is_a_name, findings);
        let memory_mib = reader.get("memory_mib", findings);
        let packet_buffers = reader.get("packet_buffers", findings).located();
        let eal_arguments = reader.get::<Vec<Located<Cow<'_, str>>>>("eal_arguments", findings);
        let packet_buffers = packet_buffers?;
        let dpdk = Dpdk {
            hugepages: hugepages.value()?,
            file_prefix: file_prefix.value()?.into_owned(),
            memory_mib: memory_mib.value()?,
            packet_buffers: packet_buffers.value,
            eal_arguments: eal_arguments.value()?.into_iter().map(|argument| argument.value.into_owned()).collect(),
        };
        Some(Self { packet_buffers, dpdk })
    }
}

fn file_prefix_is_a_name(prefix: &Located<Cow<'_, str>>) -> Result<(), Diagnostic> {
    let starts = prefix.value.starts_with(|first: char| first.is_ascii_alphanumeric());
    if starts && prefix.value.chars().all(is_of_a_name) {
        return Ok(());
    }
    Err(Diagnostic::error(prefix.span, "`file_prefix` is the name of a directory and of a socket")
        .label("not such a name")
        .remedy("use letters, digits, `_`, `-` and `.`, and begin with a letter or digit"))
}

/// True for what may be in the name of a port or of an instance.
pub(super) fn is_of_a_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '-' | '.')
}

/// `[workers]`.
pub(super) struct WorkersDraft {
    /// Where the cores are set.
    pub(super) cores: Located<usize>,
    pub(super) workers: Workers,
}

impl WorkersDraft {
    pub(super) fn read(reader: &mut Reader<'_>, findings: &mut Findings) -> Option<Self> {
        let cores = reader
            .get::<Vec<Located<usize>>>("cores", findings)
            .checked(|cores| if cores.value.is_empty() { Err(no_core(cores)) } else { Ok(()) }, findings)
            .located();
        let idle = reader.get::<Cow<'_, str>>("idle", findings);
        let cores = cores?;
        let mut places = FirstPlaces::new();
        for core in &cores.value {
            if let Some(first) = places.earlier(core.value, core.span) {
                findings.push(
                    Diagnostic::error(core.span, format!("core {} is given to two workers", core.value))
                        .label("given again here")
                        .related(first, "given here first")
                        .remedy("remove one of the two, or choose another core"),
                );
            }
        }
        Some(Self {
            cores: Located { value: cores.value.len(), span: cores.span },
            workers: Workers {
                cores: cores.value.into_iter().map(|core| core.value).collect(),
                idle: if idle.value()? == "adaptive" { Idle::Adaptive } else { Idle::Poll },
            },
        })
    }
}

fn no_core(cores: &Located<Vec<Located<usize>>>) -> Diagnostic {
    Diagnostic::error(cores.span, "there is no worker without a core")
        .label("no core")
        .remedy("name at least one core, as in `cores = [1]`; `lscpu -e` lists those there are")
}

/// `[fdb]`.
pub(super) fn fdb(reader: &mut Reader<'_>, findings: &mut Findings) -> Option<Fdb> {
    let max_entries = reader.get("max_entries", findings);
    let ageing = reader.get("ageing", findings);
    let (max_moves, window, freeze) =
        (reader.get("max_moves", findings), reader.get("move_window", findings), reader.get("freeze", findings));
    let max_bindings = reader.get("max_bindings", findings);
    let binding_ageing = reader.get("binding_ageing", findings);
    let damping = MoveDamping {
        max_moves: max_moves.value()?,
        window: Duration::from_secs(window.value()?),
        freeze: seconds_or_ever(freeze.value()?),
    };
    Some(Fdb {
        max_entries: max_entries.value()?,
        ageing: seconds_or_ever(ageing.value()?),
        damping: (damping.max_moves > 0).then_some(damping),
        max_bindings: max_bindings.value()?,
        binding_ageing: seconds_or_ever(binding_ageing.value()?),
    })
}

/// A time in seconds; 0 is for ever.
pub(super) fn seconds_or_ever(seconds: u64) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

/// `[stats]`.
pub(super) fn stats(reader: &mut Reader<'_>, findings: &mut Findings) -> Option<Stats> {
    Some(Stats { listen: reader.get("listen", findings).value()? })
}

/// `[api]`.
pub(super) struct ApiDraft {
    /// The socket, if it is set.
    pub(super) socket: Option<PathBuf>,
}

impl ApiDraft {
    pub(super) fn read(reader: &mut Reader<'_>, findings: &mut Findings) -> Option<Self> {
        let socket: Field<Cow<'_, str>> = reader.get("socket", findings);
        let socket =
            socket.checked(|path| if path.value.starts_with('/') { Ok(()) } else { Err(relative(path)) }, findings);
        Some(Self { socket: socket.optional()?.map(|path| PathBuf::from(path.into_owned())) })
    }
}

fn relative(path: &Located<Cow<'_, str>>) -> Diagnostic {
    Diagnostic::error(path.span, "`socket` must be an absolute path")
        .label("does not begin with `/`")
        .remedy(format!("write the whole path, of at most {MAX_SOCKET_PATH} bytes, as in `/run/vtepd/vtepd.sock`"))
}

//! The sections that are written once: `[vtep]`, `[dpdk]`, `[workers]`, `[fdb]`, `[stats]` and `[api]`.

use std::borrow::Cow;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::addresses::underlay_host;
use super::diagnostic::{Diagnostic, Findings, FirstPlaces, Span};
use super::model::{Dpdk, Fdb, Idle, MoveDamping, Stats, UdpChecksum, Underlay, Vtep, Workers};
use super::reader::{Field, Reader};
use super::schema::MAX_SOCKET_PATH;
use super::value::{Located, Numbers};
use crate::wire::flow_hash::SourcePorts;

/// `[vtep]`.
pub(super) struct VtepDraft {
    /// The address alone, which others are compared with even if another key is wrong.
    pub(super) address: Option<Located<IpAddr>>,
    /// The further addresses.
    pub(super) other_addresses: Vec<Located<IpAddr>>,
    /// Where the UDP ports are set, as far as they are right.
    pub(super) udp_ports: Vec<Located<u16>>,
    pub(super) vtep: Option<Vtep>,
}

impl VtepDraft {
    pub(super) fn read(reader: &mut Reader<'_>, findings: &mut Findings) -> Option<Self> {
        let address = reader
            .get::<IpAddr>("address", findings)
            .checked(|address| underlay_host(address, "the gateway"), findings)
            .located();
        let other_addresses = reader.get::<Vec<Located<IpAddr>>>("other_addresses", findings);
        let other_addresses = other_addresses
            .checked(
                |others| others.value.iter().try_for_each(|other| is_further(other, &others.value, address)),
                findings,
            )
            .value();
        let udp_port = reader.get::<u16>("udp_port", findings).located();
        let others = reader.get::<Vec<Located<u16>>>("other_udp_ports", findings).value();
        let source_ports = reader.get::<Numbers>("source_ports", findings).value();
        let udp_ports = udp_port.into_iter().chain(others.iter().flatten().copied()).collect();
        let udp_checksum_ipv4 = reader.get::<Cow<'_, str>>("udp_checksum_ipv4", findings);
        let udp_checksum = reader.get::<Cow<'_, str>>("udp_checksum", findings);
        let dscp = reader.get("dscp", findings);
        let ttl = reader.get("ttl", findings);
        let strict = reader.get("strict", findings);
        let underlay = reader.get::<Cow<'_, str>>("underlay", findings).optional();
        let vtep = || {
            Some(Vtep {
                address: address?.value,
                other_addresses: other_addresses.iter().flatten().map(|other| other.value).collect(),
                udp_port: udp_port?.value,
                other_udp_ports: others?.into_iter().map(|port| port.value).collect(),
                source_ports: source_ports
                    .and_then(|ports| Some((ports.first.try_into().ok()?, ports.last.try_into().ok()?)))
                    .map(|(first, last)| SourcePorts::new(first, last))?,
                udp_checksum: checksum_of(&udp_checksum.value()?),
                udp_checksum_ipv4: checksum_of(&udp_checksum_ipv4.value()?),
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
        let vtep = vtep().filter(|_| other_addresses.is_some());
        Some(Self { address, other_addresses: other_addresses.unwrap_or_default(), udp_ports, vtep })
    }

    /// True where the kernel says how remote VTEPs are reached; nothing where the section is wrong.
    pub(super) fn asks_kernel(&self) -> Option<bool> {
        self.underlay().map(|underlay| underlay != Underlay::Static)
    }

    /// Who says how remote VTEPs are reached; nothing where the section is wrong.
    pub(super) fn underlay(&self) -> Option<Underlay> {
        self.vtep.as_ref().map(|vtep| vtep.underlay)
    }
}

/// Refuses what is no further address of the gateway's.
fn is_further(
    other: &Located<IpAddr>,
    all: &[Located<IpAddr>],
    own: Option<Located<IpAddr>>,
) -> Result<(), Diagnostic> {
    underlay_host(other, "the gateway")?;
    let twice = |first: Span| {
        Diagnostic::error(other.span, format!("the gateway has the address `{}` twice", other.value))
            .label("given again here")
            .related(first, "given here first")
            .remedy("remove one of the two")
    };
    if let Some(first) =
        all.iter().take_while(|first| first.span != other.span).find(|first| first.value == other.value)
    {
        return Err(twice(first.span));
    }
    match own {
        Some(own) if own.value == other.value => Err(twice(own.span)),
        Some(own) if own.value.is_ipv4() != other.value.is_ipv4() => {
            Err(Diagnostic::error(other.span, "all addresses of the gateway are of one family")
                .label(format!("not of the family of `{}`", own.value))
                .related(own.span, "the gateway's address")
                .remedy("give it another address, or run a second instance for the other family"))
        }
        _ => Ok(()),
    }
}

fn checksum_of(word: &str) -> UdpChecksum {
    if word == "zero" { UdpChecksum::Zero } else { UdpChecksum::Full }
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

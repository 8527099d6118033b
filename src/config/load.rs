//! From a file to a checked config.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::addresses::{own_remote, remote_vtep};
use super::bindings;
use super::bridges::{Bridges, distinct};
use super::diagnostic::{Diagnostic, Diagnostics, Findings, Span};
use super::draft::Draft;
use super::model::{Api, Config, StaticEntries};
use super::neighbours::Neighbours;
use super::ports::Ports;
use super::singles::{DpdkDraft, WorkersDraft};
use super::static_entries::{StaticDraft, Surroundings};

/// The largest file that is read, in bytes.
pub const MAX_FILE_SIZE: u64 = 1 << 30;

/// A config that can be used.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The config.
    pub config: Config,
    /// What will not do what it seems to say; warnings only.
    pub warnings: Diagnostics,
}

/// Why there is no config.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the config file {}: {source}\n  = help: {}", path.display(), unreadable(source))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is not text.
    #[error(
        "the config file {} is not UTF-8 text: line {line} has a byte that is none\n  \
         = help: save the file as UTF-8", path.display()
    )]
    NotText {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// The file is too large.
    #[error("the config file {} is larger than {} MiB\n  = help: is this the right file?", path.display(), MAX_FILE_SIZE >> 20)]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file has mistakes.
    #[error("{0}")]
    Invalid(Diagnostics),
}

fn unreadable(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "name a file that exists with --config",
        io::ErrorKind::PermissionDenied => "run as a user who may read it, or change its permissions",
        io::ErrorKind::IsADirectory => "this is a directory; name the file in it",
        _ => "see that the file is there and can be read, for example with cat",
    }
}

impl ConfigError {
    /// The error as text for people; with terminal colours if told.
    #[must_use]
    pub fn render(&self, colours: bool) -> String {
        match self {
            Self::Invalid(diagnostics) => diagnostics.render(colours),
            other => format!("error: {other}\n"),
        }
    }
}

impl Config {
    /// Reads and checks a config file of at most [`MAX_FILE_SIZE`].
    ///
    /// # Errors
    /// [`ConfigError`]: the file cannot be read, is not text, or has mistakes; then with all of them.
    pub fn load(path: &Path) -> Result<Loaded, ConfigError> {
        let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(unreadable)?;
        file.take(MAX_FILE_SIZE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > MAX_FILE_SIZE {
            return Err(ConfigError::TooLarge { path: path.to_owned() });
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
            ConfigError::NotText { path: path.to_owned(), line: 1 + valid.filter(|byte| **byte == b'\n').count() }
        })?;
        Self::parse(&path.display().to_string(), &text).map_err(ConfigError::Invalid)
    }

    /// Checks the text of a config, at most [`MAX_FILE_SIZE`] bytes of it; `file_name` is what findings call it.
    ///
    /// # Errors
    /// All findings, if one or more of them is an error.
    pub fn parse(file_name: &str, text: &str) -> Result<Loaded, Diagnostics> {
        let mut findings = Findings::default();
        let draft = Draft::read(text, &mut findings);
        let config = relate(draft, &mut findings);
        match config {
            Some(config) if !findings.has_errors() => Ok(Loaded { config, warnings: findings.finish(file_name, text) }),
            _ => Err(findings.finish(file_name, text)),
        }
    }
}

/// Relates the sections to each other; the config, if all is right.
fn relate(draft: Draft<'_>, findings: &mut Findings) -> Option<Config> {
    let own = draft.vtep.as_ref().and_then(|vtep| vtep.address);
    let asks_kernel = draft.vtep.as_ref().and_then(|vtep| vtep.asks_kernel());
    let sound = draft.sound;
    let ports = Ports::new(draft.ports, sound, findings);
    let bridges = Bridges::new(draft.bridges, &ports, own, sound, findings);
    let neighbours = Neighbours::new(draft.neighbours, &ports, own, sound, findings);
    let surroundings = Surroundings { ports: &ports, bridges: &bridges, own, fdb: draft.fdb.as_ref() };
    let static_entries = surroundings.relate(&draft.static_entries, findings);
    let bindings = bindings::relate(&draft.bindings, &bridges, draft.fdb.as_ref(), findings);
    let static_remotes = draft.static_entries.iter().filter_map(StaticDraft::remote);
    let remotes = bridges.remotes().chain(static_remotes).filter(|remote| remote_vtep(remote, own).is_ok());
    let remotes = distinct(remotes);
    if asks_kernel == Some(false) {
        bridges.check_control(findings);
        ports.check_punting_uplinks(findings);
    }
    if let Some(underlay) = draft.vtep.as_ref().and_then(|vtep| vtep.underlay()) {
        ports.check_interfaces(underlay, findings);
    }
    if let Some(vtep) = &draft.vtep {
        bridges.check_udp_ports(&vtep.udp_ports, findings);
        for remote in &remotes {
            if let Some(own) = vtep.other_addresses.iter().find(|own| own.value == remote.value) {
                findings.push(own_remote(remote, own.span));
            }
        }
    }
    if let Some(fdb) = &draft.fdb {
        bridges.check_ageing(fdb, findings);
    }
    bridges.check_link_local(&ports, findings);
    neighbours.check_remotes(&remotes, asks_kernel.unwrap_or(true), findings);
    if let Some(remote) = remotes.first().filter(|_| ports.lacks_uplink()) {
        findings.push(
            Diagnostic::error(remote.span, "there is a remote VTEP, and no uplink to reach it through")
                .label("this remote VTEP")
                .remedy("set `role = \"uplink\"` on a `[[port]]`, or remove the remote VTEPs"),
        );
    }
    if let Some(group) = bridges.groups().next().filter(|_| ports.lacks_uplink()) {
        findings.push(
            Diagnostic::error(group.span, "there is a group of the underlay, and no uplink to send it to")
                .label("this group")
                .remedy("set `role = \"uplink\"` on a `[[port]]`, or remove the groups"),
        );
    }
    let (dpdk, workers) = (draft.dpdk?, draft.workers?);
    check_packet_buffers(&ports, &dpdk, &workers, findings);
    let default_socket = || PathBuf::from(format!("/run/vtepd/{}.sock", dpdk.dpdk.file_prefix));
    let socket = draft.api?.socket.unwrap_or_else(default_socket);
    Some(Config {
        vtep: draft.vtep?.vtep?,
        dpdk: dpdk.dpdk,
        workers: workers.workers,
        bridges: bridges.finish(draft.fdb.as_ref()?)?,
        ports: ports.finish()?,
        neighbours: neighbours.finish()?,
        qos: draft.qos?,
        fdb: draft.fdb?,
        static_entries: StaticEntries::new(static_entries?),
        bindings: bindings?,
        stats: draft.stats?,
        api: Api { socket },
    })
}

/// Warns if the queues alone can hold all packet buffers, so that none is left to receive into.
fn check_packet_buffers(ports: &Ports<'_>, dpdk: &DpdkDraft, workers: &WorkersDraft, findings: &mut Findings) {
    let held = ports.held_buffers(workers.cores.value as u64);
    if held <= u64::from(dpdk.packet_buffers.value) {
        return;
    }
    // Without a `[dpdk]` the number has no place in the file; that of the cores has a part in it.
    let written = dpdk.packet_buffers.span != Span::default();
    let span = if written { dpdk.packet_buffers.span } else { workers.cores.span };
    findings.push(
        Diagnostic::warning(span, format!("{} packet buffers are too few", dpdk.packet_buffers.value))
            .label(format!("the descriptors of all queues can hold {held}"))
            .remedy(format!("set `packet_buffers` in `[dpdk]` above {held}, or lower `descriptors` of the ports")),
    );
}

//! What concerns the process: `[dpdk]`, `[workers]`, `[stats]` and `[api]`.

use super::{boolean, integer, key, text};
use crate::config::schema::Absent::{self, Means, Required};
use crate::config::schema::{Default, Form, Kind, MAX_CORE, MAX_SOCKET_PATH, Section};

/// `[dpdk]`.
pub static DPDK: Section = Section {
    name: "dpdk",
    form: Form::Single,
    required: false,
    doc: "How DPDK is started.",
    keys: &[
        key("hugepages", Kind::Boolean, boolean(true), "true", "Use hugepages. Without them the gateway runs, slower."),
        key(
            "file_prefix",
            Kind::Text(64),
            text("vtepd"),
            "\"vtepd\"",
            "The name under which DPDK keeps its run-time files. Two instances on one machine need two names. Letters, \
             digits, `_`, `-` and `.`, beginning with a letter or digit.",
        ),
        key("memory_mib", Kind::Integer(64, 1_048_576), integer(512), "512", "Memory given to DPDK, in MiB."),
        key(
            "packet_buffers",
            Kind::Integer(1024, 16_777_215),
            integer(16_384),
            "16384",
            "How many packet buffers there are. Every descriptor of every receive and transmit queue can hold one.",
        ),
        key(
            "eal_arguments",
            Kind::Texts(64, 4096),
            Absent::Default(Default::Empty),
            "[\"--log-level=lib.eal:debug\"]",
            "Further arguments for DPDK's environment abstraction layer, passed as they are.",
        ),
    ],
    example: "[dpdk]\nhugepages = true\nfile_prefix = \"vtepd\"\nmemory_mib = 512\npacket_buffers = 16384\n\
              eal_arguments = [\"--log-level=lib.eal:debug\"]\n",
};

/// `[workers]`.
pub static WORKERS: Section = Section {
    name: "workers",
    form: Form::Single,
    required: true,
    doc: "The poll-mode workers that forward packets.",
    keys: &[
        key(
            "cores",
            Kind::Integers(128, 0, MAX_CORE),
            Required,
            "[1]",
            "The cores the workers are pinned to, one worker each; at least one, none twice. That a core exists is \
             found out at the start.",
        ),
        key(
            "idle",
            Kind::Choice(&["poll", "adaptive"]),
            text("poll"),
            "\"poll\"",
            "What a worker does when nothing arrives. \"poll\": polls on, for the lowest latency at the cost of the \
             whole core. \"adaptive\": backs off to short sleeps, for a laptop, CI or a demonstration.",
        ),
    ],
    example: "[workers]\ncores = [1]\nidle = \"poll\"\n",
};

/// `[stats]`.
pub static STATS: Section = Section {
    name: "stats",
    form: Form::Single,
    required: false,
    doc: "The scrape endpoint.",
    keys: &[key(
        "listen",
        Kind::SocketAddress,
        text("127.0.0.1:9478"),
        "\"127.0.0.1:9478\"",
        "The address and TCP port that metrics are served at.",
    )],
    example: "[stats]\nlisten = \"127.0.0.1:9478\"\n",
};

/// `[api]`.
pub static API: Section = Section {
    name: "api",
    form: Form::Single,
    required: false,
    doc: "The control socket.",
    keys: &[key(
        "socket",
        Kind::Text(MAX_SOCKET_PATH),
        Means("`/run/vtepd/FILE_PREFIX.sock`, with `dpdk.file_prefix`"),
        "\"/run/vtepd/vtepd.sock\"",
        "The Unix socket that `vtepctl` connects to: an absolute path of at most 107 bytes.",
    )],
    example: "[api]\nsocket = \"/run/vtepd/vtepd.sock\"\n",
};

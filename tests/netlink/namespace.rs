//! A network namespace of the test's own. It ends with the test's thread, and all that was made in it.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use vtepd::control::Kernel;
use vtepd::control::underlay::{Uplink, Way};
use vtepd::netlink::Listener;
use vtepd::tables::PortIndex;
use vtepd::telemetry::ControlTelemetry;
use vtepd::wire::MacAddr;

/// Runs a test in a namespace of its own. Who cannot make one leaves the test out only where the environment says so.
pub fn in_namespace(test: impl FnOnce()) {
    if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
        let is_left_out = std::env::var_os("VTEPD_WITHOUT_ROOT").is_some();
        assert!(is_left_out, "a network namespace needs root ({error}); VTEPD_WITHOUT_ROOT=1 leaves this test out");
        return;
    }
    run("ip", "link set lo up");
    test();
}

/// Runs a command with words as its arguments.
pub fn run(program: &str, words: &str) {
    let output = Command::new(program).args(words.split_whitespace()).output().expect("iproute2 is installed");
    assert!(output.status.success(), "{program} {words}: {}", String::from_utf8_lossy(&output.stderr));
}

/// `ip`, a line for each call.
pub fn ip(lines: &str) {
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        run("ip", line);
    }
}

/// `bridge -batch`: thousands of lines in one process.
pub fn bridge_batch(lines: impl Iterator<Item = String>) {
    batch("bridge", &lines.map(|line| line + "\n").collect::<String>());
}

/// `ip -batch`, likewise.
pub fn ip_batch(lines: &str) {
    batch("ip", lines);
}

fn batch(program: &str, lines: &str) {
    let mut child = Command::new(program).args(["-batch", "-"]).stdin(Stdio::piped()).spawn().expect("iproute2");
    child.stdin.take().expect("a pipe").write_all(lines.as_bytes()).expect("it reads");
    assert!(child.wait().expect("it ends").success());
}

/// Sets a sysctl of the namespace.
pub fn sysctl(name: &str, value: &str) {
    fs::write(format!("/proc/sys/{}", name.replace('.', "/")), value).expect("the sysctl is there");
}

/// A veth pair `NAME` and `NAMEp`, both up: an uplink whose carrier goes with its peer's.
pub fn uplink(name: &str) {
    ip(&format!(
        "link add {name} type veth peer name {name}p
         link set {name} up
         link set {name}p up"
    ));
}

/// The kernel followed, with interfaces of these names as uplinks 0, 1...
pub struct Followed {
    pub kernel: Kernel,
    pub telemetry: Arc<ControlTelemetry>,
}

impl Followed {
    pub fn new(uplinks: &[&str], remotes: &[&str]) -> Self {
        Self::by(Listener::start().expect("a listener"), uplinks, remotes)
    }

    pub fn by(listener: Listener, uplinks: &[&str], remotes: &[&str]) -> Self {
        let telemetry = Arc::new(ControlTelemetry::new());
        let uplinks = uplinks.iter().zip(0..);
        let uplinks = uplinks.map(|(name, port)| Uplink { port: PortIndex(port), interface: (*name).to_owned() });
        let mut kernel = Kernel::follow(listener, uplinks.collect(), Arc::clone(&telemetry)).expect("the kernel");
        kernel.set_remotes(&remotes.iter().map(|remote| remote.parse().expect("an address")).collect());
        Self { kernel, telemetry }
    }

    /// Goes round as the daemon does until something is so, and says how long that took.
    pub fn until(&mut self, what: &str, mut is_so: impl FnMut(&Kernel) -> bool) -> Duration {
        let began = Instant::now();
        loop {
            if is_so(&self.kernel) {
                return began.elapsed();
            }
            assert!(
                began.elapsed() < Duration::from_secs(10),
                "not within 10 s: {what}\n{:#?}",
                self.kernel.underlay()
            );
            if !self.kernel.round(Instant::now()).busy {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// Goes round for a while.
    pub fn for_a_while(&mut self, time: Duration) {
        let end = Instant::now() + time;
        self.until("time goes by", |_| Instant::now() >= end);
    }

    /// The ways to a remote VTEP: uplink, last octet of the next hop's MAC address, and weight.
    pub fn ways(&self, remote: &str) -> Vec<(u16, u8, u32)> {
        ways(&self.kernel, remote)
    }
}

/// As [`Followed::ways`].
pub fn ways(kernel: &Kernel, remote: &str) -> Vec<(u16, u8, u32)> {
    way_list(kernel, remote).iter().map(|way| (way.port.0, way.mac.0[5], way.weight)).collect()
}

/// The ways to a remote VTEP.
pub fn way_list(kernel: &Kernel, remote: &str) -> Vec<Way> {
    let remote: std::net::IpAddr = remote.parse().expect("an address");
    kernel.ways().find(|(address, _)| *address == remote).map(|(_, ways)| ways.list.clone()).unwrap_or_default()
}

/// Station `number`.
pub fn mac(number: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, number])
}

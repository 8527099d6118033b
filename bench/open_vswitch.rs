//! Open vSwitch with DPDK as a rival: its own database and daemon, in a folder and a network namespace of their own.

mod tally;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use self::tally::Tally;
use crate::interrupt;
use crate::measurement::{Case, Direction, Means, Outcome, median};
use crate::testbed::{Fallible, traffic_folder};
use crate::traffic::{Capture, Captures, Frames, Population, Set, UPLINK_MAC, Underlay, neighbour_mac};

/// Debian's build with DPDK.
const DAEMON: &str = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk";
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";
/// The hugepages it is given, in MiB: its pools hold the captures as well.
pub const MEMORY_MIB: u32 = 768;
/// How long its parts may take to appear.
const PATIENCE: Duration = Duration::from_secs(30);
/// What it gets to install the flows of all packets, and to warm up after a pause.
const LEARNING: Duration = Duration::from_secs(4);
const SETTLING: Duration = Duration::from_millis(300);
/// Reading its counters takes a message to it, so its windows are longer than others'.
const WINDOW: Duration = Duration::from_millis(100);

/// Whether it is installed.
pub fn is_installed() -> bool {
    [DAEMON, SCHEMA].iter().all(|path| Path::new(path).exists())
}

/// Whether it can be measured: `net_pcap` does not take an MTU from it, a VXLAN port for each pair of VNI and remote VTEP
/// is thousands beyond the small set, and over IPv6 it always makes UDP checksums.
pub fn covers(case: &Case) -> bool {
    case.set == Set::Small && case.frames == Frames::Short && case.underlay != Underlay::Ipv6Zero
}

/// A running switch; paused but for its own measurements, ended when dropped.
pub struct OpenVswitch {
    folder: PathBuf,
    file_prefix: String,
    database: Option<Child>,
    switch: Option<Child>,
    direction: Direction,
}

impl OpenVswitch {
    /// Starts it with the bridges of this case, its poll-mode thread on the core under test.
    ///
    /// # Errors
    /// Whatever it does not do, in its own words.
    pub fn start(case: &Case, means: &Means) -> Fallible<Self> {
        let process = std::process::id();
        let folder = std::env::temp_dir().join(format!("vtepd-bench-ovs-{process}"));
        fs::create_dir(&folder)?;
        // From here on, dropping it takes everything down.
        let mut this = Self {
            folder,
            file_prefix: format!("vtepd-bench-ovs-{process}"),
            database: None,
            switch: None,
            direction: case.direction,
        };
        this.start_database()?;
        this.start_switch(means)?;
        this.make_bridges(case)?;
        let captures = case.traffic(means.seed).captures(&traffic_folder())?;
        this.add_ports(case, means, &captures)?;
        this.introduce_silent(case, means)?;
        sleep(LEARNING);
        Ok(this)
    }

    fn start_database(&mut self) -> Fallible<()> {
        let file = self.folder.join("conf.db");
        said(Command::new("ovsdb-tool").arg("create").arg(&file).arg(SCHEMA))?;
        // A namespace of its own: the bridge that has the VTEP's address is a TAP there, not in the host's.
        let mut command = self.daemon(&["unshare", "--net", "--", "ovsdb-server"]);
        command.arg(&file).arg(format!("--remote=punix:{}", self.socket().display())).arg("--no-chdir");
        self.database = Some(command.spawn()?);
        self.await_file("db.sock")?;
        self.configure(&["--no-wait", "init"])
    }

    fn start_switch(&mut self, means: &Means) -> Fallible<()> {
        let memory = if means.hugepages {
            format!("--in-memory -m {MEMORY_MIB}")
        } else {
            format!("--no-huge --no-shconf -m {MEMORY_MIB}")
        };
        let others = vtepd::daemon::cores::for_control(&[means.core]);
        let other = others.first().ok_or("no core for its other threads")?;
        self.configure(&[
            "--no-wait",
            "set",
            "Open_vSwitch",
            ".",
            "other_config:dpdk-init=true",
            &format!("other_config:dpdk-extra=\"--no-pci --no-telemetry --file-prefix={} {memory}\"", self.file_prefix),
            &format!("other_config:dpdk-lcore-mask={:#x}", 1_u64 << other),
            &format!("other_config:pmd-cpu-mask={:#x}", 1_u64 << means.core),
            // Flows outlive the pauses.
            "other_config:max-idle=3600000",
        ])?;
        let database = self.database.as_ref().map_or(0, Child::id).to_string();
        let mut command = self.daemon(&["nsenter", "--target", &database, "--net", "--", DAEMON]);
        command.arg(format!("unix:{}", self.socket().display())).arg("--no-chdir");
        command.arg(format!("--unixctl={}", self.folder.join("ctl").display()));
        command.arg(format!("--log-file={}", self.folder.join("log").display()));
        self.switch = Some(command.spawn()?);
        self.await_file("ctl")
    }

    /// A VXLAN port with an access tag for each VNI in one bridge, the VTEP's address on another.
    fn make_bridges(&self, case: &Case) -> Fallible<()> {
        let population = Population::new(case.set, 0);
        self.configure(&["add-br", "overlay", "--", "set", "bridge", "overlay", "datapath_type=netdev"])?;
        self.configure(&["set", "bridge", "overlay", "other-config:mac-table-size=1000000"])?;
        self.configure(&["add-br", "underlay", "--", "set", "bridge", "underlay", "datapath_type=netdev"])?;
        self.configure(&["set", "bridge", "underlay", &format!("other-config:hwaddr=\"{UPLINK_MAC}\"")])?;
        let mut arguments = Vec::new();
        for bridge in &population.bridges {
            let name = format!("vx{}", bridge.vlan);
            let remote = case.underlay.remote(bridge.remotes.first().copied().unwrap_or(0));
            if !arguments.is_empty() {
                arguments.push("--".to_owned());
            }
            arguments.extend(["add-port".to_owned(), "overlay".to_owned(), name.clone()]);
            arguments.push(format!("tag={}", bridge.vlan));
            arguments.extend(["--", "set", "interface"].map(str::to_owned));
            arguments.extend([name, "type=vxlan".to_owned()]);
            arguments.push(format!("options:remote_ip={remote}"));
            arguments.push(format!("options:key={}", bridge.vni));
        }
        self.configure(&arguments)
    }

    fn add_ports(&self, case: &Case, means: &Means, captures: &Captures) -> Fallible<()> {
        let silence = self.folder.join("silence.pcap");
        Capture::create(&silence)?.finish(&silence)?;
        let add = |bridge: &str, number: usize, file: &Path, brings: Direction| {
            let device = if [brings, Direction::Both].contains(&case.direction) {
                format!("net_pcap{number},rx_pcap={},infinite_rx=1", file.display())
            } else {
                format!("net_pcap{number},rx_pcap={}", silence.display())
            };
            let (name, device) = (format!("port{number}"), format!("options:dpdk-devargs=\"{device}\""));
            self.configure(&["add-port", bridge, &name, "--", "set", "interface", &name, "type=dpdk", &device])
        };
        add("underlay", 0, &captures.uplink, Direction::Decap)?;
        let database = self.database.as_ref().map_or(0, Child::id).to_string();
        let inside = |arguments: &[&str]| {
            said(Command::new("nsenter").args(["--target", &database, "--net", "--", "ip"]).args(arguments))
        };
        // An IPv6 address that is still looked for in the network is not used.
        let local = format!("{}/8", case.underlay.local());
        let nodad: &[&str] = if case.underlay == Underlay::Ipv4 { &[] } else { &["nodad"] };
        inside(&[&["address", "add", &local, "dev", "underlay"], nodad].concat())?;
        inside(&["link", "set", "underlay", "up"])?;
        for remote in 0..case.set.numbers().remotes {
            let (address, mac) = (case.underlay.remote(remote).to_string(), neighbour_mac(remote).to_string());
            self.ask(&["tnl/arp/set", "underlay", &address, &mac])?;
        }
        add("overlay", 1, &captures.access, Direction::Encap)?;
        if !means.hugepages {
            eprintln!("  Open vSwitch, like the others, without hugepages");
        }
        Ok(())
    }

    /// Of traffic in one direction, nobody answers: whom it goes to is made known.
    fn introduce_silent(&self, case: &Case, means: &Means) -> Fallible<()> {
        if case.direction == Direction::Both {
            return Ok(());
        }
        let population = Population::new(case.set, means.seed);
        let behind_remotes = case.direction == Direction::Encap;
        for station in population.stations().filter(|station| station.remote.is_some() == behind_remotes) {
            let vlan = population.bridges.get(station.bridge as usize).map_or(0, |bridge| bridge.vlan).to_string();
            let port = if behind_remotes { format!("vx{vlan}") } else { "port1".to_owned() };
            self.ask(&["fdb/add", "overlay", &port, &vlan, &station.mac.to_string()])?;
        }
        Ok(())
    }

    /// Lets it run for one round.
    ///
    /// # Errors
    /// Where it does not say what it did.
    pub fn measure(&mut self, means: &Means) -> Fallible<Outcome> {
        self.signal(Signal::SIGCONT)?;
        let outcome = self.sample(means);
        self.signal(Signal::SIGSTOP)?;
        outcome
    }

    fn sample(&self, means: &Means) -> Fallible<Outcome> {
        sleep(SETTLING);
        let hz = cycles_per_second()?;
        let statistics = self.poll_thread_statistics()?;
        let read = || -> Fallible<(Tally, u64, Instant)> {
            let tally = self.tally()?;
            let times = fs::read_to_string(&statistics)?;
            Ok((tally, times.split(' ').next().unwrap_or_default().parse()?, Instant::now()))
        };
        let first = read()?;
        let (mut last, mut windows) = (first.clone(), Vec::new());
        while first.2.elapsed() < Duration::from_millis(means.milliseconds).max(5 * WINDOW) {
            sleep(WINDOW);
            interrupt::check()?;
            let now = read()?;
            let packets = now.0.sent() - last.0.sent();
            if packets > 0 {
                windows.push((now.1 - last.1) as f64 * hz as f64 / 1e9 / packets as f64);
            }
            last = now;
        }
        last.0.refuse_losses(&first.0, self.direction)?;
        let packets = last.0.sent() - first.0.sent();
        Ok(Outcome {
            cycles: median(&windows),
            least: windows.iter().copied().fold(f64::INFINITY, f64::min),
            wall_cycles: (last.2 - first.2).as_secs_f64() * hz as f64 / packets as f64,
            packets,
            cycles_per_second: hz,
            stations: (self.ask(&["fdb/show", "overlay"])?.lines().count() as u64).saturating_sub(1),
            learned: 0,
        })
    }

    /// What it did so far.
    fn tally(&self) -> Fallible<Tally> {
        Tally::read(&self.ask(&["dpctl/show", "-s"])?, &self.ask(&["coverage/show"])?)
    }

    /// The file whose first number is the processor time of its poll-mode thread, in nanoseconds, as of the last
    /// scheduler tick: another process's clocks cannot be read as one's own.
    fn poll_thread_statistics(&self) -> Fallible<PathBuf> {
        let process = self.switch.as_ref().map_or(0, Child::id);
        for task in fs::read_dir(format!("/proc/{process}/task"))? {
            let task = task?.path();
            if fs::read_to_string(task.join("comm"))?.starts_with("pmd-") {
                return Ok(task.join("schedstat"));
            }
        }
        Err("it has no poll-mode thread".into())
    }

    fn signal(&self, signal: Signal) -> Fallible<()> {
        let process = self.switch.as_ref().ok_or("it does not run")?.id();
        Ok(kill(Pid::from_raw(process as i32), signal)?)
    }

    /// A command whose process ends with this one, however that ends.
    fn daemon(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).args(arguments);
        for variable in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR"] {
            command.env(variable, &self.folder);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn configure<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Fallible<()> {
        let database = format!("--db=unix:{}", self.socket().display());
        said(Command::new("ovs-vsctl").args([&database, "--timeout=60"]).args(arguments)).map(drop)
    }

    fn ask(&self, arguments: &[&str]) -> Fallible<String> {
        said(Command::new("ovs-appctl").arg("--target").arg(self.folder.join("ctl")).args(arguments))
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("db.sock")
    }

    fn await_file(&self, name: &str) -> Fallible<()> {
        let began = Instant::now();
        while !self.folder.join(name).exists() {
            if began.elapsed() > PATIENCE {
                return Err(format!("Open vSwitch did not make its {name}").into());
            }
            interrupt::check()?;
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for OpenVswitch {
    fn drop(&mut self) {
        for child in [self.switch.take(), self.database.take()].iter_mut().flatten() {
            // Killed, not asked: it may be stopped. The kernel removes its namespace and its memory.
            if child.kill().and_then(|()| child.wait()).is_err() {
                eprintln!("Open vSwitch's process {} could not be ended", child.id());
            }
        }
        for folder in [self.folder.clone(), Path::new("/var/run/dpdk").join(&self.file_prefix)] {
            if folder.exists()
                && let Err(error) = fs::remove_dir_all(&folder)
            {
                eprintln!("{} stays: {error}", folder.display());
            }
        }
    }
}

/// Runs a command to its end and gives what it wrote.
fn said(command: &mut Command) -> Fallible<String> {
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let program = command.get_program().to_string_lossy().into_owned();
        return Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim()).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The rate of the time-stamp counter, measured against the clock: DPDK is not started in this process.
fn cycles_per_second() -> Fallible<u64> {
    let (cycles, began) = (vtepd::dpdk::clock::cycles(), Instant::now());
    sleep(Duration::from_millis(50));
    let passed = began.elapsed().as_secs_f64();
    Ok(((vtepd::dpdk::clock::cycles() - cycles) as f64 / passed) as u64)
}

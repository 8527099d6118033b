//! The traffic that everything is measured with: made from a seed, written as capture files that `net_pcap` repeats.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use vtepd::wire::MacAddr;
use vtepd::wire::checksum::{Checksum, pseudo_header_ipv6};

/// The format of the files; part of their names, so that a change makes new ones.
pub const FORMAT: u32 = 1;
/// What `net_pcap` calls the first port of a process. It takes no other address.
pub const UPLINK_MAC: MacAddr = MacAddr([0x02, 0x70, 0x63, 0x61, 0x70, 0x00]);
/// The UDP port of VXLAN.
pub const VXLAN_PORT: u16 = 4789;
/// The bytes of an access tag.
const TAG: usize = 4;
/// UDP.
const UDP: u8 = 17;

/// How much there is of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Set {
    /// 64 VNIs, 2048 MACs, 4096 flows, one remote VTEP
    Small,
    /// 1000 VNIs, 100,000 MACs, 64,000 flows, 64 remote VTEPs
    Mid,
    /// 4000 VNIs, 1,000,000 MACs, 1,000,000 flows, 1000 remote VTEPs
    Large,
}

/// The lengths of the access frames in bytes, access tag included, frame check sequence not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum, Serialize, Deserialize)]
pub enum Frames {
    /// 64 bytes
    #[value(name = "64")]
    #[serde(rename = "64")]
    Short,
    /// 64, 570 and 1500 bytes, as 7 to 4 to 1
    #[value(name = "imix")]
    #[serde(rename = "imix")]
    Imix,
    /// 1500 bytes
    #[value(name = "1500")]
    #[serde(rename = "1500")]
    Long,
}

/// The fabric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Underlay {
    /// IPv4, UDP checksum zero
    Ipv4,
    /// IPv6, UDP checksums made and verified
    Ipv6,
    /// IPv6, UDP checksum zero
    Ipv6Zero,
}

/// A set's numbers.
#[derive(Clone, Copy, Debug)]
pub struct Numbers {
    /// Bridges, each a VNI and a VLAN.
    pub bridges: u32,
    /// Stations, half of them behind the access port and half behind remote VTEPs.
    pub macs: u32,
    /// Flows in each direction; a capture file has one frame of each.
    pub flows: u32,
    /// Remote VTEPs.
    pub remotes: u32,
}

/// Remote VTEPs that one bridge has, where there are that many.
const REMOTES_PER_BRIDGE: u32 = 4;

impl Set {
    /// The numbers.
    pub const fn numbers(self) -> Numbers {
        match self {
            Self::Small => Numbers { bridges: 64, macs: 2048, flows: 4096, remotes: 1 },
            Self::Mid => Numbers { bridges: 1000, macs: 100_000, flows: 64_000, remotes: 64 },
            Self::Large => Numbers { bridges: 4000, macs: 1_000_000, flows: 1_000_000, remotes: 1000 },
        }
    }
}

impl Frames {
    /// The length of the `number`th access frame in bytes.
    fn length(self, number: u32) -> usize {
        match self {
            Self::Short => 64,
            Self::Long => 1500,
            Self::Imix => match number % 12 {
                0..7 => 64,
                7..11 => 570,
                _ => 1500,
            },
        }
    }
}

impl Underlay {
    /// The gateway's own address.
    pub const fn local(self) -> IpAddr {
        match self {
            Self::Ipv4 => IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
            Self::Ipv6 | Self::Ipv6Zero => IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1)),
        }
    }

    /// The address of a remote VTEP.
    pub const fn remote(self, number: u32) -> IpAddr {
        let [_, _, high, low] = number.to_be_bytes();
        match self {
            Self::Ipv4 => IpAddr::V4(Ipv4Addr::new(10, 1, high, low)),
            Self::Ipv6 | Self::Ipv6Zero => IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 1, 0, 0, 0, number as u16)),
        }
    }
}

/// The MAC address of the next hop towards a remote VTEP.
pub const fn neighbour_mac(remote: u32) -> MacAddr {
    let [_, _, high, low] = remote.to_be_bytes();
    MacAddr([0x02, 0, 0, 0xbb, high, low])
}

/// SplitMix64: the same numbers from the same seed, everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// A bridge: its VNI, its VLAN on the access port, its remote VTEPs.
pub struct Bridge {
    /// The VNI.
    pub vni: u32,
    /// The VLAN.
    pub vlan: u16,
    /// The numbers of its remote VTEPs.
    pub remotes: Vec<u32>,
}

/// A station.
#[derive(Clone, Copy)]
pub struct Station {
    /// Its bridge's number.
    pub bridge: u32,
    /// Its MAC address.
    pub mac: MacAddr,
    /// The remote VTEP it is behind; none behind the access port.
    pub remote: Option<u32>,
}

/// Who there is: what the config, the FDB and the frames are made from.
pub struct Population {
    numbers: Numbers,
    seed: u64,
    /// The bridges.
    pub bridges: Vec<Bridge>,
}

impl Population {
    /// The population of a set, the same for the same seed.
    pub fn new(set: Set, seed: u64) -> Self {
        Self::with_flows(set, seed, set.numbers().flows)
    }

    /// The same population, with another number of flows in each direction.
    pub fn with_flows(set: Set, seed: u64, flows: u32) -> Self {
        let numbers = Numbers { flows, ..set.numbers() };
        let share = REMOTES_PER_BRIDGE.min(numbers.remotes);
        let bridge = |number: u32| Bridge {
            // Over the whole of the VNI space.
            vni: 4096 + number * 4001,
            vlan: 2 + number as u16,
            remotes: (0..share).map(|place| (number * share + place) % numbers.remotes).collect(),
        };
        Self { numbers, seed, bridges: (0..numbers.bridges).map(bridge).collect() }
    }

    /// How much there is of everything.
    pub const fn numbers(&self) -> &Numbers {
        &self.numbers
    }

    /// Stations of one bridge on each side.
    fn side(&self) -> u32 {
        self.numbers.macs / self.numbers.bridges / 2
    }

    /// All stations.
    pub fn stations(&self) -> impl Iterator<Item = Station> + '_ {
        let bridges = 0..self.numbers.bridges;
        bridges.flat_map(move |bridge| {
            (0..self.side()).flat_map(move |place| [self.local(bridge, place), self.behind_remote(bridge, place)])
        })
    }

    /// How many stations there are.
    pub fn station_count(&self) -> usize {
        (self.numbers.bridges * self.side() * 2) as usize
    }

    fn local(&self, bridge: u32, place: u32) -> Station {
        Station { bridge, mac: self.mac(bridge, place * 2), remote: None }
    }

    fn behind_remote(&self, bridge: u32, place: u32) -> Station {
        let remotes = self.bridges.get(bridge as usize).map_or(&[][..], |bridge| &bridge.remotes);
        let remote = remotes.get(place as usize % remotes.len().max(1)).copied();
        Station { bridge, mac: self.mac(bridge, place * 2 + 1), remote }
    }

    /// Like the addresses of machines: vendors' prefixes in front, no order behind; unique by its last bytes.
    fn mac(&self, bridge: u32, place: u32) -> MacAddr {
        let number = u64::from(bridge) << 20 | u64::from(place);
        // An odd factor maps the 40 bits one to one.
        let spread = number.wrapping_mul(0x9e_3779_b97f | 1).wrapping_add(self.seed) & 0xff_ffff_ffff;
        MacAddr::from_u64(0x02 << 40 | spread)
    }

    /// The `number`th flow: a pair of stations of one bridge.
    fn flow(&self, number: u32) -> (Station, Station) {
        let (bridge, place, side) = (number % self.numbers.bridges, number / self.numbers.bridges, self.side());
        // Every station is in a flow, and no pair is in two as long as there are pairs.
        (self.local(bridge, place % side), self.behind_remote(bridge, (place + place / side) % side))
    }
}

/// One measurement's traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Traffic {
    /// How much.
    pub set: Set,
    /// How long.
    pub frames: Frames,
    /// Over what.
    pub underlay: Underlay,
    /// The seed it is made from.
    pub seed: u64,
}

/// The two capture files.
#[derive(Clone, Debug)]
pub struct Captures {
    /// What arrives at the access port.
    pub access: PathBuf,
    /// What arrives at the uplink.
    pub uplink: PathBuf,
}

impl Captures {
    /// Capture files of this name in `folder`, of frames that arrive at the access port and packets that arrive at the
    /// uplink; made where they are not there.
    ///
    /// # Errors
    /// Where they cannot be written.
    pub fn in_folder(folder: &Path, stem: &str, packets: impl Iterator<Item = (Vec<u8>, Vec<u8>)>) -> io::Result<Self> {
        let captures = Self {
            access: folder.join(format!("{stem}-access.pcap")),
            uplink: folder.join(format!("{stem}-uplink.pcap")),
        };
        if captures.access.exists() && captures.uplink.exists() {
            return Ok(captures);
        }
        fs::create_dir_all(folder)?;
        let mut access = Capture::create(&captures.access)?;
        let mut uplink = Capture::create(&captures.uplink)?;
        for (frame, packet) in packets {
            access.write(&frame)?;
            uplink.write(&packet)?;
        }
        access.finish(&captures.access)?;
        uplink.finish(&captures.uplink)?;
        Ok(captures)
    }
}

impl Traffic {
    /// The capture files in `folder`; made where they are not there.
    ///
    /// # Errors
    /// Where they cannot be written.
    pub fn captures(&self, folder: &Path) -> io::Result<Captures> {
        let stem = format!(
            "{}-{}-{}-{}-v{FORMAT}",
            name_of(&self.set),
            name_of(&self.frames),
            name_of(&self.underlay),
            self.seed
        );
        Captures::in_folder(folder, &stem, self.packets(&Population::new(self.set, self.seed)))
    }

    /// The frames that arrive at the access port, each with the packet that arrives at the uplink in its place.
    pub fn packets<'a>(&'a self, population: &'a Population) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> + 'a {
        self.packets_of_bridges(population).map(|(frame, packet, _)| (frame, packet))
    }

    /// [`Traffic::packets`], each pair with its bridge's number.
    pub fn packets_of_bridges<'a>(
        &'a self,
        population: &'a Population,
    ) -> impl Iterator<Item = (Vec<u8>, Vec<u8>, u32)> + 'a {
        self.packets_spoken_by(population, |_, station| station)
    }

    /// [`Traffic::packets_of_bridges`], where packets that arrive at the uplink are from whom `speaker` says, of the
    /// number of a flow and the station behind a remote VTEP that it has.
    pub fn packets_spoken_by<'a>(
        &'a self,
        population: &'a Population,
        speaker: impl Fn(u32, Station) -> Station + 'a,
    ) -> impl Iterator<Item = (Vec<u8>, Vec<u8>, u32)> + 'a {
        let mut order: Vec<u32> = (0..population.numbers.flows).collect();
        let mut random = Random(self.seed);
        for last in (1..order.len()).rev() {
            order.swap(last, random.below(last + 1));
        }
        order.into_iter().filter_map(move |number| {
            let (local, remote) = population.flow(number);
            let bridge = population.bridges.get(local.bridge as usize)?;
            let length = self.frames.length(number);
            let frame = tagged(&inner(local.mac, remote.mac, number, length - TAG), bridge.vlan);
            let speaker = speaker(number, remote);
            let answer = inner(speaker.mac, local.mac, number, length - TAG);
            let packet = self.encapsulated(&answer, bridge.vni, speaker.remote.unwrap_or(0), random.next());
            Some((frame, packet, local.bridge))
        })
    }

    /// A frame as a remote VTEP sends it.
    fn encapsulated(&self, frame: &[u8], vni: u32, remote: u32, entropy: u64) -> Vec<u8> {
        let udp_length = (16 + frame.len()) as u16;
        let mut packet = Vec::with_capacity(70 + frame.len());
        packet.extend(UPLINK_MAC.0);
        packet.extend(neighbour_mac(remote).0);
        let checksum_at = match (self.underlay.remote(remote), self.underlay.local()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                packet.extend(0x0800_u16.to_be_bytes());
                packet.extend(ipv4(source, destination, udp_length));
                None
            }
            (source, destination) => {
                packet.extend(0x86dd_u16.to_be_bytes());
                packet.extend((6_u32 << 28 | (entropy >> 32) as u32 & 0xf_ffff).to_be_bytes());
                packet.extend(udp_length.to_be_bytes());
                packet.extend([UDP, 64]);
                for address in [source, destination] {
                    if let IpAddr::V6(address) = address {
                        packet.extend(address.octets());
                    }
                }
                (self.underlay == Underlay::Ipv6).then_some(packet.len() + 6)
            }
        };
        let udp_at = packet.len();
        packet.extend((0xc000 | entropy as u16 & 0x3fff).to_be_bytes());
        packet.extend(VXLAN_PORT.to_be_bytes());
        packet.extend(udp_length.to_be_bytes());
        packet.extend([0, 0, 0x08, 0, 0, 0]);
        packet.extend((vni << 8).to_be_bytes());
        packet.extend(frame);
        if let Some(at) = checksum_at
            && let (IpAddr::V6(source), IpAddr::V6(destination)) = (self.underlay.remote(remote), self.underlay.local())
        {
            let mut sum = pseudo_header_ipv6(source, destination, UDP, u32::from(udp_length));
            sum.add_bytes(packet.get(udp_at..).unwrap_or_default());
            let sum = sum.finish_udp().to_be_bytes();
            packet.splice(at..at + 2, sum);
        }
        packet
    }
}

/// The IPv4 address of a station.
pub fn host(mac: MacAddr) -> Ipv4Addr {
    Ipv4Addr::from(0xac10_0000 | mac.to_u64() as u32 & 0xf_ffff)
}

/// An untagged frame of `length` bytes: IPv4, UDP, ports by the flow's number.
fn inner(source: MacAddr, destination: MacAddr, number: u32, length: usize) -> Vec<u8> {
    let mut frame = Vec::with_capacity(length);
    frame.extend(destination.0);
    frame.extend(source.0);
    frame.extend(0x0800_u16.to_be_bytes());
    let udp_length = (length - 34) as u16;
    frame.extend(ipv4(host(source), host(destination), udp_length));
    frame.extend((1024 + (number >> 12) as u16).to_be_bytes());
    frame.extend((4096 + (number & 0xfff) as u16).to_be_bytes());
    frame.extend(udp_length.to_be_bytes());
    frame.extend([0, 0]);
    frame.resize(length, 0x5a);
    frame
}

/// The frame with an access tag.
fn tagged(frame: &[u8], vlan: u16) -> Vec<u8> {
    let (addresses, rest) = frame.split_at_checked(12).unwrap_or_default();
    [addresses, &[0x81, 0x00], &vlan.to_be_bytes(), rest].concat()
}

/// An IPv4 header in front of UDP.
fn ipv4(source: Ipv4Addr, destination: Ipv4Addr, udp_length: u16) -> [u8; 20] {
    let mut header = [0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, UDP, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    header[2..4].copy_from_slice(&(20 + udp_length).to_be_bytes());
    header[12..16].copy_from_slice(&source.octets());
    header[16..20].copy_from_slice(&destination.octets());
    let mut sum = Checksum::new();
    sum.add_bytes(&header);
    header[10..12].copy_from_slice(&sum.finish().to_be_bytes());
    header
}

/// A capture file under way. It has its name only once it is whole.
pub struct Capture {
    file: BufWriter<File>,
    unfinished: PathBuf,
}

impl Capture {
    /// Begins a file of this name.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn create(path: &Path) -> io::Result<Self> {
        let unfinished = path.with_extension(format!("{}", std::process::id()));
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&unfinished)?);
        // libpcap's file header: magic, version 2.4, zone, accuracy, snapshot length, Ethernet.
        for word in [0xa1b2_c3d4_u32, 4 << 16 | 2, 0, 0, 65535, 1] {
            file.write_all(&word.to_ne_bytes())?;
        }
        Ok(Self { file, unfinished })
    }

    fn write(&mut self, frame: &[u8]) -> io::Result<()> {
        for word in [0, 0, frame.len() as u32, frame.len() as u32] {
            self.file.write_all(&word.to_ne_bytes())?;
        }
        self.file.write_all(frame)
    }

    /// Ends it.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn finish(mut self, path: &Path) -> io::Result<()> {
        self.file.flush()?;
        fs::rename(&self.unfinished, path)
    }
}

/// The name of a value on the command line.
pub fn name_of(value: &impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

//! What Open vSwitch says it did, and whether that was forwarding.

use crate::measurement::Direction;
use crate::testbed::Fallible;

/// The share of what one port received that the other may not have sent: the counters are not read at one moment.
const SLACK: f64 = 0.01;
/// Counters of `coverage/show` that stand still while known stations' frames are forwarded, besides those of drops.
const UNSETTLED: [&str; 2] = ["mac_learning_moved", "mac_learning_evicted"];

/// One of its ports.
#[derive(Clone, Copy, Debug, Default)]
struct Port {
    received: u64,
    sent: u64,
    /// Refused on either way, or given up.
    lost: u64,
}

/// Its counters at one moment.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// The two ports under test.
    ports: [Port; 2],
    /// What went to any other port: floods reach the bridges' own.
    elsewhere: u64,
    /// Packets for which it had no flow.
    missed: u64,
    /// Packets that it dropped, by its own names.
    drops: Vec<(String, u64)>,
}

impl Tally {
    /// From what `dpctl/show -s` and `coverage/show` print; the ports under test are called `port0` and `port1`.
    ///
    /// # Errors
    /// Where one of them is not listed.
    pub fn read(show: &str, coverage: &str) -> Fallible<Self> {
        let mut tally = Self { drops: drops(coverage), ..Self::default() };
        let (mut found, mut current) = (0, None);
        for line in show.lines().map(str::trim) {
            if let Some(heading) = line.strip_prefix("port ") {
                current = match heading.split(' ').nth(1) {
                    Some("port0") => Some(0),
                    Some("port1") => Some(1),
                    _ => None,
                };
                found += usize::from(current.is_some());
            } else if line.starts_with("lookups:") {
                tally.missed = number(line, "missed");
                tally.drops.push(("lost upcalls".to_owned(), number(line, "lost")));
            } else if line.starts_with("RX packets:") {
                if let Some(port) = current.and_then(|place: usize| tally.ports.get_mut(place)) {
                    port.received = number(line, "packets");
                    port.lost += number(line, "errors") + number(line, "dropped");
                }
            } else if line.starts_with("TX packets:") {
                let lost = number(line, "errors") + number(line, "dropped");
                match current.and_then(|place| tally.ports.get_mut(place)) {
                    Some(port) => {
                        port.sent = number(line, "packets");
                        port.lost += lost;
                    }
                    None => tally.elsewhere += number(line, "packets") + lost,
                }
            }
        }
        if found == 2 { Ok(tally) } else { Err("Open vSwitch does not list both its ports".into()) }
    }

    /// Packets that left by the two ports.
    pub fn sent(&self) -> u64 {
        self.ports.iter().map(|port| port.sent).sum()
    }

    /// Fails where it did anything since `before` but forward what each port of this direction received through the
    /// other.
    ///
    /// # Errors
    /// Saying what it did.
    pub fn refuse_losses(&self, before: &Self, direction: Direction) -> Fallible<()> {
        let mut wrong = Vec::new();
        for ((name, now), (_, then)) in self.drops.iter().zip(&before.drops) {
            if now > then {
                wrong.push(format!("{} {name}", now - then));
            }
        }
        for (number, (now, then)) in self.ports.iter().zip(&before.ports).enumerate() {
            if now.lost > then.lost {
                wrong.push(format!("{} packets lost at port{number}", now.lost - then.lost));
            }
        }
        for (what, now, then) in
            [("sent elsewhere", self.elsewhere, before.elsewhere), ("without a flow", self.missed, before.missed)]
        {
            if now > then {
                wrong.push(format!("{} packets {what}", now - then));
            }
        }
        let ways: &[(usize, usize)] = match direction {
            Direction::Both => &[(0, 1), (1, 0)],
            Direction::Decap => &[(0, 1)],
            Direction::Encap => &[(1, 0)],
        };
        for &(from, to) in ways {
            let grown = |of: fn(&Port) -> u64, place: usize| {
                let at = |tally: &Self| tally.ports.get(place).map_or(0, of);
                at(self).saturating_sub(at(before)) as f64
            };
            let (received, sent) = (grown(|port| port.received, from), grown(|port| port.sent, to));
            if received == 0.0 || (sent - received).abs() > received * SLACK {
                wrong.push(format!("of {received} packets that port{from} received, port{to} sent {sent}"));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(format!("it did not forward all: {}", wrong.join(", ")).into()) }
    }
}

/// The number behind `name:`; 0 where there is none, or a `?` for what a port does not count.
fn number(line: &str, name: &str) -> u64 {
    let field = line.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix(':'));
    field.and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// The totals of `coverage/show` that stand still while everything is forwarded. A counter that was never hit is not
/// listed, so those of [`UNSETTLED`] are summed up, as are those of drops.
fn drops(coverage: &str) -> Vec<(String, u64)> {
    let (mut drops, mut unsettled) = (0, 0);
    for line in coverage.lines() {
        let Some((name, total)) = line.split_once(' ').zip(line.rsplit_once("total: ")).map(|(a, b)| (a.0, b.1)) else {
            continue;
        };
        let total: u64 = total.trim().parse().unwrap_or(0);
        if name.contains("drop") {
            drops += total;
        } else if UNSETTLED.contains(&name) {
            unsettled += total;
        }
    }
    vec![("dropped packets".to_owned(), drops), ("MAC addresses that moved or were evicted".to_owned(), unsettled)]
}

//! Opens the ports of the config and deals their queues out to the workers.

use std::sync::Arc;

use crossbeam::queue::ArrayQueue;
use tracing::{info, warn};

use crate::config::Config;
use crate::config::model::{self, PortRole};
use crate::control::PortFacts;
use crate::dpdk::{Device, Eal, OpenPort, PacketPool, Port, PortError, PortOptions};
use crate::tables::PortIndex;
use crate::worker::WorkerPort;
use crate::worker::outlet::{HANDOVER_CAPACITY, HandoverRing, Outlet};
use crate::worker::queues::QueuePlan;

/// A port that runs, from the control side.
#[derive(Clone)]
pub struct RunningPort {
    /// The port.
    pub port: Port,
    /// What is on its other side.
    pub role: PortRole,
    /// Its queues.
    pub plan: QueuePlan,
    /// Its MAC address and MTU.
    pub facts: PortFacts,
}

/// What one worker gets of all ports.
#[derive(Default)]
pub struct WorkerQueues {
    /// The receive queues.
    pub ports: Vec<WorkerPort>,
    /// The ways out, by port index.
    pub outlets: Vec<Outlet>,
    /// What other workers hand over.
    pub inlets: Vec<(PortIndex, HandoverRing)>,
}

/// Opens every port, in the config's order, and deals out its queues. Where one fails, those opened before it are
/// closed.
///
/// # Errors
/// [`PortError`], naming the port, what failed and what to do.
pub fn open(eal: &Eal, config: &Config, pool: &PacketPool) -> Result<(Vec<RunningPort>, Vec<WorkerQueues>), PortError> {
    let workers = config.workers.cores.len();
    let mut running = Vec::new();
    let mut queues: Vec<WorkerQueues> = (0..workers).map(|_| WorkerQueues::default()).collect();
    for (index, port) in config.ports.iter().enumerate() {
        let (opened, plan) = open_one(eal, port, workers, pool)?;
        let mac = port.mac.map_or_else(|| opened.port.mac(), Ok)?;
        let facts = PortFacts { mac, mtu: opened.port.mtu()?, receivers: plan.receive };
        info!(port = port.name, device = port.device, mac = %facts.mac, mtu = facts.mtu, "port opened");
        running.push(RunningPort { port: opened.port.clone(), role: port.role, plan, facts });
        deal(PortIndex(index as u16), opened, plan, &mut queues);
    }
    for (worker, queues) in queues.iter().enumerate() {
        if queues.ports.is_empty() {
            warn!(
                worker,
                "this worker receives from no port; give `[workers] cores` no more cores than ports have queues"
            );
        }
    }
    Ok((running, queues))
}

fn open_one(
    eal: &Eal,
    port: &model::Port,
    workers: usize,
    pool: &PacketPool,
) -> Result<(OpenPort, QueuePlan), PortError> {
    let device = Device::probe(eal, &port.name, &port.device)?;
    let can = device.capabilities();
    let plan = QueuePlan::new(workers, can.max_rx_queues, can.max_tx_queues, can.queues_in_pairs);
    if let Some(shortage) = plan.shortage(workers) {
        warn!(port = port.name, "{shortage}");
    }
    let options = PortOptions {
        rx_queues: plan.receive,
        tx_queues: plan.transmit,
        descriptors: port.descriptors,
        mtu: port.mtu,
        mac: port.mac,
        promiscuous: port.role == PortRole::Access,
        all_multicast: true,
    };
    Ok((device.open(&options, pool)?, plan))
}

/// Deals a port's queues out, by the rule of [`crate::worker::queues`].
fn deal(index: PortIndex, opened: OpenPort, plan: QueuePlan, workers: &mut [WorkerQueues]) {
    for (queue, worker) in opened.receive.into_iter().zip(workers.iter_mut()) {
        worker.ports.push(WorkerPort { index, queue });
    }
    for (queue, worker) in opened.transmit.into_iter().zip(workers.iter_mut()) {
        worker.outlets.push(Outlet::queue(queue));
    }
    for sender in usize::from(plan.transmit)..workers.len() {
        let ring: HandoverRing = Arc::new(ArrayQueue::new(HANDOVER_CAPACITY));
        if let Some(owner) = workers.get_mut(plan.transmitter(sender)) {
            owner.inlets.push((index, Arc::clone(&ring)));
        }
        if let Some(sender) = workers.get_mut(sender) {
            sender.outlets.push(Outlet::Handover(ring));
        }
    }
}

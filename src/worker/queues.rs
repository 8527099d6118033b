//! How a port's queues are dealt out to workers.
//!
//! A port gets as many receive and transmit queues as there are workers, as far as its device has them; worker *n*
//! owns queue *n*. Where there are fewer receive queues, the workers beyond them do not receive from that port. Where
//! there are fewer transmit queues, the workers beyond them hand their packets over to the worker that owns queue
//! *n* modulo their number.

/// How many queues a port is opened with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueuePlan {
    /// Receive queues.
    pub receive: u16,
    /// Transmit queues.
    pub transmit: u16,
}

impl QueuePlan {
    /// The plan for `workers` workers and a device that has at most so many queues of each kind, in pairs or not.
    #[must_use]
    pub fn new(workers: usize, max_receive: u16, max_transmit: u16, in_pairs: bool) -> Self {
        let workers = u16::try_from(workers).unwrap_or(u16::MAX).max(1);
        let most = if in_pairs { max_receive.min(max_transmit) } else { u16::MAX };
        Self {
            receive: workers.min(max_receive).min(most).max(1),
            transmit: workers.min(max_transmit).min(most).max(1),
        }
    }

    /// The worker that owns the transmit queue for what `worker` sends: itself where it owns one.
    #[must_use]
    pub fn transmitter(&self, worker: usize) -> usize {
        worker % usize::from(self.transmit.max(1))
    }

    /// What an operator should know where `workers` workers do not all have queues of their own.
    #[must_use]
    pub fn shortage(&self, workers: usize) -> Option<String> {
        let (receive, transmit) = (usize::from(self.receive), usize::from(self.transmit));
        let mut sentences = Vec::new();
        if receive < workers {
            sentences.push(format!("{} of {workers} workers do not receive from it", workers - receive));
        }
        if transmit < workers {
            sentences.push(format!("{} hand what they send over to the others", workers - transmit));
        }
        (!sentences.is_empty()).then(|| {
            format!(
                "it has {receive} receive and {transmit} transmit queues for {workers} workers: {}",
                sentences.join(", ")
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_worker_has_its_own_queues_where_the_device_has_enough() {
        let plan = QueuePlan::new(4, 16, 16, false);
        assert_eq!(plan, QueuePlan { receive: 4, transmit: 4 });
        assert!((0..4).all(|worker| plan.transmitter(worker) == worker));
        assert_eq!(plan.shortage(4), None);
    }

    #[test]
    fn workers_beyond_the_queues_do_not_receive_and_hand_over() {
        let plan = QueuePlan::new(4, 1, 2, false);
        assert_eq!(plan, QueuePlan { receive: 1, transmit: 2 });
        assert_eq!([0, 1, 2, 3].map(|worker| plan.transmitter(worker)), [0, 1, 0, 1]);
        let text = plan.shortage(4).expect("a shortage");
        assert!(text.contains("3 of 4 workers do not receive") && text.contains("2 hand"), "{text}");
    }

    #[test]
    fn a_device_that_wants_pairs_gets_pairs() {
        assert_eq!(QueuePlan::new(4, 16, 2, true), QueuePlan { receive: 2, transmit: 2 });
    }
}

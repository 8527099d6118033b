//! What others ask the control thread about the FDB, and what it answers.

use crossbeam::channel::Sender;

use super::flight_recorder::{Record, StationFilter};
use super::learning::FlushOrder;

/// A request. Who has asked may be gone by the time of the answer.
#[derive(Debug)]
pub enum FdbRequest {
    /// What became of these stations.
    History(StationFilter, Sender<Vec<Record>>),
    /// End the freeze of these stations; the answer is how many there were.
    Unfreeze(StationFilter, Sender<u64>),
    /// Forget these learned entries; the answer is how many there were, and comes when no worker acts on one any more. None
    /// where nothing is begun, for too many others wait.
    Flush(FlushOrder, Sender<Option<u64>>),
}

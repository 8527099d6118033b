//! What workers tell the writer of the bindings.

use super::BindingKey;
use crate::wire::MacAddr;
use crate::wire::nd::TargetFlags;

/// A station behind an access port said that an address is its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindingReport {
    /// Bridge and address.
    pub key: BindingKey,
    /// The station.
    pub mac: MacAddr,
    /// What it said besides, if it could.
    pub flags: Option<TargetFlags>,
}

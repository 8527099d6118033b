//! What becomes of stations: what the FDB's flight recorder has.

use super::label::labelled_enum;

labelled_enum! {
    /// What became of a station.
    StationChange {
        /// It was heard elsewhere.
        Moved = "moved",
        /// The kernel says that it is elsewhere.
        MovedByKernel = "moved_by_kernel",
        /// It moved to a port that has `max_macs` of others, and was forgotten.
        Unseated = "unseated",
        /// It was not heard of for the ageing time, and was forgotten.
        Aged = "aged",
        /// It moved too often, and stays where it is for a while.
        Frozen = "frozen",
        /// Its freeze has ended.
        Thawed = "thawed",
        /// An operator ended its freeze.
        Unfrozen = "unfrozen",
        /// The config has a static entry of it now.
        MadeStatic = "made_static",
        /// An operator had it flushed.
        Flushed = "flushed",
        /// Its bridge, port or remote VTEP left the config, or its bridge.
        LeftConfig = "left_config",
    }
}

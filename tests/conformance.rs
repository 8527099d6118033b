//! What a conforming VTEP does, row by row, through the real pipeline.
//!
//! Packets are built, and what comes out is taken apart, by etherparse; see `fixtures/`.

mod fixtures {
    pub mod frames;
    pub mod gateway;
    pub mod table;

    mod b1_b2_learning;
    mod b4_b5_addresses;
    mod b5_link_local;
    mod b6_suppression;
    mod b7_storm_control;
    mod b8_floods;
    mod clamp_mss;
    mod ecn_dscp;
    mod encapsulation;
    mod exception;
    mod m2_path_mtu;
    mod m3_jumbo;
    mod own_address;
    mod qos_priorities;
    mod snooping;
    mod u1_v5_v13_checksums;
    mod u2_ipv6_headers;
    mod v10_split_horizon;
    mod v11_v12_lengths;
    mod v12_everywhere;
    mod v1_v2_v3_v8_header;
    mod v4_source_port;
    mod v6_mtu;
    mod v7_tags;
    mod v7_vlan_modes;
    mod v9_underlay_groups;
}

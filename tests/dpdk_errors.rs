//! What a person reads when a device, a pool or DPDK itself cannot be had.

#![cfg(feature = "dpdk")]

mod support;

use vtepd::dpdk::{Device, Eal, EalOptions, PacketPool, PortOptions};

/// Names the running instance to the second process of this test.
const SECOND: &str = "VTEPD_TEST_SECOND_PROCESS_OF";

#[track_caller]
fn says<T>(result: Result<T, impl std::fmt::Display>, parts: &[&str]) {
    let Err(error) = result else { panic!("no error, where {parts:?} should be said") };
    let text = error.to_string();
    println!("{text}");
    assert!(!text.contains('\n'), "one sentence: {text}");
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

#[test]
fn each_failure_names_the_port_and_the_remedy() {
    if let Ok(file_prefix) = std::env::var(SECOND) {
        let second = EalOptions { file_prefix, hugepages: false, memory_mib: 64, ..EalOptions::default() };
        says(Eal::start(&second), &["another process", "file_prefix"]);
        return;
    }
    let before_dpdk = EalOptions { hugepages: false, file_prefix: support::prefix("errors"), ..EalOptions::default() };
    says(Eal::start(&EalOptions { file_prefix: "a/b".to_owned(), ..before_dpdk.clone() }), &["file_prefix", "a/b"]);
    says(
        Eal::start(&EalOptions { hugepages: true, memory_mib: u32::MAX, ..before_dpdk.clone() }),
        &["hugepages", "sysctl -w vm.nr_hugepages=", "memory_mib", "hugepages = false"],
    );
    says(Eal::start(&EalOptions { control_cores: vec![900], ..before_dpdk.clone() }), &["900", "online"]);
    says(
        Eal::start(&EalOptions { extra_arguments: vec!["a\0b".to_owned()], ..before_dpdk.clone() }),
        &["NUL", "eal_arguments"],
    );

    let eal = support::start("errors");
    let folder = support::run_folder("errors");
    a_second_process_of_the_name_is_refused();
    assert!(folder.exists(), "the second process took the first one's folder away");
    says(Eal::start(&before_dpdk), &["already started", "new process"]);
    says(Device::probe(&eal, "uplink0", "net_nosuch0,x=1"), &["`uplink0`", "net_nosuch", "apt-cache search"]);
    says(
        Device::probe(&eal, "uplink0", "net_af_packet0,iface=nosuch9"),
        &["`uplink0`", "net_af_packet0", "no interface `nosuch9`"],
    );
    says(Device::probe(&eal, "uplink0", "net_pcap0,rx_pcap=/nonexistent.pcap"), &["`uplink0`", "/nonexistent.pcap"]);
    says(
        Device::probe(&eal, "trunk0", "fa17:01:10.0"),
        &["`trunk0`", "no PCI device fa17:01:10.0", "vfio-pci", "dpdk-devbind.py"],
    );
    if let Some(address) = a_pci_device_of_the_kernel() {
        says(Device::probe(&eal, "trunk0", &address), &["`trunk0`", &address, "dpdk-devbind.py --bind=vfio-pci"]);
    }

    says(PacketPool::create(&eal, 0), &["0 packet buffers"]);
    says(PacketPool::create(&eal, 1 << 20), &["memory_mib", "packet_buffers"]);
    let pool = PacketPool::create(&eal, 1023).expect("pool");
    let null = |queues| PortOptions { rx_queues: queues, ..PortOptions::default() };
    let most = {
        let device = Device::probe(&eal, "null0", "net_null0").expect("probe");
        let most = device.capabilities().max_rx_queues;
        says(device.open(&null(most + 1), &pool), &["`null0`", "receive queues", "workers"]);
        most
    };
    // A port that failed to open is closed: its device can be had again.
    let device = Device::probe(&eal, "null0", "net_null0").expect("probe again");
    assert_eq!(device.capabilities().max_rx_queues, most);
    says(device.open(&PortOptions { mtu: Some(10), ..null(1) }, &pool), &["`null0`", "mtu = 10", "choose"]);
}

fn a_second_process_of_the_name_is_refused() {
    let this = std::env::current_exe().expect("this test");
    let second = std::process::Command::new(this).env(SECOND, support::prefix("errors")).output().expect("runs");
    assert!(second.status.success(), "{}", String::from_utf8_lossy(&second.stdout));
}

/// A PCI device that is not bound to vfio-pci, where the machine has one.
fn a_pci_device_of_the_kernel() -> Option<String> {
    let devices = std::fs::read_dir("/sys/bus/pci/devices").ok()?;
    devices.flatten().find_map(|device| {
        let driver = std::fs::read_link(device.path().join("driver")).ok();
        let bound = driver.is_some_and(|driver| driver.ends_with("vfio-pci"));
        (!bound).then(|| device.file_name().to_string_lossy().into_owned())
    })
}

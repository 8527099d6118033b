//! The claims of the essay at the top of `tables::bindings`, under every order of operations that the memory model allows,
//! by loom:
//!
//! ```text
//! RUSTFLAGS="--cfg vtepd_loom" cargo test --release --no-default-features --test loom_bindings
//! ```
//!
//! Buckets have two slots here and the table two buckets, so that the search ends. In each model the main thread is the
//! writer.
#![cfg(vtepd_loom)]

use std::net::{IpAddr, Ipv6Addr};

use loom::thread;
use vtepd::tables::{AgeTick, Binding, BindingKey, BindingSource, BindingTable, BridgeIndex};
use vtepd::wire::MacAddr;
use vtepd::wire::nd::TargetFlags;

fn key(number: u16) -> BindingKey {
    let address = IpAddr::V6(Ipv6Addr::new(0xfd00, number, 0, 0, 0, 0, 0, number));
    BindingKey { bridge: BridgeIndex(number), address }
}

/// Every part of it follows from the number.
fn binding(number: u16) -> Binding {
    Binding {
        mac: MacAddr::from_u64(u64::from(number)),
        source: if number % 2 == 0 { BindingSource::Learned } else { BindingSource::Kernel },
        flags: Some(if number % 2 == 0 { TargetFlags::OVERRIDE } else { TargetFlags::ROUTER }),
        heard: AgeTick(number),
    }
}

fn explore(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.max_branches = 20_000;
    builder.check(model);
}

#[test]
fn a_binding_that_changes_is_found_as_it_was_or_as_it_is_or_not_at_all() {
    explore(|| {
        let (table, mut writer) = BindingTable::with_buckets(4, 2).expect("memory");
        writer.insert(key(1), binding(2)).expect("room");
        let reader = thread::spawn(move || {
            if let Some(found) = table.lookup(key(1)) {
                assert!(found == binding(2) || found == binding(3), "{found:?}");
            }
        });
        writer.insert(key(1), binding(3)).expect("room");
        reader.join().expect("no assertion failed");
    });
}

#[test]
fn a_slot_that_goes_to_another_address_never_gives_one_the_others_binding() {
    explore(|| {
        let (table, mut writer) = BindingTable::with_buckets(4, 2).expect("memory");
        writer.insert(key(1), binding(2)).expect("room");
        let reader = thread::spawn(move || {
            for (number, only) in [(1, binding(2)), (5, binding(7))] {
                if let Some(found) = table.lookup(key(number)) {
                    assert_eq!(found, only);
                }
            }
        });
        writer.remove(key(1)).expect("it was there");
        writer.insert(key(5), binding(7)).expect("room");
        reader.join().expect("no assertion failed");
    });
}

#[test]
fn a_binding_is_found_while_others_of_its_bucket_do_not_change() {
    explore(|| {
        let (table, mut writer) = BindingTable::with_buckets(4, 2).expect("memory");
        writer.insert(key(1), binding(2)).expect("room");
        writer.insert(key(1), binding(3)).expect("room");
        let reader = thread::spawn(move || assert_eq!(table.lookup(key(1)), Some(binding(3))));
        reader.join().expect("no assertion failed");
    });
}

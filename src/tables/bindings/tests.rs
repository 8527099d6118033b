//! The table with one thread, and with readers while the writer writes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;

use super::*;

fn key(bridge: u16, address: &str) -> BindingKey {
    BindingKey { bridge: BridgeIndex(bridge), address: address.parse().expect("an address") }
}

fn heard(mac: u64) -> Binding {
    Binding {
        mac: MacAddr::from_u64(mac),
        source: BindingSource::Learned,
        flags: Some(TargetFlags::OVERRIDE),
        heard: AgeTick(0xfffe),
    }
}

#[test]
fn what_is_put_in_is_found_as_it_was_in_its_bridge_alone() {
    let (table, mut writer) = BindingTable::with_writer(100).expect("memory");
    let sources = [BindingSource::Learned, BindingSource::Kernel, BindingSource::Kernel];
    let addresses = ["192.0.2.1", "2001:db8::1", "fe80::1"];
    for (number, (address, source)) in addresses.into_iter().zip(sources).enumerate() {
        let flags = [None, Some(TargetFlags::ROUTER), Some(TargetFlags::default())][number];
        let binding = Binding { source, flags, ..heard(0x0200_0000_0001 + number as u64) };
        assert_eq!(writer.insert(key(65534, address), binding), Ok(None));
        assert_eq!(table.lookup(key(65534, address)), Some(binding));
        assert_eq!(table.lookup(key(0, address)), None);
        assert!(table.iter().any(|found| found == (key(65534, address), binding)));
    }
    assert_eq!((table.len(), table.iter().count()), (3, 3));
    let moved = heard(0x0200_0000_0009);
    assert_eq!(writer.insert(key(65534, "fe80::1"), moved).map(|old| old.map(|old| old.source)), Ok(Some(sources[2])));
    assert_eq!(writer.remove(key(65534, "fe80::1")), Some(moved));
    assert_eq!((writer.remove(key(65534, "fe80::1")), table.lookup(key(65534, "fe80::1"))), (None, None));
    assert_eq!(table.len(), 2);
}

#[test]
fn a_full_table_refuses_and_takes_again_when_one_has_gone() {
    let (table, mut writer) = BindingTable::with_writer(3).expect("memory");
    for n in 1..=3 {
        assert_eq!(writer.insert(key(1, &format!("192.0.2.{n}")), heard(n)), Ok(None));
    }
    let late = key(1, "192.0.2.4");
    assert_eq!(writer.insert(late, heard(4)), Err(NoRoom));
    assert_eq!(writer.insert(key(1, "192.0.2.3"), heard(9)), Ok(Some(heard(3))), "one that is there is replaced");
    assert!(writer.remove(key(1, "192.0.2.1")).is_some());
    assert_eq!((writer.insert(late, heard(4)), table.len()), (Ok(None), 3));
}

#[test]
fn a_table_as_large_as_its_bindings_takes_all_of_them() {
    let count = 1 << 16;
    let (table, mut writer) = BindingTable::with_writer(count as usize).expect("memory");
    let address = |n: u32| BindingKey { bridge: BridgeIndex(7), address: std::net::Ipv4Addr::from_bits(n).into() };
    let refused = (1..=count).filter(|n| writer.insert(address(*n), heard(u64::from(*n))).is_err()).count();
    assert!(refused <= 2, "{refused} refused");
    let found = (1..=count).filter(|n| table.lookup(address(*n)) == Some(heard(u64::from(*n)))).count();
    assert_eq!((found, table.iter().count()), (count as usize - refused, table.len()));
}

#[test]
fn readers_never_see_half_a_binding() {
    let (table, mut writer) = BindingTable::with_buckets(8, 2).expect("memory");
    let stop = AtomicBool::new(false);
    let keys = [key(1, "192.0.2.1"), key(1, "2001:db8::1"), key(2, "192.0.2.1")];
    // Address and tick follow from each other.
    let binding = |n: u16| Binding { heard: AgeTick(n), ..heard(0x0200_0000_0000 | u64::from(n)) };
    std::thread::scope(|scope| {
        for key in keys {
            let (table, stop) = (&table, &stop);
            scope.spawn(move || {
                let mut found = 0u32;
                while !stop.load(Ordering::Relaxed) || found == 0 {
                    if let Some(seen) = table.lookup(key) {
                        assert_eq!(seen, binding(seen.heard.0));
                        found += 1;
                    }
                }
            });
        }
        for n in 0..20_000u16 {
            for key in keys {
                assert!(writer.insert(key, binding(n)).is_ok());
                if n % 3 == 0 && n < 19_999 {
                    assert!(writer.remove(key).is_some());
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

proptest! {
    #[test]
    fn the_table_says_what_a_map_says(steps in prop::collection::vec((0u16..3, 0u8..12, prop::option::of(0u64..5)), 0..200)) {
        let (table, mut writer) = BindingTable::with_buckets(20, 64).expect("memory");
        let mut map = HashMap::new();
        for (bridge, address, mac) in steps {
            let key = key(bridge, &if address % 2 == 0 { format!("10.0.0.{address}") } else { format!("fd00::{address}") });
            match mac {
                Some(mac) => match writer.insert(key, heard(mac)) {
                    Ok(before) => prop_assert_eq!(before, map.insert(key, heard(mac))),
                    Err(NoRoom) => prop_assert!(map.len() == 20 && !map.contains_key(&key)),
                },
                None => prop_assert_eq!(writer.remove(key), map.remove(&key)),
            }
            prop_assert_eq!(table.len(), map.len());
        }
        prop_assert_eq!(table.iter().collect::<HashMap<_, _>>(), map);
    }
}

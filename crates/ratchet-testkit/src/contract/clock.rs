use std::collections::BTreeSet;

use jiff::Timestamp;
use ratchet_engine::ports::Clock;

/// The contract of [`Clock`]: entropy never repeats, neither on one clock nor on two.
pub fn clock<C: Clock>(make: impl Fn() -> C) {
    let clocks = [make(), make()];
    let mut drawn = BTreeSet::new();
    for clock in &clocks {
        assert!(clock.now() > Timestamp::UNIX_EPOCH, "a clock tells a time after 1970");
        for _ in 0..5_000 {
            assert!(drawn.insert(clock.entropy()), "two calls never give the same bytes");
        }
    }
    for position in 0..16 {
        let values: BTreeSet<u8> = drawn.iter().map(|bytes| bytes[position]).collect();
        assert_eq!(values.len(), 256, "byte {position} takes every value");
    }
}

//! `make bench`: what a step costs, beside GNU make, a shell loop and the physical limit.

fn main() {}

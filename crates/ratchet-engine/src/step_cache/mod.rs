//! Results of steps, kept under keys for other runs: what a key is made of, and what is done with what lies under it.

mod keep;
mod material;
mod parts;

pub(crate) use keep::{Restored, expiry, judge, keep, may_rest_on_agents};
pub use keep::{check_outputs, name_of};
pub(crate) use material::{KeyFiles, Material, Parts, of_order};
pub use parts::KeyParts;

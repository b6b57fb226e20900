//! One suite per port. An adapter's tests call it with a function that makes a fresh adapter; a sentence of the port's contract that does not
//! hold panics with what was expected.

mod blob_store;
mod clock;
mod secrets;
mod state_store;

pub use blob_store::blob_store;
pub use clock::clock;
pub use secrets::secrets;
pub use state_store::state_store;

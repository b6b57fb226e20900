//! The page of `ratchet ui`, and the file of `ratchet report`, which is the same page with what it shows inside.
//!
//! `answers` says what is known, as JSON; `server` gives it to a browser that shows the token, `report` writes it into a file. The page itself is in `assets`: plain modules
//! without a build step.

mod actions;
mod answers;
mod assets;
mod bundle;
mod changes;
mod guard;
mod report;
mod server;

pub(crate) use self::{
    report::report,
    server::{Server, serve},
};

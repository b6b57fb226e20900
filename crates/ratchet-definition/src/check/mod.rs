//! What is wrong with a file: first its structure, from the table of fields, then its meaning.

pub(crate) mod defaults;
pub(crate) mod effects;
pub(crate) mod ignore;
pub(crate) mod kinds;
pub(crate) mod order;
pub(crate) mod reach;
pub(crate) mod references;
pub(crate) mod report;
pub(crate) mod secrets;
pub(crate) mod structure;
pub(crate) mod symbols;
pub(crate) mod truth;
pub(crate) mod values;

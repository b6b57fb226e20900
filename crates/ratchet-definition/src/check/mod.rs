//! What is wrong with a file: first its structure, from the table of fields, then its meaning.

pub(crate) mod report;
pub(crate) mod structure;

//! Black-box tests and repository checks: one binary, so that they link once.

mod again;
mod command;
mod crash;
mod ends;
mod example;
mod reference;
mod repository;
mod workflows;

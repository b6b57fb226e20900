//! Figures of many executions: how they ended, how long they took, what they cost and what kept results saved.
//!
//! A [`Ledger`] takes the rows in their stored form, a fact each, and sums them by workflow and by step. Of a row only what counts is read: there may be a
//! hundred thousand of them.

mod facts;
mod ledger;
mod shape;
mod tally;

#[cfg(test)]
mod tests;

pub use self::{
    facts::{AttemptFact, ParentFact, RunFact, StepFact},
    ledger::{Ledger, Name, Spent, Sums},
    shape::Shape,
    tally::{Spending, Tally, quantile},
};

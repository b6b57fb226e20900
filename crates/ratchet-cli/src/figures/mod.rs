//! Figures over many executions, as commands and pages show them.

pub(crate) mod cost;
pub(crate) mod returns;
pub(crate) mod stats;
pub(crate) mod table;

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use ratchet_core::{execution::DefinitionRef, workflow::Workflow};
use ratchet_definition::sources::compile_stored;
use ratchet_engine::{
    figures::{Shape, Sums},
    ports::BlobError,
};
use serde_json::{Value, json};

use crate::{arguments::CommonArguments, command_error::CommandError, commands::age, state::State};

/// What is said where there is nothing to count.
pub(crate) const NOTHING: &str = "there are no such executions";

/// Which executions a command is asked for.
#[derive(Debug, Args)]
pub(crate) struct Asked {
    /// Only executions of this workflow
    workflow: Option<String>,
    /// Only executions that were asked for since so long ago (`12h`, `30d`, `8w`)
    #[arg(long, value_name = "PERIOD", value_parser = age)]
    since: Option<Duration>,
}

impl Asked {
    /// What the state has of them at this moment; nothing where there is none.
    pub(crate) async fn read(&self, common: &CommonArguments) -> Result<Found, CommandError> {
        let until = Timestamp::now();
        let wanted = Wanted::new(self.workflow.as_ref(), self.since, until);
        let figures = match State::open_existing(common)? {
            Some(state) => of(&state, &wanted).await?,
            None => Figures::default(),
        };
        Ok(Found { figures, wanted, until })
    }
}

/// What a command found.
pub(crate) struct Found {
    pub(crate) figures: Figures,
    wanted: Wanted,
    until: Timestamp,
}

impl Found {
    /// Whether it is of one workflow only.
    pub(crate) fn is_of_one(&self) -> bool {
        self.wanted.workflow.is_some()
    }

    /// What is shown as JSON, with the time that it is of.
    pub(crate) fn dated(&self, mut shown: Value) -> Value {
        shown["since"] = json!(self.wanted.since);
        shown["until"] = json!(self.until);
        shown
    }
}

/// Which executions are meant.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    /// Of this workflow only.
    pub(crate) workflow: Option<String>,
    /// That were asked for from here on only.
    pub(crate) since: Option<Timestamp>,
}

impl Wanted {
    /// Of a workflow, or of all, from so long ago on.
    pub(crate) fn new(workflow: Option<&String>, since: Option<Duration>, now: Timestamp) -> Self {
        Self { workflow: workflow.cloned(), since: since.map(|age| before(now, age)) }
    }
}

/// The moment so long before another.
pub(crate) fn before(now: Timestamp, age: Duration) -> Timestamp {
    SignedDuration::try_from(age).ok().and_then(|age| now.checked_sub(age).ok()).unwrap_or(Timestamp::MIN)
}

/// What is known of executions.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// Their sums.
    pub(crate) sums: Sums,
    /// How long a person needs for what a run of a workflow does, as the definition of its newest run says.
    pub(crate) by_hand: BTreeMap<String, Duration>,
}

/// What is known of the executions that are wanted.
pub(crate) async fn of(state: &State, wanted: &Wanted) -> Result<Figures, CommandError> {
    let ledger = state.here()?.store.ledger(wanted.workflow.as_deref(), wanted.since)?;
    let mut shapes = HashMap::new();
    for (digest, definition) in ledger.definitions() {
        if let Some(workflow) = definition_of(state, &definition).await? {
            shapes.insert(digest, Shape::of(&workflow));
        }
    }
    let mut by_hand = BTreeMap::new();
    for (name, definition) in ledger.newest_definitions() {
        let workflow = definition_of(state, &definition).await?;
        by_hand.extend(workflow.and_then(|workflow| Some((name, workflow.by_hand?))));
    }
    Ok(Figures { sums: ledger.done(&shapes), by_hand })
}

/// A definition that was kept; `None` where it is gone, or this version cannot read it: then figures go without it.
async fn definition_of(state: &State, definition: &DefinitionRef) -> Result<Option<Workflow>, CommandError> {
    let text = match state.blobs.get(&definition.digest).await {
        Ok(text) => String::from_utf8(text).unwrap_or_default(),
        Err(BlobError::NotFound(_) | BlobError::Damaged(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(compile_stored(&definition.origin, &text).ok())
}

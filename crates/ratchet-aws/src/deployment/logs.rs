//! What functions say of their own work: one JSON object a line, with the names of what it is about.

use std::{env, io};

use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

/// The variable that says how much is told.
const FILTER: &str = "RATCHET_LOG";

/// What is told where nothing else is said: of the engine what happens, of everything else what goes wrong.
const USUAL: &str = "warn,ratchet_aws=info,ratchet_engine=info,ratchet_core=info,step=info,step_runner=info";

/// Begins to log. To be called once.
pub fn start() {
    let chosen = env::var(FILTER).ok().filter(|filter| !filter.is_empty());
    let filter = chosen.and_then(|filter| EnvFilter::try_new(filter).ok()).unwrap_or_else(|| EnvFilter::new(USUAL));
    let lines =
        tracing_subscriber::fmt::layer().json().flatten_event(true).with_span_list(false).with_writer(io::stdout);
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
}

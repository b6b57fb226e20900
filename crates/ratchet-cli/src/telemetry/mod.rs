//! What the engine says of its own work: structured logs on standard error, and spans for tracing systems.
//!
//! A run's trace is made here, at the edge. The span of an attempt has the identifier that its process sees in `TRACEPARENT`, and a step's and an execution's
//! follow from their names, so that whoever goes on with a run after a crash writes into the same trace.

#[cfg(feature = "otlp")]
mod otlp;
mod spans;

use std::env;

use ratchet_core::execution::TraceParent;
use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

pub(crate) use self::spans::Spans;

use crate::{
    arguments::{CommonArguments, LogFormat},
    command_error::CommandError,
    console::Console,
};

/// Begins to log, where it was asked for.
pub(crate) fn start_logging(common: &CommonArguments) -> Result<(), CommandError> {
    let Some(filter) = common.log.as_deref().filter(|filter| !filter.is_empty()) else { return Ok(()) };
    let filter = EnvFilter::try_new(filter).map_err(|error| CommandError::Argument {
        argument: "--log",
        reason: error.to_string(),
        hint: "write a level (error, warn, info, debug, trace), or target=level, separated by commas",
    })?;
    let format = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(Console::new().err.is_on());
    let layer = match common.log_format.unwrap_or(LogFormat::Text) {
        LogFormat::Text => format.with_filter(filter).boxed(),
        LogFormat::Json => format.json().flatten_event(true).with_filter(filter).boxed(),
    };
    tracing_subscriber::registry().with(layer).init();
    Ok(())
}

/// The context of a new execution's span: in the caller's trace where `TRACEPARENT` names one, else in a new one.
pub(crate) fn new_trace(entropy: [u8; 16], caller: Option<&str>) -> TraceParent {
    let own = ratchet_core::history::hex(&entropy);
    let trace = caller.and_then(trace_of).unwrap_or(&own);
    let span = &ratchet_core::history::sha256_hex(own.as_bytes())[..16];
    TraceParent(format!("00-{trace}-{span}-01"))
}

/// Whether the standard variables ask for spans to be exported.
fn export_is_wanted() -> bool {
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let is = |name: &str, wanted: &str| variable(name).is_some_and(|value| value.eq_ignore_ascii_case(wanted));
    let endpoint = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
    let off = is("OTEL_SDK_DISABLED", "true")
        || is("OTEL_TRACES_EXPORTER", "none")
        || is("OTEL_TRACES_SAMPLER", "always_off");
    !off && (endpoint.iter().any(|name| variable(name).is_some()) || is("OTEL_TRACES_EXPORTER", "otlp"))
}

/// The trace of a W3C `traceparent`, where it is a valid one.
fn trace_of(traceparent: &str) -> Option<&str> {
    let mut parts = traceparent.split('-');
    let (version, trace, span) = (parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_set = |text: &str| text.bytes().any(|byte| byte != b'0');
    let valid =
        is_hex(version, 2) && version != "ff" && is_hex(trace, 32) && is_set(trace) && is_hex(span, 16) && is_set(span);
    valid.then_some(trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_joins_the_callers_trace_or_begins_its_own() {
        let caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let joined = new_trace([7; 16], Some(caller));
        assert!(joined.0.starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{joined:?}");
        assert!(!joined.0.contains("b7ad6b7169203331"), "the execution has a span of its own");
        let wrong = [
            "",
            "00-0af7651916cd43dd8448eb211c80319c",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "x-y-z-w",
        ];
        for caller in wrong {
            let own = new_trace([7; 16], Some(caller));
            assert_eq!(own, new_trace([7; 16], None), "{caller}");
            assert_eq!(own.0.len(), 55);
        }
    }
}

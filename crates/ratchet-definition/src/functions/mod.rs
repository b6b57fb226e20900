//! What expressions can call. Each file is one family; [`vocabulary`](crate::expression::vocabulary) says which of them read files.

mod artifacts;
mod coverage;
mod extract;
mod files;
mod filters;
mod hash;
mod junit;
mod parsing;
mod xml;

use minijinja::{Environment, Error, State, Value};

pub(crate) use self::filters::quoted;
use crate::evaluate::names_of;

/// Adds every function and filter that is not the template engine's own.
pub(crate) fn register(environment: &mut Environment<'static>) {
    environment.add_function("always", || true);
    environment.add_function("success", success);
    environment.add_function("failure", failure);
    environment.add_function("now", now);
    environment.add_function("artifact", artifacts::artifact);
    environment.add_function("dir_hash", hash::dir_hash);
    environment.add_function("file_hash", hash::file_hash);
    environment.add_function("hash", hash::hash);
    environment.add_function("file_content", files::file_content);
    environment.add_function("glob", files::glob);
    environment.add_function("parse_coverage", coverage::parse_coverage);
    environment.add_function("parse_junit", junit::parse_junit);
    environment.add_function("json_parse", parsing::json_parse);
    environment.add_function("yaml_parse", parsing::yaml_parse);
    environment.add_function("extract_code_blocks", extract::extract_code_blocks);
    environment.add_function("extract_json_block", extract::extract_json_block);
    environment.add_function("extract_url", extract::extract_url);
    environment.add_filter("basename", filters::basename);
    environment.add_filter("dirname", filters::dirname);
    environment.add_filter("join", filters::join);
    environment.add_filter("json", filters::json);
    environment.add_filter("json_pretty", filters::json_pretty);
    environment.add_filter("regex_search", filters::regex_search);
    environment.add_filter("shell_quote", filters::shell_quote);
    environment.add_filter("string", filters::string);
}

/// Whether nothing above failed.
fn success(state: &State<'_, '_>) -> Result<bool, Error> {
    let needs = names_of(state)?.scope.needs;
    Ok(needs.satisfied && !needs.failed_above)
}

/// Whether a step above failed that was not told to let the run go on.
fn failure(state: &State<'_, '_>) -> Result<bool, Error> {
    Ok(names_of(state)?.scope.needs.failed_above)
}

/// The run's own time.
fn now(state: &State<'_, '_>) -> Result<Value, Error> {
    Ok(Value::from(names_of(state)?.scope.now.to_string()))
}

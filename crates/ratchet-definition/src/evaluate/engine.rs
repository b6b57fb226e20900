//! The template engine as it is set up here.

use std::sync::{Arc, LazyLock};

use minijinja::{AutoEscape, Environment, Error, Expression, State, UndefinedBehavior, Value};

use super::{
    error::Reason,
    names::{Names, names_of},
    value,
};
use crate::{functions, template};

/// What one evaluation may cost: about so many instructions, or 64 times as many bytes of text.
const FUEL: u64 = 500_000;
/// The filter that every path goes through. It is not among the known filters, so no author can call it.
pub(super) const READ: &str = "__read";

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_debug(true);
    environment.set_fuel(Some(FUEL));
    environment.set_syntax(template::syntax());
    environment.set_recursion_limit(50);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_formatter(|out, _, value| Ok(out.write_str(&value::text_of(value)?)?));
    environment.remove_global("debug");
    environment.add_filter(READ, read);
    functions::register(&mut environment);
    environment
});

/// Compiles guarded code.
pub(super) fn compile(code: String) -> Result<Expression<'static, 'static>, Error> {
    ENVIRONMENT.compile_expression_owned(code)
}

/// Renders a guarded template.
pub(super) fn render(source: &str, names: &Arc<Names>) -> Result<String, Error> {
    ENVIRONMENT.render_named_str("template", source, Value::from_dyn_object(Arc::clone(names)))
}

/// Refuses what is undefined and notes what was read, but for names that the template itself set.
fn read(state: &State<'_, '_>, value: Value, label: &str, may_be_undefined: bool, local: bool) -> Result<Value, Error> {
    if value.is_undefined() {
        if may_be_undefined {
            return Ok(value);
        }
        return Err(Reason::undefined(label).into());
    }
    if !local {
        names_of(state)?.note(label, &value);
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expression::vocabulary::{FILTERS, FUNCTIONS, TESTS};

    #[test]
    fn every_known_name_is_there_and_every_function_is_known() {
        let mut state = ENVIRONMENT.empty_state();
        let mut is = |kind: &str, name: &str| state.perform_test(kind, &[Value::from(name)]).unwrap();
        for filter in FILTERS {
            assert!(is("filter", filter), "{filter}");
        }
        for test in TESTS {
            assert!(is("test", test), "{test}");
        }
        let mut globals: Vec<&str> = ENVIRONMENT.globals().map(|(name, _)| name).collect();
        globals.sort_unstable();
        let mut known: Vec<&str> = FUNCTIONS.iter().map(|function| function.name).collect();
        known.sort_unstable();
        assert_eq!(globals, known);
    }
}

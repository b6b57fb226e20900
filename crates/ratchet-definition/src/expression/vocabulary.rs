//! The names that expressions may call, and what calling them means.

/// What is known of a function before it is called.
pub(crate) struct Function {
    /// Its name.
    pub(crate) name: &'static str,
    /// Whether it reads files.
    pub(crate) reads_files: bool,
    /// Whether it asks how the steps above ended, so that a failure there does not block the step.
    pub(crate) handles_failure: bool,
}

const fn plain(name: &'static str) -> Function {
    Function { name, reads_files: false, handles_failure: false }
}

const fn reading(name: &'static str) -> Function {
    Function { name, reads_files: true, handles_failure: false }
}

const fn handling(name: &'static str) -> Function {
    Function { name, reads_files: false, handles_failure: true }
}

/// Every function.
pub(crate) const FUNCTIONS: &[Function] = &[
    handling("always"),
    reading("artifact"),
    reading("dir_hash"),
    plain("dict"),
    plain("extract_code_blocks"),
    plain("extract_json_block"),
    plain("extract_url"),
    handling("failure"),
    reading("file_content"),
    reading("file_hash"),
    reading("glob"),
    reading("hash"),
    plain("json_parse"),
    plain("namespace"),
    plain("now"),
    reading("parse_coverage"),
    reading("parse_junit"),
    plain("range"),
    plain("success"),
    plain("yaml_parse"),
];

/// The function of this name.
pub(crate) fn function(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

/// Every filter.
pub(crate) const FILTERS: &[&str] = &[
    "abs",
    "attr",
    "basename",
    "batch",
    "bool",
    "capitalize",
    "chain",
    "count",
    "d",
    "default",
    "dictsort",
    "dirname",
    "first",
    "float",
    "format",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "json",
    "json_pretty",
    "last",
    "length",
    "lines",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "pprint",
    "regex_search",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "select",
    "selectattr",
    "shell_quote",
    "slice",
    "sort",
    "split",
    "string",
    "sum",
    "title",
    "tojson",
    "trim",
    "unique",
    "upper",
    "zip",
];

/// Every test (`is …`).
pub(crate) const TESTS: &[&str] = &[
    "boolean",
    "defined",
    "divisibleby",
    "endingwith",
    "eq",
    "equalto",
    "even",
    "false",
    "filter",
    "float",
    "ge",
    "greaterthan",
    "gt",
    "in",
    "int",
    "integer",
    "iterable",
    "le",
    "lessthan",
    "lower",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "sameas",
    "sequence",
    "startingwith",
    "string",
    "test",
    "true",
    "undefined",
    "upper",
];

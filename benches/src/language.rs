//! What the language costs: a large workflow, many expressions, and files that are made to be slow.

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use ratchet_core::{
    ids::ExecutionId,
    output::Output,
    workflow::{Expression, Template},
};
use ratchet_definition::{
    evaluate::{Evaluator, ExecutionView, Scope},
    files::NoFiles,
    parse,
};
use serde_json::json;

use crate::{
    Outcome,
    process::{self, Program, Spent},
};

/// How many expressions are evaluated.
const EXPRESSIONS: usize = 10_000;

/// What was measured of a file.
pub(crate) struct Read {
    /// What is hard about it.
    pub(crate) name: &'static str,
    pub(crate) spent: Spent,
}

/// The command validates a workflow of 1,000 steps.
pub(crate) fn validate(binary: &Path, root: &Path, rounds: usize) -> Outcome<Vec<Spent>> {
    let folder = root.join("language");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("large.yaml"), large())?;
    let program = Program { words: words(binary, &["validate", "large.yaml"]), folder };
    (0..=rounds).map(|_| process::spent(&program, &[0])).collect()
}

/// The command reads files that are made to be slow: it ends well, or with what is wrong with them.
pub(crate) fn hostile(binary: &Path, root: &Path) -> Outcome<Vec<Read>> {
    let folder = root.join("hostile");
    fs::create_dir_all(&folder)?;
    let mut read = Vec::new();
    for (number, Hostile { name, text, call }) in hostile_files().into_iter().enumerate() {
        let file = format!("{number}.yaml");
        fs::write(folder.join(&file), text)?;
        let mut arguments = vec![call[0], file.as_str()];
        arguments.extend(&call[1..]);
        let program = Program { words: words(binary, &arguments), folder: folder.clone() };
        // Wrong files are told as such, and expressions that do not end fail their step's rendering.
        read.push(Read { name, spent: process::spent(&program, &[0, 1, 2])? });
    }
    Ok(read)
}

/// Half of them templates and half expressions, each read once and evaluated ten times: seconds for all.
pub(crate) fn evaluate() -> Outcome<Duration> {
    let wrong = |text: &str| format!("{text} is no expression");
    let texts: Vec<String> = (0..EXPRESSIONS / 20)
        .map(|n| format!("step {n}: {{{{ inputs.name }}}} of {{{{ inputs.list | length + {n} }}}}"))
        .collect();
    let codes: Vec<String> = (0..EXPRESSIONS / 20)
        .map(|n| format!("inputs.count > {n} and inputs.name in inputs.list or inputs.map.x == {n}"))
        .collect();
    let templates: Vec<Template> = texts
        .iter()
        .map(|text| parse::template(text).map(|parsed| parsed.value).map_err(|_| wrong(text)))
        .collect::<Result<_, _>>()?;
    let expressions: Vec<Expression> = codes
        .iter()
        .map(|code| parse::expression(code).map(|parsed| parsed.value).map_err(|_| wrong(code)))
        .collect::<Result<_, _>>()?;
    let evaluator = Evaluator::new(scope(), Arc::new(NoFiles));
    let start = Instant::now();
    for _ in 0..10 {
        for template in &templates {
            evaluator.text(template)?;
        }
        for expression in &expressions {
            evaluator.condition(expression)?;
        }
    }
    Ok(start.elapsed())
}

fn words(binary: &Path, arguments: &[&str]) -> Vec<String> {
    std::iter::once(binary.display().to_string()).chain(arguments.iter().map(ToString::to_string)).collect()
}

const HEAD: &str = "name: w\nversion: \"1\"\n";

/// 1,000 steps as people write them: commands, conditions, values of the steps above.
fn large() -> String {
    let mut text = format!("{HEAD}inputs:\n  name: {{ type: string, default: x }}\nsteps:\n");
    for n in 0..1_000 {
        let reads = if n == 0 { "inputs.name".to_owned() } else { format!("s{}.outputs.said", n - 1) };
        let _ = write!(
            text,
            "  - id: s{n}\n    type: shell\n    name: Step {n}\n    when: \"inputs.name != 'never' and execution.id != ''\"\n    timeout: 5m\n    \
             environment:\n      VALUE: \"{{{{ {reads} }}}}\"\n    command: |\n      echo {n} > out/{n}.txt\n      printf '%s\\n' \"{{{{ {reads} }}}}\" \
             | tee log\n    outputs:\n      said: {{ type: string, from: stdout }}\n      file: ./out/{n}.txt\n"
        );
    }
    text
}

struct Hostile {
    name: &'static str,
    text: String,
    /// The command, and what stands after the file.
    call: &'static [&'static str],
}

fn hostile_files() -> Vec<Hostile> {
    const VALIDATE: &[&str] = &["validate"];
    const RENDER: &[&str] = &["render", "a"];
    let step = |n: usize, rest: &str| format!("  - {{ id: s{n}, type: template, template: x{rest} }}\n");
    let steps = |rest: &dyn Fn(usize) -> String| {
        (0..5_000).fold(format!("{HEAD}steps:\n"), |text, n| text + &step(n, &rest(n)))
    };
    let one = |template: &str| format!("{HEAD}steps:\n  - id: a\n    type: template\n    template: \"{template}\"\n");
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let parts = vec![format!("*a{}", level - 1); 10].join(", ");
        let _ = writeln!(bomb, "a{level}: &a{level} [{parts}]");
    }
    let file = |name, text, call| Hostile { name, text, call };
    vec![
        file("a bomb of aliases", HEAD.to_owned() + &bomb, VALIDATE),
        file("10 MB of one text", one(&"x ".repeat(5_000_000)), VALIDATE),
        file("10 MB of small values", format!("{HEAD}tags: [{}]\n", "a, ".repeat(3_400_000)), VALIDATE),
        file("10 MB of braces", one(&"{{ x }}".repeat(1_490_000)), VALIDATE),
        file("11 MB", "x".repeat(11 << 20), VALIDATE),
        file("lists 10,000 deep", format!("{HEAD}tags: {}{}\n", "[".repeat(10_000), "]".repeat(10_000)), VALIDATE),
        file("maps 10,000 deep", (0..10_000).fold(HEAD.to_owned(), |text, n| text + &" ".repeat(n) + "a:\n"), VALIDATE),
        file(
            "parentheses 10,000 deep",
            one(&format!("{{{{ {}1{} }}}}", "(".repeat(10_000), ")".repeat(10_000))),
            VALIDATE,
        ),
        file(
            "subshells 10,000 deep",
            format!(
                "{HEAD}steps:\n  - id: a\n    type: shell\n    command: \"{}{{{{ env.X }}}}\"\n",
                "( ".repeat(10_000)
            ),
            VALIDATE,
        ),
        file("5,000 steps in a row", steps(&|_| String::new()), VALIDATE),
        file("5,000 steps at once", steps(&|_| ", needs: []".to_owned()), VALIDATE),
        file("5,000 steps in a circle", steps(&|n| format!(", needs: [s{}]", (n + 1) % 5_000)), VALIDATE),
        file("5,000 steps that are not there", steps(&|n| format!(", needs: [t{n}]")), VALIDATE),
        file("5,000 unknown fields", steps(&|n| format!(", field_{n}: 1")), VALIDATE),
        file(
            "5,000 events that are none",
            format!("{HEAD}on: {{ event: {{ a: [{}x] }} }}\nsteps:\n{}", "{ like: x }, ".repeat(5_000), step(0, "")),
            VALIDATE,
        ),
        file(
            "a loop without an end",
            one("{% for i in range(100000) %}{% for j in range(100000) %}x{% endfor %}{% endfor %}"),
            RENDER,
        ),
        file("a text that doubles", one("{% set x = 'xxxxxxxxxxxxxxxx' %}{{ x * 1000000000 }}"), RENDER),
        file("a list that doubles", one("{{ range(100000) | list | batch(1) | list * 100000 }}"), RENDER),
        file(
            "a regular expression that backtracks",
            one(&format!("{{{{ '{}!' | regex_search('(a+)+$') }}}}", "a".repeat(50_000))),
            RENDER,
        ),
    ]
}

fn scope() -> Scope {
    let execution = ExecutionView {
        id: ExecutionId::new("run"),
        workflow: "w".to_owned(),
        version: "1".to_owned(),
        started_at: jiff::Timestamp::UNIX_EPOCH,
    };
    let inputs = [
        ("name", json!("src/main.rs")),
        ("list", json!(["a", "b", "c"])),
        ("count", json!(250)),
        ("map", json!({"x": 7})),
    ];
    let inputs = inputs.map(|(name, value)| (name.to_owned(), Output::Json(value))).into();
    Scope { inputs, ..Scope::of_run(execution) }
}

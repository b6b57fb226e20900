//! Mutated files, templates, expressions and commands: whatever they become, each is read to its end or told to be wrong, in places that are there, and no value
//! of a command becomes a part of its script.
//!
//! It begins from the corpus: the cases, and `corpus/`. `RATCHET_SEED` repeats a run, and `RATCHET_FUZZ` says how many mutations of each kind are tried.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc, time::Duration};

use ratchet_core::{
    output::Output,
    workflow::{Program, Quoting, ScriptPart, Shell},
};
use serde_json::json;

use crate::{
    compile::{SourceFile, compile},
    evaluate::{Evaluator, tests::scope_and_files},
    mistake::Mistake,
    parse,
    parsed::Interpreter,
    work::at_most,
};

/// Mutations of each kind, where nothing else is said.
const COUNT: u64 = 400;

/// The most work that one mutation may make in a debug build.
const WORK_MAX: Duration = Duration::from_secs(10);

/// A text that no mutation makes by itself.
const CANARY: &str = "c4n4ry";

/// A generator of numbers that is the same everywhere (splitmix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        if limit == 0 { 0 } else { usize::try_from(self.next() % limit as u64).unwrap_or(0) }
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    fn token(&mut self) -> &'static str {
        TOKENS[self.below(TOKENS.len())]
    }

    /// A place between two characters.
    fn place(&mut self, text: &str) -> usize {
        text.floor_char_boundary(self.below(text.len() + 1))
    }
}

/// What the languages are made of.
const TOKENS: &[&str] = &[
    "{{",
    "}}",
    "{%",
    "%}",
    "{#",
    "#}",
    "{{ inputs.v }}",
    "{{ inputs.list }}",
    "{% if inputs.v %}",
    "{% else %}",
    "{% endif %}",
    "{% for x in inputs.list %}",
    "{% endfor %}",
    " | raw",
    "'",
    "\"",
    "\\",
    "$",
    "$(",
    "$((",
    "))",
    ")",
    "(",
    "`",
    "${",
    "}",
    "{",
    "<<E\n",
    "\nE\n",
    "[[ ",
    " ]]",
    "[ ",
    " ]",
    "if ",
    "; then ",
    "; fi",
    "case ",
    " in ",
    ";; ",
    "esac",
    "for ",
    "; do ",
    "; done",
    "|",
    "||",
    "&",
    "&&",
    ";",
    ">",
    ">&",
    "<",
    "#",
    " ",
    "\n",
    "\t",
    "\r",
    "\0",
    "=",
    "A=",
    "eval ",
    "bash -c ",
    "declare -i ",
    "~",
    "*",
    "- ",
    ": ",
    "&a ",
    "*a",
    "<<: *a",
    "!!str ",
    "? ",
    "|\n",
    ">-\n",
    "---\n",
    "  ",
    "[",
    "]",
    ",",
    "id: ",
    "type: ",
    "steps:\n",
    "needs: ",
    "not ",
    " and ",
    " == ",
    "~ ",
    ".outputs.",
    "[0]",
    "hash(",
    "range(999999999)",
    "é",
    "\u{feff}",
    "\u{f0000}",
    "\u{202e}",
    "1e309",
    "-9223372036854775808",
    "0x",
    "null",
    "true",
];

fn mutated(dice: &mut Dice, corpus: &[String]) -> String {
    let mut text = dice.pick(corpus).clone();
    for _ in 0..=dice.below(4) {
        let (a, b) = (dice.place(&text), dice.place(&text));
        let (from, to) = (a.min(b), a.max(b));
        match dice.below(7) {
            0 => text.replace_range(from..to, ""),
            1 => text.insert_str(from, dice.token()),
            2 => {
                let near = text.ceil_char_boundary((from + 1 + dice.below(4)).min(text.len()));
                text.replace_range(from..near, dice.token());
            }
            3 => {
                let copy = text[from..to].to_owned();
                text.insert_str(to, &copy);
            }
            4 => {
                let other = dice.pick(corpus);
                let part = other[dice.place(other)..].to_owned();
                text.replace_range(from.., &part);
            }
            5 => {
                let token = dice.token().repeat(1 + dice.below(200));
                text.insert_str(from, &token);
            }
            _ => {
                let unit = text[from..text.floor_char_boundary(to.min(from + 40))].to_owned();
                text.insert_str(from, &unit.repeat(1 + dice.below(60)));
            }
        }
        // What grows without end says nothing new.
        text.truncate(text.floor_char_boundary(16 * 1024));
    }
    text
}

/// The entries of a file of the corpus.
fn entries(name: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let text = fs::read_to_string(path).expect("a file of the corpus");
    text.split("\n\n").map(|entry| entry.trim_matches('\n').to_owned()).filter(|entry| !entry.is_empty()).collect()
}

fn workflows() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut found = BTreeMap::new();
    for folder in ["right", "warned", "wrong"] {
        for entry in fs::read_dir(root.join(folder)).expect("a folder of cases") {
            let path = entry.expect("an entry").path();
            let text = fs::read_to_string(&path).unwrap_or_default();
            if path.extension().is_some_and(|extension| extension == "yaml") && (1..8_000).contains(&text.len()) {
                found.insert(path, text);
            }
        }
    }
    found.into_values().collect()
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[expect(clippy::print_stdout, reason = "whoever looks at a run of the tests wants to repeat it")]
fn show(line: &str) {
    println!("{line}");
}

/// Tries mutations of a corpus. What fails is shown with the seed that makes it again.
fn fuzz(name: &str, corpus: &[String], check: impl Fn(&str)) {
    let seed =
        number("RATCHET_SEED").unwrap_or_else(|| u64::from(std::process::id()).wrapping_mul(0x2545_F491_4F6C_DD1D));
    let count = number("RATCHET_FUZZ").unwrap_or(COUNT);
    assert!(!corpus.is_empty());
    show(&format!("{name}: {count} mutations of {} texts, RATCHET_SEED={seed}", corpus.len()));
    let mut dice = Dice(seed);
    for text in corpus {
        check(text);
    }
    for n in 0..count {
        let text = mutated(&mut dice, corpus);
        let work = std::panic::AssertUnwindSafe(|| at_most(WORK_MAX, name, || check(&text)));
        let checked = std::panic::catch_unwind(work);
        assert!(checked.is_ok(), "{name}: mutation {n} of RATCHET_SEED={seed} fails:\n{text:?}");
    }
}

fn evaluator() -> Evaluator {
    let (mut scope, files) = scope_and_files();
    let hostile = format!("{CANARY}'\"`$({CANARY})\\");
    for (name, value) in
        [("v", json!(hostile)), ("list", json!([hostile, "b"])), ("flag", json!(true)), ("ratio", json!(0.5))]
    {
        scope.inputs.insert(name.to_owned(), Output::Json(value));
    }
    Evaluator::new(scope, Arc::new(files))
}

/// Every place of a mistake is there.
fn are_in(text: &str, mistakes: &[Mistake]) {
    assert!(!mistakes.is_empty());
    for mistake in mistakes {
        assert!(text.get(mistake.span.clone()).is_some(), "{mistake:?}");
    }
}

#[test]
fn mutated_workflows_are_compiled_or_told_to_be_wrong() {
    fuzz("workflows", &workflows(), |text| {
        match compile(&SourceFile { name: "workflow.yaml".into(), text: text.to_owned() }) {
            Ok(compiled) => assert_eq!(
                compiled.workflow.graph.nodes().iter().filter(|node| node.step.is_some()).count(),
                compiled.workflow.steps.len()
            ),
            Err(wrong) => {
                assert!(wrong.errors().count() > 0);
                assert!(!wrong.to_string().is_empty());
                for finding in wrong.all().iter().take(3) {
                    assert!(!finding.to_graphical(60, false).is_empty());
                }
            }
        }
    });
}

#[test]
fn mutated_templates_and_expressions_are_evaluated_or_told_to_be_wrong() {
    let evaluator = evaluator();
    fuzz("templates", &entries("templates.txt"), |text| match parse::template(text) {
        Ok(parsed) => {
            let _ = evaluator.text(&parsed.value);
            let _ = evaluator.value(&parsed.value);
        }
        Err(mistakes) => are_in(text, &mistakes),
    });
    fuzz("expressions", &entries("expressions.txt"), |text| match parse::expression(text) {
        Ok(parsed) => {
            let _ = evaluator.expression(&parsed.value);
            let _ = evaluator.condition(&parsed.value);
        }
        Err(mistakes) => are_in(text, &mistakes),
    });
}

#[test]
fn no_value_of_a_mutated_command_becomes_a_part_of_its_script() {
    let evaluator = evaluator();
    let mut corpus = entries("commands.txt");
    corpus.extend(
        entries("../src/command/tests/refused.txt").into_iter().map(|text| text.replace('%', "{{ inputs.v }}")),
    );
    fuzz("commands", &corpus, |text| {
        for interpreter in [Interpreter::Bash, Interpreter::Sh] {
            let parsed = match parse::command(text, &interpreter) {
                Ok(parsed) => parsed,
                Err(mistakes) => {
                    are_in(text, &mistakes);
                    continue;
                }
            };
            let Program::Script { parts, .. } = &parsed.value else { continue };
            let raw = parts.iter().any(|part| matches!(part, ScriptPart::Value { quoting: Quoting::Raw, .. }));
            let shell = Shell {
                source: text.to_owned(),
                program: parsed.value.clone(),
                allow_exit_codes: [].into(),
                security_profile: None,
            };
            if let Ok(command) = evaluator.command(&shell)
                && !raw
            {
                let script = command.argv.last().expect("a script");
                assert!(text.contains(CANARY) || !script.contains(CANARY), "{script}");
            }
        }
    });
}

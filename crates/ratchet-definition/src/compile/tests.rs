//! One checker for a folder of wrong files, one for a folder of right ones, and the limits.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use ratchet_core::workflow::{Action, Program};

use super::*;
use crate::{sources::Lookup, work::at_most};

fn cases(folder: &str) -> Vec<(String, String, PathBuf)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases").join(folder);
    let mut cases: Vec<_> = fs::read_dir(&path)
        .expect("the folder of cases")
        .map(|entry| entry.expect("an entry").path())
        .filter(|file| file.extension().is_some_and(|extension| extension == "yaml"))
        .map(|file| {
            let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
            (name, fs::read_to_string(&file).expect("text"), path.clone())
        })
        .collect();
    cases.sort();
    cases
}

fn compiled(text: &str) -> Result<Compiled, Diagnostics> {
    let source = SourceFile { name: "workflow.yaml".into(), text: text.into() };
    compile_all(&Sources::gather(&source, &Parts))
}

/// The files that cases refer to: those of a folder, and as many that each run the next as anybody asks for.
struct Parts;

impl Lookup for Parts {
    fn file(&self, path: &str) -> Result<String, String> {
        if let Some(number) = path.strip_prefix("deep/").and_then(|name| name.strip_suffix(".yaml")) {
            let next = number.parse::<u32>().map_err(|error| error.to_string())? + 1;
            let step = format!("{{id: next, type: workflow, workflow: ./{next}.yaml}}");
            return Ok(format!("name: deep\nversion: \"1\"\nsteps:\n  - {step}\n"));
        }
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/parts").join(path);
        fs::read_to_string(file).map_err(|_| "there is no such file".to_owned())
    }

    fn published(&self, name: &str, version: Option<&str>) -> Result<String, String> {
        match (name, version) {
            ("double", None | Some("1")) => self.file("double.yaml"),
            _ => Err(format!("nothing was published as {name}")),
        }
    }
}

/// Compares a report with the one that is kept beside the case.
fn compare(name: &str, folder: &Path, report: &str) {
    insta::with_settings!({
        snapshot_path => folder,
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, {
        insta::assert_snapshot!(name, report);
    });
}

#[test]
fn wrong_files_are_reported() {
    let cases = cases("wrong");
    assert!(cases.len() >= 80);
    for (name, text, folder) in cases {
        let diagnostics = compiled(&text).expect_err(&name);
        let mut report = diagnostics.to_string();
        // What is the same five hundred times over is not worth a person's reading.
        if let Some((cut, _)) = report.match_indices("error[").nth(40) {
            let rest = report.split_off(cut);
            let last = rest.rfind("error[").unwrap_or_default();
            report.extend(["…\n", &rest[last..]]);
        }
        compare(&name, &folder, &report);
    }
}

#[test]
fn right_files_become_workflows() {
    for (name, text, folder) in cases("right") {
        let Compiled { workflow, warnings } = compiled(&text).unwrap_or_else(|wrong| panic!("{name}\n{wrong}"));
        let mut report = String::new();
        for node in workflow.graph.nodes() {
            let needs: Vec<&str> = node.needs.iter().map(|need| workflow.graph.node(*need).id.as_str()).collect();
            let _ = writeln!(report, "{} <- {}", node.id, needs.join(" "));
        }
        let mut shown = workflow.clone();
        for step in &mut shown.steps {
            // How a command is cut into parts is shown where commands are parsed.
            let program = match &mut step.action {
                Action::Shell(shell) => Some(&mut shell.program),
                Action::ClaudeCode(agent) => agent.verify.as_mut().map(|verify| &mut verify.command.program),
                _ => None,
            };
            if let Some(Program::Script { parts, .. }) = program {
                parts.clear();
            }
        }
        let _ = writeln!(report, "{:#?}\n{:#?}\n{:#?}", shown.inputs, shown.outputs, shown.environment);
        let _ = writeln!(report, "{:?} {:?}\n{:#?}", shown.timeout, shown.finally_timeout, shown.steps);
        report.extend(warnings.iter().map(Diagnostic::to_plain));
        compare(&name, &folder, &report);
    }
}

#[test]
fn the_first_example_of_the_language_has_three_warnings() {
    let (_, text, _) =
        cases("right").into_iter().find(|(name, ..)| name == "increase-test-coverage").expect("the file");
    let warnings: Vec<String> = compiled(&text)
        .expect("a workflow")
        .warnings
        .iter()
        .map(|warning| format!("{} {:?} {}", warning.code(), warning.place(), &text[warning.span()]))
        .collect();
    let expected = ["RT-0060 (16, 3) coverage_report", "RT-0060 (19, 3) tests_added", "RT-0061 (65, 7) gh"];
    assert_eq!(warnings, expected);
}

#[test]
fn warned_files_can_be_run() {
    for (name, text, folder) in cases("warned") {
        let Compiled { warnings, .. } = compiled(&text).unwrap_or_else(|wrong| panic!("{name}\n{wrong}"));
        let report: String = warnings.iter().map(Diagnostic::to_plain).collect();
        compare(&name, &folder, &report);
    }
}

/// Codes of what is found only when a value meets an expression, a command or a declaration: no file shows them.
const WHEN_IT_RUNS: &[&str] = &[
    "RT-0120", "RT-0121", "RT-0122", "RT-0123", "RT-0124", "RT-0125", "RT-0126", "RT-0127", "RT-0128", "RT-0130",
    "RT-0140", "RT-0141", "RT-0142", "RT-0143", "RT-0150", "RT-0151", "RT-0197", "RT-0198",
];

#[test]
fn every_code_has_a_case_and_a_page() {
    let mut shown: BTreeSet<String> = BTreeSet::new();
    for (_, text, _) in cases("wrong") {
        shown.extend(compiled(&text).expect_err("a wrong file").all().iter().map(|finding| finding.code().to_owned()));
    }
    for (_, text, _) in cases("warned") {
        let warnings = compiled(&text).expect("a file that can be run").warnings;
        shown.extend(warnings.iter().map(|finding| finding.code().to_owned()));
    }
    for code in WHEN_IT_RUNS {
        assert!(shown.insert((*code).to_owned()), "{code} is found in a file");
    }
    // No repository should carry files of such a size; the test of the limits makes them.
    shown.extend(["RT-0002", "RT-0023"].map(str::to_owned));
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut used = BTreeSet::new();
    codes_in(&crate_folder.join("src"), &mut used);
    assert_eq!(used, shown, "codes of the sources, and of the cases");
    let pages: BTreeSet<String> = fs::read_dir(crate_folder.join("../../docs/errors"))
        .expect("the pages")
        .map(|page| page.expect("a page").path().file_stem().expect("a name").to_string_lossy().into_owned())
        .filter(|code| code.as_str() < "RT-0180" || used.contains(code))
        .collect();
    assert_eq!(used, pages, "codes of the sources, and pages");
}

#[test]
fn a_finding_is_drawn_and_is_data() {
    let text = "name: w\nversion: \"1\"\nsteps:\n  - id: a\n    type: shell\n    comand: make\n";
    let diagnostics = compiled(text).expect_err("a wrong file");
    let [finding] = diagnostics.all() else { panic!("{diagnostics}") };
    insta::assert_snapshot!(finding.to_graphical(80, false), @r"
    RT-0010

      × a step of type `shell` has no field `comand`
       ╭─[workflow.yaml:6:5]
     5 │     type: shell
     6 │     comand: make
       ·     ──────
       ╰────
      help: did you mean `command`?
    ");
    insta::assert_json_snapshot!(finding, @r#"
    {
      "code": "RT-0010",
      "severity": "error",
      "message": "a step of type `shell` has no field `comand`",
      "help": "did you mean `command`?",
      "file": "workflow.yaml",
      "line": 6,
      "column": 5,
      "end_line": 6,
      "end_column": 11,
      "source_line": "    comand: make"
    }
    "#);
    assert!(finding.to_graphical(80, true).contains('\u{1b}'));
}

/// Every case cut short and with a strange character put in, at places all over the text.
#[test]
fn no_text_makes_it_panic() {
    let strange = [
        "\t", "{{", "}}", "'", "\"", "&a ", "*a", "|", "\u{feff}", "\r", "\0", "é", ": ", "- ", "\n", "<<: ", "[",
        "!x ",
    ];
    let mut compiled_count = 0;
    for (name, text, _) in cases("wrong")
        .into_iter()
        .chain(cases("right"))
        .chain(cases("warned"))
        .filter(|(_, text, _)| text.len() < 5_000)
    {
        // The bomb is slow on purpose, and its own test has it.
        if name == "alias-bomb" {
            continue;
        }
        for n in 0..16 {
            let at = text.floor_char_boundary(text.len() * n / 16);
            let cut = text[..at].to_owned();
            let put = format!("{}{}{}", &text[..at], strange[(n + name.len()) % strange.len()], &text[at..]);
            for changed in [cut, put] {
                if let Err(wrong) = compiled(&changed) {
                    assert!(wrong.errors().count() > 0, "{name}: {changed}");
                    assert!(!wrong.to_string().is_empty());
                    wrong.all().iter().take(3).for_each(|finding| {
                        assert!(!finding.to_graphical(60, false).is_empty());
                    });
                    compiled_count += 1;
                }
            }
        }
    }
    assert!(compiled_count > 1_000, "{compiled_count}");
}

#[test]
fn large_workflows_compile_soon_and_hostile_ones_end_soon() {
    let head = "name: w\nversion: \"1\"\nsteps:\n";
    let step = |n: usize, rest: &str| format!("  - id: s{n}\n    type: template\n    template: x\n{rest}");
    let reading = |n: usize| format!("  - id: s{n}\n    type: assert\n    condition: s{}.status == 'x'\n", n / 2);
    let file =
        |count: usize, make: &dyn Fn(usize) -> String| (0..count).fold(head.to_owned(), |text, n| text + &make(n));
    let cases: Vec<(&str, String, Option<&str>)> = vec![
        ("a chain", file(5_000, &|n| step(n, "")), None),
        ("in parallel", file(5_000, &|n| step(n, "    needs: []\n")), None),
        ("readers", file(5_000, &|n| if n == 0 { step(n, "") } else { reading(n) }), None),
        ("unknown needs", file(5_000, &|n| step(n, &format!("    needs: [t{n}]\n"))), Some("RT-0031")),
        ("duplicates", file(5_000, &|_| step(0, "")), Some("RT-0030")),
        ("a circle", file(5_000, &|n| step(n, &format!("    needs: [s{}]\n", (n + 1) % 5_000))), Some("RT-0032")),
        ("many circles", file(5_000, &|n| step(n, &format!("    needs: [s{}]\n", n ^ 1))), Some("RT-0032")),
        ("too many steps", file(10_001, &|n| step(n, "")), Some("RT-0023")),
        ("unknown fields", file(5_000, &|n| step(n, &format!("    field_{n}: 1\n"))), Some("RT-0010")),
        (
            "unknown names",
            file(5_000, &|n| step(n, &format!("    working_directory: \"{{{{ name_{n} }}}}\"\n"))),
            Some("RT-0034"),
        ),
        ("a long text", format!("{head}{}    description: {}\n", step(0, ""), "x ".repeat(500_000)), None),
        (
            "10 MB of braces",
            format!("{head}  - {{id: a, type: template, template: '{}'}}\n", "{{ x }}".repeat(1_400_000)),
            Some(""),
        ),
        ("many outputs", many_outputs(20_000), None),
        ("defaults that multiply", multiplied_defaults(), Some("RT-0004")),
        (
            "many choices",
            file(3_000, &|n| {
                let choices = "{% if env.A %}a{% endif %} ".repeat(4);
                format!("  - id: s{n}\n    type: shell\n    command: \"{choices} {{{{ env.B }}}}\"\n")
            }),
            Some("RT-01"),
        ),
        (
            "commands in commands",
            file(1_000, &|n| {
                format!("  - id: s{n}\n    type: shell\n    command: \"{}{{{{ env.B }}}}\"\n", "( ( (".repeat(30))
            }),
            Some("RT-0107"),
        ),
        ("too long", "x".repeat(11 << 20), Some("RT-0002")),
    ];
    for (name, text, code) in cases {
        // Ten times what it takes in a debug build; what is quadratic takes a thousand times as long.
        let result = at_most(Duration::from_secs(10), name, || compiled(&text));
        match (code, result) {
            (None, Ok(_)) => {}
            (Some(code), Err(wrong)) => {
                assert!(wrong.all().iter().any(|finding| finding.code().starts_with(code)), "{name}\n{wrong}");
            }
            (_, Ok(_)) => panic!("{name}: nothing was found"),
            (_, Err(wrong)) => panic!("{name}\n{wrong}"),
        }
    }
}

/// Large defaults that thousands of steps get.
fn multiplied_defaults() -> String {
    let variables = (0..5_000).fold(String::new(), |text, n| text + &format!("      A{n}: x\n"));
    let step = |n: usize| format!("  - {{ id: s{n}, type: shell, command: make }}\n");
    let steps = (0..5_000).fold(String::new(), |text, n| text + &step(n));
    format!("name: w\nversion: '1'\ndefaults:\n  shell:\n    environment:\n{variables}steps:\n{steps}")
}

/// A step with many outputs, each of which reads the one above, and a step that reads them all.
fn many_outputs(count: usize) -> String {
    let output = |n: usize| {
        format!(
            "      o{n}: {{type: string, from: '{}'}}\n",
            if n == 0 { "stdout".into() } else { format!("o{}", n - 1) }
        )
    };
    let reading = |n: usize| format!("{{{{ a.outputs.o{n} }}}}");
    let outputs: String = (0..count).map(output).collect();
    let readings: String = (0..count).map(reading).collect();
    format!(
        "name: w\nversion: '1'\nsteps:\n  - id: a\n    type: shell\n    command: x\n    outputs:\n{outputs}  - id: b\n    \
         type: template\n    template: '{readings}'\n"
    )
}

/// The codes in the strings of the sources under a folder.
fn codes_in(folder: &Path, codes: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            codes_in(&path, codes);
        } else if path.file_name().is_some_and(|name| name != "tests.rs") {
            let text = fs::read_to_string(&path).expect("text");
            codes.extend(
                text.match_indices("\"RT-")
                    .filter_map(|(at, _)| text.get(at + 1..at + 8))
                    .map(str::to_owned)
                    .filter(|code| code[3..].bytes().all(|byte| byte.is_ascii_digit())),
            );
        }
    }
}

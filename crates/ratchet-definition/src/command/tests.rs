//! Places, one line each; and hostile values through the real shells.

use std::{
    collections::BTreeMap,
    process::{Command, Stdio},
    sync::Arc,
};

use proptest::{prelude::*, test_runner::TestRunner};
use ratchet_core::{
    output::Output,
    workflow::{Program, Quoting, ScriptPart, Shell},
};
use serde_json::{Value as Json, json};

use crate::{
    evaluate::{
        Evaluator, RenderedCommand,
        tests::{evaluator, scope_and_files},
    },
    parse,
    parsed::Interpreter,
};

/// `argv a|b` for words, `script …` with `<value>` and `<<value>>` for bare and quoted values, or the codes and places of mistakes.
fn show(text: &str, interpreter: Interpreter) -> String {
    match parse::command(text, &interpreter) {
        Ok(parsed) => match parsed.value {
            Program::Words(words) => {
                format!("argv {}", words.iter().map(|word| word.source.as_str()).collect::<Vec<_>>().join("|"))
            }
            Program::Script { parts, .. } => {
                let parts = parts.iter().map(|part| match part {
                    ScriptPart::Code(code) => code.clone(),
                    ScriptPart::Value { expression, quoting: Quoting::Bare } => format!("<{}>", expression.source),
                    ScriptPart::Value { expression, quoting: Quoting::Double } => format!("<<{}>>", expression.source),
                });
                format!("script {}", parts.collect::<String>())
            }
        },
        Err(mistakes) => mistakes
            .iter()
            .map(|mistake| {
                assert!(mistake.help.is_some() || mistake.code == "RT-0110", "{text}: {mistake:?}");
                format!("{} {}", mistake.code, &text[mistake.span.clone()])
            })
            .collect::<Vec<_>>()
            .join(", "),
    }
}

fn check(cases: &[(&str, &str)]) {
    let mut wrong = Vec::new();
    for (text, expected) in cases {
        for interpreter in [Interpreter::Bash, Interpreter::Sh] {
            let found = show(text, interpreter);
            if found != *expected {
                wrong.push(format!("{interpreter:?}: {text}\n  expected {expected}\n  found    {found}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn plain_commands_need_no_shell() {
    check(&[
        ("pytest --cov", "argv pytest|--cov"),
        ("true", "argv true"),
        ("  true  ", "argv true"),
        (
            "pytest --cov --cov-report=xml {{ inputs.target_file }}",
            "argv pytest|--cov|--cov-report=xml|{{ inputs.target_file }}",
        ),
        ("git commit -m \"a {{ x }} b\"", "argv git|commit|-m|a {{ (x)|string }} b"),
        ("git commit -m 'it'\\''s' \"\"", "argv git|commit|-m|it's|"),
        ("run \"{{ x }}\" a{{ x }}", "argv run|{{ (x)|string }}|a{{ (x)|string }}"),
        ("gh pr create \\\n  --title \"t\"", "argv gh|pr|create|--title|t"),
        ("dd if={{ x }} of=out", "argv dd|if={{ (x)|string }}|of=out"),
        ("run '{%' \"{#\" {}", "argv run|{{ \"{%\" }}|{{ \"{#\" }}|{}"),
        ("run {{ '{{.Name}}' }}", "argv run|{{ '{{.Name}}' }}"),
        ("./run.sh a", "argv ./run.sh|a"),
        // Everything that a shell would do something with.
        ("echo a", "script echo a"),
        ("ls *.py", "script ls *.py"),
        ("ls ~", "script ls ~"),
        ("ls {a,b}", "script ls {a,b}"),
        ("ls $HOME", "script ls $HOME"),
        ("A=1 ls", "script A=1 ls"),
        ("ls > out", "script ls > out"),
        ("a && b", "script a && b"),
        ("a | b", "script a | b"),
        ("a &", "script a &"),
        ("! a", "script ! a"),
        ("a\nb", "script a\nb"),
        ("", "script "),
        ("# nothing", "script # nothing"),
        ("cd x", "script cd x"),
        ("exec ls", "script exec ls"),
        ("'' a", "script '' a"),
    ]);
}

#[test]
fn values_stand_as_arguments() {
    check(&[
        ("echo {{ x }}", "script echo <x>"),
        ("echo \"a {{ x }} b\"", "script echo \"a <<x>> b\""),
        ("echo a{{ x }}b", "script echo a\"<<x>>\"b"),
        ("echo --x={{ x }};", "script echo --x=\"<<x>>\";"),
        ("a {{ x }} && b \"{{ y }}\" | c {{ z }} &", "script a <x> && b \"<<y>>\" | c <z> &"),
        ("if a {{ x }}; then b {{ y }}; fi", "script if a <x>; then b <y>; fi"),
        ("f() { a {{ x }}; }; f", "script f() { a <x>; }; f"),
        ("( a {{ x }} ) > out", "script ( a <x> ) > out"),
        ("echo \"$(a {{ x }})\"", "script echo \"$(a <x>)\""),
        ("V=\"$(a \"{{ x }}\")\"", "script V=\"$(a \"<<x>>\")\""),
        ("case $a in b) c {{ x }};; esac", "script case $a in b) c <x>;; esac"),
        ("for i in a b; do c \"$i\" {{ x }}; done", "script for i in a b; do c \"$i\" <x>; done"),
        ("a # about {{ x }}\nb", "script a # about \nb"),
        ("set -- {{ x }}; \"$1\"", "script set -- <x>; \"$1\""),
        ("printf '%s\\n' {{ x }} | a", "script printf '%s\\n' <x> | a"),
        ("[ -n {{ x }} ] && [ \"{{ y }}\" = z ]", "script [ -n \"<<x>>\" ] && [ \"<<y>>\" = z ]"),
        ("a && test ! -f {{ x }}", "script a && test ! -f \"<<x>>\""),
        ("a; bash -c 'b \"$1\"' _ {{ x }}", "script a; bash -c 'b \"$1\"' _ <x>"),
        ("a; bash -eu script.sh {{ x }}", "script a; bash -eu script.sh <x>"),
        ("a; python3 -m pytest {{ x }}", "script a; python3 -m pytest <x>"),
        ("a; python -c 'import sys' {{ x }}", "script a; python -c 'import sys' <x>"),
        ("a; env -u B timeout -k 5 10 c {{ x }}", "script a; env -u B timeout -k 5 10 c <x>"),
        ("a | xargs -n 1 c {{ x }}", "script a | xargs -n 1 c <x>"),
        ("a; find . -name {{ x }} -exec rm {} \\;", "script a; find . -name <x> -exec rm {} \\;"),
        ("a; awk -v n={{ x }} '{ print n }' {{ y }}", "script a; awk -v n=\"<<x>>\" '{ print n }' <y>"),
        ("a; sed -e 's/a/b/' -- {{ x }}; sed -n 1p -- {{ y }}", "script a; sed -e 's/a/b/' -- <x>; sed -n 1p -- <y>"),
        ("a; perl -ne 'print' -- {{ x }}; node x.js {{ y }}", "script a; perl -ne 'print' -- <x>; node x.js <y>"),
        ("echo ~{{ x }} ~/{{ x }}", "script echo ~\"<<x>>\" ~/\"<<x>>\""),
        ("echo {{ x }}{{ y }}", "script echo \"<<x>>\"\"<<y>>\""),
        ("echo $A{{ x }} \"$B{{ y }}\"", "script echo $A\"<<x>>\" \"$B<<y>>\""),
        ("echo \"\\${{ x }}\"", "script echo \"\\$<<x>>\""),
        (
            "git add .\ngit commit -m \"Increase test coverage for {{ inputs.f }} to {{ inputs.c }}%\"\ngh pr create --title \"T: {{ inputs.f }}\" \\\n  --body \"to {{ inputs.c }}%\"\n",
            "script git add .\ngit commit -m \"Increase test coverage for <<inputs.f>> to <<inputs.c>>%\"\ngh pr create --title \"T: <<inputs.f>>\" \\\n  --body \"to <<inputs.c>>%\"\n",
        ),
    ]);
}

#[test]
fn everywhere_else_a_value_is_refused() {
    check(&[
        ("a 'b {{ x }}'", "RT-0114 {{ x }}"),
        ("a $'b {{ x }}'", "RT-0114 {{ x }}"),
        ("{{ x }} a", "RT-0113 {{ x }}"),
        ("a; b{{ x }}", "RT-0113 {{ x }}"),
        ("$A {{ x }}", "RT-0113 {{ x }}"),
        ("\"$@\" {{ x }}", "RT-0113 {{ x }}"),
        ("A={{ x }}", "RT-0115 {{ x }}"),
        ("A=\"{{ x }}\" b", "RT-0115 {{ x }}"),
        ("export A={{ x }}", "RT-0112 {{ x }}"),
        ("a > {{ x }}", "RT-0115 {{ x }}"),
        ("a 2>> \"{{ x }}\"", "RT-0115 {{ x }}"),
        ("a <<E\n{{ x }}\nE\n", "RT-0115 {{ x }}"),
        ("a <<'E'\n{{ x }}\nE\n", "RT-0115 {{ x }}"),
        ("a $(( {{ x }} + 1 ))", "RT-0111 {{ x }}"),
        ("a ${B:-{{ x }}}", "RT-0111 {{ x }}"),
        ("a \"${B:-{{ x }}}\"", "RT-0111 {{ x }}"),
        ("a `b {{ x }}`", "RT-0111 {{ x }}"),
        ("for i in {{ x }}; do a; done", "RT-0115 {{ x }}"),
        ("case {{ x }} in a) b;; esac", "RT-0115 {{ x }}"),
        ("case a in {{ x }}) b;; esac", "RT-0115 {{ x }}"),
        ("a ${{ x }}", "RT-0111 {{ x }}"),
        ("a \"${{ x }}\"", "RT-0111 {{ x }}"),
        ("a \\{{ x }}", "RT-0111 {{ x }}"),
        ("a \"\\{{ x }}\"", "RT-0111 {{ x }}"),
        ("[ {{ x }} -eq 1 ]", "RT-0111 {{ x }}"),
        ("[ -v {{ x }} ]", "RT-0111 {{ x }}"),
        ("[ {{ x }} {{ y }} ]", "RT-0111 {{ x }}, RT-0111 {{ y }}"),
        ("test a {{ x }} b", "RT-0111 {{ x }}"),
        ("printf {{ x }}", "RT-0112 {{ x }}"),
        ("printf \"{{ x }} %s\" a", "RT-0112 {{ x }}"),
        ("printf '%n' {{ x }}", "RT-0112 {{ x }}"),
        ("printf -v {{ x }} a", "RT-0112 {{ x }}"),
        ("eval {{ x }}", "RT-0112 {{ x }}"),
        ("eval \"a {{ x }}\"", "RT-0112 {{ x }}"),
        (". {{ x }}", "RT-0112 {{ x }}"),
        ("trap \"a {{ x }}\" EXIT", "RT-0112 {{ x }}"),
        ("read {{ x }}", "RT-0112 {{ x }}"),
        ("unset {{ x }}", "RT-0112 {{ x }}"),
        ("set {{ x }}", "RT-0112 {{ x }}"),
        ("bash -c \"a {{ x }}\"", "RT-0112 {{ x }}"),
        ("/bin/bash -euc {{ x }}", "RT-0112 {{ x }}"),
        ("bash {{ x }}", "RT-0112 {{ x }}"),
        ("bash -o {{ x }} -c a", "RT-0112 {{ x }}"),
        ("sh -s {{ x }}", "RT-0112 {{ x }}"),
        ("python -c \"print({{ x }})\"", "RT-0112 {{ x }}"),
        ("python3.11 {{ x }} y", "RT-0112 {{ x }}"),
        ("python -m {{ x }}", "RT-0112 {{ x }}"),
        ("perl -e \"{{ x }}\"", "RT-0112 {{ x }}"),
        ("node --eval {{ x }}", "RT-0112 {{ x }}"),
        ("sed \"s/a/{{ x }}/\" b", "RT-0112 {{ x }}"),
        ("sed 's/a/b/' {{ x }}", "RT-0112 {{ x }}"),
        ("perl -e 'print' {{ x }}", "RT-0112 {{ x }}"),
        ("awk \"{{ x }}\" b", "RT-0112 {{ x }}"),
        ("ssh host a {{ x }}", "RT-0112 {{ x }}"),
        ("ssh {{ x }}", "RT-0112 {{ x }}"),
        ("a | xargs sh -c 'b {{ x }}'", "RT-0112 {{ x }}"),
        ("a | xargs sh -c \"b {{ x }}\"", "RT-0112 {{ x }}"),
        ("a | xargs {{ x }}", "RT-0113 {{ x }}"),
        ("timeout {{ x }} a", "RT-0113 {{ x }}"),
        ("timeout 5 {{ x }}", "RT-0113 {{ x }}"),
        ("env {{ x }}", "RT-0113 {{ x }}"),
        ("sudo --login {{ x }}", "RT-0113 {{ x }}"),
        ("exec {{ x }}", "RT-0113 {{ x }}"),
        ("env bash -c {{ x }}", "RT-0112 {{ x }}"),
        ("docker run image sh -c \"a {{ x }}\"", "RT-0112 {{ x }}"),
        ("find . -exec {{ x }} \\;", "RT-0113 {{ x }}"),
        ("find . -exec sh -c {{ x }} \\;", "RT-0112 {{ x }}"),
        ("echo \"$(a; {{ x }})\"", "RT-0113 {{ x }}"),
        ("{{ x }}() { a; }", "RT-0113 {{ x }}"),
        ("a {{ x | raw }}", "RT-0108 raw"),
        ("a {% if x %}b{% endif %}", "RT-0102 {%, RT-0102 {%"),
        ("a {{ x", "RT-0101 {{"),
        ("docker inspect --format '{{.Name}}'", "RT-0100 ."),
        ("a \"{{ x }}", "RT-0110 }"),
        ("if a {{ x }}", "RT-0110 }"),
    ]);
}

#[test]
fn what_only_bash_has() {
    let cases = [
        ("[[ {{ x }} == a ]]", "RT-0115 {{ x }}"),
        ("a <<< {{ x }}", "RT-0115 {{ x }}"),
        ("(( {{ x }} ))", "RT-0111 {{ x }}"),
        ("a=( {{ x }} )", "RT-0115 {{ x }}"),
        ("diff <(a {{ x }}) b", "script diff <(a <x>) b"),
        ("a &> {{ x }}", "RT-0115 {{ x }}"),
        ("echo ${a[{{ x }}]}", "RT-0111 {{ x }}"),
        ("a[{{ x }}]=1", "RT-0115 {{ x }}"),
        ("echo $\"a {{ x }}\"", "RT-0114 {{ x }}"),
        ("date +{%s} '{% x'", "script date +{%s} '{% x'"),
    ];
    for (text, expected) in cases {
        assert_eq!(show(text, Interpreter::Bash), expected, "{text}");
    }
}

#[test]
fn a_script_that_cannot_be_parsed_is_a_warning_without_values() {
    let parsed = parse::command("if a", &Interpreter::Bash).unwrap();
    assert_eq!(parsed.warnings.len(), 1);
    assert!(parse::command("{{ x }} if", &Interpreter::Bash).is_err());
    for deep in ["$(".repeat(5_000), "( ".repeat(5_000), "if ".repeat(5_000), "{ ".repeat(5_000), "! ".repeat(30_000)] {
        let _ = parse::command(&deep, &Interpreter::Bash);
        let _ = parse::command(&format!("a {{{{ x }}}} {deep}"), &Interpreter::Bash);
    }
    let nested = format!("{}a {{{{ x }}}}{}", "echo \"$(".repeat(15), ")\"".repeat(15));
    assert!(show(&nested, Interpreter::Bash).starts_with("script"), "{}", show(&nested, Interpreter::Bash));
}

#[test]
fn the_words_of_a_list_are_checked_too() {
    let cases: &[(&[&str], &str)] = &[
        (&["run", "{{ x }}", "a {{ y }}"], "ok ok ok"),
        (&["{{ x }}", "a"], "RT-0113 ok"),
        (&["bash", "-c", "{{ x }}"], "ok ok RT-0112"),
        (&["bash", "-c", "a \"$1\"", "_", "{{ x }}"], "ok ok ok ok ok"),
        (&["env", "python3", "-c", "print({{ x }})"], "ok ok ok RT-0112"),
        (&["run", "{{ nope() }}"], "ok RT-0103"),
    ];
    for (words, expected) in cases {
        let found: Vec<&str> = parse::command_words(words)
            .into_iter()
            .map(|word| word.map_or_else(|mistakes| mistakes[0].code, |_| "ok"))
            .collect();
        assert_eq!(found.join(" "), *expected, "{words:?}");
    }
}

/// Pieces that meet in every order.
fn anything() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        proptest::sample::select(vec![
            "{{",
            "}}",
            "{%",
            "%}",
            "{#",
            "#}",
            "'",
            "\"",
            "\\",
            "$",
            "$(",
            ")",
            "`",
            "${",
            "}",
            "<<E\n",
            "\nE\n",
            "[[ ",
            " ]]",
            "((",
            "if ",
            "; then ",
            "; fi",
            "case ",
            " in ",
            "for ",
            "; do ",
            "; done",
            "|",
            "&",
            ";",
            ">",
            "#",
            " ",
            "\n",
            "a",
            "é",
            "\u{f0000}",
            "-",
            "inputs.x",
            "hash(",
            "[",
            "]",
            ",",
            ":",
            "~",
            ".b",
            "not ",
            " == ",
            "=",
            "eval ",
            "bash -c ",
            "{{ x }}",
            "{{ é }}",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,4}",
    ];
    proptest::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

#[test]
fn any_text_is_parsed_or_refused_with_places_inside_it() {
    let mut runner =
        TestRunner::new(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() });
    runner
        .run(&anything(), |text| {
            let results = [
                parse::expression(&text).map(|parsed| (parsed.references, parsed.warnings)),
                parse::template(&text).map(|parsed| (parsed.references, parsed.warnings)),
                parse::command(&text, &Interpreter::Bash).map(|parsed| (parsed.references, parsed.warnings)),
                parse::command(&text, &Interpreter::Sh).map(|parsed| (parsed.references, parsed.warnings)),
            ];
            for result in results {
                let (references, mistakes) = result.unwrap_or_else(|mistakes| (Vec::new(), mistakes));
                for name in references.iter().flat_map(|reference| &reference.names) {
                    let shown = text.get(name.span.clone());
                    prop_assert!(shown.is_some_and(|shown| shown.contains(&name.text)), "{text:?} {name:?} {shown:?}");
                }
                for mistake in mistakes {
                    prop_assert!(text.get(mistake.span.clone()).is_some(), "{text:?} {mistake:?}");
                }
            }
            Ok(())
        })
        .unwrap();
}

fn rendered(evaluator: &Evaluator, text: &str, interpreter: Interpreter) -> RenderedCommand {
    let parsed = parse::command(text, &interpreter).unwrap_or_else(|mistakes| panic!("{text}: {mistakes:?}"));
    let shell = Shell { source: text.to_owned(), program: parsed.value, allow_exit_codes: [].into() };
    evaluator.command(&shell).unwrap()
}

#[test]
fn commands_are_rendered_with_references() {
    let evaluator = evaluator();
    let command = rendered(&evaluator, "echo {{ inputs.list }} \"{{ inputs.ratio }}%\"\nb", Interpreter::Bash);
    assert_eq!(
        command.argv.last().unwrap(),
        "__ratchet_1_1=$RATCHET_VALUE_1_1;unset RATCHET_VALUE_1_1;__ratchet_1_2=$RATCHET_VALUE_1_2;unset RATCHET_VALUE_1_2;\
         __ratchet_2=$RATCHET_VALUE_2;unset RATCHET_VALUE_2; echo \"${__ratchet_1_1}\" \"${__ratchet_1_2}\" \"${__ratchet_2}%\"\nb"
    );
    assert_eq!(command.values["RATCHET_VALUE_1_1"], "a b");
    assert_eq!(command.display, "echo 'a b' c \"90%\"\nb");
    let command = rendered(
        &evaluator,
        "run {{ inputs.list }} \"{{ inputs.list }}\" {{ baseline.outputs.coverage_xml }}",
        Interpreter::Bash,
    );
    assert_eq!(command.argv, ["run", "a b", "c", "[\"a b\",\"c\"]", "captured/coverage.xml"]);
    assert!(command.values.is_empty());
    let command = rendered(&evaluator, "run '{%' {{ '{{.Name}}' }}", Interpreter::Bash);
    assert_eq!(command.argv, ["run", "{%", "{{.Name}}"]);
}

#[test]
fn values_that_no_argument_can_hold_are_errors() {
    let (mut scope, files) = scope_and_files();
    scope.inputs.insert("nul".to_owned(), Output::Json(json!("a\0b")));
    scope.inputs.insert("large".to_owned(), Output::Json(json!("x".repeat(200_000))));
    scope.inputs.insert("many".to_owned(), Output::Json(json!(vec!["x"; 5_000])));
    let evaluator = Evaluator::new(scope, Arc::new(files));
    let cases = [("nul", "RT-0126"), ("large", "RT-0125"), ("many", "RT-0127")];
    for (name, code) in cases {
        for command in ["echo", "run"] {
            let text = format!("{command} {{{{ inputs.{name} }}}}");
            let program = parse::command(&text, &Interpreter::Bash).unwrap().value;
            let shell = Shell { source: text.clone(), program, allow_exit_codes: [].into() };
            match evaluator.command(&shell) {
                Err(error) => assert_eq!(error.code, code, "{text}"),
                Ok(command) => assert!(name == "many" && command.argv.len() == 5_001, "{text}"),
            }
        }
    }
}

/// What each place makes the program print, given the value.
struct PlaceCase {
    script: &'static str,
    expected: fn(&str) -> Vec<String>,
}

const PLACES: &[PlaceCase] = &[
    PlaceCase { script: "printf '%s\\0' {{ inputs.v }}", expected: |v| vec![v.to_owned()] },
    PlaceCase { script: "printf '%s\\0' \"{{ inputs.v }}\"", expected: |v| vec![v.to_owned()] },
    PlaceCase { script: "printf '%s\\0' \"a {{ inputs.v }} b\"", expected: |v| vec![format!("a {v} b")] },
    PlaceCase { script: "printf '%s\\0' a{{ inputs.v }}b", expected: |v| vec![format!("a{v}b")] },
    PlaceCase { script: "printf '%s\\0' *{{ inputs.v }}*/nowhere", expected: |v| vec![format!("*{v}*/nowhere")] },
    PlaceCase { script: "printf '%s\\0' {{ inputs.v }}{{ inputs.v }}", expected: |v| vec![format!("{v}{v}")] },
    PlaceCase {
        script: "printf '%s\\0' {{ [inputs.v, 'x', inputs.v] }}",
        expected: |v| vec![v.to_owned(), "x".to_owned(), v.to_owned()],
    },
    PlaceCase { script: "printf '%s\\0' \"$(printf '%sx' \"{{ inputs.v }}\")\"", expected: |v| vec![format!("{v}x")] },
    PlaceCase { script: "f() { printf '%s\\0' \"$1\"; }\nf {{ inputs.v }}", expected: |v| vec![v.to_owned()] },
    PlaceCase {
        script: "if [ {{ inputs.v }} = '' ]; then printf 'e\\0'; else printf '%s\\0' {{ inputs.v }}; fi",
        expected: |v| vec![if v.is_empty() { "e".to_owned() } else { v.to_owned() }],
    },
    PlaceCase {
        script: "set -- {{ inputs.v }}; (cd / && printf '%s\\0' \"$1\" \"\\${{ inputs.v }}\") | cat",
        expected: |v| vec![v.to_owned(), format!("${v}")],
    },
    PlaceCase {
        script: "sh -c 'printf \"%s\\0\" \"$1\"' _ {{ inputs.v }} # {{ inputs.v }}",
        expected: |v| vec![v.to_owned()],
    },
    PlaceCase { script: "env printf '%s\\0' {{ inputs.v }}", expected: |v| vec![v.to_owned()] },
];

fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("$(touch PWNED)".to_owned()),
        Just("`touch PWNED`".to_owned()),
        Just("\"; touch PWNED; \"".to_owned()),
        Just("'; touch PWNED; '".to_owned()),
        Just("${IFS}".to_owned()),
        Just("a[$(touch PWNED)]".to_owned()),
        Just("-v".to_owned()),
        Just("*".to_owned()),
        Just("~".to_owned()),
        Just("\\".to_owned()),
        Just("\n".to_owned()),
        Just("\r".to_owned()),
        Just("{{ inputs.v }}".to_owned()),
        Just("{% x %}".to_owned()),
        Just("__ratchet_1".to_owned()),
        Just("$1".to_owned()),
        Just("\u{81}\u{82}\u{88}".to_owned()),
        Just("\u{f0000}0\u{f0001}".to_owned()),
        Just("!".to_owned()),
        Just("#".to_owned()),
        Just(" ".to_owned()),
        "[^\0]{0,8}",
    ];
    proptest::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

fn run(command: &RenderedCommand, folder: &std::path::Path) -> Vec<String> {
    let output = Command::new(&command.argv[0])
        .args(&command.argv[1..])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .envs(&command.values)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut fields: Vec<String> = text.split('\0').map(str::to_owned).collect();
    assert_eq!(fields.pop().as_deref(), Some(""), "{command:?}");
    fields
}

fn evaluator_with(value: &str) -> Evaluator {
    let (mut scope, files) = scope_and_files();
    scope.inputs = BTreeMap::from([("v".to_owned(), Output::Json(Json::from(value)))]);
    Evaluator::new(scope, Arc::new(files))
}

#[test]
fn hostile_values_arrive_byte_for_byte_and_nothing_else_runs() {
    let folder = tempfile::tempdir().unwrap();
    let mut runner =
        TestRunner::new(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() });
    runner
        .run(&hostile(), |value| {
            let evaluator = evaluator_with(&value);
            for place in PLACES {
                for interpreter in [Interpreter::Bash, Interpreter::Sh] {
                    let command = rendered(&evaluator, place.script, interpreter);
                    prop_assert_eq!(run(&command, folder.path()), (place.expected)(&value), "{:?}", command);
                }
            }
            let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
            prop_assert!(left.is_empty(), "{:?}", left);
            Ok(())
        })
        .unwrap();
}

#[test]
fn no_other_process_sees_a_value_and_line_numbers_stay() {
    let folder = tempfile::tempdir().unwrap();
    let evaluator = evaluator_with("secret value");
    let script = "env > seen\nprintf '%s\\0' {{ inputs.v }} \"$LINENO\"";
    let command = rendered(&evaluator, script, Interpreter::Bash);
    assert_eq!(run(&command, folder.path()), ["secret value", "2"]);
    let seen = std::fs::read_to_string(folder.path().join("seen")).unwrap();
    assert!(!seen.contains("secret") && !seen.to_lowercase().contains("ratchet"), "{seen}");
}

#[test]
fn rendering_never_parses_data() {
    let mut runner = TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() });
    runner
        .run(&hostile(), |value| {
            let evaluator = evaluator_with(&value);
            let text = |source: &str| evaluator.text(&parse::template(source).unwrap().value).unwrap();
            prop_assert_eq!(text("{{ inputs.v }}"), value.clone());
            prop_assert_eq!(text("a {{ inputs.v }} b"), format!("a {value} b"));
            prop_assert_eq!(text("{% if true %}{{ inputs.v }}{% endif %}\n"), format!("{value}\n"));
            let expression = parse::expression("'x{{ inputs.v }}y'").unwrap().value;
            prop_assert_eq!(evaluator.expression(&expression).unwrap(), Output::Json(Json::from(format!("x{value}y"))));
            Ok(())
        })
        .unwrap();
}

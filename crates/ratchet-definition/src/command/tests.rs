//! Places, one line each; and hostile values through the real shells.

mod hostile;

use std::{fmt::Write as _, sync::Arc};

use proptest::{prelude::*, test_runner::TestRunner};
use ratchet_core::{
    output::Output,
    workflow::{Expression, Program, Quoting, ScriptPart, Shell},
};
use serde_json::json;

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
                    ScriptPart::Value { expression, quoting, .. } => match quoting {
                        Quoting::Bare => format!("<{}>", expression.source),
                        Quoting::Double => format!("<<{}>>", expression.source),
                        Quoting::Raw => format!("<!{}!>", expression.source),
                    },
                    ScriptPart::Choice(branches) => {
                        let branch = |(condition, code): &(Option<Expression>, String)| {
                            format!("{}:{code}", condition.as_ref().map_or("else", |condition| condition.source.trim()))
                        };
                        format!("<?{}?>", branches.iter().map(branch).collect::<Vec<_>>().join("|"))
                    }
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
fn values_stand_wherever_they_are_data() {
    check(&[
        ("a 'b {{ x }} c'", "argv a|b {{ (x)|string }} c"),
        ("a; b 'c {{ x }}'d", r#"script a; b 'c '"<<x>>"''d"#),
        (r"a '{{ x }}' '\{{ y }}' '${{ z }}'; b", r#"script a ''"<<x>>"'' '\'"<<y>>"'' '$'"<<z>>"''; b"#),
        ("A={{ x }}", r#"script A="<<x>>""#),
        ("A={{ x }}{{ y }} B='{{ x }}' c", r#"script A="<<x>>""<<y>>" B=''"<<x>>"'' c"#),
        (r#"A="{{ x }}" b"#, r#"script A="<<x>>" b"#),
        ("A=b:{{ x }}\nC=\"$A\"", "script A=b:\"<<x>>\"\nC=\"$A\""),
        (r#"export A={{ x }} B="c {{ y }}""#, r#"script export A="<<x>>" B="c <<y>>""#),
        ("readonly A={{ x }}", r#"script readonly A="<<x>>""#),
        ("env A={{ x }} b {{ y }}", "argv env|A={{ (x)|string }}|b|{{ y }}"),
        ("local -r a; local b; B={{ x }}", r#"script local -r a; local b; B="<<x>>""#),
        ("a > {{ x }}", r#"script a > "<<x>>""#),
        (r#"a 2>> "b/{{ x }}" < '{{ y }}'"#, r#"script a 2>> "b/<<x>>" < ''"<<y>>"''"#),
        (
            "{ a; } > {{ x }}; while b; do c; done < {{ y }}",
            r#"script { a; } > "<<x>>"; while b; do c; done < "<<y>>""#,
        ),
        ("exec > {{ x }}", r#"script exec > "<<x>>""#),
        ("a <<E\n{{ x }} '{{ y }}' \"{{ z }}\"\nE\n", "script a <<E\n<<x>> '<<y>>' \"<<z>>\"\nE\n"),
        ("a <<-E\n\t$B {{ x }} $(c {{ y }} \"{{ z }}\")\n\tE\n", "script a <<-E\n\t$B <<x>> $(c <y> \"<<z>>\")\n\tE\n"),
        ("case {{ x }} in a) b;; esac", r#"script case "<<x>>" in a) b;; esac"#),
        ("case a in {{ x }} | b{{ y }}*) c;; esac", r#"script case a in "<<x>>" | b"<<y>>"*) c;; esac"#),
        (r#"for i in a {{ x }} "{{ y }}"; do b; done"#, r#"script for i in a <x> "<<y>>"; do b; done"#),
        (r#"a "$(b=$(c '{{ x }}' > {{ y }}))""#, r#"script a "$(b=$(c ''"<<x>>"'' > "<<y>>"))""#),
        ("a {{ x | raw }} {{ y }}", "script a <!x!> <y>"),
        ("{{ x | lower | raw }}\nb", "script <!x | lower!>\nb"),
        ("a {% if x %}-b 'c'{% endif %} {{ y }}", "script a <?x:-b 'c'|else:?> <y>"),
        ("{% if x > 1 %}a{% elif y %}b{% else %}c{% endif %} d; e {{ z }}", "script <?x > 1:a|y:b|else:c?> d; e <z>"),
        ("a {%if x%}b{%endif%}; date '+{%H}'", "script a <?x:b|else:?>; date '+{%H}'"),
    ]);
    let bash = [
        ("[[ {{ x }} == a && -n {{ y }} ]]", r#"script [[ "<<x>>" == a && -n "<<y>>" ]]"#),
        ("[[ a != b{{ x }}* || $c =~ ^'{{ y }}'$ ]]", r#"script [[ a != b"<<x>>"* || $c =~ ^''"<<y>>"''$ ]]"#),
        (r#"[[ ! {{ x }} < "{{ y }}" ]]"#, r#"script [[ ! "<<x>>" < "<<y>>" ]]"#),
        ("[[ -f {{ x }} && a -nt {{ y }} ]]", r#"script [[ -f "<<x>>" && a -nt "<<y>>" ]]"#),
        ("a &> {{ x }}", r#"script a &> "<<x>>""#),
        ("diff <(a {{ x }}) b", "script diff <(a <x>) b"),
        ("A+={{ x }}", r#"script A+="<<x>>""#),
        ("date +{%s} '{% x'", "script date +{%s} '{% x'"),
        ("echo ${#a[@]}", "script echo ${#a[@]}"),
    ];
    for (text, expected) in bash {
        assert_eq!(show(text, Interpreter::Bash), expected, "{text}");
    }
}

/// Every kind of place that takes no value, as scripts between empty lines: `%` is the value, and `%%` the character.
const REFUSED: &str = include_str!("tests/refused.txt");

#[test]
fn everywhere_else_a_value_is_refused_with_the_safe_way() {
    let mut report = String::new();
    for script in REFUSED.split("\n\n").map(|script| script.trim_matches('\n')) {
        if script.starts_with("==") {
            let _ = writeln!(report, "{script}\n");
            continue;
        }
        let text = script.replace("%%", "\0").replace('%', "{{ x }}").replace('\0', "%");
        let refused = |interpreter| match parse::command(&text, &interpreter) {
            Ok(parsed) => panic!("{interpreter:?} {text}: {:?}", parsed.value),
            Err(mistakes) => mistakes,
        };
        let (bash, sh) = (refused(Interpreter::Bash), refused(Interpreter::Sh));
        assert!(!sh.is_empty(), "{text}");
        let _ = writeln!(report, "{text}");
        for mistake in bash {
            let help = mistake.help.as_deref().unwrap_or_else(|| panic!("no help: {text}"));
            let _ = writeln!(report, "  {} {}\n  help: {help}", mistake.code, mistake.message);
        }
        report.push('\n');
    }
    insta::assert_snapshot!("refused_places", report);
}

#[test]
fn what_is_wrong_in_braces_is_told() {
    check(&[
        ("a {{ (x | raw) }}", "RT-0108 raw"),
        ("a {% for i in x %}b{% endfor %}", "RT-0102 {% for i in x %}, RT-0102 {% endfor %}"),
        ("a {% if x %}{{ y }}{% endif %}", "RT-0102 {{, RT-0102 {% endif %}"),
        ("a {% if x %}b", "RT-0102 {%"),
        (
            "a {% if x %}b{% if y %}c{% endif %}{% endif %}",
            "RT-0102 {% if y %}, RT-0102 {% endif %}, RT-0102 {% endif %}",
        ),
        ("a {% if x b", "RT-0102 {%"),
        ("a {%- if x -%}b{% endif %}", "RT-0102 {%- if x -%}, RT-0102 {% endif %}"),
        ("a {% set b = 1 %}", "RT-0102 {% set b = 1 %}"),
        ("a {% if nope() %}b{% endif %}", "RT-0103 nope, RT-0102 {% endif %}"),
        ("a {{ x", "RT-0101 {{"),
        ("docker inspect --format '{{.Name}}'", "RT-0100 ."),
        ("a \"{{ x }}", "RT-0110 {"),
        ("if a {{ x }}", "RT-0110 }"),
        ("{% if x %}if a{% else %}b{% endif %}", "RT-0110 }"),
        ("{% if x %}'{% endif %} {{ y }}", "RT-0110 {"),
        ("{% if x %}eval{% else %}echo{% endif %} {{ y }}", "RT-0112 {{ y }}"),
        ("a {% if x %}\"{% endif %}{{ y }}{% if x %}\"{% endif %}", "RT-0110 {"),
        ("a {% if x %}# {% endif %}{{ y }}", "RT-0111 {{ y }}"),
        ("a {% if x %}\\{% endif %}{{ y }}", "RT-0111 {{ y }}"),
        ("a {% if x %}${% endif %}{{ y }}", "RT-0111 {{ y }}"),
    ]);
    let many = "{% if x %}a{% endif %} ".repeat(5);
    assert_eq!(show(&many, Interpreter::Bash), "RT-0102 {%");
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
    // The quotes hide from whoever counts brackets that nothing is closed.
    let unclosed = "$(a ' ) $(b ' ) ".repeat(20);
    assert_eq!(show(&format!("cat <<END\n{{{{ x }}}} {unclosed}\nEND"), Interpreter::Bash), "RT-0111 {{ x }}");
    let nested = format!("{}a {{{{ x }}}}{}", "echo \"$(".repeat(9), ")\"".repeat(9));
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
    let shell =
        Shell { source: text.to_owned(), program: parsed.value, allow_exit_codes: [].into(), security_profile: None };
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
            let shell = Shell { source: text.clone(), program, allow_exit_codes: [].into(), security_profile: None };
            match evaluator.command(&shell) {
                Err(error) => assert_eq!(error.code, code, "{text}"),
                Ok(command) => assert!(name == "many" && command.argv.len() == 5_001, "{text}"),
            }
        }
    }
}

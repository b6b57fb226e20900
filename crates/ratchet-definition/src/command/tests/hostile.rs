//! Hostile values through the real shells: each arrives byte for byte wherever a value may stand, and nothing else runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use proptest::{prelude::*, test_runner::TestRunner};
use ratchet_core::{output::Output, workflow::Shell};
use serde_json::{Value as Json, json};

use super::rendered;
use crate::{
    evaluate::{Evaluator, RenderedCommand, tests::scope_and_files},
    parse,
    parsed::Interpreter,
};

/// A line of a script with a value in it, `@`, and the fields that it prints for the value.
struct PlaceCase {
    line: &'static str,
    expected: fn(&str) -> Vec<String>,
    /// Whether only bash has this place.
    bash_only: bool,
    /// Every so many values are tried: a line that starts processes is slow.
    stride: usize,
}

const fn in_both(line: &'static str, expected: fn(&str) -> Vec<String>) -> PlaceCase {
    PlaceCase { line, expected, bash_only: false, stride: 1 }
}

const fn in_bash(line: &'static str, expected: fn(&str) -> Vec<String>) -> PlaceCase {
    PlaceCase { bash_only: true, ..in_both(line, expected) }
}

const fn slow(line: &'static str, expected: fn(&str) -> Vec<String>) -> PlaceCase {
    PlaceCase { stride: 8, ..in_both(line, expected) }
}

fn same(value: &str) -> Vec<String> {
    vec![value.to_owned()]
}

fn yes(_: &str) -> Vec<String> {
    vec!["yes".to_owned()]
}

fn no(_: &str) -> Vec<String> {
    vec!["no".to_owned()]
}

const PLACES: &[PlaceCase] = &[
    // Arguments.
    in_both(r"printf '%s\0' @", same),
    in_both(r"printf '%s\0' a@b", |v| vec![format!("a{v}b")]),
    in_both(r"printf '%s\0' *@*/nowhere", |v| vec![format!("*{v}*/nowhere")]),
    in_both(r"printf '%s\0' @@", |v| vec![format!("{v}{v}")]),
    in_both(r"set -- @; (cd / && printf '%s\0' $1x) > /dev/null; printf '%s\0' $#", |_| vec!["1".to_owned()]),
    in_both(r#"f() { printf '%s\0' "$#" "$1"; }; f @"#, |v| vec!["1".to_owned(), v.to_owned()]),
    in_both(r"if [ @ = '' ]; then printf 'e\0'; else printf '%s\0' @; fi", |v| {
        vec![if v.is_empty() { "e".to_owned() } else { v.to_owned() }]
    }),
    in_both(r"if [ -n @ ] && test ! @ != @; then printf 'yes\0'; else printf 'no\0'; fi", |v| {
        if v.is_empty() { no(v) } else { yes(v) }
    }),
    slow(r#"sh -c 'printf "%s\0" "$1"' _ @ # @"#, same),
    slow(r"env A=@ printf '%s\0' @", same),
    // Quotes.
    in_both(r#"printf '%s\0' "@""#, same),
    in_both(r#"printf '%s\0' "a '@' b""#, |v| vec![format!("a '{v}' b")]),
    in_both(r"printf '%s\0' '@'", same),
    in_both(r"printf '%s\0' 'a @ \@$@'b", |v| vec![format!("a {v} \\{v}${v}b")]),
    in_both(r#"printf '%s\0' "\$@\\@""#, |v| vec![format!("${v}\\{v}")]),
    // Assignments.
    in_both(r#"A=@; printf '%s\0' "$A""#, same),
    in_both(r#"A=a@'b @'"c @"; printf '%s\0' "$A""#, |v| vec![format!("a{v}b {v}c {v}")]),
    in_both(r#"export A=@ B="b@"; printf '%s\0' "$A" "$B""#, |v| vec![v.to_owned(), format!("b{v}")]),
    slow(r#"A=@ sh -c 'printf "%s\0" "$A"'"#, same),
    in_both(r#"for i in @ "@" x; do printf '%s\0' "$i"; done"#, |v| vec![v.to_owned(), v.to_owned(), "x".to_owned()]),
    in_bash(r#"A=x; A+=@; printf '%s\0' "$A""#, |v| vec![format!("x{v}")]),
    // Here-documents.
    slow("cat <<E\n@ $((1 + 1)) '@'\nE\nprintf '\\0'", |v| vec![format!("{v} 2 '{v}'\n")]),
    slow("cat <<-E\n\t\"@\"\\\\@\n\tE\nprintf '\\0'", |v| vec![format!("\"{v}\"\\{v}\n")]),
    // Patterns and tests.
    in_both(r"case @ in @) printf 'yes\0';; *) printf 'no\0';; esac", yes),
    in_both(r#"case @x in "@") printf 'yes\0';; *) printf 'no\0';; esac"#, no),
    in_both(r"case a@b in a@*|'@') printf 'yes\0';; *) printf 'no\0';; esac", yes),
    in_bash(r"if [[ @ == @ && x@ != @ ]]; then printf 'yes\0'; else printf 'no\0'; fi", yes),
    in_bash(r"if [[ a@b =~ ^a@b$ && ! a@b =~ ^a@bc$ ]]; then printf 'yes\0'; else printf 'no\0'; fi", yes),
    in_bash(
        r"if [[ -n @ ]]; then printf 'yes\0'; else printf 'no\0'; fi",
        |v| if v.is_empty() { no(v) } else { yes(v) },
    ),
    // In command substitutions.
    in_both(r#"printf '%s\0' "$(printf '%sx' "@")""#, |v| vec![format!("{v}x")]),
    in_both(r#"printf '%s\0' "$(printf '%sx' 'a @')""#, |v| vec![format!("a {v}x")]),
    in_both(r#"A=$(B=@; case $B in (@) printf '%sx' "$B";; esac); printf '%s\0' "$A""#, |v| vec![format!("{v}x")]),
    slow("printf '%s\\0' \"$(cat <<E\n@x\nE\n)\"", |v| vec![format!("{v}x")]),
];

/// What an attacker would write, and what shells trip over.
const ATOMS: &[&str] = &[
    "$(touch PWNED)",
    "`touch PWNED`",
    "; touch PWNED;",
    "& touch PWNED &",
    "| touch PWNED",
    "&& touch PWNED ||",
    "\ntouch PWNED\n",
    "'; touch PWNED; '",
    "\"; touch PWNED; \"",
    "'\"'\"; touch PWNED; '\"'\"",
    "'$(touch PWNED)'",
    "\"$(touch PWNED)\"",
    "${IFS}touch${IFS}PWNED",
    "$((a[$(touch PWNED)]))",
    "a[$(touch PWNED)]",
    "a[$(touch PWNED)]=1",
    "$[a[$(touch PWNED)]]",
    "${x:=$(touch PWNED)}",
    "${x@P}",
    ") ; touch PWNED ; (",
    "}; touch PWNED; {",
    "]] && touch PWNED && [[ a",
    "x) touch PWNED;; *",
    ";; esac; touch PWNED",
    "E\ntouch PWNED\n",
    "\nE\ntouch PWNED\n",
    "fi; touch PWNED",
    "; done; touch PWNED",
    "> PWNED",
    ">PWNED",
    "<(touch PWNED)",
    ">(touch PWNED)",
    "() { :; }; touch PWNED",
    "$'\\x3btouch PWNED'",
    "-e touch PWNED",
    "-c touch${IFS}PWNED",
    "-n",
    "-v a[$(touch PWNED)]",
    "--",
    "--help",
    "-",
    "",
    " ",
    "\t",
    "  a  b  ",
    "*",
    "?",
    "[a-z]*",
    "@(a|b)",
    "{a,b}",
    "{1..9}",
    "~",
    "~root",
    "#",
    "# touch PWNED",
    "!",
    "!!",
    "%s %n %d",
    "\\",
    "\\\\",
    "\\0",
    "\\x41\\n\\c",
    "\\$(touch PWNED)",
    "\r",
    "\r\n",
    "\u{1b}[31m",
    "\u{7f}\u{1}\u{8}",
    "\u{81}\u{82}\u{83}\u{88}",
    "é",
    "日本語",
    "🙂",
    "\u{202e}a",
    "\u{feff}",
    "\u{a0}",
    "{{ inputs.v }}",
    "{% if x %}",
    "$1$@$*$#$?$$$!",
    "$PATH ${PATH}",
    "__ratchet_1 ${__ratchet_1}",
    "$RATCHET_VALUE_1",
    "a=b",
    "=",
    "<<E",
    "(",
    ")",
    "\u{f0000}0\u{f0001}",
    "../../PWNED",
    "/dev/tcp/127.0.0.1/1",
    "if then else while do case esac",
];

/// How an atom stands in a value.
const FRAMES: &[&str] = &["@", "a@b", "'@'", "\"@\"", "@\n", "-@", "\\@", "@\\"];

fn hostile_values() -> Vec<String> {
    FRAMES.iter().flat_map(|frame| ATOMS.iter().map(|atom| frame.replace('@', atom))).collect()
}

/// Values as long as a value may be.
fn long_values() -> Vec<String> {
    ["x", "'", "$(touch PWNED)", "\\", "\n"].iter().map(|part| part.repeat(100 * 1024 / part.len())).collect()
}

/// So many values go through one process.
const BATCH: usize = 80;

fn evaluator_with(values: &[String]) -> Evaluator {
    let (mut scope, files) = scope_and_files();
    let value = |json: Json| Output::Json(json);
    scope.inputs = BTreeMap::from([("v".to_owned(), value(json!(values))), ("no".to_owned(), value(json!(false)))]);
    Evaluator::new(scope, Arc::new(files))
}

/// Runs a command, which must end well and print nothing on standard error, and gives the fields that it printed.
fn run(command: &RenderedCommand, folder: &Path) -> Result<Vec<String>, String> {
    let output = Command::new(&command.argv[0])
        .args(&command.argv[1..])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .envs(&command.values)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    let errors = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = errors.lines().filter(|line| !line.contains("warning: setlocale")).take(5).collect();
    if !output.status.success() || !said.is_empty() {
        return Err(format!("{}: {}", output.status, said.join("\n")));
    }
    let text = String::from_utf8(output.stdout).map_err(|error| error.to_string())?;
    let mut fields: Vec<String> = text.split('\0').map(str::to_owned).collect();
    if fields.pop().as_deref() == Some("") { Ok(fields) } else { Err("the last field has no end".to_owned()) }
}

/// A place with a shell, parsed once for a whole batch of values.
struct Line {
    place: &'static PlaceCase,
    interpreter: Interpreter,
    shell: Shell,
}

fn lines() -> Vec<Line> {
    let line = |place: &'static PlaceCase, interpreter| {
        let source: Vec<String> =
            (0..BATCH).map(|n| place.line.replace('@', &format!("{{{{ inputs.v[{n}] }}}}"))).collect();
        let source = source.join("\n");
        let program = match parse::command(&source, &interpreter) {
            Ok(parsed) => parsed.value,
            Err(mistakes) => panic!("{interpreter:?} {}: {:?}", place.line, mistakes[0]),
        };
        Line {
            place,
            interpreter,
            shell: Shell { source, program, allow_exit_codes: [].into(), security_profile: None },
        }
    };
    let in_sh = PLACES.iter().filter(|place| !place.bash_only).map(|place| line(place, Interpreter::Sh));
    PLACES.iter().map(|place| line(place, Interpreter::Bash)).chain(in_sh).collect()
}

impl Line {
    /// Puts values into the place, many at a time, and says what went wrong.
    fn check(&self, values: &[String], folder: &Path) -> Result<(), String> {
        let Self { place, interpreter, shell } = self;
        let chosen: Vec<String> = values.iter().step_by(place.stride).cloned().collect();
        for batch in chosen.chunks(BATCH) {
            let mut batch = batch.to_vec();
            batch.resize(BATCH, "x".to_owned());
            let command = evaluator_with(&batch).command(shell).map_err(|error| error.to_string())?;
            let found = run(&command, folder).map_err(|error| format!("{interpreter:?} {}: {error}", place.line))?;
            let expected: Vec<String> = batch.iter().flat_map(|value| (place.expected)(value)).collect();
            let different = expected.iter().zip(&found).find(|(expected, found)| expected != found);
            if let Some((expected, found)) = different {
                return Err(format!("{interpreter:?} {}\n  expected {expected:?}\n  found    {found:?}", place.line));
            }
            if expected.len() != found.len() {
                return Err(format!("{interpreter:?} {}: {} fields, not {}", place.line, found.len(), expected.len()));
            }
        }
        let left: Vec<_> = fs::read_dir(folder).map_err(|error| error.to_string())?.collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{}: something ran: {left:?}", place.line)) }
    }
}

#[test]
fn hostile_values_arrive_byte_for_byte_and_nothing_else_runs() {
    let folder = tempfile::tempdir().unwrap();
    let values = hostile_values();
    assert!(values.len() >= 600, "{}", values.len());
    for line in lines() {
        line.check(&values, folder.path()).unwrap();
    }
}

#[test]
fn long_values_arrive_too() {
    let folder = tempfile::tempdir().unwrap();
    for line in lines() {
        // The values of one process are limited together, and a place may hold its value four times.
        for values in long_values().chunks(2) {
            line.check(values, folder.path()).unwrap();
        }
    }
}

/// The names of files that values can be: no slash, not too long, none twice.
fn file_names(values: &[String]) -> Vec<String> {
    let names: BTreeSet<String> = values
        .iter()
        .map(|value| value.replace('/', "_"))
        .map(|name| name[..name.floor_char_boundary(200)].to_owned())
        .filter(|name| !matches!(name.as_str(), "" | "." | ".."))
        .collect();
    names.into_iter().collect()
}

#[test]
fn hostile_names_are_the_files_that_are_opened() {
    let world = tempfile::tempdir().unwrap();
    let folder = world.path();
    let names = file_names(&hostile_values());
    let cases: &[(&str, &str, &[Interpreter])] = &[
        ("printf %s ok > @", "", &[Interpreter::Bash, Interpreter::Sh]),
        ("{ printf %s ok; } >> \"./@\"", "", &[Interpreter::Bash, Interpreter::Sh]),
        ("A=$(printf %s ok >| 'd/@')", "d", &[Interpreter::Bash, Interpreter::Sh]),
        ("printf %s ok &> @", "", &[Interpreter::Bash]),
    ];
    for (line, sub, interpreters) in cases {
        for interpreter in *interpreters {
            fs::create_dir_all(folder.join(sub)).unwrap();
            for batch in names.chunks(BATCH) {
                let lines: Vec<String> =
                    (0..batch.len()).map(|n| line.replace('@', &format!("{{{{ inputs.v[{n}] }}}}"))).collect();
                let command = rendered(&evaluator_with(batch), &(lines.join("\n") + "\nprintf '\\0'"), *interpreter);
                assert_eq!(run(&command, folder).unwrap_or_else(|error| panic!("{line}: {error}")), [""]);
            }
            let mut found = Vec::new();
            for entry in fs::read_dir(folder.join(sub)).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    assert_eq!(fs::read_to_string(&path).unwrap(), "ok", "{}", path.display());
                    found.push(path.file_name().unwrap().to_str().unwrap().to_owned());
                    fs::remove_file(path).unwrap();
                }
            }
            found.sort();
            assert_eq!(found, names, "{interpreter:?} {line}");
        }
    }
    fs::remove_dir(folder.join("d")).unwrap();
    for name in &names {
        fs::write(folder.join(name), name).unwrap();
    }
    for interpreter in [Interpreter::Bash, Interpreter::Sh] {
        let some: Vec<String> = names.iter().step_by(8).cloned().collect();
        let lines: Vec<String> =
            (0..some.len()).map(|n| format!("cat < {{{{ inputs.v[{n}] }}}}; printf '\\0'")).collect();
        let command = rendered(&evaluator_with(&some), &lines.join("\n"), interpreter);
        assert_eq!(run(&command, folder).unwrap(), some);
    }
    assert_eq!(fs::read_dir(folder).unwrap().count(), names.len(), "something ran");
}

#[test]
fn a_list_is_one_word_each_with_and_without_a_shell() {
    let folder = tempfile::tempdir().unwrap();
    let values: Vec<String> = hostile_values().into_iter().take(300).collect();
    let evaluator = evaluator_with(&values);
    for (script, interpreter) in [
        ("env printf '%s\\0' {{ inputs.v }}", Interpreter::Bash),
        ("printf '%s\\0' {{ inputs.v }}", Interpreter::Bash),
        ("printf '%s\\0' {{ inputs.v }}", Interpreter::Sh),
        ("for i in {{ inputs.v }}; do printf '%s\\0' \"$i\"; done", Interpreter::Sh),
        ("set -- {{ inputs.v }}; printf '%s\\0' \"$@\"", Interpreter::Bash),
        (
            "{% if inputs.no %}touch PWNED {% else %}printf '%s\\0' {% endif %} {{ inputs.v }} # {{ inputs.v }}",
            Interpreter::Sh,
        ),
    ] {
        assert_eq!(run(&rendered(&evaluator, script, interpreter), folder.path()).unwrap(), values, "{script}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "something ran");
}

/// Values put together from pieces of hostile ones and anything else.
fn anything_hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        2 => proptest::sample::select(ATOMS).prop_map(str::to_owned),
        1 => "[^\0]{0,8}",
        1 => "[ -~]{0,4}",
    ];
    proptest::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

#[test]
fn more_hostile_values_arrive_too() {
    let folder = tempfile::tempdir().unwrap();
    let lines = lines();
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 3,
        max_shrink_iters: 20,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    runner
        .run(&proptest::collection::vec(anything_hostile(), BATCH), |values| {
            for line in &lines {
                line.check(&values, folder.path()).map_err(TestCaseError::fail)?;
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn what_is_raw_is_code() {
    let folder = tempfile::tempdir().unwrap();
    let evaluator = evaluator_with(&["printf '%s\\0' a b".to_owned(), "'c'".to_owned()]);
    let script = "{{ inputs.v[0] | raw }} {{ inputs.v[1] }} {{ inputs.v[1] | raw }}";
    assert!(parse::command(script, &Interpreter::Bash).is_err(), "the command's name is not in the script");
    let script = "{{ inputs.v[0] | raw }} {{ inputs.v[1] | raw }}";
    assert_eq!(run(&rendered(&evaluator, script, Interpreter::Sh), folder.path()).unwrap(), ["a", "b", "c"]);
    let warnings = parse::command(script, &Interpreter::Sh).unwrap().warnings;
    assert_eq!(warnings.iter().map(|warning| warning.code).collect::<Vec<_>>(), ["RT-0117", "RT-0117"]);
}

#[test]
fn a_target_is_no_connection() {
    for value in ["/dev/tcp/127.0.0.1/1", "/dev", "/", "/dev/udp/127.0.0.1/1"] {
        let evaluator = evaluator_with(&[value.to_owned()]);
        for (script, refused) in
            [("a > {{ inputs.v[0] }}", true), ("a > '{{ inputs.v[0] }}x'", true), ("a > b{{ inputs.v[0] }}", false)]
        {
            let program = parse::command(script, &Interpreter::Bash).unwrap().value;
            let shell =
                Shell { source: script.to_owned(), program, allow_exit_codes: [].into(), security_profile: None };
            let code = evaluator.command(&shell).err().map(|error| error.code);
            assert_eq!(code, refused.then_some("RT-0129"), "{script} {value}");
        }
    }
}

#[test]
fn no_other_process_sees_a_value_and_line_numbers_stay() {
    let folder = tempfile::tempdir().unwrap();
    let evaluator = evaluator_with(&["secret value".to_owned()]);
    let script = "env > seen\nprintf '%s\\0' {{ inputs.v[0] }} \"$LINENO\"";
    let command = rendered(&evaluator, script, Interpreter::Bash);
    assert_eq!(run(&command, folder.path()).unwrap(), ["secret value", "2"]);
    let seen = fs::read_to_string(folder.path().join("seen")).unwrap();
    assert!(!seen.contains("secret") && !seen.to_lowercase().contains("ratchet"), "{seen}");
}

#[test]
fn rendering_never_parses_data() {
    let mut runner = TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() });
    runner
        .run(&anything_hostile(), |value| {
            let evaluator = evaluator_with(std::slice::from_ref(&value));
            let text = |source: &str| evaluator.text(&parse::template(source).unwrap().value).unwrap();
            prop_assert_eq!(text("{{ inputs.v[0] }}"), value.clone());
            prop_assert_eq!(text("a {{ inputs.v[0] }} b"), format!("a {value} b"));
            prop_assert_eq!(text("{% if true %}{{ inputs.v[0] }}{% endif %}\n"), format!("{value}\n"));
            let expression = parse::expression("'x{{ inputs.v[0] }}y'").unwrap().value;
            prop_assert_eq!(evaluator.expression(&expression).unwrap(), Output::Json(Json::from(format!("x{value}y"))));
            Ok(())
        })
        .unwrap();
}

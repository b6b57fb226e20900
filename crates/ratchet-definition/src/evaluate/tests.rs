//! Expressions and templates against one scope that has something of everything.

use std::{collections::BTreeMap, sync::Arc};

use ratchet_core::{
    history::sha256_hex,
    ids::{Digest, ExecutionId, StepId},
    join::NeedOutcome,
    output::{BlobRef, FileValue, Output},
    status::StepStatus,
    workflow::Shell,
};
use serde_json::json;

use super::{Evaluator, ExecutionView, Scope, StepView};
use crate::{
    files::{FileAccess, FileError},
    parse,
    parsed::Interpreter,
};

/// Files in memory. A captured file is called `captured/<path>`.
#[derive(Default)]
pub(crate) struct MemoryFiles {
    workspace: BTreeMap<String, Vec<u8>>,
    captured: BTreeMap<String, Vec<u8>>,
}

impl MemoryFiles {
    pub(crate) fn with(mut self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.workspace.insert(path.to_owned(), content.into());
        self
    }

    /// Captures a file and gives its value.
    pub(crate) fn capture(&mut self, path: &str, content: impl Into<Vec<u8>>) -> Output {
        let content = content.into();
        let digest = sha256_hex(&content);
        let size = content.len() as u64;
        self.captured.insert(digest.clone(), content);
        Output::File(FileValue { path: path.to_owned(), content: BlobRef { digest: Digest::new(digest), size } })
    }
}

impl FileAccess for MemoryFiles {
    fn read_captured(&self, file: &FileValue) -> Result<Vec<u8>, FileError> {
        self.captured.get(file.content.digest.as_str()).cloned().ok_or_else(|| FileError::NotFound(file.path.clone()))
    }

    fn path_of_captured(&self, file: &FileValue) -> Result<String, FileError> {
        self.read_captured(file).map(|_| format!("captured/{}", file.path))
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, FileError> {
        if path.starts_with("..") {
            return Err(FileError::Outside(path.to_owned()));
        }
        self.workspace.get(path).cloned().ok_or_else(|| FileError::NotFound(path.to_owned()))
    }

    fn digest(&self, path: &str) -> Result<Option<Digest>, FileError> {
        let folder = format!("{path}/");
        let content: Vec<u8> =
            self.workspace.iter().filter(|(name, _)| name.starts_with(&folder)).flat_map(|(_, c)| c.clone()).collect();
        let content = self.workspace.get(path).cloned().or((!content.is_empty()).then_some(content));
        Ok(content.map(|content| Digest::new(sha256_hex(&content))))
    }

    fn glob(&self, pattern: &str) -> Result<Vec<String>, FileError> {
        let ending = pattern.trim_start_matches('*');
        Ok(self.workspace.keys().filter(|path| path.ends_with(ending)).cloned().collect())
    }
}

const COBERTURA: &str = r#"<?xml version="1.0" ?>
<!DOCTYPE coverage SYSTEM 'http://cobertura.sourceforge.net/xml/coverage-04.dtd'>
<coverage lines-valid="200" lines-covered="123" line-rate="0.615" branches-valid="0" branches-covered="0" branch-rate="0">
  <packages><package><classes>
    <class filename="app/a.py"><methods/><lines><line number="1" hits="1"/><line number="2" hits="0"/></lines></class>
    <class filename="app/b.py"><lines><line number="7" hits="2" branch="true" condition-coverage="50% (1/2)"/></lines></class>
  </classes></package></packages>
</coverage>"#;

fn view(status: StepStatus, outputs: BTreeMap<String, Output>) -> StepView {
    StepView { status, outputs, exit_code: Some(0), duration_ms: Some(1_500), attempts: 1, cached: false }
}

/// A scope with a completed, a skipped and a fanned-out step.
pub(crate) fn scope_and_files() -> (Scope, MemoryFiles) {
    let mut files = MemoryFiles::default()
        .with("src/app.py", "print(1)\n")
        .with("src/util.py", "pass\n")
        .with("report.info", "TN:\nSF:a.js\nDA:1,1\nDA:2,0\nBRDA:1,0,0,1\nBRDA:1,0,1,-\nend_of_record\n")
        .with("data.json", r#"{"a": [1, 2.5]}"#);
    let report = files.capture("coverage.xml", COBERTURA);
    let outputs = BTreeMap::from([
        ("coverage_xml".to_owned(), report.clone()),
        ("count".to_owned(), Output::Json(json!(3))),
        ("text".to_owned(), Output::Json(json!("{{ inputs.secretive }} {% for %} $(id)"))),
        ("reports".to_owned(), Output::Each(vec![Some(report), None, Some(Output::Json(json!("x")))])),
    ]);
    let time = |text: &str| text.parse().unwrap();
    let scope = Scope {
        inputs: BTreeMap::from([
            ("target_file".to_owned(), Output::Json(json!("src/app.py"))),
            ("target_coverage".to_owned(), Output::Json(json!(90))),
            ("ratio".to_owned(), Output::Json(json!(90.0))),
            ("half".to_owned(), Output::Json(json!(0.5))),
            ("flag".to_owned(), Output::Json(json!(true))),
            ("list".to_owned(), Output::Json(json!(["a b", "c"]))),
            ("map".to_owned(), Output::Json(json!({"x": {"y": 1}, "n": null}))),
            ("big".to_owned(), Output::Json(json!(u64::MAX))),
        ]),
        env: BTreeMap::from([("CREATE_PR".to_owned(), "true".to_owned())]),
        steps: BTreeMap::from([
            (StepId::new("baseline"), view(StepStatus::Completed, outputs)),
            (StepId::new("optional"), view(StepStatus::Skipped, BTreeMap::new())),
        ]),
        item: Some(Output::Json(json!({"name": "one"}))),
        index: Some(4),
        execution: ExecutionView {
            id: ExecutionId::new("run-1"),
            workflow: "w".to_owned(),
            version: "1.0".to_owned(),
            started_at: time("2026-01-02T03:04:05Z"),
        },
        trigger: json!({"branch": "main"}),
        needs: NeedOutcome { satisfied: true, failed_above: true, continued_above: false },
        outputs: None,
        locals: BTreeMap::from([("stdout".to_owned(), Output::Json(json!("done https://x.test/a_(b).\n")))]),
        now: time("2026-01-02T03:04:06Z"),
        artifacts: crate::evaluate::Artifacts::default(),
    };
    (scope, files)
}

pub(crate) fn evaluator() -> Evaluator {
    let (scope, files) = scope_and_files();
    Evaluator::new(scope, Arc::new(files))
}

fn shown(result: Result<Output, super::EvaluationError>) -> String {
    match result {
        Ok(Output::Json(json)) => json.to_string(),
        Ok(Output::File(file)) => format!("file {}", file.path),
        Ok(Output::Each(entries)) => {
            let entries = entries.into_iter().map(|entry| entry.map_or("null".to_owned(), |entry| shown(Ok(entry))));
            format!("each [{}]", entries.collect::<Vec<_>>().join(", "))
        }
        Ok(Output::Stored(_)) => "stored".to_owned(),
        Err(error) => format!("{}: {}; {}", error.code, error.message, error.help.as_deref().unwrap_or("-")),
    }
}

fn check_expressions(cases: &[(&str, &str)]) {
    let evaluator = evaluator();
    for (text, expected) in cases {
        let expression = parse::expression(text).unwrap_or_else(|mistakes| panic!("{text}: {mistakes:?}")).value;
        assert_eq!(shown(evaluator.expression(&expression)), *expected, "{text}");
    }
}

fn check_templates(cases: &[(&str, &str)]) {
    let evaluator = evaluator();
    for (text, expected) in cases {
        let template = parse::template(text).unwrap_or_else(|mistakes| panic!("{text}: {mistakes:?}")).value;
        assert_eq!(shown(evaluator.value(&template)), *expected, "{text}");
    }
}

#[test]
fn expressions_read_the_scope() {
    check_expressions(&[
        ("inputs.target_file", r#""src/app.py""#),
        ("inputs.target_coverage", "90"),
        ("inputs.half + 1", "1.5"),
        ("inputs.big", "18446744073709551615"),
        ("inputs.map.x.y", "1"),
        ("inputs.map['x']", r#"{"y":1}"#),
        ("inputs.list[0]", r#""a b""#),
        ("inputs.list[:1] | length", "1"),
        ("baseline.outputs.reports[1:inputs.map.x.y + 2] | last", r#""x""#),
        ("inputs.map.n", "null"),
        ("{{ env.CREATE_PR == 'true' }}", "true"),
        ("env.NOBODY_SET_THIS", r#""""#),
        ("baseline.status", r#""completed""#),
        ("baseline.duration", "1.5"),
        ("baseline.attempts + baseline.exit_code", "1"),
        ("baseline.cached", "false"),
        ("baseline.outputs.count", "3"),
        ("baseline.outputs.coverage_xml", "file coverage.xml"),
        ("baseline.outputs.reports", r#"each [file coverage.xml, null, "x"]"#),
        ("baseline.outputs.coverage_xml ~ ''", r#""captured/coverage.xml""#),
        ("[baseline.outputs.coverage_xml, none, 1]", "each [file coverage.xml, null, 1]"),
        ("{'f': baseline.outputs.coverage_xml}", r#"{"f":"captured/coverage.xml"}"#),
        ("baseline.outputs.coverage_xml == baseline.outputs.reports[0]", "true"),
        ("optional.outputs.anything", "null"),
        ("optional.outputs.anything is none and optional.status == 'skipped'", "true"),
        ("item.name ~ index", r#""one4""#),
        ("execution.id ~ execution.workflow ~ execution.version", r#""run-1w1.0""#),
        ("execution.started_at < now()", "true"),
        ("trigger.branch", r#""main""#),
        ("trigger.nothing | default('x')", r#""x""#),
        ("trigger.nothing is defined", "false"),
        ("success()", "false"),
        ("failure() and always()", "true"),
        ("'a{{ inputs.ratio }}b'", r#""a90b""#),
        ("parse_coverage(baseline.outputs.coverage_xml).line_coverage < {{ inputs.target_coverage }}", "true"),
        ("'x' if inputs.flag", r#""x""#),
        ("'x' if not inputs.flag", "null"),
        ("range(3) | list", "[0,1,2]"),
        ("inputs.list | map('upper') | join('-')", r#""A B-C""#),
        ("inputs.flag and inputs.nope_is_not_read if false else 1", "1"),
        ("'is ' ~ inputs.flag ~ inputs.ratio", r#""is true90""#),
        ("[inputs.flag, inputs.ratio] | join(',')", r#""true,90""#),
    ]);
}

#[test]
fn what_is_not_there_is_named() {
    check_expressions(&[
        ("inputs.taget_file", "RT-0120: `inputs.taget_file` is not defined; did you mean `target_file`?"),
        ("baseln.outputs.x", "RT-0120: `baseln` is not defined; did you mean `baseline`?"),
        ("baseline.output", "RT-0120: `baseline.output` is not defined; did you mean `outputs`?"),
        ("baseline.outputs.cout", "RT-0120: `baseline.outputs.cout` is not defined; did you mean `count`?"),
        ("trigger.brnch == 'main'", "RT-0120: `trigger.brnch` is not defined; did you mean `branch`?"),
        ("inputs.map.zebra != 1", "RT-0120: `inputs.map.zebra` is not defined; known: `n`, `x`"),
        ("[inputs.map.zebra]", "RT-0120: `inputs.map.zebra` is not defined; known: `n`, `x`"),
        ("inputs.map.zebra ~ 'x'", "RT-0120: `inputs.map.zebra` is not defined; known: `n`, `x`"),
        ("inputs.map.zebra.y", "RT-0120: `inputs.map.zebra` is not defined; known: `n`, `x`"),
        ("json_parse('{}').a > 1", "RT-0120: `json_parse(…).a` is not defined; -"),
        ("inputs.list[7]", "RT-0120: `inputs.list[7]` is not defined; -"),
        (
            "execution.name",
            "RT-0120: `execution.name` is not defined; known: `id`, `started_at`, `version`, `workflow`",
        ),
        (
            "baseline.outputs.coverage_xml.path",
            "RT-0120: a file value has no `path`; read it with `file_content(…)` or `parse_coverage(…)`",
        ),
        (
            "secrets.TOKEN",
            "RT-0128: a secret cannot be read here; give it to the step's process: `secrets: [NAME]`, and read it there as `$NAME`",
        ),
        ("1 / 0", "RT-0121: unable to calculate 1 / 0; -"),
        ("inputs.target_file + 1", "RT-0121: tried to use + operator on unsupported types string and number; -"),
    ]);
}

#[test]
fn templates_keep_types_or_become_text() {
    check_templates(&[
        ("{{ inputs.target_coverage }}", "90"),
        ("{{- inputs.list -}}", r#"["a b","c"]"#),
        ("{{ baseline.outputs.coverage_xml }}", "file coverage.xml"),
        ("{{ inputs.ratio }}%", r#""90%""#),
        ("{{ inputs.half }}", "0.5"),
        ("{{ inputs.half }} ", r#""0.5 ""#),
        ("a {{ inputs.flag }} {{ inputs.map.n }}.", r#""a true .""#),
        ("{{ inputs.list }}!", r#""[\"a b\",\"c\"]!""#),
        ("{{ inputs.map }}!", r#""{\"n\":null,\"x\":{\"y\":1}}!""#),
        ("see {{ baseline.outputs.coverage_xml }}", r#""see captured/coverage.xml""#),
        ("plain\n", r#""plain\n""#),
        ("", r#""""#),
        ("{% if inputs.flag %}yes{% else %}no{% endif %} {{ inputs.ratio }}\n", r#""yes 90\n""#),
        ("{% for x in inputs.list %}{{ loop.index }}{{ x }};{% endfor %}", r#""1a b;2c;""#),
        ("{% set x = inputs.ratio %}{{ x }}", r#""90""#),
        ("{# note #}{{ inputs.half }}", r#""0.5""#),
        ("{{ '{{' }} x {{ '}}' }}", r#""{{ x }}""#),
        ("{% raw %}{{ x }}{% endraw %}", r#""{{ x }}""#),
        ("{{ baseline.outputs.text }} {{ inputs.half }}", r#""{{ inputs.secretive }} {% for %} $(id) 0.5""#),
        ("{% for x in inputs.list %}{{ x.nope }}{% endfor %}", "RT-0120: `x.nope` is not defined; -"),
        (
            "{% for x in range(100000) %}{% for y in range(100000) %}{{ y }}{% endfor %}{% endfor %}",
            "RT-0122: the evaluation takes too long and was stopped; loop over less, or compute it in a shell step",
        ),
    ]);
}

#[test]
fn functions_read_and_parse() {
    check_expressions(&[
        ("parse_coverage(baseline.outputs.coverage_xml).line_coverage", "61.5"),
        ("parse_coverage(baseline.outputs.coverage_xml).branch_coverage", "null"),
        (
            "parse_coverage(baseline.outputs.coverage_xml).files['app/a.py']",
            r#"{"branch_coverage":null,"line_coverage":50.0,"missing_lines":[2]}"#,
        ),
        (
            "parse_coverage('report.info')",
            r#"{"branch_coverage":50.0,"files":{"a.js":{"branch_coverage":50.0,"line_coverage":50.0,"missing_lines":[2]}},"line_coverage":50.0}"#,
        ),
        ("parse_coverage('<coverage line-rate=\"0.25\"/>').line_coverage", "25.0"),
        (
            "parse_coverage('nope.xml')",
            "RT-0123: there is no file nope.xml; check the path: it is relative to the workspace's root",
        ),
        (
            "parse_coverage('..' ~ '/x')",
            "RT-0123: the path ../x leaves the workspace; copy the file into the workspace first",
        ),
        ("parse_coverage('src/util.py')", "RT-0124: this is no coverage report; Cobertura's XML and lcov are known"),
        (
            "parse_coverage('<html/>')",
            "RT-0124: this XML is no coverage report: its root is `html`; write one with `pytest --cov-report=xml` or another tool that knows Cobertura's format",
        ),
        (
            "parse_coverage('<!DOCTYPE a [<!ENTITY b \"c\">]><coverage/>')",
            "RT-0124: the XML has a document type with declarations, which is refused; let the tool write its report without a DTD",
        ),
        (
            "parse_coverage(optional.outputs.xml)",
            "RT-0124: a file or a path is wanted here, and this is null; an output of a step that was skipped or failed is null: test with `… is none`",
        ),
        (
            "parse_junit('<testsuites><testsuite><testcase name=\"a\" time=\"0.5\"/><testcase name=\"b\" classname=\"C\"><failure message=\"no\"/></testcase><testcase name=\"c\"><skipped/></testcase></testsuite></testsuites>')",
            r#"{"errors":0,"failed":[{"class":"C","kind":"failure","message":"no","name":"b"}],"failures":1,"passed":1,"skipped":1,"tests":3,"time":0.5}"#,
        ),
        ("json_parse(file_content('data.json')).a[1]", "2.5"),
        ("json_parse('{')", "RT-0124: this is not JSON: EOF while parsing an object at line 1 column 1; -"),
        ("yaml_parse('a: [1, x]').a", r#"[1,"x"]"#),
        (
            "yaml_parse('a: [')",
            "RT-0124: this is not YAML: while parsing a node, did not find expected node content; -",
        ),
        ("file_content('src/util.py')", r#""pass\n""#),
        ("file_content(baseline.outputs.coverage_xml) == file_content(baseline.outputs.coverage_xml)", "true"),
        ("glob('**.py')", r#"["src/app.py","src/util.py"]"#),
        ("file_hash('src/util.py') == file_hash('./src/util.py')", "true"),
        ("file_hash('nope')", "RT-0123: there is no file nope; check the path: it is relative to the workspace's root"),
        ("dir_hash('src') != file_hash('src/app.py')", "true"),
        ("hash(inputs.target_file) == hash('src/app.py') and hash(inputs.target_file) == hash('./src/app.py')", "true"),
        ("hash('src/app.py') == hash('src/util.py')", "false"),
        ("hash('a', 'b') == hash('ab') or hash(['a', 'b']) == hash('a', 'b') or hash(1) == hash('1')", "false"),
        ("hash(90) == hash(90.0) and hash({'b': 1, 'a': 2}) == hash({'a': 2, 'b': 1})", "true"),
        ("hash(baseline.outputs.coverage_xml) == hash('coverage.xml')", "false"),
        ("extract_url(stdout)", r#""https://x.test/a_(b)""#),
        ("extract_url('none here', none)", "null"),
        ("extract_json_block('text {\"a\": 1} more')", r#"{"a":1}"#),
        ("extract_json_block('{x}\n```json\n[1]\n```\n')", "[1]"),
        (
            "extract_json_block('none here')",
            "RT-0124: there is no JSON object or list in the text; ask for a ```json block, use `output_schema`, or give a second argument as the default",
        ),
        ("extract_code_blocks('a\n```py\nx = 1\n```\n~~~~\n```\n~~~~\n')", r#"["x = 1\n","```\n"]"#),
        ("extract_code_blocks('```py\n1\n```\n```js\n2\n```', 'js')", r#"["2\n"]"#),
        ("now()", r#""2026-01-02T03:04:06Z""#),
    ]);
}

#[test]
fn filters_work_on_text_and_files() {
    check_expressions(&[
        ("inputs.map | json", r#""{\"n\":null,\"x\":{\"y\":1}}""#),
        ("inputs.list | json_pretty", r#""[\n  \"a b\",\n  \"c\"\n]""#),
        ("\"it's\" | shell_quote", r#""'it'\\''s'""#),
        ("inputs.list | shell_quote", r#""'a b' c""#),
        ("'' | shell_quote", r#""''""#),
        ("inputs.target_file | dirname", r#""src""#),
        ("'a' | dirname ~ ('/a' | dirname) ~ ('/' | dirname) ~ ('a//b/' | dirname)", r#"".//a""#),
        ("inputs.target_file | basename", r#""app.py""#),
        ("inputs.target_file | basename('.py')", r#""app""#),
        ("'/' | basename ~ ('a/b/' | basename) ~ ('.py' | basename('.py'))", r#""/b.py""#),
        ("baseline.outputs.coverage_xml | basename", r#""coverage.xml""#),
        ("'v1.22' | regex_search('[0-9]+')", r#""1""#),
        ("'v1.22' | regex_search('v([0-9]+)\\.([0-9]+)')", r#""1""#),
        ("'x' | regex_search('[0-9]+')", "null"),
        ("'x' | regex_search('(')", "RT-0124: this is no regular expression: error: unclosed group; -"),
        ("inputs.ratio | string", r#""90""#),
    ]);
}

#[test]
fn a_condition_tells_what_it_read() {
    let cases = [
        (
            "parse_coverage(baseline.outputs.coverage_xml).line_coverage < {{ inputs.target_coverage }}",
            true,
            "baseline.outputs.coverage_xml = coverage.xml, parse_coverage(…).line_coverage = 61.5, inputs.target_coverage = 90",
        ),
        ("inputs.flag or inputs.half > 1", true, "inputs.flag = true"),
        ("not inputs.flag and inputs.half > 1", false, "inputs.flag = true"),
        ("inputs.list | length > 5", false, r#"inputs.list = ["a b","c"]"#),
        ("trigger.nothing | default(0) > 1", false, ""),
    ];
    let evaluator = evaluator();
    for (text, holds, read) in cases {
        let expression = parse::expression(text).unwrap().value;
        let judgement = evaluator.condition(&expression).unwrap();
        let shown: Vec<String> = judgement.read.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        assert_eq!((judgement.holds, shown.join(", ")), (holds, read.to_owned()), "{text}");
    }
}

#[test]
fn an_error_says_what_was_evaluated() {
    let template = parse::template("line one {{ inputs.nope }}\nline two").unwrap().value;
    let error = evaluator().text(&template).unwrap_err();
    assert_eq!(error.to_string(), "`inputs.nope` is not defined, in `line one {{ inputs.nope }}…`");
}

#[test]
fn a_text_is_compiled_once() {
    let first = super::compiled::expression("inputs.target_coverage > 5").unwrap();
    let second = super::compiled::expression("inputs.target_coverage > 5").unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    let first = super::compiled::template("{{ env.CREATE_PR }} and more").unwrap();
    let second = super::compiled::template("{{ env.CREATE_PR }} and more").unwrap();
    assert!(Arc::ptr_eq(&first, &second));
}

/// The commands and texts of a workflow that raises coverage, as an author writes them.
#[test]
fn a_whole_workflow_is_filled_in() {
    let (scope, files) = scope_and_files();
    let evaluator = Evaluator::new(scope, Arc::new(files));
    let command = |text: &str| {
        let program = parse::command(text, &Interpreter::Bash).unwrap_or_else(|mistakes| panic!("{mistakes:?}")).value;
        evaluator
            .command(&Shell { source: text.to_owned(), program, allow_exit_codes: [].into(), security_profile: None })
            .unwrap()
    };
    let test = command("pytest --cov --cov-report=xml {{ inputs.target_file }}");
    assert_eq!(test.argv, ["pytest", "--cov", "--cov-report=xml", "src/app.py"]);
    let publish = command(
        "git add .\n\
         git commit -m \"Raise coverage of {{ inputs.target_file }} to {{ inputs.ratio }}%\"\n\
         gh pr create --title \"Coverage: {{ inputs.target_file }}\" \\\n  --body \"To {{ inputs.ratio }}%\"\n",
    );
    assert_eq!(
        publish.display,
        "git add .\ngit commit -m \"Raise coverage of src/app.py to 90%\"\n\
         gh pr create --title \"Coverage: src/app.py\" \\\n  --body \"To 90%\"\n"
    );
    assert_eq!(publish.argv[..6], ["bash", "--noprofile", "--norc", "-euo", "pipefail", "-c"]);
    let key = parse::template("tests-{{ hash(inputs.target_file, inputs.target_coverage) }}").unwrap();
    assert!(key.value.uses.files);
    let key = evaluator.text(&key.value).unwrap();
    assert!(key.len() == "tests-".len() + 64, "{key}");
}

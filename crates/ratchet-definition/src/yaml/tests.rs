//! What a text becomes, and how each kind of bad text ends.

use std::time::Duration;

use super::*;
use crate::work::at_most;

fn tree(text: &str) -> Node {
    let (node, mistakes) = parse(text, Limits::default());
    assert_eq!(mistakes, [], "{text}");
    node.expect("a tree")
}

/// Each mistake as its code and the part of the text that it is about.
fn mistakes(text: &str) -> Vec<String> {
    let (_, mistakes) = parse(text, Limits::default());
    mistakes.iter().map(|mistake| format!("{} {:?}", mistake.code, &text[mistake.span.clone()])).collect()
}

#[test]
fn a_text_becomes_its_values() {
    let cases = [
        ("a: 1\nb: [x, true, ~, 1.5]\n", r#"{"a":1,"b":["x",true,null,1.5]}"#),
        (
            "a: '1'\nb: \"t\\nrue\"\nc: |\n  x\n   y\nd: >-\n  x\n  y\n",
            r#"{"a":"1","b":"t\nrue","c":"x\n y\n","d":"x y"}"#,
        ),
        ("a: &x {k: v}\nb: *x\nc: [*x]\n", r#"{"a":{"k":"v"},"b":{"k":"v"},"c":[{"k":"v"}]}"#),
        ("a: &x {k: v, l: 1}\nb: {<<: *x, k: w}\n", r#"{"a":{"k":"v","l":1},"b":{"k":"w","l":1}}"#),
        ("a: {<<: [{k: 1}, {k: 2, l: 3}]}\n", r#"{"a":{"k":1,"l":3}}"#),
        ("a: !!str 1\nb: !!float 1\nc: ! 2\n", r#"{"a":"1","b":1.0,"c":"2"}"#),
        ("on: yes\n1: x\n", r#"{"1":"x","on":"yes"}"#),
    ];
    for (text, expected) in cases {
        assert_eq!(tree(text).to_json().to_string(), expected, "{text}");
    }
}

#[test]
fn what_is_wrong_is_found_where_it_stands() {
    let cases: [(&str, &[&str]); 15] = [
        ("", &["RT-0008 \"\""]),
        ("# a comment\n", &["RT-0008 \"\""]),
        ("a: [1\n", &["RT-0001 \"\""]),
        ("a: b: c\n", &["RT-0001 \":\""]),
        ("a: \"x\n", &["RT-0001 \"\\\"\""]),
        ("é: 1\n\ta: 2\n", &["RT-0001 \"1\""]),
        ("a: 1\nb: 2\na: 3\n", &["RT-0005 \"a\""]),
        ("m: {a: 1, a: 2, b: 1, b: 2}\n", &["RT-0005 \"a\"", "RT-0005 \"b\""]),
        ("a: 1\n---\nb: 2\n", &["RT-0006 \"---\""]),
        ("? [a]\n: 1\n", &["RT-0007 \"[\""]),
        ("a: {{ x }}\n", &["RT-0007 \"{{\""]),
        ("a: !secret x\n", &["RT-0007 \"!secret x\""]),
        ("a: !!int x\n", &["RT-0007 \"!!int x\""]),
        ("a: {<<: 1}\n", &["RT-0007 \"<<\""]),
        ("a: &x [*x]\n", &["RT-0007 \"*x\""]),
    ];
    for (text, expected) in cases {
        assert_eq!(mistakes(text), expected, "{text}");
    }
}

#[test]
fn a_part_of_a_text_is_found_in_the_file() {
    // The part that is looked for stands once in the text, and between angle brackets here: once in the file too.
    let files = [
        "k: a <b> c\n",
        "k: 'it''s <b> c'\n",
        "k: it''s <b> c\n",
        "k: \"\\té\\u00e9\\x41\\n\\\"<b> c\"\n",
        "k: \"x \\\n    <b> c\"\n",
        "k: |\n  one\n\n    two <b>\n  c\n",
        "k: >\n  one\n  two\n\n  three\n  <b> c\n",
        "k: one\n  two\n  <b>\n",
        "é: ü <b>\n",
        "k: <b>",
    ];
    for file in files {
        let root = tree(file);
        let node = &root.entries()[0].value;
        let text = node.text().expect("text");
        let start = text.find("<b>").expect("the part");
        let found = Positions::of(node, file).locate(&(start..start + 3));
        assert_eq!(&file[found.clone()], "<b>", "{file:?}");
    }
}

#[test]
fn hostile_texts_end_soon() {
    let bomb = (0..30).fold("a0: &a0 [x]\n".to_owned(), |text, n| {
        let next = n + 1;
        text + &format!("a{next}: &a{next} [*a{n}, *a{n}, *a{n}, *a{n}, *a{n}, *a{n}, *a{n}, *a{n}]\n")
    });
    let long = "x".repeat(1_000_000);
    let long_bomb = format!("a: &a {long}\nb: [{}]\n", "*a, ".repeat(100_000));
    let nested_anchors = format!(
        "{}{}",
        (0..90).fold(String::new(), |text, n| text + &format!("&n{n} [")),
        "1, ".repeat(20_000) + &"]".repeat(90)
    );
    let merge_bomb = (0..40).fold("a0: &a0 {x: 1}\n".to_owned(), |text, n| {
        let next = n + 1;
        text + &format!("a{next}: &a{next} {{<<: [*a{n}, *a{n}], k{next}: *a{n}}}\n")
    });
    let deep_block = (0..10_000).fold(String::new(), |text, _| text + "- ") + "x\n";
    let deep_maps = (0..3_000).fold(String::new(), |text, n| text + &" ".repeat(n) + "a:\n");
    let ten_megabytes = |piece: &str| piece.repeat(10 * 1024 * 1024 / piece.len());
    let cases = [
        ("alias bomb", bomb, "RT-0004"),
        ("alias bomb of long text", long_bomb, "RT-0004"),
        ("anchors in anchors", nested_anchors, "RT-0004"),
        ("merge bomb", merge_bomb, "RT-0004"),
        ("deep flow", "[".repeat(10_000), "RT-0003"),
        ("deep flow maps", "{a: ".repeat(10_000), "RT-0003"),
        ("deep block", deep_block, "RT-0003"),
        ("deep block maps", deep_maps, "RT-0003"),
        ("10 MB of brackets", ten_megabytes("["), "RT-0003"),
        ("10 MB of values", ten_megabytes("- x\n"), "RT-0004"),
        ("10 MB of one key", ten_megabytes("a: 1\n"), "RT-0004"),
        ("10 MB of flow", format!("[{}", ten_megabytes("x, ")), "RT-0004"),
        ("10 MB of quotes", format!("'{}", ten_megabytes("''")[2..].to_owned()), "RT-0004"),
        ("10 MB of anchors", ten_megabytes("- &a 1\n"), "RT-0004"),
        ("10 MB of question marks", ten_megabytes("? "), "RT-0003"),
        ("10 MB of exclamation marks", ten_megabytes("!a "), "RT-0001"),
        ("11 MB", "x".repeat(11 << 20), "RT-0002"),
    ];
    for (name, text, code) in cases {
        // Ten times what it takes in a debug build; what is quadratic takes a thousand times as long.
        let (_, mistakes) = at_most(Duration::from_secs(20), name, || parse(&text, Limits::default()));
        assert!(mistakes.iter().any(|mistake| mistake.code == code), "{name}: {:?}", mistakes.first());
    }
}

//! The page's modules as one script: a file that is opened without a server can import nothing.

use std::fmt::Write as _;

use super::assets::MODULES;

/// Every module becomes a function that runs once and gives what it exports. It has to import by single lines at its beginning, and to export where it defines: all of
/// the page's modules do.
pub(super) fn bundle() -> String {
    let mut bundle = String::from("\"use strict\";\n");
    for (name, text) in MODULES {
        let _ = writeln!(bundle, "const {} = (() => {{", variable(name));
        let mut exports: Vec<&str> = Vec::new();
        for line in text.lines() {
            if let Some((names, from)) = import(line) {
                let _ = writeln!(bundle, "const {names} = {};", variable(from));
            } else if let Some(definition) = line.strip_prefix("export ") {
                exports.extend(defined(definition));
                let _ = writeln!(bundle, "{definition}");
            } else {
                let _ = writeln!(bundle, "{line}");
            }
        }
        let _ = writeln!(bundle, "return {{ {} }};\n}})();", exports.join(", "));
    }
    bundle
}

/// `{ el, svg }` and `dom.js` of `import { el, svg } from "./dom.js";`.
fn import(line: &str) -> Option<(&str, &str)> {
    let (names, from) = line.strip_prefix("import ")?.split_once(" from ")?;
    Some((names, from.trim_start_matches("\"./").trim_end_matches("\";")))
}

/// The name that a line defines: `list` of `function list(query) {`.
fn defined(line: &str) -> Option<&str> {
    let line = line.strip_prefix("async ").unwrap_or(line);
    let (_, rest) = line.split_once(' ')?;
    rest.split(|character: char| !character.is_alphanumeric() && character != '_' && character != '$').next()
}

fn variable(module: &str) -> String {
    format!("{}_module", module.trim_end_matches(".js"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_import_what_stands_before_them_and_exports() {
        for (position, (name, text)) in MODULES.iter().enumerate() {
            for line in text.lines().filter(|line| line.trim_start().starts_with("import")) {
                let (names, from) = import(line).unwrap_or_else(|| panic!("{name}: {line}"));
                let before = MODULES[..position].iter().find(|(module, _)| *module == from);
                let (_, text) =
                    before.unwrap_or_else(|| panic!("{name} imports {from}, which does not stand before it"));
                let exported: Vec<&str> =
                    text.lines().filter_map(|line| defined(line.strip_prefix("export ")?)).collect();
                for wanted in names.trim_matches(['{', '}', ' ']).split(", ") {
                    assert!(exported.contains(&wanted), "{name} imports {wanted}, which {from} does not export");
                }
            }
            assert!(!text.contains("export {") && !text.contains("export default"), "{name} exports where it defines");
        }
        assert!(!bundle().contains("\nimport ") && !bundle().contains("\nexport "));
    }

    #[test]
    fn nothing_in_the_page_can_put_text_into_it_as_markup() {
        for (name, text) in MODULES {
            for way in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
                "srcdoc",
                "DOMParser",
            ] {
                assert!(!text.contains(way), "{name} uses {way}");
            }
        }
    }
}

//! The files of the page, compiled in.

/// The page, which loads the rest.
pub(super) const INDEX: &str = include_str!("assets/index.html");
/// How it looks.
pub(super) const STYLE: &str = include_str!("assets/app.css");
/// Its mark in a browser's tab.
pub(super) const ICON: &str = include_str!("assets/icon.svg");

/// The modules, each after those that it imports; the last one starts the page.
pub(super) const MODULES: &[(&str, &str)] = &[
    ("dom.js", include_str!("assets/dom.js")),
    ("words.js", include_str!("assets/words.js")),
    ("mark.js", include_str!("assets/mark.js")),
    ("source.js", include_str!("assets/source.js")),
    ("route.js", include_str!("assets/route.js")),
    ("action.js", include_str!("assets/action.js")),
    ("timeline.js", include_str!("assets/timeline.js")),
    ("graph.js", include_str!("assets/graph.js")),
    ("follow.js", include_str!("assets/follow.js")),
    ("log.js", include_str!("assets/log.js")),
    ("transcript.js", include_str!("assets/transcript.js")),
    ("key.js", include_str!("assets/key.js")),
    ("difference.js", include_str!("assets/difference.js")),
    ("step.js", include_str!("assets/step.js")),
    ("execution.js", include_str!("assets/execution.js")),
    ("list.js", include_str!("assets/list.js")),
    ("app.js", include_str!("assets/app.js")),
];

/// A file by its name, with its media type.
pub(super) fn asset(name: &str) -> Option<(&'static str, &'static str)> {
    match name {
        "app.css" => Some(("text/css; charset=utf-8", STYLE)),
        "icon.svg" => Some(("image/svg+xml", ICON)),
        _ => {
            let module = MODULES.iter().find(|(module, _)| *module == name);
            module.map(|(_, text)| ("text/javascript; charset=utf-8", *text))
        }
    }
}

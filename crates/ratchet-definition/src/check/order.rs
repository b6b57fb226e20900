//! Who needs whom: names that are no steps, names that stand twice, and steps that wait for each other.

use ratchet_core::{
    graph::{Graph, GraphError, StepShape},
    ids::StepId,
    workflow::Place,
};

use crate::{
    check::{report::Report, structure::shown, symbols::Symbols},
    expression::{self, vocabulary::FUNCTIONS},
    parsed::SCOPE_NAMES,
    yaml::Node,
};

/// The most steps of a workflow.
pub(crate) const STEPS_MAX: usize = 10_000;

/// More cycles than this are not looked for.
const CYCLES_MAX: usize = 20;

/// The graph of the steps, or `None` where they make none, which is reported.
pub(crate) fn check(symbols: &Symbols<'_>, report: &mut Report) -> Option<Graph> {
    if let Some(step) = symbols.steps.get(STEPS_MAX) {
        let message = format!("the workflow has {} steps, and {STEPS_MAX} is the most", symbols.steps.len());
        let help = "a step with `foreach` runs once for each value of a list, as often as you like".to_owned();
        report.error("RT-0023", step.id_span.clone(), message, help);
        return None;
    }
    let names_are_good = check_names(symbols, report);
    let mut shapes = Vec::with_capacity(symbols.steps.len());
    for (position, step) in symbols.steps.iter().enumerate() {
        let needs = step.node.get("needs").map(|needs| known_needs(symbols, position, needs, report));
        let handles_failure = step.place == Place::OnFailure && handles_failure(step.node);
        shapes.push(StepShape { id: StepId::new(step.id), place: step.place, needs, handles_failure });
    }
    if !names_are_good {
        return None;
    }
    graph(symbols, shapes, report)
}

/// Whether the `when` of a step asks for failures. One that cannot be read is reported where it is read.
fn handles_failure(step: &Node) -> bool {
    let when = step.get("when").and_then(Node::text).map(expression::parse);
    when.is_some_and(|when| when.is_ok_and(|when| when.value.uses.handles_failure))
}

fn check_names(symbols: &Symbols<'_>, report: &mut Report) -> bool {
    let mut good = true;
    for (position, step) in symbols.steps.iter().enumerate() {
        if step.id.is_empty() {
            good = false;
            continue;
        }
        if SCOPE_NAMES.contains(&step.id) || FUNCTIONS.iter().any(|function| function.name == step.id) {
            let message = format!("no step can be named `{}`: the name means something else in expressions", step.id);
            let help = format!("choose another name, such as `{}_step`", step.id);
            report.error("RT-0024", step.id_span.clone(), message, help);
            good = false;
        }
        if symbols.position(step.id) != Some(position) {
            let message = format!("there is another step `{}` above", shown(step.id));
            let help = "the names of steps are unique in a workflow, over all of its lists".to_owned();
            report.error("RT-0030", step.id_span.clone(), message, help);
            good = false;
        }
    }
    good
}

/// The needs that are steps of the same list; the others are reported.
fn known_needs(symbols: &Symbols<'_>, position: usize, needs: &Node, report: &mut Report) -> Vec<StepId> {
    let step = &symbols.steps[position];
    let single = std::slice::from_ref(needs);
    let names = if needs.text().is_some() { single } else { needs.items() };
    let mut known = Vec::with_capacity(names.len());
    for node in names {
        let Some(name) = node.text() else { continue };
        match symbols.position(name).map(|position| &symbols.steps[position]) {
            Some(need) if need.place == step.place && need.id != step.id => known.push(StepId::new(name)),
            Some(need) if need.id == step.id => {
                let message = format!("`{name}` needs itself");
                report.error("RT-0032", node.span.clone(), message, "remove it from its own needs".to_owned());
            }
            Some(need) => {
                let message = format!("`{name}` stands under `{}`, in another list", list_name(need.place));
                let help = match step.place {
                    Place::Work => {
                        format!("a step under `steps` cannot wait for one under `{}`", list_name(need.place))
                    }
                    Place::OnFailure | Place::Finally => {
                        format!(
                            "remove it: all steps under `{}` come after those under `steps` anyway",
                            list_name(step.place)
                        )
                    }
                };
                report.error("RT-0033", node.span.clone(), message, help);
            }
            None => {
                let help = report.nearest.help(name, symbols.ids());
                report.error("RT-0031", node.span.clone(), format!("there is no step `{}`", shown(name)), help);
            }
        }
    }
    known
}

/// Makes the graph. A cycle is cut after it is reported, so that the next one is found too.
fn graph(symbols: &Symbols<'_>, mut shapes: Vec<StepShape>, report: &mut Report) -> Option<Graph> {
    let mut found = None;
    for _ in 0..CYCLES_MAX {
        match Graph::new(&shapes) {
            Ok(graph) => {
                found = Some(graph);
                break;
            }
            Err(GraphError::Cycle(path)) => {
                report_cycle(symbols, &path, report);
                let (first, need) = (&path[0], path.get(1).unwrap_or(&path[0]));
                let shape = shapes.iter_mut().find(|shape| shape.id == *first)?;
                // A step that names no needs has no single one to take away.
                shape.needs =
                    Some(shape.needs.take().unwrap_or_default().into_iter().filter(|id| id != need).collect());
            }
            // Both were looked for above and reported.
            Err(GraphError::Duplicate(_) | GraphError::UnknownNeed { .. }) => return None,
        }
    }
    if report.has_errors() { None } else { found }
}

fn report_cycle(symbols: &Symbols<'_>, path: &[StepId], report: &mut Report) {
    let mut names: Vec<&str> = path.iter().map(StepId::as_str).collect();
    names.extend(names.first().copied());
    let steps = || path.iter().filter_map(|id| symbols.position(id.as_str())).map(|position| &symbols.steps[position]);
    let at = steps().find_map(|step| step.node.get("needs")).map_or(0..0, Node::head);
    let implicit = steps().find(|step| step.node.get("needs").is_none());
    let help = match implicit {
        Some(step) => format!("`{}` names no needs, so it runs after all steps above it: give it a `needs`", step.id),
        None => "remove one of these needs".to_owned(),
    };
    let shown: Vec<&str> = if names.len() > 12 {
        names[..6].iter().copied().chain(["…"]).chain(names[names.len() - 5..].iter().copied()).collect()
    } else {
        names
    };
    report.error("RT-0032", at, format!("steps need each other in a circle: {}", shown.join(" → ")), help);
}

fn list_name(place: Place) -> &'static str {
    match place {
        Place::Work => "steps",
        Place::OnFailure => "on_failure",
        Place::Finally => "finally",
    }
}

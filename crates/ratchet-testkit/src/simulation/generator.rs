//! Random workflows.

use super::{
    model::{Action, Condition, Each, Failing, Items, List, Model, OnFailure, Retry, Status, Step},
    random::Random,
};

/// The shapes that the steps of a list may have.
#[derive(Clone, Copy)]
enum Shape {
    /// Each step after all above it.
    Sequence,
    /// Each step needs the one before.
    Chain,
    /// Each step needs one, two or three above it.
    Web,
    /// Many at once and one that needs them all.
    Fan,
    /// Any of these, step by step.
    Mixed,
}

/// Draws a workflow, with groups of steps in it or without.
pub(crate) fn draw(name: &str, with_groups: bool, random: &mut Random) -> Model {
    let mut model = Model {
        name: name.to_owned(),
        timeout: random.chance(120).then(|| random.count(30, 4000)),
        finally_timeout: random.chance(300).then(|| random.count(20, 600)),
        concurrency: None,
        budget: None,
        input: random.between(0, 3),
        steps: Vec::new(),
        outputs: Vec::new(),
        is_group: false,
    };
    let shape =
        *random.pick(&[Shape::Sequence, Shape::Chain, Shape::Web, Shape::Web, Shape::Fan, Shape::Mixed, Shape::Mixed]);
    let count = match shape {
        Shape::Fan if random.chance(300) => random.below(12) + 34,
        _ => random.below(9) + 1,
    };
    let mut traits = Traits::draw(random);
    if with_groups {
        traits.group = *random.pick(&[0, 150, 400]);
    }
    if count > 30 {
        // Enough of them as it is.
        traits.each = 0;
    }
    add_list(&mut model, List::Work, "s", count, shape, &traits, random);
    if random.chance(250) {
        let count = random.below(3) + 1;
        add_list(&mut model, List::OnFailure, "f", count, Shape::Mixed, &traits, random);
    }
    if random.chance(350) {
        let count = random.below(3) + 1;
        add_list(&mut model, List::Finally, "z", count, Shape::Mixed, &traits, random);
    }
    let giving: Vec<usize> = (0..model.steps.len())
        .filter(|step| model.steps[*step].needs_task() && model.steps[*step].list == List::Work)
        .collect();
    if !giving.is_empty() {
        for _ in 0..random.below(3) {
            let step = *random.pick(&giving);
            if !model.outputs.contains(&step) {
                model.outputs.push(step);
            }
        }
    }
    model
}

/// In a thousand steps: how many have each trait.
struct Traits {
    when: u32,
    each: u32,
    inline: u32,
    retry: u32,
    pause: u32,
    carry_on: u32,
    conclude: u32,
    reads: u32,
    /// Of the steps that would need no task.
    group: u32,
}

impl Traits {
    fn draw(random: &mut Random) -> Self {
        let mut rate = |rates: &[u32]| *random.pick(rates);
        Self {
            when: rate(&[0, 150, 400]),
            each: rate(&[0, 0, 200, 500]),
            inline: rate(&[0, 150, 400]),
            retry: rate(&[0, 300, 700]),
            pause: rate(&[0, 0, 300]),
            carry_on: rate(&[0, 150]),
            conclude: rate(&[0, 0, 500]),
            reads: rate(&[0, 400, 700]),
            group: 0,
        }
    }
}

fn add_list(
    model: &mut Model,
    list: List,
    prefix: &str,
    count: usize,
    shape: Shape,
    traits: &Traits,
    random: &mut Random,
) {
    let first = model.steps.len();
    for number in 0..count {
        let position = model.steps.len();
        let above: Vec<usize> = (first..position).collect();
        let needs = needs(shape, number, count, &above, random);
        model.steps.push(Step {
            id: format!("{prefix}{number}"),
            list,
            needs,
            when: None,
            each: None,
            action: Action::Shell,
            asks_agent: false,
            cached: None,
            edits: 0,
            reads: Vec::new(),
            retry: Retry { attempts: 1, delay: 1, backoff: "constant", jitter: false, on: Vec::new() },
            pauses_when_lost: false,
            on_failure: OnFailure::Fail,
        });
        fill_in(model, position, traits, random);
    }
}

fn needs(shape: Shape, number: usize, count: usize, above: &[usize], random: &mut Random) -> Option<Vec<usize>> {
    let some = |most: usize, random: &mut Random| {
        let mut needs: Vec<usize> = Vec::new();
        for _ in 0..=random.below(most) {
            if !above.is_empty() {
                needs.push(*random.pick(above));
            }
        }
        needs.sort_unstable();
        needs.dedup();
        Some(needs)
    };
    match shape {
        Shape::Sequence => None,
        Shape::Chain => Some(above.last().copied().into_iter().collect()),
        Shape::Web => some(3, random),
        Shape::Fan if number + 1 == count => Some(above.to_vec()),
        Shape::Fan => Some(if random.chance(100) { above.first().copied().into_iter().collect() } else { Vec::new() }),
        Shape::Mixed => match random.below(4) {
            0 => None,
            1 => Some(Vec::new()),
            2 => Some(above.last().copied().into_iter().collect()),
            _ => some(4, random),
        },
    }
}

fn fill_in(model: &mut Model, position: usize, traits: &Traits, random: &mut Random) {
    let ancestors = model.ancestors(position);
    let shells: Vec<usize> = ancestors.iter().copied().filter(|step| model.steps[*step].needs_task()).collect();
    if random.chance(traits.inline) {
        model.steps[position].action = match random.below(10) {
            0..=3 => Action::Assert(condition(model, &ancestors, false, 2, random)),
            4..=6 => Action::Template,
            7 => Action::Wait(random.count(1, 600)),
            _ => Action::Approval(random.chance(500).then(|| random.count(1, 900))),
        };
    }
    // Where there are none, nothing is drawn for them: such a seed is the same run as before there were any.
    if traits.group > 0 && random.chance(traits.group) {
        let timeout = random.chance(200).then(|| random.count(20, 2000));
        model.steps[position].action =
            Action::Group(Box::new(group(&model.steps[position].id, traits, random)), timeout);
    }
    if random.chance(traits.each) {
        model.steps[position].each = Some(each(model, &shells, random));
    }
    let fans_out = model.steps[position].each.is_some();
    if fans_out && matches!(model.steps[position].action, Action::Assert(_)) {
        model.steps[position].action = Action::Assert(condition(model, &ancestors, true, 2, random));
    }
    if random.chance(traits.reads) && !shells.is_empty() {
        for _ in 0..=random.below(3) {
            let read = *random.pick(&shells);
            if !model.steps[position].reads.contains(&read) {
                model.steps[position].reads.push(read);
            }
        }
        model.steps[position].reads.sort_unstable();
    }
    if random.chance(traits.when) {
        model.steps[position].when = Some(when(model, &ancestors, fans_out, random));
    }
    let step = &mut model.steps[position];
    let is_group = matches!(step.action, Action::Group(..));
    if random.chance(traits.retry) && (step.needs_task() || is_group) {
        step.retry = Retry {
            attempts: random.count(2, 4),
            delay: random.count(0, 90),
            backoff: ["constant", "linear", "exponential"][random.below(3)],
            jitter: random.chance(300),
            on: match random.below(4) {
                0 => vec![Failing::Exit(75), Failing::Timeout],
                1 => vec![Failing::Exit(1)],
                _ => Vec::new(),
            },
        };
    }
    step.pauses_when_lost = random.chance(traits.pause);
    if random.chance(traits.carry_on) {
        let is_assertion = matches!(step.action, Action::Assert(_));
        step.on_failure = if is_assertion && random.chance(500) { OnFailure::Warn } else { OnFailure::Continue };
    }
    let may_conclude = step.list == List::Work || step.each.is_some();
    if matches!(step.action, Action::Assert(_)) && may_conclude && random.chance(traits.conclude) {
        step.on_failure = OnFailure::Succeed;
    }
}

/// A group of a few steps, among which may be another one.
fn group(id: &str, traits: &Traits, random: &mut Random) -> Model {
    let mut model = Model {
        name: format!("g{id}"),
        timeout: None,
        finally_timeout: random.chance(300).then(|| random.count(20, 300)),
        concurrency: None,
        budget: None,
        input: 0,
        steps: Vec::new(),
        outputs: Vec::new(),
        is_group: true,
    };
    let traits = Traits { each: 0, group: traits.group / 4, ..*traits };
    let count = random.below(3) + 1;
    add_list(&mut model, List::Work, &format!("{id}w"), count, Shape::Mixed, &traits, random);
    if random.chance(250) {
        add_list(&mut model, List::Finally, &format!("{id}z"), 1, Shape::Mixed, &traits, random);
    }
    let giver = (0..count).find(|step| model.steps[*step].needs_task());
    model.outputs.extend(giver);
    model
}

fn each(model: &Model, shells: &[usize], random: &mut Random) -> Each {
    let plain: Vec<usize> = shells.iter().copied().filter(|step| model.steps[*step].each.is_none()).collect();
    let fanned: Vec<usize> = shells.iter().copied().filter(|step| model.steps[*step].each.is_some()).collect();
    let items = match random.below(4) {
        0 if !plain.is_empty() => Items::ListOf(*random.pick(&plain)),
        1 if !fanned.is_empty() => Items::ValuesOf(*random.pick(&fanned)),
        _ => {
            let count = match random.below(20) {
                0 if model.steps.len() < 6 => random.below(6) + 33,
                1 | 2 if model.steps.len() < 10 => random.below(12) + 10,
                _ => random.below(8),
            };
            Items::Given((0..count).map(|_| random.between(0, 3)).collect())
        }
    };
    Each {
        items,
        max_parallel: random.chance(500).then(|| random.count(1, 4)),
        fail_fast: random.chance(350),
        tolerated: if random.chance(300) { random.count(1, 2) } else { 0 },
    }
}

fn when(model: &Model, ancestors: &[usize], fans_out: bool, random: &mut Random) -> Condition {
    match random.below(8) {
        0 => Condition::Always,
        1 => Condition::Failure,
        2 => Condition::Success,
        3 => {
            let other = condition(model, ancestors, fans_out, 1, random);
            Condition::Both(Box::new(Condition::Always), Box::new(other))
        }
        4 => {
            let other = condition(model, ancestors, fans_out, 1, random);
            Condition::Either(Box::new(Condition::Failure), Box::new(other))
        }
        _ => condition(model, ancestors, fans_out, 2, random),
    }
}

fn condition(model: &Model, ancestors: &[usize], item: bool, depth: u32, random: &mut Random) -> Condition {
    let values: Vec<usize> = ancestors
        .iter()
        .copied()
        .filter(|step| model.steps[*step].needs_task() && model.steps[*step].each.is_none())
        .collect();
    match random.below(if depth == 0 { 6 } else { 9 }) {
        0 | 1 if !values.is_empty() => Condition::ValueIs(*random.pick(&values), random.between(0, 3)),
        2 if !ancestors.is_empty() => {
            let status = *random.pick(&[Status::Completed, Status::Completed, Status::Failed, Status::Skipped]);
            Condition::StatusIs(*random.pick(ancestors), status)
        }
        3 | 4 if item => Condition::ItemIs(random.between(0, 3)),
        6 => Condition::Not(Box::new(condition(model, ancestors, item, depth - 1, random))),
        7 => Condition::Both(
            Box::new(condition(model, ancestors, item, depth - 1, random)),
            Box::new(condition(model, ancestors, item, depth - 1, random)),
        ),
        8 => Condition::Either(
            Box::new(condition(model, ancestors, item, depth - 1, random)),
            Box::new(condition(model, ancestors, item, depth - 1, random)),
        ),
        _ => Condition::InputIs(random.between(0, 3)),
    }
}

use std::cell::RefCell;

use jiff::Timestamp;
use ratchet_core::{
    ids::StepId,
    output::BlobRef,
    step::{FailureClass, StepFailure, StepResult, StepRow, Usage},
    transition::StepTransition,
};
use ratchet_testkit::builders::{changed_step, child_key, failed_step, step_key, step_row, step_with_result, time};

use super::{board::Board, plain::Plain};
use crate::paint::Paint;

fn board(ids: &[&str]) -> Board {
    Board::of(ids.iter().map(|id| StepId::new(*id)).collect(), Paint::PLAIN)
}

fn completed(row: &StepRow) -> StepRow {
    let usage = Usage { process_ms: 900, cost_usd: Some(0.42), ..Usage::default() };
    step_with_result(row, StepResult { usage, ..StepResult::default() })
}

fn failed(row: &StepRow) -> StepRow {
    failed_step(row, StepFailure::new(FailureClass::Exit(3), "exited with 3\nand more"))
}

fn fanned_out(id: &str, count: u32) -> StepRow {
    let items = BlobRef { digest: ratchet_core::ids::Digest::new("d"), size: 2 };
    let key = step_key("run", 1, id);
    let change = StepTransition::FannedOut { count, lanes: 4, items, adopts: None };
    let record = ratchet_core::history::Chain::EMPTY.next(
        &key.to_string(),
        time(1),
        ratchet_core::history::Actor::Engine,
        "step ready".to_owned(),
        change,
    );
    StepRow::first(key, record, ratchet_core::join::NeedOutcome::FINE, None)
}

fn tell(board: &mut Board, row: &StepRow) {
    let record = row.records.last().expect("a record").clone();
    board.step_changed(row, &record);
}

/// What the terminal shows at a time: lines that are given for good, then `---`, then the live ones.
fn screen(board: &mut Board, now: Timestamp, height: usize) -> String {
    let settled = board.take_settled(now);
    [settled, vec!["---".to_owned()], board.live(now, height)].concat().join("\n")
}

#[test]
fn each_step_has_a_line_that_leaves_when_it_and_all_above_are_done() {
    let mut board = board(&["baseline", "write", "check"]);
    let baseline = step_row(step_key("run", 1, "baseline"));
    let write = step_row(step_key("run", 1, "write"));
    tell(&mut board, &baseline);
    board.line_written(&baseline.key, "\u{1b}[31mcollecting\u{1b}[0m …\r\n");
    insta::assert_snapshot!(screen(&mut board, time(4), 20));
    tell(&mut board, &write);
    tell(&mut board, &failed(&write));
    insta::assert_snapshot!(screen(&mut board, time(5), 20));
    tell(&mut board, &completed(&baseline));
    insta::assert_snapshot!(screen(&mut board, time(6), 20));
    let rest = board.take_rest(time(7));
    insta::assert_snapshot!(rest.join("\n"));
}

#[test]
fn a_fan_out_is_one_line_with_counts() {
    let mut board = board(&["each"]);
    tell(&mut board, &fanned_out("each", 10_000));
    for child in 0..1_000 {
        let row = step_row(child_key("run", 1, "each", child));
        tell(&mut board, &row);
        let end = if child % 500 == 0 { failed(&row) } else { completed(&row) };
        tell(&mut board, &end);
        // The same news twice counts once.
        tell(&mut board, &end);
    }
    insta::assert_snapshot!(screen(&mut board, time(3), 20));
}

#[test]
fn a_thousand_steps_fit_the_screen() {
    let ids: Vec<String> = (0..1_000).map(|n| format!("step_{n}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let mut board = board(&ids);
    for (position, id) in ids.iter().enumerate().take(700) {
        let row = step_row(step_key("run", 1, id));
        tell(&mut board, &row);
        if position < 640 {
            tell(&mut board, &if position == 17 { failed(&row) } else { completed(&row) });
        }
    }
    insta::assert_snapshot!(screen(&mut board, time(3), 6));
}

#[test]
fn plain_lines_tell_starts_and_ends() {
    let lines = RefCell::new(Vec::new());
    let plain = Plain::new(board(&["baseline", "each"]), 2, Paint::PLAIN, |line: &str| {
        lines.borrow_mut().push(line.to_owned());
    });
    let tell = |row: &StepRow| plain.step_changed(row, row.records.last().expect("a record"));
    let baseline = step_row(step_key("run", 1, "baseline"));
    tell(&baseline);
    let due = time(60);
    let failure = StepFailure::new(FailureClass::Timeout, "took longer than 30s");
    let again = changed_step(
        &baseline,
        StepTransition::RetryScheduled { failure, due, usage: Usage { cost_usd: Some(0.1), ..Usage::default() } },
    );
    tell(&again);
    tell(&completed(&step_row(step_key("run", 1, "baseline"))));
    tell(&fanned_out("each", 20));
    for child in 0..20 {
        let row = step_row(child_key("run", 1, "each", child));
        tell(&row);
        tell(&if child == 7 { failed(&row) } else { completed(&row) });
    }
    insta::assert_snapshot!(lines.borrow().join("\n"));
}

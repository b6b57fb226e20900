//! Draws the board on a terminal: lines that are done scroll up, the others are drawn again in their place, ten times a second at most.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use console::Term;
use jiff::Timestamp;

use super::board::Board;

/// How often the terminal is drawn.
const FRAME: Duration = Duration::from_millis(100);

/// A terminal that shows a board while a thread draws it.
pub(super) struct Terminal {
    shared: Arc<Shared>,
    painter: Option<JoinHandle<()>>,
}

struct Shared {
    board: Mutex<Board>,
    finished: Mutex<bool>,
    bell: Condvar,
}

impl Terminal {
    /// Begins to draw.
    pub(super) fn start(board: Board, term: Term) -> Self {
        let shared = Arc::new(Shared { board: Mutex::new(board), finished: Mutex::new(false), bell: Condvar::new() });
        let painter = thread::spawn({
            let shared = Arc::clone(&shared);
            move || paint(&shared, &term)
        });
        Self { shared, painter: Some(painter) }
    }

    /// Changes the board.
    pub(super) fn update(&self, change: impl FnOnce(&mut Board)) {
        change(&mut self.shared.board.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Leaves the last state of every step on the terminal and stops drawing.
    pub(super) fn finish(&mut self) {
        *self.shared.finished.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.bell.notify_all();
        if let Some(painter) = self.painter.take() {
            let _ = painter.join();
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.finish();
    }
}

fn paint(shared: &Shared, term: &Term) {
    let mut drawn = 0;
    let _ = term.hide_cursor();
    loop {
        let finished = {
            let guard = shared.finished.lock().unwrap_or_else(PoisonError::into_inner);
            let (guard, _) = shared
                .bell
                .wait_timeout_while(guard, FRAME, |finished| !*finished)
                .unwrap_or_else(PoisonError::into_inner);
            *guard
        };
        let (height, width) = term.size();
        let now = Timestamp::now();
        let (settled, live) = {
            let mut board = shared.board.lock().unwrap_or_else(PoisonError::into_inner);
            let settled = if finished { board.take_rest(now) } else { board.take_settled(now) };
            let live =
                if finished { Vec::new() } else { board.live(now, usize::from(height).saturating_sub(2).max(1)) };
            (settled, live)
        };
        let lines: Vec<String> = settled
            .iter()
            .chain(&live)
            .map(|line| console::truncate_str(line, usize::from(width).saturating_sub(1).max(20), "…").into_owned())
            .collect();
        let back = if drawn > 0 { format!("\u{1b}[{drawn}A") } else { String::new() };
        let text = lines.iter().fold(String::new(), |text, line| text + line + "\u{1b}[K\n");
        // A terminal that went away has nobody to tell.
        let _ = term.write_str(&format!("{back}\r{text}\u{1b}[J"));
        let _ = term.flush();
        drawn = live.len();
        if finished {
            break;
        }
    }
    let _ = term.show_cursor();
}

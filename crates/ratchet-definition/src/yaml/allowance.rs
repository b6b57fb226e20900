//! How far the parser may read before it tells of something.
//!
//! A list or map in brackets may turn out to be a name (`[a, b]: c`), so the parser keeps all of it as tokens until it is closed: some 200 bytes for each
//! character, where it is worst. So the text ends for the parser where the allowance is spent.

use std::{cell::Cell, rc::Rc};

/// What is left of the allowance, shared with the text that the parser reads.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    state: Rc<State>,
}

#[derive(Debug, Default)]
struct State {
    left: Cell<usize>,
    taken: Cell<usize>,
    begun_at: Cell<usize>,
    spent: Cell<bool>,
}

impl Allowance {
    /// The characters of a text, as long as the allowance lasts.
    pub(super) fn meter<'text>(&self, text: &'text str, characters: usize) -> impl Iterator<Item = char> + 'text {
        self.renew(characters);
        let state = Rc::clone(&self.state);
        let mut rest = text.chars();
        std::iter::from_fn(move || {
            let Some(left) = state.left.get().checked_sub(1) else {
                state.spent.set(rest.next().is_some() || state.spent.get());
                return None;
            };
            let next = rest.next()?;
            state.left.set(left);
            state.taken.set(state.taken.get() + 1);
            Some(next)
        })
    }

    /// The parser told of something: it may read on.
    pub(super) fn renew(&self, characters: usize) {
        self.state.left.set(characters);
        self.state.begun_at.set(self.state.taken.get());
    }

    /// Whether the parser wanted more than it may have.
    pub(super) fn is_spent(&self) -> bool {
        self.state.spent.get()
    }

    /// How many characters had been read when the parser told of something for the last time.
    pub(super) fn begun_at(&self) -> usize {
        self.state.begun_at.get()
    }
}

use jiff::Timestamp;

/// Time and randomness: the two inputs that the core may not make for itself.
///
/// Contract: `now` may jump forwards and backwards (clocks do); nothing that must be exact may rest on it. Two calls of `entropy` never
/// give the same bytes.
pub trait Clock: Send + Sync {
    /// The time.
    fn now(&self) -> Timestamp;

    /// Unpredictable bytes, for tokens and identifiers.
    fn entropy(&self) -> [u8; 16];
}

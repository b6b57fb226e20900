//! Which content the state refers to.

use std::collections::HashSet;

use ratchet_core::ids::Digest;

/// What stands before a digest wherever a row or a stored value refers to content.
const MARK: &[u8] = b"\"digest\":\"";

/// Characters of a digest.
const LENGTH: usize = 64;

/// Finds the digests that JSON text refers to, however it is cut into chunks. It may find some that only look so: to keep too much is harmless.
#[derive(Debug, Default)]
pub(crate) struct References {
    found: HashSet<Digest>,
    /// The end of the last chunk, where a reference may have begun.
    open: Vec<u8>,
}

impl References {
    /// Looks through the next chunk of a text.
    pub(crate) fn read(&mut self, chunk: &[u8]) {
        self.open.extend_from_slice(chunk);
        let mut from = 0;
        while let Some(at) = self.open[from..].windows(MARK.len()).position(|window| window == MARK) {
            let digest = from + at + MARK.len();
            let Some(text) = self.open.get(digest..digest + LENGTH) else {
                from += at;
                break;
            };
            if text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
                self.found.insert(Digest::new(String::from_utf8_lossy(text)));
            }
            from = digest;
        }
        let kept = self.open.len().saturating_sub(MARK.len() + LENGTH).max(from);
        self.open.drain(..kept);
    }

    /// Ends a text: what follows is another.
    pub(crate) fn end_text(&mut self) {
        self.open.clear();
    }

    /// All that was found.
    pub(crate) fn into_digests(self) -> HashSet<Digest> {
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_found_however_the_text_is_cut() {
        let digests: Vec<String> = (0..3).map(|n| format!("{n:064x}")).collect();
        let text = format!(
            r#"{{"file":{{"path":"a","digest":"{}","size":1}},"x":"\"digest\":\"{}\"","digest":"short","stored":{{"digest":"{}"}}}}"#,
            digests[0],
            "f".repeat(64),
            digests[2]
        );
        let expected: HashSet<Digest> = [0, 2].map(|n| Digest::new(&*digests[n])).into();
        for size in 1..=text.len() {
            let mut references = References::default();
            for chunk in text.as_bytes().chunks(size) {
                references.read(chunk);
                assert!(references.open.len() < MARK.len() + LENGTH + size, "what is kept does not grow");
            }
            references.end_text();
            assert_eq!(references.into_digests(), expected, "in chunks of {size}");
        }
    }
}

//! What a process prints without the secrets that it was given.

/// What stands in the place of a secret.
const MASK: &[u8] = b"***";
/// Shorter lines of a secret of several lines are words that stand in any text.
const LINE_LENGTH_MIN: usize = 8;

/// What must not be kept: secrets, as they may be printed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Masks(Vec<Vec<u8>>);

impl Masks {
    /// Of these secrets: each as it is, as it stands in JSON, and the lines of one that has several.
    pub(crate) fn of<'a>(secrets: impl Iterator<Item = &'a str>) -> Self {
        let mut masks = Vec::new();
        for secret in secrets {
            let json = serde_json::Value::from(secret).to_string();
            masks.push(secret.trim_end().as_bytes().to_vec());
            masks.push(json.as_bytes()[1..json.len() - 1].to_vec());
            if secret.contains('\n') {
                let lines = secret.lines().map(str::trim).filter(|line| line.len() >= LINE_LENGTH_MIN);
                masks.extend(lines.map(|line| line.as_bytes().to_vec()));
            }
        }
        masks.retain(|mask| !mask.is_empty());
        // One may be part of another: the longer one goes first.
        masks.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        masks.dedup();
        Self(masks)
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether some bytes hold a secret.
    pub(crate) fn are_in(&self, bytes: &[u8]) -> bool {
        self.0.iter().any(|mask| memchr::memmem::find(bytes, mask).is_some())
    }
}

/// Masks one stream. What may be the beginning of a secret is held until it is known.
#[derive(Debug, Default)]
pub(crate) struct Masking {
    masks: Masks,
    held: Vec<u8>,
}

impl Masking {
    /// Of a stream that may not hold these.
    pub(crate) fn new(masks: &Masks) -> Self {
        Self { masks: masks.clone(), held: Vec::new() }
    }

    /// Whether nothing is masked.
    pub(crate) fn is_idle(&self) -> bool {
        self.masks.is_empty()
    }

    /// Takes what was printed and gives what may be shown of it and of what was held.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        self.clear(false)
    }

    /// Gives what is held, after which nothing comes.
    pub(crate) fn end(&mut self) -> Vec<u8> {
        self.clear(true)
    }

    fn clear(&mut self, is_end: bool) -> Vec<u8> {
        let held = std::mem::take(&mut self.held);
        let mut shown = Vec::with_capacity(held.len());
        let mut rest = &held[..];
        while !rest.is_empty() {
            if !is_end && self.masks.0.iter().any(|mask| mask.len() > rest.len() && mask.starts_with(rest)) {
                self.held = rest.to_vec();
                break;
            }
            if let Some(mask) = self.masks.0.iter().find(|mask| rest.starts_with(mask)) {
                shown.extend_from_slice(MASK);
                rest = &rest[mask.len()..];
            } else {
                shown.push(rest[0]);
                rest = &rest[1..];
            }
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(secrets: &[&str], pieces: &[&str]) -> String {
        let mut masking = Masking::new(&Masks::of(secrets.iter().copied()));
        let mut shown: Vec<u8> = pieces.iter().flat_map(|piece| masking.take(piece.as_bytes())).collect();
        shown.extend(masking.end());
        String::from_utf8(shown).expect("text")
    }

    #[test]
    fn secrets_are_masked_wherever_they_are_cut() {
        let key = "s3cr3t-val\"ue";
        let text = format!("a {key} b{key}{key}\n{{\"k\": \"s3cr3t-val\\\"ue\"}} s3cr3t-va");
        let expected = "a *** b******\n{\"k\": \"***\"} s3cr3t-va";
        for cut in 0..=text.len() {
            assert_eq!(masked(&[key], &[&text[..cut], &text[cut..]]), expected, "cut at {cut}");
        }
        let bytes: Vec<String> = text.chars().map(String::from).collect();
        assert_eq!(masked(&[key], &bytes.iter().map(String::as_str).collect::<Vec<_>>()), expected);
    }

    #[test]
    fn the_longer_of_two_and_the_lines_of_one_are_masked() {
        assert_eq!(masked(&["token", "token-long"], &["token-lo", "ng token-lo token"]), "*** ***-lo ***");
        let pem = "-----BEGIN-----\nAAAABBBBCCCC\nab\n-----END-------\n";
        assert_eq!(masked(&[pem], &["x AAAABBBBCCCC ab"]), "x *** ab");
        assert_eq!(masked(&[pem], &[pem]), "***\n");
        assert_eq!(masked(&[], &["plain"]), "plain");
    }
}

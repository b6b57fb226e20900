//! The nearest known name, for "did you mean".

/// Names longer than this are nobody's slip of the finger.
const NAME_LENGTH_MAX: usize = 64;

/// Finds near names, and gives up after a number of comparisons: a file may be wrong in thousands of places.
#[derive(Debug)]
pub(crate) struct Nearest {
    comparisons_left: u32,
}

impl Default for Nearest {
    fn default() -> Self {
        Self { comparisons_left: 200_000 }
    }
}

impl Nearest {
    /// Whether names are still compared: where they are not, nobody needs to collect them.
    pub(crate) fn is_spent(&self) -> bool {
        self.comparisons_left == 0
    }

    /// The name among the known ones that is most like this one, if any is alike.
    pub(crate) fn find<'name>(
        &mut self,
        wrong: &str,
        known: impl IntoIterator<Item = &'name str>,
    ) -> Option<&'name str> {
        let length = wrong.chars().count();
        if length == 0 || length > NAME_LENGTH_MAX {
            return None;
        }
        let folded = wrong.to_lowercase().replace('-', "_");
        let mut best: Option<(usize, &str)> = None;
        for name in known {
            let Some(left) = self.comparisons_left.checked_sub(1) else { break };
            self.comparisons_left = left;
            // In a name of one or two letters, one slip leaves too little to tell what was meant.
            let allowed = if length < 3 { 0 } else { (length.max(name.len()) / 3).max(1) };
            if name.len() > NAME_LENGTH_MAX || name.len().abs_diff(folded.len()) > allowed.max(3) {
                continue;
            }
            let distance = strsim::damerau_levenshtein(&folded, &name.to_lowercase().replace('-', "_"));
            let alike = distance <= allowed || (length >= 3 && name.starts_with(folded.as_str()));
            if alike && best.is_none_or(|(least, _)| distance < least) {
                best = Some((distance, name));
            }
        }
        best.map(|(_, name)| name)
    }

    /// `did you mean …?`, or the known names where none is alike and they are few.
    pub(crate) fn help<'name>(
        &mut self,
        wrong: &str,
        known: impl IntoIterator<Item = &'name str, IntoIter: Clone>,
    ) -> Option<String> {
        let known = known.into_iter();
        if let Some(name) = self.find(wrong, known.clone()) {
            return Some(format!("did you mean `{name}`?"));
        }
        let names: Vec<String> = known.take(13).map(|name| format!("`{name}`")).collect();
        (!names.is_empty() && names.len() <= 12).then(|| format!("known: {}", names.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        let known = ["command", "needs", "prompt", "timeout", "working_directory"];
        let cases = [
            ("comand", Some("command")),
            ("Command", Some("command")),
            ("need", Some("needs")),
            ("working-directory", Some("working_directory")),
            ("time", Some("timeout")),
            ("foo", None),
            ("c", None),
            ("", None),
        ];
        for (wrong, expected) in cases {
            assert_eq!(Nearest::default().find(wrong, known), expected, "{wrong}");
        }
    }

    #[test]
    fn the_work_is_bounded() {
        let mut nearest = Nearest { comparisons_left: 1 };
        assert_eq!(nearest.find("abc", ["abd", "abc"]), Some("abd"), "the second was never compared");
        assert_eq!(nearest.find("abc", ["abc"]), None);
    }
}

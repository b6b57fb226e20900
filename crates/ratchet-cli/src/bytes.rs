//! Sizes as people write them.

/// Reads `512M`, `10GB` or a number of bytes: units are powers of 1024.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let power = match unit.trim().to_ascii_uppercase().trim_end_matches('B').trim_end_matches('I') {
        "" => 0,
        "K" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        _ => return Err(wrong(text)),
    };
    let number: u64 = number.parse().map_err(|_| wrong(text))?;
    1024_u64.checked_pow(power).and_then(|unit| number.checked_mul(unit)).ok_or_else(|| wrong(text))
}

fn wrong(text: &str) -> String {
    format!("'{text}' is no size: write a number of bytes, or 500M, 10G")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in
            [("0", 0), ("17", 17), ("2k", 2048), ("3 MiB", 3 << 20), ("10GB", 10 << 30), ("1T", 1 << 40)]
        {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for text in ["", "G", "-1", "1.5G", "10 parsecs", "99999999999T"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}

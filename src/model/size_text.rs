//! A number of bytes as a person reads it.

/// In the largest unit of which there are at least ten, or in which it is a whole number.
pub fn size_text(bytes: u64) -> String {
    const UNITS: [(u64, &str); 2] = [(1 << 20, "MiB"), (1 << 10, "KiB")];
    for (unit, name) in UNITS {
        if bytes >= 10 * unit || bytes >= unit && bytes.is_multiple_of(unit) {
            return format!("{} {name}", bytes / unit);
        }
    }
    format!("{bytes} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short_and_close_enough() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (9_999, "9999 bytes"),
            (1 << 10, "1 KiB"),
            (10_241, "10 KiB"),
            (1 << 20, "1 MiB"),
            ((1 << 20) + 1, "1024 KiB"),
            (3 << 20, "3 MiB"),
            (128 << 20, "128 MiB"),
            (10 << 30, "10240 MiB"),
        ] {
            assert_eq!(size_text(bytes), text);
        }
    }
}

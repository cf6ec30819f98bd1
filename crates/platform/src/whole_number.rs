//! Whole numbers in JSON, which has only one kind of number.

use serde::de::{Error, Unexpected};
use serde::{Deserialize, Deserializer};
use serde_json::Number;

/// The largest number such that it and all smaller ones are exact as floating point, which JavaScript has for all.
pub(crate) const MAX_WHOLE: u64 = (1 << 53) - 1;

/// Reads a number that may be missing or null. Some clients write 60 as `60.0`, which is the same number in JSON Schema.
///
/// # Errors
/// If it is no whole number, or one that is too large for its type or for floating point.
pub(crate) fn whole_number<'de, D: Deserializer<'de>, T: TryFrom<u64>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    let Some(number) = Option::<Number>::deserialize(from)? else {
        return Ok(None);
    };
    let whole = number.as_u64().or_else(|| number.as_f64().and_then(exact));
    let fits = whole.filter(|whole| *whole <= MAX_WHOLE).and_then(|whole| T::try_from(whole).ok());
    fits.map(Some).ok_or_else(|| {
        let most = if T::try_from(MAX_WHOLE).is_ok() { MAX_WHOLE } else { u32::MAX.into() };
        let expected = format!("a whole number up to {most}");
        Error::invalid_value(Unexpected::Other(&number.to_string()), &expected.as_str())
    })
}

/// The number without its `.0`. Its text is parsed, because a cast would accept any number.
fn exact(float: f64) -> Option<u64> {
    let is_whole = float.fract() == 0.0;
    is_whole.then(|| format!("{float:.0}").parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Limits {
        #[serde(default, deserialize_with = "whole_number")]
        short: Option<u32>,
        #[serde(default, deserialize_with = "whole_number")]
        long: Option<u64>,
    }

    fn both(number: &str) -> Result<(Option<u32>, Option<u64>), String> {
        let limits: Result<Limits, _> =
            serde_json::from_str(&format!(r#"{{"long":{number},"short":{number}}}"#));
        limits.map(|limits| (limits.short, limits.long)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_number_is_the_same_with_and_without_a_fraction_of_zero() {
        for same in ["60", "60.0", "6e1", "600e-1"] {
            assert_eq!(both(same), Ok((Some(60), Some(60))), "{same}");
        }
        assert_eq!(both("null"), Ok((None, None)));
        let limits: Limits = serde_json::from_str("{}").unwrap();
        assert_eq!((limits.short, limits.long), (None, None));
        let long = |number: u64| serde_json::from_str::<Limits>(&format!(r#"{{"long":{number}}}"#));
        assert_eq!(long(MAX_WHOLE).unwrap().long, Some(MAX_WHOLE));
    }

    #[test]
    fn anything_else_is_refused_with_what_is_expected() {
        for bad in ["-1", "-1.0", "1.5", "9007199254740992", "9007199254740992.0", "1e300"] {
            let why = both(bad).unwrap_err();
            assert!(why.contains("expected a whole number up to 9007199254740991"), "{bad}: {why}");
        }
        let why = serde_json::from_str::<Limits>(r#"{"short":4294967296}"#).unwrap_err().to_string();
        assert!(
            why.contains("`4294967296`, expected a whole number up to 4294967295")
                || why.contains("4294967296, expected"),
            "{why}"
        );
        for bad in ["\"1\"", "true", "[]", "{}"] {
            assert!(
                both(bad).unwrap_err().contains("expected a JSON number"),
                "{bad}: {}",
                both(bad).unwrap_err()
            );
        }
    }
}

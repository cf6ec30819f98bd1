//! Lists whose elements have weights, such as those of `Accept` and `Accept-Encoding` (RFC 9110 section 12.4.2).

use hyper::header::{AsHeaderName, HeaderMap};

/// The weight of an element that names none, in thousandths.
pub const FULL: u16 = 1000;

/// The elements of a header, over all its lines: each in lower case without its parameters, and its weight in
/// thousandths. An element whose weight cannot be read is left out.
pub fn weighted(headers: &HeaderMap, name: impl AsHeaderName) -> Vec<(String, u16)> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).filter_map(element).collect()
}

fn element(text: &str) -> Option<(String, u16)> {
    let mut parts = text.split(';').map(str::trim);
    let value = parts.next().filter(|value| !value.is_empty())?.to_ascii_lowercase();
    let q = parts.find_map(|part| {
        let (key, weight) = part.split_once('=')?;
        key.trim().eq_ignore_ascii_case("q").then_some(weight.trim())
    });
    Some((value, q.map_or(Some(FULL), weight)?))
}

/// `0`, `1`, or one of them with up to three digits behind a point, at most 1.
fn weight(text: &str) -> Option<u16> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > 3 || !part.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{part:0<3}").parse().ok()?;
    match (whole, thousandths) {
        ("0", thousandths) => Some(thousandths),
        ("1", 0) => Some(FULL),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::ACCEPT;

    use super::*;

    #[test]
    fn weights_are_read_as_in_the_rfc() {
        for (line, expected) in [
            ("text/html, */*;q=0.8", &[("text/html", 1000), ("*/*", 800)][..]),
            ("TEXT/HTML;level=1; Q = 0.25", &[("text/html", 250)]),
            ("a;q=0,b;q=1,c;q=1.000,d;q=0.001", &[("a", 0), ("b", 1000), ("c", 1000), ("d", 1)]),
            ("a;q=1.1,b;q=2,c;q=-1,d;q=0.1234,e;q=,f;q=.5,g;q=1.0001", &[]),
            (" ,,;q=1, a ;q=0.5;x=y", &[("a", 500)]),
            ("", &[]),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, line.parse().unwrap());
            let expected: Vec<_> = expected.iter().map(|(value, q)| ((*value).to_owned(), *q)).collect();
            assert_eq!(weighted(&headers, ACCEPT), expected, "{line}");
        }
    }

    #[test]
    fn lines_are_one_list() {
        let mut headers = HeaderMap::new();
        headers.append(ACCEPT, "a".parse().unwrap());
        headers.append(ACCEPT, hyper::header::HeaderValue::from_bytes(b"\xff").unwrap());
        headers.append(ACCEPT, "b;q=0.5".parse().unwrap());
        assert_eq!(weighted(&headers, ACCEPT), [("a".to_owned(), 1000), ("b".to_owned(), 500)]);
    }
}

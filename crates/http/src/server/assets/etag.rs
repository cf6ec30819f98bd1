//! Entity tags: what a client has already is not sent again (RFC 9110 section 8.8.3).

use hyper::HeaderMap;
use hyper::header::{HeaderValue, IF_NONE_MATCH};
use ring::digest::{Context, SHA256};

/// The first half of the SHA-256 of all parts, in hexadecimal digits.
pub fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut context = Context::new(&SHA256);
    parts.into_iter().for_each(|part| context.update(part));
    context.finish().as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The strong tag with this digest.
pub(super) fn strong(digest: &str) -> HeaderValue {
    // Hexadecimal digits are valid in every header.
    HeaderValue::from_str(&format!("\"{digest}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

/// Whether the client shows this tag, strong or weak, or `*`.
pub(super) fn is_shown(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let mut lines = headers.get_all(IF_NONE_MATCH).into_iter();
    lines.any(|line| line.as_bytes().trim_ascii() == b"*" || tags(line.as_bytes()).any(|shown| shown == tag))
}

/// The tags of a list, without the mark of weak ones. A tag may contain commas.
fn tags(mut line: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let begin = line.iter().position(|byte| *byte == b'"')?;
        let end = begin + 1 + line[begin + 1..].iter().position(|byte| *byte == b'"')?;
        let tag = &line[begin..=end];
        line = &line[end + 1..];
        Some(tag)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_in_every_form_of_the_list() {
        let tag = strong("ab12");
        for (lines, found) in [
            (&["\"ab12\""][..], true),
            (&["W/\"ab12\""], true),
            (&["\"x\", W/\"y,z\" ,\"ab12\""], true),
            (&["\"x\"", "\"ab12\""], true),
            (&["*"], true),
            (&[" * "], true),
            (&[], false),
            (&["ab12"], false),
            (&["\"ab12"], false),
            (&["\"AB12\""], false),
            (&["\"x\", *"], false),
            (&["\"x,\"ab12\""], false),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(IF_NONE_MATCH, line.parse().unwrap());
            }
            assert_eq!(is_shown(&headers, &tag), found, "{lines:?}");
        }
    }

    #[test]
    fn the_digest_is_that_of_the_manifest() {
        // printf abc | sha256sum
        assert_eq!(digest([&b"a"[..], b"bc"]), "ba7816bf8f01cfea414140de5dae2223");
    }
}

//! The content coding that a client gets (RFC 9110 section 12.5.3).

use hyper::HeaderMap;
use hyper::header::ACCEPT_ENCODING;

use crate::server::quality::weighted;

/// How the bytes of a body are coded; the smallest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Coding {
    Brotli,
    Gzip,
    Identity,
}

impl Coding {
    /// By the ending of the file that a manifest lists.
    pub(super) fn by_ending(ending: &str) -> Option<Coding> {
        match ending {
            "br" => Some(Coding::Brotli),
            "gz" => Some(Coding::Gzip),
            _ => None,
        }
    }

    /// The value of `Content-Encoding`, if there must be one.
    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            Coding::Brotli => Some("br"),
            Coding::Gzip => Some("gzip"),
            Coding::Identity => None,
        }
    }
}

/// The best of the codings that there are, of which one is [`Coding::Identity`]: with the highest weight, and among
/// equals the smallest. A client that accepts none gets the bytes as they are, which every client understands.
pub(super) fn choose(headers: &HeaderMap, there_are: impl Iterator<Item = Coding>) -> Coding {
    let accepted = weighted(headers, ACCEPT_ENCODING);
    let weight = |coding: Coding| {
        let is_named = |name: &str| match coding {
            Coding::Brotli => name == "br",
            Coding::Gzip => matches!(name, "gzip" | "x-gzip"),
            Coding::Identity => name == "identity",
        };
        let of = |is: &dyn Fn(&str) -> bool| accepted.iter().find(|(name, _)| is(name)).map(|(_, q)| *q);
        of(&is_named).or_else(|| of(&|name| name == "*"))
    };
    let named = there_are.filter_map(|coding| Some((weight(coding)?, coding))).filter(|(q, _)| *q > 0);
    // What is not named is accepted without a coding only.
    named.max_by_key(|(q, coding)| (*q, std::cmp::Reverse(*coding))).map_or(Coding::Identity, |best| best.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_accepted_coding_is_chosen() {
        use Coding::{Brotli, Gzip, Identity};
        for (line, expected) in [
            (None, Identity),
            (Some(""), Identity),
            (Some("gzip, deflate, br, zstd"), Brotli),
            (Some("gzip, deflate"), Gzip),
            (Some("X-GZIP"), Gzip),
            (Some("br;q=0.5, gzip;q=0.8"), Gzip),
            (Some("br;q=0, gzip;q=0.001"), Gzip),
            (Some("br;q=0"), Identity),
            (Some("*"), Brotli),
            (Some("*;q=0.5, br;q=0"), Gzip),
            (Some("*;q=0"), Identity),
            (Some("identity, br;q=0.5"), Identity),
            (Some("identity;q=0.5, br;q=0.5"), Brotli),
            (Some("identity;q=0, zstd"), Identity),
            (Some("br;q=nonsense, gzip"), Gzip),
            (Some("brx, xbr, b r"), Identity),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(line) = line {
                headers.insert(ACCEPT_ENCODING, line.parse().unwrap());
            }
            let all = [Brotli, Gzip, Identity].into_iter();
            assert_eq!(choose(&headers, all), expected, "{line:?}");
            assert_eq!(choose(&headers, [Identity].into_iter()), Identity, "{line:?}");
        }
    }
}

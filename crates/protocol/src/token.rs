//! The secret whose holder can be the client of one session, and its hash.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use data_encoding::BASE32_NOPAD_NOCASE;
use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// 256 random bits. Shown only by [`Token::reveal`]; `Debug` prints a fingerprint.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; 32]);

impl Token {
    /// A new token from the system's random source.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn generate() -> Result<Token, TokenError> {
        let mut bytes = [0; 32];
        SystemRandom::new().fill(&mut bytes).map_err(|_| TokenError::NoRandomness)?;
        Ok(Token(bytes))
    }

    /// The token as in a URL, 43 characters. Its holder can be the client.
    pub fn reveal(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// The token as a host name: 52 characters of base32 in lower case. GLib, and with it every SPICE viewer, writes the
    /// names that it gives to a proxy in lower case, which would make another token of the 43 characters.
    pub fn reveal_as_host(&self) -> String {
        BASE32_NOPAD_NOCASE.encode(&self.0).to_ascii_lowercase()
    }

    /// Reads a token from the name that a client gives to a proxy: 52 characters of base32 in any case, or the 43 of a
    /// URL.
    ///
    /// # Errors
    /// [`TokenError::Malformed`], also for every address and every name of a host.
    pub fn from_host(name: &str) -> Result<Token, TokenError> {
        if name.len() != 52 {
            return name.parse();
        }
        // Refuses texts in which the four bits too many are not zero.
        let bytes = BASE32_NOPAD_NOCASE.decode(name.as_bytes()).map_err(|_| TokenError::Malformed)?;
        Ok(Token(bytes.try_into().map_err(|_| TokenError::Malformed)?))
    }

    /// The hash, which replaces the token everywhere but in the client's URL.
    ///
    /// It is over the 43 characters, so a platform hashes what it puts into the URL.
    pub fn hash(&self) -> TokenHash {
        TokenHash::from_secret(self.reveal().as_bytes())
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Token, TokenError> {
        // 43 characters have 258 bits, two too many: the decoder refuses texts in which these are not zero.
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::Malformed)?;
        Ok(Token(bytes.try_into().map_err(|_| TokenError::Malformed)?))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.hash().fingerprint())
    }
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Token, D::Error> {
        // The text itself must not get into the error: errors are logged.
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// SHA-256 of a secret (a token, an API key, a relay key).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of a secret's bytes.
    pub fn from_secret(secret: &[u8]) -> TokenHash {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, secret).as_ref());
        TokenHash(bytes)
    }

    /// Eight hexadecimal digits, enough to find related log lines.
    pub fn fingerprint(&self) -> String {
        hex(&self.0[..4])
    }

    /// The session's id in simple mode, which has no grant to name it: host and relay both know the hash.
    pub fn session(&self) -> String {
        hex(&self.0[..8])
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenHash({})", self.fingerprint())
    }
}

impl FromStr for TokenHash {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<TokenHash, TokenError> {
        if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(TokenError::MalformedHash);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| TokenError::MalformedHash)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| TokenError::MalformedHash)?;
        }
        Ok(TokenHash(bytes))
    }
}

impl Serialize for TokenHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TokenHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TokenHash, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Why a text is not a token or a hash. Never contains the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The text is not 43 characters of base64url.
    #[error("not a token: expected 43 characters of base64url")]
    Malformed,
    /// The text is not 64 hexadecimal digits.
    #[error("not a SHA-256: expected 64 hexadecimal digits")]
    MalformedHash,
    /// The system's random source failed.
    #[error("the system's random source failed")]
    NoRandomness,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_its_url_form_and_hashes_like_sha256sum() {
        let token = Token::generate().unwrap();
        let text = token.reveal();
        assert_eq!(text.len(), 43);
        assert_eq!(text.parse::<Token>().unwrap(), token);
        // printf %s AAAA…(43) | sha256sum
        let zero: Token = "A".repeat(43).parse().unwrap();
        assert_eq!(
            zero.hash().to_string(),
            "0f007385b6f9d4b7eeb2748605afe1a984a0a3bfa3f014d09e2a784ce9e5cd1a"
        );
        assert_eq!(zero.hash().to_string().parse::<TokenHash>().unwrap(), zero.hash());
    }

    #[test]
    fn a_token_survives_a_client_that_changes_the_case_of_names() {
        let token = Token::generate().unwrap();
        let name = token.reveal_as_host();
        assert_eq!((name.len(), name.to_ascii_lowercase()), (52, name.clone()));
        for written in [name.clone(), name.to_ascii_uppercase(), token.reveal()] {
            assert_eq!(Token::from_host(&written).unwrap(), token);
        }
        let zero: Token = "A".repeat(43).parse().unwrap();
        assert_eq!(zero.reveal_as_host(), "a".repeat(52));
        let stray_bits = format!("{}b", "a".repeat(51));
        let address = format!("{}.example.com", "a".repeat(40));
        for not in [
            "",
            "169.254.169.254",
            "localhost",
            "[::1]",
            &stray_bits,
            &address,
            &"1".repeat(52),
            &"é".repeat(26),
        ] {
            assert_eq!(Token::from_host(not), Err(TokenError::Malformed), "{not}");
        }
    }

    #[test]
    fn debug_never_shows_the_token() {
        let token = Token::generate().unwrap();
        assert!(!format!("{token:?} {:?}", token.hash()).contains(&token.reveal()[..8]));
    }

    #[test]
    fn what_is_not_a_token_is_refused() {
        let stray_bits = format!("{}B", "A".repeat(42));
        for text in ["", "A", &"A".repeat(42), &"A".repeat(44), &"=".repeat(43), &stray_bits] {
            assert_eq!(text.parse::<Token>(), Err(TokenError::Malformed), "{text}");
        }
        for text in ["", &"g".repeat(64), &"é".repeat(32)] {
            assert_eq!(text.parse::<TokenHash>(), Err(TokenError::MalformedHash), "{text}");
        }
    }
}

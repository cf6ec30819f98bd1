//! The proof that a dial with a grant comes from the grant's host: a signature by the host's nkey.
//!
//! A party that can read NATS sees grants. If a grant has `cnf`, the grant alone is not enough to impersonate the host.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;

use super::command::{Code, Refusal};
use super::grant::Grant;

/// The header of a dial that has the proof.
pub const HEADER: &str = "stream-proof";

/// Precedes what is signed, so that the signature is valid for no other purpose.
const CONTEXT: &str = "stream-proof-v1\n";

/// Signs a grant with the host's key.
///
/// # Errors
/// When the key pair holds no seed.
pub fn prove(grant: &str, host_key: &KeyPair) -> Result<String, nkeys::error::Error> {
    let signature = host_key.sign(format!("{CONTEXT}{grant}").as_bytes())?;
    Ok(URL_SAFE_NO_PAD.encode(signature))
}

/// Checks the proof that came with a grant, if the grant requires one.
///
/// # Errors
/// [`Code::GrantProof`].
pub fn check(grant: &Grant, proof: Option<&str>) -> Result<(), Refusal> {
    let Some(public) = &grant.claims().cnf else { return Ok(()) };
    let refusal =
        |why: &str| Refusal::new(Code::GrantProof, format!("the grant names the host's key, but {why}"));
    let proof =
        proof.ok_or_else(|| refusal("the dial carries no proof: set auth.host_key_file on the host"))?;
    let key = KeyPair::from_public_key(public).map_err(|_| refusal("cnf is not a public nkey"))?;
    let signature = URL_SAFE_NO_PAD.decode(proof).map_err(|_| refusal("the proof is not base64url"))?;
    key.verify(format!("{CONTEXT}{}", grant.jws()).as_bytes(), &signature)
        .map_err(|_| refusal("the proof is not by that key"))
}

#[cfg(test)]
mod tests {
    use super::super::grant::Claims;
    use super::super::issuers::Issuers;
    use super::super::signing::SigningKey;
    use super::*;
    use crate::testing::claims;

    #[test]
    fn only_the_named_key_proves() {
        let (key, _) = SigningKey::generate("k1").unwrap();
        let host = KeyPair::new_user();
        let claims = Claims { cnf: Some(host.public_key()), ..claims() };
        let jws = key.sign(&claims);
        let grant = Issuers::from_key(&key).verify(&jws).unwrap();
        assert!(check(&grant, Some(&prove(&jws, &host).unwrap())).is_ok());
        let other = prove(&jws, &KeyPair::new_user()).unwrap();
        for wrong in [None, Some("!"), Some("AAAA"), Some(other.as_str())] {
            assert_eq!(check(&grant, wrong).unwrap_err().code, Code::GrantProof);
        }
        let free = key.sign(&Claims { cnf: None, ..claims });
        assert!(check(&Issuers::from_key(&key).verify(&free).unwrap(), None).is_ok());
    }
}

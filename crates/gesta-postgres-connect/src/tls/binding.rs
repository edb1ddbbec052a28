//! The channel binding `tls-server-end-point` (RFC 5929): a hash of the server's certificate, which a login by SCRAM signs. So the server
//! that knows the password is the one at the end of the encrypted connection, also where no authority is asked.

use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// Object identifiers of signatures, without their last number: RSA (PKCS #1), and ECDSA with SHA-2.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03];

/// The binding to a certificate; `None` if the hash of its signature is not known.
pub(super) fn of(certificate: &[u8]) -> Option<Vec<u8>> {
    let (kind, family) = signature_of(certificate)?.split_last()?;
    Some(match (family, kind) {
        // MD5 (4) and SHA-1 (5) are replaced by SHA-256.
        (RSA, 4 | 5 | 11) | (ECDSA, 2) => Sha256::digest(certificate).to_vec(),
        (RSA, 12) | (ECDSA, 3) => Sha384::digest(certificate).to_vec(),
        (RSA, 13) | (ECDSA, 4) => Sha512::digest(certificate).to_vec(),
        _ => return None,
    })
}

/// The object identifier of a certificate's signature: `SEQUENCE { tbsCertificate, SEQUENCE { OBJECT IDENTIFIER, … }, … }`.
fn signature_of(certificate: &[u8]) -> Option<&[u8]> {
    const OBJECT_IDENTIFIER: u8 = 6;
    let whole = element(certificate)?;
    let signed = element(whole.content)?;
    let algorithm = element(signed.rest)?;
    let identifier = element(algorithm.content)?;
    (identifier.tag == OBJECT_IDENTIFIER).then_some(identifier.content)
}

/// An element of DER, and the bytes after it.
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    rest: &'a [u8],
}

fn element(der: &[u8]) -> Option<Element<'_>> {
    const LONG_FORM: u8 = 0x80;
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first & LONG_FORM {
        0 => (usize::from(first), rest),
        _ => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & !LONG_FORM))?;
            let is_small = (1..=4).contains(&bytes.len());
            (is_small.then(|| bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))?, rest)
        }
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some(Element { tag, content, rest })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An element with a short or a long length.
    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        let head =
            if content.len() < 0x80 { vec![tag, length[1]] } else { vec![tag, 0x82, length[0], length[1]] };
        [head, content.to_vec()].concat()
    }

    fn certificate(identifier: &[u8]) -> Vec<u8> {
        let algorithm = der(0x30, &[der(6, identifier), der(5, &[])].concat());
        der(0x30, &[der(0x30, &[7; 300]), algorithm, der(3, &[0; 64])].concat())
    }

    #[test]
    fn the_hash_is_that_of_the_signature_and_at_least_sha_256() {
        for (family, kind, length) in
            [(RSA, 5, 32), (RSA, 11, 32), (RSA, 12, 48), (RSA, 13, 64), (ECDSA, 2, 32), (ECDSA, 4, 64)]
        {
            let certificate = certificate(&[family, &[kind]].concat());
            assert_eq!(of(&certificate).map(|hash| hash.len()), Some(length));
        }
        let certificate = certificate(&[RSA, &[11]].concat());
        assert_eq!(of(&certificate), Some(Sha256::digest(&certificate).to_vec()));
    }

    #[test]
    fn what_is_no_certificate_or_has_another_signature_has_no_binding() {
        // Ed25519.
        assert_eq!(of(&certificate(&[0x2b, 0x65, 0x70])), None);
        let whole = certificate(&[RSA, &[11]].concat());
        for cut in 0..whole.len() {
            assert_eq!(of(&whole[..cut]), None);
        }
        assert_eq!(of(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}

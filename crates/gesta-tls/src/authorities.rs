//! The certificates of authorities: those of the system, or those of a file.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// Bytes of a file with certificates. All authorities of a system have 250 KB.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Why there are no authorities to trust.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthoritiesError {
    /// The system has none.
    #[error("this system has no certificates of authorities: install them, or name a file with some")]
    NoSystem,
    /// A file has none, or cannot be read.
    #[error("cannot use the certificates of authorities in `{}`: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// The authorities of the system.
///
/// # Errors
/// [`AuthoritiesError::NoSystem`].
pub fn system_roots() -> Result<RootCertStore, AuthoritiesError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() { Err(AuthoritiesError::NoSystem) } else { Ok(roots) }
}

/// The certificates of a text in PEM form: at least one.
///
/// # Errors
/// What is wrong with the text, for a message that names it.
pub fn certificates_of(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let read = read.map_err(|error| error.to_string())?;
    if read.is_empty() { Err("it holds no certificate in PEM form".to_owned()) } else { Ok(read) }
}

/// Authorities with these certificates.
///
/// # Errors
/// What is wrong with a certificate, for a message that names where they come from.
pub fn roots_of(certificates: &[CertificateDer<'static>]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate.clone()).map_err(|error| error.to_string())?;
    }
    Ok(roots)
}

/// The authorities of a file.
pub(crate) fn of_file(path: &Path) -> Result<RootCertStore, AuthoritiesError> {
    let failed = |reason: String| AuthoritiesError::File { path: path.to_owned(), reason };
    let pem = read(path).map_err(|error| failed(error.to_string()))?;
    certificates_of(&pem).and_then(|certificates| roots_of(&certificates)).map_err(failed)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe would be waited for.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut pem = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut pem)?;
    match pem.len() as u64 > FILE_BYTES_MAX {
        true => Err(io::Error::other(format!("it is longer than {FILE_BYTES_MAX} bytes"))),
        false => Ok(pem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_authorities_is_refused_with_the_reason() {
        let folder = tempfile::tempdir().expect("a folder");
        let check = |name: &str, text: Option<&str>, reason: &str| {
            let path = folder.path().join(name);
            text.iter().for_each(|text| std::fs::write(&path, text).expect("own folder"));
            let error = of_file(&path).expect_err("it has none").to_string();
            assert!(error.contains(reason) && error.contains(name), "{name}: {error}");
        };
        check("none", None, "No such file");
        check(".", None, "it is not a file");
        check("empty", Some(""), "it holds no certificate in PEM form");
        let text = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        check("wrong", Some(text), "invalid peer certificate");
        check("cut", Some("-----BEGIN CERTIFICATE-----\nAAAA"), "section end");
        let long = " ".repeat(usize::try_from(FILE_BYTES_MAX).expect("it is small") + 1);
        check("long", Some(&long), "it is longer than");
    }

    #[test]
    fn the_authority_of_a_file_is_taken() {
        let authority = test_servers::Authority::new();
        assert_eq!(of_file(&authority.file()).expect("it is one").len(), 1);
    }
}

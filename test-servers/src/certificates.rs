//! Certificates of an authority that a test makes, by the program `openssl`, which the package of PostgreSQL brings.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// An authority for one test.
#[derive(Debug)]
pub struct Authority {
    folder: TempDir,
}

/// A certificate and its key, in PEM form.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The certificate.
    pub certificate: String,
    /// Its key, without a passphrase.
    pub key: String,
}

impl Authority {
    /// Makes an authority.
    ///
    /// # Panics
    ///
    /// If there is no `openssl`.
    #[must_use]
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("gesta-ca").tempdir().expect("a folder");
        // The configuration of the system adds extensions of its own.
        fs::write(folder.path().join("cnf"), "[req]\ndistinguished_name = dn\n[dn]\n").expect("own folder");
        let authority = Self { folder };
        authority.make("ca", "an authority", &["basicConstraints=critical,CA:TRUE"], &[]);
        authority
    }

    /// The file with the certificate of the authority.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// Issues a certificate with a common name, and with alternative names such as `DNS:localhost` or `IP:127.0.0.1`.
    ///
    /// # Panics
    ///
    /// If `openssl` fails.
    #[must_use]
    pub fn issue(&self, common_name: &str, names: &[&str]) -> Certificate {
        let alternative = format!("subjectAltName={}", names.join(","));
        let extensions = if names.is_empty() { "basicConstraints=CA:FALSE" } else { &alternative };
        self.make("issued", common_name, &[extensions], &["-CA", "ca.crt", "-CAkey", "ca.key"]);
        let read = |name: &str| fs::read_to_string(self.folder.path().join(name)).expect("own file");
        Certificate { certificate: read("issued.crt"), key: read("issued.key") }
    }

    fn make(&self, file: &str, common_name: &str, extensions: &[&str], signer: &[&str]) {
        let mut command = Command::new("openssl");
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command.args(["req", "-x509", "-config", "cnf", "-newkey", "ec", "-pkeyopt"]);
        command.args(["ec_paramgen_curve:prime256v1", "-noenc", "-days", "2", "-subj"]);
        command.arg(format!("/CN={common_name}")).args(signer);
        extensions.iter().for_each(|extension| {
            command.args(["-addext", extension]);
        });
        let output =
            command.args(["-out", &format!("{file}.crt"), "-keyout", &format!("{file}.key")]).output();
        let output = output.expect("openssl starts");
        assert!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Certificate {
    /// Writes both into a folder, as `NAME.crt` and `NAME.key`, which only the owner can read.
    ///
    /// # Panics
    ///
    /// If they cannot be written.
    pub fn write(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        use std::os::unix::fs::PermissionsExt as _;
        let write = |ending: &str, text: &str| {
            let path = folder.join(format!("{name}.{ending}"));
            fs::write(&path, text).expect("a folder that can be written to");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("own file");
            path
        };
        (write("crt", &self.certificate), write("key", &self.key))
    }
}

//! Certificates of a lab, made with openssl: one who signs, and whoever is signed for.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::lab;

/// Who signs.
#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
}

/// A certificate and its key, as paths of PEM files.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Who signed it.
    pub ca: PathBuf,
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Authority {
    /// A new one whose files lie in this folder.
    ///
    /// # Errors
    /// When openssl does not do it.
    pub fn new(folder: &Path) -> Result<Self> {
        let own = Self { folder: folder.to_owned() };
        let ca = ["-x509", "-subj", "/CN=ca", "-keyout", "ca.key", "-out", "ca.pem"];
        own.openssl(&[&NEW_KEY[..], &ca].concat())?;
        Ok(own)
    }

    /// Signs for a host at an address; `name.pem` and `name.key` come to lie in `to`.
    ///
    /// # Errors
    /// When openssl does not do it.
    pub fn issue(&self, name: &str, address: &str, to: &Path) -> Result<Identity> {
        let extensions = self.folder.join(format!("{name}.ext"));
        fs::write(&extensions, format!("subjectAltName=IP:{address}\n"))?;
        let (certificate, key) = (to.join(format!("{name}.pem")), to.join(format!("{name}.key")));
        let request = self.folder.join(format!("{name}.csr"));
        let text = |path: &Path| path.display().to_string();
        let (subject, key_text) = (format!("/CN={name}"), text(&key));
        let (request, extensions) = (text(&request), text(&extensions));
        let asked = ["-subj", &subject, "-keyout", &key_text, "-out", &request];
        self.openssl(&[&NEW_KEY[..], &asked].concat())?;
        let signed = ["x509", "-req", "-days", "2", "-in", &request, "-CA", "ca.pem"];
        let by = ["-CAkey", "ca.key", "-CAcreateserial", "-extfile", &extensions, "-out"];
        self.openssl(&[&signed[..], &by, &[&text(&certificate)]].concat())?;
        Ok(Identity { ca: self.folder.join("ca.pem"), certificate, key })
    }

    fn openssl(&self, args: &[&str]) -> Result<()> {
        let output = Command::new("openssl")
            .args(args)
            .current_dir(&self.folder)
            .output()
            .context("running openssl")?;
        lab::succeeded("openssl", &output).map(drop)
    }
}

/// A request for a certificate with a new key on a curve that everybody knows.
const NEW_KEY: [&str; 8] =
    ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];

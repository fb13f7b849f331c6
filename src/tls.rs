//! TLS to servers behind Gatelet.

use std::{fmt, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

/// A TLS configuration that trusts the system's certificates and those of a file.
///
/// # Errors
/// When the file cannot be read or contains no certificate; the sentence says so.
pub(crate) fn client_config(ca_file: Option<&Path>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_file {
        let problem = |error: &dyn fmt::Display| bad_certificates(&format_args!("{}: {error}", path.display()));
        let system = roots.len();
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| problem(&error))? {
            let certificate = certificate.map_err(|error| problem(&error))?;
            roots.add(certificate).map_err(|error| problem(&error))?;
        }
        if roots.len() == system {
            return Err(problem(&"it contains no certificate in PEM format"));
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad_certificates(&error))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn bad_certificates(error: &dyn fmt::Display) -> String {
    format!("cannot read the certificates to trust: {error}")
}

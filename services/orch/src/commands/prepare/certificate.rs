//! The certificate of the bus, signed by an authority whose key is forgotten at once.

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// As PEM.
pub(super) struct Made {
    /// What clients trust.
    pub(super) authority: String,
    /// What the server shows.
    pub(super) certificate: String,
    /// Its key.
    pub(super) key: String,
}

/// Makes a certificate for the names and addresses under which the server is reached.
pub(super) fn make(names: &[String]) -> Result<Made> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name.push(DnType::CommonName, "mcp-orch cluster");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "nats");
    let certificate = params.signed_by(&key, &authority)?;
    Ok(Made {
        authority: authority.pem(),
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    })
}

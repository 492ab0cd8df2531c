//! One file from one server.

use std::fs::File;
use std::io::{self, Read, Write};
use std::time::Duration;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

/// Where distributions keep the certificates of authorities (Debian, Fedora, SUSE): a company's own server has one of its own.
const CERTIFICATES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
];
const CONNECT: Duration = Duration::from_secs(10);

/// What a server had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Got {
    /// The file.
    File,
    /// It says that it has none.
    Nothing,
}

pub(super) struct Client {
    agent: ureq::Agent,
}

impl Client {
    pub(super) fn new() -> Self {
        let roots = match certificates() {
            Some(certificates) => RootCerts::new_with_certs(&certificates),
            None => RootCerts::WebPki,
        };
        let tls = TlsConfig::builder().root_certs(roots).build();
        let config = ureq::Agent::config_builder()
            .tls_config(tls)
            .user_agent(concat!("ctrflame/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT))
            .http_status_as_error(false)
            .build();
        Self {
            agent: config.into(),
        }
    }

    /// Writes what is at `url` to `to`, in no more time and no more bytes than this.
    pub(super) fn download(
        &self,
        url: &str,
        to: &mut File,
        within: Duration,
        bytes_max: u64,
    ) -> Result<Got, String> {
        let asking = self.agent.get(url);
        let asking = asking.config().timeout_global(Some(within)).build();
        let mut answer = asking.call().map_err(|error| error.to_string())?;
        match answer.status().as_u16() {
            200 => {}
            404 => return Ok(Got::Nothing),
            status => return Err(format!("status {status}")),
        }
        let too_large = || format!("over {bytes_max} bytes");
        let stated = answer.body().content_length();
        if stated.is_some_and(|stated| stated > bytes_max) {
            return Err(too_large());
        }
        let body = answer.body_mut().with_config().limit(u64::MAX).reader();
        let mut body = body.take(bytes_max.saturating_add(1));
        let copied = io::copy(&mut body, to).and_then(|bytes| to.flush().map(|()| bytes));
        match copied {
            Ok(0) => Ok(Got::Nothing),
            Ok(bytes) if bytes > bytes_max => Err(too_large()),
            Ok(_) => Ok(Got::File),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Those of this host; `None` where it has none that can be read: then those that were built in.
fn certificates() -> Option<Vec<Certificate<'static>>> {
    let named = std::env::var_os("SSL_CERT_FILE").map(std::path::PathBuf::from);
    let places = named.into_iter().chain(CERTIFICATES.map(Into::into));
    let text = places.filter_map(|path| std::fs::read(path).ok()).next()?;
    let items = parse_pem(&text).filter_map(Result::ok);
    let found: Vec<_> = items
        .filter_map(|item| match item {
            PemItem::Certificate(certificate) => Some(certificate),
            _ => None,
        })
        .collect();
    (!found.is_empty()).then_some(found)
}

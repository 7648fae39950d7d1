//! Where a request may go: scheme, host and port, and the rules on them.
//!
//! Promises that a bearer token stays with the origin it was configured for, also when a next-page link names another
//! one, and that nothing leaves this machine unencrypted. Looks at addresses only; never resolves or connects.

use std::fmt;

use thiserror::Error;
use url::{Host, Url};

/// Scheme, host and port of a URL that passed the rules: `https`, or `http` to a loopback address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: String,
    host: String,
    port: u16,
    loopback: bool,
}

/// Why a request was turned down before anything was sent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The URL leads to another host, port or scheme than the one that the token is for.
    #[error("refused to send the token to {found}: it is only for {allowed}")]
    ForeignOrigin {
        /// The configured origin.
        allowed: Origin,
        /// Where the URL leads.
        found: Origin,
    },
    /// Unencrypted HTTP to a host that is not this machine.
    #[error("refused unencrypted http to {host}: use https (http is for loopback addresses only)")]
    PlainHttp {
        /// The host of the URL.
        host: String,
    },
    /// Neither `http` nor `https`, or no host.
    #[error("refused a URL with the scheme `{scheme}`: an https URL with a host is needed")]
    NotHttp {
        /// The scheme of the URL.
        scheme: String,
    },
    /// The URL holds a user name or password, which would end up in logs on the way.
    #[error("refused a URL for {host} that holds a user name or password")]
    UserInfo {
        /// The host of the URL.
        host: String,
    },
    /// A request that changes something was handed to a function that repeats requests.
    #[error("refused to treat a write to {host} as a read: a read may be sent more than once")]
    WriteAsRead {
        /// The host of the URL.
        host: String,
    },
}

impl Origin {
    /// The origin of `url`, or why nothing may be sent there.
    pub fn of(url: &Url) -> Result<Self, Refusal> {
        let (Some(host), Some(port), "http" | "https") = (url.host(), url.port_or_known_default(), url.scheme()) else {
            return Err(Refusal::NotHttp { scheme: url.scheme().to_owned() });
        };
        let loopback = match &host {
            Host::Domain(name) => *name == LOCALHOST,
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => address.is_loopback(),
        };
        let host = host.to_string();
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::UserInfo { host });
        }
        if url.scheme() == "http" && !loopback {
            return Err(Refusal::PlainHttp { host });
        }
        Ok(Self { scheme: url.scheme().to_owned(), host, port, loopback })
    }

    /// Checks that `url` leads to this origin.
    pub fn allows(&self, url: &Url) -> Result<(), Refusal> {
        let found = Self::of(url)?;
        if found == *self { Ok(()) } else { Err(Refusal::ForeignOrigin { allowed: self.clone(), found }) }
    }

    /// Whether the host is this machine: `127.0.0.0/8`, `::1` or `localhost`, which the client never asks DNS about.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.loopback
    }
}

/// The one name that counts as a loopback address.
pub(super) const LOCALHOST: &str = "localhost";

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        match (self.scheme.as_str(), self.port) {
            ("https", 443) | ("http", 80) => Ok(()),
            (_, port) => write!(f, ":{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn only_https_and_loopback_http_have_an_origin() {
        for (text, expected) in [
            ("https://api.example/v2.0?x=1", "https://api.example"),
            ("https://api.example:443/", "https://api.example"),
            ("https://api.example:8443/", "https://api.example:8443"),
            ("https://API.Example/", "https://api.example"),
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
            ("http://127.8.9.10/", "http://127.8.9.10"),
            ("http://2130706433/", "http://127.0.0.1"),
            ("http://[::1]:80/", "http://[::1]"),
            ("http://LOCALHOST:9/", "http://localhost:9"),
        ] {
            assert_eq!(Origin::of(&url(text)).unwrap().to_string(), expected, "{text}");
        }
        for text in [
            "http://api.example/",
            "http://10.0.0.1/",
            "http://0.0.0.0/",
            "http://localhost.example/",
            "http://localhost./",
            "http://127.0.0.1.example/",
            "http://[::ffff:10.0.0.1]/",
        ] {
            assert!(matches!(Origin::of(&url(text)), Err(Refusal::PlainHttp { .. })), "{text}");
        }
        for text in ["ftp://api.example/", "file:///etc/passwd", "data:text/plain,x", "unix:/run/socket"] {
            assert!(matches!(Origin::of(&url(text)), Err(Refusal::NotHttp { .. })), "{text}");
        }
    }

    #[test]
    fn user_names_in_a_url_are_refused_without_being_repeated() {
        for text in
            ["https://api.example@evil.example/", "https://u:canary@api.example/", "https://:canary@api.example/"]
        {
            let refusal = Origin::of(&url(text)).unwrap_err();
            assert!(matches!(refusal, Refusal::UserInfo { .. }), "{text}");
            assert!(!format!("{refusal} {refusal:?}").contains("canary"), "{text}");
        }
    }

    #[test]
    fn an_origin_allows_itself_and_nothing_else() {
        let origin = Origin::of(&url("https://api.example/v2.0/")).unwrap();
        for allowed in ["https://api.example/other?$skiptoken=1", "https://api.example:443/", "HTTPS://API.EXAMPLE"] {
            assert_eq!(origin.allows(&url(allowed)), Ok(()), "{allowed}");
        }
        for foreign in
            ["https://api.example:444/", "https://api.example.evil/", "https://evil/api.example", "https://localhost/"]
        {
            assert!(matches!(origin.allows(&url(foreign)), Err(Refusal::ForeignOrigin { .. })), "{foreign}");
        }
        assert!(matches!(origin.allows(&url("http://api.example/")), Err(Refusal::PlainHttp { .. })));
    }
}

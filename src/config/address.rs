//! Addresses of services: `https`, or plain `http` to this machine only.

use std::net::SocketAddr;

use url::{Host, Url};

use super::reader::Value;

/// Whether `url` leads to this machine: `localhost`, `127.0.0.0/8` or `::1`.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(domain)) => domain.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Why `text` is not the address of a service that may be sent secrets or data; the answer never repeats it.
pub(super) fn service(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "this is not the address of a service")?;
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => Err("plain http would send secrets and data in the clear"),
        _ => Err("this is not an https address"),
    }
}

/// What [`service`] accepts, for people.
pub(super) const SERVICE_ALLOWED: &str = "https://..., and http:// only to localhost, 127.0.0.1 or [::1]";

/// The address of a service. A user name or password in it is refused, and not shown.
pub(super) fn read_service(value: &Value<'_>) -> Option<Url> {
    let text = value.text()?;
    let url = match service(&text) {
        Ok(url) => url,
        Err(reason) => {
            hide_credentials(value, &text);
            return value.reject(value.problem(reason).allowed(SERVICE_ALLOWED));
        }
    };
    without_credentials(value, url)
}

/// The address of a proxy: `http` or `https`, wherever it is.
pub(super) fn read_proxy(value: &Value<'_>) -> Option<Url> {
    let text = value.text()?;
    match Url::parse(&text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => without_credentials(value, url),
        _ => {
            hide_credentials(value, &text);
            let problem = value.problem("this is not the address of a proxy");
            value.reject(problem.allowed("http://host:port or https://host:port"))
        }
    }
}

fn without_credentials(value: &Value<'_>, url: Url) -> Option<Url> {
    if url.username().is_empty() && url.password().is_none() {
        return Some(url);
    }
    value.hide();
    let problem = value.problem("secrets are never written into the configuration, and this address has one");
    value.reject(problem.hint("leave user name and password out; a proxy that needs them can be set with HTTPS_PROXY"))
}

/// An address that cannot be used may hold a password all the same.
fn hide_credentials(value: &Value<'_>, text: &str) {
    if text.contains('@') {
        value.hide();
    }
}

/// An address to listen on, such as `127.0.0.1:9187`.
pub(super) fn read_listen(value: &Value<'_>) -> Option<SocketAddr> {
    let text = value.text()?;
    let Ok(address) = text.parse::<SocketAddr>() else {
        let problem = value.problem(format!("`{text}` is not an address to listen on"));
        return value.reject(problem.allowed("an IP address and a port, such as \"127.0.0.1:9187\" or \"[::1]:9187\""));
    };
    if !address.ip().is_loopback() {
        value.warn(value.problem("everyone who can reach this address can read status and metrics"));
    }
    Some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_leads_to_this_machine_only() {
        for (text, ok) in [
            ("https://api.businesscentral.dynamics.com", true),
            ("http://localhost:8080", true),
            ("http://LOCALHOST", true),
            ("http://127.0.0.1:1", true),
            ("http://127.9.9.9", true),
            ("http://[::1]:8080/x", true),
            ("http://localhost.example", false),
            ("http://127.0.0.1.example", false),
            ("http://10.0.0.1", false),
            ("http://[::2]", false),
            ("ftp://localhost", false),
            ("api.businesscentral.dynamics.com", false),
            ("", false),
        ] {
            assert_eq!(service(text).is_ok(), ok, "{text}");
        }
    }
}

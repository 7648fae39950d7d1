//! Whom the program believes to be Business Central: only a server that proves its name, today, to an authority that is
//! trusted, over a protocol that is not broken. Everything else gets no request and no token.

use std::sync::Arc;

use bcsync::simulator::Simulator;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::bed::{TestBed, bed};

/// An authority of our own.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate for `name` and its key; `years` are the first and last it is valid in.
    fn certificate(&self, name: &str, years: (i32, i32)) -> (CertificateDer<'static>, KeyPair) {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 12, 31);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().der().clone(), key)
    }
}

const VALID: (i32, i32) = (2020, 2090);

/// A server that proves itself with this certificate and passes everything on to `simulator`. Gives its port.
async fn server(simulator: &Simulator, (certificate, key): (CertificateDer<'static>, KeyPair)) -> u16 {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let upstream = simulator.base_url().replace("http://", "");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (acceptor, upstream) = (acceptor.clone(), upstream.clone());
            tokio::spawn(async move {
                // A client that does not believe us hangs up.
                let Ok(mut client) = acceptor.accept(client).await else { return };
                let mut server = TcpStream::connect(upstream).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    port
}

/// A server that answers every greeting with `bytes`. Gives its port.
async fn answers(bytes: Vec<u8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let bytes = bytes.clone();
            tokio::spawn(async move {
                let _ = client.read(&mut [0; 4_096]).await;
                let _ = client.write_all(&bytes).await;
            });
        }
    });
    port
}

/// The greeting of a server that speaks TLS 1.1 at most.
fn old_greeting() -> Vec<u8> {
    let hello = [&[3, 2][..], &[7; 32], &[0], &[0x00, 0x2f], &[0]].concat();
    let length = u8::try_from(hello.len()).unwrap();
    [&[22, 3, 2, 0, length + 4, 2, 0, 0, length][..], &hello].concat()
}

/// A pass against `https://localhost:PORT`, with an authority that is trusted beside those of the system.
async fn pass(bed: &mut TestBed, port: u16, authority: Option<&Authority>) -> crate::bed::Pass {
    let real = format!("base_url = \"{}\"", bed.simulator.base_url());
    let mut target = format!("base_url = \"https://localhost:{port}\"");
    if let Some(authority) = authority {
        let path = bed.folder().join("authority.pem");
        std::fs::write(&path, &authority.pem).unwrap();
        target = format!("{target}\nextra_ca = \"{}\"", path.display());
    }
    bed.configure(&real, &target);
    let pass = bed.run_with(&["customers"]).await;
    bed.configure(&target, &real);
    pass
}

#[tokio::test]
async fn an_authority_in_extra_ca_is_trusted_and_nobody_else() {
    bed(async |bed| {
        bed.accounts([1]).await;
        let (ours, theirs) = (Authority::new(), Authority::new());
        let bad = [
            (ours.certificate("localhost", (2000, 2001)), "expired"),
            (ours.certificate("localhost", (2080, 2081)), "not valid yet"),
            (ours.certificate("api.businesscentral.dynamics.com", VALID), "not valid for name"),
            (theirs.certificate("localhost", VALID), "invalid peer certificate"),
        ];
        for (certificate, said) in bad {
            let port = server(&bed.simulator, certificate).await;
            let pass = pass(bed, port, Some(&ours)).await.exits(3);
            let message = pass.message("customers");
            assert!(message.contains("could not connect") && message.contains(said), "{said}: {}", pass.details());
        }
        for (greeting, said) in [
            (old_greeting(), "could not connect"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec(), "could not connect"),
            (Vec::new(), "could not connect"),
        ] {
            let port = answers(greeting).await;
            let pass = pass(bed, port, Some(&ours)).await.exits(3);
            assert!(pass.message("customers").contains(said), "{}", pass.details());
        }
        let port = server(&bed.simulator, ours.certificate("localhost", VALID)).await;
        let refused = pass(bed, port, None).await.exits(3);
        assert!(refused.message("customers").contains("UnknownIssuer"), "{}", refused.details());
        assert!(refused.message("customers").contains("extra_ca"), "the fix is told: {}", refused.details());
        assert_eq!(bed.simulator.stats().requests, 0, "somebody was believed");

        pass(bed, port, Some(&ours)).await.exits(0).did("customers", "1 staged, 1 created");
    })
    .await;
}

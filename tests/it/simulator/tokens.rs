//! The token endpoint and what the API makes of tokens.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bcsync::simulator::{Fault, FaultKind, FaultMatch, Options};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PSS_SHA256, RsaKeyPair};
use serde_json::{Value, json};

use super::Bed;

const SCOPE: &str = "https://api.businesscentral.dynamics.com/.default";
const TENANT: &str = "contoso.onmicrosoft.com";

fn form<'a>(changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut form = vec![
        ("grant_type", "client_credentials"),
        ("client_id", "11111111-2222-3333-4444-555555555555"),
        ("client_secret", "simulator-secret"),
        ("scope", SCOPE),
    ];
    for (name, value) in changes {
        form.retain(|(known, _)| known != name);
        form.push((name, value));
    }
    form
}

#[tokio::test]
async fn wrong_credentials_are_refused_with_their_numbers() {
    let bed = Bed::new().await;
    for (tenant, changes, status, error, number) in [
        (TENANT, [("client_secret", "wrong")], 401, "invalid_client", 7_000_215),
        (TENANT, [("client_secret", "")], 401, "invalid_client", 7_000_218),
        (TENANT, [("client_id", "99999999-2222-3333-4444-555555555555")], 400, "unauthorized_client", 700_016),
        (TENANT, [("scope", "openid")], 400, "invalid_scope", 70_011),
        (TENANT, [("scope", "https://graph.microsoft.com/.default")], 400, "invalid_resource", 500_011),
        (TENANT, [("grant_type", "password")], 400, "unsupported_grant_type", 70_003),
        (TENANT, [("grant_type", "")], 400, "invalid_request", 900_144),
        ("fabrikam.onmicrosoft.com", [("scope", SCOPE)], 400, "invalid_request", 90_002),
    ] {
        let answer = bed.token_request(tenant, &form(&changes)).await.is(status);
        assert_eq!(
            (answer.text("error").as_str(), answer.get("error_codes")),
            (error, json!([number])),
            "{}",
            answer.text
        );
        assert!(answer.text("error_description").starts_with(&format!("AADSTS{number}: ")));
        assert!(answer.get("trace_id").is_string() && answer.get("correlation_id").is_string());
    }
}

#[tokio::test]
async fn a_token_can_be_decoded_for_diagnosis() {
    let bed = Bed::new().await;
    let answer = bed.token_request(TENANT, &form(&[])).await.is(200);
    assert_eq!((answer.get("expires_in"), answer.text("token_type")), (json!(3_599), "Bearer".to_owned()));
    let token = answer.text("access_token");
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["aud"], "https://api.businesscentral.dynamics.com");
    assert_eq!(claims["roles"], json!(["API.ReadWrite.All"]));
    assert!(claims["exp"].is_i64());
    assert_eq!(bed.simulator.stats().tokens, 2);
}

#[tokio::test]
async fn basic_authentication_is_accepted_too() {
    let bed = Bed::new().await;
    let url = format!("{}/{TENANT}/oauth2/v2.0/token", bed.simulator.login_url());
    let credentials = STANDARD.encode("11111111-2222-3333-4444-555555555555:simulator-secret");
    let form = [("grant_type", "client_credentials"), ("scope", SCOPE)];
    let request = bed.http.post(url).header("authorization", format!("Basic {credentials}")).form(&form);
    super::send(request).await.unwrap().is(200);
}

#[tokio::test]
async fn tokens_expire_and_can_be_revoked() {
    let mut bed = Bed::new().await;
    bed.get("customers").await.is(200);
    bed.simulator.configure(|settings| settings.clock_offset_seconds = 3_600);
    bed.get("customers").await.refused(401, "Authentication_InvalidCredentials");
    bed.sign_in().await;
    bed.get("customers").await.is(200);
    bed.simulator.revoke_tokens();
    bed.get("customers").await.refused(401, "Authentication_InvalidCredentials");
    assert_eq!(bed.simulator.stats().unauthorized, 2);
}

#[tokio::test]
async fn consent_and_the_application_card_are_needed() {
    let mut bed = Bed::new().await;
    bed.simulator.configure(|settings| settings.consent = false);
    bed.sign_in().await;
    bed.get("customers").await.refused(401, "Authentication_InvalidCredentials");
    bed.simulator.configure(|settings| settings.consent = true);
    bed.sign_in().await;
    bed.get("customers").await.is(200);
    bed.simulator.configure(|settings| settings.app_enabled = false);
    bed.get("customers").await.refused(401, "Authentication_InvalidCredentials");
}

#[tokio::test]
async fn missing_permissions_are_told_in_the_text() {
    let bed = Bed::new().await;
    bed.simulator.configure(|settings| {
        settings.denied.insert("items".to_owned());
        settings.read_only.insert("customers".to_owned());
    });
    let refused = bed.get("items").await;
    refused.refused(400, "Internal_ServerError");
    assert!(refused.message().starts_with("Sorry, the current permissions prevented the action. (TableData Item Read"));
    bed.get("customers").await.is(200);
    bed.post("customers", json!({ "displayName": "x" })).await.refused(400, "Internal_ServerError");
}

#[tokio::test]
async fn the_token_endpoint_fails_only_when_it_is_named() {
    let bed = Bed::new().await;
    let status = FaultKind::Status { status: 503, retry_after: Some(1), committed: false };
    bed.simulator.inject(Fault::once(status.clone(), FaultMatch::default()));
    bed.token_request(TENANT, &form(&[])).await.is(200);
    bed.get("customers").await.is(503);
    let named = FaultMatch { set: Some("token".to_owned()), ..FaultMatch::default() };
    bed.simulator.inject(Fault::once(status, named));
    bed.get("customers").await.is(200);
    let refused = bed.token_request(TENANT, &form(&[])).await.is(503);
    assert_eq!(refused.headers["retry-after"], "1");
}

/// A fresh key with its self-signed certificate.
struct KeyPair {
    key: RsaKeyPair,
    certificate_pem: String,
    thumbprint: String,
}

impl KeyPair {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let (key, certificate) = (path("key.pem"), path("certificate.pem"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=simulator"])
            .args(["-keyout", &key, "-out", &certificate])
            .output()
            .expect("openssl makes the certificate");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let der = |path: &str| {
            let pem = std::fs::read_to_string(path).unwrap();
            STANDARD.decode(pem.lines().filter(|line| !line.starts_with("-----")).collect::<String>()).unwrap()
        };
        Self {
            key: RsaKeyPair::from_pkcs8(&der(&key)).unwrap(),
            certificate_pem: std::fs::read_to_string(&certificate).unwrap(),
            thumbprint: URL_SAFE_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, &der(&certificate))),
        }
    }

    fn assertion(&self, claims: &Value) -> String {
        let header = json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": self.thumbprint });
        let part = |tree: &Value| URL_SAFE_NO_PAD.encode(tree.to_string());
        let signed = format!("{}.{}", part(&header), part(claims));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key.sign(&RSA_PSS_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

#[tokio::test]
async fn an_assertion_signed_with_the_registered_certificate_is_accepted() {
    let (pair, stranger) = (KeyPair::new(), KeyPair::new());
    let options = Options { certificate_pem: Some(pair.certificate_pem.clone()), ..Options::default() };
    let bed = Bed::with(options.clone()).await;
    let now = options.clock.now().timestamp();
    let endpoint = format!("{}/{TENANT}/oauth2/v2.0/token", bed.simulator.login_url());
    let claims = |audience: &str, issuer: &str, expires: i64| json!({ "aud": audience, "iss": issuer, "sub": issuer, "jti": "1", "nbf": now, "iat": now, "exp": expires });
    let (id, good) = (options.client_id.as_str(), claims(&endpoint, &options.client_id, now + 300));
    for (assertion, number) in [
        (pair.assertion(&good), None),
        (stranger.assertion(&good), Some(700_027)),
        (format!("{}x", pair.assertion(&good)), Some(50_027)),
        (pair.assertion(&claims("https://elsewhere.example", id, now + 300)), Some(700_023)),
        (pair.assertion(&claims(&endpoint, "somebody", now + 300)), Some(700_021)),
        (pair.assertion(&claims(&endpoint, id, now - 900)), Some(700_024)),
        ("nonsense".to_owned(), Some(50_027)),
    ] {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", id),
            ("scope", SCOPE),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", assertion.as_str()),
        ];
        let answer = bed.token_request(TENANT, &form).await;
        let expected = number.map_or(Value::Null, |number| json!([number]));
        assert_eq!(answer.get("error_codes"), expected, "{}", answer.text);
    }
}

//! Who the client is.

use std::path::PathBuf;
use std::time::Duration;

use heyi::source::fhir::settings::{Auth, SecretStyle};
use heyi::source::fhir::status::State;
use serde_json::{Value, json};

use crate::fhir_server::{Fault, FhirServer, Manner, Reply};
use crate::rig::{Rig, quick};

fn secret(directory: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
    let file = directory.path().join(name);
    std::fs::write(&file, text).unwrap();
    file
}

fn demanding(header: &str) -> Manner {
    Manner { authorization: Some(header.to_owned()), ..Manner::default() }
}

fn token(text: &str, seconds: u64) -> Reply {
    Reply::json(200, json!({"access_token": text, "token_type": "Bearer", "expires_in": seconds}).to_string())
}

async fn rig(manner: Manner, auth: impl FnOnce(&FhirServer) -> Auth) -> Rig {
    let server = FhirServer::start(manner).await;
    let mut settings = heyi::source::fhir::Settings::new("emr", server.base().parse().unwrap(), &["Patient"]);
    settings.limits = quick();
    settings.auth = auth(&server);
    let rig = Rig::on(server, settings);
    rig.patients(3);
    rig
}

#[tokio::test]
async fn a_password_and_a_bearer_token_come_from_files_and_change_with_them() {
    let directory = tempfile::tempdir().unwrap();
    let password_file = secret(&directory, "password", "se:cret\n");
    let auth = Auth::Basic { user: "heyi".to_owned(), password_file };
    let mut basic = rig(demanding("Basic aGV5aTpzZTpjcmV0"), |_| auth).await;
    basic.poll().await;
    assert_eq!(basic.differences(), [""; 0]);

    let token_file = secret(&directory, "token", "t1");
    let mut bearer = rig(demanding("Bearer t1"), |_| Auth::Bearer { token_file: token_file.clone() }).await;
    bearer.poll().await;
    assert_eq!(bearer.differences(), [""; 0]);
    bearer.server.shared().manner.authorization = Some("Bearer t2".to_owned());
    bearer.put("Patient", "p1", json!({"n": 2}));
    bearer.server.advance(Duration::from_secs(31));
    bearer.round().await;
    assert_eq!(bearer.status().state, State::Refused);
    let error = bearer.status().last_error.unwrap();
    assert_eq!(error.kind, "unauthorized");
    std::fs::write(&token_file, "t2").unwrap();
    bearer.pass_time(Duration::from_secs(120), 2).await;
    assert_eq!((bearer.differences(), bearer.status().state), (vec![], State::Polling));
}

#[tokio::test]
async fn client_credentials_are_given_to_the_token_url_alone_and_tokens_are_renewed() {
    let directory = tempfile::tempdir().unwrap();
    for style in [SecretStyle::Basic, SecretStyle::Post] {
        let tokens = FhirServer::start(Manner::default()).await;
        tokens.shared().others.push(("/token".to_owned(), token("t1", 300)));
        let secret_file = secret(&directory, "secret", "s/e c");
        let token_url = format!("http://{}/token", tokens.address).parse().unwrap();
        let auth = Auth::ClientCredentials {
            token_url,
            client_id: "he yi".to_owned(),
            secret_file,
            scope: Some("system/*.read".to_owned()),
            style,
        };
        let mut rig = rig(demanding("Bearer t1"), |_| auth).await;
        rig.poll().await;
        assert_eq!(rig.differences(), [""; 0]);
        assert_eq!(tokens.take_requests(), ["POST /token"], "once, for all requests");
        let (body, header) = {
            let shared = tokens.shared();
            (shared.bodies[0].clone(), shared.authorizations[0].clone())
        };
        assert!(body.starts_with("grant_type=client_credentials&scope=system%2F*.read"), "{body}");
        match style {
            SecretStyle::Basic => assert_eq!(header.as_deref(), Some("Basic aGUreWk6cyUyRmUrYw==")),
            SecretStyle::Post => assert!(body.ends_with("&client_id=he+yi&client_secret=s%2Fe+c") && header.is_none()),
        }
        let elsewhere = rig.server.shared().authorizations.iter().flatten().any(|text| text.contains("Basic"));
        assert!(!elsewhere);

        // Before it expires.
        rig.pass_time(Duration::from_secs(241), 1).await;
        assert_eq!(tokens.take_requests(), ["POST /token"]);
        // When it is refused: once, and if that does not help not again.
        tokens.shared().others[0].1 = token("t2", 300);
        rig.server.shared().manner.authorization = Some("Bearer t2".to_owned());
        rig.put("Patient", "p1", json!({"n": 2}));
        rig.pass_time(Duration::from_secs(31), 1).await;
        assert_eq!((rig.differences(), tokens.take_requests().len()), (vec![], 1));
        rig.server.shared().manner.authorization = Some("Bearer t3".to_owned());
        rig.server.advance(Duration::from_secs(31));
        rig.round().await;
        assert_eq!((rig.status().state, tokens.take_requests().len()), (State::Refused, 1));
        // The error of the token endpoint is told by its word.
        let refusal = json!({"error": "invalid_client", "error_description": "Wang Xiaoming"}).to_string();
        tokens.shared().others[0].1 = Reply::json(401, refusal);
        rig.pass_time(Duration::from_secs(120), 1).await;
        let error = rig.status().last_error.unwrap();
        assert!(error.kind == "token" && error.text.contains("401 invalid_client"), "{error:?}");
        assert!(!error.text.contains("Wang") && !error.text.contains("s/e c"));
    }
}

fn rsa_pem() -> String {
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    use base64::Engine;
    let key = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
    let text = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
    format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")
}

#[tokio::test]
async fn smart_backend_services_discovers_signs_and_polls() {
    let directory = tempfile::tempdir().unwrap();
    let elliptic = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap().serialize_pem();
    for pem in [elliptic, rsa_pem()] {
        let key_file = secret(&directory, "key.pem", &pem);
        let auth = Auth::SmartBackend {
            token_url: None,
            client_id: "heyi".to_owned(),
            key_file,
            key_id: "k1".to_owned(),
            scope: "system/*.rs".to_owned(),
        };
        let mut rig = rig(demanding("Bearer t1"), |_| auth).await;
        let configuration = json!({"token_endpoint": format!("http://{}/token", rig.server.address)});
        let configuration = Reply::json(200, configuration.to_string());
        rig.server.shared().others.push(("/fhir/.well-known/smart-configuration".to_owned(), configuration));
        rig.server.shared().others.push(("/token".to_owned(), token("t1", 300)));
        rig.poll().await;
        assert_eq!(rig.differences(), [""; 0]);
        let body = rig.server.shared().bodies[0].clone();
        let assertion = body.split("client_assertion=").nth(1).unwrap().to_owned();
        let claims: Value = {
            use base64::Engine;
            let part = assertion.split('.').nth(1).unwrap();
            let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap();
            serde_json::from_slice(&bytes).unwrap()
        };
        assert_eq!(claims["aud"], json!(format!("http://{}/token", rig.server.address)));
        let life = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
        assert!(life <= 300);
        assert!(
            body.contains("client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer")
        );
    }
}

#[tokio::test]
async fn credentials_do_not_travel_with_a_redirect_or_a_link() {
    let directory = tempfile::tempdir().unwrap();
    let token_file = secret(&directory, "token", "t1");
    let elsewhere = FhirServer::start(Manner::default()).await;
    let manner = Manner { link_base: Some(elsewhere.base()), ..demanding("Bearer t1") };
    let mut rig = rig(manner, |_| Auth::Bearer { token_file }).await;
    rig.patients(300);
    rig.round().await;
    rig.server.fail_next([Fault::Redirect(format!("{}/Patient", elsewhere.base()))]);
    rig.server.advance(Duration::from_secs(3600));
    rig.round().await;
    assert_eq!(elsewhere.take_requests(), [""; 0]);
}

#[test]
fn a_secret_that_cannot_be_read_is_found_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let empty = secret(&directory, "empty", " \n");
    for token_file in [empty, directory.path().join("nowhere")] {
        let mut settings =
            heyi::source::fhir::Settings::new("emr", "http://127.0.0.1:9/".parse().unwrap(), &["Patient"]);
        settings.auth = Auth::Bearer { token_file: token_file.clone() };
        let health = heyi::source::fhir::Health::new("emr", &settings.resources);
        let made = heyi::source::fhir::Poller::new(
            settings,
            crate::mirror::Mirror::default(),
            health,
            heyi::source::fhir::World::default(),
        );
        let error = made.err().unwrap().to_string();
        assert!(error.contains(token_file.to_str().unwrap()), "{error}");
    }
}

/// An authority, a server's and a client's certificate, as PEM files in `directory`.
fn certificates(directory: &tempfile::TempDir) -> (PathBuf, [(PathBuf, PathBuf); 2]) {
    let mut parameters = rcgen::CertificateParams::default();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let authority = secret(directory, "ca.pem", &parameters.self_signed(&key).unwrap().pem());
    let issuer = rcgen::Issuer::new(parameters, key);
    let issue = |name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer);
        let certificate = secret(directory, &format!("{name}.pem"), &certificate.unwrap().pem());
        (certificate, secret(directory, &format!("{name}.key"), &key.serialize_pem()))
    };
    (authority, [issue("server"), issue("client")])
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_a_server_that_asks_for_one() {
    let directory = tempfile::tempdir().unwrap();
    let (authority, [server, client]) = certificates(&directory);
    let files =
        heyi::tls::ServerFiles { certificate: server.0, key_file: server.1, client_ca: Some(authority.clone()) };
    let acceptor = heyi::tls::ServerTls::load(files).unwrap().acceptor();
    let plain = FhirServer::start(Manner::default()).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let inner = plain.address;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut outer = acceptor.accept(stream).await?;
                let mut inner = tokio::net::TcpStream::connect(inner).await?;
                tokio::io::copy_bidirectional(&mut outer, &mut inner).await
            });
        }
    });
    for identity in [None, Some(heyi::tls::ClientIdentity { certificate: client.0, key_file: client.1 })] {
        let shown = identity.is_some();
        let mut settings =
            heyi::source::fhir::Settings::new("emr", format!("https://{address}/fhir").parse().unwrap(), &["Patient"]);
        settings.limits = quick();
        settings.tls = heyi::tls::ClientFiles { ca: Some(authority.clone()), identity };
        let mut rig = Rig::on(plain.clone(), settings);
        rig.patients(3);
        rig.round().await;
        assert_eq!(rig.mirror.ids("Patient").len(), if shown { 3 } else { 0 }, "{:?}", rig.status().last_error);
    }
}

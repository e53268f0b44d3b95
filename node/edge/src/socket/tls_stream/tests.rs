//! What a client can make a connection keep.

use rcgen::{CertificateParams, KeyPair};
use ring::aead::{
    AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};
use rustls::{
    ClientConfig, ClientConnection, ConnectionTrafficSecrets,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::io::duplex;

use super::*;

fn server() -> Arc<ServerConfig> {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["shop.example".to_owned()]).unwrap();
    let chain = vec![params.self_signed(&key).unwrap().der().clone()];
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(conclave_tls::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap();
    Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap())
}

fn client() -> ClientConnection {
    let provider = conclave_tls::provider();
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(conclave_tls::any_certificate(provider))
        .with_no_client_auth();
    config.enable_secret_extraction = true;
    ClientConnection::new(Arc::new(config), "shop.example".try_into().unwrap()).unwrap()
}

/// Encrypts one byte of a handshake message as a record of the largest size (RFC 8446 §5.2).
fn padded(secrets: &ConnectionTrafficSecrets, number: u64, byte: u8) -> Vec<u8> {
    let (algorithm, key, iv) = match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
        ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
        ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
        _ => panic!("another cipher"),
    };
    let mut nonce: [u8; 12] = iv.as_ref().try_into().unwrap();
    for (to, from) in nonce[4..].iter_mut().zip(number.to_be_bytes()) {
        *to ^= from;
    }
    let mut inner = vec![0; 16 * 1024 + 1];
    (inner[0], inner[1]) = (byte, 22);
    let length = u16::try_from(inner.len() + 16).unwrap();
    let mut record = vec![23, 3, 3];
    record.extend(length.to_be_bytes());
    let key = LessSafeKey::new(UnboundKey::new(algorithm, key.as_ref()).unwrap());
    let nonce = Nonce::assume_unique_for_key(nonce);
    key.seal_in_place_append_tag(nonce, Aad::from(record.clone()), &mut inner).unwrap();
    record.extend(inner);
    record
}

/// A message of 64 KiB that never gets whole, in records of one byte and 16 KiB of padding, directly
/// behind the client's Finished. The vector has the room that a PROXY header and a hello in small
/// records leave behind.
#[tokio::test]
async fn bytes_behind_the_handshake_are_bounded_as_those_of_the_handshake() {
    let (mut far, near) = duplex(1024 * 1024);
    let received = Vec::with_capacity(163_808);
    let serving = tokio::spawn(async move {
        let mut stream = TlsStream::accept(near, received, server()).await?;
        stream.read_u8().await
    });
    let mut client = client();
    let (mut sent, mut come) = (Vec::new(), [0; 4096]);
    while client.is_handshaking() {
        client.write_tls(&mut sent).unwrap();
        far.write_all(&sent).await.unwrap();
        sent.clear();
        let count = far.read(&mut come).await.unwrap();
        let mut rest = &come[..count];
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets().unwrap();
        }
    }
    while client.wants_write() {
        client.write_tls(&mut sent).unwrap();
    }
    let (mut number, secrets) = client.dangerous_extract_secrets().unwrap().tx;
    // A KeyUpdate (RFC 8446 §4.6.3), by its header much too long.
    for byte in [24, 0, 0xFF, 0xFF].into_iter().chain([0; 8]) {
        sent.extend(padded(&secrets, number, byte));
        number += 1;
    }
    far.write_all(&sent).await.unwrap();
    let error = serving.await.expect("no panic").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
    assert!(error.to_string().contains("too large"), "{error}");
}

#[tokio::test]
async fn a_step_reads_no_more_than_its_bytes() {
    let (mut far, mut near) = duplex(1024 * 1024);
    far.write_all(&[0; 100_000]).await.unwrap();
    let mut received = Vec::with_capacity(163_808);
    let most = usize::try_from(STEP_BYTES).unwrap();
    while received.len() <= HANDSHAKE_BYTES_MAX {
        let before = received.len();
        read_more(&mut near, &mut received, HANDSHAKE_BYTES_MAX).await.unwrap();
        assert!(received.len() - before <= most);
    }
    assert!(read_more(&mut near, &mut received, HANDSHAKE_BYTES_MAX).await.is_err());
    assert!(received.len() <= HANDSHAKE_BYTES_MAX + most);
}

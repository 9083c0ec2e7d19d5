use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

use super::{authority::LEAF_DAYS, *};
use crate::{secrets::Secrets, store::Store};

macro_rules! file {
    ($name:literal) => {
        &include_bytes!(concat!("../../tests/certificates/", $name))[..]
    };
}

fn refused(chain: &[u8], key: &[u8]) -> Error {
    Pair::check(chain, key).unwrap_err()
}

/// What a refusal says, with what to do.
fn said(chain: &[u8], key: &[u8]) -> String {
    let error = refused(chain, key);
    assert_eq!(error.kind(), crate::Kind::Usage, "{error}");
    format!("{error}; {}", error.hint().unwrap())
}

/// An authority, one below it, and a host that this one signed.
struct Made {
    root: String,
    middle: String,
    leaf: String,
    key: String,
}

fn made(change: impl FnOnce(&mut CertificateParams)) -> Made {
    let authority = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params, KeyPair::generate().unwrap())
    };
    let (root, root_key) = authority("Root");
    let (middle, middle_key) = authority("Middle");
    let key = KeyPair::generate().unwrap();
    let mut leaf = CertificateParams::new(vec!["www.example.com".to_owned(), "*.shop.example".to_owned()]).unwrap();
    leaf.distinguished_name.push(DnType::CommonName, "www.example.com");
    change(&mut leaf);
    let root_pem = root.self_signed(&root_key).unwrap().pem();
    let root = Issuer::new(root, root_key);
    let middle_pem = middle.signed_by(&middle_key, &root).unwrap().pem();
    let middle = Issuer::new(middle, middle_key);
    let leaf = leaf.signed_by(&key, &middle).unwrap().pem();
    Made { root: root_pem, middle: middle_pem, leaf, key: key.serialize_pem() }
}

fn check(parts: &[&str], key: &str) -> Result<Pair> {
    Pair::check(parts.concat().as_bytes(), key.as_bytes())
}

#[test]
fn each_form_of_a_key_that_clients_take_is_taken() {
    let pairs = [
        (file!("rsa.crt"), file!("rsa.key")),
        (file!("rsa.crt"), file!("rsa-pkcs1.key")),
        (file!("ec.crt"), file!("ec.key")),
        (file!("ed.crt"), file!("ed.key")),
    ];
    for (chain, key) in pairs {
        let pair = Pair::check(chain, key).unwrap();
        assert!(pair.certificate.is_self_signed && pair.certificate.is_complete, "{pair:?}");
        assert_eq!(pair.warnings, [""; 0]);
        // What is kept can be read again as it is.
        assert_eq!(Pair::check(pair.chain.as_bytes(), pair.key.as_bytes()).unwrap().certificate, pair.certificate);
    }
    // As a file of Windows has it, with what people write around it.
    let text = String::from_utf8(file!("rsa.crt").to_vec()).unwrap().replace('\n', "\r\n");
    let windows = [b"\xef\xbb\xbfsubject=CN = rsa.example\r\n", text.as_bytes()].concat();
    let pair = Pair::check(&windows, file!("rsa.key")).unwrap();
    assert!(pair.chain.starts_with("-----BEGIN CERTIFICATE-----\n") && !pair.chain.contains('\r'));
    let names: Vec<String> = pair.certificate.names.iter().map(Domain::to_string).collect();
    assert_eq!(
        (names, pair.certificate.other_names),
        (vec!["rsa.example".into(), "*.rsa.example".into()], vec!["10.0.0.1".into()])
    );
}

#[test]
fn what_is_no_pair_of_pem_is_refused_with_what_it_is() {
    let (crt, key) = (file!("rsa.crt"), file!("rsa.key"));
    let both = [crt, key].concat();
    let two_keys = [key, file!("ed.key")].concat();
    let cut = &crt[..crt.len() / 2];
    let spoilt = String::from_utf8(crt.to_vec()).unwrap().replacen("MII", "M!!", 1);
    let other_der = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";
    let long = vec![b' '; LARGEST + 1];
    let cases: [(&[u8], &[u8], &str); 24] = [
        (key, crt, "give the certificate first"),
        (file!("rsa.csr"), key, "a request for a certificate (CSR)"),
        (file!("rsa.p12"), key, "openssl pkcs12 -in FILE -nokeys"),
        (crt, file!("rsa.p12"), "the key cannot be used: it is a PKCS#12 file"),
        (file!("rsa.der.crt"), key, "openssl x509 -inform DER"),
        (crt, file!("rsa.der.key"), "openssl pkey -inform DER"),
        (file!("rsa.p7b"), key, "openssl pkcs7 -print_certs"),
        (file!("rsa.trusted.crt"), key, "openssl x509 -in FILE"),
        (&both, key, "holds a private key too"),
        (key, key, "holds a private key too"),
        (crt, crt, "it holds a section \"CERTIFICATE\""),
        (crt, &two_keys, "it holds 2 private keys"),
        (crt, file!("rsa.pub"), "it is a public key"),
        (crt, file!("ssh.key"), "it is a key for SSH"),
        (crt, file!("encrypted.key"), "the key is encrypted; `openssl pkey -in KEY"),
        (crt, file!("encrypted-pkcs1.key"), "the key is encrypted"),
        (crt, file!("ed.key"), "the key does not match the certificate of rsa.example"),
        (file!("weak.crt"), file!("weak.key"), "1024 bits"),
        (file!("no-names.crt"), file!("ec.key"), "names no host"),
        (cut, key, "its end is missing"),
        (spoilt.as_bytes(), key, "not base64"),
        (other_der.as_bytes(), key, "no X.509 certificate"),
        (&long, key, "are the most"),
        (b"hello\n", key, "it has no PEM section"),
    ];
    for (chain, key, expected) in cases {
        let said = said(chain, key);
        assert!(said.contains(expected), "{said}\nlacks {expected}");
    }
    assert!(said(crt, b"").contains("the key cannot be used: it is empty"));
    assert!(said(&b"\x30\x82\x00".repeat(9), key).contains("DER"));
    assert!(said(b"\xff\xfe\x00-", key).contains("no PEM section"));
}

#[test]
fn a_chain_has_its_order_and_says_what_it_lacks() {
    let made = made(|_| ());
    let pair = check(&[&made.leaf, &made.middle, &made.root], &made.key).unwrap();
    assert_eq!((pair.certificate.issuer.as_str(), pair.warnings.len()), ("Middle", 0), "{pair:?}");
    assert!(pair.certificate.is_complete && !pair.certificate.is_self_signed);
    assert!(pair.certificate.covers(&"a.shop.example".parse().unwrap()));
    assert!(!pair.certificate.covers(&"example.com".parse().unwrap()));

    for wrong in [
        vec![&*made.middle, &made.leaf, &made.root],
        vec![&made.leaf, &made.root, &made.middle],
        vec![&made.root, &made.middle, &made.leaf],
    ] {
        let error = check(&wrong, &made.key).unwrap_err();
        assert!(error.to_string().contains("out of order"), "{error}");
        assert_eq!(error.hint().unwrap(), "put them in this order: 1. www.example.com, 2. Middle, 3. Root");
    }

    let pair = check(&[&made.leaf], &made.key).unwrap();
    assert!(!pair.certificate.is_complete);
    assert!(pair.warnings[0].contains("the certificate of Middle is not in it"), "{:?}", pair.warnings);

    let stray = self::made(|_| ()).root;
    let pair = check(&[&made.leaf, &made.middle, &made.root, &stray], &made.key).unwrap();
    assert_eq!(pair.warnings, ["certificate 4 (Root) is not part of the chain, and is left out"]);
    assert!(!pair.chain.contains(&stray));
    // One that has the name of the signer and another key is not the signer.
    let other = self::made(|_| ()).middle;
    let pair = check(&[&made.leaf, &other], &made.key).unwrap();
    assert!(pair.warnings.iter().any(|warning| warning.contains("incomplete")), "{:?}", pair.warnings);
    assert!(check(&[&*made.leaf; LONGEST_CHAIN + 1], &made.key).unwrap_err().to_string().contains("at most 10"));
}

#[test]
fn a_certificate_has_its_time() {
    let over = made(|params| params.not_after = date_time_ymd(2020, 5, 6));
    let error = check(&[&over.leaf, &over.middle, &over.root], &over.key).unwrap_err();
    assert_eq!(error.to_string(), "the certificate of www.example.com expired at 2020-05-06T00:00:00Z");
    let ahead = made(|params| params.not_before = date_time_ymd(3000, 1, 1));
    let error = check(&[&ahead.leaf, &ahead.middle, &ahead.root], &ahead.key).unwrap_err();
    assert!(error.to_string().contains("is valid from 3000-01-01T00:00:00Z on"), "{error}");
}

#[test]
fn the_internal_authority_is_made_once_and_signs_for_a_host() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(&directory.path().join("db")).unwrap();
    let secrets = Secrets::open(&directory.path().join("key"), &mut store).unwrap();
    let mut store = store.with_secrets(secrets);
    assert!(store.read(Authority::read).unwrap().is_none());
    store.write(Authority::make).unwrap();
    let authority = store.read(Authority::read).unwrap().unwrap();
    store.write(Authority::make).unwrap();
    let again = store.read(Authority::read).unwrap().unwrap();
    assert_eq!(authority.certificate(), again.certificate());

    let host: Hostname = "blog.apps.example".parse().unwrap();
    let (leaf, key) = again.leaf(&host).unwrap();
    let pair = check(&[&leaf, authority.certificate()], &key).unwrap();
    assert_eq!(pair.warnings, [""; 0]);
    assert!(pair.certificate.covers(&host) && pair.certificate.is_complete && !pair.certificate.is_self_signed);
    let valid = pair.certificate.not_after - clock::now();
    assert!((6 * 24 * 3_600_000..=LEAF_DAYS * 24 * 3_600_000).contains(&valid), "{valid}");
    let long: Hostname = format!("{0}.{0}.{0}.example", "a".repeat(60)).parse().unwrap();
    authority.leaf(&long).unwrap();
}

#[test]
fn a_self_signed_certificate_is_one_for_its_names() {
    let names: Vec<Domain> = vec!["example.com".parse().unwrap(), "*.example.com".parse().unwrap()];
    let (chain, key) = self_signed(&names).unwrap();
    let pair = check(&[&chain], &key).unwrap();
    assert_eq!(pair.certificate.names, names);
    assert!(pair.certificate.is_self_signed);
}

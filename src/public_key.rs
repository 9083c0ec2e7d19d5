//! Public keys. A key comes in as one plain line of OpenSSH's format, and nothing else is taken for one.

use russh::keys::{HashAlg, PublicKey};

use crate::{Error, Result, error::UsageError, model};

/// The RSA sizes that are neither too weak nor too big for the server to verify.
const RSA_BITS: std::ops::RangeInclusive<u32> = 2048..=8192;

/// The key types that may log in, by their names in OpenSSH's format.
const KEY_TYPES: [&str; 7] = [
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-rsa",
];

/// Reads exactly one plain public key, and drops its comment.
///
/// # Errors
/// `UsageError::KeyPrivate`, `UsageError::KeyMalformed` with the reason.
pub fn read(text: &[u8]) -> Result<model::PublicKey> {
    let key = parse(text)?;
    Ok(model::PublicKey { fingerprint: fingerprint(&key), line: key.to_openssh().map_err(Error::bug)? })
}

/// The fingerprint of a key as `ssh-keygen -l` shows it, `SHA256:...`.
pub fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

fn parse(text: &[u8]) -> Result<PublicKey> {
    let refuse = |reason: &str| Err(Error::Usage(UsageError::KeyMalformed { reason: reason.to_owned() }));
    let Ok(text) = std::str::from_utf8(text) else {
        return refuse("it is not text");
    };
    if text.contains("PRIVATE KEY-----") || text.starts_with("PuTTY-User-Key-File") {
        return Err(Error::Usage(UsageError::KeyPrivate));
    }
    if text.contains("BEGIN SSH2 PUBLIC KEY") {
        return refuse("it is in the SSH2 format; `ssh-keygen -i -f FILE` turns it into OpenSSH's");
    }
    if text.contains("PUBLIC KEY-----") {
        return refuse("it is in the PEM format; `ssh-keygen -i -m PKCS8 -f FILE` turns it into OpenSSH's");
    }
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let Some(line) = lines.next() else {
        return refuse("it is empty");
    };
    if lines.next().is_some() {
        return refuse("it has several lines; add each key by itself, under a name of its own");
    }

    let mut words = line.split_ascii_whitespace();
    let key_type = words.next().unwrap_or_default();
    if key_type.contains("-cert-v01@") {
        return refuse("it is a certificate; give the plain key it was made for");
    }
    if key_type == "ssh-dss" {
        return refuse("it is a DSA key, which is too weak; `ssh-keygen -t ed25519` makes a better one");
    }
    if !KEY_TYPES.contains(&key_type) {
        if words.any(is_key_type) {
            return refuse("options stand before the key, and keys here have none; begin with the key's type");
        }
        return refuse("it does not begin with a key type such as ssh-ed25519 or ssh-rsa");
    }
    let Some(base64) = words.next() else {
        return refuse("only its type is there, the key itself is missing");
    };
    let Ok(key) = PublicKey::from_openssh(&format!("{key_type} {base64}")) else {
        return refuse("it is damaged or incomplete");
    };
    if let Some(rsa) = key.key_data().rsa()
        && !RSA_BITS.contains(&rsa.key_size())
    {
        return Err(Error::Usage(UsageError::KeyMalformed {
            reason: format!(
                "it is an RSA key of {} bits, only {} to {} are accepted; `ssh-keygen -t ed25519` makes a better one",
                rsa.key_size(),
                RSA_BITS.start(),
                RSA_BITS.end()
            ),
        }));
    }
    Ok(key)
}

/// Whether a word is the type of a key, of a kind we take or not.
fn is_key_type(word: &str) -> bool {
    KEY_TYPES.contains(&word) || word == "ssh-dss" || word.contains("-cert-v01@")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

    fn reason(text: &str) -> String {
        match parse(text.as_bytes()) {
            Err(Error::Usage(UsageError::KeyMalformed { reason })) => reason,
            other => panic!("{other:?}"),
        }
    }

    /// Makes a key with ssh-keygen and returns its private and its public file, and what `ssh-keygen -l` says.
    fn generate(arguments: &[&str]) -> (String, String, String) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let run = |command: &mut std::process::Command| {
            let output = command.output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        run(std::process::Command::new("ssh-keygen").args(["-q", "-N", "", "-f"]).arg(&path).args(arguments));
        let listed = run(std::process::Command::new("ssh-keygen").arg("-lf").arg(&path));
        let read = |path| std::fs::read_to_string(path).unwrap();
        (read(path.clone()), read(path.with_extension("pub")), listed)
    }

    #[test]
    fn a_key_loses_its_comment_and_keeps_its_fingerprint() {
        for arguments in [["-t", "ed25519"], ["-t", "ecdsa"], ["-t", "rsa"]] {
            let (_, public, listed) = generate(&arguments);
            let key = parse(public.as_bytes()).unwrap();
            assert_eq!(key.to_openssh().unwrap().split(' ').count(), 2);
            assert_eq!(listed.split(' ').nth(1), Some(fingerprint(&key).as_str()));
        }
    }

    #[test]
    fn comments_blank_lines_and_line_ends_of_windows_are_no_matter() {
        let plain = parse(ED25519.as_bytes()).unwrap();
        for text in [
            format!("{ED25519}\n\n\n"),
            format!("{ED25519} ann@laptop with words\n"),
            format!("# the laptop\n\n  {ED25519}  \r\n"),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap(), plain, "{text:?}");
        }
    }

    #[test]
    fn a_private_key_is_refused_as_one() {
        let (private, ..) = generate(&["-t", "ed25519"]);
        let (pem, ..) = generate(&["-t", "rsa", "-m", "PEM"]);
        for text in [private.as_str(), &pem, "PuTTY-User-Key-File-3: ssh-ed25519\n"] {
            assert!(matches!(parse(text.as_bytes()), Err(Error::Usage(UsageError::KeyPrivate))), "{text}");
        }
    }

    #[test]
    fn every_refusal_says_its_reason() {
        let certificate = "ssh-ed25519-cert-v01@openssh.com AAAA ann";
        let cases = [
            ("".to_owned(), "it is empty"),
            ("\n  \n# a comment\n".to_owned(), "it is empty"),
            (format!("{ED25519}\n{ED25519}\n"), "it has several lines"),
            (format!("command=\"rm -rf /\" {ED25519}"), "options stand before the key"),
            (format!("restrict {ED25519}"), "options stand before the key"),
            (format!("cert-authority {certificate}"), "options stand before the key"),
            (certificate.to_owned(), "it is a certificate"),
            ("ssh-dss AAAAB3NzaC1kc3M ann".to_owned(), "it is a DSA key"),
            ("hello, world".to_owned(), "it does not begin with a key type"),
            ("AAAAC3NzaC1lZDI1NTE5AAAAILM".to_owned(), "it does not begin with a key type"),
            ("ssh-ed25519".to_owned(), "only its type is there"),
            ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+".to_owned(), "it is damaged"),
            ("ssh-ed25519 !!!".to_owned(), "it is damaged"),
            (ED25519.replace("ssh-ed25519", "ssh-rsa"), "it is damaged"),
            ("---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n".to_owned(), "it is in the SSH2 format"),
            ("-----BEGIN PUBLIC KEY-----\nAAAA\n".to_owned(), "it is in the PEM format"),
        ];
        for (text, expected) in cases {
            let reason = reason(&text);
            assert!(reason.starts_with(expected), "{text:?}: {reason}");
        }
        assert!(
            matches!(parse(&[0xff, 0xfe]), Err(Error::Usage(UsageError::KeyMalformed { reason })) if reason == "it is not text")
        );
    }

    #[test]
    fn rsa_is_neither_too_small_nor_too_big() {
        for (bits, taken) in [("1024", false), ("2048", true), ("4096", true)] {
            let (_, public, _) = generate(&["-t", "rsa", "-b", bits]);
            assert_eq!(parse(public.as_bytes()).is_ok(), taken, "{bits}");
        }
        // ssh-keygen takes minutes for more, so the one beyond the upper bound is put together by hand.
        let mut blob = vec![0, 0, 0, 7];
        blob.extend(b"ssh-rsa");
        blob.extend([0, 0, 0, 3, 1, 0, 1]);
        blob.extend(2049_u32.to_be_bytes());
        blob.push(0);
        blob.extend([0xff; 2048]);
        let big = PublicKey::from_bytes(&blob).unwrap().to_openssh().unwrap();
        assert!(reason(&big).starts_with("it is an RSA key of 16384 bits"));
    }
}

//! What an image says about how it is run: its HEALTHCHECK, its variables, its ports.

use bollard::models::{HealthConfig, ImageConfig};

use crate::model::ImageCheck;

/// What an image says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageFacts {
    /// How it checks itself.
    pub check: Option<ImageCheck>,
    /// Its own variables: `NAME=VALUE`.
    pub environment: Vec<String>,
}

pub(super) fn facts(config: ImageConfig) -> ImageFacts {
    let shell = config.shell.filter(|shell| !shell.is_empty());
    let shell = shell.unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()]);
    ImageFacts {
        check: config.healthcheck.and_then(|health| image_check(&health, shell)),
        environment: config.env.unwrap_or_default(),
    }
}

/// A HEALTHCHECK; none where it is turned off.
fn image_check(health: &HealthConfig, shell: Vec<String>) -> Option<ImageCheck> {
    let arguments = match health.test.as_deref()?.split_first()? {
        (kind, arguments) if kind == "CMD" && !arguments.is_empty() => arguments.to_vec(),
        (kind, [line]) if kind == "CMD-SHELL" => shell.into_iter().chain([line.clone()]).collect(),
        _ => return None,
    };
    // Zero is the engine's own default.
    let seconds = |nanoseconds: Option<i64>| {
        let seconds = u64::try_from(nanoseconds?).ok()?.div_ceil(1_000_000_000);
        u32::try_from(seconds).ok().filter(|seconds| *seconds > 0)
    };
    Some(ImageCheck {
        arguments,
        interval_seconds: seconds(health.interval),
        timeout_seconds: seconds(health.timeout),
        start_seconds: seconds(health.start_period),
        attempts: health.retries.and_then(|retries| u32::try_from(retries).ok()).filter(|retries| *retries > 0),
    })
}

/// The TCP ports among those of EXPOSE, such as `80/tcp`, the lowest first.
pub(super) fn tcp_ports(exposed: &[String]) -> Vec<u16> {
    let tcp = exposed.iter().filter_map(|word| word.strip_suffix("/tcp").unwrap_or(word).parse().ok());
    let mut ports: Vec<u16> = tcp.filter(|port| *port > 0).collect();
    ports.sort_unstable();
    ports
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(test: &[&str], shell: Option<&[&str]>) -> Option<ImageCheck> {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let healthcheck = HealthConfig {
            test: Some(owned(test)),
            interval: Some(2_500_000_000),
            retries: Some(0),
            ..HealthConfig::default()
        };
        let shell = shell.map(owned);
        facts(ImageConfig { healthcheck: Some(healthcheck), shell, ..ImageConfig::default() }).check
    }

    #[test]
    fn a_healthcheck_is_read_in_each_form() {
        let arguments = |test: &[&str], shell: Option<&[&str]>| check(test, shell).map(|check| check.arguments);
        assert_eq!(arguments(&["CMD", "curl", "-f", "x"], None).unwrap(), ["curl", "-f", "x"]);
        assert_eq!(arguments(&["CMD-SHELL", "a || exit 1"], None).unwrap(), ["/bin/sh", "-c", "a || exit 1"]);
        let bash = Some(&["/bin/bash", "-c"][..]);
        assert_eq!(arguments(&["CMD-SHELL", "a"], bash).unwrap(), ["/bin/bash", "-c", "a"]);
        for none in [&["NONE"][..], &[], &["CMD"], &["CMD-SHELL"]] {
            assert_eq!(arguments(none, None), None, "{none:?}");
        }
        let times = check(&["CMD", "x"], None).unwrap();
        assert_eq!((times.interval_seconds, times.timeout_seconds, times.attempts), (Some(3), None, None));
    }

    #[test]
    fn only_tcp_ports_are_meant() {
        let exposed = ["8080/tcp", "53/udp", "80", "0/tcp"].map(str::to_owned);
        assert_eq!(tcp_ports(&exposed), [80, 8080]);
    }
}

//! What may hold secrets, and when something is due, for the fuzz targets.

use chrono::{TimeZone, Utc};

use super::{
    AppId, ConfigFormat, ConfigMap, CronName, CronSchedule, CronSpec, CronTimes, ImportFormat, MaskedStream, Masker,
    Turn, ZoneName, cron_jitter, cron_timeout, example_variables, parse_env_file, read_config, write_env_file,
};

/// An env file: what is read of it is written so that it reads the same, and what is wrong is on one of its lines.
pub fn env_file(bytes: &[u8]) {
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
    match parse_env_file(bytes) {
        Ok(found) => {
            assert!(found.len() <= lines, "{found:?}");
            let written = write_env_file(found.iter().map(|(key, value)| (key, value.as_str())));
            assert_eq!(parse_env_file(written.as_bytes()).ok(), Some(found));
        }
        Err(error) => assert!((1..=lines).contains(&error.line), "{error}"),
    }
    // The same bytes as a config that is imported, and as an example of an env file.
    if let Ok(found) = read_config(bytes, None) {
        let variables: ConfigMap = found.iter().cloned().collect();
        assert_eq!(variables.len(), found.len(), "a name is there twice");
        for format in [ConfigFormat::EnvFile, ConfigFormat::Json, ConfigFormat::JsonList] {
            let Ok(text) = format.write(&variables) else { panic!("{format} says every value") };
            let again = read_config(text.as_bytes(), None);
            assert_eq!(again.map(|found| found.into_iter().collect::<ConfigMap>()).as_ref(), Ok(&variables));
        }
    }
    let _ = read_config(bytes, Some(ImportFormat::Json));
    assert!(example_variables(&String::from_utf8_lossy(bytes)).len() <= lines);
}

/// Secrets, each ended by a zero byte, and what an app prints, where each byte of 1 is a place to cut: nothing of the
/// secrets is left, and cut or whole the same comes of it.
pub fn mask(text: &str) {
    let mut secrets: Vec<&str> = text.split('\0').collect();
    let printed = secrets.pop().unwrap_or_default();
    let pieces: Vec<&str> = printed.split('\u{1}').collect();
    let printed = pieces.concat();
    let mut masker = Masker::default();
    masker.add(secrets.iter().copied());
    let masked = masker.mask(&printed);
    for secret in secrets {
        let secret = secret.trim_end_matches(['\r', '\n']);
        // What a mask is made of may stand before or after one; the rest is too short, or what each config holds.
        let is_meant = secret.len() >= 8 && !secret.trim().is_empty() && !secret.contains('*');
        let is_everyday = ["production", "development", "localhost", "127.0.0.1"].contains(&secret);
        assert!(!is_meant || is_everyday || !masked.contains(secret), "{secret:?} is in {masked:?}");
    }
    let mut stream = MaskedStream::new(masker.clone());
    let mut told: Vec<u8> = pieces.iter().flat_map(|piece| stream.push(piece.as_bytes())).collect();
    told.extend(stream.finish());
    assert_eq!(String::from_utf8(told).as_deref(), Ok(&*masked));
}

/// A schedule, and on lines after it a time zone, a time, a jitter and a name: what is taken is written back as it was read,
/// and its times come one after the other, with none between them.
pub fn cron(text: &str) {
    let mut lines = text.split('\n');
    let mut line = || lines.next().unwrap_or_default();
    let schedule = line();
    let (zone, time, jitter, name) = (line(), line(), line(), line());
    let _ = cron_timeout(jitter);
    let _ = name.parse::<CronName>();
    let Ok(schedule) = schedule.parse::<CronSchedule>() else { return };
    let shown = schedule.to_string();
    assert!(!shown.contains(char::is_control), "{shown:?}");
    assert_eq!(shown.parse::<CronSchedule>().as_ref(), Ok(&schedule));
    let Ok(command) = "true".parse() else { return };
    let mut spec = CronSpec::new(CronName::of_command(name, &std::collections::BTreeSet::new()), schedule, command);
    spec.timezone = zone.parse::<ZoneName>().ok();
    spec.jitter_seconds = cron_jitter(jitter).unwrap_or(0);
    let start: i64 = time.parse().unwrap_or(1_774_742_400_000);
    let mut at = start;
    for _ in 0..3 {
        let Some(next) = next(&spec, &Utc, at) else { break };
        // What is before 1970 is as that.
        assert!(next > at || at < 0, "{next} is not after {at}");
        let between = at.max(0) + (next - at.max(0)) / 2;
        assert_eq!(self::next(&spec, &Utc, between).filter(|_| between < next), Some(next).filter(|_| between < next));
        at = next;
    }
    let times = CronTimes { waiting: Some(at.saturating_sub(1)), last: Some(start) };
    for now in [start, at, at.saturating_add(86_400_000)] {
        if let Turn::Begin { due, .. } = spec.turn(&Utc, AppId(1), times, now) {
            assert!(due <= now, "{due} is not yet due at {now}");
        }
    }
}

fn next(spec: &CronSpec, server: &impl TimeZone, after: i64) -> Option<i64> {
    spec.next_after(server, AppId(1), after)
}

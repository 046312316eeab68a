//! Deploys, seen in band: a version not seen before, or the banner of a process that starts. For a
//! quarter of an hour after one, new templates that tell of no failure are expected.

use std::time::Duration;

use petrel_detector::EventTime;
use serde::{Deserialize, Serialize};

/// How long new templates are expected after a deploy.
const WINDOW: Duration = Duration::from_secs(15 * 60);
/// How long at most, when one sign follows the other.
const WINDOW_MAX: Duration = Duration::from_secs(60 * 60);
/// A version that was not seen for so long is new again: somebody rolled back.
const VERSION_FORGOTTEN: Duration = Duration::from_secs(24 * 3_600);
/// A known banner is a restart when it was not seen for so long.
pub(crate) const BANNER_QUIET: Duration = Duration::from_secs(3_600);
/// Versions remembered at most; the one not seen for longest goes.
const VERSIONS_MAX: usize = 16;
/// Bytes of a version that are kept.
const VERSION_BYTES_MAX: usize = 128;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Deploys {
    /// Versions and when they were last seen.
    versions: Vec<(String, EventTime)>,
    /// Index of the one seen last: most records follow one of the same version.
    newest: usize,
    /// The last window.
    since: EventTime,
    until: EventTime,
    /// What opened it.
    sign: String,
}

impl Deploys {
    /// A record of a version. The first one that a stream shows is no deploy.
    #[inline]
    pub(crate) fn version(&mut self, version: &str, time: EventTime) {
        let version = cut(version, VERSION_BYTES_MAX);
        if let Some((known, last)) = self.versions.get_mut(self.newest)
            && known == version
        {
            *last = time.max(*last);
            return;
        }
        self.another_version(version, time);
    }

    fn another_version(&mut self, version: &str, time: EventTime) {
        if let Some(index) = self.versions.iter().position(|(known, _)| known == version) {
            self.newest = index;
            let last = &mut self.versions[index].1;
            let was_gone = time.since(*last) > VERSION_FORGOTTEN;
            *last = time.max(*last);
            if was_gone {
                self.open(time, format!("version {version}"));
            }
            return;
        }
        if !self.versions.is_empty() {
            self.open(time, format!("version {version}"));
        }
        if self.versions.len() >= VERSIONS_MAX {
            let oldest = (0..self.versions.len()).min_by_key(|index| self.versions[*index].1);
            self.versions.remove(oldest.unwrap_or_default());
        }
        self.newest = self.versions.len();
        self.versions.push((version.to_owned(), time));
    }

    /// A process says that it starts.
    pub(crate) fn banner(&mut self, time: EventTime) {
        self.open(time, "a process started".to_owned());
    }

    fn open(&mut self, time: EventTime, sign: String) {
        if !self.is_on(time) {
            (self.since, self.until) = (time, time.saturating_add(WINDOW));
            self.sign = sign;
        } else {
            let last = self.since.saturating_add(WINDOW_MAX);
            self.until = self.until.max(time.saturating_add(WINDOW)).min(last);
        }
    }

    /// Whether a time lies in the window of a deploy.
    pub(crate) fn is_on(&self, time: EventTime) -> bool {
        self.since <= time && time < self.until
    }

    /// What is known of the deploy whose window a time lies in.
    pub(crate) fn text(&self, time: EventTime) -> Option<String> {
        let seconds = time.since(self.since).as_secs();
        self.is_on(time)
            .then(|| format!("{}, {seconds} s before", self.sign))
    }
}

/// The start of a text, at most so many bytes.
pub(crate) fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(minute: u64) -> EventTime {
        EventTime::from_seconds(minute * 60)
    }

    #[test]
    fn a_new_version_opens_a_window() {
        let mut deploys = Deploys::default();
        deploys.version("1.0", minute(10));
        assert!(!deploys.is_on(minute(10)));
        deploys.version("1.1", minute(100));
        deploys.version("1.0", minute(101));
        assert!(deploys.is_on(minute(114)) && !deploys.is_on(minute(115)));
        assert_eq!(
            deploys.text(minute(101)).as_deref(),
            Some("version 1.1, 60 s before")
        );
    }

    #[test]
    fn a_version_that_comes_back_is_a_deploy() {
        let mut deploys = Deploys::default();
        deploys.version("1.0", minute(0));
        deploys.version("1.1", minute(100));
        deploys.version("1.0", minute(3_000));
        assert!(deploys.is_on(minute(3_001)));
    }

    #[test]
    fn signs_in_a_row_do_not_extend_it_for_ever() {
        let mut deploys = Deploys::default();
        for at in 100..300 {
            deploys.banner(minute(at));
            if at < 160 {
                assert!(deploys.is_on(minute(at)));
            }
        }
        assert!(deploys.since >= minute(160));
    }
}

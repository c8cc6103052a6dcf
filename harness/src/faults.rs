//! What `onceness proxy` does to requests: rules in a TOML file, and the owner of a proxy that follows them.
//!
//! Unlike the rules of a test ([`onceness_adapters::proxy::Rules`]) they strike again and again: people who test their own
//! applications do not know which request is the one that matters. They count by kind of request, not by time, so that the
//! same traffic meets the same fates; only percentages roll dice, and those have a seed.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use onceness_adapters::proxy::{
    ConnectionId, CopyNumber, Exchange, Owner, Sentence, Start, api_name, apis, busy_apis,
    busy_code,
};
use onceness_reference::code::Code;
use onceness_reference::plan::Fate;
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};

use crate::config::{self, ConfigError};
use crate::nearest::unknown;

/// The rules of a file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Faults {
    /// In order: where several strike at once, the first does.
    #[serde(default, rename = "rule")]
    pub rules: Vec<FaultRule>,
}

/// Which requests meet what.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// Which API, by its key; by name in the file.
    #[serde(deserialize_with = "api")]
    pub api: i16,
    /// Only of clients of that `client.id`.
    pub client: Option<String>,
    /// Only if it names this transactional id.
    pub txn: Option<String>,
    /// The fate.
    pub fate: FaultName,
    /// It befalls the nth of them.
    pub nth: Option<u64>,
    /// It befalls every so manieth of them.
    pub every: Option<u64>,
    /// It befalls so many of a hundred of them, by dice.
    pub percent: Option<f64>,
    /// Of `held`: for how long.
    #[serde(default, deserialize_with = "some_duration")]
    pub hold: Option<Duration>,
    /// Of `busy`: which error instead of the usual one; by name or number in the file.
    #[serde(default, deserialize_with = "error")]
    pub error: Option<Code>,
}

/// A fate, as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum FaultName {
    /// It arrives, and is shown.
    Delivered,
    /// It never arrives.
    RequestLost,
    /// It arrives, its answer does not.
    ReplyLost,
    /// It arrives twice.
    Repeated,
    /// It arrives later.
    Held,
    /// It is put off in the broker's name.
    Busy,
}

impl FaultName {
    /// All of them.
    pub const ALL: [FaultName; 6] = [
        FaultName::Delivered,
        FaultName::RequestLost,
        FaultName::ReplyLost,
        FaultName::Repeated,
        FaultName::Held,
        FaultName::Busy,
    ];

    /// How it is written.
    pub fn name(self) -> &'static str {
        match self {
            FaultName::Delivered => "delivered",
            FaultName::RequestLost => "request-lost",
            FaultName::ReplyLost => "reply-lost",
            FaultName::Repeated => "repeated",
            FaultName::Held => "held",
            FaultName::Busy => "busy",
        }
    }

    /// What the proxy calls it.
    pub fn of(fate: Fate) -> FaultName {
        match fate {
            Fate::Delivered => FaultName::Delivered,
            Fate::RequestLost => FaultName::RequestLost,
            Fate::ReplyLost => FaultName::ReplyLost,
            Fate::Repeated => FaultName::Repeated,
            Fate::Held { .. } => FaultName::Held,
            Fate::Busy => FaultName::Busy,
        }
    }

    fn fate(self) -> Fate {
        match self {
            FaultName::Delivered => Fate::Delivered,
            FaultName::RequestLost => Fate::RequestLost,
            FaultName::ReplyLost => Fate::ReplyLost,
            FaultName::Repeated => Fate::Repeated,
            // For how long is kept beside it.
            FaultName::Held => Fate::Held { rounds: 1 },
            FaultName::Busy => Fate::Busy,
        }
    }
}

impl<'de> Deserialize<'de> for FaultName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let found = FaultName::ALL.into_iter().find(|fate| fate.name() == text);
        found.ok_or_else(|| {
            de::Error::custom(unknown("fate", &text, FaultName::ALL.map(FaultName::name)))
        })
    }
}

impl fmt::Display for FaultRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", api_name(self.api), self.fate.name())?;
        match (self.nth, self.every, self.percent) {
            (Some(nth), ..) => write!(f, ", nth {nth}")?,
            (_, Some(every), _) => write!(f, ", every {every}")?,
            (.., Some(percent)) => write!(f, ", {percent} percent")?,
            _ => {}
        }
        if let Some(client) = &self.client {
            write!(f, ", client {}", client.escape_debug())?;
        }
        if let Some(txn) = &self.txn {
            write!(f, ", txn {}", txn.escape_debug())?;
        }
        Ok(())
    }
}

impl Faults {
    /// Reads them from a file.
    ///
    /// # Errors
    /// When it cannot be read, or says something that is not understood.
    pub fn read(path: &Path) -> Result<Faults, ConfigError> {
        let faults: Faults = config::read_toml(path)?;
        for (place, rule) in faults.rules.iter().enumerate() {
            rule.check().map_err(|reason| ConfigError {
                path: path.to_owned(),
                line: None,
                reason: format!("rule {}: {reason}", place + 1),
            })?;
        }
        Ok(faults)
    }
}

impl FaultRule {
    fn check(&self) -> Result<(), String> {
        let whens = [self.nth.is_some(), self.every.is_some(), self.percent.is_some()];
        match whens.iter().filter(|given| **given).count() {
            1 => {}
            0 => {
                return Err("when is not said; write nth = 1, every = 10 or percent = 5".to_owned());
            }
            _ => return Err("says more than one of nth, every and percent; write one".to_owned()),
        }
        if self.nth == Some(0) || self.every == Some(0) {
            return Err("nth and every count from 1".to_owned());
        }
        if self.percent.is_some_and(|percent| !(0.0..=100.0).contains(&percent)) {
            return Err("percent is not from 0 to 100".to_owned());
        }
        let what = self.fate.name();
        match (self.fate, self.hold) {
            (FaultName::Held, None) => {
                return Err("held, but not for how long; write hold = \"5s\"".to_owned());
            }
            (FaultName::Held, Some(_)) | (_, None) => {}
            (_, Some(_)) => return Err(format!("hold is for held, not for {what}")),
        }
        match (self.fate, self.error) {
            (FaultName::Busy, Some(Code(0))) => return Err("error 0 is no error".to_owned()),
            (FaultName::Busy, Some(_)) | (_, None) => {}
            (_, Some(_)) => return Err(format!("error is for busy, not for {what}")),
        }
        if self.fate == FaultName::Busy && busy_code(self.api).is_none() {
            let can: Vec<String> = busy_apis().map(api_name).collect();
            return Err(format!(
                "{} cannot be answered in the broker's name; these can: {}",
                api_name(self.api),
                can.join(", ")
            ));
        }
        Ok(())
    }

    fn fits(&self, request: &Start) -> bool {
        self.api == request.api
            && self.client.as_ref().is_none_or(|client| *client == request.client)
            && (self.txn.is_none() || self.txn == request.txn)
    }

    /// Whether it strikes at the nth request that it fits.
    fn strikes(&self, nth: u64, dice: &mut fastrand::Rng) -> bool {
        // Rolled whether or not another rule strikes first, so that rules do not change each other's dice.
        let rolled = self.percent.is_some_and(|percent| dice.f64() * 100.0 < percent);
        rolled || self.nth == Some(nth) || self.every.is_some_and(|every| nth.is_multiple_of(every))
    }
}

fn api<'de, D: Deserializer<'de>>(from: D) -> Result<i16, D::Error> {
    let text = String::deserialize(from)?;
    let names: Vec<String> = apis().map(api_name).collect();
    let found = apis().find(|api| api_name(*api).eq_ignore_ascii_case(&text));
    found.ok_or_else(|| de::Error::custom(unknown("API", &text, names.iter().map(String::as_str))))
}

fn error<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Code>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected an error's name or number")]
    enum Told {
        Number(i16),
        Name(String),
    }
    let name = match Told::deserialize(from)? {
        Told::Number(number) => return Ok(Some(Code(number))),
        Told::Name(name) => name,
    };
    let names = Code::NAMED.iter().filter_map(|code| code.name());
    let found = Code::NAMED.iter().find(|code| code.name() == Some(&name));
    found.map(|code| Some(*code)).ok_or_else(|| de::Error::custom(unknown("error", &name, names)))
}

fn some_duration<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    config::duration(from).map(Some)
}

/// The owner of a proxy that follows rules, counts, and passes on what is to be shown.
pub struct Follower {
    faults: Faults,
    /// Every request is of interest.
    verbose: bool,
    shows: Box<dyn Fn(Shown<'_>) + Send + Sync>,
    counts: Mutex<Counts>,
}

/// Something to show.
#[derive(Clone, Copy, Debug)]
pub enum Shown<'a> {
    /// A copy of a request has met its fate. The rule that brought it about, if one did.
    Exchange(&'a Exchange, Option<&'a FaultRule>),
    /// A connection ended by a fault.
    Trouble(ConnectionId, &'a str),
}

/// What happened so far.
#[derive(Clone, Debug)]
pub struct Counts {
    /// By API: the requests, and of them those that met each fate.
    pub requests: BTreeMap<i16, (u64, BTreeMap<&'static str, u64>)>,
    /// By rule: the requests that it fits, and those at which it struck.
    pub rules: Vec<(u64, u64)>,
    /// Connections that ended by a fault.
    pub troubles: u64,
    dice: fastrand::Rng,
}

/// The tag of what no rule brought about.
const NO_RULE: u64 = u64::MAX;

impl Follower {
    /// An owner that follows these rules, with dice of that seed.
    pub fn new(
        faults: Faults,
        seed: u64,
        verbose: bool,
        shows: impl Fn(Shown<'_>) + Send + Sync + 'static,
    ) -> Follower {
        let counts = Counts {
            requests: BTreeMap::new(),
            rules: vec![(0, 0); faults.rules.len()],
            troubles: 0,
            dice: fastrand::Rng::with_seed(seed),
        };
        Follower { faults, verbose, shows: Box::new(shows), counts: Mutex::new(counts) }
    }

    /// The rules.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        self.locked().clone()
    }

    fn locked(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Owner for Follower {
    fn decide(&self, _: ConnectionId, request: &Start) -> Option<Sentence> {
        let counts = &mut *self.locked();
        counts.requests.entry(request.api).or_default().0 += 1;
        let mut struck = None;
        for (place, rule) in self.faults.rules.iter().enumerate().filter(|(_, r)| r.fits(request)) {
            counts.rules[place].0 += 1;
            if rule.strikes(counts.rules[place].0, &mut counts.dice) && struck.is_none() {
                counts.rules[place].1 += 1;
                struck = Some((place as u64, rule));
            }
        }
        match struck {
            Some((tag, rule)) => Some(Sentence { fate: rule.fate.fate(), code: rule.error, tag }),
            None if self.verbose => {
                Some(Sentence { fate: Fate::Delivered, code: None, tag: NO_RULE })
            }
            None => None,
        }
    }

    fn saw(&self, exchange: Exchange) {
        if exchange.copy == CopyNumber::First && exchange.tag != NO_RULE {
            let mut counts = self.locked();
            let (_, fates) = counts.requests.entry(exchange.start.api).or_default();
            *fates.entry(FaultName::of(exchange.fate).name()).or_default() += 1;
        }
        let rule = usize::try_from(exchange.tag).ok().and_then(|tag| self.faults.rules.get(tag));
        (self.shows)(Shown::Exchange(&exchange, rule));
    }

    fn trouble(&self, connection: ConnectionId, words: &str) {
        self.locked().troubles += 1;
        (self.shows)(Shown::Trouble(connection, words));
    }
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower").field("faults", &self.faults).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::Faults;

    fn read(text: &str) -> Result<Faults, String> {
        let folder = tempfile::tempdir().expect("a folder for a test");
        let path = folder.path().join("faults.toml");
        std::fs::write(&path, text).expect("a file for a test");
        let shown = path.display().to_string();
        Faults::read(&path).map_err(|error| error.to_string().replace(&shown, "faults.toml"))
    }

    fn refused(text: &str, expected: &Expect) {
        expected.assert_eq(&read(text).expect_err("it is wrong"));
    }

    #[test]
    fn rules_read_as_they_are_shown() {
        let faults = read(
            "[[rule]]\napi = 'produce'\nfate = 'reply-lost'\nnth = 3\nclient = 'billing'\n\
             [[rule]]\napi = 'EndTxn'\nfate = 'held'\nhold = '5s'\nevery = 10\ntxn = 'pay'\n\
             [[rule]]\napi = 'Produce'\nfate = 'busy'\nerror = 'NOT_LEADER_OR_FOLLOWER'\npercent = 2.5\n\
             [[rule]]\napi = 'Fetch'\nfate = 'delivered'\nnth = 1\n",
        );
        let shown: Vec<String> =
            faults.expect("it is right").rules.iter().map(ToString::to_string).collect();
        expect![[r#"
            Produce reply-lost, nth 3, client billing
            EndTxn held, every 10, txn pay
            Produce busy, 2.5 percent
            Fetch delivered, nth 1"#]]
        .assert_eq(&shown.join("\n"));
        assert_eq!(read("").expect("no rules are rules").rules.len(), 0);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place_and_the_nearest() {
        refused(
            "[[rule]]\napi = 'Prodcue'\nfate = 'busy'\nnth = 1",
            &expect![
                "failed to read faults.toml: line 2: unknown API 'Prodcue'; did you mean 'Produce' or 'InitProducerId'?"
            ],
        );
        refused(
            "[[rule]]\napi = 'Produce'\nfate = 'reply_lost'\nnth = 1",
            &expect![
                "failed to read faults.toml: line 3: unknown fate 'reply_lost'; did you mean 'reply-lost'?"
            ],
        );
        refused(
            "[[rule]]\napi = 'Produce'\nfate = 'busy'\nevrey = 1",
            &expect![
                "failed to read faults.toml: line 4: unknown key 'evrey'; did you mean 'every'?"
            ],
        );
        refused(
            "[[rules]]\napi = 'Produce'",
            &expect![
                "failed to read faults.toml: line 1: unknown key 'rules'; did you mean 'rule'?"
            ],
        );
        refused(
            "[[rule]]\nfate = 'busy'\nnth = 1",
            &expect!["failed to read faults.toml: line 1: missing field `api`"],
        );
        refused(
            "[[rule]]\napi = 'Produce'\nfate = 'busy'",
            &expect![
                "failed to read faults.toml: rule 1: when is not said; write nth = 1, every = 10 or percent = 5"
            ],
        );
        refused(
            "[[rule]]\napi = 'Produce'\nfate = 'busy'\nnth = 1\nevery = 2",
            &expect![
                "failed to read faults.toml: rule 1: says more than one of nth, every and percent; write one"
            ],
        );
        refused(
            "[[rule]]\napi = 'Produce'\nfate = 'busy'\nnth = 0",
            &expect!["failed to read faults.toml: rule 1: nth and every count from 1"],
        );
        refused(
            "[[rule]]\napi = 'Produce'\nfate = 'busy'\nnth = -1",
            &expect![
                "failed to read faults.toml: line 4: invalid value: integer `-1`, expected u64"
            ],
        );
        refused(
            "[[rule]]\napi = 'Produce'\nfate = 'busy'\npercent = 101",
            &expect!["failed to read faults.toml: rule 1: percent is not from 0 to 100"],
        );
        refused(
            "[[rule]]\napi = 'Produce'\nfate = 'held'\nnth = 1",
            &expect![[
                r#"failed to read faults.toml: rule 1: held, but not for how long; write hold = "5s""#
            ]],
        );
        refused(
            "[[rule]]\napi = 'Produce'\nfate = 'busy'\nnth = 1\nhold = '5s'",
            &expect!["failed to read faults.toml: rule 1: hold is for held, not for busy"],
        );
        refused(
            "[[rule]]\napi = 'Produce'\nfate = 'held'\nnth = 1\nhold = '5'",
            &expect![
                "failed to read faults.toml: line 5: '5' is no time such as 30s: time unit needed, for example 5sec or 5ms"
            ],
        );
        refused(
            "[[rule]]\napi = 'Produce'\nfate = 'busy'\nnth = 1\nerror = 'NOT_LEADER'",
            &expect![
                "failed to read faults.toml: line 5: unknown error 'NOT_LEADER'; did you mean 'NOT_LEADER_OR_FOLLOWER' or 'UNKNOWN_LEADER_EPOCH'?"
            ],
        );
        refused(
            "[[rule]]\napi = 'Produce'\nfate = 'busy'\nnth = 1\nerror = 0",
            &expect!["failed to read faults.toml: rule 1: error 0 is no error"],
        );
        refused(
            "[[rule]]\napi = 'Produce'\nfate = 'held'\nnth = 1\nerror = 6\nhold='1s'",
            &expect!["failed to read faults.toml: rule 1: error is for busy, not for held"],
        );
        refused(
            "[[rule]]\napi = 'Fetch'\nfate = 'busy'\nnth = 1",
            &expect![
                "failed to read faults.toml: rule 1: Fetch cannot be answered in the broker's name; these can: Produce, OffsetCommit, OffsetFetch, FindCoordinator, JoinGroup, Heartbeat, SyncGroup, LeaveGroup, InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn, EndTxn, TxnOffsetCommit"
            ],
        );
        refused(
            "[[rule]",
            &expect!["failed to read faults.toml: line 1: unclosed array table, expected `]`"],
        );
    }
}

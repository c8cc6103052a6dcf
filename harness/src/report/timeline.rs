//! A history as a time line: a line an event in the recorder's order, a call and its answer on one line where nothing came
//! between them. The events that prove the violation are marked.

use std::collections::{BTreeMap, BTreeSet};

use onceness_reference::history::{
    Call, Event, Fetched, Header, History, Outcome, Record, Reply, Seen, Sequence, Skip,
};
use onceness_reference::ids::{EventId, GroupId, Offset, Partition};
use onceness_reference::plan::{
    Client, Consumer, Delivery, Fate, Fault, Isolation, Protocol, Saving,
};

use super::forging;
use super::style::{BAD, DIM, HEAD, NOTE, count, paint};

/// Longer time lines show only what is near the evidence.
const LINES_MAX: usize = 60;
/// How many records of one list are shown.
const LIST_MAX: usize = 12;

/// The participants and what happened, with the evidence marked. A time line that is too long is cut down to what is near
/// the evidence, unless the whole is wanted.
pub fn render(history: &History, evidence: &[EventId], whole: bool) -> String {
    let mut text = participants(&history.header);
    let lines = lines(history, evidence);
    let near = near_evidence(&lines);
    let mut left_out = 0;
    for (place, line) in lines.iter().enumerate() {
        if !whole && lines.len() > LINES_MAX && !near.contains(&place) {
            left_out += 1;
            continue;
        }
        text += &gap(std::mem::take(&mut left_out));
        text += &line.render();
    }
    text + &gap(left_out)
}

/// One line of the time line.
struct Line {
    first: usize,
    last: usize,
    who: String,
    text: String,
    /// How many events in a row say so.
    times: u64,
    evidence: bool,
}

impl Line {
    fn render(&self) -> String {
        let mark = if self.evidence { paint(BAD, ">") } else { " ".to_owned() };
        let ids = match self.first == self.last {
            true => format!("e{}", self.first),
            false => format!("e{}-{}", self.first, self.last),
        };
        let ids = paint(DIM, format!("{ids:<8}"));
        let times = match self.times {
            1 => String::new(),
            times => format!(" ({times} times)"),
        };
        format!("{mark} {ids} {:<3} {}{times}\n", self.who, self.text)
    }

    fn says_as(&self, other: &Line) -> bool {
        self.text == other.text && self.who == other.who && self.evidence == other.evidence
    }
}

fn near_evidence(lines: &[Line]) -> BTreeSet<usize> {
    let marked = (lines.iter().enumerate()).filter(|(_, line)| line.evidence);
    marked.flat_map(|(place, _)| place.saturating_sub(2)..=place + 2).collect()
}

fn gap(lines: usize) -> String {
    match lines {
        0 => String::new(),
        _ => paint(DIM, format!("  ... {} without evidence ...\n", count(lines as u64, "line"))),
    }
}

fn lines(history: &History, evidence: &[EventId]) -> Vec<Line> {
    let evidence: BTreeSet<usize> = evidence.iter().map(|id| id.0 as usize).collect();
    let folded = folded(&history.events);
    let mut lines: Vec<Line> = Vec::new();
    for (place, event) in history.events.iter().enumerate() {
        if folded.values().any(|of| *of == place) {
            continue;
        }
        let returned = folded.get(&place);
        let (who, mut text) = tell(history, event);
        if let Some(Event::Return { outcome, .. }) = returned.and_then(|at| history.events.get(*at))
        {
            text += &format!(" -> {}", tell_outcome(outcome));
        }
        let line = Line {
            first: place,
            last: returned.copied().unwrap_or(place),
            who,
            text,
            times: 1,
            evidence: evidence.contains(&place)
                || returned.is_some_and(|returned| evidence.contains(returned)),
        };
        // A client that is put off again and again is told once.
        match lines.last_mut() {
            Some(before) if matches!(event, Event::Answer { .. }) && before.says_as(&line) => {
                before.times += 1;
                before.last = line.last;
            }
            _ => lines.push(line),
        }
    }
    lines
}

/// Calls whose return can stand on their line, for nothing but calls and returns of the same step came between.
fn folded(events: &[Event]) -> BTreeMap<usize, usize> {
    let step_of = |place: usize| match events.get(place) {
        Some(Event::Call { step, client, .. }) => Some((*step, *client)),
        _ => None,
    };
    let mut folded = BTreeMap::new();
    for (place, event) in events.iter().enumerate() {
        let Event::Return { of, .. } = event else {
            continue;
        };
        let call = of.0 as usize;
        let own = |between: usize| match &events[between] {
            Event::Return { of, .. } => step_of(of.0 as usize) == step_of(call),
            _ => step_of(between).is_some() && step_of(between) == step_of(call),
        };
        if call < place && (call + 1..place).all(own) {
            folded.insert(call, place);
        }
    }
    folded
}

fn participants(header: &Header) -> String {
    let clients = header.clients.iter();
    let lines =
        clients.map(|client| format!("  {:<3} {}\n", client.id.to_string(), describe(client)));
    let topic = count(u64::from(header.partitions), "partition");
    format!(
        "{}\n{}",
        paint(HEAD, format!("  {} with {topic}", header.target)),
        lines.collect::<String>()
    )
}

fn describe(client: &Client) -> String {
    let produces = client.delivery.map(|delivery| match delivery {
        Delivery::AtMostOnce => "sends without acknowledgement".to_owned(),
        Delivery::AtLeastOnce => "sends until acknowledged, without a producer id".to_owned(),
        Delivery::Idempotent => "sends as an idempotent producer".to_owned(),
        Delivery::Transactional { txn, protocol } => {
            let protocol = match protocol {
                Protocol::Tv1 => "TV1",
                Protocol::Tv2 => "TV2",
            };
            format!("sends in transactions of {txn} ({protocol})")
        }
    });
    let consumes = client.consumer.as_ref().map(describe_consumer);
    [produces, consumes].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

fn describe_consumer(consumer: &Consumer) -> String {
    let inputs: Vec<String> = consumer.inputs.iter().map(ToString::to_string).collect();
    let how = match consumer.saving {
        Saving::BeforeProcessing => "saves, then processes",
        Saving::AfterProcessing => "processes, then saves",
        Saving::InTransaction => "saves in its transactions",
    };
    let member = match (consumer.member, consumer.shared) {
        (true, true) => "as one of the members of",
        (true, false) => "as the member of",
        (false, _) => "with the offsets of",
    };
    format!(
        "reads {} at {} {member} group {}, {how}",
        inputs.join(", "),
        isolation(consumer.isolation),
        consumer.group
    )
}

/// Who, and what.
fn tell(history: &History, event: &Event) -> (String, String) {
    let caller = |of: &EventId| match history.events.get(of.0 as usize) {
        Some(Event::Call { client, .. }) => client.to_string(),
        _ => String::new(),
    };
    match event {
        Event::Call { client, call, .. } => (client.to_string(), tell_call(call)),
        Event::Answer { of, preparation, fate, outcome } => {
            (String::new(), tell_answer(*of, *preparation, *fate, outcome))
        }
        Event::Return { of, outcome } => {
            let text = format!("learns of {of}: {}", tell_outcome(outcome));
            (caller(of), text)
        }
        Event::Skipped { client, why, .. } => {
            let text = paint(DIM, format!("skips a step: {}", tell_skip(*why)));
            (client.to_string(), text)
        }
        Event::Crashed { client, .. } => (client.to_string(), paint(NOTE, "crashes")),
        Event::Fault { fault, happened } => (String::new(), tell_fault(*fault, *happened)),
        Event::Unmarked { partitions, groups } => {
            (String::new(), tell_unmarked(partitions, groups))
        }
        Event::Healed => {
            let text =
                "everything heals: held requests have arrived, fresh instances end what is open";
            (String::new(), paint(HEAD, text))
        }
        Event::Read { partition, isolation: level, high_watermark, last_stable, records } => {
            let stable =
                last_stable.map_or(String::new(), |offset| format!(", last stable {offset}"));
            let text = format!(
                "a fresh reader reads {partition} to its end {high_watermark}{stable} at {}: {}",
                isolation(*level),
                tell_seen(records)
            );
            (String::new(), text)
        }
        Event::Committed { group, partition, offset } => {
            let at = offset.map_or("nowhere".to_owned(), |offset| format!("at {offset}"));
            (String::new(), format!("group {group} stands {at} in {partition}"))
        }
        Event::View { group, partition, key, records } => {
            let tags: Vec<String> = records.iter().map(ToString::to_string).collect();
            let text =
                format!("the application of {group} has {} for {key} of {partition}", list(&tags));
            (String::new(), text)
        }
        Event::Stuck { what } => (String::new(), paint(NOTE, format!("stuck: {what}"))),
    }
}

fn tell_call(call: &Call) -> String {
    match call {
        Call::Open => "starts".to_owned(),
        Call::Send { partition, records, sequence } => {
            let numbers = sequence.map_or(String::new(), tell_sequence);
            format!("sends {} to {partition}{numbers}", tell_records(records))
        }
        Call::Begin => "begins a transaction".to_owned(),
        Call::Commit => "commits".to_owned(),
        Call::Abort => "aborts".to_owned(),
        Call::Poll => "polls".to_owned(),
        Call::Process { records } => {
            let tags: Vec<String> = records.iter().map(ToString::to_string).collect();
            format!("processes {}", list(&tags))
        }
        Call::Save { group, positions, in_transaction } => {
            let inside = if *in_transaction { " in its transaction" } else { "" };
            let positions: Vec<String> = (positions.iter())
                .map(|(partition, offset)| format!("{partition} at {offset}"))
                .collect();
            format!("saves the position of {group}{inside}: {}", list(&positions))
        }
        Call::Rewind => "rewinds to the saved position".to_owned(),
        Call::Stall => "stands still until its session is over".to_owned(),
        Call::Forge(forged) => forging::tell(forged),
        Call::Close => "closes".to_owned(),
    }
}

fn tell_sequence(sequence: Sequence) -> String {
    let Sequence { producer, epoch, first } = sequence;
    paint(DIM, format!(" (producer {producer} epoch {epoch} sequence {first})"))
}

fn tell_answer(of: EventId, preparation: bool, fate: Fate, outcome: &Outcome) -> String {
    let request = match preparation {
        true => format!("the request that prepares {of}"),
        false => format!("the request of {of}"),
    };
    let lost = *outcome == Outcome::Unknown;
    let answer = tell_outcome(outcome);
    let text = match fate {
        Fate::RequestLost => format!("{request} is lost on its way"),
        Fate::Busy => {
            format!("{request} never arrives, it is put off in the broker's name: {answer}")
        }
        Fate::ReplyLost if lost => format!("{request} gets no reply"),
        Fate::ReplyLost => format!("{request} arrives, the reply is lost: {answer}"),
        Fate::Repeated => {
            format!("{request} is repeated by the network; one copy is answered: {answer}")
        }
        Fate::Held { rounds } => {
            let held = count(u64::from(rounds), "round");
            format!("{request} arrives late, held for {held}: {answer}")
        }
        Fate::Delivered if lost => format!("{request} gets no reply that tells"),
        Fate::Delivered => format!("{request} is answered: {answer}"),
    };
    paint(NOTE, text)
}

fn tell_outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done(reply) => tell_reply(reply),
        Outcome::Refused(code) => format!("refused with {code}"),
        Outcome::Unknown => "unknown; it may have happened".to_owned(),
    }
}

fn tell_reply(reply: &Reply) -> String {
    match reply {
        Reply::Nothing => "done".to_owned(),
        Reply::Opened { session, positions } => {
            let session =
                session.map(|(producer, epoch)| format!("producer {producer} epoch {epoch}"));
            let positions = (!positions.is_empty()).then(|| tell_positions(positions));
            let parts: Vec<String> = [session, positions].into_iter().flatten().collect();
            match parts.is_empty() {
                true => "done".to_owned(),
                false => parts.join(", "),
            }
        }
        Reply::Appended { base: Some(base) } => format!("appended at {base}"),
        Reply::Appended { base: None } => "appended".to_owned(),
        Reply::Polled(fetched) if fetched.is_empty() => "nothing".to_owned(),
        Reply::Polled(fetched) => {
            let parts: Vec<String> = fetched.iter().map(tell_fetched).collect();
            parts.join("; ")
        }
        Reply::Positions(positions) => tell_positions(positions),
    }
}

fn tell_fetched(fetched: &Fetched) -> String {
    let Fetched { partition, from, to, records } = fetched;
    format!("{partition} from {from} to {to}: {}", tell_seen(records))
}

fn tell_positions(positions: &[(Partition, Option<Offset>)]) -> String {
    let told = positions.iter().map(|(partition, offset)| match offset {
        Some(offset) => format!("{partition} from {offset}"),
        None => format!("{partition} from the start"),
    });
    list(&told.collect::<Vec<_>>())
}

pub(super) fn tell_records(records: &[Record]) -> String {
    let told = records.iter().map(|record| {
        let from = record.from.map_or(String::new(), |from| format!(" from {from}"));
        format!("{}[{}{from}]", record.tag, record.key)
    });
    list(&told.collect::<Vec<_>>())
}

fn tell_seen(records: &[Seen]) -> String {
    let told = records.iter().map(|seen| match seen.tag {
        Some(tag) => format!("{tag}@{}", seen.offset),
        None => format!("DAMAGED@{}", seen.offset),
    });
    list(&told.collect::<Vec<_>>())
}

fn list(items: &[String]) -> String {
    match items.len() {
        0 => "nothing".to_owned(),
        few if few <= LIST_MAX => items.join(" "),
        many => format!("{} ... and {} more", items[..LIST_MAX].join(" "), many - LIST_MAX),
    }
}

fn tell_fault(fault: Fault, happened: bool) -> String {
    let what = match fault {
        Fault::Restart => "the broker is killed and started again",
        Fault::Kill => "the broker is killed in the midst of the round, and started again",
        Fault::Pause => "the broker stops for a while, as by SIGSTOP, and then goes on",
    };
    match happened {
        true => paint(NOTE, what),
        false => paint(DIM, format!("{what} (this target cannot: nothing happens)")),
    }
}

fn tell_unmarked(partitions: &[Partition], groups: &[GroupId]) -> String {
    let partitions = partitions.iter().map(ToString::to_string);
    let places: Vec<String> = partitions.chain(groups.iter().map(ToString::to_string)).collect();
    paint(
        DIM,
        format!("then the markers of ended transactions were unwritten in {}", list(&places)),
    )
}

fn tell_skip(why: Skip) -> String {
    // The variants are named as sentences need them; spelling each out would only repeat their documentation.
    let name = serde_json::to_string(&why).unwrap_or_default();
    name.trim_matches('"').replace('_', " ")
}

pub(super) fn isolation(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::ReadUncommitted => "read_uncommitted",
        Isolation::ReadCommitted => "read_committed",
    }
}

//! Plans and histories as text: a plan is JSON, a history is JSON Lines, one event a line after the header.
//!
//! Reading checks fully: syntax, types, versions, and what a plan or a history must be to mean anything. What is wrong is
//! said with its line and field.

use std::collections::BTreeSet;
use std::fmt;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::exchanges::Exchange;
use crate::history::{Event, HISTORY_VERSION, Header, History};
use crate::ids::{EventId, StepId};
use crate::plan::{PLAN_VERSION, Plan, PlanFault};
use crate::wellformed::PARTITIONS_MAX;

/// Why a text is not what it should be, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextError {
    /// The line, counted from 1.
    pub line: usize,
    /// The field, as a path such as `rounds[2].steps[0].op`; empty where none is to blame.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.line)?;
        if !self.field.is_empty() && self.field != "." {
            write!(f, ", field {}", self.field)?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl std::error::Error for TextError {}

/// Reads a plan.
///
/// # Errors
/// When the text is not JSON of the plan's form, of another version, or not a well-formed plan ([`Plan::check`]).
pub fn plan_from_json(text: &str) -> Result<Plan, TextError> {
    let plan: Plan = parse(text, 1)?;
    if plan.version != PLAN_VERSION {
        let reason =
            format!("is {}, but this build reads plans of version {PLAN_VERSION}", plan.version);
        return Err(TextError {
            line: line_of(text, "\"version\""),
            field: "version".to_owned(),
            reason,
        });
    }
    match plan.check() {
        Ok(()) => Ok(plan),
        Err(fault) => Err(place(text, &plan, fault)),
    }
}

/// Where in the text a plan is at fault: the step that is to blame, or the clients.
fn place(text: &str, plan: &Plan, fault: PlanFault) -> TextError {
    if let (None, Some(round)) = (fault.step, fault.round) {
        let field = format!("rounds[{round}].faults");
        let line = line_of(text, "\"rounds\"");
        return TextError { line, field, reason: fault.reason };
    }
    let Some(step) = fault.step else {
        let field =
            if (1..=PARTITIONS_MAX).contains(&plan.partitions) { "clients" } else { "partitions" };
        let line = line_of(text, &format!("\"{field}\""));
        return TextError { line, field: field.to_owned(), reason: fault.reason };
    };
    let mut places = plan.rounds.iter().enumerate().flat_map(|(r, round)| {
        round
            .steps
            .iter()
            .enumerate()
            .map(move |(s, one)| (format!("rounds[{r}].steps[{s}]"), one.id))
    });
    // The last of them: where an id appears twice, the second is the one too many.
    let field = places.rfind(|(_, id)| *id == step).map(|(field, _)| field);
    TextError {
        line: line_of_step(text, step),
        field: field.unwrap_or_default(),
        reason: fault.reason,
    }
}

/// The line in which a word first stands.
fn line_of(text: &str, word: &str) -> usize {
    1 + text.find(word).map_or(0, |at| text[..at].matches('\n').count())
}

/// The line in which the last step of that id says so.
fn line_of_step(text: &str, step: StepId) -> usize {
    let start = text.find("\"rounds\"").unwrap_or(0);
    let says = |at: usize| {
        let rest =
            text[at + "\"id\"".len()..].trim_start().strip_prefix(':').unwrap_or("").trim_start();
        let digits = rest.find(|c: char| !c.is_ascii_digit()).map_or(rest, |end| &rest[..end]);
        digits == step.0.to_string()
    };
    let found = text[start..]
        .match_indices("\"id\"")
        .map(|(at, _)| start + at)
        .filter(|at| says(*at))
        .last();
    1 + found.map_or(0, |at| text[..at].matches('\n').count())
}

/// Writes a plan, indented for people.
pub fn plan_to_json(plan: &Plan) -> String {
    // Plain structs with string keys always serialize.
    serde_json::to_string_pretty(plan).unwrap_or_default() + "\n"
}

/// Writes a history as JSON Lines.
pub fn history_to_lines(history: &History) -> String {
    let mut lines = serde_json::to_string(&history.header).unwrap_or_default();
    lines.push('\n');
    for event in &history.events {
        // As above: plain data always serializes.
        lines += &serde_json::to_string(event).unwrap_or_default();
        lines.push('\n');
    }
    for exchange in &history.exchanges {
        lines += &serde_json::to_string(&Line::Exchange(exchange.clone())).unwrap_or_default();
        lines.push('\n');
    }
    lines
}

/// Reads a history line by line, so that nobody needs the whole text in memory.
#[derive(Debug, Default)]
pub struct HistoryReader {
    header: Option<Header>,
    events: Vec<Event>,
    exchanges: Vec<Exchange>,
    answered: BTreeSet<u32>,
    lines: usize,
}

impl HistoryReader {
    /// A reader that has read nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next line. Blank lines are passed over.
    ///
    /// # Errors
    /// When the line is not the header or event that should stand there.
    pub fn line(&mut self, text: &str) -> Result<(), TextError> {
        self.lines += 1;
        if text.trim().is_empty() {
            return Ok(());
        }
        if self.header.is_none() {
            self.header = Some(self.read_header(text)?);
            return Ok(());
        }
        // An exchange is told from an event by its first word.
        if text.trim_start().starts_with(r#"{"exchange""#) {
            let Line::Exchange(exchange) = parse(text, self.lines)?;
            self.check_exchange(&exchange)?;
            self.exchanges.push(exchange);
            return Ok(());
        }
        let event: Event = parse(text, self.lines)?;
        self.check(&event)?;
        self.events.push(event);
        Ok(())
    }

    /// The history that was read.
    ///
    /// # Errors
    /// When there was not even a header.
    pub fn finish(self) -> Result<History, TextError> {
        let header = self.header.ok_or(TextError {
            line: self.lines.max(1),
            field: String::new(),
            reason: "the history is empty: its first line must be the header".to_owned(),
        })?;
        Ok(History { header, events: self.events, exchanges: self.exchanges })
    }

    fn read_header(&self, text: &str) -> Result<Header, TextError> {
        let header: Header = parse(text, self.lines)?;
        if header.version == HISTORY_VERSION {
            return Ok(header);
        }
        let found = header.version;
        Err(self.fault(
            "version",
            format!("is {found}, but this build reads histories of version {HISTORY_VERSION}"),
        ))
    }

    /// An answer or return must refer to an earlier call; clients must be those of the header.
    fn check(&self, event: &Event) -> Result<(), TextError> {
        match event {
            Event::Answer { of, .. } => self.check_call(*of, "answer.of"),
            Event::Return { of, .. } => self.check_call(*of, "return.of"),
            Event::Call { client, .. }
            | Event::Skipped { client, .. }
            | Event::Crashed { client, .. } => {
                let known = self.header.iter().flat_map(|header| &header.clients);
                match known.clone().any(|one| one.id == *client) {
                    true => Ok(()),
                    false => Err(self.fault(
                        "client",
                        format!("{client} is not among the clients of the header"),
                    )),
                }
            }
            _ => Ok(()),
        }
    }

    /// An answer must refer to an earlier request, and there is one at most.
    fn check_exchange(&mut self, exchange: &Exchange) -> Result<(), TextError> {
        let (Exchange::Answered { of, .. } | Exchange::Unanswered { of }) = exchange else {
            return Ok(());
        };
        match self.exchanges.get(*of as usize) {
            Some(Exchange::Asked { .. }) if self.answered.insert(*of) => Ok(()),
            Some(Exchange::Asked { .. }) => {
                Err(self.fault("exchange.of", format!("exchange {of} has its answer already")))
            }
            _ => Err(self.fault("exchange.of", format!("exchange {of} is no earlier request"))),
        }
    }

    fn check_call(&self, of: EventId, field: &str) -> Result<(), TextError> {
        match self.events.get(of.0 as usize) {
            Some(Event::Call { .. }) => Ok(()),
            Some(_) => Err(self.fault(field, format!("{of} is not a call"))),
            None => Err(self.fault(field, format!("{of} is not an earlier event"))),
        }
    }

    fn fault(&self, field: &str, reason: String) -> TextError {
        TextError { line: self.lines, field: field.to_owned(), reason }
    }
}

fn parse<T: DeserializeOwned>(text: &str, first_line: usize) -> Result<T, TextError> {
    let mut json = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let field = error.path().to_string();
        read_error(first_line, field, &error.into_inner())
    })?;
    json.end().map_err(|error| read_error(first_line, String::new(), &error))?;
    Ok(value)
}

fn read_error(first_line: usize, field: String, error: &serde_json::Error) -> TextError {
    // serde_json counts lines from the start of the text that it was given, so its own words about them would contradict ours.
    let words = error.to_string();
    let reason = words.split(" at line ").next().unwrap_or(&words);
    TextError {
        line: first_line + error.line().saturating_sub(1),
        field: if field == "?" { String::new() } else { field },
        reason: format!("{reason} (column {})", error.column()),
    }
}

/// A line that is no event.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    Exchange(Exchange),
}

/// The JSON Schemas of a plan and of a line of a history, with the file names that they have in the repository.
pub fn schemas() -> [(&'static str, String); 2] {
    #[derive(schemars::JsonSchema)]
    #[serde(untagged)]
    #[expect(dead_code, reason = "it exists for its schema alone")]
    enum AnyLine {
        Header(Header),
        Event(Event),
        Exchange(Line),
    }
    let text =
        |schema: schemars::Schema| serde_json::to_string_pretty(&schema).unwrap_or_default() + "\n";
    [
        ("plan.schema.json", text(schemars::schema_for!(Plan))),
        ("history-line.schema.json", text(schemars::schema_for!(AnyLine))),
    ]
}

//! `properties`, `clauses` and `defects`: the catalogues, as they stand in the code.

use onceness::Exit;
use onceness::report::style::{DIM, HEAD, paint};
use onceness::selftest::unsearched;
use onceness_properties::{PROPERTIES, judges_of};
use onceness_reference::clauses::{self, Clause, Hazard, Observed};
use onceness_reference::defects::{self, NOT_MODELLED};
use serde_json::json;

use crate::cli::ListArgs;
use crate::terminal::print;

pub(crate) fn properties(args: &ListArgs) -> Exit {
    if args.json {
        let all = PROPERTIES.iter().map(|one| {
            let claims: Vec<&str> = one.claims.iter().map(|claim| claim.name()).collect();
            json!({
                "name": one.name,
                "claims": claims,
                "promise": one.promise,
                "source": one.source,
                "witness": one.witness,
                "not_claimed": one.not_claimed,
            })
        });
        return print_json(all.collect());
    }
    for one in PROPERTIES {
        let claims: Vec<&str> = one.claims.iter().map(|claim| claim.name()).collect();
        print(&format!(
            "{}  {}\n  {}\n  source: {}\n  witness: {}\n  not claimed: {}\n\n",
            paint(HEAD, one.name),
            paint(DIM, claims.join(", ")),
            one.promise,
            one.source,
            one.witness,
            one.not_claimed
        ));
    }
    Exit::Holds
}

pub(crate) fn clauses(args: &ListArgs) -> Exit {
    if args.json {
        let all = clauses::all().map(|one| {
            json!({
                "id": one.id,
                "level": one.level.name(),
                "statement": one.statement,
                "source": one.source,
                "seen": one.through.name(),
                "hazards": hazards(one, |_| true),
                "hazards_not_caused": hazards(one, |hazard| !hazard.is_caused()),
                "state": one.observed.name(),
                "judged_by": judges(one),
                "not_judged": one.observed.reason(),
            })
        });
        return print_json(all.collect());
    }
    for one in clauses::all() {
        print(&format!(
            "{}  {}\n  {}\n{}  {}\n  source: {}\n\n",
            paint(HEAD, one.id),
            paint(DIM, one.level.name()),
            one.statement,
            seen(one),
            state(one),
            one.source
        ));
    }
    print(&format!("{}\n\n{}\n", clauses::SOURCES, counts()));
    Exit::Holds
}

fn judges(clause: &Clause) -> Vec<&'static str> {
    judges_of(clause.id).map(|property| property.name).collect()
}

fn hazards(clause: &Clause, which: fn(Hazard) -> bool) -> Vec<&'static str> {
    clause.hazards.iter().filter(|hazard| which(**hazard)).map(|hazard| hazard.name()).collect()
}

/// A line on by whom and under what a breach would be seen, if it could be.
fn seen(clause: &Clause) -> String {
    if let Observed::Never(_) = clause.observed {
        return String::new();
    }
    let mut line = format!("  to be seen {}", clause.through.name());
    let under = hazards(clause, Hazard::is_caused);
    if !under.is_empty() {
        line += &format!(", under {}", under.join(", "));
    }
    let never = hazards(clause, |hazard| !hazard.is_caused());
    if !never.is_empty() {
        line += &format!("; not caused by us: {}", never.join(", "));
    }
    line + "\n"
}

fn state(clause: &Clause) -> String {
    let (state, judges) = (clause.observed.name(), judges(clause).join(", "));
    match clause.observed {
        Observed::Judged => format!("{state} by: {judges}"),
        Observed::Partly(but) => format!("{state} by: {judges} ({but})"),
        Observed::NotYet(why) | Observed::Never(why) => format!("{state}: {why}"),
    }
}

fn counts() -> String {
    let count = |which: fn(Observed) -> bool| {
        clauses::all().filter(|clause| which(clause.observed)).count()
    };
    format!(
        "{} clauses: {} judged, {} of them in part; {} observable and not judged yet; {} not observable by us",
        clauses::all().count(),
        count(Observed::is_judged),
        count(|observed| matches!(observed, Observed::Partly(_))),
        count(|observed| matches!(observed, Observed::NotYet(_))),
        count(|observed| matches!(observed, Observed::Never(_))),
    )
}

pub(crate) fn defects(args: &ListArgs) -> Exit {
    if args.json {
        let all = defects::all().map(|one| {
            json!({
                "name": one.name,
                "target": format!("memory:{}", one.name),
                "summary": one.summary,
                "culprit": one.culprit.name(),
                "copies": one.copies,
                "breaks": one.breaks,
                "needs": unsearched(one),
            })
        });
        let not_modelled = NOT_MODELLED.iter().map(|one| {
            json!({
                "name": one.name,
                "summary": one.summary,
                "copies": one.source,
                "not_modelled": one.reason,
            })
        });
        return print_json(all.chain(not_modelled).collect());
    }
    for one in defects::all() {
        print(&format!(
            "{}  {}\n  {}\n  copies: {}\n  breaks: {}\n{}\n",
            paint(HEAD, one.name),
            paint(DIM, one.culprit.name()),
            one.summary,
            one.copies,
            one.breaks.join(", "),
            unsearched(one)
                .map(|needs| format!("  not searched for yet: needs {needs}\n"))
                .unwrap_or_default()
        ));
    }
    for one in NOT_MODELLED {
        print(&format!(
            "not modelled yet: {} – {}\n  {}\n  source: {}\n\n",
            paint(HEAD, one.name),
            one.reason,
            one.summary,
            one.source
        ));
    }
    Exit::Holds
}

fn print_json(all: Vec<serde_json::Value>) -> Exit {
    // Plain data always serializes.
    print(&(serde_json::to_string_pretty(&all).unwrap_or_default() + "\n"));
    Exit::Holds
}

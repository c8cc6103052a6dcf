//! `properties` and `defects`: the catalogues, as they stand in the code.

use onceness::Exit;
use onceness::report::style::{DIM, HEAD, paint};
use onceness_properties::PROPERTIES;
use onceness_reference::defects::DEFECTS;
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

pub(crate) fn defects(args: &ListArgs) -> Exit {
    if args.json {
        let all = DEFECTS.iter().map(|one| {
            json!({
                "name": one.name,
                "target": format!("memory:{}", one.name),
                "summary": one.summary,
                "copies": one.copies,
                "breaks": one.breaks,
            })
        });
        return print_json(all.collect());
    }
    for one in DEFECTS {
        print(&format!(
            "{}\n  {}\n  copies: {}\n  breaks: {}\n\n",
            paint(HEAD, one.name),
            one.summary,
            one.copies,
            one.breaks.join(", ")
        ));
    }
    Exit::Holds
}

fn print_json(all: Vec<serde_json::Value>) -> Exit {
    // Plain data always serializes.
    print(&(serde_json::to_string_pretty(&all).unwrap_or_default() + "\n"));
    Exit::Holds
}

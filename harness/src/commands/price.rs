//! `price`: what the guarantees of a broker cost.

use onceness::folder::Folder;
use onceness::price::{PriceOptions, Prices, price as library};
use onceness::report::{price as table, price_json as json};
use onceness::{Exit, Rig, Target};
use onceness_adapters::price::Load;
use onceness_adapters::stock::price::StockMeter;

use super::certify::random_seed;
use super::{Refusal, complete, inconclusive, usage};
use crate::cli::PriceArgs;
use crate::progress::{Extent, watch};
use crate::signals;
use crate::terminal::{print, tell};

/// What is written.
const FILE: &str = "price.json";

pub(crate) fn price(args: PriceArgs) -> Result<Exit, Refusal> {
    let Target::Kafka { addresses, .. } = &args.target else {
        let reason =
            "it needs a broker that runs already and speaks Kafka, such as kafka://localhost:9092";
        return Err(usage(format!("cannot price {}: {reason}", args.target)));
    };
    let options = PriceOptions {
        target: args.target.to_string(),
        time: args.time.into(),
        load: Load {
            record_bytes: args.record_size as usize,
            linger: args.linger.into(),
            seed: args.seed.unwrap_or_else(random_seed),
        },
    };
    let folder = Folder::create(&args.out).map_err(usage)?;
    // A run that comes to nothing must not leave the last one's results standing for its own.
    if let Err(error) = folder.remove(FILE) {
        tell(&error.to_string());
    }
    let rig = Rig::default();
    tell(&format!("pricing {}, seed {}", options.target, options.load.seed));
    let mut prices = complete(async {
        signals::listen(&rig.stop);
        let meter = tokio::select! {
            meter = StockMeter::connect(addresses, options.load) => meter
                .map_err(|error| inconclusive(format!("failed to reach {}: {error}", options.target)))?,
            () = rig.stop.wait() => return Err(inconclusive("interrupted")),
        };
        let run = library(&meter, &options, &rig);
        Ok::<Prices, Refusal>(watch(&rig.gauge, Extent { cases: None, time: None }, run).await)
    })?;
    if let Err(error) = folder.write(FILE, &json::render(&prices)) {
        prices.troubles.push(error.to_string());
    }
    match args.json {
        true => print(&json::render(&prices)),
        false => print(&table::render(&prices)),
    }
    tell(&format!("report: {}", folder.path().join(FILE).display()));
    Ok(prices.exit())
}

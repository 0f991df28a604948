//! Who wins where, and what that says about the paper's section 5.1.

use super::contest::{
    Algorithm, COORDINATES, Criterion, Entry, FALL, NOISES, SCENARIOS, SPREAD, Sizes, TAILS, VARIANTS,
};
use super::contest_results::{Place, Results};
use crate::charts::{Axis, Chart, Panel, Series};
use crate::harness::report::{Claim, Findings, Table, Verdict, number};

/// A claim holds if it does in this share of the scenarios, and fails if in no more than one minus this.
const MOST: f64 = 0.75;
/// Losses at most this much above another's are comparable.
const COMPARABLE: f64 = 1.25;
const SIDES: [&str; 2] = ["one-sided", "symmetric"];

pub fn findings(entries: &[Entry], sizes: Sizes) -> Findings {
    let results = Results { entries };
    Findings {
        claims: claims(&results),
        charts: Criterion::ALL.map(|criterion| chart(&results, criterion)).into(),
        tables: vec![table(&results)],
        notes: notes(&results, sizes),
    }
}

fn verdict(share: f64) -> Verdict {
    if share >= MOST {
        Verdict::Reproduced
    } else if share <= 1.0 - MOST {
        Verdict::NotReproduced
    } else {
        Verdict::Partly
    }
}

fn rule() -> String {
    let (all, none) = (100.0 * MOST, 100.0 * (1.0 - MOST));
    format!(
        "Reproduced from {all:.0} % of the scenarios with a tail index below 2 on, not reproduced up to {none:.0} %."
    )
}

fn claims(results: &Results<'_>) -> Vec<Claim> {
    use Algorithm::{AcClip, AcClipPlain, Adam, CClip, GClip, Sgd};
    let beats = |a, b| results.count(Place::heavy, move |scenario| results.beats(a, b, scenario));
    let simple = |claim: &str, (a, b): (Algorithm, Algorithm), source| {
        let (share, words) = beats(a, b);
        Claim {
            source,
            claim: claim.into(),
            paper: String::new(),
            ours: format!("{words}; {}", results.ratio(a, b, Place::heavy)),
            verdict: verdict(share),
            why: format!("{} A lower loss counts beyond 2 standard errors.", rule()),
        }
    };
    let comparable =
        results.count(Place::heavy, |scenario| results.duel(CClip, Adam, scenario).0 <= COMPARABLE.ln());
    let mut acclip = simple(
        "With the moment's estimate as threshold (ACClip) it is better than Adam.",
        (AcClip, Adam),
        "Heavy tails, section 5.1, figure 3",
    );
    let plain = beats(AcClipPlain, Adam).1;
    acclip.ours += &format!(". With β1 = 0 {plain}; {}", results.ratio(AcClipPlain, Adam, Place::heavy));
    vec![
        adaptive_claim(results),
        simple("Global clipping speeds up SGD.", (GClip, Sgd), "Heavy tails, section 5.1, figure 3"),
        simple(
            "Adam is still much better than global clipping.",
            (Adam, GClip),
            "Heavy tails, section 5.1, figure 3",
        ),
        Claim {
            source: "Heavy tails, section 5.1, figure 3",
            claim: "With coordinate-wise clipping the performance is comparable to Adam's.".into(),
            paper: String::new(),
            ours: format!("{}; {}", comparable.1, results.ratio(CClip, Adam, Place::heavy)),
            verdict: verdict(comparable.0),
            why: format!("{} Comparable: a loss at most {COMPARABLE} times Adam's.", rule()),
        },
        acclip,
        falling_claim(results),
        winners_claim(results),
    ]
}

fn falling_claim(results: &Results<'_>) -> Claim {
    use Algorithm::{AcClip, AcClipPlain, CClip};
    let among = |falls: bool| move |place: Place| place.heavy() && place.falls() == falls;
    let of = |algorithm, falls| {
        let (share, words) =
            results.count(among(falls), |scenario| results.beats(algorithm, CClip, scenario));
        (share, format!("{words}; {}", results.ratio(algorithm, CClip, among(falls))))
    };
    let (share, words) = of(AcClip, true);
    Claim {
        source: "Heavy tails, section 4.2",
        claim: "A threshold that follows the noise is what non-stationary noise needs: ACClip is better than CClip where \
                the noise falls."
            .into(),
        paper: String::new(),
        ours: format!(
            "falling: {words}. Stationary: {}. With β1 = 0, falling: {}. Stationary: {}",
            of(AcClip, false).1,
            of(AcClipPlain, true).1,
            of(AcClipPlain, false).1
        ),
        verdict: verdict(share),
        why: format!("{} Of these, those in which the noise falls.", rule()),
    }
}

fn adaptive_claim(results: &Results<'_>) -> Claim {
    use Algorithm::{Adam, Sgd};
    let holds = |scenario| results.beats(Adam, Sgd, scenario);
    let (heavy, light) = (results.count(Place::heavy, holds), results.count(Place::light, holds));
    let in_mean = |scenario| results.beats_in_mean(Adam, Sgd, scenario);
    let (heavy_mean, light_mean) =
        (results.count(Place::heavy, in_mean).1, results.count(Place::light, in_mean).1);
    // Adam's advantage at the heaviest tail against that without one, in the same variant and side.
    let light_scenarios = (0..SCENARIOS).filter(|scenario| Place::of(*scenario).light());
    let grows: Vec<bool> = light_scenarios
        .map(|scenario| {
            let (light, heavy) =
                (results.duel(Adam, Sgd, scenario), results.duel(Adam, Sgd, scenario + TAILS.len() - 1));
            heavy.0 < light.0 - 2.0 * heavy.1.hypot(light.1)
        })
        .collect();
    let grown = grows.iter().filter(|grows| **grows).count();
    let share = grown as f64 / grows.len() as f64;
    let both = [verdict(heavy.0), verdict(share)];
    Claim {
        source: "Heavy tails, abstract and section 2",
        claim: "Heavy-tailed noise is one cause of SGD's poor performance against adaptive methods.".into(),
        paper: String::new(),
        ours: format!(
            "typical loss of Adam lower than that of SGD, tail index below 2: {}; {}. Without a tail: {}; {}. Its advantage \
             is larger at index {} than without a tail in {grown} of {}. Mean loss lower, tail index below 2: \
             {heavy_mean}; without a tail: {light_mean}",
            heavy.1,
            results.ratio(Adam, Sgd, Place::heavy),
            light.1,
            results.ratio(Adam, Sgd, Place::light),
            TAILS[TAILS.len() - 1],
            grows.len()
        ),
        verdict: match both {
            [Verdict::Reproduced, Verdict::Reproduced] => Verdict::Reproduced,
            [Verdict::NotReproduced, Verdict::NotReproduced] => Verdict::NotReproduced,
            _ => Verdict::Partly,
        },
        why: format!(
            "{} The same rule for the growth of the advantage; both must hold, for the typical loss.",
            rule()
        ),
    }
}

fn winners_claim(results: &Results<'_>) -> Claim {
    let wins = |criterion: Criterion, among: fn(Place) -> bool| {
        let of = |algorithm: Algorithm| {
            let won = |scenario: &usize| {
                among(Place::of(*scenario)) && results.winners(criterion, *scenario).contains(&algorithm)
            };
            (algorithm, (0..SCENARIOS).filter(won).count())
        };
        let mut counts = Algorithm::ALL.map(of);
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let counts = counts.iter().map(|(algorithm, count)| format!("{} {count}", algorithm.name()));
        counts.collect::<Vec<_>>().join(", ")
    };
    let heavy = (0..SCENARIOS).filter(|scenario| Place::of(*scenario).heavy()).count();
    Claim {
        source: "Heavy tails, the methods compared here",
        claim: "Who wins: methods with the lowest loss, or not worse by two standard errors.".into(),
        paper: String::new(),
        ours: format!(
            "typical loss, all {SCENARIOS} scenarios: {}; the {heavy} with a tail index below 2: {}. Mean loss, all: {}; \
             below 2: {}",
            wins(Criterion::Median, |_| true),
            wins(Criterion::Median, Place::heavy),
            wins(Criterion::Mean, |_| true),
            wins(Criterion::Mean, Place::heavy)
        ),
        verdict: Verdict::Found,
        why: "Each scenario's winners are in the table below.".into(),
    }
}

fn chart(results: &Results<'_>, criterion: Criterion) -> Chart {
    let mut panels = vec![];
    for (side, side_name) in SIDES.iter().enumerate() {
        for (variant, variant_name) in VARIANTS.iter().enumerate() {
            let series = Algorithm::ALL.iter().enumerate().map(|(style, algorithm)| {
                let at = |tail: usize| {
                    let scenario = variant * NOISES + side * TAILS.len() + tail;
                    (TAILS[tail].recip(), results.value(*algorithm, criterion, scenario))
                };
                let values: Vec<_> = (0..TAILS.len()).map(at).collect();
                let points = values.iter().map(|(x, (y, _))| (*x, *y)).collect();
                let band =
                    values.iter().map(|(_, (y, error))| ((y - error).max(y / 10.0), y + error)).collect();
                Series::line(algorithm.name(), points).band(band).style(style)
            });
            let x = Axis::new("1 / tail index (0: light)");
            let y = Axis::new(match criterion {
                Criterion::Median => "median of f",
                Criterion::Mean => "mean of f",
            });
            panels.push(Panel::new(format!("{side_name}, {variant_name}"), x, y.log(), series.collect()));
        }
    }
    let (name, what) = match criterion {
        Criterion::Median => ("heavy-tails-contest", "median over runs"),
        Criterion::Mean => ("heavy-tails-contest-mean", "mean over runs"),
    };
    Chart {
        name: name.into(),
        title: format!("Loss over the last tenth of the steps, each method tuned: {what}"),
        columns: 4,
        panels,
    }
}

fn table(results: &Results<'_>) -> Table {
    let columns = [
        "scenario",
        "noise",
        "tail",
        "criterion",
        "method",
        "loss",
        "standard_error",
        "lr",
        "threshold_or_beta2",
        "at_edge",
    ];
    let mut table = Table::new("heavy-tails-contest", &columns);
    for criterion in Criterion::ALL {
        for scenario in 0..SCENARIOS {
            let place = Place::of(scenario);
            for algorithm in Algorithm::ALL {
                let (value, error) = results.value(algorithm, criterion, scenario);
                let setting = results.entry(algorithm, criterion, scenario).setting;
                let name = match criterion {
                    Criterion::Median => "median",
                    Criterion::Mean => "mean",
                };
                table.row(&[
                    &VARIANTS[place.variant],
                    &SIDES[place.side],
                    &TAILS[place.tail],
                    &name,
                    &algorithm.name(),
                    &value,
                    &error,
                    &setting.lr,
                    &setting.second,
                    &algorithm.at_edge(setting),
                ]);
            }
        }
    }
    table
}

/// The winners of each scenario, as a table in Markdown.
fn winners(results: &Results<'_>, criterion: Criterion) -> String {
    let tails: Vec<String> =
        TAILS.iter().map(|tail| if tail.is_finite() { tail.to_string() } else { "light".into() }).collect();
    let mut text = format!("| noise | {} |\n|---|{}\n", tails.join(" | "), "---|".repeat(tails.len()));
    for (side, side_name) in SIDES.iter().enumerate() {
        for (variant, variant_name) in VARIANTS.iter().enumerate() {
            let cells = (0..TAILS.len()).map(|tail| {
                let scenario = variant * NOISES + side * TAILS.len() + tail;
                let winners = results.winners(criterion, scenario);
                let names = winners.iter().map(|algorithm| algorithm.name()).collect::<Vec<_>>().join(", ");
                format!("{names} ({})", number(results.value(winners[0], criterion, scenario).0))
            });
            let cells = cells.collect::<Vec<_>>().join(" | ");
            text += &format!("| {side_name}, {variant_name} | {cells} |\n");
        }
    }
    text
}

fn notes(results: &Results<'_>, sizes: Sizes) -> String {
    let searches = Algorithm::ALL.map(|algorithm| {
        let settings = algorithm.settings();
        let (first, last) = (settings[0].lr, settings[settings.len() - 1].lr);
        let seconds = match algorithm {
            Algorithm::Sgd => String::new(),
            Algorithm::GClip | Algorithm::CClip => format!(", thresholds {:?}", algorithm.seconds()),
            _ => format!(", β2 {:?}", algorithm.seconds()),
        };
        format!("{}: rates from {} to {}{seconds}", algorithm.name(), number(first), number(last))
    });
    let edges = results.entries.iter().filter(|entry| entry.algorithm.at_edge(entry.setting)).count();
    format!(
        "f(x) = ‖x‖²/2 in {COORDINATES} dimensions from 1 in each coordinate (f = {}), {} steps with a constant rate; the \
         loss is f averaged over the last tenth of the steps, run by run. Noise independent in each coordinate with \
         E|ξ_i| = 1 times its scale: Student's t (symmetric) and Lomax less its mean (one-sided), Gaussian and \
         exponential without a tail. Scales: 1, or spread over {SPREAD} powers of ten around 1; constant, or falling by \
         {FALL} powers of ten over the run.\n\n\
         Every method has all of its settings tried in every scenario with {} runs, once for the lowest median and once for \
         the lowest mean; the best one then races with {} fresh runs. All methods see the same noise. Rates are powers of \
         2. {}. Adam and ACClip have β1 = 0.9, the others no momentum; eps is the library's default. CClip has one threshold \
         for all coordinates. {edges} of {} chosen settings lie at an end of their search (column `at_edge`). GClip is \
         `sgd` on gradients that the kernel clips for each run, because `gclip` has one norm for all its parameters (the \
         experiment heavy-tails-dimension holds the two against each other).\n\n\
         How to read it: under symmetric noise a small threshold costs no bias, and clipping then comes close to following \
         signs, which heavy tails hardly disturb. Under one-sided noise the mean of the clipped gradient is not the \
         gradient. Where the noise falls, the steps of Adam and RMSProp do not become smaller with it. ACClip with β1 = 0 \
         clips gradients; with β1 = 0.9 it clips their average, which an outlier has already moved.\n\n\
         Lowest typical (median) loss, by tail index:\n\n{}\nLowest mean loss:\n\n{}",
        COORDINATES as f64 / 2.0,
        sizes.steps,
        sizes.search_runs,
        sizes.runs,
        searches.join("; "),
        results.entries.len(),
        winners(results, Criterion::Median),
        winners(results, Criterion::Mean)
    )
}

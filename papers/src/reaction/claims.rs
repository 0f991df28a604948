//! What the paper says of abnormal gradients, held against what the rules did.

use super::{
    AFTER, ALPHA, AT, LARGE, LARGE_WITH_MEAN, LOUDER, QUIETER, Reaction, SMALL, SMALL_WITH_MEAN, SOURCE,
    Value, WAY,
};
use crate::harness::report::{Claim, Verdict, plus_minus};

pub fn all(all: &[Reaction]) -> Vec<Claim> {
    let [adam, amsgrad, laprop, madam, lamadam] = all else { return vec![] };
    // The factor by which an event changes the rate at once.
    let factor = |rule: &Reaction, event| {
        let (log, error) = rule.log_rate(0, event);
        (log.exp(), log.exp() * error)
    };
    let words = |(value, error): Value| plus_minus(value, error);
    let apart = |a: Value, b: Value| a.0 - b.0 > 2.0 * a.1.hypot(b.1);
    let both =
        |event| format!("Adam x {}, MAdam x {}", words(factor(adam, event)), words(factor(madam, event)));
    let (noise, signal) = ([LARGE, SMALL].map(both), [LARGE_WITH_MEAN, SMALL_WITH_MEAN].map(both));
    let verdict = |holds: [bool; 2]| match holds {
        [true, true] => Verdict::Reproduced,
        [false, false] => Verdict::NotReproduced,
        _ => Verdict::Partly,
    };
    let large = [LARGE, LARGE_WITH_MEAN].map(|event| apart(factor(adam, event), factor(madam, event)));
    let small = [SMALL, SMALL_WITH_MEAN].map(|event| apart(factor(madam, event), factor(adam, event)));

    // The second moment in steady noise, against the one with a constant beta.
    let level = |rule: &Reaction| {
        let (value, error) = rule.log_level(AT - 1, 0);
        ((-2.0 * value).exp(), (-2.0 * value).exp() * 2.0 * error)
    };
    // Steps after the noise fell until the rate is what its size asks for, to a factor of two.
    let patience = |rule: &Reaction| {
        (0..AFTER).find(|after| rule.log_level(AT + after, QUIETER).0 > 5f64.ln()).unwrap_or(AFTER)
    };
    // Steps until the rate has gone half of its way, on a logarithmic scale.
    let half = |rule: &Reaction, event: usize, way: f64| {
        (0..AFTER).find(|after| rule.log_rate(*after, event).0 / way > 0.5).unwrap_or(AFTER)
    };
    let halves = [(LOUDER, -(10f64.ln())), (QUIETER, 10f64.ln())]
        .map(|(event, way)| [half(madam, event, way), half(adam, event, way)]);
    let restless = |rule: &Reaction| {
        let (_, error) = rule.log_level(AT - 1, 0);
        error * (rule.coordinates as f64).sqrt()
    };
    let way = |rule: &Reaction, event| words(rule.way(event));
    let recovery = |rule: &Reaction, event| match rule.recovery(event, 0.1) {
        Some(steps) => format!("{} {steps}", rule.name),
        None => format!("{} more than {AFTER}", rule.name),
    };
    let ways = |event| {
        let way = |rule: &Reaction| format!("{} {}", rule.name, way(rule, event));
        [adam, amsgrad, laprop, madam, lamadam].map(way).join(", ")
    };
    let overshoot = [LARGE, LARGE_WITH_MEAN].map(|event| {
        apart(adam.way(event), madam.way(event)) && apart(laprop.way(event), lamadam.way(event))
    });
    vec![
        Claim {
            source: SOURCE,
            claim: "MaxVA takes a smaller step size when an abnormally large gradient is present.".into(),
            paper: String::new(),
            ours: format!("ten times as large: {} in noise around 0; {} around 1", noise[0], signal[0]),
            verdict: verdict(large),
            why: "Factor on 1/sqrt(v) in the step of the gradient itself; reproduced if MAdam's is below \
                  Adam's by two standard errors in both kinds of noise."
                .into(),
        },
        Claim {
            source: SOURCE,
            claim: "MaxVA takes a larger step size when an abnormally small gradient is present.".into(),
            paper: String::new(),
            ours: format!("a hundredth: {} in noise around 0; {} around 1", noise[1], signal[1]),
            verdict: verdict(small),
            why: "As above, with MAdam's above Adam's. In noise around zero a small gradient deviates less \
                  than the others do (R < 1), and beta stays at its largest; it only counts as abnormal \
                  where the mean is larger than the noise."
                .into(),
        },
        Claim {
            source: SOURCE,
            claim: "So MaxVA avoids overshooting when an abnormally large gradient is present.".into(),
            paper: String::new(),
            ours: format!("around 0: {}; around 1: {}", ways(LARGE), ways(LARGE_WITH_MEAN)),
            verdict: verdict(overshoot),
            why: format!(
                "How far, in learning rates, the one gradient carries a coordinate within {WAY} steps with \
                 alpha = {ALPHA}; reproduced if less with MAdam than with Adam and with LaMAdam than with \
                 LaProp, in both kinds of noise. Below 0: the smaller steps that follow lose more than the \
                 large gradient gains."
            ),
        },
        Claim {
            source: SOURCE,
            claim: "v tends to be larger than with the constant largest beta.".into(),
            paper: String::new(),
            ours: format!(
                "in steady noise v is {} (MAdam) and {} (Adam)",
                words(level(madam)),
                words(level(adam))
            ),
            verdict: if apart(level(madam), level(adam)) {
                Verdict::Reproduced
            } else {
                Verdict::NotReproduced
            },
            why: "Geometric means over the coordinates; reproduced if larger by two standard errors.".into(),
        },
        Claim {
            source: SOURCE,
            claim: "Large values of v last for longer even than with the constant largest beta.".into(),
            paper: String::new(),
            ours: format!(
                "after the noise falls to a tenth, the rate is half of what it should become after {} \
                 (MAdam) and {} (Adam) steps",
                patience(madam),
                patience(adam)
            ),
            verdict: if patience(madam) > patience(adam) {
                Verdict::Reproduced
            } else {
                Verdict::NotReproduced
            },
            why: "Reproduced if MAdam takes longer. Both forget at the same pace; MAdam starts from more."
                .into(),
        },
        Claim {
            source: "MaxVA, abstract",
            claim: "MaxVA results in a faster adaptation to the local gradient variance.".into(),
            paper: String::new(),
            ours: format!(
                "the rate is half-way to its new value (in its logarithm) {} (MAdam) and {} (Adam) steps \
                 after the noise rises tenfold, {} and {} steps after it falls to a tenth",
                halves[0][0], halves[0][1], halves[1][0], halves[1][1]
            ),
            verdict: verdict(halves.map(|[madam, adam]| madam < adam)),
            why: "Each rule against its own rate without the change; reproduced if MAdam needs fewer steps \
 both ways."
                .into(),
        },
        Claim {
            source: SOURCE,
            claim: "Price and noise of the faster reaction.".into(),
            paper: String::new(),
            ours: format!(
                "after one large gradient the rate is within 10 % again after: {} steps. In steady noise \
                 the rate varies by {:.1} % (MAdam) and {:.1} % (Adam)",
                [adam, amsgrad, madam].map(|rule| recovery(rule, LARGE)).join(", "),
                100.0 * restless(madam),
                100.0 * restless(adam)
            ),
            verdict: Verdict::Found,
            why: "Noise around 0; standard deviation of the rate's logarithm over the coordinates.".into(),
        },
    ]
}

//! Claim: schedules have the values of their sources (PyTorch 1.13, or the sources' formulas evaluated in
//! Python), meet at their seams, end where they say, and refuse what makes no sense. Needs no GPU.

use proptest::prelude::*;
use wgpu_optim::{AnyRule, Curve, Schedule};

fn new(curve: Curve) -> Schedule {
    Schedule::new(curve).unwrap()
}

/// (step, value) pairs, to 1e-14 of the largest value.
fn assert_values(curve: Curve, expected: &[(u64, f64)]) {
    let schedule = new(curve);
    let largest = expected.iter().fold(0f64, |largest, (_, value)| largest.max(value.abs()));
    for &(step, value) in expected {
        let got = schedule.at(step);
        assert!((got - value).abs() <= 1e-14 * largest, "{schedule:?} at {step}: {got}, not {value}");
    }
}

#[test]
fn warmups() {
    assert_values(
        Curve::LinearWarmup { from: 0.1, to: 0.5, warmup: 4 },
        &[(1, 0.2), (2, 0.3), (3, 0.4), (4, 0.5), (5, 0.5), (u64::MAX, 0.5)],
    );
    assert_values(Curve::Constant { value: -0.25 }, &[(1, -0.25), (u64::MAX, -0.25)]);
}

/// tau is 2 / (1 - beta2) rounded; cut off, it would be one less where the quotient falls short.
#[test]
fn untuned_warmup_is_rounded() {
    for (beta2, tau) in
        [(0.0, 2), (0.9, 20), (0.95, 40), (0.98, 100), (0.99, 200), (0.999, 2000), (0.9999, 20_000)]
    {
        let factor = new(Curve::UntunedWarmup { beta2 });
        assert!(factor.at(tau - 1) < 1.0, "beta2 = {beta2}");
        assert_eq!((factor.at(tau), factor.at(tau + 1)), (1.0, 1.0), "beta2 = {beta2}");
        assert_eq!(factor.at(1), 1.0 / tau as f64, "beta2 = {beta2}");
    }
    assert!(
        [0.999f64, 0.99, 0.98, 0.95].iter().any(|beta2| (2.0 / (1.0 - beta2)).fract() > 0.5),
        "nothing to round"
    );
}

#[test]
fn inverse_square_roots() {
    assert_values(
        Curve::InverseSqrt { peak: 1.0, warmup: 4 },
        &[(1, 0.25), (3, 0.75), (4, 1.0), (16, 0.5), (400, 0.1)],
    );
    assert_values(
        Curve::InverseSqrtFairseq { from: 1e-7, peak: 5e-4, warmup: 4000 },
        &[(1, 1e-7), (2, 2.24975e-7), (4000, 0.000499875025), (4001, 5e-4), (16_001, 2.5e-4)],
    );
    assert_values(
        Curve::Noam { factor: 1.0, width: 512, warmup: 4000 },
        &[
            (1, 1.746928107421711e-07),
            (100, 1.746928107421711e-05),
            (4000, 0.0006987712429686843),
            (16_000, 0.00034938562148434214),
        ],
    );
}

#[test]
fn polynomials() {
    assert_values(
        Curve::Polynomial { peak: 3e-5, end: 1e-6, power: 2.0, warmup: 10, total: 110 },
        &[
            (1, 0.0),
            (2, 3e-6),
            (11, 3e-5),
            (12, 2.94229e-05),
            (61, 8.25e-06),
            (110, 1.0029e-06),
            (111, 1e-6),
            (500, 1e-6),
        ],
    );
    // Phase 1 of BERT: at the end of the warm-up it jumps by sqrt(1 - 0.2843).
    assert_values(
        Curve::PolynomialBert { peak: 6e-3, power: 0.5, warmup: 0.2843, total: 7038 },
        &[
            (1, 2.9986455118223097e-06),
            (1000, 0.00299864551182231),
            (2000, 0.00599729102364462),
            (2001, 0.005075894589365794),
            (7037, 7.151985398522354e-05),
            (7038, 0.0),
            (7039, 0.0),
        ],
    );
}

/// A warm-up that ends on a step ends before it.
#[test]
fn bert_jumps_at_its_share() {
    assert_values(
        Curve::PolynomialBert { peak: 1.0, power: 1.0, warmup: 0.25, total: 40 },
        &[(9, 0.9), (10, 0.75), (11, 0.725), (39, 0.025), (40, 0.0)],
    );
}

#[test]
fn multi_step() {
    let milestones = vec![30, 80];
    assert_values(
        Curve::MultiStep { value: 0.05, factor: 0.1, milestones },
        &[(1, 0.05), (30, 0.05), (31, 0.005), (80, 0.005), (81, 0.0005), (1000, 0.0005)],
    );
    assert_values(
        Curve::MultiStep { value: 0.05, factor: 0.1, milestones: vec![] },
        &[(1, 0.05), (999, 0.05)],
    );
}

#[test]
fn cosines() {
    assert_values(
        Curve::Cosine { peak: 8e-3, end: 2e-6, total: 50 },
        &[
            (1, 0.008),
            (2, 0.007992108886984659),
            (13, 0.0069161455410582245),
            (26, 0.004001),
            (50, 9.89111301534203e-06),
            (51, 2e-6),
            (99, 2e-6),
        ],
    );
    assert_values(
        Curve::CosineRestarts { peak: 1.0, end: 0.1, period: 10, growth: 2 },
        &[
            (1, 1.0),
            (6, 0.55),
            (10, 0.12202456766718092),
            (11, 1.0),
            (21, 0.55),
            (30, 0.10554024673218806),
            (31, 1.0),
            (70, 0.10138719982009242),
            (71, 1.0),
        ],
    );
    let period: Vec<f64> = (1..=4).map(|t| new(restarts(1)).at(t)).collect();
    let steps = (1..=40).map(|t| new(restarts(1)).at(t));
    assert!(steps.zip(period.iter().cycle()).all(|(value, same)| value == *same), "growth 1 repeats");
    assert!((period[1] - 0.8535533905932737).abs() < 1e-14);
    // At once, too, however far that is.
    assert_eq!(new(restarts(1)).at(u64::MAX), period[2]);
    assert!((0.0..=1.0).contains(&new(restarts(3)).at(u64::MAX)));
}

fn restarts(growth: u64) -> Curve {
    Curve::CosineRestarts { peak: 1.0, end: 0.0, period: 4, growth }
}

#[test]
fn tri_stage() {
    assert_values(
        Curve::TriStage { peak: 1.5e-3, first: 0.01, last: 0.01, warmup: 4000, hold: 32_000, decay: 24_000 },
        &[
            (1, 1.5e-5),
            (2001, 0.0007575),
            (4001, 1.5e-3),
            (36_000, 1.5e-3),
            (36_001, 1.5e-3),
            (48_001, 1.5e-4),
            (60_001, 1.5e-5),
            (99_999, 1.5e-5),
        ],
    );
}

#[test]
fn one_cycle() {
    assert_values(
        Curve::OneCycle { peak: 0.1, total: 100, rise: 0.3, divisor: 25.0, final_divisor: 1e4 },
        &[
            (1, 0.004),
            (2, 0.004281378056590748),
            (15, 0.04940133238789996),
            (30, 0.1),
            (31, 0.09994965352845243),
            (65, 0.0500002),
            (99, 5.07464715475788e-05),
            (100, 4e-07),
            (101, 4e-07),
        ],
    );
    // The peak between two updates.
    let values = [
        0.1,
        0.41094235253127365,
        0.9140576474687263,
        0.9505339495172583,
        0.611649206511179,
        0.18906684397156262,
        0.001,
    ];
    let expected: Vec<(u64, f64)> = (1..).zip(values).collect();
    assert_values(
        Curve::OneCycle { peak: 1.0, total: 7, rise: 0.5, divisor: 10.0, final_divisor: 100.0 },
        &expected,
    );
}

#[test]
fn combinations() {
    let ramp = || new(Curve::LinearWarmup { from: 0.0, to: 1.0, warmup: 10 });
    let fall = || new(Curve::Cosine { peak: 2.0, end: 0.5, total: 8 });
    let chain = ramp().then(3, fall()).unwrap();
    for t in 1..=3 {
        assert_eq!(chain.at(t), ramp().at(t));
    }
    for t in 4..=30 {
        assert_eq!(chain.at(t), fall().at(t - 3));
    }
    let warm = fall().warmup(4).unwrap();
    assert_eq!([1, 2, 3, 4].map(|t| warm.at(t)), [0.5, 1.0, 1.5, 2.0]);
    for t in 4..=30 {
        assert_eq!(warm.at(t), fall().at(t - 3), "the rise ends in the first value, once");
    }
    assert_eq!(fall().warmup(1).unwrap().at(5), fall().at(5), "one step of warm-up is none");
    let product = ramp().times(fall()).scaled(-3.0).unwrap();
    assert!((1..=30).all(|t| product.at(t) == ramp().at(t) * fall().at(t) * -3.0));
    let Curve::Product { factors } = product.curve() else { panic!("{product:?}") };
    assert_eq!(factors.len(), 3, "products do not nest");
}

/// There is no update 0; its value is the first one's, and nothing underflows.
#[test]
fn step_zero_is_the_first() {
    for schedule in all() {
        assert_eq!(schedule.at(0), schedule.at(1), "{schedule:?}");
    }
}

/// One of each curve, with seams at steps 10, 11, 20 and 41.
fn all() -> Vec<Schedule> {
    let (peak, end, warmup, total) = (1.0, 0.125, 10, 40);
    let mut all: Vec<Schedule> = [
        Curve::Constant { value: peak },
        Curve::LinearWarmup { from: end, to: peak, warmup },
        Curve::UntunedWarmup { beta2: 0.8 },
        Curve::InverseSqrt { peak, warmup },
        Curve::InverseSqrtFairseq { from: end, peak, warmup },
        Curve::Noam { factor: 1.0, width: 4, warmup },
        Curve::Polynomial { peak, end, power: 2.0, warmup, total },
        Curve::PolynomialBert { peak, power: 0.5, warmup: 0.25, total },
        Curve::MultiStep { value: peak, factor: 0.5, milestones: vec![10, 20] },
        Curve::Cosine { peak, end, total },
        Curve::CosineRestarts { peak, end, period: warmup, growth: 2 },
        Curve::TriStage { peak, first: end, last: end, warmup, hold: 10, decay: 20 },
        Curve::OneCycle { peak, total, rise: 0.25, divisor: 8.0, final_divisor: 4.0 },
    ]
    .map(new)
    .into();
    all.push(all[9].clone().warmup(warmup).unwrap());
    all.push(all[1].clone().then(warmup, all[9].clone()).unwrap());
    all.push(all[1].clone().times(all[9].clone()));
    all
}

#[test]
fn json_round_trip() {
    for schedule in all() {
        let text = serde_json::to_string(&schedule).unwrap();
        let back: Schedule = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(back, schedule, "{text}");
    }
}

#[test]
fn json_is_checked() {
    for (text, message) in [
        (
            r#"{"curve": "cosine", "peak": 1, "end": 0, "total": 0}"#,
            "total = 0 is refused; it must be at least 1",
        ),
        (r#"{"curve": "cosine", "peak": 1, "end": 0}"#, "missing field `total`"),
        (r#"{"curve": "cosine", "peak": 1, "end": 0, "total": 5, "warmup": 2}"#, "unknown field `warmup`"),
        (r#"{"curve": "cosine", "peak": 1, "end": 0, "total": -5}"#, "invalid value: integer `-5`"),
        (r#"{"curve": "sine"}"#, "unknown variant `sine`"),
        (r#"{"peak": 1}"#, "missing field `curve`"),
        (r#"[1]"#, "missing field `curve`"),
        (r#"{"curve": "constant", "value": 1, "value": 2}"#, "\"value\" stands twice"),
        (
            r#"{"curve": "warmup", "steps": 3, "schedule": {"curve": "untuned_warmup", "beta2": 1}}"#,
            "beta2 = 1 is refused; it must be in [0, 1)",
        ),
        (r#"{"curve": "product", "factors": []}"#, "factors = [] is refused"),
    ] {
        let error = serde_json::from_str::<Schedule>(text).unwrap_err().to_string();
        assert!(error.contains(message), "{text}: {error}");
    }
}

/// Every number that is not finite, every warm-up and length of 0 steps, and what does not fit together.
#[test]
fn refusals() {
    const NAN: f64 = f64::NAN;
    const INF: f64 = f64::INFINITY;
    let one_cycle = |peak, total, rise, divisor, final_divisor| Curve::OneCycle {
        peak,
        total,
        rise,
        divisor,
        final_divisor,
    };
    let tri_stage =
        |peak, first, last, warmup, decay| Curve::TriStage { peak, first, last, warmup, hold: 0, decay };
    let polynomial = |peak, end, power, warmup, total| Curve::Polynomial { peak, end, power, warmup, total };
    let bert = |peak, power, warmup, total| Curve::PolynomialBert { peak, power, warmup, total };
    let linear = |from, to, warmup| Curve::LinearWarmup { from, to, warmup };
    let fairseq = |from, peak, warmup| Curve::InverseSqrtFairseq { from, peak, warmup };
    let noam = |factor, width, warmup| Curve::Noam { factor, width, warmup };
    let restarts = |peak, end, period, growth| Curve::CosineRestarts { peak, end, period, growth };
    let multi =
        |value, factor, milestones: &[u64]| Curve::MultiStep { value, factor, milestones: milestones.into() };
    for (field, curves) in [
        (
            "value",
            vec![Curve::Constant { value: NAN }, Curve::Constant { value: -INF }, multi(NAN, 0.1, &[])],
        ),
        ("from", vec![linear(NAN, 1.0, 5), fairseq(INF, 1.0, 5)]),
        ("to", vec![linear(0.0, INF, 5)]),
        ("warmup", vec![linear(0.0, 1.0, 0), fairseq(0.0, 1.0, 0), noam(1.0, 512, 0)]),
        ("warmup", vec![Curve::InverseSqrt { peak: 1.0, warmup: 0 }, polynomial(1.0, 0.0, 1.0, 0, 5)]),
        ("warmup", vec![tri_stage(1.0, 0.1, 0.1, 0, 5), bert(1.0, 0.5, 0.0, 5), bert(1.0, 0.5, 1.0, 5)]),
        ("warmup", vec![bert(1.0, 0.5, NAN, 5)]),
        ("beta2", [1.0, -0.1, NAN].map(|beta2| Curve::UntunedWarmup { beta2 }).into()),
        ("peak", vec![Curve::InverseSqrt { peak: NAN, warmup: 5 }, fairseq(0.0, NAN, 5)]),
        (
            "peak",
            vec![polynomial(NAN, 0.0, 1.0, 2, 5), bert(INF, 0.5, 0.5, 5), tri_stage(NAN, 0.1, 0.1, 5, 5)],
        ),
        ("peak", vec![Curve::Cosine { peak: NAN, end: 0.0, total: 5 }, restarts(INF, 0.0, 5, 1)]),
        ("peak", vec![one_cycle(NAN, 100, 0.3, 25.0, 1e4)]),
        ("end", vec![polynomial(1.0, NAN, 1.0, 2, 5), Curve::Cosine { peak: 1.0, end: INF, total: 5 }]),
        ("end", vec![restarts(1.0, NAN, 5, 1)]),
        ("factor", vec![noam(NAN, 512, 5), multi(1.0, INF, &[])]),
        ("width", vec![noam(1.0, 0, 5)]),
        ("power", vec![polynomial(1.0, 0.0, 0.0, 2, 5), bert(1.0, NAN, 0.5, 5)]),
        (
            "total",
            vec![polynomial(1.0, 0.0, 1.0, 5, 5), polynomial(1.0, 0.0, 1.0, 5, 4), bert(1.0, 0.5, 0.5, 0)],
        ),
        ("total", vec![Curve::Cosine { peak: 1.0, end: 0.0, total: 0 }, one_cycle(1.0, 3, 0.3, 25.0, 1e4)]),
        ("milestones", vec![multi(1.0, 0.1, &[0, 5]), multi(1.0, 0.1, &[5, 5]), multi(1.0, 0.1, &[5, 4])]),
        ("period", vec![restarts(1.0, 0.0, 0, 1)]),
        ("growth", vec![restarts(1.0, 0.0, 5, 0)]),
        ("first", vec![tri_stage(1.0, NAN, 0.1, 5, 5)]),
        ("last", vec![tri_stage(1.0, 0.1, 0.0, 5, 5), tri_stage(1.0, 0.1, NAN, 5, 5)]),
        ("decay", vec![tri_stage(1.0, 0.1, 0.1, 5, 0)]),
        ("rise", [0.0, 1.0, -1.0, NAN].map(|rise| one_cycle(1.0, 100, rise, 25.0, 1e4)).into()),
        ("divisor", vec![one_cycle(1.0, 100, 0.3, 0.0, 1e4), one_cycle(1.0, 100, 0.3, NAN, 1e4)]),
        ("final_divisor", vec![one_cycle(1.0, 100, 0.3, 25.0, -1.0), one_cycle(1.0, 100, 0.3, 25.0, INF)]),
    ] {
        for curve in curves {
            match Schedule::new(curve.clone()) {
                Ok(_) => panic!("{curve:?} is not refused"),
                Err(refusal) => assert_eq!(refusal.field, field, "{curve:?}: {refusal}"),
            }
        }
    }
    let one = || Schedule::constant(1.0).unwrap();
    assert_eq!(one().then(0, one()).unwrap_err().field, "steps");
    assert_eq!(one().warmup(0).unwrap_err().field, "steps");
    assert_eq!(one().scaled(NAN).unwrap_err().field, "value");
    let error = Schedule::new(polynomial(1.0, 0.0, 1.0, 10, 10)).unwrap_err();
    assert_eq!(error.to_string(), "total = 10 is refused; it must be above warmup = 10");
}

/// Any number of any rule.
#[test]
fn drives_any_field() {
    let schedule = new(Curve::LinearWarmup { from: 0.85, to: 0.95, warmup: 100 });
    for entry in wgpu_optim::rules::REGISTRY {
        let mut rule = (entry.default)();
        for field in ["lr", "beta1", "momentum", "weight_decay"]
            .iter()
            .filter(|field| (entry.default)().get(field).is_some())
        {
            rule.set(field, schedule.at(50)).unwrap();
            assert_eq!(rule.get(field), Some(schedule.at(50)), "{}.{field}", entry.name);
        }
    }
    let mut adam = AnyRule::named("adam").unwrap();
    let refused = adam.set("beta1", schedule.clone().scaled(2.0).unwrap().at(50));
    assert_eq!(refused.unwrap_err().field, "beta1", "the field's own range still holds");
}

/// The largest change from one step to the next after `from`, which halves where a smooth curve is drawn out to
/// twice the steps.
fn roughness(schedule: &Schedule, steps: u64) -> f64 {
    (2..steps).map(|t| (schedule.at(t + 1) - schedule.at(t)).abs()).fold(0.0, f64::max)
}

proptest! {
    /// Curves that claim to be anchored have no jump at their seams, wherever those are; NVIDIA's jumps.
    #[test]
    fn anchored_curves_are_continuous(warmup in 200u64..2000, rest in 200u64..2000, peak in 0.1f64..10.0) {
        let total = warmup + rest;
        let share = warmup as f64 / total as f64;
        for curve in [
            Curve::LinearWarmup { from: 0.0, to: peak, warmup },
            Curve::InverseSqrt { peak, warmup },
            Curve::InverseSqrtFairseq { from: 0.0, peak, warmup },
            Curve::Polynomial { peak, end: 0.0, power: 1.5, warmup, total },
            Curve::Cosine { peak, end: 0.0, total },
            Curve::TriStage { peak, first: 0.01, last: 0.01, warmup, hold: rest, decay: rest },
            Curve::OneCycle { peak, total, rise: share, divisor: 25.0, final_divisor: 1e4 },
            Curve::Warmup { steps: warmup, schedule: Box::new(new(Curve::Cosine { peak, end: 0.0, total: rest })) },
        ] {
            let schedule = new(curve);
            // Not more than the steepest of them, an exponential fall by 100, changes in a two-hundredth.
            prop_assert!(roughness(&schedule, 2 * total) < 5.0 * peak / 200.0, "{schedule:?}");
        }
        let bert = new(Curve::PolynomialBert { peak, power: 0.5, warmup: share, total });
        let jump = (1..total).map(|t| bert.at(t) - bert.at(t + 1)).fold(0.0, f64::max);
        prop_assert!(jump > peak * (0.98 - (1.0 - share).sqrt()), "{bert:?}");
    }

    /// They stay between their first, highest and last values, and reach them where they say.
    #[test]
    fn ends_and_peaks(warmup in 1u64..500, rest in 2u64..500, end in 0.0f64..0.5) {
        let (peak, total) = (1.0, warmup + rest);
        let meets = |curve: Curve, points: &[(u64, f64)]| {
            let schedule = new(curve);
            for (step, value) in points {
                prop_assert!((schedule.at(*step) - value).abs() < 1e-12, "{schedule:?} at {step}");
            }
            let inside = |t| (-1e-12..=1.0 + 1e-12).contains(&schedule.at(t));
            prop_assert!((1..2 * total).all(inside), "{schedule:?}");
            Ok(())
        };
        meets(Curve::LinearWarmup { from: end, to: peak, warmup }, &[(warmup, peak), (u64::MAX, peak)])?;
        meets(Curve::InverseSqrt { peak, warmup }, &[(warmup, peak), (100 * warmup, 0.1)])?;
        meets(Curve::InverseSqrtFairseq { from: end, peak, warmup }, &[(1, end), (warmup + 1, peak)])?;
        let polynomial = Curve::Polynomial { peak, end, power: 0.7, warmup, total };
        meets(polynomial, &[(1, 0.0), (warmup + 1, peak), (total + 1, end), (u64::MAX, end)])?;
        meets(Curve::Cosine { peak, end, total }, &[(1, peak), (total + 1, end), (u64::MAX, end)])?;
        let tri = Curve::TriStage { peak, first: end, last: 0.01, warmup, hold: rest, decay: total };
        let fallen = warmup + rest + total + 1;
        meets(tri, &[(1, end), (warmup + 1, peak), (warmup + rest, peak), (fallen, 0.01), (u64::MAX, 0.01)])?;
        let noam = Schedule::new(Curve::Noam { factor: 3.0, width: 64, warmup }).unwrap();
        let same = new(Curve::InverseSqrt { peak: 3.0 / (64.0 * warmup as f64).sqrt(), warmup });
        prop_assert!((1..2 * total).all(|t| (noam.at(t) / same.at(t) - 1.0).abs() < 1e-12), "Noam's peak");
    }
}

//! What is known of the adaptive rate of Gaussian gradients: equations 3 to 6, and exact integrals.

use std::f64::consts::{LN_2, PI};

/// Logarithm of the gamma function, x > 0: Stirling's series above 12.
pub fn ln_gamma(x: f64) -> f64 {
    let mut below = 0.0;
    let mut x = x;
    while x < 12.0 {
        below += x.ln();
        x += 1.0;
    }
    let y = 1.0 / (x * x);
    let series = (1.0 / 12.0 - y * (1.0 / 360.0 - y * (1.0 / 1260.0 - y * (1.0 / 1680.0 - y / 1188.0)))) / x;
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * PI).ln() + series - below
}

/// Mean of psi where psi^2 is scaled inverse chi squared with rho degrees of freedom and scale 1: equation 3
/// with the argument (rho - 1) / 2.
pub fn mean(rho: f64) -> f64 {
    (0.5 * (rho / 2.0).ln() + ln_gamma((rho - 1.0) / 2.0) - ln_gamma(rho / 2.0)).exp()
}

/// Equation 3 as the slides print it, with rho / 2 - 1.
pub fn mean_as_printed(rho: f64) -> f64 {
    (0.5 * (rho / 2.0).ln() + ln_gamma(rho / 2.0 - 1.0) - ln_gamma(rho / 2.0)).exp()
}

/// Equation 4, without its powers and beta function.
pub fn variance(rho: f64) -> f64 {
    rho / (rho - 2.0) - mean(rho).powi(2)
}

/// Equation 4 as it stands.
pub fn variance_as_printed(rho: f64) -> f64 {
    let beta = (2.0 * ln_gamma((rho - 1.0) / 2.0) - ln_gamma(rho - 1.0)).exp();
    rho / (rho - 2.0) - rho * 2f64.powf(2.0 * rho - 5.0) / PI * beta * beta
}

/// Equation 4 in f32, with logarithms in the place of what overflows, each correctly rounded.
pub fn variance_f32(rho: f32) -> f32 {
    let log = |x: f32| ln_gamma(f64::from(x)) as f32;
    let beta = 2.0 * log((rho - 1.0) / 2.0) - log(rho - 1.0);
    let exponent = (2.0 * rho - 5.0) * LN_2 as f32 + 2.0 * beta + (rho / PI as f32).ln();
    rho / (rho - 2.0) - exponent.exp()
}

/// Equation 6: the first-order approximation.
pub fn first_order(rho: f64) -> f64 {
    rho / (2.0 * (rho - 2.0) * (rho - 4.0))
}

pub fn rho_infinity(beta2: f64) -> f64 {
    2.0 / (1.0 - beta2) - 1.0
}

/// Length of the simple average with the same centre of mass.
pub fn rho(beta2: f64, t: u32) -> f64 {
    let t = f64::from(t);
    let power = (t * beta2.ln()).exp();
    rho_infinity(beta2) - 2.0 * t * power / -(t * beta2.ln()).exp_m1()
}

/// Length of the simple average whose mean square has the same variance: 1 over the sum of squared weights.
pub fn kish(beta2: f64, t: u32) -> f64 {
    let power = f64::from(t) * beta2.ln();
    rho_infinity(beta2) * -power.exp_m1() / (1.0 + power.exp())
}

/// Equation 5's factor r; NaN where the variance counts as divergent.
pub fn rectification(beta2: f64, t: u32) -> f64 {
    let rho = rho(beta2, t);
    if rho > 4.0 { (first_order(rho_infinity(beta2)) / first_order(rho)).sqrt() } else { f64::NAN }
}

/// Mean and variance of the adaptive rate of the exponential average at step t, exactly, for gradients
/// N(mean, 1). The variance is infinite for t < 3, the mean for t < 2.
///
/// With the transform L(s) = E exp(-s v) of the average v, a product over the steps: E 1/v is the integral of
/// L over s, E 1/sqrt(v) that of L / sqrt(pi s). Both by the trapezoidal rule over log s.
pub fn exact(beta2: f64, t: u32, mean: f64) -> (f64, f64) {
    const STEP: f64 = 0.125;
    let total = -(f64::from(t) * beta2.ln()).exp_m1();
    let weights: Vec<f64> = (0..t).map(|age| (1.0 - beta2) * beta2.powi(age as i32) / total).collect();
    let (mut first, mut second) = (0.0, 0.0);
    for node in -480..=960 {
        let log_s = STEP * f64::from(node);
        let s = log_s.exp();
        let term = |weight: &f64| {
            let x = 2.0 * s * weight;
            0.5 * x.ln_1p() + 0.5 * x * mean * mean / (1.0 + x)
        };
        let log_l = -weights.iter().map(term).sum::<f64>();
        second += STEP * (log_l + log_s).exp();
        first += STEP * (log_l + 0.5 * log_s).exp() / PI.sqrt();
    }
    let (first, second) =
        (if t < 2 { f64::INFINITY } else { first }, if t < 3 { f64::INFINITY } else { second });
    (first, second - first * first)
}

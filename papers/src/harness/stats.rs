//! A few statistics. Values that are not finite belong to failed runs: medians count them as the largest,
//! means become what they are.

/// The mean; NaN of nothing.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Standard deviation, with n - 1.
pub fn deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|x| (x - mean) * (x - mean)).sum();
    (squares / (values.len() as f64 - 1.0)).sqrt()
}

/// Standard error of the mean; NaN of fewer than two.
pub fn standard_error(values: &[f64]) -> f64 {
    deviation(values) / (values.len() as f64).sqrt()
}

/// The values in their order, NaN last.
pub fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values: Vec<f64> = values.iter().map(|x| if x.is_nan() { f64::INFINITY } else { *x }).collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The value with a share `q` of the others below it, between neighbours linearly; NaN of nothing.
pub fn quantile(values: &[f64], q: f64) -> f64 {
    quantile_sorted(&sorted(values), q)
}

/// As [`quantile`], of sorted values.
pub fn quantile_sorted(values: &[f64], q: f64) -> f64 {
    let Some(last) = values.len().checked_sub(1) else { return f64::NAN };
    let place = q.clamp(0.0, 1.0) * last as f64;
    let (low, high) = (values[place.floor() as usize], values[place.ceil() as usize]);
    let share = place.fract();
    // Without 0 times infinity, and without infinity minus infinity.
    if low == high || share == 0.0 { low } else { (1.0 - share) * low + share * high }
}

pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// Standard error of the median: half the distance of the order statistics that lie a standard error of the
/// rank, sqrt(n) / 2, to either side.
pub fn median_standard_error(values: &[f64]) -> f64 {
    let values = sorted(values);
    let aside = 0.5 / (values.len() as f64).sqrt();
    (quantile_sorted(&values, 0.5 + aside) - quantile_sorted(&values, 0.5 - aside)) / 2.0
}

/// Least squares: slope of y over x and its standard error.
pub fn slope(x: &[f64], y: &[f64]) -> (f64, f64) {
    let (mean_x, mean_y) = (mean(x), mean(y));
    let along: f64 = x.iter().map(|x| (x - mean_x).powi(2)).sum();
    let slope = x.iter().zip(y).map(|(x, y)| (x - mean_x) * (y - mean_y)).sum::<f64>() / along;
    let residual: f64 = x.iter().zip(y).map(|(x, y)| (y - mean_y - slope * (x - mean_x)).powi(2)).sum();
    (slope, (residual / (x.len() as f64 - 2.0) / along).sqrt())
}

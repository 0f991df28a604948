//! Claim: the tail index of draws of a Pareto distribution is its own, and what does not fall off slowly has a large one. Needs
//! no GPU.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use wgpu_optim_networks::experiments::noise::tail_index;

#[test]
fn tail_index_is_that_of_the_distribution() {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    for alpha in [1.0f32, 1.5, 3.0, 8.0] {
        let draws: Vec<f32> = (0..20_000).map(|_| (1.0 - rng.random::<f32>()).powf(-1.0 / alpha)).collect();
        let found = tail_index(&draws);
        // Of 2 000 in the tail: one in 45.
        assert!((found / f64::from(alpha) - 1.0).abs() < 0.1, "{alpha}: {found}");
    }
    let even: Vec<f32> = (0..20_000).map(|_| 1.0 + rng.random::<f32>()).collect();
    assert!(tail_index(&even) > 20.0);
}

//! Claim: `papers` refuses what it cannot do with a message that says what is wrong, before anything
//! takes time, and its numbers and statistics are right. Needs no adapter.

#[path = "support/mod.rs"]
mod support;

use support::{folder, papers};
use wgpu_optim_papers::harness::report::{number, plus_minus};
use wgpu_optim_papers::harness::stats;

/// Exit status and stderr.
fn refusal(arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String) {
    let output = papers().args(arguments).envs(environment.iter().copied()).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn unknown_names_list_the_known() {
    let out = folder("unknown");
    let (code, error) = refusal(&["maxva-stochastic", "maxva", "--out", out.to_str().unwrap()], &[]);
    assert_eq!(code, 1);
    assert!(error.contains("unknown experiment 'maxva'"), "{error}");
    assert!(error.contains("maxva-stochastic, ") && error.contains("and all"), "{error}");
    assert_eq!(std::fs::read_dir(out).unwrap().count(), 0, "nothing was begun");

    let (code, error) = refusal(&[], &[]);
    assert_eq!(code, 2);
    assert!(error.contains("<NAME>"), "{error}");
    let help = papers().arg("--help").output().unwrap();
    assert!(String::from_utf8(help.stdout).unwrap().contains("maxva-stochastic"));
}

#[test]
fn a_folder_that_cannot_be_written_is_refused() {
    let file = folder("file").join("taken");
    std::fs::write(&file, "").unwrap();
    for out in [file.clone(), file.join("below")] {
        let (code, error) = refusal(&["all", "--quick", "--out", out.to_str().unwrap()], &[]);
        assert_eq!(code, 1);
        assert!(error.contains("cannot make the folder") && error.contains("taken"), "{error}");
    }
}

#[test]
fn no_adapter_is_said_so() {
    // A backend that this system does not have.
    let backend = if cfg!(windows) { "metal" } else { "dx12" };
    let out = folder("no_adapter");
    let (code, error) = refusal(&["all", "--out", out.to_str().unwrap()], &[("WGPU_BACKEND", backend)]);
    assert_eq!(code, 1);
    assert!(error.contains("no adapter found"), "{error}");
    assert!(!out.join("REPORT.md").exists());
}

#[test]
fn numbers_have_as_many_digits_as_their_error() {
    for (value, error, text) in [
        (1.23456, 0.0123, "1.235 ± 0.012"),
        (-0.5, 0.25, "-0.50 ± 0.25"),
        (1234.5, 20.0, "1234 ± 20"),
        (1.84e-7, 2.51e-8, "(1.84 ± 0.25)e-7"),
        (0.0, 1e-9, "(0.0 ± 1.0)e-9"),
        (3.0, 0.0, "3"),
        (f64::INFINITY, 1.0, "inf"),
    ] {
        assert_eq!(plus_minus(value, error), text);
    }
    let numbers = [0.0, 0.01, 0.63096, 12.0, 12345.6, 1e-9, 2.5e7].map(number);
    assert_eq!(numbers, ["0", "0.01", "0.631", "12", "12346", "1.00e-9", "2.50e7"]);
}

#[test]
fn statistics_are_those_of_the_textbook() {
    let values = [4.0, 1.0, 3.0, 2.0];
    assert_eq!((stats::mean(&values), stats::median(&values)), (2.5, 2.5));
    assert!((stats::deviation(&values) - (5f64 / 3.0).sqrt()).abs() < 1e-15);
    assert!((stats::standard_error(&values) - (5f64 / 12.0).sqrt()).abs() < 1e-15);
    assert_eq!(stats::quantile(&values, 0.25), 1.75);
    // Runs that fail count as the largest; those that reach 0 as the smallest logarithm.
    assert_eq!(stats::median(&[f64::NAN, 1.0, 2.0]), 2.0);
    assert_eq!(stats::median(&[f64::NEG_INFINITY, f64::NEG_INFINITY, 1.0, 2.0]), f64::NEG_INFINITY);
    // Of n even numbers in [0, 1] the median is 1/2 +- 1/(2 sqrt(n)).
    let even: Vec<f64> = (0..=10_000).map(|i| f64::from(i) / 1e4).collect();
    assert!((stats::median_standard_error(&even) - 0.005).abs() < 1e-5);

    let x = [0.0, 1.0, 2.0, 3.0];
    assert_eq!(stats::slope(&x, &[1.0, 3.0, 5.0, 7.0]), (2.0, 0.0));
    let (slope, error) = stats::slope(&x, &[0.0, 1.0, 1.0, 2.0]);
    assert!((slope - 0.6).abs() < 1e-15 && (error - 0.02f64.sqrt()).abs() < 1e-15, "{slope} {error}");
}

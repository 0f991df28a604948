//! Claim: what an interrupted run had finished is not made again, and the report is the same; runs are the same bits again.

use std::path::Path;
use std::process::Command;

fn networks(out: &Path) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_networks"));
    let output = command.args(["networks-radam", "--quick", "--out"]).arg(out).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read_to_string(out.join("networks-radam.csv")).unwrap()
}

#[test]
fn a_run_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let whole = networks(folder.path());
    let runs = folder.path().join("networks-runs.jsonl");
    let all = std::fs::read_to_string(&runs).unwrap();
    let lines = all.lines().count();

    // All is known: nothing is added but the time.
    assert_eq!(networks(folder.path()), whole);
    let again = std::fs::read_to_string(&runs).unwrap();
    assert!(
        again.starts_with(&all) && again.lines().count() == lines + 1,
        "{lines} and {}",
        again.lines().count()
    );

    // As an interrupt leaves it: the last line is half written.
    // The last one is the time.
    let kept = all.lines().take(lines - 6).map(|line| format!("{line}\n")).collect::<String>();
    std::fs::write(&runs, kept.clone() + &all.lines().nth(lines - 6).unwrap()[..40]).unwrap();
    assert_eq!(networks(folder.path()), whole);
    let again = std::fs::read_to_string(&runs).unwrap();
    assert!(again.starts_with(&kept));
    assert_eq!(again.lines().count(), lines + 1, "five runs, the time, and the broken one");

    // What is in the file is believed: other results give another table.
    let altered = all.replace("\"test_loss\":", "\"test_loss\":1");
    std::fs::write(&runs, altered).unwrap();
    assert_ne!(networks(folder.path()), whole);
}

#[test]
fn unknown_names_are_refused() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_networks"));
    let output = command.args(["networks-resnet"]).output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("unknown experiment 'networks-resnet'") && said.contains("networks-noise"),
        "{said}"
    );
}

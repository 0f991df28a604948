//! Claim: the command measures, writes what it measured, merges a peer's file with the right ratio, and refuses what it
//! cannot use before anything takes time.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bench")).args(arguments).output().unwrap()
}

/// A folder of its own for each test.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn refused(arguments: &[&str], says: &str) {
    let output = bench(arguments);
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && message.contains(says), "{message}");
}

#[test]
fn it_measures_and_merges_a_peer() {
    let out = folder("measures");
    let peers = out.join("peers.json");
    // One row that was measured beside ours, and one of which ours is measured here.
    let row = |library: &str, parameters: u64, wall: f64| {
        format!(
            r#"{{"library": "{library}", "variant": "", "optimizer": "adamw", "device": "d", "parameters": {parameters},
                "tensors": 2, "groups": 1, "gpu_s": null, "wall_s": {wall}}}"#
        )
    };
    let rows = [row("peer 1", 4096, 0.5), row("wgpu-optim 0", 4096, 0.25), row("peer 1", 8192, 1e3)];
    std::fs::write(&peers, format!(r#"{{"version": 1, "rows": [{}]}}"#, rows.join(","))).unwrap();
    let sections = "sizes,tensors,rules,start";
    let arguments = ["--quick", "--seconds", "2", "--sizes", "4096", "--rules", "sgd,adafactor"];
    let rest = ["--sections", sections, "--peers", peers.to_str().unwrap(), "--out", out.to_str().unwrap()];
    let output = bench(&[&arguments[..], &rest].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let document: Value =
        serde_json::from_str(&std::fs::read_to_string(out.join("bench.json")).unwrap()).unwrap();
    assert_eq!(document["version"], 1);
    let adapters = document["adapters"].as_array().unwrap();
    assert!(!adapters.is_empty());
    for adapter in adapters {
        assert_eq!(adapter["errors"], serde_json::json!([]), "{}", adapter["name"]);
        let rows = adapter["rows"].as_array().unwrap();
        for name in ["adamw", "sgd", "adafactor", "adamw, 148 tensors in 2 groups"] {
            let row = rows.iter().find(|row| row["name"] == name).unwrap();
            let wall = row["wall_s"]["median"].as_f64().unwrap();
            assert!(wall > 0.0 && wall < 60.0, "{name}: {wall}");
            assert!(row["bytes"].as_u64().unwrap() > 0);
        }
        let adamw = rows.iter().find(|row| row["section"] == "sizes" && row["name"] == "adamw").unwrap();
        assert_eq!(adamw["parameters"], 4096);
        assert!(adamw["share_of_copy"]["median"].as_f64().unwrap() > 0.0);
        let peers = adapter["peers"].as_array().unwrap();
        assert_eq!(peers.len(), 2);
        assert_eq!((peers[0]["ratio"].as_f64(), peers[0]["in_turns"].as_bool()), (Some(2.0), Some(true)));
        // No step takes a second.
        assert!(peers[1]["ratio"].as_f64().unwrap() > 1e3 && peers[1]["in_turns"] == false);
        assert_eq!(adapter["starts"].as_array().unwrap().len(), 5);
    }
    for file in ["bench.csv", "share.svg", "share.png"] {
        assert!(std::fs::metadata(out.join(file)).unwrap().len() > 100, "{file}");
    }
}

#[test]
fn what_cannot_be_used_is_refused() {
    let out = folder("refuses");
    let foreign = out.join("foreign.json");
    std::fs::write(&foreign, r#"{"version": 7, "rows": []}"#).unwrap();
    refused(&["--peers", foreign.to_str().unwrap()], "version 7 is not 1");
    refused(&["--peers", "no/such/file.json"], "cannot read peers from no/such/file.json");
    refused(&["--rules", "adamw,none"], "unknown rule 'none'; there are sgd, ");
    refused(&["--sections", "all"], "unknown section 'all'; there are sizes, ");
    // A file stands where the folder should.
    refused(&["--out", foreign.to_str().unwrap()], "cannot make the folder");
    // What was measured before is still there.
    let before = out.join("bench.json");
    std::fs::write(&before, "measured before").unwrap();
    refused(&["--adapter", "no such adapter", "--out", out.to_str().unwrap()], "no such adapter");
    assert_eq!(std::fs::read_to_string(&before).unwrap(), "measured before");
}

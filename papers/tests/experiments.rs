//! Claim: `papers` does every experiment, small, and writes what it promises; the same bits again;
//! what was finished outlives an interrupt; its random numbers are the published ones on every adapter.

#[path = "../../tests/common/mod.rs"]
mod common;
#[path = "support/mod.rs"]
mod support;

use common::{Gpu, adapters, describe, gpu_main, trial};
use std::collections::BTreeMap;
use std::path::Path;
use support::{folder, papers};
use wgpu_optim_papers::harness::gpu::{self, Binding};

fn main() {
    // Programs choose their adapter: one will do.
    let first = adapters().first().map(describe);
    gpu_main("experiments", |adapter| {
        let mut trials = vec![trial(adapter, "random numbers are Philox's", random)];
        if Some(describe(adapter)) == first {
            trials.push(trial(
                adapter,
                "every experiment writes its files, twice the same",
                every_experiment,
            ));
            #[cfg(unix)]
            trials.push(trial(adapter, "an interrupt keeps what was finished", interrupt));
        }
        trials
    });
}

/// The known answers of the authors' Random123, and the distributions that are made of them.
fn random(gpu: &Gpu) {
    let lab = gpu::Gpu::new(gpu.device.clone(), gpu.queue.clone(), true).unwrap();
    let counters: [[u32; 6]; 3] = [
        [0; 6],
        [u32::MAX; 6],
        [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344, 0xa409_3822, 0x299f_31d0],
    ];
    let answers: [[u32; 4]; 3] = [
        [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8],
        [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd],
        [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
    ];
    let count = 1 << 16;
    let (asked, bits) = (lab.upload("asked", &counters.concat()), lab.storage("bits", 12));
    let values = lab.storage("values", 8 * count);
    let source = "
        @group(0) @binding(1) var<storage, read> asked: array<u32>;
        @group(0) @binding(2) var<storage, read_write> bits: array<u32>;
        @group(0) @binding(3) var<storage, read_write> values: array<f32>;

        @compute @workgroup_size(64)
        fn main(@builtin(global_invocation_id) id: vec3<u32>) {
            let i = id.x;
            if (i < 3u) {
                let a = 6u * i;
                let counter = vec4(asked[a], asked[a + 1u], asked[a + 2u], asked[a + 3u]);
                let r = philox(counter, vec2(asked[a + 4u], asked[a + 5u]));
                for (var k = 0u; k < 4u; k++) {
                    bits[4u * i + k] = r[k];
                }
            }
            // The ends first.
            let r = random(7u, i, step.t, 0u);
            let ends = select(r, vec4(0u, 0xffffffffu, r.zw), i == 0u);
            let x = normals(r);
            for (var k = 0u; k < 4u; k++) {
                values[8u * i + k] = unit(ends[k]);
                values[8u * i + 4u + k] = x[k];
            }
        }
    ";
    let bindings =
        [Binding::Read(asked.slice(..)), Binding::Write(bits.slice(..)), Binding::Write(values.slice(..))];
    let kernel = lab.kernel("random", source, &bindings).unwrap();
    let mut encoder = lab.encoder();
    let mut pass = encoder.begin_compute_pass(&Default::default());
    kernel.record(&mut pass, 3, count as u32 / 64);
    drop(pass);
    lab.submit(encoder);

    assert_eq!(lab.read::<u32>(&bits, 0..12).unwrap(), answers.concat());
    let values: Vec<f32> = lab.read(&values, 0..8 * count).unwrap();
    let (mut units, mut normals) = (vec![], vec![]);
    for chunk in values.chunks(8) {
        units.extend(chunk[..4].iter().map(|x| f64::from(*x)));
        normals.extend(chunk[4..].iter().map(|x| f64::from(*x)));
    }
    assert!(units.iter().all(|u| *u > 0.0 && *u < 1.0));
    assert!((units[0] - 2f64.powi(-33)).abs() < 2f64.powi(-50), "{}", units[0]);
    // The moments' standard errors are below 0.01.
    let moment = |values: &[f64], k: i32| values.iter().map(|x| x.powi(k)).sum::<f64>() / values.len() as f64;
    for (k, want) in [(1, 0.5), (2, 1.0 / 3.0), (3, 0.25)] {
        assert!((moment(&units, k) - want).abs() < 0.004, "moment {k}: {}", moment(&units, k));
    }
    for (k, want, room) in [(1, 0.0, 0.01), (2, 1.0, 0.02), (3, 0.0, 0.04), (4, 3.0, 0.12)] {
        assert!((moment(&normals, k) - want).abs() < room, "moment {k}: {}", moment(&normals, k));
    }
}

/// Name and contents of the files that end so.
fn files(folder: &Path, end: &str) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .filter(|path| path.to_str().unwrap().ends_with(end))
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().into(), std::fs::read(path).unwrap()))
        .collect()
}

/// The names in the help.
fn experiments() -> Vec<String> {
    let help = String::from_utf8(papers().arg("--help").output().unwrap().stdout).unwrap();
    let list = help.split("Experiments:").nth(1).unwrap();
    list.lines().filter_map(|line| line.split_whitespace().next()).map(String::from).collect()
}

fn every_experiment(_: &Gpu) {
    let run = |name: &str| {
        let out = folder(name);
        let output = papers().args(["all", "--quick", "--out"]).arg(&out).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
        out
    };
    let out = run("every");
    let names = experiments();
    assert!(!names.is_empty());
    let report = std::fs::read_to_string(out.join("REPORT.md")).unwrap();
    let (csv, svg, png) = (files(&out, ".csv"), files(&out, ".svg"), files(&out, ".png"));
    assert!(svg.keys().eq(png.keys()), "each picture twice");
    for name in &names {
        assert!(report.contains(&format!("\n## {name}\n")), "{name} is not in the report");
        assert!(csv.keys().any(|file| file.starts_with(name)), "{name} has no table");
        assert!(svg.keys().any(|file| file.starts_with(name)), "{name} has no picture");
    }
    for (name, picture) in &svg {
        assert!(picture.starts_with(b"<svg") && picture.len() > 2000, "{name}.svg");
        assert!(png[name].starts_with(b"\x89PNG") && png[name].len() > 2000, "{name}.png");
        assert!(report.contains(&format!("({name}.png)")), "{name}.png is not in the report");
    }
    for (name, table) in &csv {
        let text = std::str::from_utf8(table).unwrap();
        assert!(text.lines().count() > 1, "{name}.csv is empty");
        assert!(report.contains(&format!("({name}.csv)")), "{name}.csv is not in the report");
    }
    assert!(files(&out, ".part").is_empty());

    let again = files(&run("again"), ".csv");
    for (name, table) in &csv {
        assert!(again[name] == *table, "{name}.csv is not the same again");
    }
}

/// Ctrl-C after the first experiment.
#[cfg(unix)]
fn interrupt(_: &Gpu) {
    use std::process::Stdio;
    use std::time::{Duration, Instant};

    let out = folder("interrupt");
    let first = &experiments()[0];
    let mut command = papers();
    command.args(["all", "--quick", "--out"]).arg(&out).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let start = Instant::now();
    let report = out.join("REPORT.md");
    while !report.exists() {
        assert!(start.elapsed() < Duration::from_secs(300), "the first experiment does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    // SAFETY: a signal to a child that was not waited for.
    assert_eq!(unsafe { libc::kill(child.id() as i32, libc::SIGINT) }, 0);
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{error}");
    assert!(error.contains("interrupted; experiments that were finished are in"), "{error}");
    let text = std::fs::read_to_string(&report).unwrap();
    assert!(text.contains(&format!("\n## {first}\n")), "{text}");

    // They stay in the report of a later run of another.
    let second = &experiments()[1];
    let status =
        papers().args([second, "--quick", "--out"]).arg(&out).stdout(Stdio::null()).status().unwrap();
    assert!(status.success());
    let text = std::fs::read_to_string(&report).unwrap();
    for name in [first, second] {
        assert!(text.contains(&format!("\n## {name}\n")), "{text}");
    }
}

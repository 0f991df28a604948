//! Claim: `examples/train` reads its data exactly, and refuses bad files and bad arguments with a message
//! that says what is wrong. Needs no adapter.

#[path = "../examples/train/args.rs"]
#[allow(dead_code)]
mod args;
#[path = "../examples/train/data.rs"]
#[allow(dead_code)]
mod data;

use args::Args;
use clap::Parser;
use data::{Data, parse_idx};
use flate2::{Compression, write::GzEncoder};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::io::Write;
use std::path::{Path, PathBuf};

/// An IDX file of these dimensions and bytes.
fn idx(sides: &[u32], bytes: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, 8, sides.len() as u8];
    sides.iter().for_each(|side| file.extend(side.to_be_bytes()));
    file.extend(bytes);
    file
}

/// A folder with three images of 2 x 3 to train on and one to test.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("train_input").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, bytes: Vec<u8>| std::fs::write(folder.join(name), bytes).unwrap();
    write("train-images-idx3-ubyte", idx(&[3, 2, 3], &(0..18).collect::<Vec<u8>>()));
    write("train-labels-idx1-ubyte", idx(&[3], &[2, 0, 1]));
    write("t10k-images-idx3-ubyte", idx(&[1, 2, 3], &[9; 6]));
    write("t10k-labels-idx1-ubyte", idx(&[1], &[1]));
    folder
}

fn refusal(folder: &Path) -> String {
    format!("{:#}", Data::idx(folder).unwrap_err())
}

#[test]
fn digits_are_split_by_the_seed() {
    let digits = |seed| Data::digits(&mut ChaCha8Rng::seed_from_u64(seed)).unwrap();
    let (data, other) = (digits(0), digits(1));
    assert_eq!((data.train.len(), data.test.len()), (1438, 359));
    assert_eq!(data.train, digits(0).train);
    assert_ne!(data.test, other.test);
    let sum = |data: &Data| -> u64 {
        [&data.train, &data.test].iter().flat_map(|part| &part.pixels).map(|pixel| u64::from(*pixel)).sum()
    };
    // The sum of all columns but the last of digits.csv.
    assert_eq!((sum(&data), sum(&other)), (561_718, 561_718));
    for digit in 0..10 {
        let count = [&data.train, &data.test].iter().flat_map(|p| &p.labels).filter(|l| **l == digit).count();
        assert!((174..=183).contains(&count), "{count} times {digit}");
    }
}

#[test]
fn idx_files_are_read_plain_and_compressed() {
    let folder = folder("good");
    let plain = Data::idx(&folder).unwrap();
    assert_eq!((plain.train.size, plain.train.len(), plain.test.len(), plain.classes), (6, 3, 1, 3));
    assert_eq!(plain.train.pixels, (0..18).collect::<Vec<u8>>());
    assert_eq!((plain.train.labels.as_slice(), plain.test.labels.as_slice()), (&[2, 0, 1][..], &[1][..]));
    for name in ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"] {
        let bytes = std::fs::read(folder.join(name)).unwrap();
        let file = std::fs::File::create(folder.join(format!("{name}.gz"))).unwrap();
        GzEncoder::new(file, Compression::fast()).write_all(&bytes).unwrap();
        std::fs::remove_file(folder.join(name)).unwrap();
    }
    let mixed = Data::idx(&folder).unwrap();
    assert_eq!((mixed.train, mixed.test), (plain.train, plain.test));
}

#[test]
fn bad_idx_files_are_refused() {
    for (file, bytes, message) in [
        ("train-images-idx3-ubyte", idx(&[3, 2, 3], &[0; 17]), "cut short: 17 bytes after the header"),
        ("train-images-idx3-ubyte", idx(&[3, 2, 3], &[0; 19]), "more than the 18 bytes"),
        ("train-images-idx3-ubyte", vec![0, 0, 8, 3, 0, 0], "ends inside its header"),
        ("train-images-idx3-ubyte", vec![], "ends inside its header"),
        ("train-images-idx3-ubyte", idx(&[18], &[0; 18]), "0x00000801"),
        ("train-images-idx3-ubyte", vec![0x1f, 0x8b, 8, 8, 0, 0, 0, 0], "0x1f8b0808"),
        ("train-images-idx3-ubyte", idx(&[u32::MAX; 3], &[]), "more than 4 GiB"),
        ("train-images-idx3-ubyte", idx(&[0, 28, 28], &[]), "make no bytes"),
        // 4 GiB less one are announced and not allocated.
        ("train-images-idx3-ubyte", idx(&[u32::MAX, 1, 1], &[1, 2]), "cut short: 2 bytes"),
        ("train-labels-idx1-ubyte", idx(&[2], &[0, 1]), "3 train images but 2 labels"),
        ("t10k-images-idx3-ubyte", idx(&[1, 2, 2], &[0; 4]), "training images have 6 pixels, test images 4"),
        ("train-images-idx3-ubyte.gz", vec![0x1f, 0x8b, 8, 0], "train-images-idx3-ubyte.gz"),
    ] {
        let folder = folder("bad");
        let _ = std::fs::remove_file(folder.join(file.trim_end_matches(".gz")));
        std::fs::write(folder.join(file), bytes).unwrap();
        let refusal = refusal(&folder);
        assert!(refusal.contains(message), "'{refusal}' does not say '{message}'");
        assert!(!refusal.contains('\n'), "{refusal}");
    }
}

#[test]
fn missing_files_are_named() {
    let folder = folder("missing");
    std::fs::remove_file(folder.join("t10k-labels-idx1-ubyte")).unwrap();
    assert!(refusal(&folder).contains("neither t10k-labels-idx1-ubyte nor t10k-labels-idx1-ubyte.gz"));
    assert!(refusal(&folder.join("nowhere")).contains("no such folder"));
    assert!(refusal(&folder.join("train-images-idx3-ubyte")).contains("no such folder"));
}

#[test]
fn headers_are_read_before_bodies() {
    assert_eq!(parse_idx(&idx(&[2, 1], &[7, 9])[..], 2).unwrap(), (vec![2, 1], vec![7, 9]));
}

#[test]
fn optimizers_come_by_name_and_as_json() {
    let args = |arguments: &[&str]| Args::try_parse_from([&["train"], arguments].concat()).unwrap();
    let rules = args(&[]).rules().unwrap();
    let labels: Vec<&str> = rules.iter().map(|(label, _)| label.as_str()).collect();
    assert_eq!(labels, wgpu_optim::rules::names(), "every rule by default");

    let json = r#"{"optimizer": "adamw", "lr": 0.01}"#;
    let rules = args(&["--optimizer", "adam", "--optimizer", json, "--optimizer", json]).rules().unwrap();
    let labels: Vec<&str> = rules.iter().map(|(label, _)| label.as_str()).collect();
    assert_eq!(labels, ["adam", "adamw, lr 0.01", "adamw, lr 0.01 (2)"]);
    assert_eq!((rules[1].1.get("lr"), rules[1].1.get("weight_decay")), (Some(0.01), Some(0.01)));

    for (text, message) in [
        ("adamx", "unknown optimizer 'adamx'"),
        (r#"{"optimizer": "adam", "lr": }"#, "expected value"),
        (r#"{"optimizer": "adam", "rate": 1}"#, "rate"),
        (r#"{"optimizer": "adam", "lr": -1}"#, "lr = -1"),
        ("{}", "\"optimizer\" is missing"),
        ("", "unknown optimizer ''"),
    ] {
        let error = format!("{:#}", args(&["--optimizer", text]).rules().unwrap_err());
        assert!(error.contains(message) && !error.contains('\n'), "'{error}' does not say '{message}'");
    }
    for arguments in [["--epochs", "0"], ["--batch", "0"], ["--seed", "-1"]] {
        assert!(Args::try_parse_from([&["train"], &arguments[..]].concat()).is_err());
    }
    assert_eq!(args(&[]).length(), args::DIGITS);
    assert_eq!(args(&["--data", "x", "--epochs", "7"]).length(), (7, args::IDX.1));
}

//! Claim: whatever a trajectory file holds, loading it ends in a trajectory or in an error that names the file,
//! the place, the value and the limit: never in a panic, and never in an allocation that the file's
//! size does not justify. Needs no GPU.

#[path = "../examples/support/comparison.rs"]
mod comparison;
#[path = "common/spoiled.rs"]
mod spoiled;
#[path = "../examples/support/trajectory.rs"]
mod trajectory;

use comparison::on_reference;
use proptest::prelude::*;
use safetensors::Dtype;
use spoiled::{Parts, STEPS, load, raw, refused, watched};
use std::path::{Path, PathBuf};
use trajectory::{MAX_FILE, MAX_HEADER, NoRule, Trajectory};

#[test]
fn the_unspoiled_file_loads() {
    let trajectory = load(&Parts::valid().bytes()).unwrap();
    assert_eq!((trajectory.name.as_str(), trajectory.optimizer.as_str()), ("spoiled", "sgd"));
    assert_eq!(trajectory.lr, [0.1, 0.2, 0.3]);
    assert_eq!(trajectory.tensors[0].shape, [2, 2]);
    assert_eq!(trajectory.tensors[0].grad(1), [4.5, 5.5, 6.5, 7.5]);
    assert_eq!(trajectory.tensors[1].param(2), [2.25]);
    assert_eq!(trajectory.displacement(), 8.25 - 0.5);
    assert_eq!(trajectory.largest(), 11.25);
    assert!(trajectory.setup().is_ok());
}

#[test]
fn what_describes_the_recording_may_be_left_out() {
    for field in ["source", "case"] {
        load(&Parts::valid().without(field).bytes()).unwrap();
    }
}

#[test]
fn truncated_anywhere() {
    let bytes = Parts::valid().bytes();
    for length in 0..bytes.len() {
        refused(&bytes[..length], &["safetensors"]);
    }
    refused(&[&bytes[..], &[0]].concat(), &["is not a safetensors file"]);
}

#[test]
fn lying_header_lengths() {
    let bytes = Parts::valid().bytes();
    let truth = u64::from_le_bytes(*bytes.first_chunk().unwrap());
    let limit = MAX_HEADER.to_string();
    for length in [MAX_HEADER + 1, 1 << 32, 1 << 63, u64::MAX - 8, u64::MAX] {
        refused(&raw(length, "{}", &bytes[8..]), &["the header has", &length.to_string(), &limit]);
    }
    for length in [0, 1, truth - 1, truth + 1, bytes.len() as u64 - 8, bytes.len() as u64 - 7, MAX_HEADER] {
        refused(&raw(length, "", &bytes[8..]), &["is not a safetensors file"]);
    }
}

#[test]
fn headers_that_promise_more_than_there_is() {
    let tensor = |shape: &str, end: &str| {
        let header = format!(r#"{{"init.w":{{"dtype":"F32","shape":{shape},"data_offsets":[0,{end}]}}}}"#);
        raw(header.len() as u64, &header, &[0; 16])
    };
    for (shape, end) in [
        ("[1099511627776]", "4398046511104"),
        ("[18446744073709551615]", "16"),
        ("[18446744073709551615,18446744073709551615]", "16"),
        ("[4]", "18446744073709551615"),
        ("[-4]", "16"),
        ("[4.5]", "16"),
        ("[5]", "16"),
        ("[4]", "15"),
    ] {
        refused(&tensor(shape, end), &["is not a safetensors file"]);
    }
    // No bytes at all, but more elements than any list could have.
    refused(&tensor("[0,18446744073709551615]", "0"), &["spoiled.safetensors: "]);
}

#[test]
fn headers_that_are_not_headers() {
    let deep = "[".repeat(100_000);
    let many = format!("{{{}}}", r#""a":1,"#.repeat(10_000));
    for header in
        ["", "null", "[]", "{", r#"{"__metadata__":3}"#, r#"{"__metadata__":{"steps":3}}"#, &deep, &many]
    {
        refused(&raw(header.len() as u64, header, &[]), &["is not a safetensors file"]);
    }
    refused(&raw(4, "", &[0xff, 0xfe, 0xfd, 0xfc]), &["is not a safetensors file"]);
    refused(&raw(2, "{}", &[]), &["metadata 'format' is missing"]);
    refused(&raw(20, r#"{"__metadata__": {}}"#, &[]), &["metadata 'format' is missing"]);
}

#[test]
fn missing_metadata() {
    for field in ["format", "optimizer", "options", "lr", "steps", "tensors"] {
        refused(&Parts::valid().without(field).bytes(), &[&format!("metadata '{field}' is missing")]);
    }
}

#[test]
fn wrong_metadata() {
    let long = "x".repeat(200_000);
    for (field, value, part) in [
        (
            "format",
            "optimizer-trajectory/2",
            "is 'optimizer-trajectory/2'; it must be optimizer-trajectory/1",
        ),
        ("format", &long, "xxx…'; it must be optimizer-trajectory/1"),
        ("steps", "", "it must be an integer of at least 1"),
        ("steps", "-3", "'-3'; it must be an integer"),
        ("steps", "3.0", "'3.0'; it must be an integer"),
        ("steps", "99999999999999999999", "it must be an integer"),
        ("steps", "0", "must be one rate for each of 0 steps, at least 1"),
        ("steps", "4", "metadata 'lr' is a list of 3; it must be one rate for each of 4 steps"),
        ("steps", "18446744073709551615", "one rate for each of 18446744073709551615 steps"),
        ("lr", "[0.1, 0.2]", "metadata 'lr' is a list of 2; it must be one rate for each of 3 steps"),
        ("lr", "[]", "a list of 0"),
        ("lr", "0.1", "it must be a JSON list of numbers"),
        ("lr", "[0.1, 0.2, NaN]", "it must be a JSON list of numbers"),
        ("lr", "[0.1, 0.2, null]", "it must be a JSON list of numbers"),
        ("lr", "[0.1, 0.2, 1e999]", "it must be a JSON list of numbers"),
        ("lr", "[0.1, 0.2, \"0.3\"]", "it must be a JSON list of numbers"),
        ("options", "momentum=0.9", "'momentum=0.9'; it must be a JSON object"),
        ("options", "", "it must be a JSON object"),
        ("options", "[]", "it must be a JSON object"),
        ("options", "{\"momentum\": NaN}", "it must be a JSON object"),
        ("options", "{\"optimizer\": \"adam\"}", "option 'optimizer' is given"),
        ("tensors", "w, b", "it must be a JSON list of names"),
        ("tensors", "[\"w\", 3]", "it must be a JSON list of names"),
        ("tensors", "[]", "it must be listed in metadata 'tensors'"),
        ("tensors", "[\"w\"]", ".b' is recorded; it must be listed in metadata 'tensors'"),
        ("tensors", "[\"w\", \"b\", \"w\"]", "a list with a name twice"),
        ("tensors", "[\"w\", \"b\", \"c\"]", "tensor 'init.c' is missing"),
    ] {
        refused(&Parts::valid().with(field, value).bytes(), &[part]);
    }
    refused(&Parts::valid().with("options", &"[".repeat(100_000)).bytes(), &["it must be a JSON object"]);
}

#[test]
fn no_tensors_at_all() {
    let mut parts = Parts::valid().with("tensors", "[]");
    parts.tensors.clear();
    refused(&parts.bytes(), &["the number of elements of all tensors is 0"]);
    let mut parts = Parts::valid().with("tensors", "[\"e\"]");
    parts.tensors = vec![
        ("init.e".into(), Dtype::F32, vec![0, 7], vec![]),
        ("grad.e".into(), Dtype::F32, vec![STEPS, 0, 7], vec![]),
        ("param.e".into(), Dtype::F64, vec![STEPS, 0, 7], vec![]),
    ];
    refused(&parts.bytes(), &["the number of elements of all tensors is 0"]);
}

#[test]
fn missing_tensors() {
    let valid = Parts::valid();
    for (name, ..) in &valid.tensors {
        let mut parts = valid.clone();
        parts.tensors.retain(|tensor| tensor.0 != *name);
        refused(&parts.bytes(), &[&format!("tensor '{name}' is missing")]);
    }
}

#[test]
fn wrong_types() {
    for (name, dtype, spoiled) in [
        ("init.w", Dtype::F32, Dtype::I32),
        ("grad.w", Dtype::F32, Dtype::U32),
        ("grad.b", Dtype::F32, Dtype::U32),
        ("param.w", Dtype::F64, Dtype::I64),
        ("param.b", Dtype::F64, Dtype::C64),
    ] {
        let parts = Parts::valid().tensor(name, |tensor| tensor.1 = spoiled);
        let message = format!("the dtype of tensor '{name}' is {spoiled:?}; it must be {dtype:?}");
        refused(&parts.bytes(), &[&message]);
    }
    // Of other sizes too: parameters as f32, gradients as f16.
    for (name, dtype, bytes) in
        [("param.w", Dtype::F32, 4), ("grad.w", Dtype::F16, 2), ("init.w", Dtype::F64, 8)]
    {
        let parts = Parts::valid().tensor(name, |(_, own, shape, data)| {
            *own = dtype;
            *data = vec![0; shape.iter().product::<usize>() * bytes];
        });
        refused(&parts.bytes(), &[&format!("the dtype of tensor '{name}' is {dtype:?}")]);
    }
}

#[test]
fn wrong_shapes() {
    for (name, shape, spoiled) in [
        ("grad.w", "[3, 2, 2]", vec![2, 3, 2]),
        ("grad.w", "[3, 2, 2]", vec![12]),
        ("param.w", "[3, 2, 2]", vec![3, 4]),
        ("param.b", "[3]", vec![3, 1]),
        ("grad.b", "[3]", vec![1, 3]),
    ] {
        let parts = Parts::valid().tensor(name, |tensor| tensor.2 = spoiled.clone());
        let message = format!("the shape of tensor '{name}' is {spoiled:?}; it must be {shape}");
        refused(&parts.bytes(), &[&message]);
    }
    // One step too few and one too many.
    for steps in [2usize, 4] {
        let parts = Parts::valid().tensor("grad.b", |(_, _, shape, data)| {
            *shape = vec![steps];
            data.resize(4 * steps, 0);
        });
        refused(&parts.bytes(), &[&format!("the shape of tensor 'grad.b' is [{steps}]; it must be [3]")]);
    }
}

#[test]
fn numbers_that_nothing_can_be_compared_with() {
    for x in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for name in ["init.w", "grad.w"] {
            let parts =
                Parts::valid().tensor(name, |tensor| tensor.3[4..8].copy_from_slice(&x.to_le_bytes()));
            refused(&parts.bytes(), &[&format!("element 1 of tensor '{name}' is {x}; it must be finite")]);
        }
    }
    for x in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e39, f64::MAX] {
        let parts =
            Parts::valid().tensor("param.w", |tensor| tensor.3[88..96].copy_from_slice(&x.to_le_bytes()));
        refused(&parts.bytes(), &[&format!("element 11 of tensor 'param.w' is {x}; it must be finite")]);
    }
}

#[test]
fn a_run_far_away_or_into_nan_is_no_match() {
    let far = Parts::valid().with("lr", "[1e38, 1e38, 1e38]");
    // 0 / (sqrt(0) + 0) in every element of the first step.
    let mut nan = Parts::valid().with("optimizer", "rmsprop").with("options", r#"{"eps": 0}"#);
    for (name, _, _, data) in &mut nan.tensors {
        if name.starts_with("grad") {
            data.fill(0);
        }
    }
    for (parts, word) in [(far, "got -3.5235e39"), (nan, "got NaN")] {
        let trajectory = load(&parts.bytes()).unwrap();
        let distance = on_reference(&trajectory, &trajectory.setup().unwrap()).unwrap();
        assert!(!distance.matches() && distance.share > 1e30, "{distance:?}");
        assert!(distance.place.contains(word), "{distance:?}");
    }
}

#[test]
fn options_that_are_not_there_and_options_that_are_wrong() {
    let rule = |parts: Parts| load(&parts.bytes()).unwrap().setup();
    for (optimizer, options, part) in [
        ("sophia", "{}", "optimizer 'sophia'"),
        ("", "{}", "optimizer ''"),
        (
            "sgd",
            r#"{"momentum": 0.9, "max_grad_norm_of_everything": 1.0}"#,
            "'max_grad_norm_of_everything' of 'sgd'",
        ),
    ] {
        match rule(Parts::valid().with("optimizer", optimizer).with("options", options)) {
            Err(NoRule::Unsupported(what)) => assert!(what.contains(part), "{what}"),
            other => panic!("{optimizer} {options}: {other:?}"),
        }
    }
    for (field, value, part) in [
        ("options", r#"{"momentum": 1.5}"#, "momentum = 1.5 is refused; it must be in [0, 1)"),
        ("options", r#"{"momentum": "0.9"}"#, "invalid type: string"),
        ("options", r#"{"weight_decay_mode": "l3"}"#, "unknown variant `l3`"),
        ("lr", "[0.1, -0.2, 0.3]", "lr = -0.2 is refused; it must be finite and at least 0"),
    ] {
        match rule(Parts::valid().with(field, value)) {
            Err(NoRule::Invalid(error)) => {
                let message = error.to_string();
                let place = format!("spoiled.safetensors: metadata '{field}': ");
                assert!(message.starts_with(&place) && message.contains(part), "{message}");
            }
            other => panic!("{field} {value}: {other:?}"),
        }
    }
}

#[test]
fn files_that_are_no_files() {
    let read = |path: &Path| {
        let (result, largest) = watched(|| Trajectory::read(path));
        assert!(largest < 1 << 16, "{largest} bytes for a file that is refused");
        let message = result.expect_err("this must be refused").to_string();
        assert!(message.starts_with(&path.display().to_string()), "{message}");
        message
    };
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("malformed_trajectories");
    std::fs::create_dir_all(&folder).unwrap();
    assert!(read(&folder.join("not there")).contains("cannot be read"));
    assert!(read(&folder).contains("it is not a regular file"));
    #[cfg(unix)]
    assert!(read(Path::new("/dev/zero")).contains("it is not a regular file"));

    let path = folder.join("empty.safetensors");
    std::fs::write(&path, []).unwrap();
    assert!(read(&path).contains("it has 0 bytes"));

    // Sparse: it takes no space.
    let path = folder.join("huge.safetensors");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(MAX_FILE + 1).unwrap();
    let message = read(&path);
    assert!(message.contains("the file has 1073741825 bytes; at most 1073741824 are read"), "{message}");
    file.set_len(MAX_FILE).unwrap();
    std::io::Write::write_all(&mut &file, &u64::MAX.to_le_bytes()).unwrap();
    assert!(read(&path).contains("the header has 18446744073709551615 bytes"));
    std::fs::remove_dir_all(&folder).unwrap();
}

fn character_of_json() -> impl Strategy<Value = u8> {
    prop::sample::select(b"0123456789-.e[]{},:\"nul".to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    /// Anywhere: in the header's length, in its JSON, in the numbers.
    #[test]
    fn flipped_bits(flips in prop::collection::vec((any::<prop::sample::Index>(), 0u8..8), 1..6)) {
        let mut bytes = Parts::valid().bytes();
        for (at, bit) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        let _ = load(&bytes);
    }

    /// In the header only, by characters that JSON is made of.
    #[test]
    fn edited_headers(
        edits in prop::collection::vec((any::<prop::sample::Index>(), character_of_json()), 1..4),
    ) {
        let mut bytes = Parts::valid().bytes();
        let header = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
        for (at, character) in edits {
            bytes[8 + at.index(header)] = character;
        }
        let _ = load(&bytes);
    }

    #[test]
    fn noise(length in prop::option::of(0u64..200), noise in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut bytes = noise;
        if let Some(length) = length.filter(|_| bytes.len() >= 8) {
            bytes[..8].copy_from_slice(&length.to_le_bytes());
        }
        prop_assert!(load(&bytes).is_err());
    }
}

#[test]
fn flipped_bits_in_a_real_recording() {
    use rand::{RngExt, SeedableRng};
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/adamw.sched.safetensors");
    let valid = std::fs::read(path).unwrap();
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(5);
    let (mut accepted, mut rejected) = (0, 0);
    for _ in 0..2000 {
        let mut bytes = valid.clone();
        // Half of them in the header, which is the smaller part.
        let end = if rng.random_bool(0.5) { 2500 } else { bytes.len() };
        bytes[rng.random_range(0..end)] ^= 1 << rng.random_range(0..8);
        match load(&bytes) {
            Ok(_) => accepted += 1,
            Err(_) => rejected += 1,
        }
    }
    // A flipped bit of a number is still a number; one of the structure is not.
    assert!(accepted > 100 && rejected > 100, "{accepted} accepted, {rejected} rejected");
}

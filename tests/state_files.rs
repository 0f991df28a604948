//! Claim: a state comes back from its file as it was, and a file that is cut, altered, foreign or of another version is refused
//! by name, without a panic; a file is written whole or not at all. Needs no GPU. `FUZZ_FILES` says how many are altered.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use wgpu_optim::program::{Clock, Declared, Limits, Options, Packing, Program, RowMasks, Tensors};
use wgpu_optim::rule::Config;
use wgpu_optim::rules::REGISTRY;
use wgpu_optim::state::StateFile;
use wgpu_optim::{AnyRule, Error, Lookahead, LossScale, NonFinite, OptimizerState, Wrappers};

fn wrapped() -> Wrappers {
    Wrappers {
        lookahead: Some(Lookahead::default()),
        ema: Some(0.9),
        max_grad_norm: Some(1.0),
        non_finite: NonFinite::Skip,
        loss_scale: Some(LossScale::default()),
        ..Wrappers::default()
    }
}

/// Who counts steps.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Counts {
    Groups,
    Tensors,
    Rows,
}

fn of(config: &AnyRule, wrappers: Wrappers) -> (Program, Clock<AnyRule>) {
    counted(config, wrappers, Counts::Groups).unwrap()
}

/// None for a rule that cannot.
fn counted(config: &AnyRule, wrappers: Wrappers, counts: Counts) -> Option<(Program, Clock<AnyRule>)> {
    let declared = |(name, shape): (&str, &[usize])| Declared {
        name: name.into(),
        shape: shape.to_vec(),
        group: 0,
        own: None,
    };
    let tensors: [(&str, &[usize]); 4] =
        [("fc/weight", &[12, 20]), ("conv", &[8, 4, 3, 3]), ("bias", &[7]), ("empty", &[0])];
    let limits = Limits::default();
    let tensors =
        Tensors::lay_out(&["all"], &tensors.map(declared), &[], Packing::default(), &limits).unwrap();
    let mut options = Options::default();
    options.wrappers = wrappers;
    options.own_steps = counts == Counts::Tensors;
    options.row_masks = (counts == Counts::Rows).then_some(RowMasks::RowSteps);
    let program = match Program::new(&tensors, std::slice::from_ref(config), &options, &limits) {
        Err(Error::Rule { .. }) if counts != Counts::Groups => return None,
        program => program.unwrap(),
    };
    let clock = Clock::new(&program, [config.clone()], wrappers).unwrap();
    Some((program, clock))
}

/// A state after some steps, of which the device took all but two, with words that all differ.
fn state(program: &Program, clock: &mut Clock<AnyRule>) -> OptimizerState {
    for step in 0..6 {
        // Where tensors count their own steps, one is two behind.
        if step % 3 == 1 {
            let _ = clock.skip(1);
        }
        clock.next_step().unwrap();
    }
    // Readings may share words: each has a value that follows from where it is.
    let word = |name: &str, buffer: u32, offset: u64| {
        if name.starts_with("steps/") { 4 } else { 0x3f00_0000 + (buffer << 18) + offset as u32 / 4 }
    };
    let mut words = vec![];
    for kept in OptimizerState::kept(program) {
        for slice in &kept.slices {
            let at = (slice.offset..slice.offset + slice.size).step_by(4);
            words.extend(at.map(|offset| word(&kept.name, slice.buffer, offset)));
        }
    }
    OptimizerState::new(program, clock, &words).unwrap()
}

fn reason(result: Result<OptimizerState, Error>) -> String {
    match result {
        Err(Error::State { reason }) => reason,
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("taken"),
    }
}

#[test]
fn states_of_every_rule_come_back() {
    for entry in REGISTRY {
        for config in (entry.variants)() {
            let plain = Wrappers::default();
            // A table of 65 536 counts takes its time.
            let rows = (entry.name == "adam").then_some((plain, Counts::Rows));
            let kinds = [(plain, Counts::Groups), (wrapped(), Counts::Groups), (wrapped(), Counts::Tensors)];
            for (wrappers, counts) in kinds.into_iter().chain(rows) {
                let Some((program, mut clock)) = counted(&config, wrappers, counts) else { continue };
                let mut saved = state(&program, &mut clock);
                saved.insert("param/fc/weight", vec![1.5f32.to_bits(); 240]).unwrap();
                let bytes = saved.to_safetensors().unwrap();
                let read = OptimizerState::from_safetensors(&bytes).unwrap();
                assert!(read == saved, "{}", entry.name);
                // Into the same program, every word goes to where it came from.
                let (program, mut clock) = counted(&config, wrappers, counts).unwrap();
                let restored = read.restore(&program, &mut clock, true).unwrap();
                assert!(restored.left.is_empty());
                let mut buffers: BTreeMap<(u32, u64), u32> = BTreeMap::new();
                for (slice, words) in &restored.writes {
                    assert_eq!(slice.size as usize, 4 * words.len(), "{}", entry.name);
                    let at = (slice.offset..).step_by(4).map(|offset| (slice.buffer, offset));
                    buffers.extend(at.zip(words.iter().copied()));
                }
                let kept = OptimizerState::kept(&program).into_iter();
                let words: Vec<u32> = kept
                    .flat_map(|kept| kept.slices)
                    .flat_map(|slice| {
                        let at = (slice.offset..slice.offset + slice.size).step_by(4);
                        at.map(move |offset| (slice.buffer, offset))
                    })
                    // Of the ring only rows to come are written.
                    .map(|at| buffers.get(&at).copied().unwrap_or(0))
                    .collect();
                let again = OptimizerState::new(&program, &clock, &words).unwrap();
                let own = saved.words().filter(|(name, _)| !name.starts_with("param/"));
                assert!(again.words().eq(own), "{}: words were not put back", entry.name);
                assert_eq!(clock.recorded(), 6);
            }
        }
    }
}

#[test]
fn tensors_have_their_shapes() {
    let (program, mut clock) = of(&AnyRule::named("adashift").unwrap(), Wrappers::default());
    let bytes = state(&program, &mut clock).to_safetensors().unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let shape = |name: &str| file.tensor(name).unwrap().shape().to_vec();
    assert_eq!((shape("v/fc/weight"), shape("v/empty")), (vec![12, 20], vec![0]));
    let ring = shape("h/conv");
    assert_eq!(ring[1..], [8, 4, 3, 3], "the values of a ring one behind the other");
}

#[test]
fn numbers_become_those_of_the_state_and_the_rest_must_be_the_same() {
    let config = AnyRule::from_json(r#"{"optimizer": "adam", "lr": 0.5}"#).unwrap();
    let (program, mut clock) = of(&config, Wrappers::default());
    let saved = state(&program, &mut clock);
    let other = AnyRule::from_json(r#"{"optimizer": "adam", "lr": 0.1, "beta1": 0.8}"#).unwrap();
    let (program, mut clock) = of(&other, Wrappers::default());
    saved.restore(&program, &mut clock, true).unwrap();
    assert_eq!((clock.groups()[0].get("lr"), clock.groups()[0].get("beta1")), (Some(0.5), Some(0.9)));

    let amsgrad = AnyRule::from_json(r#"{"optimizer": "adam", "amsgrad": "raw"}"#).unwrap();
    let (program, mut clock) = of(&amsgrad, Wrappers::default());
    let refused = saved.restore(&program, &mut clock, true).unwrap_err().to_string();
    assert!(refused.contains("amsgrad = "), "{refused}");
    assert_eq!(clock.recorded(), 0, "nothing was changed");
}

#[test]
fn what_is_wrong_with_a_file_is_named() {
    let (program, mut clock) = of(&AnyRule::named("adam").unwrap(), Wrappers::default());
    let saved = state(&program, &mut clock);
    let bytes = saved.to_safetensors().unwrap();
    for (file, part) in [(&b""[..], "no safetensors"), (b"PK\x03\x04 something else", "no safetensors")] {
        assert!(reason(OptimizerState::from_safetensors(file)).contains(part));
    }
    let foreign = safetensors::serialize([("w", view(&[1.0]))], None).unwrap();
    assert!(reason(OptimizerState::from_safetensors(&foreign)).contains("metadata has no 'wgpu-optim'"));
    for end in [8, 100, bytes.len() - 1] {
        reason(OptimizerState::from_safetensors(&bytes[..end]));
    }
    let words = || saved.words().map(|(name, words)| (name.to_string(), words.to_vec())).collect();
    let about = saved.about();
    let future = about.replacen("\"version\":1", "\"version\":2", 1);
    assert!(reason(OptimizerState::from_parts(&future, words())).contains("its version is 2"));
    let twice = about.replacen('{', "{\"version\":1,", 1);
    assert!(reason(OptimizerState::from_parts(&twice, words())).contains("twice"));
    let more = about.replacen("\"recorded\":6", "\"recorded\":1", 1);
    assert!(reason(OptimizerState::from_parts(&more, words())).contains("steps were taken"));
    let mut fewer: BTreeMap<String, Vec<u32>> = words();
    fewer.remove("rows");
    assert!(reason(OptimizerState::from_parts(&about, fewer)).contains("host scalars"));
    let mut fewer: BTreeMap<String, Vec<u32>> = words();
    fewer.get_mut("m/bias").unwrap().pop();
    let short = OptimizerState::from_parts(&about, fewer).unwrap();
    let refused = short.restore(&program, &mut clock, true).unwrap_err().to_string();
    assert!(refused.contains("'m/bias' has 6 words in the state, 7 here"), "{refused}");
}

fn view(values: &[f32]) -> safetensors::tensor::TensorView<'_> {
    let bytes = bytemuck::cast_slice(values);
    safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![values.len()], bytes).unwrap()
}

/// Whatever is altered is refused, or is a state that every optimizer takes or refuses.
#[test]
fn altered_files() {
    let files = std::env::var("FUZZ_FILES").ok().and_then(|count| count.parse().ok()).unwrap_or(100_000);
    let config = AnyRule::named("nadam").unwrap();
    let kinds = [Counts::Groups, Counts::Tensors].map(|counts| {
        let (program, mut clock) = counted(&config, wrapped(), counts).unwrap();
        (counts, state(&program, &mut clock).to_safetensors().unwrap())
    });
    let (mut taken, mut refused) = (0, 0);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("altered");
    for seed in 0..files {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let (counts, bytes) = &kinds[seed as usize % 2];
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize + 8;
        let mut file = bytes.clone();
        for _ in 0..random.random_range(1..4) {
            // Mostly in the header, where everything is decided.
            let end = if random.random_bool(0.9) { header.min(file.len()) } else { file.len() };
            let at = random.random_range(0..end.max(1)).min(file.len().saturating_sub(1));
            match random.random_range(0..5) {
                0 if !file.is_empty() => file[at] = random.random(),
                1 if !file.is_empty() => file[at] = b"0123456789,\"{}[]-"[random.random_range(0..17)],
                2 => file.truncate(at),
                3 => drop(file.splice(at..at, bytes[at.min(bytes.len() - 9)..][..8].to_vec())),
                _ => drop(file.drain(at..(at + 3).min(file.len()))),
            }
        }
        std::fs::write(&path, &file).unwrap();
        let opened = OptimizerState::open(&path);
        match OptimizerState::from_safetensors(&file) {
            Ok(state) => {
                assert!(opened.unwrap() == state);
                let (program, mut clock) = counted(&config, wrapped(), *counts).unwrap();
                for strict in [true, false] {
                    if state.restore(&program, &mut clock, strict).is_ok() {
                        // It goes on, or says why not.
                        let _ = clock.next_step().map(drop);
                    }
                }
                taken += 1;
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                assert!(matches!(opened, Err(Error::State { .. })), "{opened:?}");
                refused += 1;
            }
        }
    }
    assert!(taken > 0 && refused > taken, "{taken} taken, {refused} refused");
}

#[test]
fn files_are_written_whole_or_not_at_all() {
    let (program, mut clock) = of(&AnyRule::named("adam").unwrap(), Wrappers::default());
    let saved = state(&program, &mut clock);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.safetensors");
    saved.save(&path).unwrap();
    assert!(OptimizerState::open(&path).unwrap() == saved);
    // Over another file, and nothing is left beside it.
    saved.save(&path).unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let nowhere = folder.path().join("none/state.safetensors");
    let error = saved.save(&nowhere).unwrap_err().to_string();
    assert!(error.contains("none/state.safetensors"), "{error}");
    assert!(OptimizerState::open(&nowhere).unwrap_err().to_string().contains("state.safetensors"));
    let rule = clock.groups()[0].rule().spec().name;
    assert_eq!(saved.optimizer(), rule);
}

/// A file gives what is asked for, and no more.
#[test]
fn files_are_read_one_tensor_at_a_time() {
    let (program, mut clock) = of(&AnyRule::named("adam").unwrap(), wrapped());
    let mut saved = state(&program, &mut clock);
    saved.insert("param/bias", vec![7; 7]).unwrap();
    saved.insert("host/epoch", vec![3]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.safetensors");
    saved.save(&path).unwrap();
    let mut file = StateFile::open(&path).unwrap();
    for (name, words) in saved.words() {
        assert_eq!(file.count(name), Some(words.len()));
        assert_eq!(file.read(name).unwrap(), words, "{name}");
    }
    assert!(file.count("m/none").is_none());
    assert!(file.read("m/none").unwrap_err().to_string().contains("'m/none' is not in it"));
    let rest = file.state_without_slots().unwrap();
    assert_eq!(
        (rest.get("host/epoch"), rest.get("param/bias"), rest.get("m/bias")),
        (Some(&[3][..]), None, None)
    );
    assert_eq!(rest.about(), saved.about());
    // One that is cut while it is open.
    let len = std::fs::metadata(&path).unwrap().len();
    std::fs::File::options().write(true).open(&path).unwrap().set_len(len - 4).unwrap();
    let last = saved.words().map(|(name, _)| file.read(name)).filter(Result::is_err).collect::<Vec<_>>();
    assert!(matches!(last[..], [Err(Error::File { .. })]), "{last:?}");
}

/// Words that are read when they are written: the file is the same, and an error leaves the one before.
#[test]
fn files_are_written_one_tensor_at_a_time() {
    let (program, mut clock) = of(&AnyRule::named("adam").unwrap(), Wrappers::default());
    let all = state(&program, &mut clock);
    let (slots, rest) = OptimizerState::kept_apart(&program);
    let rest: Vec<u32> = rest
        .iter()
        .flat_map(|kept| {
            let words: u64 = kept.slices.iter().map(|slice| slice.size / 4).sum();
            let own = all.get(&kept.name).map(<[u32]>::to_vec);
            own.unwrap_or_else(|| vec![0; words as usize])
        })
        .collect();
    let small = OptimizerState::without_slots(&program, &clock, &rest).unwrap();
    let tensors: Vec<(String, usize)> =
        slots.iter().map(|slot| (slot.name.clone(), all.get(&slot.name).unwrap().len())).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.safetensors");
    let mut asked = vec![];
    small
        .save_with(&path, &tensors, |name| {
            asked.push(name.to_string());
            Ok(all.get(name).unwrap().to_vec())
        })
        .unwrap();
    let before = OptimizerState::open(&path).unwrap();
    for (name, _) in &tensors {
        assert!(before.get(name) == all.get(name) && asked.iter().filter(|own| *own == name).count() == 1);
    }
    let lost = |_: &str| Err(Error::DeviceLost { reason: "for the test".into() });
    assert!(matches!(small.save_with(&path, &tensors, lost), Err(Error::DeviceLost { .. })));
    let short = small.save_with(&path, &tensors, |_| Ok(vec![1])).unwrap_err().to_string();
    assert!(short.contains("has 1 words, not"), "{short}");
    assert!(OptimizerState::open(&path).unwrap() == before, "the file is as it was");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// Where a process of the tests below saves to, and whether once or for ever.
const SAVE_TO: &str = "STATE_FILES_SAVE_TO";
const ONCE: &str = "STATE_FILES_ONCE";
const ROUND: &str = "host/round";

/// This test as a process of its own.
#[cfg(unix)]
fn saves(path: &std::path::Path, shell: &str) -> std::process::Command {
    let mut command = std::process::Command::new("sh");
    let script = format!("{shell} exec \"$0\" \"$@\"");
    command.args(["-c", &script]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", "saves_in_a_process_of_its_own", "--ignored"]).env(SAVE_TO, path);
    command.stdout(std::process::Stdio::null());
    command
}

#[test]
#[ignore = "a process that the tests below start"]
fn saves_in_a_process_of_its_own() {
    let path = std::path::PathBuf::from(std::env::var_os(SAVE_TO).unwrap());
    let (program, mut clock) = of(&AnyRule::named("adam").unwrap(), Wrappers::default());
    let mut state = state(&program, &mut clock);
    for round in 1.. {
        state.insert(ROUND, vec![round; 1 << 20]).unwrap();
        let saved = state.save(&path);
        if std::env::var_os(ONCE).is_some() {
            assert!(matches!(saved, Err(Error::File { .. })), "{saved:?}");
            return;
        }
        saved.unwrap();
    }
}

/// A process that is killed while it saves leaves the file before or the file after.
#[cfg(unix)]
#[test]
fn killed_while_saving() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.safetensors");
    let mut left = 0;
    for delay in (0..20).map(|i| 20 + 13 * i) {
        let mut child = saves(&path, "").spawn().unwrap();
        // Until it has saved once: from then on it always saves.
        while !path.exists() {
            assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
            std::thread::yield_now();
        }
        std::thread::sleep(std::time::Duration::from_millis(delay));
        child.kill().unwrap();
        child.wait().unwrap();
        let state = OptimizerState::open(&path).unwrap();
        let round = state.get(ROUND).unwrap();
        assert!(round.len() == 1 << 20 && round.iter().all(|word| *word == round[0]), "half of each");
        left = left.max(std::fs::read_dir(folder.path()).unwrap().count() - 1);
    }
    // What was begun stays beside it.
    assert!(left > 0, "no process was killed while it saved");
}

/// Where nothing more can be written, the file is as it was, and nothing is left beside it.
#[cfg(unix)]
#[test]
fn full_disk() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.safetensors");
    let (program, mut clock) = of(&AnyRule::named("adam").unwrap(), Wrappers::default());
    let before = state(&program, &mut clock);
    before.save(&path).unwrap();
    // A limit on the size of files is what a full disk is for one of them.
    let status = saves(&path, "trap '' XFSZ; ulimit -f 256;").env(ONCE, "1").status().unwrap();
    assert!(status.success(), "{status}");
    assert!(OptimizerState::open(&path).unwrap() == before, "the file is as it was");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

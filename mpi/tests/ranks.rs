//! Claims, each with one to four ranks of this program under mpirun: N ranks have the bits of one device that was given the reduced
//! gradients, for every rule and with what stands around it; a saved run goes on with the same bits on another number of ranks;
//! ranks that mean something else, cannot do their part, hang or die end all with an error that says so, and a run that was saved
//! before is whole.

#[path = "../../examples/support/adapter.rs"]
mod adapter;

mod support;

use libtest_mimic::{Arguments, Failed, Trial};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};
use support::{bad, equal, resume};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    if let [_, worker, what, folder] = &words[..]
        && worker == "worker"
    {
        return work(what, Path::new(folder));
    }
    let mut trials = vec![];
    for ranks in 1..=4 {
        let mut add = |what: &'static str| {
            trials.push(Trial::test(format!("{what}, {ranks} ranks"), move || {
                let folder = tempfile::tempdir()?;
                succeeds(ranks, what, folder.path())
            }));
        };
        for what in ["equal: plain", "equal: around", "equal: cut", "more ranks than tensors"] {
            add(what);
        }
        if ranks > 1 {
            ["another model", "no adapter"].into_iter().for_each(add);
            trials.push(Trial::test(format!("a rank hangs, {ranks} ranks"), move || a_rank_hangs(ranks)));
        }
    }
    trials.push(Trial::test("saved by four, gone on with by one, two and three", goes_on));
    trials.push(Trial::test("a rank dies", a_rank_dies));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// A rank of mpirun's.
fn work(what: &str, folder: &Path) -> ExitCode {
    let universe = mpi::initialize().expect("MPI is not initialised twice");
    let world = universe.world();
    let lab = support::Lab::open();
    match what {
        "equal: plain" => equal::plain(&world, &lab),
        "equal: around" => equal::around(&world, &lab),
        "equal: cut" => equal::cut(&world, &lab),
        "more ranks than tensors" => equal::few_tensors(&world, &lab),
        "another model" => bad::another_model(&world, &lab),
        "no adapter" => bad::no_adapter(&world),
        "a rank hangs" => bad::a_rank_hangs(&world, &lab),
        "save" => resume::save(&world, &lab, folder),
        "go on" => resume::go_on(&world, &lab, folder),
        "missing" => resume::missing(&world, &lab, folder),
        "die" => resume::die(&world, &lab, folder),
        _ => panic!("{what}?"),
    }
    support::leave(0)
}

/// Ends after at most two minutes.
fn mpirun(ranks: usize, what: &str, folder: &Path) -> (bool, String) {
    let mut command = Command::new("mpirun");
    command.args(["--oversubscribe", "-n", &ranks.to_string()]).arg(std::env::current_exe().unwrap());
    command.args(["worker", what]).arg(folder);
    // Containers run as root, and know no shared memory of other processes.
    for (name, value) in [
        ("OMPI_ALLOW_RUN_AS_ROOT", "1"),
        ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
        ("OMPI_MCA_btl_vader_single_copy_mechanism", "none"),
    ] {
        command.env(name, value);
    }
    let output = command.output().expect("mpirun is installed: scripts/setup-adapter.sh --mpi");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.success(), said.into_owned())
}

fn succeeds(ranks: usize, what: &str, folder: &Path) -> Result<(), Failed> {
    let (success, said) = mpirun(ranks, what, folder);
    if success { Ok(()) } else { Err(said.into()) }
}

fn goes_on() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    succeeds(4, "save", folder.path())?;
    for ranks in 1..=4 {
        succeeds(ranks, "go on", folder.path())?;
    }
    // A share is missing: everybody says which.
    std::fs::remove_file(folder.path().join("adamod/step-5.rank-2-of-4.safetensors"))?;
    succeeds(2, "missing", folder.path())
}

/// Each of the others says so; what they began cannot be ended, so mpirun calls it a failure.
fn a_rank_hangs(ranks: usize) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let (_, said) = mpirun(ranks, "a rank hangs", folder.path());
    let noticed = said.matches("noticed: no answer from all").count();
    if noticed == ranks - 1 { Ok(()) } else { Err(said.into()) }
}

/// The others are ended by mpirun at once, and the run that was saved before goes on.
fn a_rank_dies() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let start = Instant::now();
    let (success, said) = mpirun(3, "die", folder.path());
    assert!(!success && said.contains("rank 1"), "{said}");
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    succeeds(2, "go on", folder.path())
}
